//! What must hold for any input, one check for each reader of what unknown clients send.
//!
//! A check takes bytes as a fuzzer makes them and panics where something does not hold. `fuzz/targets` holds
//! one line for each; `tests/fuzz/main.rs` runs them over `tests/fuzz/seeds`.

pub mod authorization_response;
pub mod claims;
pub mod configuration;
pub mod credentials;
pub mod forwarded;
pub mod graphql;
pub mod headers;
pub mod mcp;
pub mod proxy_protocol;
pub mod query;
pub mod return_target;
pub mod target;
pub mod wire;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Reads `name: value` lines; those that no server would take for a header are left out.
fn header_lines(data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.trim_ascii()), HeaderValue::from_bytes(value.trim_ascii()))
        else {
            continue;
        };
        headers.append(name, value);
    }
    headers
}

/// The first line, and the rest.
fn first_line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[]),
    }
}
