//! F: where a message ends, bytes that two parsers would cut in different places.

mod answers;
mod heads;
mod http2;
mod uploads;

use doorward::model::role::Role;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::gateway::ROUTES;
use crate::support::hyper::http2;
use crate::support::raw::{read_answer, read_answer_to, read_to_close, statuses, until_closed};
use crate::support::upstream::OK;
use crate::support::{Gateway, Upstream, Watch, exchange, within};

/// What must never run: it would be served, if anybody took it for a request.
const SMUGGLED: &str = "GET /public/smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

/// Ends a connection properly.
const LAST: &str = "GET /public/last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

async fn one_worker(upstream: &Upstream, more: &str) -> Gateway {
    Gateway::configured(&format!(
        "server.workers = 1\n{more}\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await
}

/// F01: a length beside chunks, in either order.
/// F02: two lengths that differ.
/// F03: a list of lengths; the same length twice.
/// F04: lengths that are no plain decimal number.
/// F05: transfer encodings that are not exactly `chunked`.
/// F06: two transfer encodings.
/// F07: blanks before a colon or a name.
/// F16: CR and NUL in a value.
/// F17: folded lines.
/// F18: names with bytes that no name has, empty names, no colon.
#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_framing_is_refused_and_ends_the_connection() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let mut cases: Vec<(String, String)> = Vec::new();
    for length in [
        "+5",
        "-1",
        "0x5",
        "5_0",
        "5 6",
        "",
        "05x",
        "18446744073709551621",
        "5, 6",
        "5,5",
        "\"5\"",
        "5;",
        "५",
    ] {
        cases.push((format!("content-length: {length}\r\n"), "hello".to_owned()));
    }
    for encoding in [
        "xchunked",
        "identity, chunked",
        "chunked, chunked",
        "gzip, chunked",
        "chunked, gzip",
        "chunked\x0b",
        "\"chunked\"",
        "chunked;q=1",
        "chunked,",
        "identity",
        "",
    ] {
        cases.push((format!("transfer-encoding: {encoding}\r\n"), "5\r\nhello\r\n0\r\n\r\n".to_owned()));
    }
    for headers in [
        "content-length: 5\r\ncontent-length: 5\r\n",
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 6\r\ncontent-length: 5\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "transfer-encoding : chunked\r\n",
        " transfer-encoding: chunked\r\n",
        "x: y\r\n\ttransfer-encoding: chunked\r\n",
        "content-length : 5\r\n",
        "content-length: 5\r\n\r\r\n",
        "x: a\r\n b\r\ncontent-length: 5\r\n",
        "x: a\r\n\tb\r\ncontent-length: 5\r\n",
        "x: a\rb\r\ncontent-length: 5\r\n",
        "x: a\0b\r\ncontent-length: 5\r\n",
        "x(: a\r\ncontent-length: 5\r\n",
        "\u{fc}: a\r\ncontent-length: 5\r\n",
        ": a\r\ncontent-length: 5\r\n",
        "no colon\r\ncontent-length: 5\r\n",
    ] {
        cases.push((headers.to_owned(), "5\r\nhello\r\n0\r\n\r\n".to_owned()));
    }
    for (headers, body) in cases {
        let watch = Watch::begin(&gateway, &upstream);
        let request = format!("POST /public/x HTTP/1.1\r\nhost: a\r\n{headers}\r\n{body}{SMUGGLED}");
        let text = until_closed(gateway.address, request).await;
        assert!(matches!(statuses(&text)[..], [400 | 501]), "{headers:?}: {text}");
        watch.nothing_reached(&format!("{headers:?}")).await;
    }
}

/// F08: chunks over HTTP/1.0.
/// F09: bytes behind an HTTP/1.0 request without a length.
/// F39: request lines with other versions, blanks and letters.
#[tokio::test(flavor = "multi_thread")]
async fn older_versions_and_malformed_request_lines_never_hide_a_request() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    for (request, reached) in [
        ("POST /public/x HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", false),
        ("POST /public/x HTTP/1.0\r\nhost: a\r\n\r\n", true),
        ("GET /public/x HTTP/1.0\r\nhost: a\r\n\r\n", true),
        ("GET /public/x HTTP/1.9\r\nhost: a\r\n\r\n", false),
        ("GET /public/x HTTP/2.0\r\nhost: a\r\n\r\n", false),
        ("GET /public/x HTTP/0.9\r\nhost: a\r\n\r\n", false),
        ("GET /public/x\r\n", false),
        ("GET\t/public/x HTTP/1.1\r\nhost: a\r\n\r\n", false),
        ("GET  /public/x HTTP/1.1\r\nhost: a\r\n\r\n", false),
        ("GET /public/x y HTTP/1.1\r\nhost: a\r\n\r\n", false),
        ("GET /public/x HTTP/1.1 \r\nhost: a\r\n\r\n", false),
        ("GET /public/x\u{b} HTTP/1.1\r\nhost: a\r\n\r\n", false),
        ("GET /public/x http/1.1\r\nhost: a\r\n\r\n", false),
        (" GET /public/x HTTP/1.1\r\nhost: a\r\n\r\n", false),
        ("\0GET /public/x HTTP/1.1\r\nhost: a\r\n\r\n", false),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        let text = until_closed(gateway.address, format!("{request}{SMUGGLED}")).await;
        let line = request.split(" HTTP").next().unwrap_or_default();
        if reached {
            assert_eq!(text.matches("HTTP/1.").count(), 1, "{request:?}: {text}");
            watch.reached(request, &[line], &[]).await;
        } else {
            assert!(
                text.is_empty() || matches!(text.get(9..12), Some("400" | "405" | "505")),
                "{request:?}: {text}"
            );
            assert!(statuses(&text).len() <= 1, "{request:?}: {text}");
            watch.nothing_reached(request).await;
        }
    }
}

