//! Whether a request looks like one of GraphQL where no rule asks: for reports alone, never for a decision.
//!
//! Nothing waits for it: of a body that is on its way the first bytes are looked at as they pass by.

use std::borrow::Cow;
use std::cell::RefCell;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Method};
use memchr::memmem;
use percent_encoding::percent_decode_str;
use tokio::time::Instant;

use super::Content;

/// Bytes of a body or parameter that are looked at.
const LOOKED_AT: usize = 2048;
/// Members of a body by the name `query` that are looked at.
const MOST_MEMBERS: usize = 4;
/// Paths that are kept for a route, on each thread.
const MOST_PATHS: usize = 16;
/// Sightings of one path within [`SPAN`]; more say nothing new.
const ENOUGH: u8 = 3;
const SPAN: Duration = Duration::from_mins(1);

/// How far it is known whether a request looks like one of GraphQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detection {
    /// It does not, or this is not reported.
    #[default]
    No,
    /// The body will tell.
    Body(Content),
    /// It does.
    Yes,
}

impl Detection {
    /// What is known without a body.
    fn at(method: &Method, query: Option<&str>, headers: &HeaderMap) -> Self {
        match *method {
            Method::GET | Method::HEAD if query.is_some_and(in_address) => Self::Yes,
            Method::POST => content(headers).map_or(Self::No, Self::Body),
            _ => Self::No,
        }
    }

    /// What is known once the first bytes of a body have come.
    #[must_use]
    pub fn after(self, first: &[u8]) -> Self {
        match self {
            Self::Body(content) if in_body(content, first) => Self::Yes,
            Self::Body(_) if first.is_empty() => self,
            Self::Body(_) => Self::No,
            known => known,
        }
    }
}

/// Where requests of a route have looked like GraphQL, as far as more of them would say something new.
#[derive(Debug, Default)]
pub struct DetectedPaths(RefCell<Vec<DetectedPath>>);

#[derive(Debug)]
struct DetectedPath {
    path: String,
    since: Instant,
    count: u8,
}

impl DetectedPath {
    fn is_over(&self) -> bool {
        self.since.elapsed() >= SPAN
    }
}

