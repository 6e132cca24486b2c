//! Settings that may be served: read, checked, and with their own policy tests passed.

use crate::config::{Config, ConfigError, Origin};
use crate::gate::policy_tests;

/// Reads settings that are to be put into effect.
///
/// # Errors
///
/// [`ConfigError`] with every problem, or, where there is none, with every policy test that fails.
pub fn load(origin: &mut Origin) -> Result<Config, ConfigError> {
    policy_tests::passed(origin.read()?)
}
