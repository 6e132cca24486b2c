//! The first admin. Nothing well known ever works: a password from outside, or a link that works once.

use std::time::Duration;

use super::ServiceError;
use super::accounts::Accounts;
use super::accounts::NewUser;
use crate::config::LoginConfig;
use crate::model::audit::Event;
use crate::model::audit::Note;
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::model::token::TokenDigest;
use crate::model::token::random_text;
use crate::model::user::User;

/// The name of the first admin where only a password was given.
const FIRST_ADMIN: &str = "admin";
/// How long a setup token can be used.
pub(super) const SETUP_TOKEN_LIFE: Duration = Duration::from_hours(24);

/// How somebody can get in for the first time.
#[derive(Debug)]
pub enum Bootstrap {
    /// The first admin was made, with the password from the settings, which must be changed.
    FirstAdmin {
        /// What to sign in as.
        username: String,
    },
    /// Nobody is there yet: whoever holds this token within 24 hours makes the first admin.
    SetupToken(Secret),
    /// There are users.
    Ready,
}

impl Accounts {
    /// Sees to it that somebody can get in. To be called at every start.
    ///
    /// Admins named in the settings are added once there is a user at all: before that, one without a
    /// password would make the setup link useless.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Invalid`] if the password or a name in the settings breaks the rules.
    pub async fn bootstrap(&self, login: &LoginConfig) -> Result<Bootstrap, ServiceError> {
        let state = self.first_admin(login).await?;
        if !matches!(state, Bootstrap::SetupToken(_)) {
            for (name, email) in &login.admins {
                self.add_admin(name, email).await?;
            }
        }
        Ok(state)
    }

    async fn first_admin(&self, login: &LoginConfig) -> Result<Bootstrap, ServiceError> {
        if self.store.is_anybody().await? {
            return Ok(Bootstrap::Ready);
        }
        if let Some(password) = &login.admin_password {
            let (user, hash) =
                self.prepare(admin(FIRST_ADMIN, password.clone(), true)).await.map_err(named)?;
            let made = self.store.create_first_user(&user, &hash.unwrap_or_default()).await?;
            // Another gateway may have been faster.
            return Ok(if made {
                Bootstrap::FirstAdmin { username: user.username }
            } else {
                Bootstrap::Ready
            });
        }
        let token = random_text();
        let expires = self.clock.now().after(SETUP_TOKEN_LIFE);
        self.store.put_setup_token(TokenDigest::of(token.expose()), expires).await?;
        Ok(Bootstrap::SetupToken(token))
    }

