//! Identities of users at identity providers, and what a provider asserts of a user at sign-in.

use std::fmt;

use super::audit::Reason;
use super::role::Role;
use super::time::Timestamp;

/// Bytes of an issuer, which is an address.
const LONGEST_ISSUER: usize = 512;
/// Characters of a subject (OpenID Connect Core, 2).
const LONGEST_SUBJECT: usize = 255;

/// Issuer and subject, which together identify a user at a provider (OpenID Connect Core, 5.7); names and e-mail addresses
/// do not, since they change hands. Compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityKey {
    issuer: String,
    subject: String,
}

/// Why two texts are not an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentityKey {
    /// The issuer is not valid.
    #[error("an issuer has 1 to 512 bytes and no control characters")]
    Issuer,
    /// The subject is not valid.
    #[error("a subject has 1 to 255 characters and no control characters")]
    Subject,
}

impl IdentityKey {
    /// Of the claims `iss` and `sub`, or the claim that the settings name in place of `sub`, exactly as they are.
    ///
    /// # Errors
    ///
    /// [`BadIdentityKey`] if one of them is empty, too long, or holds control characters.
    pub fn new(issuer: impl Into<String>, subject: impl Into<String>) -> Result<Self, BadIdentityKey> {
        let (issuer, subject) = (issuer.into(), subject.into());
        if !(1..=LONGEST_ISSUER).contains(&issuer.len()) || issuer.chars().any(char::is_control) {
            return Err(BadIdentityKey::Issuer);
        }
        if !is_subject(&subject) {
            return Err(BadIdentityKey::Subject);
        }
        Ok(Self { issuer, subject })
    }

    /// The issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The subject, unique at the issuer.
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

/// Whether a text may identify somebody at an issuer: 1 to 255 characters, none of them a control character.
pub fn is_subject(text: &str) -> bool {
    (1..=LONGEST_SUBJECT).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// What a provider asserts of a user who has just signed in there, after it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderAssertion {
    /// The provider's name in the settings.
    pub provider: String,
    /// The identity.
    pub key: IdentityKey,
    /// The name of the claim that the subject was taken from: `sub`, or another one that the settings name.
    pub subject_claim: String,
    /// The e-mail address.
    pub email: AssertedEmail,
    /// The username that is suggested for a new user, such as `preferred_username`; of an address, the local part is used.
    pub username: Option<String>,
    /// The display name of a new user.
    pub display_name: Option<String>,
    /// All groups, in any order; they replace the user's. `None` if the settings map no groups: the user's stay as they are.
    pub groups: Option<Vec<String>>,
    /// The role.
    pub role: RoleDecision,
}

/// An e-mail address in an assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssertedEmail {
    /// The provider has verified it, or the settings trust the provider's addresses.
    Verified(String),
    /// Not verified: it may belong to somebody else, and is not stored.
    Unverified(String),
    /// None.
    None,
}

impl AssertedEmail {
    /// The address, if it is verified.
    pub fn verified(&self) -> Option<&str> {
        match self {
            Self::Verified(address) => Some(address),
            Self::Unverified(_) | Self::None => None,
        }
    }

    /// The address, verified or not.
    pub fn any(&self) -> Option<&str> {
        match self {
            Self::Verified(address) | Self::Unverified(address) => Some(address),
            Self::None => None,
        }
    }
}

/// The role that a sign-in gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleDecision {
    /// Existing users keep their role.
    Keep {
        /// The role of a new user.
        new: Role,
    },
    /// This role, at every sign-in.
    Set(Role),
}

impl RoleDecision {
    /// The role of a new user.
    pub fn of_new_user(self) -> Role {
        match self {
            Self::Keep { new } | Self::Set(new) => new,
        }
    }
}

