//! Client addresses behind proxies (RFC 7239): read from trusted peers only, and written for upstreams.

use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Once;

use bytes::Bytes;
use http::header::{FORWARDED, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::model::network;
use crate::model::principal::{Client, ClientAddress};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Whether the log says already that somebody sends headers that only our proxies may send. Once is enough for a
/// proxy that was forgotten, and gives unknown clients no way to fill the log.
static UNBELIEVED: Once = Once::new();

/// Entries of a forwarding chain that are looked at.
const MOST_HOPS: usize = 32;

/// Other headers with which a proxy says that a request is not its own.
const FORWARDS: [HeaderName; 4] =
    [X_FORWARDED_PROTO, X_FORWARDED_HOST, FORWARDED, HeaderName::from_static("x-real-ip")];

/// The other end of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Whether it hands on the connection of somebody of whom it cannot tell where (PROXY protocol, `UNKNOWN`).
    /// Then nothing that comes over the connection is its word.
    pub veiled: bool,
    /// Whether TLS is spoken on the connection.
    pub secure: bool,
}

impl Peer {
    /// Whether it is one whose word about others is believed.
    pub fn is_trusted(self, trusted: &[IpNet]) -> bool {
        !self.veiled && network::contains(trusted, self.address)
    }

    /// The address of the client that the connection belongs to.
    pub fn speaker(self) -> ClientAddress {
        if self.veiled { self.beyond() } else { ClientAddress::at(self.address) }
    }

    /// Somewhere behind it.
    pub fn beyond(self) -> ClientAddress {
        ClientAddress::behind(self.address)
    }
}

/// The client behind a peer.
///
/// From a peer that is not trusted, the peer itself, whatever the headers say. From a trusted one, the
/// rightmost `X-Forwarded-For` entry that is not trusted in turn. Where that walk meets something that is no
/// address, or does not end within [`MOST_HOPS`], the client is unknown: it is not the proxy. A trusted peer that
/// forwards nothing speaks for itself.
pub fn client_of(peer: Peer, headers: &HeaderMap, trusted: &[IpNet]) -> Client {
    if !peer.is_trusted(trusted) {
        if headers.contains_key(X_FORWARDED_FOR) {
            UNBELIEVED.call_once(|| {
                tracing::warn!(
                    client.ip = %peer.address.to_canonical(),
                    "X-Forwarded-* headers are not believed: if this address is your proxy's, name it in \
                     server.trusted_proxies (said once)"
                );
            });
        }
        return Client { address: peer.speaker(), secure: peer.secure, by_proxy: false };
    }
    let forwards = || FORWARDS.iter().any(|name| headers.contains_key(name));
    let address = if !headers.contains_key(X_FORWARDED_FOR) && !forwards() {
        peer.speaker()
    } else {
        walk(headers, trusted).map_or(peer.beyond(), ClientAddress::at)
    };
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
    Client { address, secure, by_proxy: true }
}

/// The client of whom a trusted proxy asks. A question is never on the proxy's own behalf, so that without
/// `X-Forwarded-For` the client is unknown.
pub fn client_in_question(peer: Peer, headers: &HeaderMap, trusted: &[IpNet]) -> Client {
    let client = client_of(peer, headers, trusted);
    if headers.contains_key(X_FORWARDED_FOR) { client } else { Client { address: peer.beyond(), ..client } }
}

/// From the right to the first hop that is not trusted, or to the beginning; `None` if that cannot be read.
fn walk(headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let chain = headers.get_all(X_FORWARDED_FOR).iter().collect::<Vec<_>>();
    let entries = chain.iter().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    let mut client = None;
    for (number, entry) in entries.enumerate() {
        let hop = std::str::from_utf8(entry).ok().and_then(parse_hop).filter(|_| number < MOST_HOPS)?;
        client = Some(hop);
        if !network::contains(trusted, hop) {
            break;
        }
    }
    client
}

/// An address that a client can have, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`,
/// `[2001:db8::1]`, `[2001:db8::1]:80`.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches([' ', '\t']);
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    // A zone means something to one machine only (RFC 4007, 11.2).
    let with_port = || {
        let address = text.parse::<SocketAddr>().ok().filter(|_| !text.contains('%'))?;
        Some(address.ip())
    };
    network::of_client(text.parse().ok().or_else(with_port).or_else(bracketed)?)
}

/// The chain to hand on: what a trusted peer sent, then the peer; from anyone else the peer alone.
pub fn chain(peer: Peer, headers: &HeaderMap, trusted: &[IpNet]) -> HeaderValue {
    let mut chain = Vec::with_capacity(48);
    if peer.is_trusted(trusted) {
        for value in headers.get_all(X_FORWARDED_FOR) {
            chain.extend_from_slice(value.as_bytes());
            chain.extend_from_slice(b", ");
        }
    }
    _ = write!(chain, "{}", peer.speaker());
    HeaderValue::from_maybe_shared(Bytes::from(chain)).unwrap_or(HeaderValue::from_static("unknown"))
}

