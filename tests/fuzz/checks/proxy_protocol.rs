//! PROXY headers: what is read of one does not depend on how its bytes come in, nor on what follows.
//!
//! Input: the first bytes of a connection.

use doorward::server::proxy_protocol::{Parsed, ProxiedSource, parse};

/// No header is longer.
const LONGEST: usize = 2048;

pub fn check(data: &[u8]) {
    let whole = parse(data);
    if data.len() >= LONGEST {
        assert_ne!(whole, Ok(Parsed::More), "bytes are waited for without end");
    }
    // Bytes come one by one: the first thing that is known of them stays true.
    let known =
        (0..=data.len()).map(|end| (end, parse(&data[..end]))).find(|(_, found)| *found != Ok(Parsed::More));
    match known {
        None => assert_eq!(whole, Ok(Parsed::More)),
        Some((end, found)) => {
            assert_eq!(found, whole, "it was {found:?} after {end} bytes");
            if let Ok(Parsed::Header(header)) = found {
                assert_eq!(header.length, end, "a header that ends elsewhere than it was known");
            }
        }
    }
    let Ok(Parsed::Header(header)) = whole else { return };
    for tail in
        [&b"GET / HTTP/1.1\r\n"[..], b"PROXY TCP4 6.6.6.6 6.6.6.6 1 1\r\n", b"\r\n\r\n\0\r\nQUIT\n", b"\0"]
    {
        let followed = [&data[..header.length], tail].concat();
        assert_eq!(parse(&followed), whole, "what follows a header changes it");
    }
    let ProxiedSource::Client(client) = header.sender else { return };
    assert!(!client.is_unspecified() && !client.is_multicast(), "{client}");
    assert_eq!(client, client.to_canonical());
    // The client stands in the header, as text or as bytes.
    let own = &data[..header.length];
    if own.starts_with(b"PROXY ") {
        let text = std::str::from_utf8(own).expect("a line is text");
        let named = text.split([' ', '\r']).nth(2).and_then(|word| word.parse::<std::net::IpAddr>().ok());
        assert_eq!(named.map(|address| address.to_canonical()), Some(client));
    } else {
        let bytes = match client {
            std::net::IpAddr::V4(address) => address.octets().to_vec(),
            std::net::IpAddr::V6(address) => address.octets().to_vec(),
        };
        assert!(own[16..].windows(bytes.len()).any(|window| window == bytes));
    }
}
