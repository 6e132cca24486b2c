//! The SQLite file: one writer, and readers for each lane.

use std::fs::Permissions;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Access, access};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::Lane;
use crate::store::StoreError;

/// How long SQLite waits for a writer of another process, and we for a free connection to it.
const WAIT: Duration = Duration::from_secs(5);
/// How long a connection is kept.
const LIFE: Duration = Duration::from_mins(30);
/// How long one call may take, waiting included. It goes on in its thread, without being waited for.
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
    pub(super) async fn in_memory() -> Result<Self, StoreError> {
        // Never given back to the system: the database would go with it.
        let lasting = pool(1).idle_timeout(None).max_lifetime(None);
        let only = lasting.connect_with(options().in_memory(true)).await?;
        Ok(Self { watch: only.clone(), requests: only.clone(), rest: only.clone(), writer: only })
    }

    pub(super) async fn open(path: &Path, most: u32) -> Result<Self, StoreError> {
        check_access(path)?;
        if !create_private(path).await? {
            close_empty(path).await?;
        }
        let options = options()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let one = pool(1).idle_timeout(None).max_lifetime(LIFE);
        let writer = one.connect_with(options.clone()).await.map_err(|error| unopened(path, error))?;
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

fn options() -> SqliteConnectOptions {
    SqliteConnectOptions::new().foreign_keys(true).busy_timeout(WAIT)
}

fn pool(size: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(size).acquire_timeout(WAIT)
}

/// What begins every database that holds anything (SQLite, "Database File Format", 1.3).
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Whether the file could be opened, or made where it is missing.
///
/// Only for a process that has it not open: closing any descriptor of a file drops all locks that the process holds on it
/// (POSIX, `fcntl`).
pub(super) fn look(path: &Path) -> Result<(), StoreError> {
    check_access(path)?;
    let mut start = Vec::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start));
    match read {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(StoreError::CannotWrite { path: path.to_owned(), cause }),
        // One that was just made is empty.
        Ok(_) if start.is_empty() || start == MAGIC => Ok(()),
        Ok(_) => Err(StoreError::NotSqlite { path: path.to_owned() }),
    }
}

/// Whether there is a file that may be written, or a folder to make it in. Opens nothing.
fn check_access(path: &Path) -> Result<(), StoreError> {
    let writable = access(folder_of(path), Access::WRITE_OK | Access::EXEC_OK);
    match std::fs::metadata(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            writable.map_err(|cause| StoreError::CannotCreate { path: path.to_owned(), cause: cause.into() })
        }
        Err(cause) => Err(StoreError::CannotWrite { path: path.to_owned(), cause }),
        Ok(found) if !found.is_file() => Err(StoreError::NotSqlite { path: path.to_owned() }),
        Ok(_) => {
            let written = writable.and_then(|()| access(path, Access::WRITE_OK));
            written.map_err(|cause| StoreError::CannotWrite { path: path.to_owned(), cause: cause.into() })
        }
    }
}

/// What SQLite says of a file that holds something else.
const NOT_A_DATABASE: &str = "26";

fn unopened(path: &Path, error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    if code.as_deref() == Some(NOT_A_DATABASE) {
        return StoreError::NotSqlite { path: path.to_owned() };
    }
    error.into()
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

/// Closes a file to others in which nothing is yet, as `touch` leaves one: what is about to be written there is for us alone.
async fn close_empty(path: &Path) -> Result<(), StoreError> {
    // By its name, as [`look`] says why: closing a descriptor would drop locks.
    let closed = async {
        let found = tokio::fs::metadata(path).await?;
        if found.len() == 0 && found.permissions().mode() & 0o077 != 0 {
            tokio::fs::set_permissions(path, Permissions::from_mode(0o600)).await?;
        }
        Ok(())
    };
    closed.await.map_err(|cause| StoreError::CannotWrite { path: path.to_owned(), cause })
}

/// Where a file is.
pub(in crate::store) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
