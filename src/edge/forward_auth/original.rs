//! The original request that another proxy asks about: read from exactly one source for each part.
//!
//! Which headers those are depends on the flavour alone; every other header of the kind came from the client
//! and is not looked at. What is missing, stands twice or cannot be parsed is refused, never guessed.

use std::rc::Rc;

use http::header::{CONTENT_TYPE, HOST, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Method};

use crate::config::Flavour;
use crate::model::origin::without_default_port;
use crate::model::target::{RequestKind, RequestTarget, TargetError, UNSAID};

const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const X_ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
pub(super) const X_ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");
/// What a proxy that passes `Upgrade` on says of it, where it takes that off the question.
const X_ORIGINAL_UPGRADE: HeaderName = HeaderName::from_static("x-original-upgrade");

/// The request as the client sent it to the other proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// Method, host and path, parsed as those of a proxied request are.
    pub target: Rc<RequestTarget>,
    /// Host and perhaps port, as the client wrote them; no port that the scheme has anyway.
    pub authority: String,
    /// Whether the client used TLS.
    pub secure: bool,
}

impl Original {
    /// The address in the client's address bar.
    pub fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.target.path_and_query())
    }
}

/// Why a question cannot be understood. Names the header, so that an operator finds the line to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSubrequest {
    /// A header that the flavour needs is not there.
    #[error("{0} is missing")]
    Missing(HeaderName),
    /// A header stands more than once, so that two parties could read different ones.
    #[error("{0} stands more than once")]
    Several(HeaderName),
    /// A header holds something else.
    #[error("{0} cannot be read")]
    Malformed(HeaderName),
    /// Two headers name different requests.
    #[error("{0} and {1} do not agree")]
    Contradicted(HeaderName, HeaderName),
    /// A gRPC message is cut off, compressed or not the one that is expected.
    #[error("the message cannot be read")]
    Message,
    /// The target is longer than any that we take.
    #[error("the address is too long")]
    TooLong,
    /// The target is refused, as it would be in a proxied request.
    #[error("{0}")]
    Target(#[from] TargetError),
}

/// Where the parts of a question stand.
#[derive(Clone, Copy, Debug)]
pub struct Subrequest<'a> {
    /// Headers of the question.
    pub headers: &'a HeaderMap,
    /// Method of the question.
    pub method: &'a Method,
    /// What follows the path of the endpoint: the original path and query, where the flavour puts it there.
    pub rest: &'a str,
    /// Longest request target, in bytes.
    pub uri_bytes: usize,
}

