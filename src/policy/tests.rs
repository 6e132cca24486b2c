//! What the policy decides, as tables.

use std::net::IpAddr;

use http::Method;

use super::*;
use crate::model::api_key::KeyScope;
use crate::model::graphql::OperationType;
use crate::model::principal::{IdentitySource, Principal, PrincipalKind, Proof};
use crate::model::target::RequestKind;
use crate::model::target::RequestKind::Plain;
use crate::model::time::Timestamp;
use crate::model::user::UserId;

pub(super) fn client() -> ClientAddress {
    ClientAddress::at(IpAddr::from([192, 0, 2, 1]))
}

pub(super) fn user(name: &str, role: Role, groups: &[&str]) -> Principal {
    Principal {
        kind: PrincipalKind::User(UserId(name.into())),
        name: name.into(),
        email: None,
        display_name: None,
        role,
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        source: IdentitySource::Local,
        must_change_password: false,
        proof: Proof::Session {
            id: "s".into(),
            expires_at: Timestamp(1),
            last_seen_at: Timestamp(0),
            host: None,
        },
    }
}

pub(super) fn key(name: &str, role: Role, owner: Option<&str>) -> Principal {
    let kind = match owner {
        Some(owner) => PrincipalKind::UserKey { user: UserId(owner.into()), key: "id1".into() },
        None => PrincipalKind::SystemKey { key: "id1".into() },
    };
    let proof =
        Proof::Key { expires_at: None, scope: KeyScope::default(), name: name.into(), last_used_at: None };
    Principal { kind, proof, ..user(owner.unwrap_or(name), role, &[]) }
}

pub(super) fn target(request: &str, kind: RequestKind) -> RequestTarget {
    let (method, path) = request.split_once(' ').unwrap();
    RequestTarget::parse(&method.parse().unwrap(), "app.example", &path.parse().unwrap(), kind).unwrap()
}

pub(super) fn rule(name: &str, when: Conditions, allow: &[&str]) -> Rule {
    let allow = allow.iter().map(|who| Who::parse(who).unwrap()).collect();
    Rule { name: name.into(), when, deny: Vec::new(), allow, enforce: Enforce::On }
}

pub(super) fn allowed(rule: &str) -> Decision<'_> {
    Decision { outcome: Outcome::Allow, rule: Some(rule), enforce: Enforce::On }
}

pub(super) fn denied(rule: Option<&str>) -> Decision<'_> {
    Decision { outcome: Outcome::Deny, rule, enforce: Enforce::On }
}

pub(super) fn challenged(rule: Option<&str>) -> Decision<'_> {
    Decision { outcome: Outcome::Challenge, rule, enforce: Enforce::On }
}

pub(super) fn path(text: &str) -> Conditions {
    Conditions { paths: vec![PathPattern::parse(text).unwrap()], ..Conditions::default() }
}

#[track_caller]
fn check(policy: &Policy, caller: Caller<'_>, request: &str, expected: Decision<'_>) {
    let target = target(request, Plain);
    let facts = Facts { target: &target, client: client(), graphql: None, mcp: &[] };
    assert_eq!(policy.evaluate(caller, &facts, &mut ()), expected, "{request} {caller:?}");
}

#[test]
fn what_looks_at_paths_is_known() {
    assert!(!Policy::standard(Enforce::On).looks_at_paths());
    assert!(
        Policy { enforce: Enforce::On, rules: vec![rule("a", path("/a"), &["anyone"])] }.looks_at_paths()
    );
}

#[test]
fn standard_rules_let_viewers_read_and_members_write() {
    let policy = Policy::standard(Enforce::On);
    let (viewer, member) = (user("v", Role::Viewer, &[]), user("m", Role::Member, &[]));
    let agent = key("ci", Role::Agent, None);
    for request in ["GET /", "HEAD /x", "OPTIONS /"] {
        check(&policy, Caller::Known(&viewer), request, allowed("standard-reads"));
        check(&policy, Caller::Known(&agent), request, denied(Some("standard-reads")));
        check(&policy, Caller::Anonymous, request, challenged(Some("standard-reads")));
    }
    for request in ["POST /", "DELETE /x", "PROPFIND /", "JEFF /"] {
        check(&policy, Caller::Known(&member), request, allowed("standard-writes"));
        check(&policy, Caller::Known(&viewer), request, denied(Some("standard-writes")));
    }
}

