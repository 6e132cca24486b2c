//! The request body on its way to an upstream: streams untouched, and tells how far it has come.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::ForwardError;
use super::hop_by_hop;
use super::open::{Exchange, Side};
use crate::edge::body::BodyError;
use crate::edge::client_body::ClientBody;

/// A request body that is still to be sent.
pub struct Unsent {
    /// What was read to decide, to be sent before the rest.
    read_ahead: Option<Bytes>,
    rest: Option<ClientBody>,
}

impl Unsent {
    /// All of a body.
    pub fn all(rest: ClientBody) -> Self {
        Self { read_ahead: None, rest: (!rest.is_end_stream()).then_some(rest) }
    }

    /// A body that has been read.
    pub fn read(bytes: Bytes) -> Self {
        Self { read_ahead: (!bytes.is_empty()).then_some(bytes), rest: None }
    }

    /// A body of which a part has been read.
    pub fn partly_read(bytes: Bytes, rest: ClientBody) -> Self {
        Self { rest: Self::all(rest).rest, ..Self::read(bytes) }
    }

    /// Waits until its first bytes have come, or its end: whether there is a body at all where none is announced. HTTP/2
    /// may say only after the head that there is none.
    ///
    /// # Errors
    ///
    /// [`ForwardError`] if none of it comes within `limit`, or it cannot be read.
    pub async fn ascertained(mut self, limit: Duration) -> Result<Self, ForwardError> {
        if self.read_ahead.is_some() {
            return Ok(self);
        }
        let Some(mut rest) = self.rest.take() else { return Ok(self) };
        loop {
            let Ok(frame) = tokio::time::timeout(limit, rest.frame()).await else {
                return Err(ForwardError::ClientStalled);
            };
            match frame {
                None => return Ok(self),
                Some(Err(_)) => return Err(ForwardError::ClientBroke),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(Self::partly_read(data, rest)),
                    // Trailers behind nothing say nothing.
                    _ => {}
                },
            }
        }
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.rest.is_none() && self.read_ahead.is_none()
    }
}

/// A request body.
pub struct RequestBody {
    unsent: Unsent,
    exchange: Rc<Exchange>,
}

impl RequestBody {
    /// The body of an exchange.
    pub fn new(unsent: Unsent, exchange: Rc<Exchange>) -> Self {
        Self { unsent, exchange }
    }

    /// The same exchange without a body.
    #[must_use]
    pub fn emptied(&self) -> Self {
        let nothing = Unsent { read_ahead: None, rest: None };
        Self::new(nothing, Rc::clone(&self.exchange))
    }

    /// The exchange it belongs to.
    pub fn exchange(&self) -> &Rc<Exchange> {
        &self.exchange
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { unsent, exchange } = &mut *self;
        if exchange.end().is_some() {
            return Poll::Ready(Some(Err(BodyError::Ended)));
        }
        if let Some(bytes) = unsent.read_ahead.take() {
            exchange.glance_at(&bytes);
            exchange.pace().received(bytes.len());
            exchange.moved(unsent.rest.is_none());
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let Some(rest) = &mut unsent.rest else {
            exchange.moved(true);
            return Poll::Ready(None);
        };
        let Poll::Ready(mut frame) = Pin::new(&mut *rest).poll_frame(cx) else {
            let _ = exchange.poll_end(Side::Upload, cx);
            exchange.pace().awaits_more();
            return Poll::Pending;
        };
        let done = rest.is_end_stream() || frame.is_none();
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        exchange.pace().received(data.map_or(0, Bytes::len));
        exchange.glance_at(data.map_or(&[], Bytes::as_ref));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            hop_by_hop::strip_trailers(trailers, exchange.gate().managed());
        }
        if matches!(frame, Some(Err(_))) {
            exchange.broke_off();
        }
        exchange.moved(done && !exchange.has_broken_off());
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.unsent.read_ahead.is_none() && self.unsent.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.unsent.read_ahead.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let Some(rest) = &self.unsent.rest else { return SizeHint::with_exact(ahead) };
        let hint = rest.size_hint();
        let mut sum = SizeHint::new();
        sum.set_lower(hint.lower().saturating_add(ahead));
        if let Some(upper) = hint.upper() {
            sum.set_upper(upper.saturating_add(ahead));
        }
        sum
    }
}
