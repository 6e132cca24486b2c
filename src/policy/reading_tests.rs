//! What is decided of requests that can be read in several ways: switches of protocol, methods that are not said,
//! gRPC calls by any media type.

use super::tests::{allowed, challenged, client, denied, key, path, rule, target, user};
use super::*;
use crate::model::graphql::OperationType;
use crate::model::principal::Principal;
use crate::model::target::RequestKind::{self, Grpc, PerhapsSwitch, Plain, Upgrade, WebSocket};

const ALL: [RequestKind; 5] = [Plain, Grpc, WebSocket, Upgrade, PerhapsSwitch];

fn facts<'a>(target: &'a RequestTarget, graphql: Option<&'a Operation>) -> Facts<'a> {
    Facts { target, client: client(), graphql, mcp: &[] }
}

fn methods(words: &[&str]) -> Conditions {
    Conditions {
        methods: words.iter().map(|word| MethodMatch::parse(word).unwrap()).collect(),
        ..Conditions::default()
    }
}

fn policy(rules: Vec<Rule>) -> Policy {
    Policy { enforce: Enforce::On, rules }
}

/// What is decided, with whatever operation cannot be known.
#[track_caller]
fn check(
    policy: &Policy,
    caller: Option<&Principal>,
    request: &str,
    kind: RequestKind,
    expected: Decision<'_>,
) {
    let target = target(request, kind);
    let caller = caller.map_or(Caller::Anonymous, Caller::Known);
    let needed = policy.wants(caller, &facts(&target, None)).graphql.then_some(&Operation::UNKNOWN);
    let decision = policy.evaluate(caller, &facts(&target, needed), &mut ());
    assert_eq!(decision, expected, "{request} {kind:?} {caller:?}");
}

fn fits(when: &Conditions, request: &str, kind: RequestKind) -> bool {
    let target = target(request, kind);
    when.fit(&facts(&target, None), RequestReading::of(&target)) == Fit::Yes
}

#[test]
fn methods_match_by_name_and_class_and_a_switch_is_no_read() {
    let fits = |word: &str, request: &str, kind| fits(&methods(&[word]), request, kind);
    assert!(fits("GET", "HEAD /", Plain) && fits("GET", "GET /", Plain) && !fits("POST", "GET /", Plain));
    assert!(fits("write", "JEFF /", Plain) && !fits("read", "JEFF /", Plain));
    assert!(
        fits("read", "GET /", Grpc) && !fits("websocket", "GET /", Plain) && !fits("write", "GET /", Plain)
    );
    for kind in [WebSocket, Upgrade] {
        for request in ["GET /", "POST /", "OPTIONS /"] {
            assert!(fits("websocket", request, kind) && fits("write", request, kind), "{request}");
            for word in ["read", "GET", "POST", "OPTIONS"] {
                assert!(!fits(word, request, kind), "{word} {request}");
            }
        }
    }
    for text in ["", "get", "Read", "TRACE", "CONNECT", "HEAD", "GE T"] {
        assert!(MethodMatch::parse(text).is_err(), "{text}");
    }
}

#[test]
fn standard_rules_open_sockets_to_members_and_not_to_viewers() {
    let standard = Policy::standard(Enforce::On);
    let (viewer, member) = (user("v", Role::Viewer, &[]), user("m", Role::Member, &[]));
    for request in ["GET /terminal/ws", "POST /attach"] {
        for kind in [WebSocket, Upgrade, PerhapsSwitch] {
            check(
                &standard,
                Some(&member),
                request,
                kind,
                allowed(if kind == PerhapsSwitch && request.starts_with("GET") {
                    "standard-reads"
                } else {
                    "standard-writes"
                }),
            );
            check(&standard, Some(&viewer), request, kind, denied(Some("standard-writes")));
            check(
                &standard,
                Some(&key("ci", Role::Agent, None)),
                request,
                kind,
                denied(Some(if kind == PerhapsSwitch && request.starts_with("GET") {
                    "standard-reads"
                } else {
                    "standard-writes"
                })),
            );
        }
        check(&standard, None, request, WebSocket, challenged(Some("standard-writes")));
    }
    check(&standard, Some(&viewer), "GET /terminal/ws", Plain, allowed("standard-reads"));
}

