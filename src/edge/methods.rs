//! The methods that one of our own endpoints supports.

use http::{HeaderValue, Method};

/// A set of methods, out of those that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Methods {
    /// Every one that is taken at all.
    Any,
    /// Reading.
    Read,
    /// GET without HEAD, because the GET redeems something that works once.
    Fetch,
    /// A page with a form that is sent back to it.
    Form,
    /// A form of another page.
    Send,
}

impl Methods {
    /// Whether a method is one of them.
    pub fn have(self, method: &Method) -> bool {
        self == Self::Any || self.named().contains(method)
    }

    /// The value of `Allow` (RFC 9110, 10.2.1).
    pub fn allow(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Any => "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
            Self::Read => "GET, HEAD",
            Self::Fetch => "GET",
            Self::Form => "GET, HEAD, POST",
            Self::Send => "POST",
        })
    }

    fn named(self) -> &'static [Method] {
        match self {
            Self::Any => &[],
            Self::Read => &[Method::GET, Method::HEAD],
            Self::Fetch => &[Method::GET],
            Self::Form => &[Method::GET, Method::HEAD, Method::POST],
            Self::Send => &[Method::POST],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_had_is_what_is_told() {
        for methods in [Methods::Read, Methods::Fetch, Methods::Form, Methods::Send] {
            let allow = methods.allow();
            for method in
                [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS]
            {
                let told = allow.to_str().unwrap().split(", ").any(|name| name == method.as_str());
                assert_eq!(methods.have(&method), told, "{methods:?} {method}");
            }
        }
        assert!(Methods::Any.have(&Method::from_bytes(b"PROPFIND").unwrap()));
    }
}
