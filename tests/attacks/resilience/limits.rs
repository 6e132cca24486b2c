//! Limits that count: what is one too many is refused, what is just enough is not, and room comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use doorward::model::role::Role;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::gateway::ROUTES;
use crate::support::http2::{
    END_HEADERS, END_STREAM, Ended, HEADERS, PING, RST_STREAM, Raw, block, fields, frame,
};
use crate::support::hyper::http2;
use crate::support::patient::raw_upstream;
use crate::support::process::Process;
use crate::support::raw::{exchange, read_answer, read_head, read_to_close, until_closed};
use crate::support::{Gateway, Upstream, until, within};

const REQUEST: &str = "GET /public/x HTTP/1.1\r\nhost: a\r\n\r\n";
/// An error code of HTTP/2 (RFC 9113, 7): nothing was done, it may be tried again.
const REFUSED_STREAM: u32 = 7;

async fn gateway(settings: &str, upstream: &str) -> Gateway {
    Gateway::configured(&format!("{settings}\n[[upstreams]]\nname = \"app\"\nurl = \"{upstream}\"\n{ROUTES}"))
        .await
}

/// Part of D04: the fields and the target of a head by HTTP/2, whose bytes are within their limit.
#[tokio::test(flavor = "multi_thread")]
async fn heads_by_http2_are_bounded_in_fields_and_target_too() {
    let upstream = Upstream::spawn().await;
    let limits = "server.limits.header_count = 40\nserver.limits.uri_bytes = 1000";
    let gateway = gateway(limits, &upstream.url()).await;
    let most = 40;
    for (count, length, expected) in
        [(most, 1000, 200), (most + 1, 20, 431), (900, 20, 431), (1, 1001, 414), (1, 16_000, 414)]
    {
        let before = upstream.count();
        let path = format!("/public/{}", "x".repeat(length - "/public/".len()));
        let names: Vec<String> = (0..count).map(|at| format!("x{at}")).collect();
        let mut head = vec![(":method", "GET"), (":scheme", "http"), (":path", &path), (":authority", "a")];
        head.extend(names.iter().map(|name| (name.as_str(), "")));
        let ended = fields(gateway.address, &head, None).await;
        assert_eq!(ended, Ended::Answered(expected), "{count} fields, {length} bytes");
        assert_eq!(upstream.count() - before, usize::from(expected == 200));
    }
}

/// Everything at once on one connection.
#[tokio::test(flavor = "multi_thread")]
async fn http2_streams_beyond_the_limit_are_refused_and_room_comes_back() {
    let (silent, asked) = silent_upstream().await;
    let gateway = gateway("server.limits.http2_streams = 5", &format!("http://{silent}")).await;
    let head = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/public/x"), (":authority", "a")]);
    let mut client = Raw::connect(gateway.address, &[]).await;
    let mut attack = Vec::new();
    for stream in [1, 3, 5, 7, 9, 11, 13, 15, 17] {
        frame(&mut attack, HEADERS, END_HEADERS | END_STREAM, stream, &head);
    }
    assert!(client.send(&attack).await);
    let mut refused = Vec::new();
    within("refusals", async {
        while refused.len() < 4 {
            let (kind, _, stream, payload) = client.next().await.expect("the connection goes on");
            if kind == RST_STREAM {
                assert_eq!(payload, REFUSED_STREAM.to_be_bytes());
                refused.push(stream);
            }
        }
    })
    .await;
    assert_eq!(refused, [11, 13, 15, 17]);
    reaches(&asked, 5).await;

    let mut next = Vec::new();
    frame(&mut next, RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    frame(&mut next, HEADERS, END_HEADERS | END_STREAM, 19, &head);
    assert!(client.send(&next).await);
    reaches(&asked, 6).await;
}

/// An upstream that answers nothing, and how many requests it was asked.
async fn silent_upstream() -> (SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&asked);
    let address = raw_upstream(move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            while read_head(&mut stream).await.is_some() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    (address, asked)
}

async fn reaches(asked: &AtomicUsize, count: usize) {
    until("a request at the upstream", async || asked.load(Ordering::SeqCst) >= count).await;
    assert_eq!(asked.load(Ordering::SeqCst), count, "what was refused was asked of nobody");
}

/// A client's connection by HTTP/2, with streams that are open until it is dropped.
struct Streams {
    client: &'static str,
    key: Option<String>,
    sender: hyper::client::conn::http2::SendRequest<Empty<Bytes>>,
    open: tokio::task::JoinSet<hyper::Result<Response<Incoming>>>,
}

impl Streams {
    async fn of(client: &'static str, gateway: SocketAddr) -> Self {
        Self { client, key: None, sender: http2(gateway).await, open: tokio::task::JoinSet::new() }
    }

    fn open(&mut self, count: usize) {
        for _ in 0..count {
            let mut request = Request::get("http://a/public/x").header("x-forwarded-for", self.client);
            if let Some(key) = &self.key {
                request = request.header("authorization", format!("Bearer {key}"));
            }
            self.open.spawn(self.sender.send_request(request.body(Empty::new()).unwrap()));
        }
    }

    /// Fails unless so many are answered, all by this.
    async fn are_refused(&mut self, count: usize, status: u16, code: &str) {
        for _ in 0..count {
            let answer = within("a refusal", self.open.join_next()).await.unwrap().unwrap().unwrap();
            assert_eq!(answer.status(), status);
            assert!(answer.headers().contains_key("retry-after"), "{:?}", answer.headers());
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["code"], code);
        }
    }
}

