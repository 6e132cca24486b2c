//! Queues changes before a connection is taken, so that a waiting change holds nothing that others need.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::store::StoreError;

/// How long a change waits for those before it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a change may have to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum ChangeQueue {
    /// Changes of users, sessions and keys, and whatever leaves a row in the audit trail.
    Rights,
    /// Counting attempts.
    Attempts,
}

/// The queues of one process. Those of other processes meet in the database, one of each at a time.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct ChangeQueues {
    rights: Arc<Mutex<()>>,
    attempts: Arc<Mutex<()>>,
}

impl ChangeQueues {
    /// Waits, in order, until no other change of this kind is under way here.
    pub(super) async fn wait_for(
        &self,
        kind: ChangeQueue,
    ) -> Result<(ChangeQueue, OwnedMutexGuard<()>), StoreError> {
        let queue = match kind {
            ChangeQueue::Rights => &self.rights,
            ChangeQueue::Attempts => &self.attempts,
        };
        let guard = tokio::time::timeout(PATIENCE, Arc::clone(queue).lock_owned()).await;
        guard.map(|guard| (kind, guard)).map_err(|_| StoreError::Busy)
    }
}
