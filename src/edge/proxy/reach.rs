//! Headers of an answer that reach further than the answer: into caches that others share, and over our own pages,
//! which are of the same origin.

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
const SERVICE_WORKER_ALLOWED: HeaderName = HeaderName::from_static("service-worker-allowed");
/// Network Error Logging: the browser reports every address of the origin that is asked for, with its query: the links
/// that sign in, too.
const NEL: HeaderName = HeaderName::from_static("nel");

/// What only shared caches obey, each in its dialect; beside these, every field whose name ends in [`TARGETED`].
const SHARED_CACHES: [&str; 8] = [
    "cache-tag",
    "edge-cache-tag",
    "edge-control",
    "surrogate-control",
    "surrogate-key",
    "x-accel-expires",
    "x-litespeed-tag",
    "xkey",
];
/// How fields for one kind of cache are named (RFC 9213, 2), such as `CDN-Cache-Control`.
const TARGETED: &str = "-cache-control";

/// Keeps an answer for one caller out of caches that others share (RFC 9111, 5.2.2.7); browsers may keep it.
///
/// `Vary` would not do: caches that obey it would keep one copy for each cookie, and those that do not would hand on
/// the first.
pub(super) fn keep_private(headers: &mut HeaderMap) {
    let for_shared = |name: &&HeaderName| {
        let name = name.as_str();
        name.ends_with(TARGETED) || SHARED_CACHES.contains(&name)
    };
    if headers.keys().any(|name| for_shared(&name)) {
        let names: Vec<_> = headers.keys().filter(for_shared).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
    let mut is_private = false;
    let mut is_clean = true;
    for directive in headers.get_all(CACHE_CONTROL).iter().flat_map(directives) {
        match Directive::of(directive) {
            Directive::Private => is_private = true,
            Directive::Shared => is_clean = false,
            Directive::Other => {}
        }
    }
    if is_private && is_clean {
        return;
    }
    let mut kept: Vec<&[u8]> = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .flat_map(directives)
        .filter(|directive| !matches!(Directive::of(directive), Directive::Shared))
        .collect();
    if !is_private {
        kept.push(b"private");
    }
    let value = HeaderValue::from_bytes(&kept.join(&b", "[..]));
    headers.insert(CACHE_CONTROL, value.unwrap_or(HeaderValue::from_static("private, no-store")));
}

/// What a directive of `Cache-Control` means to a cache that many share.
enum Directive {
    /// That it may not keep the answer.
    Private,
    /// That it may, or for how long; also `private` for single fields, which leaves it the rest.
    Shared,
    Other,
}

impl Directive {
    fn of(directive: &[u8]) -> Self {
        let (name, argument) = match directive.iter().position(|byte| *byte == b'=') {
            Some(at) => (directive.get(..at).unwrap_or_default().trim_ascii_end(), true),
            None => (directive, false),
        };
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        if is("no-store") || is("private") && !argument {
            Self::Private
        } else if is("private") || is("public") || is("s-maxage") || is("proxy-revalidate") {
            Self::Shared
        } else {
            Self::Other
        }
    }
}

/// The elements of a list (RFC 9110, 5.6.1); commas within quotes are no borders.
fn directives(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    value
        .as_bytes()
        .split(move |byte| {
            let border = *byte == b',' && !quoted;
            match *byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ => {}
            }
            border
        })
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Keeps what an application says of the whole origin from our pages on it. `reserved` is the path below which ours are.
///
/// Cookies are cleared by name, or not at all: all at once would be our session too, which ends by signing out. A worker
/// may not be given a scope that holds our pages, since it would answer in their place.
pub(super) fn stay_off_our_pages(headers: &mut HeaderMap, reserved: &str) {
    headers.remove(NEL);
    if headers.contains_key(CLEAR_SITE_DATA) {
        let mut cleared: Vec<&[u8]> = Vec::new();
        for kind in headers.get_all(CLEAR_SITE_DATA).iter().flat_map(directives) {
            match kind {
                b"\"cookies\"" => {}
                b"\"*\"" => cleared.extend([&b"\"cache\""[..], b"\"storage\"", b"\"executionContexts\""]),
                other => cleared.push(other),
            }
        }
        match HeaderValue::from_bytes(&cleared.join(&b", "[..])) {
            Ok(value) if !value.is_empty() => _ = headers.insert(CLEAR_SITE_DATA, value),
            _ => _ = headers.remove(CLEAR_SITE_DATA),
        }
    }
    let reaches = |value: &HeaderValue| !value.to_str().is_ok_and(|scope| is_beside(scope.trim(), reserved));
    if headers.get_all(SERVICE_WORKER_ALLOWED).iter().any(reaches) {
        headers.remove(SERVICE_WORKER_ALLOWED);
    }
}

/// Whether a scope is plainly a path that is no beginning of `reserved`. Scopes are compared letter by letter, as
/// beginnings (Service Workers, "match service worker registration"), and resolved before: what that could change is
/// not plain.
fn is_beside(scope: &str, reserved: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'~');
    let dotted = scope.split('/').any(|segment| segment == "." || segment == "..");
    scope.starts_with('/')
        && !scope.starts_with("//")
        && scope.bytes().all(|byte| plain(byte) || byte == b'.')
        && !dotted
        && !reserved.starts_with(scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(change: impl FnOnce(&mut HeaderMap), fields: &[(&'static str, &'static str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        change(&mut headers);
        let lines = headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        lines.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn no_cache_that_others_share_keeps_what_is_for_one() {
        for (value, expected) in [
            ("public, max-age=60", "max-age=60, private"),
            ("private, public", "private"),
            ("s-maxage=60, no-store", "no-store"),
            ("S-MaxAge = 60, proxy-revalidate,,must-revalidate", "must-revalidate, private"),
            ("private=\"set-cookie, x\", max-age=1", "max-age=1, private"),
            ("x=\"a, public\"", "x=\"a, public\", private"),
            ("private", "private"),
            ("no-store, max-age=0", "no-store, max-age=0"),
            ("PRIVATE", "PRIVATE"),
            ("no-cache", "no-cache, private"),
        ] {
            let got = after(keep_private, &[("cache-control", value)]);
            assert_eq!(got, format!("cache-control: {expected}"), "{value}");
        }
        let several = [("cache-control", "public"), ("cache-control", "private, max-age=5")];
        assert_eq!(after(keep_private, &several), "cache-control: private, max-age=5");
        let dialects = [
            ("cdn-cache-control", "max-age=60"),
            ("cloudflare-cdn-cache-control", "max-age=60"),
            ("surrogate-control", "max-age=60"),
            ("surrogate-key", "a"),
            ("x-accel-expires", "60"),
            ("edge-control", "!no-store"),
            ("expires", "0"),
        ];
        assert_eq!(after(keep_private, &dialects), "expires: 0; cache-control: private");
    }

    #[test]
    fn an_application_clears_its_own_and_reaches_beside_ours() {
        let stay = |headers: &mut HeaderMap| stay_off_our_pages(headers, "/base/_doorward");
        for (value, expected) in [
            ("\"cookies\"", ""),
            ("\"cache\", \"cookies\"", "clear-site-data: \"cache\""),
            ("\"*\"", "clear-site-data: \"cache\", \"storage\", \"executionContexts\""),
            ("\"storage\"", "clear-site-data: \"storage\""),
        ] {
            assert_eq!(after(stay, &[("clear-site-data", value)]), expected, "{value}");
        }
        for (scope, stays) in [
            ("/", false),
            ("/base", false),
            ("/base/_door", false),
            ("/base/_doorward", false),
            ("", false),
            ("..", false),
            ("/app/../", false),
            ("/app/%2e%2e/", false),
            ("//host/", false),
            ("https://a/", false),
            ("/app\\..\\", false),
            ("/app/", true),
            ("/base/app/", true),
        ] {
            let got = after(stay, &[("service-worker-allowed", scope)]);
            assert_eq!(!got.is_empty(), stays, "{scope}");
        }
        assert_eq!(after(stay, &[("nel", "{}"), ("accept", "x")]), "accept: x");
    }
}
