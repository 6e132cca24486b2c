//! Where settings come from, and how every file among that was when it was read: what tells a change.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Where settings come from, beside flags.
#[derive(Clone, Default)]
pub struct ConfigSource {
    /// The TOML file, if there is one.
    pub file: Option<PathBuf>,
    /// Variables as (name, value); those not beginning with `DOORWARD_` are no settings. May hold secrets.
    pub environment: Vec<(OsString, OsString)>,
}

impl ConfigSource {
    /// `file` and this process's environment.
    pub fn from_process(file: Option<PathBuf>) -> Self {
        Self { file, environment: std::env::vars_os().collect() }
    }
}

/// No file that settings name is longer.
const LONGEST: u64 = 1024 * 1024;

/// A file as it was at one moment. Two are equal if they say and allow the same.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::config) struct SourceFile {
    pub(in crate::config) path: PathBuf,
    /// Who may read it decides whether a secret in it is accepted.
    mode: u32,
    /// Of its content; `None` where it could not be read.
    pub(in crate::config) sha256: Option<[u8; 32]>,
}

impl SourceFile {
    /// As it is now. Follows links, so that one that is pointed elsewhere is a change.
    pub(in crate::config) fn look(path: &Path) -> Self {
        let metadata = std::fs::metadata(path).ok();
        let mode = metadata.as_ref().map_or(0, |metadata| metadata.permissions().mode());
        let read = || {
            let mut bytes = Vec::new();
            std::fs::File::open(path).ok()?.take(LONGEST + 1).read_to_end(&mut bytes).ok()?;
            Some(Sha256::digest(&bytes).into())
        };
        let sha256 = metadata.filter(std::fs::Metadata::is_file).and_then(|_| read());
        Self { path: path.to_owned(), mode, sha256 }
    }

    /// What was read of it is this.
    pub(in crate::config) fn held(&mut self, bytes: &[u8]) {
        self.sha256 = Some(Sha256::digest(bytes).into());
    }
}
