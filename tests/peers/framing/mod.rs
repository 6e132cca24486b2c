//! What the gateway passes on is one request to each real server, the one it decided, whatever was sent to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::proxies::door::system;
use crate::support::gateway::Gateway;
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, python, repository, servers_python, wait_for};

/// Servers with parsers of their own, by the name of their route's host.
const SERVERS: [&str; 7] =
    ["nginx", "node", "haproxy", "http-server", "http-server-unread", "gunicorn", "uvicorn"];

/// Stands behind or inside requests; would be served if any server took it for one of its own.
const INNER: &str = "GET /inner HTTP/1.1\r\nhost: a\r\n\r\n";

/// After so long a server waits for more.
const SILENCE: Duration = Duration::from_secs(2);

/// Line and fields before the host, fields after it, body. `{inner}` is [`INNER`].
const ATTACKS: &[(&str, &str, &str)] = &[
    ("GET /plain?x=1", "", ""),
    ("GET /plain", "", "{inner}"),
    ("HEAD /plain", "", "{inner}"),
    ("OPTIONS /plain", "", ""),
    ("DELETE /plain", "", ""),
    ("POST /sized", "content-length: 5\r\n", "hello{inner}"),
    ("POST /sized", "Content-Length: 0\r\n", "{inner}"),
    ("PUT /inside", "content-length: 32\r\n", "{inner}"),
    ("GET /with-body", "content-length: 32\r\n", "{inner}"),
    ("HEAD /with-body", "content-length: 32\r\n", "{inner}"),
    ("OPTIONS /with-body", "content-length: 32\r\n", "{inner}"),
    ("DELETE /with-body", "content-length: 32\r\nexpect: 100-continue\r\n", "{inner}"),
    ("POST /chunked", "transfer-encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n{inner}"),
    ("POST /chunked", "transfer-encoding: CHUNKED\r\n", "5;ext=1\r\nhello\r\n00\r\n\r\n{inner}"),
    ("POST /chunked", "transfer-encoding: chunked\r\n", "20\r\n{inner}\r\n0\r\n\r\n"),
    ("POST /trailers", "transfer-encoding: chunked\r\n", "1\r\nx\r\n0\r\ncontent-length: 32\r\n\r\n{inner}"),
    ("POST /both", "content-length: 5\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n{inner}"),
    ("POST /both", "transfer-encoding: chunked\r\ncontent-length: 5\r\n", "0\r\n\r\n{inner}"),
    ("POST /two", "content-length: 5\r\ncontent-length: 40\r\n", "hello{inner}"),
    ("POST /two", "content-length: 5\r\ncontent-length: 5\r\n", "hello{inner}"),
    ("POST /list", "content-length: 5, 5\r\n", "hello{inner}"),
    ("POST /sign", "content-length: +5\r\n", "hello{inner}"),
    ("POST /hex", "content-length: 0x5\r\n", "hello{inner}"),
    ("POST /octal", "content-length: 010\r\n", "hello, w{inner}"),
    ("POST /huge", "content-length: 18446744073709551621\r\n", "hello{inner}"),
    ("POST /codings", "transfer-encoding: gzip, chunked\r\n", "0\r\n\r\n{inner}"),
    ("POST /codings", "transfer-encoding: chunked, chunked\r\n", "0\r\n\r\n{inner}"),
    ("POST /codings", "transfer-encoding: identity\r\n", "0\r\n\r\n{inner}"),
    ("POST /codings", "transfer-encoding: xchunked\r\ncontent-length: 5\r\n", "0\r\n\r\n{inner}"),
    ("POST /codings", "transfer-encoding: \x0bchunked\r\n", "0\r\n\r\n{inner}"),
    ("POST /twice", "transfer-encoding: chunked\r\ntransfer-encoding: x\r\n", "0\r\n\r\n{inner}"),
    ("POST /blank", "transfer-encoding : chunked\r\ncontent-length: 5\r\n", "0\r\n\r\n{inner}"),
    ("POST /blank", "content-length : 5\r\n", "hello{inner}"),
    ("POST /folded", "x: y\r\n transfer-encoding: chunked\r\ncontent-length: 5\r\n", "0\r\n\r\n{inner}"),
    ("POST /underscore", "content_length: 32\r\n", "{inner}"),
    ("POST /underscore", "transfer_encoding: chunked\r\ncontent-length: 5\r\n", "0\r\n\r\n{inner}"),
    ("POST /named", "connection: content-length\r\ncontent-length: 32\r\n", "{inner}"),
    ("POST /named", "connection: transfer-encoding\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n{inner}"),
    ("POST /size", "transfer-encoding: chunked\r\n", "0x5\r\nhello\r\n0\r\n\r\n{inner}"),
    ("POST /size", "transfer-encoding: chunked\r\n", "5 \r\nhello\r\n0\r\n\r\n{inner}"),
    ("POST /size", "transfer-encoding: chunked\r\n", "10000000000000005\r\nhello\r\n0\r\n\r\n{inner}"),
    ("POST /size", "transfer-encoding: chunked\r\n", "-1\r\nhello\r\n0\r\n\r\n{inner}"),
    ("POST /size", "transfer-encoding: chunked\r\n", "5\nhello\n0\n\n{inner}"),
    ("POST /size", "transfer-encoding: chunked\r\n", "5;\nxx\r\nhello\r\n0\r\n\r\n{inner}"),
    ("POST /size", "transfer-encoding: chunked\r\n", "5\r\nhelloXX0\r\n\r\n{inner}"),
    ("GET /bare\nx: y", "", ""),
    ("GET /value", "x: a\rcontent-length: 32\r\n", "{inner}"),
    ("GET /value", "x: a\0b\r\n", ""),
    (
        "GET /upgrade",
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "{inner}",
    ),
    (
        "GET /upgrade",
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n",
        "{inner}",
    ),
    ("POST /expect", "expect: 100-continue\r\ncontent-length: 5\r\n", "hello{inner}"),
    ("GET /a%20b?c=%2f..%2f&d", "", ""),
    ("GET /a/../b", "", ""),
    ("GET /a%2fb", "", ""),
    ("GET //a/b", "", ""),
    ("GET /a;b=c", "", ""),
    ("GET /a?b#c", "", ""),
    ("GET http://elsewhere/x", "", ""),
    ("GET *", "", ""),
    ("get /lower", "", ""),
    ("JEFF /unknown", "", ""),
    ("CONNECT a:80", "", "{inner}"),
];

