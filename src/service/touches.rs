//! Records the use of sessions and keys off the request path, and deletes what has ended.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;

use super::ServiceError;
use super::api_keys::ApiKeys;
use super::attempts::LONGEST_WINDOW;
use super::audit::Audit;
use super::bootstrap::SETUP_TOKEN_LIFE;
use super::handovers;
use super::provider_sessions;
use super::sessions::Sessions;
use crate::model::time::Clock;
use crate::model::time::Timestamp;
use crate::store::LongestLifetimes;
use crate::store::Store;

/// Uses that may wait to be collected, some megabytes of them, while a batch is written; further ones are not taken, and
/// the next request says the same.
const QUEUE: usize = 65_536;
/// Sessions or keys that wait to be written; when they are so many they wait no longer.
const BATCH: usize = 4096;
/// Keys that have ended are listed this much longer.
const KEYS_KEPT: Duration = Duration::from_hours(90 * 24);
/// How often they are written.
const WRITE_EVERY: Duration = Duration::from_secs(30);
/// How often passwords that were tried in vain are written down, whatever there is to write.
const FAILURES_EVERY: Duration = Duration::from_secs(1);
/// How often what has ended is deleted.
const TIDY_EVERY: Duration = Duration::from_mins(10);
/// The clock has to go steadily for so long before anything is deleted for its age.
const STEADY_AFTER: Duration = Duration::from_mins(5);
/// What would have been refused and did not come again is forgotten after this long.
const REPORT_KEPT: Duration = Duration::from_hours(90 * 24);
/// A gateway silent for this long has not stopped properly, and will not come back.
const GATEWAY_GONE: Duration = Duration::from_hours(24);

#[derive(Clone, Debug)]
enum Used {
    Session(String, Timestamp),
    Key(String, Timestamp),
}

/// Where the data plane drops what was used. Never waits; clones share the queue.
#[derive(Clone, Debug)]
pub struct Touches(mpsc::Sender<Used>);

impl Touches {
    /// The session with this public id was seen; `false` if that has to be said again.
    pub fn session(&self, id: &str, at: Timestamp) -> bool {
        self.0.try_send(Used::Session(id.to_owned(), at)).is_ok()
    }

    /// How many uses wait to be collected.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.0.max_capacity() - self.0.capacity()
    }

    /// The key with this public id was used; `false` if that has to be said again.
    pub fn key(&self, id: &str, at: Timestamp) -> bool {
        self.0.try_send(Used::Key(id.to_owned(), at)).is_ok()
    }
}

/// Collects uses and writes them in batches; deletes what has ended. One per process that serves.
#[derive(Debug)]
pub struct Maintenance {
    used: mpsc::Receiver<Used>,
    /// As they are now: when one counts as idle is a setting that can change.
    sessions: watch::Receiver<Sessions>,
    api_keys: ApiKeys,
    audit: Audit,
    audit_keep: Duration,
    store: Store,
    clock: Arc<dyn Clock>,
    seen_sessions: HashMap<String, Timestamp>,
    used_keys: HashMap<String, Timestamp>,
}

/// The two ends of the queue. Rows of the trail are deleted after `audit_keep`. [`Maintenance::run`] is to be spawned on the control runtime.
pub fn channel(
    sessions: watch::Receiver<Sessions>,
    api_keys: ApiKeys,
    (audit, audit_keep): (Audit, Duration),
    store: Store,
    clock: Arc<dyn Clock>,
) -> (Touches, Maintenance) {
    let (sender, used) = mpsc::channel(QUEUE);
    let (seen_sessions, used_keys) = (HashMap::new(), HashMap::new());
    let upkeep =
        Maintenance { used, sessions, api_keys, audit, audit_keep, store, clock, seen_sessions, used_keys };
    (Touches(sender), upkeep)
}

