//! What lets a script of a page that we trust read a refusal of ours (Fetch, 3.2.5), to learn that it must sign in.
//!
//! What an application answers is the application's to share.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, VARY,
};
use http::{HeaderMap, HeaderValue};

use crate::gate::origins::Origins;

/// The origin whose page may read a refusal of this request, if there is one.
pub fn reader(request: &HeaderMap, origins: &Origins) -> Option<HeaderValue> {
    origins.reader(request)
}

/// Lets it read a refusal.
pub fn let_read(refusal: &mut HeaderMap, reader: Option<&HeaderValue>) {
    let Some(reader) = reader else { return };
    refusal.insert(ACCESS_CONTROL_ALLOW_ORIGIN, reader.clone());
    refusal.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    refusal.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("WWW-Authenticate, Retry-After"));
    refusal.append(VARY, HeaderValue::from_static("Origin"));
}
