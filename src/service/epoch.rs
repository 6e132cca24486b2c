//! Invalidates cached callers: epochs in atomics that every thread reads.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tokio::sync::Notify;

/// So many numbers stand for all who hold rights; those who share one are looked up together.
const PLACES: usize = 4096;

/// Different in every process, so that a client cannot choose whose slot it shares.
static PLACING: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Where losses of one holder of rights are noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochSlot(u16);

impl EpochSlot {
    /// For a user or a key without an owner, by id.
    pub fn of(holder: &str) -> Self {
        let slots = u64::try_from(PLACES).unwrap_or(1);
        Self(u16::try_from(PLACING.hash_one(holder) % slots).unwrap_or_default())
    }
}

/// When rights were lost, and whose. Clones share everything.
///
/// Read [`Epoch::current`] *before* a lookup and keep it with the answer, which counts while [`Epoch::holds`] says so.
#[derive(Clone, Debug, Default)]
pub struct Epoch(Arc<LossLog>);

#[derive(Debug)]
struct LossLog {
    current: AtomicU64,
    /// When everybody may have lost something.
    all: AtomicU64,
    /// When a holder in this slot did.
    slots: Box<[AtomicU64]>,
    /// Raising is rare, and in order: what is current has been noted in its places.
    raising: Mutex<()>,
    raised: Notify,
}

impl Default for LossLog {
    fn default() -> Self {
        Self {
            current: AtomicU64::default(),
            all: AtomicU64::default(),
            slots: (0..PLACES).map(|_| AtomicU64::default()).collect(),
            raising: Mutex::default(),
            raised: Notify::new(),
        }
    }
}

impl Epoch {
    /// The number now; costs one load.
    pub fn current(&self) -> u64 {
        self.0.current.load(Ordering::Acquire)
    }

    /// Whether a lookup at `then` of a holder in this slot is still valid; costs two loads.
    pub fn holds(&self, slot: EpochSlot, then: u64) -> bool {
        let lost = self.0.slots.get(usize::from(slot.0)).unwrap_or(&self.0.current);
        lost.load(Ordering::Acquire) <= then && self.0.all.load(Ordering::Acquire) <= then
    }

    /// Waits until the number is another one than `known`.
    pub async fn moved_from(&self, known: u64) {
        loop {
            let raised = self.0.raised.notified();
            if self.current() != known {
                return;
            }
            raised.await;
        }
    }

    /// Everybody is to be looked up again.
    pub(crate) fn raise_for_all(&self) {
        self.raise(|next| self.0.all.store(next, Ordering::Release));
    }

    /// These are to be looked up again.
    pub(crate) fn raise_for<'h>(&self, holders: impl IntoIterator<Item = &'h str>) {
        self.raise(|next| {
            for holder in holders {
                if let Some(lost) = self.0.slots.get(usize::from(EpochSlot::of(holder).0)) {
                    lost.store(next, Ordering::Release);
                }
            }
        });
    }

    fn raise(&self, note: impl FnOnce(u64)) {
        let raising = self.0.raising.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.current() + 1;
        // The loss is stored before the number, so a reader of the number finds it.
        note(next);
        self.0.current.store(next, Ordering::Release);
        drop(raising);
        self.0.raised.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody with another place.
    fn another(than: &str) -> String {
        (0..100_u32)
            .map(|n| format!("other{n}"))
            .find(|other| EpochSlot::of(other) != EpochSlot::of(than))
            .unwrap()
    }

    #[test]
    fn only_whoever_lost_something_is_looked_up_again() {
        let epoch = Epoch::default();
        let (alice, bob) = (EpochSlot::of("alice"), EpochSlot::of(&another("alice")));
        let then = epoch.current();
        assert!(epoch.holds(alice, then) && epoch.holds(bob, then));
        epoch.raise_for(["alice"]);
        assert!(epoch.current() > then);
        assert!(!epoch.holds(alice, then) && epoch.holds(bob, then));
        let again = epoch.current();
        assert!(epoch.holds(alice, again), "looked up since");
        epoch.raise_for_all();
        assert!(!epoch.holds(alice, again) && !epoch.holds(bob, again));
    }

    #[test]
    fn whoever_reads_a_number_finds_noted_what_was_lost_up_to_it() {
        let epoch = Epoch::default();
        let slot = EpochSlot::of("alice");
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..10_000).for_each(|_| epoch.raise_for(["alice"])));
            }
            scope.spawn(|| {
                while epoch.current() < 20_000 {
                    let known = epoch.current();
                    assert!(known == 0 || !epoch.holds(slot, known - 1), "{known}");
                }
            });
        });
    }

    #[tokio::test]
    async fn whoever_waits_for_the_epoch_is_told_of_a_raise_before_and_after() {
        let epoch = Epoch::default();
        let known = epoch.current();
        let other = epoch.clone();
        let waiting = tokio::spawn(async move { other.moved_from(known).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        epoch.raise_for(["alice"]);
        waiting.await.unwrap();
        epoch.moved_from(known).await;
    }
}
