//! The revision of rights: how gateways that share a database learn that a right was taken away.
//!
//! Every such change raises the revision in its own transaction. Each gateway notes the revision up to
//! which it has emptied its caches, so a change can wait until no live gateway is behind.

use super::pool::Change;
use super::{Store, StoreError};
use crate::model::time::Timestamp;

/// Raises the revision as part of `change`.
pub(super) async fn raise(change: &mut Change) -> Result<(), StoreError> {
    change.execute("UPDATE revision SET value = value + 1", &[]).await.map(|_| ())
}

impl Store {
    /// The current revision; it never falls.
    pub async fn revision(&self) -> Result<i64, StoreError> {
        let row = self.pool.row("SELECT value FROM revision", &[]).await?;
        row.ok_or(StoreError::Corrupt { table: "revision" })?.number("value")
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

    /// Forgets a gateway that has stopped, so that nobody waits for it.
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
