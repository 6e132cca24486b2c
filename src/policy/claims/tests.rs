//! Claims to outcomes, row by row: what is let in and, beside each, what is not.

use serde_json::{Value, json};

use super::*;

/// The rules of an issuer that says nothing but who somebody is.
fn rules() -> ClaimsRules {
    ClaimsRules {
        subjects: SubjectKind::People,
        groups: None,
        groups_text: GroupsText::One,
        groups_prefix: String::new(),
        allowed_groups: Vec::new(),
        role: None,
        role_mapping: BTreeMap::new(),
        role_strict: false,
        role_resync: true,
        default_role: Role::Viewer,
        email: path("email"),
        trust_email: false,
        allowed_domains: Vec::new(),
        name: path("name"),
    }
}

fn with(change: impl FnOnce(&mut ClaimsRules)) -> ClaimsRules {
    let mut rules = rules();
    change(&mut rules);
    rules
}

fn path(text: &str) -> ClaimPath {
    ClaimPath::parse(text).unwrap_or_else(|bad| panic!("{text} {bad}"))
}

fn claims(value: Value) -> ClaimSet {
    let Value::Object(claims) = value else { panic!("claims are an object") };
    ClaimSet::new(claims).unwrap()
}

fn refusal(rules: &ClaimsRules, value: Value) -> Option<ClaimsRefusal> {
    rules.evaluate(&claims(value)).result.err()
}

/// The groups that an expression finds, and whether the group `ops` is let in and the group `other` is not.
#[track_caller]
fn check_groups(expression: &str, value: &Value, wanted: &[&str]) {
    let rules = |allowed: &[&str]| {
        with(|rules| {
            rules.groups = Some(path(expression));
            rules.allowed_groups = allowed.iter().map(|group| (*group).to_owned()).collect();
        })
    };
    let open = rules(&[]).evaluate(&claims(value.clone()));
    assert_eq!(open.groups.groups, wanted, "{expression} of {value}");
    assert_eq!(open.result.unwrap().groups, wanted, "{expression} of {value}");
    for allowed in ["ops", "other", "OPS", "op", "opsx"] {
        let let_in = rules(&[allowed]).evaluate(&claims(value.clone())).result.is_ok();
        assert_eq!(let_in, wanted.contains(&allowed), "{expression} of {value} with {allowed}");
    }
}

