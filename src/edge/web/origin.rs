//! Which forms come from pages of ours: the defence against cross-site request forgery.

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName};

use crate::config::PublicUrl;
use crate::model::origin::Origin;
use crate::model::principal::Client;
use crate::model::sender;
pub(super) use crate::model::sender::Sender;

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Which page sent a form to one of ours. Applications at other origins send none here, however trusted they are.
pub(super) fn sender(headers: &HeaderMap, public_url: &PublicUrl, client: &Client) -> Sender {
    let own = Origin::parse(&public_url.origin());
    let arrived = only(headers, &HOST).and_then(|host| Origin::at(client.secure, host));
    sender::sender(headers, &own, arrived.as_ref())
}

/// Whether a browser opens the page in a tab, as far as it says. Over plain http browsers say nothing.
pub(super) fn is_visit(headers: &HeaderMap) -> bool {
    headers.get_all(SEC_FETCH_DEST).iter().all(|destination| destination == "document")
}

/// The origin that a page says it is of, if it is one.
pub(super) fn claimed(headers: &HeaderMap) -> Option<String> {
    only(headers, &ORIGIN).and_then(Origin::parse).map(|origin| origin.to_string())
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
        use Sender::{Ours, SameOrigin};
        check(true, &[("origin", "https://gate.example"), ("host", "gate.example")], Ours);
        check(false, &[("origin", "https://gate.example"), ("host", "10.0.0.1")], Ours);
        check(false, &[("origin", "http://10.0.0.1:8080"), ("host", "10.0.0.1:8080")], Ours);
        check(true, &[("origin", "https://other.example"), ("host", "Other.example:443")], Ours);
        check(true, &[("origin", "null"), ("sec-fetch-site", "same-origin")], SameOrigin);
    }

    #[test]
    fn only_what_is_an_origin_is_repeated() {
        let claimed_by = |text: &str| {
            let value = HeaderValue::from_str(text).unwrap();
            claimed(&HeaderMap::from_iter([(ORIGIN, value)]))
        };
        for origin in ["https://a.example", "http://10.0.0.1:8080"] {
            assert_eq!(claimed_by(origin).as_deref(), Some(origin));
        }
        for other in ["null", "", "file://", "https://a.example/x", "https://a b", "http://[::1]:80a"] {
            assert_eq!(claimed_by(other), None, "{other}");
        }
    }

    #[test]
    fn nobody_else_may() {
        use Sender::{Foreign, Hidden, Person, Unsaid};
        check(true, &[("host", "gate.example")], Unsaid);
        check(true, &[("origin", "null")], Hidden);
        check(true, &[("sec-fetch-site", "none")], Person);
        check(true, &[("origin", "https://evil.example"), ("host", "gate.example")], Foreign);
        check(true, &[("origin", "http://gate.example"), ("host", "gate.example")], Foreign);
        let two_hosts = [("origin", "https://a.example"), ("host", "a.example"), ("host", "a.example")];
        check(true, &two_hosts, Foreign);
    }
}
