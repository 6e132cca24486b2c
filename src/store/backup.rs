//! A backup of an SQLite database: the file gets its name only once it is complete.

use std::fs::{DirBuilder, File};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Row as _};

use super::pool::{Database, create_private, folder_of};
use super::{Store, StoreError};

impl Store {
    /// Writes all of an SQLite database, as it is at this moment, into a new file, readable by its owner only, and
    /// checks that it can be read. Writers go on meanwhile. Until then it is in a folder beside (`FILE.….part`); whoever
    /// drops the call before its end leaves neither.
    ///
    /// # Errors
    ///
    /// [`StoreError::CannotCreate`] if the file exists or cannot be made, [`StoreError::BadUrl`] where this is no
    /// SQLite database.
    pub async fn backup(&self, path: &Path) -> Result<(), StoreError> {
        let Database::Sqlite(file) = self.pool.database() else {
            return Err(StoreError::BadUrl("it is PostgreSQL, which has its own: pg_dump"));
        };
        let part = PartialBackup::of(path).await?;
        let name = part.file.to_str().ok_or(StoreError::BadUrl("the name of the backup is not UTF-8"))?;
        sqlx::query("VACUUM INTO $1").bind(name).execute(file.writer()).await?;
        let options = SqliteConnectOptions::new().filename(&part.file).read_only(true);
        let mut copy = SqliteConnection::connect_with(&options).await?;
        let verdict: String = sqlx::query("PRAGMA integrity_check").fetch_one(&mut copy).await?.try_get(0)?;
        copy.close().await?;
        if verdict != "ok" {
            return Err(StoreError::Corrupt { table: "of the backup" });
        }
        part.becomes(path).map_err(|cause| StoreError::CannotCreate { path: path.to_owned(), cause })
    }
}

/// A file that is being written, in a folder of its own with whatever the database puts beside it. The folder goes
/// whether or not the file has become what it was to be.
struct PartialBackup {
    folder: PathBuf,
    file: PathBuf,
}

impl PartialBackup {
    /// Begins one beside a file that must not be there.
    async fn of(path: &Path) -> Result<Self, StoreError> {
        let failed = |cause| StoreError::CannotCreate { path: path.to_owned(), cause };
        if path.symlink_metadata().is_ok() {
            return Err(failed(ErrorKind::AlreadyExists.into()));
        }
        let mut folder = path.as_os_str().to_owned();
        folder.push(format!(".{}.part", uuid::Uuid::now_v7()));
        let folder = PathBuf::from(folder);
        DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
        let part = Self { file: folder.join("database"), folder };
        create_private(&part.file).await?;
        Ok(part)
    }

    /// Gives it its name, unless that was taken meanwhile, for good: also after a crash.
    fn becomes(self, path: &Path) -> Result<(), Error> {
        File::open(&self.file)?.sync_all()?;
        match renameat_with(CWD, &self.file, CWD, path, RenameFlags::NOREPLACE) {
            // A file system, such as NFS, that cannot see to it in one step.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => std::fs::hard_link(&self.file, path)?,
            renamed => renamed?,
        }
        File::open(folder_of(path))?.sync_all()
    }
}

impl Drop for PartialBackup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
