//! Headers that end at this hop (RFC 9110, 7.6.1).

use http::header::{
    CONNECTION, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

use crate::gate::identity_headers::Managed;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Most tokens of a `Connection` header that are looked at; more are not sent by anyone honest.
const MOST_TOKENS: usize = 32;

/// Removes what ends here: first what `Connection` names, then the standing list.
///
/// Runs before our own headers are set, and never removes a managed one, so a client cannot make us drop them.
pub fn strip(headers: &mut HeaderMap, managed: &Managed) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter(|value| !value.as_bytes().eq_ignore_ascii_case(b"keep-alive"))
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .take(MOST_TOKENS)
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .filter(|name| managed.may_be_dropped(name.as_str()))
        .collect();
    for name in &named {
        headers.remove(name);
    }
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
    ] {
        headers.remove(name);
    }
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

/// The protocol a request asks to switch to, where it asks properly (RFC 9110, 7.8): exactly one, and named
/// in `Connection`.
pub fn upgrade_of(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = headers.get_all(UPGRADE).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if connection_has(headers, "upgrade") => Some(value),
        _ => None,
    }
}

/// Removes from trailers what may not stand there (RFC 9110, 6.5.1): framing, routing, credentials, and
/// every managed name.
pub fn strip_trailers(trailers: &mut HeaderMap, managed: &Managed) {
    strip(trailers, managed);
    managed.strip(trailers);
    for name in
        ["authorization", "content-length", "content-encoding", "content-type", "cookie", "host", "x-api-key"]
    {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
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
            ("proxy-connection", "keep-alive"),
            ("accept", "*/*"),
        ]);
        strip(&mut map, &Managed::default());
        let mut left: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "cookie", "host", "x-auth-user"]);
    }

    #[test]
    fn an_upgrade_counts_only_with_connection_and_once() {
        assert!(
            upgrade_of(&headers(&[("upgrade", "websocket"), ("connection", "keep-alive, Upgrade")]))
                .is_some()
        );
        assert!(upgrade_of(&headers(&[("upgrade", "websocket")])).is_none());
        assert!(upgrade_of(&headers(&[("connection", "upgrade")])).is_none());
        let mut twice = headers(&[("upgrade", "websocket"), ("connection", "upgrade")]);
        twice.append(UPGRADE, HeaderValue::from_static("h2c"));
        assert!(upgrade_of(&twice).is_none());
    }

    #[test]
    fn trailers_carry_no_credentials_framing_or_identity() {
        let mut map = headers(&[
            ("authorization", "Bearer x"),
            ("x_forwarded_user", "root"),
            ("content-length", "5"),
            ("host", "evil"),
            ("cookie", "a=1"),
            ("grpc-status", "0"),
        ]);
        strip_trailers(&mut map, &Managed::default());
        assert_eq!(map.len(), 1, "{map:?}");
    }
}
