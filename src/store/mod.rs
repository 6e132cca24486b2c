//! Everything that outlives a request: one concrete store over SQLite or PostgreSQL, the only SQL.
//!
//! Each method is one atomic change or one read; a transaction never leaves a method. Tokens are kept only
//! as digests and passwords only as hashes, so a stolen database holds nothing that can be presented.

mod api_keys;
mod audit;
mod backup;
mod clock;
mod database_failure;
mod doctor;
mod handovers;
mod identities;
mod migrate;
mod moving;
mod pool;
mod provider_tokens;
mod refused;
mod revision;
mod sessions;
mod setup;
mod password_holders;
mod throttle;
mod used_sign_ins;
mod users;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use self::audit::Ledger;
use self::pool::{ChangeQueue, Database, Pool, is_of_others};

pub use self::audit::{AuditCounts, AuditFilter, AuditHead, audit_key_id};
pub use self::clock::LongestLifetimes;
pub use self::database_failure::DatabaseFailure;
pub use self::handovers::Handover;
pub use self::identities::{
    EndedSessions, FailedRefresh, IdentityMatch, IdentitySignIn, MustLeave, RefreshOutcome, Resolution,
    SignInOutcome, SyncOutcome, Unapplied, Unlinked,
};
pub use self::password_holders::{HashPlace, PasswordHolder};
pub use self::pool::Lane;
pub use self::provider_tokens::{ClaimedRefresh, KeptTokens, NewProviderTokens, SealedTokens};
pub use self::setup::SetupLink;
pub use self::throttle::{Attempted, Bucket, CountedAttempt};
pub use self::users::Changed;
use crate::model::audit::Actor;
use crate::model::time::Timestamp;

/// Why the store could not do what was asked. Of the database's address it holds the host and port at most.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The name, whose kind is given, is taken.
    #[error("this {0} already exists")]
    Conflict(&'static str),
    /// There is no room for one more; what is counted.
    #[error("the {0} is at its limit")]
    Full(&'static str),
    /// `PostgreSQL` cannot be connected to, or does not let us in.
    #[error("no connection to PostgreSQL at {address}")]
    NoConnection {
        /// Its host and port.
        address: String,
        /// Why.
        #[source]
        cause: DatabaseFailure,
    },
    /// The database did not answer as it should.
    #[error("the database is not available")]
    Unavailable(#[source] DatabaseFailure),
    /// Too many changes are queued already; nothing was done.
    #[error("the database is busy")]
    Busy,
    /// A newer version of this program has changed the schema.
    #[error("the database was written by a newer version; run that version, or restore an older backup")]
    TooNew,
    /// The address names no database that we know how to open.
    #[error("the database address is not usable: {0}")]
    BadUrl(&'static str),
    /// A store that was to be filled holds something already.
    #[error("there is something in it already, in table {table}: name an empty database")]
    NotEmpty {
        /// Where.
        table: &'static str,
    },
    /// A stored value cannot be read back, or one to be stored could not be.
    #[error("a row of table {table} does not hold what it should")]
    Corrupt {
        /// Where the row is.
        table: &'static str,
    },
    /// A change that must leave a row in the audit trail, of a store that was given no key for it.
    #[error("the store was given no key for the audit trail")]
    Unaudited,
    /// Rows of the audit trail could not be written for a while, and wait.
    #[error("the audit trail cannot be written: what failed before still waits for its rows")]
    TrailBehind,
    /// A pooler stands in between.
    #[error(
        "a pooler lends connections for one transaction or statement at a time (PgBouncer: pool_mode), but prepared \
         statements and time limits belong to a connection: set pool_mode = session for this database, or let store.url lead \
         to PostgreSQL itself"
    )]
    Pooled,
    /// The file holds something else.
    #[error("{} is not an SQLite database", path.display())]
    NotSqlite {
        /// The file.
        path: PathBuf,
    },
    /// The SQLite file is there, and it or its folder is closed to us.
    #[error("cannot write to the database file {} and into its folder, where its log is", path.display())]
    CannotWrite {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        cause: io::Error,
    },
    /// The SQLite file does not exist and cannot be made; its folder must exist already.
    #[error(
        "cannot create the database file {}, whose folder must be there and writable; a relative store.url counts from \
         the configuration file's folder",
        path.display()
    )]
    CannotCreate {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        cause: io::Error,
    },
}

