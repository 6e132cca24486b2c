//! Rules about GraphQL operations and what they select.

use std::fmt;

use super::tests::{allowed, client, denied, path, rule, target, user};
use super::*;
use crate::model::graphql::OperationType;
use crate::model::target::RequestKind::Plain;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn graphql_rules_match_the_operation_that_would_run() {
    let graphql = |kinds: &[OperationType], fields: &[&str]| Conditions {
        graphql: Some(GraphqlMatch {
            kinds: kinds.to_vec(),
            selects: if fields.is_empty() { Selects::Anything } else { Selects::Every(words(fields)) },
        }),
        ..path("/graphql")
    };
    let policy = Policy {
        enforce: Enforce::On,
        rules: vec![
            rule("own", graphql(&[OperationType::Mutation], &["setTheme"]), &["viewer"]),
            rule("queries", graphql(&[OperationType::Query], &[]), &["viewer"]),
            rule("changes", graphql(&[OperationType::Mutation], &[]), &["member"]),
        ],
    };
    let viewer = user("v", Role::Viewer, &[]);
    let operation = |kind, fields: &[&str]| Operation { kind, fields: Some(words(fields)), names: None };
    let target = target("POST /graphql", Plain);
    let decide = |graphql: Option<&Operation>| {
        let facts = Facts { target: &target, client: client(), graphql, mcp: &[] };
        assert!(policy.wants(Caller::Known(&viewer), &facts).graphql);
        policy.evaluate(Caller::Known(&viewer), &facts, &mut ())
    };
    let (query, theme) =
        (operation(OperationType::Query, &["x"]), operation(OperationType::Mutation, &["setTheme"]));
    let both = operation(OperationType::Mutation, &["setTheme", "deleteAll"]);
    let subscription = operation(OperationType::Subscription, &["x"]);
    assert_eq!(decide(Some(&query)), allowed("queries"));
    assert_eq!(decide(Some(&theme)), allowed("own"));
    assert_eq!(decide(Some(&both)), denied(Some("changes")));
    assert_eq!(decide(Some(&Operation::UNKNOWN)), denied(Some("changes")));
    assert_eq!(decide(Some(&subscription)), denied(None));
    assert_eq!(decide(None), denied(None), "an operation nobody looked at matches no rule");
}

const ALL: &[OperationType] = &OperationType::ALL;
const CHANGES: &[OperationType] = &[OperationType::Mutation];

fn selecting(kinds: &[OperationType], selects: Selects) -> Conditions {
    Conditions { graphql: Some(GraphqlMatch { kinds: kinds.to_vec(), selects }), ..path("/graphql") }
}

/// Some things are kept for admins or for the group, then members change and viewers query.
fn keeping(back: Vec<(Selects, &[OperationType], &str)>) -> Policy {
    let mut rules: Vec<Rule> = back
        .into_iter()
        .map(|(selects, kinds, who)| rule("kept", selecting(kinds, selects), &[who]))
        .collect();
    rules.push(rule("queries", selecting(&[OperationType::Query], Selects::Anything), &["viewer"]));
    rules.push(rule("changes", selecting(ALL, Selects::Anything), &["member"]));
    Policy { rules, enforce: Enforce::On }
}

/// What becomes of an operation of a type that selects these roots and names these words (`None`: not known).
fn outcome(
    policy: &Policy,
    (role, groups): (Role, &[&str]),
    kind: OperationType,
    known: Option<(&[&str], &[&str])>,
) -> Outcome {
    let caller = user("x", role, groups);
    let operation = Operation {
        kind,
        fields: known.map(|(fields, _)| words(fields)),
        names: known.map(|(fields, names)| [words(fields), words(names)].concat()),
    };
    let target = target("POST /graphql", Plain);
    let facts = Facts { target: &target, client: client(), graphql: Some(&operation), mcp: &[] };
    policy.evaluate(Caller::Known(&caller), &facts, &mut ()).outcome
}

const VIEWER: (Role, &[&str]) = (Role::Viewer, &[]);
const MEMBER: (Role, &[&str]) = (Role::Member, &[]);
const ADMIN: (Role, &[&str]) = (Role::Admin, &[]);

