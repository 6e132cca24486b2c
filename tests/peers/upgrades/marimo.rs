//! marimo's editor, whose terminal is a shell of the server's user behind a WebSocket.

use std::process::Command;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::proxies::door::{Door, More, Proxy};
use crate::support::gateway::Gateway;
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, servers_python};

const HANDSHAKE: &str = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Opens the terminal; the status, and the socket if there is one.
async fn terminal(address: &str, host: &str, key: &str) -> (u16, TcpStream) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /terminal/ws HTTP/1.1\r\nhost: {host}\r\n{HANDSHAKE}authorization: Bearer {key}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    (head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), stream)
}

/// Whether a shell runs what is typed into the socket: one masked text frame (RFC 6455, 5.2), and what is printed.
async fn runs(mut stream: TcpStream) -> bool {
    let text = b"echo four$((2+2))ty\n";
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(text);
    stream.write_all(&frame).await.unwrap();
    let (mut seen, mut buffer) = (String::new(), [0; 4096]);
    let read = async {
        while !seen.contains("four4ty") {
            let read = stream.read(&mut buffer).await.unwrap_or(0);
            if read == 0 {
                return false;
            }
            seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        true
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap_or(false)
}

async fn marimo(folder: &std::path::Path) -> (String, Process) {
    let port = free_port();
    let mut command = Command::new(servers_python());
    command.args([
        "-m",
        "marimo",
        "--yes",
        "edit",
        "--headless",
        "--no-token",
        "--skip-update-check",
        "--host",
        "127.0.0.1",
    ]);
    command.args(["--port", &port.to_string(), "notebook.py"]);
    command.env("HOME", folder).env("SHELL", "/bin/sh");
    let process = Process::start("marimo", folder, &command);
    let process = process.ready(&format!("http://127.0.0.1:{port}/health"), PATIENCE).await;
    (format!("127.0.0.1:{port}"), process)
}

#[tokio::test]
async fn marimos_terminal_opens_to_members_and_to_no_viewer() {
    let folder = tempfile::tempdir().unwrap();
    let (app, _process) = marimo(folder.path()).await;
    // By itself it is open to anyone who comes.
    let (status, stream) = terminal(&app, &app, "none").await;
    assert_eq!(status, 101);
    assert!(runs(stream).await, "a shell");
    // The standard rules, in front of it.
    let gateway = Gateway::start(&format!(
        "[[upstreams]]\nname = \"marimo\"\nurl = \"http://{app}\"\n[[routes]]\nupstream = \"marimo\"\n"
    ))
    .await;
    let address = gateway.url.trim_start_matches("http://").to_owned();
    let viewer = gateway.key("reader", "viewer", &[]).key;
    let member = gateway.key("user", "member", &[]).key;
    assert_eq!(gateway.send(http::Method::GET, "/health", &viewer).await.status, 200);
    assert_eq!(terminal(&address, &address, &viewer).await.0, 403);
    let (status, stream) = terminal(&address, &address, &member).await;
    assert_eq!(status, 101);
    assert!(runs(stream).await, "a member's shell");
    drop(gateway);
    // nginx in front of it, asking.
    let door =
        Door::open_with(Proxy::Nginx, &app, More { rules: Some(""), ..More::default() }, str::to_owned).await;
    let host = door.url.trim_start_matches("http://").to_owned();
    let viewer = door.gateway.key("reader", "viewer", &[]).key;
    let member = door.gateway.key("user", "member", &[]).key;
    let bearer = format!("Bearer {viewer}");
    assert_eq!(door.get("/health", &[("authorization", &bearer)]).await.status, 200);
    assert_eq!(terminal(&host, &host, &viewer).await.0, 403);
    let (status, stream) = terminal(&host, &host, &member).await;
    assert_eq!(status, 101);
    assert!(runs(stream).await, "a member's shell through nginx");
}
