//! GraphQL requests and how they are classified.

use http::{HeaderMap, HeaderValue, Method};

use super::{Envelope, classify, json_headers};
use crate::model::graphql::{Operation, OperationType};
use crate::model::target::RequestKind;

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn posted<'a>(headers: &'a HeaderMap, query: Option<&'a str>, body: &'a [u8]) -> Envelope<'a> {
    Envelope { kind: RequestKind::Plain, method: &Method::POST, query, headers, body: Some(body) }
}

fn post(body: &str) -> Operation {
    classify(&posted(&json_headers(), None, body.as_bytes()))
}

fn get(query: &str) -> Operation {
    let (query, headers) = (Some(query), &HeaderMap::new());
    classify(&Envelope { kind: RequestKind::Plain, method: &Method::GET, query, headers, body: Some(b"") })
}

const JSON: (&str, &str) = ("content-type", "application/json");

fn document(text: &str) -> Operation {
    post(&serde_json::json!({ "query": text }).to_string())
}

/// Its type and root fields.
fn roots(operation: Operation) -> (OperationType, Option<Vec<String>>) {
    (operation.kind, operation.fields)
}

const MUTATION: OperationType = OperationType::Mutation;
const QUERY: OperationType = OperationType::Query;

#[test]
fn plain_operations_are_what_they_say() {
    for (document, kind, fields) in [
        ("{ a b { c } }", QUERY, vec!["a", "b"]),
        ("query Q($x: Int = 1) { a(x: $x) }", QUERY, vec!["a"]),
        ("mutation { m }", MUTATION, vec!["m"]),
        ("subscription { s }", OperationType::Subscription, vec!["s"]),
        ("query { ...F } fragment F on Query { a ... on Query { b } }", QUERY, vec!["a", "b"]),
        ("query { alias: real }", QUERY, vec!["real"]),
    ] {
        let body = serde_json::json!({ "query": document }).to_string();
        let fields = fields.into_iter().map(str::to_owned).collect();
        assert_eq!(roots(post(&body)), (kind, Some(fields)), "{document}");
    }
}

