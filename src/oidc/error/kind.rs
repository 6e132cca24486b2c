//! Words for errors: of OAuth 2.0 and OpenID Connect, and for what can be done.

use crate::model::visible::is_unseen;
use crate::model::words::words;

words! {
    /// What can be done about an [`OidcError`](super::OidcError).
    OidcErrorKind {
        /// The provider cannot be reached, or does not answer properly: later it may.
        Unavailable = "unavailable",
        /// The provider or the person there said no: another account may be let in.
        Denied = "denied",
        /// The settings here and those at the provider do not agree: an admin has to mend it.
        Misconfigured = "misconfigured",
        /// What came back is not what was asked for: a new sign-in may work, and an attack never does.
        Refused = "refused",
    }

    /// An error of OAuth 2.0 or OpenID Connect (RFC 6749, 4.1.2.1 and 5.2; OpenID Connect Core 1.0, 3.1.2.6).
    ErrorCode {
        /// A parameter is missing, doubled or wrong.
        InvalidRequest = "invalid_request",
        /// The client may not do this.
        UnauthorizedClient = "unauthorized_client",
        /// The person or the provider said no.
        AccessDenied = "access_denied",
        /// The provider does not give codes.
        UnsupportedResponseType = "unsupported_response_type",
        /// A scope is unknown, or not for this client.
        InvalidScope = "invalid_scope",
        /// The provider failed.
        ServerError = "server_error",
        /// The provider is busy.
        TemporarilyUnavailable = "temporarily_unavailable",
        /// The person would have to do something.
        InteractionRequired = "interaction_required",
        /// The person would have to sign in.
        LoginRequired = "login_required",
        /// The person would have to choose an account.
        AccountSelectionRequired = "account_selection_required",
        /// The person would have to agree.
        ConsentRequired = "consent_required",
        /// The client is unknown, or did not prove who it is.
        InvalidClient = "invalid_client",
        /// The code or refresh token is spent, expired, revoked or another client's.
        InvalidGrant = "invalid_grant",
        /// The provider does not know refresh tokens.
        UnsupportedGrantType = "unsupported_grant_type",
        /// Any other.
        Other = "other",
    }
}

impl ErrorCode {
    /// [`ErrorCode::Other`] for what is unknown. GitHub has words of its own (docs.github.com, "Troubleshooting OAuth app access
    /// token request errors").
    pub(in crate::oidc) fn read(text: &str) -> Self {
        match text {
            "incorrect_client_credentials" => Self::InvalidClient,
            "bad_verification_code" | "bad_refresh_token" => Self::InvalidGrant,
            "redirect_uri_mismatch" => Self::InvalidRequest,
            "application_suspended" => Self::UnauthorizedClient,
            "unverified_user_email" => Self::AccessDenied,
            _ => Self::named(text).unwrap_or(Self::Other),
        }
    }

    pub(super) fn kind(self) -> OidcErrorKind {
        match self {
            Self::ServerError | Self::TemporarilyUnavailable => OidcErrorKind::Unavailable,
            Self::AccessDenied
            | Self::InteractionRequired
            | Self::LoginRequired
            | Self::AccountSelectionRequired
            | Self::ConsentRequired => OidcErrorKind::Denied,
            Self::InvalidRequest
            | Self::UnauthorizedClient
            | Self::UnsupportedResponseType
            | Self::InvalidScope
            | Self::InvalidClient
            | Self::UnsupportedGrantType => OidcErrorKind::Misconfigured,
            Self::InvalidGrant | Self::Other => OidcErrorKind::Refused,
        }
    }
}

/// Text of a provider's for the log: at most 200 characters, none of which steers a terminal.
pub(in crate::oidc) fn loggable(text: &str) -> String {
    text.chars().take(200).map(|c| if is_unseen(c) { ' ' } else { c }).collect()
}
