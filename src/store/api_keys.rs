//! API keys, looked up by the id in their text; the caller compares the digest.

use std::str::FromStr;

use super::pool::{Change, ChangeQueue, Row};
use super::revision;
use super::users::{user_columns, user_of};
use super::{Store, StoreError};
use crate::model::api_key::ApiKey;
use crate::model::api_key::KeyScope;
use crate::model::audit::{Event, Note, Party};
use crate::model::time::Timestamp;
use crate::model::token::TokenDigest;
use crate::model::user::User;
use crate::model::user::UserId;

const CORRUPT: StoreError = StoreError::Corrupt { table: "api_keys" };
/// Keys of one user that can be used.
const MOST_LIVE: i64 = 50;
/// Keys of one user that have ended and are still listed.
const MOST_ENDED: i64 = 100;
/// Rows written in one transaction: others must not wait long behind a large batch.
const BATCH: usize = 200;

/// The columns that [`key_of`] reads, from a table or join with alias `k`.
macro_rules! key_columns {
    () => {
        "k.id AS k_id, k.name AS k_name, k.owner AS k_owner, k.role AS k_role, k.paths AS k_paths,
         k.methods AS k_methods, k.networks AS k_networks, k.created_at AS k_created_at,
         k.created_by AS k_created_by, k.expires_at AS k_expires_at, k.last_used_at AS k_last_used_at,
         k.may_act_for_users AS k_may_act_for_users, k.revoked_at AS k_revoked_at, k.revoked_by AS k_revoked_by"
    };
}

fn key_of(row: &Row) -> Result<ApiKey, StoreError> {
    let revoked_by = row.optional_text("k_revoked_by")?.unwrap_or_default();
    Ok(ApiKey {
        id: row.text("k_id")?,
        name: row.text("k_name")?,
        owner: row.optional_text("k_owner")?.map(UserId),
        role: row.text("k_role")?.parse().map_err(|_| CORRUPT)?,
        scope: KeyScope {
            paths: lines_of(&row.text("k_paths")?)?,
            methods: lines_of(&row.text("k_methods")?)?,
            networks: lines_of(&row.text("k_networks")?)?,
            may_act_for_users: row.flag("k_may_act_for_users")?,
        },
        created_at: row.time("k_created_at")?,
        created_by: row.text("k_created_by")?,
        expires_at: row.optional_time("k_expires_at")?,
        last_used_at: row.optional_time("k_last_used_at")?,
        revoked: row.optional_time("k_revoked_at")?.map(|at| (at, revoked_by)),
    })
}

fn lines_of<T: FromStr>(text: &str) -> Result<Vec<T>, StoreError> {
    text.lines().map(|line| line.parse().map_err(|_| CORRUPT)).collect()
}

/// One entry a line.
///
/// An empty entry, or one of two lines, would be read back as another list, and an empty list does not
/// narrow the key at all: such a list is refused.
fn text_of<T: ToString>(entries: &[T]) -> Result<String, StoreError> {
    let lines: Vec<String> = entries.iter().map(T::to_string).collect();
    let clean = lines.iter().all(|line| !line.is_empty() && !line.contains(['\n', '\r']));
    clean.then(|| lines.join("\n")).ok_or(CORRUPT)
}

fn party(id: &str, name: &str) -> Party {
    Party::named(format!("key:{id}"), name)
}

