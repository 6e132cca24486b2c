//! One request over a connection to an upstream, and how long its answer is waited for.

use std::rc::Rc;
use std::time::Duration;

use http::header::{ACCEPT, HOST};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::open::Exchange;
use super::pool::{Lease, Upstream};
use super::request_body::RequestBody;
use super::{ForwardError, single};
use crate::model::target::RequestKind;

pub(super) fn http1_request(
    mut parts: Parts,
    body: RequestBody,
    upstream: &Upstream,
    sent: PathAndQuery,
) -> Request<RequestBody> {
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(sent);
    parts.uri = Uri::from_parts(uri).unwrap_or_default();
    parts.version = Version::HTTP_11;
    if !upstream.preserve_host {
        parts.headers.insert(HOST, upstream.authority.clone());
    }
    parts.extensions.clear();
    Request::from_parts(parts, body)
}

/// HTTP/2 carries the host in `:authority` (RFC 9113, 8.3.1).
pub(super) fn http2_request(
    mut parts: Parts,
    body: RequestBody,
    upstream: &Upstream,
    sent: PathAndQuery,
) -> Result<Request<RequestBody>, ForwardError> {
    let host = parts.headers.remove(HOST).filter(|_| upstream.preserve_host);
    let host = host.as_ref().unwrap_or(&upstream.authority);
    let wrong = |error: http::Error| ForwardError::Protocol(error.into());
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(if upstream.tls { Scheme::HTTPS } else { Scheme::HTTP });
    uri.authority = Some(Authority::try_from(host.as_bytes()).map_err(|error| wrong(error.into()))?);
    uri.path_and_query = Some(sent);
    parts.uri = Uri::from_parts(uri).map_err(|error| wrong(error.into()))?;
    parts.version = Version::HTTP_2;
    parts.extensions.clear();
    Ok(Request::from_parts(parts, body))
}

/// Sends over a pooled connection. A request that was not begun goes out again on a new one; one that was
/// begun only if it has no body, changes nothing, and the connection had been idle.
pub(super) async fn send_http1(
    upstream: &Rc<Upstream>,
    request: Request<RequestBody>,
    wait: &Wait<'_>,
) -> Result<(Response<Incoming>, Lease), ForwardError> {
    let mut lease = upstream.lease().await?;
    let spare = (lease.is_reused() && wait.exchange.is_sent() && is_safe(request.method()))
        .then(|| copy_head(&request));
    let mut failed = match wait.until(lease.send(request)).await? {
        Ok(response) => return Ok((response, lease)),
        Err(failed) => failed,
    };
    let Some(again) = failed.take_message().or(spare.filter(|_| failed.error().is_incomplete_message()))
    else {
        return Err(ForwardError::Protocol(failed.into_error().into()));
    };
    let mut lease = upstream.fresh_lease().await?;
    match wait.until(lease.send(again)).await? {
        Ok(response) => Ok((response, lease)),
        Err(failed) => Err(ForwardError::Protocol(failed.into_error().into())),
    }
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
    pub(super) exchange: &'e Exchange,
    pub(super) response: Duration,
    pub(super) idle: Duration,
    pub(super) unlimited: bool,
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
            if limit.is_zero() || (self.unlimited && self.exchange.is_sent()) {
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

/// gRPC and event streams may be silent for long before their first byte.
pub(super) fn expects_stream(headers: &HeaderMap, kind: RequestKind) -> bool {
    kind == RequestKind::Grpc
        || single(headers, &ACCEPT).is_some_and(|accept| accept.contains("text/event-stream"))
}
