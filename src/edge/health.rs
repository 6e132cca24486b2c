//! Liveness and readiness, for load balancers and monitoring. Makes no call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

use super::body::ResponseBody;
use crate::service::revocation::Revocations;

/// The store counts as ready while it was read at most this long ago.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Whether the process answers.
    Alive,
    /// Whether requests can be decided, and more of them are wanted.
    Ready,
}

/// What health depends on.
#[derive(Clone, Debug)]
pub struct Health {
    /// Set once the gateway stops.
    pub draining: Arc<AtomicBool>,
    /// Whether the store answers.
    pub revocations: Revocations,
}

impl Health {
    /// Answers a probe.
    pub fn answer(&self, probe: Probe) -> Response<ResponseBody> {
        let (status, text) = match probe {
            Probe::Alive => (StatusCode::OK, "ok\n"),
            Probe::Ready if self.is_ready() => (StatusCode::OK, "ready\n"),
            Probe::Ready => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        };
        let mut response = Response::new(ResponseBody::of(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }

    fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed) && self.revocations.is_fresh(READY_WITHIN)
    }
}
