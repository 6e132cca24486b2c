//! Sessions that a provider opened, while they go on: what a refresh changes, and how they end.

use super::super::pool::{Change, ChangeQueue, Value};
use super::super::provider_tokens::{SealedTokens, fail, is_claimed, replace};
use super::super::{Store, StoreError, revision};
use super::CORRUPT;
use super::sign_in::{IdentityMatch, SyncChanges, SyncOutcome, apply, find};
use crate::model::audit::{Event, Note, Party};
use crate::model::identity::{IdentityKey, ProviderAssertion};
use crate::model::session::{LogoutNames, ProviderSessionEnd};
use crate::model::time::Timestamp;
use crate::model::token::TokenDigest;
use crate::model::user::UserId;

/// Logout tokens that are kept at a time; each is for some minutes.
const MOST_LOGOUT_TOKENS: i64 = 100_000;
const EXPIRED: &str = "DELETE FROM used_logout_tokens WHERE digest IN (SELECT digest FROM used_logout_tokens
     WHERE expires_at <= $1 ORDER BY expires_at LIMIT 100)";

/// What came of new tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// They are kept, and what the provider says was applied to this user.
    Done(UserId, SyncOutcome),
    /// They are kept, and it said nothing.
    Kept,
    /// The session has ended, or somebody else has claimed it meanwhile: nothing was done.
    Superseded,
}

/// What came of a refresh that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailedRefresh {
    /// The session goes on.
    Retry,
    /// It failed for too long: the session has ended.
    Ended(EndedSessions),
    /// The session has ended, or somebody else has claimed it meanwhile: nothing was done.
    Superseded,
}

/// Sessions that were ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndedSessions {
    /// Whose.
    pub users: Vec<UserId>,
    /// How many, with those that were handed over from them.
    pub sessions: u64,
}

/// Which sessions of a provider, with the statement that finds the next of them.
struct Selection<'v> {
    next: &'static str,
    values: Vec<Value<'v>>,
}

/// What [`Ending::all`] reads. What follows says of which session.
macro_rules! next_session {
    () => {
        "p.session_id AS session_id, u.id AS user_id, u.username AS username
         FROM provider_sessions p JOIN sessions s ON s.id = p.session_id JOIN users u ON u.id = s.user_id"
    };
}

const ONE: &str = concat!("SELECT ", next_session!(), " WHERE p.session_id = $1");

impl Store {
    /// Keeps new tokens for a claimed session, whose next refresh is at `due_at`, and applies role, groups and address of the
    /// assertion as a sign-in does, all in one transaction. The groups in `assertion` must be sorted and distinct.
    pub async fn complete_refresh(
        &self,
        session: &str,
        claim: &str,
        tokens: &SealedTokens,
        due_at: Timestamp,
        assertion: Option<&ProviderAssertion>,
    ) -> Result<RefreshOutcome, StoreError> {
        let mut change = self.pool.change_in_turn().await?;
        if !replace(&mut change, session, claim, tokens, due_at).await? {
            return Ok(RefreshOutcome::Superseded);
        }
        let Some(assertion) = assertion else {
            change.commit().await?;
            return Ok(RefreshOutcome::Kept);
        };
        // An identity that was removed took its sessions along.
        let (IdentityMatch::Owner(owner), previous_email) = find(&mut change, assertion).await? else {
            return Err(CORRUPT);
        };
        let mut done = SyncChanges::default();
        apply(&mut change, &owner, previous_email.as_deref(), assertion, &mut done).await?;
        // What cannot be applied was told at sign-in, and would be told again with each refresh.
        done.drop_failures();
        let outcome = self.finish(change, &owner.id, done).await?;
        Ok(RefreshOutcome::Done(owner.id, outcome))
    }

    /// Notes that the refresh of a claimed session failed, and keeps `new` where there are new tokens all the same. It is
    /// tried again at `retry_at`, unless it has failed since `give_up` or longer: then the session ends.
    pub async fn fail_refresh(
        &self,
        provider: &str,
        (session, claim): (&str, &str),
        new: Option<&SealedTokens>,
        (now, retry_at, give_up): (Timestamp, Timestamp, Timestamp),
    ) -> Result<FailedRefresh, StoreError> {
        let mut change = self.pool.change_in_turn().await?;
        let Some(since) = fail(&mut change, (session, claim), new, (now, retry_at)).await? else {
            return Ok(FailedRefresh::Superseded);
        };
        if since > give_up {
            change.commit().await?;
            return Ok(FailedRefresh::Retry);
        }
        let which = Selection { next: ONE, values: vec![session.into()] };
        self.end(change, provider, which, ProviderSessionEnd::Unavailable).await.map(FailedRefresh::Ended)
    }

    /// Ends one session that a provider opened, which is claimed, and what was handed over from it; nothing if the claim does
    /// not hold any more.
    pub async fn end_claimed_session(
        &self,
        provider: &str,
        session: &str,
        claim: &str,
        cause: ProviderSessionEnd,
    ) -> Result<EndedSessions, StoreError> {
        let mut change = self.pool.change_in_turn().await?;
        if !is_claimed(&mut change, session, claim).await? {
            return Ok(EndedSessions::default());
        }
        let which = Selection { next: ONE, values: vec![session.into()] };
        self.end(change, provider, which, cause).await
    }

