//! Probes of `doorward doctor`: rows that wait, for a minute, for what a gateway saw of one question.

use super::{Store, StoreError};
use crate::model::time::{SKEW, Timestamp};
use crate::model::token::TokenDigest;

/// Probes that may wait at once.
const MOST: i64 = 32;

const ENDED: &str = "DELETE FROM doctor_probes WHERE expires_at <= $1";

impl Store {
    /// Adds a probe that waits until `expires`; `false` if too many wait already. Those that have ended go.
    pub async fn put_probe(
        &self,
        digest: TokenDigest,
        now: Timestamp,
        expires: Timestamp,
    ) -> Result<bool, StoreError> {
        const TIDY: &str = "DELETE FROM doctor_probes WHERE expires_at <= $1 OR expires_at > $2";
        const INSERT: &str =
            "INSERT INTO doctor_probes (nonce_digest, report, expires_at) VALUES ($1, NULL, $2)";
        let mut change = self.pool.change().await?;
        // Those that wait for longer than this one are of a clock that was set back since.
        change.execute(TIDY, &[now.into(), expires.after(SKEW).into()]).await?;
        let row = change.row("SELECT COUNT(*) AS waiting FROM doctor_probes", &[]).await?;
        if row.map(|row| row.number("waiting")).transpose()?.is_some_and(|waiting| waiting >= MOST) {
            return Ok(false);
        }
        change.execute(INSERT, &[(&digest).into(), expires.into()]).await?;
        change.commit().await?;
        Ok(true)
    }

    /// Deletes probes that have ended.
    pub async fn purge_probes(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut change = self.pool.change().await?;
        change.execute(ENDED, &[now.into()]).await?;
        change.commit().await
    }

    /// Notes what was seen, if the probe still waits for it; the first report stays.
    pub async fn fill_probe(
        &self,
        digest: TokenDigest,
        now: Timestamp,
        report: &str,
    ) -> Result<bool, StoreError> {
        const WAITING: &str = "SELECT expires_at FROM doctor_probes
             WHERE nonce_digest = $1 AND report IS NULL AND expires_at > $2";
        const FILL: &str = "UPDATE doctor_probes SET report = $2
             WHERE nonce_digest = $1 AND report IS NULL AND expires_at > $3";
        // Looked for first, so that made-up nonces cause no write.
        if self.pool.row(WAITING, &[(&digest).into(), now.into()]).await?.is_none() {
            return Ok(false);
        }
        let mut change = self.pool.change().await?;
        let filled = change.execute(FILL, &[(&digest).into(), report.into(), now.into()]).await?;
        change.commit().await?;
        Ok(filled > 0)
    }

    /// What was seen of a probe, once something was.
    pub async fn probe_report(&self, digest: TokenDigest) -> Result<Option<String>, StoreError> {
        const SQL: &str = "SELECT report FROM doctor_probes WHERE nonce_digest = $1";
        match self.pool.row(SQL, &[(&digest).into()]).await? {
            Some(row) => row.optional_text("report"),
            None => Ok(None),
        }
    }

    /// Takes a probe back.
    pub async fn drop_probe(&self, digest: TokenDigest) -> Result<(), StoreError> {
        let mut change = self.pool.change().await?;
        change.execute("DELETE FROM doctor_probes WHERE nonce_digest = $1", &[(&digest).into()]).await?;
        change.commit().await
    }
}
