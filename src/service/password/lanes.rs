//! Where passwords are computed: a lane for hashes of ours, and one for those of other systems, each of which may take
//! twenty times as long. So guesses at the latter keep no one else waiting.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio::time::timeout;

use super::PasswordPriority;
use crate::service::ServiceError;

/// How long one waits at most.
pub(super) const QUEUE_WAIT: Duration = Duration::from_secs(2);
/// How much later an answer may come for the sake of those whose hashes take longer.
const MOST_WAIT: Duration = Duration::from_secs(2);
/// Times of slow hashes are kept for this long, or up to twice as long.
const KEPT: Duration = Duration::from_mins(30);

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// A hash of ours, or one that costs as much.
    Ours,
    /// Verification of a foreign hash.
    Foreign,
}

/// Both lanes.
#[derive(Debug)]
pub(super) struct HashingLanes {
    ours: HashingLane,
    /// One at a time.
    foreign: HashingLane,
    /// Whether a foreign one takes a place of ours, too: where there are several. Where there is one, that stays free.
    shared: bool,
}

/// Slots for running work, in which known users go ahead of unknown clients.
#[derive(Debug)]
struct HashingLane {
    work: Arc<Semaphore>,
    /// As many unknown clients as there are slots are in their queue; the others wait before it.
    next_unknown: Semaphore,
    seats: Arc<Semaphore>,
    unknown_seats: Arc<Semaphore>,
}