/// Many connections with everything at once on each, so that each needs another one to an upstream.
#[tokio::test(flavor = "multi_thread")]
async fn open_requests_of_one_client_are_bounded_and_so_are_those_of_all() {
    let (silent, asked) = silent_upstream().await;
    let settings = "[server]\nworkers = 1\ntrusted_proxies = [\"127.0.0.1\"]\n\
                    limits = { http2_streams = 5, open_requests_per_client = 7, open_requests = 20 }\n";
    let gateway = gateway(settings, &format!("http://{silent}")).await;
    let mut first = Streams::of("198.51.100.1", gateway.address).await;
    first.open(5);
    reaches(&asked, 5).await;
    let mut second = Streams::of("198.51.100.1", gateway.address).await;
    second.open(5);
    second.are_refused(3, 429, "too-many-requests").await;
    reaches(&asked, 7).await;
    let plain =
        exchange(gateway.address, REQUEST.replace("\r\n\r\n", "\r\nx-forwarded-for: 198.51.100.1\r\n\r\n"))
            .await;
    assert_eq!(
        (plain.status, plain.problem().as_deref()),
        (429, Some("too-many-requests")),
        "by HTTP/1.1 too"
    );

    let mut other = Streams::of("198.51.100.2", gateway.address).await;
    other.open(5);
    other.are_refused(2, 503, "no-room").await;
    reaches(&asked, 10).await;

    // Half is left to callers who are somebody, also where strangers have the share of an address.
    let key = gateway.system_key("k", Role::Viewer).await;
    let mut known = Vec::new();
    for (client, reached) in [("198.51.100.1", 15), ("198.51.100.9", 20)] {
        let mut streams = Streams { key: Some(key.clone()), ..Streams::of(client, gateway.address).await };
        streams.open(5);
        reaches(&asked, reached).await;
        known.push(streams);
    }
    let mut late = Streams { key: Some(key), ..Streams::of("198.51.100.8", gateway.address).await };
    late.open(1);
    late.are_refused(1, 503, "no-room").await;
    assert_eq!(
        gateway.get("/_doorward/healthz", "").await.status,
        200,
        "what is passed on to nobody needs no room"
    );

    // Whoever ends some of its own has room again, and so have all.
    drop(first);
    let mut third = Streams::of("198.51.100.3", gateway.address).await;
    within("room", async {
        while asked.load(Ordering::SeqCst) < 21 {
            third.open(1);
            tokio::select! {
                refused = third.open.join_next() => assert_eq!(refused.unwrap().unwrap().unwrap().status(), 503),
                () = reaches(&asked, 21) => {}
            }
        }
    })
    .await;
    second.open(1);
    reaches(&asked, 22).await;
}

