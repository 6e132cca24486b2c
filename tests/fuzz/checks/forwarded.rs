//! Forwarded headers: an unknown client's change nothing, and a trusted proxy is believed to the last stranger.
//!
//! Input: header lines.

use std::net::IpAddr;

use doorward::edge::forwarded::{Peer, chain, client_of, write};
use http::header::HOST;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

pub fn check(data: &[u8]) {
    let headers = super::header_lines(data);
    let trusted: [IpNet; 2] = ["10.0.0.0/8", "2001:db8:1::/48"].map(|net| net.parse().expect("a network"));
    let peer =
        |text: &str, secure| Peer { address: text.parse().expect("an address"), veiled: false, secure };

    for (address, secure) in [("192.0.2.7", false), ("2001:db8:2::7", true), ("::ffff:192.0.2.7", false)] {
        let stranger = peer(address, secure);
        let client = client_of(stranger, &headers, &trusted);
        assert_eq!((client.address.known(), client.secure), (Some(stranger.address.to_canonical()), secure));
        let own = client.address.to_string();
        assert_eq!(chain(stranger, &headers, &trusted).as_bytes(), own.as_bytes());
    }

    for address in ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8:1::1"] {
        let proxy = peer(address, false);
        let client = client_of(proxy, &headers, &trusted).address.known();
        let told = told(&headers);
        let own = proxy.address.to_canonical();
        // The proxy speaks for itself only where nothing says that it forwards.
        let silent = !headers.contains_key("x-forwarded-for");
        let fits = client.is_none_or(|client| client == own && silent || told.contains(&client));
        assert!(fits, "{client:?} stands nowhere");
        // What our own proxy appends decides; nothing that stands left of it does.
        let mut appended = headers.clone();
        appended.append("x-forwarded-for", HeaderValue::from_static("198.51.100.9"));
        appended.append("x-forwarded-proto", HeaderValue::from_static("https"));
        let client = client_of(proxy, &appended, &trusted);
        assert_eq!((client.address.to_string().as_str(), client.secure), ("198.51.100.9", true));
        let handed_on = chain(proxy, &appended, &trusted);
        assert!(handed_on.as_bytes().ends_with(format!(", {own}").as_bytes()) || handed_on == "unknown");

        let mut out = HeaderMap::new();
        out.insert(HOST, HeaderValue::from_static("app.example:8080"));
        write(&mut out, client, handed_on);
        for name in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"] {
            assert_eq!(out.get_all(name).iter().count(), 1, "{name}");
        }
        assert_eq!(out["forwarded"], "for=198.51.100.9;host=\"app.example:8080\";proto=https");
    }
}

/// Every address that some entry of the chain names.
fn told(headers: &HeaderMap) -> Vec<IpAddr> {
    let lines =
        headers.get_all("x-forwarded-for").iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let entries =
        lines.flat_map(|line| line.split(',').map(|entry| entry.trim().to_owned()).collect::<Vec<_>>());
    entries
        .filter_map(|entry| {
            let bare = entry.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            let with_port = || entry.parse::<std::net::SocketAddr>().map(|address| address.ip());
            bare.or_else(|_| with_port()).ok().map(|address| address.to_canonical())
        })
        .collect()
}
