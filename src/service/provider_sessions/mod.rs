//! Sessions that a provider opened, while they go on: they are refreshed with the provider, and end when it says so.
//!
//! Whoever refreshes claims a session first, so that of many gateways and threads one does; a refresh token that is used twice
//! costs its session at most providers. The claim is longer than a refresh may take on any clock. What comes of it is committed
//! together: the new tokens and what the provider says now, or the end of the session.

use std::sync::Arc;
use std::time::Duration;

use super::ServiceError;
use super::identities::{IdentityError, usable};
pub(super) use super::provider_tokens::LONGEST_PAUSE;
pub use super::provider_tokens::ProviderTokens;
use super::provider_tokens::{TokenVault, chance, pause};
use super::revocation::Revocations;
use super::sessions::Sessions;
use crate::model::identity::{IdentityKey, ProviderAssertion};
use crate::model::secret::Secret;
use crate::model::session::{LogoutNames, ProviderSessionEnd};
use crate::model::time::{Clock, SKEW, Timestamp};
use crate::model::token::{TokenDigest, random_text};
pub use crate::store::FailedRefresh;
use crate::store::{ClaimedRefresh, EndedSessions, RefreshOutcome, SealedTokens, Store};

/// How long one refresh may take, from the claim to what comes of it.
pub const REFRESH_LIMIT: Duration = Duration::from_mins(1);
/// After the limit, for writing down what came of it, and for clocks that differ.
const CLAIMED_FOR: Duration = Duration::from_secs(REFRESH_LIMIT.as_secs() + 60 + 2 * SKEW.as_secs());
/// The pause after the first refresh that failed. Providers forgive a token that is used again within some tens of seconds,
/// since its answer may have been lost.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// Bytes of where a sign-out comes back to.
const LONGEST_TARGET: usize = 1024;
/// What the state of a sign-out is sealed for.
const SIGN_OUT: &str = "sign-out";
/// The longest pause between refreshes that fail.
const LONGEST_RETRY: Duration = Duration::from_mins(5);

/// Refreshes and ends sessions that providers opened.
#[derive(Clone, Debug)]
pub struct ProviderSessions {
    store: Store,
    sessions: Sessions,
    vault: TokenVault,
    revocations: Revocations,
    clock: Arc<dyn Clock>,
}

/// A session that is to be refreshed now, by nobody else.
pub struct DueRefresh {
    /// The session, by its id.
    pub session: String,
    /// The identity by which it was opened.
    pub key: IdentityKey,
    /// What it is refreshed by.
    pub refresh_token: Secret,
    /// The latest ID token, of a provider that has such.
    pub id_token: Option<Secret>,
    claim: String,
}

/// The tokens after a refresh. It has no `Debug`.
pub struct RefreshedTokens {
    /// The latest refresh token.
    pub refresh_token: Secret,
    /// The latest ID token.
    pub id_token: Option<Secret>,
    /// For how long what was said holds.
    pub lifetime: Duration,
}

/// What a browser needs to sign out at the provider, too.
pub struct SignOutTokens {
    /// The provider's name in the settings.
    pub provider: String,
    /// The issuer that gave them, and to which alone they may be sent.
    pub issuer: String,
    /// The latest ID token.
    pub id_token: Option<Secret>,
    /// The latest refresh token.
    pub refresh_token: Option<Secret>,
}

/// What tokens that were got come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompletedRefresh {
    /// The session goes on.
    Done,
    /// By what the provider says now, the account cannot be used: the session has ended.
    Refused,
    /// The session has ended otherwise meanwhile.
    Superseded,
}

