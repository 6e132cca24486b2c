//! The gateway's own key: as configured, or made once and kept beside the `SQLite` database, never in it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::StartError;
use crate::config::{Config, SecretFileError, check_key_material, read_secret_file};
use crate::model::secret::Secret;
use crate::model::token::{MasterKey, random_text};
use crate::store::Store;

/// Why the file that holds the key is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read, or others can read it.
    #[error(transparent)]
    Closed(SecretFileError),
    /// What is in it cannot be the key that was made.
    #[error(
        "{what}: restore it from a backup; or delete it to have a new one made, after which everybody signs in again and \
         the audit trail so far cannot be verified any more"
    )]
    Content {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A new one cannot be written.
    #[error("it cannot be made")]
    Unwritable(#[source] io::Error),
}

/// The state of a key file.
enum KeyFileState {
    Key(Secret),
    /// There is no file.
    None,
    /// A file with nothing in it, as `touch` or a crash may leave.
    Empty,
}

/// Problems with the key file, if any. Makes and changes nothing.
///
/// # Errors
///
/// [`StartError::MasterKey`] if the store's key file is of no use.
pub(super) fn look(config: &Config) -> Result<Option<String>, StartError> {
    let Some(file) = file_of(config) else { return Ok(None) };
    match find(&file).map_err(|cause| unusable(&file, cause))? {
        KeyFileState::Empty => Ok(Some(format!(
            "the gateway's secret {} is empty: `serve` makes a new one if nothing was ever signed by it, and else ends with \
             what to do",
            file.display()
        ))),
        KeyFileState::Key(_) | KeyFileState::None => Ok(None),
    }
}

/// The key for a store, which must be there.
///
/// # Errors
///
/// [`StartError::NoKey`] if there is none, [`StartError::MasterKey`] if its file cannot be used.
pub(super) fn found(config: &Config) -> Result<MasterKey, StartError> {
    if let Some(secret) = &config.secret {
        return Ok(MasterKey::new(secret.clone()));
    }
    let Some(file) = file_of(config) else {
        let in_memory = config.store.url.expose().starts_with("sqlite:");
        let unknown = StartError::NoKey { place: "in the settings (secret_file)".to_owned() };
        return if in_memory { Ok(MasterKey::new(random_text())) } else { Err(unknown) };
    };
    match find(&file).map_err(|cause| unusable(&file, cause))? {
        KeyFileState::Key(secret) => Ok(MasterKey::new(secret)),
        KeyFileState::None => {
            Err(StartError::NoKey { place: format!("at {}, beside the database", file.display()) })
        }
        KeyFileState::Empty => Err(unusable(&file, KeyFileError::Content { what: "is empty" })),
    }
}

/// The key for a store. It is created where there is no file or an empty one, if nothing in the store was
/// ever signed.
///
/// # Errors
///
/// [`StartError::MasterKey`] if its file is of no use and cannot be made, [`StartError::Store`].
pub(super) async fn load(config: &Config, store: &Store) -> Result<MasterKey, StartError> {
    if let Some(secret) = &config.secret {
        return Ok(MasterKey::new(secret.clone()));
    }
    let Some(file) = file_of(config) else {
        // What lives in memory ends with it, sessions included.
        return Ok(MasterKey::new(random_text()));
    };
    let made = match find(&file).map_err(|cause| unusable(&file, cause))? {
        KeyFileState::Key(secret) => return Ok(MasterKey::new(secret)),
        KeyFileState::None => make(&file),
        // Whatever is signed leaves a row in the trail, or comes after one.
        KeyFileState::Empty if store.audit_head().await?.seq == 0 => mend(&file),
        KeyFileState::Empty => {
            return Err(unusable(
                &file,
                KeyFileError::Content { what: "is empty, though there is what it has signed" },
            ));
        }
    };
    let found = made.map_err(KeyFileError::Unwritable).and_then(|()| find(&file));
    match found.map_err(|cause| unusable(&file, cause))? {
        KeyFileState::Key(secret) => Ok(MasterKey::new(secret)),
        KeyFileState::None | KeyFileState::Empty => {
            Err(unusable(&file, KeyFileError::Content { what: "is empty" }))
        }
    }
}

/// The key in a file that must be there.
pub(super) fn read(path: &Path) -> Result<MasterKey, SecretFileError> {
    let secret = read_secret_file(path)?;
    check_key_material(&secret)?;
    Ok(MasterKey::new(secret))
}

/// Where the key is kept, if it is not configured and there is a file to keep it beside.
fn file_of(config: &Config) -> Option<PathBuf> {
    let database = config.store.file().filter(|_| config.secret.is_none())?;
    let mut file = database.as_os_str().to_owned();
    file.push(".secret");
    Some(file.into())
}

fn unusable(path: &Path, cause: KeyFileError) -> StartError {
    StartError::MasterKey { path: path.display().to_string(), cause }
}

fn find(path: &Path) -> Result<KeyFileState, KeyFileError> {
    let secret = read_secret_file(path).and_then(|secret| check_key_material(&secret).map(|()| secret));
    let what = match secret {
        Ok(secret) => return Ok(KeyFileState::Key(secret)),
        Err(SecretFileError::Unreadable(error)) if error.kind() == ErrorKind::NotFound => {
            return Ok(KeyFileState::None);
        }
        Err(SecretFileError::Empty) => return Ok(KeyFileState::Empty),
        Err(SecretFileError::NotText) => "is not text",
        Err(SecretFileError::TooLong) => "is longer than a key",
        Err(SecretFileError::Short) => "is shorter than 32 bytes",
        Err(SecretFileError::Guessable) => "can be guessed",
        Err(other) => return Err(KeyFileError::Closed(other)),
    };
    Err(KeyFileError::Content { what })
}

/// Puts a new key there, all of it or nothing, unless another process does so first.
fn make(path: &Path) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}", uuid::Uuid::now_v7()));
    let new = PathBuf::from(new);
    let written = write_new(&new).and_then(|()| std::fs::hard_link(&new, path));
    let _ = std::fs::remove_file(&new);
    match written {
        Err(error) if error.kind() != ErrorKind::AlreadyExists || !path.exists() => Err(error),
        _ => sync_folder(path),
    }
}

