//! The answer of an upstream on its way to the client: nothing buffered, and its connection is given back at its end.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::hop_by_hop;
use super::idle_timer::IdleTimer;
use super::open::{Exchange, ResponseSource, Side};
use crate::edge::body::BodyError;

/// A frame of HTTP/2 has room for this by default (RFC 9113, 6.5.2).
const PIECE: usize = 16 * 1024;

/// A response body that gives its connection back when it has ended well.
pub(super) struct UpstreamBody {
    exchange: Rc<Exchange>,
    idle: IdleTimer,
    /// What has come and is still to be passed on, in pieces.
    rest: Bytes,
    said: bool,
}

impl UpstreamBody {
    /// Wraps the body of an exchange's answer. The lease is given back at its end, or the connection is dropped.
    pub(super) fn new(exchange: Rc<Exchange>, mut source: ResponseSource, idle: Duration) -> Self {
        if source.body.is_end_stream()
            && let Some(lease) = source.lease.take()
        {
            lease.give_back(exchange.is_sent());
        }
        exchange.set_answered(Some(source));
        Self { exchange, idle: IdleTimer::new(idle), rest: Bytes::new(), said: false }
    }

    fn next_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.exchange.pace().taken();
        let mut source = self.exchange.source().borrow_mut();
        let Some(ResponseSource { body, lease }) = source.as_mut() else {
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
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.get_mut().next_frame(cx)
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
