//! Users, their groups and their password hashes.

use super::pool::{Change, Row};
use super::revision;
use super::{Store, StoreError};
use crate::model::audit::{Event, Note, Party, Reason};
use crate::model::role::Role;
use crate::model::time::Timestamp;
use crate::model::user::User;
use crate::model::user::UserId;
use crate::model::user::name_key;

/// What became of a change that an installation may not be able to afford.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is so now.
    Done,
    /// It was so before: nothing was written.
    Already,
    /// There is no such user.
    NotFound,
    /// Refused: no one would be left who can manage users.
    LastAdmin,
}

/// The columns that [`user_of`] reads, from a table or join with alias `u`.
///
/// The comma cannot occur in a group's name (the schema checks it). PostgreSQL would answer `EXISTS` for a page of users by
/// reading all identities.
macro_rules! user_columns {
    () => {
        "u.id AS u_id, u.username AS u_username, u.email AS u_email, u.display_name AS u_display_name,
         u.role AS u_role, u.disabled AS u_disabled, u.must_change_password AS u_must_change_password,
         u.password IS NOT NULL AS u_has_password, u.created_at AS u_created_at,
         (SELECT i.user_id FROM identities i WHERE i.user_id = u.id LIMIT 1) IS NOT NULL AS u_has_identity,
         (SELECT string_agg(g.name, ',') FROM user_groups g WHERE g.user_id = u.id) AS u_groups"
    };
}
pub(super) use user_columns;

/// The user in a row made of `user_columns!`.
pub(super) fn user_of(row: &Row) -> Result<User, StoreError> {
    let groups = row.optional_text("u_groups")?;
    let mut groups: Vec<String> = groups.iter().flat_map(|all| all.split(',')).map(str::to_owned).collect();
    groups.sort_unstable();
    Ok(User {
        id: UserId(row.text("u_id")?),
        username: row.text("u_username")?,
        email: row.optional_text("u_email")?,
        display_name: row.optional_text("u_display_name")?,
        role: role_of(&row.text("u_role")?)?,
        groups,
        disabled: row.flag("u_disabled")?,
        must_change_password: row.flag("u_must_change_password")?,
        has_password: row.flag("u_has_password")?,
        has_identity: row.flag("u_has_identity")?,
        created_at: row.time("u_created_at")?,
    })
}

fn role_of(text: &str) -> Result<Role, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt { table: "users" })
}

impl Store {
    /// Adds a user, with the hash of a password if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] with `username` or `e-mail` if that name is another user's username or
    /// address: either can be typed at sign-in, so they share one name space.
    pub async fn create_user(&self, user: &User, password: Option<&str>) -> Result<(), StoreError> {
        let mut change = self.pool.change_in_turn().await?;
        insert_user(&mut change, user, password).await?;
        self.note(&mut change, created(user)).await?;
        change.commit().await
    }

    /// Adds the first user; `false`, and nothing done, if there is one already.
    pub async fn create_first_user(&self, user: &User, password: &str) -> Result<bool, StoreError> {
        let mut change = self.pool.change_in_turn().await?;
        if any_user(&mut change).await? {
            return Ok(false);
        }
        insert_user(&mut change, user, Some(password)).await?;
        self.note(&mut change, created(user).with("cause", "first-start")).await?;
        change.commit().await?;
        Ok(true)
    }

    /// Whether there is a user, disabled ones included.
    pub async fn is_anybody(&self) -> Result<bool, StoreError> {
        Ok(self.pool.row("SELECT id FROM users LIMIT 1", &[]).await?.is_some())
    }

