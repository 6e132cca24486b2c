//! How every gateway learns, within a fraction of a second, that somebody lost a right.
//!
//! The store counts such changes in its revision, and notes who lost something. Each gateway watches it, and raises
//! its own epoch for them when it moves: the callers that the data plane has cached are looked up again.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;

use super::ServiceError;
use super::epoch::Epoch;
use crate::model::time::Clock;
use crate::model::time::Timestamp;
use crate::store::Lane;
use crate::store::Store;

/// How often the revision is read.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often a gateway shows that it is alive, if nothing else happens.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// A gateway that was silent for this long is not waited for.
const ALIVE: Duration = Duration::from_mins(1);
/// How often those who are behind are counted while one waits for them.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// Which running gateways act on a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Propagation {
    /// How many do.
    pub reached: usize,
    /// Those that did not say so in time.
    pub behind: Vec<String>,
}

/// Spreads the news of lost rights. Clones share everything.
#[derive(Clone, Debug)]
pub struct Revocations {
    store: Store,
    clock: Arc<dyn Clock>,
    epoch: Epoch,
    /// This process among those that share the store.
    gateway: Arc<str>,
    started: Instant,
    /// Milliseconds from `started` to the beginning of the last successful read, plus one; zero is never.
    read_at: Arc<AtomicU64>,
    /// The revision as last read.
    revision: Arc<AtomicI64>,
}

/// The state of the watching loop: the revision that is in effect.
type RevisionSender = watch::Sender<Option<i64>>;