impl Maintenance {
    /// Works until `stop` is done, then writes what is left.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut writing = tokio::time::interval(WRITE_EVERY);
        let mut tidying = tokio::time::interval(TIDY_EVERY);
        let mut failures = tokio::time::interval(FAILURES_EVERY);
        failures.set_missed_tick_behavior(MissedTickBehavior::Delay);
        writing.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tidying.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pace = ClockCheck::from(self.clock.now());
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                Some(used) = self.used.recv() => {
                    if self.collect(used) {
                        report("last uses were not written", self.write().await);
                    }
                }
                _ = failures.tick() => {
                    report("failed sign-ins are not in the audit trail yet", self.audit.failed_attempts().await);
                }
                _ = writing.tick() => {
                    report("last uses were not written", self.write().await);
                    let now = self.clock.now();
                    let keep = if pace.is_steady(now) { self.audit_keep } else { Duration::ZERO };
                    report("the audit trail was not tidied", self.audit.tidy(now, keep).await);
                }
                _ = tidying.tick() => {
                    report("times that are still to come were not reined in", self.rein_in().await);
                    if pace.is_steady(self.clock.now()) {
                        report("ended sessions were not deleted", self.tidy().await);
                    }
                }
            }
        }
        self.used.close();
        while let Some(used) = self.used.recv().await {
            if self.collect(used) {
                report("last uses were not written", self.write().await);
            }
        }
        report("last uses were not written", self.write().await);
        self.audit.finish().await;
    }

    /// Keeps the latest use of each; whether they are so many that they have to be written now. Where that failed,
    /// a batch that is full takes no newcomers.
    fn collect(&mut self, used: Used) -> bool {
        let (batch, id, at) = match used {
            Used::Session(id, at) => (&mut self.seen_sessions, id, at),
            Used::Key(id, at) => (&mut self.used_keys, id, at),
        };
        if batch.len() < BATCH || batch.contains_key(&id) {
            let latest = batch.entry(id).or_insert(at);
            *latest = at.max(*latest);
        }
        batch.len() >= BATCH
    }

    async fn write(&mut self) -> Result<(), ServiceError> {
        let now = self.clock.now();
        if !self.seen_sessions.is_empty() {
            let sessions = self.sessions.borrow().clone();
            sessions.touch(up_to(now, &self.seen_sessions)).await?;
            self.seen_sessions.clear();
        }
        if !self.used_keys.is_empty() {
            self.api_keys.touch(up_to(now, &self.used_keys)).await?;
            self.used_keys.clear();
        }
        Ok(())
    }

    async fn rein_in(&self) -> Result<(), ServiceError> {
        let now = self.clock.now();
        let longest = LongestLifetimes {
            setup_link: now.after(SETUP_TOKEN_LIFE),
            handover: now.after(handovers::LIFETIME),
            refresh: now.after(provider_sessions::LONGEST_PAUSE),
        };
        Ok(self.store.rein_in_times(now, longest).await?)
    }

    async fn tidy(&self) -> Result<(), ServiceError> {
        let now = self.clock.now();
        let sessions = self.sessions.borrow().clone();
        sessions.purge().await?;
        self.api_keys.purge(now.before(KEYS_KEPT)).await?;
        self.store.purge_handovers(now).await?;
        self.store.purge_setup_links(now).await?;
        self.store.purge_probes(now).await?;
        self.store.purge_attempts(now.before(LONGEST_WINDOW)).await?;
        self.store.purge_used_sign_ins(now).await?;
        self.store.purge_used_logout_tokens(now).await?;
        self.store.purge_gateways(now.before(GATEWAY_GONE)).await?;
        self.store.purge_refused(now.before(REPORT_KEPT)).await?;
        Ok(())
    }
}

/// What was used, and when: not after now, if the clock was set back meanwhile. It stays collected until it is written.
fn up_to(now: Timestamp, used: &HashMap<String, Timestamp>) -> Vec<(String, Timestamp)> {
    used.iter().map(|(id, at)| (id.clone(), (*at).min(now))).collect()
}

