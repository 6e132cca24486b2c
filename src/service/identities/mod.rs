//! Signing in by an identity at an identity provider: account resolution, and linking identities to users.
//!
//! A user is found by issuer and subject only. An e-mail address leads to a user once: to an invited one, who cannot sign in
//! otherwise, and only if the provider has verified it. The table is in `resolution.rs`; the store applies it in one
//! transaction.

mod resolution;
mod usernames;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::resolution::SignUp;
use self::resolution::resolve;
pub use self::usernames::ReservedNames;
use self::usernames::usernames;
use super::login::{Browser, Login, Reauthentication, SignedIn};
use super::new_user::{MOST_GROUPS, NewUser, check_display_name, check_role};
use super::provider_tokens::ProviderTokens;
use super::revocation::Revocations;
use super::sessions::Sessions;
use super::{Field, ServiceError};
use crate::model::audit::{Actor, Event, Note, Party, Reason};
use crate::model::identity::{
    AssertedEmail, IdentityKey, IdentityRefusal, LinkedIdentity, ProviderAssertion,
};
use crate::model::network::throttle_bucket;
use crate::model::secret::Secret;
use crate::model::session::ProviderSession;
use crate::model::time::{Clock, Timestamp};
use crate::model::user::{User, UserId, check_email, check_group};
use crate::store::{
    Changed, IdentityMatch, IdentitySignIn, MustLeave, SignInOutcome, Store, StoreError, Unapplied, Unlinked,
};

/// The most identities of one user.
const MOST_PER_USER: usize = 16;
/// How long a new session counts as proof of who holds it.
const FRESH: Duration = Duration::from_mins(5);

/// Signs users in by identities, and links identities to users.
#[derive(Clone, Debug)]
pub struct Identities {
    store: Store,
    login: Login,
    sessions: Sessions,
    revocations: Revocations,
    reserved: ReservedNames,
    clock: Arc<dyn Clock>,
}

/// Why a sign-in or a link was refused.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// By account resolution. Show [`IdentityRefusal::told`]; log and audit trail have the reason itself.
    #[error("refused: {0}")]
    Refused(IdentityRefusal),
    /// [`ServiceError::Throttled`], [`ServiceError::Refused`] if the user was disabled or the session ended meanwhile, or
    /// [`ServiceError::Unavailable`].
    #[error(transparent)]
    Failed(#[from] ServiceError),
}

impl From<StoreError> for IdentityError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// Proof that the user who holds a session has just authenticated again. Made by [`Identities::reauthenticate`] and
/// [`Identities::recently_signed_in`] only; it travels to the provider and back in the sealed state of the sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReauthenticationProof {
    /// The session, by its id.
    session: String,
}

