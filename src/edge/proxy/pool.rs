//! Connections of one thread to one upstream: an own pool, no lock, no other thread's connections.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use http::Request;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use url::Url;

use super::ForwardError;
use super::request_body::RequestBody;
use crate::config::{Timeouts, UpstreamAddress, UpstreamConfig, UpstreamProtocol};
use crate::edge::local::LocalExecutor;

/// Idle connections kept to one upstream by one thread.
const MOST_IDLE: usize = 512;
/// An idle connection is not used after this: many servers close theirs after five seconds or more.
const IDLE_FOR: Duration = Duration::from_secs(55);

/// Most that is held of a body, or of a response head, in one direction.
const READ_BUFFER: usize = 128 * 1024;

type Http1 = http1::SendRequest<RequestBody>;
type Http2 = http2::SendRequest<RequestBody>;

/// One thread's way to one upstream.
pub struct Upstream {
    /// What logs say.
    pub name: String,
    /// Which HTTP it speaks.
    pub protocol: UpstreamProtocol,
    /// Timeouts towards it.
    pub timeouts: Timeouts,
    /// Whether it sees the `Host` the client sent.
    pub preserve_host: bool,
    /// Whether TLS is spoken to it.
    pub tls: bool,
    /// `host:port`, as its own `Host`.
    pub authority: http::HeaderValue,
    /// Where it is, as an address.
    pub places: Vec<Url>,
    host: String,
    port: u16,
    connector: Option<(TlsConnector, ServerName<'static>)>,
    idle: RefCell<Vec<Idle>>,
    http2: RefCell<Option<Http2>>,
    connecting: tokio::sync::Semaphore,
}

struct Idle {
    sender: Http1,
    since: Instant,
}

/// An HTTP/1.1 connection in use. Dropping it closes the connection; [`Lease::give_back`] keeps it.
pub struct Lease {
    upstream: Rc<Upstream>,
    sender: Http1,
    reused: bool,
}

impl Lease {
    /// Returns the connection, unless the request body was not `sent` whole: then what the upstream has read
    /// of it cannot be known.
    pub fn give_back(self, sent: bool) {
        if sent && !self.sender.is_closed() {
            let mut idle = self.upstream.idle.borrow_mut();
            if idle.len() < MOST_IDLE {
                idle.push(Idle { sender: self.sender, since: Instant::now() });
            }
        }
    }

