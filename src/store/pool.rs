//! The two drivers behind one small interface: SQL text that both accept, values in, rows out.
//!
//! What the rest of the store writes: parameters `$1, $2`, types TEXT, BIGINT, BOOLEAN and bytes, no
//! functions of one database only. What differs between the two stays in this file and in the migrations.

use std::io;
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Postgres, Row as _, Sqlite, Transaction};

use super::StoreError;
use crate::model::time::Timestamp;
use crate::model::token::TokenDigest;

/// How long SQLite waits for a writer of another process, and we for a free connection to it.
const SQLITE_WAIT: Duration = Duration::from_secs(5);
/// How long a request waits for a free PostgreSQL connection.
const POSTGRES_WAIT: Duration = Duration::from_secs(3);

/// An open database.
#[derive(Clone)]
pub(super) enum Pool {
    /// SQLite has one writer at a time anyway, so writers queue here, in order, instead of polling the file.
    Sqlite {
        /// One connection.
        writer: SqlitePool,
        /// Connections that cannot write; for a database in memory the same one connection.
        readers: SqlitePool,
    },
    /// Any number of gateways may share it.
    Postgres(PgPool),
}

/// A change under way; it never happened unless it is committed.
pub(super) enum Change {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// One row of an answer.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A value for one `$n`.
#[derive(Clone, Copy)]
pub(super) enum Value<'v> {
    Text(Option<&'v str>),
    Number(Option<i64>),
    Flag(bool),
    Bytes(&'v [u8]),
}

/// Runs one expression against whichever database is open; the driver's types stay inside the arm.
macro_rules! on_pool {
    ($pool:expr, |$db:ident, $wrap:ident| $query:expr) => {
        match $pool {
            Pool::Sqlite { readers: $db, .. } => {
                let $wrap = Row::Sqlite;
                $query
            }
            Pool::Postgres($db) => {
                let $wrap = Row::Postgres;
                $query
            }
        }
    };
}

/// A query with all its values bound, for either driver.
macro_rules! bound {
    ($sql:expr, $values:expr) => {
        $values.iter().fold(sqlx::query($sql), |query, value| match *value {
            Value::Text(text) => query.bind(text),
            Value::Number(number) => query.bind(number),
            Value::Flag(flag) => query.bind(flag),
            Value::Bytes(bytes) => query.bind(bytes),
        })
    };
}

impl Pool {
    pub(super) async fn open(url: &str, connections: u32) -> Result<Self, StoreError> {
        if let Some(rest) = url.strip_prefix("sqlite:") {
            open_sqlite(rest.strip_prefix("//").unwrap_or(rest), connections).await
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            open_postgres(url, connections)
        } else {
            Err(StoreError::BadUrl("it must begin with sqlite: or postgres://"))
        }
    }

    /// The first row of an answer, outside any change.
    pub(super) async fn row(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(on_pool!(self, |db, wrap| bound!(sql, values).fetch_optional(db).await?.map(wrap)))
    }

    /// A whole answer, outside any change. The SQL bounds it with LIMIT.
    pub(super) async fn rows(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        Ok(on_pool!(self, |db, wrap| bound!(sql, values)
            .fetch_all(db)
            .await?
            .into_iter()
            .map(wrap)
            .collect()))
    }

    /// Begins a change of rows that nothing else depends on.
    pub(super) async fn change(&self) -> Result<Change, StoreError> {
        Ok(match self {
            // A deferred transaction could fail half-way, when another process has written meanwhile.
            Self::Sqlite { writer, .. } => Change::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Change::Postgres(pool.begin().await?),
        })
    }

    /// Begins a change of users, sessions or keys, when all earlier ones are done.
    ///
    /// On SQLite that is so by itself. On PostgreSQL the one row of `revision` is the turn: with it, what a
    /// change has read (how many admins, whether any user) still holds when it writes, and no two changes
    /// can lock the same rows in opposite order.
    pub(super) async fn change_in_turn(&self) -> Result<Change, StoreError> {
        let mut change = self.change().await?;
        if let Change::Postgres(tx) = &mut change {
            sqlx::query("SELECT value FROM revision FOR UPDATE").execute(&mut **tx).await?;
        }
        Ok(change)
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await; // last, since only a writer can fold the log into the file
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Change {
    /// Runs one statement; how many rows it changed.
    pub(super) async fn execute(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<u64, StoreError> {
        Ok(match self {
            Self::Sqlite(tx) => bound!(sql, values).execute(&mut **tx).await?.rows_affected(),
            Self::Postgres(tx) => bound!(sql, values).execute(&mut **tx).await?.rows_affected(),
        })
    }

    /// The first row of an answer, as this change sees it.
    pub(super) async fn row(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(match self {
            Self::Sqlite(tx) => bound!(sql, values).fetch_optional(&mut **tx).await?.map(Row::Sqlite),
            Self::Postgres(tx) => bound!(sql, values).fetch_optional(&mut **tx).await?.map(Row::Postgres),
        })
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

/// One reader of a column for each type, NULL as `None`.
macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident -> $type:ty;)+) => {
        impl Row {
            $($(#[$doc])*
            pub(super) fn $name(&self, column: &str) -> Result<$type, StoreError> {
                Ok(match self {
                    Self::Sqlite(row) => row.try_get(column)?,
                    Self::Postgres(row) => row.try_get(column)?,
                })
            })+
        }
    };
}

columns! {
    text -> String;
    optional_text -> Option<String>;
    number -> i64;
    optional_number -> Option<i64>;
    flag -> bool;
    bytes -> Vec<u8>;
}

impl Row {
    pub(super) fn time(&self, column: &str) -> Result<Timestamp, StoreError> {
        self.number(column).map(Timestamp)
    }

    pub(super) fn optional_time(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.optional_number(column)?.map(Timestamp))
    }
}

macro_rules! value_from {
    ($($type:ty: $value:ident => $made:expr;)+) => {
        $(impl<'v> From<$type> for Value<'v> {
            fn from($value: $type) -> Self {
                $made
            }
        })+
    };
}

value_from! {
    &'v str: text => Self::Text(Some(text));
    &'v String: text => Self::Text(Some(text));
    Option<&'v str>: text => Self::Text(text);
    i64: number => Self::Number(Some(number));
    Timestamp: time => Self::Number(Some(time.0));
    Option<Timestamp>: time => Self::Number(time.map(|time| time.0));
    bool: flag => Self::Flag(flag);
    &'v TokenDigest: digest => Self::Bytes(&digest.0);
}

async fn open_sqlite(path: &str, connections: u32) -> Result<Pool, StoreError> {
    let options = SqliteConnectOptions::new().foreign_keys(true).busy_timeout(SQLITE_WAIT);
    // One connection that is never given back to the system: a database in memory would go with it.
    let lasting = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(SQLITE_WAIT);
    if path == ":memory:" {
        let writer = lasting.connect_with(options.in_memory(true)).await?;
        return Ok(Pool::Sqlite { readers: writer.clone(), writer });
    }
    if path.is_empty() || path.contains('?') {
        return Err(StoreError::BadUrl("after sqlite: comes the path of a file, without parameters"));
    }
    create_private(Path::new(path)).await?;
    let options =
        options.filename(path).journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    let writer = lasting.connect_with(options.clone()).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(connections.max(1))
        .acquire_timeout(SQLITE_WAIT)
        .connect_lazy_with(options.pragma("query_only", "ON"));
    Ok(Pool::Sqlite { writer, readers })
}

/// Makes the file, readable by its owner only, unless it is there. SQLite gives its side files the same mode.
async fn create_private(path: &Path) -> Result<(), StoreError> {
    let made = tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).await;
    match made {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
            Err(StoreError::CannotCreate { path: path.to_owned(), cause })
        }
        _ => Ok(()),
    }
}

fn open_postgres(url: &str, connections: u32) -> Result<Pool, StoreError> {
    // The cause is dropped, since it may quote the address and with it the password.
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| StoreError::BadUrl("it is not a PostgreSQL address"))?
        .application_name("doorward")
        .options([
            ("statement_timeout", "10s"),
            ("lock_timeout", "5s"),
            ("idle_in_transaction_session_timeout", "30s"),
        ]);
    Ok(Pool::Postgres(
        PgPoolOptions::new()
            .max_connections(connections.max(1))
            .acquire_timeout(POSTGRES_WAIT)
            .connect_lazy_with(options),
    ))
}
