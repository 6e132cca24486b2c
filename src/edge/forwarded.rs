//! Who the client is when a proxy stands between: read only from trusted peers, written for upstreams.

use std::net::IpAddr;
use std::sync::Once;

use http::header::{FORWARDED, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::model::network;
use crate::model::principal::Client;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Whether the log says already that somebody sends headers that only our proxies may send. Once is enough for a
/// proxy that was forgotten, and leaves nothing to strangers who fill the log.
static UNBELIEVED: Once = Once::new();

/// Entries of a forwarding chain that are looked at.
const MOST_HOPS: usize = 32;

/// The other end of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Whether TLS is spoken on the connection.
    pub secure: bool,
}

/// The client behind a peer.
///
/// From a peer that is not trusted, the peer itself, whatever the headers say. From a trusted one, the
/// rightmost `X-Forwarded-For` entry that is not trusted in turn; an entry that is no address ends the walk.
pub fn client_of(peer: Peer, headers: &HeaderMap, trusted: &[IpNet]) -> Client {
    let address = peer.address.to_canonical();
    if !network::contains(trusted, address) {
        if headers.contains_key(X_FORWARDED_FOR) {
            UNBELIEVED.call_once(|| {
                tracing::warn!(
                    client.ip = %address,
                    "X-Forwarded-* headers are not believed: if this address is your proxy's, name it in \
                     server.trusted_proxies (said once)"
                );
            });
        }
        return Client { address, secure: peer.secure };
    }
    let mut client = address;
    let chain = headers.get_all(X_FORWARDED_FOR).iter().collect::<Vec<_>>();
    let entries = chain.iter().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    for entry in entries.take(MOST_HOPS) {
        let Some(hop) = std::str::from_utf8(entry).ok().and_then(|text| parse_hop(text.trim())) else {
            break;
        };
        client = hop;
        if !network::contains(trusted, hop) {
            break;
        }
    }
    // The last value is the one our own proxy wrote.
    let proto = headers.get_all(X_FORWARDED_PROTO).iter().next_back();
    let secure =
        match proto.map(|value| value.as_bytes().rsplit(|byte| *byte == b',').next().unwrap_or_default()) {
            Some(proto) => {
                proto.trim_ascii().eq_ignore_ascii_case(b"https")
                    || proto.trim_ascii().eq_ignore_ascii_case(b"wss")
            }
            None => peer.secure,
        };
    Client { address: client, secure }
}

/// An address, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<std::net::SocketAddr>().map(|with_port| with_port.ip()))
        .or_else(|_| text.trim_start_matches('[').trim_end_matches(']').parse())
        .ok()?;
    Some(address.to_canonical())
}

