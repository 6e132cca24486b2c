//! Why there is no sign-in. Every reason is one of a closed set. None holds a token or a secret, and none shows a provider's own
//! words: those are for the log.

use crate::egress::tls::TlsError;
use crate::egress::{EgressError, EgressRefusal};
use crate::model::words::words;
use crate::policy::claims::BadClaimSet;

/// Why a provider cannot be used with these settings at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The authorities to trust.
    #[error("the certificate authorities for the provider cannot be used")]
    Authorities(#[from] TlsError),
    /// The file of the private key.
    #[error("the private key for the provider cannot be read")]
    PrivateKeyFile(#[source] std::io::Error),
    /// What is in that file.
    #[error(
        "the private key for the provider is no PEM of an RSA key from 2048 bits on, a P-256 key or an Ed25519 key"
    )]
    PrivateKey,
}

/// Why there is no sign-in.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// The discovery document (OpenID Connect Discovery 1.0, 4).
    #[error("the provider's discovery document cannot be used: {0}")]
    Discovery(#[source] DocumentError),
    /// The provider's keys.
    #[error("the provider's signing keys cannot be used: {0}")]
    Keys(#[source] DocumentError),
    /// The authorization response.
    #[error("the authorization response is refused: {0}")]
    Response(#[source] ResponseRefusal),
    /// The authorization response is an error (RFC 6749, 4.1.2.1).
    #[error("the provider ended the sign-in with the error {0}")]
    Denied(ErrorCode),
    /// The token endpoint.
    #[error("the token request failed: {0}")]
    Token(#[source] TokenEndpointError),
    /// A token of the provider's.
    #[error("the ID token is refused: {0}")]
    IdToken(#[source] TokenRefusal),
    /// Userinfo speaks of somebody else, so that its answer may have been exchanged (OpenID Connect Core 1.0, 5.3.2).
    #[error("userinfo speaks of another subject than the ID token")]
    UserinfoSubject,
    /// Claims that are too large to be looked at.
    #[error("the claims cannot be used: {0}")]
    Claims(#[from] BadClaimSet),
}

words! {
    /// What can be done about an [`OidcError`].
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

/// Why a document of the provider cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It cannot be had, or is no JSON of this kind.
    #[error(transparent)]
    Call(#[from] EgressError),
    /// Discovery and keys have five seconds.
    #[error("it did not come within five seconds")]
    Slow,
    /// It failed a moment ago, and is not asked for again yet.
    #[error("it could not be had a moment ago, and will be asked for again in less than a minute")]
    Paused,
    /// It is JSON of another shape.
    #[error("it is JSON of another kind")]
    Shape,
    /// It belongs to another issuer (OpenID Connect Discovery 1.0, 4.3).
    #[error("it names another issuer than the settings")]
    Issuer,
    /// It lacks an address.
    #[error("it has no `{0}`")]
    Missing(&'static str),
    /// It names an address that nobody is sent to.
    #[error(
        "its `{0}` is no address for a browser: it is an inner host, or neither https nor the issuer's own origin"
    )]
    Browser(&'static str),
    /// It names an address that the gateway does not call.
    #[error("its `{0}` is not called: {1}")]
    Endpoint(&'static str, #[source] EgressRefusal),
    /// It holds too many keys.
    #[error("it holds more than 100 keys")]
    TooManyKeys,
    /// It holds no key that could verify anything.
    #[error("it holds no key for any of the configured `algorithms`")]
    NoKey,
}

/// Why an authorization response is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseRefusal {
    /// Too long, or no form.
    #[error("it is longer than 16 KiB")]
    TooLong,
    /// A parameter stands twice (RFC 6749, 3.1).
    #[error("it has a parameter twice")]
    Doubled,
    /// Neither a code nor an error.
    #[error("it has neither `code` nor `error`")]
    Empty,
    /// The provider announces `iss`, and the response has none (RFC 9207, 2.4).
    #[error("it does not say which issuer it is from, as this provider's responses do")]
    NoIssuer,
    /// It is from another provider (RFC 9207, 2.4).
    #[error("it is from another issuer")]
    OtherIssuer,
}

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
    /// The file of the client assertion.
    #[error("the file of the client assertion cannot be read")]
    AssertionFile(#[source] std::io::Error),
    /// The client assertion cannot be signed.
    #[error("the client assertion cannot be signed")]
    Signing,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// Longer than 256 KiB.
    #[error("it is longer than 256 KiB")]
    TooLong,
    /// Five parts (RFC 7516, 3.1).
    #[error("it is encrypted")]
    Encrypted,
    /// No three parts, no header whose algorithm signs (`none` does not), or no claims.
    #[error("it is no token with a signature and claims")]
    Malformed,
    /// An algorithm that is not in the settings.
    #[error("it is signed by an algorithm that is not among the configured `algorithms`")]
    Algorithm,
    /// A token of another kind by its `typ`, `cty` or `crit`.
    #[error("its header says that it is a token of another kind")]
    Kind,
    /// No key of the provider's.
    #[error("it is signed by a key that the provider does not publish")]
    UnknownKey,
    /// The signature.
    #[error("its signature is wrong")]
    Signature,
    /// `iss`.
    #[error("`iss` is another issuer, or missing")]
    Issuer,
    /// `tid`.
    #[error("`tid` is none of the configured tenants")]
    Tenant,
    /// `aud` or `azp`.
    #[error("`aud` or `azp` is another client, or missing")]
    Audience,
    /// `sub`.
    #[error(
        "the claim that identifies somebody is missing, empty, longer than 255 characters or of another type"
    )]
    Subject,
    /// `exp`.
    #[error("`exp` is over, missing or no number")]
    Expired,
    /// `iat` or `nbf`.
    #[error("`iat` or `nbf` is in the future, missing or no number")]
    NotYet,
    /// `nonce`.
    #[error("`nonce` is another, or missing")]
    Nonce,
    /// `auth_time`.
    #[error("`auth_time` is longer ago than `max_age` allows, in the future, missing or no number")]
    AuthTime,
    /// `at_hash`.
    #[error("`at_hash` is that of another access token")]
    AccessTokenHash,
    /// `events` of a logout token.
    #[error("`events` does not say that it is a logout token")]
    Events,
    /// A logout token with `nonce`, which could be an ID token.
    #[error("it is a logout token with a `nonce`, which none has")]
    NonceInLogout,
    /// `iat` of a logout token.
    #[error("`iat` is longer ago than a logout token is good for, which is five minutes")]
    TooOld,
    /// `jti`.
    #[error("`jti` is missing, empty, longer than 255 characters or no text")]
    TokenId,
    /// `sub` and `sid` of a logout token.
    #[error("neither `sub` nor `sid` says whose sign-in is over")]
    NamesNobody,
    /// A refresh answered with somebody else's token.
    #[error("it is of somebody else than the one before")]
    OtherPerson,
}

impl OidcError {
    /// What can be done about it.
    pub fn kind(&self) -> OidcErrorKind {
        match self {
            Self::Discovery(error) | Self::Keys(error) => error.kind(),
            Self::Denied(code) | Self::Token(TokenEndpointError::Refused { code, .. }) => code.kind(),
            Self::Token(TokenEndpointError::Call(_) | TokenEndpointError::Shape) => {
                OidcErrorKind::Unavailable
            }
            Self::Token(_)
            | Self::IdToken(TokenRefusal::Algorithm | TokenRefusal::Encrypted | TokenRefusal::Tenant) => {
                OidcErrorKind::Misconfigured
            }
            Self::Response(_) | Self::IdToken(_) | Self::UserinfoSubject | Self::Claims(_) => {
                OidcErrorKind::Refused
            }
        }
    }

    /// Whether a refresh failed because the provider has ended the sign-in, or wants the person to do something first: it
    /// will never succeed again.
    pub fn is_over(&self) -> bool {
        let Self::Token(TokenEndpointError::Refused { code, .. }) = self else { return false };
        *code == ErrorCode::InvalidGrant || code.kind() == OidcErrorKind::Denied
    }

    /// Whether what came of a refresh cannot be verified now, and may be later: keys are fetched anew only now and then.
    pub fn may_pass(&self) -> bool {
        self.kind() == OidcErrorKind::Unavailable || matches!(self, Self::IdToken(TokenRefusal::UnknownKey))
    }
}

impl DocumentError {
    fn kind(&self) -> OidcErrorKind {
        match self {
            Self::Call(_) | Self::Slow | Self::Paused | Self::Shape | Self::TooManyKeys => {
                OidcErrorKind::Unavailable
            }
            Self::Issuer | Self::Missing(_) | Self::Browser(_) | Self::Endpoint(..) | Self::NoKey => {
                OidcErrorKind::Misconfigured
            }
        }
    }
}

impl TokenEndpointError {
    pub(super) fn is_invalid_client(&self) -> bool {
        matches!(self, Self::Refused { code: ErrorCode::InvalidClient, .. })
    }
}

impl ErrorCode {
    /// [`ErrorCode::Other`] for what is unknown.
    pub(super) fn read(text: &str) -> Self {
        Self::named(text).unwrap_or(Self::Other)
    }

    fn kind(self) -> OidcErrorKind {
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
pub(super) fn loggable(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