    async fn add_admin(&self, name: &str, email: &str) -> Result<(), ServiceError> {
        if self.find(name).await?.is_some() || self.find(email).await?.is_some() {
            return Ok(());
        }
        let new = NewUser {
            username: name.to_owned(),
            email: Some(email.to_owned()),
            display_name: None,
            role: Role::Admin,
            groups: Vec::new(),
            password: None,
        };
        match self.create(new).await {
            Ok(_) | Err(ServiceError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether a setup token could be used now.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn check_setup_token(&self, token: &Secret) -> Result<bool, ServiceError> {
        Ok(self.store.check_setup_token(TokenDigest::of(token.expose()), self.clock.now()).await?)
    }

    /// Makes the first admin and uses the token up.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Refused`] if the token is wrong, used, past its end, or there is a user already;
    /// [`ServiceError::Invalid`] about name or password, after which the token still works.
    pub async fn complete_setup(
        &self,
        token: Secret,
        username: &str,
        password: Secret,
    ) -> Result<User, ServiceError> {
        // Asked first, so that nobody makes us hash without one.
        if !self.check_setup_token(&token).await? {
            self.store.record_repeatable(Note::failed(Event::Setup, "invalid-link"), "").await?;
            return Err(ServiceError::Refused);
        }
        let (user, hash) = self.prepare(admin(username, password, false)).await?;
        let digest = TokenDigest::of(token.expose());
        let hash = hash.unwrap_or_default();
        if self.store.redeem_setup_token(digest, self.clock.now(), &user, &hash).await? {
            Ok(user)
        } else {
            self.store.record_repeatable(Note::failed(Event::Setup, "invalid-link"), "").await?;
            Err(ServiceError::Refused)
        }
    }
}

fn admin(username: &str, password: Secret, must_change: bool) -> NewUser {
    NewUser {
        username: username.to_owned(),
        email: None,
        display_name: None,
        role: Role::Admin,
        groups: Vec::new(),
        password: Some((password, must_change)),
    }
}

/// Says where a password that breaks the rules came from.
fn named(error: ServiceError) -> ServiceError {
    match error {
        ServiceError::Invalid { field: "password", reason } => {
            ServiceError::Invalid { field: "DOORWARD_ADMIN_PASSWORD or login.admin_password_file", reason }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::testing::PASSWORD;
    use crate::service::testing::World;

    fn settings(password: Option<&str>) -> LoginConfig {
        LoginConfig {
            password: true,
            default_role: Role::Viewer,
            admins: vec![("zelda".into(), "zelda@example.org".into())],
            admin_password: password.map(Secret::new),
            breach_list: None,
        }
    }

    async fn token(world: &World) -> Secret {
        match world.accounts.bootstrap(&settings(None)).await.unwrap() {
            Bootstrap::SetupToken(token) => token,
            other => panic!("{other:?}"),
        }
    }

    async fn complete(world: &World, token: &Secret) -> Result<User, ServiceError> {
        world.accounts.complete_setup(token.clone(), "root", Secret::new(PASSWORD)).await
    }

    #[tokio::test]
    async fn a_given_password_makes_the_first_admin_once() {
        let world = World::new().await;
        let made = world.accounts.bootstrap(&settings(Some(PASSWORD))).await.unwrap();
        assert!(matches!(made, Bootstrap::FirstAdmin { username } if username == "admin"));
        let signed_in = world.sign_in("admin", PASSWORD, "192.0.2.1", None).await.unwrap();
        assert_eq!((signed_in.user.role, signed_in.user.must_change_password), (Role::Admin, true));
        let other = "a password for later";
        let again = world.accounts.bootstrap(&settings(Some(other))).await.unwrap();
        assert!(matches!(again, Bootstrap::Ready));
        assert!(world.sign_in("admin", other, "192.0.2.1", None).await.is_err());
    }

    #[tokio::test]
    async fn a_weak_password_is_refused_by_the_name_of_its_setting() {
        let world = World::new().await;
        for weak in ["admin", "administrator", "password1234"] {
            let refused = world.accounts.bootstrap(&settings(Some(weak))).await.unwrap_err().to_string();
            assert!(refused.contains("DOORWARD_ADMIN_PASSWORD"), "{refused}");
            assert!(refused.contains("login.admin_password_file"), "{refused}");
        }
        assert_eq!(world.accounts.list().await.unwrap(), []);
    }

    #[tokio::test]
    async fn named_admins_are_added_without_a_password_where_nobody_has_the_name() {
        let world = World::new().await;
        world.accounts.bootstrap(&settings(Some(PASSWORD))).await.unwrap();
        let zelda = world.accounts.find("zelda@example.org").await.unwrap().unwrap();
        assert_eq!((zelda.role, zelda.has_password), (Role::Admin, false));
        world.accounts.set_role(&zelda.id, Role::Viewer).await.unwrap();
        world.accounts.bootstrap(&settings(None)).await.unwrap();
        let zelda = world.accounts.find("zelda").await.unwrap().unwrap();
        assert_eq!(zelda.role, Role::Viewer, "an existing user is left alone");
        assert!(world.sign_in("zelda", "", "192.0.2.1", None).await.is_err());
    }

    #[tokio::test]
    async fn a_setup_token_makes_one_admin_and_no_second() {
        let world = World::new().await;
        let token = token(&world).await;
        assert_eq!(world.accounts.list().await.unwrap(), [], "nobody may make the link useless");
        assert!(world.accounts.check_setup_token(&token).await.unwrap());
        assert!(matches!(complete(&world, &random_text()).await, Err(ServiceError::Refused)));
        let weak = world.accounts.complete_setup(token.clone(), "root", Secret::new("short")).await;
        assert!(matches!(weak, Err(ServiceError::Invalid { .. })));
        let admin = complete(&world, &token).await.unwrap();
        assert_eq!((admin.role, admin.must_change_password), (Role::Admin, false));
        assert!(!world.accounts.check_setup_token(&token).await.unwrap());
        assert!(matches!(complete(&world, &token).await, Err(ServiceError::Refused)));
        assert!(matches!(world.accounts.bootstrap(&settings(None)).await.unwrap(), Bootstrap::Ready));
        assert_eq!(world.accounts.list().await.unwrap().len(), 2, "and the named admin");
    }

    #[tokio::test]
    async fn an_old_token_and_one_beside_a_user_are_refused_without_hashing() {
        let world = World::new().await;
        let first = token(&world).await;
        let second = token(&world).await;
        assert!(matches!(complete(&world, &first).await, Err(ServiceError::Refused)), "replaced");
        world.clock.advance(SETUP_TOKEN_LIFE);
        assert!(matches!(complete(&world, &second).await, Err(ServiceError::Refused)), "past its end");
        let third = token(&world).await;
        world.user("anybody").await;
        assert!(matches!(complete(&world, &third).await, Err(ServiceError::Refused)), "there is a user");
        assert_eq!(world.passwords.computed(), 0);
    }
}