impl Store {
    /// Adds a key.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if the id is taken, or its owner makes it and has a live one of that name;
    /// [`StoreError::Full`] if the owner has 50 keys, [`StoreError::Corrupt`] if a scope entry is empty or has
    /// more than one line, [`StoreError::Unavailable`] if the owner does not exist.
    pub async fn add_key(&self, key: &ApiKey, digest: TokenDigest) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO api_keys (id, digest, name, owner, role, paths, methods, networks,
                 created_at, created_by, expires_at, last_used_at, revoked_at, revoked_by, may_act_for_users)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
             ON CONFLICT (id) DO NOTHING";
        let (paths, networks) = (text_of(&key.scope.paths)?, text_of(&key.scope.networks)?);
        let methods = text_of(&key.scope.methods)?;
        let values = [
            (&key.id).into(),
            (&digest).into(),
            (&key.name).into(),
            key.owner.as_ref().map(|owner| owner.0.as_str()).into(),
            key.role.as_str().into(),
            (&paths).into(),
            (&methods).into(),
            (&networks).into(),
            key.created_at.into(),
            (&key.created_by).into(),
            key.expires_at.into(),
            key.last_used_at.into(),
            key.revoked.as_ref().map(|(at, _)| *at).into(),
            key.revoked.as_ref().map(|(_, by)| by.as_str()).into(),
            key.scope.may_act_for_users.into(),
        ];
        let mut change = self.pool.change_in_turn().await?;
        if let Some(owner) = &key.owner {
            make_room(&mut change, owner, key.created_at).await?;
            if key.created_by == owner.0 {
                refuse_second(&mut change, owner, &key.name, key.created_at).await?;
            }
        }
        if change.execute(SQL, &values).await? == 0 {
            return Err(StoreError::Conflict("key"));
        }
        let owner = key.owner.as_ref().map(|owner| format!("user:{owner}"));
        let note = Note::done(Event::KeyCreate)
            .on(party(&key.id, &key.name))
            .with("role", key.role.as_str())
            .with("owner", owner)
            .with("expires", key.expires_at.map(Timestamp::rfc3339));
        self.note(&mut change, note).await?;
        change.commit().await
    }

    /// The key with this id, the digest of its text, and its owner if it has one.
    ///
    /// Whether the key is live, and whether the caller holds it, is the caller's question.
    pub async fn find_key(
        &self,
        id: &str,
    ) -> Result<Option<(ApiKey, TokenDigest, Option<User>)>, StoreError> {
        const SQL: &str = concat!(
            "SELECT k.digest AS k_digest, ",
            key_columns!(),
            ", ",
            user_columns!(),
            " FROM api_keys k LEFT JOIN users u ON u.id = k.owner WHERE k.id = $1"
        );
        let Some(row) = self.pool.row(SQL, &[id.into()]).await? else {
            return Ok(None);
        };
        let key = key_of(&row)?;
        let digest = TokenDigest(row.bytes("k_digest")?.try_into().map_err(|_| CORRUPT)?);
        let owner = key.owner.is_some().then(|| user_of(&row)).transpose()?;
        Ok(Some((key, digest, owner)))
    }

    /// The id of the newest live key of this name.
    pub async fn find_key_named(&self, name: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
        const SQL: &str = "SELECT id FROM api_keys
             WHERE name = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
             ORDER BY created_at DESC, id DESC LIMIT 1";
        // PostgreSQL refuses text with a zero character; no key can be called so.
        if name.contains('\0') {
            return Ok(None);
        }
        self.pool.row(SQL, &[name.into(), now.into()]).await?.map(|row| row.text("id")).transpose()
    }

    /// Keys of one user, newest first. There are 150 at most that its owner can have made.
    pub async fn keys_of(&self, owner: &UserId) -> Result<Vec<ApiKey>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            key_columns!(),
            " FROM api_keys k WHERE k.owner = $1 ORDER BY k.created_at DESC, k.id DESC LIMIT 10000"
        );
        self.pool.rows(SQL, &[(&owner.0).into()]).await?.iter().map(key_of).collect()
    }

    /// The next keys, newest first, after the one given; at most 1000, none is the end.
    pub async fn keys_page(&self, after: Option<&ApiKey>) -> Result<Vec<ApiKey>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            key_columns!(),
            " FROM api_keys k WHERE (k.created_at, k.id) < ($1, $2)
             ORDER BY k.created_at DESC, k.id DESC LIMIT 1000"
        );
        let (at, id) = after.map_or((Timestamp(i64::MAX), ""), |key| (key.created_at, &key.id));
        self.pool.rows(SQL, &[at.into(), id.into()]).await?.iter().map(key_of).collect()
    }

    /// Deletes keys that ended before `before`; how many they were. The trail still tells of them.
    pub async fn purge_keys(&self, before: Timestamp) -> Result<u64, StoreError> {
        const REVOKED: &str = "DELETE FROM api_keys WHERE id IN (SELECT id FROM api_keys
             WHERE revoked_at < $1 ORDER BY revoked_at LIMIT 100)";
        const EXPIRED: &str = "DELETE FROM api_keys WHERE id IN (SELECT id FROM api_keys
             WHERE expires_at < $1 ORDER BY expires_at LIMIT 100)";
        let revoked = self.purge(ChangeQueue::Rights, REVOKED, before).await?;
        Ok(revoked + self.purge(ChangeQueue::Rights, EXPIRED, before).await?)
    }

    /// Revokes a key; who held its rights, by id. `None` if there is no such key or it was revoked before.
    pub async fn revoke_key(&self, id: &str, by: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
        const SQL: &str =
            "UPDATE api_keys SET revoked_at = $3, revoked_by = $2 WHERE id = $1 AND revoked_at IS NULL
             RETURNING name, owner";
        let mut change = self.pool.change_in_turn().await?;
        let Some(row) = change.row(SQL, &[id.into(), by.into(), now.into()]).await? else {
            return Ok(None);
        };
        let owner = row.optional_text("owner")?;
        let holder = owner.clone().unwrap_or_else(|| id.to_owned());
        revision::raise(&mut change, &holder).await?;
        let owner = owner.map(|owner| format!("user:{owner}"));
        let note = Note::done(Event::KeyRevoke).on(party(id, &row.text("name")?));
        self.note(&mut change, note.with("owner", owner)).await?;
        change.commit().await?;
        Ok(Some(holder))
    }

    /// Notes when keys, by id, were last used; a later time already noted stays.
    pub async fn touch_keys(&self, used: &[(String, Timestamp)]) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE api_keys SET last_used_at = $2
             WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
        for batch in used.chunks(BATCH) {
            let mut change = self.pool.change_in_turn().await?;
            for (id, at) in batch {
                change.execute(SQL, &[id.into(), (*at).into()]).await?;
            }
            change.commit().await?;
        }
        Ok(())
    }
}

