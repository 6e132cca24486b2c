//! How fast a client sends and takes, looked at once a second: no timer for each exchange.

use std::cell::Cell;
use std::time::Duration;

use crate::config::BodyPace;

/// How an exchange moves at its client's side. Time in which the upstream is waited for does not count.
#[derive(Debug, Default)]
pub struct ClientProgress {
    received: Cell<u64>,
    awaited: Cell<bool>,
    /// Seconds of this window in which the client was awaited, and what had been received at its start.
    window: Cell<(u64, u64)>,
    handed_over: Cell<bool>,
    untaken: Cell<u64>,
}

impl ClientProgress {
    /// So many bytes of the request body came.
    pub fn received(&self, bytes: usize) {
        self.awaited.set(false);
        self.received.set(self.received.get().saturating_add(bytes as u64));
    }

    /// The upstream would take more of the request body than there is.
    pub fn awaits_more(&self) {
        self.awaited.set(true);
    }

    /// A part of the answer is on its way to the client.
    pub fn handed_over(&self) {
        self.handed_over.set(true);
    }

    /// The client has taken all parts before.
    pub fn taken(&self) {
        self.handed_over.set(false);
        self.untaken.set(0);
    }

    /// To be asked each second: whether the client has sent less than it must in a whole window.
    pub fn sends_too_slowly(&self, least: BodyPace) -> bool {
        if !self.awaited.get() {
            return false;
        }
        let (seconds, before) = self.window.get();
        let received = self.received.get();
        if Duration::from_secs(seconds + 1) < least.over {
            self.window.set((seconds + 1, before));
            return false;
        }
        self.window.set((0, received));
        received.saturating_sub(before) < least.bytes_in(least.over)
    }

    /// To be asked each second: whether the client has taken no part for longer than this.
    pub fn takes_nothing(&self, limit: Duration) -> bool {
        if !self.handed_over.get() {
            return false;
        }
        self.untaken.set(self.untaken.get() + 1);
        Duration::from_secs(self.untaken.get()) > limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_that_is_awaited_can_be_too_slow() {
        let least = BodyPace { rate: 10, over: Duration::from_secs(3) };
        let pace = ClientProgress::default();
        let slow = |seconds: u32| (0..seconds).filter(|_| pace.sends_too_slowly(least)).count();
        assert_eq!(slow(60), 0, "the upstream does not ask for more");
        pace.awaits_more();
        assert_eq!(slow(2), 0);
        assert_eq!(slow(1), 1, "a whole window without a byte");
        pace.received(30);
        assert_eq!(slow(60), 0, "just sent");
        pace.awaits_more();
        assert_eq!(slow(3), 0, "enough for a window");
        pace.received(29);
        pace.awaits_more();
        assert_eq!(slow(3), 1, "not enough for a window");
    }

    #[test]
    fn no_least_rate_is_never_too_slow() {
        let pace = ClientProgress::default();
        pace.awaits_more();
        let none = BodyPace { rate: 0, over: Duration::from_secs(1) };
        assert!((0..60).all(|_| !pace.sends_too_slowly(none)));
    }

    #[test]
    fn a_client_that_takes_a_part_now_and_then_takes_something() {
        let pace = ClientProgress::default();
        let limit = Duration::from_secs(2);
        assert!((0..60).all(|_| !pace.takes_nothing(limit)), "nothing was sent");
        for _ in 0..20 {
            pace.handed_over();
            assert!(!pace.takes_nothing(limit) && !pace.takes_nothing(limit));
            pace.taken();
        }
        pace.handed_over();
        assert!((0..2).all(|_| !pace.takes_nothing(limit)));
        assert!(pace.takes_nothing(limit));
    }
}
