//! The two drivers behind one small interface: SQL text that both accept, values in, rows out.
//!
//! What the rest of the store writes: parameters `$1, $2`, types TEXT, BIGINT, BOOLEAN and bytes, no
//! functions of one database only. What differs between the two stays in this file and in the migrations.

mod address;
mod server_errors;
mod pooler;
mod postgres;
mod sqlite;
mod discard_warnings;
mod change_queue;

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite, Transaction};

use self::address::DatabaseAddress;
pub(super) use self::change_queue::ChangeQueue;
use self::change_queue::ChangeQueues;
pub(super) use self::postgres::PoolLanes;
pub(super) use self::postgres::{OPENING, within};
use self::postgres::{PgChange, ask};
pub(super) use self::server_errors::is_of_others;
pub(super) use self::sqlite::{File, create_private, folder_of};
use super::StoreError;
use crate::model::time::Timestamp;
use crate::model::token::TokenDigest;

/// A group of connections. No lane can use those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The watch over revocations, which everything rests on: one.
    Watch,
    /// Looking up who a request comes from: half of the others.
    Requests,
    /// Pages, commands, upkeep, and every change.
    Rest,
}

/// An open database, used through one lane.
#[derive(Clone)]
pub(super) struct Pool {
    database: Database,
    lane: Lane,
}

/// Which one it is.
#[derive(Clone)]
pub(super) enum Database {
    Sqlite(File),
    /// Any number of gateways may share it.
    Postgres(PoolLanes, ChangeQueues),
}

/// A change under way; it never happened unless it is committed.
pub(super) enum Change {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(PgChange),
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

mod long_transaction;
pub(super) use self::long_transaction::LongTransaction;

/// Asks one thing of SQLite.
macro_rules! ask_file {
    ($question:expr) => {
        within(sqlite::ANSWER, Box::pin($question)).await?.map_err(StoreError::from)
    };
}

impl Pool {
    /// At most `connections`, though one for each lane.
    pub(super) async fn open(url: &str, connections: u32) -> Result<Self, StoreError> {
        let database = match DatabaseAddress::of(url)? {
            DatabaseAddress::Memory => Database::Sqlite(File::in_memory().await?),
            DatabaseAddress::File(path) => Database::Sqlite(File::open(path, connections).await?),
            DatabaseAddress::Postgres(options, password) => {
                Database::Postgres(PoolLanes::open(*options, &password, connections), ChangeQueues::default())
            }
        };
        Ok(Self { database, lane: Lane::Rest })
    }

    /// Whether a database could be opened; makes and changes nothing.
    pub(super) async fn look(url: &str) -> Result<(), StoreError> {
        match DatabaseAddress::of(url)? {
            DatabaseAddress::Memory => Ok(()),
            DatabaseAddress::File(path) => sqlite::look(path),
            DatabaseAddress::Postgres(options, password) => {
                PoolLanes::open(*options, &password, 1).look().await
            }
        }
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// The same database, by the connections of another lane.
    pub(super) fn on(&self, lane: Lane) -> Self {
        Self { database: self.database.clone(), lane }
    }

    /// The first row of an answer, outside any change.
    pub(super) async fn row(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(match &self.database {
            Database::Sqlite(file) => {
                ask_file!(bound!(sql, values).fetch_optional(file.readers(self.lane)))?.map(Row::Sqlite)
            }
            Database::Postgres(lanes, _) => {
                let mut lease = lanes.lease(self.lane).await?;
                ask!(lease, |raw| bound!(sql, values).fetch_optional(raw))?.map(Row::Postgres)
            }
        })
    }

    /// A whole answer, outside any change. The SQL bounds it with LIMIT.
    pub(super) async fn rows(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        Ok(match &self.database {
            Database::Sqlite(file) => {
                let rows = ask_file!(bound!(sql, values).fetch_all(file.readers(self.lane)))?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Database::Postgres(lanes, _) => {
                let mut lease = lanes.lease(self.lane).await?;
                let rows = ask!(lease, |raw| bound!(sql, values).fetch_all(raw))?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Begins a change of rows that nothing else depends on.
    pub(super) async fn change(&self) -> Result<Change, StoreError> {
        self.begin(None).await
    }

    /// Begins a change of users, sessions or keys, or one that leaves a row in the audit trail, when all earlier
    /// ones are done.
    ///
    /// On SQLite that is so by itself. On PostgreSQL the one row of `revision` is the lock: with it, what a
    /// change has read (how many admins, whether any user) still holds when it writes, and no two changes
    /// can lock the same rows in opposite order.
    pub(super) async fn change_in_turn(&self) -> Result<Change, StoreError> {
        self.begin(Some(ChangeQueue::Rights)).await
    }

    /// Begins a count of attempts, when all earlier ones of this process are done.
    pub(super) async fn count_in_turn(&self) -> Result<Change, StoreError> {
        self.begin(Some(ChangeQueue::Attempts)).await
    }

    /// Begins a change, after those that are queued before it.
    pub(super) async fn begin(&self, queue: Option<ChangeQueue>) -> Result<Change, StoreError> {
        Ok(match &self.database {
            // A deferred transaction could fail half-way, when another process has written meanwhile.
            Database::Sqlite(file) => Change::Sqlite(ask_file!(file.writer.begin_with("BEGIN IMMEDIATE"))?),
            Database::Postgres(lanes, turns) => {
                // Before a connection is taken: queued changes must not hold connections that others need.
                let queue = match queue {
                    Some(queue) => Some(turns.wait_for(queue).await?),
                    None => None,
                };
                Change::Postgres(PgChange::begin(lanes, self.lane, queue).await?)
            }
        })
    }

    pub(super) async fn close(&self) {
        match &self.database {
            Database::Sqlite(file) => file.close().await,
            Database::Postgres(lanes, _) => lanes.close().await,
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
            Self::Sqlite(tx) => ask_file!(bound!(sql, values).execute(&mut **tx))?.rows_affected(),
            Self::Postgres(change) => {
                ask!(change.lease(), |raw| bound!(sql, values).execute(raw))?.rows_affected()
            }
        })
    }

    /// The first row of an answer, as this change sees it.
    pub(super) async fn row(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(match self {
            Self::Sqlite(tx) => ask_file!(bound!(sql, values).fetch_optional(&mut **tx))?.map(Row::Sqlite),
            Self::Postgres(change) => {
                ask!(change.lease(), |raw| bound!(sql, values).fetch_optional(raw))?.map(Row::Postgres)
            }
        })
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => ask_file!(tx.commit()),
            Self::Postgres(change) => change.commit().await,
        }
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
    &'v Vec<u8>: bytes => Self::Bytes(bytes);
}
