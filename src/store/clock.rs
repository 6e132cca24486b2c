//! Corrects times in the future, written under a clock that was set back since.

use super::revision;
use super::{Store, StoreError};
use crate::model::time::{SKEW, Timestamp};

/// Sessions that are given less in one change; others wait for the next.
const MOST_BEGUN: usize = 500;

/// The longest that what is about to be given could still last.
#[derive(Clone, Copy, Debug)]
pub struct LongestLifetimes {
    /// Until when a setup link made now could be used.
    pub setup_link: Timestamp,
    /// Until when a hand-over begun now could be redeemed.
    pub handover: Timestamp,
    /// When a session that a provider opened now would be refreshed at the latest.
    pub refresh: Timestamp,
}

impl Store {
    /// Takes what was noted for later than `now`, beyond what clocks may differ, for noted now: nothing lives longer
    /// than it was given, no failure counts for longer, and no gateway that is gone passes for a living one.
    ///
    /// A session is given less by as much as it seems to begin too late, so it may end early but not late; what is
    /// cached of it is looked up again.
    pub async fn rein_in_times(&self, now: Timestamp, longest: LongestLifetimes) -> Result<(), StoreError> {
        const NOTED: [&str; 4] = [
            "UPDATE attempts SET last_at = $1 WHERE last_at > $2",
            "UPDATE sessions SET last_seen_at = $1 WHERE last_seen_at > $2",
            "UPDATE api_keys SET last_used_at = $1 WHERE last_used_at > $2",
            "UPDATE gateways SET seen_at = $1 WHERE seen_at > $2",
        ];
        const BEGUN: &str = "UPDATE sessions SET expires_at = expires_at - (created_at - $1), created_at = $1
             WHERE id = (SELECT id FROM sessions WHERE created_at > $2 ORDER BY created_at DESC LIMIT 1) RETURNING user_id";
        const SETUP: &str = "UPDATE setup_links SET expires_at = $1 WHERE expires_at > $2";
        const REFRESHES: &str = "UPDATE provider_tokens SET due_at = $1 WHERE due_at > $2";
        const HANDOVERS: &str = "DELETE FROM handovers WHERE expires_at > $1";
        let latest = now.after(SKEW);
        let mut change = self.pool.change_in_turn().await?;
        for sql in NOTED {
            change.execute(sql, &[now.into(), latest.into()]).await?;
        }
        for _ in 0..MOST_BEGUN {
            let Some(row) = change.row(BEGUN, &[now.into(), latest.into()]).await? else { break };
            revision::raise(&mut change, &row.text("user_id")?).await?;
        }
        let LongestLifetimes { setup_link, handover, refresh } = longest;
        change.execute(SETUP, &[setup_link.into(), setup_link.after(SKEW).into()]).await?;
        change.execute(REFRESHES, &[now.into(), refresh.after(SKEW).into()]).await?;
        change.execute(HANDOVERS, &[handover.after(SKEW).into()]).await?;
        change.commit().await
    }
}
