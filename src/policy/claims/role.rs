//! A role out of a claim. No error ever makes it stronger.

use std::collections::BTreeMap;

use serde_json::Value;

use super::path::Found;
use crate::model::role::Role;

/// Whom claims are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectKind {
    /// People, who are never `agent`.
    People,
    /// Machines, which may be.
    Machines,
}

impl SubjectKind {
    /// Whether they may have a role.
    pub fn may_have(self, role: Role) -> bool {
        role != Role::Agent || self == Self::Machines
    }
}

/// The role of somebody, and how it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct RoleFound {
    /// What the expression found; `None` where there is none.
    pub found: Option<Found>,
    /// The issuer's word for it: the text, or the first of a list.
    pub word: Option<String>,
    /// Where the role comes from.
    pub source: RoleSource,
    /// What it is, unless the lack of one is refused.
    pub role: Role,
}

/// Where a role comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleSource {
    /// No expression says it: the default.
    NoPath,
    /// `role_mapping` has the issuer's word.
    Mapped,
    /// There is no `role_mapping`, and the word is one of ours, in letters of either case.
    OwnWord,
    /// The claim is absent, empty or no text: the default.
    Absent,
    /// The word is in no `role_mapping` and none of ours: the default.
    Unmapped,
    /// The expression does not fit the claims: the default, and never more than `viewer`.
    Failed,
}

pub(super) fn role(
    found: Option<Found>,
    mapping: &BTreeMap<String, Role>,
    default: Role,
    subjects: SubjectKind,
) -> RoleFound {
    let word = match &found {
        Some(Found::Value(value)) => word(value),
        _ => None,
    };
    let known = word.as_ref().and_then(|word| match mapping.get(word) {
        Some(role) => Some((RoleSource::Mapped, *role)),
        None if mapping.is_empty() => {
            let own: Option<Role> = word.to_ascii_lowercase().parse().ok();
            own.filter(|role| subjects.may_have(*role)).map(|role| (RoleSource::OwnWord, role))
        }
        None => None,
    });
    let (source, role) = match (known, &found) {
        (Some(known), _) => known,
        (None, None) => (RoleSource::NoPath, default),
        (None, Some(Found::Failed(_))) => (RoleSource::Failed, least(default)),
        (None, Some(_)) if word.is_some() => (RoleSource::Unmapped, default),
        (None, Some(_)) => (RoleSource::Absent, default),
    };
    RoleFound { found, word, source, role }
}

/// The text, or the first of a list.
fn word(value: &Value) -> Option<String> {
    let first = match value {
        Value::Array(items) => items.first()?,
        single => single,
    };
    first.as_str().filter(|word| !word.is_empty()).map(str::to_owned)
}

/// The weaker of a role and `viewer`. An `agent` cannot be compared, and stays what it is.
fn least(role: Role) -> Role {
    role.weaker(Role::Viewer).unwrap_or(role)
}
