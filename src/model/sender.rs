//! Which page sent a request: the defence against cross-site request forgery, one for our own pages, applications and
//! questions of other proxies.

use http::header::ORIGIN;
use http::{HeaderMap, HeaderName};

use crate::model::origin::Origin;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a request says about the page that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A page of an origin of ours, by name.
    Ours,
    /// A page of the origin that it is sent to, as the browser says without naming it.
    SameOrigin,
    /// A person: no page sent it (`Sec-Fetch-Site: none`).
    Person,
    /// The browser does not say, or there is none.
    Unsaid,
    /// A page that hides its origin (`Origin: null`), of which the browser says no more.
    Hidden,
    /// A page of another origin, or a contradiction.
    Foreign,
}

/// Which page sent a request to `arrived`, where `own` are our origins.
///
/// `Origin` decides where there is one. Without one, or with `null`, which one's own page sends under
/// `Referrer-Policy: no-referrer` (Fetch, 3.2), `Sec-Fetch-Site` decides.
pub fn sender<'o>(
    headers: &HeaderMap,
    own: impl IntoIterator<Item = &'o Origin>,
    arrived: Option<&Origin>,
) -> Sender {
    let mut origins = headers.get_all(ORIGIN).iter();
    let named = match (origins.next(), origins.next()) {
        (Some(origin), None) => Some(origin.as_bytes()),
        (None, _) => None,
        _ => return Sender::Foreign,
    };
    if let Some(text) = named.filter(|text| *text != b"null") {
        let origin = std::str::from_utf8(text).ok().and_then(Origin::parse);
        let ours = origin
            .is_some_and(|origin| arrived == Some(&origin) || own.into_iter().any(|own| *own == origin));
        return if ours { Sender::Ours } else { Sender::Foreign };
    }
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    match (sites.next().map(http::HeaderValue::as_bytes), sites.next(), named) {
        (None, _, None) => Sender::Unsaid,
        (None, _, Some(_)) => Sender::Hidden,
        (Some(b"same-origin"), None, _) => Sender::SameOrigin,
        (Some(b"none"), None, None) => Sender::Person,
        _ => Sender::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(secure: bool, host: &str, fields: &[(&'static str, &str)], expected: Sender) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let own = ["https://gate.example", "https://spa.example"].map(|text| Origin::parse(text).unwrap());
        assert_eq!(sender(&headers, &own, Origin::at(secure, host).as_ref()), expected, "{fields:?}");
    }

    #[test]
    fn an_origin_of_ours_counts_in_every_spelling() {
        use Sender::{Foreign, Ours};
        for origin in [
            "https://gate.example",
            "HTTPS://Gate.Example",
            "https://gate.example:443",
            "https://spa.example",
        ] {
            check(false, "10.0.0.1", &[("origin", origin)], Ours);
        }
        check(false, "10.0.0.1:8080", &[("origin", "http://10.0.0.1:8080")], Ours);
        check(true, "Other.example:443", &[("origin", "https://other.example")], Ours);
        check(true, "other.example", &[("origin", "https://OTHER.example:443")], Ours);
        for origin in [
            "https://evil.example",
            "https://gate.example.evil.example",
            "http://gate.example",
            "https://gate.example:8443",
            "https://gate.example/",
            "https://gate.example.",
            "",
            "null ",
            "NULL",
            "\u{fc}",
        ] {
            check(true, "gate.example", &[("origin", origin), ("sec-fetch-site", "same-origin")], Foreign);
        }
        check(false, "10.0.0.1", &[("origin", "https://10.0.0.1")], Foreign);
        let doubled = [("origin", "https://gate.example"), ("origin", "https://gate.example")];
        check(true, "gate.example", &doubled, Foreign);
    }

    #[test]
    fn without_an_origin_the_browser_says_whose_page_it_is() {
        use Sender::{Foreign, Hidden, Person, SameOrigin, Unsaid};
        let site = |value| ("sec-fetch-site", value);
        let null = ("origin", "null");
        check(true, "gate.example", &[], Unsaid);
        check(true, "gate.example", &[null], Hidden);
        check(true, "gate.example", &[site("same-origin")], SameOrigin);
        check(true, "gate.example", &[null, site("same-origin")], SameOrigin);
        check(true, "gate.example", &[site("none")], Person);
        check(true, "gate.example", &[null, site("none")], Foreign);
        for value in ["same-site", "cross-site", "", "Same-Origin", "same-origin, same-origin"] {
            check(true, "gate.example", &[site(value)], Foreign);
            check(true, "gate.example", &[null, site(value)], Foreign);
        }
        check(true, "gate.example", &[site("same-origin"), site("same-origin")], Foreign);
        check(true, "gate.example", &[null, null, site("same-origin")], Foreign);
    }
}
