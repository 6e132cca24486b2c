//! Identities of users at identity providers, and the sessions that were opened by them.

mod provider_sessions;
mod sign_in;

use super::pool::{Change, Row};
use super::revision;
use super::users::{Changed, UserState, user_columns, user_of, user_state};
use super::{Store, StoreError};
use crate::model::audit::{Event, Note, Party, Reason};
use crate::model::identity::{IdentityKey, IdentityRefusal, LinkedIdentity, ProviderAssertion};
use crate::model::time::Timestamp;
use crate::model::user::{User, UserId};

pub use self::provider_sessions::{EndedSessions, FailedRefresh, RefreshOutcome};
pub use self::sign_in::{IdentityMatch, IdentitySignIn, Resolution, SignInOutcome, SyncOutcome, Unapplied};

/// What has to be left to a user who loses an identity.
#[derive(Clone, Copy, Debug)]
pub enum MustLeave<'a> {
    /// Nothing: who is left without a way in counts as invited.
    Nothing,
    /// A way in: an identity at one of these providers, or a password where passwords are taken.
    WayIn {
        /// The names of the providers in the settings.
        providers: &'a [String],
        /// Whether passwords are taken.
        password: bool,
    },
}

/// What became of removing an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlinked {
    /// It is removed.
    Done,
    /// The user has no such identity.
    NotFound,
    /// Refused: the last admin could not sign in any more.
    LastAdmin,
    /// Refused: the user could not sign in any more.
    LastWayIn,
}

const CORRUPT: StoreError = StoreError::Corrupt { table: "identities" };

/// Users whose sessions are ended in one transaction.
const BATCH: usize = 100;

/// The identity in a row.
pub(super) fn key_of(issuer: &str, subject: &str) -> Result<IdentityKey, StoreError> {
    IdentityKey::new(issuer, subject).map_err(|_| CORRUPT)
}

fn identity_of(row: &Row) -> Result<LinkedIdentity, StoreError> {
    Ok(LinkedIdentity {
        key: key_of(&row.text("issuer")?, &row.text("subject")?)?,
        provider: row.text("provider")?,
        email: row.optional_text("email")?,
        created_at: row.time("created_at")?,
        last_login_at: row.time("last_login_at")?,
    })
}

impl Store {
    /// The identities of a user, oldest first; [`Store::link_identity`] bounds their number.
    pub async fn identities_of(&self, user: &UserId) -> Result<Vec<LinkedIdentity>, StoreError> {
        const SQL: &str = "SELECT issuer, subject, provider, email, created_at, last_login_at FROM identities
             WHERE user_id = $1 ORDER BY created_at, issuer, subject LIMIT 1000";
        self.pool.rows(SQL, &[(&user.0).into()]).await?.iter().map(identity_of).collect()
    }

