//! Bodies as they pass through: one type per direction, nothing boxed, nothing buffered.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::proxy::pool::Lease;

/// Why a body ended early. The client or upstream sees an aborted transfer, never a complete one.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The other side broke off or violated the protocol.
    #[error("the transfer broke off")]
    Transfer(#[from] hyper::Error),
    /// Nothing moved for too long.
    #[error("nothing moved for too long")]
    Idle,
}

/// What we answer with.
pub enum ResponseBody {
    /// Made here.
    Own(Option<Bytes>),
    /// One gRPC message made here, and the trailers after it.
    Grpc(Option<Bytes>, Option<Box<HeaderMap>>),
    /// Streams from an upstream.
    Upstream(Box<UpstreamBody>),
}

impl ResponseBody {
    /// A body made here.
    pub fn of(bytes: Bytes) -> Self {
        Self::Own((!bytes.is_empty()).then_some(bytes))
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Grpc(message, trailers) => {
                let frame = message.take().map(Frame::data);
                Poll::Ready(frame.or_else(|| trailers.take().map(|map| Frame::trailers(*map))).map(Ok))
            }
            Self::Upstream(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Grpc(message, trailers) => message.is_none() && trailers.is_none(),
            Self::Upstream(body) => body.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Grpc(..) => SizeHint::new(),
            Self::Upstream(body) => body.inner.size_hint(),
        }
    }
}

/// A response body that gives its connection back when it has ended well.
pub struct UpstreamBody {
    inner: Incoming,
    lease: Option<Lease>,
    idle: IdleTimer,
}

impl UpstreamBody {
    /// Wraps a body. The lease is given back at its end, or the connection is dropped.
    pub fn new(inner: Incoming, mut lease: Option<Lease>, idle: Duration) -> Self {
        if inner.is_end_stream()
            && let Some(lease) = lease.take()
        {
            lease.give_back();
        }
        Self { inner, lease, idle: IdleTimer::new(idle) }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Pending => {
                return if self.idle.is_over(cx) {
                    self.lease = None;
                    Poll::Ready(Some(Err(BodyError::Idle)))
                } else {
                    Poll::Pending
                };
            }
            Poll::Ready(frame) => frame,
        };
        self.idle.moved();
        match &frame {
            Some(Err(_)) => self.lease = None,
            // The server does not poll again once the last frame says so.
            Some(Ok(_)) if !self.inner.is_end_stream() => {}
            _ => {
                if let Some(lease) = self.lease.take() {
                    lease.give_back();
                }
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)))
    }
}

/// Notices that nothing has moved for a while. Costs nothing while data flows: armed on the first wait only.
pub struct IdleTimer {
    limit: Duration,
    last: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl IdleTimer {
    /// A timer; a zero limit never ends.
    pub fn new(limit: Duration) -> Self {
        Self { limit, last: None, sleep: None }
    }

    /// Something moved.
    pub fn moved(&mut self) {
        self.last = None;
    }

    /// Whether the limit is over; registers the task to be woken when it will be.
    pub fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        if self.limit.is_zero() {
            return false;
        }
        let deadline = *self.last.get_or_insert_with(Instant::now) + self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() < deadline && sleep.is_elapsed() {
            sleep.as_mut().reset(deadline);
        }
        loop {
            if sleep.as_mut().poll(cx).is_pending() {
                return false;
            }
            if sleep.deadline() >= deadline {
                return true;
            }
            sleep.as_mut().reset(deadline);
        }
    }
}
