//! What providers gave along with sign-ins, sealed, and whose turn it is to be refreshed.
//!
//! Of many gateways and threads one refreshes a session: it claims it by a random text, and until the claim is over nobody else
//! can. What comes of a refresh counts only for who holds the claim. The old tokens stay until the new ones are committed.

use super::pool::{Change, Row};
use super::{Store, StoreError};
use crate::model::identity::IdentityKey;
use crate::model::session::LogoutNames;
use crate::model::time::Timestamp;

const CORRUPT: StoreError = StoreError::Corrupt { table: "provider_tokens" };

/// Tokens of one session, each sealed. An empty one is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealedTokens {
    /// The latest ID token.
    pub id_token: Vec<u8>,
    /// The latest refresh token.
    pub refresh_token: Vec<u8>,
}

/// What a provider gave along with a sign-in.
#[derive(Clone, Debug)]
pub struct NewProviderTokens {
    /// By which names it will say that the sign-in is over.
    pub names: LogoutNames,
    /// The tokens.
    pub sealed: SealedTokens,
    /// When the session is refreshed first; `None`: it never is.
    pub due_at: Option<Timestamp>,
}

/// A session that is to be refreshed now, by who claimed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedRefresh {
    /// The session, by its id.
    pub session_id: String,
    /// The identity by which it was opened.
    pub key: IdentityKey,
    /// Its tokens.
    pub sealed: SealedTokens,
}

/// The tokens of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptTokens {
    /// The session that the provider opened.
    pub session_id: String,
    /// The provider's name in the settings.
    pub provider: String,
    /// The issuer that gave them.
    pub issuer: String,
    /// The tokens.
    pub sealed: SealedTokens,
}

fn sealed_of(row: &Row) -> Result<SealedTokens, StoreError> {
    Ok(SealedTokens { id_token: row.bytes("id_token")?, refresh_token: row.bytes("refresh_token")? })
}

/// Stores what a provider gave for a session whose row in `provider_sessions` is there.
pub(super) async fn insert(
    change: &mut Change,
    session_id: &str,
    tokens: &NewProviderTokens,
) -> Result<(), StoreError> {
    const NAMES: &str = "UPDATE provider_sessions SET sub = $2, sid = $3 WHERE session_id = $1";
    const TOKENS: &str =
        "INSERT INTO provider_tokens (session_id, provider, id_token, refresh_token, in_use, due_at)
         SELECT $1, provider, $2, $3, TRUE, $4 FROM provider_sessions WHERE session_id = $1";
    let NewProviderTokens { names, sealed, due_at } = tokens;
    let values = [session_id.into(), names.subject.as_deref().into(), names.session.as_deref().into()];
    change.execute(NAMES, &values).await?;
    let values =
        [session_id.into(), (&sealed.id_token).into(), (&sealed.refresh_token).into(), (*due_at).into()];
    change.execute(TOKENS, &values).await?;
    Ok(())
}

/// Whether `claim` still holds.
pub(super) async fn is_claimed(
    change: &mut Change,
    session_id: &str,
    claim: &str,
) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT session_id FROM provider_tokens WHERE session_id = $1 AND claim = $2";
    Ok(change.row(SQL, &[session_id.into(), claim.into()]).await?.is_some())
}

/// Replaces the tokens; `false` if the claim does not hold any more.
pub(super) async fn replace(
    change: &mut Change,
    session_id: &str,
    claim: &str,
    sealed: &SealedTokens,
    due_at: Timestamp,
) -> Result<bool, StoreError> {
    const SQL: &str =
        "UPDATE provider_tokens SET id_token = $3, refresh_token = $4, due_at = $5, in_use = FALSE,
             claim = NULL, failing_since = NULL
         WHERE session_id = $1 AND claim = $2";
    let values = [
        session_id.into(),
        claim.into(),
        (&sealed.id_token).into(),
        (&sealed.refresh_token).into(),
        due_at.into(),
    ];
    Ok(change.execute(SQL, &values).await? > 0)
}

