//! What every test looks at when its gateway ends would be seen.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use doorward::model::metrics::StatusClass;
use doorward::model::role::Role;
use doorward::model::verdict::Verdict;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::gateway::ROUTES;
use crate::support::{Gateway, Upstream, exchange, until, wait_for};

/// What is found as the gateway ends.
fn found(gateway: Gateway) -> String {
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(gateway))) else { return String::new() };
    panic.downcast_ref::<String>().expect("an assertion fails with a text").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reaches_the_upstream_without_being_allowed_is_seen() {
    for (name, head) in [
        ("a stranger's", String::from("GET /public HTTP/1.1\r\nhost: a\r\n\r\n")),
        ("with an id that is none", String::from("GET / HTTP/1.1\r\nhost: a\r\nx-request-id: 0-1\r\n\r\n")),
    ] {
        let upstream = Upstream::spawn().await;
        let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
        assert_eq!(gateway.get("/public", "").await.status, 200);
        exchange(upstream.address, head).await;
        assert!(found(gateway).contains("it has no access event"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_or_changed_or_doubled_is_seen() {
    for (asked, sent, seen) in [
        ("GET /data", "GET /data", "it was not allowed"),
        ("GET /public/a", "GET /public/b", "another path was decided"),
        ("GET /public/a", "POST /public/a", "another method was decided"),
        ("GET /public/a", "GET /public/a", "it was sent twice"),
    ] {
        let upstream = Upstream::spawn().await;
        let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
        let answer = gateway.send(asked, "x-request-id: mine\r\n").await;
        let id = match answer.status {
            200 => upstream.last().header("x-request-id").unwrap().to_owned(),
            _ => serde_json::from_slice::<Value>(&answer.body).unwrap()["request_id"]
                .as_str()
                .unwrap()
                .to_owned(),
        };
        let host = gateway.address;
        exchange(
            upstream.address,
            format!(
                "{sent} HTTP/1.1\r\nhost: {host}\r\nx-forwarded-host: {host}\r\nx-request-id: {id}\r\n\r\n"
            ),
        )
        .await;
        let found = found(gateway);
        assert!(found.contains(seen), "{asked}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_request_that_nobody_allowed_is_seen() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let mut stream = TcpStream::connect(upstream.address).await.unwrap();
    stream.write_all(b"GET /").await.unwrap();
    until("its first byte", async || upstream.begun() > 0).await;
    assert!(found(gateway).contains("1 were begun at upstreams, 0 allowed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_seen_wherever_it_stands() {
    let upstream = Upstream::spawn().await;
    let spawn = async || Gateway::spawn(&upstream.url(), ROUTES).await;

    let gateway = spawn().await;
    let key = gateway.system_key("k", Role::Viewer).await;
    tracing::debug!(target: "doorward::test", "a key: {key}");
    assert!(found(gateway).contains("a secret was logged"));

    let gateway = spawn().await;
    gateway.user("mel", Role::Member).await;
    let session = gateway.sign_in("mel").await;
    let (_, value) = session.split_once('=').unwrap();
    gateway.get(&format!("/public/{value}"), "").await;
    assert!(found(gateway).contains("a secret stands in an access event"));

    let gateway = spawn().await;
    let key = gateway.system_key("k", Role::Viewer).await;
    std::fs::write(gateway.folder.path().join("doorward.db.backup"), format!("\0\u{1}{key}\0")).unwrap();
    assert!(found(gateway).contains("a secret stands in doorward.db.backup"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_open_is_seen() {
    let upstream = Upstream::spawn().await;
    let mut gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let _stream = TcpStream::connect(gateway.address).await.unwrap();
    let running = gateway.ledger.running.as_ref().unwrap();
    until("the connection", async || running.connections() == 1).await;
    gateway.ledger.patience = Duration::from_millis(200);
    let found = found(gateway);
    assert!(found.contains("open connections, requests, tunnels: (1, 0, 0)"), "{found}");
}

/// Anyone who hangs up leaves an event all the same: what was allowed may have been done.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_client_hangs_up_is_logged_and_counted() {
    let upstream = Upstream::spawn().await;
    // Only half a head.
    upstream.answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n");
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"GET /public/left HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    until("the request", async || upstream.count() > 0).await;
    drop(stream);
    let event = wait_for("its event", async || gateway.ledger.events().pop()).await;
    assert_eq!((&event["decision"], &event["http.status"]), (&"allow".into(), &499.into()), "{event}");
    assert_eq!((&event["http.path"], &event["rule"]), (&"/public/left".into(), &"public".into()), "{event}");
    let counted = gateway.ledger.running.as_ref().unwrap().registry().snapshot();
    assert_eq!(
        counted.requests.get(&("/".to_owned(), Verdict::Allow, StatusClass::ClientError)),
        Some(&1),
        "{counted:?}"
    );
}
