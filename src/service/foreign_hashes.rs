//! What verifying the hashes of other systems takes that users still have, known before anybody is answered: whoever is
//! refused waits as long as the slowest of them takes, also where none was verified since the start.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::ServiceError;
use super::password::Passwords;
use super::stored_hash::StoredHash;
use crate::store::Store;

/// What was found out is looked at again after this, while sign-ins go on by what is known.
const AGAIN_AFTER: Duration = Duration::from_mins(10);
/// After this sign-ins wait for another look; times are kept for longer.
const OUTDATED_AFTER: Duration = Duration::from_mins(25);
/// Kinds that are tried, those that should take longest first.
const MOST_TRIED: usize = 4;

/// Knows which hashes of other systems there are.
#[derive(Clone, Debug)]
pub(super) struct ForeignHashes {
    store: Store,
    passwords: Passwords,
    /// When they were looked at last.
    looked: Arc<std::sync::Mutex<Option<Instant>>>,
    /// Held by whoever looks.
    looking: Arc<Mutex<()>>,
}

impl ForeignHashes {
    pub(super) fn new(store: Store, passwords: Passwords) -> Self {
        Self { store, passwords, looked: Arc::default(), looking: Arc::default() }
    }

    /// Has the time that the slowest takes known to [`Passwords`]. Whoever asks first since the start waits until it is, and
    /// so do all who ask meanwhile.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer, [`ServiceError::Busy`] if there is no room to try one.
    pub(super) async fn know(&self) -> Result<(), ServiceError> {
        match self.age() {
            Some(age) if age < AGAIN_AFTER => Ok(()),
            Some(age) if age < OUTDATED_AFTER => {
                if let Ok(looking) = Arc::clone(&self.looking).try_lock_owned() {
                    let own = self.clone();
                    tokio::spawn(async move {
                        // Where it fails the next one who asks tries again.
                        let _failed = own.look().await;
                        drop(looking);
                    });
                }
                Ok(())
            }
            _ => {
                let _looking = self.looking.lock().await;
                if self.age().is_some_and(|age| age < OUTDATED_AFTER) {
                    return Ok(());
                }
                self.look().await
            }
        }
    }

    fn age(&self) -> Option<Duration> {
        self.looked.lock().unwrap_or_else(std::sync::PoisonError::into_inner).map(|looked| looked.elapsed())
    }

    async fn look(&self) -> Result<(), ServiceError> {
        let begun = Instant::now();
        for slow in self.slowest().await? {
            self.passwords.time(slow).await?;
        }
        *self.looked.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(begun);
        Ok(())
    }

