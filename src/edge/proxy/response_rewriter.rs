//! Addresses and cookies in an answer, renamed to what the client calls them. Bodies are never touched.

use std::borrow::Cow;

use http::header::{CONTENT_LOCATION, LOCATION, REFRESH, SET_COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::servers::Upstream;
use crate::gate::authenticator::Identity;
use crate::gate::ongoing_decision::OngoingDecision;
use crate::gate::route::Route;
use crate::model::origin::without_default_port;
use crate::model::target::Prefixes;

/// A host that no address can name (RFC 6761, 6.4).
const NOWHERE: &str = "nowhere.invalid";

/// One request as the client and as the upstream saw it.
pub(super) struct ResponseRewriter<'a> {
    /// Who answers.
    pub(super) upstream: &'a Upstream,
    /// The route, which says how paths were renamed.
    pub(super) route: &'a Route,
    /// The caller; `None` is anonymous.
    pub(super) caller: Option<&'a Identity>,
    /// What the client asked for.
    pub(super) ongoing: &'a OngoingDecision,
    /// Host and port as the client wrote them.
    pub(super) authority: &'a str,
    /// The origin of the public URL.
    pub(super) public_origin: &'a str,
    /// What the upstream was asked for.
    pub(super) sent: PathAndQuery,
    /// The host it was asked for, where that is the client's.
    pub(super) host: Option<HeaderValue>,
}

impl ResponseRewriter<'_> {
    /// Renames what the answer's headers say. A value that cannot be read as what it should be is left as it
    /// is: browsers, which read it by the same rules, ignore it or find another origin in it.
    pub(super) fn rename(&self, headers: &mut HeaderMap) {
        for name in [LOCATION, CONTENT_LOCATION] {
            replace(headers, &name, |value| HeaderValue::try_from(self.reference(text(value)?)?).ok());
        }
        replace(headers, &REFRESH, |value| {
            let (before, address, after) = refresh_parts(text(value)?)?;
            HeaderValue::try_from([before, &self.reference(address)?, after].concat()).ok()
        });
        replace(headers, &SET_COOKIE, |value| self.cookie(value.as_bytes()));
    }

    fn reference(&self, text: &str) -> Option<String> {
        let (asked, sent) = (self.asked()?, self.sent_url()?);
        let there = ReferenceBase {
            asked: &asked,
            sent: &sent,
            places: &self.upstream.places,
            prefixes: self.prefixes(),
        };
        there.returned(text, &self.client_origin())
    }

    /// A cookie: its path is renamed, and a domain that only the upstream itself is in goes.
    fn cookie(&self, cookie: &[u8]) -> Option<HeaderValue> {
        // Browsers take these only with `Path=/` and without a domain (RFC 6265bis, 4.1.3.2).
        if cookie.trim_ascii_start().get(..7).is_some_and(|name| name.eq_ignore_ascii_case(b"__host-")) {
            return None;
        }
        let mut changed = false;
        let mut has_path = false;
        let mut kept: Vec<Cow<'_, [u8]>> = Vec::new();
        for (index, part) in cookie.split(|byte| *byte == b';').enumerate() {
            let at = part.iter().position(|byte| *byte == b'=').unwrap_or(part.len());
            let (name, value) = part.split_at_checked(at).unwrap_or((part, &[]));
            let text =
                std::str::from_utf8(value).map_or("", |value| value.get(1..).unwrap_or_default()).trim();
            if index > 0 && name.trim_ascii().eq_ignore_ascii_case(b"domain") && self.is_upstreams(text) {
                changed = true;
                continue;
            }
            if index > 0 && name.trim_ascii().eq_ignore_ascii_case(b"path") && text.starts_with('/') {
                has_path = true;
                if let Some(scope) = self.prefixes().and_then(|prefixes| prefixes.returned_scope(text))
                    && scope != text
                {
                    changed = true;
                    kept.push(Cow::Owned([name, b"=", scope.as_bytes()].concat()));
                    continue;
                }
            }
            kept.push(Cow::Borrowed(part));
        }
        // Without a path it is for the folder of what was asked for, which here lies outside of the prefix.
        let stripped = self.prefixes().map_or("", Prefixes::stripped);
        if !has_path && !stripped.is_empty() && self.ongoing.target().path() == stripped {
            changed = true;
            kept.push(Cow::Owned(format!(" Path={stripped}").into_bytes()));
        }
        changed.then(|| HeaderValue::from_bytes(&kept.join(&b';')).ok()).flatten()
    }

    /// Whether a cookie's domain covers a server of the upstream, and not the host the client asked for.
    fn is_upstreams(&self, domain: &str) -> bool {
        let domain = domain.trim_start_matches('.').to_ascii_lowercase();
        let covers = |host: &str| {
            host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        !domain.is_empty()
            && !covers(self.ongoing.target().host())
            && self.upstream.places.iter().filter_map(Url::host_str).any(covers)
    }

    fn prefixes(&self) -> Option<&Prefixes> {
        self.route.prefixes.as_ref()
    }

    /// The origin the client asked; the public URL's where it is the same host and port.
    pub(super) fn client_origin(&self) -> Cow<'_, str> {
        let authority = self.authority;
        let public = self.public_origin.split_once("://").map_or("", |(_, authority)| authority);
        let secure = self.public_origin.starts_with("https:");
        if public.eq_ignore_ascii_case(without_default_port(secure, authority)) {
            return Cow::Borrowed(self.public_origin);
        }
        let scheme = if self.ongoing.client().secure { "https" } else { "http" };
        Cow::Owned(format!("{scheme}://{authority}"))
    }

    fn asked(&self) -> Option<Url> {
        Url::parse(&[self.client_origin().as_ref(), self.ongoing.target().path_and_query().as_str()].concat())
            .ok()
    }

    fn sent_url(&self) -> Option<Url> {
        let Some(host) = &self.host else {
            return self.upstream.places.first()?.join(self.sent.as_str()).ok();
        };
        let scheme = if self.upstream.tls { "https://" } else { "http://" };
        Url::parse(&[scheme, host.to_str().ok()?, self.sent.as_str()].concat()).ok()
    }
}

