//! What is counted, and how: each data-plane thread has its own counters, which only it writes; a reader
//! them adds them up.
//!
//! A counter is found by a small number, never by text, so that counting a request takes no lock, no
//! allocation and no cache line of another thread. Labels are names from the configuration and closed sets
//! of words: nothing that a client sends is ever one.

mod block;
mod sign_ins;
mod snapshot;
mod words;

use std::rc::Rc;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::block::Block;
pub use self::sign_ins::{OutcomeCounts, ProviderCounts, ProviderLogout, ProviderRefresh, ProviderSignIn};
pub use self::snapshot::{Histogram, Snapshot};
pub use self::words::{BUCKETS, Connect, Memory, StatusClass};
use super::verdict::{Code, Verdict};
use crate::model::principal::CredentialKind;

/// Every thread's counters.
#[derive(Debug, Default)]
pub struct Registry(Mutex<Blocks>);

#[derive(Debug, Default)]
struct Blocks {
    current: Vec<Arc<Block>>,
    /// What threads had counted that are gone, or that have gone on to other labels.
    past: Snapshot,
}

impl Blocks {
    /// Keeps only the sums of those that are no longer written to.
    fn retire(&mut self) {
        let Self { current, past } = self;
        current.retain(|block| {
            let over = Arc::strong_count(block) == 1;
            if over {
                // What it wrote last is to be seen: it let go of the block after that.
                fence(Ordering::Acquire);
                block.add_to(past);
            }
            !over
        });
    }
}

impl Registry {
    /// Counters for one thread, for routes and upstreams by their place in the configuration.
    pub fn worker(&self, routes: &[String], upstreams: &[String]) -> Rc<WorkerMetrics> {
        let block = Arc::new(Block::new(routes, upstreams));
        let mut blocks = self.lock();
        // Each configuration brings others, and the sums may never be read.
        blocks.retire();
        blocks.current.push(Arc::clone(&block));
        Rc::new(WorkerMetrics { block })
    }

    /// The sums of now.
    pub fn snapshot(&self) -> Snapshot {
        let mut blocks = self.lock();
        blocks.retire();
        let mut sums = blocks.past.clone();
        for block in &blocks.current {
            block.add_to(&mut sums);
        }
        sums
    }

    fn lock(&self) -> MutexGuard<'_, Blocks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request, as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct CountedRequest {
    /// Place of its route in the configuration, if one was found.
    pub route: Option<usize>,
    /// What was decided.
    pub verdict: Verdict,
    /// Status of the answer.
    pub status: u16,
    /// By what its sender was recognised, if it was.
    pub credential: Option<CredentialKind>,
    /// Why, if it was refused.
    pub code: Option<Code>,
    /// From the request head to the response head.
    pub duration: Duration,
}

/// The counters of one thread.
#[derive(Debug)]
pub struct WorkerMetrics {
    block: Arc<Block>,
}

impl WorkerMetrics {
    /// Counts a request whose answer is known.
    pub fn served(&self, served: &CountedRequest) {
        self.block.served(served);
    }

    /// Counts a look into the credential cache.
    pub fn remembered(&self, memory: Memory) {
        self.block.memory.add(memory as usize);
    }

    /// Counts an attempt to connect to the upstream at this place in the configuration.
    pub fn connected(&self, upstream: usize, how: Connect) {
        self.block.connected(upstream, how);
    }

    /// A request that is open until the guard is dropped.
    pub fn open_request(self: &Rc<Self>) -> Open {
        Open::new(self, Gauge::Requests)
    }

    /// A tunnel, such as a WebSocket, that is open until the guard is dropped.
    pub fn open_tunnel(self: &Rc<Self>) -> Open {
        Open::new(self, Gauge::Tunnels)
    }

    /// A connection to the upstream at this place that is open until the guard is dropped.
    pub fn open_upstream(self: &Rc<Self>, upstream: usize) -> Open {
        Open::new(self, Gauge::Upstream(upstream))
    }
}

#[derive(Clone, Copy, Debug)]
enum Gauge {
    Requests,
    Tunnels,
    Upstream(usize),
}

/// Something that is open.
#[derive(Debug)]
pub struct Open {
    metrics: Rc<WorkerMetrics>,
    gauge: Gauge,
}