/// P35: rules that overlap.
#[test]
fn the_first_rule_that_fits_the_request_decides() {
    let policy = Policy {
        enforce: Enforce::On,
        rules: vec![
            rule("open", path("/public"), &["anyone"]),
            rule("admin", path("/admin"), &["admin"]),
            rule("rest", Conditions::default(), &["signed-in"]),
        ],
    };
    let (viewer, admin) = (user("v", Role::Viewer, &[]), user("a", Role::Admin, &[]));
    let agent = key("ci", Role::Agent, None);
    check(&policy, Caller::Anonymous, "GET /public/x", allowed("open"));
    check(&policy, Caller::Anonymous, "GET /publicx", challenged(Some("rest")));
    check(&policy, Caller::Known(&viewer), "GET /admin", denied(Some("admin")));
    check(&policy, Caller::Known(&admin), "GET /admin", allowed("admin"));
    check(&policy, Caller::Known(&viewer), "POST /x", allowed("rest"));
    check(&policy, Caller::Known(&agent), "POST /x", denied(Some("rest")));
}

#[test]
fn no_rule_is_a_denial() {
    let policy = Policy { enforce: Enforce::On, rules: Vec::new() };
    let admin = user("a", Role::Admin, &[]);
    check(&policy, Caller::Known(&admin), "GET /", denied(None));
    check(&policy, Caller::Anonymous, "GET /", challenged(None));
}

#[test]
fn a_deny_list_wins_and_lets_the_next_rule_speak_for_the_others() {
    let deny = Rule {
        deny: vec![Who::Group("sales".into())],
        allow: Vec::new(),
        ..rule("no-sales", Conditions::default(), &[])
    };
    let policy =
        Policy { enforce: Enforce::On, rules: vec![deny, rule("all", Conditions::default(), &["viewer"])] };
    let (sales, ops) = (user("s", Role::Admin, &["sales"]), user("o", Role::Viewer, &["ops"]));
    check(&policy, Caller::Known(&sales), "GET /", denied(Some("no-sales")));
    check(&policy, Caller::Known(&ops), "GET /", allowed("all"));
}

#[test]
fn a_path_that_a_careless_server_reads_as_a_stricter_one_is_decided_as_that() {
    let policy = Policy {
        enforce: Enforce::On,
        rules: vec![
            rule("admin", path("/admin"), &["admin"]),
            rule("rest", Conditions::default(), &["viewer"]),
        ],
    };
    let (viewer, admin) = (user("v", Role::Viewer, &[]), user("a", Role::Admin, &[]));
    for request in [
        "GET /Admin",
        "GET /ADMIN/x",
        "GET /admin.",
        "GET /admin%20",
        "GET /%2561dmin",
        "GET /adm%C4%B1n",
        "GET /%61dmin",
    ] {
        check(&policy, Caller::Known(&viewer), request, denied(Some("admin")));
        check(&policy, Caller::Known(&admin), request, allowed("admin"));
    }
    check(&policy, Caller::Known(&viewer), "GET /Other", allowed("rest"));
}

