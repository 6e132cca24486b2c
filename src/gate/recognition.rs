//! The result of authenticating a request, for applications and for our own pages.

use super::credential::{CredentialHandling, LookedUp};
use super::refusal::BadCredential;

/// Who a request comes from, as far as what it presents says.
#[derive(Clone, Debug, Default)]
pub enum Recognition<P> {
    /// Nothing was presented.
    #[default]
    Anonymous,
    /// A session that has ended, or was never ours: its cookie is worth nothing and may be taken back.
    Ended,
    /// A credential of another system, and what is wrong with it where only ours are taken.
    Foreign(BadCredential),
    /// Somebody we know.
    Caller(P),
}

impl<P> Recognition<P> {
    /// Somebody we know, if it is.
    pub fn caller(&self) -> Option<&P> {
        match self {
            Self::Caller(caller) => Some(caller),
            Self::Anonymous | Self::Ended | Self::Foreign(_) => None,
        }
    }

    /// The same, owned.
    pub(super) fn into_caller(self) -> Option<P> {
        match self {
            Self::Caller(caller) => Some(caller),
            Self::Anonymous | Self::Ended | Self::Foreign(_) => None,
        }
    }

    /// What was presented and proves nothing: the answer where the rules want somebody.
    pub(super) fn unproven(&self) -> Option<BadCredential> {
        match self {
            Self::Anonymous | Self::Caller(_) => None,
            Self::Ended => Some(CredentialHandling::LookedUp(LookedUp::Session).ended()),
            Self::Foreign(wrong) => Some(*wrong),
        }
    }

    /// Whether another system's credential was presented.
    pub(super) fn is_foreign(&self) -> bool {
        matches!(self, Self::Foreign(_))
    }
}
