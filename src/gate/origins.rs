//! Which pages may have a browser send what: the defence against cross-site request forgery. One judge, for requests to
//! applications, questions of other proxies and forms of our own pages.

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::config::Config;
use crate::model::origin::Origin;
use crate::model::principal::Client;
use crate::model::target::RequestKind;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// The origins that pages may be of.
#[derive(Clone, Debug)]
pub struct Origins {
    /// That of the public URL.
    public: Option<Origin>,
    /// Those that are trusted beside it.
    trusted: Vec<Origin>,
}

impl Origins {
    /// Those of a configuration.
    pub fn new(config: &Config) -> Self {
        let trusted = config.server.trusted_origins.iter().map(String::as_str);
        Self::of(&config.public_url.origin(), trusted)
    }

    /// That of the public URL, and those that are trusted beside it.
    pub fn of<'o>(public: &str, trusted: impl IntoIterator<Item = &'o str>) -> Self {
        Self {
            public: Origin::parse(public),
            trusted: trusted.into_iter().filter_map(Origin::parse).collect(),
        }
    }

    /// The origin of the public URL.
    pub fn public(&self) -> Option<&str> {
        self.public.as_ref().map(Origin::as_str)
    }

    /// Whether a request that brings what browsers send by themselves may do something, or open a connection: a page of
    /// ours or of a trusted origin sent it, or none did.
    ///
    /// A browser always names the origin on handshakes that switch protocols, so there silence is no proof.
    pub fn may_act(&self, headers: &HeaderMap, arrived: Option<&Origin>, kind: RequestKind) -> bool {
        match sender(headers, self.public.iter().chain(&self.trusted), arrived) {
            RequestInitiator::Ours => true,
            RequestInitiator::SameOrigin | RequestInitiator::Person | RequestInitiator::Unsaid => {
                kind == RequestKind::Plain
            }
            RequestInitiator::Hidden | RequestInitiator::Foreign => false,
        }
    }

    /// Whether a form may be sent to a page of ours: a page of ours must have sent it. Applications at other origins send none
    /// here, however trusted they are.
    ///
    /// `holds_secret` is whether it holds a secret that only its own page can know. Such a page hides where it is, because the
    /// secret stands in its address; then that secret is proof enough.
    pub fn may_send_form(&self, headers: &HeaderMap, client: &Client, holds_secret: bool) -> bool {
        let arrived = only(headers, &HOST).and_then(|host| Origin::at(client.secure, host));
        match sender(headers, &self.public, arrived.as_ref()) {
            RequestInitiator::Ours | RequestInitiator::SameOrigin => true,
            RequestInitiator::Unsaid | RequestInitiator::Hidden => holds_secret,
            RequestInitiator::Person | RequestInitiator::Foreign => false,
        }
    }

    /// Whether a page of a trusted origin asks whether it may ask (Fetch, 3.2.2). The answer is the application's own.
    /// Our own pages never have to ask, so our own origin is no reason.
    pub fn is_trusted_preflight(&self, method: &Method, headers: &HeaderMap) -> bool {
        *method == Method::OPTIONS
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            && sender(headers, &self.trusted, None) == RequestInitiator::Ours
    }

    /// The origin whose page may read a refusal of this request, if it is of ours or trusted.
    pub fn reader(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        let all = self.public.iter().chain(&self.trusted);
        (sender(headers, all, None) == RequestInitiator::Ours).then(|| origin.clone())
    }
}

/// Whether a browser opens a page in a tab, as far as it says. Over plain http browsers say nothing. Scripts of applications on
/// the same host send their users' cookies too, but cannot make a request look like a visit (Fetch Metadata, 2.1).
pub fn is_visit(headers: &HeaderMap) -> bool {
    headers.get_all(SEC_FETCH_DEST).iter().all(|destination| destination == "document")
}

/// Whether a page of this very origin leads here, as far as the browser says. Over plain http browsers say nothing.
pub fn is_from_own_page(headers: &HeaderMap) -> bool {
    sender(headers, [], None) == RequestInitiator::SameOrigin
}

