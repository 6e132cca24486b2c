//! Why a request is decided as it is: notes taken while it is decided, and what they come to.
//!
//! There is no second way to decide. A hypothetical request takes the same steps as a real one; only its
//! caller is named instead of looked up.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::{HeaderMap, HeaderValue, Method};
use serde::Serialize;

use super::authenticator::Identity;
use super::body_facts::BodyFacts;
use super::effects::DESTINATION;
use super::graphql;
use super::recognition::Recognition;
use super::refusal::Refusal;
use super::rulebook::Rulebook;
use super::{DecisionTrace, GateRequest};
use crate::model::principal::{Client, ClientAddress, CredentialKind, Principal};
use crate::model::target::{RequestKind, RequestTarget, request_line};
use crate::model::verdict::{Code, Verdict};
use crate::model::words::words;
use crate::policy::{Doubt, Rule, RuleObserver, RuleOutcome};

/// Rules of which notes are taken; those after them are tried all the same.
const MOST_NOTES: usize = 512;

/// Notes of the rules that were tried.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    reading: Option<String>,
    /// Why the next rule does not decide alone.
    doubt: Option<Doubt>,
    /// What would fit instead of the rule that was tried last.
    advice: Option<&'static str>,
    rules: Vec<TriedRule>,
}

words! {
    /// What became of a rule that was tried.
    Trial {
        /// It speaks for other requests.
        Skipped = "skipped",
        /// It denies others only.
        PassedOver = "passed-over",
        /// It allows this caller.
        Allows = "allows",
        /// It denies this caller.
        Denies = "denies",
        /// It allows others only.
        AllowsOthers = "allows-others",
        /// No rule was left.
        NoneFits = "none-fits",
    }
}

/// One rule that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TriedRule {
    /// Its name; empty where none was left, so that the answer is no.
    pub rule: String,
    /// What became of it.
    pub result: Trial,
    /// The first condition that does not fit, or the entry of `allow` or `deny` that does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What would fit, where the condition alone does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
    /// How the request was read, where not plainly: a path that a careless server could see, a method, what it
    /// does at a second place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reading: Option<String>,
}

impl RuleObserver for Notes {
    fn reading(&mut self, why: Option<&dyn fmt::Display>) {
        self.reading = why.map(ToString::to_string);
    }

    fn tried(&mut self, rule: &Rule, step: RuleOutcome<'_>) {
        let (result, why) = match step {
            RuleOutcome::Skipped(mismatch) => {
                self.advice = mismatch.advice();
                (Trial::Skipped, Some(mismatch.as_str().to_owned()))
            }
            RuleOutcome::PassedOver => (Trial::PassedOver, None),
            RuleOutcome::Denies(who) => (Trial::Denies, Some(who.to_string())),
            RuleOutcome::Allows(who) => (Trial::Allows, Some(who.to_string())),
            RuleOutcome::AllowsOthers => (Trial::AllowsOthers, None),
        };
        self.note(rule.name.clone(), result, why);
    }

    fn unsure(&mut self, why: Doubt) {
        self.doubt = Some(why);
    }

    fn exhausted(&mut self) {
        self.note(String::new(), Trial::NoneFits, None);
    }
}

/// How a request is read by a rule beside which the rules after it count as well.
fn told(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::Network => "if its client, whose address is unknown, were in the networks of the rule",
        Doubt::Part => "for the part of it that the rule names; the rules after it count as well",
        Doubt::Query => {
            "if a program read in its query what the rule names; the rules after it count as well"
        }
        Doubt::Unread => "if what could not be read in it were what the rule names",
    }
}

impl Notes {
    fn note(&mut self, rule: String, result: Trial, why: Option<String>) {
        let doubt = self.doubt.take().map(told);
        if self.rules.len() < MOST_NOTES {
            let reading = match (&self.reading, doubt) {
                (reading, None) => reading.clone(),
                (None, Some(doubt)) => Some(doubt.to_owned()),
                (Some(reading), Some(doubt)) => Some(format!("{reading}, {doubt}")),
            };
            self.rules.push(TriedRule { rule, result, why, advice: self.advice.take(), reading });
        }
    }
}

/// What was decided of a request, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What the rules say: `Allow`, `Challenge`, `Deny` or `Error`.
    #[serde(rename = "decision")]
    pub verdict: Verdict,
    /// Whether it goes on: it does where it is allowed, and where a refusal is only logged.
    pub passes: bool,
    /// Why not, by the name that answers use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// The route it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Where that leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The rule that decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The credential that counts and its principal; none is anonymous.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<CallerView>,
    /// What settings want the application to be told of callers and is not told of this one: headers, and claims of
    /// tokens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without_value: Vec<String>,
    /// Every rule that was tried, in order.
    pub rules: Vec<TriedRule>,
}

