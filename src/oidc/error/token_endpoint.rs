//! Why the token endpoint gives no tokens.

use super::kind::{ErrorCode, OidcErrorKind};
use crate::egress::EgressError;

/// Why there are no tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokenEndpointError {
    /// The endpoint cannot be reached, or does not answer as one.
    #[error(transparent)]
    Call(#[from] EgressError),
    /// It says no (RFC 6749, 5.2).
    #[error("the provider answered {code}")]
    Refused {
        /// The error.
        code: ErrorCode,
        /// What it said beside that, for the log: at most 200 visible characters, and nothing that it was sent.
        said: String,
    },
    /// Its answer is JSON of another shape.
    #[error("its answer has no `access_token`, or one of another type than `Bearer`")]
    Shape,
    /// It does not speak OpenID Connect, or the scope `openid` is missing.
    #[error("its answer has no ID token")]
    NoIdToken,
    /// Nothing would be learnt of somebody until their session ends.
    #[error(
        "its answer has no refresh token, though the settings ask for the scope `offline_access`: the provider does not grant it \
         to this client, or somebody took it out of the request"
    )]
    NoRefreshToken,
    /// By its answer a scope was not granted (RFC 6749, 3.3 and 5.1), so that claims may be missing.
    #[error(
        "it did not grant the scope `{0}`, which the settings ask for: the provider does not grant it to this client, or somebody \
         took it out of the request"
    )]
    ScopeMissing(String),
    /// The file of the client assertion.
    #[error("the file of the client assertion cannot be read")]
    AssertionFile(#[source] std::io::Error),
    /// The client assertion cannot be signed.
    #[error("the client assertion cannot be signed")]
    Signing,
}

impl TokenEndpointError {
    pub(super) fn kind(&self) -> OidcErrorKind {
        match self {
            Self::Call(_) | Self::Shape => OidcErrorKind::Unavailable,
            Self::Refused { code, .. } => code.kind(),
            Self::NoIdToken
            | Self::NoRefreshToken
            | Self::ScopeMissing(_)
            | Self::AssertionFile(_)
            | Self::Signing => OidcErrorKind::Misconfigured,
        }
    }

    /// Logs what a provider said beside its error, which no page shows.
    pub(in crate::oidc) fn log(&self, provider: &str) {
        if let Self::Refused { code, said } = self {
            tracing::warn!(provider, error = %code, said, "the provider refused a token request");
        }
    }

    pub(in crate::oidc) fn is_invalid_client(&self) -> bool {
        matches!(self, Self::Refused { code: ErrorCode::InvalidClient, .. })
    }
}
