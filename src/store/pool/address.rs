//! Parses the URL of a database without opening anything.

use std::path::Path;
use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;

use crate::store::StoreError;

/// Where a database is.
pub(super) enum DatabaseAddress<'u> {
    /// It ends with the process.
    Memory,
    File(&'u Path),
    Postgres(Box<PgConnectOptions>),
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
        Ok(Self::Postgres(Box::new(options)))
    }
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
