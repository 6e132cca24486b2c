//! A concurrency limiter with a fair share for each key, for running work and for waiting.

use std::any::Any;
use std::cell::Cell;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::ServiceError;

tokio::task_local! {
    /// What leave this task has to run.
    static LEAVE: Cell<Option<Box<dyn Any + Send>>>;
}

/// How many may run, and how many may be admitted: running or waiting.
#[derive(Clone, Copy, Debug)]
pub struct ConcurrencyLimits {
    /// Of one at work.
    pub running_per_key: usize,
    /// Of one inside.
    pub admitted_per_key: usize,
    /// Of all at work.
    pub work: usize,
    /// Of all inside.
    pub inside: usize,
    /// The longest wait.
    pub wait: Duration,
}

/// Limits the running work of each `K`. Clones share the limits. Locked on entry and exit, never while waiting.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimiter<K: Eq + Hash> {
    bounds: ConcurrencyLimits,
    lines: Arc<Mutex<LimiterState<K>>>,
    work: Arc<Semaphore>,
}

#[derive(Debug)]
struct LimiterState<K> {
    inside: usize,
    /// At most one for each that is inside.
    own: HashMap<K, KeyState>,
}

#[derive(Debug)]
struct KeyState {
    inside: usize,
    work: Arc<Semaphore>,
}

/// Leave to run; dropping it lets the next one run.
#[derive(Debug)]
pub struct LimiterGuard<K: Eq + Hash> {
    _work: [OwnedSemaphorePermit; 2],
    _place: QueueSlot<K>,
}

/// A slot in the queue.
#[derive(Debug)]
struct QueueSlot<K: Eq + Hash> {
    lines: Arc<Mutex<LimiterState<K>>>,
    key: K,
}

impl<K: Eq + Hash + Clone> ConcurrencyLimiter<K> {
    /// A limiter with these limits.
    pub fn new(bounds: ConcurrencyLimits) -> Self {
        let lines = LimiterState { inside: 0, own: HashMap::new() };
        Self { bounds, lines: Arc::new(Mutex::new(lines)), work: Arc::new(Semaphore::new(bounds.work)) }
    }

    /// Waits until work of `key` may run.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] if there is no room to wait, for all or for this one, or if it takes too long.
    pub async fn take(&self, key: K) -> Result<LimiterGuard<K>, ServiceError> {
        let busy = || ServiceError::Busy { retry_after: self.bounds.wait };
        let (slot, own) = self.enter(key).ok_or_else(busy)?;
        let both = async {
            // A key that has used its share waits before it enters the common queue.
            let own = own.acquire_owned().await.ok()?;
            Some([own, Arc::clone(&self.work).acquire_owned().await.ok()?])
        };
        let work = timeout(self.bounds.wait, both).await.ok().flatten().ok_or_else(busy)?;
        Ok(LimiterGuard { _work: work, _place: slot })
    }

    fn enter(&self, key: K) -> Option<(QueueSlot<K>, Arc<Semaphore>)> {
        let mut lines = locked(&self.lines);
        let known = lines.own.get(&key).map_or(0, |line| line.inside);
        if lines.inside >= self.bounds.inside || known >= self.bounds.admitted_per_key {
            return None;
        }
        lines.inside += 1;
        let fresh = || KeyState { inside: 0, work: Arc::new(Semaphore::new(self.bounds.running_per_key)) };
        let line = lines.own.entry(key.clone()).or_insert_with(fresh);
        line.inside += 1;
        let own = Arc::clone(&line.work);
        Some((QueueSlot { lines: Arc::clone(&self.lines), key }, own))
    }
}

impl<K: Eq + Hash> Drop for QueueSlot<K> {
    fn drop(&mut self) {
        let mut lines = locked(&self.lines);
        lines.inside = lines.inside.saturating_sub(1);
        if let Some(line) = lines.own.get_mut(&self.key) {
            line.inside = line.inside.saturating_sub(1);
            if line.inside == 0 {
                lines.own.remove(&self.key);
            }
        }
    }
}