impl Subrequest<'_> {
    /// Reads the original request.
    ///
    /// # Errors
    ///
    /// [`BadSubrequest`] if any part is missing, doubled or malformed.
    pub fn original(&self, flavour: Flavour) -> Result<Original, BadSubrequest> {
        match flavour {
            // `$scheme://$http_host$request_uri`; ingress-nginx sends the same and blanks X-Forwarded-Proto.
            Flavour::Nginx => self.from_url(&X_ORIGINAL_METHOD, &X_ORIGINAL_URL),
            Flavour::Traefik | Flavour::Caddy | Flavour::Haproxy => self.from_forwarded(),
            // The question has the original's method, host and path.
            Flavour::Envoy => {
                let scheme = self.scheme()?;
                self.build(self.method, scheme, self.one(&HOST)?, self.rest, &HOST)
            }
        }
    }

    /// From parts that a message names one by one.
    pub fn from_parts(&self, scheme: &str, authority: &str, uri: &str) -> Result<Original, BadSubrequest> {
        let scheme = Scheme::of(scheme).ok_or(BadSubrequest::Malformed(X_FORWARDED_PROTO))?;
        self.build(self.method, scheme, authority, uri, &X_FORWARDED_URI)
    }

    /// From `X-Forwarded-Method`, `-Proto`, `-Host` and `-Uri`.
    pub fn from_forwarded(&self) -> Result<Original, BadSubrequest> {
        let method = self.method_in(&X_FORWARDED_METHOD)?;
        let scheme = self.scheme()?;
        self.build(
            &method,
            scheme,
            self.one(&X_FORWARDED_HOST)?,
            self.one(&X_FORWARDED_URI)?,
            &X_FORWARDED_URI,
        )
    }

    /// From a method and one absolute URL.
    pub fn from_url(&self, method: &HeaderName, url: &HeaderName) -> Result<Original, BadSubrequest> {
        let method = self.method_in(method)?;
        self.with_url(&method, url)
    }

    /// From one absolute URL, with a method known from elsewhere.
    pub fn with_url(&self, method: &Method, url: &HeaderName) -> Result<Original, BadSubrequest> {
        let malformed = || BadSubrequest::Malformed(url.clone());
        let (scheme, rest) = self.one(url)?.split_once("://").ok_or_else(malformed)?;
        let slash = rest.find('/').ok_or_else(malformed)?;
        let (authority, uri) = rest.split_at_checked(slash).ok_or_else(malformed)?;
        self.build(method, Scheme::of(scheme).ok_or_else(malformed)?, authority, uri, url)
    }

    /// From a URI alone, where an older contract sends no more: the host is the question's own and the method is
    /// not said, because what looks like either may come from the client. All of `sources` that are there agree.
    pub fn from_uri(&self, sources: &[HeaderName], default_secure: bool) -> Result<Original, BadSubrequest> {
        let mut found: Option<(&HeaderName, &str)> = None;
        for name in sources.iter().filter(|name| self.headers.contains_key(*name)) {
            let uri = self.one(name)?;
            match found {
                Some((first, other)) if other != uri => {
                    return Err(BadSubrequest::Contradicted(first.clone(), name.clone()));
                }
                _ => found = Some((name, uri)),
            }
        }
        let (source, uri) = found.ok_or_else(|| BadSubrequest::Missing(X_FORWARDED_URI))?;
        self.build(&unsaid(), self.scheme_or(default_secure)?, self.one(&HOST)?, uri, source)
    }

    /// From the question's own host, where nothing else is known.
    pub fn at_root(&self, default_secure: bool) -> Result<Original, BadSubrequest> {
        self.build(&unsaid(), self.scheme_or(default_secure)?, self.one(&HOST)?, "/", &HOST)
    }

    /// From one absolute URL; the method is not said.
    pub fn from_url_only(&self, url: &HeaderName) -> Result<Original, BadSubrequest> {
        self.with_url(&unsaid(), url)
    }

    /// From the question's own method and host, and the path that follows that of the endpoint.
    pub fn from_own(&self, default_secure: bool) -> Result<Original, BadSubrequest> {
        if !self.rest.starts_with('/') {
            return Err(BadSubrequest::Target(TargetError::NotAbsolute));
        }
        self.build(self.method, self.scheme_or(default_secure)?, self.one(&HOST)?, self.rest, &HOST)
    }

    fn build(
        &self,
        method: &Method,
        scheme: Scheme,
        authority: &str,
        uri: &str,
        source: &HeaderName,
    ) -> Result<Original, BadSubrequest> {
        // A fragment would be cut off by the parser and kept by another.
        if uri.len() > self.uri_bytes {
            return Err(BadSubrequest::TooLong);
        }
        if uri.contains('#') || !uri.starts_with('/') {
            return Err(BadSubrequest::Malformed(source.clone()));
        }
        let uri = PathAndQuery::try_from(uri).map_err(|_| BadSubrequest::Malformed(source.clone()))?;
        let target = RequestTarget::parse(method, authority, &uri, self.kind(scheme))?;
        let authority = without_default_port(scheme.secure, authority).to_owned();
        Ok(Original { target: Rc::new(target), authority, secure: scheme.secure })
    }

    /// A header that stands exactly once and holds something.
    fn one(&self, name: &HeaderName) -> Result<&str, BadSubrequest> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Err(BadSubrequest::Missing(name.clone())),
            (Some(value), None) => match value.to_str() {
                Ok("") => Err(BadSubrequest::Missing(name.clone())),
                Ok(text) => Ok(text),
                Err(_) => Err(BadSubrequest::Malformed(name.clone())),
            },
            _ => Err(BadSubrequest::Several(name.clone())),
        }
    }

    fn method_in(&self, name: &HeaderName) -> Result<Method, BadSubrequest> {
        Method::from_bytes(self.one(name)?.as_bytes()).map_err(|_| BadSubrequest::Malformed(name.clone()))
    }

    fn scheme(&self) -> Result<Scheme, BadSubrequest> {
        Scheme::of(self.one(&X_FORWARDED_PROTO)?).ok_or(BadSubrequest::Malformed(X_FORWARDED_PROTO))
    }

    /// What `X-Forwarded-Proto` says, where it is there.
    fn scheme_or(&self, secure: bool) -> Result<Scheme, BadSubrequest> {
        let default = Scheme { secure, socket: false };
        if self.headers.contains_key(X_FORWARDED_PROTO) { self.scheme() } else { Ok(default) }
    }

    /// Most proxies take `Upgrade` off the question, and whatever else tells of a handshake the client may have
    /// made up: so signs of a switch of protocol never stand for the right to one, and never for one less.
    fn kind(&self, scheme: Scheme) -> RequestKind {
        let says = |name: &HeaderName| self.headers.get_all(name).iter().any(|value| !value.is_empty());
        let switch = scheme.socket
            || says(&UPGRADE)
            || says(&X_ORIGINAL_UPGRADE)
            || self.headers.keys().any(|name| name.as_str().starts_with("sec-websocket-"));
        let grpc = self
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"application/grpc"));
        match () {
            () if switch => RequestKind::PerhapsSwitch,
            () if grpc => RequestKind::Grpc,
            () => RequestKind::Plain,
        }
    }
}

