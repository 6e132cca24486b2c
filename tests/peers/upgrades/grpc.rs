//! Two gRPC servers that take their calls by more media types than one, behind the rules of the preset `micromegas`.

use std::process::Command;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::support::gateway::Gateway;
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, repository, servers_python, wait_for};

const TYPES: [&[&str]; 11] = [
    &["application/grpc"],
    &["application/grpc+proto"],
    &["application/grpcx"],
    &["application/grpc-web"],
    &["application/grpc-web+proto"],
    &["application/grpc,x"],
    &["application/grpc;x=y"],
    &["Application/GRPC"],
    &["application/grpc", "text/plain"],
    &["text/plain"],
    &[],
];

/// One unary call by HTTP/2; the HTTP status, and the gRPC status wherever it was sent.
async fn call(address: &str, path: &str, types: &[&str], key: &str) -> (u16, String) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut request = Request::post(format!("http://{address}{path}")).header("te", "trailers");
    for one in types {
        request = request.header("content-type", *one);
    }
    if !key.is_empty() {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let request = request.body(Full::new(Bytes::from_static(&[0, 0, 0, 0, 1, b'x']))).unwrap();
    let sent = tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap();
    let Ok(response) = sent else { return (0, String::new()) };
    let (head, body) = response.into_parts();
    let trailers = body.collect().await.ok().and_then(|body| body.trailers().cloned()).unwrap_or_default();
    let status = head.headers.get("grpc-status").or(trailers.get("grpc-status"));
    let status = status.map_or(String::new(), |status| status.to_str().unwrap().to_owned());
    driver.abort();
    (head.status.as_u16(), status)
}

/// What real servers take for a call.
#[tokio::test]
async fn a_member_runs_no_bulk_write_by_any_media_type() {
    for server in ["grpc-js", "grpcio"] {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = if server == "grpc-js" {
            let mut command = Command::new("node");
            command.arg(repository("tests/peers/upgrades/calls.js"));
            command.env("NODE_PATH", repository(".tests/node/node_modules"));
            command
        } else {
            let mut command = Command::new(servers_python());
            command.arg(repository("tests/peers/upgrades/calls.py"));
            command
        };
        command.arg(port.to_string());
        let process = Process::start(server, folder.path(), &command);
        wait_for("a gRPC server", PATIENCE, async || process.output().contains("ready").then_some(())).await;
        let gateway = Gateway::start(&format!(
            "[[upstreams]]\nname = \"app\"\nurl = \"h2c://127.0.0.1:{port}\"\n\
             [[routes]]\nupstream = \"app\"\npreset = \"micromegas\"\n"
        ))
        .await;
        let member = gateway.key("m", "member", &[]).key;
        let admin = gateway.key("a", "admin", &[]).key;
        let own = format!("127.0.0.1:{port}");
        let through = gateway.url.trim_start_matches("http://").to_owned();
        let calls = |name: &str| process.output().matches(&format!("called {name}")).count();
        let (put, get) =
            ("/arrow.flight.protocol.FlightService/DoPut", "/arrow.flight.protocol.FlightService/DoGet");
        for types in TYPES {
            let before = calls("DoPut");
            let direct = call(&own, put, types, "").await;
            println!("{server} {types:?}: {direct:?}, run: {}", calls("DoPut") > before);
        }
        assert!(calls("DoPut") > 1, "{server} runs calls by more types than one:\n{}", process.output());
        let before = calls("DoPut");
        for types in TYPES {
            for path in [
                put,
                "/arrow.flight.protocol.flightservice/doput",
                "/arrow.flight.protocol.FlightService/DoPut/",
            ] {
                let (status, code) = call(&through, path, types, &member).await;
                assert!(status == 403 || code == "7", "{server} {types:?} {path}: {status} {code}");
            }
        }
        assert_eq!(calls("DoPut"), before, "{server}");
        assert_eq!(call(&through, get, TYPES[0], &member).await, (200, "0".to_owned()), "{server}");
        assert_eq!(call(&through, put, TYPES[0], &admin).await, (200, "0".to_owned()), "{server}");
        assert_eq!(calls("DoPut"), before + 1, "{server}");
    }
}
