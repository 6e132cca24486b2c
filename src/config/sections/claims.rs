//! How the claims of an issuer become groups, a role, an e-mail address and a name. One section for all issuers.

use std::collections::BTreeMap;

use figment::value::Value;

use crate::config::reading::{
    InvalidValue, Read, Section, SettingType, SettingsReader, choice, join, section, text,
};
use crate::config::sections::policy_tests::GroupName;
use crate::config::sections::tokens::AnyRole;
use crate::model::role::Role;
use crate::model::user::check_group;
use crate::policy::claims::{ClaimPath, ClaimsRules, GroupsText, SubjectKind};

section! {
    /// What the claims of an issuer come to: JMESPath expressions that find them, and what is made of what they find.
    /// `doorward claims` shows it for claims or a token at hand. A name with other characters than letters, digits and `_`
    /// stands in quotes of its own: `'"cognito:groups"'`.
    ClaimMapping {
        /// Where groups are found. A single value is a list of one.
        groups: Option<ClaimPath>, r#""realm_access.roles""#;
        /// How a claim for groups is read that is text and no list: as one group exactly as it stands (`one`), as groups
        /// between commas (`commas`), between blanks (`blanks`), between commas in square brackets as Amazon Cognito hands lists
        /// of SAML providers on (`brackets`), or as a list in JSON (`json`).
        groups_text: GroupsText = r#""one""#, r#""brackets""#;
        /// What is put before the name of each group, so that groups of several issuers cannot be mistaken for each other: rules then
        /// say `group:gitlab/admins`. Only what it begins with is the issuer's, so none begins as another's does.
        groups_prefix: Option<GroupPrefix>, r#""gitlab/""#;
        /// Groups that are let in, as the issuer calls them, without `groups_prefix`: one of them is enough, compared exactly. By
        /// default everybody is.
        allowed_groups: Vec<GroupName> = "[]", r#"["data", "Platform Team"]"#;
        /// Where the role is found: a text, or the first of a list.
        role: Option<ClaimPath>, r#""contains(groups[*], 'admins') && 'admin' || 'viewer'""#;
        /// The issuer's words for roles, compared exactly. Without any, it must use those of the gateway, in letters of
        /// either case.
        role_mapping: RoleMapping = "{}", r#"{ Owner = "admin", Editor = "member" }"#;
        /// Whether who has no role by these rules is refused, instead of getting `default_role`.
        role_strict: Option<bool>, "true";
        /// Whether the role is written anew at each sign-in, also where it gets weaker. By default it is.
        role_resync: Option<bool>, "false";
        /// The role of who has none by these rules, and of who is new where no `role` is set. Where `role` does not fit the
        /// claims it is never more than `viewer`.
        default_role: AnyRole = r#""viewer""#, r#""member""#;
        /// Where the e-mail address is found. By default `email`.
        email: Option<ClaimPath>, r#""preferred_username""#;
        /// Where the name to show is found. By default `name`.
        name: Option<ClaimPath>, r#""nickname""#;
    }
}

/// Where claims are found if the settings do not say it.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct UsualClaims {
    pub(in crate::config) groups: Option<&'static str>,
    pub(in crate::config) email: &'static str,
    pub(in crate::config) name: &'static str,
}

