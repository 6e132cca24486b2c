//! The folder that keeps ACME account and certificate, readable by this user only.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::config::AcmeConfig;

/// Accounts and chains are some kilobytes.
const LONGEST: u64 = 256 * 1024;

/// What is kept for one authority, and one set of domains there: with others, other files are used.
#[derive(Clone, Debug)]
pub struct AcmeCache {
    account: PathBuf,
    certificate: PathBuf,
}

impl AcmeCache {
    /// Opens the folder, and makes it where it is missing.
    ///
    /// # Errors
    ///
    /// If it cannot be made, or others may look into it.
    pub fn open(config: &AcmeConfig) -> io::Result<Self> {
        let folder = &config.cache;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mode = fs::metadata(folder)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            let what = format!("the folder's mode {mode:04o} lets others in: chmod 0700 it");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        Ok(Self { account: folder.join(account_name(config)), certificate: certificate_file(config) })
    }

    /// The account as it was kept.
    ///
    /// # Errors
    ///
    /// If there is one that cannot be read.
    pub fn account(&self) -> io::Result<Option<String>> {
        read(&self.account)
    }

    pub(super) fn keep_account(&self, text: &str) -> io::Result<()> {
        replace(&self.account, text)
    }

    /// Key and chain as they were kept.
    ///
    /// # Errors
    ///
    /// If there are some that cannot be read.
    pub fn certificate(&self) -> io::Result<Option<String>> {
        read(&self.certificate)
    }

    pub(super) fn keep_certificate(&self, pem: &str) -> io::Result<()> {
        replace(&self.certificate, pem)
    }
}

/// Where key and chain are kept.
pub fn certificate_file(config: &AcmeConfig) -> PathBuf {
    let mut domains = config.domains.clone();
    domains.sort();
    let name = format!("certificate-{}.pem", digest(&format!("{} {}", config.directory, domains.join(" "))));
    config.cache.join(name)
}

fn account_name(config: &AcmeConfig) -> String {
    format!("account-{}.json", digest(&config.directory))
}

/// A short name for a long one.
fn digest(text: &str) -> String {
    let mut name = String::new();
    for byte in Sha256::digest(text).iter().take(6) {
        _ = write!(name, "{byte:02x}");
    }
    name
}

fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Writes a file that is either as before or whole, whatever happens meanwhile.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AcmeChallenge;

    fn config(cache: &Path, domains: &[&str]) -> AcmeConfig {
        AcmeConfig {
            directory: "https://ca.example/dir".to_owned(),
            contact: Vec::new(),
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
            ca: None,
            named: Vec::new(),
            cache: cache.to_owned(),
            challenge: AcmeChallenge::TlsAlpn01,
            http_listen: None,
        }
    }

    #[test]
    fn folder_and_files_are_open_to_nobody_else_and_what_is_kept_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder.path().join("a/acme"), &["a.example"]);
        let cache = AcmeCache::open(&config).unwrap();
        assert_eq!(cache.certificate().unwrap(), None);
        cache.keep_certificate("one").unwrap();
        cache.keep_certificate("two").unwrap();
        cache.keep_account("{}").unwrap();
        let again = AcmeCache::open(&config).unwrap();
        assert_eq!(again.certificate().unwrap().as_deref(), Some("two"));
        assert_eq!(again.account().unwrap().as_deref(), Some("{}"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&config.cache), 0o700);
        assert_eq!((mode(&cache.certificate), mode(&cache.account)), (0o600, 0o600));
        assert_eq!(fs::read_dir(&config.cache).unwrap().count(), 2);
    }

    #[test]
    fn a_folder_that_others_may_look_into_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o750)).unwrap();
        assert!(AcmeCache::open(&config(folder.path(), &["a.example"])).is_err());
    }

    #[test]
    fn other_domains_have_another_certificate_in_whatever_order_they_are_named() {
        let folder = Path::new("/f");
        let file = |domains: &[&str]| certificate_file(&config(folder, domains));
        assert_eq!(file(&["a.example", "b.example"]), file(&["b.example", "a.example"]));
        assert_ne!(file(&["a.example"]), file(&["a.example", "b.example"]));
    }
}
