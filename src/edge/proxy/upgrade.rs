//! Upgraded connections: copies bytes both ways until one side ends, both are idle, or the gateway stops.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::watch;
use tokio::time::Instant;

use super::open::Exchange;

/// Bytes held in each direction.
const BUFFER: usize = 8 * 1024;
/// Both sides are told of the end within this, or not at all.
const FAREWELL: Duration = Duration::from_millis(200);

/// Carries bytes between two upgraded connections. Ends with either side, after `idle` without a byte
/// (zero: never), when `closing` turns true, or with its exchange.
///
/// Where it ends by our will the bytes just stop: a closing frame could fall into the middle of another.
pub async fn tunnel(
    client: OnUpgrade,
    upstream: OnUpgrade,
    idle: Duration,
    mut closing: watch::Receiver<bool>,
    exchange: Rc<Exchange>,
) -> io::Result<(u64, u64)> {
    let (client, upstream) = tokio::try_join!(client, upstream)
        .map_err(|error| io::Error::new(io::ErrorKind::NotConnected, error))?;
    exchange.moved(true);
    let mut client = MonitoredIo { io: TokioIo::new(client), exchange: Rc::clone(&exchange) };
    let mut upstream = MonitoredIo { io: TokioIo::new(upstream), exchange: Rc::clone(&exchange) };
    let copy = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER);
    let why = tokio::select! {
        moved = copy => return moved,
        () = silent_for(idle, &exchange) => io::ErrorKind::TimedOut,
        _ = closing.wait_for(|closing| *closing) => io::ErrorKind::ConnectionAborted,
        _ = exchange.ended() => io::ErrorKind::PermissionDenied,
    };
    let farewell = async { tokio::join!(client.shutdown(), upstream.shutdown()) };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
    Err(why.into())
}

async fn silent_for(idle: Duration, exchange: &Exchange) {
    if idle.is_zero() {
        std::future::pending::<()>().await;
    }
    loop {
        let deadline = exchange.moved_at() + idle;
        if Instant::now() >= deadline {
            return;
        }
        tokio::time::sleep_until(deadline).await;
    }
}

/// Notes when bytes were last read.
struct MonitoredIo<I> {
    io: I,
    exchange: Rc<Exchange>,
}

impl<I: AsyncRead + Unpin> AsyncRead for MonitoredIo<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if read.is_ready() {
            self.exchange.moved(true);
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for MonitoredIo<I> {
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