/// The chain to hand on: what a trusted peer sent, then the peer; from anyone else the peer alone.
pub fn chain(peer: Peer, headers: &HeaderMap, trusted: &[IpNet]) -> HeaderValue {
    let address = peer.address.to_canonical();
    let mut chain = Vec::new();
    if network::contains(trusted, address) {
        for value in headers.get_all(X_FORWARDED_FOR) {
            chain.extend_from_slice(value.as_bytes());
            chain.extend_from_slice(b", ");
        }
    }
    chain.extend_from_slice(node(address).as_bytes());
    HeaderValue::from_bytes(&chain).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// An address as it is written for upstreams; a peer on a socket file has none (RFC 7239, 6.2).
fn node(address: IpAddr) -> String {
    if address == network::UNIX_PEER { "unknown".to_owned() } else { address.to_string() }
}

/// Writes `X-Forwarded-For`, `-Proto`, `-Host` and `Forwarded` (RFC 7239) for an upstream.
///
/// Every client copy has been removed before.
pub fn write(headers: &mut HeaderMap, client: Client, chain: HeaderValue) {
    let proto = if client.secure { "https" } else { "http" };
    headers.insert(X_FORWARDED_FOR, chain);
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    if let Some(host) = headers.get(HOST).cloned() {
        let node = match client.address {
            IpAddr::V6(v6) => format!("\"[{v6}]\""),
            v4 @ IpAddr::V4(_) => node(v4),
        };
        let forwarded = format!("for={node};host=\"{}\";proto={proto}", host.to_str().unwrap_or_default());
        if let Ok(value) = HeaderValue::from_str(&forwarded) {
            headers.insert(FORWARDED, value);
        }
        headers.insert(X_FORWARDED_HOST, host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, list: &[(&'static str, &str)]) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let peer = Peer { address: peer.parse().unwrap(), secure: false };
        let client = client_of(peer, &headers, &trusted);
        (client.address.to_string(), client.secure)
    }

    #[test]
    fn headers_of_an_untrusted_peer_have_no_effect() {
        let forged = [("x-forwarded-for", "10.0.0.9"), ("x-forwarded-proto", "https")];
        assert_eq!(client("192.0.2.7", &forged), ("192.0.2.7".into(), false));
    }

    #[test]
    fn the_chain_is_walked_from_the_right_past_trusted_hops_only() {
        for (chain, expected) in [
            ("198.51.100.1", "198.51.100.1"),
            ("6.6.6.6, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
            ("198.51.100.1:4711", "198.51.100.1"),
            ("[2001:db8::1]:9", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("6.6.6.6, unknown", "10.0.0.1"),
            ("6.6.6.6, a, 10.0.0.2", "10.0.0.2"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[("x-forwarded-for", chain)]).0, expected, "{chain}");
        }
        let lines = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "198.51.100.1")];
        assert_eq!(client("10.0.0.1", &lines).0, "198.51.100.1");
        assert_eq!(client("10.0.0.1", &[]).0, "10.0.0.1");
        let long = "1.1.1.1, ".repeat(10_000);
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", long.trim_end_matches(", "))]).0, "1.1.1.1");
    }

    #[test]
    fn only_https_makes_a_client_secure() {
        for (proto, secure) in [
            ("https", true),
            ("HTTPS", true),
            ("wss", true),
            ("http", false),
            ("javascript", false),
            ("https, http", false),
        ] {
            assert_eq!(client("10.0.0.1", &[("x-forwarded-proto", proto)]).1, secure, "{proto}");
        }
    }

    #[test]
    fn upstreams_see_the_real_peer() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("app.example"));
        headers.insert(X_FORWARDED_FOR, HeaderValue::from_static("6.6.6.6"));
        let peer = Peer { address: "192.0.2.7".parse().unwrap(), secure: true };
        let chain = chain(peer, &headers, &[]);
        write(&mut headers, client_of(peer, &HeaderMap::new(), &[]), chain);
        assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["forwarded"], "for=192.0.2.7;host=\"app.example\";proto=https");
    }

    #[test]
    fn a_peer_on_a_socket_file_is_unknown_and_believed_only_if_said_so() {
        let peer = Peer { address: network::UNIX_PEER, secure: false };
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("app.example"));
        headers.insert(X_FORWARDED_FOR, HeaderValue::from_static("198.51.100.1"));
        let loopback = ["127.0.0.0/8".parse().unwrap()];
        assert_eq!(client_of(peer, &headers, &loopback).address, network::UNIX_PEER);
        assert_eq!(chain(peer, &headers, &loopback), "unknown");
        let unix = [IpNet::from(network::UNIX_PEER)];
        assert_eq!(client_of(peer, &headers, &unix).address.to_string(), "198.51.100.1");
        assert_eq!(chain(peer, &headers, &unix), "198.51.100.1, unknown");
        let chain = chain(peer, &HeaderMap::new(), &loopback);
        write(&mut headers, client_of(peer, &HeaderMap::new(), &loopback), chain);
        assert_eq!(headers["forwarded"], "for=unknown;host=\"app.example\";proto=http");
    }
}