impl<K: Eq + Hash + Send + 'static> LimiterGuard<K> {
    /// Runs `work` with this leave, which ends with it, or before where it only waits: [`wait_without_work`].
    pub async fn during<T>(self, work: impl Future<Output = T>) -> T {
        LEAVE.scope(Cell::new(Some(Box::new(self))), work).await
    }
}

/// Lets time pass. The next one runs meanwhile: the task gives its leave back, if it has one, and goes on without it.
pub async fn wait_without_work(time: Duration) {
    drop(LEAVE.try_with(Cell::take));
    tokio::time::sleep(time).await;
}

fn locked<K>(lines: &Mutex<LimiterState<K>>) -> MutexGuard<'_, LimiterState<K>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: ConcurrencyLimits = ConcurrencyLimits {
        running_per_key: 2,
        admitted_per_key: 4,
        work: 3,
        inside: 8,
        wait: Duration::from_secs(2),
    };

    fn is_busy<T>(outcome: &Result<T, ServiceError>) -> bool {
        matches!(outcome, Err(ServiceError::Busy { .. }))
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_rushes_has_its_share_and_others_have_theirs() {
        let turns = ConcurrencyLimiter::new(BOUNDS);
        let rush = turns.clone();
        let rushing = tokio::spawn(async move {
            let all = futures_util::future::join_all((0..50).map(|_| rush.take("rush"))).await;
            all.iter().filter(|turn| turn.is_ok()).count()
        });
        tokio::task::yield_now().await;
        let began = tokio::time::Instant::now();
        assert!(turns.take("other").await.is_ok(), "its place is not taken");
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(
            rushing.await.unwrap(),
            2,
            "who holds its share gets no more, and waits for a bounded time"
        );
        assert_eq!(locked(&turns.lines).own.len(), 0, "nothing is kept of who has gone");
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_one_works_when_one_has_finished() {
        let turns = ConcurrencyLimiter::new(BOUNDS);
        let first = turns.take("a").await.unwrap();
        let _second = turns.take("a").await.unwrap();
        let waiting = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take("a").await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!waiting.is_finished());
        drop(first);
        assert!(waiting.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn all_together_are_bounded_and_room_comes_back() {
        let turns = ConcurrencyLimiter::new(BOUNDS);
        let began = tokio::time::Instant::now();
        let crowd = (0..20).map(async |key| (turns.take(key).await, began.elapsed()));
        let crowd = futures_util::future::join_all(crowd).await;
        assert_eq!(crowd.iter().filter(|(turn, _)| turn.is_ok()).count(), 3);
        assert!(crowd.iter().all(|(turn, _)| turn.is_ok() || is_busy(turn)));
        let at_once = crowd.iter().filter(|(turn, waited)| is_busy(turn) && waited.is_zero()).count();
        assert_eq!(at_once, 20 - BOUNDS.inside, "who finds no room waits for none");
        drop(crowd);
        assert!(turns.take(99).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_only_waits_lets_the_next_one_run() {
        let turns = ConcurrencyLimiter::new(ConcurrencyLimits { work: 1, inside: 1, ..BOUNDS });
        let first = turns.take("a").await.unwrap();
        let (next, began) = (turns.clone(), tokio::time::Instant::now());
        let waiting = first.during(async {
            assert!(next.take("b").await.is_err(), "it runs");
            let waiting = wait_without_work(Duration::from_mins(1));
            let meanwhile = async { next.take("b").await.is_ok() };
            tokio::join!(waiting, meanwhile).1
        });
        assert!(waiting.await, "it only waits");
        assert_eq!(began.elapsed(), Duration::from_mins(1), "as long as ever");
        turns.take("c").await.unwrap().during(async {}).await;
        assert!(turns.take("d").await.is_ok(), "it has ended");
        wait_without_work(Duration::from_secs(1)).await;
    }

    #[tokio::test]
    async fn whoever_hangs_up_while_waiting_leaves_no_place_taken() {
        let turns = ConcurrencyLimiter::new(BOUNDS);
        let _held = (turns.take("a").await.unwrap(), turns.take("a").await.unwrap());
        for _ in 0..50 {
            let waiting = turns.take("a");
            assert!(futures_util::FutureExt::now_or_never(waiting).is_none());
        }
        assert_eq!(locked(&turns.lines).inside, 2);
    }
}
