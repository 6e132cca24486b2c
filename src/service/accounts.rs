//! People: adding them, changing what they may do, and their passwords.

use std::net::IpAddr;
use std::sync::Arc;

use super::ServiceError;
use super::attempts::Attempts;
use super::done;
use super::login::check_password;
use super::new_user::MOST_GROUPS;
pub use super::new_user::NewUser;
use super::new_user::check_display_name;
use super::new_user::check_group;
use super::new_user::check_role;
use super::password::Passwords;
use super::password::check_new_password;
use super::revocation::Revocations;
use crate::model::audit::Actor;
use crate::model::audit::Event;
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::model::time::Clock;
use crate::model::token::random_password;
use crate::model::user::User;
use crate::model::user::UserId;
use crate::store::Store;

/// Manages people.
#[derive(Clone, Debug)]
pub struct Accounts {
    pub(super) store: Store,
    pub(super) passwords: Passwords,
    pub(super) clock: Arc<dyn Clock>,
    attempts: Attempts,
    revocations: Revocations,
}

impl Accounts {
    /// `passwords` should be the one that sign-in uses, so that both share its bound.
    pub fn new(store: Store, passwords: Passwords, revocations: Revocations, clock: Arc<dyn Clock>) -> Self {
        let attempts = Attempts::new(store.clone(), passwords.clone(), clock.clone());
        Self { store, passwords, clock, attempts, revocations }
    }

    /// The same, with changes that are this actor's.
    #[must_use]
    pub fn by(&self, actor: &Actor) -> Self {
        Self { store: self.store.by(actor), attempts: self.attempts.by(actor), ..self.clone() }
    }

    /// Adds someone.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Invalid`] or [`ServiceError::Conflict`], with the field.
    pub async fn create(&self, new: NewUser) -> Result<User, ServiceError> {
        let (user, hash) = self.prepare(new).await?;
        self.store.create_user(&user, hash.as_deref()).await?;
        Ok(user)
    }

    /// Adds someone with a password to hand over, which must be changed at the first sign-in.
    ///
    /// # Errors
    ///
    /// As [`Accounts::create`].
    pub async fn create_with_temporary_password(&self, new: NewUser) -> Result<(User, Secret), ServiceError> {
        let password = random_password();
        let user = self.create(NewUser { password: Some((password.clone(), true)), ..new }).await?;
        Ok((user, password))
    }

    /// Checks everything and hashes the password, but stores nothing.
    pub(super) async fn prepare(&self, new: NewUser) -> Result<(User, Option<String>), ServiceError> {
        let (user, password) = new.checked(self.clock.now())?;
        let hash = match password {
            Some(password) => {
                check_new_password(&password, &words_of(&user))?;
                Some(self.passwords.hash(password).await?)
            }
            None => None,
        };
        Ok((user, hash))
    }

