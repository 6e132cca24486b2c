//! slowhttptest, which attacks by being slow: the gateway gives its connections up, serves everybody else
//! meanwhile, and keeps to its memory. With patience for limits it does not, so that these tests can fail.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::Instant;

use crate::support::gateway::{ADDRESS, Gateway};
use crate::support::{PATIENCE, client, free_port, wait_for};

const CONNECTIONS: u64 = 100;
/// More than sockets and the gateway hold of an answer together.
const LARGE: usize = 8 << 20;
const PIECE: &[u8] = &[b'x'; 4096];
/// What an attack may cost: `docs/limits.md` promises less than a mebibyte for each reader that does not read.
const MOST_GROWTH: u64 = CONNECTIONS << 20;
/// All limits of the gateway that gives up, in seconds; less than the attack takes.
const IMPATIENT: u64 = 2;
const ATTACK: u64 = 15;

/// Heads that never end (`-H`): a line each second.
#[tokio::test]
async fn slow_heads_are_given_up_and_everybody_else_is_served() {
    let attack = ["-H", "-i", "1", "-x", "8"];
    let (given_up, waited_for) = tokio::join!(attacked(IMPATIENT, &attack, "/"), attacked(60, &attack, "/"));
    given_up.is_noticed();
    waited_for.goes_on();
}

/// Bodies that never end (`-B`): some bytes each second.
#[tokio::test]
async fn slow_bodies_are_given_up_and_everybody_else_is_served() {
    let attack = ["-B", "-i", "1", "-x", "8", "-s", "4096"];
    let (given_up, waited_for) = tokio::join!(attacked(IMPATIENT, &attack, "/"), attacked(60, &attack, "/"));
    given_up.is_noticed();
    waited_for.goes_on();
}

/// Answers that are not read (`-X`): thirty-two bytes each five seconds through a window of a kibibyte. The kernel
/// gives such a connection up without a word, so the attacker still counts it; the gateway does not.
#[tokio::test]
async fn slow_readers_are_given_up_and_everybody_else_is_served() {
    let attack = ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32"];
    let (given_up, waited_for) =
        tokio::join!(attacked(IMPATIENT, &attack, "/large"), attacked(60, &attack, "/large"));
    assert!(given_up.most_open > CONNECTIONS / 10, "no attack: {given_up:?}");
    // Its probe, by which it sees whether others are served, is a connection too.
    assert!(given_up.left_open < CONNECTIONS / 20, "{given_up:?}");
    assert_eq!(given_up.available, "YES", "{given_up:?}");
    waited_for.goes_on();
}

/// What came of an attack.
#[derive(Debug)]
struct Outcome {
    /// Most connections that the gateway held at once.
    most_open: u64,
    /// How many it held shortly before the attack's end.
    left_open: u64,
    /// What the attacker says at its end.
    connected: u64,
    available: String,
    exit: String,
}

impl Outcome {
    /// The attacker found itself without a connection before its time was over.
    fn is_noticed(&self) {
        assert!(self.most_open > CONNECTIONS / 10, "no attack: {self:?}");
        assert_eq!(self.exit, "No open connections left", "{self:?}");
        assert_eq!(self.available, "YES", "{self:?}");
    }

    /// The attacker kept what it had until its time was over.
    fn goes_on(&self) {
        assert!(self.left_open >= CONNECTIONS, "{self:?}");
        assert_eq!((self.exit.as_str(), self.connected), ("Hit test time limit", CONNECTIONS), "{self:?}");
    }
}

