//! A file that holds a secret: who may read it, and what a secret of ours must be like.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::entropy::is_guessable;
use crate::model::secret::Secret;

/// Permission bits beyond 0640: the group may not write, others may nothing.
pub(in crate::config) const LOOSE: u32 = 0o027;
/// Permission bits that let anyone but the owner write.
const WRITABLE: u32 = 0o022;
/// Where container engines mount secrets.
const MOUNTED_SECRETS: [&str; 2] = ["/run/secrets", "/var/run/secrets"];
/// Bytes of a file that holds nothing but a secret.
const MOST: u64 = 64 * 1024;
/// Bytes of key material.
const SHORTEST: usize = 32;

/// Why no secret is taken from a file. Holds neither the content nor the file's name, which may be the secret itself.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The operating system gives nothing.
    #[error("the file cannot be read")]
    Unreadable(#[from] io::Error),
    /// A folder, a pipe, a device.
    #[error("is not a regular file: name a file that holds only the secret")]
    NotRegular,
    /// Others may read or write it.
    #[error(
        "the file's mode {mode:04o} lets others in: chmod 0640 or stricter (in a container: mount it below /run/secrets)"
    )]
    Loose {
        /// Permission bits.
        mode: u32,
    },
    /// It must hold something else.
    #[error("the file is longer than 64 KiB: name a file that holds only the secret")]
    TooLong,
    /// Bytes as they were drawn, perhaps.
    #[error("the file is not UTF-8 text: write text into it, such as the output of: openssl rand -base64 32")]
    NotText,
    /// Nothing, or a line end alone.
    #[error("the file is empty: write the secret into it")]
    Empty,
    /// Key material that is too short.
    #[error("is shorter than 32 bytes: {MAKE}")]
    Short,
    /// Key material that was hardly drawn at random.
    #[error("can be guessed: {MAKE}")]
    Guessable,
}

/// What to do where key material is no good.
const MAKE: &str = "write the output of: openssl rand -base64 32";

/// The content of a file that holds a secret, without the line end at its end.
///
/// # Errors
///
/// [`SecretFileError`] where others may read or write it, or it holds no text.
pub fn read_secret_file(file: &Path) -> Result<Secret, SecretFileError> {
    let metadata = std::fs::metadata(file)?;
    if !metadata.is_file() {
        return Err(SecretFileError::NotRegular);
    }
    // Container engines mount secrets for everyone to read, into a container that has only one reader.
    let mounted = MOUNTED_SECRETS.iter().any(|folder| file.starts_with(folder));
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & if mounted { WRITABLE } else { LOOSE } != 0 {
        return Err(SecretFileError::Loose { mode });
    }
    if metadata.len() > MOST {
        return Err(SecretFileError::TooLong);
    }
    let text = std::fs::read_to_string(file).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => SecretFileError::NotText,
        _ => SecretFileError::Unreadable(error),
    })?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(SecretFileError::Empty);
    }
    Ok(Secret::new(text))
}

/// Whether key material is long and random enough.
///
/// # Errors
///
/// [`SecretFileError::Short`] or [`SecretFileError::Guessable`].
pub fn check_key_material(secret: &Secret) -> Result<(), SecretFileError> {
    let text = secret.expose();
    if text.len() < SHORTEST {
        Err(SecretFileError::Short)
    } else if is_guessable(text) {
        Err(SecretFileError::Guessable)
    } else {
        Ok(())
    }
}