#[test]
fn one_of_the_fields_is_enough_to_be_kept_back() {
    use OperationType::{Mutation, Query, Subscription};
    let policy = keeping(vec![(Selects::Any(words(&["drop", "keys"])), CHANGES, "admin")]);
    for (kind, fields, kept) in [
        (Mutation, Some(&["drop"][..]), true),
        (Mutation, Some(&["add", "drop"]), true),
        (Mutation, Some(&["drop", "keys", "a", "b"]), true),
        (Mutation, Some(&["add"]), false),
        (Mutation, Some(&["Drop", "dropped"]), false),
        (Mutation, None, true),
        // A rule for changes does not speak for what cannot be one.
        (Query, Some(&["drop"]), false),
        (Query, None, false),
        (Subscription, Some(&["drop"]), false),
    ] {
        let known = fields.map(|fields| (fields, &[][..]));
        let member = if kept { Outcome::Deny } else { Outcome::Allow };
        assert_eq!(outcome(&policy, MEMBER, kind, known), member, "{kind} {fields:?}");
        assert_eq!(outcome(&policy, ADMIN, kind, known), Outcome::Allow, "{kind} {fields:?}");
    }
}

#[test]
fn a_rule_for_a_milder_type_counts_in_a_stricter_document() {
    use OperationType::{Mutation, Query, Subscription};
    for selects in [Selects::Any(words(&["keys"])), Selects::Mentions(words(&["keys"]))] {
        let policy = keeping(vec![(selects, &[Query], "admin")]);
        for kind in [Query, Subscription, Mutation] {
            for (known, kept) in [
                (Some((&["keys"][..], &[][..])), true),
                (Some((&["add", "keys"], &[])), true),
                (Some((&["add"], &["id"])), false),
                (None, true),
            ] {
                let member = if kept { Outcome::Deny } else { Outcome::Allow };
                assert_eq!(outcome(&policy, MEMBER, kind, known), member, "{kind} {known:?}");
            }
        }
    }
}

#[test]
fn what_is_named_below_the_roots_is_mentioned() {
    let policy = keeping(vec![(Selects::Mentions(words(&["secrets", "Secret"])), ALL, "admin")]);
    let query = OperationType::Query;
    for (names, kept) in [(&["secrets"][..], true), (&["id", "Secret"], true), (&["secret"], false)] {
        let known = Some((&["node"][..], names));
        let viewer = if kept { Outcome::Deny } else { Outcome::Allow };
        assert_eq!(outcome(&policy, VIEWER, query, known), viewer, "{names:?}");
        assert_eq!(outcome(&policy, ADMIN, query, known), Outcome::Allow, "{names:?}");
    }
    let roots = keeping(vec![(Selects::Any(words(&["secrets"])), ALL, "admin")]);
    assert_eq!(outcome(&roots, VIEWER, query, Some((&["node"], &["secrets"]))), Outcome::Allow);
}

/// A rule that keeps something back lets in nothing that stands beside it, whatever it says itself.
#[test]
fn what_stands_beside_is_decided_by_the_rules_after_it() {
    let mutation = OperationType::Mutation;
    let open = |selects| keeping(vec![(selects, ALL, "anyone")]);
    for policy in [open(Selects::Any(words(&["ping"]))), open(Selects::Mentions(words(&["ping"])))] {
        assert_eq!(outcome(&policy, VIEWER, mutation, Some((&["ping", "drop"], &[]))), Outcome::Deny);
        assert_eq!(outcome(&policy, VIEWER, mutation, None), Outcome::Deny);
        assert_eq!(outcome(&policy, MEMBER, mutation, Some((&["ping", "drop"], &[]))), Outcome::Allow);
    }
    let any = open(Selects::Any(words(&["ping", "pong"])));
    assert_eq!(outcome(&any, VIEWER, mutation, Some((&["ping", "pong"], &[]))), Outcome::Allow, "alone");
    let two = keeping(vec![
        (Selects::Any(words(&["drop"])), ALL, "admin"),
        (Selects::Any(words(&["pay"])), ALL, "group:money"),
    ]);
    let both = Some((&["drop", "pay"][..], &[][..]));
    assert_eq!(outcome(&two, ADMIN, mutation, both), Outcome::Deny);
    assert_eq!(outcome(&two, (Role::Member, &["money"]), mutation, both), Outcome::Deny);
    assert_eq!(outcome(&two, (Role::Admin, &["money"]), mutation, both), Outcome::Allow);
    assert_eq!(outcome(&two, ADMIN, mutation, Some((&["drop"], &[]))), Outcome::Allow);
}

#[derive(Default)]
struct Doubts(Vec<Doubt>);

