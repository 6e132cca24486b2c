//! Rules about what stands in the query of a URL, and about messages of the Model Context Protocol.

use super::tests::{client, path, rule, target, user};
use super::*;
use crate::model::query::QueryParameter;
use crate::model::target::RequestKind::Plain;

const VIEWER: Role = Role::Viewer;
const MEMBER: Role = Role::Member;

fn methods(words: &[&str]) -> Conditions {
    Conditions {
        methods: words.iter().map(|word| MethodMatch::parse(word).unwrap()).collect(),
        ..Conditions::default()
    }
}

fn outcome(rules: &[Rule], role: Role, request: &str, messages: &[Message]) -> Outcome {
    let policy = Policy { rules: rules.to_vec(), enforce: Enforce::On };
    let (caller, target) = (user("x", role, &[]), target(request, Plain));
    let facts = Facts { target: &target, client: client(), graphql: None, mcp: messages };
    policy.evaluate(Caller::Known(&caller), &facts, &mut ()).outcome
}

fn allowed(rules: &[Rule], role: Role, request: &str, messages: &[Message]) -> bool {
    outcome(rules, role, request, messages) == Outcome::Allow
}

#[test]
fn a_parameter_that_some_program_could_read_is_the_stricter_answer() {
    let saying = |text: &str| Conditions {
        query: vec![QueryParameter::parse(text).unwrap()],
        ..Conditions::default()
    };
    let push = "service=git-receive-pack";
    let keeps = [rule("push", saying(push), &["member"]), rule("rest", Conditions::default(), &["viewer"])];
    let opens = [
        rule("fetch", saying("service=git-upload-pack"), &["viewer"]),
        rule("rest", Conditions::default(), &["member"]),
    ];
    for (query, kept, opened) in [
        ("", false, false),
        ("?service=git-upload-pack", false, true),
        ("?service=git-receive-pack", true, false),
        ("?service=git-upload-pack&service=git-receive-pack", true, false),
        ("?service=git-receive-pack&service=git-upload-pack", true, false),
        ("?Service=git-receive-pack", true, false),
        ("?servic%65=git-receive-pack", true, false),
        ("?service=git-receive-pac%6B", true, false),
        ("?x;service=git-receive-pack", true, false),
        ("?servic%65=git-upload-pack", false, false),
        ("?service=git-upload-pack;x", false, false),
        ("?service=git-upload-pack+", false, false),
    ] {
        let request = format!("GET /info/refs{query}");
        assert_eq!(allowed(&keeps, VIEWER, &request, &[]), !kept, "{query}");
        assert!(allowed(&keeps, MEMBER, &request, &[]), "{query}");
        assert_eq!(allowed(&opens, VIEWER, &request, &[]), opened, "{query}");
        assert!(allowed(&opens, MEMBER, &request, &[]), "{query}");
    }
    // What perhaps stands there opens nothing to those whom the rest does not take.
    let odd = [rule("odd", saying(push), &["viewer"]), rule("rest", Conditions::default(), &["admin"])];
    assert!(allowed(&odd, VIEWER, "GET /?service=git-receive-pack", &[]));
    assert!(!allowed(&odd, VIEWER, "GET /?SERVICE=git-receive-pack", &[]));
}

#[test]
fn a_change_by_the_query_of_a_get_is_no_read() {
    let standard = Policy::standard(Enforce::On).rules;
    let by_name =
        [rule("get", methods(&["GET"]), &["viewer"]), rule("rest", Conditions::default(), &["member"])];
    for (query, changes) in [
        ("?query=%7Bprojects%7D", false),
        ("?query=mutation%7Bdrop%7D", true),
        ("?q=mutation%7Bdrop%7D", true),
        ("?query=up%7Bjob%3D%22mutation%22%7D", false),
    ] {
        for method in ["GET", "HEAD", "OPTIONS"] {
            let request = format!("{method} /graphql{query}");
            assert_eq!(allowed(&standard, VIEWER, &request, &[]), !changes, "{request}");
            assert!(allowed(&standard, MEMBER, &request, &[]), "{request}");
        }
        assert!(
            allowed(&by_name, VIEWER, &format!("GET /graphql{query}"), &[]),
            "GET by name is what it says"
        );
    }
    // It is a read as well, so a caller who may not read may not do it either.
    let writers =
        [rule("reads", methods(&["read"]), &["member"]), rule("writes", methods(&["write"]), &["viewer"])];
    assert!(allowed(&writers, VIEWER, "POST /graphql?query=mutation%7Bdrop%7D", &[]));
    assert!(!allowed(&writers, VIEWER, "GET /graphql?query=mutation%7Bdrop%7D", &[]));
}

fn asking(words: &[&str], tools: &[&str]) -> Conditions {
    let methods = words.iter().map(|word| McpMethod::parse(word).unwrap()).collect();
    let tools = tools.iter().map(|tool| (*tool).to_owned()).collect();
    Conditions { mcp: Some(McpMatch { methods, tools }), ..path("/mcp") }
}

fn call(tool: &str) -> Message {
    Message::Request { method: "tools/call".to_owned(), tool: Some(tool.to_owned()) }
}

fn request(method: &str) -> Message {
    Message::Request { method: method.to_owned(), tool: None }
}

