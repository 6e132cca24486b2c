//! A request head that has begun must be complete in time; a connection that merely idles may.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Whether a request is being served on a connection; shared by its I/O and its service.
#[derive(Clone, Debug, Default)]
pub struct Serving(Arc<AtomicBool>);

impl Serving {
    /// The head is complete.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// The answer is out; the next byte begins another head.
    pub fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// I/O that fails when a head takes longer than its limit, however slowly its bytes trickle in.
pub struct HeadTimeout<I> {
    io: I,
    limit: Duration,
    serving: Serving,
    began: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<I> HeadTimeout<I> {
    /// Wraps a connection.
    pub fn new(io: I, limit: Duration, serving: Serving) -> Self {
        Self { io, limit, serving, began: None, sleep: None }
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(began) = self.began else { return false };
        let deadline = began + self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx).is_ready()
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for HeadTimeout<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.serving.is_on() {
            this.began = None;
            return Pin::new(&mut this.io).poll_read(cx, buf);
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        if read.is_pending() {
            if this.is_late(cx) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            return Poll::Pending;
        }
        ready!(read)?;
        if buf.filled().len() > before {
            let began = *this.began.get_or_insert_with(Instant::now);
            if began.elapsed() > this.limit {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for HeadTimeout<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
