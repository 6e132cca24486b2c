//! A rate limiter for each person or client, for actions that leave rows in the store or cost others something.

use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashlink::LruCache;
use tokio::time::Instant;

use super::ServiceError;
use crate::model::user::UserId;

/// People tracked at once; the one idle longest is forgotten first.
const MOST: usize = 10_000;

/// Counts what people do. Clones count together.
#[derive(Clone, Debug)]
pub struct RateLimiter<K = UserId> {
    /// So often at once.
    at_once: u32,
    /// One more each so long.
    one_each: Duration,
    /// When all that was counted of a person will be forgotten.
    clear: Arc<Mutex<LruCache<K, Instant>>>,
}

impl RateLimiter {
    /// Of changes to what is one's own.
    pub fn of_changes() -> Self {
        Self::new(20, Duration::from_secs(3))
    }

    /// Of sessions opened by signing in and by hand-overs: as many as tabs that are restored at once may want.
    pub fn of_sessions() -> Self {
        Self::new(60, Duration::from_secs(5))
    }
}

impl<K: Hash + Eq + Clone> RateLimiter<K> {
    /// Of sign-ins that come back from a provider and lead to nothing: each may cost the store a row and the provider a call.
    pub fn of_failed_sign_ins() -> Self {
        Self::new(30, Duration::from_secs(2))
    }

    fn new(at_once: u32, one_each: Duration) -> Self {
        Self { at_once, one_each, clear: Arc::new(Mutex::new(LruCache::new(MOST))) }
    }

    /// Counts one more of this person's.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Throttled`] if it is too many; then it is not counted.
    pub fn admit(&self, who: &K) -> Result<(), ServiceError> {
        let mut people = self.clear.lock().unwrap_or_else(PoisonError::into_inner);
        let clear = self.after_one_more(people.get(who).copied())?;
        people.insert(who.clone(), clear);
        Ok(())
    }

    /// Whether one more would be admitted now; counts nothing.
    ///
    /// # Errors
    ///
    /// As [`RateLimiter::admit`].
    pub fn check(&self, who: &K) -> Result<(), ServiceError> {
        let people = self.clear.lock().unwrap_or_else(PoisonError::into_inner);
        self.after_one_more(people.peek(who).copied()).map(drop)
    }

    fn after_one_more(&self, clear: Option<Instant>) -> Result<Instant, ServiceError> {
        let now = Instant::now();
        let clear = clear.unwrap_or(now).max(now) + self.one_each;
        let allowed = now + self.one_each * self.at_once;
        if clear > allowed {
            return Err(ServiceError::Throttled { retry_after: clear - allowed });
        }
        Ok(clear)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_person_makes_some_changes_at_once_and_then_one_at_a_time() {
        let pace = RateLimiter::of_changes();
        let (at_once, one_each) = (pace.at_once, pace.one_each);
        let (busy, other) = (UserId::fresh(), UserId::fresh());
        for _ in 0..at_once {
            pace.admit(&busy).unwrap();
        }
        for _ in 0..3 {
            assert!(pace.check(&busy).is_err() && pace.check(&other).is_ok());
            let refused = pace.admit(&busy).unwrap_err();
            assert!(
                matches!(refused, ServiceError::Throttled { retry_after } if retry_after == one_each),
                "{refused:?}"
            );
        }
        pace.clone().admit(&other).unwrap();
        tokio::time::advance(one_each).await;
        pace.admit(&busy).unwrap();
        assert!(pace.admit(&busy).is_err());
        tokio::time::advance(one_each * at_once * 2).await;
        for _ in 0..at_once {
            pace.admit(&busy).unwrap();
        }
        assert!(pace.admit(&busy).is_err(), "rest is not saved up");
    }

    #[test]
    fn no_more_people_are_remembered_than_bounded() {
        let pace = RateLimiter::of_changes();
        for _ in 0..MOST + 10 {
            pace.admit(&UserId::fresh()).unwrap();
        }
        assert_eq!(pace.clear.lock().unwrap().len(), MOST);
    }
}
