//! Identity headers and those of this hop: no spelling of a managed name is left, and none of ours is dropped.
//!
//! Input: header lines.

use doorward::config::HeaderPreset;
use doorward::edge::proxy::hop_by_hop;
use doorward::gate::identity_headers::{Managed, names};
use http::HeaderMap;

/// What a server that keeps headers as variables makes of a name.
fn fold(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

pub fn check(data: &[u8]) {
    let sent = super::header_lines(data);
    let preset_names = || HeaderPreset::ALL.iter().flat_map(|preset| names(*preset)).map(|(name, _)| *name);

    let managed = Managed::default();
    let mut headers = sent.clone();
    hop_by_hop::strip(&mut headers, &managed);
    for name in
        preset_names().chain(["authorization", "cookie", "host", "content-length", "content-type", "origin"])
    {
        let kept = |headers: &HeaderMap| headers.get_all(name).iter().cloned().collect::<Vec<_>>();
        assert_eq!(kept(&headers), kept(&sent), "`connection` took {name} away");
    }
    for name in
        ["connection", "te", "trailer", "transfer-encoding", "upgrade", "keep-alive", "proxy-authorization"]
    {
        assert!(!headers.contains_key(name), "{name} went on");
    }

    managed.strip(&mut headers, &[]);
    for left in headers.keys() {
        let folded = fold(left.as_str());
        assert_eq!(left.as_str(), folded, "an odd name went on");
        let claims = preset_names().any(|name| name == folded);
        assert!(!claims, "{left} went on");
        for family in [
            "ssl-",
            "x-envoy-",
            "x-forwarded-",
            "x-auth-request-",
            "remote-",
            "x-authentik-",
            "x-doorward-",
            "x-webauth-",
        ] {
            assert!(!folded.starts_with(family), "{left} went on");
        }
    }

    let mut trailers = sent;
    hop_by_hop::strip_trailers(&mut trailers, &managed);
    for left in trailers.keys() {
        let folded = fold(left.as_str());
        assert!(!preset_names().any(|name| name == folded), "the trailer {left} went on");
        assert!(
            !["authorization", "content-type", "cookie", "host", "content-length"].contains(&left.as_str()),
            "{left}"
        );
    }
}
