//! User accounts: adding them, changing rights and passwords.

use std::sync::Arc;

use super::admin::AdminProof;
use super::attempts::Attempts;
use super::done;
use super::login::Reauthentication;
use super::login::check_password;
use super::new_user::MOST_GROUPS;
pub use super::new_user::NewUser;
use super::new_user::check_display_name;
use super::new_user::check_group;
use super::new_user::check_role;
use super::password::Passwords;
use super::password::check_foreign_hash;
use super::password::unified;
use super::password_rules::check_new_password;
use super::revocation::Revocations;
use super::{Field, ServiceError};
use crate::config::BreachList;
use crate::model::audit::Actor;
use crate::model::audit::Event;
use crate::model::identity::{IdentityKey, LinkedIdentity};
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::model::time::Clock;
use crate::model::token::random_password;
use crate::model::user::User;
use crate::model::user::UserId;
use crate::store::Store;
use crate::store::{Changed, MustLeave, Unlinked};

/// Manages people.
#[derive(Clone, Debug)]
pub struct Accounts {
    pub(super) store: Store,
    pub(super) passwords: Passwords,
    pub(super) clock: Arc<dyn Clock>,
    attempts: Attempts,
    revocations: Revocations,
    breach_list: Option<BreachList>,
}

impl Accounts {
    /// `passwords` should be the one that sign-in uses, so that both share its bound.
    pub(super) fn new(
        store: Store,
        passwords: Passwords,
        revocations: Revocations,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let attempts = Attempts::new(store.clone(), passwords.clone(), clock.clone());
        Self { store, passwords, clock, attempts, revocations, breach_list: None }
    }

    /// The same, with new passwords that stand in no such list.
    #[must_use]
    pub(super) fn refusing(&self, leaked: Option<&BreachList>) -> Self {
        Self { breach_list: leaked.cloned(), ..self.clone() }
    }

    /// Adds someone.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Invalid`] or [`ServiceError::Conflict`], with the field.
    pub async fn create(&self, by: &AdminProof, new: NewUser) -> Result<User, ServiceError> {
        self.add(by.actor(), new).await
    }

    /// The same, without an admin proof.
    pub(super) async fn add(&self, by: &Actor, new: NewUser) -> Result<User, ServiceError> {
        let (user, hash) = self.prepare(new).await?;
        self.store.by(by).create_user(&user, hash.as_deref()).await?;
        Ok(user)
    }

    /// Adds someone with a password to hand over, which must be changed at the first sign-in.
    ///
    /// # Errors
    ///
    /// As [`Accounts::create`].
    pub async fn create_with_temporary_password(
        &self,
        by: &AdminProof,
        new: NewUser,
    ) -> Result<(User, Secret), ServiceError> {
        let password = random_password();
        let user = self.create(by, NewUser { password: Some((password.clone(), true)), ..new }).await?;
        Ok((user, password))
    }

    /// Adds someone with the hash that another system has made of the password.
    ///
    /// # Errors
    ///
    /// As [`Accounts::create`]; [`ServiceError::Invalid`] about a hash that could not be verified here.
    pub async fn create_with_hash(
        &self,
        by: &AdminProof,
        new: NewUser,
        hash: &Secret,
        must_change: bool,
    ) -> Result<User, ServiceError> {
        check_foreign_hash(hash)?;
        let (user, _) = NewUser { password: None, ..new }.checked(self.clock.now())?;
        let user = User { has_password: true, must_change_password: must_change, ..user };
        self.store.by(by.actor()).create_user(&user, Some(hash.expose())).await?;
        Ok(user)
    }

