//! `HAProxy` that names its clients by the PROXY protocol, towards an address and towards a socket file.

use std::io;
use std::net::SocketAddr;
use std::process::Command;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::proxies::door::system;
use crate::proxies::echo::Echo;
use crate::support::gateway::Gateway;
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, wait_for};

/// Where the client is; on Linux all of 127.0.0.0/8 is loopback.
const CLIENT: &str = "127.0.0.9:0";

/// The status of one request that comes from [`CLIENT`].
async fn status_from_client(port: u16) -> io::Result<String> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(CLIENT.parse().unwrap())?;
    let mut stream = socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    let request =
        "GET /x HTTP/1.1\r\nhost: app.test\r\nx-forwarded-for: 203.0.113.9\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    answer.split(' ').nth(1).map(str::to_owned).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

#[tokio::test]
async fn haproxy_names_the_client_in_both_versions_to_an_address_and_to_a_socket_file() {
    let echo = Echo::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("door.sock");
    let (gated, ports) = (free_port(), [free_port(), free_port(), free_port()]);
    let gateway = Gateway::start(&format!(
        "public_url = \"http://app.test\"\ninsecure = true\n\
         [server]\nlisten = \"127.0.0.1:8080\"\nproxy_protocol_from = [\"127.0.0.1\", \"unix\"]\n\
         [[server.listeners]]\naddress = \"127.0.0.1:{gated}\"\nproxy_protocol = \"required\"\n\
         [[server.listeners]]\naddress = \"unix:{}\"\nproxy_protocol = \"required\"\n\
         [[upstreams]]\nname = \"echo\"\nurl = \"http://{}\"\n\
         [[routes]]\nupstream = \"echo\"\nrules = [{{ networks = \"127.0.0.9\", allow = \"anyone\" }}]\n",
        file.display(),
        echo.address,
    ))
    .await;
    let [first, second, third] = ports;
    let config = format!(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
         listen one\n  bind 127.0.0.1:{first}\n  server gate 127.0.0.1:{gated} send-proxy check inter 100\n\
         listen two\n  bind 127.0.0.1:{second}\n  server gate 127.0.0.1:{gated} send-proxy-v2 proxy-v2-options unique-id,crc32c check inter 100\n\
         listen file\n  bind 127.0.0.1:{third}\n  server gate unix@{} send-proxy-v2 check inter 100\n",
        file.display(),
    );
    std::fs::write(directory.path().join("haproxy.cfg"), config).unwrap();
    let mut command = Command::new(system("haproxy"));
    command.args(["-db", "-f", "haproxy.cfg"]);
    let _haproxy = Process::start("haproxy", directory.path(), &command);
    for port in ports {
        let status =
            wait_for("answer through HAProxy", PATIENCE, async || status_from_client(port).await.ok());
        assert_eq!(status.await, "200", "{}", gateway.output());
        let seen = echo.take().remove(0);
        assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.9"]);
    }
    // Past HAProxy nobody gets in, not even from the address that the rule allows.
    assert!(status_from_client(gated).await.is_err());
    assert!(echo.take().is_empty());
    // Its health checks come without a client and are no malformed connections.
    assert!(!gateway.output().contains("PROXY protocol header"), "{}", gateway.output());
}
