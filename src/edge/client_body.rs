//! Request bodies as they come from a client.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::Instant;

/// What a client still sends, though it was answered for good, is thrown away for so long, ...
pub const LINGER: Duration = Duration::from_secs(30);
/// ... unless it is silent for this long, ...
pub const LINGER_SILENT: Duration = Duration::from_secs(2);
/// ... up to so many bytes.
pub const LINGER_BYTES: u64 = 64 * 1024 * 1024;

/// A body. By HTTP/2, what is not wanted of it is still read for a while: the library would reset the stream behind the
/// answer (RFC 9113, 8.1), and clients that are sending forget the answer then. By HTTP/1.1 that is done where the
/// connection ends.
#[derive(Debug)]
pub struct ClientBody {
    /// There until it is dropped.
    body: Option<Incoming>,
    http2: bool,
}

impl ClientBody {
    /// The request with its body so.
    pub fn of(request: Request<Incoming>) -> Request<Self> {
        let http2 = request.version() == Version::HTTP_2;
        request.map(|body| Self { body: Some(body), http2 })
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && self.http2
            && !body.is_end_stream()
        {
            tokio::task::spawn_local(throw_away(body));
        }
    }
}

/// Ends early where less than this comes within [`LINGER_SILENT`]: who trickles is not waited for.
const LEAST: u64 = 1024;

async fn throw_away(mut body: Incoming) {
    let until = Instant::now() + LINGER;
    let (mut left, mut before) = (LINGER_BYTES, LINGER_BYTES);
    let mut window = Instant::now() + LINGER_SILENT;
    while left > 0 && Instant::now() < until {
        match tokio::time::timeout_at(window.min(until), body.frame()).await {
            Ok(Some(Ok(frame))) => left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len) as u64),
            Ok(_) => return,
            Err(_) if before - left < LEAST => return,
            Err(_) => (before, window) = (left, Instant::now() + LINGER_SILENT),
        }
    }
}