impl Open {
    fn new(metrics: &Rc<WorkerMetrics>, gauge: Gauge) -> Self {
        metrics.block.opened(gauge);
        Self { metrics: Rc::clone(metrics), gauge }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.block.closed(self.gauge);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(route: Option<usize>, status: u16) -> CountedRequest {
        CountedRequest {
            route,
            verdict: Verdict::Allow,
            status,
            credential: None,
            code: None,
            duration: Duration::from_millis(3),
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn threads_are_added_up_exactly_while_they_count() {
        let registry = Arc::new(Registry::default());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let registry = Arc::clone(&registry);
                std::thread::spawn(move || {
                    let metrics = registry.worker(&names(&["a", "b"]), &names(&["app"]));
                    for n in 0..10_000_usize {
                        metrics.served(&served(Some(n % 2), 200));
                    }
                    metrics.connected(0, Connect::Opened);
                })
            })
            .collect();
        let mut before = 0;
        while threads.iter().any(|thread| !thread.is_finished()) {
            let now: u64 = registry.snapshot().requests.values().sum();
            assert!(now >= before, "counters never fall");
            before = now;
        }
        for thread in threads {
            thread.join().unwrap();
        }
        for _ in 0..2 {
            let sums = registry.snapshot();
            assert_eq!(sums.requests[&("a".to_owned(), Verdict::Allow, StatusClass::Success)], 20_000);
            assert_eq!(sums.requests[&("b".to_owned(), Verdict::Allow, StatusClass::Success)], 20_000);
            assert_eq!(sums.durations["a"].count(), 20_000);
            assert_eq!(sums.connects[&("app".to_owned(), Connect::Opened)], 4);
        }
        assert_eq!(registry.lock().current.len(), 0, "threads that are gone are kept as sums only");
    }

    #[test]
    fn other_labels_of_a_later_configuration_go_on_from_the_former() {
        let registry = Registry::default();
        let first = registry.worker(&names(&["a", "b"]), &[]);
        first.served(&served(Some(0), 200));
        first.served(&served(Some(1), 200));
        drop(first);
        let second = registry.worker(&names(&["b", "c"]), &[]);
        second.served(&served(Some(0), 200));
        let sums = registry.snapshot();
        let of = |route: &str| sums.requests[&(route.to_owned(), Verdict::Allow, StatusClass::Success)];
        assert_eq!((of("a"), of("b")), (1, 2));
    }

    #[test]
    fn counters_of_former_configurations_do_not_pile_up_where_nobody_reads_them() {
        let registry = Registry::default();
        let lasting = registry.worker(&names(&["a"]), &[]);
        for _ in 0..100 {
            registry.worker(&names(&["a"]), &[]).served(&served(Some(0), 200));
        }
        lasting.served(&served(Some(0), 200));
        assert_eq!(registry.lock().current.len(), 2, "who still counts, and the last");
        assert_eq!(
            registry.snapshot().requests[&("a".to_owned(), Verdict::Allow, StatusClass::Success)],
            101,
            "none is lost"
        );
    }

    #[test]
    fn what_is_out_of_bounds_is_counted_at_the_nearest_place() {
        let registry = Registry::default();
        let metrics = registry.worker(&names(&["a"]), &names(&["app"]));
        let refused =
            CountedRequest { verdict: Verdict::Deny, code: Some(Code::Forbidden), ..served(Some(99), 999) };
        metrics.served(&refused);
        metrics.served(&served(None, 0));
        metrics.connected(99, Connect::Failed);
        drop(metrics.open_upstream(99));
        let sums = registry.snapshot();
        let of = |verdict, class| sums.requests[&("(none)".to_owned(), verdict, class)];
        assert_eq!(of(Verdict::Deny, StatusClass::ServerError), 1);
        assert_eq!(of(Verdict::Allow, StatusClass::Informational), 1);
        assert_eq!(sums.refusals[&Code::Forbidden], 1);
    }

    #[test]
    fn gauges_fall_when_what_is_open_closes() {
        let registry = Registry::default();
        let metrics = registry.worker(&[], &names(&["app"]));
        let open = (metrics.open_request(), metrics.open_tunnel(), metrics.open_upstream(0));
        let sums = registry.snapshot();
        assert_eq!((sums.open_requests, sums.open_tunnels, sums.upstream_connections["app"]), (1, 1, 1));
        drop(open);
        let sums = registry.snapshot();
        assert_eq!((sums.open_requests, sums.open_tunnels, sums.upstream_connections["app"]), (0, 0, 0));
    }
}