#[test]
fn what_a_document_names_is_told_wherever_it_stands() {
    for (text, names) in [
        ("{ a b: c { d(x: {e: 1}) @f { g } } }", &["a", "c", "d", "g"][..]),
        (
            "mutation M($v: V) { m { ... on T { n } ... @i { o } ...F } } fragment F on U { p }",
            &["T", "U", "m", "n", "o", "p"],
        ),
        ("query A { a } query B { b } fragment Unused on W { q }", &["W", "a", "b", "q"]),
    ] {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(document(text).names.as_ref(), Some(&names), "{text}");
    }
    let batch = post(r#"[{"query":"{ a { b } }"},{"query":"mutation { c { b } }"}]"#);
    assert_eq!(batch.names.unwrap(), ["a", "b", "c"]);
    let many: Vec<String> = (0..1001).map(|at| format!("f{at}")).collect();
    assert_eq!(document(&format!("{{ a {{ {} }} }}", many.join(" "))).names, None);
    assert!(document(&format!("{{ a {{ {} }} }}", many[..999].join(" "))).names.is_some());
}

#[test]
fn the_named_operation_counts_and_without_a_name_the_strictest() {
    let document = "query A { a } mutation B { b }";
    let named = |name: serde_json::Value| {
        post(&serde_json::json!({ "query": document, "operationName": name }).to_string()).kind
    };
    assert_eq!(named("A".into()), QUERY);
    assert_eq!(named("B".into()), MUTATION);
    assert_eq!(named("C".into()), MUTATION, "a name that is not there runs nothing we know");
    assert_eq!(named(serde_json::Value::Null), MUTATION);
    assert_eq!(named("".into()), MUTATION);
    assert_eq!(named(7.into()), MUTATION);
}

#[test]
fn a_batch_is_as_strict_as_its_strictest() {
    assert_eq!(post(r#"[{"query":"{ a }"},{"query":"{ b }"}]"#).kind, QUERY);
    assert_eq!(post(r#"[{"query":"{ a }"},{"query":"mutation { b }"}]"#).kind, MUTATION);
    assert_eq!(post(r#"[{"query":"{ a }"},{"id":"persisted"}]"#).kind, MUTATION);
    assert_eq!(post("[]").kind, MUTATION);
    let many = vec![r#"{"query":"{ a }"}"#; 101].join(",");
    assert_eq!(post(&format!("[{many}]")).kind, MUTATION);
}

#[test]
fn whatever_is_not_plainly_understood_is_a_mutation_of_unknown_fields() {
    for body in [
        "",
        "null",
        "7",
        "\"{ a }\"",
        "{}",
        "not json",
        r#"{"query":null}"#,
        r#"{"query":7}"#,
        r#"{"query":""}"#,
        r#"{"query":"{ a "}"#,
        r#"{"query":"type A { b: Int }"}"#,
        r#"{"query":"{ a }","query":"mutation { b }"}"#,
        r#"{"query":"{ a }","Query":"mutation { b }"}"#,
        r#"{"extensions":{"persistedQuery":{"sha256Hash":"x"}}}"#,
        r#"{"query":"{ a }"} trailing"#,
        r#"{"query":"fragment F on Query { a }"}"#,
    ] {
        assert_eq!(post(body), Operation::UNKNOWN, "{body}");
    }
    let deep = format!("{}{}", "{ a ".repeat(10_000), "}".repeat(10_000));
    assert_eq!(post(&serde_json::json!({ "query": deep }).to_string()), Operation::UNKNOWN);
}

#[test]
fn fragments_that_loop_or_are_missing_leave_the_fields_unknown() {
    for document in [
        "query { ...F } fragment F on Query { ...F }",
        "query { ...F } fragment F on Query { ...G } fragment G on Query { ...F }",
        "query { ...Nowhere }",
    ] {
        let body = serde_json::json!({ "query": document }).to_string();
        assert_eq!(roots(post(&body)), (QUERY, None), "{document}");
    }
}

#[test]
fn one_plain_type_is_understood_and_nothing_beside_it() {
    let body = br#"{"query":"{ a }"}"#;
    let with = |lines: &[(&'static str, &'static str)]| classify(&posted(&headers(lines), None, body)).kind;
    for plain in [
        "application/json",
        "Application/JSON",
        "application/graphql+json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "application/json;Charset=Utf-8",
    ] {
        assert_eq!(with(&[("content-type", plain)]), QUERY, "{plain}");
    }
    for odd in [
        "",
        "application/json;",
        "application/json; charset=utf-7",
        "application/json; charset=utf8",
        "application/json; charset=\"utf-8\"",
        "application/json; charset=utf-8; charset=utf-7",
        "application/json; charset=utf-8;",
        "application/json; charset =utf-8",
        "application/json ; charset=utf-8",
        "application/json;  charset=utf-8",
        "application/json; odata=verbose",
        "application/json; boundary=x",
        "application/json, text/plain",
        "application/json,application/json",
        "application/json5",
        "application/x-json",
        "text/json",
        "text/plain",
        "application/graphql-response+json",
        "application/graphql; charset=utf-8",
        "application/graphql",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
    ] {
        assert_eq!(with(&[("content-type", odd)]), MUTATION, "{odd}");
    }
    assert_eq!(with(&[]), MUTATION);
    assert_eq!(with(&[JSON, JSON]), MUTATION);
    assert_eq!(with(&[JSON, ("content-type", "application/x-www-form-urlencoded")]), MUTATION);
    for encoding in ["gzip", "identity", ""] {
        assert_eq!(with(&[JSON, ("content-encoding", encoding)]), MUTATION, "{encoding}");
    }
    assert_eq!(with(&[JSON, ("content-transfer-encoding", "base64")]), MUTATION);
    let graphql = headers(&[("content-type", "application/graphql")]);
    assert_eq!(classify(&posted(&graphql, None, b"{ a }")).kind, QUERY);
    assert_eq!(classify(&posted(&graphql, None, b"query={ a }")).kind, MUTATION);
}

#[test]
fn only_a_plain_exchange_has_an_operation() {
    let headers = json_headers();
    let body: &[u8] = br#"{"query":"{ a }"}"#;
    for (kind, expected) in [
        (RequestKind::Plain, QUERY),
        (RequestKind::WebSocket, MUTATION),
        (RequestKind::Upgrade, MUTATION),
        (RequestKind::Grpc, MUTATION),
    ] {
        let by_post = Envelope { kind, ..posted(&headers, None, body) };
        let by_get = Envelope { method: &Method::GET, query: Some("query={a}"), body: Some(b""), ..by_post };
        assert_eq!((classify(&by_post).kind, classify(&by_get).kind), (expected, expected), "{kind:?}");
        assert_eq!(by_post.is_in_body(), kind == RequestKind::Plain);
        assert!(!by_get.is_in_body());
        for unread in [by_post, by_get] {
            assert_eq!(classify(&Envelope { body: None, ..unread }), Operation::UNKNOWN);
        }
    }
    for method in ["PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"] {
        let method = &Method::from_bytes(method.as_bytes()).unwrap();
        assert_eq!(classify(&Envelope { method, ..posted(&headers, None, body) }).kind, MUTATION);
    }
}

#[test]
fn parameters_of_a_url_speak_in_any_spelling() {
    let headers = json_headers();
    for (parameters, both) in [
        ("", true),
        ("trace=1", true),
        ("op=Projects", true),
        ("variables=%7B%7D", true),
        ("Variables=1&variables=2", true),
        ("q=1&queries=2&ids=3", true),
        ("Query={b}", false),
        ("QUERY={b}", false),
        ("%71uery={b}", false),
        ("que%72y={b}", false),
        ("%2571uery={b}", false),
        ("query[]={b}", false),
        ("query%5B%5D={b}", false),
        ("query[x]={b}", false),
        ("+query={b}", false),
        ("query.={b}", false),
        ("query%00={b}", false),
        ("operationname=B", false),
        ("OperationName=B", false),
        ("operation_name=B", false),
        ("id=1", false),
        ("ID=1", false),
        ("documentId=1", false),
        ("document_id=1", false),
        ("doc_id=1", false),
        ("queryId=1", false),
        ("extensions[persistedQuery][sha256Hash]=1", false),
        ("Extensions={}", false),
        ("extensions=%7B%22persistedQuery%22:%7B%22sha256Hash%22:%221%22%7D%7D", false),
        ("extensions=%7B%22persisted\\u0051uery%22:1%7D", false),
        ("extensions=1", false),
        ("a=1;query={b}", false),
        ("%ff=1", false),
        ("%=1", false),
    ] {
        let expected = if both { QUERY } else { MUTATION };
        let body = br#"{"query":"{ a }"}"#;
        assert_eq!(classify(&posted(&headers, Some(parameters), body)).kind, expected, "POST {parameters}");
        let joined = [format!("{parameters}&query=%7Ba%7D"), format!("query=%7Ba%7D&{parameters}")];
        for query in joined {
            assert_eq!(get(&query).kind, expected, "GET {query}");
        }
    }
    for alone in ["query={b}", "operationName=B", "extensions={}", "query"] {
        let body = br#"{"query":"query B { a }"}"#;
        assert_eq!(classify(&posted(&headers, Some(alone), body)).kind, MUTATION, "POST {alone}");
    }
    assert_eq!(get("query={a}&extensions=%7B%22clientLibrary%22:%7B%7D%7D").kind, QUERY);
    assert_eq!(get("query={a}&extensions=%7B%7D&extensions=%7B%7D").kind, MUTATION);
    assert_eq!(get("query=%7Ba(x:%22%ff%22)%7D").kind, MUTATION);
    assert_eq!(get("query={a(x:%22%u0022%22)}").kind, MUTATION);
}

#[test]
fn a_stored_document_or_a_member_of_unknown_meaning_is_not_understood() {
    for (member, expected) in [
        (r#""id":null"#, QUERY),
        (r#""variables":{"id":1,"query":"mutation { b }"}"#, QUERY),
        (r#""extensions":{"clientLibrary":{"name":"x"}}"#, QUERY),
        (r#""extensions":null"#, QUERY),
        (r#""extensions":{"persistedQuery":{"version":1,"sha256Hash":"x"}}"#, MUTATION),
        (r#""extensions":{"PersistedQuery":1}"#, MUTATION),
        (r#""extensions":{"persisted\u0051uery":1}"#, MUTATION),
        (r#""extensions":{"persisted_query":1}"#, MUTATION),
        (r#""extensions":[]"#, MUTATION),
        (r#""id":"1""#, MUTATION),
        (r#""documentId":"1""#, MUTATION),
        (r#""doc_id":1"#, MUTATION),
        (r#""mutation":"mutation { b }""#, MUTATION),
        (r#""operationname":"B""#, MUTATION),
        (r#""Query":"mutation { b }""#, MUTATION),
        (r#""query\u0000":"mutation { b }""#, MUTATION),
        (r#""q\u0075ery":"mutation { b }""#, MUTATION),
        (r#""query":null"#, MUTATION),
        (r#""variables":1,"variables":2"#, MUTATION),
        (r#""1":1"#, MUTATION),
        (r#""x":NaN"#, MUTATION),
        (r#""x":"\ud800""#, MUTATION),
        ("\"variables\":\"\u{1}\"", MUTATION),
        ("// comment\n\"variables\":1", MUTATION),
        ("variables:1", MUTATION),
        ("'variables':1", MUTATION),
    ] {
        for body in
            [format!(r#"{{"query":"{{ a }}",{member}}}"#), format!(r#"{{{member},"query":"{{ a }}"}}"#)]
        {
            assert_eq!(post(&body).kind, expected, "{body}");
            assert_eq!(post(&format!("[{body}]")).kind, expected, "[{body}]");
        }
    }
    for bytes in [
        &b"\xEF\xBB\xBF{\"query\":\"{ a }\"}"[..],
        b"{\"query\":\"{ a }\",\"variables\":\"\xff\"}",
        b"{\"query\":\"{ a }\",\"variables\":\"\xc0\xa2\"}",
        b"{\"query\":\"{ a }\"}\0",
        b"{\"query\":\"{ a }\",}",
        b"+AHs-\"query\":\"{ a }\"}",
    ] {
        let headers = json_headers();
        assert_eq!(classify(&posted(&headers, None, bytes)), Operation::UNKNOWN, "{bytes:?}");
    }
    let utf16 = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
        r#"{"query":"{ a }"}"#.encode_utf16().flat_map(unit).collect()
    };
    for bytes in [utf16(u16::to_le_bytes), utf16(u16::to_be_bytes)] {
        assert_eq!(classify(&posted(&json_headers(), None, &bytes)), Operation::UNKNOWN);
    }
}

#[test]
fn what_lexers_split_differently_is_not_understood() {
    for text in [
        "{ a # x\r b\n }",
        "{ a # x\u{2028} b\n }",
        "{ a # x\u{85} b\n }",
        "{ a # x\u{0} b\n }",
        "{ a\u{b}b }",
        "{ a\u{a0}b }",
        "\u{feff}{ a }",
        "{ a(x: \"\u{2028}\") }",
        r#"{ a(x: [""" "]) b(x: [" """]) }"#,
        r#"{ a(x: """ \""" """) }"#,
        r#"{ a(x: """x\"""") }"#,
        r#"{ a(x: "\u{41}") }"#,
        r#"{ a(x: "\u12") }"#,
        r#"{ a(x: "\u"") b(y: "") }"#,
        r#"{ a(x: "\x41") }"#,
        "{ a(x: \"\n\") }",
        "{ a(x: 01) }",
        "{ a(x: 1a) }",
        "{ a(x: 1.) }",
        "{ a(x: 1.0.0) }",
        "{ a(x: .5) }",
        "{ a(x: 1e) }",
        "{ a(x: +1) }",
        "{ é }",
        "{ a? }",
        "{ a; b }",
        "{ .. on Q { a } }",
        "{}",
        "{ a() }",
        "{ a {} }",
        "{ ...on }",
        "{ a: }",
        "{ a: b: c }",
        "query () { a }",
        "query ($x) { a }",
        "query Q R { a }",
        "QUERY { a }",
        "fragment on on Q { a } { a }",
        "fragment F { a } { a }",
        "fragment F($x: Int) on Q { a } { a }",
        r#""described" query { a }"#,
        "extend type Q { a: Int } { a }",
        "{ a } }",
        "{ a",
        "{ a(x: [1) }",
        "{ a(x: {y}) }",
        "{ a @ }",
        "{ a @include(if:) }",
        "{ ... }",
    ] {
        assert_eq!(document(text), Operation::UNKNOWN, "{text:?}");
    }
}

#[test]
fn whatever_clients_write_is_read() {
    for (text, fields) in [
        ("{a,b,,c}", vec!["a", "b", "c"]),
        ("# first\n# second\r\n{ a } # last", vec!["a"]),
        ("{ a: b c: d }", vec!["b", "d"]),
        (
            "{ query mutation on fragment true null }",
            vec!["fragment", "mutation", "null", "on", "query", "true"],
        ),
        ("query query { a }", vec!["a"]),
        ("query Q($x: [[Int!]!]! = [[1]] @d(y: {z: 1}), $s: String) @e { a(x: $x) }", vec!["a"]),
        (
            r#"{ a(x: "\"\\\/\b\f\n\r\t\u007B} mutation { b", y: """two { mutation
             lines""", z: "") }"#,
            vec!["a"],
        ),
        ("{ a(x: -1.5e+10, y: 0, z: [], o: {}, p: {q: [E, $v, null, true]}) { b } }", vec!["a"]),
        ("{ ... { a } ... @skip(if: true) { b } ...on Q @x { c ... { d } } }", vec!["a", "b", "c", "d"]),
        ("{ a @include(if: $x) { ...G } ...F @y } fragment F on Q @z { b }", vec!["a", "b"]),
        ("{ ...F ...F ...G } fragment F on Q { a ...G } fragment G on Q { b }", vec!["a", "b"]),
        ("{ ...F } fragment F on Q { a } fragment F on Q { b }", vec!["a", "b"]),
        ("query A { a } query A { b }", vec!["a", "b"]),
        ("{ é: a }", vec![]),
    ] {
        let known = (!fields.is_empty()).then(|| fields.into_iter().map(str::to_owned).collect());
        let kind = if known.is_some() { QUERY } else { MUTATION };
        assert_eq!(roots(document(text)), (kind, known), "{text}");
    }
}

#[test]
fn two_operations_of_one_name_both_count() {
    for text in ["query A { a } mutation A { b }", "mutation A { b } query A { a }"] {
        let body = serde_json::json!({ "query": text, "operationName": "A" }).to_string();
        assert_eq!(post(&body).kind, MUTATION, "{text}");
    }
    let body = serde_json::json!({ "query": "{ a } mutation A { b }", "operationName": "A" }).to_string();
    assert_eq!(post(&body).kind, MUTATION);
}

#[test]
fn one_budget_is_for_all_of_a_batch() {
    let fields = "a ".repeat(3000);
    let batch = |length: usize| {
        let one = format!(r#"{{"query":"{{ {fields} }}"}}"#);
        format!("[{}]", vec![one; length].join(","))
    };
    assert_eq!(post(&batch(1)).kind, QUERY);
    assert_eq!(post(&batch(2)), Operation::UNKNOWN);
    let many: Vec<String> = (0..200).map(|at| format!("f{at}")).collect();
    assert_eq!(roots(document(&format!("{{ {} }}", many.join(" ")))), (QUERY, None));
    let tokens = format!("{{ a(x: [{}]) }}", "1 ".repeat(50_000));
    assert_eq!(document(&tokens), Operation::UNKNOWN);
    let longest = |length: usize| document(&format!("{{ {} }}", "a".repeat(length))).kind;
    assert_eq!((longest(256), longest(257)), (QUERY, MUTATION));
}

#[test]
fn get_requests_are_read_from_the_url() {
    assert_eq!(get("query=%7Ba%7D").kind, QUERY);
    assert_eq!(get("query=mutation%7Bb%7D").kind, MUTATION);
    assert_eq!(get("query=%7Ba%7D&query=mutation%7Bb%7D").kind, MUTATION);
    assert_eq!(get("query=query+A%7Ba%7D+mutation+B%7Bb%7D&operationName=A").kind, QUERY);
    assert_eq!(get("query=query+A%7Ba%7D+mutation+B%7Bb%7D&operationName=B").kind, MUTATION);
    assert_eq!(get("").kind, MUTATION);
}

#[test]
fn head_is_read_as_get() {
    let headers = &json_headers();
    for query in [Some("query=%7Ba%7D"), Some("query=mutation%7Bb%7D"), Some("query=%7B"), Some(""), None] {
        for body in [&b""[..], br#"{"query":"{ a }"}"#] {
            let [get, head] = [Method::GET, Method::HEAD].map(|method| {
                classify(&Envelope {
                    kind: RequestKind::Plain,
                    method: &method,
                    query,
                    headers,
                    body: Some(body),
                })
            });
            assert_eq!(head, get, "{query:?}");
            assert!(body.is_empty() || get == Operation::UNKNOWN, "{query:?}");
        }
    }
}
