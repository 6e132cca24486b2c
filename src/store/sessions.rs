//! Sessions, looked up by the digest of their cookie.

use super::identities::key_of;
use super::pool::{Change, ChangeQueue, Row, Value};
use super::provider_tokens::{self, NewProviderTokens};
use super::revision;
use super::users::{user_columns, user_of};
use super::{Store, StoreError};
use crate::model::audit::{Event, Note, Party};
use crate::model::session::{ProviderSession, Session};
use crate::model::time::Timestamp;
use crate::model::token::TokenDigest;
use crate::model::user::User;
use crate::model::user::UserId;

/// Rows written in one transaction: others must not wait long behind a large batch.
const BATCH: usize = 200;

/// The columns that [`session_of`] reads, from [`sessions!`].
macro_rules! session_columns {
    () => {
        "s.id AS s_id, s.user_id AS s_user_id, s.created_at AS s_created_at,
         s.last_seen_at AS s_last_seen_at, s.expires_at AS s_expires_at, s.client AS s_client,
         s.user_agent AS s_user_agent, s.parent_id AS s_parent_id, s.host AS s_host,
         p.provider AS p_provider, p.issuer AS p_issuer, p.subject AS p_subject"
    };
}

/// Sessions with their users, and the identity by which the session or its parent was opened.
macro_rules! sessions {
    () => {
        " FROM sessions s JOIN users u ON u.id = s.user_id
          LEFT JOIN provider_sessions p ON p.session_id = coalesce(s.parent_id, s.id) "
    };
}

fn session_of(row: &Row) -> Result<Session, StoreError> {
    Ok(Session {
        id: row.text("s_id")?,
        user_id: UserId(row.text("s_user_id")?),
        created_at: row.time("s_created_at")?,
        last_seen_at: row.time("s_last_seen_at")?,
        expires_at: row.time("s_expires_at")?,
        client: row.text("s_client")?,
        user_agent: row.text("s_user_agent")?,
        parent_id: row.optional_text("s_parent_id")?,
        host: row.optional_text("s_host")?,
        provider: match row.optional_text("p_provider")? {
            Some(provider) => Some(ProviderSession {
                provider,
                key: key_of(&row.text("p_issuer")?, &row.text("p_subject")?)?,
            }),
            None => None,
        },
    })
}

fn party(id: &str) -> Party {
    Party::new(format!("session:{id}"))
}

impl Store {
    /// Adds a session and ends others of the user, so that at most `cap` (at least this one) remain: first those
    /// that were never used after they were opened, as scripts leave them behind, then those not used for longest,
    /// as [`Store::touch_sessions`] noted it. Those with a parent are counted among its children only, the others
    /// among themselves.
    ///
    /// `event` is what it is opened by. How many it ended; `None`, and nothing done, if the user is gone or
    /// disabled meanwhile, the parent has ended, or the identity it is opened by was removed from the user.
    pub async fn add_session(
        &self,
        session: &Session,
        digest: TokenDigest,
        cap: usize,
        event: Event,
    ) -> Result<Option<u64>, StoreError> {
        self.insert_session(session, digest, cap, event, None).await
    }

    /// The same for one that an identity opens, with what the provider gave along.
    pub async fn add_provider_session(
        &self,
        session: &Session,
        digest: TokenDigest,
        cap: usize,
        tokens: &NewProviderTokens,
    ) -> Result<Option<u64>, StoreError> {
        self.insert_session(session, digest, cap, Event::Login, Some(tokens)).await
    }

