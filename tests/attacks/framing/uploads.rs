//! A refusal can be read, also by a client that is still sending what nobody wants.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::one_worker;
use crate::support::gateway::{ROUTES, bearer};
use crate::support::raw::{read_answer, read_to_close};
use crate::support::{Gateway, Upstream, Watch, until, within};

const MIB: usize = 1 << 20;

/// Sends all of a body before it looks for an answer, as many clients do.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_reads_why() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let wrong = bearer("dw_s_0000000000000000_wrong");
    let chunk = [format!("{MIB:x}\r\n").as_bytes(), &vec![b'x'; MIB], b"\r\n"].concat();
    for round in 0..4 {
        for (path, who, status) in
            [("/data", wrong.as_str(), 401), ("/data", "", 401), ("/_doorward/login", "", 413)]
        {
            for mebibytes in [1, 20] {
                let watch = Watch::begin(&gateway, &upstream);
                let mut stream = TcpStream::connect(gateway.address).await.unwrap();
                let chunked = round % 2 == 1;
                let framing = if chunked {
                    "transfer-encoding: chunked".to_owned()
                } else {
                    format!("content-length: {}", mebibytes * MIB)
                };
                let method = if status == 413 { "POST" } else { "PUT" };
                let head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n{who}{framing}\r\n\r\n");
                let name = format!("{head:?} {mebibytes}");
                stream.write_all(head.as_bytes()).await.unwrap();
                for _ in 0..mebibytes {
                    let piece = if chunked { &chunk[..] } else { &chunk[8..8 + MIB] };
                    stream.write_all(piece).await.unwrap_or_else(|error| panic!("{name}: {error}"));
                }
                if chunked {
                    stream.write_all(b"0\r\n\r\n").await.unwrap();
                }
                let answer = read_answer(&mut stream).await;
                assert_eq!((answer.status, answer.complete), (status, true), "{name}: {}", answer.head);
                assert!(answer.problem().is_some(), "{name}: {}", answer.text());
                watch.nothing_reached(&name).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_thrown_away_is_bounded() {
    let upstream = Upstream::spawn().await;
    let gateway = one_worker(&upstream, "").await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = "PUT /data HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n7fffffff\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b'x'; MIB];
    let mut sent = 0;
    let sending = async {
        while stream.write_all(&piece).await.is_ok() {
            sent += 1;
            assert!(sent < 1024, "it is read for ever");
        }
    };
    within("the end of it", sending).await;
    assert!(sent >= 50, "only {sent} MiB were read");
    // Whoever is silent is not waited for.
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"PUT /data HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nx").await.unwrap();
    let began = tokio::time::Instant::now();
    assert!(read_to_close(&mut stream).await.starts_with("HTTP/1.1 401 "));
    gateway_is_free(&gateway).await;
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "{:?}", began.elapsed());
}

async fn gateway_is_free(gateway: &Gateway) {
    let running = gateway.ledger.running.as_ref().unwrap();
    until("no connection", async || running.connections() == 0).await;
}

/// An upstream that refuses an upload, and closes at once with the rest unread: the kernel resets the connection.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_said_before_it_closed_is_passed_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let upstream = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 512];
            let _ = stream.read(&mut head).await;
            let _ = stream
                .write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 9\r\nconnection: close\r\n\r\ntoo large")
                .await;
        }
    });
    let gateway = Gateway::spawn(&url, ROUTES).await;
    let piece = vec![b'x'; MIB];
    for round in 0..15 {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let length = 50 * MIB;
        let head = format!("PUT /public/x HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..50 {
            stream.write_all(&piece).await.unwrap_or_else(|error| panic!("{round}: {error}"));
        }
        let answer = read_answer(&mut stream).await;
        assert_eq!((answer.status, answer.text().as_str()), (413, "too large"), "{round}: {}", answer.head);
    }
    upstream.abort();
}