impl ProviderSessions {
    pub(super) fn new(
        store: Store,
        sessions: Sessions,
        vault: TokenVault,
        revocations: Revocations,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, sessions, vault, revocations, clock }
    }

    /// The same under another configuration of sessions.
    #[must_use]
    pub(super) fn under(&self, sessions: Sessions) -> Self {
        Self { sessions, ..self.clone() }
    }

    /// Claims a session of a provider that is due and in use; `None` if there is none, or another gateway was faster. A
    /// session whose tokens cannot be read any more has ended then.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn claim(&self, provider: &str) -> Result<Option<DueRefresh>, ServiceError> {
        loop {
            let now = self.clock.now();
            if !self.store.is_refresh_due(provider, now).await? {
                return Ok(None);
            }
            let claim = random_text().expose().to_owned();
            let until = now.after(CLAIMED_FOR);
            let Some(claimed) = self.store.claim_refresh(provider, &claim, now, until).await? else {
                return Ok(None);
            };
            let ClaimedRefresh { session_id: session, key, sealed } = claimed;
            if self.sessions.find_live(&session).await?.is_none() {
                self.store.release_refresh(&session, &claim).await?;
                continue;
            }
            if let Some(opened) = self.vault.open(&session, &sealed)
                && let Some(refresh_token) = opened.refresh_token
            {
                return Ok(Some(DueRefresh {
                    session,
                    key,
                    refresh_token,
                    id_token: opened.id_token,
                    claim,
                }));
            }
            tracing::warn!(
                provider,
                session,
                "the tokens of a session cannot be read, as if the gateway's secret was replaced: the session ends"
            );
            let cause = ProviderSessionEnd::Unreadable;
            let ended = self.store.end_claimed_session(provider, &session, &claim, cause).await?;
            self.look_again(&ended);
        }
    }

    /// Keeps new tokens of a session, and applies what the provider says now, if it says anything, as a sign-in does.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer. To be called again then, as long as the claim lasts: the
    /// token that is stored is spent.
    pub async fn complete(
        &self,
        provider: &str,
        due: &DueRefresh,
        tokens: &RefreshedTokens,
        assertion: Option<ProviderAssertion>,
    ) -> Result<CompletedRefresh, ServiceError> {
        let assertion = match assertion.map(usable).transpose() {
            Ok(assertion) => assertion,
            Err(IdentityError::Failed(error)) => return Err(error),
            Err(IdentityError::Refused(refusal)) => {
                tracing::info!(provider, reason = %refusal, "a refresh says what no account can have: its sessions end");
                self.end_identity(provider, due, ProviderSessionEnd::NotAllowed).await?;
                return Ok(CompletedRefresh::Refused);
            }
        };
        let (session, claim) = (due.session.as_str(), due.claim.as_str());
        let next = self.clock.now().after(pause(tokens.lifetime));
        let sealed = self.sealed(due, tokens);
        match self.store.complete_refresh(session, claim, &sealed, next, assertion.as_ref()).await? {
            RefreshOutcome::Superseded => Ok(CompletedRefresh::Superseded),
            RefreshOutcome::Kept => Ok(CompletedRefresh::Done),
            RefreshOutcome::Done(user, outcome) => {
                if outcome.changed {
                    self.revocations.look_again_at(&user.0);
                }
                Ok(CompletedRefresh::Done)
            }
        }
    }

    /// Has a session go on that could not be refreshed, or only in part, until refreshes have failed for `grace`. `tokens` are
    /// new ones that came all the same. `failures` is how many refreshes at the provider failed one after the other.
    /// `down_since` is for a session that was not asked about, since the provider has been down from then on: it ends only if
    /// that is as long, too.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn fail(
        &self,
        provider: &str,
        due: &DueRefresh,
        tokens: Option<&RefreshedTokens>,
        failures: u32,
        grace: Duration,
        down_since: Option<Timestamp>,
    ) -> Result<FailedRefresh, ServiceError> {
        let now = self.clock.now();
        let sealed = tokens.map(|tokens| self.sealed(due, tokens));
        let claimed = (due.session.as_str(), due.claim.as_str());
        let give_up = now.before(grace);
        let is_young = down_since.is_some_and(|since| since > give_up);
        let give_up = if is_young { Timestamp(i64::MIN) } else { give_up };
        let times = (now, now.after(retry_after(failures)), give_up);
        let failed = self.store.fail_refresh(provider, claimed, sealed.as_ref(), times).await?;
        if let FailedRefresh::Ended(ended) = &failed {
            self.look_again(ended);
        }
        Ok(failed)
    }

    /// Ends the session for what its refresh came to.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn end(
        &self,
        provider: &str,
        due: &DueRefresh,
        cause: ProviderSessionEnd,
    ) -> Result<(), ServiceError> {
        let ended = self.store.end_claimed_session(provider, &due.session, &due.claim, cause).await?;
        self.look_again(&ended);
        Ok(())
    }

    /// Ends every session that the identity opened at this provider: what it says of one holds for all.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn end_identity(
        &self,
        provider: &str,
        due: &DueRefresh,
        cause: ProviderSessionEnd,
    ) -> Result<(), ServiceError> {
        let claimed = (due.session.as_str(), due.claim.as_str());
        let ended = self.store.end_sessions_of_claimed_identity(provider, &due.key, claimed, cause).await?;
        self.look_again(&ended);
        Ok(())
    }

    /// Acts on a logout token that was verified, once: ends the sessions that it names. How many they were; `None` if it was
    /// acted on before. `id` is its `jti`, and from `forgotten_at` on it is refused for its age.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] or [`ServiceError::Unavailable`].
    pub async fn log_out(
        &self,
        provider: &str,
        issuer: &str,
        names: &LogoutNames,
        id: &str,
        forgotten_at: Timestamp,
    ) -> Result<Option<u64>, ServiceError> {
        let digest = TokenDigest::of(&format!("{issuer}\n{id}"));
        let times = (self.clock.now(), forgotten_at);
        let ended = self.store.end_sessions_by_logout_token(provider, issuer, names, digest, times).await?;
        Ok(ended.map(|ended| {
            self.look_again(&ended);
            ended.sessions
        }))
    }

    /// What signing out at the provider needs of a session, by its id, or of the one that it was handed over from; to be asked
    /// before the session is ended. `None` if no provider opened it, or nothing of it can be read any more.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn sign_out_tokens(&self, session: &str) -> Result<Option<SignOutTokens>, ServiceError> {
        let Some(kept) = self.store.provider_tokens(session).await? else { return Ok(None) };
        Ok(self.vault.open(&kept.session_id, &kept.sealed).map(|opened| SignOutTokens {
            provider: kept.provider,
            issuer: kept.issuer,
            id_token: opened.id_token,
            refresh_token: opened.refresh_token,
        }))
    }

    /// A `state` for a sign-out that comes back to `target`, which nobody else can read: at most about 1,400 characters of
    /// base64url. A longer target is left out.
    pub fn sign_out_state(&self, target: &str) -> String {
        let target = if target.len() > LONGEST_TARGET { "" } else { target };
        self.vault.seal_text(target, SIGN_OUT)
    }

    /// The target in such a `state`; `None` if it is not ours.
    pub fn sign_out_target(&self, state: &str) -> Option<String> {
        if state.len() > 2 * LONGEST_TARGET {
            return None;
        }
        self.vault.open_text(state, SIGN_OUT)
    }

    fn sealed(&self, due: &DueRefresh, tokens: &RefreshedTokens) -> SealedTokens {
        self.vault.seal(&due.session, tokens.id_token.as_ref(), Some(&tokens.refresh_token))
    }

    fn look_again(&self, ended: &EndedSessions) {
        for user in &ended.users {
            self.revocations.look_again_at(&user.0);
        }
    }
}

/// The pause after so many refreshes at a provider failed, up to a fifth more by chance.
pub fn retry_after(failures: u32) -> Duration {
    let pause = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(LONGEST_RETRY);
    pause + pause.mul_f64(chance() / 5.0)
}

#[cfg(test)]
mod tests;
