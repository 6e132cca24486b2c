//! The revision of rights: how gateways that share a database learn that a right was taken away.
//!
//! Every such change raises the revision in its own transaction, and notes whose right it was. Each gateway notes the
//! revision up to which it has looked up again whom that concerns, so a change can wait until no live gateway is behind.

use super::pool::Change;
use super::{Store, StoreError};
use crate::model::time::Timestamp;

const CORRUPT: StoreError = StoreError::Corrupt { table: "revision" };
/// Losses whose holders are kept: far more than a gateway that looks five times a second can be behind.
const KEPT: i64 = 4096;

/// Raises the revision as part of `change`, which takes a right from the user, or from the key without an owner, with
/// this id.
pub(super) async fn raise(change: &mut Change, holder: &str) -> Result<(), StoreError> {
    const NEXT: &str = "UPDATE revision SET value = value + 1 RETURNING value";
    // A gateway of an older version notes no one; a restored database may have noted someone already.
    const NOTE: &str = "INSERT INTO lost_rights (revision, holder) VALUES ($1, $2)
         ON CONFLICT (revision) DO UPDATE SET holder = excluded.holder";
    let value = change.row(NEXT, &[]).await?.ok_or(CORRUPT)?.number("value")?;
    change.execute(NOTE, &[value.into(), holder.into()]).await?;
    change.execute("DELETE FROM lost_rights WHERE revision <= $1", &[(value - KEPT).into()]).await?;
    Ok(())
}

impl Store {
    /// The current revision; it never falls.
    pub async fn revision(&self) -> Result<i64, StoreError> {
        let row = self.pool.row("SELECT value FROM revision", &[]).await?;
        row.ok_or(CORRUPT)?.number("value")
    }

    /// More losses than this at once concern everybody.
    pub const MOST_LOST_AT_ONCE: i64 = 1000;

    /// Who lost a right after one revision, up to another: users, and keys without an owner, by id. `None` if not all
    /// of them are known, or they are too many.
    pub async fn lost_rights(&self, after: i64, up_to: i64) -> Result<Option<Vec<String>>, StoreError> {
        const SQL: &str = "SELECT holder FROM lost_rights WHERE revision > $1 AND revision <= $2 ORDER BY revision LIMIT $3";
        let losses = up_to.saturating_sub(after);
        if !(0..=Self::MOST_LOST_AT_ONCE).contains(&losses) {
            return Ok(None);
        }
        let rows = self.pool.rows(SQL, &[after.into(), up_to.into(), losses.into()]).await?;
        if i64::try_from(rows.len()) != Ok(losses) {
            return Ok(None);
        }
        rows.iter().map(|row| row.text("holder")).collect::<Result<_, _>>().map(Some)
    }

    /// Notes that the gateway `id` is alive and acts on everything up to `revision`.
    pub async fn report_gateway(&self, id: &str, revision: i64, now: Timestamp) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO gateways (id, revision, seen_at) VALUES ($1, $2, $3)
             ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, seen_at = excluded.seen_at";
        let mut change = self.pool.change().await?;
        change.execute(SQL, &[id.into(), revision.into(), now.into()]).await?;
        change.commit().await
    }

    /// The gateways seen at or after `alive_since` that have not reached `revision`; at most 1000.
    pub async fn gateways_behind(
        &self,
        revision: i64,
        alive_since: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        const SQL: &str =
            "SELECT id FROM gateways WHERE revision < $1 AND seen_at >= $2 ORDER BY id LIMIT 1000";
        let rows = self.pool.rows(SQL, &[revision.into(), alive_since.into()]).await?;
        rows.iter().map(|row| row.text("id")).collect()
    }

    /// Forgets a gateway that has stopped, so that no command waits for it.
    pub async fn forget_gateway(&self, id: &str) -> Result<(), StoreError> {
        let mut change = self.pool.change().await?;
        change.execute("DELETE FROM gateways WHERE id = $1", &[id.into()]).await?;
        change.commit().await
    }

    /// Forgets the gateways last seen before `before`; how many they were.
    pub async fn purge_gateways(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut change = self.pool.change().await?;
        let gone = change.execute("DELETE FROM gateways WHERE seen_at < $1", &[before.into()]).await?;
        change.commit().await?;
        Ok(gone)
    }
}
