//! One client connection: its HTTP version, its limits, and how it ends.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

use super::certificates::CHALLENGE_PROTOCOL;
use super::connection_activity::{ConnectionActivity, InFlightRequest};
use super::connection_limits::ConnectionLimits;
use super::dispatch::Dispatch;
use super::generation::Current;
use super::head::HeadSummary;
use super::stream::ClientStream;
use super::wire::Wire;
use super::{Phase, Surface};
use crate::edge::body::{BodyError, ResponseBody};
use crate::edge::client_body::ClientBody;
use crate::edge::forwarded::Peer;
use crate::edge::local::LocalExecutor;
use crate::edge::proxy::connection_guard::ConnectionGuard;
use crate::model::metrics::Open;

/// How long a stop waits for the first request of a connection that was accepted before.
const FIRST_REQUEST: Duration = Duration::from_secs(1);
/// Longer than any head is waited for.
const FAR: Duration = Duration::from_hours(720);
const HTTP2_PREFACE: &[u8; 3] = b"PRI";
/// Most that is held of a body in one direction: a fast sender waits for a slow reader.
const READ_BUFFER: usize = 128 * 1024;
/// Most that waits in one HTTP/2 stream for its client's window.
const SEND_BUFFER: usize = 64 * 1024;
/// A connection that is told to end by HTTP/2 gets this long.
const GOODBYE: Duration = Duration::from_secs(1);
/// hyper keeps this many on the stack; another number costs an allocation per request.
const DEFAULT_HEADER_COUNT: usize = 100;

/// What a connection is served with.
pub struct ConnectionContext {
    /// The far end.
    pub peer: Peer,
    /// What is served on it.
    pub surface: Surface,
    /// What it holds while it is open.
    pub hold: ConnectionGuard,
    /// Answers its requests: each as it is when the request comes.
    pub current: Rc<Current>,
    /// Its limits, to its end.
    pub limits: ConnectionLimits,
    /// What the gateway is doing.
    pub phase: watch::Receiver<Phase>,
}

/// Serves a connection to its end.
pub async fn serve(stream: ClientStream, tls: Option<TlsAcceptor>, setting: ConnectionContext) {
    stream.give_up_after(setting.limits.write_timeout);
    let client = setting.peer.address;
    let shaken = tokio::time::timeout(setting.limits.header_timeout, async {
        match tls {
            None => {
                let http2 = speaks_http2(&stream).await?;
                Ok(AcceptedProtocol::Plain(stream, http2))
            }
            Some(acceptor) => {
                acceptor.accept(stream).await.map(|stream| AcceptedProtocol::Tls(Box::new(stream)))
            }
        }
    });
    match shaken.await {
        Ok(Ok(AcceptedProtocol::Plain(stream, http2))) => Box::pin(run(stream, http2, setting)).await,
        Ok(Ok(AcceptedProtocol::Tls(stream))) => {
            let protocol = stream.get_ref().1.alpn_protocol();
            // The handshake was all that an authority wanted (RFC 8737, 3).
            if protocol == Some(CHALLENGE_PROTOCOL) {
                return;
            }
            let http2 = protocol == Some(b"h2");
            Box::pin(run(*stream, http2, setting)).await;
        }
        Ok(Err(error)) => tracing::debug!(client.ip = %client, %error, "a connection was not set up"),
        Err(_) => tracing::debug!(client.ip = %client, "a connection was not set up in time"),
    }
}

enum AcceptedProtocol {
    Plain(ClientStream, bool),
    Tls(Box<tokio_rustls::server::TlsStream<ClientStream>>),
}

/// Whether a plain connection begins as HTTP/2 does (RFC 9113, 3.4). Takes no byte off it.
async fn speaks_http2(stream: &ClientStream) -> std::io::Result<bool> {
    let mut start = [0_u8; 3];
    let mut known = 0;
    loop {
        let read = stream.peek_past(known, &mut start).await?;
        let seen = start.get(..read).unwrap_or_default();
        if read <= known || read == HTTP2_PREFACE.len() || !HTTP2_PREFACE.starts_with(seen) {
            return Ok(seen == HTTP2_PREFACE);
        }
        known = read;
    }
}

