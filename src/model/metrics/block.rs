//! The counters of one thread in memory: plain arrays, apart from everything that other threads write.

use std::sync::atomic::{AtomicU64, Ordering};

use super::snapshot::Snapshot;
use super::words::{BUCKETS, Connect, Memory, StatusClass};
use super::{CountedRequest, Gauge};
use crate::model::principal::CredentialKind;
use crate::model::verdict::{Code, Verdict};

/// The route of requests that found none.
const NO_ROUTE: &str = "(none)";
/// Buckets of a histogram, the last without a bound, and the sum in microseconds.
const SLOTS: usize = BUCKETS.len() + 2;

/// A cache line of counters, so that no two arrays share one.
#[derive(Debug, Default)]
#[repr(align(128))]
struct CacheLine([AtomicU64; 16]);

/// Counters by number. Only one thread writes, so adding is a load and a store.
#[derive(Debug)]
pub(super) struct Counters(Box<[CacheLine]>);

impl Counters {
    fn new(count: usize) -> Self {
        Self((0..count.div_ceil(16)).map(|_| CacheLine::default()).collect())
    }

    fn cell(&self, at: usize) -> Option<&AtomicU64> {
        self.0.get(at / 16)?.0.get(at % 16)
    }

    pub(super) fn add(&self, at: usize) {
        self.change(at, |value| value.wrapping_add(1));
    }

    fn change(&self, at: usize, change: impl Fn(u64) -> u64) {
        if let Some(cell) = self.cell(at) {
            cell.store(change(cell.load(Ordering::Relaxed)), Ordering::Relaxed);
        }
    }

    fn get(&self, at: usize) -> u64 {
        self.cell(at).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    fn gauge(&self, at: usize) -> i64 {
        self.get(at).cast_signed()
    }
}

/// What one thread counts, under one configuration.
#[derive(Debug)]
pub(super) struct Block {
    /// The last is [`NO_ROUTE`].
    routes: Vec<String>,
    upstreams: Vec<String>,
    requests: Counters,
    durations: Counters,
    refusals: Counters,
    credentials: Counters,
    pub(super) memory: Counters,
    connects: Counters,
    open: Counters,
}

impl Block {
    pub(super) fn new(routes: &[String], upstreams: &[String]) -> Self {
        let routes: Vec<String> = routes.iter().cloned().chain([NO_ROUTE.to_owned()]).collect();
        Self {
            requests: Counters::new(routes.len() * Verdict::ALL.len() * StatusClass::ALL.len()),
            durations: Counters::new(routes.len() * SLOTS),
            refusals: Counters::new(Code::ALL.len()),
            credentials: Counters::new(1 + CredentialKind::ALL.len()),
            memory: Counters::new(Memory::ALL.len()),
            connects: Counters::new(upstreams.len() * Connect::ALL.len()),
            open: Counters::new(upstreams.len() + 2),
            upstreams: upstreams.to_vec(),
            routes,
        }
    }

    pub(super) fn served(&self, served: &CountedRequest) {
        let none = self.routes.len() - 1;
        let route = served.route.map_or(none, |route| route.min(none));
        self.requests.add(request(route, served.verdict, StatusClass::of(served.status)));
        let micros = u64::try_from(served.duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().position(|bound| micros <= *bound).unwrap_or(BUCKETS.len());
        self.durations.add(route * SLOTS + bucket);
        self.durations.change(route * SLOTS + SLOTS - 1, |sum| sum.wrapping_add(micros));
        self.credentials.add(credential(served.credential));
        if let Some(code) = served.code {
            self.refusals.add(code as usize);
        }
    }

    pub(super) fn connected(&self, upstream: usize, how: Connect) {
        if upstream < self.upstreams.len() {
            self.connects.add(upstream * Connect::ALL.len() + how as usize);
        }
    }

    pub(super) fn opened(&self, gauge: Gauge) {
        self.open.change(self.place(gauge), |open| open.wrapping_add(1));
    }

    pub(super) fn closed(&self, gauge: Gauge) {
        self.open.change(self.place(gauge), |open| open.wrapping_sub(1));
    }

    fn place(&self, gauge: Gauge) -> usize {
        match gauge {
            Gauge::Requests => 0,
            Gauge::Tunnels => 1,
            Gauge::Upstream(upstream) if upstream < self.upstreams.len() => 2 + upstream,
            Gauge::Upstream(_) => usize::MAX,
        }
    }

    pub(super) fn add_to(&self, sums: &mut Snapshot) {
        for (number, route) in self.routes.iter().enumerate() {
            for verdict in Verdict::ALL.iter().copied() {
                for class in StatusClass::ALL.iter().copied() {
                    let count = self.requests.get(request(number, verdict, class));
                    if count > 0 {
                        *sums.requests.entry((route.clone(), verdict, class)).or_default() += count;
                    }
                }
            }
            let histogram = sums.durations.entry(route.clone()).or_default();
            for (bucket, sum) in histogram.buckets.iter_mut().enumerate() {
                *sum += self.durations.get(number * SLOTS + bucket);
            }
            histogram.micros = histogram.micros.wrapping_add(self.durations.get(number * SLOTS + SLOTS - 1));
        }
        for code in Code::ALL.iter().copied() {
            *sums.refusals.entry(code).or_default() += self.refusals.get(code as usize);
        }
        for kind in std::iter::once(None).chain(CredentialKind::ALL.iter().copied().map(Some)) {
            *sums.credentials.entry(kind).or_default() += self.credentials.get(credential(kind));
        }
        for memory in Memory::ALL {
            *sums.memory.entry(memory).or_default() += self.memory.get(memory as usize);
        }
        for (number, upstream) in self.upstreams.iter().enumerate() {
            for how in Connect::ALL.iter().copied() {
                let count = self.connects.get(number * Connect::ALL.len() + how as usize);
                *sums.connects.entry((upstream.clone(), how)).or_default() += count;
            }
            let open = self.open.gauge(self.place(Gauge::Upstream(number)));
            *sums.upstream_connections.entry(upstream.clone()).or_default() += open;
        }
        sums.open_requests += self.open.gauge(self.place(Gauge::Requests));
        sums.open_tunnels += self.open.gauge(self.place(Gauge::Tunnels));
    }
}

/// Where a request is counted by what its sender was recognised by.
fn credential(kind: Option<CredentialKind>) -> usize {
    kind.map_or(0, |kind| 1 + kind as usize)
}

/// Where a request is counted.
fn request(route: usize, verdict: Verdict, class: StatusClass) -> usize {
    (route * Verdict::ALL.len() + verdict as usize) * StatusClass::ALL.len() + class as usize
}
