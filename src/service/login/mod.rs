//! Signing in with name and password. Unknown, wrong, disabled and passwordless look alike from outside.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ServiceError;
use super::attempts::Attempt;
use super::attempts::AttemptOrigin;
use super::attempts::Attempts;
use super::decoys::Decoys;
use super::foreign_hashes::ForeignHashes;
use super::password::Passwords;
use super::provider_tokens::ProviderTokens;
use super::sessions::Sessions;
use crate::model::audit::Actor;
use crate::model::audit::Event;
use crate::model::audit::Reason;
use crate::model::secret::Secret;
use crate::model::session::{ProviderSession, Session};
use crate::model::time::Clock;
use crate::model::token::KeyPurpose;
use crate::model::token::MasterKey;
use crate::model::token::SigningKey;
use crate::model::token::random_text;
use crate::model::user::User;
use crate::model::user::UserId;
use crate::store::PasswordHolder;
use crate::store::Store;
use crate::store::StoreError;

/// Names and addresses are shorter; a longer one is unknown.
const LONGEST_NAME: usize = 512;
/// Our device cookie values have 103 bytes.
const LONGEST_DEVICE: usize = 256;
/// How long it is believed that the owner of a device may sign in, or may not: only the order of waiting depends on it.
const OWNERS_KNOWN_FOR: Duration = Duration::from_secs(10);
/// Owners of devices that are kept in memory.
const MOST_OWNERS: u64 = 10_000;

/// What somebody typed, and where.
#[derive(Debug)]
pub struct SignIn<'a> {
    /// Username or e-mail address.
    pub name: &'a str,
    /// The password.
    pub password: Secret,
    /// The client's address.
    pub client: IpAddr,
    /// What the browser calls itself.
    pub user_agent: &'a str,
    /// The device cookie, if the browser sent one.
    pub device: Option<&'a str>,
}

/// The browser of a user who signs in by an identity.
#[derive(Clone, Copy, Debug)]
pub struct Browser<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// What the browser calls itself.
    pub user_agent: &'a str,
    /// The device cookie, if the browser sent one.
    pub device: Option<&'a str>,
}

/// Somebody who is signed in and asked for the password again.
#[derive(Clone, Copy, Debug)]
pub struct Reauthentication<'a> {
    /// Who it is.
    pub user: &'a UserId,
    /// By which session, by its id.
    pub session: &'a str,
    /// The client's address.
    pub client: IpAddr,
}

/// A sign-in that worked.
#[derive(Debug)]
pub struct SignedIn {
    /// Value of the session cookie.
    pub cookie: Secret,
    /// Value of the device cookie: the one that came if it was this user's, else a new one.
    pub device: Secret,
    /// Who it is.
    pub user: User,
    /// The session that was opened.
    pub session: Session,
}

/// The keys of [`Login`], each for one purpose.
#[derive(Clone, Debug)]
pub(super) struct LoginKeys {
    device: SigningKey,
    decoy: SigningKey,
}

impl LoginKeys {
    /// Derives them from the gateway's own key.
    pub(super) fn of(key: &MasterKey) -> Self {
        Self { device: key.derive(KeyPurpose::Device), decoy: key.derive(KeyPurpose::Decoy) }
    }
}

/// Password sign-in.
#[derive(Clone, Debug)]
pub struct Login {
    store: Store,
    attempts: Attempts,
    decoys: Decoys,
    foreign: ForeignHashes,
    sessions: Sessions,
    device_key: SigningKey,
    /// Owners of devices that were shown lately, and whether they may sign in.
    owners: moka::future::Cache<UserId, bool>,
}