/// A gateway behind a proxy that names its clients, as tests cannot come from many addresses.
async fn behind_proxy(limits: &str, upstream: &Upstream) -> Gateway {
    let settings = format!(
        "[server]\nworkers = 2\nproxy_protocol = \"required\"\n\
         proxy_protocol_from = \"127.0.0.1\"\n{limits}"
    );
    gateway(&settings, &upstream.url()).await
}

/// A connection of this client, and the status of the first answer on it; 0 if it was closed instead.
async fn connect_as(address: SocketAddr, client: &str) -> (TcpStream, u16) {
    let family = if client.contains(':') { "TCP6" } else { "TCP4" };
    let own = if client.contains(':') { "::1" } else { "127.0.0.1" };
    let mut stream = TcpStream::connect(address).await.unwrap();
    let bytes = format!("PROXY {family} {client} {own} 4711 80\r\n{REQUEST}");
    let _ = stream.write_all(bytes.as_bytes()).await;
    let status = read_answer(&mut stream).await.status;
    (stream, status)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_addresses_of_one_ipv6_network_are_one_client() {
    let upstream = Upstream::spawn().await;
    let gateway = behind_proxy("limits.connections_per_client = 2", &upstream).await;
    let mut held = Vec::new();
    for (client, expected) in [
        ("2001:db8:1:1::1", 200),
        ("2001:db8:1:1:ffff:ffff:ffff:ffff", 200),
        ("2001:db8:1:1::2", 0),
        ("2001:db8:1:1:8000::", 0),
        ("2001:db8:1:2::1", 200),
        ("2001:db8:1:2::2", 200),
        ("2001:db8:1:2::3", 0),
        ("198.51.100.1", 200),
        ("198.51.100.2", 200),
        ("198.51.100.1", 200),
        ("198.51.100.1", 0),
        // The same client, written as an IPv6 address.
        ("::ffff:198.51.100.1", 0),
    ] {
        let (stream, status) = connect_as(gateway.address, client).await;
        assert_eq!(status, expected, "{client}");
        held.extend((status == 200).then_some(stream));
    }
    held.remove(0);
    until("room for the network", async || connect_as(gateway.address, "2001:db8:1:1::3").await.1 == 200)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_with_a_connection_each_are_bounded_in_total() {
    let upstream = Upstream::spawn().await;
    let gateway = behind_proxy("limits.connections = 3\nlimits.connections_per_client = 3", &upstream).await;
    let mut held = Vec::new();
    for last in 1..=3 {
        let (stream, status) = connect_as(gateway.address, &format!("198.51.100.{last}")).await;
        assert_eq!(status, 200);
        held.push(stream);
    }
    for last in 4..=9 {
        assert_eq!(connect_as(gateway.address, &format!("198.51.100.{last}")).await.1, 0);
    }
    held.pop();
    until("room", async || connect_as(gateway.address, "198.51.100.9").await.1 == 200).await;
}

/// D08: more connections than anybody may have.
#[tokio::test(flavor = "multi_thread")]
async fn connections_of_one_client_beyond_its_share_are_closed_and_room_comes_back() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway("server.limits.connections_per_client = 3", &upstream.url()).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut client = TcpStream::connect(gateway.address).await.unwrap();
        client.write_all(REQUEST.as_bytes()).await.unwrap();
        assert_eq!(read_answer(&mut client).await.status, 200);
        held.push(client);
    }
    assert_eq!(until_closed(gateway.address, REQUEST).await, "");
    held.pop();
    until("room", async || exchange(gateway.address, REQUEST).await.status == 200).await;
}

