//! A new user, and the limits on what may be entered about one.

use super::{Field, ServiceError};
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::model::user;
use crate::model::user::User;
use crate::model::user::UserId;
use crate::model::user::check_email;
use crate::model::user::check_username;
use crate::model::visible::is_unseen_in_prose;

/// Characters of a display name.
const LONGEST_DISPLAY_NAME: usize = 128;
/// Groups of one user: more make header lines that servers refuse.
pub(super) const MOST_GROUPS: usize = 256;

/// Someone to add.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Unique, also among addresses.
    pub username: String,
    /// Unique, also among usernames.
    pub email: Option<String>,
    /// What pages show.
    pub display_name: Option<String>,
    /// Any role of people, so not [`Role::Agent`].
    pub role: Role,
    /// In any order.
    pub groups: Vec<String>,
    /// The password, if there is one yet, and whether it must be changed first.
    pub password: Option<(Secret, bool)>,
}

impl NewUser {
    /// The user this makes, and the password, which is not checked yet.
    pub(super) fn checked(self, now: Timestamp) -> Result<(User, Option<Secret>), ServiceError> {
        check_username(&self.username)
            .map_err(|bad| ServiceError::invalid(Field::Username, bad.to_string()))?;
        if let Some(email) = &self.email {
            check_email(email).map_err(|bad| ServiceError::invalid(Field::Email, bad.to_string()))?;
        }
        check_display_name(self.display_name.as_deref())?;
        check_role(self.role)?;
        if self.groups.len() > MOST_GROUPS {
            return Err(ServiceError::invalid(Field::Groups, "more than 256"));
        }
        let mut groups = self.groups;
        for group in &groups {
            check_group(group)?;
        }
        groups.sort_unstable();
        groups.dedup();
        let (password, must_change_password) = self.password.unzip();
        let user = User {
            id: UserId::fresh(),
            username: self.username,
            email: self.email,
            display_name: self.display_name,
            role: self.role,
            groups,
            disabled: false,
            must_change_password: must_change_password.unwrap_or(false),
            has_password: password.is_some(),
            has_identity: false,
            created_at: now,
        };
        Ok((user, password))
    }
}

/// Refuses the role that is not for people.
pub(super) fn check_role(role: Role) -> Result<(), ServiceError> {
    match role {
        Role::Agent => Err(ServiceError::invalid(Field::Role, "agent is for system keys only")),
        Role::Admin | Role::Member | Role::Viewer => Ok(()),
    }
}

/// Refuses what cannot name a group.
pub(super) fn check_group(group: &str) -> Result<(), ServiceError> {
    user::check_group(group).map_err(|bad| ServiceError::invalid(Field::Group, bad.to_string()))
}

/// Refuses what cannot be shown as a name.
pub(super) fn check_display_name(name: Option<&str>) -> Result<(), ServiceError> {
    let fits = |name: &str| {
        !name.trim().is_empty()
            && name.chars().count() <= LONGEST_DISPLAY_NAME
            && !name.chars().any(is_unseen_in_prose)
    };
    if name.is_none_or(fits) {
        Ok(())
    } else {
        Err(ServiceError::invalid(
            Field::DisplayName,
            "has 1 to 128 characters, none of which is a control character or turns the direction of others",
        ))
    }
}