async fn run<S>(stream: S, http2: bool, setting: ConnectionContext)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ConnectionContext { peer, surface, hold, current, limits, mut phase } = setting;
    let serving = ConnectionActivity::nothing();
    let first = Rc::new(First::default());
    let service = {
        let (serving, hold, first) = (serving.clone(), hold.clone(), Rc::clone(&first));
        service_fn(move |mut request: Request<Incoming>| {
            let served = serving.begin();
            let broken = if http2 { None } else { serving.take_broken(|| HeadSummary::of_request(&request)) };
            first.came();
            request.extensions_mut().insert(hold.clone());
            // One request, one generation: whatever comes meanwhile is for the next.
            let dispatch = current.dispatch();
            async move {
                let open = dispatch.open_request();
                let response = match (broken, surface) {
                    (Some(broken), _) => dispatch.refuse(*broken, peer),
                    (None, Surface::Public) => dispatch.answer(ClientBody::of(request), peer).await,
                    (None, Surface::Operations) => operations(&dispatch, &request),
                };
                Ok::<_, std::convert::Infallible>(track(response, served, open))
            }
        })
    };
    let ended = if http2 {
        let mut builder = http2::Builder::new(LocalExecutor);
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.http2_streams)
            // What is up to twice as large gets an answer of ours, beyond that the library's.
            .max_header_list_size(u32::try_from(limits.header_bytes.saturating_mul(2)).unwrap_or(u32::MAX))
            .initial_stream_window_size(64 * 1024)
            .initial_connection_window_size(1024 * 1024)
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(128)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            ended = &mut connection => ended,
            () = stopping(&mut phase) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = idle(&serving, &hold, limits.keep_alive) => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(GOODBYE, connection).await.unwrap_or(Ok(()))
            }
        }
    } else {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // The wire sees to it; but only with a timeout does hyper look for the next head by itself.
            .header_read_timeout(FAR)
            .max_buf_size(READ_BUFFER.max(limits.header_bytes))
            .max_header_size(limits.header_bytes);
        if limits.header_count != DEFAULT_HEADER_COUNT {
            builder.max_headers(limits.header_count);
        }
        let io = TokioIo::new(Wire::new(stream, limits.wire(), serving, hold.interim().clone()));
        let mut connection = std::pin::pin!(builder.serve_connection(io, service).with_upgrades());
        let served = async {
            tokio::select! {
                ended = &mut connection => ended,
                () = async {
                    stopping(&mut phase).await;
                    first.awaited().await;
                } => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        };
        tokio::select! {
            ended = served => ended,
            () = hold.is_cut() => Ok(()),
        }
    };
    if let Err(error) = ended {
        tracing::debug!(client.ip = %peer.address, %error, "a connection ended with an error");
    }
}

/// Waits until nothing was asked on an HTTP/2 connection for this long, or all that is open on it was ended and is
/// not read. The bytes that keep such a connection alive say nothing.
async fn idle(serving: &ConnectionActivity, hold: &ConnectionGuard, limit: Duration) {
    loop {
        let left = match serving.idle_for() {
            Some(idle) => limit.saturating_sub(idle),
            None if serving.count() <= hold.parked() => return,
            None => limit,
        };
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left).await;
    }
}

async fn stopping(phase: &mut watch::Receiver<Phase>) {
    // A sender that is gone means the same.
    let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
}

/// The first request of a connection. hyper closes one on which it has read nothing when it is told to stop,
/// though the request may be there already: a client that has just connected has sent it.
#[derive(Default)]
struct First {
    has_come: Cell<bool>,
    coming: Notify,
}

impl First {
    fn came(&self) {
        if !self.has_come.replace(true) {
            self.coming.notify_one();
        }
    }

    /// Waits for it, a little.
    async fn awaited(&self) {
        if !self.has_come.get() {
            let _ = tokio::time::timeout(FIRST_REQUEST, self.coming.notified()).await;
        }
    }
}

/// The listener for operators answers health without our prefix, and nothing else.
fn operations(dispatch: &Dispatch, request: &Request<Incoming>) -> Response<ResponseBody> {
    dispatch.operations(request.uri().path()).unwrap_or_else(|| {
        let mut response = Response::new(ResponseBody::of(Bytes::from_static(b"not found\n")));
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    })
}

/// A response whose end is noticed.
struct Tracked {
    body: ResponseBody,
    #[expect(dead_code, reason = "held for its drop")]
    served: Option<InFlightRequest>,
    #[expect(dead_code, reason = "held for its drop")]
    open: Open,
}

fn track(response: Response<ResponseBody>, served: InFlightRequest, open: Open) -> Response<Tracked> {
    let served = if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        served.for_ever();
        None
    } else {
        Some(served)
    };
    response.map(|body| Tracked { body, served, open })
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
