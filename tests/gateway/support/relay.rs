//! A way to a server that can be held up, slowed, cut and spoken on: what happens between two machines, at will.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};

use super::until;

/// What becomes of bytes.
#[derive(Clone, Copy, Default)]
struct Way {
    /// All wait until it is released.
    held: bool,
    /// Connections with a lower number say and hear nothing any more, though they stay open.
    swallowed: usize,
    /// Connections with a lower number are broken off.
    cut: usize,
    /// New connections are broken off at once.
    closed: bool,
    /// Each piece takes this long.
    delay: Duration,
    /// So many bytes of answers pass on each connection, and then nothing either way; 0 is all.
    fades_after: usize,
}

/// Passes on what comes, unless it is told otherwise. Ends with the test.
pub struct Relay {
    pub address: SocketAddr,
    way: watch::Sender<Way>,
    came: Arc<AtomicUsize>,
    connections: Arc<Mutex<Vec<Arc<Upward>>>>,
}

/// The way to the server, of one connection.
struct Upward {
    to_server: Mutex<OwnedWriteHalf>,
    /// Whether a client waits for an answer.
    asked: AtomicBool,
    /// Whether what the server says next, up to where it is ready again, is not passed on.
    hushed: AtomicBool,
    /// Whether the server has ended it.
    ended: AtomicBool,
}

impl Relay {
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, ways) = watch::channel(Way::default());
        let came = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&came);
        let connections = Arc::<Mutex<Vec<Arc<Upward>>>>::default();
        let known = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if ways.borrow().closed {
                    continue;
                }
                let Ok(server) = TcpStream::connect(server).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let upward = Arc::new(Upward {
                    to_server: Mutex::new(to_server),
                    asked: AtomicBool::new(false),
                    hushed: AtomicBool::new(false),
                    ended: AtomicBool::new(false),
                });
                let mut known = known.lock().await;
                let number = known.len();
                known.push(Arc::clone(&upward));
                tokio::spawn(up(
                    from_client,
                    Arc::clone(&upward),
                    number,
                    ways.clone(),
                    Arc::clone(&counter),
                ));
                tokio::spawn(down(from_server, to_client, upward, number, ways.clone()));
            }
        });
        Self { address, way, came, connections }
    }

    /// Nothing passes any more.
    pub fn hold(&self) {
        self.way.send_modify(|way| way.held = true);
    }

    /// Everything passes again, and what was held up.
    pub fn release(&self) {
        self.way.send_modify(|way| way.held = false);
    }

    /// The connections that are there are silent for ever; new ones are well.
    pub async fn swallow(&self) {
        let so_far = self.connections.lock().await.len();
        self.way.send_modify(|way| way.swallowed = so_far);
    }

    /// The connections that are there break off, as when the server restarts; until it is opened so do new ones.
    pub async fn close(&self) {
        let so_far = self.connections.lock().await.len();
        self.way.send_modify(|way| (way.cut, way.closed) = (so_far, true));
    }

    /// New connections are passed on again.
    pub fn open(&self) {
        self.way.send_modify(|way| way.closed = false);
    }

    /// Each piece takes so long.
    pub fn slow(&self, delay: Duration) {
        self.way.send_modify(|way| way.delay = delay);
    }

    /// Each connection falls silent after so many bytes of answers.
    pub fn fade_after(&self, bytes: usize) {
        self.way.send_modify(|way| way.fades_after = bytes);
    }

    /// How many connections there were.
    pub async fn connections(&self) -> usize {
        self.connections.lock().await.len()
    }

    /// Says a statement to PostgreSQL on each connection on which nothing is under way, and keeps the answers from the
    /// clients, who wait meanwhile with what they ask next.
    pub async fn say(&self, sql: &str) {
        for upward in self.connections.lock().await.iter() {
            let length = u32::try_from(4 + sql.len() + 1).unwrap().to_be_bytes();
            let message = [b"Q", length.as_slice(), sql.as_bytes(), b"\0"].concat();
            let mut to_server = upward.to_server.lock().await;
            if upward.asked.load(Ordering::SeqCst) {
                continue;
            }
            upward.hushed.store(true, Ordering::SeqCst);
            if to_server.write_all(&message).await.is_err() {
                continue;
            }
            until("the answer to what was said in between", async || {
                !upward.hushed.load(Ordering::SeqCst) || upward.ended.load(Ordering::SeqCst)
            })
            .await;
        }
    }

    /// How many bytes clients have sent.
    pub fn heard(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }

    /// Waits until a client has said something.
    pub async fn hears_something(&self) {
        until("a word of a client", async || self.heard() > 0).await;
    }
}

/// Waits until a piece may pass; `false` if it never may.
async fn may_pass(number: usize, ways: &mut watch::Receiver<Way>) -> bool {
    let delay = ways.borrow().delay;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let passes = |way: &Way| number < way.cut || (!way.held && number >= way.swallowed);
    ways.wait_for(passes).await.is_ok_and(|way| number >= way.cut)
}

/// Waits until a connection is broken off.
async fn is_cut(number: usize, mut ways: watch::Receiver<Way>) {
    if ways.wait_for(|way| number < way.cut).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn up(
    mut from: OwnedReadHalf,
    to: Arc<Upward>,
    number: usize,
    mut ways: watch::Receiver<Way>,
    came: Arc<AtomicUsize>,
) {
    let cut = is_cut(number, ways.clone());
    let pass = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            came.fetch_add(read, Ordering::SeqCst);
            if !may_pass(number, &mut ways).await {
                break;
            }
            let mut to_server = to.to_server.lock().await;
            to.asked.store(true, Ordering::SeqCst);
            if to_server.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! { () = cut => {} () = pass => {} }
    let _ = to.to_server.lock().await.shutdown().await;
}

async fn down(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    upward: Arc<Upward>,
    number: usize,
    mut ways: watch::Receiver<Way>,
) {
    let cut = is_cut(number, ways.clone());
    let mut passed = 0;
    let pass = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            // The server is ready: the last message of an answer, of five bytes and its state.
            let ready = buffer[..read].windows(5).any(|piece| piece == b"Z\0\0\0\x05");
            if upward.hushed.load(Ordering::SeqCst) {
                if ready {
                    upward.hushed.store(false, Ordering::SeqCst);
                }
                continue;
            }
            if ready {
                upward.asked.store(false, Ordering::SeqCst);
            }
            passed += read;
            if (1..passed).contains(&ways.borrow().fades_after) {
                std::future::pending::<()>().await;
            }
            if !may_pass(number, &mut ways).await || to.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! { () = cut => {} () = pass => {} }
    upward.ended.store(true, Ordering::SeqCst);
    let _ = to.shutdown().await;
}
