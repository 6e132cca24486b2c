//! Keeps a client connection counted while any of its exchanges or tunnels is open.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::interim::Interim;

/// A connection's place among the connections, held while it is open; a tunnel goes on holding it. Can cut it.
#[derive(Clone)]
pub struct ConnectionGuard(Arc<GuardState<dyn Any + Send + Sync>>);

struct GuardState<T: ?Sized> {
    cut: Notify,
    parked: AtomicUsize,
    interim: Interim,
    #[expect(dead_code, reason = "held for its drop")]
    what: T,
}

impl ConnectionGuard {
    /// Holds something until the last clone is gone.
    pub fn of(held: impl Any + Send + Sync) -> Self {
        Self(Arc::new(GuardState {
            cut: Notify::new(),
            parked: AtomicUsize::new(0),
            interim: Interim::default(),
            what: held,
        }))
    }

    /// What is written on it before an answer.
    pub fn interim(&self) -> &Interim {
        &self.0.interim
    }

    /// Breaks the connection off.
    pub fn cut(&self) {
        self.0.cut.notify_one();
    }

    /// One of its streams was ended, and the client has not read that yet.
    pub fn park(&self) {
        self.0.parked.fetch_add(1, Ordering::Relaxed);
    }

    /// The client has.
    pub fn unpark(&self) {
        self.0.parked.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many streams were ended that the client still has to read.
    pub fn parked(&self) -> usize {
        self.0.parked.load(Ordering::Relaxed)
    }

    /// Waits until the connection is to be broken off.
    pub async fn is_cut(&self) {
        self.0.cut.notified().await;
    }
}