/// Slots for waiting and working, held by a running computation; dropping them lets the next one run.
#[derive(Debug)]
pub(super) struct HashingSlots(#[expect(dead_code, reason = "held")] Vec<OwnedSemaphorePermit>);

impl HashingLanes {
    /// As many computations of ours at a time as there are `cores`; `queue` more may wait, of unknown clients and of known users.
    pub(super) fn new(cores: usize, queue: usize) -> Self {
        Self { ours: HashingLane::new(cores, queue), foreign: HashingLane::new(1, queue), shared: cores > 1 }
    }

    /// Waits for a place.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] if there is no seat, or it takes too long.
    pub(super) async fn enter(
        &self,
        work: Work,
        whose: PasswordPriority,
    ) -> Result<HashingSlots, ServiceError> {
        let lanes = match work {
            Work::Ours => [Some(&self.ours), None],
            Work::Foreign => [Some(&self.foreign), Some(&self.ours).filter(|_| self.shared)],
        };
        let busy = || ServiceError::Busy { retry_after: QUEUE_WAIT };
        let mut held = Vec::with_capacity(4);
        for lane in lanes.into_iter().flatten() {
            held.push(lane.seat(whose).ok_or_else(busy)?);
        }
        let all = async {
            for lane in lanes.into_iter().flatten() {
                held.push(lane.slot(whose).await?);
            }
            Some(held)
        };
        timeout(QUEUE_WAIT, all).await.ok().flatten().map(HashingSlots).ok_or_else(busy)
    }

    /// How many more unknown clients find a seat before ours.
    #[cfg(test)]
    pub(super) fn seats_of_unknown(&self) -> usize {
        self.ours.unknown_seats.available_permits()
    }

    /// Every place at work on ours.
    #[cfg(test)]
    pub(super) fn all_places_of_ours(&self) -> OwnedSemaphorePermit {
        let all = u32::try_from(self.ours.work.available_permits()).unwrap();
        Arc::clone(&self.ours.work).try_acquire_many_owned(all).unwrap()
    }

    /// Every seat of unknown clients before ours.
    #[cfg(test)]
    pub(super) fn all_seats_of_unknown(&self) -> OwnedSemaphorePermit {
        let seats = &self.ours.unknown_seats;
        let all = u32::try_from(seats.available_permits()).unwrap();
        Arc::clone(seats).try_acquire_many_owned(all).unwrap()
    }

    /// How many of ours could begin now.
    pub(super) fn free(&self) -> usize {
        self.ours.work.available_permits()
    }
}

impl HashingLane {
    fn new(slots: usize, queue: usize) -> Self {
        Self {
            work: Arc::new(Semaphore::new(slots)),
            next_unknown: Semaphore::new(slots),
            seats: Arc::new(Semaphore::new(slots + queue)),
            unknown_seats: Arc::new(Semaphore::new(slots + queue)),
        }
    }

    fn seat(&self, whose: PasswordPriority) -> Option<OwnedSemaphorePermit> {
        let seats = if whose == PasswordPriority::Known { &self.seats } else { &self.unknown_seats };
        Arc::clone(seats).try_acquire_owned().ok()
    }

    async fn slot(&self, whose: PasswordPriority) -> Option<OwnedSemaphorePermit> {
        let _next = match whose {
            PasswordPriority::Known => None,
            PasswordPriority::Unknown => Some(self.next_unknown.acquire().await.ok()?),
        };
        Arc::clone(&self.work).acquire_owned().await.ok()
    }
}

/// How long verifying hashes of other systems took lately: the longest within [`KEPT`] or a little more.
#[derive(Debug, Default)]
pub(super) struct Slowest {
    since: Option<Instant>,
    latest: Duration,
    before: Duration,
}

impl Slowest {
    pub(super) fn note(&mut self, took: Duration) {
        self.forget();
        self.since.get_or_insert_with(Instant::now);
        self.latest = self.latest.max(took.min(MOST_WAIT));
    }

    pub(super) fn get(&mut self) -> Duration {
        self.forget();
        self.latest.max(self.before)
    }

    /// Not by and by: an answer that waits for less than the slowest takes would tell whose that is.
    fn forget(&mut self) {
        let Some(since) = self.since else { return };
        let age = since.elapsed();
        if age >= KEPT * 2 {
            *self = Self::default();
        } else if age >= KEPT {
            self.before = std::mem::take(&mut self.latest);
            self.since = Some(since + KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_hash_is_remembered_for_a_while_and_then_forgotten() {
        let mut slowest = Slowest::default();
        assert_eq!(slowest.get(), Duration::ZERO);
        let (slow, quick) = (Duration::from_millis(700), Duration::from_millis(5));
        slowest.note(slow);
        tokio::time::advance(KEPT.saturating_sub(Duration::from_secs(1))).await;
        slowest.note(quick);
        assert_eq!(slowest.get(), slow, "whatever came since");
        tokio::time::advance(Duration::from_secs(2)).await;
        slowest.note(quick);
        assert_eq!(slowest.get(), slow);
        tokio::time::advance(KEPT).await;
        assert_eq!(slowest.get(), quick);
        tokio::time::advance(KEPT * 2).await;
        assert_eq!(slowest.get(), Duration::ZERO);
        slowest.note(Duration::from_mins(1));
        assert_eq!(slowest.get(), MOST_WAIT);
        tokio::time::advance(KEPT * 2).await;
        assert_eq!(slowest.get(), Duration::ZERO, "also where nothing came since");
    }

    #[tokio::test(start_paused = true)]
    async fn foreign_hashes_leave_a_place_to_ours_however_many_there_are() {
        for cores in [1, 2, 8] {
            let lanes = HashingLanes::new(cores, 8);
            let _working = lanes.enter(Work::Foreign, PasswordPriority::Unknown).await.unwrap();
            assert!(lanes.free() >= 1, "{cores}");
            for whose in [PasswordPriority::Unknown, PasswordPriority::Known] {
                let begun = Instant::now();
                assert!(lanes.enter(Work::Foreign, whose).await.is_err(), "{cores}: one at a time");
                assert_eq!(begun.elapsed(), QUEUE_WAIT);
            }
            let begun = Instant::now();
            let ours = futures_util::future::join_all(
                (0..lanes.free()).map(|_| lanes.enter(Work::Ours, PasswordPriority::Unknown)),
            );
            assert!(ours.await.iter().all(Result::is_ok), "{cores}");
            assert_eq!(begun.elapsed(), Duration::ZERO);
        }
    }
}
