//! What one thread let through although it would have been refused: counted here, handed over on each tick.

use std::cell::RefCell;

use http::{HeaderValue, Method};

use crate::gate::Trail;
use crate::model::principal::{ClientAddress, PrincipalKind};
use crate::model::refused::{BESIDE_SESSION, RESEMBLES_GRAPHQL, RefusedBy, Tallies, Tally};
use crate::model::time::Timestamp;
use crate::service::refused::{ROOM, Refusals};

/// Bytes of a client's name for itself.
const LONGEST_AGENT: usize = 64;
/// Bytes of an example.
const LONGEST_PATH: usize = 256;

/// The log of one thread.
pub struct RefusedLog {
    tallies: RefCell<Tallies>,
    refusals: Refusals,
}

impl RefusedLog {
    /// A log that hands over to `refusals`.
    pub fn new(refusals: Refusals) -> Self {
        Self { tallies: RefCell::new(Tallies::new(ROOM)), refusals }
    }

    /// Counts a request, if it would have been refused, or is of a kind of which the rules know nothing.
    pub fn record(&self, trail: &Trail, request: &Shadowed<'_>) {
        if let Some(refusal) = &trail.shadowed {
            self.count(trail, request, refusal.code());
        }
        if trail.resembles_graphql {
            self.count(trail, request, RESEMBLES_GRAPHQL);
        }
    }

    fn count(&self, trail: &Trail, request: &Shadowed<'_>, code: &str) {
        let by = RefusedBy {
            route: trail.route.as_ref().map(|route| route.name.clone()).unwrap_or_default(),
            rule: trail.rule.clone().unwrap_or_default(),
            code: code.to_owned(),
            credential: credential(trail),
            client: request.client.to_string(),
            agent: first_word(request.agent),
            method: method(request.method).to_owned(),
        };
        let example: String = request.path.chars().take(LONGEST_PATH).collect();
        self.tallies.borrow_mut().add(by, Tally::once(request.at, example));
    }

    /// Hands over what was counted.
    pub fn flush(&self) {
        let mut tallies = self.tallies.borrow_mut();
        if tallies.is_empty() {
            return;
        }
        if let Err(batch) = self.refusals.hand_over(tallies.drain()) {
            tallies.add_all(batch);
        }
    }
}

/// What is told of a request beside its trail.
#[derive(Debug)]
pub struct Shadowed<'a> {
    /// When.
    pub at: Timestamp,
    /// From where.
    pub client: ClientAddress,
    /// What the client calls itself.
    pub agent: Option<&'a HeaderValue>,
    /// Method.
    pub method: &'a Method,
    /// Path without query.
    pub path: &'a str,
}

/// The first word of `User-Agent`, so that one program is one client.
fn first_word(agent: Option<&HeaderValue>) -> String {
    let text = agent.and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split_whitespace().next().unwrap_or_default().chars().take(LONGEST_AGENT).collect()
}

fn credential(trail: &Trail) -> String {
    let Some(identity) = &trail.identity else {
        let passed_over = trail.foreign_refused(None).is_some_and(|foreign| foreign.beside_session);
        return if passed_over { BESIDE_SESSION } else { "nobody" }.to_owned();
    };
    let name = &identity.principal.name;
    match &identity.principal.kind {
        PrincipalKind::User(_) => format!("user:{name}"),
        PrincipalKind::UserKey { key, .. } => format!("user:{name} key:{key}"),
        PrincipalKind::SystemKey { .. } | PrincipalKind::ImportedKey { .. } => format!("key:{name}"),
        PrincipalKind::BreakGlass { .. } => format!("break-glass:{name}"),
    }
}

/// The method, where it is one of those that are as few as this.
fn method(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS => method.as_str(),
        _ => "OTHER",
    }
}