/// A caller, as explanations tell of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallerView {
    /// By what it is recognised.
    pub credential: CredentialKind,
    /// Stable identifier.
    pub subject: String,
    /// Username, or the key's name.
    pub name: String,
    /// Rights.
    pub role: &'static str,
    /// Sorted.
    pub groups: Vec<String>,
    /// Who vouches for the subject.
    pub provider: String,
}

impl CallerView {
    fn of(principal: &Principal) -> Self {
        Self {
            credential: principal.kind.credential(),
            subject: principal.subject(),
            name: principal.name.clone(),
            role: principal.role.as_str(),
            groups: principal.groups.clone(),
            provider: principal.source.as_str().to_owned(),
        }
    }
}

impl Explanation {
    /// What a trail tells, once it has come to its end: leave to go on, or the verdict and code of a refusal.
    pub fn of(trail: &DecisionTrace, outcome: Result<(), (Verdict, Code)>) -> Self {
        let passed = trail.shadowed.as_ref().or(trail.waived.as_ref());
        let refused = outcome.err().or(passed.map(|refusal| (refusal.verdict(), refusal.code())));
        let told = trail.route.as_ref().zip(trail.identity.as_ref());
        Self {
            without_value: told
                .map(|(route, identity)| route.without_value(&identity.principal))
                .unwrap_or_default(),
            verdict: refused.map_or(Verdict::Allow, |(verdict, _)| verdict),
            passes: outcome.is_ok(),
            code: refused.map(|(_, code)| code),
            route: trail.route.as_ref().map(|route| route.name.clone()),
            upstream: trail.route.as_ref().and_then(|route| route.upstream_name.clone()),
            rule: trail.rule().map(str::to_owned),
            caller: trail.identity.as_ref().map(|identity| CallerView::of(&identity.principal)),
            rules: trail.notes.as_ref().map(|notes| notes.rules.clone()).unwrap_or_default(),
        }
    }

    /// In one line of visible ASCII, for a header: JSON, without rules that were skipped where it grows too long.
    pub fn header(&self) -> Option<HeaderValue> {
        const MOST: usize = 4096;
        let whole = ascii_json(self);
        if whole.len() <= MOST {
            return HeaderValue::try_from(whole).ok();
        }
        let rules =
            self.rules.iter().filter(|tried| tried.result != Trial::Skipped).take(8).cloned().collect();
        let mut short = Self { rules, ..self.clone() };
        if let Some(caller) = &mut short.caller {
            caller.groups.clear();
        }
        HeaderValue::try_from(ascii_json(&short)).ok().filter(|value| value.len() <= MOST)
    }
}

fn ascii_json(value: &impl Serialize) -> String {
    use std::fmt::Write as _;
    let text = serde_json::to_string(value).unwrap_or_default();
    let mut ascii = String::with_capacity(text.len());
    for unit in text.chars() {
        if (' '..='~').contains(&unit) {
            ascii.push(unit);
        } else {
            // Everything else stands inside a string, where JSON has an escape for it (RFC 8259, 7).
            for half in unit.encode_utf16(&mut [0; 2]) {
                _ = write!(ascii, "\\u{half:04x}");
            }
        }
    }
    ascii
}

/// A hypothetical request.
#[derive(Clone, Debug)]
pub struct Hypothetical {
    /// What is asked for.
    pub target: RequestTarget,
    /// Host, perhaps with a port.
    pub authority: String,
    /// From where.
    pub client: ClientAddress,
    /// The caller; `None` is anonymous.
    pub caller: Option<Principal>,
    /// Of which page, as a browser says; ours if it does not. With `OPTIONS` it is a preflight (Fetch, 3.2.2).
    pub origin: Option<String>,
    /// What stands in its body.
    pub body: HypotheticalBody,
    /// What stands in `Destination`.
    pub destination: Option<String>,
}

/// The body of a hypothetical request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HypotheticalBody {
    /// Nothing.
    #[default]
    None,
    /// A GraphQL document.
    Graphql(String),
    /// A message of the Model Context Protocol: its method, and after a blank the tool that it calls.
    Mcp(String),
}

impl HypotheticalBody {
    /// One of the two.
    pub fn of(graphql: Option<String>, mcp: Option<String>) -> Self {
        match (graphql, mcp) {
            (Some(document), _) => Self::Graphql(document),
            (None, Some(message)) => Self::Mcp(message),
            (None, None) => Self::None,
        }
    }

