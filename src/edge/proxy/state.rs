//! Health and load of a server, shared by all threads: whether it is left out, and its open requests.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{HealthConfig, UpstreamAddress, UpstreamConfig};

/// Longest that failing requests keep a server out at a time, unless `pause` itself is longer.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Every server of an upstream, in the order of the configuration; all begin well.
pub(super) fn states(upstream: &UpstreamConfig) -> Vec<Arc<ServerState>> {
    let state =
        |server: &UpstreamAddress| Arc::new(ServerState::new(upstream, server.url(upstream.protocol)));
    upstream.servers.iter().map(state).collect()
}

/// One server's state. Nothing here is locked: readers may see a change a moment late.
///
/// Times are milliseconds since it was made, counted from one; zero stands for never.
#[derive(Debug)]
pub struct ServerState {
    upstream: String,
    server: String,
    health: HealthConfig,
    /// Whether there is another server to take its place.
    replaceable: bool,
    began: Instant,
    failures: AtomicU32,
    first_failure: AtomicU64,
    out_until: AtomicU64,
    times_out: AtomicU32,
    ill: AtomicBool,
    failed_checks: AtomicU32,
    open: AtomicUsize,
}

impl ServerState {
    fn new(upstream: &UpstreamConfig, server: String) -> Self {
        Self {
            upstream: upstream.name.clone(),
            server,
            health: upstream.health.clone(),
            replaceable: upstream.servers.len() > 1,
            began: Instant::now(),
            failures: AtomicU32::new(0),
            first_failure: AtomicU64::new(0),
            out_until: AtomicU64::new(0),
            times_out: AtomicU32::new(0),
            ill: AtomicBool::new(false),
            failed_checks: AtomicU32::new(0),
            open: AtomicUsize::new(0),
        }
    }

    /// Whether requests go there.
    pub fn is_in(&self) -> bool {
        let until = self.out_until.load(Ordering::Relaxed);
        !self.ill.load(Ordering::Relaxed) && (until == 0 || until <= self.now())
    }