impl Revocations {
    /// For one process; it is unknown to others until [`Revocations::watch`] runs.
    pub(super) fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self {
            store: store.on(Lane::Watch),
            clock,
            epoch: Epoch::default(),
            gateway: uuid::Uuid::now_v7().to_string().into(),
            started: Instant::now(),
            read_at: Arc::default(),
            revision: Arc::default(),
        }
    }

    /// The handle that the data plane compares with.
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Makes this process look a user, or a key without an owner, up again by id, after a change made here.
    pub fn look_again_at(&self, holder: &str) {
        self.epoch.raise_for([holder]);
    }

    /// Whether the store was read successfully at most `within` ago, so that the cache may be trusted.
    pub fn is_fresh(&self, within: Duration) -> bool {
        self.fresh_for(within).is_some()
    }

    /// How much longer [`Revocations::is_fresh`] holds if the store is not read again; `None` if it does not.
    pub fn fresh_for(&self, within: Duration) -> Option<Duration> {
        within.checked_sub(self.age()?)
    }

    /// How long ago the store was last read successfully; `None` is never.
    pub fn age(&self) -> Option<Duration> {
        let read_at = self.read_at.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.started.elapsed().saturating_sub(Duration::from_millis(read_at)))
    }

    /// The store's revision, as last read; zero before that.
    pub fn revision(&self) -> i64 {
        self.revision.load(Ordering::Relaxed)
    }

    /// Watches the store for ever. To be spawned once in a process that serves.
    pub async fn watch(self) {
        let (watched, acted_on) = watch::channel(None);
        // No revocation waits for this report: it is a change, and is queued like any other.
        tokio::join!(self.look_on(watched), self.report_on(acted_on));
    }

    async fn look_on(&self, watched: RevisionSender) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            ticks.tick().await;
            match self.look(&watched).await {
                Ok(()) if failing => {
                    failing = false;
                    tracing::info!("the store answers again");
                }
                Err(ref error) if !failing => {
                    failing = true;
                    tracing::warn!(error = error as &dyn Error, "the store cannot be read for revocations");
                }
                _ => {}
            }
        }
    }

    async fn report_on(&self, mut acted_on: watch::Receiver<Option<i64>>) {
        loop {
            let revision = *acted_on.borrow_and_update();
            let reported = match revision {
                Some(revision) => self.report(revision).await,
                None => Ok(()),
            };
            let again = if let Err(error) = reported {
                tracing::debug!(error = &error as &dyn Error, "the store was not told of this gateway");
                LOOK_EVERY
            } else {
                HEARTBEAT
            };
            if let Ok(Err(_)) = tokio::time::timeout(again, acted_on.changed()).await {
                return;
            }
        }
    }

    /// Says that this gateway is alive and acts on everything up to `revision`.
    async fn report(&self, revision: i64) -> Result<(), ServiceError> {
        Ok(self
            .store
            .clone()
            .on(Lane::Rest)
            .report_gateway(&self.gateway, revision, self.clock.now())
            .await?)
    }

    /// Raises the epoch for those who lost something since a revision; where they are not known, for all.
    async fn catch_up(&self, before: Option<i64>, now: i64) -> Result<(), ServiceError> {
        let holders = match before {
            Some(before) => self.store.lost_rights(before, now).await?,
            None => None,
        };
        match holders {
            Some(holders) => self.epoch.raise_for(holders.iter().map(String::as_str)),
            None => self.epoch.raise_for_all(),
        }
        Ok(())
    }

    /// One look: a moved revision raises the epoch first, and counts as acted on only then.
    async fn look(&self, watched: &RevisionSender) -> Result<(), ServiceError> {
        let began = self.started.elapsed();
        let revision = self.store.revision().await?;
        let before = *watched.borrow();
        if before != Some(revision) {
            self.catch_up(before, revision).await?;
            watched.send_replace(Some(revision));
        }
        self.revision.store(revision, Ordering::Relaxed);
        let began = u64::try_from(began.as_millis()).unwrap_or(u64::MAX - 1);
        self.read_at.fetch_max(began + 1, Ordering::AcqRel);
        Ok(())
    }

    /// Waits until every gateway that is alive acts on everything up to now, at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn seen_everywhere(&self, timeout: Duration) -> Result<Propagation, ServiceError> {
        let revision = self.store.revision().await?;
        let deadline = Instant::now() + timeout;
        loop {
            let alive_since = self.alive_since();
            let behind = self.store.gateways_behind(revision, alive_since).await?;
            if behind.is_empty() || Instant::now() >= deadline {
                let alive = self.store.gateways_behind(i64::MAX, alive_since).await?;
                return Ok(Propagation { reached: alive.len().saturating_sub(behind.len()), behind });
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    fn alive_since(&self) -> Timestamp {
        let alive = i64::try_from(ALIVE.as_secs()).unwrap_or(i64::MAX);
        Timestamp(self.clock.now().0.saturating_sub(alive))
    }

    /// Takes this process off the list when it stops, so that no command waits for it.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn forget(&self) -> Result<(), ServiceError> {
        Ok(self.store.forget_gateway(&self.gateway).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::user::User;
    use crate::service::epoch::EpochSlot;
    use crate::service::testing::ServiceFixture;

    const NOW: Duration = Duration::ZERO;

    /// Reads the store once, and reports it.
    async fn look(gateway: &Revocations, watched: &RevisionSender) {
        gateway.look(watched).await.unwrap();
        let revision = watched.borrow().unwrap();
        gateway.report(revision).await.unwrap();
    }

    #[tokio::test]
    async fn a_moved_revision_raises_the_epoch_and_an_unmoved_one_does_not() {
        let world = ServiceFixture::new().await;
        let other = Revocations::new(world.store.clone(), world.clock());
        let watched = RevisionSender::default();
        look(&other, &watched).await;
        let before = other.epoch().current();
        look(&other, &watched).await;
        assert_eq!(other.epoch().current(), before);
        let user = world.user("alice").await;
        world.sessions.open(world.by.actor(), &user, "192.0.2.1".parse().unwrap(), "b").await.unwrap();
        look(&other, &watched).await;
        assert_eq!(other.epoch().current(), before, "a new right needs no forgetting");
        world.sessions.end_all(&world.by, &user.id).await.unwrap();
        look(&other, &watched).await;
        assert!(other.epoch().current() > before);
    }

    #[tokio::test]
    async fn only_those_who_lost_something_are_looked_up_again() {
        let world = ServiceFixture::new().await;
        let other = Revocations::new(world.store.clone(), world.clock());
        let watched = RevisionSender::default();
        let (alice, bob) = (world.user("alice").await, world.user("bob").await);
        let holds = |user: &User, then| other.epoch().holds(EpochSlot::of(&user.id.0), then);
        look(&other, &watched).await;
        let then = other.epoch().current();
        world.accounts.set_display_name(world.by.actor(), &alice.id, "Alice").await.unwrap();
        look(&other, &watched).await;
        assert_eq!(other.epoch().current(), then, "a name is no right");
        world.accounts.disable(&world.by, &alice.id).await.unwrap();
        look(&other, &watched).await;
        assert!(
            !holds(&alice, then)
                && (holds(&bob, then) || EpochSlot::of(&alice.id.0) == EpochSlot::of(&bob.id.0))
        );
        // What is not told whole concerns everybody.
        let then = other.epoch().current();
        for enabled in 0..=Store::MOST_LOST_AT_ONCE {
            let done = if enabled % 2 == 0 {
                world.accounts.enable(&world.by, &alice.id).await
            } else {
                world.accounts.disable(&world.by, &alice.id).await
            };
            done.unwrap();
        }
        look(&other, &watched).await;
        assert!(!holds(&alice, then) && !holds(&bob, then));
    }

    #[tokio::test]
    async fn a_change_is_waited_for_until_every_living_gateway_has_looked() {
        let world = ServiceFixture::new().await;
        let gateways = [1, 2].map(|_| Revocations::new(world.store.clone(), world.clock()));
        let watched = [RevisionSender::default(), RevisionSender::default()];
        for (gateway, watched) in gateways.iter().zip(&watched) {
            look(gateway, watched).await;
        }
        assert_eq!(
            world.revocations.seen_everywhere(NOW).await.unwrap(),
            Propagation { reached: 2, behind: vec![] }
        );
        let user = world.user("alice").await;
        world.accounts.disable(&world.by, &user.id).await.unwrap();
        look(&gateways[0], &watched[0]).await;
        let spread = world.revocations.seen_everywhere(NOW).await.unwrap();
        assert_eq!(spread, Propagation { reached: 1, behind: vec![gateways[1].gateway.to_string()] });
        look(&gateways[1], &watched[1]).await;
        assert_eq!(world.revocations.seen_everywhere(NOW).await.unwrap().behind, Vec::<String>::new());
    }

    #[tokio::test]
    async fn the_silent_and_the_stopped_are_not_waited_for() {
        let world = ServiceFixture::new().await;
        let silent = Revocations::new(world.store.clone(), world.clock());
        look(&silent, &RevisionSender::default()).await;
        world.clock.advance(Duration::from_secs(61));
        let stopped = Revocations::new(world.store.clone(), world.clock());
        look(&stopped, &RevisionSender::default()).await;
        stopped.forget().await.unwrap();
        let user = world.user("alice").await;
        world.accounts.disable(&world.by, &user.id).await.unwrap();
        let spread = world.revocations.seen_everywhere(NOW).await.unwrap();
        assert_eq!(spread, Propagation { reached: 0, behind: vec![] });
    }

    #[tokio::test]
    async fn memory_is_trusted_only_shortly_after_a_successful_read() {
        let world = ServiceFixture::new().await;
        let gateway = Revocations::new(world.store.clone(), world.clock());
        let within = Duration::from_secs(1);
        assert!(!gateway.is_fresh(within), "never read");
        look(&gateway, &RevisionSender::default()).await;
        assert!(gateway.is_fresh(within));
        world.store.close().await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!gateway.is_fresh(within));
        assert!(gateway.look(&RevisionSender::default()).await.is_err());
        assert!(!gateway.is_fresh(within));
    }
}
