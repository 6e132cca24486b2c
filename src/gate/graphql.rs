//! Classifies a GraphQL request by the operation that would run.
//!
//! Whatever is not plainly understood is a mutation: a rule for queries must never let a write through.

use apollo_parser::Parser;
use apollo_parser::cst::{Definition, Document, OperationDefinition, Selection, SelectionSet};
use http::Method;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::model::graphql::{Operation, OperationType};

const MOST_BATCHED: usize = 100;
const MOST_FRAGMENT_SPREADS: usize = 1000;
const DEEPEST: usize = 64;
const MOST_TOKENS: usize = 50_000;

/// One GraphQL-over-HTTP request.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// GET carries the request in the query, everything else in the body.
    pub method: &'a Method,
    /// The query of the URL.
    pub query: Option<&'a str>,
    /// The media type of the body, as sent.
    pub content_type: Option<&'a str>,
    /// Whether the body is compressed or otherwise encoded; then it is not understood.
    pub encoded: bool,
    /// The body.
    pub body: &'a [u8],
}

/// The operation that would run; of several, the strictest.
pub fn classify(envelope: &Envelope<'_>) -> Operation {
    understand(envelope).unwrap_or(Operation::UNKNOWN)
}

/// `None` for whatever is not plainly understood.
fn understand(envelope: &Envelope<'_>) -> Option<Operation> {
    let in_url = UrlParameters::read(envelope.query.unwrap_or_default());
    if matches!(*envelope.method, Method::GET | Method::HEAD) {
        // A body on GET, or a parameter given twice, is read differently by different servers.
        let parameters = in_url.filter(|_| envelope.body.is_empty())?;
        return classify_document(&parameters.query?, parameters.operation_name.as_deref());
    }
    // Some servers let URL parameters win over the body.
    let clean_url =
        in_url.is_some_and(|parameters| parameters.query.is_none() && parameters.operation_name.is_none());
    if !clean_url || envelope.encoded {
        return None;
    }
    let media_type = envelope.content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/graphql") {
        return classify_document(std::str::from_utf8(envelope.body).ok()?, None);
    }
    let is_json = media_type.eq_ignore_ascii_case("application/json")
        || media_type.eq_ignore_ascii_case("application/graphql+json");
    if !is_json {
        return None;
    }
    match serde_json::from_slice::<Posted>(envelope.body).ok()? {
        Posted::One(request) => classify_document(&request.query?, request.operation_name.as_deref()),
        Posted::Batch(requests) if requests.is_empty() => None,
        Posted::Batch(requests) => requests
            .iter()
            .map(|request| classify_document(request.query.as_deref()?, request.operation_name.as_deref()))
            .try_fold(None, |strictest: Option<Operation>, operation| {
                let operation = operation?;
                Some(Some(match strictest {
                    Some(other) => stricter(other, operation),
                    None => operation,
                }))
            })?,
    }
}

fn stricter(a: Operation, b: Operation) -> Operation {
    let fields = a.fields.zip(b.fields).map(|(mut a, b)| {
        a.extend(b);
        a
    });
    Operation { kind: a.kind.max(b.kind), fields }
}

fn classify_document(text: &str, operation_name: Option<&str>) -> Option<Operation> {
    let tree = Parser::new(text).recursion_limit(DEEPEST).token_limit(MOST_TOKENS).parse();
    if tree.errors().next().is_some() {
        return None;
    }
    let document = tree.document();
    let operations: Vec<OperationDefinition> = document
        .definitions()
        .map(|definition| match definition {
            Definition::OperationDefinition(operation) => Some(Some(operation)),
            Definition::FragmentDefinition(_) => Some(None),
            _ => None, // schema definitions have no place in a request
        })
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect();
    let name_of = |operation: &OperationDefinition| operation.name().map(|name| name.text().to_string());
    let candidates: Vec<&OperationDefinition> = match operation_name.filter(|name| !name.is_empty()) {
        Some(wanted) => operations.iter().filter(|op| name_of(op).as_deref() == Some(wanted)).collect(),
        None => operations.iter().collect(),
    };
    candidates.into_iter().map(|operation| classify_operation(&document, operation)).reduce(stricter)
}

fn classify_operation(document: &Document, operation: &OperationDefinition) -> Operation {
    let kind = match operation.operation_type() {
        None => OperationType::Query, // the short form `{ … }`
        Some(kind) if kind.query_token().is_some() => OperationType::Query,
        Some(kind) if kind.subscription_token().is_some() => OperationType::Subscription,
        Some(_) => OperationType::Mutation,
    };
    let mut fields = Vec::new();
    let mut budget = MOST_FRAGMENT_SPREADS;
    let known = operation
        .selection_set()
        .and_then(|selections| root_fields(document, &selections, &mut fields, &mut budget, 0));
    Operation { kind, fields: known.map(|()| fields) }
}