impl DetectedPaths {
    /// What is known of a request without its body, where another sighting at its path would say something new.
    pub fn detection(
        &self,
        method: &Method,
        path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Detection {
        let detection = Detection::at(method, query, headers);
        if detection == Detection::No || self.wants(path) { detection } else { Detection::No }
    }

    fn wants(&self, path: &str) -> bool {
        let all = self.0.borrow();
        match all.iter().find(|seen| seen.path == path) {
            Some(seen) => seen.count < ENOUGH || seen.is_over(),
            None => all.len() < MOST_PATHS || all.iter().any(DetectedPath::is_over),
        }
    }

    /// Counts one at a path.
    pub fn add(&self, path: &str) {
        let mut all = self.0.borrow_mut();
        if let Some(seen) = all.iter_mut().find(|seen| seen.path == path) {
            if seen.is_over() {
                (seen.since, seen.count) = (Instant::now(), 0);
            }
            seen.count = seen.count.saturating_add(1);
            return;
        }
        if all.len() >= MOST_PATHS {
            let Some(over) = all.iter().position(DetectedPath::is_over) else { return };
            all.swap_remove(over);
        }
        all.push(DetectedPath { path: path.to_owned(), since: Instant::now(), count: 1 });
    }
}

/// How a body would be read; more freely than where it decides.
fn content(headers: &HeaderMap) -> Option<Content> {
    if headers.contains_key(CONTENT_ENCODING) {
        return None;
    }
    let media_type = headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim();
    Content::named(media_type)
}

fn in_address(query: &str) -> bool {
    let decoded = |value: &str| {
        let value = value.get(..value.floor_char_boundary(LOOKED_AT)).unwrap_or_default();
        let spaced = value.replace('+', " ");
        Cow::from(percent_decode_str(&spaced)).into_owned()
    };
    let mut values = query.split('&').filter_map(|pair| pair.strip_prefix("query="));
    values.any(|value| begins_document(&decoded(value)))
}

fn in_body(content: Content, first: &[u8]) -> bool {
    let first = first.get(..LOOKED_AT).unwrap_or(first);
    match content {
        Content::Document => begins_document(first),
        Content::Json => {
            let text = first.trim_ascii_start();
            let after_name = |at: usize| {
                let value = text.get(at..)?.strip_prefix(br#""query""#)?.trim_ascii_start();
                value.strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")
            };
            matches!(text.first(), Some(b'{' | b'['))
                && memmem::find_iter(text, br#""query""#)
                    .take(MOST_MEMBERS)
                    .filter_map(after_name)
                    .any(begins_document)
        }
    }
}

/// Whether a text begins as a document does (GraphQL, September 2025, 2.2 and 2.3): with an operation or a fragment.
/// Texts that are searched for, SQL, and selectors as of Prometheus do not.
fn begins_document(text: &[u8]) -> bool {
    let mut rest = RemainingText(text);
    rest.skip_ignored();
    if rest.takes(b'{') {
        return rest.is_selection();
    }
    match rest.name() {
        b"query" | b"mutation" | b"subscription" => {
            rest.name();
            matches!(rest.0.first(), Some(b'{' | b'(' | b'@'))
        }
        b"fragment" => !rest.name().is_empty() && rest.name() == b"on",
        _ => false,
    }
}

/// What is left of a document, perhaps within a string of JSON.
struct RemainingText<'t>(&'t [u8]);

impl<'t> RemainingText<'t> {
    fn takes(&mut self, byte: u8) -> bool {
        let Some(rest) = self.0.strip_prefix(&[byte]) else { return false };
        self.0 = rest;
        self.skip_ignored();
        true
    }

    /// A name, which may be empty, and what is ignored behind it.
    fn name(&mut self) -> &'t [u8] {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let end = self.0.iter().position(|byte| !is_part(byte)).unwrap_or(self.0.len());
        let (name, rest) = self.0.split_at_checked(end).unwrap_or((self.0, &[]));
        self.0 = rest;
        self.skip_ignored();
        if name.first().is_some_and(u8::is_ascii_digit) { &[] } else { name }
    }

    /// Fields or a spread, as far as one tells.
    fn is_selection(&mut self) -> bool {
        if self.0.starts_with(b"...") {
            return true;
        }
        if self.name().is_empty() {
            return false;
        }
        if self.takes(b':') {
            return !self.name().is_empty();
        }
        let goes_on = |byte: &u8| byte.is_ascii_alphabetic() || b"_{(}@.".contains(byte);
        self.0.first().is_none_or(goes_on)
    }

    fn skip_ignored(&mut self) {
        loop {
            self.0 = match self.0 {
                [b' ' | b'\t' | b'\r' | b'\n' | b',', rest @ ..] | [b'\\', b'n' | b'r' | b't', rest @ ..] => {
                    rest
                }
                [b'#', rest @ ..] => {
                    let ends = |at: &usize| {
                        rest.get(*at..)
                            .is_some_and(|left| left.starts_with(b"\n") || left.starts_with(b"\\n"))
                    };
                    (0..rest.len()).find(ends).and_then(|at| rest.get(at..)).unwrap_or_default()
                }
                _ => return,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn at(method: &Method, query: Option<&str>, media_type: &'static str, body: &[u8]) -> bool {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))]);
        Detection::at(method, query, &headers).after(body) == Detection::Yes
    }

    #[test]
    fn what_begins_like_a_document_is_seen_and_what_others_ask_for_by_that_name_is_not() {
        for document in [
            "{ viewer { id } }",
            "{viewer{id}}",
            "{ a }",
            "{ a b }",
            "{ a: b }",
            "{ ...F }",
            "{ a(id: 1) { b } }",
            "query { a }",
            "query Q { a }",
            "query Q($a: Int) { a }",
            "query @x { a }",
            "mutation{drop(id:1){id}}",
            "mutation M { a }",
            "subscription S { tick }",
            "fragment F on T { a }",
            "# comment\n# another\nquery { a }",
            "\n\t, { a }",
            "query IntrospectionQuery {\n __schema { queryType { name } }\n}",
        ] {
            let text = serde_json::to_string(document).unwrap();
            let posted = [
                format!("{{\"query\":{text}}}"),
                format!(" {{ \"operationName\": \"Q\", \"variables\": {{\"a\":[1]}}, \"query\" : {text} }}"),
                format!("[{{\"query\":{text}}}]"),
            ];
            for body in posted {
                assert!(at(&Method::POST, None, "application/json", body.as_bytes()), "{body}");
                assert!(
                    at(&Method::POST, None, "application/json; charset=utf-8", body.as_bytes()),
                    "{body}"
                );
                assert!(!at(&Method::POST, None, "text/plain", body.as_bytes()), "{body}");
                assert!(!at(&Method::PUT, None, "application/json", body.as_bytes()), "{body}");
            }
            assert!(at(&Method::POST, None, "application/graphql", document.as_bytes()), "{document}");
            let query: String = url::form_urlencoded::Serializer::new("x=1".to_owned())
                .append_pair("query", document)
                .finish();
            assert!(at(&Method::GET, Some(&query), "", b""), "{query}");
            assert!(!at(&Method::DELETE, Some(&query), "", b""), "{query}");
        }
        for other in [
            "",
            "up",
            "{job=\"api\"}",
            "{ job != \"api\" }",
            "{app=~\"x.*\"} |= \"error\"",
            "{\"metric.name\", job=\"x\"}",
            "{ status: 'A' }",
            "{}",
            "{ 1 }",
            "sum(rate(http_requests_total[5m]))",
            "SHOW TABLES",
            "mutation in BRCA1",
            "query",
            "query optimisation",
            "mutations { a }",
            "fragment of a text",
        ] {
            let text = serde_json::to_string(other).unwrap();
            let body = format!("{{\"query\":{text}}}");
            assert!(!at(&Method::POST, None, "application/json", body.as_bytes()), "{body}");
            let query: String =
                url::form_urlencoded::Serializer::new(String::new()).append_pair("query", other).finish();
            assert!(!at(&Method::GET, Some(&query), "", b""), "{query}");
        }
        for body in [
            r#"{"query":{"match":{"a":"b"}}}"#,
            r#"{"query":null}"#,
            r#"{"text":"query { a }"}"#,
            r#""query":"{ a }""#,
            "",
        ] {
            assert!(!at(&Method::POST, None, "application/json", body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn no_more_than_the_first_bytes_are_looked_at() {
        let far = format!("{{\"pad\":\"{}\",\"query\":\"{{ a }}\"}}", "x".repeat(LOOKED_AT));
        assert!(!at(&Method::POST, None, "application/json", far.as_bytes()));
        let cut = &far.as_bytes()[..LOOKED_AT + 9];
        assert!(!at(&Method::POST, None, "application/json", cut));
        let comment = format!("#{}", "x".repeat(100_000));
        assert!(!at(&Method::POST, None, "application/graphql", comment.as_bytes()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_path_is_told_of_a_few_times_and_then_again_after_a_while() {
        let sightings = DetectedPaths::default();
        let sees = |path: &str| {
            let seen = sightings.detection(&Method::GET, path, Some("query={a}"), &HeaderMap::new())
                == Detection::Yes;
            if seen {
                sightings.add(path);
            }
            seen
        };
        assert_eq!([(); 5].map(|()| sees("/graphql")), [true, true, true, false, false]);
        for number in 1..MOST_PATHS {
            assert!(sees(&format!("/{number}")));
        }
        assert!(!sees("/another"), "there is no room for it");
        tokio::time::advance(SPAN).await;
        assert!(sees("/graphql") && sees("/another") && sees("/one-more"));
        assert!(sightings.0.borrow().len() <= MOST_PATHS);
    }
}