    /// The user with this id.
    pub async fn find_user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        const SQL: &str = concat!("SELECT ", user_columns!(), " FROM users u WHERE u.id = $1");
        self.pool.row(SQL, &[(&id.0).into()]).await?.as_ref().map(user_of).transpose()
    }

    /// The user with this username or e-mail address, and the password hash.
    pub async fn find_user_by_login(
        &self,
        name_or_email: &str,
    ) -> Result<Option<(User, Option<String>)>, StoreError> {
        match self.user_id_by_login(name_or_email).await? {
            Some(id) => self.find_user_with_hash(&id).await,
            None => Ok(None),
        }
    }

    /// Whose username or address this is. One row is read whether or not there is somebody.
    pub async fn user_id_by_login(&self, name_or_email: &str) -> Result<Option<UserId>, StoreError> {
        const SQL: &str = "SELECT (SELECT user_id FROM login_names WHERE name_key = $1) AS user_id";
        let key = name_key(name_or_email);
        // PostgreSQL refuses text with a zero character; no one can be called so.
        if key.contains('\0') {
            return Ok(None);
        }
        let row = self.pool.row(SQL, &[(&key).into()]).await?;
        Ok(row.map(|row| row.optional_text("user_id")).transpose()?.flatten().map(UserId))
    }

    /// A user and the password hash, if there is one.
    pub async fn find_user_with_hash(
        &self,
        id: &UserId,
    ) -> Result<Option<(User, Option<String>)>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", user_columns!(), ", u.password AS password FROM users u WHERE u.id = $1");
        let row = self.pool.row(SQL, &[(&id.0).into()]).await?;
        row.map(|row| Ok((user_of(&row)?, row.optional_text("password")?))).transpose()
    }

    /// The password hash of a user who has one.
    pub async fn password_of(&self, id: &UserId) -> Result<Option<String>, StoreError> {
        let row = self.pool.row("SELECT password FROM users WHERE id = $1", &[(&id.0).into()]).await?;
        row.map_or(Ok(None), |row| row.optional_text("password"))
    }

    /// The next users by username, after the one given; at most 1000, none is the end.
    pub async fn users_page(&self, after: Option<&User>) -> Result<Vec<User>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            user_columns!(),
            " FROM users u WHERE u.username_key > $1 ORDER BY u.username_key LIMIT 1000"
        );
        let after = after.map(|user| name_key(&user.username)).unwrap_or_default();
        self.pool.rows(SQL, &[(&after).into()]).await?.iter().map(user_of).collect()
    }

    /// Sets a password hash and ends all the user's sessions; `false` if there is no such user.
    pub async fn set_password(
        &self,
        id: &UserId,
        phc: &str,
        must_change: bool,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        const SQL: &str =
            "UPDATE users SET password = $2, must_change_password = $3, password_changed_at = $4
             WHERE id = $1";
        let mut change = self.pool.change_in_turn().await?;
        let values = [(&id.0).into(), phc.into(), must_change.into(), now.into()];
        if change.execute(SQL, &values).await? == 0 {
            return Ok(false);
        }
        let event = if self.is_own(id) { Event::PasswordChange } else { Event::PasswordReset };
        let Some(before) = user_state(&mut change, id).await? else { return Ok(false) };
        let note = Note::done(event).on(before.party).with("temporary", must_change);
        self.take_rights(change, id, note).await?;
        Ok(true)
    }

    /// Replaces a hash by another of the same password; `false` if it is no longer `old`.
    pub async fn replace_hash(&self, id: &UserId, old: &str, new: &str) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE users SET password = $3 WHERE id = $1 AND password = $2";
        let mut change = self.pool.change_in_turn().await?;
        let replaced = change.execute(SQL, &[(&id.0).into(), old.into(), new.into()]).await?;
        change.commit().await?;
        Ok(replaced > 0)
    }

    /// Gives a user another name to be shown, or none. No right is lost, so the revision stays; of several changes
    /// in a minute the trail has the first and how many they were.
    pub async fn set_display_name(&self, id: &UserId, name: Option<&str>) -> Result<Changed, StoreError> {
        const NOW: &str = "SELECT username, display_name FROM users WHERE id = $1";
        const SQL: &str =
            "UPDATE users SET display_name = $2 WHERE id = $1 AND display_name IS DISTINCT FROM $2";
        // Checked first: a change without effect is not queued.
        let Some(now) = self.pool.row(NOW, &[(&id.0).into()]).await? else { return Ok(Changed::NotFound) };
        if now.optional_text("display_name")?.as_deref() == name {
            return Ok(Changed::Already);
        }
        let mut change = self.pool.change_in_turn().await?;
        if change.execute(SQL, &[(&id.0).into(), name.into()]).await? == 0 {
            return Ok(Changed::Already);
        }
        let of = Party::user(id, &now.text("username")?);
        let note = Note::done(Event::UserProfile).on(of).with("display_name", name);
        self.commit_repeatable(change, note, &id.0).await?;
        Ok(Changed::Done)
    }

    /// Gives a user another role and ends the user's sessions; nothing happens if the role is the same.
    pub async fn set_role(&self, id: &UserId, role: Role) -> Result<Changed, StoreError> {
        const SQL: &str = "UPDATE users SET role = $2 WHERE id = $1";
        let mut change = self.pool.change_in_turn().await?;
        match user_state(&mut change, id).await? {
            None => Ok(Changed::NotFound),
            Some(before) if before.role == role => Ok(Changed::Already),
            Some(before) if before.is_last_admin() => self.refuse(change, Event::UserRole, before).await,
            Some(before) => {
                change.execute(SQL, &[(&id.0).into(), role.as_str().into()]).await?;
                let note = Note::done(Event::UserRole).on(before.party);
                let note = note.with("from", before.role.as_str()).with("to", role.as_str());
                self.take_rights(change, id, note).await
            }
        }
    }

    /// Disables or enables a user and ends the user's sessions; nothing happens if it is so already.
    pub async fn set_disabled(&self, id: &UserId, disabled: bool) -> Result<Changed, StoreError> {
        const SQL: &str = "UPDATE users SET disabled = $2 WHERE id = $1";
        let mut change = self.pool.change_in_turn().await?;
        match user_state(&mut change, id).await? {
            None => Ok(Changed::NotFound),
            Some(before) if before.disabled == disabled => Ok(Changed::Already),
            Some(before) if before.is_last_admin() => self.refuse(change, Event::UserDisable, before).await,
            Some(before) => {
                change.execute(SQL, &[(&id.0).into(), disabled.into()]).await?;
                let event = if disabled { Event::UserDisable } else { Event::UserEnable };
                self.take_rights(change, id, Note::done(event).on(before.party)).await
            }
        }
    }

    /// Deletes a user with all groups, sessions and own keys.
    pub async fn delete_user(&self, id: &UserId) -> Result<Changed, StoreError> {
        let mut change = self.pool.change_in_turn().await?;
        match user_state(&mut change, id).await? {
            None => Ok(Changed::NotFound),
            Some(before) if before.is_last_admin() => self.refuse(change, Event::UserDelete, before).await,
            Some(before) => {
                change.execute("DELETE FROM users WHERE id = $1", &[(&id.0).into()]).await?;
                let note = Note::done(Event::UserDelete).on(before.party).with("role", before.role.as_str());
                self.take_rights(change, id, note).await
            }
        }
    }

    /// Adds a user to a group; `false` if there is no such user or the user is in it already.
    pub async fn add_group(&self, id: &UserId, group: &str) -> Result<bool, StoreError> {
        const SQL: &str = "INSERT INTO user_groups (user_id, name) SELECT id, $2 FROM users WHERE id = $1
             ON CONFLICT DO NOTHING";
        self.change_group(SQL, id, ("added", group)).await
    }

    /// Takes a user out of a group; `false` if the user is not in it.
    pub async fn remove_group(&self, id: &UserId, group: &str) -> Result<bool, StoreError> {
        self.change_group("DELETE FROM user_groups WHERE user_id = $1 AND name = $2", id, ("removed", group))
            .await
    }

    async fn change_group(
        &self,
        sql: &'static str,
        id: &UserId,
        (did, group): (&str, &str),
    ) -> Result<bool, StoreError> {
        let mut change = self.pool.change_in_turn().await?;
        if change.execute(sql, &[(&id.0).into(), group.into()]).await? == 0 {
            return Ok(false);
        }
        revision::raise(&mut change, &id.0).await?;
        let Some(of) = user_state(&mut change, id).await? else { return Ok(false) };
        self.note(&mut change, Note::done(Event::UserGroup).on(of.party).with(did, group)).await?;
        change.commit().await?;
        Ok(true)
    }

    /// Ends the user's sessions, raises the revision, leaves a row and commits.
    async fn take_rights(&self, mut change: Change, id: &UserId, note: Note) -> Result<Changed, StoreError> {
        change.execute("DELETE FROM sessions WHERE user_id = $1", &[(&id.0).into()]).await?;
        revision::raise(&mut change, &id.0).await?;
        self.note(&mut change, note).await?;
        change.commit().await?;
        Ok(Changed::Done)
    }

    /// Leaves a row that tells why nothing was changed.
    async fn refuse(&self, mut change: Change, event: Event, of: UserState) -> Result<Changed, StoreError> {
        self.note(&mut change, Note::failed(event, Reason::LastAdmin).on(of.party)).await?;
        change.commit().await?;
        Ok(Changed::LastAdmin)
    }
}

