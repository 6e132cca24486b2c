//! What an error of PostgreSQL says of the connection it came by (PostgreSQL, appendix A).

use std::io;

/// The server's code for an error (PostgreSQL, appendix A).
fn code_of(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(std::borrow::Cow::into_owned)
}

pub(super) fn is_read_only(error: &sqlx::Error) -> bool {
    code_of(error).is_some_and(|code| code == "25006")
}

pub(super) fn is_starting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(cause) => cause.kind() == io::ErrorKind::ConnectionRefused,
        other => code_of(other).is_some_and(|code| code == "57P03"),
    }
}

/// Whether a connection can be used again after an error: only if the server itself told of it, and goes on.
pub(super) fn survives(error: &sqlx::Error) -> bool {
    code_of(error).is_some_and(|code| !code.starts_with("08") && !code.starts_with("57P") && code != "25006")
        && !is_of_others(error)
}

/// Whether a connection does not know what was prepared on it, or knows what others prepared (PostgreSQL, appendix A).
pub(in crate::store) fn is_of_others(error: &sqlx::Error) -> bool {
    code_of(error).is_some_and(|code| code == "26000" || code == "42P05")
}
