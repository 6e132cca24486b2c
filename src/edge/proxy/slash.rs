//! The answer to a request for a stripped prefix alone: ask for the same with a slash at its end.
//!
//! `/app` and `/app/` are both `/` to the application, but relative addresses in its pages lead elsewhere below the first.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, LOCATION};
use http::uri::PathAndQuery;
use http::{HeaderValue, Response, StatusCode};

use crate::edge::body::ResponseBody;

/// Leads to a path of our own, which begins with a prefix of the settings, so to no other host. Not for good: settings
/// change.
pub(super) fn lead_to(target: &PathAndQuery) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::of(Bytes::new()));
    // Whatever stands in a target can stand in a header.
    if let Ok(location) = HeaderValue::from_bytes(target.as_str().as_bytes()) {
        *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        response.headers_mut().insert(LOCATION, location);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    } else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    response
}