#[test]
fn viewers_list_and_read_and_members_call() {
    let rules = [
        rule("looks", asking(&["read"], &[]), &["viewer"]),
        rule("search", asking(&["tools/call"], &["search"]), &["viewer"]),
        rule("drop", asking(&["tools/call"], &["drop"]), &["admin"]),
        rule("calls", asking(&["write"], &[]), &["member"]),
        rule("streams", methods(&["read"]), &["viewer"]),
        rule("ends", methods(&["DELETE"]), &["viewer"]),
    ];
    let post = "POST /mcp";
    for (messages, viewers, members) in [
        (&[request("tools/list")][..], true, true),
        (&[request("initialize")], true, true),
        (&[request("notifications/initialized")], true, true),
        (&[request("tasks/cancel")], false, true),
        (&[request("x/y")], false, true),
        (&[request("Tools/List")], false, true),
        (&[call("search")], true, true),
        (&[call("Search")], false, true),
        (&[call("add")], false, true),
        (&[call("drop")], false, false),
        (&[call("DROP")], false, false),
        (&[call("dr-op")], false, false),
        (&[call("dröp")], false, false),
        (
            &[Message::Request { method: "Tools/Call".to_owned(), tool: Some("drop".to_owned()) }],
            false,
            false,
        ),
        (&[request("tools/call")], false, false),
        (&[Message::Response], false, true),
        (&[Message::Unknown], false, false),
        (&[request("tools/list"), call("search")], true, true),
        (&[request("tools/list"), call("add")], false, true),
        (&[call("search"), call("add"), call("drop")], false, false),
        (&[request("tools/list"), Message::Unknown], false, false),
    ] {
        assert_eq!(allowed(&rules, VIEWER, post, messages), viewers, "{messages:?}");
        assert_eq!(allowed(&rules, MEMBER, post, messages), members, "{messages:?}");
        assert!(allowed(&rules, Role::Admin, post, messages), "{messages:?}");
    }
    for (line, fits) in [("GET /mcp", true), ("DELETE /mcp", true), ("PUT /mcp", false)] {
        assert_eq!(allowed(&rules, VIEWER, line, &[]), fits, "{line}");
    }
    assert!(!allowed(&rules, Role::Agent, "GET /mcp", &[]));
}

#[test]
fn a_message_that_cannot_be_read_is_a_write_and_opens_nothing() {
    let unknown = &[Message::Unknown];
    for (words, tools) in [
        (&["read"][..], &[][..]),
        (&["tools/list"], &[]),
        (&["tasks/*"], &[]),
        (&["response"], &[]),
        (&["tools/call"], &["search"]),
    ] {
        let opens = [
            rule("opens", asking(words, tools), &["viewer"]),
            rule("rest", asking(&["write"], &[]), &["member"]),
        ];
        assert!(!allowed(&opens, VIEWER, "POST /mcp", unknown), "{words:?}");
        assert!(allowed(&opens, MEMBER, "POST /mcp", unknown), "{words:?}");
    }
    for words in [&["tasks/cancel"][..], &["tasks/*"], &["write"]] {
        let keeps =
            [rule("keeps", asking(words, &[]), &["admin"]), rule("rest", Conditions::default(), &["viewer"])];
        assert!(!allowed(&keeps, VIEWER, "POST /mcp", unknown), "{words:?}");
        assert!(!allowed(&keeps, VIEWER, "POST /mcp", &[request("tasks/cancel")]), "{words:?}");
        assert!(!allowed(&keeps, VIEWER, "POST /mcp", &[request("TASKS/Cancel")]), "{words:?}");
        assert!(allowed(&keeps, VIEWER, "POST /mcp", &[request("tools/list")]), "{words:?}");
        assert!(allowed(&keeps, Role::Admin, "POST /mcp", unknown), "{words:?}");
    }
    // Where no rule asks, it is not parsed.
    let plain = [rule("rest", Conditions::default(), &["viewer"])];
    assert!(allowed(&plain, VIEWER, "POST /mcp", &[]));
}

#[test]
fn a_body_is_wanted_only_where_it_can_change_the_answer() {
    let policy = Policy {
        rules: vec![
            rule("calls", asking(&["write"], &[]), &["member"]),
            rule("rest", Conditions::default(), &["viewer"]),
        ],
        enforce: Enforce::On,
    };
    let (viewer, agent) = (user("v", VIEWER, &[]), user("a", Role::Agent, &[]));
    let wants = |line: &str, caller| {
        let target = target(line, Plain);
        policy.wants(caller, &Facts { target: &target, client: client(), graphql: None, mcp: &[] })
    };
    let mcp = WantedFacts { graphql: false, mcp: true };
    assert_eq!(wants("POST /mcp", Caller::Known(&viewer)), mcp);
    assert_eq!(wants("POST /other", Caller::Known(&viewer)), WantedFacts::default());
    assert_eq!(wants("POST /mcp", Caller::Known(&agent)), WantedFacts::default());
    assert_eq!(wants("POST /mcp", Caller::Anonymous), WantedFacts::default());
}

#[test]
fn a_rule_about_messages_is_dead_only_behind_one_that_takes_them_all() {
    let said = |earlier: Conditions, later: Conditions| {
        !shadowed(&[rule("a", earlier, &["viewer"])], &rule("b", later, &["member"])).is_empty()
    };
    assert!(said(path("/mcp"), asking(&["write"], &[])));
    assert!(said(asking(&["read", "write"], &[]), asking(&["write"], &[])));
    assert!(!said(asking(&["write"], &[]), asking(&["read"], &[])));
    assert!(!said(asking(&["tools/call"], &[]), asking(&["tools/call"], &["x"])));
    assert!(!said(asking(&["write"], &["x"]), asking(&["write"], &[])));
    assert!(!said(asking(&["write"], &[]), path("/mcp")));
    let push = || Conditions { query: vec![QueryParameter::parse("a=b").unwrap()], ..Conditions::default() };
    assert!(!said(push(), push()), "the second may be decided where the first is in doubt");
}
