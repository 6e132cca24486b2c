//! Whether the scopes of the settings were granted. The request goes through the browser, where anybody can take some out.

use super::error::TokenEndpointError;
use super::token_endpoint::TokenResponse;
use crate::config::{ProviderConfig, ProviderKind};

/// The scope that gives refresh tokens which outlive the session at the provider (OpenID Connect Core 1.0, 11).
pub const OFFLINE: &str = "offline_access";
/// Of these the claims themselves tell what there is.
const STANDARD: [&str; 3] = ["openid", "email", "profile"];

/// Looks at the answer to a code. That [`OFFLINE`] was granted shows in the refresh token: not every provider names it.
pub(super) fn check(config: &ProviderConfig, answer: &TokenResponse) -> Result<(), TokenEndpointError> {
    let asked = || config.scopes.iter().map(String::as_str);
    if config.refresh.is_some() && answer.refresh_token.is_none() && asked().any(|scope| scope == OFFLINE) {
        return Err(TokenEndpointError::NoRefreshToken);
    }
    let granted = answer.scope.as_deref().unwrap_or_default();
    if granted.trim().is_empty() {
        return Ok(());
    }
    let is_granted =
        |scope: &str| granted.split_ascii_whitespace().any(|granted| is_same(config.kind, granted, scope));
    let mut further = asked().filter(|scope| *scope != OFFLINE && !STANDARD.contains(scope));
    match further.find(|scope| !is_granted(scope)) {
        Some(missing) => Err(TokenEndpointError::ScopeMissing(missing.to_owned())),
        None => Ok(()),
    }
}

/// Microsoft names a permission with or without the address of its API, in any case.
fn is_same(kind: ProviderKind, one: &str, other: &str) -> bool {
    let last = |scope: &'_ str| scope.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    one == other || (kind == ProviderKind::Entra && last(one) == last(other))
}
