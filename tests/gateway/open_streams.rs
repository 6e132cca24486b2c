//! What is open ends with the right that opened it, and nothing else does.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;
use doorward::model::time::{Clock, Timestamp};
use doorward::service::api_keys::NewKey;
use doorward::service::epoch::EpochSlot;
use http::{HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::failure::break_database;
use crate::grpc::message;
use crate::support::bound::Stopwatch;
use crate::support::gateway::bearer;
use crate::support::hyper::{http2, hyper_upstream};
use crate::support::patient::{flood, patient};
use crate::support::raw::{HANDSHAKE, read_answer, read_answer_to};
use crate::support::{Gateway, until, within};

/// Rules that let anyone who may read open a socket as well.
pub const ROUTES: &str = r#"
[[routes]]
upstream = "app"
path = "/"
rules = [
  { name = "public", path = "/public", allow = "anyone" },
  { name = "sockets", path = "/socket", methods = "websocket", allow = "viewer" },
  { name = "reads", methods = "read", allow = "viewer" },
  { name = "writes", methods = "write", allow = "member" },
]
"#;

/// Opens a stream, up to where it is quiet.
pub async fn open(address: SocketAddr, path: &str, credential: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    let more = match path {
        "/socket" => format!("origin: http://{address}\r\n{HANDSHAKE}"),
        "/upload" | "/early" => format!("origin: http://{address}\r\ntransfer-encoding: chunked\r\n"),
        _ => String::new(),
    };
    let method = if more.contains("chunked") { "POST" } else { "GET" };
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n{more}{credential}\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    if method == "POST" {
        client.write_all(b"5\r\nhello\r\n").await.unwrap();
    }
    match path {
        "/socket" => {
            assert_eq!(within("the switch", read_answer_to(&mut client, true)).await.status, 101);
            assert!(lives(&mut client).await);
        }
        "/events" | "/early" => {
            assert_eq!(within("the head", read_answer_to(&mut client, true)).await.status, 200);
            let mut first = [0; 8];
            within("the first chunk", client.read_exact(&mut first)).await.unwrap();
        }
        _ => {}
    }
    client
}

/// Whether a socket still carries bytes both ways.
pub async fn lives(socket: &mut TcpStream) -> bool {
    let mut buffer = [0; 5];
    socket.write_all(b"there").await.is_ok()
        && within("an echo or the end", socket.read_exact(&mut buffer)).await.is_ok()
        && &buffer == b"there"
}

/// What comes until the connection ends.
async fn rest(client: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let mut buffer = [0; 4096];
    let read = async {
        while let Ok(read @ 1..) = client.read(&mut buffer).await {
            rest.extend_from_slice(&buffer[..read]);
        }
    };
    within("the end of the stream", read).await;
    rest
}

/// H03: everything that can be open, as its session ends.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_session_has_open_ends_with_it_and_other_peoples_streams_live_on() {
    let mut upstream = patient().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let vera = gateway.user("vera", Role::Member).await;
    gateway.user("mel", Role::Member).await;
    let hers = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
    let his = format!("cookie: {}\r\n", gateway.sign_in("mel").await);

    let mut open_ones = Vec::new();
    for path in ["/socket", "/events", "/early", "/upload", "/silent"] {
        open_ones.push((path, open(gateway.address, path, &hers).await));
    }
    let mut other = open(gateway.address, "/socket", &his).await;
    let mut anonymous = open(gateway.address, "/public/silent", "").await;

    gateway.store.end_sessions_of(&vera).await.unwrap();
    let watch = Stopwatch::start();
    for (path, client) in &mut open_ones {
        let rest = rest(client).await;
        watch.check(path);
        match *path {
            "/socket" | "/events" | "/early" => assert_eq!(rest, b"", "{path}: aborted, never completed"),
            _ => {
                let answer = String::from_utf8_lossy(&rest);
                assert!(answer.starts_with("HTTP/1.1 401 "), "{path}: {answer}");
                assert!(answer.contains("connection: close\r\n"), "{path}: {answer}");
            }
        }
    }
    upstream.sees_the_end_of(&open_ones.iter().map(|(path, _)| *path).collect::<Vec<_>>()).await;
    assert!(lives(&mut other).await);
    let quiet = tokio::time::timeout(Duration::from_millis(50), anonymous.read_u8()).await;
    assert!(quiet.is_err(), "whoever needs no session loses none");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_on_every_gateway_that_shares_the_store() {
    let upstream = patient().await;
    let first = Gateway::spawn(&upstream.url(), ROUTES).await;
    let second = Gateway::configured(&format!(
        "[store]\nurl = \"sqlite:{}/doorward.db\"\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        first.folder.path().display(),
        upstream.url()
    ))
    .await;
    let vera = first.user("vera", Role::Viewer).await;
    first.user("mel", Role::Viewer).await;
    let hers = format!("cookie: {}\r\n", first.sign_in("vera").await);
    let his = format!("cookie: {}\r\n", first.sign_in("mel").await);
    let mut near = open(first.address, "/events", &hers).await;
    let mut far = open(second.address, "/events", &hers).await;
    let mut other = open(second.address, "/silent", &his).await;
    first.accounts.disable(&first.by, &vera).await.unwrap();
    let watch = Stopwatch::start();
    for client in [&mut near, &mut far] {
        assert_eq!(rest(client).await, b"");
        watch.check("the end on each gateway");
    }
    assert!(tokio::time::timeout(Duration::from_millis(50), other.read_u8()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_still_allows_keeps_a_stream_and_one_that_does_not_ends_it() {
    let upstream = patient().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let user = gateway.user("vera", Role::Member).await;
    let (key, _) = gateway.key_with("k", Role::Member, Some(user.clone()), KeyScope::default()).await;
    let mut socket = open(gateway.address, "/socket", &bearer(&key)).await;
    let mut upload = open(gateway.address, "/upload", &bearer(&key)).await;

    gateway.accounts.set_role(&gateway.by, &user, Role::Viewer).await.unwrap();
    let watch = Stopwatch::start();
    let answer = within("the refusal", read_answer(&mut upload)).await;
    watch.check("the end of the upload");
    assert_eq!(answer.status, 403, "{}", answer.text());
    gateway.settle().await;
    assert!(lives(&mut socket).await, "a viewer may have a socket");

    gateway.accounts.set_role(&gateway.by, &user, Role::Admin).await.unwrap();
    gateway.settle().await;
    assert!(lives(&mut socket).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_at_a_second_place_ends_with_the_right_to_that_place() {
    let upstream = patient().await;
    let rules = "rules = [{ path = \"/kept\", allow = \"member\" }, { allow = \"viewer\" }]";
    let gateway =
        Gateway::spawn(&upstream.url(), &format!("[[routes]]\nupstream = \"app\"\n{rules}\n")).await;
    let user = gateway.user("vera", Role::Member).await;
    let (key, _) = gateway.key_with("k", Role::Member, Some(user.clone()), KeyScope::default()).await;
    let mut here = open(gateway.address, "/socket", &bearer(&key)).await;
    let two = format!("{}destination: /kept/x\r\n", bearer(&key));
    let mut there = open(gateway.address, "/events", &two).await;

    gateway.accounts.set_role(&gateway.by, &user, Role::Viewer).await.unwrap();
    rest(&mut there).await;
    gateway.settle().await;
    assert!(lives(&mut here).await, "what it does at one place goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_takes_its_streams_along_when_it_is_revoked_or_expires() {
    let upstream = patient().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let (text, id) = gateway.key_with("revoked", Role::Viewer, None, KeyScope::default()).await;
    let other = gateway.system_key("other", Role::Viewer).await;
    let new = NewKey {
        name: "short".to_owned(),
        owner: None,
        role: Role::Viewer,
        scope: KeyScope::default(),
        expires_at: Some(Timestamp(gateway.clock.now().0 + 600)),
    };
    let (short, _) = gateway.keys.issue(&gateway.by, new).await.unwrap();
    let mut revoked = open(gateway.address, "/events", &bearer(&text)).await;
    let mut expiring = open(gateway.address, "/socket", &bearer(short.expose())).await;
    let mut living = open(gateway.address, "/socket", &bearer(&other)).await;

    gateway.keys.revoke(&gateway.by, &id).await.unwrap();
    let watch = Stopwatch::start();
    assert_eq!(rest(&mut revoked).await, b"");
    watch.check("the end of the revoked key's stream");
    gateway.settle().await;
    assert!(lives(&mut expiring).await);

    gateway.clock.advance(Duration::from_secs(601));
    assert_eq!(rest(&mut expiring).await, b"");
    assert!(lives(&mut living).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_on_a_stream_keep_its_session_from_idling_but_not_from_its_absolute_end() {
    let upstream = patient().await;
    let gateway = Gateway::configured(&format!(
        "[session]\nidle = \"10m\"\nabsolute = \"1h\"\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await;
    for name in ["busy", "quiet"] {
        gateway.user(name, Role::Viewer).await;
    }
    let busy = format!("cookie: {}\r\n", gateway.sign_in("busy").await);
    let quiet = format!("cookie: {}\r\n", gateway.sign_in("quiet").await);
    let mut socket = open(gateway.address, "/socket", &busy).await;
    let mut idle = open(gateway.address, "/socket", &quiet).await;
    for _ in 0..4 {
        gateway.clock.advance(Duration::from_mins(4));
        // Long enough for the look each second to see that bytes moved, of which nothing outside of the thread tells.
        for _ in 0..12 {
            assert!(lives(&mut socket).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(rest(&mut idle).await, b"", "an idle session ends, and its streams with it");
    gateway.clock.advance(Duration::from_hours(1));
    until("the absolute end", async || !lives(&mut socket).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_when_the_store_cannot_be_asked() {
    let upstream = patient().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let key = bearer(&gateway.system_key("k", Role::Viewer).await);
    let mut events = open(gateway.address, "/events", &key).await;
    let mut silent = open(gateway.address, "/silent", &key).await;
    let mut public = open(gateway.address, "/public/silent", "").await;
    break_database(&gateway.folder.path().join("doorward.db"));
    assert_eq!(rest(&mut events).await, b"");
    assert_eq!(within("the refusal", read_answer(&mut silent)).await.status, 503);
    assert!(tokio::time::timeout(Duration::from_millis(50), public.read_u8()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_grace_keeps_streams_open() {
    let upstream = patient().await;
    let gateway = Gateway::configured(&format!(
        "store.outage_grace = \"1h\"\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await;
    let key = bearer(&gateway.system_key("k", Role::Viewer).await);
    let mut socket = open(gateway.address, "/socket", &key).await;
    break_database(&gateway.folder.path().join("doorward.db"));
    gateway.until_ready(false).await;
    assert!(lives(&mut socket).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_only_log_end_no_stream() {
    let upstream = patient().await;
    let routes = ROUTES.replace("path = \"/\"\n", "path = \"/\"\nenforce = \"log\"\n");
    let gateway = Gateway::spawn(&upstream.url(), &routes).await;
    let (key, id) = gateway.key_with("k", Role::Viewer, None, KeyScope::default()).await;
    let mut socket = open(gateway.address, "/socket", &bearer(&key)).await;
    let before = gateway.lookups();
    gateway.keys.revoke(&gateway.by, &id).await.unwrap();
    until("a look", async || gateway.lookups() != before).await;
    assert!(lives(&mut socket).await);
}

/// An upstream by HTTP/2 whose answers begin and never end.
async fn endless() -> SocketAddr {
    hyper_upstream(|request| async move {
        let kind = request.headers().get("content-type").cloned();
        let first = futures_util::stream::iter([Ok(Frame::data(message("one")))]);
        let frames = futures_util::StreamExt::chain(first, futures_util::stream::pending());
        let mut response = Response::new(StreamBody::new(frames).boxed());
        if let Some(kind) = kind {
            response.headers_mut().insert("content-type", kind);
        }
        response
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_streams_are_reset_and_grpc_streams_are_told_why() {
    let upstream = endless().await;
    let gateway = Gateway::spawn(&format!("h2c://{upstream}"), ROUTES).await;
    let (doomed, id) = gateway.key_with("doomed", Role::Member, None, KeyScope::default()).await;
    let other = gateway.system_key("other", Role::Member).await;
    let mut client = http2::<Empty<Bytes>>(gateway.address).await;
    let mut send = |path: &str, key: &str, grpc: bool| {
        let mut request = Request::get(format!("http://app.example{path}")).version(Version::HTTP_2);
        if grpc {
            request = request.method("POST").header("content-type", "application/grpc");
        }
        let request = request.header("authorization", format!("Bearer {key}"));
        client.send_request(request.body(Empty::new()).unwrap())
    };
    let mut bodies = Vec::new();
    for (path, key, grpc) in
        [("/plain", &doomed, false), ("/test.Echo/Say", &doomed, true), ("/plain", &other, false)]
    {
        let mut body = within("the head", send(path, key, grpc)).await.unwrap().into_body();
        let frame = within("the first frame", body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), message("one"));
        bodies.push(body);
    }
    gateway.keys.revoke(&gateway.by, &id).await.unwrap();
    let watch = Stopwatch::start();
    let reset = within("the reset", bodies[0].frame()).await.unwrap();
    assert!(reset.is_err(), "broken off, never completed");
    watch.check("the reset");
    let last = within("the trailers", bodies[1].frame()).await.unwrap().unwrap();
    watch.check("the trailers");
    assert_eq!(last.into_trailers().unwrap()["grpc-status"], HeaderValue::from_static("16"));
    assert!(within("the end", bodies[1].frame()).await.is_none());
    let quiet = tokio::time::timeout(Duration::from_millis(50), bodies[2].frame()).await;
    assert!(quiet.is_err(), "another caller's stream on the same connection goes on");
}

/// H11: a thousand streams that do not end, as the gateway stops.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_breaks_off_a_thousand_streams_and_ends() {
    const CONNECTIONS: usize = 10;
    let upstream = endless().await;
    let mut gateway = Gateway::configured(&format!(
        "[server]\ndrain = \"1s\"\n[server.limits]\nopen_requests_per_client = 4000\n\
         [[upstreams]]\nname = \"app\"\nurl = \"h2c://{upstream}\"\n{ROUTES}"
    ))
    .await;
    let (mut clients, mut bodies) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        let mut client = http2::<Empty<Bytes>>(gateway.address).await;
        for _ in 0..1000 / CONNECTIONS {
            let request = Request::get("http://a/public/x").version(Version::HTTP_2);
            let sent = client.send_request(request.body(Empty::new()).unwrap());
            let mut body = within("the head", sent).await.unwrap().into_body();
            within("the first frame", body.frame()).await.unwrap().unwrap();
            bodies.push(body);
        }
        clients.push(client);
    }
    within("the stop", gateway.begin_stop()).await.unwrap();
    for body in &mut bodies {
        let end = within("the end of a stream", body.frame()).await;
        assert!(end.is_some_and(|end| end.is_err()), "broken off, never completed");
    }
    assert_eq!(bodies.len(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_of_one_session_cost_one_lookup_on_each_thread() {
    let upstream = patient().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let vera = gateway.user("vera", Role::Viewer).await;
    let other = gateway.user("mel", Role::Viewer).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(open(gateway.address, "/socket", &cookie).await);
    }
    gateway.settle().await;
    let before = gateway.lookups();
    gateway.accounts.disable(&gateway.by, &other).await.unwrap();
    gateway.settle().await;
    let spared = EpochSlot::of(&vera.0) != EpochSlot::of(&other.0);
    assert!(!spared || gateway.lookups() == before, "what another loses is no reason to look");
    let before = gateway.lookups();
    assert!(gateway.accounts.add_group(&gateway.by, &vera, "ops").await.unwrap());
    gateway.settle().await;
    until("the looks", async || gateway.lookups() != before).await;
    for stream in &mut streams {
        assert!(lives(stream).await);
    }
    let looks = gateway.lookups() - before;
    assert!((1..=2).contains(&looks), "two threads looked {looks} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut_off_too() {
    let mut upstream = flood().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let (key, id) = gateway.key_with("k", Role::Viewer, None, KeyScope::default()).await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!("GET /flood HTTP/1.1\r\nhost: a\r\n{}\r\n", bearer(&key));
    client.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(within("the head", read_answer_to(&mut client, true)).await.status, 200);
    gateway.keys.revoke(&gateway.by, &id).await.unwrap();
    let watch = Stopwatch::start();
    upstream.sees_the_end_of(&["/flood"]).await;
    watch.check("the end at the upstream");
    let rest = rest(&mut client).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "broken off, never completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_the_settings_are_not_taken_for_one_another() {
    let upstream = patient().await;
    let tokens = ["q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=", "Wm4Tz0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/="];
    let gateway = Gateway::spawn(
        &upstream.url(),
        &format!(
            "[[keys.imported]]\nname = \"here\"\nrole = \"viewer\"\n\
             ring = '[{{ \"name\": \"one\", \"key\": \"{}\" }}, {{ \"name\": \"two\", \"key\": \"{}\" }}]'\n\
             [[routes]]\nupstream = \"app\"\nrules = [{{ path = \"/socket\", allow = \"key:one\" }},\n\
             {{ path = \"/events\", allow = \"key:two\" }}, {{ path = \"/data\", allow = \"viewer\" }}]\n",
            tokens[0], tokens[1]
        ),
    )
    .await;
    let mut one = open(gateway.address, "/socket", &bearer(tokens[0])).await;
    let mut two = open(gateway.address, "/events", &bearer(tokens[1])).await;
    // Somebody else loses a right: everyone is looked at again.
    let (key, id) = gateway.key_with("other", Role::Viewer, None, KeyScope::default()).await;
    let mut other = open(gateway.address, "/silent", &bearer(&key)).await;
    assert_eq!(read_answer(&mut other).await.status, 403);
    assert!(gateway.keys.revoke(&gateway.by, &id).await.unwrap());
    gateway.settle().await;
    assert_eq!(gateway.get("/data", &bearer(&key)).await.status, 401);
    assert!(lives(&mut one).await);
    let nothing = tokio::time::timeout(Duration::from_millis(1500), two.read(&mut [0; 8])).await;
    assert!(nothing.is_err(), "it ended");
}