/// Part of D08: more connections than the operating system has descriptors for.
#[tokio::test(flavor = "multi_thread")]
async fn running_out_of_descriptors_ends_nothing_and_room_comes_back() {
    let upstream = Upstream::spawn().await;
    let gateway = Process::serve_with_descriptors(&upstream.url(), ROUTES, 64);
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(TcpStream::connect(gateway.address).await.unwrap());
    }
    until("the end of descriptors", async || gateway.said().contains("a connection could not be accepted"))
        .await;
    // Who was accepted is still there. What a request needs a descriptor for may fail, and is answered.
    held[0].write_all(b"GET /_doorward/healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert_eq!(read_answer(&mut held[0]).await.status, 200);
    held[1].write_all(REQUEST.as_bytes()).await.unwrap();
    assert!([200, 502].contains(&read_answer(&mut held[1]).await.status));
    drop(held);
    let answer = within("an answer to who comes next", exchange(gateway.address, REQUEST)).await;
    assert_eq!(answer.status, 200);
}

/// A peer that is gone, or acts as if it were, while a stream of its is open.
#[tokio::test(flavor = "multi_thread")]
async fn http2_peers_are_asked_whether_they_are_there_and_closed_if_they_are_not() {
    let silent =
        raw_upstream(|mut stream| async move { while read_head(&mut stream).await.is_some() {} }).await;
    let gateway = gateway("", &format!("http://{silent}")).await;
    let head = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/public/x"), (":authority", "a")]);
    let mut bytes = Vec::new();
    frame(&mut bytes, HEADERS, END_HEADERS | END_STREAM, 1, &head);
    let mut client = Raw::connect(gateway.address, &[]).await;
    assert!(client.send(&bytes).await);
    // Asked after twenty seconds.
    let asked = async {
        while let Some((kind, ..)) = client.next().await {
            if kind == PING {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(Duration::from_mins(1), asked).await.expect("a question"), "closed unasked");
    // Another twenty seconds are waited for the answer, which only the long run takes.
    if std::env::var_os("DOORWARD_TEST_LONG").is_some() {
        let end = async { while client.next().await.is_some() {} };
        tokio::time::timeout(Duration::from_mins(1), end)
            .await
            .expect("the end of a peer that does not answer");
    }
}

/// What was forgotten: a body without announced length, an answer, a tunnel, on which nothing moves.
#[tokio::test(flavor = "multi_thread")]
async fn pauses_beyond_the_idle_limit_end_bodies_answers_and_tunnels_unless_there_is_none() {
    let upstream = crate::support::patient::patient().await;
    let gateway = async |idle: &str| {
        Gateway::configured(&format!(
            "[[upstreams]]\nname = \"app\"\nurl = \"{}\"\ntimeouts.idle = \"{idle}\"\n\
             [[routes]]\nupstream = \"app\"\nrules = [{{ allow = \"anyone\" }}]\n",
            upstream.url()
        ))
        .await
    };
    let (limited, unlimited) = (gateway("2s").await, gateway("0s").await);
    let requests = [
        "POST /upload HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n",
        "GET /events HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /socket HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ];
    let open = async |address: SocketAddr| {
        let mut streams = Vec::new();
        for request in requests {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            streams.push(stream);
        }
        streams
    };
    let endless = open(unlimited.address).await;
    let mut ends = Vec::new();
    for mut stream in open(limited.address).await {
        ends.push(read_to_close(&mut stream).await);
    }
    assert!(ends[0].starts_with("HTTP/1.1 408 "), "{}", ends[0]);
    assert!(
        ends[1].starts_with("HTTP/1.1 200 ") && !ends[1].ends_with("0\r\n\r\n"),
        "never complete: {}",
        ends[1]
    );
    assert!(ends[2].starts_with("HTTP/1.1 101 "), "{}", ends[2]);
    for mut stream in endless {
        let end = tokio::time::timeout(Duration::from_millis(100), read_to_close(&mut stream)).await;
        assert!(end.is_err(), "it ended without a limit: {end:?}");
    }
}