    /// The user to whom an identity belongs.
    pub async fn owner_of_identity(&self, key: &IdentityKey) -> Result<Option<User>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            user_columns!(),
            " FROM identities o JOIN users u ON u.id = o.user_id WHERE o.issuer = $1 AND o.subject = $2"
        );
        let row = self.pool.row(SQL, &[key.issuer().into(), key.subject().into()]).await?;
        row.as_ref().map(user_of).transpose()
    }

    /// Links a new identity to a user who holds this session, by its id. `cap` is the number of identities that a user may
    /// have. [`Changed::Already`] if it is linked to the user already; [`Changed::NotFound`], and nothing done, if the
    /// session has ended or the user is disabled.
    ///
    /// Role, groups and address do not change before the next sign-in by the identity.
    pub async fn link_identity(
        &self,
        session: &str,
        user: &UserId,
        assertion: &ProviderAssertion,
        cap: usize,
        now: Timestamp,
    ) -> Result<Result<Changed, IdentityRefusal>, StoreError> {
        const OWN: &str = "SELECT u.username AS username,
                 (SELECT COUNT(*) FROM identities WHERE user_id = u.id) AS identities
             FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1 AND u.id = $2 AND NOT u.disabled";
        const OWNER: &str = "SELECT user_id FROM identities WHERE issuer = $1 AND subject = $2";
        let key = &assertion.key;
        let mut change = self.pool.change_in_turn().await?;
        let own = change.row(OWN, &[session.into(), (&user.0).into()]).await?;
        let Some(own) = own else { return Ok(Ok(Changed::NotFound)) };
        if let Some(row) = change.row(OWNER, &[key.issuer().into(), key.subject().into()]).await? {
            let is_own = row.text("user_id")? == user.0;
            return Ok(if is_own { Ok(Changed::Already) } else { Err(IdentityRefusal::IdentityInUse) });
        }
        if is_other_claim(&mut change, assertion).await? {
            return Ok(Err(IdentityRefusal::SubjectClaimChanged));
        }
        if usize::try_from(own.number("identities")?).is_ok_and(|have| have >= cap) {
            return Ok(Err(IdentityRefusal::TooManyIdentities));
        }
        insert_identity(&mut change, user, assertion, now).await?;
        let note = with_identity(Note::done(Event::IdentityLink), assertion).with("cause", "asked");
        self.note(&mut change, note.on(Party::user(user, &own.text("username")?))).await?;
        change.commit().await?;
        Ok(Ok(Changed::Done))
    }

    /// Removes an identity from a user and ends the sessions that were opened by it, unless that takes what must be left.
    pub async fn unlink_identity(
        &self,
        user: &UserId,
        key: &IdentityKey,
        must_leave: MustLeave<'_>,
    ) -> Result<Unlinked, StoreError> {
        const DELETE: &str = "DELETE FROM identities WHERE issuer = $1 AND subject = $2 AND user_id = $3";
        // Children go first: what a cascade takes is not counted by both databases.
        const CHILDREN: &str = "DELETE FROM sessions WHERE parent_id IN
             (SELECT session_id FROM provider_sessions WHERE issuer = $1 AND subject = $2)";
        const SESSIONS: &str = "DELETE FROM sessions WHERE id IN
             (SELECT session_id FROM provider_sessions WHERE issuer = $1 AND subject = $2)";
        let of = [key.issuer().into(), key.subject().into()];
        let mut change = self.pool.change_in_turn().await?;
        let Some(before) = user_state(&mut change, user).await? else { return Ok(Unlinked::NotFound) };
        let values = [of[0], of[1], (&user.0).into()];
        if change.execute(DELETE, &values).await? == 0 {
            return Ok(Unlinked::NotFound);
        }
        let after = user_state(&mut change, user).await?.ok_or(CORRUPT)?;
        if before.is_last_admin() && !after.can_sign_in() {
            drop(change);
            return self.refuse_unlinking(before).await;
        }
        if !is_left(&mut change, user, must_leave).await? {
            return Ok(Unlinked::LastWayIn);
        }
        let mut ended = 0;
        for sql in [CHILDREN, SESSIONS] {
            ended += change.execute(sql, &of).await?;
        }
        revision::raise(&mut change, &user.0).await?;
        let note = Note::done(Event::IdentityUnlink).on(before.party).with("issuer", key.issuer());
        let note = note.with("subject", key.subject()).with("sessions", ended);
        self.note(&mut change, note).await?;
        change.commit().await?;
        Ok(Unlinked::Done)
    }

    async fn refuse_unlinking(&self, of: UserState) -> Result<Unlinked, StoreError> {
        self.record(Note::failed(Event::IdentityUnlink, Reason::LastAdmin).on(of.party)).await?;
        Ok(Unlinked::LastAdmin)
    }

    /// The next provider after `after`, in the order of names, by which a session was opened.
    pub async fn next_provider_of_sessions(&self, after: &str) -> Result<Option<String>, StoreError> {
        const SQL: &str =
            "SELECT provider FROM provider_sessions WHERE provider > $1 ORDER BY provider LIMIT 1";
        self.pool.row(SQL, &[after.into()]).await?.map(|row| row.text("provider")).transpose()
    }

    /// Ends sessions that were opened by a provider which was removed from the settings: those of up to 100 users. Returns
    /// the users; an empty list means that no session is left.
    pub async fn end_sessions_of_provider(&self, provider: &str) -> Result<Vec<UserId>, StoreError> {
        const NEXT: &str = "SELECT u.id AS id, u.username AS username FROM sessions s JOIN users u ON u.id = s.user_id
             WHERE s.id = (SELECT session_id FROM provider_sessions WHERE provider = $1 ORDER BY session_id LIMIT 1)";
        const CHILDREN: &str = "DELETE FROM sessions WHERE user_id = $1 AND parent_id IN
             (SELECT p.session_id FROM sessions s JOIN provider_sessions p ON p.session_id = s.id
              WHERE s.user_id = $1 AND p.provider = $2)";
        const SESSIONS: &str = "DELETE FROM sessions WHERE user_id = $1 AND id IN
             (SELECT p.session_id FROM sessions s JOIN provider_sessions p ON p.session_id = s.id
              WHERE s.user_id = $1 AND p.provider = $2)";
        let mut change = self.pool.change_in_turn().await?;
        let (mut users, mut notes) = (Vec::new(), Vec::new());
        while users.len() < BATCH
            && let Some(row) = change.row(NEXT, &[provider.into()]).await?
        {
            let user = UserId(row.text("id")?);
            let mut ended = 0;
            for sql in [CHILDREN, SESSIONS] {
                ended += change.execute(sql, &[(&user.0).into(), provider.into()]).await?;
            }
            revision::raise(&mut change, &user.0).await?;
            let note = Note::done(Event::SessionRevoke).on(Party::user(&user, &row.text("username")?));
            let note = note.with("cause", "provider-removed").with("provider", provider);
            notes.push(note.with("sessions", ended));
            users.push(user);
        }
        for note in notes {
            self.note(&mut change, note).await?;
        }
        change.commit().await?;
        Ok(users)
    }
}