/// A row that tells of a new user.
pub(super) fn created(user: &User) -> Note {
    Note::done(Event::UserCreate)
        .on(user.into())
        .with("role", user.role.as_str())
        .with("groups", user.groups.clone())
}

/// Whether there is a user at all, as `change` sees it.
pub(super) async fn any_user(change: &mut Change) -> Result<bool, StoreError> {
    Ok(change.row("SELECT id FROM users LIMIT 1", &[]).await?.is_some())
}

/// Adds a user as part of `change`, which the caller commits.
pub(super) async fn insert_user(
    change: &mut Change,
    user: &User,
    password: Option<&str>,
) -> Result<(), StoreError> {
    const USER: &str = "INSERT INTO users (id, username, username_key, email, display_name, role, disabled,
             password, must_change_password, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    const NAME: &str = "INSERT INTO login_names (name_key, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    const GROUP: &str = "INSERT INTO user_groups (user_id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    let id = &user.id.0;
    let username_key = name_key(&user.username);
    let values = [
        id.into(),
        (&user.username).into(),
        (&username_key).into(),
        user.email.as_deref().into(),
        user.display_name.as_deref().into(),
        user.role.as_str().into(),
        user.disabled.into(),
        password.into(),
        user.must_change_password.into(),
        user.created_at.into(),
    ];
    change.execute(USER, &values).await?;
    if change.execute(NAME, &[(&username_key).into(), id.into()]).await? == 0 {
        return Err(StoreError::Conflict("username"));
    }
    let email_key = user.email.as_deref().map(name_key).filter(|key| *key != username_key);
    if let Some(key) = email_key
        && change.execute(NAME, &[(&key).into(), id.into()]).await? == 0
    {
        return Err(StoreError::Conflict("e-mail"));
    }
    for group in &user.groups {
        change.execute(GROUP, &[id.into(), group.into()]).await?;
    }
    Ok(())
}

/// Who it is, and what decides whether a user may lose a right.
pub(super) struct UserState {
    pub(super) party: Party,
    role: Role,
    disabled: bool,
    /// By a password or an identity.
    can_sign_in: bool,
    /// Enabled ones, and those of them who can sign in.
    other_admins: (i64, i64),
}

impl UserState {
    pub(super) fn can_sign_in(&self) -> bool {
        self.can_sign_in
    }

    /// Whether this is the last admin. If this one can sign in, only others who can sign in count.
    pub(super) fn is_last_admin(&self) -> bool {
        let (enabled, able) = self.other_admins;
        let left = if self.can_sign_in { able } else { enabled };
        self.role == Role::Admin && !self.disabled && left == 0
    }
}

pub(super) async fn user_state(change: &mut Change, id: &UserId) -> Result<Option<UserState>, StoreError> {
    const SQL: &str = "SELECT username, role, disabled,
             password IS NOT NULL OR EXISTS (SELECT 1 FROM identities WHERE user_id = $1) AS can_sign_in,
             (SELECT COUNT(*) FROM users WHERE role = 'admin' AND NOT disabled AND id <> $1) AS others,
             (SELECT COUNT(*) FROM users o WHERE o.role = 'admin' AND NOT o.disabled AND o.id <> $1
                 AND (o.password IS NOT NULL OR EXISTS (SELECT 1 FROM identities WHERE user_id = o.id))) AS able_others
         FROM users WHERE id = $1";
    let row = change.row(SQL, &[(&id.0).into()]).await?;
    row.map(|row| {
        Ok(UserState {
            party: Party::user(id, &row.text("username")?),
            role: role_of(&row.text("role")?)?,
            disabled: row.flag("disabled")?,
            can_sign_in: row.flag("can_sign_in")?,
            other_admins: (row.number("others")?, row.number("able_others")?),
        })
    })
    .transpose()
}
