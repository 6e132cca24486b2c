//! The store and the key beside it: a start makes them, and so does a command that says so; the others only find them.

use std::path::Path;
use std::sync::Arc;

use super::{StartError, master_key};
use crate::config::{Config, SecretFileError};
use crate::model::time::Clock;
use crate::model::token::{KeyPurpose, MasterKey, SigningKey};
use crate::store::Store;

/// Opens the store that the settings name if it is there already, as commands do; otherwise like [`open_or_make_store`].
///
/// # Errors
///
/// [`StartError::NoDatabase`], [`StartError::Store`] or [`StartError::MasterKey`].
pub async fn open_store(
    config: &Config,
    connections: u32,
    clock: Arc<dyn Clock>,
) -> Result<(Store, MasterKey), StartError> {
    match config.store.file() {
        Some(file) if !file.exists() => Err(StartError::NoDatabase { path: file.to_owned() }),
        _ => open_or_make_store(config, connections, clock).await,
    }
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

/// The key in a file, such as one that was in use before.
///
/// # Errors
///
/// [`SecretFileError`] if it cannot be read, others can read it, or it holds no key.
pub fn read_master_key(file: &Path) -> Result<MasterKey, SecretFileError> {
    master_key::read(file)
}
