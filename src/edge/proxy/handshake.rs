//! Switches of protocol: what a request asks for, and whether an answer agrees (RFC 9110, 7.8; RFC 6455, 4).
//!
//! Servers read `Upgrade` in many ways: as a list, by its first or last token, by a part of it. So only what names
//! exactly one protocol in exactly one way is understood here, and what is understood is what is sent.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::hop_by_hop::connection_has;
use crate::edge::pages::problem::Problem;

/// The protocol of RFC 6455.
const WEBSOCKET: &str = "websocket";
/// What the answer's key is made with (RFC 6455, 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a handshake's key (RFC 6455, 4.1).
const KEY: usize = 16;

/// Why an upgrade request is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Several protocols, none, or one that is not plainly named.
    #[error("Upgrade does not name one protocol")]
    Protocol,
    /// A WebSocket by another method than GET.
    #[error("a WebSocket is opened by GET")]
    Method,
    /// A WebSocket of another version than 13.
    #[error("Sec-WebSocket-Version is not 13")]
    Version,
    /// A WebSocket without its key, with several, or with one that is not 16 bytes in base64.
    #[error("Sec-WebSocket-Key is not one of 16 bytes")]
    Key,
}

impl From<HandshakeError> for Problem {
    fn from(odd: HandshakeError) -> Self {
        if odd == HandshakeError::Version { Self::websocket_version() } else { Self::odd_upgrade(&odd) }
    }
}

/// The protocol that an HTTP/1.1 request asks for, if it asks for one.
///
/// A lone invitation to speak HTTP in another version or inside TLS on the same connection is declined, as a server
/// may: whatever came after it would come past every rule.
///
/// # Errors
///
/// [`HandshakeError::Protocol`] if it asks in a way that two servers could read differently.
pub fn protocol_of(headers: &HeaderMap) -> Result<Option<&str>, HandshakeError> {
    let mut lines = headers.get_all(UPGRADE).iter();
    let first = match lines.next() {
        // Without its `Connection` option the field has no meaning, and is not passed on.
        Some(first) if connection_has(headers, "upgrade") => first,
        _ => return Ok(None),
    };
    let text = first.to_str().map_err(|_| HandshakeError::Protocol)?;
    let (name, version) = match text.split_once('/') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let plain = lines.next().is_none() && is_token(name) && version.is_none_or(is_token);
    if !plain || (name.eq_ignore_ascii_case(WEBSOCKET) && version.is_some()) {
        return Err(HandshakeError::Protocol);
    }
    Ok((!carries_http(name)).then_some(text))
}

/// Whether a protocol is the WebSocket's.
pub fn is_websocket(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case(WEBSOCKET)
}

/// Looks at a WebSocket's handshake before it is decided (RFC 6455, 4.2.1).
///
/// # Errors
///
/// [`HandshakeError`] if a server could take it for another kind of request.
pub fn check(method: &Method, headers: &HeaderMap) -> Result<(), HandshakeError> {
    if *method != Method::GET {
        return Err(HandshakeError::Method);
    }
    if single(headers, &SEC_WEBSOCKET_VERSION).is_none_or(|version| version.as_bytes() != b"13") {
        return Err(HandshakeError::Version);
    }
    key(headers).map(|_| ()).ok_or(HandshakeError::Key)
}

/// What was asked for, to be held against the answer.
#[derive(Clone, Debug)]
pub struct Handshake {
    protocol: HeaderValue,
    /// What `Sec-WebSocket-Accept` must say, where it is a WebSocket.
    accept: Option<String>,
}

impl Handshake {
    /// The one in a request's headers.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let protocol = protocol_of(headers).ok()??;
        if !is_websocket(protocol) {
            return Some(Self { protocol: HeaderValue::from_str(protocol).ok()?, accept: None });
        }
        let seed = [key(headers)?.as_bytes(), GUID.as_bytes()].concat();
        let accept = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &seed));
        Some(Self { protocol: HeaderValue::from_static(WEBSOCKET), accept: Some(accept) })
    }

    /// Puts it into headers that have lost it as hop-by-hop, on either side.
    pub fn put(&self, headers: &mut HeaderMap) {
        headers.insert(UPGRADE, self.protocol.clone());
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }

    /// Whether the headers of a 101 agree to just this (RFC 9110, 15.2.2; RFC 6455, 4.1).
    pub fn is_agreed_to(&self, headers: &HeaderMap) -> bool {
        let same = single(headers, &UPGRADE)
            .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(self.protocol.as_bytes()));
        let accepted = self.accept.as_ref().is_none_or(|accept| {
            single(headers, &SEC_WEBSOCKET_ACCEPT).is_some_and(|value| value.as_bytes() == accept.as_bytes())
        });
        same && accepted && connection_has(headers, "upgrade")
    }
}

/// The key, if there is one as it should be.
fn key(headers: &HeaderMap) -> Option<&HeaderValue> {
    let key = single(headers, &SEC_WEBSOCKET_KEY)?;
    let bytes = STANDARD.decode(key.as_bytes()).ok()?;
    (bytes.len() == KEY).then_some(key)
}

