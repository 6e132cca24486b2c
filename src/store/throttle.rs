//! Failed sign-ins, counted in buckets that all gateways share.
//!
//! An attempt is counted before the password is looked at, so attempts made in parallel cannot all pass
//! under the same count.

use std::time::Duration;

use super::pool::ChangeQueue;
use super::{Store, StoreError};
use crate::model::time::Timestamp;

/// One count of failures and how it slows further attempts down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// What is counted, such as an account or a network; at most some hundred bytes.
    pub name: String,
    /// Failures without a delay.
    pub free: u32,
    /// The delay after the first failure beyond those; it doubles with each further one.
    pub first_delay: Duration,
    /// The longest delay.
    pub max_delay: Duration,
    /// Failures are forgotten when none was added for this long.
    pub window: Duration,
}

/// The outcome of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempted {
    /// It was counted, once in each bucket.
    Counted(Vec<CountedAttempt>),
    /// It was not, because a bucket is closed for so long.
    Closed(Duration),
}

/// One count, as it can be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedAttempt {
    name: String,
    at: Timestamp,
    /// When the last attempt before was.
    before: Timestamp,
}

impl Bucket {
    /// How long after its last failure a bucket with so many failures stays closed, in seconds.
    fn delay(&self, failures: i64) -> i64 {
        let beyond = failures.saturating_sub(i64::from(self.free));
        if beyond <= 0 {
            return 0;
        }
        let doublings = u32::try_from(beyond - 1).unwrap_or(u32::MAX);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        seconds(self.first_delay.saturating_mul(factor).min(self.max_delay))
    }
}

/// Whole seconds, a started one counts.
fn seconds(span: Duration) -> i64 {
    let whole = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    whole.saturating_add(i64::from(span.subsec_nanos() > 0))
}

impl Store {
    /// Counts an attempt in every bucket, or says how long to wait because one of them is closed.
    ///
    /// A refused attempt is not counted. A last attempt that is still to come, by a clock that was set back since or
    /// another gateway's, was now: no client waits until the clock is there again.
    pub async fn reserve_attempt(&self, buckets: &[Bucket], now: Timestamp) -> Result<Attempted, StoreError> {
        // The needless update makes PostgreSQL lock the row until the commit.
        const LOCK: &str = "INSERT INTO attempts (name, failures, last_at) VALUES ($1, 0, $2)
             ON CONFLICT (name) DO UPDATE SET name = excluded.name
             RETURNING failures, last_at";
        const COUNT: &str = "UPDATE attempts SET failures = $2, last_at = $3 WHERE name = $1";
        const REIN_IN: &str = "UPDATE attempts SET last_at = $2 WHERE name = $1 AND last_at > $2";
        let mut buckets: Vec<&Bucket> = buckets.iter().collect();
        // Everyone locks in the same order.
        buckets.sort_by(|a, b| a.name.cmp(&b.name));
        let mut change = self.pool.count_in_turn().await?;
        let (mut longest, mut ahead) = (0, false);
        let mut counts = Vec::with_capacity(buckets.len());
        for bucket in buckets {
            let row = change.row(LOCK, &[(&bucket.name).into(), now.into()]).await?;
            let row = row.ok_or(StoreError::Corrupt { table: "attempts" })?;
            let stored = row.time("last_at")?;
            let last_at = stored.min(now);
            ahead |= stored > now;
            let forgotten = now.0.saturating_sub(last_at.0) >= seconds(bucket.window);
            let failures = if forgotten { 0 } else { row.number("failures")? };
            let opens_at = last_at.0.saturating_add(bucket.delay(failures));
            longest = longest.max(opens_at.saturating_sub(now.0));
            counts.push((CountedAttempt { name: bucket.name.clone(), at: now, before: last_at }, failures));
        }
        let wait = u64::try_from(longest).unwrap_or_default();
        for (count, failures) in &counts {
            let name = &count.name;
            if wait == 0 {
                let values = [name.into(), failures.saturating_add(1).into(), now.into()];
                change.execute(COUNT, &values).await?;
            } else if ahead {
                change.execute(REIN_IN, &[name.into(), now.into()]).await?;
            }
        }
        if wait == 0 || ahead {
            change.commit().await?;
        }
        Ok(if wait > 0 {
            Attempted::Closed(Duration::from_secs(wait))
        } else {
            Attempted::Counted(counts.into_iter().map(|(count, _)| count).collect())
        })
    }

    /// Forgets all failures where these counts are, after a success.
    pub async fn clear_attempts(&self, counted: &[CountedAttempt]) -> Result<(), StoreError> {
        let mut change = self.pool.count_in_turn().await?;
        for CountedAttempt { name, .. } in counted {
            change.execute("DELETE FROM attempts WHERE name = $1", &[name.into()]).await?;
        }
        change.commit().await
    }

    /// Takes counts back, after a success, where others count too: no client waits longer because it was tried.
    pub async fn refund_attempts(&self, counted: &[CountedAttempt]) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE attempts SET failures = failures - 1,
                last_at = CASE WHEN last_at = $2 THEN $3 ELSE last_at END
             WHERE name = $1 AND failures > 0";
        let mut change = self.pool.count_in_turn().await?;
        for CountedAttempt { name, at, before } in counted {
            change.execute(SQL, &[name.into(), (*at).into(), (*before).into()]).await?;
        }
        change.commit().await
    }

    /// Deletes buckets whose last attempt was before `older_than`; how many they were.
    pub async fn purge_attempts(&self, older_than: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM attempts WHERE name IN (SELECT name FROM attempts
             WHERE last_at < $1 ORDER BY last_at LIMIT 100)";
        self.purge(ChangeQueue::Attempts, SQL, older_than).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_after_the_free_failures_up_to_its_limit() {
        let bucket = Bucket {
            name: "account".to_owned(),
            free: 2,
            first_delay: Duration::from_millis(1500),
            max_delay: Duration::from_mins(1),
            window: Duration::from_hours(1),
        };
        let delays = [0, 1, 2, 3, 4, 5, 8, 9, 60, i64::MAX].map(|failures| bucket.delay(failures));
        assert_eq!(delays, [0, 0, 0, 2, 3, 6, 48, 60, 60, 60]);
    }
}
