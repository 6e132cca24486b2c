//! Signing in with name and password. Unknown, wrong, disabled and passwordless look alike from outside.

use std::net::IpAddr;
use std::sync::Arc;

use super::ServiceError;
use super::attempts::Attempt;
use super::attempts::Attempts;
use super::attempts::Standing;
use super::password::Passwords;
use super::sessions::Sessions;
use crate::model::audit::Actor;
use crate::model::audit::Event;
use crate::model::secret::Secret;
use crate::model::session::Session;
use crate::model::time::Clock;
use crate::model::token::SigningKey;
use crate::model::token::random_text;
use crate::model::user::User;
use crate::model::user::UserId;
use crate::store::Store;

/// Names and addresses are shorter; what is longer is nobody's.
const LONGEST_NAME: usize = 512;
/// Our device cookie values have 103 bytes.
const LONGEST_DEVICE: usize = 256;

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

/// Somebody who is signed in and asked for the password again.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
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

/// Password sign-in.
#[derive(Clone, Debug)]
pub struct Login {
    store: Store,
    attempts: Attempts,
    sessions: Sessions,
    device_key: SigningKey,
}

impl Login {
    /// `device_key` signs device cookies and nothing else.
    pub fn new(
        store: Store,
        passwords: Passwords,
        sessions: Sessions,
        device_key: SigningKey,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { attempts: Attempts::new(store.clone(), passwords, clock), store, sessions, device_key }
    }

    /// The same, with changes that are this actor's.
    #[must_use]
    pub fn by(&self, actor: &Actor) -> Self {
        Self {
            store: self.store.by(actor),
            attempts: self.attempts.by(actor),
            sessions: self.sessions.by(actor),
            ..self.clone()
        }
    }

    /// Checks name and password and opens a session.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Refused`] whatever was wrong; [`ServiceError::Throttled`] and [`ServiceError::Busy`]
    /// before anything was checked; [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn sign_in(&self, form: SignIn<'_>) -> Result<SignedIn, ServiceError> {
        let name = if form.name.len() <= LONGEST_NAME { form.name } else { "" };
        let found = self.store.find_user_by_login(name).await?;
        let device = found.as_ref().and_then(|(user, _)| self.known_device(form.device?, &user.id));
        let standing = device.map_or(Standing::Stranger, Standing::Device);
        let attempt =
            Attempt { name, found: found.as_ref(), client: form.client, standing, event: Event::Login };
        let hash = self.attempts.check(&attempt, form.password).await?;
        let device = match (form.device, device) {
            (Some(cookie), Some(_)) => Some(Secret::new(cookie)),
            _ => None,
        };
        let (user, _) = found.ok_or(ServiceError::Refused)?;
        let device = device.unwrap_or_else(|| self.new_device(&user.id));
        let (cookie, session) = self.sessions.sign_in(&user, form.client, form.user_agent).await?;
        // A password changed while we were checking has ended all sessions but this one.
        if self.store.password_of(&user.id).await?.as_deref() != Some(hash.as_str()) {
            self.sessions.end(&session.id).await?;
            return Err(ServiceError::Refused);
        }
        Ok(SignedIn { cookie, device, user, session })
    }

    /// Opens a session for someone who has just made this account, and so needs no password again.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Refused`] if the user was disabled or deleted meanwhile.
    pub async fn enter_first(
        &self,
        user: User,
        client: IpAddr,
        user_agent: &str,
    ) -> Result<SignedIn, ServiceError> {
        let (cookie, session) = self.sessions.sign_in(&user, client, user_agent).await?;
        let device = self.new_device(&user.id);
        Ok(SignedIn { cookie, device, user, session })
    }

    /// Checks the password of someone who is signed in already. What strangers do counts nothing here.
    ///
    /// # Errors
    ///
    /// As [`Login::sign_in`].
    pub async fn check_password(&self, asked: Asked<'_>, password: Secret) -> Result<(), ServiceError> {
        check_password(&self.store, &self.attempts, asked, password, Event::PasswordCheck).await
    }

    /// Whether a device cookie is ours, whosever it is. Asks nobody.
    pub fn has_signed_in(&self, device: &str) -> bool {
        device.len() <= LONGEST_DEVICE && self.device_key.verify(device).is_some()
    }

    /// The device's id, if the cookie is ours and for this user.
    fn known_device<'c>(&self, cookie: &'c str, user: &UserId) -> Option<&'c str> {
        let value = (cookie.len() <= LONGEST_DEVICE).then(|| self.device_key.verify(cookie)).flatten()?;
        let (id, owner) = value.split_once('~')?;
        (owner == user.0).then_some(id)
    }

    fn new_device(&self, user: &UserId) -> Secret {
        Secret::new(self.device_key.sign(&format!("{}~{user}", random_text().expose())))
    }
}

