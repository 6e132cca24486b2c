//! Headers that end at this hop (RFC 9110, 7.6.1).

use http::HeaderMap;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

use crate::gate::identity_headers::Managed;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// Belongs to an invitation to HTTP/2 (RFC 7540, 3.2.1), which is never passed on.
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Removes from a request what its `Connection` names: it ends here.
///
/// Runs before anything is decided, so that what is decided on is what is sent. What frames the message, what a
/// decision looks at, credentials and managed names stay, whatever `Connection` says.
pub fn drop_named(headers: &mut HeaderMap, managed: &Managed) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter(|value| !value.as_bytes().eq_ignore_ascii_case(b"keep-alive"))
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .filter(|name| headers.contains_key(name) && managed.may_be_dropped(name.as_str()))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Removes what ends at every hop.
pub fn drop_standing(headers: &mut HeaderMap) {
    for name in [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        HTTP2_SETTINGS,
    ] {
        headers.remove(name);
    }
}

/// Removes what ends here: first what `Connection` names, then the standing list.
pub fn strip(headers: &mut HeaderMap, managed: &Managed) {
    drop_named(headers, managed);
    drop_standing(headers);
}

/// Whether `Connection` lists `token`.
pub fn connection_has(headers: &HeaderMap, token: &str) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// Whether a message has no transfer coding but `chunked`, once: any other would be lost with the field that names it.
pub fn is_plainly_coded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// Whether a message says its length once, if at all (RFC 9110, 8.6).
pub fn has_one_length(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => true,
        (Some(length), None) => length.as_bytes().iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// What may not stand in trailers (RFC 9110, 6.5.1): framing, routing, content, and what decides about a message.
const NEVER_TRAILERS: [&str; 21] = [
    "age",
    "authorization",
    "cache-control",
    "clear-site-data",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expires",
    "host",
    "location",
    "proxy-authenticate",
    "range",
    "retry-after",
    "set-cookie",
    "strict-transport-security",
    "vary",
    "warning",
    "www-authenticate",
];

/// Removes from a request's trailers what may not stand there, credentials, media types, and every managed name.
pub fn strip_trailers(trailers: &mut HeaderMap, managed: &Managed) {
    strip(trailers, managed);
    managed.strip_trailers(trailers);
    drop_never(trailers);
}

/// Removes from an answer's trailers what may not stand there, and what only we say.
pub fn strip_answer_trailers(trailers: &mut HeaderMap, managed: &Managed) {
    strip(trailers, managed);
    managed.strip_answer(trailers);
    drop_never(trailers);
}

fn drop_never(trailers: &mut HeaderMap) {
    for name in NEVER_TRAILERS {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn what_connection_names_ends_here_unless_it_is_managed() {
        let mut map = headers(&[
            ("connection", "close, x-custom, x-auth-user, Cookie, host"),
            ("x-custom", "gone"),
            ("x-auth-user", "stays for the strip of its own"),
            ("cookie", "a=1"),
            ("host", "app"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("proxy-connection", "keep-alive"),
            ("accept", "*/*"),
        ]);
        strip(&mut map, &Managed::default());
        let mut left: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "cookie", "host", "x-auth-user"]);
    }

    #[test]
    fn connection_takes_away_nothing_that_is_looked_at_however_much_it_names() {
        let kept = [
            "content-type",
            "content-encoding",
            "x-request-id",
            "origin",
            "destination",
            "sec-websocket-key",
        ];
        let many = format!("{}, {}, x-custom", vec!["x-none"; 100].join(","), kept.join(" ,\t"));
        let mut map = HeaderMap::new();
        map.insert(CONNECTION, HeaderValue::from_str(&many).unwrap());
        for name in kept.into_iter().chain(["x-custom"]) {
            map.insert(name, HeaderValue::from_static("1"));
        }
        drop_named(&mut map, &Managed::default());
        assert_eq!(map.len(), kept.len() + 1, "{map:?}");
        assert!(!map.contains_key("x-custom") && map.contains_key(CONNECTION));
    }

    #[test]
    fn no_coding_but_chunked_is_plain() {
        assert!(
            is_plainly_coded(&headers(&[]))
                && is_plainly_coded(&headers(&[("transfer-encoding", "Chunked")]))
        );
        assert!(!is_plainly_coded(&headers(&[("transfer-encoding", "gzip, chunked")])));
        assert!(!is_plainly_coded(&headers(&[
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked")
        ])));
    }

    #[test]
    fn trailers_carry_no_credentials_framing_or_identity() {
        let mut map = headers(&[
            ("authorization", "Bearer x"),
            ("x_forwarded_user", "root"),
            ("content-length", "5"),
            ("host", "evil"),
            ("cookie", "a=1"),
            ("content-type", "application/json"),
            ("content_type", "text/plain"),
            ("script_name", "/public"),
            ("connection", "grpc-message"),
            ("set-cookie", "a=1"),
            ("grpc-status", "0"),
        ]);
        strip_trailers(&mut map, &Managed::default());
        assert_eq!(map.len(), 1, "{map:?}");
    }
}
