//! Upstreams that never come to an end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::raw::read_head;
use super::{until, within};

/// Runs `serve` for each connection of a listener of its own.
pub async fn raw_upstream<F, T>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// For how long nothing is taken of a flood that has come to rest.
const REST: Duration = Duration::from_millis(500);

/// Says the path of each connection that has ended.
pub struct Patient {
    address: SocketAddr,
    ended: mpsc::UnboundedReceiver<String>,
    /// How many pieces of a flood were taken.
    taken: Arc<AtomicUsize>,
}

/// An upstream that leaves everything open: sockets echo, event streams say one thing and wait, uploads are
/// read for ever, and `/silent` is never answered.
pub async fn patient() -> Patient {
    let (sender, ended) = mpsc::unbounded_channel();
    let address = raw_upstream(move |mut stream| {
        let sender = sender.clone();
        async move {
            let Some(head) = read_head(&mut stream).await else { return };
            let path = head.split_whitespace().nth(1).unwrap().to_owned();
            let answer = match path.as_str() {
                "/socket" => {
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                     sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                }
                "/events" => {
                    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
                     3\r\nyes\r\n"
                }
                "/early" => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nyes\r\n",
                "/data" => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                _ => "",
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
            let mut buffer = [0; 1024];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                if path == "/socket" {
                    stream.write_all(&buffer[..read]).await.unwrap();
                }
            }
            let _ = sender.send(path);
        }
    })
    .await;
    Patient { address, ended, taken: Arc::default() }
}

impl Patient {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until nothing more is taken of a flood, because everything on its way is full.
    pub async fn comes_to_rest(&self) {
        let (mut last, mut since) = (0, Instant::now());
        until("a flood at rest", async || {
            let now = self.taken.load(Ordering::SeqCst);
            if now != last {
                (last, since) = (now, Instant::now());
            }
            now > 0 && since.elapsed() > REST
        })
        .await;
    }

    /// Waits until the upstream's side of every one of these has ended.
    pub async fn sees_the_end_of(&mut self, paths: &[&str]) {
        let mut open: Vec<_> = paths.to_vec();
        while !open.is_empty() {
            let ended = within(&format!("the end at the upstream of {open:?}"), self.ended.recv()).await;
            open.retain(|path| ended.as_deref() != Some(*path));
        }
    }
}

/// An upstream that sends as fast as it is read from.
pub async fn flood() -> Patient {
    let (sender, ended) = mpsc::unbounded_channel();
    let taken = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&taken);
    let address = raw_upstream(move |mut stream| {
        let (sender, counter) = (sender.clone(), Arc::clone(&counter));
        async move {
            read_head(&mut stream).await;
            let mut chunk = b"10000\r\n".to_vec();
            chunk.resize(chunk.len() + 0x1_0000, b'x');
            chunk.extend_from_slice(b"\r\n");
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let mut sent = stream.write_all(head).await;
            while sent.is_ok() {
                sent = stream.write_all(&chunk).await;
                counter.fetch_add(1, Ordering::SeqCst);
            }
            let _ = sender.send("/flood".to_owned());
        }
    })
    .await;
    Patient { address, ended, taken }
}
