//! Sums over all threads.

use std::collections::BTreeMap;

use super::words::{BUCKETS, Connect, Memory, StatusClass};
use crate::model::principal::CredentialKind;
use crate::model::verdict::{Code, Verdict};

/// Durations by bucket.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// How many fell into each bucket; the last has no bound.
    pub buckets: [u64; BUCKETS.len() + 1],
    /// Their sum, in microseconds.
    pub micros: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS.len() + 1], micros: 0 }
    }
}

impl Histogram {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// What all threads have counted.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By route, verdict and class of status.
    pub requests: BTreeMap<(String, Verdict, StatusClass), u64>,
    /// By route.
    pub durations: BTreeMap<String, Histogram>,
    /// By code.
    pub refusals: BTreeMap<Code, u64>,
    /// By kind of credential; by none first.
    pub credentials: BTreeMap<Option<CredentialKind>, u64>,
    /// By what was looked for, and whether it was there.
    pub memory: BTreeMap<Memory, u64>,
    /// By upstream and outcome.
    pub connects: BTreeMap<(String, Connect), u64>,
    /// By upstream.
    pub upstream_connections: BTreeMap<String, i64>,
    /// Whose answer is not over.
    pub open_requests: i64,
    /// `WebSocket`s and other upgrades.
    pub open_tunnels: i64,
}
