//! The audit trail: what is told of no change in the store, reading it, verifying it, and forgetting what is old.
//!
//! Changes of users, sessions and keys leave their rows by themselves, in the store. What is left to this
//! module are events that change nothing there.

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use super::ServiceError;
use super::admin::AdminProof;
use crate::config::Config;
use crate::model::audit::Actor;
use crate::model::audit::AuditRow;
use crate::model::audit::Note;
use crate::model::audit::hex;
use crate::model::audit::{Event, Load, Reason};
use crate::model::network::throttle_bucket;
use crate::model::time::Timestamp;
use crate::model::token::SigningKey;
use crate::store::AuditFilter;
use crate::store::Store;

mod walk;

pub use self::walk::BrokenTrail;
pub use self::walk::TrailFault;
pub use self::walk::Verified;

/// Rows read at once.
const PAGE: u32 = 1000;
/// Rows deleted in one transaction: others wait for the trail's end meanwhile.
const PRUNED_AT_ONCE: u32 = 5000;
/// Old rows are deleted when a day's worth has come together, so that deleting leaves few rows of its own.
const SLACK: Duration = Duration::from_hours(24);

/// The trail of one store.
#[derive(Clone, Debug)]
pub struct Audit {
    store: Store,
    key: SigningKey,
}

impl Audit {
    /// Over an audited store, with the key it was given.
    pub fn new(store: Store, key: SigningKey) -> Self {
        Self { store, key }
    }

    /// Notes a configuration that is about to take effect. If that cannot be written, it must not.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the row was not written.
    pub async fn configuration(&self, load: Load, config: &Config) -> Result<(), ServiceError> {
        let mut seen = config.clone();
        seen.login.admin_password = None; // forgotten once it is used
        // Settings print without secrets. Keyed all the same: it tells only whether two are alike.
        let settings =
            hex(self.key.mac(format!("{seen:?}").as_bytes()).first_chunk::<8>().unwrap_or(&[0; 8]));
        let note = Note::done(Event::ConfigLoad)
            .with("cause", load.as_str())
            .with("settings", settings)
            .with("routes", config.routes.len())
            .with("upstreams", config.upstreams.len())
            .with("version", env!("CARGO_PKG_VERSION"));
        Ok(self.store.record(note).await?)
    }

    /// Notes a configuration that was refused, and by how many problems.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the row was not written.
    pub async fn configuration_refused(&self, load: Load, problems: usize) -> Result<(), ServiceError> {
        let note = Note::failed(Event::ConfigLoad, Reason::Invalid).with("cause", load.as_str());
        Ok(self.store.record_repeatable(note.with("problems", problems), "").await?)
    }

    /// Notes that the emergency token, or one of several by its name, was shown, and whether it may be from there. Uses from one network within a minute are one row and a count.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the row was not written.
    pub async fn break_glass(
        &self,
        name: &str,
        client: IpAddr,
        request_id: &str,
        allowed: bool,
    ) -> Result<(), ServiceError> {
        let note = if allowed {
            Note::done(Event::BreakGlass)
        } else {
            Note::failed(Event::BreakGlass, Reason::Network)
        };
        let store = self.store.by(&Actor::stranger(client, request_id));
        let source = format!("{name}@{} {allowed}", throttle_bucket(client));
        Ok(store.record_repeatable(note.with("token", name), &source).await?)
    }

    /// Notes anything else that changes nothing in the store, in one row.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the row was not written.
    pub async fn note(&self, actor: &Actor, note: Note) -> Result<(), ServiceError> {
        Ok(self.store.by(actor).record(note).await?)
    }

    /// The same of what one source can repeat at will: repeats within a minute are one row and a count.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the row was not written.
    pub async fn note_repeatable(&self, actor: &Actor, note: Note, source: &str) -> Result<(), ServiceError> {
        Ok(self.store.by(actor).record_repeatable(note, source).await?)
    }