/// F10: chunk sizes that overflow.
/// F11: chunk sizes that are no plain hexadecimal number.
/// F12: endless chunk extensions.
/// F14: chunk data that does not end where it should.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_chunks_break_the_transfer_and_nothing_after_them_runs() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(1024 * 1024));
    let many_extensions = format!("{}0\r\n\r\n", "1;aaaaaaaaaaaaaaaa\r\nx\r\n".repeat(20_000));
    for chunks in [
        "ffffffffffffffff0\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "0_2e\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5\0\r\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        &long_extension,
        &many_extensions,
    ] {
        let before = upstream.count();
        let head = "POST /public/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let text = until_closed(gateway.address, format!("{head}{chunks}{SMUGGLED}")).await;
        let shown: String = chunks.chars().take(30).collect();
        assert!(!statuses(&text).contains(&200), "{shown:?}: {text}");
        assert!(statuses(&text).len() <= 1, "{shown:?}: {text}");
        assert_eq!(upstream.count(), before, "{shown:?}: the upstream never saw it end");
        assert_eq!(gateway.get("/public/alive", "").await.status, 200);
        assert_eq!(upstream.last().line(), "GET /public/alive");
        assert_eq!(upstream.count(), before + 1, "{shown:?}");
    }
}

/// F15: lines that end in a bare line feed.
#[tokio::test(flavor = "multi_thread")]
async fn bare_line_feeds_are_refused() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    for request in [
        "GET /public/x HTTP/1.1\nhost: a\nx: y\nconnection: close\n\n",
        "GET /public/x HTTP/1.1\r\nhost: a\nx: y\r\nconnection: close\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\n",
        "\nGET /public/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        let text = until_closed(gateway.address, request).await;
        assert_eq!(statuses(&text), [400], "{request:?}: {text}");
        watch.nothing_reached(request).await;
    }
    // Empty lines before a request are passed over (RFC 9112, 2.2).
    let watch = Watch::begin(&gateway, &upstream);
    let request = format!("\r\n\r\n{LAST}");
    assert_eq!(statuses(&until_closed(gateway.address, request).await), [200]);
    watch.reached("empty lines", &["GET /public/last"], &[]).await;
}

/// F22: a request inside the body of a refused one.
#[tokio::test(flavor = "multi_thread")]
async fn the_unread_body_of_a_refused_request_never_becomes_a_request() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    for path in ["/admin", "/data", "/_doorward/nothing", "/public/%zz", "/_doorward/login"] {
        for length in [0, SMUGGLED.len(), 1000, 100_000, 10_000_000] {
            let watch = Watch::begin(&gateway, &upstream);
            let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
            let mut stream = TcpStream::connect(gateway.address).await.unwrap();
            let _ = stream.write_all(format!("{head}{}", SMUGGLED.repeat(10)).as_bytes()).await;
            if length > SMUGGLED.len() {
                let _ = stream.shutdown().await;
            } else {
                // Whoever closes its half may be taken to have left, before the last answer.
                let _ = stream.write_all(LAST.as_bytes()).await;
            }
            let text = read_to_close(&mut stream).await;
            let found = statuses(&text);
            let refused = found.first().is_none_or(|status| (400..500).contains(status));
            assert!(refused, "{path} {length}: {text}");
            // Of the bytes behind an announced body, whole requests are requests; those inside it are not.
            let whole = SMUGGLED.len() * 10 + if length > SMUGGLED.len() { 0 } else { SMUGGLED.len() };
            let behind = whole.saturating_sub(length) / SMUGGLED.len();
            let after = found.iter().filter(|status| **status == 200).count();
            assert!(after <= behind, "{path} {length}: {text}");
            let mut sent = vec!["GET /public/smuggled"; after];
            if let Some(last) = sent.last_mut().filter(|_| length <= SMUGGLED.len()) {
                *last = "GET /public/last";
            }
            watch.reached(&format!("{path} {length}"), &sent, &[]).await;
        }
    }
}

