//! What is held in memory to decide by has a bound: for each client, and for all of them.

use doorward::model::role::Role;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::raw::{read_answer, read_head};
use crate::support::{Answer, Gateway, Upstream, exchange, until, within};

const KIB: usize = 1024;

/// One body of 64 KiB for each client, two in all.
async fn start(upstream: &Upstream) -> Gateway {
    Gateway::configured(&format!(
        "server.workers = 2\nserver.trusted_proxies = [\"127.0.0.1\"]\n\
         metrics.listen = \"127.0.0.1:0\"\n[server.limits]\ngraphql_body_bytes = {}\nread_ahead_bytes_per_client = {}\nread_ahead_bytes = {}\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n[[routes]]\nupstream = \"app\"\n\
         rules = [{{ path = \"/graphql\", graphql = \"query\", allow = \"anyone\" }}]",
        64 * KIB,
        64 * KIB,
        128 * KIB,
        upstream.url()
    ))
    .await
}

/// A query of so many bytes, in two parts: all but the last KiB, and that. `client` is an address, and what else of a
/// header block follows it.
fn query_of(length: usize, client: &str) -> (Vec<u8>, Vec<u8>) {
    let begin = r#"{"query":"{ a }""#;
    let body = format!("{begin}{}}}", " ".repeat(length - begin.len() - 1)).into_bytes();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: a\r\nx-forwarded-for: {client}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n"
    );
    let (first, last) = body.split_at(length - KIB);
    ([head.as_bytes(), first].concat(), last.to_vec())
}

async fn ask(gateway: &Gateway, length: usize, client: &str) -> Answer {
    let (first, last) = query_of(length, client);
    exchange(gateway.address, [first, last].concat()).await
}

/// Leaves a query begun, once all of it that is sent is held with what was held before.
async fn hold(gateway: &Gateway, client: &str, before: usize) -> (TcpStream, Vec<u8>) {
    let begun = begin(gateway, 60 * KIB, client).await;
    holds(gateway, before + 60 * KIB).await;
    begun
}

/// Waits until so much is held, in bytes.
async fn holds(gateway: &Gateway, bytes: usize) {
    let metrics = gateway.metrics_address().unwrap();
    let held = format!("doorward_read_ahead_bytes{{kind=\"graphql\"}} {bytes}");
    until(&held, async || {
        let page = exchange(metrics, "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        page.text().lines().any(|line| line == held)
    })
    .await;
}

/// Begins a query, and leaves it there.
async fn begin(gateway: &Gateway, length: usize, client: &str) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let (first, last) = query_of(length, client);
    stream.write_all(&first).await.unwrap();
    (stream, last)
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_under_way_have_a_bound_for_each_client_and_for_all() {
    let upstream = Upstream::spawn().await;
    let gateway = start(&upstream).await;
    for (first, same, other) in
        [("10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")]
    {
        let (mut held, last) = hold(&gateway, first, 0).await;
        let refused = ask(&gateway, 30 * KIB, same).await;
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{}", refused.head);
        assert_eq!(refused.problem().as_deref(), Some("too-many-bodies"), "{}", refused.text());
        assert_eq!(ask(&gateway, 30 * KIB, other).await.status, 200, "{other} has room of its own");

        holds(&gateway, 60 * KIB).await;
        let (mut second, rest) = hold(&gateway, other, 60 * KIB).await;
        let refused = ask(&gateway, 30 * KIB, "10.0.0.3").await;
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{}", refused.head);
        assert_eq!(refused.problem().as_deref(), Some("no-room"), "{}", refused.text());

        // Both are served to their end, and then there is room again; so there is when one gives up.
        held.write_all(&last).await.unwrap();
        assert_eq!(read_answer(&mut held).await.status, 200);
        holds(&gateway, 60 * KIB).await;
        assert_eq!(ask(&gateway, 60 * KIB, same).await.status, 200);
        second.write_all(&rest).await.unwrap();
        assert_eq!(read_answer(&mut second).await.status, 200);
        holds(&gateway, 0).await;
        drop(hold(&gateway, first, 0).await);
        holds(&gateway, 0).await;
        assert_eq!(ask(&gateway, 60 * KIB, same).await.status, 200);
        holds(&gateway, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_one_share_wherever_it_asks_from() {
    let upstream = Upstream::spawn().await;
    let gateway = start(&upstream).await;
    let [vera, otto] = ["vera", "otto"].map(|name| gateway.system_key(name, Role::Viewer));
    let [vera, otto] = [vera.await, otto.await];
    let by = |address: &str, key: &str| format!("{address}\r\nauthorization: Bearer {key}");
    let (held, _) = hold(&gateway, &by("10.0.0.1", &vera), 0).await;
    let refused = ask(&gateway, 30 * KIB, &by("10.0.0.2", &vera)).await;
    assert_eq!(refused.problem().as_deref(), Some("too-many-bodies"), "{}", refused.text());
    assert_eq!(ask(&gateway, 30 * KIB, &by("10.0.0.2", &otto)).await.status, 200);
    drop(held);
    holds(&gateway, 0).await;
    assert_eq!(ask(&gateway, 30 * KIB, &by("10.0.0.2", &vera)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_was_sent_on_takes_no_room_while_its_answer_is_awaited() {
    let upstream = Upstream::spawn().await;
    let gateway = start(&upstream).await;
    // The last byte of every answer is missing.
    upstream.answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no");
    let mut open = Vec::new();
    for number in 0..4 {
        let (mut stream, last) = begin(&gateway, 60 * KIB, "10.0.0.1").await;
        stream.write_all(&last).await.unwrap();
        let head = within("an answer that begins", read_head(&mut stream)).await.unwrap_or_default();
        assert!(head.starts_with("HTTP/1.1 200"), "{number}: {head}");
        open.push(stream);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_understood_is_not_read_ahead() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "server.workers = 1\nserver.limits.graphql_body_bytes = 1024\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n[[routes]]\nupstream = \"app\"\nrules = [\n\
         {{ path = \"/graphql\", graphql = \"query\", allow = \"viewer\" }},\n\
         {{ path = \"/graphql\", graphql = \"mutation\", allow = \"anyone\" }}]",
        upstream.url()
    ))
    .await;
    // An upload, larger than any body that would be read: it counts as a mutation whatever is in it.
    let body = "x".repeat(100 * KIB);
    for (content_type, status) in [("multipart/form-data; boundary=x", 200), ("application/json", 413)] {
        let request = format!(
            "POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(exchange(gateway.address, request).await.status, status, "{content_type}");
    }
    assert_eq!(upstream.requests().len(), 1);
    assert_eq!(upstream.last().body.len(), body.len());
}