    /// Rows, newest first.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn recent(
        &self,
        _by: &AdminProof,
        filter: &AuditFilter<'_>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, ServiceError> {
        Ok(self.store.audit_recent(filter, limit).await?)
    }

    /// The next rows after a number, oldest first, written at `since` or later; none is the end.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn page(
        &self,
        _by: &AdminProof,
        after: i64,
        since: Option<Timestamp>,
    ) -> Result<Vec<AuditRow>, ServiceError> {
        Ok(self.store.audit_page(after, since, PAGE).await?)
    }

    /// Writes down what was only counted so far; deletes what is older than `keep`, zero is nothing.
    pub(super) async fn tidy(&self, now: Timestamp, keep: Duration) -> Result<(), ServiceError> {
        self.store.flush_repeats(false).await?;
        if !self.store.watch_audit().await? {
            tracing::error!(
                "rows of the audit trail are gone: it was cut off, or an older state was put back"
            );
        }
        if keep.is_zero() {
            return Ok(());
        }
        let slack = SLACK.min(keep / 8);
        let oldest = self.store.audit_page(0, None, 1).await?;
        let due = now.before(keep.saturating_add(slack));
        if oldest.first().is_some_and(|row| row.at < due || row.at.is_ahead_of(now)) {
            let before = now.before(keep);
            while self.store.prune_audit(before, PRUNED_AT_ONCE).await? == u64::from(PRUNED_AT_ONCE) {}
        }
        Ok(())
    }

    /// Writes down the passwords that were tried in vain since the last time.
    pub(super) async fn failed_attempts(&self) -> Result<(), ServiceError> {
        Ok(self.store.flush_failed_attempts(false).await?)
    }

    /// Writes down everything that was only noted or counted so far, before the end.
    pub(super) async fn finish(&self) {
        for outcome in [self.store.flush_failed_attempts(true).await, self.store.flush_repeats(true).await] {
            if let Err(error) = outcome {
                tracing::warn!(error = &error as &dyn Error, "what was noted for the audit trail is lost");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::role::Role;
    use crate::service::testing::ServiceFixture;
    use crate::service::testing::new_user;

    const DAY: Duration = Duration::from_hours(24);

    async fn numbers(world: &ServiceFixture) -> Vec<i64> {
        world.audit.page(&world.by, 0, None).await.unwrap().iter().map(|row| row.seq).collect()
    }

    #[tokio::test]
    async fn rows_are_kept_as_long_as_configured_and_a_day_at_most_beyond() {
        let world = ServiceFixture::new().await;
        world.accounts.create(&world.by, new_user("root", Role::Admin)).await.unwrap();
        world.clock.advance(20 * DAY);
        world.accounts.create(&world.by, new_user("zelda", Role::Member)).await.unwrap();
        for (more, keep, left) in [
            (Duration::ZERO, Duration::ZERO, vec![1, 2]),
            (Duration::ZERO, 20 * DAY, vec![1, 2]),
            (DAY, 20 * DAY, vec![1, 2]),
            (Duration::from_secs(1), 20 * DAY, vec![2, 3]),
            (DAY, 20 * DAY, vec![2, 3]),
        ] {
            world.clock.advance(more);
            world.audit.tidy(crate::model::time::Clock::now(&*world.clock), keep).await.unwrap();
            assert_eq!(numbers(&world).await, left, "{keep:?}");
            assert!(world.audit.verify(&world.by, &[], None).await.unwrap().is_ok());
        }
    }

    #[tokio::test]
    async fn a_first_row_of_a_time_to_come_keeps_no_others() {
        let world = ServiceFixture::new().await;
        world.clock.advance(40 * DAY);
        world.accounts.create(&world.by, new_user("root", Role::Admin)).await.unwrap();
        world.clock.set_back(40 * DAY);
        world.accounts.create(&world.by, new_user("zelda", Role::Member)).await.unwrap();
        world.clock.advance(22 * DAY);
        world.audit.tidy(crate::model::time::Clock::now(&*world.clock), 20 * DAY).await.unwrap();
        assert_eq!(numbers(&world).await, [3], "what tells of the pruning");
        assert!(world.audit.verify(&world.by, &[], None).await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn the_emergency_token_leaves_a_row_a_minute() {
        let world = ServiceFixture::new().await;
        let client = "192.0.2.1".parse().unwrap();
        for _ in 0..3 {
            world.audit.break_glass("night", client, "r1", true).await.unwrap();
        }
        world.clock.advance(Duration::from_mins(1));
        world.audit.break_glass("night", client, "r2", true).await.unwrap();
        let rows = world.audit.page(&world.by, 0, None).await.unwrap();
        let details: Vec<_> = rows.iter().map(|row| (row.event.as_str(), row.detail.clone())).collect();
        assert_eq!(details.len(), 3, "{details:?}");
        assert_eq!(details[0], ("break-glass", r#"{"token":"night"}"#.to_owned()));
        assert!(details[1].1.contains(r#""repeats":2"#), "{details:?}");
        assert_eq!(rows[2].request_id.as_deref(), Some("r2"));
        world.store.close().await;
        world.clock.advance(Duration::from_mins(1));
        assert!(world.audit.break_glass("night", client, "r3", true).await.is_err(), "no row, no entry");
    }

    #[tokio::test]
    async fn a_refused_configuration_is_noted() {
        let world = ServiceFixture::new().await;
        world.audit.configuration_refused(Load::Reload, 3).await.unwrap();
        let rows = world.audit.page(&world.by, 0, None).await.unwrap();
        assert!(!rows[0].success);
        assert_eq!(rows[0].detail, r#"{"cause":"reload","problems":3,"reason":"invalid"}"#);
    }
}