fn unsaid() -> Method {
    Method::from_bytes(UNSAID.as_bytes()).unwrap_or(Method::POST)
}

/// A scheme, as a proxy says it.
#[derive(Clone, Copy)]
struct Scheme {
    secure: bool,
    /// `ws` or `wss`, as Traefik says it of handshakes.
    socket: bool,
}

impl Scheme {
    fn of(text: &str) -> Option<Self> {
        let (secure, socket) = match text.to_ascii_lowercase().as_str() {
            "https" => (true, false),
            "http" => (false, false),
            "wss" => (true, true),
            "ws" => (false, true),
            _ => return None,
        };
        Some(Self { secure, socket })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(
        flavour: Flavour,
        method: &str,
        rest: &str,
        list: &[(&'static str, &str)],
    ) -> Result<String, BadSubrequest> {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let method = method.parse().unwrap();
        let question = Subrequest { headers: &headers, method: &method, rest, uri_bytes: 8192 };
        question.original(flavour).map(|original| format!("{} {}", original.target.method(), original.url()))
    }

    const NGINX: [(&str, &str); 2] =
        [("x-original-method", "POST"), ("x-original-url", "https://app.example:8443/a/b?c=1")];
    const FORWARDED: [(&str, &str); 4] = [
        ("x-forwarded-method", "POST"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "app.example:8443"),
        ("x-forwarded-uri", "/a/b?c=1"),
    ];
    const ENVOY: [(&str, &str); 2] = [("host", "app.example:8443"), ("x-forwarded-proto", "https")];

    #[test]
    fn each_flavour_is_read_from_its_own_source() {
        let expected = Ok("POST https://app.example:8443/a/b?c=1".to_owned());
        assert_eq!(read(Flavour::Nginx, "GET", "", &NGINX), expected);
        for flavour in [Flavour::Traefik, Flavour::Caddy, Flavour::Haproxy] {
            assert_eq!(read(flavour, "GET", "?forged=1", &FORWARDED), expected);
        }
        assert_eq!(read(Flavour::Envoy, "POST", "/a/b?c=1", &ENVOY), expected);
    }

    #[test]
    fn headers_of_other_flavours_have_no_effect() {
        let with_nginx =
            [&FORWARDED[..], &[("x-original-url", "https://evil/x"), ("x-original-method", "GET")]].concat();
        let with_forwarded =
            [&NGINX[..], &[("x-forwarded-uri", "/public"), ("x-forwarded-proto", "")]].concat();
        assert_eq!(
            read(Flavour::Traefik, "GET", "", &with_nginx).unwrap(),
            "POST https://app.example:8443/a/b?c=1"
        );
        assert_eq!(
            read(Flavour::Nginx, "GET", "", &with_forwarded).unwrap(),
            "POST https://app.example:8443/a/b?c=1"
        );
    }

    #[test]
    fn a_missing_or_doubled_source_is_refused() {
        for (flavour, list) in
            [(Flavour::Nginx, &NGINX[..]), (Flavour::Traefik, &FORWARDED[..]), (Flavour::Envoy, &ENVOY[..])]
        {
            for at in 0..list.len() {
                let name = HeaderName::from_static(list[at].0);
                let without: Vec<_> =
                    list.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, h)| *h).collect();
                assert_eq!(
                    read(flavour, "GET", "/", &without),
                    Err(BadSubrequest::Missing(name.clone())),
                    "{flavour:?}"
                );
                let empty: Vec<_> = without.iter().copied().chain([(list[at].0, "")]).collect();
                assert_eq!(
                    read(flavour, "GET", "/", &empty),
                    Err(BadSubrequest::Missing(name.clone())),
                    "{flavour:?}"
                );
                let doubled: Vec<_> = list.iter().copied().chain([list[at]]).collect();
                assert_eq!(
                    read(flavour, "GET", "/", &doubled),
                    Err(BadSubrequest::Several(name)),
                    "{flavour:?}"
                );
            }
        }
    }

    #[test]
    fn malformed_parts_are_refused_in_every_flavour() {
        for uri in ["", "a", "*", "//", "http://evil/", "/a/../b", "/a#b", "/%zz", "/a\\b", "/%2e%2e/x"] {
            let forwarded: Vec<_> =
                FORWARDED[..3].iter().copied().chain([("x-forwarded-uri", uri)]).collect();
            let refused = match read(Flavour::Caddy, "GET", "", &forwarded) {
                Err(_) => true,
                // An empty segment is for the route to refuse: it says what it needs.
                Ok(_) => uri == "//",
            };
            assert!(refused, "{uri}");
        }
        for host in ["a,b", "a b", "a@b", "a/b"] {
            let list = [FORWARDED[0], FORWARDED[1], ("x-forwarded-host", host), FORWARDED[3]];
            assert_eq!(
                read(Flavour::Traefik, "GET", "", &list),
                Err(BadSubrequest::Target(TargetError::BadHost)),
                "{host}"
            );
        }
        for method in ["get", "TRACE", "CONNECT", "G T"] {
            let list = [("x-forwarded-method", method), FORWARDED[1], FORWARDED[2], FORWARDED[3]];
            assert!(read(Flavour::Traefik, "GET", "", &list).is_err(), "{method}");
        }
        for url in ["/a", "app/a", "https:/a", "ftp://a/b", "javascript://a/b", "https://a", "https:///a"] {
            let list = [NGINX[0], ("x-original-url", url)];
            assert!(read(Flavour::Nginx, "GET", "", &list).is_err(), "{url}");
        }
        let long = format!("/{}", "a".repeat(8192));
        let list = [FORWARDED[0], FORWARDED[1], FORWARDED[2], ("x-forwarded-uri", long.as_str())];
        assert!(read(Flavour::Traefik, "GET", "", &list).is_err());
    }

    #[test]
    fn signs_of_a_switch_of_protocol_are_seen_and_prove_nothing() {
        let kind = |list: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in list {
                headers.append(*name, HeaderValue::from_str(value).unwrap());
            }
            let question = Subrequest { headers: &headers, method: &Method::GET, rest: "", uri_bytes: 100 };
            question.from_forwarded().map(|original| (original.target.kind(), original.secure))
        };
        let get = [("x-forwarded-method", "GET"), FORWARDED[2], FORWARDED[3]];
        let with = |more: &[(&'static str, &'static str)]| kind(&[&get[..], more].concat()).unwrap();
        assert_eq!(with(&[("x-forwarded-proto", "wss")]), (RequestKind::PerhapsSwitch, true));
        assert_eq!(with(&[("x-forwarded-proto", "ws")]), (RequestKind::PerhapsSwitch, false));
        let https = ("x-forwarded-proto", "https");
        for sign in [
            ("sec-websocket-key", "x"),
            ("sec-websocket-version", ""),
            ("sec-websocket-protocol", "graphql-ws"),
            ("upgrade", "websocket"),
            ("upgrade", "tcp"),
            ("x-original-upgrade", "websocket,"),
        ] {
            assert_eq!(with(&[https, sign]), (RequestKind::PerhapsSwitch, true), "{sign:?}");
            let grpc = ("content-type", "application/grpc");
            assert_eq!(with(&[https, grpc, sign]).0, RequestKind::PerhapsSwitch, "{sign:?}");
        }
        for none in [("upgrade", ""), ("x-original-upgrade", ""), ("connection", "upgrade")] {
            assert_eq!(with(&[https, none]), (RequestKind::Plain, true), "{none:?}");
        }
    }
}
