//! Reads a body that is needed to decide, up to a limit.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::gate::refusal::Refusal;

/// A body on which nothing moves for this long is given up.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// A body that was not read to its end.
pub struct Unread {
    /// Why.
    pub refusal: Refusal,
    /// What was read of it.
    pub read: Bytes,
    /// What was not.
    pub rest: Incoming,
}

/// All of a body.
///
/// # Errors
///
/// [`Unread`]: [`Refusal::TooLarge`] past `limit` bytes, at once where the length is announced;
/// [`Refusal::BodyLost`] if it breaks off or stalls.
pub async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, Box<Unread>> {
    let mut read = BytesMut::new();
    let refusal = loop {
        if usize::try_from(body.size_hint().lower()).is_ok_and(|left| left > limit - read.len()) {
            break Refusal::TooLarge;
        }
        let Ok(frame) = tokio::time::timeout(STALLED_AFTER, body.frame()).await else {
            break Refusal::BodyLost;
        };
        let Some(frame) = frame else { return Ok(read.freeze()) };
        let Ok(frame) = frame else { break Refusal::BodyLost };
        if let Ok(data) = frame.into_data() {
            read.extend_from_slice(&data);
            if read.len() > limit {
                break Refusal::TooLarge;
            }
        }
    };
    Err(Box::new(Unread { refusal, read: read.freeze(), rest: body }))
}
