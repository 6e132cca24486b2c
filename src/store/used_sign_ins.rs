//! Replay protection: marks of sign-ins at identity providers whose `state` was used.

use super::pool::ChangeQueue;
use super::{Store, StoreError};
use crate::model::time::Timestamp;
use crate::model::token::TokenDigest;

/// The most marks at a time; each is kept for some minutes. Beyond it the oldest are forgotten: what they mark is sealed and
/// grows old by itself, and its code has been spent at the provider.
const MOST: i64 = 100_000;
const OLDEST: &str = "DELETE FROM used_sign_ins WHERE digest IN (SELECT digest FROM used_sign_ins
     ORDER BY expires_at LIMIT 100)";
const EXPIRED: &str = "DELETE FROM used_sign_ins WHERE digest IN (SELECT digest FROM used_sign_ins
     WHERE expires_at <= $1 ORDER BY expires_at LIMIT 100)";

impl Store {
    /// Marks a `state`, by its digest, as used until `expires_at`, after which it is refused for its age; `false` if it is
    /// marked already. Of several concurrent calls one returns `true`. Deletes some expired marks, and of too many the oldest.
    pub async fn use_sign_in(
        &self,
        digest: TokenDigest,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        const MARK: &str =
            "INSERT INTO used_sign_ins (digest, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        const ALL: &str = "SELECT COUNT(*) AS total FROM used_sign_ins";
        let mut change = self.pool.change().await?;
        change.execute(EXPIRED, &[now.into()]).await?;
        let total = change.row(ALL, &[]).await?.map_or(Ok(0), |row| row.number("total"))?;
        if total >= MOST {
            change.execute(OLDEST, &[]).await?;
        }
        let marked = change.execute(MARK, &[(&digest).into(), expires_at.into()]).await?;
        change.commit().await?;
        Ok(marked > 0)
    }

    /// Deletes expired marks; how many they were.
    pub async fn purge_used_sign_ins(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.purge(ChangeQueue::Attempts, EXPIRED, now).await
    }
}
