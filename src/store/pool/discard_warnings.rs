//! Rate-limited warnings about discarded PostgreSQL connections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How often a warning is written.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// When the last warning was written, and how many were held back.
pub(super) struct DiscardWarnings {
    since: Instant,
    /// Seconds from `since` to when it was last told, plus one; zero is never.
    last: AtomicU64,
    untold: AtomicU64,
}

impl Default for DiscardWarnings {
    fn default() -> Self {
        Self { since: Instant::now(), last: AtomicU64::new(0), untold: AtomicU64::new(0) }
    }
}

impl DiscardWarnings {
    pub(super) fn thrown_away(&self, why: &str) {
        let now = self.since.elapsed().as_secs() + 1;
        let last = self.last.load(Ordering::Relaxed);
        let due = last == 0 || now >= last + TELL_EVERY.as_secs();
        let told = due && self.last.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !told {
            self.untold.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let others = self.untold.swap(0, Ordering::Relaxed);
        tracing::warn!(others, "a connection to the database was thrown away: {why}");
    }
}
