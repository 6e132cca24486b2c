//! Poolers between us and PostgreSQL. One that keeps a connection for each client serves. One that lends connections for a
//! transaction or a statement at a time is refused when the store is opened, and named where it is met later.

use std::io;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::postgres::{PoolLanes, failed, farewell};
use crate::store::StoreError;

/// How long a second connection may keep us waiting where the first one has answered.
const SECOND: Duration = Duration::from_secs(3);
/// How often it is looked. Once tells for certain, unless others use the pooler at the very moment.
const LOOKS: usize = 3;

const PROCESS: &str = "SELECT pg_backend_pid()";
const PROCESS_KEPT: &str = "BEGIN; SELECT pg_backend_pid()";

impl PoolLanes {
    /// Refuses a pooler that lends connections.
    ///
    /// # Errors
    ///
    /// [`StoreError::Pooled`] if one does; [`StoreError::Unavailable`] if a second connection gets no answer beside the first.
    pub(in crate::store) async fn refuse_lent(&self) -> Result<(), StoreError> {
        let mut one = self.own().await?;
        let process = process_of(&mut one, PROCESS).await?;
        let beside = async {
            let mut other = self.own().await?;
            let is_lent = is_lent(process, &mut one, &mut other).await?;
            farewell(other);
            Ok(is_lent)
        };
        let is_lent = tokio::time::timeout(SECOND, beside).await.unwrap_or_else(|_| {
            Err(failed(
                io::ErrorKind::TimedOut,
                "a second connection got no answer in time beside the first: if a pooler stands in between, it keeps too \
                 few connections for this gateway (PgBouncer: default_pool_size)",
            ))
        });
        farewell(one);
        if is_lent? { Err(StoreError::Pooled) } else { Ok(()) }
    }
}

/// Whether a connection does not keep to its server process. Who lends them by turns has another for the next statement,
/// if there is another; who lends the one that was used last has it for the transaction of somebody else.
async fn is_lent(process: i32, one: &mut PgConnection, other: &mut PgConnection) -> Result<bool, StoreError> {
    for _ in 0..LOOKS {
        let alone = process_of(one, PROCESS).await?;
        let beside = match process_of(other, PROCESS_KEPT).await {
            Err(error) if keeps_no_transaction(&error) => return Ok(true),
            beside => beside?,
        };
        // If the other has the only one there is, asking again would be in vain.
        if alone != process || beside == process || process_of(one, PROCESS).await? != process {
            return Ok(true);
        }
        sqlx::raw_sql("ROLLBACK").execute(&mut *other).await?;
    }
    Ok(false)
}

/// The server process behind a connection.
async fn process_of(raw: &mut PgConnection, sql: &'static str) -> Result<i32, sqlx::Error> {
    sqlx::raw_sql(sql).fetch_one(raw).await?.try_get(0)
}

/// `PgBouncer`'s `pool_mode = statement`, which has no code of its own for it.
fn keeps_no_transaction(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.message().contains("statement pooling mode"))
}