impl Identities {
    /// `login` and `sessions` should be those of password sign-in, so that the rate limit counts both together.
    pub(super) fn new(
        store: Store,
        login: Login,
        sessions: Sessions,
        revocations: Revocations,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, login, sessions, revocations, reserved: ReservedNames::default(), clock }
    }

    /// The same, giving these names to no new user.
    #[must_use]
    pub(super) fn reserving(self, reserved: ReservedNames) -> Self {
        Self { reserved, ..self }
    }

    /// The same, opening sessions of another configuration.
    #[must_use]
    pub(super) fn opening(&self, login: Login, sessions: Sessions) -> Self {
        Self { login, sessions, ..self.clone() }
    }

    /// Signs a user in by an assertion, of which everything was verified before (signature, issuer, audience, nonce,
    /// allowed groups), and opens a session: for the owner of the identity; for an invited user with the same verified
    /// address, to whom it is linked; or for a new user, if `sign_up` allows one. Applies role, groups and address as
    /// [`ProviderAssertion`] says.
    ///
    /// In such a session a temporary password does not have to be changed.
    ///
    /// `tokens` are kept for the session, so that it is refreshed and signed out at the provider.
    ///
    /// # Errors
    ///
    /// [`IdentityError`]. The reason is written to the audit trail and the log.
    pub async fn sign_in(
        &self,
        by: &Actor,
        assertion: ProviderAssertion,
        tokens: Option<&ProviderTokens>,
        sign_up: SignUp,
        browser: Browser<'_>,
    ) -> Result<SignedIn, IdentityError> {
        let mut user = None;
        let outcome = self.enter(by, assertion.clone(), tokens, sign_up, browser, &mut user).await;
        let reason = match &outcome {
            Ok(_) | Err(IdentityError::Failed(ServiceError::Unavailable(_))) => return outcome,
            Err(IdentityError::Refused(refusal)) => refusal.reason(),
            Err(IdentityError::Failed(ServiceError::Throttled { .. })) => Reason::Throttled,
            Err(IdentityError::Failed(ServiceError::Busy { .. })) => Reason::Busy,
            Err(IdentityError::Failed(ServiceError::Refused)) => Reason::Disabled,
            Err(IdentityError::Failed(_)) => Reason::Invalid,
        };
        tracing::info!(provider = assertion.provider, %reason, "a sign-in by an identity is refused");
        self.note_refusal(by, &assertion, reason, user, browser.client).await?;
        outcome
    }

    async fn enter(
        &self,
        by: &Actor,
        assertion: ProviderAssertion,
        tokens: Option<&ProviderTokens>,
        sign_up: SignUp,
        browser: Browser<'_>,
        target: &mut Option<Party>,
    ) -> Result<SignedIn, IdentityError> {
        let assertion = usable(assertion)?;
        // A user over the rate limit must not take a turn of the database.
        if let Some(owner) = self.store.owner_of_identity(&assertion.key).await? {
            *target = Some(Party::from(&owner));
            self.sessions.may_sign_in(&owner.id)?;
        }
        let candidate = new_user(&assertion, &self.reserved, self.clock.now())?;
        let decide = |found: IdentityMatch| {
            if let IdentityMatch::Owner(user) | IdentityMatch::SameEmail(user) = &found {
                *target = Some(Party::from(user));
            }
            if let IdentityMatch::SameEmail(user) = &found
                && assertion.email.verified().is_none()
            {
                tracing::warn!(
                    provider = assertion.provider,
                    username = user.username,
                    "a provider sends a user's e-mail address without saying that it is verified: it does not count"
                );
            }
            resolve(found, &assertion.email, sign_up, candidate)
        };
        let entered = self.store.by(by).sign_in_identity(&assertion, self.clock.now(), decide).await?;
        let IdentitySignIn { user, outcome, unapplied, changed } = entered.map_err(IdentityError::Refused)?;
        if changed {
            self.revocations.look_again_at(&user.id.0);
        }
        report(&assertion.provider, &user, outcome, &unapplied);
        let identity = ProviderSession { provider: assertion.provider, key: assertion.key };
        Ok(self.login.enter_by_identity(by, user, (identity, tokens), browser).await?)
    }

    /// Writes a refused sign-in to the audit trail, or counts it there.
    async fn note_refusal(
        &self,
        by: &Actor,
        assertion: &ProviderAssertion,
        reason: Reason,
        target: Option<Party>,
        client: IpAddr,
    ) -> Result<(), ServiceError> {
        let key = &assertion.key;
        let mut note = Note::failed(Event::Login, reason).with("provider", assertion.provider.as_str());
        note = note.with("issuer", key.issuer()).with("subject", key.subject());
        note.target = target;
        note.client = Some(client.to_canonical().to_string());
        let source = format!("{} {}@{} {reason}", key.issuer(), key.subject(), throttle_bucket(client));
        Ok(self.store.by(by).record_repeatable(note, &source).await?)
    }

    /// Checks the password of a signed-in user again, before an identity is linked.
    ///
    /// # Errors
    ///
    /// As [`Login::check_password`].
    pub async fn reauthenticate(
        &self,
        by: &Actor,
        request: Reauthentication<'_>,
        password: Secret,
    ) -> Result<ReauthenticationProof, ServiceError> {
        self.login.check_password(by, request, password).await?;
        Ok(ReauthenticationProof { session: request.session.to_owned() })
    }

    /// The same without a password, for a session, by its id, that was opened in the last five minutes: the user has just
    /// signed in again. `None` for an older session, and for one that was handed over from another host.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn recently_signed_in(
        &self,
        session: &str,
    ) -> Result<Option<ReauthenticationProof>, ServiceError> {
        let now = self.clock.now();
        let found = self.sessions.find_live(session).await?;
        let fresh =
            found.is_some_and(|(it, _)| it.parent_id.is_none() && now.is_within(FRESH, it.created_at));
        Ok(fresh.then(|| ReauthenticationProof { session: session.to_owned() }))
    }

    /// The identities of a user, oldest first.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn own(&self, user: &UserId) -> Result<Vec<LinkedIdentity>, ServiceError> {
        Ok(self.store.identities_of(user).await?)
    }

    /// Removes an identity from the user whose it is, and ends the sessions that were opened by it. `password` is whether one
    /// may sign in with a password.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`] if it is not theirs; [`ServiceError::Invalid`] if they could not sign in any more;
    /// [`ServiceError::LastAdmin`].
    pub async fn unlink_own(
        &self,
        by: &Actor,
        user: &UserId,
        key: &IdentityKey,
        password: bool,
    ) -> Result<(), ServiceError> {
        let must_leave = MustLeave::WayIn { providers: self.sessions.providers(), password };
        match self.store.by(by).unlink_identity(user, key, must_leave).await? {
            Unlinked::Done => self.revocations.look_again_at(&user.0),
            Unlinked::NotFound => return Err(ServiceError::NotFound { what: "identity" }),
            Unlinked::LastAdmin => return Err(ServiceError::LastAdmin),
            Unlinked::LastWayIn => {
                return Err(ServiceError::invalid(
                    Field::Identity,
                    "is the only one that its user can sign in with",
                ));
            }
        }
        Ok(())
    }

    /// Links an identity to the user who holds `session`, the id of the session with which the browser comes back from the
    /// provider. `proof` must have been given for the same session.
    ///
    /// Role, groups and address of the user do not change before the next sign-in by the identity.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Refused`] if the identity belongs to another user, the user has too many, or it is made of another
    /// claim than others of its issuer; [`ServiceError::Refused`] if the session is another one or has ended.
    pub async fn link(
        &self,
        by: &Actor,
        session: &str,
        proof: &ReauthenticationProof,
        assertion: ProviderAssertion,
    ) -> Result<(), IdentityError> {
        let live = if proof.session == session { self.sessions.find_live(session).await? } else { None };
        let (_, user) = live.ok_or(ServiceError::Refused)?;
        let assertion = usable(assertion)?;
        let (store, now) = (self.store.by(by), self.clock.now());
        let linked = store.link_identity(session, &user.id, &assertion, MOST_PER_USER, now).await?;
        match linked {
            Ok(Changed::Done | Changed::Already) => Ok(()),
            Ok(Changed::NotFound | Changed::LastAdmin) => Err(ServiceError::Refused.into()),
            Err(refusal) => {
                let note = Note::failed(Event::IdentityLink, refusal.reason()).on(Party::from(&user));
                let note = note.with("provider", assertion.provider.as_str());
                store.record_repeatable(note, &format!("{} {refusal}", user.id)).await?;
                Err(IdentityError::Refused(refusal))
            }
        }
    }
}

