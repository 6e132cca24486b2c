//! One request over a connection to an upstream, and how long its answer is waited for.

use std::rc::Rc;
use std::time::Duration;

use http::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};
use tokio::time::Instant;

use super::open::Exchange;
use super::pool::{Server, UpstreamLease};
use super::request_body::RequestBody;
use super::request_rewriter::RequestRewriter;
use super::servers::Upstream;
use super::{ForwardError, single};
use crate::config::UpstreamProtocol;
use crate::model::target::RequestKind;

/// A request as the upstream's HTTP writes it; [`aim`] says at which server.
pub(super) fn outgoing(
    mut parts: Parts,
    body: RequestBody,
    upstream: &Upstream,
    sent: PathAndQuery,
) -> Result<Request<RequestBody>, ForwardError> {
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(sent);
    if upstream.protocol == UpstreamProtocol::Http2 {
        // HTTP/2 carries the host in `:authority` (RFC 9113, 8.3.1).
        let host = parts.headers.remove(HOST);
        uri.scheme = Some(if upstream.tls { Scheme::HTTPS } else { Scheme::HTTP });
        uri.authority = Some(authority(host.as_ref().map_or(b"", HeaderValue::as_bytes))?);
        parts.version = Version::HTTP_2;
    } else {
        if is_unexpected(&parts.method, &body) {
            parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        // The library leaves a body out where it is seldom sent, unless it is told.
        if !body.is_end_stream()
            && body.size_hint().exact().is_none()
            && !parts.headers.contains_key(CONTENT_LENGTH)
        {
            parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        parts.version = Version::HTTP_11;
    }
    parts.uri = Uri::from_parts(uri).map_err(|error| ForwardError::Protocol(error.into()))?;
    parts.extensions.clear();
    Ok(Request::from_parts(parts, body))
}

/// Whether a request has a body where hardly any has one. Many servers do not read it there, and take it for the next
/// request: one that was never decided. So it is the last on its connection, and the server is told.
fn is_unexpected(method: &Method, body: &RequestBody) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE) && !body.is_end_stream()
}

/// Whether no other request may follow on the connection. Servers that take HEAD for GET send a body with the answer,
/// which would be read as the next one's.
pub(super) fn is_last(method: &Method, body: &RequestBody) -> bool {
    *method == Method::HEAD || is_unexpected(method, body)
}

/// Whether an answer that has no body announces one (RFC 9110, 8.6; RFC 9112, 6.1): it may be read as the next answer.
pub(super) fn may_run_on<B>(response: &Response<B>) -> bool {
    let empty = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
    let length = response.headers().get(CONTENT_LENGTH);
    empty
        && (length.is_some_and(|length| length != "0") || response.headers().contains_key(TRANSFER_ENCODING))
}

/// Puts a server's own host into a request, where the client's is not preserved, and the addresses there.
fn aim(
    request: &mut Request<RequestBody>,
    upstream: &Upstream,
    server: &Server,
    there: Option<&RequestRewriter>,
) -> Result<(), ForwardError> {
    if upstream.preserve_host {
        // It has the client's.
    } else if upstream.protocol == UpstreamProtocol::Http1 {
        request.headers_mut().insert(HOST, server.authority.clone());
    } else {
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.authority = Some(authority(server.authority.as_bytes())?);
        *request.uri_mut() = Uri::from_parts(uri).map_err(|error| ForwardError::Protocol(error.into()))?;
    }
    if let Some(there) = there {
        let written = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host = written.or_else(|| request.uri().authority().map(Authority::as_str));
        let scheme = if upstream.tls { "https://" } else { "http://" };
        let origin = [scheme, host.unwrap_or_default()].concat();
        there.write(request.headers_mut(), &origin);
    }
    Ok(())
}

fn authority(host: &[u8]) -> Result<Authority, ForwardError> {
    Authority::try_from(host).map_err(|error| ForwardError::Protocol(error.into()))
}

