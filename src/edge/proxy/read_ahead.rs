//! Reads a body that is needed to decide, up to a limit.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::config::BodyPace;
use crate::gate::refusal::Refusal;

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
/// [`Refusal::BodyLate`] if it comes slower than `pace`; [`Refusal::BodyLost`] if it breaks off.
pub async fn read(mut body: Incoming, limit: usize, pace: BodyPace) -> Result<Bytes, Box<Unread>> {
    let began = Instant::now();
    let mut read = BytesMut::new();
    let refusal = loop {
        if usize::try_from(body.size_hint().lower()).is_ok_and(|left| left > limit - read.len()) {
            break Refusal::TooLarge;
        }
        // What has come so far has paid for some time; nothing at all for a whole window is too late.
        let paid = (read.len() as u64).checked_div(pace.rate).map_or(Duration::MAX, Duration::from_secs);
        let left = pace.over.saturating_add(paid).saturating_sub(began.elapsed()).min(pace.over);
        let Ok(frame) = tokio::time::timeout(left, body.frame()).await else {
            break Refusal::BodyLate;
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