impl Login {
    /// `passwords` should be the one that [`super::accounts::Accounts`] uses, so that both share its bound.
    pub(super) fn new(
        store: Store,
        passwords: Passwords,
        sessions: Sessions,
        keys: LoginKeys,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            foreign: ForeignHashes::new(store.clone(), passwords.clone()),
            attempts: Attempts::new(store.clone(), passwords, clock),
            decoys: Decoys::new(store.clone(), keys.decoy),
            store,
            sessions,
            device_key: keys.device,
            owners: known_owners(),
        }
    }

    /// The same, opening sessions under another configuration.
    #[must_use]
    pub(super) fn opening(&self, sessions: Sessions) -> Self {
        Self { sessions, owners: known_owners(), ..self.clone() }
    }

    /// Checks name and password and opens a session.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Refused`] whatever was wrong; [`ServiceError::Throttled`] and [`ServiceError::Busy`]
    /// before anything was checked; [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn sign_in(&self, by: &Actor, form: SignIn<'_>) -> Result<SignedIn, ServiceError> {
        self.foreign.know().await?;
        let name = if form.name.len() <= LONGEST_NAME { form.name } else { "" };
        let (found, decoy) = self.look_up(name).await?;
        let enabled = found.as_ref().filter(|(user, _)| !user.disabled);
        let device = enabled.and_then(|(user, _)| self.known_device(form.device?, &user.id));
        let origin = device.map_or(AttemptOrigin::Unknown, AttemptOrigin::Device);
        let attempt = Attempt {
            name,
            found: found.as_ref(),
            decoy: decoy.as_ref().map(|holder| holder.password.expose()),
            client: form.client,
            origin,
            event: Event::Login,
        };
        if let (AttemptOrigin::Device(_), Some((user, _))) = (origin, &found) {
            // Known devices go ahead of unknown ones, so one that signs in all the time is not even checked. What an
            // unknown device is told must not depend on it.
            self.not_too_often(by, &attempt, self.sessions.may_sign_in(&user.id))?;
        }
        let hash = self.attempts.check(by, &attempt, form.password).await?;
        let device = match (form.device, device) {
            (Some(cookie), Some(_)) => Some(Secret::new(cookie)),
            _ => None,
        };
        let (user, _) = found.as_ref().ok_or(ServiceError::Refused)?;
        let opened = self.sessions.sign_in(by, user, None, form.client, form.user_agent).await;
        let (cookie, session) = self.not_too_often(by, &attempt, opened)?;
        let device = device.unwrap_or_else(|| self.new_device(&user.id));
        // A password changed while we were checking has ended all sessions but this one.
        if self.store.password_of(&user.id).await?.as_deref() != Some(hash.as_str()) {
            self.sessions.end_as(by, &session.id, Event::SessionRevoke).await?;
            return Err(ServiceError::Refused);
        }
        Ok(SignedIn { cookie, device, user: user.clone(), session })
    }

    /// Who is meant by a name, with the stored hash, and its decoy. For a name that is nobody's the decoy's user is looked up,
    /// so that what is read from the store is the same for every name.
    async fn look_up(
        &self,
        name: &str,
    ) -> Result<(Option<(User, Option<String>)>, Option<PasswordHolder>), StoreError> {
        let known = self.store.user_id_by_login(name).await?;
        let decoy = self.decoys.holder_for(name).await?;
        let found = match known.as_ref().or(decoy.as_ref().map(|holder| &holder.id)) {
            Some(id) => self.store.find_user_with_hash(id).await?,
            None => None,
        };
        Ok((found.filter(|(user, _)| known.as_ref() == Some(&user.id)), decoy))
    }

    /// Has it written down that somebody signs in too often.
    fn not_too_often<T>(
        &self,
        by: &Actor,
        attempt: &Attempt<'_>,
        outcome: Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        if let Err(ServiceError::Throttled { .. }) = outcome {
            self.attempts.note_failure(by, attempt, Reason::Throttled)?;
        }
        outcome
    }

    /// Opens a session for someone who has just made this account, and so needs no password again.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Refused`] if the user was disabled or deleted meanwhile.
    pub async fn enter_first(
        &self,
        by: &Actor,
        user: User,
        client: IpAddr,
        user_agent: &str,
    ) -> Result<SignedIn, ServiceError> {
        let (cookie, session) = self.sessions.sign_in(by, &user, None, client, user_agent).await?;
        let device = self.new_device(&user.id);
        Ok(SignedIn { cookie, device, user, session })
    }

    /// Opens a session for a user who signs in by an identity. The device cookie is kept or replaced as after a password.
    ///
    /// # Errors
    ///
    /// As [`Login::enter_first`]; [`ServiceError::Throttled`] if the user signs in too often.
    pub(super) async fn enter_by_identity(
        &self,
        by: &Actor,
        user: User,
        identity: (ProviderSession, Option<&ProviderTokens>),
        browser: Browser<'_>,
    ) -> Result<SignedIn, ServiceError> {
        let Browser { client, user_agent, device } = browser;
        let known = device.filter(|cookie| self.known_device(cookie, &user.id).is_some());
        let (cookie, session) = self.sessions.sign_in(by, &user, Some(identity), client, user_agent).await?;
        let device = known.map_or_else(|| self.new_device(&user.id), Secret::new);
        Ok(SignedIn { cookie, device, user, session })
    }

    /// Checks the password of someone who is signed in already. Attempts of unknown clients do not count here.
    ///
    /// # Errors
    ///
    /// As [`Login::sign_in`].
    pub async fn check_password(
        &self,
        by: &Actor,
        asked: Reauthentication<'_>,
        password: Secret,
    ) -> Result<(), ServiceError> {
        check_password(by, &self.store, &self.attempts, asked, password, Event::PasswordCheck).await
    }

    /// Who has signed in on a device, if its cookie is ours. Makes no store call: see [`Login::may_come_back`].
    pub fn owner_of_device(&self, cookie: &str) -> Option<UserId> {
        self.device(cookie).map(|(_, owner)| UserId(owner.to_owned()))
    }

    /// Whether the owner of a device is still somebody who may sign in, as far as was known within [`OWNERS_KNOWN_FOR`].
    /// Asks the store once for all who want to know at a time, and does not hold it against anybody if that fails.
    pub async fn may_come_back(&self, owner: &UserId) -> bool {
        let look = async {
            let found = self.store.find_user(owner).await?;
            Ok::<_, StoreError>(found.is_some_and(|user| !user.disabled))
        };
        self.owners.try_get_with(owner.clone(), look).await.unwrap_or(true)
    }

    /// The device's id, if the cookie is ours and for this user.
    fn known_device<'c>(&self, cookie: &'c str, user: &UserId) -> Option<&'c str> {
        self.device(cookie).filter(|(_, owner)| *owner == user.0).map(|(id, _)| id)
    }

    /// The id of a device and its owner's.
    fn device<'c>(&self, cookie: &'c str) -> Option<(&'c str, &'c str)> {
        (cookie.len() <= LONGEST_DEVICE).then(|| self.device_key.verify(cookie)).flatten()?.split_once('~')
    }

    fn new_device(&self, user: &UserId) -> Secret {
        Secret::new(self.device_key.sign(&format!("{}~{user}", random_text().expose())))
    }
}

/// Checks the password of somebody who is asked again, for what `event` says.
pub(super) async fn check_password(
    by: &Actor,
    store: &Store,
    attempts: &Attempts,
    asked: Reauthentication<'_>,
    password: Secret,
    event: Event,
) -> Result<(), ServiceError> {
    let Reauthentication { user, session, client } = asked;
    let found = match store.find_user(user).await? {
        Some(user) => {
            let hash = store.password_of(&user.id).await?;
            Some((user, hash))
        }
        None => None,
    };
    let origin = AttemptOrigin::Session(session);
    // The user is known here, so nothing is hidden by a decoy.
    let attempt = Attempt { name: &user.0, found: found.as_ref(), decoy: None, client, origin, event };
    attempts.check(by, &attempt, password).await.map(|_| ())
}

/// Remembers no owner yet.
fn known_owners() -> moka::future::Cache<UserId, bool> {
    moka::future::Cache::builder().max_capacity(MOST_OWNERS).time_to_live(OWNERS_KNOWN_FOR).build()
}

#[cfg(test)]
mod tests;
