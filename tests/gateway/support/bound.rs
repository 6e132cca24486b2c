//! The revocation bound, measured fairly: what the machine itself withheld is not the gateway's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// From the answer to a change to its effect.
const BOUND: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(10);

/// Runs from the answer to a change on.
pub struct Stopwatch {
    since: Instant,
    /// By how much sleeps of one step were overrun so far, in microseconds.
    withheld: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Stopwatch {
    pub fn start() -> Self {
        let withheld = Arc::<AtomicU64>::default();
        let counter = Arc::clone(&withheld);
        let task = tokio::spawn(async move {
            loop {
                let began = Instant::now();
                tokio::time::sleep(STEP).await;
                let late = began.elapsed().saturating_sub(STEP + STEP / 5);
                counter.fetch_add(u64::try_from(late.as_micros()).unwrap(), Ordering::Relaxed);
            }
        });
        Self { since: Instant::now(), withheld, task }
    }

    /// Fails if the effect, seen now, came too late.
    pub fn check(&self, what: &str) {
        self.check_against(BOUND, what);
    }

    /// The same against another bound.
    pub fn check_against(&self, bound: Duration, what: &str) {
        let took = self.since.elapsed();
        let withheld = Duration::from_micros(self.withheld.load(Ordering::Relaxed));
        assert!(took < bound + withheld, "{what} took {took:?}; the machine withheld {withheld:?} of it");
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
