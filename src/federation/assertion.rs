//! From what a provider says of somebody to what is asserted of a user here, by the rules that `doorward claims` shows.

use super::refusal::SignInRefusal;
use crate::config::ProviderConfig;
use crate::model::identity::{AssertedEmail, IdentityKey, ProviderAssertion};
use crate::oidc::{Authentication, OidcError, TokenRefusal};
use crate::policy::claims::{ClaimSet, EmailClaim};

/// Claims that suggest a username, best first.
const USERNAMES: [&str; 3] = ["preferred_username", "cognito:username", "login"];

/// The assertion of somebody who has signed in, if the settings let such a person in.
///
/// Where userinfo was needed and could not be had, nobody is let in: what the claims lack may be a group that a rule refuses,
/// or the address by which somebody was invited.
pub(super) fn assertion(
    config: &ProviderConfig,
    authentication: &Authentication,
) -> Result<ProviderAssertion, SignInRefusal> {
    let key = IdentityKey::new(&authentication.issuer, &authentication.subject)
        .map_err(|_| SignInRefusal::Provider(OidcError::IdToken(TokenRefusal::Subject)))?;
    if authentication.lacks_userinfo {
        return Err(SignInRefusal::NoUserinfo(key));
    }
    asserted(config, key, &authentication.claims)
}

/// The assertion of whom `key` identifies, by claims that were verified: at a sign-in, and at each refresh after it.
pub(super) fn asserted(
    config: &ProviderConfig,
    key: IdentityKey,
    claims: &ClaimSet,
) -> Result<ProviderAssertion, SignInRefusal> {
    let evaluation = config.claims.evaluate(claims);
    for warning in evaluation.warnings() {
        tracing::warn!(provider = config.name, %warning, "claims of a provider");
    }
    let rights = match evaluation.result {
        Ok(rights) => rights,
        Err(why) => return Err(SignInRefusal::claims(why, key, config)),
    };
    Ok(ProviderAssertion {
        provider: config.name.clone(),
        key,
        subject_claim: config.subject_claim.clone(),
        email: match rights.email {
            EmailClaim::Verified { address, .. } => AssertedEmail::Verified(address),
            EmailClaim::Unverified { address, .. } => AssertedEmail::Unverified(address),
            EmailClaim::None => AssertedEmail::None,
        },
        username: username(claims),
        display_name: rights.name,
        groups: config.claims.groups.is_some().then_some(rights.groups),
        role: rights.role,
    })
}

fn username(claims: &ClaimSet) -> Option<String> {
    let text = |name: &&str| claims.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    USERNAMES.iter().find_map(text)
}