/// F20: a body on GET.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_on_get_is_a_body() {
    let upstream = Upstream::spawn().await;
    let gateway = one_worker(&upstream, "").await;
    let watch = Watch::begin(&gateway, &upstream);
    let length = SMUGGLED.len();
    let request = format!(
        "GET /public/x HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{SMUGGLED}\
         GET /public/y HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(statuses(&until_closed(gateway.address, request).await), [200, 200]);
    let bodies: Vec<usize> = upstream.requests().iter().map(|request| request.body.len()).collect();
    assert_eq!(bodies, [length, 0]);
    // A server that does not read it would take it for the next request: it is told that none follows.
    let told: Vec<_> = upstream.requests().iter().map(|request| request.connection).collect();
    assert_eq!(upstream.requests()[0].header("connection"), Some("close"));
    assert_ne!(told[0], told[1], "none follows");
    watch.reached("a body on GET", &["GET /public/x", "GET /public/y"], &[]).await;
    for (method, ends) in [("HEAD", true), ("OPTIONS", true), ("DELETE", true), ("POST", false)] {
        let watch = Watch::begin(&gateway, &upstream);
        let request = format!(
            "{method} /public/x HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{SMUGGLED}"
        );
        assert_eq!(statuses(&until_closed(gateway.address, request).await), [200], "{method}");
        let last = upstream.last();
        assert_eq!(last.header("connection"), ends.then_some("close"), "{method}");
        watch.reached(method, &[&format!("{method} /public/x")], &[]).await;
        assert_eq!(upstream.last().connection == last.connection, !ends, "{method}");
    }
    // Without a length as well, and its end is looked at as anywhere.
    let watch = Watch::begin(&gateway, &upstream);
    let chunked =
        "GET /public/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let whole = format!("{chunked}5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(statuses(&until_closed(gateway.address, whole).await), [200]);
    assert_eq!(upstream.last().body, b"hello");
    assert_eq!(upstream.last().header("transfer-encoding"), Some("chunked"));
    let used = upstream.last().connection;
    watch.reached("chunks on GET", &["GET /public/x"], &[]).await;
    let watch = Watch::begin(&gateway, &upstream);
    let empty = format!("{chunked}0\r\n\r\n");
    assert_eq!(statuses(&until_closed(gateway.address, empty).await), [200]);
    assert_eq!(upstream.last().header("transfer-encoding"), None, "no body is none");
    assert_ne!(upstream.last().connection, used, "a connection that carried a body on GET is not used again");
    watch.reached("no chunks on GET", &["GET /public/x"], &[]).await;
    for method in ["GET", "HEAD", "POST"] {
        let broken = chunked.replace("GET", method) + "zz\r\nhello\r\n0\r\n\r\n";
        assert_eq!(statuses(&until_closed(gateway.address, broken).await), [400], "{method}");
    }
    // HTTP/2 says only at its end that there is a body.
    let body =
        http_body_util::StreamBody::new(futures_util::stream::iter([Ok::<_, std::convert::Infallible>(
            hyper::body::Frame::data(bytes::Bytes::from_static(b"hello")),
        )]));
    let mut sender = http2(gateway.address).await;
    let request = http::Request::get(format!("http://{}/public/x", gateway.address)).body(body).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    assert_eq!(upstream.last().body, b"hello");
}