    async fn insert_session(
        &self,
        session: &Session,
        digest: TokenDigest,
        cap: usize,
        event: Event,
        tokens: Option<&NewProviderTokens>,
    ) -> Result<Option<u64>, StoreError> {
        const INSERT: &str = "INSERT INTO sessions
                 (id, digest, user_id, created_at, last_seen_at, expires_at, client, user_agent, parent_id, host)
             SELECT $1, $2, id, $4, $5, $6, $7, $8, $9, $10 FROM users WHERE id = $3 AND NOT disabled
                AND ($9 IS NULL OR EXISTS (SELECT 1 FROM sessions WHERE id = $9 AND user_id = $3))";
        const PROVIDER: &str = "INSERT INTO provider_sessions (session_id, provider, issuer, subject)
             SELECT $1, $2, issuer, subject FROM identities WHERE issuer = $3 AND subject = $4 AND user_id = $5";
        const DROP_UNUSED: &str = "DELETE FROM sessions
             WHERE user_id = $1 AND id <> $2 AND parent_id IS NOT DISTINCT FROM $4 AND id NOT IN
             (SELECT id FROM sessions WHERE user_id = $1 AND id <> $2 AND parent_id IS NOT DISTINCT FROM $4
              ORDER BY CASE WHEN last_seen_at > created_at THEN 0 ELSE 1 END, last_seen_at DESC, created_at DESC, id DESC
              LIMIT $3)";
        let mut change = self.pool.change_in_turn().await?;
        let values = [
            (&session.id).into(),
            (&digest).into(),
            (&session.user_id.0).into(),
            session.created_at.into(),
            session.last_seen_at.into(),
            session.expires_at.into(),
            (&session.client).into(),
            (&session.user_agent).into(),
            session.parent_id.as_deref().into(),
            session.host.as_deref().into(),
        ];
        if change.execute(INSERT, &values).await? == 0 {
            return Ok(None);
        }
        if let (Some(ProviderSession { provider, key }), None) = (&session.provider, &session.parent_id) {
            let of =
                [provider.into(), key.issuer().into(), key.subject().into(), (&session.user_id.0).into()];
            let values = [[(&session.id).into()].as_slice(), &of].concat();
            if change.execute(PROVIDER, &values).await? == 0 {
                return Ok(None);
            }
            if let Some(tokens) = tokens {
                provider_tokens::insert(&mut change, &session.id, tokens).await?;
            }
        }
        let others = i64::try_from(cap.saturating_sub(1)).unwrap_or(i64::MAX);
        let parent = session.parent_id.as_deref();
        let values = [(&session.user_id.0).into(), (&session.id).into(), others.into(), parent.into()];
        let ended = change.execute(DROP_UNUSED, &values).await?;
        if ended > 0 {
            revision::raise(&mut change, &session.user_id.0).await?;
        }
        let user =
            change.row("SELECT username FROM users WHERE id = $1", &[(&session.user_id.0).into()]).await?;
        let user = user.ok_or(StoreError::Corrupt { table: "sessions" })?.text("username")?;
        let mut note = Note::done(event).on(party(&session.id)).with("ended_oldest", ended);
        if let Some(host) = &session.host {
            note = note.with("host", host.as_str());
        }
        if let Some(by) = &session.provider {
            note = note.with("provider", by.provider.as_str());
        }
        note.actor = Some(Party::user(&session.user_id, &user));
        note.client = Some(session.client.clone());
        self.note(&mut change, note).await?;
        change.commit().await?;
        Ok(Some(ended))
    }

