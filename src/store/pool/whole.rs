//! A whole database, as it is at one moment or for one change of all of it, for as long as that takes.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Sqlite, Transaction};

use super::{Database, Lane, Pool, Row, Value};
use crate::store::StoreError;

/// A transaction without the limits in time that others have. What is not committed never happened.
pub(in crate::store) enum Whole {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(PgConnection),
}

impl Pool {
    /// To be read: all of it as it is now, whatever is changed meanwhile.
    pub(in crate::store) async fn snapshot(&self) -> Result<Whole, StoreError> {
        match &self.database {
            Database::Sqlite(file) => Ok(Whole::Sqlite(file.readers(Lane::Rest).begin().await?)),
            Database::Postgres(lanes, _) => {
                Whole::on(lanes.own().await?, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
            }
        }
    }

    /// To be filled, while nobody else changes users, sessions or keys.
    pub(in crate::store) async fn filling(&self) -> Result<Whole, StoreError> {
        match &self.database {
            Database::Sqlite(file) => Ok(Whole::Sqlite(file.writer.begin_with("BEGIN IMMEDIATE").await?)),
            Database::Postgres(lanes, _) => {
                Whole::on(lanes.own().await?, "BEGIN; SELECT value FROM revision FOR UPDATE").await
            }
        }
    }
}

impl Whole {
    async fn on(mut connection: PgConnection, begin: &'static str) -> Result<Self, StoreError> {
        const UNHURRIED: &str = "SET statement_timeout = '10min'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = 0";
        for sql in [UNHURRIED, begin] {
            sqlx::raw_sql(sql).execute(&mut connection).await?;
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
                bound!(sql, values).fetch_all(&mut **tx).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(connection) => {
                bound!(sql, values).fetch_all(connection).await?.into_iter().map(Row::Postgres).collect()
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
            Self::Sqlite(tx) => bound!(sql, values).execute(&mut **tx).await.map(|_| ())?,
            Self::Postgres(connection) => bound!(sql, values).execute(connection).await.map(|_| ())?,
        }
        Ok(())
    }

    pub(in crate::store) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(mut connection) => {
                sqlx::raw_sql("COMMIT").execute(&mut connection).await?;
            }
        }
        Ok(())
    }
}
