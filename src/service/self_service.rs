//! How often one person may change what is their own. Whoever may do so is no attacker yet, and still must not
//! cost all others their turn.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashlink::LruCache;
use tokio::time::Instant;

use super::ServiceError;
use crate::model::user::UserId;

/// Changes one person may make at once.
const AT_ONCE: u32 = 20;
/// One more each so long.
const ONE_EACH: Duration = Duration::from_secs(3);
/// People told apart; whoever was longest without a change is forgotten, and may have made it long ago.
const MOST: usize = 10_000;

/// Counts changes of people to what is their own. Clones count together.
#[derive(Clone, Debug)]
pub struct SelfService(Arc<Mutex<LruCache<UserId, Instant>>>);

impl Default for SelfService {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(MOST))))
    }
}

impl SelfService {
    /// Counts one more change of this person's.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Throttled`] if it is too many; then it is not counted.
    pub fn admit(&self, who: &UserId) -> Result<(), ServiceError> {
        let now = Instant::now();
        let mut people = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // When all that was counted will be forgotten.
        let clear = people.get(who).copied().unwrap_or(now).max(now) + ONE_EACH;
        let allowed = now + ONE_EACH * AT_ONCE;
        if clear > allowed {
            return Err(ServiceError::Throttled { retry_after: clear - allowed });
        }
        people.insert(who.clone(), clear);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_person_makes_some_changes_at_once_and_then_one_at_a_time() {
        let pace = SelfService::default();
        let (busy, other) = (UserId::fresh(), UserId::fresh());
        for _ in 0..AT_ONCE {
            pace.admit(&busy).unwrap();
        }
        for _ in 0..3 {
            let refused = pace.admit(&busy).unwrap_err();
            assert!(
                matches!(refused, ServiceError::Throttled { retry_after } if retry_after == ONE_EACH),
                "{refused:?}"
            );
        }
        pace.clone().admit(&other).unwrap();
        tokio::time::advance(ONE_EACH).await;
        pace.admit(&busy).unwrap();
        assert!(pace.admit(&busy).is_err());
        tokio::time::advance(ONE_EACH * AT_ONCE * 2).await;
        for _ in 0..AT_ONCE {
            pace.admit(&busy).unwrap();
        }
        assert!(pace.admit(&busy).is_err(), "rest is not saved up");
    }

    #[test]
    fn no_more_people_are_remembered_than_bounded() {
        let pace = SelfService::default();
        for _ in 0..MOST + 10 {
            pace.admit(&UserId::fresh()).unwrap();
        }
        assert_eq!(pace.0.lock().unwrap().len(), MOST);
    }
}