/// Starts a server; each request leaves a line `seen ID METHOD TARGET` in what it prints.
async fn start(name: &'static str, port: u16, folder: &Path) -> Process {
    let recorder = repository("tests/peers/framing/recorder.py");
    let module = |program: &str| {
        let mut command = Command::new(servers_python().with_file_name(program));
        command.env("PYTHONPATH", recorder.parent().unwrap());
        command
    };
    let command = match name {
        "nginx" => {
            let at = folder.display();
            let mut text = format!(
                "daemon off;\npid {at}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n\
                 log_format seen 'seen $http_x_request_id $request_method $request_uri';\n\
                 access_log /dev/stdout seen;\n"
            );
            for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
                _ = writeln!(text, "{kind}_temp_path {at}/{kind};");
            }
            _ = writeln!(text, "server {{ listen 127.0.0.1:{port}; location / {{ return 200 ok; }} }}\n}}");
            std::fs::write(folder.join("nginx.conf"), text).unwrap();
            let mut command = Command::new(system("nginx"));
            command.args(["-p", ".", "-e", "stderr", "-c"]).arg(folder.join("nginx.conf"));
            command
        }
        "haproxy" => {
            let text = format!(
                "global\n  log stdout format raw local0\ndefaults\n  mode http\n  log global\n\
                 \x20 timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
                 frontend seen\n  bind 127.0.0.1:{port}\n  http-request capture req.hdr(x-request-id) len 64\n\
                 \x20 log-format \"seen %[capture.req.hdr(0)] %HM %HU\"\n\
                 \x20 http-request return status 200 content-type text/plain string ok\n"
            );
            std::fs::write(folder.join("haproxy.cfg"), text).unwrap();
            let mut command = Command::new(system("haproxy"));
            command.args(["-db", "-f", "haproxy.cfg"]);
            command
        }
        "node" => {
            let mut command = Command::new("node");
            command.arg(repository("tests/peers/framing/recorder.js")).arg(port.to_string());
            command
        }
        "gunicorn" => {
            let mut command = module("gunicorn");
            command.args(["--bind", &format!("127.0.0.1:{port}"), "--threads", "2", "recorder:wsgi"]);
            command
        }
        "uvicorn" => {
            let mut command = module("uvicorn");
            command.args(["--port", &port.to_string(), "--no-access-log", "recorder:asgi"]);
            command
        }
        _ => {
            let mut command = Command::new(python());
            command.arg(&recorder).arg(port.to_string());
            if name == "http-server-unread" {
                command.arg("unread");
            }
            command
        }
    };
    Process::start(name, folder, &command).ready(&format!("http://127.0.0.1:{port}/ready"), PATIENCE).await
}

