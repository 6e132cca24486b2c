//! A timer for connections that may be idle for a limited time.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Notices that nothing has moved for a while. Costs nothing while data flows: armed on the first wait only.
pub(super) struct IdleTimer {
    limit: Duration,
    last: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl IdleTimer {
    /// A timer; a zero limit never ends.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, last: None, sleep: None }
    }

    /// Something moved.
    pub(super) fn moved(&mut self) {
        self.last = None;
    }

    /// Whether the limit is over; registers the task to be woken when it will be.
    pub(super) fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        if self.limit.is_zero() {
            return false;
        }
        let deadline = *self.last.get_or_insert_with(Instant::now) + self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() < deadline && sleep.is_elapsed() {
            sleep.as_mut().reset(deadline);
        }
        loop {
            if sleep.as_mut().poll(cx).is_pending() {
                return false;
            }
            if sleep.deadline() >= deadline {
                return true;
            }
            sleep.as_mut().reset(deadline);
        }
    }
}
