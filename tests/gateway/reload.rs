//! Settings change while requests are served: nothing fails, nothing is decided by a mix, and what is refused
//! changes nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::gateway::bearer;
use crate::support::raw::{HANDSHAKE, SWITCHED, read_answer, read_answer_to, read_head};
use crate::support::upstream::Recorded;
use crate::support::{Gateway, Upstream, until, within};

/// Requests, and reloads while they are sent.
const REQUESTS: usize = 10_000;
const RELOADS: usize = 100;

/// Settings that differ from others by everything a request meets on its way: the rules, the route, the names
/// of identity headers, the host that the upstream sees, and the upstream.
fn settings(upstream: &Upstream, name: &str, headers: &str) -> String {
    format!(
        "[[upstreams]]\nname = \"{name}\"\nurl = \"{}\"\nheaders = \"{headers}\"\npreserve_host = {}\n\
         [[routes]]\nname = \"{name}\"\nupstream = \"{name}\"\n\
         rules = [\n{{ path = [\"/both\", \"/only-{name}\"], allow = \"viewer\" }}\n]\n",
        upstream.url(),
        name == "a"
    )
}

async fn two_upstreams() -> (Upstream, Upstream) {
    let (a, b) = (Upstream::spawn().await, Upstream::spawn().await);
    a.answers("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na");
    b.answers("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nb");
    (a, b)
}

/// Whether an answer is what one of the two says.
#[track_caller]
fn assert_of_one(path: &str, status: u16, body: &[u8]) {
    let fits = match (path, status) {
        ("/both", 200) => matches!(body, b"a" | b"b"),
        ("/only-a", 200) => body == b"a",
        ("/only-b", 200) => body == b"b",
        ("/only-a" | "/only-b", 403) => true,
        _ => false,
    };
    assert!(fits, "{path}: {status} {}", String::from_utf8_lossy(body));
}

/// Whether an upstream was told only what its own settings say.
fn assert_told_by_one(requests: &[Recorded], name: &str) {
    for request in requests {
        let (standard, grafana) = (request.header("x-auth-user"), request.header("x-webauth-user"));
        let host = request.header("host").unwrap();
        let line = request.line();
        let fits = match name {
            "a" => (standard, grafana, host) == (Some("alice"), None, "localhost") && line != "GET /only-b",
            _ => (standard, grafana) == (None, Some("alice")) && host != "localhost" && line != "GET /only-a",
        };
        assert!(fits, "{name} was told:\n{}", request.head);
    }
}

const PATHS: [&str; 3] = ["/both", "/only-a", "/only-b"];