/// An identity that is linked to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedIdentity {
    /// Issuer and subject.
    pub key: IdentityKey,
    /// The provider's name in the settings, at the last sign-in.
    pub provider: String,
    /// The verified address of the last sign-in.
    pub email: Option<String>,
    /// When it was linked.
    pub created_at: Timestamp,
    /// The last sign-in by it; the time of linking if there was none.
    pub last_login_at: Timestamp,
}

/// Why a sign-in by an identity, or linking one, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentityRefusal {
    /// The user is disabled; signing in at the provider never enables.
    Disabled,
    /// The address belongs to a user with a password or another identity, who can link this one while signed in.
    EmailInUse,
    /// The address belongs to a user, the provider does not say that it is verified, and the settings do not allow sign-up.
    EmailUnverified,
    /// The identity belongs to another user.
    IdentityInUse,
    /// There is no such user, and the settings do not allow sign-up.
    SignUpNotAllowed,
    /// Identities of this issuer were made of another claim than the settings name now, by which all users would be new.
    SubjectClaimChanged,
    /// The assertion has more groups than a user can have.
    TooManyGroups,
    /// The user has the most identities that are allowed.
    TooManyIdentities,
}

impl IdentityRefusal {
    /// The reason in the audit trail, whose word is used in logs and pages too.
    pub fn reason(self) -> Reason {
        match self {
            Self::Disabled => Reason::Disabled,
            Self::EmailInUse => Reason::EmailInUse,
            Self::EmailUnverified => Reason::EmailUnverified,
            Self::IdentityInUse => Reason::IdentityInUse,
            Self::SignUpNotAllowed => Reason::SignUpNotAllowed,
            Self::SubjectClaimChanged => Reason::SubjectClaimChanged,
            Self::TooManyGroups => Reason::TooManyGroups,
            Self::TooManyIdentities => Reason::TooManyIdentities,
        }
    }

    /// The reason that may be shown to the user who was refused: a disabled user looks like an unknown one, and so does one whose
    /// address was merely written.
    #[must_use]
    pub fn told(self) -> Self {
        match self {
            Self::Disabled | Self::EmailUnverified => Self::SignUpNotAllowed,
            other => other,
        }
    }
}

impl fmt::Display for IdentityRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason().as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_has_an_issuer_and_a_subject_of_bounded_length() {
        let issuer = "https://idp.example";
        for subject in ["1", "oid|a b", &"s".repeat(255), &"ü".repeat(255)] {
            let key = IdentityKey::new(issuer, subject).unwrap();
            assert_eq!((key.issuer(), key.subject()), (issuer, subject));
        }
        for subject in ["", "a\0", "a\n", &"s".repeat(256)] {
            assert_eq!(IdentityKey::new(issuer, subject), Err(BadIdentityKey::Subject), "{subject:?}");
        }
        assert!(IdentityKey::new("i".repeat(512), "s").is_ok());
        for issuer in ["", "https://idp.example\0", &"i".repeat(513)] {
            assert_eq!(IdentityKey::new(issuer, "s"), Err(BadIdentityKey::Issuer), "{issuer:?}");
        }
    }

    #[test]
    fn identities_are_the_same_only_byte_by_byte() {
        let key = IdentityKey::new("https://idp.example", "s").unwrap();
        for (issuer, subject) in
            [("https://idp.example/", "s"), ("https://IDP.example", "s"), ("https://idp.example", "S")]
        {
            assert_ne!(IdentityKey::new(issuer, subject).unwrap(), key);
        }
    }

    #[test]
    fn a_disabled_user_and_an_address_that_was_merely_written_are_shown_as_unknown() {
        for refusal in [IdentityRefusal::Disabled, IdentityRefusal::EmailUnverified] {
            assert_eq!(refusal.told(), IdentityRefusal::SignUpNotAllowed);
        }
        assert_eq!(IdentityRefusal::EmailInUse.told(), IdentityRefusal::EmailInUse);
        assert_eq!(IdentityRefusal::Disabled.to_string(), "disabled", "the log has it as it is");
    }
}