/// Writes `X-Forwarded-For`, `-Proto`, `-Host` and `Forwarded` (RFC 7239) for an upstream.
///
/// Every client copy has been removed before.
pub fn write(headers: &mut HeaderMap, client: Client, chain: HeaderValue) {
    let proto = if client.secure { "https" } else { "http" };
    headers.insert(X_FORWARDED_FOR, chain);
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    if let Some(host) = headers.get(HOST).cloned() {
        let mut forwarded = Vec::with_capacity(host.len() + 80);
        _ = match client.address.known() {
            Some(IpAddr::V6(v6)) => write!(forwarded, "for=\"[{v6}]\""),
            _ => write!(forwarded, "for={}", client.address),
        };
        _ = write!(forwarded, ";host=\"{}\";proto={proto}", host.to_str().unwrap_or_default());
        if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(forwarded)) {
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
        let peer = Peer { address: peer.parse().unwrap(), veiled: false, secure: false };
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
            ("[2001:db8::1]", "2001:db8::1"),
            ("::ffff:198.51.100.1", "198.51.100.1"),
            ("[::ffff:198.51.100.1]:9", "198.51.100.1"),
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
    fn whoever_cannot_be_read_is_unknown_and_never_the_proxy() {
        let hops = |count: usize| vec!["10.0.0.2"; count].join(", ");
        for chain in [
            "",
            ",",
            "198.51.100.1,",
            "6.6.6.6, unknown",
            "6.6.6.6, a, 10.0.0.2",
            "6.6.6.6, , 10.0.0.2",
            "fe80::1%eth0",
            "[fe80::1%1]:80",
            "[fe80::1%eth0]:80",
            "1.2.3.4:99999",
            "1.2.3.4:",
            "1.2.3.4:http",
            "01.2.3.4",
            "1.2.3",
            "0x7f.1",
            "2130706433",
            "_hidden",
            "\"198.51.100.1\"",
            "for=198.51.100.1",
            "[[2001:db8::1]]",
            "[2001:db8::1",
            "[198.51.100.1]",
            "198.51.100.1 10.0.0.2",
            "\u{a0}198.51.100.1",
            "localhost",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "::10.0.0.9",
            "\u{fc}",
            &hops(MOST_HOPS + 1),
        ] {
            for list in [
                vec![("x-forwarded-for", chain)],
                vec![("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", chain)],
            ] {
                assert_eq!(client("10.0.0.1", &list).0, "unknown", "{chain}");
            }
        }
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", &hops(MOST_HOPS))]).0, "10.0.0.2");
        for name in ["forwarded", "x-real-ip", "x-forwarded-proto", "x-forwarded-host"] {
            assert_eq!(client("10.0.0.1", &[(name, "for=198.51.100.1")]).0, "unknown", "{name}");
            assert_eq!(client("192.0.2.7", &[(name, "for=198.51.100.1")]).0, "192.0.2.7", "{name}");
        }
        let proxy = Peer { address: "10.0.0.1".parse().unwrap(), veiled: false, secure: false };
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let unknown = client_in_question(proxy, &HeaderMap::new(), &trusted);
        assert_eq!((unknown.address.known(), unknown.address.nearest()), (None, proxy.address));
        assert_eq!(client_of(proxy, &HeaderMap::new(), &trusted).address.known(), Some(proxy.address));
    }

    #[test]
    fn a_veiled_peer_is_unknown_and_never_believed() {
        let peer = Peer { address: "10.0.0.1".parse().unwrap(), veiled: true, secure: false };
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        headers.insert(X_FORWARDED_FOR, HeaderValue::from_static("198.51.100.1"));
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
        let client = client_of(peer, &headers, &trusted);
        assert_eq!((client.address.known(), client.secure), (None, false));
        assert_eq!(chain(peer, &headers, &trusted), "unknown");
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
        let peer = Peer { address: "192.0.2.7".parse().unwrap(), veiled: false, secure: true };
        let chain = chain(peer, &headers, &[]);
        write(&mut headers, client_of(peer, &HeaderMap::new(), &[]), chain);
        assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["forwarded"], "for=192.0.2.7;host=\"app.example\";proto=https");
    }

    #[test]
    fn a_peer_on_a_socket_file_is_unknown_and_believed_only_if_said_so() {
        let peer = Peer { address: network::UNIX_PEER, veiled: false, secure: false };
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("app.example"));
        headers.insert(X_FORWARDED_FOR, HeaderValue::from_static("198.51.100.1"));
        let loopback = ["127.0.0.0/8".parse().unwrap()];
        assert_eq!(client_of(peer, &headers, &loopback).address.known(), None);
        assert_eq!(chain(peer, &headers, &loopback), "unknown");
        let unix = [IpNet::from(network::UNIX_PEER)];
        assert_eq!(client_of(peer, &headers, &unix).address.to_string(), "198.51.100.1");
        assert_eq!(chain(peer, &headers, &unix), "198.51.100.1, unknown");
        let chain = chain(peer, &HeaderMap::new(), &loopback);
        write(&mut headers, client_of(peer, &HeaderMap::new(), &loopback), chain);
        assert_eq!(headers["forwarded"], "for=unknown;host=\"app.example\";proto=http");
    }
}
