//! Finds the principal for a name, as a credential of that user or key would give it.

use super::accounts::Accounts;
use super::admin::AdminProof;
use super::api_keys::ApiKeys;
use super::{Field, ServiceError};
use crate::model::principal::Principal;
use crate::model::principal::PrincipalKind;
use crate::model::user::UserId;

/// Looks people and keys up by name, to tell what they may do.
#[derive(Clone, Debug)]
pub struct Subjects {
    accounts: Accounts,
    api_keys: ApiKeys,
}

impl Subjects {
    /// Of these accounts and keys.
    pub(super) fn new(accounts: Accounts, api_keys: ApiKeys) -> Self {
        Self { accounts, api_keys }
    }

    /// Reads `nobody`, `role:ROLE`, `user:NAME` or `key:NAME`, and looks the last two up. `None` is anonymous.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Invalid`] for any other text; [`ServiceError::NotFound`]; [`ServiceError::Unavailable`].
    pub async fn caller(&self, by: &AdminProof, who: &str) -> Result<Option<Principal>, ServiceError> {
        match who.split_once(':') {
            Some(("user", name)) => self.user(by, name).await.map(Some),
            Some(("key", name)) => self.key(by, name).await.map(Some),
            _ => Self::unknown(who),
        }
    }

    /// Reads `nobody` or `role:ROLE`, which are not in the store.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Invalid`] for any other text.
    pub fn unknown(who: &str) -> Result<Option<Principal>, ServiceError> {
        match who.split_once(':') {
            None if who == "nobody" => Ok(None),
            Some(("role", role)) => {
                let role = role.parse().map_err(|_| ServiceError::invalid(Field::Role, "is not a role"))?;
                let kind = PrincipalKind::User(UserId(String::new()));
                Ok(Some(Principal::example(kind, "", role)))
            }
            _ => Err(ServiceError::invalid(
                Field::Caller,
                "is nobody, role:ROLE, user:NAME, key:NAME or client-certificate:NAME",
            )),
        }
    }

    /// A user by username or e-mail address, as signed in now.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`] if there is none who could sign in; [`ServiceError::Unavailable`].
    pub async fn user(&self, by: &AdminProof, name_or_email: &str) -> Result<Principal, ServiceError> {
        let user = self.accounts.find(by, name_or_email).await?.filter(|user| !user.disabled);
        let user = user.ok_or(ServiceError::NotFound { what: "user" })?;
        let kind = PrincipalKind::User(user.id);
        Ok(Principal {
            email: user.email,
            display_name: user.display_name,
            groups: user.groups,
            must_change_password: user.must_change_password,
            ..Principal::example(kind, &user.username, user.role)
        })
    }

    /// A live key by id or name.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotFound`] if there is none that counts; [`ServiceError::Unavailable`].
    pub async fn key(&self, by: &AdminProof, name_or_id: &str) -> Result<Principal, ServiceError> {
        self.api_keys.named(by, name_or_id).await?.ok_or(ServiceError::NotFound { what: "key" })
    }
}