    /// Whether there is a user at all.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn is_anybody(&self) -> Result<bool, ServiceError> {
        Ok(self.store.is_anybody().await?)
    }

    /// The user with this username or e-mail address.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn find(&self, name_or_email: &str) -> Result<Option<User>, ServiceError> {
        Ok(self.store.find_user_by_login(name_or_email).await?.map(|(user, _)| user))
    }

    /// The user with this id.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn find_by_id(&self, id: &UserId) -> Result<Option<User>, ServiceError> {
        Ok(self.store.find_user(id).await?)
    }

    /// Users by username; the first 10 000.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn list(&self) -> Result<Vec<User>, ServiceError> {
        Ok(self.store.list_users().await?)
    }

    /// Gives a user another name for pages and applications to show; an empty one is none.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`], [`ServiceError::Invalid`].
    pub async fn set_display_name(&self, id: &UserId, name: &str) -> Result<(), ServiceError> {
        let name = Some(name.trim()).filter(|name| !name.is_empty());
        check_display_name(name)?;
        let found = self.store.set_display_name(id, name).await?;
        self.revocations.bump();
        if found { Ok(()) } else { Err(ServiceError::NotFound { what: "user" }) }
    }

    /// Gives a user another role and, if it is another, ends the user's sessions.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`], [`ServiceError::LastAdmin`], [`ServiceError::Invalid`] for a machine's role.
    pub async fn set_role(&self, id: &UserId, role: Role) -> Result<(), ServiceError> {
        check_role(role)?;
        let changed = self.store.set_role(id, role).await?;
        self.revocations.bump();
        done(changed)
    }

    /// Stops a user, with all sessions and keys, until enabled again.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`], [`ServiceError::LastAdmin`].
    pub async fn disable(&self, id: &UserId) -> Result<(), ServiceError> {
        let changed = self.store.set_disabled(id, true).await?;
        self.revocations.bump();
        done(changed)
    }

    /// Lets a disabled user in again; sessions do not come back, keys do.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`].
    pub async fn enable(&self, id: &UserId) -> Result<(), ServiceError> {
        let changed = self.store.set_disabled(id, false).await?;
        self.revocations.bump();
        done(changed)
    }

    /// Deletes a user with all sessions and keys.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`], [`ServiceError::LastAdmin`].
    pub async fn delete(&self, id: &UserId) -> Result<(), ServiceError> {
        let changed = self.store.delete_user(id).await?;
        self.revocations.bump();
        done(changed)
    }

    /// Sets a temporary password, which must be changed first, and ends the user's sessions.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`].
    pub async fn reset_password(&self, id: &UserId) -> Result<Secret, ServiceError> {
        let password = random_password();
        self.set_password(id, password.clone(), true).await?;
        Ok(password)
    }

    /// Changes a user's own password and ends all the user's sessions; the caller opens a new one.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Refused`], [`ServiceError::Throttled`] or [`ServiceError::Busy`] about the current
    /// password; [`ServiceError::Invalid`] about the new one.
    pub async fn change_password(
        &self,
        id: &UserId,
        current: Secret,
        new: Secret,
        client: IpAddr,
    ) -> Result<(), ServiceError> {
        let user = self.store.find_user(id).await?.ok_or(ServiceError::Refused)?;
        check_new_password(&new, &words_of(&user))?;
        let same = current.expose() == new.expose();
        let attempt = Event::PasswordChange;
        check_password(&self.store, &self.attempts, id, current, client, attempt).await?;
        if same {
            return Err(ServiceError::invalid("password", "is the one you have"));
        }
        self.set_password(id, new, false).await
    }

    async fn set_password(&self, id: &UserId, new: Secret, must_change: bool) -> Result<(), ServiceError> {
        let hash = self.passwords.hash(new).await?;
        let found = self.store.set_password(id, &hash, must_change, self.clock.now()).await?;
        self.revocations.bump();
        if found { Ok(()) } else { Err(ServiceError::NotFound { what: "user" }) }
    }

    /// Puts a user into a group; `false` if the user is in it already.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`], [`ServiceError::Invalid`].
    pub async fn add_group(&self, id: &UserId, group: &str) -> Result<bool, ServiceError> {
        check_group(group)?;
        let user = self.store.find_user(id).await?.ok_or(ServiceError::NotFound { what: "user" })?;
        if user.groups.len() >= MOST_GROUPS && !user.groups.iter().any(|own| own == group) {
            return Err(ServiceError::invalid("groups", "more than 256"));
        }
        let changed = self.store.add_group(id, group).await?;
        self.revocations.bump();
        Ok(changed)
    }

    /// Takes a user out of a group; `false` if the user is not in it.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`].
    pub async fn remove_group(&self, id: &UserId, group: &str) -> Result<bool, ServiceError> {
        self.must_exist(id).await?;
        let changed = self.store.remove_group(id, group).await?;
        self.revocations.bump();
        Ok(changed)
    }

    async fn must_exist(&self, id: &UserId) -> Result<(), ServiceError> {
        self.store.find_user(id).await?.map(|_| ()).ok_or(ServiceError::NotFound { what: "user" })
    }
}

