//! A sign-in that goes on: new tokens and claims for a refresh token (RFC 6749, 6; OpenID Connect Core 1.0, 12).

use std::fmt;
use std::time::Duration;

use super::error::OidcError;
use super::id_token::{Binding, IdToken};
use super::metadata::Metadata;
use super::token_endpoint::{Grant, TokenResponse};
use super::{RelyingParty, TokenRefusal, id_token};
use crate::model::secret::Secret;
use crate::policy::claims::ClaimSet;

/// What a refresh brings.
pub struct Refreshed {
    /// What the provider says now, or why that is not believed. The tokens are to be kept in either case: the refresh token
    /// that was handed in may be spent.
    pub claims: Result<RefreshedClaims, OidcError>,
    /// The latest ID token: a new one that was verified, or the one that was handed in. GitHub has none.
    pub id_token: Option<Secret>,
    /// The latest refresh token: a new one, or the one that was handed in.
    pub refresh_token: Secret,
    /// For how long what was said holds, as in [`Authentication::lifetime`](super::Authentication::lifetime).
    pub lifetime: Duration,
}

/// What a provider says anew of somebody who signed in there.
#[derive(Clone, Debug)]
pub enum RefreshedClaims {
    /// All of it.
    Told(ClaimSet),
    /// Nothing: its answer has no ID token, and it has no userinfo. What it said before stays.
    NotTold,
    /// Userinfo is needed and could not be had, so that what it said before stays for now.
    Unavailable,
}

impl RelyingParty {
    /// Asks the provider anew. `last_id_token` is the latest one of this sign-in, expired or not, and `subject` whom it was
    /// found to be of, as in [`Authentication::subject`](super::Authentication::subject); what is said now must be of the
    /// same person.
    ///
    /// # Errors
    ///
    /// [`OidcError`] if there are no new tokens. [`OidcError::is_over`] tells whether the provider has ended the sign-in.
    pub async fn refresh(
        &self,
        refresh_token: &Secret,
        last_id_token: &Secret,
        subject: &str,
    ) -> Result<Refreshed, OidcError> {
        let metadata = self.metadata().await?;
        let last = IdToken::verified_before(last_id_token).map_err(OidcError::IdToken)?;
        let tokens = self.tokens(&metadata, &Grant::Refresh { token: refresh_token }).await?;
        let claims = self.claims_anew(&metadata, &tokens, &last, subject).await;
        let id_token = tokens.id_token.filter(|_| claims.is_ok());
        Ok(Refreshed {
            claims,
            id_token: Some(id_token.unwrap_or_else(|| last_id_token.clone())),
            refresh_token: tokens.refresh_token.unwrap_or_else(|| refresh_token.clone()),
            lifetime: tokens.lifetime,
        })
    }

    async fn claims_anew(
        &self,
        metadata: &Metadata,
        tokens: &TokenResponse,
        last: &IdToken,
        subject: &str,
    ) -> Result<RefreshedClaims, OidcError> {
        let access_token = &tokens.access_token;
        let claims = match &tokens.id_token {
            Some(id_token) => {
                let verified =
                    self.id_token(metadata, id_token, access_token, Binding::Refresh { last }).await?;
                // Where userinfo is down, the new ID token alone must not look like all that there is.
                match self.claims(metadata, &verified, access_token).await? {
                    (claims, false) => claims,
                    (_, true) => return Ok(RefreshedClaims::Unavailable),
                }
            }
            None if metadata.userinfo_endpoint.is_none() => return Ok(RefreshedClaims::NotTold),
            None => match self.userinfo(metadata, last, access_token).await? {
                Some(claims) => {
                    self.with_directory(ClaimSet::new(claims)?, &last.subject, access_token).await?
                }
                None => return Ok(RefreshedClaims::Unavailable),
            },
        };
        // Another claim than `sub` may be missing here; one that is there is of the same person.
        match claims.get(&self.config.subject_claim) {
            Some(named) if id_token::subject(Some(named)).as_deref() != Some(subject) => {
                Err(OidcError::IdToken(TokenRefusal::OtherPerson))
            }
            _ => Ok(RefreshedClaims::Told(claims)),
        }
    }
}

impl fmt::Debug for Refreshed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refreshed").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}
