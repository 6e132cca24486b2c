//! From claims to rights: what an issuer says of somebody, and what that comes to here. Pure: one evaluation gives the
//! outcome and everything that explains it.
//!
//! Groups decide first whether somebody is let in, then the role says what they may do there.

mod cost;
mod document;
mod email;
mod functions;
mod groups;
mod outcome;
mod path;
mod role;

use std::collections::BTreeMap;

pub use self::document::{BadClaimSet, ClaimSet, subject};
pub use self::email::{EmailClaim, EmailFound, EmailRefusal, Unverified, VerifiedBy};
pub use self::groups::{GroupsFound, GroupsText, IgnoredGroup};
pub use self::outcome::{ClaimsEvaluation, ClaimsRefusal, ClaimsWarning, NameFound, Rights};
pub use self::path::{BadClaimPath, ClaimPath, EvaluationError, Found};
pub use self::role::{RoleFound, RoleSource, SubjectKind};
use crate::model::identity::RoleDecision;
use crate::model::role::Role;

/// How the claims of one issuer are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimsRules {
    /// Whom they are about.
    pub subjects: SubjectKind,
    /// Where groups are found.
    pub groups: Option<ClaimPath>,
    /// How a claim for groups is read that is text.
    pub groups_text: GroupsText,
    /// What is put before the name of each group here; empty: nothing.
    pub groups_prefix: String,
    /// Groups of which one is needed, as the issuer calls them, compared exactly; empty: none is.
    pub allowed_groups: Vec<String>,
    /// Where the role is found.
    pub role: Option<ClaimPath>,
    /// The issuer's words for roles, compared exactly; empty: it uses ours.
    pub role_mapping: BTreeMap<String, Role>,
    /// Whether who has no role by these rules is refused.
    pub role_strict: bool,
    /// Whether the role is written anew at each sign-in.
    pub role_resync: bool,
    /// The role of who has none by these rules.
    pub default_role: Role,
    /// Where the e-mail address is found.
    pub email: ClaimPath,
    /// Whether addresses count as verified whatever the claims say.
    pub trust_email: bool,
    /// Domains of which a verified address is needed, in lower case and punycode; empty: none is.
    pub allowed_domains: Vec<String>,
    /// Where the name to show is found.
    pub name: ClaimPath,
}

impl ClaimsRules {
    /// What claims come to.
    pub fn evaluate(&self, claims: &ClaimSet) -> ClaimsEvaluation {
        let names = (self.groups_text, self.groups_prefix.as_str());
        let groups = groups::groups(self.groups.as_ref(), names, |path| path.find(claims));
        let email = email::email(self.email.find(claims), claims, self.trust_email);
        let role = self.role.as_ref().map(|path| path.find(claims));
        let role = role::role(role, &self.role_mapping, self.default_role, self.subjects);
        let name = NameFound::new(self.name.find(claims));
        let has_overage = claims.has_group_overage();
        let refusal = self
            .refused_groups(&groups, has_overage)
            .or_else(|| self.refused_email(&email.email))
            .or_else(|| self.refused_role(&role));
        let result = match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(Rights {
                groups: groups.groups.clone(),
                role: self.decision(&role),
                email: email.email.clone(),
                name: name.name.clone(),
            }),
        };
        ClaimsEvaluation { groups, has_overage, role, email, name, result }
    }

    /// Claims whose names are like the one at the end of an expression that found nothing, as expressions.
    pub fn similar(&self, path: &ClaimPath, claims: &ClaimSet) -> Vec<String> {
        outcome::similar(path, claims)
    }

    /// Whether a group, by its name with the prefix, is one of those that are let in.
    pub fn is_allowed(&self, group: &str) -> bool {
        let name = group.strip_prefix(&self.groups_prefix);
        name.is_some_and(|name| self.allowed_groups.iter().any(|allowed| allowed == name))
    }

    fn refused_groups(&self, groups: &GroupsFound, has_overage: bool) -> Option<ClaimsRefusal> {
        if groups.too_many {
            return Some(ClaimsRefusal::TooManyGroups);
        }
        if self.allowed_groups.is_empty() || groups.groups.iter().any(|group| self.is_allowed(group)) {
            return None;
        }
        Some(match &groups.found {
            Some(Found::Failed(_)) => ClaimsRefusal::GroupsFailed,
            Some(Found::Value(_)) => ClaimsRefusal::NoAllowedGroup,
            _ if has_overage => ClaimsRefusal::GroupsElsewhere,
            _ => ClaimsRefusal::GroupsAbsent,
        })
    }

    fn refused_email(&self, email: &EmailClaim) -> Option<ClaimsRefusal> {
        if self.allowed_domains.is_empty() {
            return None;
        }
        match email.verified() {
            Err(refusal) => Some(ClaimsRefusal::Email(refusal)),
            Ok(address) if email::is_in(address, &self.allowed_domains) => None,
            Ok(_) => Some(ClaimsRefusal::OtherDomain),
        }
    }

    fn refused_role(&self, role: &RoleFound) -> Option<ClaimsRefusal> {
        if !self.role_strict {
            return None;
        }
        match role.source {
            RoleSource::Absent => Some(ClaimsRefusal::RoleAbsent),
            RoleSource::Unmapped => Some(ClaimsRefusal::RoleUnknown),
            RoleSource::Failed => Some(ClaimsRefusal::RoleFailed),
            RoleSource::NoPath | RoleSource::Mapped | RoleSource::OwnWord => None,
        }
    }

    fn decision(&self, found: &RoleFound) -> RoleDecision {
        if found.source == RoleSource::NoPath || !self.role_resync {
            RoleDecision::Keep { new: found.role }
        } else {
            RoleDecision::Set(found.role)
        }
    }
}

#[cfg(test)]
mod tests;
