//! The entries of `allow` and `deny`.

use std::fmt;

use crate::model::principal::{Caller, Principal, Proof};
use crate::model::role::Role;
use crate::model::user::name_key;

/// One entry of `allow` or `deny`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everyone, signed in or not.
    Anyone,
    /// Everyone who is signed in, agents excepted: those pass only where they are named.
    SignedIn,
    /// Everyone whose role is at least this one.
    Role(Role),
    /// Everyone in the group.
    Group(String),
    /// One person, by username, in any letter case.
    User(String),
    /// One system key or imported key by name, or any key by id. A user key's name is chosen by its owner, so it
    /// counts for nothing.
    Key(String),
    /// Everyone whom this provider vouches for.
    Provider(String),
}

impl Who {
    /// Reads `anyone`, `signed-in`, a role, `group:NAME`, `user:NAME`, `key:NAME` or `provider:ID`.
    ///
    /// # Errors
    ///
    /// A sentence that lists the forms.
    pub fn parse(text: &str) -> Result<Self, String> {
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let who = match text.split_once(':') {
            None if text == "anyone" => Some(Self::Anyone),
            None if text == "signed-in" => Some(Self::SignedIn),
            None => text.parse().ok().map(Self::Role),
            Some(("group", name)) => named(name).map(Self::Group),
            Some(("user", name)) => named(&name_key(name)).map(Self::User),
            Some(("key", name)) => named(name).map(Self::Key),
            Some(("provider", id)) => named(id).map(Self::Provider),
            Some(_) => None,
        };
        who.ok_or_else(|| {
            format!(
                "`{text}` does not name a caller: write anyone, signed-in, admin, member, viewer, agent, group:NAME, user:NAME, key:NAME or provider:ID"
            )
        })
    }

    /// Whether the caller is meant.
    pub fn includes(&self, caller: Caller<'_>) -> bool {
        match (self, caller) {
            (Self::Anyone, _) => true,
            (_, Caller::Anonymous) => false,
            (_, Caller::Known(principal)) => self.includes_known(principal),
        }
    }

    /// Whether everybody whom `other` names is meant too, as far as the words alone tell.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Anyone, _) => true,
            (Self::SignedIn, Self::Role(role)) => *role != Role::Agent,
            (Self::Role(least), Self::Role(role)) => role.includes(*least),
            _ => self == other,
        }
    }

    fn includes_known(&self, principal: &Principal) -> bool {
        match self {
            Self::Anyone => true,
            Self::SignedIn => principal.role != Role::Agent,
            Self::Role(role) => principal.role.includes(*role),
            Self::Group(group) => principal.groups.contains(group),
            Self::User(user) => principal.kind.is_person() && name_key(&principal.name) == *user,
            Self::Key(wanted) => {
                principal.key_id() == Some(wanted)
                    || (principal.kind.is_named_key()
                        && matches!(&principal.proof, Proof::Key { name, .. } if name == wanted))
            }
            Self::Provider(provider) => principal.source.as_str() == provider,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::SignedIn => f.write_str("signed-in"),
            Self::Role(role) => role.fmt(f),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Key(name) => write!(f, "key:{name}"),
            Self::Provider(id) => write!(f, "provider:{id}"),
        }
    }
}
