//! A document of a provider, fetched when it is needed and kept for a while.
//!
//! One fetch at a time: who comes meanwhile waits for it, or takes what is known. A fetch that fails takes nothing away, and
//! is repeated after a pause that grows.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::error::DocumentError;

/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between failures.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// How long a document is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct CacheTimes {
    /// Until it is fetched anew.
    fresh: Duration,
    /// Until it is not used any more, if it cannot be fetched.
    usable: Duration,
    /// Between fetches that are asked for although the document is fresh.
    between_early: Duration,
}

impl CacheTimes {
    pub(super) const DISCOVERY: Self = Self {
        fresh: Duration::from_hours(1),
        usable: Duration::from_hours(24),
        between_early: Duration::from_secs(30),
    };
    pub(super) const KEYS: Self = Self::DISCOVERY;
}

/// A document and when it is fetched.
pub(super) struct CachedDocument<T> {
    times: CacheTimes,
    known: Mutex<Known<T>>,
    /// Held by whoever fetches.
    fetching: tokio::sync::Mutex<()>,
}

struct Known<T> {
    document: Option<(Arc<T>, Instant)>,
    /// After a failure: how many there were one after the other, and when the next try may be.
    failed: Option<(u32, Instant)>,
    /// The last fetch that was asked for early.
    early: Option<Instant>,
}

impl<T> CachedDocument<T> {
    pub(super) fn new(times: CacheTimes) -> Self {
        let known = Known { document: None, failed: None, early: None };
        Self { times, known: Mutex::new(known), fetching: tokio::sync::Mutex::new(()) }
    }

    /// The document: a fresh one, or an old one where a fresh one cannot be had.
    ///
    /// # Errors
    ///
    /// [`DocumentError`] if there is none that is usable.
    pub(super) async fn get(
        &self,
        provider: &str,
        fetch: impl Future<Output = Result<T, DocumentError>>,
    ) -> Result<Arc<T>, DocumentError> {
        if let Some(document) = self.younger_than(self.times.fresh) {
            return Ok(document);
        }
        let old = self.younger_than(self.times.usable);
        let _turn = match (self.fetching.try_lock(), old) {
            (Ok(turn), _) => turn,
            (Err(_), Some(old)) => return Ok(old),
            (Err(_), None) => self.fetching.lock().await,
        };
        if let Some(document) = self.younger_than(self.times.fresh) {
            return Ok(document);
        }
        if self.is_paused() {
            return self.younger_than(self.times.usable).ok_or(DocumentError::Paused);
        }
        match self.fetch(provider, fetch).await {
            Ok(document) => Ok(document),
            Err(error) => self.younger_than(self.times.usable).ok_or(error),
        }
    }

    /// A document that is newer than `seen`, which is fetched early if need be; `None` if there is none, or was asked for a
    /// moment ago.
    pub(super) async fn newer_than(
        &self,
        seen: &Arc<T>,
        provider: &str,
        fetch: impl Future<Output = Result<T, DocumentError>>,
    ) -> Option<Arc<T>> {
        let _turn = self.fetching.lock().await;
        {
            let mut known = self.known();
            if let Some((document, _)) = &known.document
                && !Arc::ptr_eq(document, seen)
            {
                return Some(Arc::clone(document));
            }
            if known.early.is_some_and(|last| last.elapsed() < self.times.between_early) {
                return None;
            }
            known.early = Some(Instant::now());
        }
        self.fetch(provider, fetch).await.ok()
    }