#[test]
fn who_is_matched_by_role_group_user_key_and_provider() {
    let viewer = user("Vera", Role::Viewer, &["ops"]);
    let system = key("ci", Role::Member, None);
    let users_key = key("ci", Role::Viewer, Some("vera"));
    let cases = [
        ("user:vera", [true, false, true]),
        ("user:VERA", [true, false, true]),
        ("user:ci", [false, false, false]),
        ("group:ops", [true, false, false]),
        ("group:op", [false, false, false]),
        ("key:ci", [false, true, false]), // a person's key cannot pose as a system key by its name
        ("key:id1", [false, true, true]),
        ("viewer", [true, true, true]),
        ("member", [false, true, false]),
        ("agent", [false, false, false]),
        ("signed-in", [true, true, true]),
        ("provider:local", [true, true, true]),
        ("provider:okta", [false, false, false]),
    ];
    for (who, expected) in cases {
        let who = Who::parse(who).unwrap();
        let found = [&viewer, &system, &users_key].map(|principal| who.includes(Caller::Known(principal)));
        assert_eq!(found, expected, "{who}");
        assert!(!who.includes(Caller::Anonymous), "{who}");
    }
    for text in ["", "owner", "group:", "Viewer", "role:admin", "anyone "] {
        assert!(Who::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_query_never_takes_part_in_matching_a_path() {
    for pattern in ["/admin", "/**/admin", "/**/admin/**"] {
        let policy = Policy {
            enforce: Enforce::On,
            rules: vec![
                rule("admin", path(pattern), &["admin"]),
                rule("rest", Conditions::default(), &["viewer"]),
            ],
        };
        let viewer = user("v", Role::Viewer, &[]);
        for (path, expected) in [
            ("/admin", denied(Some("admin"))),
            ("/ADMIN.", denied(Some("admin"))),
            ("/x", allowed("rest")),
            ("/X.", allowed("rest")),
            ("/", allowed("rest")),
        ] {
            for query in ["", "?", "?/admin", "?/x", "?x=/admin", "?x/../admin", "?/x?/admin", "?#/admin"] {
                let request = format!("GET {path}{query}");
                check(&policy, Caller::Known(&viewer), &request, expected);
            }
        }
    }
}

#[test]
fn head_is_decided_as_get() {
    let methods =
        |text: &str| Conditions { methods: vec![MethodMatch::parse(text).unwrap()], ..Conditions::default() };
    let graphql = |kind| Conditions {
        graphql: Some(GraphqlMatch { kinds: vec![kind], selects: Selects::Anything }),
        ..Conditions::default()
    };
    let denying = |when| Rule { deny: vec![Who::Anyone], ..rule("deny", when, &[]) };
    let conditions = ["GET", "POST", "OPTIONS", "read", "write", "websocket"].map(methods);
    let conditions =
        conditions.into_iter().chain([OperationType::Query, OperationType::Mutation].map(graphql));
    let (viewer, admin) = (user("v", Role::Viewer, &[]), user("a", Role::Admin, &[]));
    let callers = [Caller::Anonymous, Caller::Known(&viewer), Caller::Known(&admin)];
    let mut outcomes = Vec::new();
    for when in conditions {
        for first in
            [rule("first", when.clone(), &["admin"]), rule("first", when.clone(), &["anyone"]), denying(when)]
        {
            let policy = Policy {
                enforce: Enforce::On,
                rules: vec![first, rule("rest", Conditions::default(), &["viewer"])],
            };
            for caller in callers {
                for kind in [OperationType::Query, OperationType::Mutation] {
                    let operation = Operation { kind, ..Operation::UNKNOWN };
                    let [get, head] = ["GET /x", "HEAD /x"].map(|request| {
                        let target = target(request, Plain);
                        let facts =
                            Facts { target: &target, client: client(), graphql: Some(&operation), mcp: &[] };
                        (policy.wants(caller, &facts).graphql, policy.evaluate(caller, &facts, &mut ()))
                    });
                    assert_eq!(head, get, "{policy:?} {caller:?}");
                    outcomes.push(get.1.outcome);
                }
            }
        }
    }
    for outcome in [Outcome::Allow, Outcome::Challenge, Outcome::Deny] {
        assert!(outcomes.contains(&outcome), "{outcome:?} is among the cases");
    }
    assert!(MethodMatch::parse("HEAD").unwrap_err().contains("write GET"), "no rule speaks for HEAD alone");
}

#[test]
fn deny_takes_every_word_that_allow_takes() {
    let imported = PrincipalKind::ImportedKey { ring: "old".into(), key: "reader".into() };
    let glass = PrincipalKind::BreakGlass { name: "on-call".into() };
    let callers = [
        ("vera", user("vera", Role::Viewer, &["ops"])),
        ("mel", user("mel", Role::Member, &["data"])),
        ("root", user("root", Role::Admin, &[])),
        ("ci", key("ci", Role::Member, None)),
        ("agent", key("agent", Role::Agent, None)),
        ("laptop", key("laptop", Role::Viewer, Some("vera"))),
        ("reader", Principal::example(imported, "reader", Role::Viewer)),
        ("on-call", Principal::example(glass, "on-call", Role::Admin)),
    ];
    for (word, refused) in [
        ("anyone", &["nobody", "vera", "mel", "root", "ci", "agent", "laptop", "reader", "on-call"][..]),
        ("signed-in", &["vera", "mel", "root", "ci", "laptop", "reader", "on-call"]),
        ("viewer", &["vera", "mel", "root", "ci", "laptop", "reader", "on-call"]),
        ("member", &["mel", "root", "ci", "on-call"]),
        ("admin", &["root", "on-call"]),
        ("agent", &["agent"]),
        ("group:ops", &["vera"]),
        ("group:data", &["mel"]),
        ("user:VERA", &["vera", "laptop"]),
        ("user:ci", &[]),
        ("key:ci", &["ci"]),
        ("key:id1", &["ci", "agent", "laptop"]),
        ("key:laptop", &[]), // a user key's name is its owner's choice
        ("key:reader", &["reader"]),
        ("provider:local", &["vera", "mel", "root", "ci", "agent", "laptop"]),
        ("provider:imported", &["reader"]),
        ("provider:break-glass", &["on-call"]),
        ("provider:okta", &[]),
    ] {
        let who = Who::parse(word).unwrap();
        // Alone, beside what allows everyone, and after it: a denial wins.
        for (name, allow) in [("next", &[][..]), ("both", &["anyone"])] {
            let both = Rule { deny: vec![who.clone()], ..rule("both", Conditions::default(), allow) };
            let policy = Policy {
                enforce: Enforce::On,
                rules: vec![both, rule("next", Conditions::default(), &["anyone"])],
            };
            for (label, caller) in [("nobody", Caller::Anonymous)]
                .into_iter()
                .chain(callers.iter().map(|(label, principal)| (*label, Caller::Known(principal))))
            {
                let expected = if refused.contains(&label) { denied(Some("both")) } else { allowed(name) };
                let target = target("POST /x", Plain);
                let facts = Facts { target: &target, client: client(), graphql: None, mcp: &[] };
                assert_eq!(
                    policy.evaluate(caller, &facts, &mut ()),
                    expected,
                    "deny {word}, asked by {label}"
                );
            }
        }
    }
}

#[test]
fn bodies_are_needed_only_where_a_graphql_rule_could_speak() {
    let when = Conditions {
        graphql: Some(GraphqlMatch { kinds: vec![OperationType::Query], selects: Selects::Anything }),
        methods: vec![MethodMatch::Named(Method::POST)],
        ..path("/graphql")
    };
    let policy = Policy {
        enforce: Enforce::On,
        rules: vec![rule("queries", when, &["viewer"]), rule("rest", Conditions::default(), &["viewer"])],
    };
    let viewer = user("v", Role::Viewer, &[]);
    for (request, expected) in
        [("POST /graphql", true), ("POST /GraphQL", true), ("GET /graphql", false), ("POST /upload", false)]
    {
        let target = target(request, Plain);
        let facts = Facts { target: &target, client: client(), graphql: None, mcp: &[] };
        assert_eq!(policy.wants(Caller::Known(&viewer), &facts).graphql, expected, "{request}");
        assert!(
            !policy.wants(Caller::Anonymous, &facts).graphql,
            "{request}: refused whatever is in the body"
        );
    }
}

#[test]
fn hosts_and_networks_narrow_a_rule() {
    let policy = Policy {
        enforce: Enforce::On,
        rules: vec![
            rule(
                "lan",
                Conditions { networks: vec!["192.0.2.0/24".parse().unwrap()], ..Conditions::default() },
                &["anyone"],
            ),
            rule(
                "host",
                Conditions { hosts: vec!["app.example".into()], ..Conditions::default() },
                &["viewer"],
            ),
        ],
    };
    let target = target("GET /", Plain);
    let decide = |client: &str| {
        let facts = Facts { target: &target, client: client.parse().unwrap(), graphql: None, mcp: &[] };
        policy.evaluate(Caller::Anonymous, &facts, &mut ())
    };
    assert_eq!(decide("192.0.2.77"), allowed("lan"));
    assert_eq!(decide("198.51.100.1"), challenged(Some("host")));
}

/// Every order of four rules that name networks or do not, for every caller: somebody whose address is unknown is
/// never let through where an address, inside or outside of each network, would be refused.
#[test]
fn a_client_that_is_unknown_gets_what_the_least_of_all_addresses_gets() {
    let near = || Conditions { networks: vec!["10.0.0.0/8".parse().unwrap()], ..Conditions::default() };
    let far = || Conditions { networks: vec!["172.16.0.0/12".parse().unwrap()], ..Conditions::default() };
    let deny = |name: &str, when: Conditions| Rule {
        deny: vec![Who::Group("guests".into())],
        ..rule(name, when, &[])
    };
    let rules = [
        rule("near-anyone", near(), &["anyone"]),
        rule("near-admins", near(), &["admin"]),
        deny("near-no-guests", near()),
        rule("far-members", far(), &["member"]),
        Rule { enforce: Enforce::Log, ..deny("far-log-guests", far()) },
        rule("viewers", Conditions::default(), &["viewer"]),
        deny("no-guests", Conditions::default()),
        rule(
            "reads",
            Conditions { methods: vec![MethodMatch::Read], ..Conditions::default() },
            &["signed-in"],
        ),
    ];
    let callers = [
        None,
        Some(user("v", Role::Viewer, &["guests"])),
        Some(user("m", Role::Member, &[])),
        Some(user("a", Role::Admin, &[])),
    ];
    let strictness =
        |decision: Decision<'_>| (decision.outcome != Outcome::Allow).then_some(decision.enforce);
    let (mut allowed, mut stricter) = (0, 0);
    for first in 0..rules.len() {
        for second in 0..rules.len() {
            for third in 0..rules.len() {
                let chosen = [first, second, third].map(|at| rules[at].clone());
                let policy = Policy { enforce: Enforce::On, rules: chosen.to_vec() };
                for caller in &callers {
                    let caller = caller.as_ref().map_or(Caller::Anonymous, Caller::Known);
                    let target = target("GET /", Plain);
                    let decide = |client: &str| {
                        let facts = Facts {
                            target: &target,
                            client: client.parse().unwrap(),
                            graphql: None,
                            mcp: &[],
                        };
                        strictness(policy.evaluate(caller, &facts, &mut ()))
                    };
                    let unknown = decide("unknown");
                    let outside = decide("192.0.2.1");
                    for known in [decide("10.0.0.1"), decide("172.16.0.1"), outside] {
                        assert!(unknown >= known, "{policy:?} {caller:?}");
                    }
                    allowed += usize::from(unknown.is_none());
                    stricter += usize::from(unknown > outside);
                }
            }
        }
    }
    assert!(allowed > 100 && stricter > 100, "{allowed} {stricter}");
}

#[test]
fn a_body_is_read_for_an_unknown_client_only_if_some_operation_could_be_allowed() {
    let networks = || vec!["10.0.0.0/8".parse().unwrap()];
    let query = GraphqlMatch { kinds: vec![OperationType::Query], selects: Selects::Anything };
    let near = Conditions { networks: networks(), ..Conditions::default() };
    let both = Conditions { graphql: Some(query.clone()), ..near.clone() };
    let target = target("POST /", Plain);
    let facts = Facts { target: &target, client: ClientAddress::unknown(), graphql: None, mcp: &[] };
    let viewer = user("v", Role::Viewer, &[]);
    let needs = |rules: Vec<Rule>| {
        Policy { enforce: Enforce::On, rules }.wants(Caller::Known(&viewer), &facts).graphql
    };
    let admins = || rule("near", near.clone(), &["admin"]);
    let queries =
        || rule("queries", Conditions { graphql: Some(query.clone()), ..Conditions::default() }, &["viewer"]);
    assert!(needs(vec![queries()]) && needs(vec![rule("near", near.clone(), &["viewer"]), queries()]));
    assert!(needs(vec![
        rule("both", both.clone(), &["admin"]),
        rule("rest", Conditions::default(), &["viewer"])
    ]));
    assert!(!needs(vec![admins(), queries()]));
    assert!(!needs(vec![rule("both", both, &["viewer"])]));
}