/// Sends a request to a server of the upstream. One that was not begun goes out again on a new connection; one
/// that was begun only if it has no body, changes nothing, and the connection had been idle.
pub(super) async fn send(
    upstream: &Upstream,
    mut lease: UpstreamLease,
    mut request: Request<RequestBody>,
    there: Option<&RequestRewriter>,
    wait: &Wait<'_>,
) -> Result<(Response<Incoming>, UpstreamLease), ForwardError> {
    aim(&mut request, upstream, lease.server(), there)?;
    let spare = (lease.is_reused() && wait.exchange.is_sent() && is_safe(request.method()))
        .then(|| copy_head(&request));
    let failed = match wait.until(lease.send(request)).await? {
        Ok(response) => {
            lease.server().state.worked();
            return Ok((response, lease));
        }
        Err(failed) => failed,
    };
    let Some(mut failed) = failed else {
        return Err(ForwardError::Protocol("the connection is gone".into()));
    };
    let not_begun = failed.take_message();
    let Some(mut again) = not_begun.or(spare.filter(|_| has_ended(failed.error()))) else {
        return Err(broken(&lease, failed.into_error(), wait.exchange));
    };
    let mut lease = upstream.fresh_lease(lease.server()).await?;
    if !wait.exchange.is_certain() {
        // Its headers may say what is true no more.
        return Err(ForwardError::Protocol(
            "the connection is gone, and so may be the caller's right".into(),
        ));
    }
    aim(&mut again, upstream, lease.server(), there)?;
    match wait.until(lease.send(again)).await? {
        Ok(response) => {
            lease.server().state.worked();
            Ok((response, lease))
        }
        Err(Some(failed)) => Err(broken(&lease, failed.into_error(), wait.exchange)),
        Err(None) => Err(ForwardError::Protocol("the connection is gone".into())),
    }
}

/// The server broke off, unless the client did. On a connection that had been idle that is only its end.
fn broken(lease: &UpstreamLease, error: hyper::Error, exchange: &Exchange) -> ForwardError {
    if exchange.has_broken_off() {
        return ForwardError::ClientBroke;
    }
    if !lease.is_reused() && !error.is_user() {
        lease.server().state.failed(&error);
    }
    ForwardError::Protocol(error.into())
}

/// Whether the connection ended before an answer began, properly or not.
fn has_ended(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error);
    error.is_incomplete_message() || cause.and_then(|cause| cause.downcast_ref::<std::io::Error>()).is_some()
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn copy_head(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(request.body().emptied());
    request.method().clone_into(copy.method_mut());
    request.uri().clone_into(copy.uri_mut());
    request.headers().clone_into(copy.headers_mut());
    copy
}

/// How long an answer is waited for.
pub(super) struct Wait<'e> {
    pub(super) exchange: &'e Rc<Exchange>,
    pub(super) response: Duration,
    pub(super) idle: Duration,
}

impl Wait<'_> {
    /// Waits for a response head. The clock starts when the request body has gone out; while it goes out,
    /// only a client that stops sending is given up.
    pub(super) async fn until<T>(&self, head: impl Future<Output = T>) -> Result<T, ForwardError> {
        let mut head = std::pin::pin!(head);
        loop {
            let (limit, late) = if self.exchange.is_sent() {
                (self.response, ForwardError::Timeout)
            } else {
                (self.idle, ForwardError::ClientStalled)
            };
            if limit.is_zero() {
                return Ok(head.await);
            }
            let last = self.exchange.moved_at();
            tokio::select! {
                biased;
                answer = &mut head => return Ok(answer),
                () = tokio::time::sleep_until(last + limit) => {
                    if self.exchange.moved_at() == last && Instant::now() >= last + limit {
                        return Err(late);
                    }
                }
            }
        }
    }
}

/// gRPC and event streams may be silent before their first byte for as long as within them.
pub(super) fn expects_stream(headers: &HeaderMap, kind: RequestKind) -> bool {
    kind == RequestKind::Grpc
        || single(headers, &ACCEPT).is_some_and(|accept| accept.contains("text/event-stream"))
}
