//! F: streams of HTTP/2 that would be two things in HTTP/1.1.

use crate::support::gateway::ROUTES;
use crate::support::http2::{Ended, fields};
use crate::support::{Gateway, Upstream, Watch, within};

/// F36: a length that is not that of the data, over HTTP/2.
/// F37: fields that HTTP/2 forbids, in every part of a head.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_http2_streams_are_refused() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let base = [(":method", "POST"), (":scheme", "http"), (":path", "/public/x"), (":authority", "app")];
    let with = |more: &[(&'static str, &'static str)]| [&base[..], more].concat();
    let without = |name: &str| base.into_iter().filter(|(found, _)| *found != name).collect::<Vec<_>>();
    let instead = |name: &'static str, value: &'static str| {
        base.into_iter()
            .map(|(found, old)| (found, if found == name { value } else { old }))
            .collect::<Vec<_>>()
    };
    for (case, data) in [
        (with(&[("transfer-encoding", "chunked")]), Some(&b"0\r\n\r\n"[..])),
        (with(&[("connection", "x-auth-user")]), None),
        (with(&[("connection", "keep-alive")]), None),
        (with(&[("keep-alive", "1")]), None),
        (with(&[("proxy-connection", "close")]), None),
        (with(&[("upgrade", "websocket")]), None),
        (with(&[("te", "gzip")]), None),
        (with(&[("X-Upper", "y")]), None),
        (with(&[("x y", "z")]), None),
        (with(&[("x:y", "z")]), None),
        (with(&[("x\r\ny", "z")]), None),
        (with(&[("x", "a\r\nb: c")]), None),
        (with(&[("x", "a\nb")]), None),
        (with(&[("x", "a\0b")]), None),
        (with(&[("", "z")]), None),
        (with(&[(":path", "/admin")]), None),
        (with(&[(":method", "GET")]), None),
        (with(&[(":authority", "evil")]), None),
        (with(&[(":unknown", "x")]), None),
        (with(&[(":status", "200")]), None),
        (with(&[("x", "y"), (":path", "/admin")]), None),
        (with(&[("host", "evil")]), None),
        (with(&[("host", "app"), ("host", "app")]), None),
        (with(&[("content-length", "10")]), Some(b"hello")),
        (with(&[("content-length", "3")]), Some(b"hello")),
        (with(&[("content-length", "5")]), None),
        (with(&[("content-length", "5"), ("content-length", "6")]), Some(b"hello")),
        (with(&[("content-length", "+5")]), Some(b"hello")),
        (without(":method"), None),
        (without(":path"), None),
        (without(":authority"), None),
        (instead(":path", ""), None),
        (instead(":path", "public/x"), None),
        (instead(":path", "*"), None),
        (instead(":path", "/public/x y"), None),
        (instead(":path", "/public/x\r\nhost: evil"), None),
        (instead(":path", "/public/../admin"), None),
        (instead(":path", "http://evil/public/x"), None),
        (instead(":method", "PO ST"), None),
        (instead(":method", "post"), None),
        (instead(":method", ""), None),
        (instead(":method", "CONNECT"), None),
        (instead(":authority", "a@b"), None),
        (instead(":authority", ""), None),
    ] {
        let before = upstream.count();
        let ended = within("an HTTP/2 case", fields(gateway.address, &case, data)).await;
        let refused = match ended {
            Ended::Answered(status) => (400..500).contains(&status),
            Ended::Broken => true,
        };
        assert!(refused, "{case:?}: {ended:?}\n{:?}", upstream.requests_after(before));
        assert_eq!(upstream.count(), before, "{case:?}");
        assert_eq!(gateway.get("/public/alive", "").await.status, 200);
    }
    for (case, data) in
        [(base.to_vec(), None), (with(&[("host", "app")]), None), (base.to_vec(), Some(&b"hello"[..]))]
    {
        let watch = Watch::begin(&gateway, &upstream);
        assert_eq!(fields(gateway.address, &case, data).await, Ended::Answered(200), "{case:?}");
        let sent = upstream.last();
        assert_eq!(sent.body, data.unwrap_or_default());
        let framed = sent.header("transfer-encoding").is_some()
            || sent.header("content-length").is_some_and(|l| l != "0");
        assert_eq!(framed, data.is_some(), "{}", sent.head);
        watch.reached("a proper stream", &["POST /public/x"], &[]).await;
    }
}