/// Sends bytes and reads until the other side closes, or waits for more.
async fn send(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Who refuses early closes while we still write.
    let _written = stream.write_all(request).await;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(Ok(read @ 1..)) = tokio::time::timeout(SILENCE, stream.read(&mut buffer)).await {
        answer.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// F40: what servers make of it that are not ours, each with a parser of its own.
#[tokio::test]
async fn every_server_reads_what_the_gateway_passes_as_the_one_request_it_decided() {
    let folder = tempfile::tempdir().unwrap();
    let (mut servers, mut settings) = (Vec::new(), String::new());
    for name in SERVERS {
        let (port, own) = (free_port(), folder.path().join(name));
        std::fs::create_dir(&own).unwrap();
        servers.push((name, start(name, port, &own).await));
        _ = writeln!(
            settings,
            "[[upstreams]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:{port}\"\n\
             [[routes]]\nupstream = \"{name}\"\nhost = \"{name}.test\"\n\
             rules = [{{ path = \"/\", allow = \"anyone\" }}]"
        );
    }
    let gateway = Gateway::start(&format!("server.workers = 1\nlog.format = \"json\"\n{settings}")).await;
    let address = gateway.url.trim_start_matches("http://").to_owned();
    for name in SERVERS {
        let honest = format!("GET /honest HTTP/1.1\r\nhost: {name}.test\r\nconnection: close\r\n\r\n");
        for (line, fields, body) in ATTACKS {
            let body = body.replace("{inner}", INNER);
            let request = format!("{line} HTTP/1.1\r\nhost: {name}.test\r\n{fields}\r\n{body}{honest}");
            send(&address, request.as_bytes()).await;
            // An honest request on what may be the same connection to the server.
            let answer = send(&address, honest.as_bytes()).await;
            assert!(
                answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"),
                "{name} after {line}: {answer}"
            );
        }
    }
    // One thread, one log: what comes last is written last.
    send(&address, b"GET /the-last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let events = wait_for("every access event", PATIENCE, async || {
        let output = gateway.output();
        let events: Vec<Value> = output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        events.iter().any(|event| event["http.path"] == "/the-last").then_some(events)
    })
    .await;
    for (name, server) in &servers {
        let (mut decided, mut answered) = (BTreeMap::new(), BTreeSet::new());
        let own =
            events.iter().filter(|event| event["upstream.name"] == *name && event["decision"] == "allow");
        for event in own {
            let text = |field: &str| event[field].as_str().unwrap().to_owned();
            decided.insert(text("request.id"), (text("http.method"), text("http.path")));
            if event["http.status"] == 200 {
                answered.insert(text("request.id"));
            }
        }
        assert!(answered.len() > ATTACKS.len() / 2, "{name} answered {}", answered.len());
        let seen = wait_for("what the server printed", PATIENCE, async || {
            let seen = seen(&server.output());
            answered.iter().all(|id| seen.iter().any(|(of, _)| of == id)).then_some(seen)
        })
        .await;
        let ids: BTreeSet<_> = seen.iter().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), seen.len(), "{name} saw two requests in one: {seen:#?}");
        for (id, read) in &seen {
            assert_eq!(decided.get(id), Some(read), "{name}:\n{}", server.output());
        }
    }
}

/// Ids of requests with what a server read as method and path.
fn seen(output: &str) -> Vec<(String, (String, String))> {
    let requests = output.lines().filter_map(|line| {
        let mut words = line.split_once("seen ")?.1.splitn(3, ' ');
        let (id, method, target) = (words.next()?, words.next()?, words.next()?);
        let path = target.split('?').next()?;
        Some((id.to_owned(), (method.to_owned(), path.to_owned())))
    });
    requests.filter(|(_, (_, path))| path != "/ready").collect()
}
