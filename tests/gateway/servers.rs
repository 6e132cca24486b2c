//! Several servers of one upstream, Unix sockets, and health.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http::{Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener};

use crate::support::raw::{read_answer, read_head};
use crate::support::upstream::OK;
use crate::support::{Answer, Gateway, Upstream, exchange, until, within};

/// A gateway on one thread before these servers; everyone may do everything.
async fn before(servers: &[String], more: &str) -> Gateway {
    let servers: Vec<String> = servers.iter().map(|server| format!("\"{server}\"")).collect();
    Gateway::configured(&format!(
        "[server]\nworkers = 1\n\
         [[upstreams]]\nname = \"app\"\nservers = [{}]\n{more}\n\
         [[routes]]\nupstream = \"app\"\nrules = [{{ allow = \"anyone\" }}]\n",
        servers.join(", ")
    ))
    .await
}

async fn ok(gateway: &Gateway, path: &str) {
    let answer = gateway.get(path, "").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{path}: {}", answer.head);
}

async fn post(gateway: &Gateway, body: &str) -> Answer {
    let length = body.len();
    exchange(
        gateway.address,
        format!("POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}"),
    )
    .await
}

/// Asks again and again until it is so.
async fn polls_until(gateway: &Gateway, what: &str, so: impl Fn() -> bool) {
    until(what, async || {
        ok(gateway, "/poll").await;
        so()
    })
    .await;
}

/// A socket on which nobody listens yet, and a URL that leads there.
fn nobody() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    (socket, url)
}