    /// Requests it has at the moment, from every thread.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// A request went there.
    pub fn begin(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// That request has ended.
    pub fn end(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// It answered a request. Writes nothing where all was well before.
    pub fn worked(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        let until = self.out_until.load(Ordering::Relaxed);
        if until != 0 && self.change(until, 0) {
            self.times_out.store(0, Ordering::Relaxed);
            tracing::info!(upstream = self.upstream, server = self.server, "a server is back");
        }
    }

    /// It could not be connected to, or broke the protocol. After enough of that in a row it is left out; each
    /// time for longer than the last, until it has answered a request again.
    pub fn failed(&self, error: &dyn Display) {
        let now = self.now();
        let until = self.out_until.load(Ordering::Relaxed);
        if !self.replaceable || until > now {
            return;
        }
        if until == 0 && self.count_failure(now) < self.health.failures {
            return;
        }
        let times = self.times_out.load(Ordering::Relaxed);
        let pause = self.health.pause.saturating_mul(1 << times.min(16));
        let pause = pause.min(LONGEST_PAUSE.max(self.health.pause));
        if self.change(until, now.saturating_add(millis(pause))) {
            self.times_out.store(times.saturating_add(1), Ordering::Relaxed);
            self.failures.store(0, Ordering::Relaxed);
            if until == 0 {
                tracing::warn!(upstream = self.upstream, server = self.server, %error, "a server is left out");
            }
        }
    }

    /// What a health check came to.
    pub fn checked<E: Display>(&self, outcome: Result<(), E>) {
        match outcome {
            Ok(()) => {
                self.failed_checks.store(0, Ordering::Relaxed);
                if self.ill.swap(false, Ordering::Relaxed) {
                    // It was out for this reason at least; that requests failed meanwhile says nothing more.
                    self.out_until.store(0, Ordering::Relaxed);
                    self.times_out.store(0, Ordering::Relaxed);
                    tracing::info!(
                        upstream = self.upstream,
                        server = self.server,
                        "a server is healthy again"
                    );
                }
            }
            Err(error) => {
                let failed = self.failed_checks.load(Ordering::Relaxed).saturating_add(1);
                self.failed_checks.store(failed, Ordering::Relaxed);
                if failed >= self.health.failures && !self.ill.swap(true, Ordering::Relaxed) {
                    tracing::warn!(upstream = self.upstream, server = self.server, %error, "a server is not healthy");
                }
            }
        }
    }

    /// Failures in a row, of which the first is not older than the window.
    fn count_failure(&self, now: u64) -> u32 {
        let first = self.first_failure.load(Ordering::Relaxed);
        let failures = self.failures.load(Ordering::Relaxed);
        if failures == 0 || now.saturating_sub(first) > millis(self.health.window) {
            self.first_failure.store(now, Ordering::Relaxed);
            self.failures.store(1, Ordering::Relaxed);
            return 1;
        }
        self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Only one of several threads makes a change, and logs it.
    fn change(&self, from: u64, to: u64) -> bool {
        self.out_until.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn now(&self) -> u64 {
        millis(self.began.elapsed()).saturating_add(1)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(replaceable: bool) -> ServerState {
        ServerState {
            upstream: "app".into(),
            server: "http://a".into(),
            health: HealthConfig {
                check: None,
                failures: 3,
                window: Duration::from_secs(10),
                pause: Duration::from_secs(5),
            },
            replaceable,
            began: Instant::now(),
            failures: AtomicU32::new(0),
            first_failure: AtomicU64::new(0),
            out_until: AtomicU64::new(0),
            times_out: AtomicU32::new(0),
            ill: AtomicBool::new(false),
            failed_checks: AtomicU32::new(0),
            open: AtomicUsize::new(0),
        }
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_is_left_out_after_failures_in_a_row_within_the_window() {
        let server = state(true);
        server.failed(&"refused");
        server.failed(&"refused");
        server.worked();
        server.failed(&"refused");
        server.failed(&"refused");
        assert!(server.is_in(), "one answer between them");
        pass(11).await;
        server.failed(&"refused");
        server.failed(&"refused");
        assert!(server.is_in(), "the first ones are too old");
        server.failed(&"refused");
        assert!(!server.is_in());
    }

    #[tokio::test(start_paused = true)]
    async fn each_pause_is_twice_the_last_up_to_five_minutes_until_it_answers() {
        let server = state(true);
        for _ in 0..3 {
            server.failed(&"refused");
        }
        for pause in [5, 10, 20, 40, 80, 160, 300, 300] {
            // What was still under way changes nothing.
            server.failed(&"refused");
            pass(pause - 1).await;
            assert!(!server.is_in(), "{pause}");
            pass(1).await;
            assert!(server.is_in(), "{pause}");
            // One more is enough now.
            server.failed(&"refused");
            assert!(!server.is_in(), "{pause}");
        }
        pass(300).await;
        server.worked();
        server.failed(&"refused");
        assert!(server.is_in(), "it begins anew");
        server.failed(&"refused");
        server.failed(&"refused");
        pass(5).await;
        assert!(server.is_in(), "the first pause is short again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_without_another_is_never_left_out() {
        let server = state(false);
        for _ in 0..10 {
            server.failed(&"refused");
        }
        assert!(server.is_in());
    }

    #[tokio::test(start_paused = true)]
    async fn checks_take_a_server_out_after_several_and_back_after_one() {
        let server = state(true);
        server.checked(Err("503"));
        server.checked(Err("503"));
        server.checked(Ok::<_, &str>(()));
        server.checked(Err("503"));
        server.checked(Err("503"));
        assert!(server.is_in());
        server.checked(Err("503"));
        assert!(!server.is_in());
        for _ in 0..3 {
            server.failed(&"refused");
        }
        server.checked(Ok::<_, &str>(()));
        assert!(server.is_in(), "a good check also ends the pause");
    }
}
