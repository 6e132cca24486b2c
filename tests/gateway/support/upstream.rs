//! An upstream that records every byte of every request, and answers what it is told to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::ledger;
use super::ledger::Heard;
use super::raw::{header_values, read_head};

/// What every request is answered at first.
pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A recorded request.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Request line and headers, as received.
    pub head: String,
    pub body: Vec<u8>,
    /// Which connection it came on, counted from zero.
    pub connection: usize,
}

impl Recorded {
    /// `METHOD target`.
    pub fn line(&self) -> String {
        let line = self.head.lines().next().unwrap_or_default();
        line.rsplit_once(' ').map_or(line, |(line, _)| line).to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let values = header_values(&self.head, name);
        assert!(values.len() <= 1, "{name} stands more than once:\n{}", self.head);
        values.first().copied()
    }
}

/// A running upstream; stops when dropped.
pub struct Upstream {
    pub address: SocketAddr,
    heard: Arc<Heard>,
    answer: Arc<Mutex<Vec<u8>>>,
    early: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Upstream {
    /// Answers `200 ok` to everything, until told otherwise.
    pub async fn spawn() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// The same on this listener.
    pub fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let heard = ledger::register(address);
        let answer = Arc::new(Mutex::new(OK.to_vec()));
        let early = Arc::<AtomicBool>::default();
        let script =
            Script { heard: Arc::clone(&heard), answer: Arc::clone(&answer), early: Arc::clone(&early) };
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                connections.spawn(serve(stream, connection, script.clone()));
            }
        });
        Self { address, heard, answer, early, task }
    }

    /// What every request is answered from now on: raw bytes. If they announce `connection: close`, or no
    /// length at all, the connection is closed after them.
    pub fn answers(&self, raw: impl Into<Vec<u8>>) {
        *self.answer.lock().unwrap() = raw.into();
    }

    /// Whether requests are answered once their head is there, without waiting for the body.
    pub fn answers_early(&self, early: bool) {
        self.early.store(early, Ordering::SeqCst);
    }

    /// Of how many requests a first byte has come, whether or not the rest followed.
    pub fn begun(&self) -> usize {
        self.heard.begun.load(Ordering::SeqCst)
    }

    /// Everything received so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.heard.requests.lock().unwrap().clone()
    }

    /// Everything received after the first `count`.
    pub fn requests_after(&self, count: usize) -> Vec<Recorded> {
        self.heard.requests.lock().unwrap().get(count..).unwrap_or_default().to_vec()
    }

    pub fn last(&self) -> Recorded {
        self.heard.requests.lock().unwrap().last().expect("a request reached the upstream").clone()
    }

    pub fn count(&self) -> usize {
        self.heard.requests.lock().unwrap().len()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a connection of the upstream shares with the test.
#[derive(Clone)]
struct Script {
    heard: Arc<Heard>,
    answer: Arc<Mutex<Vec<u8>>>,
    early: Arc<AtomicBool>,
}

async fn serve(stream: TcpStream, connection: usize, script: Script) {
    let mut stream = BufReader::new(stream);
    loop {
        if !stream.fill_buf().await.is_ok_and(|begun| !begun.is_empty()) {
            return;
        }
        script.heard.begun.fetch_add(1, Ordering::SeqCst);
        let Some(head) = read_head(&mut stream).await else { return };
        let early = script.early.load(Ordering::SeqCst);
        if early {
            let raw = script.answer.lock().unwrap().clone();
            let _ = stream.write_all(&raw).await;
        }
        let Some(body) = read_body(&mut stream, &head).await else { return };
        script.heard.requests.lock().unwrap().push(Recorded { head, body, connection });
        let raw = script.answer.lock().unwrap().clone();
        if !early && stream.write_all(&raw).await.is_err() {
            return;
        }
        let text = String::from_utf8_lossy(&raw).to_ascii_lowercase();
        let framed = text.contains("content-length:") || text.contains("transfer-encoding:");
        if !framed || text.contains("connection: close") {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

async fn read_body(stream: &mut BufReader<TcpStream>, head: &str) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    if let Some(length) = header_values(head, "content-length").first() {
        body = vec![0; length.parse().ok()?];
        stream.read_exact(&mut body).await.ok()?;
    } else if header_values(head, "transfer-encoding").first() == Some(&"chunked") {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(stream.read_u8().await.ok()?);
            }
            let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).ok()?;
            if size == 0 {
                // Trailers, recorded with the body so that tests see them.
                let mut trailers = Vec::new();
                while !trailers.ends_with(b"\r\n\r\n") && trailers != b"\r\n" {
                    trailers.push(stream.read_u8().await.ok()?);
                }
                body.extend_from_slice(trailers.strip_suffix(b"\r\n").unwrap_or(&trailers));
                return Some(body);
            }
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).await.ok()?;
            body.extend_from_slice(&chunk[..size]);
        }
    }
    Some(body)
}