impl RuleObserver for Doubts {
    fn reading(&mut self, _why: Option<&dyn fmt::Display>) {}

    fn unsure(&mut self, why: Doubt) {
        self.0.push(why);
    }
}

#[test]
fn who_watches_is_told_why_a_rule_does_not_decide_alone() {
    let policy = keeping(vec![(Selects::Any(words(&["drop"])), ALL, "admin")]);
    let (admin, target) = (user("a", Role::Admin, &[]), target("POST /graphql", Plain));
    let mixed = Operation { kind: OperationType::Mutation, fields: Some(words(&["a", "drop"])), names: None };
    for (operation, doubts) in [(&mixed, vec![Doubt::Part]), (&Operation::UNKNOWN, vec![Doubt::Unread])] {
        let facts = Facts { target: &target, client: client(), graphql: Some(operation), mcp: &[] };
        let mut watch = Doubts::default();
        policy.evaluate(Caller::Known(&admin), &facts, &mut watch);
        assert_eq!(watch.0, doubts);
    }
}

#[test]
fn rules_about_every_field_that_keep_back_are_found() {
    let every = |who: &str| rule("narrow", selecting(CHANGES, Selects::Every(words(&["drop"]))), &[who]);
    let wide = |who: &str| rule("wide", selecting(ALL, Selects::Anything), &[who]);
    assert_eq!(bypassed_rules(&[every("admin")], &wide("member")), ["narrow"]);
    assert_eq!(
        bypassed_rules(&[every("admin"), wide("member")], &wide("viewer")),
        Vec::<&str>::new(),
        "said once"
    );
    assert_eq!(bypassed_rules(&[every("viewer")], &wide("member")), Vec::<&str>::new());
    assert_eq!(bypassed_rules(&[every("admin")], &wide("admin")), Vec::<&str>::new());
    let denying = Rule { allow: Vec::new(), deny: vec![Who::Role(Role::Viewer)], ..every("admin") };
    assert_eq!(bypassed_rules(std::slice::from_ref(&denying), &wide("member")), ["narrow"]);
    let any = rule("any", selecting(CHANGES, Selects::Any(words(&["drop"]))), &["admin"]);
    assert_eq!(bypassed_rules(&[any], &wide("member")), Vec::<&str>::new());
    let elsewhere = Rule { when: Conditions { paths: Vec::new(), ..path("/other") }, ..wide("member") };
    assert_eq!(bypassed_rules(&[every("admin")], &elsewhere), ["narrow"], "everywhere is there too");
    let elsewhere = Rule { when: path("/other"), ..wide("member") };
    assert_eq!(bypassed_rules(&[every("admin")], &elsewhere), Vec::<&str>::new());
    let reads = Rule {
        when: Conditions { methods: vec![MethodMatch::Read], ..Conditions::default() },
        ..wide("viewer")
    };
    assert_eq!(bypassed_rules(&[every("admin")], &reads), Vec::<&str>::new());
}

#[test]
fn standard_rules_that_know_graphql_let_viewers_query_and_members_change() {
    let policy = Policy::standard(Enforce::On).with_graphql(&[PathPattern::parse("/graphql").unwrap()]);
    assert_eq!(Policy::standard(Enforce::On).with_graphql(&[]), Policy::standard(Enforce::On));
    let (viewer, member) = (user("v", Role::Viewer, &[]), user("m", Role::Member, &[]));
    let operation = |kind| Operation { kind, ..Operation::UNKNOWN };
    for request in ["POST /graphql", "GET /graphql?query=x", "GET /graphql?query=mutation{a}"] {
        let target = target(request, Plain);
        for kind in OperationType::ALL {
            let operation = operation(kind);
            let facts = Facts { target: &target, client: client(), graphql: Some(&operation), mcp: &[] };
            let (reads, changes) = (Some("standard-queries"), Some("standard-changes"));
            let by_viewer = policy.evaluate(Caller::Known(&viewer), &facts, &mut ());
            let by_member = policy.evaluate(Caller::Known(&member), &facts, &mut ());
            if kind == OperationType::Mutation {
                assert_eq!((by_viewer, by_member), (denied(changes), allowed(changes.unwrap())), "{request}");
            } else {
                assert_eq!(
                    (by_viewer, by_member),
                    (allowed(reads.unwrap()), allowed(reads.unwrap())),
                    "{request}"
                );
            }
        }
    }
}