/// Where a request was asked for and where it was sent, to read references by.
struct ReferenceBase<'a> {
    asked: &'a Url,
    sent: &'a Url,
    places: &'a [Url],
    prefixes: Option<&'a Prefixes>,
}

impl ReferenceBase<'_> {
    /// A reference (RFC 3986, 4.1), where the client would not come to the right place by itself. Relative
    /// ones stay relative to the origin; foreign origins stay as they are.
    fn returned(&self, text: &str, client_origin: &str) -> Option<String> {
        let meant = self.sent.join(text).ok()?;
        let mut own = [self.asked, self.sent].into_iter().chain(self.places);
        if !own.any(|own| same_origin(own, &meant)) {
            return None;
        }
        let path = match self.prefixes {
            Some(prefixes) => prefixes.returned(meant.path()),
            None => Some(Cow::Borrowed(meant.path())),
        };
        let mut nowhere = self.sent.clone();
        nowhere.set_host(Some(NOWHERE)).ok()?;
        let names_origin = nowhere.join(text).ok()?.host_str() != Some(NOWHERE);
        let mut renamed = if names_origin {
            [client_origin, path.as_deref().unwrap_or(meant.path())].concat()
        } else {
            let path = path?;
            // Two slashes would begin another host.
            [if path.starts_with("//") { "/." } else { "" }, path.as_ref()].concat()
        };
        for (mark, part) in [('?', meant.query()), ('#', meant.fragment())] {
            if let Some(part) = part {
                renamed.push(mark);
                renamed.push_str(part);
            }
        }
        (self.asked.join(text) != self.asked.join(&renamed)).then_some(renamed)
    }
}

fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

