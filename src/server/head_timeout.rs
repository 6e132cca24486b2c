//! A request head that has begun must be complete in time; a connection that merely idles may.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Which requests are being served on a connection; shared by its I/O and its service.
#[derive(Clone, Debug)]
pub struct Serving(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    open: AtomicUsize,
    began: Instant,
    /// Milliseconds from `began` to when the last one ended.
    idle_since: AtomicU64,
}

/// A request that is being served, until it is dropped.
#[derive(Debug)]
pub struct Served(Option<Serving>);

impl Serving {
    /// A connection on which nothing was asked yet.
    pub fn nothing() -> Self {
        let (open, idle_since) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self(Arc::new(Inner { open, began: Instant::now(), idle_since }))
    }

    /// A head is complete. Once its answer is out, the next byte begins another head.
    pub fn begin(&self) -> Served {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        Served(Some(self.clone()))
    }

    /// How many are being served.
    pub fn count(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// For how long none has been; `None` while one is.
    pub fn idle_for(&self) -> Option<Duration> {
        let since = Duration::from_millis(self.0.idle_since.load(Ordering::Relaxed));
        (self.count() == 0).then(|| self.0.began.elapsed().saturating_sub(since))
    }
}

impl Served {
    /// No head ever comes after this one: the connection has another protocol now.
    pub fn for_ever(mut self) {
        self.0 = None;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let Some(Serving(inner)) = &self.0 else { return };
        if inner.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            let since = u64::try_from(inner.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            inner.idle_since.store(since, Ordering::Relaxed);
        }
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
        if this.serving.count() > 0 {
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
