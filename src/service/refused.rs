//! Requests that would have been refused where rules only log: collected from the data plane, kept in the store.

use std::error::Error;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use super::ServiceError;
use super::admin::AdminProof;
use crate::model::refused::{RefusedBy, Tallies, Tally};
use crate::model::time::Timestamp;
use crate::store::Store;

/// Batches that may wait; a thread whose batch finds no room keeps it and tries again.
const QUEUE: usize = 64;
/// Tallies of a batch, and of what waits to be written while the store does not answer.
pub const ROOM: usize = 1000;
/// After a failure, the store is left alone this long.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// One thread's tallies since the last time.
pub type Batch = Vec<(RefusedBy, Tally)>;

/// Where the data plane drops its batches. Never waits; clones share the queue.
#[derive(Clone, Debug)]
pub struct Refusals(mpsc::Sender<Batch>);

impl Refusals {
    /// Hands a batch over.
    ///
    /// # Errors
    ///
    /// The batch, if it finds no room.
    pub fn hand_over(&self, batch: Batch) -> Result<(), Batch> {
        self.0.try_send(batch).map_err(mpsc::error::TrySendError::into_inner)
    }
}

/// Writes batches until every sender is gone.
#[derive(Debug)]
pub struct TallyWriter {
    batches: mpsc::Receiver<Batch>,
    store: Store,
}

/// The two ends of the queue. [`TallyWriter::run`] is to be spawned on the control runtime.
pub fn channel(store: Store) -> (Refusals, TallyWriter) {
    let (sender, batches) = mpsc::channel(QUEUE);
    (Refusals(sender), TallyWriter { batches, store })
}

impl TallyWriter {
    /// Works until every sender is gone, and once more for what is left then.
    pub async fn run(mut self) {
        let mut waiting = Tallies::new(ROOM);
        let mut open = true;
        while open {
            // What could not be written is tried again, whether or not there is more to write.
            if waiting.is_empty() {
                match self.batches.recv().await {
                    Some(batch) => waiting.add_all(batch),
                    None => open = false,
                }
            }
            // What came meanwhile goes into the same transaction.
            loop {
                match self.batches.try_recv() {
                    Ok(batch) => waiting.add_all(batch),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        open = false;
                        break;
                    }
                }
            }
            let batch = waiting.drain();
            if batch.is_empty() {
                continue;
            }
            if let Err(error) = self.store.add_refused(&batch).await {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "what would have been refused was not written down"
                );
                waiting.add_all(batch);
                if open {
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
            if std::mem::take(&mut waiting.lost) > 0 {
                tracing::warn!(
                    "some of what would have been refused was not counted: there is too much of it"
                );
            }
        }
    }
}

/// Reads and forgets what was counted.
#[derive(Clone, Debug)]
pub struct RefusedReport {
    store: Store,
}

impl RefusedReport {
    /// The report on `store`.
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    /// What was counted, with a last time at or after `since`; the most frequent first.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn list(&self, _by: &AdminProof, since: Timestamp) -> Result<Batch, ServiceError> {
        Ok(self.store.list_refused(since).await?)
    }

    /// Forgets everything; how many rows that were.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn clear(&self, by: &AdminProof) -> Result<u64, ServiceError> {
        Ok(self.store.by(by.actor()).clear_refused().await?)
    }
}
