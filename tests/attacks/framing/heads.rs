//! Heads that cannot be served: none is mended, each is answered in full, and the connection goes no further.

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{LAST, SMUGGLED, one_worker};
use crate::support::gateway::ROUTES;
use crate::support::raw::{read_answer, read_answer_to, read_to_close, statuses, until_closed};
use crate::support::{Answer, Gateway, Upstream, Watch, wait_for, within};

const END: &str = "host: a\r\n\r\n";

/// The one access event of a request.
async fn event_of(gateway: &Gateway, id: &str) -> Value {
    wait_for("its event", async || {
        let mut events = gateway.ledger.events();
        events.retain(|event| event["request.id"] == id);
        let event = events.pop();
        assert_eq!(events.len(), 0, "two events of {id}");
        event
    })
    .await
}

/// Whether an answer is one of ours, whole, with the event that belongs to it.
async fn is_told(gateway: &Gateway, name: &str, answer: &Answer, status: u16, code: &str) -> Value {
    assert_eq!((answer.status, answer.complete), (status, true), "{name}: {}", answer.head);
    assert_eq!(answer.problem().as_deref(), Some(code), "{name}: {}", answer.text());
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    let event = event_of(gateway, problem["request_id"].as_str().unwrap()).await;
    assert_eq!((&event["http.status"], &event["rule"]), (&status.into(), &code.into()), "{name}: {event}");
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_cannot_be_served_is_answered_and_told() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\n{END}");
    let with = |fields: &str| format!("POST /public/x HTTP/1.1\r\n{fields}{END}hello");
    let fields = (0..120).map(|at| format!("x-{at}: y\r\n")).collect::<String>();
    let cookies = format!("cookie: {}\r\n", "a=0123456789; ".repeat(2_600));
    for (request, status, code, path) in [
        (get("/public/x?a=\"b\""), 400, "unreadable-request", "/public/x"),
        (get("/public/x?a=<b"), 400, "unreadable-request", "/public/x"),
        (get("/public/x?a=b>"), 400, "unreadable-request", "/public/x"),
        (get("/public/x\u{1}"), 400, "unreadable-request", ""),
        (with(&cookies), 431, "header-too-large", "/public/x"),
        (with(&fields), 431, "header-too-large", "/public/x"),
        (with("content-length: 5\r\ncontent-length: 5\r\n"), 400, "bad-framing", "/public/x"),
        (with("content-length: 5\r\ntransfer-encoding: chunked\r\n"), 400, "bad-framing", "/public/x"),
        (with("transfer-encoding: chunked\r\ncontent-length: 5\r\n"), 400, "bad-framing", "/public/x"),
        (with("transfer-encoding: gzip, chunked\r\n"), 400, "bad-framing", "/public/x"),
        (with("content-length: 5\nx: y\r\n"), 400, "unreadable-request", "/public/x"),
        (with("x: a\r\n b\r\n"), 400, "unreadable-request", "/public/x"),
        (with("x : a\r\n"), 400, "unreadable-request", "/public/x"),
        (with("x: a\0b\r\n"), 400, "unreadable-request", "/public/x"),
        ("GET /public/x HTTP/1.1\nhost: a\n\n".to_owned(), 400, "unreadable-request", "/public/x"),
        (format!("GET /public/x HTTP/2.0\r\n{END}"), 400, "unreadable-request", "/public/x"),
        (format!("G\"T /public/x HTTP/1.1\r\n{END}"), 400, "unreadable-request", ""),
        ("\u{16}\u{3}\u{1}\u{2}".to_owned(), 400, "unreadable-request", ""),
        (get(&format!("/public/{}", "x".repeat(9_000))), 414, "uri-too-long", "*"),
    ] {
        let shown = format!("{request:.90}");
        let watch = Watch::begin(&gateway, &upstream);
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(format!("{request}{SMUGGLED}").as_bytes()).await.unwrap();
        let answer = read_answer(&mut stream).await;
        let event = is_told(&gateway, &shown, &answer, status, code).await;
        assert!(path == "*" || event["http.path"] == path, "{shown}: {event}");
        assert_eq!(answer.header("connection"), Some("close"), "{shown}");
        assert_eq!(read_to_close(&mut stream).await, "", "{shown}: one answer, and nothing after it");
        watch.nothing_reached(&shown).await;
    }
    // A person sees a page, and nobody a body that was not asked for.
    let text =
        until_closed(gateway.address, format!("GET /?\" HTTP/1.1\r\naccept: text/html\r\n{END}")).await;
    assert!(
        text.starts_with("HTTP/1.1 400 ") && text.contains("text/html") && text.contains("%22"),
        "{text}"
    );
    let text = until_closed(gateway.address, format!("HEAD /?\" HTTP/1.1\r\n{END}")).await;
    assert!(text.starts_with("HTTP/1.1 400 ") && text.ends_with("\r\n\r\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_is_told_so_and_an_idle_connection_is_not() {
    let upstream = Upstream::spawn().await;
    let more = "server.header_timeout = \"1s\"\nserver.keep_alive = \"2s\"";
    let gateway = one_worker(&upstream, more).await;
    let begin = "GET /public/x HTTP/1.1\r\nhost: a\r\n";
    for before in ["", "GET /public/first HTTP/1.1\r\nhost: a\r\n\r\n"] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(format!("{before}{begin}").as_bytes()).await.unwrap();
        if !before.is_empty() {
            assert_eq!(read_answer(&mut stream).await.status, 200);
        }
        let answer = read_answer(&mut stream).await;
        is_told(&gateway, "half a head", &answer, 408, "request-timeout").await;
        assert_eq!(read_to_close(&mut stream).await, "");
    }
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(begin.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = read_answer(&mut stream).await;
    is_told(&gateway, "a head that ends", &answer, 400, "unreadable-request").await;
    // Nothing, and an empty line behind an answer, are no heads.
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    assert_eq!(read_to_close(&mut stream).await, "");
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(format!("{begin}\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut stream).await.status, 200);
    assert_eq!(read_to_close(&mut stream).await, "");
}

/// RFC 1945, 7.2.2: what comes behind may be the body, whose length nobody knows.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_behind_an_http_1_0_request_whose_end_is_not_known() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let kept = "host: a\r\nconnection: keep-alive\r\n";
    for behind in ["GET /public/smuggled HTTP/1.0\r\n\r\n", SMUGGLED] {
        let watch = Watch::begin(&gateway, &upstream);
        let request = format!("POST /public/x HTTP/1.0\r\n{kept}\r\n{behind}");
        let text = until_closed(gateway.address, request).await;
        assert_eq!(text.matches("HTTP/1.").count(), 1, "{text}");
        watch.reached(behind, &["POST /public/x"], &[]).await;
    }
    let watch = Watch::begin(&gateway, &upstream);
    let request = format!(
        "POST /public/x HTTP/1.0\r\ncontent-length: 5\r\n{kept}\r\nhelloGET /public/y HTTP/1.0\r\n{kept}\r\n\
         GET /public/z HTTP/1.0\r\nhost: a\r\n\r\n"
    );
    let text = until_closed(gateway.address, request).await;
    assert_eq!(text.matches("HTTP/1.0 200").count(), 3, "{text}");
    watch.reached("with a length", &["POST /public/x", "GET /public/y", "GET /public/z"], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_come_at_once_or_byte_by_byte_are_the_same_requests() {
    let upstream = Upstream::spawn().await;
    let gateway = one_worker(&upstream, "").await;
    let requests = format!(
        "GET /public/a HTTP/1.1\r\nhost: a\r\n\r\n\
         POST /public/b HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello\r\n\
         POST /public/c HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5;x\r\nhello\r\n1\r\n!\r\n0\r\nt: u\r\n\r\n\
         POST /admin HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello\
         PUT /public/d HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{LAST}"
    );
    for step in [usize::MAX, 1, 2, 7, 64] {
        let watch = Watch::begin(&gateway, &upstream);
        let before = upstream.count();
        let stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let bytes = requests.clone().into_bytes();
        let write = tokio::spawn(async move {
            for piece in bytes.chunks(step.min(bytes.len())) {
                writing.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            writing
        });
        let text = read_to_close(&mut reading).await;
        drop(write.await.unwrap());
        assert_eq!(statuses(&text), [200, 200, 200, 401, 200, 200], "{step}: {text}");
        let bodies: Vec<_> =
            upstream.requests_after(before).into_iter().map(|request| request.body).collect();
        assert_eq!(bodies, [&b""[..], b"hello", b"hello!", b"", b""], "{step}");
        let sent = ["GET /public/a", "POST /public/b", "POST /public/c", "PUT /public/d", "GET /public/last"];
        watch.reached("one after the other", &sent, &[]).await;
    }
}

/// A switch that the upstream declines leaves the next head to be read as any.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_behind_a_declined_upgrade_is_read_as_strictly() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let upgrade = "GET /public/x HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
    let behind = "GET /public/y HTTP/1.1\r\nhost: a\nx: y\r\n\r\n";
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(format!("{upgrade}{behind}").as_bytes()).await.unwrap();
    let first = within("the first answer", read_answer_to(&mut stream, false)).await;
    if first.status == 200 {
        assert_eq!(read_answer(&mut stream).await.status, 400);
    } else {
        assert_eq!((first.status, read_to_close(&mut stream).await.as_str()), (400, ""));
    }
    assert!(upstream.requests().iter().all(|request| !request.line().contains("/y")));
}
