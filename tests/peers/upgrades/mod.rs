//! Servers that switch protocols, each with a reading of its own: none of them is led to by an odd `Upgrade`, and a
//! right to read opens none of their sockets. What each of them makes of it by itself is printed.

mod grpc;
mod marimo;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use crate::proxies::sockets::{forms, status_of};
use crate::support::gateway::Gateway;
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, repository, servers_python};

const SERVERS: [&str; 9] =
    ["autobahn", "websockets", "uvicorn", "uvicorn-wsproto", "hypercorn", "aiohttp", "tornado", "ws", "node"];

async fn start(name: &'static str, port: u16, folder: &std::path::Path) -> Process {
    let mut command = if matches!(name, "ws" | "node") {
        let mut command = Command::new("node");
        command.arg(repository("tests/peers/upgrades/servers.js"));
        command.env("NODE_PATH", repository(".tests/node/node_modules"));
        command
    } else {
        let mut command = Command::new(servers_python());
        command.arg(repository("tests/peers/upgrades/servers.py"));
        command
    };
    command.args([name, &port.to_string()]);
    Process::start(name, folder, &command).ready(&format!("http://127.0.0.1:{port}/ready"), PATIENCE).await
}

/// What real servers make of it.
#[tokio::test]
async fn nine_servers_switch_for_nobody_who_may_only_read() {
    let folder = tempfile::tempdir().unwrap();
    let (mut servers, mut settings) = (Vec::new(), String::new());
    for name in SERVERS {
        let port = free_port();
        servers.push((name, port, start(name, port, folder.path()).await));
        _ = writeln!(
            settings,
            "[[upstreams]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:{port}\"\n\
             [[routes]]\nupstream = \"{name}\"\nhost = \"{name}.test\""
        );
    }
    let gateway = Gateway::start(&settings).await;
    let viewer = gateway.key("reader", "viewer", &[]).key;
    let member = gateway.key("user", "member", &[]).key;
    let through = gateway.url.trim_start_matches("http://").to_owned();
    let mut switch: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, port, _) in &servers {
        let (own, host) = (format!("127.0.0.1:{port}"), format!("{name}.test"));
        let (mut direct, mut opened) = (0, 0);
        for (method, fields) in forms() {
            let request = |host: &str, more: &str| {
                format!("{method} /ws HTTP/1.1\r\nhost: {host}\r\n{fields}{more}\r\n")
            };
            // A server that waits for more switches nothing.
            let asked = request(&own, "");
            let alone = tokio::time::timeout(Duration::from_secs(2), status_of(&own, &asked));
            if alone.await.is_ok_and(|status| status == 101) {
                direct += 1;
                switch.entry(format!("{method} {fields:?}")).or_default().push(name);
            }
            let bearer = |key: &str| format!("authorization: Bearer {key}\r\n");
            let status = status_of(&through, &request(&host, &bearer(&viewer))).await;
            assert_ne!(status, 101, "{name}: {method} {fields}");
            if plainly_a_switch(&fields) {
                assert!(matches!(status, 400 | 403 | 426), "{name}: {method} {fields} {status}");
            }
            opened += usize::from(status_of(&through, &request(&host, &bearer(&member))).await == 101);
        }
        assert!(
            direct > 0 && opened > 0,
            "{name} switched {direct} times by itself, {opened} times for a member"
        );
    }
    for (form, names) in &switch {
        println!("{form} => {}", names.join(" "));
    }
    // What makes the difference: read by itself, one of these is enough for some server.
    for odd in
        ["\"connection: upgrade\\r\\nupgrade: x, websocket", "\"connection: upgrade\\r\\nupgrade: websocket,"]
    {
        assert!(switch.keys().any(|form| form.contains(odd)), "no server takes {odd}");
    }
}

/// Whether the gateway, too, takes it for a switch that it would pass on.
fn plainly_a_switch(fields: &str) -> bool {
    ["upgrade: websocket\r\n", "upgrade: WebSocket\r\n", "upgrade: tcp\r\n", "upgrade: spice\r\n"]
        .iter()
        .any(|plain| fields.starts_with(&format!("connection: upgrade\r\n{plain}")))
}
