//! Finds what would stop a start with these settings, without creating, changing or listening on anything.

use std::io::{Error, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{Access, access};

use super::foundation::TlsMaterial;
use super::reload::with_causes;
use super::{StartError, master_key};
use crate::config::{AcmeConfig, Config, ListenAddress};
use crate::federation;
use crate::server::acme::SetupError;
use crate::server::listener;
use crate::store::Store;

/// What was found.
#[derive(Debug, Default)]
pub struct Preflight {
    /// Each ends a start.
    pub problems: Vec<StartError>,
    /// What may end one, and may be over by then.
    pub warnings: Vec<String>,
}

/// Looks at everything that a start needs beside its settings.
pub async fn preflight(config: &Config) -> Preflight {
    let mut found = Preflight::default();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    found.problems.extend(TlsMaterial::read(config, None).err());
    found.problems.extend(federation::check(config).map(StartError::from));
    if let Some(acme) = &config.server.acme {
        found.problems.extend(cache(acme).err());
    }
    for address in addresses(config) {
        found.address(&address);
    }
    match Store::look(config.store.url.expose()).await {
        Ok(()) => {}
        Err(error) if error.may_pass() => found.warnings.push(format!(
            "store.url: the database cannot be reached now ({}); `serve` ends where that is still so",
            with_causes(&error)
        )),
        Err(error) => found.problems.push(error.into()),
    }
    match master_key::look(config) {
        Ok(warning) => found.warnings.extend(warning),
        Err(problem) => found.problems.push(problem),
    }
    found
}

/// Everything that would be listened on.
fn addresses(config: &Config) -> Vec<ListenAddress> {
    let server = &config.server;
    let listeners = server.listeners.iter().map(|listener| listener.address.clone());
    let http = server.acme.as_ref().and_then(|acme| acme.http_listen.clone());
    let metrics = config.metrics.listen.map(ListenAddress::Tcp);
    listeners.chain(server.ops_listen.clone()).chain(http).chain(metrics).collect()
}

impl Preflight {
    fn address(&mut self, address: &ListenAddress) {
        let outcome = match address {
            ListenAddress::Tcp(address) => listener::look(*address),
            ListenAddress::Unix(path) => listener::look_at_file(path),
            // They come with the start.
            ListenAddress::Inherited(_) => Ok(()),
        };
        match outcome {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AddrInUse => self.warnings.push(format!(
                "{address} is in use: `serve` ends where that is not by this very gateway, which runs already"
            )),
            Err(cause) => self.problems.push(StartError::Bind { address: address.to_string(), cause }),
        }
    }
}

/// Whether the folder for certificates is closed to others, or could be made.
fn cache(acme: &AcmeConfig) -> Result<(), StartError> {
    let failed =
        |cause| StartError::from(SetupError::Cache { path: acme.cache.display().to_string(), cause });
    match std::fs::metadata(&acme.cache) {
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            Err(failed(Error::new(ErrorKind::PermissionDenied, "its mode lets others in: chmod 0700 it")))
        }
        Ok(_) => may_write(&acme.cache).map_err(failed),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let above = acme.cache.ancestors().skip(1).find(|folder| folder.exists());
            may_write(above.unwrap_or(Path::new("."))).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Whether files can be made in a folder.
fn may_write(folder: &Path) -> std::io::Result<()> {
    Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}