/// Whether the clock goes as time does. What is deleted for its age cannot be brought back, so that waits until the
/// clock has gone on without a jump for a while: one that is wrong for some minutes, as before it is first set, costs nothing.
#[derive(Debug)]
struct ClockCheck {
    since: Timestamp,
    began: Instant,
}

impl ClockCheck {
    fn from(now: Timestamp) -> Self {
        Self { since: now, began: Instant::now() }
    }

    /// To be asked more often than the answer changes.
    fn is_steady(&mut self, now: Timestamp) -> bool {
        let expected = self.since.after(self.began.elapsed());
        if expected.is_ahead_of(now) || now.is_ahead_of(expected) {
            *self = Self::from(now);
        }
        self.began.elapsed() >= STEADY_AFTER
    }
}

fn report(what: &str, outcome: Result<(), ServiceError>) {
    if let Err(error) = outcome {
        tracing::warn!(error = &error as &dyn Error, "{what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::testing::ServiceFixture;

    fn both(world: &ServiceFixture) -> (Touches, Maintenance) {
        let sessions = watch::channel(world.sessions.clone()).1;
        let audit = (world.audit.clone(), Duration::from_hours(24));
        channel(sessions, world.api_keys.clone(), audit, world.store.clone(), world.clock())
    }

    #[tokio::test]
    async fn what_was_used_is_written_at_the_latest_when_stopping() {
        let world = ServiceFixture::new().await;
        let user = world.user("alice").await;
        let (_, session) =
            world.sessions.open(world.by.actor(), &user, "192.0.2.1".parse().unwrap(), "b").await.unwrap();
        let (touches, upkeep) = both(&world);
        let later = world.clock.now().after(Duration::from_secs(90));
        world.clock.advance(Duration::from_secs(90));
        assert!(touches.session(&session.id, later));
        assert!(touches.session(&session.id, session.created_at));
        assert!(touches.key("unknown", later));
        upkeep.run(std::future::ready(())).await;
        assert_eq!(world.sessions.list(&world.by, None).await.unwrap()[0].0.last_seen_at, later);
    }

    #[tokio::test]
    async fn a_clock_that_was_set_back_lets_nobody_stay_longer() {
        let world = ServiceFixture::new().await;
        let user = world.user("alice").await;
        let (_, session) =
            world.sessions.open(world.by.actor(), &user, "192.0.2.1".parse().unwrap(), "b").await.unwrap();
        let (touches, mut upkeep) = both(&world);
        let ahead = Duration::from_hours(2);
        upkeep.collect(Used::Session(session.id.clone(), world.clock.now().after(ahead)));
        drop(touches);
        upkeep.write().await.unwrap();
        assert_eq!(world.sessions.list(&world.by, None).await.unwrap()[0].0.last_seen_at, world.clock.now());

        world.clock.advance(ahead);
        let (_, later) =
            world.sessions.open(world.by.actor(), &user, "192.0.2.1".parse().unwrap(), "b").await.unwrap();
        world.clock.set_back(ahead);
        upkeep.rein_in().await.unwrap();
        world.clock.advance(ServiceFixture::IDLE);
        let live = world.sessions.find_live(&later.id).await.unwrap();
        assert!(live.is_none(), "idle for as long as anybody may be");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_deleted_for_its_age_until_the_clock_has_gone_on_without_a_jump() {
        let mut now = Timestamp(1_900_000_000);
        let mut pace = ClockCheck::from(now);
        let go = async |pace: &mut ClockCheck, now: &mut Timestamp, span: Duration, jump: i64| {
            tokio::time::advance(span).await;
            *now = Timestamp(now.after(span).0 + jump);
            pace.is_steady(*now)
        };
        let minute = Duration::from_mins(1);
        assert!(!go(&mut pace, &mut now, 4 * minute, 0).await);
        assert!(go(&mut pace, &mut now, minute, 60).await, "clocks are corrected by little");
        for jump in [7200, -7200] {
            assert!(!go(&mut pace, &mut now, minute, jump).await, "{jump}");
            assert!(!go(&mut pace, &mut now, 4 * minute, 0).await, "{jump}");
            assert!(go(&mut pace, &mut now, minute, 0).await, "{jump}");
        }
    }

    /// The clock has not shown yet that it is right.
    #[tokio::test]
    async fn a_start_reins_in_times_to_come_and_deletes_nothing_for_its_age() {
        let world = ServiceFixture::new().await;
        let (user, client) = (world.user("alice").await, "192.0.2.1".parse().unwrap());
        let opened = async |agent: &str| {
            world.sessions.open(world.by.actor(), &user, client, agent).await.unwrap().1.id
        };
        let old = opened("old").await;
        for _ in 0..2 {
            world.audit.break_glass("night", client, "r", true).await.unwrap();
        }
        let (days, ahead) = (Duration::from_hours(72), Duration::from_hours(2));
        world.clock.advance(days + ahead);
        let early = opened("early").await;
        world.clock.set_back(ahead);
        let (store, now) = (world.store.clone(), world.clock().now());
        let (_touches, upkeep) = both(&world);
        // Whatever the first round would delete is gone once it has done both. Looked for in a task of its own, since one
        // that waits in the middle of a lookup would hold the only connection.
        let looked_at = store.clone();
        let first_round = tokio::spawn(async move {
            let is_counted = async || {
                let rows = looked_at.audit_page(0, None, 100).await.unwrap();
                rows.iter().any(|row| row.detail.contains("repeats"))
            };
            let is_reined_in =
                async || looked_at.session_by_id(&early).await.unwrap().unwrap().0.created_at == now;
            while !is_counted().await || !is_reined_in().await {
                tokio::task::yield_now().await;
            }
        });
        let ended = async { first_round.await.unwrap() };
        let round = tokio::time::timeout(Duration::from_mins(1), upkeep.run(ended)).await;
        round.expect("a round that does both");
        assert!(store.session_by_id(&old).await.unwrap().is_some());
        assert_eq!(store.audit_page(0, None, 1).await.unwrap()[0].seq, 1);
    }

    #[tokio::test]
    async fn a_full_queue_takes_no_more_and_a_full_batch_is_written() {
        let world = ServiceFixture::new().await;
        let (touches, mut upkeep) = both(&world);
        for id in 0..2 * QUEUE {
            assert_eq!(touches.session(&id.to_string(), Timestamp(1)), id < QUEUE);
        }
        assert_eq!(upkeep.used.len(), QUEUE);
        assert!(upkeep.used.len() > 50_000, "as many people, while one batch is written");
        for id in 0..2 * BATCH {
            assert_eq!(upkeep.collect(Used::Key(id.to_string(), Timestamp(1))), id + 1 >= BATCH);
        }
        assert!(upkeep.collect(Used::Key("0".to_owned(), Timestamp(2))));
        assert_eq!(upkeep.used_keys.len(), BATCH);
        assert_eq!(upkeep.used_keys.get("0"), Some(&Timestamp(2)));
        upkeep.write().await.unwrap();
        assert!(upkeep.used_keys.is_empty());
        upkeep.collect(Used::Key("0".to_owned(), Timestamp(3)));
        world.store.close().await;
        assert!(upkeep.write().await.is_err());
        assert_eq!(upkeep.used_keys.len(), 1, "what could not be written is tried again");
    }

    #[tokio::test]
    async fn tidying_deletes_what_has_ended_and_spares_the_rest() {
        let world = ServiceFixture::new().await;
        let user = world.user("alice").await;
        let client = "192.0.2.1".parse().unwrap();
        world.sessions.open(world.by.actor(), &user, client, "old").await.unwrap();
        world.clock.advance(ServiceFixture::IDLE);
        world.sessions.open(world.by.actor(), &user, client, "new").await.unwrap();
        both(&world).1.tidy().await.unwrap();
        let left = world.store.sessions_page(None).await.unwrap();
        assert_eq!(left.iter().map(|(session, _)| session.user_agent.as_str()).collect::<Vec<_>>(), ["new"]);
    }
}
