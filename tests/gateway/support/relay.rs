//! A way to a server that can be held up: connections stay, and nothing passes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::within;

/// Passes on what comes, unless it is held up. Ends with the test.
pub struct Relay {
    pub address: SocketAddr,
    held: watch::Sender<bool>,
    came: Arc<AtomicUsize>,
}

impl Relay {
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (held, holding) = watch::channel(false);
        let came = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&came);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pass(from_client, to_server, holding.clone(), Arc::clone(&counter)));
                tokio::spawn(pass(from_server, to_client, holding.clone(), Arc::default()));
            }
        });
        Self { address, held, came }
    }

    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    pub fn release(&self) {
        self.held.send_replace(false);
    }

    /// How many bytes clients have sent.
    pub fn heard(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }

    /// Waits until a client has said something.
    pub async fn hears_something(&self) {
        within("a word of a client", async {
            while self.heard() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut held: watch::Receiver<bool>,
    came: Arc<AtomicUsize>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        came.fetch_add(read, Ordering::SeqCst);
        if held.wait_for(|held| !held).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