#[test]
fn a_rule_that_does_not_name_sockets_opens_none_to_those_who_may_not_read_there() {
    let (agent, member) = (key("ci", Role::Agent, None), user("m", Role::Member, &[]));
    for general in [&["write"][..], &[]] {
        let rules = policy(vec![
            rule("reads", methods(&["read"]), &["viewer"]),
            rule("rest", methods(general), &["agent", "member"]),
        ]);
        check(&rules, Some(&agent), "POST /in", Plain, allowed("rest"));
        check(&rules, Some(&agent), "GET /in", WebSocket, denied(Some("reads")));
        check(&rules, Some(&member), "GET /in", WebSocket, allowed("rest"));
    }
    let named = policy(vec![
        rule("sockets", methods(&["websocket"]), &["agent"]),
        rule("reads", methods(&["read"]), &["viewer"]),
    ]);
    check(&named, Some(&agent), "GET /in", WebSocket, allowed("sockets"));
    check(&named, Some(&agent), "GET /in", Plain, denied(Some("reads")));
    check(&named, Some(&member), "GET /in", WebSocket, denied(Some("sockets")));
}

#[test]
fn what_is_only_claimed_to_be_a_switch_gets_what_both_may_have() {
    let (viewer, agent) = (user("v", Role::Viewer, &[]), key("ci", Role::Agent, None));
    let rules = policy(vec![
        rule("sockets", methods(&["websocket"]), &["agent"]),
        rule("all", Conditions::default(), &["viewer"]),
    ]);
    check(&rules, Some(&viewer), "GET /x", Plain, allowed("all"));
    check(&rules, Some(&agent), "GET /x", WebSocket, allowed("sockets"));
    check(&rules, Some(&viewer), "GET /x", PerhapsSwitch, denied(Some("sockets")));
    check(&rules, Some(&agent), "GET /x", PerhapsSwitch, denied(Some("all")));
    let both = policy(vec![
        rule("sockets", methods(&["websocket"]), &["viewer"]),
        rule("all", Conditions::default(), &["viewer"]),
    ]);
    check(&both, Some(&viewer), "GET /x", PerhapsSwitch, allowed("all"));
}

#[test]
fn a_method_that_is_not_said_is_decided_as_the_strictest_the_rules_tell_apart() {
    let (viewer, member) = (user("v", Role::Viewer, &[]), user("m", Role::Member, &[]));
    let standard = Policy::standard(Enforce::On);
    check(&standard, Some(&member), "UNSAID /", Plain, allowed("standard-writes"));
    check(&standard, Some(&viewer), "UNSAID /", Plain, denied(Some("standard-writes")));
    // By name, by class, and classes that hold only what no rule names.
    for strict in ["DELETE", "GET", "OPTIONS", "read", "write", "websocket"] {
        let rules = policy(vec![
            rule("strict", methods(&[strict]), &["admin"]),
            rule("all", Conditions::default(), &["member"]),
        ]);
        check(&rules, Some(&member), "UNSAID /", Plain, denied(Some("strict")));
        let others = policy(vec![
            rule("named", methods(&["GET", "POST", "write", "websocket"]), &["member"]),
            rule("rest", Conditions::default(), &["admin"]),
        ]);
        check(&others, Some(&member), "UNSAID /", Plain, denied(Some("rest")));
    }
    let open = policy(vec![
        rule("sockets", methods(&["websocket"]), &["anyone"]),
        rule("all", Conditions::default(), &["member"]),
    ]);
    for kind in ALL {
        check(&open, None, "UNSAID /", kind, challenged(Some("all")));
    }
}

#[test]
fn a_method_that_is_not_said_may_carry_any_operation_to_any_graphql_rule() {
    let (viewer, member) = (user("v", Role::Viewer, &[]), user("m", Role::Member, &[]));
    let graphql = |kind, words: &[&str]| Conditions {
        graphql: Some(GraphqlMatch { kinds: vec![kind], selects: Selects::Anything }),
        ..Conditions { methods: methods(words).methods, ..path("/graphql") }
    };
    for words in [&["POST"][..], &["GET", "POST"], &["write"], &[]] {
        let rules = policy(vec![
            rule("queries", graphql(OperationType::Query, words), &["viewer"]),
            rule("changes", graphql(OperationType::Mutation, words), &["member"]),
            rule("rest", Conditions::default(), &["viewer"]),
        ]);
        check(&rules, Some(&viewer), "UNSAID /graphql", Plain, denied(Some("changes")));
        check(&rules, Some(&viewer), "UNSAID /GraphQL", Plain, denied(Some("changes")));
        check(&rules, Some(&member), "UNSAID /x", Plain, allowed("rest"));
        check(&rules, Some(&viewer), "UNSAID /x", Plain, allowed("rest"));
    }
}

