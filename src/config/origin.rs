//! Where the settings of this process come from, with the content of every file as it was read, so that changes are
//! noticed.

use std::fmt::Write as _;
use std::path::Path;

use super::reading::{ConfigError, ConfigSource, SourceFile};
use super::{Config, Flags, load};

/// Where the settings of a process come from, for as long as it runs.
pub struct ConfigOrigin {
    source: ConfigSource,
    flags: Flags,
    /// The configuration file, if there is one, then what it names, as they were when they were last read.
    files: Vec<SourceFile>,
}

/// A look at the files of an [`ConfigOrigin`]; equal to another if nothing changed between the two.
#[derive(Clone, PartialEq, Eq)]
pub struct FilesSnapshot(Vec<SourceFile>);

impl ConfigOrigin {
    /// Not read yet.
    pub fn new(source: ConfigSource, flags: Flags) -> Self {
        Self { source, flags, files: Vec::new() }
    }

    /// Reads the settings, each time from the same file, environment and flags.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with every problem.
    pub fn read(&mut self) -> Result<Config, ConfigError> {
        let mut files = Vec::new();
        let config = load::read(&self.source, &self.flags, &mut files);
        self.files = files;
        config
    }

    /// How the files were when they were last read.
    pub fn read_from(&self) -> FilesSnapshot {
        FilesSnapshot(self.files.clone())
    }

    /// How they are now.
    pub fn look(&self) -> FilesSnapshot {
        FilesSnapshot(self.files.iter().map(|file| SourceFile::look(&file.path)).collect())
    }

    /// Whether there is any file that could change.
    pub fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// The configuration file.
    pub fn file(&self) -> Option<&Path> {
        self.source.file.as_deref()
    }

    /// SHA-256 of the configuration file as it was last read, in hexadecimal.
    pub fn sha256(&self) -> Option<String> {
        let file = self.files.first().filter(|first| Some(first.path.as_path()) == self.file())?;
        let mut text = String::new();
        for byte in file.sha256? {
            _ = write!(text, "{byte:02x}");
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    const LEAST: &str =
        "upstreams = [{ name = \"app\", url = \"http://127.0.0.1:1\" }]\nroutes = [{ upstream = \"app\" }]\n";

    fn origin(file: &Path) -> (ConfigOrigin, Result<Config, ConfigError>) {
        let source = ConfigSource { file: Some(file.to_owned()), environment: Vec::new() };
        let mut origin = ConfigOrigin::new(source, Flags::default());
        let config = origin.read();
        (origin, config)
    }

    fn has_changed(origin: &ConfigOrigin) -> bool {
        origin.look() != origin.read_from()
    }

    #[test]
    fn a_change_is_seen_however_the_file_is_replaced_and_only_then() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("doorward.toml");
        std::fs::write(&file, LEAST).unwrap();
        let (mut origin, config) = origin(&file);
        assert!(config.is_ok() && !has_changed(&origin));
        assert_eq!(origin.sha256().unwrap().len(), 64);

        // Written again with the same content: nothing to do.
        std::fs::write(&file, LEAST).unwrap();
        assert!(!has_changed(&origin));

        // In place, and as long as before.
        std::fs::write(&file, LEAST.replace("127.0.0.1:1", "127.0.0.1:2")).unwrap();
        assert!(has_changed(&origin));
        origin.read().unwrap();
        assert!(!has_changed(&origin));

        // As editors do.
        let other = folder.path().join("doorward.toml.new");
        std::fs::write(&other, format!("{LEAST}\nlog.access = false\n")).unwrap();
        std::fs::rename(&other, &file).unwrap();
        assert!(has_changed(&origin));
        origin.read().unwrap();

        // Gone, and back.
        std::fs::remove_file(&file).unwrap();
        assert!(has_changed(&origin));
        assert!(origin.read().is_err() && !has_changed(&origin));
        std::fs::write(&file, LEAST).unwrap();
        assert!(has_changed(&origin));
    }

    #[test]
    fn a_link_that_points_elsewhere_is_a_change() {
        // As Kubernetes updates what it mounts: one link to a folder is replaced.
        let folder = tempfile::tempdir().unwrap();
        for (version, port) in [("one", 1), ("two", 2)] {
            std::fs::create_dir(folder.path().join(version)).unwrap();
            let text = LEAST.replace("127.0.0.1:1", &format!("127.0.0.1:{port}"));
            std::fs::write(folder.path().join(version).join("doorward.toml"), text).unwrap();
        }
        symlink("one", folder.path().join("data")).unwrap();
        symlink("data/doorward.toml", folder.path().join("doorward.toml")).unwrap();
        let (origin, config) = origin(&folder.path().join("doorward.toml"));
        assert!(config.is_ok() && !has_changed(&origin));
        symlink("two", folder.path().join("data.new")).unwrap();
        std::fs::rename(folder.path().join("data.new"), folder.path().join("data")).unwrap();
        assert!(has_changed(&origin));
    }

    #[test]
    fn files_that_are_named_count_even_while_the_settings_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("doorward.toml");
        let named = "secret_file = \"secret\"\nserver.tls = { certificate = \"a.crt\", key = \"a.key\" }\npages.logo = \"mark\"\n";
        std::fs::write(&file, format!("{named}{LEAST}")).unwrap();
        let (mut origin, config) = origin(&file);
        assert!(config.is_err());
        for name in ["secret", "a.crt", "a.key", "mark"] {
            assert!(!has_changed(&origin), "{name}");
            std::fs::write(folder.path().join(name), "something").unwrap();
            assert!(has_changed(&origin), "{name}");
            assert!(origin.read().is_err());
        }
        // One that others may read is refused; once they may not, that is a change.
        let secret = folder.path().join("secret");
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(has_changed(&origin));
    }

    #[test]
    fn without_files_there_is_nothing_to_look_at() {
        let flags = Flags { upstream: Some("http://127.0.0.1:1".to_owned()), ..Flags::default() };
        let mut origin = ConfigOrigin::new(ConfigSource::default(), flags);
        assert!(origin.read().is_ok() && !origin.has_files() && !has_changed(&origin));
        assert_eq!((origin.file(), origin.sha256()), (None, None));
    }
}
