//! Which requests are in flight on a connection: shared by its I/O and its service.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::head::{HeadError, HeadSummary};

/// Which requests are being served on a connection; shared by its I/O and its service.
#[derive(Clone, Debug)]
pub struct ConnectionActivity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    open: AtomicUsize,
    began: Instant,
    /// Milliseconds from `began` to when the last one ended.
    idle_since: AtomicU64,
    /// How many heads were read, and how many requests were begun: by HTTP/1 the same, one after the other.
    heads: AtomicU64,
    begun: AtomicU64,
    /// HTTP is over; the connection has another protocol.
    switched: AtomicBool,
    broken: Mutex<Option<Box<MalformedRequest>>>,
}

/// A request whose head cannot be served.
#[derive(Debug)]
pub struct MalformedRequest {
    /// What is wrong with it.
    pub fault: HeadError,
    /// What can be told of it.
    pub sketch: HeadSummary,
}

/// A request in flight, until it is dropped.
#[derive(Debug)]
pub struct InFlightRequest(Option<ConnectionActivity>);

impl ConnectionActivity {
    /// A connection on which nothing was asked yet.
    pub fn nothing() -> Self {
        Self(Arc::new(Inner {
            open: AtomicUsize::new(0),
            began: Instant::now(),
            idle_since: AtomicU64::new(0),
            heads: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            switched: AtomicBool::new(false),
            broken: Mutex::default(),
        }))
    }

    /// A head is complete. Once its answer is out, the next byte begins another head.
    pub fn begin(&self) -> InFlightRequest {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        InFlightRequest(Some(self.clone()))
    }

    /// How many are being served.
    pub fn count(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// For how long none has been; `None` while one is.
    pub fn idle_for(&self) -> Option<Duration> {
        (self.count() == 0).then(|| self.idle_since().elapsed())
    }

    /// When the last one ended.
    pub fn idle_since(&self) -> Instant {
        self.0.began + Duration::from_millis(self.0.idle_since.load(Ordering::Relaxed))
    }

    /// Whether the connection speaks another protocol now.
    pub fn has_switched(&self) -> bool {
        self.0.switched.load(Ordering::Relaxed)
    }

    /// A head without fault was read, whose request is to be begun next.
    pub fn head_read(&self) {
        self.0.heads.fetch_add(1, Ordering::Relaxed);
    }

    /// The next request is about one that cannot be served.
    pub fn head_broken(&self, broken: MalformedRequest) {
        *self.0.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(broken));
        self.head_read();
    }

    /// What is wrong with the request that was just begun: with its head, or that no head was read for it. The last is
    /// a net: were the library ever to see a request where none was read, it is not served.
    pub fn take_broken(&self, sketch: impl FnOnce() -> HeadSummary) -> Option<Box<MalformedRequest>> {
        let (heads, begun) = (self.0.heads.load(Ordering::Relaxed), self.0.begun.load(Ordering::Relaxed));
        if begun < heads {
            return None;
        }
        if begun > heads {
            return Some(Box::new(MalformedRequest { fault: HeadError::Unread, sketch: sketch() }));
        }
        self.0.broken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl InFlightRequest {
    /// No head ever comes after this one: the connection has another protocol now.
    pub fn for_ever(mut self) {
        if let Some(ConnectionActivity(inner)) = self.0.take() {
            inner.switched.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        let Some(ConnectionActivity(inner)) = &self.0 else { return };
        if inner.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            let since = u64::try_from(inner.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            inner.idle_since.store(since, Ordering::Relaxed);
        }
    }
}
