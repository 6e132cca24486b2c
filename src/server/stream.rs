//! A client's connection, over the network or a socket file.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connection as it is handed to a worker, not yet bound to a runtime.
pub enum Accepted {
    /// Over the network.
    Tcp(std::net::TcpStream),
    /// On a socket file.
    Unix(std::os::unix::net::UnixStream),
}

/// A connection.
#[derive(Debug)]
pub enum ClientStream {
    /// Over the network.
    Tcp(TcpStream),
    /// On a socket file.
    Unix(UnixStream),
}

impl ClientStream {
    /// Binds a connection to this thread's runtime.
    ///
    /// # Errors
    ///
    /// If the runtime cannot watch it.
    pub fn new(accepted: Accepted) -> io::Result<Self> {
        match accepted {
            Accepted::Tcp(stream) => {
                let stream = TcpStream::from_std(stream)?;
                let _ = stream.set_nodelay(true);
                Ok(Self::Tcp(stream))
            }
            Accepted::Unix(stream) => UnixStream::from_std(stream).map(Self::Unix),
        }
    }

    /// Lets the kernel end the connection once its other end has taken nothing for this long: only the kernel sees
    /// each byte that is taken. A socket file's other end is a program of this machine, and is left alone.
    pub fn give_up_after(&self, limit: Duration) {
        if let Self::Tcp(stream) = self {
            let milliseconds = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
            let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, milliseconds);
        }
    }

    /// Waits for bytes and reads them without taking them off. Zero at the connection's end.
    ///
    /// # Errors
    ///
    /// If the connection cannot be read.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.peek_past(0, buffer).await
    }

    /// Waits until there are more than `known` bytes and reads them from the first on, without taking them off. No
    /// more than `known` where the other end will send no more.
    ///
    /// # Errors
    ///
    /// If the connection cannot be read.
    pub async fn peek_past(&self, known: usize, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let ready = match self {
                Self::Tcp(stream) => stream.ready(Interest::READABLE).await?,
                Self::Unix(stream) => stream.ready(Interest::READABLE).await?,
            };
            let look = |read: rustix::io::Result<(usize, usize)>| match read?.0 {
                // Only what comes from now on makes it readable again.
                read if 0 < read && read <= known && !ready.is_read_closed() => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                read => Ok(read),
            };
            let looked = match self {
                Self::Tcp(stream) => stream.try_io(Interest::READABLE, || {
                    look(rustix::net::recv(stream, &mut *buffer, RecvFlags::PEEK))
                }),
                Self::Unix(stream) => stream.try_io(Interest::READABLE, || {
                    look(rustix::net::recv(stream, &mut *buffer, RecvFlags::PEEK))
                }),
            };
            match looked {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                looked => return looked,
            }
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
