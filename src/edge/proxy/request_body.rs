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
use crate::edge::body::BodyError;
use crate::edge::client_body::ClientBody;
use crate::gate::identity_headers::Managed;

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

/// The exchange of a request body, as far as it is told how that goes on.
pub trait Upload {
    /// Whether nothing more may pass.
    fn is_over(&self) -> bool;

    /// These bytes are on their way to the upstream.
    fn passes(&self, data: &[u8]);

    /// What came so far went out; `done` if that was all.
    fn went_out(&self, done: bool);

    /// The upstream would take more than there is. The task is woken when the exchange is ended.
    fn waits(&self, cx: &mut Context<'_>);

    /// The client's body broke off, or turned out to be none: it is never done.
    fn broke_off(&self);

    /// Names that are only the gateway's to say.
    fn managed(&self) -> &Managed;
}

/// A request body.
pub struct RequestBody {
    unsent: Unsent,
    exchange: Rc<dyn Upload>,
}

impl RequestBody {
    /// The body of an exchange.
    pub fn new(unsent: Unsent, exchange: Rc<dyn Upload>) -> Self {
        Self { unsent, exchange }
    }

    /// The same exchange without a body.
    #[must_use]
    pub fn emptied(&self) -> Self {
        let nothing = Unsent { read_ahead: None, rest: None };
        Self::new(nothing, Rc::clone(&self.exchange))
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
        if exchange.is_over() {
            return Poll::Ready(Some(Err(BodyError::Ended)));
        }
        if let Some(bytes) = unsent.read_ahead.take() {
            exchange.passes(&bytes);
            exchange.went_out(unsent.rest.is_none());
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let Some(rest) = &mut unsent.rest else {
            exchange.went_out(true);
            return Poll::Ready(None);
        };
        let Poll::Ready(mut frame) = Pin::new(&mut *rest).poll_frame(cx) else {
            exchange.waits(cx);
            return Poll::Pending;
        };
        let done = rest.is_end_stream() || frame.is_none();
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        exchange.passes(data.map_or(&[], Bytes::as_ref));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            hop_by_hop::strip_trailers(trailers, exchange.managed());
        }
        if matches!(frame, Some(Err(_))) {
            exchange.broke_off();
        }
        exchange.went_out(done);
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
