//! Roles: what a principal may do, as opposed to groups, which say where.

use std::fmt;
use std::str::FromStr;

/// The right a principal carries.
///
/// `Admin`, `Member` and `Viewer` are ordered and each includes the ones below.
/// `Agent` stands beside them: it passes only rules that name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything, including users, keys and diagnostics.
    Admin,
    /// Reads and writes.
    Member,
    /// Reads.
    Viewer,
    /// Machine ingestion: only rules that name `agent`.
    Agent,
}

impl Role {
    /// Every role, strongest first.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Member, Self::Viewer, Self::Agent];

    /// The name in configuration, store and headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Viewer => "viewer",
            Self::Agent => "agent",
        }
    }

    /// Whether a principal with this role meets a demand for `wanted`.
    pub fn includes(self, wanted: Self) -> bool {
        match (self.rank(), wanted.rank()) {
            (Some(own), Some(wanted)) => own >= wanted,
            (None, None) => true,
            _ => false,
        }
    }

    /// The weaker of two roles of people; used where a key may never exceed its owner.
    ///
    /// `None` where the two cannot be compared, that is where exactly one is [`Role::Agent`].
    pub fn weaker(self, other: Self) -> Option<Self> {
        if self.includes(other) {
            Some(other)
        } else if other.includes(self) {
            Some(self)
        } else {
            None
        }
    }

    fn rank(self) -> Option<u8> {
        match self {
            Self::Admin => Some(3),
            Self::Member => Some(2),
            Self::Viewer => Some(1),
            Self::Agent => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is one of admin, member, viewer, agent")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_roles_are_ordered_and_agent_stands_beside() {
        let includes = |role: Role| Role::ALL.map(|wanted| role.includes(wanted));
        assert_eq!(includes(Role::Admin), [true, true, true, false]);
        assert_eq!(includes(Role::Member), [false, true, true, false]);
        assert_eq!(includes(Role::Viewer), [false, false, true, false]);
        assert_eq!(includes(Role::Agent), [false, false, false, true]);
    }

    #[test]
    fn the_weaker_role_never_exceeds_either() {
        assert_eq!(Role::Admin.weaker(Role::Viewer), Some(Role::Viewer));
        assert_eq!(Role::Viewer.weaker(Role::Admin), Some(Role::Viewer));
        assert_eq!(Role::Agent.weaker(Role::Admin), None);
    }
}
