//! Why there is no sign-in. Every reason is one of a closed set. None holds a token or a secret, and none shows a provider's own
//! words: those are for the log.

mod kind;
mod lookup;
mod token_endpoint;

pub(super) use self::kind::loggable;
pub use self::kind::{ErrorCode, OidcErrorKind};
pub use self::lookup::{Lookup, LookupError};
pub use self::token_endpoint::TokenEndpointError;
use crate::egress::tls::TlsError;
use crate::egress::{EgressError, EgressRefusal};
use crate::policy::claims::BadClaimSet;

/// Why a provider cannot be used with these settings at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The authorities to trust.
    #[error("the certificate authorities for the provider cannot be used")]
    Authorities(#[from] TlsError),
    /// The issuer, of which addresses are made.
    #[error("the issuer of the provider is no URL")]
    Issuer,
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
    /// What is looked up beside the tokens.
    #[error("{what} cannot be read: {error}{}", error.remedy(*what))]
    Lookup {
        /// What.
        what: Lookup,
        /// Why.
        #[source]
        error: LookupError,
    },
    /// The access that somebody gave the gateway was withdrawn, or their account there is no more.
    #[error("the provider does not take the access token any more")]
    Withdrawn,
    /// Claims that are too large to be looked at.
    #[error("the claims cannot be used: {0}")]
    Claims(#[from] BadClaimSet),
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
    /// `hd`.
    #[error("`hd` is none of `hosted_domains`, or missing: an account of another organisation, or of none")]
    HostedDomain,
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
            Self::Denied(code) => code.kind(),
            Self::Token(error) => error.kind(),
            Self::Lookup { error, .. } => error.kind(),
            Self::IdToken(TokenRefusal::HostedDomain) => OidcErrorKind::Denied,
            Self::IdToken(TokenRefusal::Algorithm | TokenRefusal::Encrypted | TokenRefusal::Tenant) => {
                OidcErrorKind::Misconfigured
            }
            Self::Response(_)
            | Self::IdToken(_)
            | Self::UserinfoSubject
            | Self::Withdrawn
            | Self::Claims(_) => OidcErrorKind::Refused,
        }
    }

    /// Whether a refresh failed because the provider has ended the sign-in, or wants the person to do something first: it
    /// will never succeed again.
    pub fn is_over(&self) -> bool {
        let code = match self {
            Self::Withdrawn => return true,
            Self::Token(TokenEndpointError::Refused { code, .. }) => *code,
            _ => return false,
        };
        code == ErrorCode::InvalidGrant || code.kind() == OidcErrorKind::Denied
    }

    /// Whether a refresh failed for a reason that concerns everybody at this provider: it is down, or does not know the gateway.
    /// An answer that is odd, too long, or a refusal to look something up, says so of one person alone.
    pub fn is_of_provider(&self) -> bool {
        match self {
            Self::Discovery(_) | Self::Keys(_) => true,
            // The account is what GitHub has in the place of a token endpoint.
            Self::Token(TokenEndpointError::Call(error))
            | Self::Lookup { what: Lookup::GithubUser, error: LookupError::Call(error) } => error.is_down(),
            Self::Token(error @ TokenEndpointError::Refused { code, .. }) => {
                code.kind() == OidcErrorKind::Unavailable || error.is_invalid_client()
            }
            Self::Lookup { error: LookupError::Call(error), .. } => error.is_unreached(),
            _ => false,
        }
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

impl LookupError {
    /// The same of something that is looked up.
    pub(super) fn of(self, what: Lookup) -> OidcError {
        OidcError::Lookup { what, error: self }
    }
}
