//! Upgraded connections: bytes both ways until one side ends, nothing moves, or the gateway stops.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::Instant;

/// What a connection holds while it is open, such as its place among the connections; a tunnel goes on holding it.
#[derive(Clone)]
pub struct Hold {
    #[expect(dead_code, reason = "held for its drop")]
    held: Arc<dyn Any + Send + Sync>,
}

impl Hold {
    /// Holds something until the last clone is gone.
    pub fn of(held: impl Any + Send + Sync) -> Self {
        Self { held: Arc::new(held) }
    }
}

/// Bytes held in each direction.
const BUFFER: usize = 8 * 1024;

/// Carries bytes between two upgraded connections. Ends with either side, after `idle` without a byte
/// (zero: never), or when `closing` turns true.
pub async fn tunnel(
    client: OnUpgrade,
    upstream: OnUpgrade,
    idle: Duration,
    mut closing: watch::Receiver<bool>,
) -> io::Result<(u64, u64)> {
    let (client, upstream) = tokio::try_join!(client, upstream)
        .map_err(|error| io::Error::new(io::ErrorKind::NotConnected, error))?;
    let last = Rc::new(Cell::new(Instant::now()));
    let mut client = Watched { io: TokioIo::new(client), last: Rc::clone(&last) };
    let mut upstream = Watched { io: TokioIo::new(upstream), last: Rc::clone(&last) };
    let copy = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER);
    tokio::select! {
        moved = copy => moved,
        () = silent_for(idle, &last) => Err(io::ErrorKind::TimedOut.into()),
        _ = closing.wait_for(|closing| *closing) => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

async fn silent_for(idle: Duration, last: &Cell<Instant>) {
    if idle.is_zero() {
        std::future::pending::<()>().await;
    }
    loop {
        let deadline = last.get() + idle;
        if Instant::now() >= deadline {
            return;
        }
        tokio::time::sleep_until(deadline).await;
    }
}

/// Notes when bytes were last read.
struct Watched<I> {
    io: I,
    last: Rc<Cell<Instant>>,
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if read.is_ready() {
            self.last.set(Instant::now());
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
