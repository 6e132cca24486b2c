//! A whole database, as it is at one moment or for one change of all of it, for as long as that takes. Each step of it ends.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Sqlite, Transaction};

use super::{Database, Lane, Pool, Row, Value, within};
use crate::store::StoreError;

/// How long one step may take: a page of rows, or counting those of a table.
const STEP: Duration = Duration::from_mins(1);
/// What the server holds a connection to: a step ends before we give it up, and one whose other side fell silent, while the
/// other database had its turn, goes by itself and with it every lock.
const UNHURRIED: &str = "SET statement_timeout = '50s'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '5min'";

/// A transaction of as many steps as it needs, with longer limits than others have. What is not committed never happened.
pub(in crate::store) enum LongTransaction {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(PgConnection),
}

impl Pool {
    /// To be read: all of it as it is now, whatever is changed meanwhile.
    pub(in crate::store) async fn snapshot(&self) -> Result<LongTransaction, StoreError> {
        match &self.database {
            Database::Sqlite(file) => {
                Ok(LongTransaction::Sqlite(within(STEP, file.readers(Lane::Rest).begin()).await??))
            }
            Database::Postgres(lanes, _) => {
                LongTransaction::on(lanes.own().await?, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    .await
            }
        }
    }

    /// To be filled, while no other change of users, sessions or keys can run.
    pub(in crate::store) async fn filling(&self) -> Result<LongTransaction, StoreError> {
        match &self.database {
            Database::Sqlite(file) => {
                Ok(LongTransaction::Sqlite(within(STEP, file.writer.begin_with("BEGIN IMMEDIATE")).await??))
            }
            Database::Postgres(lanes, _) => {
                LongTransaction::on(lanes.own().await?, "BEGIN; SELECT value FROM revision FOR UPDATE").await
            }
        }
    }
}

impl LongTransaction {
    async fn on(mut connection: PgConnection, begin: &'static str) -> Result<Self, StoreError> {
        for sql in [UNHURRIED, begin] {
            within(STEP, sqlx::raw_sql(sql).execute(&mut connection)).await??;
        }
        Ok(Self::Postgres(connection))
    }

    pub(in crate::store) async fn rows(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let sql = AssertSqlSafe(sql.to_owned());
        Ok(match self {
            Self::Sqlite(tx) => {
                let rows = within(STEP, bound!(sql, values).fetch_all(&mut **tx)).await??;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(connection) => {
                let rows = within(STEP, bound!(sql, values).fetch_all(connection)).await??;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    pub(in crate::store) async fn execute(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<(), StoreError> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(tx) => within(STEP, bound!(sql, values).execute(&mut **tx)).await?.map(|_| ())?,
            Self::Postgres(connection) => {
                within(STEP, bound!(sql, values).execute(connection)).await?.map(|_| ())?;
            }
        }
        Ok(())
    }

    pub(in crate::store) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => within(STEP, tx.commit()).await??,
            Self::Postgres(mut connection) => {
                within(STEP, sqlx::raw_sql("COMMIT").execute(&mut connection)).await??;
            }
        }
        Ok(())
    }
}
