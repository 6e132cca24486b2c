//! Connections on which a proxy in front names the client before the first byte of TLS or HTTP.

use std::net::Ipv4Addr;
use std::sync::Arc;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::credentials::ROUTES;
use crate::support::raw::{read_answer, read_to_close, until_closed};
use crate::support::{Gateway, Upstream, within};
use crate::tls::gateway_certificate;

const REQUEST: &str = "GET /public HTTP/1.1\r\nhost: localhost\r\n";
const CLIENT: [u8; 4] = [198, 51, 100, 1];

/// A gateway that requires the header from loopback; `more` are further settings of `[server]`.
async fn gateway(upstream: &Upstream, more: &str) -> Gateway {
    let protocol = if more.contains("proxy_protocol") {
        ""
    } else {
        "proxy_protocol = \"required\"\nproxy_protocol_from = \"127.0.0.1\"\n"
    };
    Gateway::configured(&format!(
        "[server]\nworkers = 2\n{protocol}{more}\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await
}

fn line(client: [u8; 4]) -> Vec<u8> {
    format!("PROXY TCP4 {} 127.0.0.1 4711 80\r\n", Ipv4Addr::from(client)).into_bytes()
}

fn binary(command: u8, client: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    // After the addresses a field that says nothing to us.
    header.extend_from_slice(&[command, 0x11, 0, 12 + 5]);
    header.extend_from_slice(&client);
    header.extend_from_slice(&[127, 0, 0, 1, 0x12, 0x67, 0, 80]);
    header.extend_from_slice(&[0x04, 0, 2, 0, 0]);
    header
}

/// Status 0 stands for a connection that was closed without an answer.
async fn status_after(gateway: &Gateway, header: &[u8], more_headers: &str) -> u16 {
    let bytes = [header, REQUEST.as_bytes(), more_headers.as_bytes(), b"\r\n"].concat();
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let _ = stream.write_all(&bytes).await;
    read_answer(&mut stream).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_is_whom_the_header_names_in_either_version() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, "").await;
    for header in [line(CLIENT), binary(0x21, CLIENT)] {
        assert_eq!(status_after(&gateway, &header, "").await, 200);
        let seen = upstream.last();
        assert_eq!(seen.header("x-forwarded-for"), Some("198.51.100.1"));
        assert!(seen.header("forwarded").unwrap().starts_with("for=198.51.100.1;"));
    }
    // A proxy that speaks for itself is its own client; one that cannot tell is not.
    for (header, told) in [(binary(0x20, CLIENT), "127.0.0.1"), (b"PROXY UNKNOWN\r\n".to_vec(), "unknown")] {
        assert_eq!(status_after(&gateway, &header, "").await, 200);
        assert_eq!(upstream.last().header("x-forwarded-for"), Some(told));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_may_come_in_pieces_and_the_connection_serves_many_requests() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, "").await;
    for header in [line(CLIENT), binary(0x21, CLIENT)] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in &header {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        for _ in 0..2 {
            stream.write_all(format!("{REQUEST}\r\n").as_bytes()).await.unwrap();
            assert_eq!(read_answer(&mut stream).await.status, 200);
            assert_eq!(upstream.last().header("x-forwarded-for"), Some("198.51.100.1"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_proper_header_the_connection_is_closed_without_a_word() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, "header_timeout = \"1s\"").await;
    let mut endless = b"PROXY UNKNOWN ".to_vec();
    endless.resize(5000, b'x');
    let mut long = binary(0x21, CLIENT);
    long[14] = 0xFF;
    long.resize(70_000, 0);
    for header in [
        Vec::new(),
        b"\r\n\r\n\0\r\nQUIT\r\n".to_vec(),
        b"PROXY TCP4 198.51.100.1 127.0.0.1 4711\r\n".to_vec(),
        b"PROXY TCP4 0.0.0.0 127.0.0.1 1 2\r\n".to_vec(),
        [line(CLIENT), line(CLIENT)].concat()[1..].to_vec(),
        binary(0x22, CLIENT),
        binary(0x21, [0, 0, 0, 0]),
        endless,
        long,
    ] {
        assert_eq!(status_after(&gateway, &header, "").await, 0, "{:?}", String::from_utf8_lossy(&header));
    }
    // One that never comes to its end is given up.
    for beginning in [b"PROXY TCP4".as_slice(), b"\r\n\r\n\0\r\nQUIT", b""] {
        assert_eq!(until_closed(gateway.address, beginning).await, "");
    }
    assert!(upstream.requests().is_empty());
    // A second header is part of the first request, which it spoils.
    assert_eq!(status_after(&gateway, &[line(CLIENT), line([10, 9, 8, 7])].concat(), "").await, 400);
    assert!(upstream.requests().is_empty());
    assert_eq!(status_after(&gateway, &line(CLIENT), "").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_may_not_send_headers_is_closed_with_or_without_one() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(
        &upstream,
        "proxy_protocol = \"required\"\nproxy_protocol_from = \"10.1.2.3\"\ntrusted_proxies = \"127.0.0.1\"",
    )
    .await;
    for header in [line(CLIENT), binary(0x21, CLIENT), Vec::new()] {
        assert_eq!(status_after(&gateway, &header, "").await, 0);
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_off_a_header_is_a_bad_request() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(
        &upstream,
        "proxy_protocol = \"off\"\nproxy_protocol_from = \"127.0.0.1\"\ntrusted_proxies = \"127.0.0.1\"",
    )
    .await;
    for header in [line(CLIENT), binary(0x21, CLIENT)] {
        assert_eq!(status_after(&gateway, &header, "").await, 400);
    }
    assert!(upstream.requests().is_empty());
    assert_eq!(status_after(&gateway, b"", "").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarded_headers_are_believed_of_the_named_client_not_of_the_proxy_that_names_it() {
    let upstream = Upstream::spawn().await;
    let forged = "x-forwarded-for: 203.0.113.9\r\n";
    let gateway = gateway(&upstream, "trusted_proxies = [\"127.0.0.1\", \"192.0.2.0/24\"]").await;
    assert_eq!(status_after(&gateway, &line(CLIENT), forged).await, 200);
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("198.51.100.1"));
    assert_eq!(status_after(&gateway, &line([192, 0, 2, 1]), forged).await, 200);
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("203.0.113.9, 192.0.2.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_named_client_has_its_own_share_of_connections() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, "limits = { connections_per_client = 2 }").await;
    let open = |client: [u8; 4]| {
        let address = gateway.address;
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let _ = stream.write_all(&[line(client), format!("{REQUEST}\r\n").into_bytes()].concat()).await;
            let status = read_answer(&mut stream).await.status;
            (stream, status)
        }
    };
    let (first, second) = (open(CLIENT).await, open(CLIENT).await);
    assert_eq!((first.1, second.1), (200, 200));
    assert_eq!(open(CLIENT).await.1, 0, "a third of the same client");
    assert_eq!(open([198, 51, 100, 2]).await.1, 200, "another client");
    drop(first);
    let freed = async { while open(CLIENT).await.1 != 200 {} };
    within("room for another", freed).await;
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_comes_before_tls() {
    let (_folder, authority, tls) = gateway_certificate();
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, &tls).await;
    let config =
        rustls::ClientConfig::builder().with_root_certificates(authority.roots()).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    for header in [line(CLIENT), binary(0x21, CLIENT)] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(&header).await.unwrap();
        let mut stream = connector.connect(name.clone(), stream).await.unwrap();
        stream.write_all(format!("{REQUEST}connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = within("the answer", stream.read_to_end(&mut answer)).await;
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        let seen = upstream.last();
        assert_eq!(seen.header("x-forwarded-for"), Some("198.51.100.1"));
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    }
    let bare = TcpStream::connect(gateway.address).await.unwrap();
    assert!(connector.connect(name, bare).await.is_err(), "TLS without the header");
    let mut plain = TcpStream::connect(gateway.address).await.unwrap();
    plain.write_all(&[line(CLIENT), format!("{REQUEST}\r\n").into_bytes()].concat()).await.unwrap();
    assert!(!read_to_close(&mut plain).await.contains("HTTP/1.1 200"));
}
