//! Why nobody is let in: one of a closed set, with the reason for the audit trail. None holds a token or a secret.

use crate::config::{ProviderConfig, ProviderKind};
use crate::model::audit::Reason;
use crate::model::identity::{IdentityKey, IdentityRefusal};
use crate::model::metrics::ProviderSignIn;
use crate::oidc::{self, OidcError, OidcErrorKind};
use crate::policy::claims::ClaimsRefusal;
use crate::service::ServiceError;
use crate::service::identities::IdentityError;
use crate::service::sign_ins::{InvalidState, SignInStateError};

/// A sign-in that did not lead to a session.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub why: SignInRefusal,
    /// Where the person wanted to go, as far as it is known.
    pub target: Option<String>,
    /// Whether an identity was to be linked.
    pub links: bool,
}

/// Why a sign-in through a provider did not happen.
#[derive(Debug, thiserror::Error)]
pub enum SignInRefusal {
    /// The settings have no such provider.
    #[error("there is no such provider")]
    NoSuchProvider,
    /// What came back does not belong to a sign-in that this browser has begun.
    #[error("the state of the sign-in is refused: {0}")]
    State(InvalidState),
    /// The provider said no, cannot be used now, or cannot be believed.
    #[error(transparent)]
    Provider(#[from] OidcError),
    /// Userinfo was needed for whom this identifies, and could not be had.
    #[error("the provider's userinfo is needed and cannot be had")]
    NoUserinfo(IdentityKey),
    /// The settings do not let in somebody with such claims.
    #[error("{why}")]
    Claims {
        /// Why.
        why: ClaimsRefusal,
        /// Who.
        key: IdentityKey,
        /// The expression that looked for what is missing.
        claim: String,
        /// Where people let their organisations show themselves to this application, at GitHub.
        access_page: Option<String>,
    },
    /// Account resolution.
    #[error("{0}")]
    Account(IdentityRefusal),
    /// A service: throttled, busy, without its store; [`ServiceError::Refused`] if a link was asked for by another session.
    #[error(transparent)]
    Failed(#[from] ServiceError),
}

impl SignInRefusal {
    pub(super) fn claims(why: ClaimsRefusal, key: IdentityKey, provider: &ProviderConfig) -> Self {
        let rules = &provider.claims;
        let path = match why {
            ClaimsRefusal::TooManyGroups
            | ClaimsRefusal::GroupsAbsent
            | ClaimsRefusal::GroupsElsewhere
            | ClaimsRefusal::GroupsFailed
            | ClaimsRefusal::NoAllowedGroup => rules.groups.as_ref(),
            ClaimsRefusal::Email(_) | ClaimsRefusal::OtherDomain => Some(&rules.email),
            ClaimsRefusal::RoleAbsent | ClaimsRefusal::RoleUnknown | ClaimsRefusal::RoleFailed => {
                rules.role.as_ref()
            }
        };
        let is_hidden = matches!(why, ClaimsRefusal::NoAllowedGroup | ClaimsRefusal::GroupsAbsent);
        let access_page = (provider.kind == ProviderKind::Github && is_hidden)
            .then(|| oidc::github_access_page(&provider.issuer, &provider.client_id));
        Self::Claims {
            why,
            key,
            access_page,
            claim: path.map(|path| path.as_str().to_owned()).unwrap_or_default(),
        }
    }

    /// The expression of the settings that decided, where one did.
    pub fn claim(&self) -> Option<&str> {
        match self {
            Self::Claims { claim, .. } => Some(claim),
            _ => None,
        }
    }

    /// Whose sign-in it was, where that is verified and nobody has written it down.
    pub(super) fn identity(&self) -> Option<&IdentityKey> {
        match self {
            Self::Claims { key, .. } | Self::NoUserinfo(key) => Some(key),
            _ => None,
        }
    }

    /// As what it is counted.
    pub(super) fn counted(&self) -> ProviderSignIn {
        match self {
            Self::NoSuchProvider | Self::State(_) => ProviderSignIn::Stale,
            Self::NoUserinfo(_) => ProviderSignIn::Unavailable,
            Self::Provider(error) => match error.kind() {
                OidcErrorKind::Unavailable => ProviderSignIn::Unavailable,
                OidcErrorKind::Denied => ProviderSignIn::Denied,
                OidcErrorKind::Misconfigured => ProviderSignIn::Misconfigured,
                OidcErrorKind::Refused => ProviderSignIn::Unverified,
            },
            Self::Claims { .. } | Self::Account(_) | Self::Failed(ServiceError::Refused) => {
                ProviderSignIn::Refused
            }
            Self::Failed(_) => ProviderSignIn::Failed,
        }
    }

    /// The reason for the audit trail, unless there is a row already, or nothing that belongs there.
    pub(super) fn to_be_noted(&self) -> Option<Reason> {
        match self {
            // `Identities` writes down what it refuses.
            Self::NoSuchProvider | Self::State(_) | Self::Account(_) | Self::Failed(_) => None,
            Self::NoUserinfo(_) => Some(Reason::ProviderUnavailable),
            Self::Provider(error) => Some(match error.kind() {
                OidcErrorKind::Unavailable => Reason::ProviderUnavailable,
                OidcErrorKind::Denied => Reason::ProviderDenied,
                OidcErrorKind::Misconfigured => Reason::ProviderMisconfigured,
                OidcErrorKind::Refused => Reason::ResponseRefused,
            }),
            Self::Claims { why, .. } => Some(match why {
                ClaimsRefusal::TooManyGroups => Reason::TooManyGroups,
                ClaimsRefusal::GroupsAbsent
                | ClaimsRefusal::GroupsElsewhere
                | ClaimsRefusal::GroupsFailed
                | ClaimsRefusal::NoAllowedGroup => Reason::GroupNotAllowed,
                ClaimsRefusal::Email(_) | ClaimsRefusal::OtherDomain => Reason::DomainNotAllowed,
                ClaimsRefusal::RoleAbsent | ClaimsRefusal::RoleUnknown | ClaimsRefusal::RoleFailed => {
                    Reason::RoleMissing
                }
            }),
        }
    }
}

impl From<IdentityError> for SignInRefusal {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Refused(refusal) => Self::Account(refusal),
            IdentityError::Failed(error) => Self::Failed(error),
        }
    }
}

impl From<SignInRefusal> for Refused {
    fn from(why: SignInRefusal) -> Self {
        Self { why, target: None, links: false }
    }
}

impl From<SignInStateError> for Refused {
    fn from(error: SignInStateError) -> Self {
        match error {
            SignInStateError::Invalid { why, target } => {
                Self { why: SignInRefusal::State(why), target, links: false }
            }
            SignInStateError::Failed(error) => SignInRefusal::Failed(error).into(),
        }
    }
}
