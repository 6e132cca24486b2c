//! Whether a provider is down: it is then called now and then only.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::service::provider_sessions::retry_after;

/// Whether a provider is down, as far as refreshes have shown.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<Failing>);

#[derive(Clone, Copy, Debug, Default)]
struct Failing {
    /// How many calls failed one after the other.
    failures: u32,
    /// Until then it is not called.
    until: Option<Instant>,
}

impl Outage {
    /// How many calls failed, while it is not to be called.
    pub(super) fn is_waited_for(&self) -> Option<u32> {
        let failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failing.until.filter(|until| Instant::now() < *until).map(|_| failing.failures)
    }

    /// Notes a call that failed; how many these are. Calls that were under way at the same time are one.
    pub(super) fn failed(&self) -> u32 {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if failing.until.is_none_or(|until| until <= now) {
            failing.failures = failing.failures.saturating_add(1);
            failing.until = Some(now + retry_after(failing.failures));
        }
        failing.failures
    }

    /// Notes that it answered.
    pub(super) fn answered(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Failing::default();
    }
}
