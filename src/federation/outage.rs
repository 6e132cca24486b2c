//! Whether a provider is down: it is then called now and then only.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::model::time::{Clock, Timestamp};
use crate::service::provider_sessions::retry_after;

/// Whether a provider is down, as far as refreshes have shown.
#[derive(Debug)]
pub(super) struct Outage {
    clock: Arc<dyn Clock>,
    down: Mutex<Option<Down>>,
}

/// A provider that is down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Down {
    /// How many calls failed one after the other.
    pub(super) failures: u32,
    /// When the first of them failed; nothing was answered since.
    pub(super) since: Timestamp,
    /// Until then it is not called.
    until: Instant,
}

impl Outage {
    pub(super) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self { clock: Arc::clone(clock), down: Mutex::default() }
    }

    /// How it is down, while it is not to be called.
    pub(super) fn is_waited_for(&self) -> Option<Down> {
        let down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        down.filter(|down| Instant::now() < down.until)
    }

    /// Notes a call that failed; how many these are. Calls that were under way at the same time are one.
    pub(super) fn failed(&self) -> u32 {
        let mut down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let noted = match *down {
            Some(down) if now < down.until => down,
            before => {
                let failures = before.map_or(0, |down| down.failures).saturating_add(1);
                let since = before.map_or_else(|| self.clock.now(), |down| down.since);
                Down { failures, since, until: now + retry_after(failures) }
            }
        };
        *down = Some(noted);
        noted.failures
    }

    /// Notes that it answered.
    pub(super) fn answered(&self) {
        *self.down.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
