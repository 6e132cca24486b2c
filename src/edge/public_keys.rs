//! Serves the public keys (JWK Set) with which upstreams verify our tokens.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};

use super::body::ResponseBody;
use crate::gate::public_keys::PublicKeys;
use crate::model::time::Clock;

/// The key set as it is now. It changes once in a month, and a key is in it long before it signs.
pub fn answer(keys: &PublicKeys, clock: &Arc<dyn Clock>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::of(keys.json(clock.now())));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}