/// O29: a group that is missing, a text, nested, an object, null or only alike opens nothing.
/// O31: text of a claim that looks like an expression is data.
#[test]
fn groups_are_found_by_every_form_of_expression_and_open_nothing_else() {
    for (expression, value, wanted) in [
        ("groups", json!({"groups": ["ops", "db"]}), &["db", "ops"][..]),
        ("groups", json!({"groups": ["ops", "ops"]}), &["ops"]),
        ("realm_access.roles", json!({"realm_access": {"roles": ["ops"]}}), &["ops"]),
        ("realm_access.roles", json!({"realm_access.roles": ["ops"]}), &[]),
        ("\"cognito:groups\"", json!({"cognito:groups": ["ops"]}), &["ops"]),
        ("\"cognito:groups\"", json!({"cognito": {"groups": ["ops"]}}), &[]),
        ("\"https://e.example/groups\"", json!({"https://e.example/groups": ["ops"]}), &["ops"]),
        (
            "resource_access.\"my-app\".roles",
            json!({"resource_access": {"my-app": {"roles": ["ops"]}}}),
            &["ops"],
        ),
        ("resource_access.\"my-app\".roles", json!({"resource_access": {"other": {"roles": ["ops"]}}}), &[]),
        ("teams[*].name", json!({"teams": [{"name": "ops"}, {"id": 2}, {"name": "db"}]}), &["db", "ops"]),
        ("teams[].members[].team", json!({"teams": [{"members": [{"team": "ops"}]}]}), &["ops"]),
        ("resource_access.*.roles[]", json!({"resource_access": {"a": {"roles": ["ops"]}}}), &["ops"]),
        ("groups[0]", json!({"groups": ["ops", "db"]}), &["ops"]),
        ("groups[-1]", json!({"groups": ["ops", "db"]}), &["db"]),
        ("groups[:1]", json!({"groups": ["ops", "db"]}), &["ops"]),
        ("groups[?starts_with(@, 'o')]", json!({"groups": ["ops", "db"]}), &["ops"]),
        ("teams[?role=='owner'].name", json!({"teams": [{"name": "ops", "role": "owner"}]}), &["ops"]),
        ("teams[?role=='owner'].name", json!({"teams": [{"name": "ops", "role": "guest"}]}), &[]),
        ("[groups, roles][]", json!({"groups": ["db"], "roles": ["ops"]}), &["db", "ops"]),
        ("groups || roles", json!({"roles": ["ops"]}), &["ops"]),
        ("contains(scope, 'a') && 'ops'", json!({"scope": "a b"}), &["ops"]),
        ("contains(scope, 'c') && 'ops' || 'none'", json!({"scope": "a b"}), &["none"]),
        ("'ops'", json!({}), &["ops"]),
        // A single value is a list of one, as text.
        ("groups", json!({"groups": "ops"}), &["ops"]),
        ("groups", json!({"groups": ["ops", 42, 1.5, true]}), &["1.5", "42", "ops", "true"]),
        ("groups", json!({"groups": 42}), &["42"]),
        // What is no name of a group, or no text at all, is left out.
        ("groups", json!({"groups": ["ops", null, {"name": "other"}, ["other"]]}), &["ops"]),
        ("groups", json!({"groups": {"ops": "other"}}), &[]),
        ("groups", json!({"groups": [["ops"]]}), &[]),
        ("groups", json!({"groups": null}), &[]),
        ("groups", json!({"groups": []}), &[]),
        ("groups", json!({"groups": ["ops,other", "ops;", " ops", "ops\n", "", "'ops'"]}), &[]),
        ("groups", json!({}), &[]),
        // Nothing but the very name is it.
        ("groups", json!({"groups": ["OPS"]}), &["OPS"]),
        ("groups", json!({"groups": ["Ops", "opsx", "dev/ops", "op"]}), &["Ops", "dev/ops", "op", "opsx"]),
        ("groups", json!({"groups": "ops other"}), &["ops other"]),
        ("groups", json!({"groups": "[ops]"}), &["[ops]"]),
        // Directories call them like this.
        (
            "groups",
            json!({"groups": ["Platform Team", "/admins/db", "a:b", "x@y.example"]}),
            &["/admins/db", "Platform Team", "a:b", "x@y.example"],
        ),
        // A text of claims is never an expression.
        (
            "groups",
            json!({"groups": ["realm_access.roles", "`ops`", "@"]}),
            &["@", "`ops`", "realm_access.roles"],
        ),
    ] {
        check_groups(expression, &value, wanted);
    }
}