/// Checks the password of somebody who is asked again, for what `event` says.
pub(super) async fn check_password(
    store: &Store,
    attempts: &Attempts,
    asked: Asked<'_>,
    password: Secret,
    event: Event,
) -> Result<(), ServiceError> {
    let Asked { user, session, client } = asked;
    let found = match store.find_user(user).await? {
        Some(user) => {
            let hash = store.password_of(&user.id).await?;
            Some((user, hash))
        }
        None => None,
    };
    let standing = Standing::Session(session);
    let attempt = Attempt { name: &user.0, found: found.as_ref(), client, standing, event };
    attempts.check(&attempt, password).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::service::testing::PASSWORD;
    use crate::service::testing::World;

    const HERE: &str = "192.0.2.1";

    fn is_refused<T>(outcome: &Result<T, ServiceError>) -> bool {
        matches!(outcome, Err(ServiceError::Refused))
    }

    fn is_throttled<T>(outcome: &Result<T, ServiceError>) -> bool {
        matches!(outcome, Err(ServiceError::Throttled { .. }))
    }

    #[tokio::test]
    async fn the_right_password_opens_a_session_by_name_and_by_address() {
        let world = World::new().await;
        let user = world.user_with_password("alice").await;
        for name in ["alice", "ALICE", "alice@example.org"] {
            let signed_in = world.sign_in(name, PASSWORD, HERE, None).await.unwrap();
            assert_eq!(signed_in.user, user);
            let digest = world.sessions.digest_of_cookie(signed_in.cookie.expose()).unwrap();
            assert_eq!(world.sessions.resolve(digest).await.unwrap().unwrap().name, "alice");
        }
    }

    /// L02: the time an answer takes, told by the work behind it.
    #[tokio::test]
    async fn unknown_wrong_disabled_and_passwordless_take_the_same_path() {
        let world = World::new().await;
        world.user_with_password("alice").await;
        world.user("passwordless").await;
        let disabled = world.user_with_password("disabled").await;
        world.accounts.disable(&disabled.id).await.unwrap();
        let endless = "x".repeat(100_000);
        for (at, (name, password)) in [
            ("alice", "wrong"),
            ("alice", ""),
            ("alice", endless.as_str()),
            ("nobody", PASSWORD),
            ("", PASSWORD),
            (endless.as_str(), PASSWORD),
            ("a\0b", PASSWORD),
            ("passwordless", ""),
            ("passwordless", PASSWORD),
            ("disabled", PASSWORD),
        ]
        .into_iter()
        .enumerate()
        {
            let before = world.passwords.computed();
            let client = format!("192.0.2.{at}");
            assert!(is_refused(&world.sign_in(name, password, &client, None).await), "{name:.20}");
            assert_eq!(world.passwords.computed(), before + 1, "{name:.20}");
        }
        assert_eq!(world.sessions.list(None).await.unwrap(), []);
    }

    #[tokio::test]
    async fn guesses_from_one_network_are_slowed_down_and_nothing_is_computed_then() {
        let world = World::new().await;
        world.user_with_password("alice").await;
        for at in 0..6 {
            let client = format!("2001:db8::{at:x}");
            let name = ["alice", "alice@example.org", "nobody"][at % 3];
            assert!(is_refused(&world.sign_in(name, "wrong", &client, None).await), "{at}");
        }
        let before = world.passwords.computed();
        for name in ["alice", "ALICE", "alice@example.org", "nobody", "nobody@example.org", "never seen"] {
            let answer = world.sign_in(name, PASSWORD, "2001:db8::ffff", None).await;
            assert!(is_throttled(&answer), "{name}: one answer for whoever it is");
        }
        assert_eq!(world.passwords.computed(), before);
        assert!(world.sign_in("alice", PASSWORD, "2001:db8:0:1::1", None).await.is_ok(), "another /64");
        world.clock.advance(Duration::from_secs(1));
        assert!(world.sign_in("alice", PASSWORD, "2001:db8::ffff", None).await.is_ok());
        world.clock.advance(Duration::from_secs(1));
        let after_success = world.sign_in("alice", "wrong", "2001:db8::ffff", None).await;
        assert!(is_refused(&after_success), "a success takes back its own attempt");
        assert!(is_throttled(&world.sign_in("bob", "wrong", "2001:db8::ffff", None).await), "but no other");
    }

    /// What guesses from ever other addresses are answered, until one is not looked at.
    async fn guessed(world: &World, names: [&str; 2]) -> Vec<bool> {
        let mut answers = Vec::new();
        for at in 0..60_usize {
            let client = format!("198.51.{}.{at}", 100 + answers.len() / 60);
            answers.push(is_refused(&world.sign_in(names[at % 2], "wrong", &client, None).await));
        }
        answers
    }

    #[tokio::test]
    async fn names_of_one_account_count_together_and_those_of_nobody_alike() {
        let world = World::new().await;
        world.user_with_password("alice").await;
        let somebody = guessed(&world, ["alice", "ALICE@example.org"]).await;
        assert_eq!(somebody.iter().filter(|refused| **refused).count(), 51);
        assert_eq!(guessed(&world, ["nobody", "NOBODY@example.org"]).await, somebody);
        for name in ["alice", "alice@example.org", "nobody", "nobody@example.org"] {
            assert!(is_throttled(&world.sign_in(name, "wrong", "203.0.113.1", None).await), "{name}");
        }
        assert!(is_refused(&world.sign_in("bob", "wrong", "203.0.113.1", None).await), "somebody else");
    }

    #[tokio::test]
    async fn nobody_can_lock_the_owner_out_of_a_known_device() {
        let world = World::new().await;
        world.user_with_password("alice").await;
        world.user_with_password("mallory").await;
        let device = world.sign_in("alice", PASSWORD, HERE, None).await.unwrap().device;
        let mallorys = world.sign_in("mallory", PASSWORD, HERE, None).await.unwrap().device;
        for at in 0..51 {
            let client = format!("198.51.100.{at}");
            assert!(is_refused(&world.sign_in("alice", "wrong", &client, None).await), "{at}");
        }
        for device in [None, Some("forged~id.tag"), Some(mallorys.expose())] {
            assert!(is_throttled(&world.sign_in("alice", PASSWORD, HERE, device).await), "{device:?}");
        }
        for name in ["a", "b", "c", "d", "e", "f", "g"] {
            drop(world.sign_in(name, "wrong", HERE, None).await);
        }
        let again = world.sign_in("alice", PASSWORD, HERE, Some(device.expose())).await.unwrap();
        assert_eq!(again.device.expose(), device.expose(), "a valid device cookie is kept");
    }

    #[tokio::test]
    async fn a_clock_that_was_set_back_keeps_no_right_password_out() {
        let world = World::new().await;
        world.user_with_password("alice").await;
        let hours = Duration::from_hours(2);
        world.clock.advance(hours);
        let device = world.sign_in("alice", PASSWORD, HERE, None).await.unwrap().device;
        assert!(is_refused(&world.sign_in("alice", "wrong", HERE, None).await));
        assert!(is_refused(&world.sign_in("alice", "wrong", HERE, Some(device.expose())).await));
        world.clock.set_back(hours);
        for device in [None, Some(device.expose()), None] {
            assert!(world.sign_in("alice", PASSWORD, HERE, device).await.is_ok(), "{device:?}");
        }
        world.clock.advance(hours);
        for _ in 0..8 {
            drop(world.sign_in("alice", "wrong", HERE, None).await);
        }
        world.clock.set_back(hours);
        let wait = match world.sign_in("alice", PASSWORD, HERE, None).await {
            Err(ServiceError::Throttled { retry_after }) => retry_after,
            other => panic!("{other:?}"),
        };
        assert!(wait <= Duration::from_secs(4), "no longer than failures just now would cost: {wait:?}");
        world.clock.advance(wait);
        assert!(world.sign_in("alice", PASSWORD, HERE, None).await.is_ok());
    }

    #[tokio::test]
    async fn a_known_device_has_only_so_many_guesses_too() {
        let world = World::new().await;
        world.user_with_password("alice").await;
        let device = world.sign_in("alice", PASSWORD, HERE, None).await.unwrap().device;
        let device = Some(device.expose());
        for at in 0..6 {
            let client = format!("198.51.100.{at}");
            assert!(is_refused(&world.sign_in("alice", "wrong", &client, device).await), "{at}");
        }
        assert!(is_throttled(&world.sign_in("alice", PASSWORD, "198.51.100.9", device).await));
    }

    #[tokio::test]
    async fn a_device_cookie_of_another_user_is_replaced() {
        let world = World::new().await;
        world.user_with_password("alice").await;
        world.user_with_password("bob").await;
        let alices = world.sign_in("alice", PASSWORD, HERE, None).await.unwrap().device;
        let bobs = world.sign_in("bob", PASSWORD, HERE, Some(alices.expose())).await.unwrap().device;
        assert_ne!(alices.expose(), bobs.expose());
        assert!(alices.expose().len() < LONGEST_DEVICE);
    }

    #[tokio::test]
    async fn who_is_asked_again_inside_a_session_waits_for_no_stranger() {
        let world = World::new().await;
        let user = world.user_with_password("alice").await;
        let asked = |session| Asked { user: &user.id, session, client: HERE.parse().unwrap() };
        for at in 0..60 {
            let client = format!("198.51.100.{at}");
            drop(world.sign_in("alice", "wrong", &client, None).await);
            drop(world.sign_in("alice", "wrong", HERE, None).await);
        }
        assert!(is_throttled(&world.sign_in("alice", PASSWORD, HERE, None).await));
        for _ in 0..5 {
            assert!(world.login.check_password(asked("own"), Secret::new(PASSWORD)).await.is_ok());
        }
        let new = Secret::new("a password for later");
        assert!(world.accounts.change_password(asked("own"), Secret::new(PASSWORD), new).await.is_ok());
    }

    #[tokio::test]
    async fn a_stolen_session_has_only_so_many_guesses() {
        let world = World::new().await;
        let user = world.user_with_password("alice").await;
        let check = async |session: &str, password: &str| {
            let asked = Asked { user: &user.id, session, client: HERE.parse().unwrap() };
            world.login.check_password(asked, Secret::new(password)).await
        };
        let mut computed = world.passwords.computed();
        for _ in 0..6 {
            assert!(is_refused(&check("stolen", "wrong").await));
            computed += 1;
        }
        assert!(is_throttled(&check("stolen", PASSWORD).await));
        assert_eq!(world.passwords.computed(), computed);
        assert!(check("own", PASSWORD).await.is_ok(), "the owner's own session");
        assert!(is_throttled(&check("stolen", PASSWORD).await), "which takes nothing back");
        assert!(world.sign_in("alice", PASSWORD, HERE, None).await.is_ok());
        let mut tried = 0;
        for _ in 0..24 * 60 {
            world.clock.advance(Duration::from_mins(1));
            tried += usize::from(is_refused(&check("stolen", "wrong").await));
        }
        assert!(tried <= 110, "{tried} in a day");
        let nobody = UserId("nobody".to_owned());
        let asked = Asked { user: &nobody, session: "another", client: HERE.parse().unwrap() };
        assert!(is_refused(&world.login.check_password(asked, Secret::new(PASSWORD)).await));
    }

    /// L20: a hash of old parameters.
    #[tokio::test]
    async fn an_old_hash_is_replaced_at_sign_in() {
        let world = World::new().await;
        let user = world.user("alice").await;
        let params = argon2::Params::new(1024, 1, 1, None).unwrap();
        let old = argon2::PasswordHasher::hash_password(&argon2::Argon2::from(params), PASSWORD.as_bytes());
        let old = old.unwrap().to_string();
        world.store.set_password(&user.id, &old, false, world.clock.now()).await.unwrap();
        assert!(is_refused(&world.sign_in("alice", "wrong", HERE, None).await));
        assert_eq!(world.store.password_of(&user.id).await.unwrap().as_deref(), Some(old.as_str()));
        assert!(world.sign_in("alice", PASSWORD, HERE, None).await.is_ok());
        let renewed = world.store.password_of(&user.id).await.unwrap().unwrap();
        assert!(renewed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{renewed}");
        assert!(world.sign_in("alice", PASSWORD, HERE, None).await.is_ok());
    }
}
