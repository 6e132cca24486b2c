//! The cookies we hand to browsers, and how we read them back.
//!
//! Setting and deleting share one list of attributes: a browser deletes a cookie only where name, domain and
//! path are those it was set with.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::config::PublicUrl;
use crate::config::SameSite;
use crate::config::SessionConfig;
use crate::model::secret::Secret;

const DEVICE_SECONDS: u64 = 365 * 24 * 60 * 60;

/// Names and attributes of our cookies (RFC 6265bis, 4.1).
#[derive(Clone, Debug)]
pub struct Cookies {
    session: String,
    device: String,
    attributes: String,
    session_seconds: u64,
}

/// What a browser presents as its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented<'h> {
    /// No cookie of our name.
    Nothing,
    /// Exactly one.
    One(&'h str),
    /// Several, or one that is not text. None of them counts: which came from us cannot be told.
    Unusable,
}

impl Cookies {
    /// The cookies for a public address.
    pub fn new(public_url: &PublicUrl, config: &SessionConfig) -> Self {
        let session = config.cookie_name(public_url);
        let mut attributes = String::from("; Path=/; HttpOnly");
        if public_url.is_secure() {
            attributes.push_str("; Secure");
        }
        attributes.push_str(match config.cookie_same_site {
            SameSite::Lax => "; SameSite=Lax",
            SameSite::Strict => "; SameSite=Strict",
        });
        if let Some(domain) = &config.cookie_domain {
            attributes.push_str("; Domain=");
            attributes.push_str(domain);
        }
        Self {
            device: format!("{session}-device"),
            session,
            attributes,
            session_seconds: config.absolute.as_secs(),
        }
    }

    /// Hands out a session.
    pub fn set_session(&self, value: &Secret) -> HeaderValue {
        self.header(&self.session, value.expose(), self.session_seconds)
    }

    /// Takes a session back.
    pub fn clear_session(&self) -> HeaderValue {
        self.header(&self.session, "", 0)
    }

    /// Marks the browser as one that has signed in before.
    pub fn set_device(&self, value: &Secret) -> HeaderValue {
        self.header(&self.device, value.expose(), DEVICE_SECONDS)
    }

    /// The session cookie of a request.
    pub fn session<'h>(&self, headers: &'h HeaderMap) -> Presented<'h> {
        presented(headers, &self.session)
    }

    /// The device cookie of a request, if there is exactly one.
    pub fn device<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        match presented(headers, &self.device) {
            Presented::One(value) => Some(value),
            Presented::Nothing | Presented::Unusable => None,
        }
    }

    fn header(&self, name: &str, value: &str, seconds: u64) -> HeaderValue {
        let text = format!("{name}={value}; Max-Age={seconds}{}", self.attributes);
        // Our values are base64url and the domain was checked: nothing here can be refused as a header.
        let mut header = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        header.set_sensitive(true);
        header
    }
}

fn presented<'h>(headers: &'h HeaderMap, name: &str) -> Presented<'h> {
    let mut found = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    match (found.next(), found.next()) {
        (None, _) => Presented::Nothing,
        (Some(value), None) => std::str::from_utf8(value).map_or(Presented::Unusable, Presented::One),
        (Some(_), Some(_)) => Presented::Unusable,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn cookies(url: &str, same_site: SameSite, domain: Option<&str>) -> Cookies {
        let config = SessionConfig {
            idle: Duration::from_mins(1),
            absolute: Duration::from_hours(1),
            cookie_same_site: same_site,
            cookie_domain: domain.map(str::to_owned),
        };
        Cookies::new(&PublicUrl::parse(url).unwrap(), &config)
    }

    #[test]
    fn attributes_follow_the_public_address() {
        for (url, same_site, domain, expected) in [
            (
                "https://gate.example",
                SameSite::Lax,
                None,
                "__Host-doorward=v; Max-Age=3600; Path=/; HttpOnly; Secure; SameSite=Lax",
            ),
            (
                "https://gate.example",
                SameSite::Strict,
                Some("example.org"),
                "__Secure-doorward=v; Max-Age=3600; Path=/; HttpOnly; Secure; SameSite=Strict; Domain=example.org",
            ),
            (
                "http://127.0.0.1:8080",
                SameSite::Lax,
                None,
                "doorward=v; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax",
            ),
        ] {
            let cookies = cookies(url, same_site, domain);
            assert_eq!(cookies.set_session(&Secret::new("v")), expected);
            let deletion = expected.replace("=v; Max-Age=3600", "=; Max-Age=0");
            assert_eq!(cookies.clear_session(), deletion, "a deletion has the same attributes");
        }
    }

    #[test]
    fn a_browser_is_remembered_for_a_year_under_a_name_of_its_own() {
        let cookies = cookies("https://gate.example", SameSite::Lax, None);
        assert_eq!(
            cookies.set_device(&Secret::new("v")),
            "__Host-doorward-device=v; Max-Age=31536000; Path=/; HttpOnly; Secure; SameSite=Lax"
        );
    }

    #[test]
    fn a_cookie_value_is_not_shown_in_debug_output() {
        let header = cookies("https://gate.example", SameSite::Lax, None).set_session(&Secret::new("v"));
        assert_eq!(format!("{header:?}"), "Sensitive");
    }

    #[test]
    fn only_exactly_one_cookie_of_our_name_counts() {
        let cookies = cookies("http://localhost", SameSite::Lax, None);
        for (lines, expected) in [
            (&[][..], Presented::Nothing),
            (&["other=1; doorward-device=2; xdoorward=3"], Presented::Nothing),
            (&["a=b; doorward=one"], Presented::One("one")),
            (&["a=b;doorward=one=two ;c=d"], Presented::One("one=two")),
            (&["doorward=one; doorward=two"], Presented::Unusable),
            (&["doorward=one; doorward=one"], Presented::Unusable),
            (&["doorward=one", "doorward=two"], Presented::Unusable),
            (&["doorward=\u{ff}"], Presented::One("\u{ff}")),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            assert_eq!(cookies.session(&headers), expected, "{lines:?}");
        }
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_bytes(b"doorward=\xff").unwrap());
        assert_eq!(cookies.session(&headers), Presented::Unusable);
    }
}