    /// One hash of each kind that there is, of those that should take longest.
    async fn slowest(&self) -> Result<Vec<StoredHash>, ServiceError> {
        let (mut slowest, mut kinds): (Vec<(u64, StoredHash)>, HashSet<String>) = Default::default();
        let mut after = None;
        loop {
            let page = self.store.password_hashes(after.as_ref()).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (_, hash) in &page {
                let Ok(hash) = StoredHash::read(hash.expose()) else { continue };
                let work = hash.work();
                let worth =
                    slowest.len() < MOST_TRIED || slowest.last().is_some_and(|(least, _)| work > *least);
                if hash.is_foreign() && worth && kinds.insert(hash.kind()) {
                    slowest.push((work, hash.unmatchable()));
                    slowest.sort_by_key(|(work, _)| std::cmp::Reverse(*work));
                    for (_, dropped) in slowest.split_off(slowest.len().min(MOST_TRIED)) {
                        kinds.remove(&dropped.kind());
                    }
                }
            }
        }
        Ok(slowest.into_iter().map(|(_, hash)| hash).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::role::Role;
    use crate::model::secret::Secret;
    use crate::service::testing::{ServiceFixture, new_user};

    /// bcrypt at cost 10 takes some 60 ms and more, where ours take 20.
    const SLOW: &str = "$2y$10$jPnWU1yFaYZJ134suIKZguIWniaU5ej89nrkJe4AwIwGj3aUvCiSG";
    const QUICK: &str = "$2y$04$70jlLwa1cRDGLUVyMqeiWOgmQivgZA7z.pFKrw60gtTSOD2VMS8qa";
    const OURS: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";

    async fn having(hashes: &[&str]) -> ServiceFixture {
        let world = ServiceFixture::new().await;
        for (number, hash) in hashes.iter().enumerate() {
            let user = new_user(&format!("user{number}"), Role::Member);
            world.accounts.create_with_hash(&world.by, user, &Secret::new(*hash), false).await.unwrap();
        }
        world
    }

    async fn kinds(world: &ServiceFixture) -> Vec<String> {
        let foreign = ForeignHashes::new(world.store.clone(), world.passwords.clone());
        foreign.slowest().await.unwrap().iter().map(StoredHash::kind).collect()
    }

    #[tokio::test]
    async fn one_hash_of_each_foreign_kind_is_tried_and_the_slowest_first() {
        let phoenix = |salt: &str| format!("phoenix:{}:{}", salt.repeat(16), "11".repeat(32));
        let (one, other) = (phoenix("00"), phoenix("ff"));
        let world = having(&[
            OURS,
            QUICK,
            &one,
            SLOW,
            &other,
            QUICK,
            "$2y$11$jPnWU1yFaYZJ134suIKZguIWniaU5ej89nrkJe4AwIwGj3aUvCiSG",
        ])
        .await;
        let found = kinds(&world).await;
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].contains("11") && found[1].contains("10"), "{found:?}");
        let more: Vec<String> = (5..10).map(|cost| SLOW.replace("$10$", &format!("${cost:02}$"))).collect();
        let world = having(&more.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let found = kinds(&world).await;
        assert_eq!(found.len(), MOST_TRIED);
        assert!(!found.iter().any(|kind| kind.contains("05")), "{found:?}");
        assert!(kinds(&having(&[OURS, OURS]).await).await.is_empty());
    }

    #[tokio::test]
    async fn they_are_looked_at_once_for_all_who_ask_and_again_after_a_while() {
        let world = having(&[QUICK]).await;
        let foreign = ForeignHashes::new(world.store.clone(), world.passwords.clone());
        for known in futures_util::future::join_all((0..20).map(|_| foreign.know())).await {
            known.unwrap();
        }
        assert_eq!(world.passwords.computed_foreign(), 1);
        tokio::time::pause();
        tokio::time::advance(OUTDATED_AFTER).await;
        tokio::time::resume();
        foreign.know().await.unwrap();
        assert_eq!(world.passwords.computed_foreign(), 2);
    }

    #[tokio::test]
    async fn without_the_store_nobody_is_answered() {
        let world = having(&[QUICK]).await;
        let foreign = ForeignHashes::new(world.store.clone(), world.passwords.clone());
        world.store.close().await;
        assert!(matches!(foreign.know().await, Err(ServiceError::Unavailable(_))));
        assert!(matches!(foreign.know().await, Err(ServiceError::Unavailable(_))), "nor the next time");
    }

    /// Else the first guess at a name after a start tells whether its hash is of another system.
    #[tokio::test]
    async fn the_first_answer_after_a_start_takes_as_long_whosever_name_it_is() {
        // The quickest of several: other work on the machine only ever makes one slower.
        let once = |_| {
            let begun = std::time::Instant::now();
            assert!(!StoredHash::read(SLOW).unwrap().verifies(b"wrong"));
            begun.elapsed()
        };
        let slow = (0..7).map(once).min().unwrap();
        for name in ["user0", "user1", "user2", "nobody"] {
            let world = having(&[OURS, SLOW, OURS]).await;
            let begun = std::time::Instant::now();
            let refused = world.sign_in(name, "wrong", "192.0.2.1", None).await;
            assert!(matches!(refused, Err(ServiceError::Refused)), "{name}: {refused:?}");
            // Whatever is slow is tried once, and then waited for, or verified.
            assert!(begun.elapsed() > slow * 3 / 2, "{name}: {:?} against {slow:?}", begun.elapsed());
            assert!(world.passwords.computed_foreign() >= 1);
        }
    }
}
