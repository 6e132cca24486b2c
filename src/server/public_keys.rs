//! The keys with which upstreams check what they are told, for everybody to read.

use http::{HeaderValue, Method, Response};

use super::denied::Denied;
use super::dispatch::Dispatch;
use crate::edge::body::ResponseBody;
use crate::edge::pages::problem::Problem;

/// Where they are, below the reserved prefix.
pub(super) const PAGE: &str = "/jwks.json";

impl Dispatch {
    /// The key set as it is now. It changes once in a month, and a key is in it long before it signs.
    pub(super) fn public_keys(&self, method: &Method) -> Result<Response<ResponseBody>, Denied> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(Denied::closing(Problem::method_not_allowed("GET, HEAD")));
        }
        let json = self.shared.public_keys.json(self.shared.clock.now());
        let mut response = Response::new(ResponseBody::of(json));
        let headers = response.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
        headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
        Ok(response)
    }
}
