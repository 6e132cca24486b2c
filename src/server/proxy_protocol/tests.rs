//! Headers as they should be, as they should not be, in pieces, and at random.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::*;

/// A header of version 2.
fn second(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE.as_slice(), &[command, family], &length, rest].concat()
}

fn ipv4(source: [u8; 4]) -> Vec<u8> {
    [source.as_slice(), &[10, 0, 0, 1], &[0xC0, 0x01], &[0, 80]].concat()
}

fn client(bytes: &[u8]) -> String {
    match parse(bytes) {
        Ok(Parsed::Header(ProxyHeader { length, sender })) => {
            assert_eq!(length, bytes.len());
            match sender {
                ProxiedSource::Client(address) => address.to_string(),
                ProxiedSource::Proxy => "the proxy".to_owned(),
                ProxiedSource::Unknown => "unknown".to_owned(),
            }
        }
        other => panic!("{other:?} for {:?}", String::from_utf8_lossy(bytes)),
    }
}

#[test]
fn a_line_names_the_client_or_nobody() {
    for (line, expected) in [
        ("PROXY TCP4 198.51.100.1 10.0.0.1 49153 80\r\n", "198.51.100.1"),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
        ("PROXY TCP6 2001:db8::1 ::1 0 443\r\n", "2001:db8::1"),
        ("PROXY TCP6 ::ffff:198.51.100.1 ::1 1 2\r\n", "198.51.100.1"),
        ("PROXY UNKNOWN\r\n", "unknown"),
        ("PROXY UNKNOWN ffff:f...f:ffff any thing 65535 65535\r\n", "unknown"),
    ] {
        assert_eq!(client(line.as_bytes()), expected, "{line}");
    }
}

#[test]
fn a_line_that_is_not_exactly_so_is_refused() {
    for (line, why) in [
        ("GET / HTTP/1.1\r\n", ProxyHeaderError::NotProxy),
        ("proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n", ProxyHeaderError::NotProxy),
        ("PROXY\tTCP4 1.1.1.1 2.2.2.2 1 2\r\n", ProxyHeaderError::NotProxy),
        ("PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", ProxyHeaderError::Unsupported),
        ("PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", ProxyHeaderError::Unsupported),
        ("PROXY \r\n", ProxyHeaderError::Unsupported),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n", ProxyHeaderError::Syntax),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", ProxyHeaderError::Syntax),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", ProxyHeaderError::Syntax),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", ProxyHeaderError::Syntax),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", ProxyHeaderError::Syntax),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n", ProxyHeaderError::Syntax),
        ("PROXY TCP4 1.1.1.1 2.2.2.2  2\r\n", ProxyHeaderError::Syntax),
        ("PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n", ProxyHeaderError::Syntax),
        ("PROXY TCP4 ::1 ::1 1 2\r\n", ProxyHeaderError::Syntax),
        ("PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n", ProxyHeaderError::Syntax),
        ("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", ProxyHeaderError::Syntax),
        ("PROXY TCP4 0.0.0.0 2.2.2.2 1 2\r\n", ProxyHeaderError::Address),
        ("PROXY TCP6 :: ::1 1 2\r\n", ProxyHeaderError::Address),
        ("PROXY TCP6 ::ffff:0.0.0.0 ::1 1 2\r\n", ProxyHeaderError::Address),
        ("PROXY TCP4 224.0.0.1 2.2.2.2 1 2\r\n", ProxyHeaderError::Address),
    ] {
        assert_eq!(parse(line.as_bytes()), Err(why), "{line:?}");
    }
    let unending = format!("PROXY UNKNOWN {}", "x".repeat(200));
    assert_eq!(parse(unending.as_bytes()), Err(ProxyHeaderError::TooLong));
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_LINE - 16));
    assert_eq!(client(longest.as_bytes()), "unknown");
    assert_eq!(parse(longest.replace("\r\n", "x\r\n").as_bytes()), Err(ProxyHeaderError::TooLong));
}

#[test]
fn a_binary_header_names_the_client_or_nobody_and_what_follows_its_addresses_is_skipped() {
    assert_eq!(client(&second(0x21, 0x11, &ipv4([198, 51, 100, 1]))), "198.51.100.1");
    let mut more = ipv4([198, 51, 100, 1]);
    more.extend_from_slice(&[0x02, 0, 3, b'a', b'b', b'c']);
    assert_eq!(client(&second(0x21, 0x11, &more)), "198.51.100.1");
    let ipv6 = [Ipv6Addr::LOCALHOST.octets(), Ipv6Addr::LOCALHOST.octets()].concat();
    assert_eq!(client(&second(0x21, 0x21, &[ipv6.as_slice(), &[0, 1, 0, 2]].concat())), "::1");
    assert_eq!(client(&second(0x20, 0x11, &ipv4([198, 51, 100, 1]))), "the proxy");
    assert_eq!(client(&second(0x20, 0x00, &[])), "the proxy");
    assert_eq!(client(&second(0x21, 0x00, &[])), "unknown");
    assert_eq!(client(&second(0x21, 0x31, &[0; 216])), "unknown", "a socket file of the proxy's");
}

