//! A new connection to a server of an upstream: by TCP or a Unix socket, with TLS where it is spoken.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::tls;
use crate::config::{UpstreamAddress, UpstreamConfig};
use crate::egress::tls::TlsError;

/// How one server is reached.
#[derive(Clone)]
pub struct ServerConnector {
    /// `host:port` as the server itself would write it; `localhost` behind a Unix socket.
    pub authority: String,
    socket: ServerSocket,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

#[derive(Clone)]
enum ServerSocket {
    Tcp(String, u16),
    Unix(PathBuf),
}

/// The ways to every server of an upstream, in the order of the configuration; connects to none yet.
///
/// `connector` is what [`tls::connector`] gave for it.
///
/// # Errors
///
/// [`TlsError`] if the name of a server cannot be checked.
pub(super) fn ways(
    upstream: &UpstreamConfig,
    connector: Option<&TlsConnector>,
) -> Result<Vec<ServerConnector>, TlsError> {
    let way = |address: &UpstreamAddress| {
        let (host, port, secure) = match address {
            UpstreamAddress::Tcp { host, port, tls } => (host.as_str(), *port, *tls),
            UpstreamAddress::Unix { path } => {
                return Ok(ServerConnector {
                    authority: "localhost".into(),
                    socket: ServerSocket::Unix(path.clone()),
                    tls: None,
                });
            }
            // The composition root has replaced it by the address the sample listens on.
            UpstreamAddress::Sample => ("localhost", 0, false),
        };
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Ok(ServerConnector {
            authority: match (secure, port) {
                (true, 443) | (false, 80) => bracketed,
                _ => format!("{bracketed}:{port}"),
            },
            socket: ServerSocket::Tcp(host.to_owned(), port),
            tls: match connector.filter(|_| secure) {
                Some(connector) => Some((connector.clone(), tls::server_name(upstream, host)?)),
                None => None,
            },
        })
    };
    upstream.servers.iter().map(way).collect()
}

impl ServerConnector {
    /// Whether TLS is spoken.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Connects. Takes as long as it takes; the caller bounds it.
    ///
    /// # Errors
    ///
    /// What the operating system or TLS says.
    pub async fn connect(&self) -> io::Result<UpstreamStream> {
        let (host, port) = match &self.socket {
            ServerSocket::Unix(path) => return Ok(UpstreamStream::Unix(UnixStream::connect(path).await?)),
            ServerSocket::Tcp(host, port) => (host.as_str(), *port),
        };
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(UpstreamStream::Tcp(stream)),
            Some((connector, name)) => {
                Ok(UpstreamStream::Tls(Box::new(connector.connect(name.clone(), stream).await?)))
            }
        }
    }
}

/// A connection, whatever it runs over.
pub enum UpstreamStream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// A Unix socket.
    Unix(UnixStream),
}

/// The same call on whichever stream it is.
macro_rules! on_stream {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Self::Tls(stream) => {
                let $stream = Pin::new(stream.as_mut());
                $call
            }
            Self::Unix(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
}

impl AsyncRead for UpstreamStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        on_stream!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_shutdown(cx))
    }
}
