//! Connections of one thread to one server: an own pool, no lock, no other thread's connections.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use super::ForwardError;
use super::connect::{ServerConnector, UpstreamStream};
use super::early_response::EarlyResponse;
use super::meter::Meter;
use super::request_body::RequestBody;
use super::state::ServerState;
use crate::config::UpstreamProtocol;
use crate::edge::local::LocalExecutor;
use crate::model::metrics::Open;

/// Idle connections kept to one server by one thread.
const MOST_IDLE: usize = 512;
/// An idle connection is not used after this: many servers close theirs after five seconds or more.
const IDLE_FOR: Duration = Duration::from_secs(55);

/// Most that is held of a body, or of a response head, in one direction.
const READ_BUFFER: usize = 128 * 1024;

type Http1 = http1::SendRequest<RequestBody>;
type Http2 = http2::SendRequest<RequestBody>;

/// One thread's way to one server.
pub struct Server {
    /// `host:port`, as its own `Host`.
    pub authority: HeaderValue,
    /// How it stands, as every thread sees it.
    pub state: Arc<ServerState>,
    /// Counts its connections.
    pub meter: Meter,
    protocol: UpstreamProtocol,
    connect_timeout: Duration,
    way: ServerConnector,
    idle: RefCell<Vec<Idle>>,
    http2: RefCell<Option<Http2>>,
    connecting: tokio::sync::Semaphore,
}

struct Idle {
    sender: Http1,
    since: Instant,
}

/// A connection.
enum Connection {
    /// Carries one request at a time; dropping it closes it.
    Http1(Http1),
    /// This thread's share of the one connection.
    Http2(Http2),
}

/// A connection lease for one request to a server. Dropping it closes an HTTP/1.1 connection; [`UpstreamLease::give_back`] keeps it.
pub struct UpstreamLease {
    server: Rc<Server>,
    connection: Option<Connection>,
    reused: bool,
    counted: bool,
}

impl UpstreamLease {
    /// Returns the connection, unless the request body was not `sent` whole: then what the server has read of it
    /// cannot be known.
    pub fn give_back(mut self, sent: bool) {
        if let Some(Connection::Http1(sender)) = self.connection.take()
            && sent
            && !sender.is_closed()
        {
            let mut idle = self.server.idle.borrow_mut();
            if idle.len() < MOST_IDLE {
                idle.push(Idle { sender, since: Instant::now() });
            }
        }
    }

    /// The same without the connection, which is closed: it cannot be trusted with another request.
    #[must_use]
    pub fn spoilt(mut self) -> Self {
        self.connection = None;
        self
    }

    /// The server it leads to.
    pub fn server(&self) -> &Rc<Server> {
        &self.server
    }

    /// Whether the connection is its own and served another request before.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// Counts it among the server's requests until it is dropped.
    pub fn count(&mut self) {
        if !self.counted {
            self.counted = true;
            self.server.state.begin();
        }
    }

    /// Sends a request. One that was not begun comes back inside the error.
    ///
    /// # Errors
    ///
    /// What became of the request instead; `None` if the connection is gone already.
    pub async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Option<TrySendError<Request<RequestBody>>>> {
        match &mut self.connection {
            Some(Connection::Http1(sender)) => sender.try_send_request(request).await.map_err(Some),
            Some(Connection::Http2(sender)) => sender.try_send_request(request).await.map_err(Some),
            None => Err(None),
        }
    }
}

impl Drop for UpstreamLease {
    fn drop(&mut self) {
        if self.counted {
            self.server.state.end();
        }
    }
}

impl Server {
    /// Prepares the way to a server; connects to nothing yet.
    pub fn new(
        way: ServerConnector,
        state: Arc<ServerState>,
        protocol: UpstreamProtocol,
        connect_timeout: Duration,
        meter: Meter,
    ) -> Self {
        Self {
            authority: HeaderValue::from_str(&way.authority)
                .unwrap_or_else(|_| HeaderValue::from_static("upstream")),
            state,
            meter,
            protocol,
            connect_timeout,
            way,
            idle: RefCell::default(),
            http2: RefCell::default(),
            connecting: tokio::sync::Semaphore::new(1),
        }
    }

    /// A connection: for HTTP/1.1 the one that was idle for the shortest time, or a new one; for HTTP/2 the one
    /// this thread has. `fresh` wants one that served nothing before.
    ///
    /// # Errors
    ///
    /// [`ForwardError::Connect`] if there is none and none can be made in time.
    pub async fn lease(self: &Rc<Self>, fresh: bool) -> Result<UpstreamLease, ForwardError> {
        let (connection, reused) = match self.protocol {
            UpstreamProtocol::Http1 => {
                let idle = if fresh { None } else { self.idle().await };
                let reused = idle.is_some();
                if reused {
                    self.meter.reused();
                }
                let sender = match idle {
                    Some(sender) => sender,
                    None => self.within_connect_timeout(Box::pin(self.connect_http1())).await?,
                };
                (Connection::Http1(sender), reused)
            }
            UpstreamProtocol::Http2 => (Connection::Http2(self.http2().await?), false),
        };
        Ok(UpstreamLease { server: Rc::clone(self), connection: Some(connection), reused, counted: false })
    }

    async fn idle(&self) -> Option<Http1> {
        loop {
            let popped = self.idle.borrow_mut().pop();
            let Idle { mut sender, since } = popped?;
            // It may still be finishing the exchange before; that takes no I/O.
            if !sender.is_closed() && since.elapsed() <= IDLE_FOR && sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    /// This thread's HTTP/2 connection, made anew if it has ended.
    async fn http2(&self) -> Result<Http2, ForwardError> {
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
        let connected = match tokio::time::timeout(self.connect_timeout, connect).await {
            Ok(connected) => connected,
            Err(late) => Err(ForwardError::Connect(late.into())),
        };
        self.meter.connected(connected.is_ok());
        connected
    }

    async fn connect_http1(&self) -> Result<Http1, ForwardError> {
        let stream = self.way.connect().await.map_err(connect_error)?;
        handshake_http1(TokioIo::new(EarlyResponse::new(stream)), self.meter.open_connection()).await
    }

    async fn connect_http2(&self) -> Result<Http2, ForwardError> {
        let stream = self.way.connect().await.map_err(connect_error)?;
        handshake_http2(TokioIo::new(stream), self.meter.open_connection()).await
    }
}

fn connect_error(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ForwardError {
    ForwardError::Connect(error.into())
}

async fn handshake_http1(
    io: TokioIo<EarlyResponse<UpstreamStream>>,
    open: Open,
) -> Result<Http1, ForwardError> {
    let (sender, connection) = http1::Builder::new()
        .max_headers(256)
        .max_buf_size(READ_BUFFER)
        .handshake(io)
        .await
        .map_err(connect_error)?;
    tokio::task::spawn_local(async move {
        let _open = open;
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(error = %error, "an upstream connection ended with an error");
        }
    });
    Ok(sender)
}

async fn handshake_http2(io: TokioIo<UpstreamStream>, open: Open) -> Result<Http2, ForwardError> {
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
        let _open = open;
        if let Err(error) = connection.await {
            tracing::debug!(error = %error, "an upstream connection ended with an error");
        }
    });
    Ok(sender)
}
