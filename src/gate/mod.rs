//! Floor 4, the one line: route, credential, caller, policy, permit.
//!
//! Every edge asks here and nowhere else. [`Gate::identify`] finds the route and who is calling,
//! [`DecisionRequest::decide`] applies the policy and is the only place that makes a [`Permit`].

mod admin;
pub mod app_sessions;
pub mod authenticator;
pub mod caller;
pub mod cookies;
pub mod credential;
pub mod effects;
pub mod explain;
pub mod graphql;
mod grounds;
mod negative_cache;
mod identity;
pub mod identity_headers;
pub mod mcp;
pub mod origins;
mod permit;
mod route_match;
pub mod policy_tests;
pub mod public_keys;
pub mod recognition;
pub mod refusal;
pub mod route;
mod rulebook;
pub mod ongoing_decision;
pub mod body_facts;

use std::rc::Rc;

use http::HeaderMap;

use self::authenticator::{Authenticator, Identity};
use self::credential::{Credential, CredentialNames};
use self::explain::Notes;
use self::graphql::Detection;
pub use self::grounds::Grounds;
use self::identity_headers::{HeaderPlan, Managed, PreparedHeaders};
use self::origins::Origins;
pub use self::permit::{DecisionRequest, Permit};
use self::refusal::{BadCredential, ForeignCredential, Misused, Refusal};
use self::route::Route;
pub use self::rulebook::Rulebook;
use crate::config::Config;
use crate::model::jwt::RotatingKeys;
use crate::model::principal::Client;
use crate::model::target::RequestTarget;
use crate::model::token::{KeyPurpose, MasterKey, SigningKey};
use crate::model::verdict::{Code, DecidedWithoutRule, Verdict};
use crate::policy::PathPattern;

/// Everything a decision looks at, beside a GraphQL body.
#[derive(Clone, Copy, Debug)]
pub struct GateRequest<'a> {
    /// What is asked for.
    pub target: &'a RequestTarget,
    /// The headers as the client sent them.
    pub headers: &'a HeaderMap,
    /// Host and port the client asked for, as it wrote them.
    pub authority: &'a str,
    /// The route another proxy chose by name, instead of host and path.
    pub route: Option<&'a str>,
    /// The far end.
    pub client: Client,
    /// What logs know the request by; empty if nothing.
    pub request_id: &'a str,
}

/// What is known about a request so far, for its access event.
#[derive(Debug, Default)]
pub struct DecisionTrace {
    /// The route, once found.
    pub route: Option<Rc<Route>>,
    /// The caller, once known.
    pub identity: Option<Rc<Identity>>,
    /// What decided, if a rule did.
    decided_by: Option<DecidedBy>,
    /// Whether it was permitted; then its upstream may have heard of it, whatever came after.
    pub permitted: bool,
    /// Why it would have been refused, where the rules only log that.
    pub shadowed: Option<Refusal>,
    /// Why it would have been refused, where the rules are off.
    pub waived: Option<Refusal>,
    /// What it presented that is another system's, if it did.
    pub foreign: Option<ForeignCredential>,
    /// How it presented one of ours, if it is refused for that.
    pub misused: Option<Misused>,
    /// Whether it looked like a request of GraphQL, on a route whose rules know nothing of that.
    pub resembles_graphql: bool,
    /// Where the rules that were tried are written down, for those who want to know.
    pub notes: Option<Box<Notes>>,
}

/// What decided, where more than a verdict is known of it.
#[derive(Debug)]
enum DecidedBy {
    /// A rule, by its place among those of a route.
    Rule(Rc<Route>, usize),
    /// That it was a preflight of a page that is trusted.
    Preflight,
}

impl DecisionTrace {
    /// With nothing on it yet; whether notes are taken of the rules that are tried.
    pub fn new(with_notes: bool) -> Self {
        Self { notes: with_notes.then(Box::default), ..Self::default() }
    }

    /// The rule that decided, if one did.
    pub fn rule(&self) -> Option<&str> {
        match self.decided_by.as_ref()? {
            DecidedBy::Rule(route, at) => route.policy.rules.get(*at).map(|rule| rule.name.as_str()),
            DecidedBy::Preflight => Some(DecidedWithoutRule::CorsPreflight.as_str()),
        }
    }

    /// What was decided of a request that goes on: it was allowed, or would have been refused.
    pub fn passed(&self) -> Verdict {
        if self.shadowed.is_some() { Verdict::Shadow } else { Verdict::Allow }
    }

    /// Notes whether a request looks like GraphQL.
    pub fn note_detection(&mut self, detection: Detection, path: &str) {
        self.resembles_graphql = detection == Detection::Yes;
        if let Some(route) = self.route.as_ref().filter(|_| self.resembles_graphql) {
            route.saw_graphql(path);
        }
    }

    /// The credential of another system that it is refused for with `code`, or would be.
    pub fn foreign_refused(&self, code: Option<Code>) -> Option<ForeignCredential> {
        let code = code.or(self.shadowed.as_ref().map(Refusal::code))?;
        self.foreign.filter(|foreign| foreign.wrong.code() == code)
    }
}

