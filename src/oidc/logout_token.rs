//! Logout tokens (OpenID Connect Back-Channel Logout 1.0, 2.4 and 2.6): a provider says that somebody signed out there.
//!
//! They are verified as ID tokens are, and then by rules of their own. Several providers leave `exp` out, so age is bounded by
//! `iat`, and whoever acts on a token does so once for each `jti`.

use std::time::Duration;

use serde_json::{Map, Value};

use super::RelyingParty;
use super::error::{OidcError, TokenRefusal};
use super::id_token::{self, text, time};
use super::jwt::TokenKind;
use crate::config::ProviderConfig;
use crate::model::session::LogoutNames;
use crate::model::time::{SKEW, Timestamp};

/// What `events` has to name.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// How long after `iat` a token is taken, apart from what clocks may differ.
const GOOD_FOR: Duration = Duration::from_mins(5);
/// Characters of a `jti`.
const LONGEST_ID: usize = 255;

/// A logout token that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutToken {
    /// The issuer: the configured one, or that of the tenant.
    pub issuer: String,
    /// Whose sign-in is over; one of the two at least.
    pub names: LogoutNames,
    /// `jti`: 1 to 255 characters. A token counts once.
    pub id: String,
    /// From when on it is refused for its age, by whatever clock.
    pub forgotten_at: Timestamp,
}

impl RelyingParty {
    /// Verifies a logout token, which anybody may have sent.
    ///
    /// # Errors
    ///
    /// [`OidcError::IdToken`] if it is refused; another one if that cannot be told now.
    pub async fn logout_token(&self, token: &str) -> Result<LogoutToken, OidcError> {
        let metadata = self.metadata().await?;
        let (_, claims) = self.signed_claims(&metadata, token, TokenKind::Logout).await?;
        check(&claims, &self.config, self.clock.now()).map_err(OidcError::IdToken)
    }
}

fn check(
    claims: &Map<String, Value>,
    config: &ProviderConfig,
    now: Timestamp,
) -> Result<LogoutToken, TokenRefusal> {
    let issuer = id_token::issuer(claims, &config.issuer)?.to_owned();
    if !id_token::names_client(claims, &config.client_id) {
        return Err(TokenRefusal::Audience);
    }
    if !claims.get("events").and_then(|events| events.get(EVENT)).is_some_and(Value::is_object) {
        return Err(TokenRefusal::Events);
    }
    if claims.contains_key("nonce") {
        return Err(TokenRefusal::NonceInLogout);
    }
    let made = time(claims.get("iat")).filter(|made| !made.is_ahead_of(now)).ok_or(TokenRefusal::NotYet)?;
    let is_over = |end: Timestamp| now >= end.after(SKEW);
    if is_over(made.after(GOOD_FOR)) {
        return Err(TokenRefusal::TooOld);
    }
    if claims.contains_key("exp") && time(claims.get("exp")).is_none_or(is_over) {
        return Err(TokenRefusal::Expired);
    }
    let is_id = |id: &&str| (1..=LONGEST_ID).contains(&id.chars().count());
    let id = text(claims, "jti").filter(is_id).ok_or(TokenRefusal::TokenId)?.to_owned();
    let (subject, session) = (named(claims, "sub")?, named(claims, "sid")?);
    if subject.is_none() && session.is_none() {
        return Err(TokenRefusal::NamesNobody);
    }
    // The clock of another gateway may be behind by twice what either may be wrong.
    let forgotten_at = made.after(GOOD_FOR + 3 * SKEW);
    Ok(LogoutToken { issuer, names: LogoutNames { subject, session }, id, forgotten_at })
}

/// A name that is there is one, or the token is refused: it could mean more than what is left of it.
fn named(claims: &Map<String, Value>, claim: &str) -> Result<Option<String>, TokenRefusal> {
    match claims.get(claim) {
        None => Ok(None),
        some => id_token::subject(some).map(Some).ok_or(TokenRefusal::NamesNobody),
    }
}
