//! Single-use setup links, for the first admin or a user who cannot sign in yet.

use super::pool::{Change, Row};
use super::users::{created, insert_user, user_columns, user_of};
use super::{Store, StoreError};
use crate::model::audit::{Event, Note, Party};
use crate::model::time::Timestamp;
use crate::model::token::TokenDigest;
use crate::model::user::{User, UserId};

/// Links for one purpose that count at a time: each start of each gateway makes one.
const MOST: i64 = 16;

/// What a setup link does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetupLink {
    /// It makes an admin, as long as none can sign in.
    FirstAdmin,
    /// It gives this user a password, as long as there is none, and no identity.
    Of(Box<User>),
}

/// The condition that an admin can sign in. An identity counts whether or not its provider is in the settings: removing a
/// provider by mistake must not print a link by which anyone who reads the log becomes an admin.
macro_rules! administered {
    () => {
        "EXISTS (SELECT 1 FROM users a WHERE a.role = 'admin' AND NOT a.disabled
             AND (a.password IS NOT NULL OR EXISTS (SELECT 1 FROM identities WHERE user_id = a.id)))"
    };
}

impl Store {
    /// Whether there is an admin who can sign in.
    pub async fn is_administered(&self) -> Result<bool, StoreError> {
        const SQL: &str = concat!("SELECT only_row FROM revision WHERE ", administered!());
        Ok(self.pool.row(SQL, &[]).await?.is_some())
    }

    /// Makes a link: for this user, or for the first admin. Those made before count until they end.
    pub async fn put_setup_link(
        &self,
        digest: TokenDigest,
        of: Option<&UserId>,
        now: Timestamp,
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        const NEW: &str = "INSERT INTO setup_links (digest, user_id, expires_at) VALUES ($1, $2, $3)";
        const OLD: &str = "DELETE FROM setup_links WHERE expires_at <= $1 OR digest IN
             (SELECT digest FROM setup_links WHERE COALESCE(user_id, '') = $2
              ORDER BY expires_at DESC, digest LIMIT $3 OFFSET $4)";
        let of = of.map(|id| id.0.as_str());
        let mut change = self.pool.change_in_turn().await?;
        let values = [now.into(), of.unwrap_or_default().into(), i64::MAX.into(), (MOST - 1).into()];
        change.execute(OLD, &values).await?;
        change.execute(NEW, &[(&digest).into(), of.into(), expires.into()]).await?;
        change.commit().await
    }

    /// Deletes links that were not redeemed in time.
    pub async fn purge_setup_links(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut change = self.pool.change_in_turn().await?;
        change.execute("DELETE FROM setup_links WHERE expires_at <= $1", &[now.into()]).await?;
        change.commit().await
    }

    /// What this link does now; none if nothing.
    pub async fn setup_link(
        &self,
        digest: TokenDigest,
        now: Timestamp,
    ) -> Result<Option<SetupLink>, StoreError> {
        let row = self.pool.row(VALID, &[(&digest).into(), now.into()]).await?;
        row.as_ref().map(link_of).transpose()
    }

    /// Makes the first admin and uses every link for that up; `false` if this one is not valid.
    pub async fn redeem_setup_link(
        &self,
        digest: TokenDigest,
        now: Timestamp,
        user: &User,
        password: &str,
    ) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM setup_links WHERE user_id IS NULL";
        let mut change = self.pool.change_in_turn().await?;
        if valid(&mut change, digest, now).await? != Some(SetupLink::FirstAdmin) {
            return Ok(false);
        }
        change.execute(SQL, &[]).await?;
        insert_user(&mut change, user, Some(password)).await?;
        let mut note = created(user).with("cause", "setup-link");
        note.actor = Some(Party::from(user));
        self.note(&mut change, note).await?;
        change.commit().await?;
        Ok(true)
    }

    /// Gives the user whose link it is a password and uses all links of this user up; none if it is not valid.
    pub async fn redeem_own_setup_link(
        &self,
        digest: TokenDigest,
        now: Timestamp,
        password: &str,
    ) -> Result<Option<User>, StoreError> {
        const PASSWORD: &str =
            "UPDATE users SET password = $2, must_change_password = $3, password_changed_at = $4
             WHERE id = $1";
        const USED: &str = "DELETE FROM setup_links WHERE user_id = $1";
        let mut change = self.pool.change_in_turn().await?;
        let Some(SetupLink::Of(user)) = valid(&mut change, digest, now).await? else { return Ok(None) };
        let id = &user.id.0;
        change.execute(PASSWORD, &[id.into(), password.into(), false.into(), now.into()]).await?;
        change.execute(USED, &[id.into()]).await?;
        let mut note = Note::done(Event::Setup).on(Party::from(&*user));
        note.actor = note.target.clone();
        self.note(&mut change, note).await?;
        change.commit().await?;
        Ok(Some(User { has_password: true, must_change_password: false, ..*user }))
    }
}

/// A link that is good now, with the columns of its user, if it is somebody's.
const VALID: &str = concat!(
    "SELECT l.user_id AS for_user, ",
    user_columns!(),
    " FROM setup_links l LEFT JOIN users u ON u.id = l.user_id
     WHERE l.digest = $1 AND l.expires_at > $2
       AND CASE WHEN l.user_id IS NULL THEN NOT ",
    administered!(),
    " ELSE u.password IS NULL AND NOT u.disabled
             AND NOT EXISTS (SELECT 1 FROM identities WHERE user_id = u.id) END"
);

async fn valid(
    change: &mut Change,
    digest: TokenDigest,
    now: Timestamp,
) -> Result<Option<SetupLink>, StoreError> {
    change.row(VALID, &[(&digest).into(), now.into()]).await?.as_ref().map(link_of).transpose()
}

fn link_of(row: &Row) -> Result<SetupLink, StoreError> {
    Ok(match row.optional_text("for_user")? {
        None => SetupLink::FirstAdmin,
        Some(_) => SetupLink::Of(Box::new(user_of(row)?)),
    })
}