/// Checks the section, and makes rules of it which trust no e-mail address that is not verified and ask for no domain.
pub(in crate::config) fn claims_rules(
    written: ClaimMapping,
    subjects: SubjectKind,
    usual: UsualClaims,
    reader: &mut SettingsReader,
) -> ClaimsRules {
    let expression =
        |text: &str| ClaimPath::parse(text).expect("usual expressions are sound; a test reads them all");
    let groups_at = written.at("groups");
    let is_broken = reader.is_broken(&groups_at) || reader.is_broken(&written.at("role"));
    let groups = written.groups.clone().or_else(|| usual.groups.map(expression));
    for (name, is_set) in [
        ("allowed_groups", !written.allowed_groups.is_empty()),
        ("groups_text", written.groups_text != GroupsText::One),
        ("groups_prefix", written.groups_prefix.is_some()),
    ] {
        if is_set && groups.is_none() && !is_broken {
            let remedy = "say where groups are found, such as `groups = \"groups\"`";
            reader.problem(&written.at(name), "has no effect without `groups`", remedy);
        }
    }
    for (name, is_set) in [
        ("role_mapping", !written.role_mapping.0.is_empty()),
        ("role_strict", written.role_strict.is_some()),
        ("role_resync", written.role_resync.is_some()),
    ] {
        if is_set && written.role.is_none() && !is_broken {
            let remedy = "say where the role is found, such as `role = \"role\"`";
            reader.problem(&written.at(name), "has no effect without `role`", remedy);
        }
    }
    let default_role = written.default_role.0;
    for (word, role) in &written.role_mapping.0 {
        if !subjects.may_have(*role) {
            let path = join(&written.at("role_mapping"), word);
            reader.problem(&path, "is a role of machines", "write \"viewer\", \"member\" or \"admin\"");
        }
    }
    if !subjects.may_have(default_role) {
        let remedy = "write \"viewer\", \"member\" or \"admin\"";
        reader.problem(&written.at("default_role"), "is a role of machines", remedy);
    }
    if default_role == Role::Admin {
        reader.warn(&written.at("default_role"), "makes everyone an admin of whom the claims say no role");
    }
    ClaimsRules {
        subjects,
        groups,
        groups_text: written.groups_text,
        groups_prefix: written.groups_prefix.map(|prefix| prefix.0).unwrap_or_default(),
        allowed_groups: written.allowed_groups.into_iter().map(|group| group.0).collect(),
        role: written.role,
        role_mapping: written.role_mapping.0,
        role_strict: written.role_strict.unwrap_or(false),
        role_resync: written.role_resync.unwrap_or(true),
        default_role,
        email: written.email.unwrap_or_else(|| expression(usual.email)),
        trust_email: false,
        allowed_domains: Vec::new(),
        name: written.name.unwrap_or_else(|| expression(usual.name)),
    }
}

/// What is put before the names of groups: 1 to 64 characters that groups may begin with.
#[derive(Clone, Debug)]
pub(in crate::config) struct GroupPrefix(String);

/// Roles by an issuer's words for them.
#[derive(Clone, Debug)]
pub(in crate::config) struct RoleMapping(BTreeMap<String, Role>);

impl Read for RoleMapping {
    const KIND: &'static SettingType = &SettingType::Map(<AnyRole as Read>::KIND);

    fn read(value: &Value, path: &str, reader: &mut SettingsReader) -> Option<Self> {
        let Value::Dict(_, values) = value else {
            reader.mismatch(value, path, Self::KIND);
            return None;
        };
        let role = |(word, value): (&String, &Value)| {
            let AnyRole(role) = AnyRole::read(value, &join(path, word), reader)?;
            Some((word.clone(), role))
        };
        Some(Self(values.iter().filter_map(role).collect()))
    }
}

choice! {
    GroupsText {
        "one" => Self::One,
        "commas" => Self::Commas,
        "blanks" => Self::Blanks,
        "brackets" => Self::Brackets,
        "json" => Self::Json,
    }
}

text! {
    GroupPrefix, "1 to 64 characters such as \"gitlab/\"", |text| {
        let fits = (1..=64).contains(&text.chars().count()) && check_group(&format!("{text}x")).is_ok();
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidValue::new("cannot stand before the name of a group", "write such as \"gitlab/\" or \"gitlab:\""))
        }
    };
    ClaimPath, "a JMESPath expression such as \"groups\"", |text| {
        Self::parse(text).map_err(|bad| InvalidValue::new(bad.to_string(), bad.remedy(text)))
    };
}
