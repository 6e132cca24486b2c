//! Hand-overs: a session on its way to another host of ours, under the digest of a token that works once.

use super::pool::ChangeQueue;
use super::{Store, StoreError};
use crate::model::time::Timestamp;
use crate::model::token::TokenDigest;

const EXPIRED: &str = "DELETE FROM handovers WHERE digest IN (SELECT digest FROM handovers
     WHERE expires_at <= $1 ORDER BY expires_at LIMIT 100)";

/// What a token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The session that is handed over, by its id; always one without a parent once it is stored.
    pub session_id: String,
    /// What the browser that began it holds at the other host.
    pub browser: TokenDigest,
    /// The host it is for, lower-case, without port.
    pub host: String,
    /// Where the browser goes from there.
    pub path: String,
    /// Worthless from then on.
    pub expires_at: Timestamp,
}

impl Store {
    /// Adds a hand-over of a session or of the parent it has, and forgets expired ones and the session's
    /// oldest beyond `cap`. `false`, and nothing done, if the session has ended.
    pub async fn put_handover(
        &self,
        handover: &Handover,
        digest: TokenDigest,
        now: Timestamp,
        cap: usize,
    ) -> Result<bool, StoreError> {
        const INSERT: &str = "INSERT INTO handovers (digest, session_id, browser, host, path, expires_at)
             SELECT $1, coalesce(parent_id, id), $3, $4, $5, $6 FROM sessions WHERE id = $2";
        const DROP_OLDEST: &str = "DELETE FROM handovers WHERE digest <> $1
             AND session_id = (SELECT session_id FROM handovers WHERE digest = $1) AND digest NOT IN
             (SELECT digest FROM handovers WHERE digest <> $1
                AND session_id = (SELECT session_id FROM handovers WHERE digest = $1)
              ORDER BY expires_at DESC LIMIT $2)";
        let mut change = self.pool.change_in_turn().await?;
        change.execute(EXPIRED, &[now.into()]).await?;
        let values = [
            (&digest).into(),
            (&handover.session_id).into(),
            (&handover.browser).into(),
            (&handover.host).into(),
            (&handover.path).into(),
            handover.expires_at.into(),
        ];
        if change.execute(INSERT, &values).await? == 0 {
            return Ok(false);
        }
        let others = i64::try_from(cap.saturating_sub(1)).unwrap_or(i64::MAX);
        change.execute(DROP_OLDEST, &[(&digest).into(), others.into()]).await?;
        change.commit().await?;
        Ok(true)
    }

    /// Takes a hand-over out; it works once.
    pub async fn take_handover(&self, digest: TokenDigest) -> Result<Option<Handover>, StoreError> {
        const SQL: &str = "DELETE FROM handovers WHERE digest = $1
             RETURNING session_id, browser, host, path, expires_at";
        let mut change = self.pool.change().await?;
        let Some(row) = change.row(SQL, &[(&digest).into()]).await? else {
            return Ok(None);
        };
        let browser =
            row.bytes("browser")?.try_into().map_err(|_| StoreError::Corrupt { table: "handovers" })?;
        let handover = Handover {
            session_id: row.text("session_id")?,
            browser: TokenDigest(browser),
            host: row.text("host")?,
            path: row.text("path")?,
            expires_at: row.time("expires_at")?,
        };
        change.commit().await?;
        Ok(Some(handover))
    }

    /// Deletes hand-overs that were not redeemed in time.
    pub async fn purge_handovers(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.purge(ChangeQueue::Rights, EXPIRED, now).await
    }
}
