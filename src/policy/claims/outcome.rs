//! What claims come to, and what is told of how that was found.

use serde_json::Value;

use super::document::ClaimSet;
use super::email::{EmailClaim, EmailFound, EmailRefusal};
use super::groups::GroupsFound;
use super::path::{ClaimPath, EvaluationError, Found};
use super::role::{RoleFound, RoleSource};
use crate::model::identity::RoleDecision;
use crate::model::visible::is_unseen_in_prose;

/// Characters of a name to show.
const LONGEST_NAME: usize = 128;
/// Claims that are proposed instead of one that is not there.
const MOST_SIMILAR: usize = 5;

/// One evaluation of claims: every finding, and what it comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimsEvaluation {
    /// Groups.
    pub groups: GroupsFound,
    /// The issuer left the groups out because they are too many.
    pub has_overage: bool,
    /// Role.
    pub role: RoleFound,
    /// E-mail address.
    pub email: EmailFound,
    /// Name to show.
    pub name: NameFound,
    /// What all of it comes to.
    pub result: Result<Rights, ClaimsRefusal>,
}

/// What somebody is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Sorted, without duplicates.
    pub groups: Vec<String>,
    /// Role.
    pub role: RoleDecision,
    /// E-mail address.
    pub email: EmailClaim,
    /// Name to show: 1 to 128 characters, no control characters.
    pub name: Option<String>,
}

/// Why somebody is not let in. Holds nothing of the claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsRefusal {
    /// The claim for groups lists more than 5,000.
    #[error("the claim for groups lists more than 5,000: have the provider send fewer")]
    TooManyGroups,
    /// It is not there.
    #[error("no group is told, and one of `allowed_groups` is needed")]
    GroupsAbsent,
    /// It is not there because there are too many.
    #[error(
        "the provider left the groups out because they are too many, and one of `allowed_groups` is needed"
    )]
    GroupsElsewhere,
    /// The expression does not fit.
    #[error("the expression in `groups` does not fit the claims, and one of `allowed_groups` is needed")]
    GroupsFailed,
    /// None of the groups is allowed.
    #[error("none of the groups is one of `allowed_groups`")]
    NoAllowedGroup,
    /// `allowed_domains` needs an address.
    #[error("`allowed_domains` needs a verified e-mail address, and {0}")]
    Email(EmailRefusal),
    /// It is of another domain.
    #[error("the e-mail address is of none of `allowed_domains`")]
    OtherDomain,
    /// There is no role.
    #[error("no role is told, and `role_strict` needs one")]
    RoleAbsent,
    /// There is one that means nothing here.
    #[error("the role that is told is not known here, and `role_strict` needs one that is")]
    RoleUnknown,
    /// The expression does not fit.
    #[error("the expression in `role` does not fit the claims, and `role_strict` needs a role")]
    RoleFailed,
}

/// What is told in the log beside the outcome. Holds nothing of the claims.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsWarning {
    /// An expression does not fit; the claim counts as absent.
    #[error(
        "the expression in `{setting}` does not fit the claims, which then count as if they had none: {why}"
    )]
    Failed {
        /// Which.
        setting: &'static str,
        /// Why.
        why: EvaluationError,
    },
    /// Some of the groups are none.
    #[error("{0} of what the claim for groups lists cannot be groups here and is left out")]
    GroupsLeftOut(usize),
    /// The groups are not in the claims.
    #[error("the provider left the groups out because they are too many")]
    GroupsElsewhere,
    /// The groups are one text.
    #[error(
        "the claim for groups looks like a list written as text and is read as one group; `groups_text` says how to read it"
    )]
    LooksLikeList,
    /// The address is none.
    #[error("the claim for the e-mail address holds none")]
    NoAddress,
    /// The name is none.
    #[error("the claim for the name is no text of 1 to 128 characters")]
    NoName,
}

impl ClaimsEvaluation {
    /// What an operator should know.
    pub fn warnings(&self) -> Vec<ClaimsWarning> {
        let found = [
            ("groups", self.groups.found.as_ref()),
            ("role", self.role.found.as_ref()),
            ("email", Some(&self.email.found)),
            ("name", Some(&self.name.found)),
        ];
        let failed = found.into_iter().filter_map(|(setting, found)| match found {
            Some(Found::Failed(why)) => Some(ClaimsWarning::Failed { setting, why: why.clone() }),
            _ => None,
        });
        let left_out = self.groups.left_out.len();
        let others = [
            (left_out > 0).then_some(ClaimsWarning::GroupsLeftOut(left_out)),
            (self.has_overage && self.groups.found == Some(Found::Absent))
                .then_some(ClaimsWarning::GroupsElsewhere),
            self.groups.looks_like_list.then_some(ClaimsWarning::LooksLikeList),
            self.email.is_no_address().then_some(ClaimsWarning::NoAddress),
            self.name.is_no_name().then_some(ClaimsWarning::NoName),
        ];
        failed.chain(others.into_iter().flatten()).collect()
    }
}

impl RoleFound {
    /// Whether the role is that of who has none by the rules.
    pub fn is_default(&self) -> bool {
        !matches!(self.source, RoleSource::Mapped | RoleSource::OwnWord)
    }
}

/// The name to show, and how it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct NameFound {
    /// What the expression found.
    pub found: Found,
    /// What it comes to.
    pub name: Option<String>,
}

impl NameFound {
    pub(super) fn new(found: Found) -> Self {
        let fits = |name: &&str| {
            (1..=LONGEST_NAME).contains(&name.chars().count()) && !name.chars().any(is_unseen_in_prose)
        };
        let name = match &found {
            Found::Value(Value::String(name)) => Some(name.trim()).filter(fits).map(str::to_owned),
            _ => None,
        };
        Self { found, name }
    }

    fn is_no_name(&self) -> bool {
        matches!(self.found, Found::Value(_)) && self.name.is_none()
    }
}

/// Expressions of claims, at the top or one below, that are called like the last name of `path` or end so.
pub(super) fn similar(path: &ClaimPath, claims: &ClaimSet) -> Vec<String> {
    let Some(wanted) = path.last_name().map(str::to_lowercase) else { return Vec::new() };
    // Some say roles where others say groups.
    let wanted =
        if wanted == "groups" || wanted == "roles" { vec!["group", "role"] } else { vec![wanted.as_str()] };
    let mut names: Vec<Vec<&String>> = Vec::new();
    for (name, value) in claims.all() {
        names.push(vec![name]);
        if let Value::Object(inner) = value {
            names.extend(inner.keys().map(|below| vec![name, below]));
        }
    }
    let is_like = |names: &Vec<&String>| {
        let last = names.last().map(|last| last.to_lowercase()).unwrap_or_default();
        wanted.iter().any(|wanted| last.contains(wanted) || last.len() > 3 && wanted.contains(&last))
    };
    let written =
        |names: Vec<&String>| names.into_iter().map(|name| quoted(name)).collect::<Vec<_>>().join(".");
    let found = names.into_iter().filter(is_like).map(written);
    found.filter(|expression| expression != path.as_str()).take(MOST_SIMILAR).collect()
}

/// A name as JMESPath wants it: plain where it is an identifier, else in quotes.
fn quoted(name: &str) -> String {
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_identifier =
        name.starts_with(begins) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_identifier { name.to_owned() } else { Value::from(name).to_string() }
}
