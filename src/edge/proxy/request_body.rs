//! The request body on its way to an upstream: streams untouched, and tells how far it has come.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::hop_by_hop;

/// How far a request body has come; shared with whoever waits for the answer.
#[derive(Clone, Debug)]
pub struct Progress(Rc<(Cell<Instant>, Cell<bool>)>);

impl Progress {
    /// A body that has not begun.
    pub fn new(done: bool) -> Self {
        Self(Rc::new((Cell::new(Instant::now()), Cell::new(done))))
    }

    /// When the last frame went out.
    pub fn last(&self) -> Instant {
        self.0.0.get()
    }

    /// Whether all of it went out.
    pub fn is_done(&self) -> bool {
        self.0.1.get()
    }

    fn moved(&self, done: bool) {
        self.0.0.set(Instant::now());
        if done {
            self.0.1.set(true);
        }
    }
}

/// A request body.
pub struct RequestBody {
    /// What was read to decide, still to be sent before the rest.
    read_ahead: Option<Bytes>,
    rest: Option<Incoming>,
    progress: Progress,
}

impl RequestBody {
    /// All of a body.
    pub fn new(rest: Incoming) -> Self {
        Self::after(None, Some(rest))
    }

    /// A body of which a part has been read.
    pub fn after(read_ahead: Option<Bytes>, rest: Option<Incoming>) -> Self {
        let rest = rest.filter(|rest| !rest.is_end_stream());
        let read_ahead = read_ahead.filter(|bytes| !bytes.is_empty());
        let progress = Progress::new(rest.is_none() && read_ahead.is_none());
        Self { read_ahead, rest, progress }
    }

    /// No body.
    pub fn empty() -> Self {
        Self::after(None, None)
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(bytes) = self.read_ahead.take() {
            let done = self.rest.is_none();
            self.progress.moved(done);
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let Some(rest) = &mut self.rest else {
            self.progress.moved(true);
            return Poll::Ready(None);
        };
        let mut frame = std::task::ready!(Pin::new(&mut *rest).poll_frame(cx));
        let done = rest.is_end_stream() || frame.is_none();
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            hop_by_hop::strip_trailers(trailers);
        }
        self.progress.moved(done && !matches!(frame, Some(Err(_))));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.read_ahead.is_none() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.read_ahead.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let Some(rest) = &self.rest else { return SizeHint::with_exact(ahead) };
        let hint = rest.size_hint();
        let mut sum = SizeHint::new();
        sum.set_lower(hint.lower().saturating_add(ahead));
        if let Some(upper) = hint.upper() {
            sum.set_upper(upper.saturating_add(ahead));
        }
        sum
    }
}