    /// As a client sends it.
    pub(super) fn text(&self) -> String {
        let value = match self {
            Self::None => return String::new(),
            Self::Graphql(document) => serde_json::json!({ "query": document }),
            Self::Mcp(message) => {
                let (method, tool) = message.split_once(' ').unwrap_or((message, ""));
                let params =
                    if tool.is_empty() { serde_json::json!({}) } else { serde_json::json!({ "name": tool }) };
                serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
            }
        };
        value.to_string()
    }
}

/// Why a hypothetical request cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum ExplainQueryError {
    /// Not a method and a path.
    #[error("{0}")]
    Form(&'static str),
    /// A kind of request that there is not.
    #[error("the kind of a request is plain, websocket or grpc")]
    Kind,
    /// The target would be refused for every caller.
    #[error("is refused for every caller: {0}")]
    Target(#[from] crate::model::target::TargetError),
}

/// A hypothetical request, as people and programs put it.
#[derive(Clone, Debug, Default)]
pub struct ExplainQuery {
    /// `METHOD /path?query`.
    pub request: String,
    /// Host, perhaps with a port; the public URL's if there is none.
    pub host: Option<String>,
    /// From where; from this machine if it is not said.
    pub client: Option<ClientAddress>,
    /// `plain`, `websocket` or `grpc`.
    pub kind: Option<String>,
    /// Origin of the page that asks.
    pub origin: Option<String>,
    /// The GraphQL document in its body.
    pub graphql: Option<String>,
    /// The message of the Model Context Protocol in its body: a method, and after a blank a tool.
    pub mcp: Option<String>,
    /// The second place of `COPY` and `MOVE`.
    pub destination: Option<String>,
}

impl ExplainQuery {
    /// The request in question.
    ///
    /// # Errors
    ///
    /// [`ExplainQueryError`] says what cannot be understood.
    pub fn asked(
        self,
        own_authority: &str,
        caller: Option<Principal>,
    ) -> Result<Hypothetical, ExplainQueryError> {
        let (method, path) = request_line(&self.request).map_err(ExplainQueryError::Form)?;
        let kind = match self.kind.as_deref() {
            None | Some("plain") => RequestKind::Plain,
            Some("websocket") => RequestKind::WebSocket,
            Some("grpc") => RequestKind::Grpc,
            Some(_) => return Err(ExplainQueryError::Kind),
        };
        let authority = self.host.as_deref().unwrap_or(own_authority);
        Ok(Hypothetical {
            target: RequestTarget::parse(&method, authority, &path, kind)?,
            authority: authority.to_owned(),
            client: self.client.unwrap_or(ClientAddress::at(IpAddr::V4(Ipv4Addr::LOCALHOST))),
            caller,
            origin: self.origin,
            body: HypotheticalBody::of(self.graphql, self.mcp),
            destination: self.destination,
        })
    }
}

impl Rulebook {
    /// What would be decided, and why.
    pub fn explain(&self, asked: &Hypothetical) -> Explanation {
        let mut trail = DecisionTrace { notes: Some(Box::default()), ..DecisionTrace::default() };
        let outcome = self.decide(asked, &mut trail);
        Explanation::of(&trail, outcome.map_err(|refusal| (refusal.verdict(), refusal.code())))
    }

    pub(super) fn decide(&self, asked: &Hypothetical, trail: &mut DecisionTrace) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        // A request with a cookie comes from one of our pages, unless another is named.
        if let Some(origin) = asked.origin.as_deref().or(self.origins().public())
            && let Ok(origin) = HeaderValue::try_from(origin)
        {
            headers.insert(ORIGIN, origin);
        }
        if asked.origin.is_some() && *asked.target.method() == Method::OPTIONS {
            headers.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("GET"));
        }
        if let Some(place) = &asked.destination {
            // What no header can hold is as bad as what cannot be read.
            let value = HeaderValue::try_from(place).unwrap_or(HeaderValue::from_static(""));
            headers.insert(DESTINATION, value);
        }
        let with_slash = self.with_slash(&asked.target);
        let request = GateRequest {
            target: with_slash.as_ref().unwrap_or(&asked.target),
            headers: &headers,
            authority: &asked.authority,
            route: None,
            client: Client { address: asked.client, secure: true, by_proxy: false },
            request_id: "",
        };
        let identity = asked.caller.clone().map(|principal| Rc::new(Identity::of(principal)));
        let routed = self.route(&request, trail)?;
        let caller = identity.map_or(Recognition::Anonymous, Recognition::Caller);
        let asking = self.admit(&request, routed, Ok(caller), trail)?;
        let told = BodyFacts::of(
            asking.wants(&request),
            &graphql::Envelope {
                kind: asked.target.kind(),
                method: asked.target.method(),
                query: asked.target.query(),
                headers: &graphql::json_headers(),
                body: Some(asked.body.text().as_bytes()),
            },
        );
        asking.decide(&request, &told, trail).map(drop)
    }
}