/// Whether a protocol carries requests of its own.
fn carries_http(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(name.as_str(), "h2" | "h2c" | "h3" | "http" | "tls")
        || ["h2-", "h2c-", "h3-"].iter().any(|draft| name.starts_with(draft))
}

/// RFC 9110, 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        let one = |(name, value): &(&str, &str)| -> (HeaderName, HeaderValue) {
            (name.parse().unwrap(), value.parse().unwrap())
        };
        let mut map = HeaderMap::new();
        for (name, value) in list.iter().map(one) {
            map.append(name, value);
        }
        map
    }

    fn asked(connection: &str, upgrade: &[&str]) -> Result<Option<String>, HandshakeError> {
        let list: Vec<_> = upgrade.iter().map(|value| ("upgrade", *value)).collect();
        let map = headers(&[&[("connection", connection)], &list[..]].concat());
        protocol_of(&map).map(|protocol| protocol.map(str::to_owned))
    }

    #[test]
    fn one_plain_name_is_one_protocol_and_everything_else_is_none() {
        for one in ["websocket", "WebSocket", "tcp", "SPDY/3.1", "spice"] {
            assert_eq!(asked("Upgrade", &[one]), Ok(Some(one.to_owned())));
            assert_eq!(asked("keep-alive, uPGRADE ", &[one]), Ok(Some(one.to_owned())));
            // Not asked at all.
            assert_eq!(asked("keep-alive", &[one]), Ok(None));
        }
        assert_eq!(asked("upgrade", &[]), Ok(None));
        for declined in ["h2c", "H2C", "h2", "h2c-14", "HTTP/2.0", "TLS/1.0"] {
            assert_eq!(asked("upgrade, http2-settings", &[declined]), Ok(None), "{declined}");
        }
        for odd in [
            &["websocket,"][..],
            &[",websocket"],
            &["x, websocket"],
            &["websocket, x"],
            &["h2c, websocket"],
            &["websocket,h2c"],
            &["websocket websocket"],
            &["WebSocket/13"],
            &["websocket/"],
            &["/websocket"],
            &["websocket;q=1"],
            &["\"websocket\""],
            &["websocket", "websocket"],
            &["h2c", "websocket"],
            &["websocket", ""],
            &["", "websocket"],
            &[""],
            &["tcp/1/2"],
        ] {
            assert_eq!(asked("upgrade", odd), Err(HandshakeError::Protocol), "{odd:?}");
        }
    }

    const GOOD: [(&str, &str); 2] =
        [("sec-websocket-version", "13"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")];

    #[test]
    fn a_handshake_has_one_version_and_one_key() {
        assert_eq!(check(&Method::GET, &headers(&GOOD)), Ok(()));
        for method in [Method::POST, Method::HEAD, Method::OPTIONS] {
            assert_eq!(check(&method, &headers(&GOOD)), Err(HandshakeError::Method));
        }
        for version in ["", "8", "013", "13, 8", "13.0", " 13a"] {
            let list = [("sec-websocket-version", version), GOOD[1]];
            assert_eq!(check(&Method::GET, &headers(&list)), Err(HandshakeError::Version), "{version}");
        }
        for key in [
            "",
            "x",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZSE=",
            "dGhlIHNhbXBsZSBub25jZR==",
            "dGhlIHNhbXBsZSBub25jZQ==, x",
            "dGhlIHNhbXBsZSBub25j*Q==",
        ] {
            let list = [GOOD[0], ("sec-websocket-key", key)];
            assert_eq!(check(&Method::GET, &headers(&list)), Err(HandshakeError::Key), "{key}");
        }
        for (doubled, odd) in [(GOOD[0], HandshakeError::Version), (GOOD[1], HandshakeError::Key)] {
            let list = [GOOD[0], GOOD[1], doubled];
            assert_eq!(check(&Method::GET, &headers(&list)), Err(odd));
        }
    }

    const ANSWER: [(&str, &str); 3] = [
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ];

    #[test]
    fn only_the_answer_to_this_handshake_is_one() {
        let asked = headers(&[&GOOD[..], &[("upgrade", "WebSocket"), ("connection", "upgrade")]].concat());
        let handshake = Handshake::of(&asked).unwrap();
        assert!(handshake.is_agreed_to(&headers(&ANSWER)));
        for (at, (name, _)) in ANSWER.iter().enumerate() {
            let without: Vec<_> =
                ANSWER.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, h)| *h).collect();
            assert!(!handshake.is_agreed_to(&headers(&without)), "without {name}");
            let other = [&without[..], &[(*name, "tcp")]].concat();
            assert!(!handshake.is_agreed_to(&headers(&other)), "another {name}");
        }
        let twice = [&ANSWER[..], &ANSWER[2..]].concat();
        assert!(!handshake.is_agreed_to(&headers(&twice)));
        let tcp = Handshake::of(&headers(&[("upgrade", "tcp"), ("connection", "upgrade")])).unwrap();
        assert!(tcp.is_agreed_to(&headers(&[("upgrade", "tcp"), ("connection", "upgrade")])));
        assert!(!tcp.is_agreed_to(&headers(&ANSWER)));
    }
}
