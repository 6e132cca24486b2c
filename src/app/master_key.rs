//! The gateway's own key: as configured, or made once and kept beside the `SQLite` database, never in it.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::StartError;
use crate::config::Config;
use crate::model::secret::Secret;
use crate::model::token::{MasterKey, random_text};

/// A key is 43 characters; anything far longer is not ours.
const LONGEST: u64 = 4096;
const SHORTEST: usize = 32;

/// The key.
///
/// # Errors
///
/// [`StartError::MasterKey`] if its file can be neither read nor made.
pub(super) fn load(config: &Config) -> Result<MasterKey, StartError> {
    if let Some(secret) = &config.secret {
        return Ok(MasterKey::new(secret.clone()));
    }
    let url = config.store.url.expose();
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"));
    let Some(path) = path.filter(|path| *path != ":memory:") else {
        // What lives in memory ends with it, sessions included.
        return Ok(MasterKey::new(random_text()));
    };
    let file = PathBuf::from(format!("{path}.secret"));
    read_or_make(&file)
        .map(MasterKey::new)
        .map_err(|cause| StartError::MasterKey { path: file.display().to_string(), cause })
}

/// The key in a file that must be there.
pub(super) fn read(path: &Path) -> std::io::Result<MasterKey> {
    read_existing(path).map(MasterKey::new)
}

fn read_or_make(path: &Path) -> std::io::Result<Secret> {
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(mut file) => {
            let secret = random_text();
            file.write_all(secret.expose().as_bytes())?;
            file.sync_all()?;
            Ok(secret)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => read_existing(path),
        Err(error) => Err(error),
    }
}

fn read_existing(path: &Path) -> std::io::Result<Secret> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
    let text = text.trim();
    if text.len() < SHORTEST {
        let reason = "the file holds fewer than 32 characters; delete it to have a new one made";
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, reason));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_readable_by_nobody_else_and_kept() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("doorward.db.secret");
        let first = read_or_make(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_or_make(&path).unwrap().expose(), first.expose());
        std::fs::write(&path, "short").unwrap();
        assert!(read_or_make(&path).is_err());
    }
}