impl StoreError {
    /// That `PostgreSQL` could not be connected to.
    fn no_connection(address: String, cause: DatabaseFailure) -> Self {
        ERRORS.fetch_add(1, Ordering::Relaxed);
        Self::NoConnection { address, cause }
    }

    /// Whether it says nothing of the address: the server cannot be reached, is starting, or is full.
    pub fn may_pass(&self) -> bool {
        let (Self::Unavailable(cause) | Self::NoConnection { cause, .. }) = self else { return false };
        match cause.cause() {
            sqlx::Error::Io(cause) => cause.kind() != io::ErrorKind::ReadOnlyFilesystem,
            sqlx::Error::PoolTimedOut => true,
            // PostgreSQL, appendix A: insufficient resources, operator intervention.
            other => other
                .as_database_error()
                .and_then(sqlx::error::DatabaseError::code)
                .is_some_and(|code| code.starts_with("53") || code.starts_with("57")),
        }
    }
}

/// Questions to databases that failed, of this process.
static ERRORS: AtomicU64 = AtomicU64::new(0);

/// How many questions to databases failed in this process so far.
pub fn store_errors() -> u64 {
    ERRORS.load(Ordering::Relaxed)
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        ERRORS.fetch_add(1, Ordering::Relaxed);
        if is_of_others(&error) { Self::Pooled } else { Self::Unavailable(error.into()) }
    }
}

/// The database. A clone is cheap and shares the connections.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    /// Where changes leave their rows.
    ledger: Option<Arc<Ledger>>,
    /// Whose changes they are.
    actor: Actor,
}

impl Store {
    /// Opens the database at `url` and brings its schema up to date.
    ///
    /// `sqlite:PATH`, `sqlite::memory:`, `postgres://…` or `postgresql://…`. `connections` is the number of
    /// PostgreSQL connections, or of SQLite readers beside the one writer; each [`Lane`] has one at least.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadUrl`], [`StoreError::CannotCreate`], [`StoreError::TooNew`], [`StoreError::Pooled`],
    /// [`StoreError::NoConnection`], or [`StoreError::Unavailable`] if there is no answer within a few seconds.
    pub async fn open(url: &str, connections: u32) -> Result<Self, StoreError> {
        let pool = Pool::open(url, connections).await?;
        migrate::run(&pool).await?;
        Ok(Self { pool, ledger: None, actor: Actor::gateway() })
    }

    /// Finds what would keep the database at `url` from being opened. Makes and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub async fn look(url: &str) -> Result<(), StoreError> {
        Pool::look(url).await
    }

    /// The same store, by the connections of another lane.
    #[must_use]
    pub fn on(self, lane: Lane) -> Self {
        Self { pool: self.pool.on(lane), ..self }
    }

    /// Runs a deletion that bounds itself by `LIMIT 100` until nothing is left of it: no change lasts long, so no one
    /// waits long for it.
    async fn purge(
        &self,
        queue: ChangeQueue,
        sql: &'static str,
        before: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut gone = 0;
        loop {
            let mut change = self.pool.begin(Some(queue)).await?;
            let some = change.execute(sql, &[before.into()]).await?;
            change.commit().await?;
            gone += some;
            if some == 0 {
                return Ok(gone);
            }
        }
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.pool.row("SELECT value FROM revision", &[]).await.map(|_| ())
    }

    /// Closes every connection, once the changes under way are done.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.pool.database() {
            Database::Sqlite(_) => "Store(sqlite)",
            Database::Postgres(..) => "Store(postgres)",
        })
    }
}
