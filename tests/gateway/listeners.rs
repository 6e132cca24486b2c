//! Ways in beside an address of our own: socket files, and sockets that somebody else listens on.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use doorward::model::role::Role;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::credentials::ROUTES;
use crate::support::process::Process;
use crate::support::raw::{Answer, exchange, read_answer, read_to_close};
use crate::support::{Gateway, Upstream, until, within};

/// A gateway on loopback and on a socket file in its folder; `server` are further settings of `[server]`.
async fn on_a_file(server: &str, upstream: &Upstream, routes: &str) -> Gateway {
    Gateway::configured(&format!(
        "[server]\nlisten = [\"127.0.0.1:0\", \"unix:{{folder}}/door.sock\"]\nworkers = 2\n{server}\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{routes}",
        upstream.url()
    ))
    .await
}

fn file_of(gateway: &Gateway) -> PathBuf {
    gateway.folder.path().join("door.sock")
}

async fn through_the_file(gateway: &Gateway, request: &str) -> Answer {
    let mut stream = UnixStream::connect(file_of(gateway)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    read_answer(&mut stream).await
}

const GET: &str = "GET /public HTTP/1.1\r\nhost: app.example\r\nx-forwarded-for: 198.51.100.1\r\nx-forwarded-proto: https\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_on_a_socket_file_has_no_address_and_its_forwarded_headers_are_not_believed() {
    let upstream = Upstream::spawn().await;
    let gateway = on_a_file("trusted_proxies = \"127.0.0.0/8\"", &upstream, ROUTES).await;
    assert_eq!(through_the_file(&gateway, GET).await.status, 200);
    let seen = upstream.last();
    assert_eq!(seen.header("x-forwarded-for"), Some("unknown"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("forwarded"), Some("for=unknown;host=\"app.example\";proto=http"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_on_a_socket_file_is_a_trusted_proxy_only_where_that_is_said() {
    let upstream = Upstream::spawn().await;
    let gateway = on_a_file("trusted_proxies = \"unix\"", &upstream, ROUTES).await;
    assert_eq!(through_the_file(&gateway, GET).await.status, 200);
    let seen = upstream.last();
    assert_eq!(seen.header("x-forwarded-for"), Some("198.51.100.1, unknown"));
    assert_eq!(seen.header("forwarded"), Some("for=198.51.100.1;host=\"app.example\";proto=https"));
    // Which says nothing about peers on the network.
    assert_eq!(exchange(gateway.address, GET).await.status, 200);
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("127.0.0.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_for_loopback_is_not_for_peers_on_a_socket_file() {
    let upstream = Upstream::spawn().await;
    let routes =
        "[[routes]]\nupstream = \"app\"\nrules = [{ networks = \"127.0.0.0/8\", allow = \"anyone\" }]";
    let gateway = on_a_file("", &upstream, routes).await;
    assert_eq!(exchange(gateway.address, GET).await.status, 200);
    let refused = through_the_file(&gateway, GET).await.status;
    assert!(refused == 403 || refused == 401, "{refused}");
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_file_speaks_http2_and_the_proxy_protocol() {
    let upstream = Upstream::spawn().await;
    let tables = "proxy_protocol_from = \"unix\"\n[[server.listeners]]\naddress = \"unix:{folder}/proxied.sock\"\n\
                  mode = \"0600\"\nproxy_protocol = \"required\"";
    let gateway = on_a_file(tables, &upstream, ROUTES).await;
    let stream = UnixStream::connect(file_of(&gateway)).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("http://app.example/public").body(String::new()).unwrap();
    let answer = within("an HTTP/2 answer", sender.send_request(request)).await.unwrap();
    assert_eq!(answer.status(), 200);

    let proxied = gateway.folder.path().join("proxied.sock");
    assert_eq!(std::fs::metadata(&proxied).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(file_of(&gateway)).unwrap().permissions().mode() & 0o777, 0o660);
    let mut stream = UnixStream::connect(&proxied).await.unwrap();
    stream.write_all(b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n").await.unwrap();
    stream.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut stream).await.status, 200);
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("2001:db8::7"));
    let mut stream = UnixStream::connect(&proxied).await.unwrap();
    stream.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut stream).await.status, 0, "without the header");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_file_goes_when_the_gateway_stops_and_not_before_open_requests_end() {
    let upstream = Upstream::spawn().await;
    let mut gateway = on_a_file("", &upstream, ROUTES).await;
    let mut open = UnixStream::connect(file_of(&gateway)).await.unwrap();
    let (first, rest) = GET.split_at(20);
    open.write_all(first.as_bytes()).await.unwrap();
    assert_eq!(through_the_file(&gateway, GET).await.status, 200);
    let stopping = gateway.begin_stop();
    until("the removal of the socket file", async || !file_of(&gateway).exists()).await;
    open.write_all(rest.as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut open).await.status, 200, "a request that had begun is finished");
    within("the stop", stopping).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_through_an_inherited_socket_drops_no_request() {
    let upstream = Upstream::spawn().await;
    // As a service manager does: it listens, and hands the socket to one process after the other.
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let first = Process::serve_inherited(&socket, "web", &upstream.url(), ROUTES);
    assert_eq!((first.address, first.told().as_str()), (address, "READY=1\n"));
    let key = first.system_key("load", Role::Viewer).await;

    let (answered, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (answered, over, key) = (Arc::clone(&answered), Arc::clone(&over), key.clone());
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    let request = format!(
                        "GET /things HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n"
                    );
                    stream.write_all(request.as_bytes()).await.unwrap();
                    let answer = read_answer(&mut stream).await;
                    assert_eq!((answer.status, answer.complete), (200, true), "{}", answer.head);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let more = async |count: usize| {
        let goal = answered.load(Ordering::Relaxed) + count;
        until("further answers", async || {
            answered.load(Ordering::Relaxed) >= goal
                || clients.iter().any(tokio::task::JoinHandle::is_finished)
        })
        .await;
    };
    more(40).await;
    let second = tokio::task::spawn_blocking({
        let (socket, url) = (socket.try_clone().unwrap(), upstream.url());
        move || first.replace_inherited(&socket, "web", &url, ROUTES)
    })
    .await
    .unwrap();
    more(40).await;
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no request of any client was dropped");
    }
    drop(second);
}

/// The preface of HTTP/2 and empty settings (RFC 9113, 3.4), byte by byte, as no client that means well sends them.
async fn spell_out(stream: &mut (impl AsyncWrite + Unpin)) {
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" {
        stream.write_all(&[*byte]).await.unwrap();
        // So that it comes by itself: nothing tells that a byte was read.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn which_http_is_spoken_is_waited_for_as_long_as_there_may_be_more() {
    let upstream = Upstream::spawn().await;
    let gateway = on_a_file("header_timeout = \"1m\"", &upstream, ROUTES).await;
    let mut tcp = TcpStream::connect(gateway.address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let mut unix = UnixStream::connect(file_of(&gateway)).await.unwrap();
    spell_out(&mut tcp).await;
    spell_out(&mut unix).await;
    let (mut over_tcp, mut over_unix) = ([0; 9], [0; 9]);
    within("settings", tcp.read_exact(&mut over_tcp)).await.unwrap();
    within("settings", unix.read_exact(&mut over_unix)).await.unwrap();
    assert_eq!((over_tcp[3], over_unix[3]), (4, 4), "the gateway begins with settings as well");

    for start in ["", "P", "PR"] {
        let mut tcp = TcpStream::connect(gateway.address).await.unwrap();
        let mut unix = UnixStream::connect(file_of(&gateway)).await.unwrap();
        tcp.write_all(start.as_bytes()).await.unwrap();
        unix.write_all(start.as_bytes()).await.unwrap();
        tcp.shutdown().await.unwrap();
        unix.shutdown().await.unwrap();
        read_to_close(&mut tcp).await;
        read_to_close(&mut unix).await;
    }
    for start in ["P", "PR"] {
        let mut tcp = TcpStream::connect(gateway.address).await.unwrap();
        tcp.write_all(start.as_bytes()).await.unwrap();
        let rest = if start == "P" { "UT" } else { "OPFIND" };
        let rest = format!("{rest} /public HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
        // So that the rest comes by itself: nothing tells that a byte was read.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        tcp.write_all(rest.as_bytes()).await.unwrap();
        assert_ne!(read_answer(&mut tcp).await.status, 0, "HTTP/1.1 that begins like HTTP/2");
    }
}