    /// Whether it served another request before.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// Sends a request. One that was not begun comes back inside the error.
    pub fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<
        Output = Result<
            http::Response<hyper::body::Incoming>,
            hyper::client::conn::TrySendError<Request<RequestBody>>,
        >,
    > {
        self.sender.try_send_request(request)
    }
}

impl Upstream {
    /// Prepares the way to an upstream; connects to nothing yet.
    ///
    /// `connector` is there exactly if TLS is spoken.
    pub fn new(config: &UpstreamConfig, connector: Option<(TlsConnector, ServerName<'static>)>) -> Self {
        let (host, port, tls) = match &config.address {
            UpstreamAddress::Tcp { host, port, tls } => (host.clone(), *port, *tls),
            // The composition root has replaced it by the address the sample listens on.
            UpstreamAddress::Sample => (String::from("localhost"), 0, false),
        };
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let authority = match (tls, port) {
            (true, 443) | (false, 80) => bracketed,
            _ => format!("{bracketed}:{port}"),
        };
        let scheme = if tls { "https" } else { "http" };
        Self {
            name: config.name.clone(),
            protocol: config.protocol,
            timeouts: config.timeouts,
            preserve_host: config.preserve_host,
            tls,
            authority: http::HeaderValue::from_str(&authority)
                .unwrap_or_else(|_| http::HeaderValue::from_static("upstream")),
            places: Url::parse(&format!("{scheme}://{authority}")).into_iter().collect(),
            host,
            port,
            connector,
            idle: RefCell::default(),
            http2: RefCell::default(),
            connecting: tokio::sync::Semaphore::new(1),
        }
    }

    /// An HTTP/1.1 connection: the one that was idle for the shortest time, or a new one.
    ///
    /// # Errors
    ///
    /// [`ForwardError::Connect`] if there is none and none can be made in time.
    pub async fn lease(self: &Rc<Self>) -> Result<Lease, ForwardError> {
        loop {
            let popped = self.idle.borrow_mut().pop();
            let Some(Idle { mut sender, since }) = popped else { break };
            if sender.is_closed() || since.elapsed() > IDLE_FOR {
                continue;
            }
            // It may still be finishing the exchange before; that takes no I/O.
            if sender.ready().await.is_ok() {
                return Ok(Lease { upstream: Rc::clone(self), sender, reused: true });
            }
        }
        self.fresh_lease().await
    }

    /// An HTTP/1.1 connection that served nothing before.
    ///
    /// # Errors
    ///
    /// [`ForwardError::Connect`] if none can be made in time.
    pub async fn fresh_lease(self: &Rc<Self>) -> Result<Lease, ForwardError> {
        let sender = self.within_connect_timeout(Box::pin(self.connect_http1())).await?;
        Ok(Lease { upstream: Rc::clone(self), sender, reused: false })
    }

    /// This thread's HTTP/2 connection, made anew if it has ended.
    ///
    /// # Errors
    ///
    /// [`ForwardError::Connect`] if there is none and none can be made in time.
    pub async fn http2(&self) -> Result<Http2, ForwardError> {
        let open = |slot: &RefCell<Option<Http2>>| slot.borrow().clone().filter(|sender| !sender.is_closed());
        if let Some(sender) = open(&self.http2) {
            return Ok(sender);
        }
        // One connects, the others wait for it.
        let _turn = self.connecting.acquire().await;
        if let Some(sender) = open(&self.http2) {
            return Ok(sender);
        }
        let sender = self.within_connect_timeout(Box::pin(self.connect_http2())).await?;
        *self.http2.borrow_mut() = Some(sender.clone());
        Ok(sender)
    }

    async fn within_connect_timeout<T>(
        &self,
        connect: impl Future<Output = Result<T, ForwardError>>,
    ) -> Result<T, ForwardError> {
        match tokio::time::timeout(self.timeouts.connect, connect).await {
            Ok(connected) => connected,
            Err(late) => Err(ForwardError::Connect(late.into())),
        }
    }

    async fn connect_tcp(&self) -> Result<TcpStream, ForwardError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(connect_error)?;
        stream.set_nodelay(true).map_err(connect_error)?;
        Ok(stream)
    }

    async fn connect_http1(&self) -> Result<Http1, ForwardError> {
        let stream = self.connect_tcp().await?;
        match &self.connector {
            None => handshake_http1(TokioIo::new(stream)).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await.map_err(connect_error)?;
                handshake_http1(TokioIo::new(stream)).await
            }
        }
    }

    async fn connect_http2(&self) -> Result<Http2, ForwardError> {
        let stream = self.connect_tcp().await?;
        match &self.connector {
            None => handshake_http2(TokioIo::new(stream)).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await.map_err(connect_error)?;
                handshake_http2(TokioIo::new(stream)).await
            }
        }
    }
}

fn connect_error(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ForwardError {
    ForwardError::Connect(error.into())
}

async fn handshake_http1<I>(io: I) -> Result<Http1, ForwardError>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_headers(256)
        .max_buf_size(READ_BUFFER)
        .handshake(io)
        .await
        .map_err(connect_error)?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(error = %error, "an upstream connection ended with an error");
        }
    });
    Ok(sender)
}

async fn handshake_http2<I>(io: I) -> Result<Http2, ForwardError>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let (sender, connection) = http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_header_list_size(64 * 1024)
        .handshake(io)
        .await
        .map_err(connect_error)?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %error, "an upstream connection ended with an error");
        }
    });
    Ok(sender)
}
