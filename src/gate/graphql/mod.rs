//! Classifies a GraphQL request by the operation that would run.
//!
//! Whatever is not plainly understood is a mutation: a rule for queries must never let a write through. What any
//! server could read in another way than we do is not plainly understood.

mod budget;
mod document;
mod detection;
mod lexer;
mod parameters;
mod posted;
#[cfg(test)]
mod differential_tests;
#[cfg(test)]
mod tests;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};

pub use self::budget::Budget;
pub use self::detection::{DetectedPaths, Detection};
use self::document::{Document, MOST_FIELDS, MOST_NAMES};
use self::parameters::GraphqlParameters;
use self::posted::GraphqlBatch;
use crate::model::graphql::Operation;
use crate::model::target::RequestKind;

/// No longer body is looked into (bytes), whatever the settings let through.
pub(super) const LONGEST_BODY: usize = 2 << 20;

/// One GraphQL-over-HTTP request.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// Only a plain exchange is a request of its own; what a connection is switched to carries any operation.
    pub kind: RequestKind,
    /// GET carries the request in the query, POST in the body.
    pub method: &'a Method,
    /// The query of the URL.
    pub query: Option<&'a str>,
    /// The headers, as they are sent on.
    pub headers: &'a HeaderMap,
    /// The body; `None` where there is one that was not read.
    pub body: Option<&'a [u8]>,
}

impl Envelope<'_> {
    /// Whether its body could tell the operation.
    pub fn is_in_body(&self) -> bool {
        let in_url = || GraphqlParameters::read(self.query.unwrap_or_default());
        self.kind == RequestKind::Plain
            && *self.method == Method::POST
            && Content::of(self.headers).is_some()
            // Some servers let URL parameters win over the body.
            && in_url().is_some_and(|in_url| in_url.are_silent())
    }
}

/// The operation that would run; of several, the strictest.
pub fn classify(envelope: &Envelope<'_>) -> Operation {
    classify_within(&mut Budget::full(), envelope)
}

/// The same, and what it cost.
pub fn classify_within(budget: &mut Budget, envelope: &Envelope<'_>) -> Operation {
    let understood = understand(budget, envelope);
    understood.filter(|_| !budget.is_exceeded()).unwrap_or(Operation::UNKNOWN)
}

/// The headers of a request in its usual form, for what is asked without having been sent.
pub fn json_headers() -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))])
}

/// `None` for whatever is not plainly understood.
fn understand(budget: &mut Budget, envelope: &Envelope<'_>) -> Option<Operation> {
    let body = envelope.body.filter(|body| body.len() <= LONGEST_BODY)?;
    if envelope.is_in_body() {
        let text = std::str::from_utf8(body).ok()?;
        return match Content::of(envelope.headers)? {
            Content::Document => Document::read(text, budget)?.operation(None, budget),
            Content::Json => understand_json(budget, text),
        };
    }
    // Some servers read a body of GET, and some let it win.
    let reads = matches!(*envelope.method, Method::GET | Method::HEAD) && body.is_empty();
    if !reads || envelope.kind != RequestKind::Plain {
        return None;
    }
    let in_url = GraphqlParameters::read(envelope.query.unwrap_or_default())?;
    Document::read(&in_url.query?, budget)?.operation(in_url.operation_name.as_deref(), budget)
}

fn understand_json(budget: &mut Budget, text: &str) -> Option<Operation> {
    let GraphqlBatch(requests) = serde_json::from_str(text).ok()?;
    let mut strictest = None;
    for request in &requests {
        let operation = Document::read(request.query.as_deref()?, budget)?
            .operation(request.operation_name.as_deref(), budget)?;
        strictest = Some(match strictest {
            Some(other) => stricter(other, operation),
            None => operation,
        });
    }
    strictest
}

fn stricter(a: Operation, b: Operation) -> Operation {
    Operation {
        kind: a.kind.max(b.kind),
        fields: both(a.fields, b.fields, MOST_FIELDS),
        names: both(a.names, b.names, MOST_NAMES),
    }
}

/// The words of two sorted lists, each once; `None` where one is not known or there are more than `most`.
fn both(a: Option<Vec<String>>, b: Option<Vec<String>>, most: usize) -> Option<Vec<String>> {
    let (mut a, b) = (a?, b?);
    a.extend(b);
    a.sort_unstable();
    a.dedup();
    (a.len() <= most).then_some(a)
}

/// How a body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A request object, or a batch of them.
    Json,
    /// The document itself.
    Document,
}

impl Content {
    /// `None` where servers could read it in more than one way: of two types, of parameters (Node and Python
    /// programs obey any charset there, as UTF-7), of codings.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        if headers.contains_key(CONTENT_ENCODING) || headers.contains_key("content-transfer-encoding") {
            return None;
        }
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let (Some(only), None) = (types.next(), types.next()) else { return None };
        let only = only.to_str().ok()?;
        let media_type = match only.split_once(';') {
            None => only,
            Some((media_type, parameter)) => {
                let charset = parameter.strip_prefix(' ').unwrap_or(parameter);
                charset.eq_ignore_ascii_case("charset=utf-8").then_some(media_type)?
            }
        };
        Self::named(media_type)
    }

    fn named(media_type: &str) -> Option<Self> {
        [
            ("application/json", Self::Json),
            ("application/graphql+json", Self::Json),
            ("application/graphql", Self::Document),
        ]
        .into_iter()
        .find_map(|(name, content)| media_type.eq_ignore_ascii_case(name).then_some(content))
    }
}