fn write_new(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(random_text().expose().as_bytes())?;
    file.sync_all()
}

/// Replaces an empty file by a new key. Of several processes one does so at a time, and the others find it done.
fn mend(path: &Path) -> io::Result<()> {
    let empty = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return make(path),
        opened => opened?,
    };
    empty.lock()?;
    if matches!(find(path), Ok(KeyFileState::Empty)) {
        std::fs::remove_file(path)?;
        make(path)?;
        tracing::warn!(
            "the gateway's secret {} was empty and nothing was signed by it: a new one was made",
            path.display()
        );
    }
    Ok(())
}

/// What was linked is there after a crash too.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::{ConfigSource, Flags};
    use crate::model::audit::{Event, Note, Reason};
    use crate::model::time::SystemClock;
    use crate::model::token::KeyPurpose;

    /// Settings of a folder, and its store.
    struct KeyFolder {
        folder: tempfile::TempDir,
        config: Config,
        store: Store,
    }

    impl KeyFolder {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let flags = Flags { upstream: Some("http://127.0.0.1:9".to_owned()), ..Flags::default() };
            let source =
                ConfigSource { file: Some(folder.path().join("doorward.toml")), environment: Vec::new() };
            std::fs::write(folder.path().join("doorward.toml"), "").unwrap();
            let config = crate::config::load(&source, &flags).unwrap();
            let store = Store::open(config.store.url.expose(), 1).await.unwrap();
            Self { folder, config, store }
        }

        fn file(&self) -> PathBuf {
            self.folder.path().join("doorward.db.secret")
        }

        fn write(&self, text: impl AsRef<[u8]>) {
            std::fs::write(self.file(), text).unwrap();
            self.permit(0o600);
        }

        fn permit(&self, mode: u32) {
            std::fs::set_permissions(self.file(), std::fs::Permissions::from_mode(mode)).unwrap();
        }

        async fn key(&self) -> Result<String, String> {
            let told = load(&self.config, &self.store).await.map_err(|error| with_cause(&error))?;
            let read = read(&self.file()).unwrap();
            assert_eq!(link_of(&told), link_of(&read), "what is kept is what is used");
            Ok(link_of(&read))
        }
    }

    fn link_of(key: &MasterKey) -> String {
        format!("{:?}", key.derive(KeyPurpose::Audit).sign("text"))
    }

    fn with_cause(error: &StartError) -> String {
        let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        format!("{error}: {cause}")
    }

    #[tokio::test]
    async fn the_key_is_made_once_readable_by_nobody_else_and_kept() {
        let fixture = KeyFolder::new().await;
        assert!(look(&fixture.config).unwrap().is_none() && !fixture.file().exists(), "a look makes nothing");
        let first = fixture.key().await.unwrap();
        assert_eq!(std::fs::metadata(fixture.file()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fixture.key().await.unwrap(), first);
        let names = std::fs::read_dir(fixture.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(
            !names.into_iter().any(|name| name.to_string_lossy().contains(".secret.")),
            "nothing is left beside it"
        );
    }

    #[tokio::test]
    async fn many_at_once_have_one_key_be_the_file_missing_or_empty() {
        for empty in [false, true] {
            let fixture = KeyFolder::new().await;
            if empty {
                fixture.write("");
            }
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let (file, found) = (fixture.file(), fixture.file());
                    std::thread::spawn(move || {
                        if empty {
                            mend(&file).unwrap();
                        } else {
                            make(&file).unwrap();
                        }
                        link_of(&read(&found).unwrap())
                    })
                })
                .collect();
            let mut keys: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            keys.dedup();
            assert_eq!(keys.len(), 1);
        }
    }

    #[tokio::test]
    async fn whoever_mends_a_key_waits_for_who_does_and_leaves_theirs() {
        use std::os::unix::fs::MetadataExt as _;
        let fixture = KeyFolder::new().await;
        fixture.write("");
        let (file, empty) = (fixture.file(), File::open(fixture.file()).unwrap());
        empty.lock().unwrap();
        let mending = std::thread::spawn(move || mend(&file).unwrap());
        // The kernel lists who waits for a lock, by the file's number (proc_locks(5)).
        let inode = format!(":{} ", empty.metadata().unwrap().ino());
        let waits = || {
            let locks = std::fs::read_to_string("/proc/locks").unwrap();
            locks.lines().any(|line| line.contains("->") && line.contains(&inode))
        };
        while !waits() {
            assert!(!mending.is_finished(), "it did not wait");
            std::thread::yield_now();
        }
        std::fs::remove_file(fixture.file()).unwrap();
        make(&fixture.file()).unwrap();
        let theirs = link_of(&read(&fixture.file()).unwrap());
        drop(empty);
        mending.join().unwrap();
        assert_eq!(link_of(&read(&fixture.file()).unwrap()), theirs);
    }

    #[tokio::test]
    async fn a_key_that_others_can_read_is_refused_like_any_secret_file() {
        let fixture = KeyFolder::new().await;
        fixture.key().await.unwrap();
        for (mode, good) in [(0o644, false), (0o660, false), (0o640, true), (0o400, true)] {
            fixture.permit(mode);
            let loaded = load(&fixture.config, &fixture.store).await;
            assert_eq!(loaded.is_ok(), good, "{mode:o}");
            assert_eq!(look(&fixture.config).is_ok(), good, "{mode:o}");
            assert_eq!(found(&fixture.config).is_ok(), good, "{mode:o}");
            assert_eq!(read(&fixture.file()).is_ok(), good, "{mode:o}");
        }
        fixture.permit(0o644);
        let told = fixture.key().await.unwrap_err();
        assert!(
            told.contains("doorward.db.secret") && told.contains("mode 0644") && told.contains("chmod"),
            "{told}"
        );
    }

    #[tokio::test]
    async fn what_cannot_be_the_key_is_refused_with_the_remedy() {
        let fixture = KeyFolder::new().await;
        for (content, what) in [
            (&b"short"[..], "shorter than 32 bytes"),
            (&[b'a'; 64], "can be guessed"),
            (&[0xff; 64], "not text"),
            (&b"x".repeat(70_000), "longer than a key"),
        ] {
            fixture.write(content);
            let loaded = load(&fixture.config, &fixture.store).await;
            let told = with_cause(&loaded.unwrap_err());
            assert!(told.contains(what) && told.contains("restore it from a backup; or delete it"), "{told}");
            assert_eq!(std::fs::read(fixture.file()).unwrap(), content, "it is left as it is");
            assert!(look(&fixture.config).is_err());
            assert!(found(&fixture.config).is_err(), "commands: {what}");
            assert!(read(&fixture.file()).is_err(), "of a former secret: {what}");
        }
    }

    #[tokio::test]
    async fn an_empty_key_is_mended_while_nothing_was_signed_and_else_refused() {
        let fixture = KeyFolder::new().await;
        for empty in ["", "\n"] {
            fixture.write(empty);
            assert!(look(&fixture.config).unwrap().unwrap().contains("is empty"));
            fixture.key().await.unwrap();
        }
        let key = load(&fixture.config, &fixture.store).await.unwrap();
        let audited = fixture
            .store
            .audited(super::super::audit_key(&key), std::sync::Arc::new(SystemClock))
            .await
            .unwrap();
        audited.record(Note::failed(Event::Setup, Reason::InvalidLink)).await.unwrap();
        fixture.write("");
        let told = fixture.key().await.unwrap_err();
        assert!(told.contains("is empty, though there is what it has signed: restore it"), "{told}");
        assert_eq!(std::fs::read(fixture.file()).unwrap(), b"");
        // Without any file a new one is made: so a key is replaced on purpose.
        std::fs::remove_file(fixture.file()).unwrap();
        fixture.key().await.unwrap();
    }
}