    /// For who has the turn.
    async fn fetch(
        &self,
        provider: &str,
        fetch: impl Future<Output = Result<T, DocumentError>>,
    ) -> Result<Arc<T>, DocumentError> {
        let fetched = fetch.await;
        let mut known = self.known();
        match fetched {
            Ok(document) => {
                let document = Arc::new(document);
                known.document = Some((Arc::clone(&document), Instant::now()));
                known.failed = None;
                Ok(document)
            }
            Err(error) => {
                let failures = known.failed.map_or(0, |(failures, _)| failures);
                let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(6)).min(LONGEST_PAUSE);
                known.failed = Some((failures.saturating_add(1), Instant::now() + pause));
                let kept = known.document.is_some();
                drop(known);
                tracing::warn!(provider, %error, kept, "a document of the provider cannot be fetched");
                Err(error)
            }
        }
    }

    fn younger_than(&self, age: Duration) -> Option<Arc<T>> {
        let known = self.known();
        let (document, fetched) = known.document.as_ref()?;
        (fetched.elapsed() < age).then(|| Arc::clone(document))
    }

    fn is_paused(&self) -> bool {
        self.known().failed.is_some_and(|(_, next)| Instant::now() < next)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known<T>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Fetches that count themselves; each takes a second.
    #[derive(Default)]
    struct Source {
        fetches: AtomicUsize,
        is_down: std::sync::atomic::AtomicBool,
    }

    impl Source {
        async fn fetch(&self) -> Result<usize, DocumentError> {
            let number = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
            if self.is_down.load(Ordering::SeqCst) { Err(DocumentError::Slow) } else { Ok(number) }
        }

        fn set_down(&self, is_down: bool) {
            self.is_down.store(is_down, Ordering::SeqCst);
        }

        fn fetches(&self) -> usize {
            self.fetches.load(Ordering::SeqCst)
        }
    }

    fn cached() -> CachedDocument<usize> {
        CachedDocument::new(CacheTimes::KEYS)
    }

    #[tokio::test(start_paused = true)]
    async fn a_document_is_fetched_once_for_all_who_wait_and_anew_after_an_hour() {
        let (cached, source) = (cached(), Source::default());
        let all = futures_util::future::join_all((0..50).map(|_| cached.get("sso", source.fetch()))).await;
        assert!(all.into_iter().all(|document| *document.unwrap() == 1));
        tokio::time::advance(Duration::from_mins(59)).await;
        assert_eq!(*cached.get("sso", source.fetch()).await.unwrap(), 1);
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(*cached.get("sso", source.fetch()).await.unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_fetch_keeps_the_old_document_for_a_day_and_no_longer() {
        let (cached, source) = (cached(), Source::default());
        cached.get("sso", source.fetch()).await.unwrap();
        source.set_down(true);
        for _ in 0..22 {
            tokio::time::advance(Duration::from_hours(1)).await;
            assert_eq!(*cached.get("sso", source.fetch()).await.unwrap(), 1);
        }
        assert!(source.fetches() > 20, "it is tried each time");
        tokio::time::advance(Duration::from_hours(2)).await;
        assert!(cached.get("sso", source.fetch()).await.is_err());
        source.set_down(false);
        tokio::time::advance(LONGEST_PAUSE).await;
        assert!(cached.get("sso", source.fetch()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_nobody_waits_and_the_next_try_is_later_each_time() {
        let (cached, source) = (cached(), Source::default());
        source.set_down(true);
        let mut tried = Vec::new();
        let began = Instant::now();
        for _ in 0..300 {
            let before = source.fetches();
            let refused = cached.get("sso", source.fetch()).await.unwrap_err();
            let is_tried = source.fetches() > before;
            assert_eq!(is_tried, !matches!(refused, DocumentError::Paused), "{refused:?}");
            if is_tried {
                tried.push(began.elapsed().as_secs());
            }
            tokio::time::advance(Duration::from_millis(500)).await;
        }
        let pauses: Vec<u64> = tried.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(pauses.windows(2).all(|two| two[0] <= two[1] + 1), "{pauses:?}");
        assert!(tried.len() < 10, "{tried:?}");
        source.set_down(false);
        tokio::time::advance(LONGEST_PAUSE).await;
        assert!(cached.get("sso", source.fetch()).await.is_ok(), "a provider that comes back is found");
    }

    #[tokio::test(start_paused = true)]
    async fn an_early_fetch_is_one_for_all_and_the_next_is_half_a_minute_later() {
        let (cached, source) = (cached(), Source::default());
        let first = cached.get("sso", source.fetch()).await.unwrap();
        let early = |seen| cached.newer_than(seen, "sso", source.fetch());
        let all = futures_util::future::join_all((0..50).map(|_| early(&first))).await;
        assert!(all.into_iter().all(|document| *document.unwrap() == 2));
        assert_eq!(source.fetches(), 2);
        let second = cached.get("sso", source.fetch()).await.unwrap();
        for _ in 0..100 {
            assert!(early(&second).await.is_none());
        }
        assert_eq!(source.fetches(), 2);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(early(&second).await.map(|document| *document), Some(3));
    }

    #[tokio::test(start_paused = true)]
    async fn an_early_fetch_that_fails_keeps_the_document() {
        let (cached, source) = (cached(), Source::default());
        let first = cached.get("sso", source.fetch()).await.unwrap();
        source.set_down(true);
        assert!(cached.newer_than(&first, "sso", source.fetch()).await.is_none());
        assert_eq!(*cached.get("sso", source.fetch()).await.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_leaves_the_turn_to_others() {
        let (cached, source) = (cached(), Source::default());
        let cut = tokio::time::timeout(Duration::from_millis(10), cached.get("sso", source.fetch())).await;
        assert!(cut.is_err());
        assert_eq!(*cached.get("sso", source.fetch()).await.unwrap(), 2);
    }
}
