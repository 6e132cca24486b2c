//! Origins: scheme, host and port, in the one form in which they are compared (RFC 6454).

use std::fmt;

/// The longest origin: a scheme, the longest host name there is (RFC 1035, 2.3.4) and a port.
const LONGEST: usize = 270;

/// An origin of the web. Scheme and host are lower-case, and a port that is the scheme's own is not written, so that
/// `HTTPS://Host:443` and `https://host` are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(Box<str>);

impl Origin {
    /// Reads `https://host`, `http://host:8080` or the like; `None` for everything else, `null` and paths included.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let secure = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => true,
            _ if scheme.eq_ignore_ascii_case("http") => false,
            _ => return None,
        };
        Self::at(secure, authority)
    }

    /// The origin that a browser has in its address bar to reach this host (and port) with or without TLS.
    pub fn at(secure: bool, authority: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if authority.len() > LONGEST || !authority.bytes().all(plain) {
            return None;
        }
        let authority = authority.to_ascii_lowercase();
        let authority = without_default_port(secure, &authority);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !authority.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match inner {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains(['[', ']', ':']),
        };
        let is_port =
            |port: &str| !port.starts_with('0') && port.parse::<u16>().is_ok() && !port.starts_with('+');
        let scheme = if secure { "https" } else { "http" };
        (is_host && port.is_none_or(is_port)).then(|| Self(format!("{scheme}://{authority}").into()))
    }

    /// Whether it is reached by TLS.
    pub fn is_secure(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// As browsers write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A host without the port that its scheme has anyway.
pub fn without_default_port(secure: bool, authority: &str) -> &str {
    authority.strip_suffix(if secure { ":443" } else { ":80" }).unwrap_or(authority)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_origin_are_equal() {
        for (text, same) in [
            ("https://host.example", "https://host.example"),
            ("HTTPS://Host.Example:443", "https://host.example"),
            ("http://host.example:80", "http://host.example"),
            ("https://host.example:80", "https://host.example:80"),
            ("http://host.example:443", "http://host.example:443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("https://[2001:DB8::1]:443", "https://[2001:db8::1]"),
            ("https://[::1]:8443", "https://[::1]:8443"),
        ] {
            assert_eq!(Origin::parse(text).unwrap().as_str(), same, "{text}");
        }
        assert_eq!(Origin::at(true, "Host:443"), Origin::parse("https://host"));
        assert_ne!(Origin::at(false, "host"), Origin::parse("https://host"));
    }

    #[test]
    fn what_is_no_origin_is_none() {
        let long = format!("https://{}", "a".repeat(300));
        for text in [
            "",
            "null",
            "host",
            "https://",
            "file://",
            "ftp://host",
            "https://host/",
            "https://host/x",
            "https://host?x",
            "https://user@host",
            "https://a b",
            "https://host:",
            "https://host:x",
            "https://host:0443",
            "https://host:+1",
            "https://host:99999",
            "https://:443",
            "https://a:1:2",
            "https://[::1",
            "https://[::1]x",
            "https://[a]:1",
            "https://h\u{f6}st",
            &long,
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }
}
