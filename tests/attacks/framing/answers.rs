//! F: the same from the other side, what an upstream answers.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{SMUGGLED, one_worker};
use crate::support::gateway::ROUTES;
use crate::support::raw::{read_answer, read_answer_to, read_head};
use crate::support::{Gateway, Upstream, Watch, within};

/// F31: bodies where none may be, and more bytes than announced.
/// F42: an answer with a length and chunks.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_proper_answer_costs_the_upstream_its_connection() {
    let upstream = Upstream::spawn().await;
    let gateway = one_worker(&upstream, "").await;
    let ok_with = |headers: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}");
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let chunked = "transfer-encoding: chunked\r\n";
    let hello = "5\r\nhello\r\n0\r\n\r\n";
    for (name, method, answer, status, body) in [
        (
            "length, then chunks",
            "GET",
            ok_with(&format!("content-length: 3\r\n{chunked}"), hello),
            200,
            "hello",
        ),
        (
            "chunks, then length",
            "GET",
            ok_with(&format!("{chunked}content-length: 3\r\n"), hello),
            200,
            "hello",
        ),
        ("more than announced", "GET", ok_with("content-length: 2\r\n", &format!("ok{poison}")), 200, "ok"),
        ("a body on HEAD", "HEAD", ok_with("content-length: 50\r\n", poison), 200, ""),
        (
            "a body on 204",
            "GET",
            format!("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n{poison}"),
            204,
            "",
        ),
        ("HEAD, whose body may follow", "HEAD", ok_with("content-length: 2\r\n", ""), 200, ""),
        (
            "a length on 204",
            "GET",
            "HTTP/1.1 204 No Content\r\ncontent-length: 6\r\n\r\n".to_owned(),
            204,
            "",
        ),
        ("chunks on 204", "GET", format!("HTTP/1.1 204 No Content\r\n{chunked}\r\n"), 204, ""),
        (
            "a body on 304",
            "GET",
            format!("HTTP/1.1 304 Not Modified\r\ncontent-length: 50\r\n\r\n{poison}"),
            304,
            "",
        ),
        (
            "a switch nobody asked for",
            "GET",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_owned(),
            502,
            "*",
        ),
        ("two codings", "GET", ok_with("transfer-encoding: gzip, chunked\r\n", hello), 502, "*"),
        ("another coding", "GET", ok_with("transfer-encoding: gzip\r\n", "x"), 502, "*"),
        ("chunks twice", "GET", ok_with(&format!("{chunked}{chunked}"), hello), 502, "*"),
        ("one length twice", "GET", ok_with("content-length: 2\r\ncontent-length: 2\r\n", "ok"), 502, "*"),
        ("a list of lengths", "GET", ok_with("content-length: 2, 2\r\n", "ok"), 502, "*"),
        ("two lengths", "GET", ok_with("content-length: 2\r\ncontent-length: 3\r\n", "okx"), 502, "*"),
        ("a bad length", "GET", ok_with("content-length: +2\r\n", "ok"), 502, "*"),
        ("no status", "GET", "garbage\r\n\r\ncontent-length:".to_owned(), 502, "*"),
        // A GET would be tried once more: an idle connection may end just as it is used.
        ("nothing", "POST", String::new(), 502, "*"),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        upstream.answers(answer);
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(format!("{method} /public/x HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
        let to_head = method == "HEAD" || status == 304;
        let got = within(name, read_answer_to(&mut stream, to_head)).await;
        assert_eq!(got.status, status, "{name}: {}", got.head);
        if body != "*" && !to_head {
            assert_eq!(got.text(), body, "{name}");
        }
        let framings = got.headers("content-length").len() + got.headers("transfer-encoding").len();
        assert!(framings <= 1, "{name}: {}", got.head);
        let used = upstream.last().connection;
        watch.reached(name, &[&format!("{method} /public/x")], &[]).await;
        assert_ne!(upstream.last().connection, used, "{name}: the connection is not used again");
    }
    let used = upstream.last().connection;
    assert_eq!(gateway.get("/public/x", "").await.status, 200);
    assert_eq!(upstream.last().connection, used, "an honest connection is used again");
}

/// F34: an answer that ends too early.
#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_answer_is_seen_to_be_truncated() {
    let upstream = Upstream::spawn().await;
    let gateway = one_worker(&upstream, "").await;
    for answer in [
        format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n{}", "x".repeat(500)),
        format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3e8\r\n{}",
            "x".repeat(500)
        ),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nabc\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nabcdef0\r\n\r\n"
            .to_owned(),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\nzz\r\nabc\r\n0\r\n\r\n"
            .to_owned(),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        upstream.answers(answer.clone());
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(b"GET /public/x HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let got = read_answer(&mut stream).await;
        let broken = got.status == 200 && !got.complete || matches!(got.status, 0 | 502);
        assert!(broken, "{answer:.120}: {} {}", got.head, got.body.len());
        watch.reached("a truncated answer", &["GET /public/x"], &[]).await;
    }
}