/// Requests other than health checks.
fn served(upstream: &Upstream) -> usize {
    upstream.requests().iter().filter(|request| request.line() != "GET /health").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_take_turns() {
    let (a, b, c) = (Upstream::spawn().await, Upstream::spawn().await, Upstream::spawn().await);
    let gateway = before(&[a.url(), b.url(), c.url()], "").await;
    for _ in 0..9 {
        ok(&gateway, "/x").await;
    }
    assert_eq!((a.count(), b.count(), c.count()), (3, 3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_connection_is_refused_goes_whole_to_another_server() {
    let b = Upstream::spawn().await;
    let (_refusing, refused) = nobody();
    let gateway = before(&[refused, b.url()], "health.failures = 1000").await;
    for number in 0..6 {
        let body = format!("body {number}");
        assert_eq!(post(&gateway, &body).await.status, 200);
        assert_eq!(b.last().body, body.as_bytes());
    }
    assert_eq!(b.count(), 6, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_loses_nobodys_request_and_comes_back() {
    let (a, b) = (Upstream::spawn().await, Upstream::spawn().await);
    let address = a.address;
    let gateway = before(&[a.url(), b.url()], "health = { failures = 1, pause = \"1s\" }").await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    for _ in 0..4 {
        ok(&gateway, "/x").await;
    }
    assert_eq!((a.count(), b.count()), (2, 2));
    drop(a);
    for number in 0..20 {
        stream.write_all(b"GET /y HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert_eq!(read_answer(&mut stream).await.status, 200, "{number}");
    }
    assert_eq!(b.count(), 22);
    let again = Upstream::on(TcpListener::bind(address).await.unwrap());
    polls_until(&gateway, "the server is asked again", || again.count() > 0).await;
    let (a, b) = (again.count(), b.count());
    for _ in 0..4 {
        ok(&gateway, "/z").await;
    }
    assert!(again.count() == a + 2, "{a} {b}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_begun_is_never_sent_to_another_server() {
    // Reads a whole request and hangs up.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broken = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if let Some(head) = read_head(&mut stream).await {
                seen.lock().unwrap().push(head);
            }
        }
    });
    let b = Upstream::spawn().await;
    let gateway = before(&[format!("http://{broken}"), b.url()], "health.failures = 2").await;
    let mut failed = 0;
    for _ in 0..8 {
        match post(&gateway, "").await.status {
            200 => {}
            status => {
                assert_eq!(status, 502);
                failed += 1;
            }
        }
    }
    // Two of them, and then it is left out.
    assert_eq!((failed, heads.lock().unwrap().len(), b.count()), (2, 2, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_every_server_is_left_out_requests_go_to_them_all_the_same() {
    let ((a, first), (_b, second)) = (nobody(), nobody());
    let gateway = before(&[first, second], "health = { failures = 1, pause = \"1h\" }").await;
    for _ in 0..4 {
        assert_eq!(gateway.get("/x", "").await.status, 502);
    }
    let a = Upstream::on(a.listen(64).unwrap());
    for _ in 0..4 {
        ok(&gateway, "/x").await;
    }
    assert_eq!(a.count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_with_the_fewest_requests_gets_the_next() {
    let (a, b) = (Upstream::spawn().await, Upstream::spawn().await);
    let gateway = before(&[a.url(), b.url()], "balance = \"least-connections\"").await;
    // A body that does not end keeps its server busy, also after the head of the answer.
    let endless = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n";
    for upstream in [&a, &b] {
        upstream.answers(endless);
    }
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"GET /hang HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let head = within("the head", read_head(&mut stream)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let (busy, free) = if a.count() == 1 { (&a, &b) } else { (&b, &a) };
    free.answers(OK);
    busy.answers(OK);
    for _ in 0..6 {
        ok(&gateway, "/x").await;
    }
    assert_eq!((busy.count(), free.count()), (1, 6));
    drop(stream);
    polls_until(&gateway, "the busy server is free again", || busy.count() > 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_health_check_takes_a_server_out_and_a_good_one_brings_it_back() {
    let (a, b) = (Upstream::spawn().await, Upstream::spawn().await);
    a.answers("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
    let health = "health = { path = \"/health\", interval = \"1s\", failures = 1 }";
    let gateway = before(&[a.url(), b.url()], health).await;
    until("a check of each", async || a.count() > 0 && b.count() > 0).await;
    let checked = a.requests()[0].clone();
    assert_eq!(checked.line(), "GET /health");
    assert_eq!(checked.header("host"), Some(a.address.to_string().as_str()));
    // The answer may still be on its way.
    until("the server to be left out", async || {
        [gateway.get("/x", "").await.status, gateway.get("/x", "").await.status] == [200, 200]
    })
    .await;
    let before = served(&a);
    for _ in 0..6 {
        ok(&gateway, "/x").await;
    }
    assert_eq!(served(&a), before, "nothing goes to a server that is not healthy");
    a.answers(OK);
    polls_until(&gateway, "the server to come back", || served(&a) > before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_checker_whatever_the_number_of_threads() {
    let a = Upstream::spawn().await;
    let began = Instant::now();
    let gateway = Gateway::configured(&format!(
        "[server]\nworkers = 4\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\nhealth = {{ path = \"/health\", interval = \"1s\" }}\n\
         [[routes]]\nupstream = \"app\"\n",
        a.url()
    ))
    .await;
    until("three checks", async || a.count() >= 3).await;
    let most = usize::try_from(began.elapsed().as_secs()).unwrap() + 2;
    assert!(a.count() <= most, "{} checks, at most {most} are due", a.count());
    drop(gateway);
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_end_with_the_configuration_that_wanted_them() {
    let (a, b) = (Upstream::spawn().await, Upstream::spawn().await);
    let settings = |upstream: &Upstream| {
        let health = "health = { path = \"/health\", interval = \"1s\" }";
        format!(
            "[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{health}\n[[routes]]\nupstream = \"app\"\n",
            upstream.url()
        )
    };
    let gateway = Gateway::configured(&settings(&a)).await;
    let checked = async |upstream: &Upstream, times: usize| {
        until("a check", async || upstream.count() >= times).await;
    };
    checked(&a, 1).await;
    gateway.reload(&settings(&b)).await.unwrap();
    checked(&b, 2).await;
    let before = a.begun();
    checked(&b, 4).await;
    assert_eq!(a.begun(), before, "the old server is still asked");
}

/// What a Unix socket heard: path, host, version.
type Heard = Arc<Mutex<Vec<(String, String, Version)>>>;

/// Speaks HTTP/1.1 and HTTP/2 by prior knowledge on a socket.
fn on_socket(path: &Path) -> Heard {
    let listener = UnixListener::bind(path).unwrap();
    let heard = Heard::default();
    let list = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let list = Arc::clone(&list);
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let host = match (request.uri().host(), request.headers().get("host")) {
                    (Some(host), _) => host.to_owned(),
                    (None, host) => host.map_or("", |host| host.to_str().unwrap()).to_owned(),
                };
                list.lock().unwrap().push((request.uri().path().to_owned(), host, request.version()));
                async move {
                    let body = request.into_body().collect().await?.to_bytes();
                    Ok::<_, hyper::Error>(Response::new(Full::new(body)))
                }
            });
            tokio::spawn(async move {
                let io = TokioIo::new(stream);
                let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(io, service)
                    .await;
            });
        }
    });
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_are_reached_by_unix_sockets_in_both_versions_of_http() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("app.sock");
    let heard = on_socket(&socket);
    for (scheme, more, host, version) in [
        ("unix", "", "app.example", Version::HTTP_11),
        ("unix", "preserve_host = false", "localhost", Version::HTTP_11),
        ("h2c+unix", "", "app.example", Version::HTTP_2),
        ("h2c+unix", "preserve_host = false", "localhost", Version::HTTP_2),
    ] {
        let health = "health = { path = \"/health\", interval = \"1h\" }";
        let gateway = before(&[format!("{scheme}:{}", socket.display())], &format!("{more}\n{health}")).await;
        let request = "POST /echo HTTP/1.1\r\nhost: app.example\r\ncontent-length: 5\r\n\r\nhello";
        let answer = exchange(gateway.address, request).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "{scheme} {more}");
        let is_there = |path: &str, host: &str| {
            heard.lock().unwrap().contains(&(path.to_owned(), host.to_owned(), version))
        };
        assert!(is_there("/echo", host), "{scheme} {more}: {:?}", heard.lock().unwrap());
        until("the health check", async || is_there("/health", "localhost")).await;
        heard.lock().unwrap().clear();
    }
    std::fs::remove_file(&socket).unwrap();
    let gateway = before(&[format!("unix:{}", socket.display())], "").await;
    let answer = gateway.get("/x", "").await;
    assert_eq!(
        (answer.status, answer.problem().as_deref()),
        (502, Some("upstream-unreachable")),
        "{}",
        answer.text()
    );
}
