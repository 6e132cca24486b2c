//! An e-mail address out of a claim, and whether it counts as verified.

use serde_json::Value;

use super::document::ClaimSet;
use super::path::Found;
use crate::model::user;

/// The claim that says whether `email` is verified (OpenID Connect Core 1.0, 5.1).
const EMAIL_VERIFIED: &str = "email_verified";
/// The claim whose value it speaks of.
const EMAIL: &str = "email";

/// An e-mail address as far as it may be relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmailClaim {
    /// There is none.
    None,
    /// Shown, and otherwise not relied on.
    Unverified {
        /// As it stands.
        address: String,
        /// Why it does not count as verified.
        why: Unverified,
    },
    /// May be compared with others.
    Verified {
        /// As it stands.
        address: String,
        /// Who says so.
        by: VerifiedBy,
    },
}

/// Who says that an address is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifiedBy {
    /// The claim `email_verified`.
    Claim,
    /// The setting `trust_email`.
    Setting,
}

/// Why an address does not count as verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// As with Microsoft Entra ID.
    #[error("the claim `email_verified` is not there")]
    Absent,
    /// As with authentik, always.
    #[error("the claim `email_verified` is false")]
    No,
    /// Neither true nor false.
    #[error("the claim `email_verified` is neither true nor false")]
    Unclear,
    /// The address is not that of the claim `email`, of which alone `email_verified` speaks.
    #[error("the address is not the one in the claim `email`, of which alone `email_verified` speaks")]
    OtherAddress,
}

/// Why an address cannot be relied on where one must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmailRefusal {
    /// There is none.
    #[error("there is no e-mail address")]
    Absent,
    /// It is not verified.
    #[error(
        "the e-mail address does not count as verified, as {0}; if nobody can choose an address freely at this provider, set \
         `trust_email = true` for it"
    )]
    Unverified(Unverified),
}

impl EmailClaim {
    /// The address, where it is to be compared with others.
    ///
    /// # Errors
    ///
    /// [`EmailRefusal`] if there is none that counts as verified.
    pub fn verified(&self) -> Result<&str, EmailRefusal> {
        match self {
            Self::None => Err(EmailRefusal::Absent),
            Self::Unverified { why, .. } => Err(EmailRefusal::Unverified(*why)),
            Self::Verified { address, .. } => Ok(address),
        }
    }

    /// The address, to be shown.
    pub fn address(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Unverified { address, .. } | Self::Verified { address, .. } => Some(address),
        }
    }
}

/// The e-mail address of somebody, and how it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct EmailFound {
    /// What the expression found.
    pub found: Found,
    /// What it comes to.
    pub email: EmailClaim,
}

impl EmailFound {
    /// Whether something was found that is no address.
    pub fn is_no_address(&self) -> bool {
        matches!(self.found, Found::Value(_)) && self.email == EmailClaim::None
    }
}

pub(super) fn email(found: Found, claims: &ClaimSet, trust: bool) -> EmailFound {
    let address = match &found {
        Found::Value(Value::String(address)) if user::check_email(address).is_ok() => address.clone(),
        _ => return EmailFound { found, email: EmailClaim::None },
    };
    let email = match unverified(&address, claims) {
        None => EmailClaim::Verified { address, by: VerifiedBy::Claim },
        Some(_) if trust => EmailClaim::Verified { address, by: VerifiedBy::Setting },
        Some(why) => EmailClaim::Unverified { address, why },
    };
    EmailFound { found, email }
}

/// Why the claims do not say that an address is verified.
fn unverified(address: &str, claims: &ClaimSet) -> Option<Unverified> {
    let is_claim = claims.get(EMAIL).and_then(Value::as_str) == Some(address);
    match claims.get(EMAIL_VERIFIED) {
        None | Some(Value::Null) => Some(Unverified::Absent),
        Some(Value::Bool(false)) => Some(Unverified::No),
        Some(Value::String(text)) if text == "false" => Some(Unverified::No),
        // Amazon Cognito answers with text.
        Some(Value::Bool(true)) => (!is_claim).then_some(Unverified::OtherAddress),
        Some(Value::String(text)) if text == "true" => (!is_claim).then_some(Unverified::OtherAddress),
        Some(_) => Some(Unverified::Unclear),
    }
}

/// Whether the domain of an address is one of these, which are in lower case. A domain below one is another.
pub(super) fn is_in(address: &str, domains: &[String]) -> bool {
    let domain = address.rsplit_once('@').and_then(|(_, domain)| url::Host::parse(domain).ok());
    domain.is_some_and(|domain| domains.contains(&domain.to_string()))
}