/// F33: an endless head, and thousands of interim answers.
#[tokio::test(flavor = "multi_thread")]
async fn floods_from_an_upstream_are_bounded() {
    let upstream = Upstream::spawn().await;
    let gateway = one_worker(&upstream, "").await;
    let many: String = (0..10_000).map(|at| format!("x-{at}: y\r\n")).collect();
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n".repeat(2_000);
    for (name, answer, statuses) in [
        (
            "interim answers",
            format!("{interim}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
            &[200, 502][..],
        ),
        (
            "a header of 1 MiB",
            format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(1 << 20)),
            &[502],
        ),
        ("10 000 headers", format!("HTTP/1.1 200 OK\r\n{many}content-length: 0\r\n\r\n"), &[502]),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        upstream.answers(answer);
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(b"GET /public/x HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut interim = 0;
        let status = loop {
            match within(name, read_answer_to(&mut stream, true)).await.status {
                100..200 => interim += 1,
                status => break status,
            }
        };
        assert!(statuses.contains(&status) && interim < 300, "{name}: {interim}, {status}");
        watch.reached(name, &["GET /public/x"], &[]).await;
    }
}

/// F30: an answer before the request has gone out.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_body_ends_costs_the_upstream_its_connection() {
    let upstream = Upstream::spawn().await;
    let gateway = one_worker(&upstream, "").await;
    upstream.answers_early(true);
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = "POST /public/x HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n";
    stream.write_all(format!("{head}{SMUGGLED}").as_bytes()).await.unwrap();
    let answer = read_answer(&mut stream).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert_eq!((upstream.begun(), upstream.count()), (1, 0), "the body is still on its way");
    upstream.answers_early(false);
    assert_eq!(gateway.get("/public/alive", "").await.status, 200);
    let alive =
        upstream.requests().into_iter().find(|request| request.line() == "GET /public/alive").unwrap();
    assert_eq!(alive.connection, 1, "another connection");
    drop(stream);
    assert!(upstream.requests().iter().all(|request| !request.line().contains("smuggled")));
}

/// F35: a large answer to a slow reader, whose connection ends behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_gets_every_byte_and_the_end() {
    const LENGTH: usize = 1 << 20;
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let body: Vec<u8> = (0..LENGTH).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let mut whole = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n").into_bytes();
    whole.extend_from_slice(&body);
    let mut chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(50_000) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    for round in 0..10 {
        for answer in [&whole, &chunked] {
            upstream.answers(answer.clone());
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(8192).unwrap();
            let mut stream = socket.connect(gateway.address).await.unwrap();
            stream
                .write_all(b"GET /public/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut got = Vec::new();
            let mut buffer = [0; 4096];
            let reading = async {
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    got.extend_from_slice(&buffer[..read]);
                    tokio::task::yield_now().await;
                }
            };
            within("the end of the answer", reading).await;
            let head = got.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
            if *answer == whole {
                assert!(got[head..] == body, "{round}: {} of {LENGTH}", got.len() - head);
            } else {
                assert!(got.ends_with(b"\r\n0\r\n\r\n"), "{round}: no end, {} bytes", got.len());
                assert!(dechunked(&got[head..]) == body, "{round}");
            }
        }
    }
}

fn dechunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
    body
}

/// F43: a connection that ends just as it is used again. What only reads is sent once more (RFC 9110, 9.2.2).
#[tokio::test(flavor = "multi_thread")]
async fn what_reads_is_sent_again_once_and_what_writes_never() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&lines);
    tokio::spawn(async move {
        // Only the very first request on each connection that asks for `/public/ok` is answered.
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                while let Some(head) = read_head(&mut stream).await {
                    let line = head.lines().next().unwrap_or_default().to_owned();
                    let answered = line.contains("/public/ok");
                    seen.lock().unwrap().push(line);
                    if !answered {
                        return;
                    }
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                }
            });
        }
    });
    let gateway = Gateway::configured(&format!(
        "[server]\nworkers = 1\n\
         [[upstreams]]\nname = \"app\"\nurl = \"http://{address}\"\n{ROUTES}"
    ))
    .await;
    for (method, times) in [("GET", 2), ("HEAD", 2), ("OPTIONS", 2), ("POST", 1), ("PUT", 1), ("DELETE", 1)] {
        assert_eq!(gateway.get("/public/ok", "").await.status, 200);
        lines.lock().unwrap().clear();
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let request = format!("{method} /public/lost HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = within("an answer", read_answer_to(&mut stream, method == "HEAD")).await;
        assert_eq!(answer.status, 502, "{method}");
        let sent = lines.lock().unwrap().clone();
        assert_eq!(sent, vec![format!("{method} /public/lost HTTP/1.1"); times], "{method}");
    }
}

/// RFC 9110, 15.2: what comes before an answer is passed on, in order, to anyone who may get it; none of it is the answer.
#[tokio::test(flavor = "multi_thread")]
async fn early_hints_come_early_and_say_only_what_they_may() {
    let upstream = Upstream::spawn().await;
    let gateway = one_worker(&upstream, "").await;
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nx-auth-user: root\r\n\
                 set-cookie: doorward=x\r\ncontent-length: 5\r\n\r\n";
    let interim = format!("HTTP/1.1 102 Processing\r\n\r\n{hints}HTTP/1.1 100 Continue\r\n\r\n");
    upstream.answers(format!("{interim}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
    let watch = Watch::begin(&gateway, &upstream);
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let request = "GET /public/x HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(request.repeat(2).as_bytes()).await.unwrap();
    for _ in 0..2 {
        let first = within("102", read_answer_to(&mut stream, true)).await;
        assert_eq!((first.status, first.head.trim()), (102, "HTTP/1.1 102 Processing"));
        let second = within("103", read_answer_to(&mut stream, true)).await;
        let lines: Vec<_> = second.head.lines().skip(1).filter(|line| !line.is_empty()).collect();
        assert_eq!((second.status, lines), (103, vec!["link: </a.css>; rel=preload"]));
        let last = read_answer(&mut stream).await;
        assert_eq!((last.status, last.text().as_str()), (200, "ok"));
    }
    watch.reached("interim answers", &["GET /public/x", "GET /public/x"], &[]).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"GET /public/x HTTP/1.0\r\nhost: a\r\n\r\n").await.unwrap();
    assert_eq!(read_answer(&mut stream).await.status, 200, "HTTP/1.0 has none");
    // They come when they are said.
    upstream.answers(hints);
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(within("103", read_answer_to(&mut stream, true)).await.status, 103);
}