    /// The same, with every session that the identity opened at this provider.
    pub async fn end_sessions_of_claimed_identity(
        &self,
        provider: &str,
        key: &IdentityKey,
        (session, claim): (&str, &str),
        cause: ProviderSessionEnd,
    ) -> Result<EndedSessions, StoreError> {
        const NEXT: &str = concat!(
            "SELECT ",
            next_session!(),
            " WHERE p.issuer = $2 AND p.subject = $3 AND p.provider = $1 ORDER BY p.session_id LIMIT 1"
        );
        let mut change = self.pool.change_in_turn().await?;
        if !is_claimed(&mut change, session, claim).await? {
            return Ok(EndedSessions::default());
        }
        let values = vec![provider.into(), key.issuer().into(), key.subject().into()];
        self.end(change, provider, Selection { next: NEXT, values }, cause).await
    }

    /// Acts on a logout token, once: ends the sessions that it names, those of `sid`, or where it names none, or where the
    /// provider named none at sign-in, those of `sub`. `digest` stands for the token until `forgotten_at`. `None`, and nothing
    /// done, if it was acted on before.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] if too many came lately.
    pub async fn end_sessions_by_logout_token(
        &self,
        provider: &str,
        issuer: &str,
        names: &LogoutNames,
        digest: TokenDigest,
        (now, forgotten_at): (Timestamp, Timestamp),
    ) -> Result<Option<EndedSessions>, StoreError> {
        const MARK: &str =
            "INSERT INTO used_logout_tokens (digest, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        const ALL: &str = "SELECT COUNT(*) AS total FROM used_logout_tokens";
        const BY_SESSION: &str = concat!(
            "SELECT ",
            next_session!(),
            " WHERE p.provider = $1 AND p.issuer = $2 AND p.sid = $3 ORDER BY p.session_id LIMIT 1"
        );
        const BY_SUBJECT: &str = concat!(
            "SELECT ",
            next_session!(),
            " WHERE p.provider = $1 AND p.issuer = $2 AND p.sub = $3 AND (p.sid IS NULL OR $4)
              ORDER BY p.session_id LIMIT 1"
        );
        let mut change = self.pool.change_in_turn().await?;
        change.execute(EXPIRED, &[now.into()]).await?;
        let total = change.row(ALL, &[]).await?.map_or(Ok(0), |row| row.number("total"))?;
        if total >= MOST_LOGOUT_TOKENS {
            return Err(StoreError::Busy);
        }
        if change.execute(MARK, &[(&digest).into(), forgotten_at.into()]).await? == 0 {
            return Ok(None);
        }
        let mut ended = Ending::default();
        if let Some(session) = &names.session {
            let values = vec![provider.into(), issuer.into(), session.into()];
            ended.all(&mut change, Selection { next: BY_SESSION, values }).await?;
        }
        if let Some(subject) = &names.subject {
            let values = vec![provider.into(), issuer.into(), subject.into(), names.session.is_none().into()];
            ended.all(&mut change, Selection { next: BY_SUBJECT, values }).await?;
        }
        self.ended(change, provider, ended, ProviderSessionEnd::Logout).await.map(Some)
    }

    /// Deletes marks of logout tokens that are too old to be taken; how many they were.
    pub async fn purge_used_logout_tokens(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.purge(ChangeQueue::Rights, EXPIRED, now).await
    }

    async fn end(
        &self,
        mut change: Change,
        provider: &str,
        which: Selection<'_>,
        cause: ProviderSessionEnd,
    ) -> Result<EndedSessions, StoreError> {
        let mut ended = Ending::default();
        ended.all(&mut change, which).await?;
        self.ended(change, provider, ended, cause).await
    }

    /// Commits, with the rights that were lost and a row for each user.
    async fn ended(
        &self,
        mut change: Change,
        provider: &str,
        Ending(by_user): Ending,
        cause: ProviderSessionEnd,
    ) -> Result<EndedSessions, StoreError> {
        let mut all = EndedSessions::default();
        for (user, _, sessions) in &by_user {
            revision::raise(&mut change, &user.0).await?;
            all.sessions += sessions;
        }
        for (user, name, sessions) in by_user {
            let note = Note::done(Event::SessionRevoke).on(Party::user(&user, &name));
            let note = note.with("cause", cause.as_str()).with("provider", provider);
            self.note(&mut change, note.with("sessions", sessions)).await?;
            all.users.push(user);
        }
        change.commit().await?;
        Ok(all)
    }
}

/// Sessions that are being ended: users, their names, and how many each.
#[derive(Default)]
struct Ending(Vec<(UserId, String, u64)>);

impl Ending {
    async fn all(&mut self, change: &mut Change, which: Selection<'_>) -> Result<(), StoreError> {
        // Children go first: what a cascade takes is not counted by both databases.
        const CHILDREN: &str = "DELETE FROM sessions WHERE parent_id = $1";
        const SESSION: &str = "DELETE FROM sessions WHERE id = $1";
        while let Some(row) = change.row(which.next, &which.values).await? {
            let (session, user) = (row.text("session_id")?, UserId(row.text("user_id")?));
            let mut ended = 0;
            for sql in [CHILDREN, SESSION] {
                ended += change.execute(sql, &[(&session).into()]).await?;
            }
            match self.0.iter_mut().find(|(known, _, _)| *known == user) {
                Some((_, _, sessions)) => *sessions += ended,
                None => self.0.push((user, row.text("username")?, ended)),
            }
        }
        Ok(())
    }
}