/// Sees to it that a user can have one more key, and forgets the oldest of those that have ended.
/// A form that is sent twice must not leave a key behind that was never shown.
async fn refuse_second(
    change: &mut Change,
    owner: &UserId,
    name: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    const NAMED: &str = "SELECT id FROM api_keys
         WHERE owner = $1 AND name = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3)";
    match change.row(NAMED, &[(&owner.0).into(), name.into(), now.into()]).await? {
        Some(_) => Err(StoreError::Conflict("key of that name")),
        None => Ok(()),
    }
}

async fn make_room(change: &mut Change, owner: &UserId, now: Timestamp) -> Result<(), StoreError> {
    const LIVE: &str = "SELECT COUNT(*) AS total FROM api_keys
         WHERE owner = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";
    const FORGET: &str = "DELETE FROM api_keys WHERE owner = $1 AND (revoked_at IS NOT NULL OR expires_at <= $2)
         AND id NOT IN (SELECT id FROM api_keys WHERE owner = $1 AND (revoked_at IS NOT NULL OR expires_at <= $2)
             ORDER BY created_at DESC, id LIMIT $3)";
    let live = change.row(LIVE, &[(&owner.0).into(), now.into()]).await?;
    if live.map_or(Ok(0), |row| row.number("total"))? >= MOST_LIVE {
        return Err(StoreError::Full("number of keys"));
    }
    change.execute(FORGET, &[(&owner.0).into(), now.into(), MOST_ENDED.into()]).await?;
    Ok(())
}
