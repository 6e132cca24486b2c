//! GraphQL: what is classified as a query holds no operation that writes, by a reader of its own, and what it
//! costs to find out is bounded by the bytes and by the budget of one request.
//!
//! Input: a line of the method, a line of the URL's query, a line of the media type, then the body.

use doorward::gate::graphql::{Budget, DetectedPaths, Detection, Envelope, classify_within};
use doorward::model::graphql::OperationType;
use doorward::model::target::RequestKind;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;

pub fn check(data: &[u8]) {
    let (method, rest) = super::first_line(data);
    let (query, rest) = super::first_line(rest);
    let (media_type, body) = super::first_line(rest);
    let Ok(method) = Method::from_bytes(method) else { return };
    let (Ok(query), Ok(media_type)) = (std::str::from_utf8(query), HeaderValue::from_bytes(media_type))
    else {
        return;
    };
    let mut headers = HeaderMap::new();
    if !media_type.is_empty() {
        headers.insert(CONTENT_TYPE, media_type);
    }
    let envelope = Envelope {
        kind: RequestKind::Plain,
        method: &method,
        query: (!query.is_empty()).then_some(query),
        headers: &headers,
        body: Some(body),
    };
    let classify = |envelope: &Envelope<'_>| {
        let mut budget = Budget::full();
        let found = classify_within(&mut budget, envelope);
        // Each token is read from bytes of its own, each definition and root is read once and looked up once.
        assert!(budget.spent() <= 8 + 4 * data.len(), "{} bytes cost {} steps", data.len(), budget.spent());
        found
    };
    let found = classify(&envelope);
    // What reports make of it is known by the first bytes of a body, whatever they are.
    let detection = DetectedPaths::default().detection(&method, "/", envelope.query, &headers).after(body);
    assert!(body.is_empty() || !matches!(detection, Detection::Body(_)));
    let mut coded = headers.clone();
    coded.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    let encoded = classify(&Envelope { headers: &coded, ..envelope });
    for kind in [RequestKind::WebSocket, RequestKind::Upgrade, RequestKind::Grpc] {
        let kind = classify(&Envelope { kind, ..envelope }).kind;
        assert_eq!(kind, OperationType::Mutation, "a switch of protocol was understood");
    }
    if method != Method::GET && method != Method::HEAD {
        assert_eq!(encoded.kind, OperationType::Mutation, "a body that nobody decoded was understood");
    }
    if found.kind == OperationType::Mutation {
        return;
    }
    for (document, wanted) in documents(&envelope) {
        let Some(operations) = operations(&document) else { continue };
        for (keyword, name) in operations {
            let runs =
                wanted.as_deref().is_none_or(|wanted| wanted.is_empty() || Some(wanted) == name.as_deref());
            assert!(!(runs && keyword == "mutation"), "a mutation passes as a {}: {document:?}", found.kind);
            let reads = found.kind == OperationType::Query;
            assert!(
                !(runs && reads && keyword == "subscription"),
                "a subscription passes as a query: {document:?}"
            );
        }
    }
}

/// Every document that some server could take from a request, with the operation it is told to run.
fn documents(envelope: &Envelope<'_>) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    let parameters: Vec<_> =
        url::form_urlencoded::parse(envelope.query.unwrap_or_default().as_bytes()).into_owned().collect();
    let names: Vec<_> = parameters.iter().filter(|(name, _)| name == "operationName").collect();
    for (_, document) in parameters.iter().filter(|(name, _)| name == "query") {
        found.push((document.clone(), names.first().map(|(_, value)| value.clone())));
    }
    if let Ok(body) = serde_json::from_slice::<Value>(envelope.body.unwrap_or_default()) {
        let requests = match body {
            Value::Array(requests) => requests,
            request => vec![request],
        };
        for request in requests {
            let text = |name: &str| request.get(name).and_then(Value::as_str).map(str::to_owned);
            found.extend(text("query").map(|document| (document, text("operationName"))));
        }
    } else if let Ok(text) = std::str::from_utf8(envelope.body.unwrap_or_default()) {
        found.push((text.to_owned(), None));
    }
    found
}

/// The operations of a document, as (keyword, name), found by counting braces; `None` where that loses its way.
fn operations(document: &str) -> Option<Vec<(String, Option<String>)>> {
    let mut found = Vec::new();
    let mut tokens = tokens(document)?.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let mut name = None;
        if token != "{" {
            if !matches!(token.as_str(), "query" | "mutation" | "subscription" | "fragment") {
                return None;
            }
            name = tokens
                .peek()
                .filter(|next| next.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
                .cloned();
            let mut inside = 0_usize;
            loop {
                match tokens.next()?.as_str() {
                    "(" | "[" => inside += 1,
                    ")" | "]" => inside = inside.checked_sub(1)?,
                    "{" if inside == 0 => break,
                    _ => {}
                }
            }
        }
        let mut depth = 1_usize;
        while depth > 0 {
            match tokens.next()?.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
        }
        found.push((token, name));
    }
    Some(found)
}

/// Names and punctuation; comments, commas and what stands in quotes are left out.
fn tokens(document: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = document;
    while let Some(c) = rest.chars().next() {
        if let Some(block) = rest.strip_prefix("\"\"\"") {
            let mut end = 0;
            loop {
                let at = end + block.get(end..)?.find("\"\"\"")?;
                if !block.get(..at)?.ends_with('\\') {
                    rest = block.get(at + 3..)?;
                    break;
                }
                end = at + 1;
            }
        } else if let Some(text) = rest.strip_prefix('"') {
            let mut end = None;
            let mut escaped = false;
            for (at, c) in text.char_indices() {
                match c {
                    '\n' | '\r' => return None,
                    '"' if !escaped => {
                        end = Some(at);
                        break;
                    }
                    _ => escaped = c == '\\' && !escaped,
                }
            }
            rest = text.get(end? + 1..)?;
        } else if c == '#' {
            rest = rest.find(['\n', '\r']).map_or("", |at| &rest[at..]);
        } else if c.is_ascii_alphabetic() || c == '_' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            found.push(rest[..end].to_owned());
            rest = &rest[end..];
        } else {
            if "{}()[]".contains(c) {
                found.push(c.to_string());
            }
            rest = &rest[c.len_utf8()..];
        }
    }
    Some(found)
}
