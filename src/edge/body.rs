//! Bodies as they pass through: one type per direction, nothing boxed, nothing buffered.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::proxy::hop_by_hop;
use super::proxy::open::{Exchange, Side, Source};

/// A frame of HTTP/2 has room for this by default (RFC 9113, 6.5.2).
const PIECE: usize = 16 * 1024;

/// Why a body ended early. The client or upstream sees an aborted transfer, never a complete one.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The other side broke off or violated the protocol.
    #[error("the transfer broke off")]
    Transfer(#[from] hyper::Error),
    /// Nothing moved for too long.
    #[error("nothing moved for too long")]
    Idle,
    /// What allowed it holds no more.
    #[error("what allowed the transfer holds no more")]
    Ended,
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
            Self::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Grpc(..) => SizeHint::new(),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}

/// A response body that gives its connection back when it has ended well.
pub struct UpstreamBody {
    exchange: Rc<Exchange>,
    idle: IdleTimer,
    /// What has come and is still to be passed on, in pieces.
    rest: Bytes,
    said: bool,
}

impl UpstreamBody {
    /// Wraps the body of an exchange's answer. The lease is given back at its end, or the connection is dropped.
    pub fn new(exchange: Rc<Exchange>, mut source: Source, idle: Duration) -> Self {
        if source.body.is_end_stream()
            && let Some(lease) = source.lease.take()
        {
            lease.give_back(exchange.is_sent());
        }
        exchange.set_answered(Some(source));
        Self { exchange, idle: IdleTimer::new(idle), rest: Bytes::new(), said: false }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.exchange.pace().taken();
        let mut source = self.exchange.source().borrow_mut();
        let Some(Source { body, lease }) = source.as_mut() else {
            return Poll::Ready(match self.exchange.last_words() {
                Some(_) if self.said => None,
                Some(words) => {
                    self.said = true;
                    Some(Ok(Frame::trailers(words)))
                }
                None => Some(Err(BodyError::Ended)),
            });
        };
        if !self.rest.is_empty() {
            self.exchange.came();
            return Poll::Ready(Some(Ok(Frame::data(first_piece(&mut self.rest)))));
        }
        let frame = match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Pending => {
                return if self.idle.is_over(cx) {
                    *lease = None;
                    Poll::Ready(Some(Err(BodyError::Idle)))
                } else {
                    // Where it was ended, the source is gone.
                    let _ = self.exchange.poll_end(Side::Answer, cx);
                    Poll::Pending
                };
            }
            Poll::Ready(frame) => frame,
        };
        self.idle.moved();
        self.exchange.came();
        match &frame {
            Some(Err(_)) => *lease = None,
            // The server does not poll again once the last frame says so.
            Some(Ok(_)) if !body.is_end_stream() => {}
            _ => {
                if let Some(lease) = lease.take() {
                    lease.give_back(self.exchange.is_sent());
                }
            }
        }
        let Some(frame) = frame else { return Poll::Ready(None) };
        let mut frame = frame?;
        if let Some(trailers) = frame.trailers_mut() {
            hop_by_hop::strip_answer_trailers(trailers, self.exchange.gate().managed());
        }
        if !self.exchange.is_http2() {
            return Poll::Ready(Some(Ok(frame)));
        }
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(mut data) => {
                let piece = first_piece(&mut data);
                self.rest = data;
                Frame::data(piece)
            }
            Err(other) => other,
        })))
    }

    fn is_end_stream(&self) -> bool {
        match &*self.exchange.source().borrow() {
            Some(source) => self.rest.is_empty() && source.body.is_end_stream(),
            None => self.said,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.exchange.source().borrow().as_ref().map_or_else(SizeHint::new, |source| source.body.size_hint())
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        // The request body may still be on its way, and hold the exchange.
        self.exchange.let_go();
    }
}

/// What HTTP/2 is given at once, so that a slow reader is seen to take one piece after the other.
fn first_piece(data: &mut Bytes) -> Bytes {
    data.split_to(data.len().min(PIECE))
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
