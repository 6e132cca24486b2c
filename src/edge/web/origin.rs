//! Which forms come from pages of ours: the defence against cross-site request forgery.

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName};
use url::Url;

use crate::config::PublicUrl;
use crate::model::principal::Client;

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Scheme, the longest host name there is (RFC 1035, 2.3.4) and a port.
const LONGEST: usize = 270;

/// What a request says about the page that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// A page of our own origin.
    Ours,
    /// A page of another origin, or a contradiction.
    Foreign,
    /// The browser does not say.
    Unsaid,
}

/// Which page sent a form.
///
/// `Origin` decides where there is one: it is the public origin, or the one at which the request arrived.
/// Without one (or with `null`, as a page with `no-referrer` sends it) `Sec-Fetch-Site` decides.
pub(super) fn sender(headers: &HeaderMap, public_url: &PublicUrl, client: &Client) -> Sender {
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (Some(origin), None) if origin != "null" => {
            let own = origin.to_str().is_ok_and(|origin| {
                origin == public_url.origin() || Some(origin) == arrived_at(headers, client).as_deref()
            });
            if own { Sender::Ours } else { Sender::Foreign }
        }
        (_, None) if !headers.contains_key(SEC_FETCH_SITE) => Sender::Unsaid,
        (_, None) if only(headers, &SEC_FETCH_SITE) == Some("same-origin") => Sender::Ours,
        _ => Sender::Foreign,
    }
}

/// Whether a browser opens the page in a tab, as far as it says. Over plain http browsers say nothing.
pub(super) fn is_visit(headers: &HeaderMap) -> bool {
    headers.get_all(SEC_FETCH_DEST).iter().all(|destination| destination == "document")
}

/// The origin that a page says it is of, if it is one: scheme, host and perhaps a port (RFC 6454, 6.2).
pub(super) fn claimed(headers: &HeaderMap) -> Option<String> {
    let text = only(headers, &ORIGIN).filter(|text| text.len() <= LONGEST)?;
    let origin = Url::parse(text).ok()?.origin().ascii_serialization();
    (origin == text && origin.starts_with("http")).then_some(origin)
}

/// The origin that the browser must have had in its address bar to reach us as it did.
fn arrived_at(headers: &HeaderMap, client: &Client) -> Option<String> {
    let host = only(headers, &HOST)?.to_ascii_lowercase();
    let (scheme, usual_port) = if client.secure { ("https", ":443") } else { ("http", ":80") };
    Some(format!("{scheme}://{}", host.strip_suffix(usual_port).unwrap_or(&host)))
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    value.to_str().ok()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use http::HeaderValue;

    use super::*;
    use crate::model::principal::ClientAddress;

    #[track_caller]
    fn check(secure: bool, fields: &[(&'static str, &'static str)], expected: Sender) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let client = Client { address: ClientAddress::at(IpAddr::V4(Ipv4Addr::LOCALHOST)), secure };
        let public_url = PublicUrl::parse("https://gate.example").unwrap();
        assert_eq!(sender(&headers, &public_url, &client), expected, "{fields:?}");
    }

    #[test]
    fn our_own_pages_may_send_forms() {
        use Sender::Ours;
        check(true, &[("origin", "https://gate.example"), ("host", "gate.example")], Ours);
        check(false, &[("origin", "https://gate.example"), ("host", "10.0.0.1")], Ours);
        check(false, &[("origin", "http://10.0.0.1:8080"), ("host", "10.0.0.1:8080")], Ours);
        check(true, &[("origin", "https://other.example"), ("host", "Other.example:443")], Ours);
        check(true, &[("sec-fetch-site", "same-origin")], Ours);
        check(true, &[("origin", "null"), ("sec-fetch-site", "same-origin")], Ours);
    }

    #[test]
    fn only_what_is_an_origin_is_repeated() {
        let claimed_by = |text: &str| {
            let value = HeaderValue::from_str(text).unwrap();
            claimed(&HeaderMap::from_iter([(ORIGIN, value)]))
        };
        for origin in ["https://a.example", "http://10.0.0.1:8080", "http://[::1]:80a"] {
            let expected = (!origin.ends_with('a')).then(|| origin.to_owned());
            assert_eq!(claimed_by(origin), expected, "{origin}");
        }
        let long = format!("https://{}.example", "a".repeat(300));
        for other in ["null", "", "file://", "https://a.example/x", "https://A.example", "https://a b", &long]
        {
            assert_eq!(claimed_by(other), None, "{other}");
        }
    }

    #[test]
    fn nobody_else_may() {
        use Sender::{Foreign, Unsaid};
        check(true, &[], Unsaid);
        check(true, &[("host", "gate.example")], Unsaid);
        check(true, &[("origin", "https://evil.example"), ("host", "gate.example")], Foreign);
        check(true, &[("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")], Foreign);
        check(true, &[("origin", "https://gate.example.evil.example")], Foreign);
        check(true, &[("origin", "http://gate.example"), ("host", "gate.example")], Foreign);
        check(false, &[("origin", "https://10.0.0.1"), ("host", "10.0.0.1")], Foreign);
        check(true, &[("origin", "https://gate.example:8443"), ("host", "gate.example")], Foreign);
        check(true, &[("origin", "null")], Unsaid);
        check(true, &[("origin", "null"), ("sec-fetch-site", "cross-site")], Foreign);
        check(true, &[("origin", "")], Foreign);
        check(true, &[("origin", "https://gate.example"), ("origin", "https://gate.example")], Foreign);
        for site in ["none", "same-site", "cross-site", ""] {
            check(true, &[("sec-fetch-site", site)], Foreign);
        }
        check(true, &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")], Foreign);
        let two_hosts = [("origin", "https://a.example"), ("host", "a.example"), ("host", "a.example")];
        check(true, &two_hosts, Foreign);
    }
}
