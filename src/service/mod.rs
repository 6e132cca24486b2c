//! Floor 3, use cases: signing in, sessions, people, keys. Every edge and the command line call these.
//!
//! Knows nothing of HTTP, cookie syntax, pages or JSON. Every way of taking rights away ends by raising the
//! epoch of [`revocation::Revocations`], so that callers cached by the data plane are looked up again.

pub mod accounts;
pub mod admin;
pub mod api_keys;
pub mod audit;
pub mod bootstrap;
pub mod composition;
pub mod doctor;
pub mod epoch;
pub mod handovers;
pub mod identities;
pub mod login;
pub mod own_keys;
pub mod password;
pub mod provider_sessions;
pub mod refused;
pub mod revocation;
pub mod rate_limiter;
pub mod sessions;
pub mod sign_ins;
pub mod subjects;
pub mod touches;
pub mod concurrency_limiter;

mod attempts;
mod new_user;
mod password_rules;
mod provider_tokens;
mod decoys;
mod foreign_hashes;
mod stored_hash;
#[cfg(test)]
pub(crate) mod testing;

use std::error::Error;
use std::time::Duration;

use crate::model::words::words;
use crate::store::Changed;
use crate::store::StoreError;

words! {
    /// What a use case may refuse the value of.
    Field {
        /// A username.
        Username = "username",
        /// An e-mail address.
        Email = "e-mail",
        /// The name that is shown.
        DisplayName = "display name",
        /// All groups of a user.
        Groups = "groups",
        /// The name of a group.
        Group = "group",
        /// A role.
        Role = "role",
        /// A password.
        Password = "password",
        /// The first admin's password, given by the environment or a file.
        GivenAdminPassword = "DOORWARD_ADMIN_PASSWORD or login.admin_password_file",
        /// A password's hash from elsewhere.
        Hash = "hash",
        /// When a key expires.
        Expiry = "expiry",
        /// Who a key belongs to.
        Owner = "owner",
        /// The name of a key.
        Name = "name",
        /// What a key may be used for.
        Scope = "scope",
        /// A path of a key's scope.
        Path = "path",
        /// An account at a provider.
        Identity = "account",
        /// How many keys somebody has.
        NumberOfKeys = "number of keys",
        /// Who an explanation is about.
        Caller = "caller",
        /// What an explanation is about.
        Request = "request",
        /// The address an explanation is about.
        Client = "client",
        /// The query of an explanation.
        Query = "query",
    }
}

/// Why a use case did not happen, in words a person may read.
///
/// "Not found" on a lookup is `Ok(None)`; it is an error only where the thing had to exist.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The name, address or other identity is taken.
    #[error("{what} already exists")]
    Conflict {
        /// What is taken, such as `username`.
        what: &'static str,
    },
    /// A value breaks a rule.
    #[error("{field}: {reason}")]
    Invalid {
        /// Which value.
        field: Field,
        /// The rule, without the value.
        reason: String,
    },
    /// The thing to act on is not there.
    #[error("{what} not found")]
    NotFound {
        /// What was looked for, such as `user`.
        what: &'static str,
    },
    /// The change would leave no one who may administer the gateway.
    #[error("no one would be left who can manage users")]
    LastAdmin,
    /// The credential is wrong. Deliberately says nothing more.
    #[error("wrong name or password")]
    Refused,
    /// Too many wrong credentials; nothing was checked.
    #[error("too many attempts")]
    Throttled {
        /// When to come back.
        retry_after: Duration,
    },
    /// Too much slow work is queued already; nothing was checked.
    #[error("too busy")]
    Busy {
        /// When to come back.
        retry_after: Duration,
    },
    /// The store or this process failed. The cause is for the log, never for the caller.
    #[error("temporarily unavailable")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

impl ServiceError {
    fn invalid(field: Field, reason: impl Into<String>) -> Self {
        Self::Invalid { field, reason: reason.into() }
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(what) => Self::Conflict { what },
            StoreError::Full(_) => Self::invalid(Field::NumberOfKeys, "is at its limit: revoke one first"),
            StoreError::Busy => Self::Busy { retry_after: Duration::from_secs(2) },
            other => Self::Unavailable(Box::new(other)),
        }
    }
}

/// What a change of a user came to, as a result.
fn done(changed: Changed) -> Result<(), ServiceError> {
    match changed {
        Changed::Done | Changed::Already => Ok(()),
        Changed::NotFound => Err(ServiceError::NotFound { what: "user" }),
        Changed::LastAdmin => Err(ServiceError::LastAdmin),
    }
}