    /// The session with this digest and its user. Whether it is still live is the caller's question.
    pub async fn find_session(&self, digest: TokenDigest) -> Result<Option<(Session, User)>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", session_columns!(), ", ", user_columns!(), sessions!(), "WHERE s.digest = $1");
        let row = self.pool.row(SQL, &[(&digest).into()]).await?;
        row.map(|row| Ok((session_of(&row)?, user_of(&row)?))).transpose()
    }

    /// The session with this id and its user. Whether it is still live is the caller's question.
    pub async fn session_by_id(&self, id: &str) -> Result<Option<(Session, User)>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", session_columns!(), ", ", user_columns!(), sessions!(), "WHERE s.id = $1");
        let row = self.pool.row(SQL, &[id.into()]).await?;
        row.map(|row| Ok((session_of(&row)?, user_of(&row)?))).transpose()
    }

    /// Notes when sessions, by id, were last seen, and their parents with them; a later time already noted
    /// stays. From then on those that a provider opened are refreshed when they are due.
    pub async fn touch_sessions(&self, seen: &[(String, Timestamp)]) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE sessions SET last_seen_at = $2 WHERE last_seen_at < $2
             AND (id = $1 OR id = (SELECT parent_id FROM sessions WHERE id = $1))";
        const IN_USE: &str =
            "UPDATE provider_tokens SET in_use = TRUE WHERE NOT in_use AND due_at IS NOT NULL
             AND session_id = (SELECT coalesce(parent_id, id) FROM sessions WHERE id = $1)";
        for batch in seen.chunks(BATCH) {
            let mut change = self.pool.change_in_turn().await?;
            for (id, at) in batch {
                change.execute(SQL, &[id.into(), (*at).into()]).await?;
                change.execute(IN_USE, &[id.into()]).await?;
            }
            change.commit().await?;
        }
        Ok(())
    }

    /// Sessions of one user with the username, newest first. There are a thousand at most, by the caps of
    /// [`Store::add_session`].
    pub async fn sessions_of(&self, user: &UserId) -> Result<Vec<(Session, String)>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            session_columns!(),
            ", u.username AS username",
            sessions!(),
            "WHERE s.user_id = $1 ORDER BY s.created_at DESC, s.id DESC LIMIT 10000"
        );
        named(&self.pool.rows(SQL, &[(&user.0).into()]).await?)
    }

    /// The next sessions with the username, newest first, after the one given; at most 1000, none is the end.
    pub async fn sessions_page(&self, after: Option<&Session>) -> Result<Vec<(Session, String)>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            session_columns!(),
            ", u.username AS username",
            sessions!(),
            "WHERE (s.created_at, s.id) < ($1, $2) ORDER BY s.created_at DESC, s.id DESC LIMIT 1000"
        );
        let (at, id) = after.map_or((Timestamp(i64::MAX), ""), |session| (session.created_at, &session.id));
        named(&self.pool.rows(SQL, &[at.into(), id.into()]).await?)
    }

    /// Ends a session by its id, and with it its children; a child ends with its parent and siblings, since
    /// its browser could get another one there. `event` is what ends it. Whose it was; `None` if there is none.
    pub async fn end_session(&self, id: &str, event: Event) -> Result<Option<UserId>, StoreError> {
        const USER: &str = "SELECT u.id AS id, u.username AS username
             FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1";
        const CHILDREN: &str = "DELETE FROM sessions WHERE parent_id =
             (SELECT coalesce(parent_id, id) FROM sessions WHERE id = $1) AND id <> $1";
        const FAMILY: &str = "DELETE FROM sessions WHERE id = $1
             OR id = (SELECT parent_id FROM sessions WHERE id = $1)";
        let mut change = self.pool.change_in_turn().await?;
        let Some(user) = change.row(USER, &[id.into()]).await? else { return Ok(None) };
        let (holder, name) = (UserId(user.text("id")?), user.text("username")?);
        let user = Party::user(&holder, &name);
        let note = Note::done(event).on(party(id)).with("user", user.id).with("username", user.name);
        let ended = self.end_where(change, [CHILDREN, FAMILY], &holder, &[id.into()], note).await?;
        Ok((ended > 0).then_some(holder))
    }

    /// Ends all sessions of a user; how many they were.
    pub async fn end_sessions_of(&self, user: &UserId) -> Result<u64, StoreError> {
        const CHILDREN: &str = "DELETE FROM sessions WHERE user_id = $1 AND parent_id IS NOT NULL";
        const PARENTS: &str = "DELETE FROM sessions WHERE user_id = $1";
        let values = [(&user.0).into()];
        self.revoke_where([CHILDREN, PARENTS], user, &values, false).await
    }

    /// Ends the sessions of a user but for one and its family, by the id of any of them; how many they were.
    pub async fn end_other_sessions_of(&self, user: &UserId, kept: &str) -> Result<u64, StoreError> {
        const CHILDREN: &str =
            "DELETE FROM sessions WHERE user_id = $1 AND parent_id IS NOT NULL AND parent_id <>
             coalesce((SELECT coalesce(parent_id, id) FROM sessions WHERE id = $2), '')";
        const PARENTS: &str = "DELETE FROM sessions WHERE user_id = $1 AND parent_id IS NULL AND id <>
             coalesce((SELECT coalesce(parent_id, id) FROM sessions WHERE id = $2), '')";
        let values = [(&user.0).into(), kept.into()];
        self.revoke_where([CHILDREN, PARENTS], user, &values, true).await
    }

    /// Ends sessions of a user: all, or all but one.
    async fn revoke_where(
        &self,
        statements: [&'static str; 2],
        user: &UserId,
        values: &[Value<'_>],
        but_one: bool,
    ) -> Result<u64, StoreError> {
        let mut change = self.pool.change_in_turn().await?;
        let name = change.row("SELECT username FROM users WHERE id = $1", &[(&user.0).into()]).await?;
        let Some(name) = name else { return Ok(0) };
        let mut note = Note::done(Event::SessionRevoke).on(Party::user(user, &name.text("username")?));
        if but_one {
            note = note.with("but_the_own", true);
        }
        self.end_where(change, statements, user, values, note).await
    }

    /// Children go first: what a cascade takes is not counted by both databases.
    async fn end_where(
        &self,
        mut change: Change,
        statements: [&'static str; 2],
        holder: &UserId,
        values: &[Value<'_>],
        note: Note,
    ) -> Result<u64, StoreError> {
        let mut ended = 0;
        for sql in statements {
            ended += change.execute(sql, values).await?;
        }
        if ended > 0 {
            revision::raise(&mut change, &holder.0).await?;
            self.note(&mut change, note.with("sessions", ended)).await?;
            change.commit().await?;
        }
        Ok(ended)
    }

    /// Deletes sessions that are past their end or idle for `idle_seconds`; how many they were.
    ///
    /// The revision stays: no one could use them any more.
    pub async fn purge_sessions(&self, now: Timestamp, idle_seconds: i64) -> Result<u64, StoreError> {
        // Children go first: what a cascade takes is not counted by both databases.
        const CHILDREN_PAST: &str = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions
             WHERE expires_at <= $1 AND parent_id IS NOT NULL ORDER BY expires_at LIMIT 100)";
        const CHILDREN_IDLE: &str = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions
             WHERE last_seen_at <= $1 AND parent_id IS NOT NULL ORDER BY last_seen_at LIMIT 100)";
        const PAST: &str = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions
             WHERE expires_at <= $1 ORDER BY expires_at LIMIT 100)";
        const IDLE: &str = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions
             WHERE last_seen_at <= $1 ORDER BY last_seen_at LIMIT 100)";
        let idle_since = Timestamp(now.0.saturating_sub(idle_seconds));
        let mut gone = 0;
        for (sql, before) in
            [(CHILDREN_PAST, now), (CHILDREN_IDLE, idle_since), (PAST, now), (IDLE, idle_since)]
        {
            gone += self.purge(ChangeQueue::Rights, sql, before).await?;
        }
        Ok(gone)
    }
}

fn named(rows: &[Row]) -> Result<Vec<(Session, String)>, StoreError> {
    rows.iter().map(|row| Ok((session_of(row)?, row.text("username")?))).collect()
}