/// F23: a request behind an upgrade that the upstream declines.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_passes_behind_an_upgrade_that_was_not_granted() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("vera", Role::Viewer).await;
    let origin = format!("origin: http://{}\r\n", gateway.address);
    let vera = format!("cookie: {}\r\n{origin}", gateway.sign_in("vera").await);
    let upgrade = |protocol: &str| {
        format!(
            "GET /public/ws HTTP/1.1\r\nhost: {}\r\n{vera}connection: upgrade\r\nupgrade: {protocol}\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\
             GET /admin HTTP/1.1\r\nhost: a\r\n\r\n",
            gateway.address
        )
    };
    for protocol in ["websocket", "custom", "h2c"] {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno",
            "HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\nconnection: upgrade\r\ncontent-length: 0\r\n\r\n",
        ] {
            let before = (upstream.count(), upstream.begun());
            upstream.answers(answer);
            let mut stream = TcpStream::connect(gateway.address).await.unwrap();
            stream.write_all(upgrade(protocol).as_bytes()).await.unwrap();
            let _ = stream.shutdown().await;
            let text = read_to_close(&mut stream).await;
            let found = statuses(&text);
            assert!(found.iter().skip(1).all(|status| *status == 401), "{protocol}: {text}");
            assert_eq!(
                (upstream.count(), upstream.begun()),
                (before.0 + 1, before.1 + 1),
                "{protocol}: {text}"
            );
            assert_eq!(upstream.last().line(), "GET /public/ws");
        }
    }
    upstream.answers(OK);
    // Two protocols could be either.
    let watch = Watch::begin(&gateway, &upstream);
    assert_eq!(statuses(&until_closed(gateway.address, upgrade("websocket, custom")).await), [400]);
    watch.nothing_reached("two protocols").await;
    // A body beside an upgrade could be either; it is neither.
    let watch = Watch::begin(&gateway, &upstream);
    let with_body = "POST /public/x HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: custom\r\n\
                     content-length: 5\r\n\r\nhello";
    assert_eq!(statuses(&until_closed(gateway.address, with_body).await), [400]);
    watch.nothing_reached("an upgrade with a body").await;
}

/// C06: thousands of cookies.
/// D04: heads of too many bytes and lines.
#[tokio::test(flavor = "multi_thread")]
async fn heads_are_bounded_in_bytes_and_lines() {
    let upstream = Upstream::spawn().await;
    let gateway =
        one_worker(&upstream, "server.limits.header_bytes = 16384\nserver.limits.header_count = 40").await;
    let lines = |count: usize| (0..count).map(|at| format!("x-{at}: y\r\n")).collect::<String>();
    for (name, headers, expected) in [
        ("lines within", lines(30), 200),
        ("bytes within", format!("x: {}\r\n", "y".repeat(12_000)), 200),
        ("too many lines", lines(50), 431),
        ("too many bytes", format!("x: {}\r\n", "y".repeat(20_000)), 431),
        ("far too many bytes", format!("x: {}\r\n", "y".repeat(1 << 20)), 431),
        ("200 cookies", format!("cookie: {}\r\n", "doorward=x; ".repeat(2_000)), 431),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        let request = format!("GET /public/x HTTP/1.1\r\nhost: a\r\n{headers}connection: close\r\n\r\n");
        let text = until_closed(gateway.address, request).await;
        // What is still on its way when the connection is closed may take the answer with it.
        assert!(statuses(&text) == [expected] || expected == 431 && text.is_empty(), "{name}: {text:.200}");
        let sent: &[&str] = if expected == 200 { &["GET /public/x"] } else { &[] };
        watch.reached(name, sent, &[]).await;
    }
}

/// D01: a head at a byte now and then.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_trickles_in_is_not_waited_for() {
    let upstream = Upstream::spawn().await;
    let gateway = one_worker(&upstream, "server.header_timeout = \"1s\"").await;
    let watch = Watch::begin(&gateway, &upstream);
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let began = tokio::time::Instant::now();
    let (mut reading, mut writing) = stream.split();
    let trickle = async {
        let mut every = tokio::time::interval(std::time::Duration::from_millis(50));
        for byte in format!("GET /public/x HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(1000)).bytes() {
            every.tick().await;
            if writing.write_all(&[byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let closed = async {
        let mut rest = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut reading, &mut rest).await;
        String::from_utf8_lossy(&rest).into_owned()
    };
    let answer = within("the end of a slow head", async {
        tokio::select! { () = trickle => String::new(), text = closed => text }
    })
    .await;
    assert!(began.elapsed() < std::time::Duration::from_secs(10));
    assert!(answer.is_empty() || matches!(statuses(&answer)[..], [408 | 400]), "{answer}");
    watch.nothing_reached("a slow head").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expecting_continue_changes_nothing_upstream() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let watch = Watch::begin(&gateway, &upstream);
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = "POST /public/x HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(within("100", read_answer_to(&mut stream, true)).await.status, 100);
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(read_answer(&mut stream).await.status, 200);
    assert_eq!(upstream.last().header("expect"), None);
    watch.reached("expect", &["POST /public/x"], &[]).await;
    let unknown = "POST /data HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    let watch = Watch::begin(&gateway, &upstream);
    assert_eq!(exchange(gateway.address, unknown).await.status, 401, "refused without asking for the body");
    watch.nothing_reached("expect").await;
}
