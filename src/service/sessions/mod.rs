//! Browser sessions: a signed random cookie at the browser, a row under its digest in the store.

use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

use super::ServiceError;
use super::admin::AdminProof;
use super::provider_tokens::{ProviderTokens, TokenVault};
use super::rate_limiter::RateLimiter;
use super::revocation::Revocations;
use crate::config::SessionConfig;
use crate::model::audit::Actor;
use crate::model::audit::Event;
use crate::model::principal::IdentitySource;
use crate::model::principal::Principal;
use crate::model::principal::PrincipalKind;
use crate::model::principal::Proof;
use crate::model::secret::Secret;
use crate::model::session::{ProviderSession, Session};
use crate::model::time::Clock;
use crate::model::time::Timestamp;
use crate::model::token::SigningKey;
use crate::model::token::TokenDigest;
use crate::model::token::random_text;
use crate::model::user::User;
use crate::model::user::UserId;
use crate::model::visible::is_unseen;
use crate::store::Lane;
use crate::store::Store;

/// Sessions of one user; one more ends the least recently used.
const MOST_PER_USER: usize = 20;
/// Sessions handed over from one; far more than anyone has applications.
const MOST_PER_PARENT: usize = 50;
/// Our cookie values have 66 bytes; what is far longer is not even signed over.
const LONGEST_COOKIE: usize = 128;
/// Characters kept of what the browser calls itself.
const USER_AGENT_LENGTH: usize = 200;

/// Opens, resolves and ends sessions.
#[derive(Clone, Debug)]
pub struct Sessions {
    config: SessionConfig,
    store: Store,
    key: SigningKey,
    vault: TokenVault,
    revocations: Revocations,
    clock: Arc<dyn Clock>,
    /// The names of the providers in the settings.
    providers: Arc<[String]>,
    /// Of those that people open by themselves.
    pace: RateLimiter,
}

/// How a session is opened.
enum SessionOrigin<'a> {
    /// With a credential that the user has just shown, for this event.
    Credential(Event),
    /// By an identity, with what the provider gave along.
    Provider(ProviderSession, Option<&'a ProviderTokens>),
    /// From another session, for this host.
    Parent(&'a Session, &'a str),
}