/// What a user's password must not be made of.
fn words_of(user: &User) -> Vec<&str> {
    [Some(user.username.as_str()), user.email.as_deref()].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::testing::PASSWORD;
    use crate::service::testing::World;
    use crate::service::testing::new_user;

    const CLIENT: &str = "192.0.2.1";
    const OTHER: &str = "a bee has five eyes";

    async fn change(world: &World, user: &User, current: &str, new: &str) -> Result<(), ServiceError> {
        let (current, new) = (Secret::new(current), Secret::new(new));
        world.accounts.change_password(&user.id, current, new, CLIENT.parse().unwrap()).await
    }

    #[tokio::test]
    async fn a_created_user_is_found_by_name_and_by_address() {
        let world = World::new().await;
        let new = NewUser {
            email: Some("Zelda@Example.org".into()),
            groups: vec!["b".into(), "a".into(), "b".into()],
            ..new_user("Zelda", Role::Viewer)
        };
        let user = world.accounts.create(new).await.unwrap();
        assert_eq!(user.groups, ["a", "b"]);
        for name in ["zelda", "ZELDA", "zelda@example.org"] {
            assert_eq!(world.accounts.find(name).await.unwrap(), Some(user.clone()), "{name}");
        }
        assert_eq!(world.accounts.find("zeld").await.unwrap(), None);
        assert_eq!(world.accounts.list().await.unwrap(), [user]);
    }

    #[tokio::test]
    async fn names_addresses_roles_and_groups_that_break_the_rules_are_refused() {
        let world = World::new().await;
        let good = new_user("zelda", Role::Viewer);
        let bad = [
            ("username", NewUser { username: "a b".into(), ..good.clone() }),
            ("e-mail", NewUser { email: Some("nowhere".into()), ..good.clone() }),
            ("display name", NewUser { display_name: Some("\u{1b}[2J".into()), ..good.clone() }),
            ("display name", NewUser { display_name: Some(" ".into()), ..good.clone() }),
            ("role", NewUser { role: Role::Agent, ..good.clone() }),
            ("group", NewUser { groups: vec!["a,b".into()], ..good.clone() }),
            ("groups", NewUser { groups: vec!["a".into(); 257], ..good.clone() }),
            ("password", NewUser { password: Some((Secret::new("short"), false)), ..good.clone() }),
            ("password", NewUser { password: Some((Secret::new("zeldazeldazelda"), false)), ..good.clone() }),
        ];
        for (wanted, new) in bad {
            match world.accounts.create(new).await {
                Err(ServiceError::Invalid { field, .. }) => assert_eq!(field, wanted),
                other => panic!("{wanted}: {other:?}"),
            }
        }
        assert_eq!(world.accounts.list().await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_name_that_is_anybodys_name_or_address_is_taken() {
        let world = World::new().await;
        world.user("zelda").await;
        for (what, username, email) in [
            ("username", "ZELDA", None),
            ("username", "zelda@example.org", None),
            ("e-mail", "other", Some("Zelda@example.org".to_owned())),
        ] {
            let new = NewUser { email, ..new_user(username, Role::Viewer) };
            let taken = world.accounts.create(new).await;
            assert!(
                matches!(taken, Err(ServiceError::Conflict { what: field }) if field == what),
                "{taken:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_shown_name_is_changed_cleared_and_checked() {
        let world = World::new().await;
        let user = world.user("zelda").await;
        let shown = async || world.accounts.find_by_id(&user.id).await.unwrap().unwrap().display_name;
        let epoch = world.revocations.epoch().current();
        world.accounts.set_display_name(&user.id, " Zelda Zett ").await.unwrap();
        assert_eq!(shown().await.as_deref(), Some("Zelda Zett"));
        assert!(world.revocations.epoch().current() > epoch);
        for bad in ["\u{1b}[2J", &"x".repeat(129)] {
            let refused = world.accounts.set_display_name(&user.id, bad).await;
            assert!(matches!(refused, Err(ServiceError::Invalid { .. })), "{refused:?}");
        }
        assert_eq!(shown().await.as_deref(), Some("Zelda Zett"));
        world.accounts.set_display_name(&user.id, "  ").await.unwrap();
        assert_eq!(shown().await, None);
        let nobody = world.accounts.set_display_name(&UserId("nobody".into()), "x").await;
        assert!(matches!(nobody, Err(ServiceError::NotFound { .. })));
    }

    #[tokio::test]
    async fn a_temporary_password_works_and_must_be_changed() {
        let world = World::new().await;
        let new = new_user("zelda", Role::Viewer);
        let (user, password) = world.accounts.create_with_temporary_password(new).await.unwrap();
        assert!(user.must_change_password);
        let signed_in = world.sign_in("zelda", password.expose(), CLIENT, None).await.unwrap();
        let digest = world.sessions.digest_of_cookie(signed_in.cookie.expose()).unwrap();
        assert!(world.sessions.resolve(digest).await.unwrap().unwrap().must_change_password);
        change(&world, &user, password.expose(), OTHER).await.unwrap();
        assert_eq!(world.sessions.resolve(digest).await.unwrap(), None, "all sessions have ended");
        let user = world.sign_in("zelda", OTHER, CLIENT, None).await.unwrap().user;
        assert!(!user.must_change_password);
        assert!(world.sign_in("zelda", password.expose(), CLIENT, None).await.is_err());
    }

    #[tokio::test]
    async fn a_reset_replaces_the_password_and_ends_sessions() {
        let world = World::new().await;
        let user = world.user_with_password("zelda").await;
        world.sign_in("zelda", PASSWORD, CLIENT, None).await.unwrap();
        let epoch = world.revocations.epoch().current();
        let temporary = world.accounts.reset_password(&user.id).await.unwrap();
        assert!(world.revocations.epoch().current() > epoch);
        assert_eq!(world.sessions.list(Some(&user.id)).await.unwrap(), []);
        assert!(world.sign_in("zelda", PASSWORD, CLIENT, None).await.is_err());
        assert!(world.sign_in("zelda", temporary.expose(), CLIENT, None).await.is_ok());
        let nobody = world.accounts.reset_password(&UserId("nobody".into())).await;
        assert!(matches!(nobody, Err(ServiceError::NotFound { .. })));
    }

    #[tokio::test]
    async fn a_change_needs_the_current_password_and_a_new_one() {
        let world = World::new().await;
        let user = world.user_with_password("zelda").await;
        assert!(matches!(change(&world, &user, "wrong", OTHER).await, Err(ServiceError::Refused)));
        for weak in [PASSWORD, "short", "zelda@example.org"] {
            let refused = change(&world, &user, PASSWORD, weak).await;
            assert!(matches!(refused, Err(ServiceError::Invalid { .. })), "{weak}: {refused:?}");
        }
        assert!(world.sign_in("zelda", PASSWORD, CLIENT, None).await.is_ok());
        change(&world, &user, PASSWORD, OTHER).await.unwrap();
        assert!(world.sign_in("zelda", OTHER, CLIENT, None).await.is_ok());
    }

    #[tokio::test]
    async fn guessing_at_the_change_form_is_slowed_down() {
        let world = World::new().await;
        let user = world.user_with_password("zelda").await;
        for _ in 0..6 {
            assert!(matches!(change(&world, &user, "wrong", OTHER).await, Err(ServiceError::Refused)));
        }
        let slowed = change(&world, &user, PASSWORD, OTHER).await;
        assert!(matches!(slowed, Err(ServiceError::Throttled { .. })), "{slowed:?}");
        let slowed = world.sign_in("zelda", PASSWORD, CLIENT, None).await;
        assert!(matches!(slowed, Err(ServiceError::Throttled { .. })), "{slowed:?}");
    }

    #[tokio::test]
    async fn taking_rights_away_ends_sessions_and_raises_the_epoch() {
        let world = World::new().await;
        let user = world.user_with_password("zelda").await;
        for step in 0..4 {
            world.sign_in("zelda", PASSWORD, CLIENT, None).await.unwrap();
            let epoch = world.revocations.epoch().current();
            match step {
                0 => world.accounts.set_role(&user.id, Role::Viewer).await.unwrap(),
                1 => {
                    world.accounts.disable(&user.id).await.unwrap();
                    assert!(world.sign_in("zelda", PASSWORD, CLIENT, None).await.is_err());
                    world.accounts.enable(&user.id).await.unwrap();
                }
                2 => {
                    assert!(world.accounts.add_group(&user.id, "ops").await.unwrap());
                    assert!(!world.accounts.add_group(&user.id, "ops").await.unwrap());
                    assert!(world.accounts.remove_group(&user.id, "ops").await.unwrap());
                    assert!(!world.accounts.remove_group(&user.id, "ops").await.unwrap());
                    world.sessions.end_all(&user.id).await.unwrap();
                }
                _ => world.accounts.delete(&user.id).await.unwrap(),
            }
            assert!(world.revocations.epoch().current() > epoch, "step {step}");
            assert_eq!(world.sessions.list(Some(&user.id)).await.unwrap(), [], "step {step}");
        }
        assert!(matches!(world.accounts.disable(&user.id).await, Err(ServiceError::NotFound { .. })));
        assert!(matches!(
            world.accounts.add_group(&user.id, "ops").await,
            Err(ServiceError::NotFound { .. })
        ));
    }

    #[tokio::test]
    async fn the_last_admin_stays() {
        let world = World::new().await;
        let admin = world.accounts.create(new_user("root", Role::Admin)).await.unwrap();
        for refused in [
            world.accounts.set_role(&admin.id, Role::Member).await,
            world.accounts.disable(&admin.id).await,
            world.accounts.delete(&admin.id).await,
        ] {
            assert!(matches!(refused, Err(ServiceError::LastAdmin)), "{refused:?}");
        }
        world.accounts.create(new_user("other", Role::Admin)).await.unwrap();
        world.accounts.set_role(&admin.id, Role::Member).await.unwrap();
    }
}