/// Lets slowhttptest attack a gateway whose limits are so many seconds.
async fn attacked(limit: u64, attack: &[&str], path: &str) -> Outcome {
    let upstream = upstream().await;
    let port = free_port();
    let gateway = Gateway::start(&format!(
        "metrics.listen = \"127.0.0.1:{port}\"\n[server]\nlisten = [\"{ADDRESS}\"]\nkeep_alive = \"{limit}s\"\n\
         header_timeout = \"{limit}s\"\nbody_timeout = \"{limit}s\"\nwrite_timeout = \"{limit}s\"\n\
         [[upstreams]]\nname = \"app\"\nurl = \"http://{upstream}\"\n\
         [[routes]]\nupstream = \"app\"\nrules = [{{ allow = \"anyone\" }}]\n"
    ))
    .await;
    let metrics = format!("http://127.0.0.1:{port}/metrics");
    assert_eq!(gateway.send(Method::GET, "/", "").await.status, 200);
    let before = figure(&metrics, "process_resident_memory_bytes").await;

    let (count, length, url) =
        (CONNECTIONS.to_string(), ATTACK.to_string(), format!("{}{path}", gateway.url));
    let attacker = Command::new("slowhttptest")
        .args(attack)
        .args(["-c", &count, "-r", &count, "-l", &length, "-p", "5", "-u", &url])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|e| panic!("slowhttptest does not start ({e}): run tests/run.sh once"));
    let began = Instant::now();
    let attacking = attacker.wait_with_output();
    let mut attacking = std::pin::pin!(attacking);
    let (mut most_open, mut left_open, mut served) = (0, 0, 0);
    let output = loop {
        tokio::select! {
            output = &mut attacking => break output.unwrap(),
            // How often somebody else asks meanwhile.
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
        let asked = Instant::now();
        assert_eq!(gateway.send(Method::GET, "/", "").await.status, 200, "while it is attacked");
        assert!(asked.elapsed() < PATIENCE, "somebody else waits for {:?}", asked.elapsed());
        served += 1;
        let open = figure(&metrics, "doorward_connections_open").await;
        most_open = most_open.max(open);
        // Not so late that it is the attacker who ends them.
        if began.elapsed() < Duration::from_secs(ATTACK - 2) {
            left_open = open;
        }
    };
    assert!(served > 2, "{served} others were served");
    wait_for("end of all connections", PATIENCE, async || {
        (figure(&metrics, "doorward_connections_open").await == 0).then_some(())
    })
    .await;
    let growth = figure(&metrics, "process_resident_memory_bytes").await.saturating_sub(before);
    assert!(growth < MOST_GROWTH, "resident memory grew by {} KiB", growth >> 10);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let outcome = Outcome {
        most_open,
        left_open,
        connected: last(&said, "connected:").parse().unwrap(),
        available: last(&said, "service available:"),
        exit: last(&said, "Exit status:"),
    };
    println!(
        "{}: limits of {limit} s: {served} others served, {} KiB more, {outcome:?}",
        attack[0],
        growth >> 10
    );
    outcome
}

/// The last value under this name, without the colours around it.
fn last(said: &str, name: &str) -> String {
    let rest = said.rsplit(name).next().filter(|rest| rest.len() < said.len());
    let rest = rest.unwrap_or_else(|| panic!("no {name} in what slowhttptest said:\n{said}"));
    let line = rest.lines().next().unwrap_or_default();
    // A colour begins with the escape character and ends with `m`.
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    let coloured = parts.map(|part| part.split_once('m').map_or("", |(_, text)| text));
    (first + &coloured.collect::<String>()).trim().to_owned()
}

/// A sample without labels.
async fn figure(metrics: &str, name: &str) -> u64 {
    let page = client::get(metrics).await.unwrap().body;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}:\n{page}")).parse().unwrap()
}

/// An upstream that reads all it is sent, and answers `/large` at length.
async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn serve(mut stream: TcpStream) {
    let mut head = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        head.push(byte);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        let pieces = if text.starts_with("get /large ") { LARGE / PIECE.len() } else { 1 };
        let start = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", pieces * PIECE.len());
        if stream.write_all(start.as_bytes()).await.is_err() {
            return;
        }
        for _ in 0..pieces {
            if stream.write_all(PIECE).await.is_err() {
                return;
            }
        }
        head.clear();
    }
}