impl Sessions {
    /// `key` signs cookies; every gateway that shares the store needs the same one.
    pub(super) fn new(
        config: SessionConfig,
        providers: Vec<String>,
        store: Store,
        (key, vault): (SigningKey, TokenVault),
        revocations: Revocations,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            config,
            store,
            key,
            vault,
            revocations,
            clock,
            providers: providers.into(),
            pace: RateLimiter::of_sessions(),
        }
    }

    /// The same under another configuration.
    #[must_use]
    pub(super) fn under(&self, config: SessionConfig, providers: Vec<String>) -> Self {
        Self { config, providers: providers.into(), ..self.clone() }
    }

    /// The same, for looking up who requests come from.
    #[must_use]
    pub fn for_requests(&self) -> Self {
        Self { store: self.store.clone().on(Lane::Requests), ..self.clone() }
    }

    /// The names of the providers in the settings.
    pub(super) fn providers(&self) -> &[String] {
        &self.providers
    }

    /// The lookup digest of a cookie value, if we signed it. Makes no store call.
    pub fn digest_of_cookie(&self, cookie: &str) -> Option<TokenDigest> {
        let token = (cookie.len() <= LONGEST_COOKIE).then(|| self.key.verify(cookie)).flatten()?;
        Some(TokenDigest::of(token))
    }

    /// Opens a session for someone who has just proved who they are; the cookie's value exists only here.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Refused`] if the user was disabled or deleted meanwhile.
    pub async fn open(
        &self,
        by: &Actor,
        user: &User,
        client: IpAddr,
        user_agent: &str,
    ) -> Result<(Secret, Session), ServiceError> {
        self.add(by, user, SessionOrigin::Credential(Event::SessionOpen), client, user_agent).await
    }

    /// The same, for a sign-in with a password, or by an identity.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Throttled`] if the user signs in too often, too; [`ServiceError::Refused`] also if the
    /// identity was removed from the user meanwhile.
    pub(super) async fn sign_in(
        &self,
        by: &Actor,
        user: &User,
        identity: Option<(ProviderSession, Option<&ProviderTokens>)>,
        client: IpAddr,
        user_agent: &str,
    ) -> Result<(Secret, Session), ServiceError> {
        self.pace.admit(&user.id)?;
        let origin = match identity {
            None => SessionOrigin::Credential(Event::Login),
            Some((identity, tokens)) => SessionOrigin::Provider(identity, tokens),
        };
        self.add(by, user, origin, client, user_agent).await
    }

    /// Whether a user may sign in once more.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Throttled`] if that would be too often.
    pub(super) fn may_sign_in(&self, user: &UserId) -> Result<(), ServiceError> {
        self.pace.check(user)
    }

    /// Opens a session for the browser of `parent` at another host, and for that host alone: it ends with the
    /// parent, at the latest.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Refused`] if the user was disabled or the parent ended meanwhile.
    pub(super) async fn open_from(
        &self,
        by: &Actor,
        parent: &Session,
        host: &str,
        user: &User,
        client: IpAddr,
        user_agent: &str,
    ) -> Result<Secret, ServiceError> {
        self.pace.admit(&user.id)?;
        Ok(self.add(by, user, SessionOrigin::Parent(parent, host), client, user_agent).await?.0)
    }

    async fn add(
        &self,
        by: &Actor,
        user: &User,
        origin: SessionOrigin<'_>,
        client: IpAddr,
        user_agent: &str,
    ) -> Result<(Secret, Session), ServiceError> {
        let now = self.clock.now();
        let (parent, provider, tokens, event) = match origin {
            SessionOrigin::Credential(event) => (None, None, None, event),
            SessionOrigin::Provider(identity, tokens) => (None, Some(identity), tokens, Event::Login),
            SessionOrigin::Parent(parent, host) => {
                (Some((parent, host)), parent.provider.clone(), None, Event::SessionOpen)
            }
        };
        let token = random_text();
        let session = Session {
            id: Uuid::now_v7().to_string(),
            user_id: user.id.clone(),
            created_at: now,
            last_seen_at: now,
            expires_at: parent
                .map_or_else(|| now.after(self.config.absolute), |(parent, _)| parent.expires_at),
            client: client.to_canonical().to_string(),
            user_agent: user_agent.chars().filter(|c| !is_unseen(*c)).take(USER_AGENT_LENGTH).collect(),
            parent_id: parent.map(|(parent, _)| parent.id.clone()),
            host: parent.map(|(_, host)| host.to_owned()),
            provider,
        };
        let digest = TokenDigest::of(token.expose());
        let cap = if parent.is_some() { MOST_PER_PARENT } else { MOST_PER_USER };
        let store = self.store.by(by);
        let ended = match tokens {
            None => store.add_session(&session, digest, cap, event).await?,
            Some(tokens) => {
                let tokens = self.vault.new_tokens(&session.id, tokens, now);
                store.add_provider_session(&session, digest, cap, &tokens).await?
            }
        };
        self.look_again_if(ended.ok_or(ServiceError::Refused)? > 0, &user.id);
        Ok((Secret::new(self.key.sign(token.expose())), session))
    }

    /// Who holds this session; `None` if it is unknown, past its end or idle, or its user is disabled.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn resolve(&self, digest: TokenDigest) -> Result<Option<Principal>, ServiceError> {
        let found = self.store.find_session(digest).await?;
        Ok(found
            .filter(|(session, user)| self.is_usable(session, user))
            .map(|(session, user)| principal(session, user)))
    }

    /// Who holds the session of this public id, as [`Sessions::resolve`] says it. For a caller who has shown the
    /// cookie before.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn resolve_again(&self, id: &str) -> Result<Option<Principal>, ServiceError> {
        Ok(self.find_live(id).await?.map(|(session, user)| principal(session, user)))
    }

    /// A session by its public id, and its user, if it can be used now.
    pub(super) async fn find_live(&self, id: &str) -> Result<Option<(Session, User)>, ServiceError> {
        let found = self.store.session_by_id(id).await?;
        Ok(found.filter(|(session, user)| self.is_usable(session, user)))
    }

    fn is_usable(&self, session: &Session, user: &User) -> bool {
        session.is_live(self.clock.now(), self.config.idle) && !user.disabled
    }

    /// Ends a session by its public id, and every one that its browser has at other hosts; `false` if there
    /// is none.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn end(&self, by: &AdminProof, id: &str) -> Result<bool, ServiceError> {
        self.end_as(by.actor(), id, Event::SessionRevoke).await
    }

    /// Ends a session in the same way, because its user signs out.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn sign_out(&self, by: &Actor, id: &str) -> Result<bool, ServiceError> {
        self.end_as(by, id, Event::Logout).await
    }

    pub(super) async fn end_as(&self, by: &Actor, id: &str, event: Event) -> Result<bool, ServiceError> {
        let ended = self.store.by(by).end_session(id, event).await?;
        if let Some(user) = &ended {
            self.revocations.look_again_at(&user.0);
        }
        Ok(ended.is_some())
    }

    /// Ends a session if it is this user's; `false` if it is another's or does not exist.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn end_own(&self, by: &Actor, user: &UserId, id: &str) -> Result<bool, ServiceError> {
        let own = self.store.sessions_of(user).await?;
        if own.iter().any(|(session, _)| session.id == id) {
            self.end_as(by, id, Event::SessionRevoke).await
        } else {
            Ok(false)
        }
    }

    /// Ends every session of a user but the one with this id and those of its browser at other hosts; how many
    /// they were.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn end_others(&self, by: &Actor, user: &UserId, kept: &str) -> Result<u64, ServiceError> {
        let ended = self.store.by(by).end_other_sessions_of(user, kept).await?;
        self.look_again_if(ended > 0, user);
        Ok(ended)
    }

    /// Ends every session of a user; how many they were.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn end_all(&self, by: &AdminProof, user: &UserId) -> Result<u64, ServiceError> {
        let ended = self.store.by(by.actor()).end_sessions_of(user).await?;
        self.look_again_if(ended > 0, user);
        Ok(ended)
    }

    /// A change without effect invalidates no cached caller.
    fn look_again_if(&self, ended: bool, user: &UserId) {
        if ended {
            self.revocations.look_again_at(&user.0);
        }
    }

    /// Ends the sessions of providers that are not in the settings; how many users had one. To be called after each change of
    /// the settings; [`Sessions::purge`] does it too.
    ///
    /// Gateways with one store must name the same providers: one that does not know a provider ends its sessions for all.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn end_sessions_of_removed_providers(&self) -> Result<usize, ServiceError> {
        let (mut users, mut last) = (0, String::new());
        while let Some(provider) = self.store.next_provider_of_sessions(&last).await? {
            last = provider;
            if self.providers.contains(&last) {
                continue;
            }
            loop {
                let ended = self.store.end_sessions_of_provider(&last).await?;
                if ended.is_empty() {
                    break;
                }
                for user in &ended {
                    self.revocations.look_again_at(&user.0);
                }
                users += ended.len();
            }
        }
        Ok(users)
    }

    /// Sessions that can still be used, newest first, with their usernames; of one user or of all.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn list(
        &self,
        _by: &AdminProof,
        of: Option<&UserId>,
    ) -> Result<Vec<(Session, String)>, ServiceError> {
        let Some(user) = of else {
            let mut sessions = self.all().await?;
            let now = self.clock.now();
            sessions.retain(|(session, _)| session.is_live(now, self.config.idle));
            return Ok(sessions);
        };
        self.own(user).await
    }

    /// A user's own sessions that can still be used, newest first, with the username.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn own(&self, user: &UserId) -> Result<Vec<(Session, String)>, ServiceError> {
        let now = self.clock.now();
        let mut sessions = self.store.sessions_of(user).await?;
        sessions.retain(|(session, _)| session.is_live(now, self.config.idle));
        Ok(sessions)
    }

    async fn all(&self) -> Result<Vec<(Session, String)>, ServiceError> {
        let mut sessions: Vec<(Session, String)> = Vec::new();
        loop {
            let page = self.store.sessions_page(sessions.last().map(|(session, _)| session)).await?;
            if page.is_empty() {
                return Ok(sessions);
            }
            sessions.extend(page);
        }
    }

    /// Notes when sessions, by id, were last seen.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn touch(&self, seen: Vec<(String, Timestamp)>) -> Result<(), ServiceError> {
        Ok(self.store.touch_sessions(&seen).await?)
    }

    /// Deletes what cannot be used any more, after sessions of other providers; how many sessions that were.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn purge(&self) -> Result<u64, ServiceError> {
        self.end_sessions_of_removed_providers().await?;
        let idle = i64::try_from(self.config.idle.as_secs()).unwrap_or(i64::MAX);
        Ok(self.store.purge_sessions(self.clock.now(), idle).await?)
    }
}

fn principal(session: Session, user: User) -> Principal {
    // A sign-in by an identity did not use the temporary password.
    let must_change_password = user.must_change_password && session.provider.is_none();
    Principal {
        kind: PrincipalKind::User(user.id),
        name: user.username,
        email: user.email,
        display_name: user.display_name,
        role: user.role,
        groups: user.groups,
        source: session
            .provider
            .map_or(IdentitySource::Local, |identity| IdentitySource::Provider(identity.provider)),
        must_change_password,
        proof: Proof::Session {
            id: session.id,
            expires_at: session.expires_at,
            last_seen_at: session.last_seen_at,
            host: session.host,
        },
    }
}

#[cfg(test)]
mod tests;