/// The gate of one data-plane thread.
pub struct Gate {
    rulebook: Rulebook,
    authenticator: Authenticator,
    names: Rc<CredentialNames>,
    managed: Rc<Managed>,
    keys: GateKeys,
}

/// The keys by which a gate signs what it hands out.
#[derive(Clone, Debug)]
pub struct GateKeys {
    /// For what upstreams are told.
    pub assertion: RotatingKeys,
    /// For applications' session cookies.
    pub app_sessions: SigningKey,
}

impl GateKeys {
    /// Those of the gateway's own key.
    pub fn of(key: &MasterKey) -> Self {
        Self {
            assertion: RotatingKeys::new(key.derive(KeyPurpose::Assertion)),
            app_sessions: key.derive(KeyPurpose::AppSession),
        }
    }
}

impl Gate {
    /// Builds a gate for one thread.
    pub fn new(config: &Config, authenticator: Authenticator, keys: GateKeys) -> Self {
        Self {
            rulebook: Rulebook::new(config),
            authenticator,
            names: Rc::new(CredentialNames::new(config)),
            managed: Rc::new(Managed::of(config)),
            keys,
        }
    }

    /// The part that makes no store call.
    pub fn rulebook(&self) -> &Rulebook {
        &self.rulebook
    }

    /// Which pages may have a browser send what.
    pub fn origins(&self) -> &Origins {
        self.rulebook.origins()
    }

    /// The origin of the public URL.
    pub fn public_origin(&self) -> &str {
        self.origins().public().unwrap_or_default()
    }

    /// The names under which credentials arrive, for those who must remove them.
    pub fn credential_names(&self) -> &Rc<CredentialNames> {
        &self.names
    }

    /// The names that only we may set, for those who must remove them.
    pub fn managed(&self) -> &Rc<Managed> {
        &self.managed
    }

    /// The identity headers for a caller, or for an anonymous one.
    pub fn told(&self, plan: &Rc<HeaderPlan>, identity: Option<&Identity>) -> Rc<PreparedHeaders> {
        match identity {
            Some(identity) => identity.told(plan, self.authenticator.now(), &self.keys.assertion),
            None => Rc::clone(plan.nobody()),
        }
    }

    /// Removes application session cookies that were set for another caller (or, without a caller, for any).
    pub fn open_app_sessions(&self, route: &Route, headers: &mut HeaderMap, caller: Option<&Identity>) {
        if let Some(sessions) = &route.app_sessions {
            sessions.open(headers, &self.keys.app_sessions, caller);
        }
    }

    /// Ties what the answer sets to that caller.
    pub fn seal_app_sessions(&self, route: &Route, headers: &mut HeaderMap, caller: Option<&Identity>) {
        if let Some(sessions) = &route.app_sessions {
            sessions.seal(headers, &self.keys.app_sessions, caller);
        }
    }

    /// Finds the route and the caller. Reads headers only; awaits only where a credential is not cached.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if there is no route, the path has a spelling its upstream does not opt in to, or the
    /// credential is wrong or cannot be checked now.
    pub async fn identify(
        &self,
        request: &GateRequest<'_>,
        trail: &mut DecisionTrace,
    ) -> Result<DecisionRequest, Refusal> {
        let routed = self.rulebook.route(request, trail)?;
        let accepts = &routed.accepts;
        let presented = Credential::extract(request, &self.names, accepts);
        match presented {
            Ok(Credential::Foreign(wrong)) => {
                let beside_session = credential::has_session(request.headers, &self.names);
                let is_filled =
                    wrong != BadCredential::ForeignKey && routed.route_match.route.fills_authorization;
                let setting = wrong.setting().filter(|_| !is_filled);
                trail.foreign = Some(ForeignCredential { wrong, beside_session, setting });
            }
            Err(wrong) => {
                trail.misused = credential::misused(request.headers, &self.names, accepts, wrong);
            }
            Ok(_) => {}
        }
        let recognised = self.recognise(request, presented, accepts.foreign).await;
        self.rulebook.admit(request, routed, recognised, trail)
    }

    /// Who is calling, on any route; `None` is anonymous.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the credential is wrong, may not be used here, or cannot be checked now.
    pub(super) async fn caller(&self, request: &GateRequest<'_>) -> Result<Option<Rc<Identity>>, Refusal> {
        let accepts = self.names.accepts();
        let presented = Credential::extract(request, &self.names, &accepts);
        let recognised = self.recognise(request, presented, accepts.foreign).await?;
        if let Some(identity) = recognised.caller() {
            self.rulebook.check_use(request, std::iter::empty(), identity)?;
        }
        Ok(recognised.caller().cloned())
    }

    /// Whether there is an application of ours at a host and path.
    pub fn has_upstream(&self, host: &str, path: &str) -> bool {
        self.rulebook.has_upstream(host, path)
    }
}

/// Path patterns of a key's scope; one that cannot be read matches nothing.
pub(crate) fn scope_patterns(paths: &[String]) -> Vec<PathPattern> {
    paths.iter().filter_map(|path| PathPattern::parse(path).ok()).collect()
}

#[cfg(test)]
mod agreement_tests;
#[cfg(test)]
mod app_sessions_tests;
#[cfg(test)]
mod credential_tests;
#[cfg(test)]
mod effects_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
