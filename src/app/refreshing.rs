//! The task that refreshes sessions of providers, by the configuration in effect.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::foundation::MaintenanceTask;
use crate::federation::{Federation, refresh_sessions};

/// Starts it; the sender tells it of another configuration.
pub(super) fn start(federation: Arc<Federation>) -> (watch::Sender<Arc<Federation>>, MaintenanceTask) {
    let (federations, newest) = watch::channel(federation);
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(refresh_sessions(newest, async {
        let _ = stopped.await;
    }));
    (federations, (stop, task))
}