/// The assertion as it can be stored: groups sorted and distinct, and the address only if it has the shape of one.
pub(super) fn usable(assertion: ProviderAssertion) -> Result<ProviderAssertion, IdentityError> {
    let provider = &assertion.provider;
    check_role(assertion.role.of_new_user())?;
    let groups = match assertion.groups {
        None => None,
        Some(mut groups) => {
            groups.retain(|group| {
                let fits = check_group(group).is_ok();
                if !fits {
                    tracing::warn!(
                        provider,
                        "a provider sends a group name that is not allowed here: it is left out"
                    );
                }
                fits
            });
            groups.sort_unstable();
            groups.dedup();
            if groups.len() > MOST_GROUPS {
                return Err(IdentityError::Refused(IdentityRefusal::TooManyGroups));
            }
            Some(groups)
        }
    };
    let email = if assertion.email.any().is_some_and(|email| check_email(email).is_err()) {
        tracing::warn!(provider, "a provider sends an e-mail address that is not one: it is left out");
        AssertedEmail::None
    } else {
        assertion.email
    };
    Ok(ProviderAssertion { email, groups, ..assertion })
}

/// The user that an assertion would create, and usernames for it, best first.
fn new_user(
    assertion: &ProviderAssertion,
    reserved: &ReservedNames,
    now: Timestamp,
) -> Result<(User, Vec<String>), ServiceError> {
    let names = usernames(assertion, reserved);
    let display_name = assertion.display_name.as_deref().map(str::trim).map(str::to_owned);
    let new = NewUser {
        username: names.first().cloned().unwrap_or_default(),
        email: assertion.email.verified().map(str::to_owned),
        display_name: display_name.filter(|name| check_display_name(Some(name)).is_ok()),
        role: assertion.role.of_new_user(),
        groups: assertion.groups.clone().unwrap_or_default(),
        password: None,
    };
    Ok((new.checked(now)?.0, names))
}

/// Logs what an operator should know of a sign-in.
fn report(provider: &str, user: &User, outcome: SignInOutcome, unapplied: &[Unapplied]) {
    let username = &user.username;
    match outcome {
        SignInOutcome::Existing => {}
        SignInOutcome::Linked => {
            tracing::info!(provider, username, "an invited user signs in for the first time");
        }
        SignInOutcome::Created => {
            tracing::info!(provider, username, "a user is created at the first sign-in");
        }
    }
    for what in unapplied {
        match what {
            Unapplied::LastAdmin => tracing::error!(
                provider,
                username,
                "the provider gives the last admin another role, which is not applied: nobody could manage users any more. \
                 Give another user the role first (`doorward user set-role NAME admin`)"
            ),
            Unapplied::Email => tracing::warn!(
                provider,
                username,
                "the provider sends a new e-mail address, which is not applied: it belongs to another user"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
