//! The setup link: one token that makes the first user, while there is none.

use super::users::{any_user, created, insert_user};
use super::{Store, StoreError};
use crate::model::audit::Party;
use crate::model::time::Timestamp;
use crate::model::token::TokenDigest;
use crate::model::user::User;

impl Store {
    /// Makes this the only valid setup token.
    pub async fn put_setup_token(&self, digest: TokenDigest, expires: Timestamp) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO setup_token (only_row, digest, expires_at) VALUES (1, $1, $2)
             ON CONFLICT (only_row) DO UPDATE SET digest = excluded.digest, expires_at = excluded.expires_at";
        let mut change = self.pool.change_in_turn().await?;
        change.execute(SQL, &[(&digest).into(), expires.into()]).await?;
        change.commit().await
    }

    /// Deletes a setup token that was not redeemed in time.
    pub async fn purge_setup_token(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut change = self.pool.change_in_turn().await?;
        change.execute("DELETE FROM setup_token WHERE expires_at <= $1", &[now.into()]).await?;
        change.commit().await
    }

    /// Whether this setup token could be redeemed now.
    pub async fn check_setup_token(&self, digest: TokenDigest, now: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT only_row FROM setup_token
             WHERE digest = $1 AND expires_at > $2 AND NOT EXISTS (SELECT 1 FROM users)";
        Ok(self.pool.row(SQL, &[(&digest).into(), now.into()]).await?.is_some())
    }

    /// Makes the first user and uses the token up; `false` if it is not valid or there is a user already.
    pub async fn redeem_setup_token(
        &self,
        digest: TokenDigest,
        now: Timestamp,
        user: &User,
        password: &str,
    ) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM setup_token WHERE digest = $1 AND expires_at > $2";
        let mut change = self.pool.change_in_turn().await?;
        let valid = change.execute(SQL, &[(&digest).into(), now.into()]).await? > 0;
        if !valid || any_user(&mut change).await? {
            return Ok(false);
        }
        insert_user(&mut change, user, Some(password)).await?;
        let mut note = created(user).with("cause", "setup-link");
        note.actor = Some(Party::from(user));
        self.note(&mut change, note).await?;
        change.commit().await?;
        Ok(true)
    }
}
