//! Users whose hashes could be decoys: those who can sign in with a password.

use super::{Store, StoreError};
use crate::model::secret::Secret;
use crate::model::user::UserId;

/// Somebody who can sign in with a password.
#[derive(Clone, Debug)]
pub struct PasswordHolder {
    /// Who it is.
    pub id: UserId,
    /// The username, in the form in which names are compared.
    pub username_key: String,
    /// The address, as it is stored.
    pub email: Option<String>,
    /// The password's hash.
    pub password: Secret,
}

/// Where [`Store::password_hashes`] goes on.
#[derive(Clone, Debug)]
pub struct HashPlace(String, String);

impl Store {
    /// How many [`Store::password_holders`] there are at most.
    pub const PASSWORD_HOLDERS: usize = 16;

    /// Enabled users with a password, in the order of the end of their ids, which is random, from `place` on and then
    /// from the first on: [`Store::PASSWORD_HOLDERS`] of them, or all if there are fewer. `place` has eight lower-case
    /// hexadecimal digits.
    pub async fn password_holders(&self, place: &str) -> Result<Vec<PasswordHolder>, StoreError> {
        // The same work wherever the place is.
        const SQL: &str = "SELECT 1 AS lap, place, id, username_key, email, password FROM (
                 SELECT substr(id, 29) AS place, id, username_key, email, password FROM users
                 WHERE substr(id, 29) >= $1 AND password IS NOT NULL AND NOT disabled
                 ORDER BY substr(id, 29), id LIMIT 16) beyond
             UNION ALL SELECT 2 AS lap, place, id, username_key, email, password FROM (
                 SELECT substr(id, 29) AS place, id, username_key, email, password FROM users
                 WHERE substr(id, 29) < $1 AND password IS NOT NULL AND NOT disabled
                 ORDER BY substr(id, 29), id LIMIT 16) around
             ORDER BY lap, place, id LIMIT 16";
        let rows = self.pool.rows(SQL, &[place.into()]).await?;
        let holders = rows.iter().map(|row| {
            Ok(PasswordHolder {
                id: UserId(row.text("id")?),
                username_key: row.text("username_key")?,
                email: row.optional_text("email")?,
                password: Secret::new(row.text("password")?),
            })
        });
        holders.collect()
    }

    /// The next hashes of enabled users in that order, after the one given, each with what comes after it; at most 1000, none
    /// is the end.
    pub async fn password_hashes(
        &self,
        after: Option<&HashPlace>,
    ) -> Result<Vec<(HashPlace, Secret)>, StoreError> {
        const SQL: &str = "SELECT substr(id, 29) AS place, id, password FROM users
             WHERE substr(id, 29) >= $1 AND (substr(id, 29) > $1 OR id > $2) AND password IS NOT NULL AND NOT disabled
             ORDER BY substr(id, 29), id LIMIT 1000";
        let (place, id) = after.map_or(("", ""), |HashPlace(place, id)| (place.as_str(), id.as_str()));
        let rows = self.pool.rows(SQL, &[place.into(), id.into()]).await?;
        let hashes = rows.iter().map(|row| {
            Ok((HashPlace(row.text("place")?, row.text("id")?), Secret::new(row.text("password")?)))
        });
        hashes.collect()
    }
}
