//! Response bodies: made by the gateway, or streamed from an upstream.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

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
    /// Passed on as it comes.
    Passed(Box<dyn HttpBody<Data = Bytes, Error = BodyError> + Unpin>),
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
            Self::Passed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Grpc(message, trailers) => message.is_none() && trailers.is_none(),
            Self::Passed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Grpc(..) => SizeHint::new(),
            Self::Passed(body) => body.size_hint(),
        }
    }
}
