//! What is counted of the connections to one upstream.

use std::rc::Rc;

use crate::model::metrics::{Connect, Open, WorkerMetrics};

/// Counts for one upstream, on one thread.
#[derive(Clone, Debug)]
pub struct Meter {
    metrics: Rc<WorkerMetrics>,
    /// Place of the upstream in the configuration.
    number: usize,
}

impl Meter {
    /// For the upstream at this place in the configuration.
    pub fn new(metrics: Rc<WorkerMetrics>, number: usize) -> Self {
        Self { metrics, number }
    }

    /// A connection that served before is used again.
    pub(super) fn reused(&self) {
        self.metrics.connected(self.number, Connect::Reused);
    }

    /// A new connection was opened, or could not be.
    pub(super) fn connected(&self, opened: bool) {
        self.metrics.connected(self.number, if opened { Connect::Opened } else { Connect::Failed });
    }

    /// A connection that is open until the guard is dropped.
    pub(super) fn open_connection(&self) -> Open {
        self.metrics.open_upstream(self.number)
    }

    /// A tunnel that is open until the guard is dropped.
    pub(super) fn open_tunnel(&self) -> Open {
        self.metrics.open_tunnel()
    }
}
