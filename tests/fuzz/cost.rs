//! What the classification of a GraphQL request may cost, over the worst that is known: steps and memory are counted.

use std::fmt::Write as _;

use doorward::gate::graphql::{Budget, Envelope, classify, classify_within, json_headers};
use doorward::model::target::RequestKind;
use http::Method;

/// What `server.limits.graphql_body_bytes` is by default.
const LIMIT: usize = 1 << 20;

/// `unit` as often as it fits between two ends.
fn filled(begin: &str, unit: &str, end: &str) -> String {
    let times = (LIMIT - 100 - begin.len() - end.len()) / unit.len();
    format!("{begin}{}{end}", unit.repeat(times))
}

fn posted(document: &str) -> String {
    serde_json::json!({ "query": document }).to_string()
}

/// Bodies by name.
fn bodies() -> Vec<(&'static str, String)> {
    let spreads = posted(&format!("fragment F on Q{{{}}} {{{}}}", "a ".repeat(990), "...F".repeat(11_900)));
    let (mut circles, mut chain) = (String::from("{...F0}"), String::from("{...F0}"));
    let mut strangers = String::new();
    for at in 0..1500 {
        let (next, other) = ((at + 1) % 1500, (at + 7) % 1500);
        _ = write!(circles, "fragment F{at} on Q{{...F{next} ...F{other}}}");
        _ = write!(chain, "fragment F{at} on Q{{...F{} ...F{}}}", at + 1, at + 1);
        _ = write!(strangers, "query A{at} {{a{at}}}");
    }
    let doubled = format!("{}{{{}}}", "fragment F on Q{a}".repeat(2400), "...F".repeat(2400));
    let variables = |unit: &str| filled(r#"{"query":"{a}","variables":["#, unit, "1]}");
    vec![
        ("a batch of spreads of one large fragment", format!("[{spreads},{spreads},{spreads}]")),
        ("spreads of one large fragment", spreads),
        ("fragments in circles", posted(&circles)),
        ("a tree of fragments", posted(&chain)),
        ("fragments of one name", posted(&doubled)),
        ("operations", posted(&strangers)),
        ("fields", filled(r#"{"query":"{"#, "a ", r#"}"}"#)),
        ("aliases", filled(r#"{"query":"{"#, "a:b ", r#"}"}"#)),
        ("fields of a field", filled(r#"{"query":"{a{"#, "a ", r#"}}"}"#)),
        ("a list", filled(r#"{"query":"{a(x:["#, "1 ", r#"])}"}"#)),
        ("deep lists", filled(r#"{"query":"{a(x:"#, "[", r#")}"}"#)),
        ("deep fields", filled(r#"{"query":""#, "{a", r#""}"#)),
        ("a string", filled(r#"{"query":"{a(x:\""#, "x", r#"\")}"}"#)),
        ("escapes in a string", filled(r#"{"query":"{a(x:\""#, r"\\n", r#"\")}"}"#)),
        ("escapes of everything", filled(r#"{"query":"{a"#, r"\u0020", r#"}"}"#)),
        ("a block string", filled(r#"{"query":"{a(x:\"\"\""#, r"x\n", r#"\"\"\")}"}"#)),
        ("comments", filled(r#"{"query":"{a"#, r"#\n", r#"}"}"#)),
        ("commas", filled(r#"{"query":"{a"#, ",", r#"}"}"#)),
        ("a name", filled(r#"{"query":"{"#, "a", r#"}"}"#)),
        ("a number", filled(r#"{"query":"{a(x:"#, "1", r#")}"}"#)),
        ("members that are null", filled(r#"{"query":"{a}""#, r#","x":null"#, "}")),
        ("a member with a long name", filled(r#"{"query":"{a}",""#, r"\u0061", r#"":null}"#)),
        ("extensions", filled(r#"{"query":"{a}","extensions":{"a":1"#, r#","a":1"#, "}}")),
        ("variables: deep", variables("[")),
        ("variables: numbers", variables("1,")),
        ("variables: objects", variables("{},")),
        ("variables: strings", variables(r#""","#)),
        ("variables: a number", variables("1")),
        ("variables: blanks", variables(" ")),
        ("a batch", filled("[", r#"{"query":"{a}"},"#, "1]")),
        ("a batch of documents", format!("[{}]", vec![posted(&"{ a } ".repeat(1400)); 100].join(","))),
    ]
}

/// Nothing within the limit costs more steps than it has bytes to pay for, or than one request may cost, or 16 MiB.
#[test]
fn the_worst_requests_cost_little() {
    let headers = json_headers();
    for (name, body) in bodies() {
        assert!(body.len() <= LIMIT, "{name}: {} bytes", body.len());
        let body = Some(body.as_bytes());
        let (kind, method) = (RequestKind::Plain, &Method::POST);
        let envelope = Envelope { kind, method, query: None, headers: &headers, body };
        let mut budget = Budget::full();
        classify_within(&mut budget, &envelope);
        assert!(budget.spent() <= 60_000, "{name}: {} steps", budget.spent());
        let used = allocation_counter::measure(|| drop(classify(&envelope)));
        assert!(used.bytes_max <= 4 << 20, "{name}: {} bytes at once", used.bytes_max);
        assert!(used.bytes_total <= 8 << 20, "{name}: {} bytes", used.bytes_total);
        assert!(used.count_total <= 5_000, "{name}: {} allocations", used.count_total);
        assert_eq!(used.bytes_current, 0, "{name}");
    }
    // The counter counts: a mebibyte of escapes has to be unescaped somewhere.
    let escapes = bodies().into_iter().find(|(name, _)| *name == "escapes in a string").unwrap().1;
    let query = posted(&escapes);
    assert!(
        allocation_counter::measure(|| drop(serde_json::from_str::<serde_json::Value>(&query))).bytes_max
            > LIMIT as u64 / 2
    );
}
