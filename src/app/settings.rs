//! Loads settings that may be served: read, checked, and with their own policy tests passed.

use crate::config::{Config, ConfigError, ConfigOrigin, ConfigProblem};
use crate::gate::policy_tests;
use crate::service::ServiceError;
use crate::service::bootstrap::check_given_password;

/// Reads settings that are to be put into effect.
///
/// # Errors
///
/// [`ConfigError`] with every problem, or, where there is none, with every policy test that fails, or with the first
/// admin's password if it is none that may be chosen.
pub fn load(origin: &mut ConfigOrigin) -> Result<Config, ConfigError> {
    let config = policy_tests::passed(origin.read()?)?;
    match (check_given_password(&config.login), &config.login.admin_password) {
        (Err(ServiceError::Invalid { reason, .. }), Some(given)) => {
            let (what, _) = reason.split_once(": ").unwrap_or((reason.as_str(), ""));
            Err(ConfigError(vec![ConfigProblem {
                path: given.path.clone(),
                location: given.location.clone(),
                what: what.to_owned(),
                remedy: "choose another, such as four random words".to_owned(),
            }]))
        }
        _ => Ok(config),
    }
}
