//! Reads a body that is needed to decide, up to a limit.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::gate::refusal::Refusal;

/// A body on which nothing moves for this long is given up.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// All of a body.
///
/// # Errors
///
/// [`Refusal::TooLarge`] past `limit` bytes, at once where the length is announced;
/// [`Refusal::BodyLost`] if it breaks off or stalls.
pub async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, Refusal> {
    if usize::try_from(body.size_hint().lower()).is_ok_and(|length| length > limit) {
        return Err(Refusal::TooLarge);
    }
    let mut read = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(STALLED_AFTER, body.frame()).await.map_err(|_| Refusal::BodyLost)?;
        let Some(frame) = frame else { return Ok(read.freeze()) };
        let Ok(frame) = frame else { return Err(Refusal::BodyLost) };
        if let Ok(data) = frame.into_data() {
            if read.len() + data.len() > limit {
                return Err(Refusal::TooLarge);
            }
            read.extend_from_slice(&data);
        }
    }
}
