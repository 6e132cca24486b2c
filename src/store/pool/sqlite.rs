//! The SQLite file: one writer, and readers for each lane.

use std::io;
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::Lane;
use crate::store::StoreError;

/// How long SQLite waits for a writer of another process, and we for a free connection to it.
const WAIT: Duration = Duration::from_secs(5);
/// How long a connection is kept.
const LIFE: Duration = Duration::from_mins(30);
/// How long one call may take, waiting included. It goes on in its thread; nobody waits for it.
pub(super) const ANSWER: Duration = Duration::from_secs(12);

/// SQLite has one writer at a time anyway, so writers queue here, in order, instead of polling the file.
#[derive(Clone)]
pub(in crate::store) struct File {
    /// One connection.
    pub(super) writer: SqlitePool,
    /// Connections that cannot write; for a database in memory the same one connection.
    watch: SqlitePool,
    requests: SqlitePool,
    rest: SqlitePool,
}

impl File {
    pub(super) async fn open(path: &str, most: u32) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new().foreign_keys(true).busy_timeout(WAIT);
        let pool = |size: u32| SqlitePoolOptions::new().max_connections(size).acquire_timeout(WAIT);
        if path == ":memory:" {
            // Never given back to the system: the database would go with it.
            let lasting = pool(1).idle_timeout(None).max_lifetime(None);
            let only = lasting.connect_with(options.in_memory(true)).await?;
            return Ok(Self {
                watch: only.clone(),
                requests: only.clone(),
                rest: only.clone(),
                writer: only,
            });
        }
        if path.is_empty() || path.contains('?') {
            return Err(StoreError::BadUrl("after sqlite: comes the path of a file, without parameters"));
        }
        create_private(Path::new(path)).await?;
        let options =
            options.filename(path).journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        let writer = pool(1).idle_timeout(None).max_lifetime(LIFE).connect_with(options.clone()).await?;
        let reading = options.pragma("query_only", "ON");
        let readers = |size| pool(size).max_lifetime(LIFE).connect_lazy_with(reading.clone());
        let shared = most.saturating_sub(1);
        Ok(Self {
            writer,
            watch: readers(1),
            requests: readers(shared.div_ceil(2).max(1)),
            rest: readers((shared / 2).max(1)),
        })
    }

    /// The one connection that writes.
    pub(in crate::store) fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    pub(super) fn readers(&self, lane: Lane) -> &SqlitePool {
        match lane {
            Lane::Watch => &self.watch,
            Lane::Requests => &self.requests,
            Lane::Rest => &self.rest,
        }
    }

    pub(super) async fn close(&self) {
        tokio::join!(self.watch.close(), self.requests.close(), self.rest.close());
        self.writer.close().await; // last, since only a writer can fold the log into the file
    }
}

/// Makes the file, readable by its owner only, unless it is there: `false`. SQLite gives its side files the same mode.
pub(in crate::store) async fn create_private(path: &Path) -> Result<bool, StoreError> {
    let made = tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).await;
    match made {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
            Err(StoreError::CannotCreate { path: path.to_owned(), cause })
        }
        made => Ok(made.is_ok()),
    }
}
