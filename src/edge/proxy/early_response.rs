//! Reads the response of a server that answers before it has read the whole request, and closes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection on which a failed write is not the end: what the server said before may still be read, and says more
/// than that it does not listen. Where it said nothing, reading fails as well, at once.
///
/// HTTP libraries give up at the first error of a write. A server that refuses an upload and closes makes the kernel
/// answer the next bytes with a reset, and then it depends on which of the two is seen first whether there is an answer.
#[derive(Debug)]
pub(super) struct EarlyResponse<I> {
    io: I,
    write_failed: bool,
}

impl<I> EarlyResponse<I> {
    /// Wraps a connection.
    pub(super) fn new(io: I) -> Self {
        Self { io, write_failed: false }
    }

    fn written<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(Err(error))
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                self.write_failed = true;
                // The reader is woken by the same event.
                Poll::Pending
            }
            other => other,
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for EarlyResponse<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for EarlyResponse<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.write_failed {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.write_failed {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.write_failed {
            return Poll::Pending;
        }
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.written(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.write_failed { Poll::Ready(Ok(())) } else { Pin::new(&mut self.io).poll_shutdown(cx) }
    }
}
