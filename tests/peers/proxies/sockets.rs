//! Switches of protocol through each proxy, asked for in every odd way, of a server that agrees to all of them.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::door::{Door, Proxy};
use super::echo::Echo;
use super::open_socket;

const KEY: &str = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const VERSION: &str = "sec-websocket-version: 13\r\n";

/// Method and fields of requests that some server takes for a switch of protocol, or some proxy for none.
pub(crate) fn forms() -> Vec<(&'static str, String)> {
    let (connection, websocket) = ("connection: upgrade\r\n", "upgrade: websocket\r\n");
    let mut all = Vec::new();
    for upgrade in [
        "websocket",
        "WebSocket",
        "websocket,",
        ",websocket",
        "x, websocket",
        "websocket, x",
        "h2c, websocket",
        "websocket, h2c",
        "WebSocket/13",
        "websocket/13, websocket",
        "websocket;v=13",
        "\"websocket\"",
        "tcp",
        "spice",
        "TLS/1.0, HTTP/1.1",
    ] {
        all.push(("GET", format!("{connection}upgrade: {upgrade}\r\n{VERSION}{KEY}")));
        // Without what a proxy may know a WebSocket by.
        all.push(("GET", format!("{connection}upgrade: {upgrade}\r\n")));
    }
    for fields in [
        format!("{connection}{websocket}{websocket}{VERSION}{KEY}"),
        format!("{connection}upgrade: tcp\r\n{websocket}{VERSION}{KEY}"),
        format!("{connection}{websocket}upgrade: tcp\r\n{VERSION}{KEY}"),
        format!("{websocket}{VERSION}{KEY}"),
        format!("connection: keep-alive, Upgrade\r\n{websocket}{VERSION}{KEY}"),
        format!("connection: keep-alive\r\n{connection}{websocket}{VERSION}{KEY}"),
        format!(
            "connection: upgrade, sec-websocket-key, x-original-upgrade, sec-websocket-version\r\n{websocket}{VERSION}{KEY}"
        ),
        format!("connection: upgrade, upgrade\r\n{websocket}{VERSION}{KEY}"),
        format!("{connection}{websocket}x-original-upgrade: \r\nx-forwarded-proto: http\r\n"),
        format!("{connection}{websocket}sec-websocket-version: 8\r\n{KEY}"),
        format!("{connection}{websocket}{VERSION}sec-websocket-key: short\r\n"),
        format!("{connection}{websocket}{VERSION}{KEY}{KEY}"),
        format!("{connection}Upgrade : websocket\r\n{VERSION}{KEY}"),
        format!("{connection}up_grade: websocket\r\nupgrade:\twebsocket\r\n{VERSION}{KEY}"),
    ] {
        all.push(("GET", fields));
    }
    for method in ["POST", "HEAD", "OPTIONS"] {
        all.push((method, format!("{connection}{websocket}{VERSION}{KEY}content-length: 0\r\n")));
    }
    all
}

/// Sends a request head; the status of the answer, 0 where there is none.
pub(crate) async fn status_of(address: &str, request: &str) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Who refuses early closes while we still write.
    let _written = stream.write_all(request.as_bytes()).await;
    let mut line = Vec::new();
    while line.len() < 12 {
        match stream.read_u8().await {
            Ok(byte) => line.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&line).split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// FA28: switches of protocol that the question does not show.
pub(super) async fn attacks(proxy: Proxy) {
    let echo = Echo::start().await;
    let door = Door::open(proxy, &echo.address.to_string()).await;
    let viewer = door.gateway.key("probe", "viewer", &[]).key;
    let admin = door.gateway.key("root", "admin", &[]).key;
    let through = door.url.trim_start_matches("http://").to_owned();
    let own = door.gateway.url.trim_start_matches("http://").to_owned();
    let (mut refused, mut opened) = (0, 0);
    for (host, address) in [(through.as_str(), &through), ("own.test", &own)] {
        for (method, fields) in forms() {
            let request = |key: &str| {
                format!(
                    "{method} /readable/x HTTP/1.1\r\nhost: {host}\r\n{fields}authorization: Bearer {key}\r\n\r\n"
                )
            };
            let status = status_of(address, &request(&viewer)).await;
            assert_ne!(status, 101, "{host}: {method} {fields}");
            refused += usize::from(status == 403);
            for seen in echo.take() {
                assert_eq!(seen.all("upgrade"), [""; 0], "{host}: {method} {fields} {seen:?}");
            }
            let status = status_of(address, &request(&admin)).await;
            opened += usize::from(status == 101);
            for seen in echo.take() {
                let upgrade = seen.all("upgrade").concat();
                // Our own proxy carries others, too, if they are plainly named.
                let fine = upgrade.is_empty()
                    || upgrade.eq_ignore_ascii_case("websocket")
                    || (host == "own.test" && ["tcp", "spice"].contains(&upgrade.as_str()));
                assert!(fine, "{host}: {method} {fields} {seen:?}");
            }
        }
        // What everybody does goes on as ever.
        let read =
            format!("GET /readable/x HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {viewer}\r\n\r\n");
        assert_eq!(status_of(address, &read).await, 200, "{host}");
        echo.take();
    }
    assert!(refused > 10 && opened > 5, "{refused} were refused, {opened} opened");
    door.gateway.user("vera", "viewer");
    let (vera, _) = door.sign_in(&format!("{}/_doorward/login", door.url), "vera").await;
    assert_eq!(open_socket(&door, "/ws", &vera).await, Ok(b"over the switched connection".to_vec()));
    assert_eq!(open_socket(&door, "/readable/ws", &vera).await, Err(403));
}
