//! The address under which browsers reach the gateway.

use std::fmt;

use url::{Host, Url};

use crate::config::reading::InvalidValue;
use crate::config::reading::text;
use crate::egress;
use crate::model::origin::Origin;
use crate::model::target;

/// Scheme, host, port and base path. Every link, redirect and cookie decision is made from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    secure: bool,
    host: Host<String>,
    name: String,
    port: u16,
    base_path: String,
}

impl PublicUrl {
    /// Reads `https://host[:port][/base]`.
    ///
    /// # Errors
    ///
    /// A phrase that says what is wrong with it; never the text itself, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "is not a URL")?;
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err("is neither https:// nor http://"),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("has a user name or password in it");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("has a query or fragment");
        }
        let base_path = url.path().trim_end_matches('/').to_owned();
        if base_path.contains("//") || base_path.contains(';') {
            return Err("has an empty segment or `;` in its path");
        }
        if !base_path.is_empty() && target::canonical_path(&base_path).ok().as_deref() != Some(&base_path) {
            return Err("has a path with needless or broken escapes");
        }
        let host = url.host().ok_or("has no host")?.to_owned();
        let name = match &host {
            Host::Ipv6(address) => address.to_string(),
            other => other.to_string(),
        };
        let port = url.port_or_known_default().ok_or("has no port")?;
        Ok(Self { secure, host, name, port, base_path })
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// Whether browsers speak TLS to us.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Lower-case name or address, without brackets and port, as request targets hold it.
    pub fn host(&self) -> &str {
        &self.name
    }

    /// Port, also where it is the scheme's own.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the gateway begins: empty, or `/base` without a trailing slash.
    pub fn base_path(&self) -> &str {
        &self.base_path
    }

    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        }
    }

    /// Whether the host is a name, not an address.
    pub fn has_name(&self) -> bool {
        matches!(self.host, Host::Domain(_))
    }

    /// The origin as browsers write it (RFC 6454, section 6.2): no default port, no path.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority())
    }

    /// Host and, where it is not the default one, port: what browsers write into `Host`.
    pub fn authority(&self) -> String {
        let default = if self.secure { 443 } else { 80 };
        if self.port == default { self.host.to_string() } else { format!("{}:{}", self.host, self.port) }
    }

    /// The absolute URL of `path`, which begins with `/` and is counted from the base path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{}{path}", self.origin(), self.base_path)
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.base_path)
    }
}

/// `https://host[:port]` as browsers send it.
#[derive(Clone, Debug)]
pub(in crate::config) struct WrittenOrigin(pub(in crate::config) String);

text! {
    PublicUrl, "a URL such as \"https://app.example.com\"", |text| {
        Self::parse(text).map_err(|what| {
            InvalidValue::new(what, "write scheme, host and perhaps a port and path, such as \"https://app.example.com\"")
        })
    };
    WrittenOrigin, "an origin such as \"https://app.example.com\"", |text| match PublicUrl::parse(text) {
        Ok(url) if url.base_path().is_empty() && (url.is_secure() || url.is_loopback()) => Ok(Self(url.origin())),
        Ok(url) if url.base_path().is_empty() => Err("is plain http: write https://".into()),
        _ => Err("is not an origin: write scheme, host and perhaps a port, such as \"https://app.example.com\"".into()),
    };
}

/// The origin of a URL that the gateway calls by itself.
///
/// # Errors
///
/// Why the way out would never call it.
pub(in crate::config) fn called_origin(text: &str, remedy: &str) -> Result<Origin, InvalidValue> {
    egress::origin(text).map_err(|refusal| InvalidValue::new(format!("is never called: {refusal}"), remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parse(text: &str) -> PublicUrl {
        PublicUrl::parse(text).unwrap()
    }

    #[test]
    fn it_splits_into_origin_and_base_path() {
        let url = parse("https://Phoenix.Example.com:443/apps/phoenix/");
        assert_eq!(url.origin(), "https://phoenix.example.com");
        assert_eq!(url.base_path(), "/apps/phoenix");
        assert_eq!(url.url("/login"), "https://phoenix.example.com/apps/phoenix/login");
        assert_eq!((url.host(), url.port()), ("phoenix.example.com", 443));
        assert!(url.is_secure() && !url.is_loopback());
        assert_eq!(parse("http://[::1]:8080").origin(), "http://[::1]:8080");
    }

    #[test]
    fn loopback_is_told_from_names_that_only_look_like_it() {
        for text in ["http://127.0.0.1", "http://127.9.9.9:1", "http://[::1]", "http://app.localhost"] {
            assert!(parse(text).is_loopback(), "{text}");
        }
        for text in ["http://127.0.0.1.example.com", "http://localhost.example.com", "http://10.0.0.1"] {
            assert!(!parse(text).is_loopback(), "{text}");
        }
    }

    #[test]
    fn anything_that_is_no_plain_address_is_refused() {
        for text in [
            "",
            "example.com",
            "ftp://example.com",
            "https://",
            "https://user@example.com",
            "https://user:pw@example.com",
            "https://example.com/?x",
            "https://example.com/#x",
            "https://example.com/a//b",
            "https://example.com/a%",
        ] {
            assert!(PublicUrl::parse(text).is_err(), "{text}");
        }
    }
}
