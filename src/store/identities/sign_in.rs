//! Signing in by an identity, in one transaction: account resolution, role, groups and e-mail address.

use super::super::pool::{Change, Row};
use super::super::revision;
use super::super::users::{created, insert_user, user_columns, user_of, user_state};
use super::super::{Store, StoreError};
use super::{CORRUPT, insert_identity, is_other_claim, with_identity};
use crate::model::audit::{Event, Note, Party, Reason};
use crate::model::identity::{IdentityRefusal, ProviderAssertion, RoleDecision};
use crate::model::role::Role;
use crate::model::time::Timestamp;
use crate::model::user::{User, UserId, is_same_mailbox, name_key};

/// The user whom an identity leads to, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityMatch {
    /// The identity belongs to this user.
    Owner(User),
    /// The identity is new. This user's e-mail address or username equals the address in the assertion, verified or not,
    /// or looks like it ([`name_key`]).
    SameEmail(User),
    /// The identity is new, and no user has the address.
    Unknown,
}

/// What a sign-in by an identity does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Sign in its owner.
    Enter(User),
    /// Link it to this user, and sign them in.
    Link(User),
    /// Create a user for it. The username is the first of `names` that is neither a name nor an address of another user.
    Create {
        /// The user, whose username does not matter.
        user: Box<User>,
        /// Usernames, best first.
        names: Vec<String>,
    },
}

/// What a sign-in did with the identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInOutcome {
    /// It belonged to the user before.
    Existing,
    /// It was linked to an invited user.
    Linked,
    /// A user was created for it.
    Created,
}

/// A value from the provider that was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unapplied {
    /// The role: the user is the last admin who can sign in.
    LastAdmin,
    /// The e-mail address: it belongs to another user.
    Email,
}

/// A user who signs in by an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySignIn {
    /// The user after the change.
    pub user: User,
    /// What was done with the identity.
    pub outcome: SignInOutcome,
    /// What was not applied.
    pub unapplied: Vec<Unapplied>,
    /// Whether role, groups or address of an existing user changed, so that cached copies must be looked up again.
    pub changed: bool,
}

/// What came of applying an assertion to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncOutcome {
    /// What was not applied.
    pub unapplied: Vec<Unapplied>,
    /// Whether role, groups or address changed, so that cached copies must be looked up again.
    pub changed: bool,
}

/// What was applied so far, and the audit rows still to write: the end of the trail is locked last.
#[derive(Default)]
pub(super) struct SyncChanges {
    notes: Vec<Note>,
    unapplied: Vec<Unapplied>,
    changed: bool,
}

impl Store {
    /// Signs in a user by an identity, in one transaction: finds whose it is, has `decide` choose what to do, and applies the
    /// role, groups and address of the assertion. Of several first sign-ins of one identity at once, one creates the user
    /// and the others find it.
    ///
    /// The groups in `assertion` must be sorted and distinct; they replace the user's. [`RoleDecision::Set`] replaces the
    /// role and ends the user's sessions, unless the user is the last admin. The e-mail address follows the provider's
    /// while it equals the one that the provider named before, unless the new one belongs to another user.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if all of the usernames are taken.
    pub async fn sign_in_identity(
        &self,
        assertion: &ProviderAssertion,
        now: Timestamp,
        decide: impl FnOnce(IdentityMatch) -> Result<Resolution, IdentityRefusal> + Send,
    ) -> Result<Result<IdentitySignIn, IdentityRefusal>, StoreError> {
        let mut change = self.pool.change_in_turn().await?;
        let (found, previous_email) = find(&mut change, assertion).await?;
        if !matches!(found, IdentityMatch::Owner(_)) && is_other_claim(&mut change, assertion).await? {
            return Ok(Err(IdentityRefusal::SubjectClaimChanged));
        }
        let resolution = match decide(found) {
            Ok(resolution) => resolution,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut done = SyncChanges::default();
        let (id, outcome) = match resolution {
            Resolution::Enter(user) => {
                apply(&mut change, &user, previous_email.as_deref(), assertion, &mut done).await?;
                note_use(&mut change, assertion, now).await?;
                (user.id, SignInOutcome::Existing)
            }
            Resolution::Link(user) => {
                insert_identity(&mut change, &user.id, assertion, now).await?;
                let note = with_identity(Note::done(Event::IdentityLink), assertion).with("cause", "invited");
                done.note(note, &user);
                sync(&mut change, &user, assertion, &mut done).await?;
                (user.id, SignInOutcome::Linked)
            }
            Resolution::Create { user, names } => {
                let username = free_name(&mut change, names).await?;
                let user = User { username, ..*user };
                insert_user(&mut change, &user, None).await?;
                insert_identity(&mut change, &user.id, assertion, now).await?;
                done.note(with_identity(created(&user), assertion).with("cause", "provider"), &user);
                (user.id, SignInOutcome::Created)
            }
        };
        let user = user_by_id(&mut change, &id).await?;
        let SyncOutcome { unapplied, changed } = self.finish(change, &id, done).await?;
        Ok(Ok(IdentitySignIn { user, outcome, unapplied, changed }))
    }

    /// Commits what was applied to a user, with its audit rows.
    pub(super) async fn finish(
        &self,
        mut change: Change,
        user: &UserId,
        done: SyncChanges,
    ) -> Result<SyncOutcome, StoreError> {
        if done.changed {
            revision::raise(&mut change, &user.0).await?;
        }
        for note in done.notes {
            self.note(&mut change, note).await?;
        }
        change.commit().await?;
        Ok(SyncOutcome { unapplied: done.unapplied, changed: done.changed })
    }
}

/// Applies role, groups and address to the owner of the identity, whose address the provider named `previous_email` before.
pub(super) async fn apply(
    change: &mut Change,
    owner: &User,
    previous_email: Option<&str>,
    assertion: &ProviderAssertion,
    done: &mut SyncChanges,
) -> Result<(), StoreError> {
    sync(change, owner, assertion, done).await?;
    let follows = match (previous_email, owner.email.as_deref()) {
        (Some(previous), Some(own)) => is_same_mailbox(previous, own),
        (previous, own) => previous == own,
    };
    if !follows || follow(change, owner, assertion, done).await? {
        note_email(change, assertion).await?;
    }
    Ok(())
}

impl SyncChanges {
    /// Leaves out the rows of what was not applied.
    pub(super) fn drop_failures(&mut self) {
        self.notes.retain(|note| note.failure.is_none());
    }