/// Whether a user has what must be left.
async fn is_left(change: &mut Change, user: &UserId, must_leave: MustLeave<'_>) -> Result<bool, StoreError> {
    const PASSWORD: &str = "SELECT password IS NOT NULL AS has_password FROM users WHERE id = $1";
    const NEXT: &str =
        "SELECT provider FROM identities WHERE user_id = $1 AND provider > $2 ORDER BY provider LIMIT 1";
    let MustLeave::WayIn { providers, password } = must_leave else { return Ok(true) };
    let row = change.row(PASSWORD, &[(&user.0).into()]).await?.ok_or(CORRUPT)?;
    if password && row.flag("has_password")? {
        return Ok(true);
    }
    let mut last = String::new();
    while let Some(row) = change.row(NEXT, &[(&user.0).into(), (&last).into()]).await? {
        last = row.text("provider")?;
        if providers.contains(&last) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether identities of this issuer were made of another claim. The claim is fixed from the first sign-in on: with another
/// one, every user would look like a new one.
async fn is_other_claim(change: &mut Change, assertion: &ProviderAssertion) -> Result<bool, StoreError> {
    const BELOW: &str = "SELECT subject FROM identities WHERE issuer = $1 AND subject_claim < $2
         ORDER BY subject_claim LIMIT 1";
    const ABOVE: &str = "SELECT subject FROM identities WHERE issuer = $1 AND subject_claim > $2
         ORDER BY subject_claim LIMIT 1";
    let values = [assertion.key.issuer().into(), (&assertion.subject_claim).into()];
    for sql in [BELOW, ABOVE] {
        if change.row(sql, &values).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn insert_identity(
    change: &mut Change,
    user: &UserId,
    assertion: &ProviderAssertion,
    now: Timestamp,
) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO identities
             (issuer, subject, subject_claim, user_id, provider, email, created_at, last_login_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7)";
    let values = [
        assertion.key.issuer().into(),
        assertion.key.subject().into(),
        (&assertion.subject_claim).into(),
        (&user.0).into(),
        (&assertion.provider).into(),
        assertion.email.verified().into(),
        now.into(),
    ];
    change.execute(SQL, &values).await?;
    Ok(())
}

/// The note with provider, issuer and subject.
fn with_identity(note: Note, assertion: &ProviderAssertion) -> Note {
    note.with("provider", assertion.provider.as_str())
        .with("issuer", assertion.key.issuer())
        .with("subject", assertion.key.subject())
}