#[test]
fn a_binary_header_that_is_not_exactly_so_is_refused() {
    let good = ipv4([198, 51, 100, 1]);
    for (header, why) in [
        (second(0x11, 0x11, &good), ProxyHeaderError::Unsupported),
        (second(0x22, 0x11, &good), ProxyHeaderError::Unsupported),
        (second(0x21, 0x12, &good), ProxyHeaderError::Unsupported),
        (second(0x21, 0x10, &good), ProxyHeaderError::Unsupported),
        (second(0x21, 0x41, &good), ProxyHeaderError::Unsupported),
        (second(0x21, 0x11, &good[..11]), ProxyHeaderError::Syntax),
        (second(0x21, 0x21, &good), ProxyHeaderError::Syntax),
        (second(0x21, 0x11, &ipv4([0, 0, 0, 0])), ProxyHeaderError::Address),
        (second(0x21, 0x11, &vec![0; LONGEST]), ProxyHeaderError::TooLong),
        (second(0x20, 0x00, &vec![0; 65_535]), ProxyHeaderError::TooLong),
    ] {
        assert_eq!(parse(&header), Err(why), "{header:?}");
    }
}

fn any_header() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"PROXY UNKNOWN\r\n".to_vec()),
        any::<([u8; 4], u16, u16)>().prop_map(|(source, a, b)| {
            format!("PROXY TCP4 {} 10.0.0.1 {a} {b}\r\n", Ipv4Addr::from(source)).into_bytes()
        }),
        any::<([u8; 16], u16)>().prop_map(|(source, a)| {
            format!("PROXY TCP6 {} ::1 {a} 1\r\n", Ipv6Addr::from(source)).into_bytes()
        }),
        (any::<[u8; 4]>(), proptest::collection::vec(any::<u8>(), 0..300)).prop_map(|(source, more)| second(
            0x21,
            0x11,
            &[ipv4(source), more].concat()
        )),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic_and_a_header_lies_within_them(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(Parsed::Header(header)) = parse(&bytes) {
            prop_assert!(header.length <= bytes.len());
        }
    }

    #[test]
    fn every_beginning_of_a_header_wants_more_and_what_follows_changes_nothing(
        header in any_header(),
        rest in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        let whole = parse(&header);
        for end in 0..header.len() {
            let part = parse(&header[..end]);
            prop_assert!(part == Ok(Parsed::More) || part.is_err() && part == whole, "{part:?} at {end}");
        }
        let longer: Vec<u8> = [header, rest].concat();
        prop_assert_eq!(parse(&longer), whole);
    }
}

async fn receive_pieces(pieces: &[&[u8]]) -> (Result<ProxiedSource, Refused>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    sender.set_nodelay(true).unwrap();
    let mut stream = ClientStream::Tcp(listener.accept().await.unwrap().0);
    let send = async {
        for piece in pieces {
            sender.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        sender.shutdown().await.unwrap();
    };
    let read = async {
        let received = receive(&mut stream).await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        (received, rest)
    };
    let ((), read) = tokio::join!(send, read);
    read
}

#[tokio::test]
async fn a_header_in_pieces_is_taken_off_whole_and_nothing_after_it() {
    let line = b"PROXY TCP4 198.51.100.1 10.0.0.1 1 2\r\n".as_slice();
    let binary = second(0x21, 0x11, &ipv4([198, 51, 100, 1]));
    for header in [line, &binary] {
        let whole = [header, b"GET / HTTP/1.1\r\n\r\n"].concat();
        for split in [1, 5, 6, 11, 13, 16, header.len() - 1, header.len(), header.len() + 1] {
            let (received, rest) = receive_pieces(&[&whole[..split], &whole[split..]]).await;
            assert_eq!(received.unwrap(), ProxiedSource::Client([198, 51, 100, 1].into()), "at {split}");
            assert_eq!(rest, b"GET / HTTP/1.1\r\n\r\n");
        }
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert!(matches!(receive_pieces(&bytes).await.0.unwrap(), ProxiedSource::Client(_)));
        assert!(matches!(receive_pieces(&[&header[..header.len() - 1]]).await.0, Err(Refused::Ended(_))));
    }
    assert!(matches!(receive_pieces(&[]).await.0, Err(Refused::Ended(_))));
    let (received, _) = receive_pieces(&[b"GET / HTTP/1.1\r\n\r\n"]).await;
    assert!(matches!(received, Err(Refused::Malformed(ProxyHeaderError::NotProxy))));
}

#[tokio::test]
async fn a_socket_file_is_read_the_same() {
    let (mut sender, stream) = UnixStream::pair().unwrap();
    let mut stream = ClientStream::Unix(stream);
    sender.write_all(b"PROXY TCP6 2001:db8::1").await.unwrap();
    let later = async {
        tokio::task::yield_now().await;
        sender.write_all(b" ::1 1 2\r\nrest").await.unwrap();
    };
    let (received, ()) = tokio::join!(receive(&mut stream), later);
    assert_eq!(received.unwrap(), ProxiedSource::Client("2001:db8::1".parse().unwrap()));
    let mut rest = [0; 4];
    stream.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"rest");
}