/// Sends requests on one HTTP/1.1 connection until all have been sent that are wanted.
async fn over_http1(gateway: &Gateway, cookie: &str, answered: &AtomicUsize, done: &AtomicBool) {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    for path in PATHS.iter().cycle() {
        if done.load(Ordering::Relaxed) {
            return;
        }
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\ncookie: {cookie}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_answer(&mut stream).await;
        assert_of_one(path, answer.status, &answer.body);
        assert!(answer.complete);
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// The same on one HTTP/2 connection, three at a time.
async fn over_http2(gateway: &Gateway, cookie: &str, answered: &AtomicUsize, done: &AtomicBool) {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    while !done.load(Ordering::Relaxed) {
        let asked = PATHS.map(|path| {
            let mut sender = sender.clone();
            let request = Request::get(format!("http://localhost{path}")).header("cookie", cookie);
            async move {
                let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
                let status = answer.status().as_u16();
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                assert_of_one(path, status, &body);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
        within("three answers", futures_util::future::join_all(asked)).await;
    }
    driver.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_across_a_hundred_reloads_all_succeed_each_by_one_configuration() {
    let (a, b) = two_upstreams().await;
    let texts = [settings(&a, "a", "standard"), settings(&b, "b", "grafana")];
    let gateway = Gateway::configured(&texts[0]).await;
    gateway.user("alice", Role::Viewer).await;
    let cookie = gateway.sign_in("alice").await;
    let (answered, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut checking = TcpStream::connect(gateway.address).await.unwrap();
    let reloads = async {
        for reload in 1..=RELOADS {
            until("further answers", async || {
                answered.load(Ordering::Relaxed) >= reload * REQUESTS / RELOADS
            })
            .await;
            let number = gateway.reload(&texts[reload % 2]).await.unwrap();
            assert_eq!(number, reload as u64 + 1);
            // From the moment that it is done, on a connection that was open before.
            let request = format!("GET /both HTTP/1.1\r\nhost: localhost\r\ncookie: {cookie}\r\n\r\n");
            checking.write_all(request.as_bytes()).await.unwrap();
            let answer = read_answer(&mut checking).await;
            assert_eq!(answer.text(), ["a", "b"][reload % 2], "after reload {reload}");
        }
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(
        reloads,
        over_http1(&gateway, &cookie, &answered, &done),
        over_http1(&gateway, &cookie, &answered, &done),
        over_http1(&gateway, &cookie, &answered, &done),
        over_http1(&gateway, &cookie, &answered, &done),
        over_http2(&gateway, &cookie, &answered, &done),
        over_http2(&gateway, &cookie, &answered, &done),
    );
    assert!(answered.load(Ordering::Relaxed) >= REQUESTS);
    assert_told_by_one(&a.requests(), "a");
    assert_told_by_one(&b.requests(), "b");
    assert!(a.count() > RELOADS && b.count() > RELOADS, "{} and {}", a.count(), b.count());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_configuration_changes_nothing_and_every_reason_is_given() {
    let (a, b) = two_upstreams().await;
    let gateway = Gateway::configured(&settings(&a, "a", "standard")).await;
    let key = bearer(&gateway.system_key("alice", Role::Viewer).await);
    let good = settings(&b, "b", "grafana");
    for (bad, reasons) in [
        (
            good.replace("allow", "alow").replace("url", "ulr"),
            &["routes[0].rules[0].alow", "upstreams[0].ulr"][..],
        ),
        ("upstreams = [".to_owned(), &["is not TOML"]),
        (
            format!(
                "{good}[[tests]]\nrequest = \"GET /only-b\"\nas = {{ role = \"viewer\" }}\nexpect = \"deny\"\n"
            ),
            &["tests[0]"],
        ),
        (format!("store.connections = 3\n{good}"), &["store.connections: cannot change", "restart"]),
        (
            format!("[server]\nlisten = [\"127.0.0.1:1\"]\nworkers = 3\n{good}"),
            &["server.listen: cannot change", "server.workers: cannot change"],
        ),
    ] {
        let refused = gateway.reload(&bad).await.unwrap_err().to_string();
        for reason in reasons {
            assert!(refused.contains(reason), "{reason}:\n{refused}");
        }
        assert_eq!(gateway.get("/only-a", &key).await.text(), "a");
        assert_eq!(gateway.get("/only-b", &key).await.status, 403);
    }
    assert_eq!(gateway.reload(&good).await.unwrap(), 2, "what was refused is not counted");
    assert_eq!(gateway.get("/only-b", &key).await.text(), "b");
    assert_eq!(gateway.get("/only-a", &key).await.status, 403);
}

const OPEN: &str = "[[routes]]\nupstream = \"app\"\nrules = [{ allow = \"viewer\" }]\n";
const CLOSED: &str = "[[routes]]\nupstream = \"app\"\nrules = [{ allow = \"admin\" }]\n";

fn with_app(upstream: &Upstream, routes: &str) -> String {
    format!("[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{routes}", upstream.url())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_remembered_is_judged_by_the_new_rules_without_being_looked_up_again() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&with_app(&upstream, OPEN)).await;
    gateway.user("vera", Role::Viewer).await;
    let key = bearer(&gateway.system_key("known", Role::Viewer).await);
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
    // Each of the two threads remembers both.
    for _ in 0..8 {
        for credential in [&key, &cookie] {
            assert_eq!(gateway.get("/data", credential).await.status, 200);
        }
    }
    let lookups = gateway.lookups();
    for (routes, status) in [(CLOSED, 403), (OPEN, 200), (CLOSED, 403)] {
        gateway.reload(&with_app(&upstream, routes)).await.unwrap();
        for credential in [&key, &cookie] {
            assert_eq!(gateway.get("/data", credential).await.status, status);
        }
    }
    assert_eq!(gateway.lookups(), lookups);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_before_or_after_a_reload_is_refused_within_the_same_second() {
    let upstream = Upstream::spawn().await;
    let text = with_app(&upstream, OPEN);
    let gateway = Gateway::configured(&text).await;
    for round in 0..6 {
        let (key, id) =
            gateway.key_with(&format!("key-{round}"), Role::Viewer, None, KeyScope::default()).await;
        let key = bearer(&key);
        assert_eq!(gateway.get("/data", &key).await.status, 200);
        if round % 2 == 0 {
            assert!(gateway.keys.revoke(&gateway.by, &id).await.unwrap());
            gateway.reload(&text).await.unwrap();
        } else {
            gateway.reload(&text).await.unwrap();
            assert_eq!(gateway.get("/data", &key).await.status, 200);
            assert!(gateway.keys.revoke(&gateway.by, &id).await.unwrap());
        }
        gateway.settle().await;
        for _ in 0..4 {
            assert_eq!(gateway.get("/data", &key).await.status, 401);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_by_the_idle_time_that_is_in_effect() {
    let upstream = Upstream::spawn().await;
    let with_idle = |idle: &str| format!("session.idle = \"{idle}\"\n{}", with_app(&upstream, OPEN));
    let gateway = Gateway::configured(&with_idle("5m")).await;
    let vera = gateway.user("vera", Role::Viewer).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
    assert_eq!(gateway.get("/data", &cookie).await.status, 200);
    gateway.reload(&with_idle("1h")).await.unwrap();
    gateway.clock.advance(Duration::from_mins(30));
    assert_eq!(gateway.get("/data", &cookie).await.status, 200, "longer than it was");
    gateway.reload(&with_idle("5m")).await.unwrap();
    gateway.clock.advance(Duration::from_mins(6));
    // What all threads share is forgotten after a minute that does not pass here; a change of her rights has the same effect.
    assert!(gateway.accounts.add_group(&gateway.by, &vera, "ops").await.unwrap());
    until("the end of the session", async || gateway.get("/data", &cookie).await.status == 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_pages_and_answers_to_proxies_change_with_the_rest() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&with_app(&upstream, OPEN)).await;
    let sign_in = || gateway.get("/_doorward/login", "accept: text/html\r\n");
    let ask = || {
        gateway.get(
            "/_doorward/auth/nginx",
            "x-original-method: GET\r\nx-original-url: http://localhost/data\r\n",
        )
    };
    assert!(sign_in().await.text().contains("type=\"password\""));
    assert_eq!(ask().await.status, 404);
    gateway
        .reload(&format!(
            "login.password = false\nserver.trusted_proxies = [\"127.0.0.1\"]\nforward_auth.flavours = [\"nginx\"]\n{}",
            with_app(&upstream, OPEN)
        ))
        .await
        .unwrap();
    assert!(!sign_in().await.text().contains("type=\"password\""));
    assert_eq!(ask().await.status, 401);
    gateway.reload(&with_app(&upstream, OPEN)).await.unwrap();
    assert!(sign_in().await.text().contains("type=\"password\""));
    assert_eq!(ask().await.status, 404);
}

/// An upstream that switches to an echo for those who ask to upgrade, and sends an event to everyone else for
/// each word that it is told.
async fn long_lived(words: tokio::sync::watch::Receiver<usize>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut words = words.clone();
            tokio::spawn(async move {
                let head = read_head(&mut stream).await.unwrap();
                if head.to_ascii_lowercase().contains("upgrade: websocket") {
                    let switch = format!("{SWITCHED}\r\n");
                    stream.write_all(switch.as_bytes()).await.unwrap();
                    let mut word = [0; 4];
                    while stream.read_exact(&mut word).await.is_ok() {
                        stream.write_all(&word).await.unwrap();
                    }
                    return;
                }
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                stream.write_all(head.as_bytes()).await.unwrap();
                for event in 1.. {
                    if words.wait_for(|told| *told >= event).await.is_err() {
                        return;
                    }
                    stream.write_all(b"c\r\ndata: event\n\r\n").await.unwrap();
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn open_streams_live_on_while_new_requests_go_elsewhere_and_end_with_their_key() {
    let (tell, words) = tokio::sync::watch::channel(0);
    let old = long_lived(words).await;
    let other = Upstream::spawn().await;
    let old_text = format!("[[upstreams]]\nname = \"app\"\nurl = \"http://{old}\"\n{OPEN}");
    let gateway = Gateway::configured(&old_text).await;
    let (key, id) = gateway.key_with("viewer", Role::Viewer, None, KeyScope::default()).await;
    let key = bearer(&key);
    let mut events = TcpStream::connect(gateway.address).await.unwrap();
    let ask = format!("GET /events HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n{key}\r\n");
    events.write_all(ask.as_bytes()).await.unwrap();
    assert_eq!(within("the head", read_answer_to(&mut events, true)).await.status, 200);
    let mut tunnel = TcpStream::connect(gateway.address).await.unwrap();
    let ask = format!("GET /socket HTTP/1.1\r\nhost: a\r\n{HANDSHAKE}{key}\r\n");
    tunnel.write_all(ask.as_bytes()).await.unwrap();
    assert_eq!(within("the switch", read_answer_to(&mut tunnel, true)).await.status, 101);
    for reload in 1..=10_usize {
        // Another upstream, and nobody but an admin: what is open was let through before.
        let routes = if reload % 2 == 0 { OPEN } else { CLOSED };
        gateway.reload(&with_app(&other, routes)).await.unwrap();
        tell.send(reload).unwrap();
        let mut chunk = [0; 17];
        within("an event", events.read_exact(&mut chunk)).await.unwrap();
        assert_eq!(chunk.to_ascii_lowercase(), b"c\r\ndata: event\n\r\n");
        tunnel.write_all(b"echo").await.unwrap();
        let mut word = [0; 4];
        within("an echo", tunnel.read_exact(&mut word)).await.unwrap();
        assert_eq!(&word, b"echo");
        assert_eq!(gateway.get("/data", &key).await.status, if reload % 2 == 0 { 200 } else { 403 });
    }
    assert_eq!(other.count(), 5);
    assert!(gateway.keys.revoke(&gateway.by, &id).await.unwrap());
    for stream in [&mut events, &mut tunnel] {
        assert!(!matches!(within("the end", stream.read(&mut [0; 64])).await, Ok(1..)), "it flows on");
    }
}

/// Two tokens of the settings, the first of which may do more.
const TOKENS: [(&str, &str); 2] =
    [("on-call", "q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/="), ("other", "Wm4Tz0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=")];

const GLASS: &str = "Zr8Kd0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=";

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_a_token_end_once_it_is_no_longer_named_and_no_others_do() {
    let (tell, words) = tokio::sync::watch::channel(0);
    let upstream = long_lived(words).await;
    let settings = |tokens: &[(&str, &str)]| {
        let tokens: String = tokens
            .iter()
            .map(|(name, token)| format!("[[break_glass]]\nname = \"{name}\"\ntoken = \"{token}\"\n"))
            .collect();
        format!("[[upstreams]]\nname = \"app\"\nurl = \"http://{upstream}\"\n{OPEN}{tokens}")
    };
    let gateway = Gateway::configured(&settings(&TOKENS)).await;
    let (key, _) = gateway.key_with("viewer", Role::Viewer, None, KeyScope::default()).await;
    let mut streams = Vec::new();
    for credential in [TOKENS[0].1, TOKENS[1].1, &key] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let ask = format!("GET /events HTTP/1.1\r\nhost: a\r\n{}\r\n", bearer(credential));
        stream.write_all(ask.as_bytes()).await.unwrap();
        assert_eq!(within("the head", read_answer_to(&mut stream, true)).await.status, 200);
        streams.push(stream);
    }
    let [mut first, mut second, mut by_key] = <[TcpStream; 3]>::try_from(streams).unwrap();
    let flows = async |event: usize, streams: &mut [&mut TcpStream]| {
        tell.send(event).unwrap();
        for stream in streams {
            within("an event", stream.read_exact(&mut [0; 17])).await.unwrap();
        }
    };
    gateway.reload(&settings(&TOKENS)).await.unwrap();
    flows(1, &mut [&mut first, &mut second, &mut by_key]).await;
    gateway.reload(&settings(&TOKENS[..1])).await.unwrap();
    assert!(!matches!(within("the end", second.read(&mut [0; 64])).await, Ok(1..)));
    flows(2, &mut [&mut first, &mut by_key]).await;
    // The same name for another value.
    gateway.reload(&settings(&[(TOKENS[0].0, TOKENS[1].1)])).await.unwrap();
    assert!(!matches!(within("the end", first.read(&mut [0; 64])).await, Ok(1..)));
    flows(3, &mut [&mut by_key]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_an_imported_key_end_once_it_is_taken_out_of_its_ring_and_no_others_do() {
    let (tell, words) = tokio::sync::watch::channel(0);
    let upstream = long_lived(words).await;
    let folder = tempfile::tempdir().unwrap();
    let ring = |keys: &[(&str, &str)]| {
        let keys: Vec<_> =
            keys.iter().map(|(name, key)| serde_json::json!({ "name": name, "key": key })).collect();
        let file = folder.path().join("ring.json");
        std::fs::write(&file, serde_json::to_string(&keys).unwrap()).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        file
    };
    let text = format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"http://{upstream}\"\n{OPEN}\
         [[keys.imported]]\nname = \"old\"\nrole = \"viewer\"\nring_file = \"{}\"\n\
         [[break_glass]]\nname = \"on-call\"\ntoken = \"{GLASS}\"\n",
        ring(&TOKENS).display()
    );
    let gateway = Gateway::configured(&text).await;
    let (key, _) = gateway.key_with("viewer", Role::Viewer, None, KeyScope::default()).await;
    let mut streams = Vec::new();
    for credential in [TOKENS[0].1, TOKENS[1].1, GLASS, &key] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let ask = format!("GET /events HTTP/1.1\r\nhost: a\r\n{}\r\n", bearer(credential));
        stream.write_all(ask.as_bytes()).await.unwrap();
        assert_eq!(within("the head", read_answer_to(&mut stream, true)).await.status, 200);
        streams.push(stream);
    }
    let flows = async |event: usize, streams: &mut [TcpStream]| {
        tell.send(event).unwrap();
        for stream in streams {
            within("an event", stream.read_exact(&mut [0; 17])).await.unwrap();
        }
    };
    let ends = async |mut stream: TcpStream| {
        assert!(!matches!(within("the end", stream.read(&mut [0; 64])).await, Ok(1..)), "it flows on");
    };
    flows(1, &mut streams).await;
    // What is in the ring is all that changes; the settings say the same as before.
    ring(&TOKENS[..1]);
    gateway.reload(&text).await.unwrap();
    ends(streams.remove(1)).await;
    flows(2, &mut streams).await;
    assert_eq!(gateway.get("/data", &bearer(TOKENS[1].1)).await.status, 401);
    // The same name with another value is another key.
    ring(&[(TOKENS[0].0, TOKENS[1].1)]);
    gateway.reload(&text).await.unwrap();
    ends(streams.remove(0)).await;
    flows(3, &mut streams).await;
    // A ring that cannot be read takes nothing away.
    std::fs::write(folder.path().join("ring.json"), "[").unwrap();
    assert!(gateway.reload(&text).await.is_err());
    flows(4, &mut streams).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_on_connections_hold_for_those_who_come_after() {
    let upstream = Upstream::spawn().await;
    let limited =
        |most: usize| format!("server.limits.connections_per_client = {most}\n{}", with_app(&upstream, OPEN));
    let gateway = Gateway::configured(&limited(100)).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(b"GET /_doorward/healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert_eq!(read_answer(&mut stream).await.status, 200);
        held.push(stream);
    }
    gateway.reload(&limited(3)).await.unwrap();
    assert_eq!(gateway.get("/_doorward/healthz", "").await.status, 0, "a fourth is not let in");
    for stream in &mut held {
        stream.write_all(b"GET /_doorward/healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert_eq!(read_answer(stream).await.status, 200, "who is in stays in");
    }
    gateway.reload(&limited(100)).await.unwrap();
    assert_eq!(gateway.get("/_doorward/healthz", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connections_of_an_upstream_that_is_no_longer_named_are_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ended = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        stream.read(&mut [0]).await
    });
    let old = format!("[[upstreams]]\nname = \"app\"\nurl = \"http://{address}\"\n{OPEN}");
    let gateway = Gateway::configured(&old).await;
    let key = bearer(&gateway.system_key("viewer", Role::Viewer).await);
    assert_eq!(gateway.get("/data", &key).await.status, 200);
    let other = Upstream::spawn().await;
    gateway.reload(&with_app(&other, OPEN)).await.unwrap();
    assert_eq!(within("the end of the old connection", ended).await.unwrap().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_stays_where_it_is() {
    let text = format!("[[upstreams]]\nname = \"app\"\nurl = \"builtin:sample\"\n{OPEN}");
    let gateway = Gateway::configured(&text).await;
    let key = bearer(&gateway.system_key("viewer", Role::Viewer).await);
    for _ in 0..3 {
        assert!(gateway.get("/", &key).await.text().contains("Sample dashboard"));
        gateway.reload(&text).await.unwrap();
    }
    let upstream = Upstream::spawn().await;
    gateway.reload(&with_app(&upstream, OPEN)).await.unwrap();
    assert_eq!(gateway.get("/", &key).await.text(), "ok");
    gateway.reload(&text).await.unwrap();
    assert!(gateway.get("/", &key).await.text().contains("Sample dashboard"));
}