/// The origin that a page says it is of, if it is one.
pub fn claimed(headers: &HeaderMap) -> Option<String> {
    only(headers, &ORIGIN).and_then(Origin::parse).map(|origin| origin.to_string())
}

/// Whether a browser says on whose behalf it asks.
pub(super) fn names_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.contains_key(SEC_FETCH_SITE)
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    value.to_str().ok()
}

/// What a request says about the page that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestInitiator {
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
fn sender<'o>(
    headers: &HeaderMap,
    own: impl IntoIterator<Item = &'o Origin>,
    arrived: Option<&Origin>,
) -> RequestInitiator {
    let mut origins = headers.get_all(ORIGIN).iter();
    let named = match (origins.next(), origins.next()) {
        (Some(origin), None) => Some(origin.as_bytes()),
        (None, _) => None,
        _ => return RequestInitiator::Foreign,
    };
    if let Some(text) = named.filter(|text| *text != b"null") {
        let origin = std::str::from_utf8(text).ok().and_then(Origin::parse);
        let ours = origin
            .is_some_and(|origin| arrived == Some(&origin) || own.into_iter().any(|own| *own == origin));
        return if ours { RequestInitiator::Ours } else { RequestInitiator::Foreign };
    }
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    match (sites.next().map(HeaderValue::as_bytes), sites.next(), named) {
        (None, _, None) => RequestInitiator::Unsaid,
        (None, _, Some(_)) => RequestInitiator::Hidden,
        (Some(b"same-origin"), None, _) => RequestInitiator::SameOrigin,
        (Some(b"none"), None, None) => RequestInitiator::Person,
        _ => RequestInitiator::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::principal::ClientAddress;

    #[track_caller]
    fn check(secure: bool, host: &str, fields: &[(&'static str, &str)], expected: RequestInitiator) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let own = ["https://gate.example", "https://spa.example"].map(|text| Origin::parse(text).unwrap());
        assert_eq!(sender(&headers, &own, Origin::at(secure, host).as_ref()), expected, "{fields:?}");
    }

    #[test]
    fn an_origin_of_ours_counts_in_every_spelling() {
        use RequestInitiator::{Foreign, Ours};
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
        use RequestInitiator::{Foreign, Hidden, Person, SameOrigin, Unsaid};
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

    #[track_caller]
    fn form(secure: bool, fields: &[(&'static str, &'static str)], holds_secret: bool) -> bool {
        let headers = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| _ = map.append(name, value));
        let client = Client { address: ClientAddress::unknown(), secure, by_proxy: false };
        Origins::of("https://gate.example", ["https://spa.example"]).may_send_form(
            &map,
            &client,
            holds_secret,
        )
    }

    #[test]
    fn our_own_pages_may_send_forms() {
        for (secure, fields) in [
            (true, [("origin", "https://gate.example"), ("host", "gate.example")]),
            (false, [("origin", "https://gate.example"), ("host", "10.0.0.1")]),
            (false, [("origin", "http://10.0.0.1:8080"), ("host", "10.0.0.1:8080")]),
            (true, [("origin", "https://other.example"), ("host", "Other.example:443")]),
            (true, [("origin", "null"), ("sec-fetch-site", "same-origin")]),
        ] {
            assert!(form(secure, &fields, false), "{fields:?}");
        }
    }

    #[test]
    fn nobody_else_may_unless_a_secret_of_its_own_page_speaks_for_a_form() {
        for (fields, by_secret) in [
            (&[("host", "gate.example")][..], true),
            (&[("origin", "null")], true),
            (&[("sec-fetch-site", "none")], false),
            (&[("origin", "https://evil.example"), ("host", "gate.example")], false),
            (&[("origin", "https://spa.example"), ("host", "gate.example")], false),
            (&[("origin", "http://gate.example"), ("host", "gate.example")], false),
            (&[("origin", "https://a.example"), ("host", "a.example"), ("host", "a.example")], false),
        ] {
            assert!(!form(true, fields, false), "{fields:?}");
            assert_eq!(form(true, fields, true), by_secret, "{fields:?}");
        }
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
}