    /// Checks everything and hashes the password, but stores nothing.
    pub(super) async fn prepare(&self, new: NewUser) -> Result<(User, Option<String>), ServiceError> {
        let (user, password) = new.checked(self.clock.now())?;
        let hash = match password {
            Some(password) => Some(self.hash_for(&user, password).await?),
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
    pub async fn find(&self, _by: &AdminProof, name_or_email: &str) -> Result<Option<User>, ServiceError> {
        self.named(name_or_email).await
    }

    /// The same, without an admin proof.
    pub(super) async fn named(&self, name_or_email: &str) -> Result<Option<User>, ServiceError> {
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

    /// Users by username.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn list(&self, _by: &AdminProof) -> Result<Vec<User>, ServiceError> {
        let mut users: Vec<User> = Vec::new();
        loop {
            let page = self.store.users_page(users.last()).await?;
            if page.is_empty() {
                return Ok(users);
            }
            users.extend(page);
        }
    }

    /// Changes the display name of a user; an empty one removes it.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`], [`ServiceError::Invalid`].
    pub async fn set_display_name(&self, by: &Actor, id: &UserId, name: &str) -> Result<(), ServiceError> {
        let name = Some(name.trim()).filter(|name| !name.is_empty());
        check_display_name(name)?;
        let changed = self.store.by(by).set_display_name(id, name).await?;
        self.changed(id, changed)
    }

    /// Gives a user another role and, if it is another, ends the user's sessions.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`], [`ServiceError::LastAdmin`], [`ServiceError::Invalid`] for a machine's role.
    pub async fn set_role(&self, by: &AdminProof, id: &UserId, role: Role) -> Result<(), ServiceError> {
        check_role(role)?;
        let changed = self.store.by(by.actor()).set_role(id, role).await?;
        self.changed(id, changed)
    }

    /// Stops a user, with all sessions and keys, until enabled again.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`], [`ServiceError::LastAdmin`].
    pub async fn disable(&self, by: &AdminProof, id: &UserId) -> Result<(), ServiceError> {
        let changed = self.store.by(by.actor()).set_disabled(id, true).await?;
        self.changed(id, changed)
    }

    /// Lets a disabled user in again; sessions do not come back, keys do.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`].
    pub async fn enable(&self, by: &AdminProof, id: &UserId) -> Result<(), ServiceError> {
        let changed = self.store.by(by.actor()).set_disabled(id, false).await?;
        self.changed(id, changed)
    }

    /// Deletes a user with all sessions and keys.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`], [`ServiceError::LastAdmin`].
    pub async fn delete(&self, by: &AdminProof, id: &UserId) -> Result<(), ServiceError> {
        let changed = self.store.by(by.actor()).delete_user(id).await?;
        self.changed(id, changed)
    }

    /// Sets a temporary password, which must be changed first, and ends the user's sessions.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`].
    pub async fn reset_password(&self, by: &AdminProof, id: &UserId) -> Result<Secret, ServiceError> {
        let password = random_password();
        self.set_password(by.actor(), id, password.clone(), true).await?;
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
        by: &Actor,
        asked: Reauthentication<'_>,
        current: Secret,
        new: Secret,
    ) -> Result<(), ServiceError> {
        let id = asked.user;
        let user = self.store.find_user(id).await?.ok_or(ServiceError::Refused)?;
        self.check_password_for(&user, &new).await?;
        let same = unified(&current).expose() == unified(&new).expose();
        let attempt = Event::PasswordChange;
        check_password(by, &self.store, &self.attempts, asked, current, attempt).await?;
        if same {
            return Err(ServiceError::invalid(Field::Password, "is the one you have"));
        }
        self.set_password(by, id, new, false).await
    }

    /// The hash of a password that this user may choose.
    pub(super) async fn hash_for(&self, user: &User, password: Secret) -> Result<String, ServiceError> {
        self.check_password_for(user, &password).await?;
        self.passwords.hash(password).await
    }

    async fn check_password_for(&self, user: &User, password: &Secret) -> Result<(), ServiceError> {
        check_new_password(password, &words_of(user))?;
        match &self.breach_list {
            Some(list) => self.passwords.check_unleaked(password, list).await,
            None => Ok(()),
        }
    }

    async fn set_password(
        &self,
        by: &Actor,
        id: &UserId,
        new: Secret,
        must_change: bool,
    ) -> Result<(), ServiceError> {
        let hash = self.passwords.hash(new).await?;
        let found = self.store.by(by).set_password(id, &hash, must_change, self.clock.now()).await?;
        if found {
            self.revocations.look_again_at(&id.0);
        }
        if found { Ok(()) } else { Err(ServiceError::NotFound { what: "user" }) }
    }

    /// Puts a user into a group; `false` if the user is in it already.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`], [`ServiceError::Invalid`].
    pub async fn add_group(&self, by: &AdminProof, id: &UserId, group: &str) -> Result<bool, ServiceError> {
        check_group(group)?;
        let user = self.store.find_user(id).await?.ok_or(ServiceError::NotFound { what: "user" })?;
        if user.groups.len() >= MOST_GROUPS && !user.groups.iter().any(|own| own == group) {
            return Err(ServiceError::invalid(Field::Groups, "more than 256"));
        }
        let changed = self.store.by(by.actor()).add_group(id, group).await?;
        if changed {
            self.revocations.look_again_at(&id.0);
        }
        Ok(changed)
    }

    /// Takes a user out of a group; `false` if the user is not in it.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`].
    pub async fn remove_group(
        &self,
        by: &AdminProof,
        id: &UserId,
        group: &str,
    ) -> Result<bool, ServiceError> {
        self.must_exist(id).await?;
        let changed = self.store.by(by.actor()).remove_group(id, group).await?;
        if changed {
            self.revocations.look_again_at(&id.0);
        }
        Ok(changed)
    }

    /// The identities of a user at identity providers, oldest first.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn identities(
        &self,
        _by: &AdminProof,
        id: &UserId,
    ) -> Result<Vec<LinkedIdentity>, ServiceError> {
        Ok(self.store.identities_of(id).await?)
    }

    /// Removes an identity from a user and ends the sessions that were opened by it. A user who then has neither an identity
    /// nor a password counts as invited.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`] if the user has no such identity, [`ServiceError::LastAdmin`].
    pub async fn unlink(&self, by: &AdminProof, id: &UserId, key: &IdentityKey) -> Result<(), ServiceError> {
        match self.store.by(by.actor()).unlink_identity(id, key, MustLeave::Nothing).await? {
            Unlinked::NotFound => Err(ServiceError::NotFound { what: "identity" }),
            Unlinked::LastAdmin | Unlinked::LastWayIn => Err(ServiceError::LastAdmin),
            Unlinked::Done => self.changed(id, Changed::Done),
        }
    }

    /// Applications are told from the cache, so a changed user is looked up again; an unchanged one is not.
    fn changed(&self, id: &UserId, changed: Changed) -> Result<(), ServiceError> {
        if changed == Changed::Done {
            self.revocations.look_again_at(&id.0);
        }
        done(changed)
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
mod tests;
