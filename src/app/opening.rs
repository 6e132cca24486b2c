//! Opens the store and its key. Only `serve` and commands that say so create them; all others must find them.

use std::path::Path;
use std::sync::Arc;

use super::{StartError, master_key};
use crate::config::{Config, SecretFileError};
use crate::model::time::Clock;
use crate::model::token::{KeyPurpose, MasterKey, SigningKey};
use crate::store::Store;

/// Opens the store that the settings name, as commands do: with it and its key being there already, otherwise like
/// [`open_or_make_store`].
///
/// # Errors
///
/// [`StartError::NoDatabase`], [`StartError::NoKey`], [`StartError::Store`] or [`StartError::MasterKey`].
pub async fn open_store(
    config: &Config,
    connections: u32,
    clock: Arc<dyn Clock>,
) -> Result<(Store, MasterKey), StartError> {
    if let Some(file) = config.store.file().filter(|file| !file.exists()) {
        return Err(StartError::NoDatabase { path: file.to_owned() });
    }
    let key = find_master_key(config)?;
    let store = Store::open(config.store.url.expose(), connections).await?;
    Ok((store.audited(audit_key(&key), clock).await?, key))
}

/// Opens the store that the settings name, so that changes leave rows in the audit trail; with it the
/// gateway's own key. Either is made if there is none yet.
///
/// # Errors
///
/// [`StartError::Store`] or [`StartError::MasterKey`].
pub async fn open_or_make_store(
    config: &Config,
    connections: u32,
    clock: Arc<dyn Clock>,
) -> Result<(Store, MasterKey), StartError> {
    let store = Store::open(config.store.url.expose(), connections).await?;
    let key = master_key::load(config, &store).await?;
    Ok((store.audited(audit_key(&key), clock).await?, key))
}

/// The key of the audit trail.
pub fn audit_key(key: &MasterKey) -> SigningKey {
    key.derive(KeyPurpose::Audit)
}

/// The gateway's own key, as configured or where it is kept. Makes none.
///
/// # Errors
///
/// [`StartError::NoKey`] or [`StartError::MasterKey`].
pub fn find_master_key(config: &Config) -> Result<MasterKey, StartError> {
    master_key::found(config)
}

/// The key in a file, such as one that was in use before.
///
/// # Errors
///
/// [`SecretFileError`] if it cannot be read, others can read it, or it holds no key.
pub fn read_master_key(file: &Path) -> Result<MasterKey, SecretFileError> {
    master_key::read(file)
}
