//! Bytes pass as they come: event streams, huge bodies, upgrades, HTTP/2.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use doorward::model::role::Role;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::credentials::ROUTES;
use crate::support::gateway::bearer;
use crate::support::hyper::{http2, hyper_upstream};
use crate::support::patient::{patient, raw_upstream};
use crate::support::raw::{HANDSHAKE, read_answer, read_answer_to, read_head};
use crate::support::{Gateway, Upstream, within};

/// H10: an event stream that somebody holds back.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_event_of_a_stream_arrives_at_once_and_silence_does_not_end_it() {
    let (sent, mut sendings) = tokio::sync::mpsc::unbounded_channel();
    let (more, mores) = tokio::sync::watch::channel(0_u32);
    let upstream = raw_upstream(move |mut stream| {
        let (sent, mut mores) = (sent.clone(), mores.clone());
        async move {
            read_head(&mut stream).await;
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            for event in 1..=3_u32 {
                mores.wait_for(|wanted| *wanted >= event).await.unwrap();
                sent.send(Instant::now()).unwrap();
                stream.write_all(b"c\r\ndata: event\n\r\n").await.unwrap();
            }
        }
    })
    .await;
    let gateway = Gateway::spawn(&format!("http://{upstream}"), &crate::sub_path::routes()).await;
    for path in ["/public/events", "/apps/phoenix/public/events"] {
        more.send(0).unwrap();
        let mut client = TcpStream::connect(gateway.address).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let head = within("the head", read_answer_to(&mut client, true)).await;
        assert_eq!(head.status, 200);
        let mut delays = Vec::new();
        for event in 1..=3 {
            more.send(event).unwrap();
            let mut chunk = [0; 17];
            within("an event", client.read_exact(&mut chunk)).await.unwrap();
            assert_eq!(chunk.to_ascii_lowercase(), b"c\r\ndata: event\n\r\n");
            let sent = sendings.recv().await.unwrap();
            delays.push(sent.elapsed());
        }
        // Generous against a busy machine; a buffering proxy would wait for more bytes or the end, for ever.
        assert!(delays.iter().any(|delay| *delay < Duration::from_millis(50)), "{delays:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn multipart_mixed_passes_part_by_part_as_it_comes() {
    const PART: &str = "--x\r\ncontent-type: application/json\r\n\r\n{\"hasNext\":true}\r\n";
    let (more, mores) = tokio::sync::watch::channel(0_usize);
    let upstream = raw_upstream(move |mut stream| {
        let mut mores = mores.clone();
        async move {
            let head = read_head(&mut stream).await.unwrap();
            let chunked = head.contains("/chunked");
            let framing = if chunked { "transfer-encoding: chunked" } else { "connection: close" };
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: multipart/mixed; boundary=\"x\"\r\n{framing}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            for part in 1..=3 {
                mores.wait_for(|wanted| *wanted >= part).await.unwrap();
                let text = if chunked { format!("{:x}\r\n{PART}\r\n", PART.len()) } else { PART.to_owned() };
                stream.write_all(text.as_bytes()).await.unwrap();
            }
            stream.write_all(if chunked { b"0\r\n\r\n" } else { b"" }).await.unwrap();
            // A connection that is closed with bytes unread is broken off, not ended.
            stream.shutdown().await.unwrap();
            while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {}
        }
    })
    .await;
    let gateway = Gateway::spawn(&format!("http://{upstream}"), ROUTES).await;
    let key = gateway.system_key("reader", Role::Member).await;
    for path in ["/chunked", "/until-closed"] {
        for (by, body) in
            [("GET", Bytes::new()), ("POST", Bytes::from_static(b"{\"query\":\"{ a @defer }\"}"))]
        {
            more.send(0).unwrap();
            let mut client = http2(gateway.address).await;
            let request = Request::builder().method(by).uri(format!("http://app.example{path}"));
            let request = request.header("authorization", format!("Bearer {key}"));
            let request = request.header("accept", "multipart/mixed").body(Full::new(body)).unwrap();
            let answer = within("the head", client.send_request(request)).await.unwrap();
            assert_eq!(answer.headers()["content-type"], "multipart/mixed; boundary=\"x\"");
            let mut body = answer.into_body();
            for part in 1..=3 {
                // The next is not sent before this one has arrived.
                more.send(part).unwrap();
                let mut arrived = Vec::new();
                while arrived.len() < PART.len() {
                    let frame = within("a part", body.frame()).await.expect("another part").unwrap();
                    arrived.extend_from_slice(&frame.into_data().unwrap());
                }
                assert_eq!(arrived, PART.as_bytes(), "{by} {path} {part}");
            }
            let rest = within("the end", body.collect()).await.expect("a proper end").to_bytes();
            assert!(rest.is_empty(), "{by} {path} {rest:?}");
        }
    }
    assert_eq!(gateway.get("/chunked", "accept: multipart/mixed\r\n").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_after_a_long_wait_comes_unbuffered() {
    let (go, going) = tokio::sync::watch::channel(0_u32);
    let (asked, mut asks) = tokio::sync::mpsc::unbounded_channel();
    let upstream = raw_upstream(move |mut stream| {
        let (mut going, asked) = (going.clone(), asked.clone());
        async move {
            read_head(&mut stream).await;
            asked.send(()).unwrap();
            for (step, text) in
                ["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "one", "two", "end"].into_iter().enumerate()
            {
                going.wait_for(|told| *told > u32::try_from(step).unwrap()).await.unwrap();
                stream.write_all(text.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let other = Upstream::spawn().await;
    // Much longer than a connection may be idle, and than a client may take for its head.
    let gateway = Gateway::configured(&format!(
        "[server]\nworkers = 1\nkeep_alive = \"1s\"\nheader_timeout = \"1s\"\n\
         [[upstreams]]\nname = \"app\"\nurl = \"http://{upstream}\"\ntimeouts = {{ idle = \"1s\" }}\n\
         [[upstreams]]\nname = \"other\"\nurl = \"{}\"\n[[routes]]\nupstream = \"other\"\npath = \"/public/other\"\n\
         rules = [{{ allow = \"anyone\" }}]\n{ROUTES}",
        other.url()
    ))
    .await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    client.write_all(b"GET /public/poll?timeout=30 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    within("the question", asks.recv()).await.unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2500) {
        assert_eq!(gateway.get("/public/other/x", "").await.status, 200, "others are served meanwhile");
        // What is tried is the silence, longer than every limit.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    go.send(1).unwrap();
    let head = within("the head alone", read_answer_to(&mut client, true)).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("9")));
    for (step, text) in [(2, "one"), (3, "two"), (4, "end")] {
        go.send(step).unwrap();
        let mut part = [0; 3];
        within("a part", client.read_exact(&mut part)).await.unwrap();
        assert_eq!(part, text.as_bytes());
    }
}

/// D06: bodies larger than memory.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_any_size_pass_both_ways_in_flat_memory() {
    let size: u64 = if std::env::var_os("DOORWARD_TEST_LONG").is_some() { 4 << 30 } else { 1 << 30 };
    // Echoes the count of bytes it was sent; sends `size` bytes of its own on GET.
    let upstream = hyper_upstream(move |request| async move {
        if request.method() == http::Method::GET {
            static BLOCK: [u8; 1 << 16] = [7; 1 << 16];
            let blocks = size / BLOCK.len() as u64;
            let frames = futures_util::stream::iter(
                (0..blocks).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(&BLOCK)))),
            );
            return Response::new(StreamBody::new(frames).boxed());
        }
        let mut body = request.into_body();
        let mut received = 0;
        while let Some(frame) = body.frame().await {
            received += frame.unwrap().into_data().map_or(0, |data| data.len() as u64);
        }
        Response::new(Full::from(received.to_string()).map_err(|never| match never {}).boxed())
    })
    .await;
    let gateway = crate::support::process::Process::serve(&format!("http://{upstream}"), ROUTES);
    let key = gateway.system_key("mover", Role::Member).await;

    // One small exchange first, so that what is measured is the body and not the start.
    let small = crate::support::exchange(
        gateway.address,
        format!("POST /upload HTTP/1.1\r\nhost: a\r\n{}content-length: 3\r\n\r\nabc", bearer(&key)),
    )
    .await;
    assert_eq!((small.status, small.text().as_str()), (200, "3"));
    let before = gateway.resident_bytes();
    let mut peak = before;

    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!("GET /download HTTP/1.1\r\nhost: a\r\n{}\r\n", bearer(&key));
    client.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(within("the head", read_answer_to(&mut client, true)).await.status, 200);
    let mut buffer = vec![0; 1 << 20];
    let (mut received, mut looked) = (0_u64, 0_u64);
    // Chunk framing adds a little; the end is seen by the last chunk.
    let mut tail = Vec::new();
    while !tail.ends_with(b"0\r\n\r\n") {
        let read = within("more of the body", client.read(&mut buffer)).await.unwrap();
        assert_ne!(read, 0, "the body broke off after {received} bytes");
        received += read as u64;
        tail.extend_from_slice(&buffer[read.saturating_sub(5)..read]);
        tail.drain(..tail.len().saturating_sub(5));
        if received / (16 << 20) > looked {
            looked = received / (16 << 20);
            peak = peak.max(gateway.resident_bytes());
        }
    }
    assert!(received >= size);

    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!("POST /upload HTTP/1.1\r\nhost: a\r\n{}content-length: {size}\r\n\r\n", bearer(&key));
    client.write_all(head.as_bytes()).await.unwrap();
    let block = vec![7; 1 << 20];
    for part in 0..size >> 20 {
        within("room for more", client.write_all(&block)).await.unwrap();
        if part % 16 == 0 {
            peak = peak.max(gateway.resident_bytes());
        }
    }
    let answer = read_answer(&mut client).await;
    assert_eq!(answer.text(), size.to_string());
    let growth = peak.saturating_sub(before) >> 20;
    println!("{} MiB each way: resident memory grew by {growth} MiB at most", size >> 20);
    assert!(growth < 16, "resident memory grew by {growth} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_answer_is_a_stream_error_over_http2_and_never_complete() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let mut client = http2(gateway.address).await;
    let half = "x".repeat(500);
    for (answer, whole) in [
        (format!("HTTP/1.1 200 OK\r\ncontent-length: 500\r\nconnection: close\r\n\r\n{half}"), true),
        (format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n{half}"), false),
        (format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1f4\r\n{half}\r\n0\r\n\r\n"), true),
        (
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n1f4\r\n{half}\r\n"
            ),
            false,
        ),
        (
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3e8\r\n{half}"
            ),
            false,
        ),
        (
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n1f4\r\n{half}\r\n0\r\nx: "
            ),
            false,
        ),
        (
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n1f4\r\n{half}\r\nzz\r\n"
            ),
            false,
        ),
    ] {
        upstream.answers(answer.clone());
        let request = Request::get("http://app.example/public/x").body(Empty::<Bytes>::new()).unwrap();
        let response = within("the head", client.send_request(request)).await;
        let got = match response {
            Ok(response) if response.status() == 200 => {
                within("the body or its end", response.into_body().collect())
                    .await
                    .map(|all| all.to_bytes().len())
            }
            Ok(response) => {
                assert_eq!(response.status(), 502, "{answer:.80}");
                continue;
            }
            Err(error) => Err(error),
        };
        match got {
            Ok(length) => assert!(whole && length == 500, "{answer:.80} seemed complete with {length} bytes"),
            Err(error) => assert!(!whole, "{answer:.80}: {error}"),
        }
    }
    // The connection serves on: it was that stream alone.
    upstream.answers(crate::support::upstream::OK);
    let request = Request::get("http://app.example/public/x").body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(within("the head", client.send_request(request)).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_in_reaches_an_http1_upstream_with_host_and_joined_cookies() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let mut client = http2(gateway.address).await;
    let mut request = Request::get("http://app.example/public/x?q=1").body(Empty::<Bytes>::new()).unwrap();
    request.headers_mut().append("cookie", HeaderValue::from_static("a=1"));
    request.headers_mut().append("cookie", HeaderValue::from_static("b=2"));
    let response = within("an answer", client.send_request(request)).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    let seen = upstream.last();
    assert_eq!(seen.line(), "GET /public/x?q=1");
    assert_eq!(seen.header("host"), Some("app.example"));
    assert_eq!(seen.header("cookie"), Some("a=1; b=2"));
    assert_eq!(seen.header("transfer-encoding"), None);
    assert_eq!(seen.header("x-forwarded-host"), Some("app.example"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_passes_bytes_both_ways_and_other_upgrades_do_too() {
    let upstream = raw_upstream(|mut stream| async move {
        let head = read_head(&mut stream).await.unwrap();
        let upgrade = crate::support::raw::header_values(&head, "upgrade").join("+");
        assert!(head.to_ascii_lowercase().contains("connection: upgrade"), "{head}");
        assert!(!head.contains("doorward="), "{head}");
        let accept = if upgrade == "websocket" { "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" } else { "" };
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: {upgrade}\r\n\
             sec-websocket-accept: {accept}\r\n\r\nhello"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..read]).await.unwrap();
        }
    })
    .await;
    let gateway = Gateway::spawn(&format!("http://{upstream}"), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let cookie = gateway.sign_in("mel").await;
    let host = gateway.address;
    for protocol in ["websocket", "custom/1"] {
        let mut client = TcpStream::connect(host).await.unwrap();
        let request = format!(
            "GET /socket HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\nconnection: keep-alive, Upgrade\r\n\
             upgrade: {protocol}\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: streamlit\r\ncookie: {cookie}\r\n\r\n"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = within("the switch", read_answer_to(&mut client, true)).await;
        assert_eq!((answer.status, answer.header("upgrade")), (101, Some(protocol)));
        let mut buffer = [0; 5];
        within("bytes of the server", client.read_exact(&mut buffer)).await.unwrap();
        assert_eq!(&buffer, b"hello");
        client.write_all(b"there").await.unwrap();
        within("the echo", client.read_exact(&mut buffer)).await.unwrap();
        assert_eq!(&buffer, b"there");
        client.shutdown().await.unwrap();
        assert_eq!(within("the end", client.read(&mut buffer)).await.unwrap(), 0);
    }
}

/// H02: a WebSocket from another site.
#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_with_a_cookie_is_refused_to_pages_of_other_origins() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    let key = bearer(&gateway.system_key("k", Role::Member).await);
    let host = gateway.address;
    for (origin, credential, status) in [
        ("origin: http://evil.example\r\n".to_owned(), &cookie, 403),
        ("origin: null\r\n".to_owned(), &cookie, 403),
        (format!("origin: http://sub.{host}\r\n"), &cookie, 403),
        (format!("origin: https://{host}\r\n"), &cookie, 403),
        (String::new(), &cookie, 403),
        (format!("origin: http://{host}\r\n"), &cookie, 200),
        ("origin: http://localhost\r\n".to_owned(), &cookie, 200),
        (String::new(), &key, 200),
        (String::new(), &String::new(), 401),
    ] {
        let headers = format!("{HANDSHAKE}{origin}{credential}");
        assert_eq!(gateway.get("/socket", &headers).await.status, status, "{headers}");
    }
    assert_eq!(upstream.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_body_is_asked_for_before_it_is_sent() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let key = gateway.system_key("k", Role::Member).await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "POST /upload HTTP/1.1\r\nhost: a\r\n{}expect: 100-continue\r\ncontent-length: 5\r\n\r\n",
        bearer(&key)
    );
    client.write_all(head.as_bytes()).await.unwrap();
    let interim = within("the interim answer", read_head(&mut client)).await.unwrap();
    assert!(interim.starts_with("HTTP/1.1 100 "), "{interim}");
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read_answer(&mut client).await.status, 200);
    assert_eq!(upstream.last().body, b"hello");

    let mut refused = TcpStream::connect(gateway.address).await.unwrap();
    let head = b"POST /upload HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    refused.write_all(head).await.unwrap();
    assert_eq!(read_answer(&mut refused).await.status, 401, "nobody asks for a body that is refused");
}

/// D07: an upstream that never answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_is_not_cut_by_the_response_timeout_and_a_silent_upstream_is() {
    let upstream = raw_upstream(|mut stream| async move {
        let head = read_head(&mut stream).await.unwrap();
        if head.starts_with("POST") {
            let mut body = [0; 4];
            stream.read_exact(&mut body).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = Gateway::configured(&format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"http://{upstream}\"\ntimeouts = {{ response = \"1s\" }}\n{ROUTES}\
         [[routes]]\nupstream = \"app\"\npath = \"/patient\"\ntimeouts.response = \"1h\"\nrules = [{{ allow = \"anyone\" }}]\n"
    ))
    .await;
    let key = gateway.system_key("k", Role::Member).await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!("POST /upload HTTP/1.1\r\nhost: a\r\n{}content-length: 4\r\n\r\n", bearer(&key));
    client.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    for byte in b"slow" {
        client.write_all(&[*byte]).await.unwrap();
        // What is tried is how slow the client is.
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(2));
    assert_eq!(read_answer(&mut client).await.status, 200);

    let silent = gateway.get("/data", &bearer(&key)).await;
    assert_eq!((silent.status, silent.problem().as_deref()), (504, Some("upstream-timeout")));
    let patient = tokio::time::timeout(Duration::from_secs(3), gateway.get("/patient", ""));
    patient.await.expect_err("this route has a timeout of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_never_begins_ends_when_it_has_been_idle_and_not_before() {
    let upstream = patient().await;
    let settings = |idle: &str| {
        let (url, timeouts) = (upstream.url(), format!("{{ response = \"1s\", idle = \"{idle}\" }}"));
        format!("[[upstreams]]\nname = \"app\"\nurl = \"{url}\"\ntimeouts = {timeouts}\n{ROUTES}")
    };
    let events = "accept: text/event-stream\r\n";
    let gateway = Gateway::configured(&settings("2s")).await;
    let began = Instant::now();
    let silent = gateway.get("/public/silent", events).await;
    assert_eq!((silent.status, silent.problem().as_deref()), (504, Some("upstream-timeout")));
    assert!(began.elapsed() >= Duration::from_secs(2), "the time for other answers is not theirs");
    let grpc = "content-type: application/grpc\r\nte: trailers\r\ncontent-length: 0\r\n";
    let silent = gateway.send("POST /public/test.Echo/Say", grpc).await;
    assert_eq!((silent.status, silent.header("grpc-status")), (200, Some("14")), "{}", silent.head);

    let gateway = Gateway::configured(&settings("0s")).await;
    let asked = tokio::time::timeout(Duration::from_secs(3), gateway.get("/public/silent", events)).await;
    assert!(asked.is_err(), "never");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_the_upstream_are_used_again() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "[server]\nworkers = 1\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/public", "").await.status, 200);
    }
    assert_eq!(upstream.last().connection, 0, "twenty requests, one connection");
}

/// Chunks that are none, after the head went on.
#[tokio::test(flavor = "multi_thread")]
async fn half_a_body_is_the_clients_fault_and_not_the_applications() {
    let reads = |request: Request<hyper::body::Incoming>| async move {
        let _ = request.into_body().collect().await;
        Response::new(Full::new(Bytes::new()).boxed())
    };
    let application = hyper_upstream(reads).await;
    for scheme in ["http", "h2c"] {
        let gateway = Gateway::spawn(&format!("{scheme}://{application}"), ROUTES).await;
        for broken in ["5\r\nhello\r\nZZ\r\nx\r\n", "5\r\nhelloworld\r\n0\r\n\r\n"] {
            let head = "POST /public/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
            let mut client = TcpStream::connect(gateway.address).await.unwrap();
            client.write_all(format!("{head}{broken}").as_bytes()).await.unwrap();
            let answer = read_answer(&mut client).await;
            assert_eq!(answer.status, 400, "{scheme} {broken:?} {}", answer.head);
            assert_eq!(answer.problem().as_deref(), Some("body-incomplete"), "{scheme} {broken:?}");
            assert_eq!(answer.header("connection"), Some("close"));
        }
    }
}