/// Notes that a refresh failed, so that the next is at `retry_at`, and keeps `new` where there are new tokens all the same.
/// Since when refreshes of this session fail; `None` if the claim does not hold any more.
pub(super) async fn fail(
    change: &mut Change,
    (session, claim): (&str, &str),
    new: Option<&SealedTokens>,
    (now, retry_at): (Timestamp, Timestamp),
) -> Result<Option<Timestamp>, StoreError> {
    // A time still to come was written under a clock that was set back since.
    const FAIL: &str = "UPDATE provider_tokens SET claim = NULL, due_at = $4,
             failing_since = CASE WHEN failing_since <= $3 THEN failing_since ELSE $3 END
         WHERE session_id = $1 AND claim = $2 RETURNING failing_since";
    const KEEP: &str = "UPDATE provider_tokens SET id_token = $2, refresh_token = $3 WHERE session_id = $1";
    let values = [session.into(), claim.into(), now.into(), retry_at.into()];
    let Some(row) = change.row(FAIL, &values).await? else { return Ok(None) };
    if let Some(new) = new {
        let values = [session.into(), (&new.id_token).into(), (&new.refresh_token).into()];
        change.execute(KEEP, &values).await?;
    }
    row.time("failing_since").map(Some)
}

impl Store {
    /// The tokens of a session, by its id, or of the one that it was handed over from.
    pub async fn provider_tokens(&self, session: &str) -> Result<Option<KeptTokens>, StoreError> {
        const SQL: &str = "SELECT t.session_id AS session_id, t.provider AS provider, p.issuer AS issuer,
                 t.id_token AS id_token, t.refresh_token AS refresh_token
             FROM provider_tokens t JOIN provider_sessions p ON p.session_id = t.session_id
             WHERE t.session_id = (SELECT coalesce(parent_id, id) FROM sessions WHERE id = $1)";
        let row = self.pool.row(SQL, &[session.into()]).await?;
        row.map(|row| {
            let (session_id, provider) = (row.text("session_id")?, row.text("provider")?);
            let issuer = row.text("issuer")?;
            Ok(KeptTokens { session_id, provider, issuer, sealed: sealed_of(&row)? })
        })
        .transpose()
    }

    /// Whether a session of a provider is due that was used since its last refresh.
    pub async fn is_refresh_due(&self, provider: &str, now: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str =
            "SELECT session_id FROM provider_tokens WHERE provider = $1 AND in_use AND due_at <= $2
             ORDER BY due_at LIMIT 1";
        Ok(self.pool.row(SQL, &[provider.into(), now.into()]).await?.is_some())
    }

    /// Claims the session of a provider that has been due for longest, among those that were used since their last refresh,
    /// until `until`. `claim` is random.
    pub async fn claim_refresh(
        &self,
        provider: &str,
        claim: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<ClaimedRefresh>, StoreError> {
        // The conditions stand twice: who waited for another to claim the same row looks at them again.
        const CLAIM: &str = "UPDATE provider_tokens SET claim = $2, due_at = $4
             WHERE in_use AND due_at <= $3 AND session_id = (SELECT session_id FROM provider_tokens
                 WHERE provider = $1 AND in_use AND due_at <= $3 ORDER BY due_at LIMIT 1)
             RETURNING session_id, id_token, refresh_token";
        const KEY: &str = "SELECT issuer, subject FROM provider_sessions WHERE session_id = $1";
        let mut change = self.pool.change().await?;
        let values = [provider.into(), claim.into(), now.into(), until.into()];
        let Some(row) = change.row(CLAIM, &values).await? else { return Ok(None) };
        let session_id = row.text("session_id")?;
        let key = change.row(KEY, &[(&session_id).into()]).await?.ok_or(CORRUPT)?;
        let key = IdentityKey::new(key.text("issuer")?, key.text("subject")?).map_err(|_| CORRUPT)?;
        change.commit().await?;
        Ok(Some(ClaimedRefresh { session_id, key, sealed: sealed_of(&row)? }))
    }

    /// Gives a claim up for a session that cannot be used any more; it is not claimed again before its next use.
    pub async fn release_refresh(&self, session: &str, claim: &str) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE provider_tokens SET claim = NULL, in_use = FALSE
             WHERE session_id = $1 AND claim = $2";
        let mut change = self.pool.change().await?;
        change.execute(SQL, &[session.into(), claim.into()]).await?;
        change.commit().await
    }
}
