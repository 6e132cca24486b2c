//! Claims: no expression and no claims break or outgrow anything, a group opens only what it is, and no error makes a role stronger.
//!
//! Input: a line with an expression, then claims.

use std::collections::BTreeMap;

use doorward::model::identity::RoleDecision;
use doorward::model::role::Role;
use doorward::model::user;
use doorward::policy::claims::{
    BadClaimPath, ClaimPath, ClaimSet, ClaimsRules, Found, GroupsText, RoleSource, SubjectKind,
};

pub fn check(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (Some(expression), Some(claims)) = (parts.next(), parts.next()) else { return };
    let Ok(expression) = std::str::from_utf8(expression) else { return };
    let path = match ClaimPath::parse(expression) {
        Ok(path) => path,
        Err(bad) => {
            assert!(!bad.to_string().is_empty() && !bad.remedy(expression).is_empty());
            assert!(bad != BadClaimPath::TooLong || expression.len() > 4096);
            return;
        }
    };
    assert_eq!(ClaimPath::parse(path.as_str()).as_ref(), Ok(&path));
    let Ok(claims) = ClaimSet::parse(claims) else { return };
    for text in GroupsText::ALL {
        let rules = rules(&path, *text);
        let open = rules.evaluate(&claims);
        assert_eq!(open, rules.evaluate(&claims), "one evaluation differs from the next");
        let groups = &open.groups.groups;
        assert!(groups.windows(2).all(|pair| pair[0] < pair[1]), "groups are not sorted: {groups:?}");
        assert!(groups.iter().all(|group| user::check_group(group).is_ok()), "no group: {groups:?}");
        let kept = ClaimsRules { allowed_groups: vec!["ops".to_owned()], ..rules.clone() };
        let is_in = groups.iter().any(|group| group == "ops");
        assert_eq!(kept.evaluate(&claims).result.is_ok(), is_in && !open.groups.too_many, "{groups:?}");
        let strict = ClaimsRules { role_strict: true, ..rules.clone() }.evaluate(&claims);
        if open.role.is_default() {
            let most = if open.role.source == RoleSource::Failed { Role::Viewer } else { rules.default_role };
            assert_eq!(open.role.role, most);
            assert!(strict.result.is_err(), "a role that is none is let in");
        }
        if let Ok(rights) = &open.result {
            assert_eq!(rights.role, RoleDecision::Set(open.role.role));
        }
        if let Ok(address) = open.email.email.verified() {
            assert!(user::check_email(address).is_ok());
            assert_eq!(claims.get("email").and_then(|email| email.as_str()), Some(address));
        }
        let failed = matches!(open.role.found, Some(Found::Failed(_)));
        assert_eq!(failed, open.role.source == RoleSource::Failed);
        assert!(open.warnings().iter().all(|warning| !warning.to_string().contains('\n')));
    }
}

fn rules(path: &ClaimPath, groups_text: GroupsText) -> ClaimsRules {
    ClaimsRules {
        subjects: SubjectKind::People,
        groups: Some(path.clone()),
        groups_text,
        groups_prefix: String::new(),
        allowed_groups: Vec::new(),
        role: Some(path.clone()),
        role_mapping: BTreeMap::new(),
        role_strict: false,
        role_resync: true,
        default_role: Role::Member,
        email: path.clone(),
        trust_email: false,
        allowed_domains: Vec::new(),
        name: path.clone(),
    }
}