    /// Adds an audit row about the user, who is also its actor.
    fn note(&mut self, note: Note, user: &User) {
        let mut note = note.on(Party::from(user));
        note.actor = Some(Party::from(user));
        self.notes.push(note);
    }

    /// The same, with the provider as the cause.
    fn note_sync(&mut self, note: Note, user: &User, assertion: &ProviderAssertion) {
        let note = note.with("cause", "provider").with("provider", assertion.provider.as_str());
        self.note(note, user);
    }
}

/// Whose identity it is, and the verified address that the provider named before.
pub(super) async fn find(
    change: &mut Change,
    assertion: &ProviderAssertion,
) -> Result<(IdentityMatch, Option<String>), StoreError> {
    const OWNER: &str = concat!(
        "SELECT ",
        user_columns!(),
        ", o.email AS previous_email FROM identities o JOIN users u ON u.id = o.user_id
         WHERE o.issuer = $1 AND o.subject = $2"
    );
    const SAME_EMAIL: &str = concat!(
        "SELECT ",
        user_columns!(),
        " FROM login_names n JOIN users u ON u.id = n.user_id WHERE n.name_key = $1"
    );
    let key = &assertion.key;
    if let Some(row) = change.row(OWNER, &[key.issuer().into(), key.subject().into()]).await? {
        return Ok((IdentityMatch::Owner(user_of(&row)?), row.optional_text("previous_email")?));
    }
    let Some(email) = assertion.email.any().map(name_key) else { return Ok((IdentityMatch::Unknown, None)) };
    let user = change.row(SAME_EMAIL, &[(&email).into()]).await?;
    Ok((
        user.as_ref().map(user_of).transpose()?.map_or(IdentityMatch::Unknown, IdentityMatch::SameEmail),
        None,
    ))
}

async fn user_by_id(change: &mut Change, id: &UserId) -> Result<User, StoreError> {
    const SQL: &str = concat!("SELECT ", user_columns!(), " FROM users u WHERE u.id = $1");
    let row: Option<Row> = change.row(SQL, &[(&id.0).into()]).await?;
    user_of(&row.ok_or(CORRUPT)?)
}

/// Applies the role and the groups of the assertion.
async fn sync(
    change: &mut Change,
    user: &User,
    assertion: &ProviderAssertion,
    done: &mut SyncChanges,
) -> Result<(), StoreError> {
    if let RoleDecision::Set(role) = assertion.role
        && role != user.role
    {
        set_role(change, user, role, assertion, done).await?;
    }
    if let Some(groups) = &assertion.groups
        && *groups != user.groups
    {
        set_groups(change, user, groups, assertion, done).await?;
    }
    Ok(())
}

async fn set_role(
    change: &mut Change,
    user: &User,
    role: Role,
    assertion: &ProviderAssertion,
    done: &mut SyncChanges,
) -> Result<(), StoreError> {
    let id = &user.id.0;
    if user_state(change, &user.id).await?.ok_or(CORRUPT)?.is_last_admin() {
        let note = Note::failed(Event::UserRole, Reason::LastAdmin).with("to", role.as_str());
        done.note_sync(note, user, assertion);
        done.unapplied.push(Unapplied::LastAdmin);
        return Ok(());
    }
    change.execute("UPDATE users SET role = $2 WHERE id = $1", &[id.into(), role.as_str().into()]).await?;
    change.execute("DELETE FROM sessions WHERE user_id = $1", &[id.into()]).await?;
    let note = Note::done(Event::UserRole).with("from", user.role.as_str()).with("to", role.as_str());
    done.note_sync(note, user, assertion);
    done.changed = true;
    Ok(())
}

async fn set_groups(
    change: &mut Change,
    user: &User,
    groups: &[String],
    assertion: &ProviderAssertion,
    done: &mut SyncChanges,
) -> Result<(), StoreError> {
    const ADD: &str = "INSERT INTO user_groups (user_id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    const REMOVE: &str = "DELETE FROM user_groups WHERE user_id = $1 AND name = $2";
    let beyond = |some: &[String], others: &[String]| -> Vec<String> {
        some.iter().filter(|group| !others.contains(group)).cloned().collect()
    };
    let (added, removed) = (beyond(groups, &user.groups), beyond(&user.groups, groups));
    for (sql, names) in [(ADD, &added), (REMOVE, &removed)] {
        for group in names {
            change.execute(sql, &[(&user.id.0).into(), group.into()]).await?;
        }
    }
    let note = Note::done(Event::UserGroup).with("added", added).with("removed", removed);
    done.note_sync(note, user, assertion);
    done.changed = true;
    Ok(())
}

/// Applies the verified address of the assertion; `false` if it belongs to another user.
async fn follow(
    change: &mut Change,
    user: &User,
    assertion: &ProviderAssertion,
    done: &mut SyncChanges,
) -> Result<bool, StoreError> {
    const NAME: &str = "INSERT INTO login_names (name_key, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    const OWNER: &str = "SELECT user_id FROM login_names WHERE name_key = $1";
    const FORGET: &str = "DELETE FROM login_names WHERE name_key = $1 AND user_id = $2";
    const SET: &str = "UPDATE users SET email = $2 WHERE id = $1";
    let Some(email) = assertion.email.verified() else { return Ok(true) };
    if user.email.as_deref() == Some(email) {
        return Ok(true);
    }
    let (id, key) = (&user.id.0, name_key(email));
    change.execute(NAME, &[(&key).into(), id.into()]).await?;
    let owner = change.row(OWNER, &[(&key).into()]).await?.ok_or(CORRUPT)?;
    if owner.text("user_id")? != *id {
        done.note_sync(Note::failed(Event::UserEmail, Reason::EmailInUse), user, assertion);
        done.unapplied.push(Unapplied::Email);
        return Ok(false);
    }
    let old = user.email.as_deref().map(name_key);
    if let Some(old) = old.filter(|old| *old != key && *old != name_key(&user.username)) {
        change.execute(FORGET, &[(&old).into(), id.into()]).await?;
    }
    change.execute(SET, &[id.into(), email.into()]).await?;
    let note = Note::done(Event::UserEmail).with("from", user.email.as_deref()).with("to", email);
    done.note_sync(note, user, assertion);
    done.changed = true;
    Ok(true)
}

/// Stores the address with the identity. Not called for one that belongs to another user, so that the user still gets it
/// once it is free.
async fn note_email(change: &mut Change, assertion: &ProviderAssertion) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE identities SET email = $3 WHERE issuer = $1 AND subject = $2";
    let (key, Some(email)) = (&assertion.key, assertion.email.verified()) else { return Ok(()) };
    change.execute(SQL, &[key.issuer().into(), key.subject().into(), email.into()]).await?;
    Ok(())
}

async fn note_use(
    change: &mut Change,
    assertion: &ProviderAssertion,
    now: Timestamp,
) -> Result<(), StoreError> {
    const SQL: &str =
        "UPDATE identities SET provider = $3, last_login_at = $4 WHERE issuer = $1 AND subject = $2";
    let key = &assertion.key;
    let values = [key.issuer().into(), key.subject().into(), (&assertion.provider).into(), now.into()];
    change.execute(SQL, &values).await?;
    Ok(())
}

async fn free_name(change: &mut Change, names: Vec<String>) -> Result<String, StoreError> {
    const SQL: &str = "SELECT user_id FROM login_names WHERE name_key = $1";
    for name in names {
        if change.row(SQL, &[(&name_key(&name)).into()]).await?.is_none() {
            return Ok(name);
        }
    }
    Err(StoreError::Conflict("username"))
}