#[test]
fn a_list_written_as_text_is_split_only_as_the_settings_say() {
    use GroupsText::{Blanks, Brackets, Commas, Json, One};
    for (text, form, wanted) in [
        ("ops", One, &["ops"][..]),
        ("[ops, admins]", One, &[]), // no name of a group
        ("ops admins", One, &["ops admins"]),
        ("ops, admins", Commas, &["admins", "ops"]),
        ("ops,,", Commas, &["ops"]),
        ("ops admins", Commas, &["ops admins"]),
        ("ops  admins", Blanks, &["admins", "ops"]),
        ("[ops, admins]", Brackets, &["admins", "ops"]),
        ("ops", Brackets, &["ops"]),
        ("[ops", Brackets, &["[ops"]),
        ("[]", Brackets, &[]),
        ("ops, admins", Brackets, &[]),
        (r#"["ops", 7, {"a": 1}]"#, Json, &["7", "ops"]),
        ("ops", Json, &["ops"]),
    ] {
        let rules = |allowed: &str| {
            with(|rules| {
                rules.groups = Some(path("groups"));
                rules.groups_text = form;
                rules.allowed_groups = vec![allowed.to_owned()];
            })
        };
        for allowed in ["ops", "admins", "op"] {
            let found = rules(allowed).evaluate(&claims(json!({"groups": text})));
            assert_eq!(found.groups.groups, wanted, "{text} {form}");
            assert_eq!(found.result.is_ok(), wanted.contains(&allowed), "{text} {form} {allowed}");
        }
        // Within a list nothing is ever split.
        let listed = rules("ops").evaluate(&claims(json!({"groups": ["ops admins"]})));
        assert_eq!((listed.groups.groups, listed.result.is_ok()), (vec!["ops admins".to_owned()], false));
    }
}

#[test]
fn a_prefix_stands_before_each_group_and_the_allow_list_names_them_without() {
    let rules = |allowed: &[&str]| {
        with(|rules| {
            rules.groups = Some(path("groups"));
            rules.groups_prefix = "gitlab/".to_owned();
            rules.allowed_groups = allowed.iter().map(|group| (*group).to_owned()).collect();
        })
    };
    let value = json!({ "groups": ["ops", "gitlab/ops", "a b", " x", "", "y".repeat(122)] });
    let found = rules(&[]).evaluate(&claims(value.clone()));
    let expected = ["gitlab/a b", "gitlab/gitlab/ops", "gitlab/ops"];
    assert_eq!(found.result.unwrap().groups, expected);
    let left_out = [" x".to_owned(), String::new(), "y".repeat(122)].map(IgnoredGroup::Name);
    assert_eq!(found.groups.left_out, left_out, "no prefix makes a group of what is none");
    for (allowed, let_in) in [("ops", true), ("gitlab/ops", true), ("gitlab/a b", false), ("b", false)] {
        let result = rules(&[allowed]).evaluate(&claims(value.clone())).result;
        assert_eq!(result.is_ok(), let_in, "{allowed}");
    }
    let only = json!({ "groups": ["gitlab/ops"] });
    assert!(rules(&["ops"]).evaluate(&claims(only)).result.is_err());
}

#[test]
fn what_cannot_be_seen_is_in_no_group_address_or_name_and_is_told() {
    let rules = with(|rules| rules.groups = Some(path("groups")));
    let value = json!({ "groups": ["ops", "ops\u{2060}", "\u{202e}spo"], "name": "Ann\u{202e}", "email_verified": true,
                        "email": "ann\u{ad}@example.org" });
    let found = rules.evaluate(&claims(value));
    for said in ["2 of what the claim for groups", "e-mail", "name"] {
        assert!(found.warnings().iter().any(|warning| warning.to_string().contains(said)), "{said}");
    }
    let rights = found.result.unwrap();
    assert_eq!((rights.groups, rights.name, rights.email), (vec!["ops".to_owned()], None, EmailClaim::None));
    let persian = json!({ "name": "می\u{200c}خواهم" });
    assert!(rules.evaluate(&claims(persian)).result.unwrap().name.is_some());
}

#[test]
fn an_allow_list_says_what_is_wrong_with_the_groups() {
    let rules = with(|rules| {
        rules.groups = Some(path("groups"));
        rules.allowed_groups = vec!["ops".to_owned(), "data".to_owned()];
    });
    for (value, wanted) in [
        (json!({"groups": ["data"]}), None),
        (json!({"groups": ["x"]}), Some(ClaimsRefusal::NoAllowedGroup)),
        (json!({"groups": []}), Some(ClaimsRefusal::NoAllowedGroup)),
        (json!({"groups": ["ops,"]}), Some(ClaimsRefusal::NoAllowedGroup)),
        (json!({}), Some(ClaimsRefusal::GroupsAbsent)),
        (json!({"_claim_names": {"groups": "src1"}}), Some(ClaimsRefusal::GroupsElsewhere)),
        (json!({"hasgroups": true}), Some(ClaimsRefusal::GroupsElsewhere)),
        (json!({"hasgroups": true, "groups": ["ops"]}), None),
    ] {
        assert_eq!(refusal(&rules, value.clone()), wanted, "{value}");
    }
    let failing = ClaimsRules { groups: Some(path("sort(groups)")), ..rules };
    assert_eq!(refusal(&failing, json!({"groups": ["ops"]})), None);
    assert_eq!(refusal(&failing, json!({"groups": "ops"})), Some(ClaimsRefusal::GroupsFailed));
}

#[test]
fn five_thousand_groups_count_and_one_more_refuses() {
    let rules = |allowed: &[&str]| {
        with(|rules| {
            rules.groups = Some(path("groups"));
            rules.allowed_groups = allowed.iter().map(|group| (*group).to_owned()).collect();
        })
    };
    let listed = |count: usize| json!({"groups": (0..count).map(|n| format!("g{n}")).collect::<Vec<_>>()});
    assert_eq!(refusal(&rules(&["g4999"]), listed(5000)), None);
    assert_eq!(refusal(&rules(&["g5000"]), listed(5000)), Some(ClaimsRefusal::NoAllowedGroup));
    assert_eq!(refusal(&rules(&["g0"]), listed(5001)), Some(ClaimsRefusal::TooManyGroups));
    assert_eq!(
        refusal(&rules(&[]), listed(5001)),
        Some(ClaimsRefusal::TooManyGroups),
        "some would be missed"
    );
    assert_eq!(rules(&[]).evaluate(&claims(listed(5001))).groups.groups, [""; 0]);
}

/// Claims to a role: what comes out, from where, and what `role_strict` says.
#[test]
fn roles_are_found_as_the_rules_say_and_never_stronger() {
    use RoleSource::{Absent, Failed, Mapped, OwnWord, Unmapped};
    let mapped: &[(&str, Role)] = &[("Owner", Role::Admin), ("Editor", Role::Member)];
    let chosen =
        "contains(groups, 'admins') && 'ADMIN' || contains(groups, 'editors') && 'MEMBER' || 'VIEWER'";
    let listed = "contains(groups[*], 'admins') && 'ADMIN' || 'VIEWER'";
    for (expression, mapping, value, role, source) in [
        // Our own words, where nothing is mapped.
        ("role", &[][..], json!({"role": "admin"}), Role::Admin, OwnWord),
        ("role", &[], json!({"role": "MEMBER"}), Role::Member, OwnWord),
        ("role", &[], json!({"role": "administrator"}), Role::Viewer, Unmapped),
        ("role", &[], json!({"role": "agent"}), Role::Viewer, Unmapped),
        ("role", &[], json!({"role": "SYSTEM"}), Role::Viewer, Unmapped),
        ("role", &[], json!({"role": " admin"}), Role::Viewer, Unmapped),
        // Theirs, where some are.
        ("role", mapped, json!({"role": "Owner"}), Role::Admin, Mapped),
        ("role", mapped, json!({"role": "Editor"}), Role::Member, Mapped),
        ("role", mapped, json!({"role": "owner"}), Role::Viewer, Unmapped),
        ("role", mapped, json!({"role": "admin"}), Role::Viewer, Unmapped),
        ("role", mapped, json!({"role": "Owner "}), Role::Viewer, Unmapped),
        // The first of a list, and no other.
        ("roles", mapped, json!({"roles": ["Editor", "Owner"]}), Role::Member, Mapped),
        ("roles", mapped, json!({"roles": ["x", "Owner"]}), Role::Viewer, Unmapped),
        ("roles", mapped, json!({"roles": []}), Role::Viewer, Absent),
        ("roles", mapped, json!({"roles": [["Owner"]]}), Role::Viewer, Absent),
        // What is no text is none.
        ("role", mapped, json!({}), Role::Viewer, Absent),
        ("role", mapped, json!({"role": null}), Role::Viewer, Absent),
        ("role", mapped, json!({"role": ""}), Role::Viewer, Absent),
        ("role", mapped, json!({"role": 1}), Role::Viewer, Absent),
        ("role", mapped, json!({"role": true}), Role::Viewer, Absent),
        ("role", mapped, json!({"role": {"Owner": "Owner"}}), Role::Viewer, Absent),
        // Expressions that choose.
        (chosen, &[], json!({"groups": ["x", "admins"]}), Role::Admin, OwnWord),
        (chosen, &[], json!({"groups": ["editors"]}), Role::Member, OwnWord),
        (chosen, &[], json!({"groups": ["x"]}), Role::Viewer, OwnWord),
        (chosen, &[], json!({"groups": ["superadmins", "Admins"]}), Role::Viewer, OwnWord),
        (chosen, &[], json!({}), Role::Viewer, Failed),
        (chosen, &[], json!({"groups": null}), Role::Viewer, Failed),
        (chosen, &[], json!({"groups": {"admins": 1}}), Role::Viewer, Failed),
        (
            "contains(not_null(groups, `[]`), 'admins') && 'ADMIN' || 'MEMBER'",
            &[],
            json!({}),
            Role::Member,
            OwnWord,
        ),
        ("contains(groups || `[]`, 'x') && 'ADMIN'", &[], json!({}), Role::Viewer, Absent),
        (
            "!contains(groups, 'guests') && 'ADMIN' || 'VIEWER'",
            &[],
            json!({"groups": ["a"]}),
            Role::Admin,
            OwnWord,
        ),
        ("!contains(groups, 'guests') && 'ADMIN' || 'VIEWER'", &[], json!({}), Role::Viewer, Failed),
        (
            "resource_access.\"my-app\".roles[0]",
            mapped,
            json!({"resource_access": {"my-app": {"roles": ["Owner"]}}}),
            Role::Admin,
            Mapped,
        ),
        ("level >= `3` && 'ADMIN' || 'VIEWER'", &[], json!({"level": 3}), Role::Admin, OwnWord),
        ("level >= `3` && 'ADMIN' || 'VIEWER'", &[], json!({"level": "3"}), Role::Viewer, OwnWord),
        // `contains` of a text finds parts of it; a projection wants a list.
        (chosen, &[], json!({"groups": "superadmins"}), Role::Admin, OwnWord),
        (listed, &[], json!({"groups": "superadmins"}), Role::Viewer, Failed),
        (listed, &[], json!({"groups": ["superadmins"]}), Role::Viewer, OwnWord),
        (listed, &[], json!({"groups": ["admins"]}), Role::Admin, OwnWord),
        // Text of a claim is data.
        ("role", &[], json!({"role": "'ADMIN'"}), Role::Viewer, Unmapped),
        ("role", &[], json!({"role": "`\"admin\"`"}), Role::Viewer, Unmapped),
    ] {
        let of = |strict: bool| {
            with(|rules| {
                rules.role = Some(path(expression));
                rules.role_mapping = mapping.iter().map(|(word, role)| ((*word).to_owned(), *role)).collect();
                rules.role_strict = strict;
            })
        };
        let found = of(false).evaluate(&claims(value.clone()));
        assert_eq!((found.role.role, found.role.source), (role, source), "{expression} of {value}");
        assert_eq!(found.result.unwrap().role, RoleDecision::Set(role), "{expression} of {value}");
        let strict = match source {
            Absent => Some(ClaimsRefusal::RoleAbsent),
            Unmapped => Some(ClaimsRefusal::RoleUnknown),
            Failed => Some(ClaimsRefusal::RoleFailed),
            _ => None,
        };
        assert_eq!(refusal(&of(true), value.clone()), strict, "{expression} of {value}, strictly");
    }
}

#[test]
fn without_a_role_of_its_own_somebody_gets_the_default_but_never_by_an_error() {
    let by = |default: Role, expression: &str, value: Value| {
        let rules = with(|rules| {
            rules.role = Some(path(expression));
            rules.default_role = default;
        });
        rules.evaluate(&claims(value)).role.role
    };
    for default in [Role::Admin, Role::Member, Role::Viewer] {
        assert_eq!(by(default, "role", json!({})), default);
        assert_eq!(by(default, "role", json!({"role": "x"})), default);
        assert_eq!(by(default, "contains(groups, 'a') && 'MEMBER'", json!({})), Role::Viewer);
    }
}

#[test]
fn a_role_is_kept_where_nothing_says_it_or_it_is_not_written_anew() {
    let decided = |rules: &ClaimsRules, value: Value| rules.evaluate(&claims(value)).result.unwrap().role;
    let member = |rules: &mut ClaimsRules| rules.default_role = Role::Member;
    assert_eq!(decided(&with(member), json!({"role": "admin"})), RoleDecision::Keep { new: Role::Member });
    let by_claim = with(|rules| rules.role = Some(path("role")));
    assert_eq!(decided(&by_claim, json!({"role": "admin"})), RoleDecision::Set(Role::Admin));
    assert_eq!(decided(&by_claim, json!({})), RoleDecision::Set(Role::Viewer), "taken back");
    let once = ClaimsRules { role_resync: false, ..by_claim };
    assert_eq!(decided(&once, json!({"role": "admin"})), RoleDecision::Keep { new: Role::Admin });
    let strict = ClaimsRules { role_strict: true, ..once };
    assert_eq!(refusal(&strict, json!({})), Some(ClaimsRefusal::RoleAbsent));
}

#[test]
fn only_machines_are_agents() {
    let rules = with(|rules| {
        rules.role = Some(path("role"));
        rules.subjects = SubjectKind::Machines;
    });
    assert_eq!(rules.evaluate(&claims(json!({"role": "agent"}))).role.role, Role::Agent);
    let people = ClaimsRules { subjects: SubjectKind::People, ..rules.clone() };
    assert_eq!(people.evaluate(&claims(json!({"role": "agent"}))).role.source, RoleSource::Unmapped);
    let failing = ClaimsRules { role: Some(path("sort(role)")), default_role: Role::Agent, ..rules };
    assert_eq!(
        failing.evaluate(&claims(json!({"role": "admin"}))).role.role,
        Role::Agent,
        "and nothing more"
    );
}

#[test]
fn groups_are_asked_first_then_the_domain_then_the_role() {
    let rules = with(|rules| {
        rules.groups = Some(path("groups"));
        rules.allowed_groups = vec!["ops".to_owned()];
        rules.allowed_domains = vec!["example.com".to_owned()];
        rules.role = Some(path("role"));
        rules.role_strict = true;
    });
    let mut value = json!({});
    let mut next = |name: &str, given: Value| {
        let refused = refusal(&rules, value.clone());
        value[name] = given;
        refused
    };
    assert_eq!(next("groups", json!(["ops"])), Some(ClaimsRefusal::GroupsAbsent));
    assert_eq!(next("email", json!("a@example.com")), Some(ClaimsRefusal::Email(EmailRefusal::Absent)));
    assert_eq!(
        next("email_verified", json!(true)),
        Some(ClaimsRefusal::Email(EmailRefusal::Unverified(Unverified::Absent)))
    );
    assert_eq!(next("role", json!("member")), Some(ClaimsRefusal::RoleAbsent));
    assert_eq!(next("", json!(0)), None);
}

#[test]
fn an_address_counts_as_verified_where_the_claim_or_the_setting_says_so() {
    let address = "a@example.com";
    let verified = |by| EmailClaim::Verified { address: address.to_owned(), by };
    let unverified = |why| EmailClaim::Unverified { address: address.to_owned(), why };
    for (value, wanted) in [
        (json!({"email": address, "email_verified": true}), verified(VerifiedBy::Claim)),
        (json!({"email": address, "email_verified": "true"}), verified(VerifiedBy::Claim)),
        (json!({"email": address}), unverified(Unverified::Absent)),
        (json!({"email": address, "email_verified": null}), unverified(Unverified::Absent)),
        (json!({"email": address, "email_verified": false}), unverified(Unverified::No)),
        (json!({"email": address, "email_verified": "false"}), unverified(Unverified::No)),
        (json!({"email": address, "email_verified": 1}), unverified(Unverified::Unclear)),
        (json!({"email": address, "email_verified": "TRUE"}), unverified(Unverified::Unclear)),
        (json!({"email": address, "email_verified": ["true"]}), unverified(Unverified::Unclear)),
        (json!({"email_verified": true}), EmailClaim::None),
        (json!({"email": "", "email_verified": true}), EmailClaim::None),
        (json!({"email": "a b@example.com", "email_verified": true}), EmailClaim::None),
        (json!({"email": [address], "email_verified": true}), EmailClaim::None),
    ] {
        let found = rules().evaluate(&claims(value.clone()));
        assert_eq!(found.email.email, wanted, "{value}");
        assert!(found.result.is_ok(), "nothing needs an address: {value}");
        let trusting = with(|rules| rules.trust_email = true).evaluate(&claims(value.clone())).email.email;
        let trusted = match wanted {
            EmailClaim::Unverified { .. } => verified(VerifiedBy::Setting),
            other => other,
        };
        assert_eq!(trusting, trusted, "{value}");
    }
}

#[test]
fn what_email_verified_says_is_said_of_no_other_claim() {
    let rules = with(|rules| rules.email = path("upn"));
    let email = |value| rules.evaluate(&claims(value)).email.email.verified().map(str::to_owned);
    assert_eq!(
        email(json!({"upn": "boss@example.com", "email": "me@example.com", "email_verified": true})),
        Err(EmailRefusal::Unverified(Unverified::OtherAddress))
    );
    assert_eq!(
        email(json!({"upn": "me@example.com", "email": "me@example.com", "email_verified": true})),
        Ok("me@example.com".to_owned())
    );
}

#[test]
fn a_domain_is_let_in_with_a_verified_address_of_it_only() {
    let rules = |trust| {
        with(|rules| {
            rules.allowed_domains = vec!["example.com".to_owned(), "xn--bcher-kva.example".to_owned()];
            rules.trust_email = trust;
        })
    };
    let of = |address: &str| refusal(&rules(true), json!({"email": address}));
    for address in ["a@example.com", "a@EXAMPLE.com", "a@bücher.example"] {
        assert_eq!(of(address), None, "{address}");
    }
    for address in [
        "a@sub.example.com",
        "a@example.com.evil.example",
        "a@notexample.com",
        "a@example.co",
        "a@example.com.",
    ] {
        assert_eq!(of(address), Some(ClaimsRefusal::OtherDomain), "{address}");
    }
    assert_eq!(of("a@example.com@evil.example"), Some(ClaimsRefusal::Email(EmailRefusal::Absent)));
    let unsure = refusal(&rules(false), json!({"email": "a@example.com"})).unwrap();
    let told = unsure.to_string();
    assert!(
        told.contains("`email_verified` is not there") && told.contains("`trust_email = true`"),
        "{told}"
    );
    let no = refusal(&rules(false), json!({"email": "a@example.com", "email_verified": false})).unwrap();
    assert!(no.to_string().contains("`email_verified` is false"), "{no}");
}

#[test]
fn somebody_without_address_name_and_groups_is_fine_where_nothing_needs_them() {
    let outcome = rules().evaluate(&claims(json!({"sub": "1"}))).result.unwrap();
    let nobody = Rights {
        groups: Vec::new(),
        role: RoleDecision::Keep { new: Role::Viewer },
        email: EmailClaim::None,
        name: None,
    };
    assert_eq!(outcome, nobody);
}

#[test]
fn a_name_is_shown_if_it_can_be() {
    let name = |value: Value| rules().evaluate(&claims(json!({"name": value}))).name.name;
    assert_eq!(name(json!(" Zoë Müller ")), Some("Zoë Müller".to_owned()));
    assert_eq!(name(json!("x".repeat(128))), Some("x".repeat(128)));
    for bad in [json!("x".repeat(129)), json!("a\u{1b}[2Jb"), json!(" "), json!(["a"]), json!(1), json!(null)]
    {
        assert_eq!(name(bad.clone()), None, "{bad}");
    }
}

#[test]
fn what_is_odd_is_told_without_a_word_of_the_claims() {
    let rules = with(|rules| {
        rules.groups = Some(path("groups"));
        rules.role = Some(path("sort(role)"));
    });
    let warnings = |value| {
        let all = rules.evaluate(&claims(value)).warnings();
        all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let odd = json!({"groups": "[s3cret, x]", "role": "s3cret", "email": "s3cret", "name": "s3cret\n\u{7}"});
    let told = warnings(odd);
    for said in ["`role` does not fit", "1 of what the claim for groups", "groups_text", "e-mail", "name"] {
        assert!(told.contains(said), "{said}: {told}");
    }
    assert!(!told.contains("s3cret"), "{told}");
    assert!(warnings(json!({"hasgroups": true, "role": ["a"]})).contains("too many"));
    let fine = json!({"groups": ["ops"], "role": ["a"], "email": "a@b.example", "name": "A"});
    assert_eq!(warnings(fine), "");
}

#[test]
fn a_claim_of_another_name_is_proposed_as_an_expression() {
    let rules = rules();
    let similar = |expression: &str, value| rules.similar(&path(expression), &claims(value));
    assert_eq!(similar("groups", json!({"cognito:groups": [], "sub": "1"})), ["\"cognito:groups\""]);
    assert_eq!(similar("groups", json!({"realm_access": {"roles": []}, "sub": "1"})), ["realm_access.roles"]);
    assert_eq!(similar("mail", json!({"email": "", "sub": "1"})), ["email"]);
    assert_eq!(similar("a.roles", json!({"roles": []})), ["roles"]);
    assert_eq!(similar("groups[0]", json!({"groups": []})), [""; 0]);
    assert_eq!(similar("groups", json!({"groups": [], "sub": "1"})), [""; 0]);
}
