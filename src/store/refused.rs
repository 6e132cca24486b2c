//! Requests that would have been refused, in a bounded number of rows.

use super::pool::Row;
use super::{Store, StoreError};
use crate::model::audit::{Event, Note};
use crate::model::refused::{OTHERS, RefusedBy, Tally};
use crate::model::time::Timestamp;

/// Rows that are kept; what there is no room for is counted without its client.
const MOST: i64 = 10_000;

impl Store {
    /// Adds to what was counted before. All or nothing.
    pub async fn add_refused(&self, counted: &[(RefusedBy, Tally)]) -> Result<(), StoreError> {
        const KNOWN: &str = "UPDATE refused SET times = times + $8, last_at = $10, example = $11,
                first_at = CASE WHEN first_at < $9 THEN first_at ELSE $9 END
             WHERE route = $1 AND rule = $2 AND code = $3 AND credential = $4 AND client = $5 AND agent = $6
               AND method = $7";
        const NEW: &str = "INSERT INTO refused
             (route, rule, code, credential, client, agent, method, times, first_at, last_at, example)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             ON CONFLICT (route, rule, code, credential, client, agent, method)
             DO UPDATE SET times = refused.times + excluded.times, last_at = excluded.last_at,
                example = excluded.example";
        let mut change = self.pool.change().await?;
        let row = change.row("SELECT COUNT(*) AS kept FROM refused", &[]).await?;
        let mut kept = row.map(|row| row.number("kept")).transpose()?.unwrap_or_default();
        // Everyone locks in the same order.
        let mut counted: Vec<_> = counted.iter().collect();
        counted.sort();
        for (by, tally) in counted {
            let times = i64::try_from(tally.count).unwrap_or(i64::MAX);
            let mut client = by.client.as_str();
            let mut agent = by.agent.as_str();
            for sql in [KNOWN, NEW] {
                if sql == NEW && kept >= MOST {
                    (client, agent) = (OTHERS, "");
                }
                let values = [
                    (&by.route).into(),
                    (&by.rule).into(),
                    (&by.code).into(),
                    (&by.credential).into(),
                    client.into(),
                    agent.into(),
                    (&by.method).into(),
                    times.into(),
                    tally.first_at.into(),
                    tally.last_at.into(),
                    (&tally.example).into(),
                ];
                if change.execute(sql, &values).await? > 0 {
                    kept += i64::from(sql == NEW);
                    break;
                }
            }
        }
        change.commit().await
    }

    /// What was counted, with a last time at or after `since`; the most frequent first, at most 10 000.
    pub async fn list_refused(&self, since: Timestamp) -> Result<Vec<(RefusedBy, Tally)>, StoreError> {
        const SQL: &str = "SELECT route, rule, code, credential, client, agent, method,
                times, first_at, last_at, example
             FROM refused WHERE last_at >= $1
             ORDER BY times DESC, route, rule, code, credential, method, client, agent LIMIT 10000";
        self.pool.rows(SQL, &[since.into()]).await?.iter().map(counted).collect()
    }

    /// Forgets everything; how many rows that were.
    pub async fn clear_refused(&self) -> Result<u64, StoreError> {
        let mut change = self.pool.change_in_turn().await?;
        let gone = change.execute("DELETE FROM refused", &[]).await?;
        if gone > 0 {
            self.note(&mut change, Note::done(Event::RefusedClear).with("rows", gone)).await?;
        }
        change.commit().await?;
        Ok(gone)
    }

    /// Forgets what was last counted before `before`; how many rows that were.
    pub async fn purge_refused(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut change = self.pool.change().await?;
        let gone = change.execute("DELETE FROM refused WHERE last_at < $1", &[before.into()]).await?;
        change.commit().await?;
        Ok(gone)
    }
}

fn counted(row: &Row) -> Result<(RefusedBy, Tally), StoreError> {
    Ok((
        RefusedBy {
            route: row.text("route")?,
            rule: row.text("rule")?,
            code: row.text("code")?,
            credential: row.text("credential")?,
            client: row.text("client")?,
            agent: row.text("agent")?,
            method: row.text("method")?,
        },
        Tally {
            count: u64::try_from(row.number("times")?).unwrap_or_default(),
            first_at: row.time("first_at")?,
            last_at: row.time("last_at")?,
            example: row.text("example")?,
        },
    ))
}