#[test]
fn a_switch_that_is_answered_by_a_page_may_have_been_a_query() {
    let viewer = user("v", Role::Viewer, &[]);
    let query = Conditions {
        graphql: Some(GraphqlMatch { kinds: vec![OperationType::Query], selects: Selects::Anything }),
        methods: methods(&["GET"]).methods,
        ..path("/graphql")
    };
    let rules = policy(vec![
        rule("sockets", methods(&["websocket"]), &["viewer"]),
        rule("queries", query, &["viewer"]),
    ]);
    for kind in [WebSocket, Upgrade, PerhapsSwitch] {
        let target = target("GET /graphql?query={a}", kind);
        assert!(rules.wants(Caller::Known(&viewer), &facts(&target, None)).graphql, "{kind:?}");
    }
    check(&rules, Some(&viewer), "GET /graphql?query={a}", WebSocket, allowed("sockets"));
    check(&rules, Some(&viewer), "GET /graphql?query={a}", PerhapsSwitch, denied(None));
}

#[test]
fn grpc_rules_match_service_and_method_whatever_the_call_looks_like() {
    let grpc = |pattern: &str| Conditions {
        grpc: vec![GrpcPattern::parse(pattern).unwrap()],
        ..Conditions::default()
    };
    for kind in ALL {
        let fits = |pattern: &str, request: &str| fits(&grpc(pattern), request, kind);
        for request in ["POST /a.B/C", "GET /a.B/C", "UNSAID /a.B/C", "POST /a.B/C/"] {
            for pattern in ["a.B/C", "/a.B/C", "a.B/*"] {
                assert!(fits(pattern, request), "{pattern} {request}");
            }
        }
        assert!(!fits("a.B/C", "POST /a.B/D") && !fits("a.B/*", "POST /a.BC/D"));
        assert!(!fits("a.B/C", "POST /a.B/C/D") && !fits("a.B/*", "POST /a.B/C/D"));
        assert!(
            !fits("a.B/C", "POST /a.B") && !fits("a.B/*", "POST /a.B/") && !fits("a.B/C", "POST /x/a.B/C")
        );
    }
    for text in ["", "a.B", "a.B/", "/", "a b/c", "a/*/c", "../c", "a/.."] {
        assert!(GrpcPattern::parse(text).is_err(), "{text}");
    }
    assert_eq!(GrpcPattern::parse("/a.B/*").unwrap().to_string(), "a.B/*");
}

#[test]
fn grpc_rules_restrict_what_a_careless_server_takes_for_their_method() {
    let (member, admin) = (user("m", Role::Member, &[]), user("a", Role::Admin, &[]));
    let grpc =
        Conditions { grpc: vec![GrpcPattern::parse("a.Flight/DoPut").unwrap()], ..Conditions::default() };
    let rules =
        policy(vec![rule("bulk", grpc, &["admin"]), rule("rest", Conditions::default(), &["member"])]);
    for request in [
        "POST /a.Flight/DoPut",
        "POST /a.flight/doput",
        "POST /A.FLIGHT/DoPut",
        "POST /a.Flight/DoPut/",
        "POST /a.Flight/DoPut.",
        "POST /a.Flight/%2544oPut",
        "UNSAID /a.Flight/DoPut",
    ] {
        for kind in ALL {
            check(&rules, Some(&member), request, kind, denied(Some("bulk")));
        }
        check(&rules, Some(&admin), request, Grpc, allowed("bulk"));
    }
    check(&rules, Some(&member), "POST /a.Flight/DoGet", Grpc, allowed("rest"));
    // As a grant, such a spelling gets no more than either reading may have.
    let grant =
        Conditions { grpc: vec![GrpcPattern::parse("a.Flight/DoGet").unwrap()], ..Conditions::default() };
    let rules =
        policy(vec![rule("queries", grant, &["member"]), rule("rest", Conditions::default(), &["admin"])]);
    check(&rules, Some(&member), "POST /a.Flight/DoGet", Plain, allowed("queries"));
    check(&rules, Some(&member), "POST /a.flight/DoGet", Plain, denied(Some("rest")));
}

#[test]
fn how_strictly_a_switch_is_refused_is_said_by_the_rules_for_both() {
    let viewer = user("v", Role::Viewer, &[]);
    let sockets = Rule { enforce: Enforce::Log, ..rule("sockets", methods(&["websocket"]), &["viewer"]) };
    let rules = policy(vec![sockets, rule("reads", methods(&["read"]), &["viewer"])]);
    let enforcement = |kind| {
        let target = target("GET /x", kind);
        rules.enforcement(Caller::Known(&viewer), &facts(&target, None))
    };
    for kind in ALL {
        assert_eq!(enforcement(kind), Enforce::On, "{kind:?}");
    }
}
