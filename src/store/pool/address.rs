//! Parses the URL of a database without opening anything.

use std::path::Path;
use std::str::FromStr as _;

use percent_encoding::percent_decode_str;
use sqlx::postgres::PgConnectOptions;
use url::Url;

use crate::model::secret::Secret;
use crate::store::StoreError;

/// Where a database is.
pub(super) enum DatabaseAddress<'u> {
    /// It ends with the process.
    Memory,
    File(&'u Path),
    /// With the password in it, for no server to say it.
    Postgres(Box<PgConnectOptions>, Secret),
}

impl<'u> DatabaseAddress<'u> {
    /// Reads `sqlite:PATH`, `sqlite::memory:` or `postgres://…`.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadUrl`], which quotes nothing: there may be a password in it.
    pub(super) fn of(url: &'u str) -> Result<Self, StoreError> {
        if let Some(rest) = url.strip_prefix("sqlite:") {
            return match rest.strip_prefix("//").unwrap_or(rest) {
                ":memory:" => Ok(Self::Memory),
                path if path.is_empty() || path.contains('?') => {
                    Err(StoreError::BadUrl("after sqlite: comes the path of a file, without parameters"))
                }
                path => Ok(Self::File(Path::new(path))),
            };
        }
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(StoreError::BadUrl("it must begin with sqlite: or postgres://"));
        }
        // The cause is dropped, since it may quote the address and with it the password.
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| StoreError::BadUrl("it is not a PostgreSQL address"))?;
        Ok(Self::Postgres(Box::new(options), password_in(url)))
    }
}

/// The password in an address, empty if there is none.
fn password_in(url: &str) -> Secret {
    let Ok(url) = Url::parse(url) else { return Secret::new("") };
    let parameter =
        || url.query_pairs().find(|(name, _)| name == "password").map(|(_, value)| value.into_owned());
    let before_host =
        url.password().map(|password| percent_decode_str(password).decode_utf8_lossy().into_owned());
    Secret::new(before_host.or_else(parameter).unwrap_or_default())
}

/// Where a server is, for people: nothing else of its address.
pub(super) fn host_and_port(options: &PgConnectOptions) -> String {
    let (host, port) = (options.get_host(), options.get_port());
    match options.get_socket() {
        Some(folder) => format!("{} (port {port})", folder.display()),
        None if host.contains(':') => format!("[{host}]:{port}"),
        None => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_in_an_address_is_known_as_the_server_gets_it() {
        for (url, password) in [
            ("postgres://me:s%40cret@host/db", "s@cret"),
            ("postgres://me@host/db?password=s%40cret", "s@cret"),
            ("postgres://me@host/db", ""),
            ("postgres://%2Frun%2Fpostgresql/db", ""),
        ] {
            let DatabaseAddress::Postgres(_, found) = DatabaseAddress::of(url).unwrap() else {
                panic!("{url}")
            };
            assert_eq!(found.expose(), password, "{url}");
        }
    }
}