fn text(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

/// Replaces each value of a header for which there is another one.
fn replace(
    headers: &mut HeaderMap,
    name: &HeaderName,
    renamed: impl Fn(&HeaderValue) -> Option<HeaderValue>,
) {
    if !headers.contains_key(name) {
        return;
    }
    if let http::header::Entry::Occupied(mut entry) = headers.entry(name) {
        for value in entry.iter_mut() {
            if let Some(other) = renamed(value) {
                *value = other;
            }
        }
    }
}

/// Splits `5; url=/x` around the address, as browsers read it (HTML, 4.2.5.3); `None` if there is none.
fn refresh_parts(text: &str) -> Option<(&str, &str, &str)> {
    let rest = text.trim_start();
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let rest = rest.trim_start();
    let rest = rest.strip_prefix([';', ',']).unwrap_or(rest).trim_start();
    let named = rest
        .get(..3)
        .filter(|word| word.eq_ignore_ascii_case("url"))
        .and_then(|_| rest.get(3..)?.trim_start().strip_prefix('='))
        .map_or(rest, str::trim_start);
    let address = match named.strip_prefix(['"', '\'']) {
        Some(quoted) => quoted.split(|c| named.starts_with(c)).next().unwrap_or_default(),
        None => named,
    };
    let address_at =
        if address.len() == named.len() { text.len() - named.len() } else { text.len() - named.len() + 1 };
    let before = text.get(..address_at)?;
    let after = text.get(address_at + address.len()..)?;
    (!address.is_empty()).then_some((before, address, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What browsers and servers have read differently.
    const PIECES: &[&str] = &[
        "/",
        "//",
        "///",
        "\\",
        "/\\",
        ".",
        "..",
        "/./",
        "/../",
        "%2e%2e",
        "%2f",
        "@",
        ":",
        ":80",
        ":8443",
        "?",
        "#",
        ";",
        " ",
        "\t",
        "http:",
        "https:",
        "HTTP://",
        "javascript:",
        "data:",
        "app.example",
        "127.0.0.1:6006",
        "evil.example",
        "user@",
        "base",
        "app",
        "/base",
        "/app",
        "x",
        "\u{e9}",
        "%",
        "[::1]",
        "\u{3002}",
    ];

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_renamed_stays_with_the_client_and_nothing_else_becomes_the_clients(
            pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..8),
            strip in proptest::sample::select(&["", "/app", "/a/b"][..]),
            add in proptest::sample::select(&["", "/base"][..]),
            sent in proptest::sample::select(&["/", "/x", "/base", "/base/x/"][..]),
        ) {
            let text = pieces.concat();
            let prefixes = Prefixes::new(strip, add);
            let (asked, sent) = (url(&format!("https://app.example:8443{strip}/d")), url("http://app.example:8443").join(sent).unwrap());
            let places = [url("http://127.0.0.1:6006")];
            let there = ReferenceBase { asked: &asked, sent: &sent, places: &places, prefixes: prefixes.as_ref() };
            let Some(renamed) = there.returned(&text, "https://app.example:8443") else { return Ok(()) };
            let target = asked.join(&renamed).expect("what is written can be read");
            prop_assert!(same_origin(&target, &asked), "{text:?} became {renamed:?}");
            let meant = sent.join(&text).unwrap();
            prop_assert!(meant.host_str() != Some("evil.example"), "{text:?} became {renamed:?}");
            prop_assert_eq!(target.query(), meant.query());
            prop_assert!(HeaderValue::try_from(renamed).is_ok());
        }

        #[test]
        fn a_refresh_is_split_around_its_address_without_loss(text in "[ -~]{0,24}|[0-9]{1,2}[;, ]{0,2}(url|URL)?[ =]{0,2}['\"]?[a-z/'\" ]{0,8}") {
            if let Some((before, address, after)) = refresh_parts(&text) {
                prop_assert_eq!([before, address, after].concat(), text);
            }
        }
    }
}