/// Collects the fields a selection set selects, through fragments; `None` where that cannot be told.
fn root_fields(
    document: &Document,
    selections: &SelectionSet,
    fields: &mut Vec<String>,
    budget: &mut usize,
    depth: usize,
) -> Option<()> {
    if depth > DEEPEST {
        return None;
    }
    for selection in selections.selections() {
        *budget = budget.checked_sub(1)?;
        match selection {
            Selection::Field(field) => fields.push(field.name()?.text().to_string()),
            Selection::InlineFragment(fragment) => {
                root_fields(document, &fragment.selection_set()?, fields, budget, depth + 1)?;
            }
            Selection::FragmentSpread(spread) => {
                let wanted = spread.fragment_name()?.name()?.text().to_string();
                let fragment = document.definitions().find_map(|definition| match definition {
                    Definition::FragmentDefinition(fragment)
                        if fragment.fragment_name()?.name()?.text() == wanted.as_str() =>
                    {
                        Some(fragment)
                    }
                    _ => None,
                })?;
                root_fields(document, &fragment.selection_set()?, fields, budget, depth + 1)?;
            }
        }
    }
    Some(())
}

/// What a URL says about the operation.
#[derive(Default)]
struct UrlParameters {
    query: Option<String>,
    operation_name: Option<String>,
}

impl UrlParameters {
    /// `None` where a parameter stands twice.
    fn read(query: &str) -> Option<Self> {
        let mut read = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let slot = match name.as_ref() {
                "query" => &mut read.query,
                "operationName" => &mut read.operation_name,
                _ => continue,
            };
            if slot.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        Some(read)
    }
}

/// One request object, or a batch of them.
enum Posted {
    One(Request),
    Batch(Vec<Request>),
}

/// A request object. A member that stands twice makes it unreadable: servers differ in which one they take.
#[derive(Default)]
struct Request {
    query: Option<String>,
    operation_name: Option<String>,
}

impl<'de> Deserialize<'de> for Posted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PostedVisitor).map(|posted| match posted {
            (mut requests, false) => Self::One(requests.pop().unwrap_or_default()),
            (requests, true) => Self::Batch(requests),
        })
    }
}

struct PostedVisitor;

impl<'de> Visitor<'de> for PostedVisitor {
    type Value = (Vec<Request>, bool);

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a GraphQL request or a batch of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Ok((vec![read_request(map)?], false))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut requests = Vec::new();
        while let Some(request) = sequence.next_element::<Request>()? {
            if requests.len() == MOST_BATCHED {
                return Err(A::Error::custom("too many operations in one batch"));
            }
            requests.push(request);
        }
        Ok((requests, true))
    }
}

impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RequestVisitor;
        impl<'de> Visitor<'de> for RequestVisitor {
            type Value = Request;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a GraphQL request")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Request, A::Error> {
                read_request(map)
            }
        }
        deserializer.deserialize_map(RequestVisitor)
    }
}

fn read_request<'de, A: MapAccess<'de>>(mut map: A) -> Result<Request, A::Error> {
    let mut request = Request::default();
    let mut seen: Vec<String> = Vec::new();
    while let Some(name) = map.next_key::<String>()? {
        // Servers that match member names without case would take the other one.
        let folded = name.to_lowercase();
        if seen.contains(&folded) {
            return Err(A::Error::custom("a member stands twice"));
        }
        match name.as_str() {
            "query" => request.query = map.next_value()?,
            "operationName" => request.operation_name = map.next_value()?,
            _ => {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if seen.len() >= 64 {
            return Err(A::Error::custom("too many members"));
        }
        seen.push(folded);
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(body: &str) -> Operation {
        classify(&Envelope {
            method: &Method::POST,
            query: None,
            content_type: Some("application/json; charset=utf-8"),
            encoded: false,
            body: body.as_bytes(),
        })
    }

    fn get(query: &str) -> Operation {
        classify(&Envelope {
            method: &Method::GET,
            query: Some(query),
            content_type: None,
            encoded: false,
            body: b"",
        })
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
            assert_eq!(post(&body), Operation { kind, fields: Some(fields) }, "{document}");
        }
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
            assert_eq!(post(&body), Operation { kind: QUERY, fields: None }, "{document}");
        }
    }

    #[test]
    fn other_media_types_and_encodings_are_not_understood() {
        let with = |content_type, encoded, query| {
            classify(&Envelope {
                method: &Method::POST,
                query,
                content_type,
                encoded,
                body: br#"{"query":"{ a }"}"#,
            })
            .kind
        };
        assert_eq!(with(Some("application/json"), false, None), QUERY);
        assert_eq!(with(Some("multipart/form-data; boundary=x"), false, None), MUTATION);
        assert_eq!(with(Some("application/x-www-form-urlencoded"), false, None), MUTATION);
        assert_eq!(with(None, false, None), MUTATION);
        assert_eq!(with(Some("application/json"), true, None), MUTATION);
        assert_eq!(with(Some("application/json"), false, Some("query=mutation{b}")), MUTATION);
        assert_eq!(with(Some("application/json"), false, Some("operationName=B")), MUTATION);
        assert_eq!(with(Some("application/json"), false, Some("trace=1")), QUERY);
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
        for query in [Some("query=%7Ba%7D"), Some("query=mutation%7Bb%7D"), Some("query=%7B"), Some(""), None]
        {
            for body in [&b""[..], br#"{"query":"{ a }"}"#] {
                let [get, head] = [Method::GET, Method::HEAD].map(|method| {
                    let content_type = Some("application/json");
                    classify(&Envelope { method: &method, query, content_type, encoded: false, body })
                });
                assert_eq!(head, get, "{query:?}");
            }
        }
    }
}
