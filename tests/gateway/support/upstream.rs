//! An upstream that records every byte of every request, and answers what it is told to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::raw::{header_values, read_head};

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
    requests: Arc<Mutex<Vec<Recorded>>>,
    answer: Arc<Mutex<Vec<u8>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Upstream {
    /// Answers `200 ok` to everything, until told otherwise.
    pub async fn spawn() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<Recorded>>>::default();
        let answer = Arc::new(Mutex::new(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()));
        let (seen, script) = (Arc::clone(&requests), Arc::clone(&answer));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                connections.spawn(serve(stream, connection, Arc::clone(&seen), Arc::clone(&script)));
            }
        });
        Self { address, requests, answer, task }
    }

    /// What every request is answered from now on: raw bytes. If they announce `connection: close`, or no
    /// length at all, the connection is closed after them.
    pub fn answers(&self, raw: impl Into<Vec<u8>>) {
        *self.answer.lock().unwrap() = raw.into();
    }

    /// Everything received so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.requests.lock().unwrap().clone()
    }

    pub fn last(&self) -> Recorded {
        self.requests().pop().expect("a request reached the upstream")
    }

    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
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

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    requests: Arc<Mutex<Vec<Recorded>>>,
    answer: Arc<Mutex<Vec<u8>>>,
) {
    while let Some(head) = read_head(&mut stream).await {
        let Some(body) = read_body(&mut stream, &head).await else { return };
        requests.lock().unwrap().push(Recorded { head, body, connection });
        let raw = answer.lock().unwrap().clone();
        if stream.write_all(&raw).await.is_err() {
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

async fn read_body(stream: &mut TcpStream, head: &str) -> Option<Vec<u8>> {
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
