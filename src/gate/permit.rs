//! From a known caller to a permit: the one place where the policy is applied.

use std::rc::Rc;

use super::authenticator::Identity;
use super::body_facts::BodyFacts;
use super::credential::Accepts;
use super::grounds::Grounds;
use super::mcp;
use super::recognition::Recognition;
use super::refusal::Refusal;
use super::route::Route;
use super::route_match::RouteMatch;
use super::{DecidedBy, DecisionTrace, GateRequest};
use crate::model::graphql::{Operation, OperationType};
use crate::model::principal::Caller;
use crate::model::target::RequestTarget;
use crate::policy::{Decision, Enforce, Facts, Outcome, RuleObserver, WantedFacts};

/// A decision request (XACML): route and caller are known, and the decision is still to be made.
#[derive(Debug)]
pub struct DecisionRequest {
    pub(super) route_match: RouteMatch,
    /// Further targets of the request (such as its `Destination`), each with its route.
    pub(super) also: Vec<(RequestTarget, RouteMatch)>,
    /// Which of it is at the destination.
    pub(super) destination: Option<usize>,
    /// Which credentials all of it takes.
    pub(super) accepts: Accepts,
    pub(super) recognised: Recognition<Rc<Identity>>,
    /// A CORS preflight from an origin we trust: browsers send no credential with it (Fetch, 4.8).
    pub(super) preflight: bool,
    /// A page of another origin had a browser send it, with what browsers send by themselves; looked at where its
    /// address may name an operation.
    pub(super) from_elsewhere: bool,
    /// Why it is refused whatever the rules say, where the rules may let a refusal pass.
    pub(super) refused: Option<Refusal>,
    /// How strictly that is kept at least.
    pub(super) least: Enforce,
}

/// Leave to forward one request: where to, and as whom.
///
/// Only [`DecisionRequest::decide`] makes one and an edge takes it by value, so there is no way to an upstream
/// around the policy.
#[derive(Debug)]
pub struct Permit {
    route: Rc<Route>,
    also: Vec<(RequestTarget, RouteMatch)>,
    destination: Option<usize>,
    accepts: Accepts,
    identity: Option<Rc<Identity>>,
    grounds: Grounds,
}

impl Permit {
    /// Where to.
    pub fn route(&self) -> &Rc<Route> {
        &self.route
    }

    /// Which credentials were taken, and which are the application's.
    pub fn accepts(&self) -> &Accepts {
        &self.accepts
    }

    /// Uses the permit up, for an answer that carries no request.
    pub fn spend(self) -> (Rc<Route>, Option<Rc<Identity>>) {
        (self.route, self.identity)
    }

    /// The second place, where the request names one in `Destination`, and the route that leads there.
    pub fn destination(&self) -> Option<(&RequestTarget, &Route)> {
        let (target, route_match) = self.also.get(self.destination?)?;
        Some((target, &route_match.route))
    }

    /// What the request does beside what its target says.
    pub(super) fn also(&self) -> Vec<RequestTarget> {
        self.also.iter().map(|(target, _)| target.clone()).collect()
    }

    /// The caller; `None` is anonymous.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_deref()
    }

    /// On what grounds.
    pub fn grounds(&self) -> Grounds {
        self.grounds
    }

    pub(super) fn holder(&self) -> Option<&Rc<Identity>> {
        self.identity.as_ref()
    }

    /// The permit, after a further condition was looked at.
    ///
    /// # Errors
    ///
    /// The condition's refusal, where refusals are kept.
    pub fn given(
        mut self,
        condition: Result<(), Refusal>,
        trail: &mut DecisionTrace,
    ) -> Result<Self, Refusal> {
        if let Err(refusal) = condition {
            let_pass(refusal, self.grounds.enforce, trail)?;
            self.grounds.allowed = false;
        }
        Ok(self)
    }
}

impl DecisionRequest {
    /// The route it takes.
    pub fn route(&self) -> &Route {
        &self.route_match.route
    }

    /// The subject of the caller, for logs; `None` is anonymous.
    pub fn subject(&self) -> Option<&str> {
        self.recognised.caller().map(|identity| identity.subject.as_str())
    }

    fn caller(&self) -> Caller<'_> {
        match self.recognised.caller() {
            Some(identity) => Caller::Known(&identity.principal),
            None => Caller::Anonymous,
        }
    }

    /// Whether a refusal may pass here.
    pub fn is_lenient(&self) -> bool {
        self.route_match.is_lenient() && self.also.iter().all(|(_, route_match)| route_match.is_lenient())
    }

    /// Refuses it whatever the rules say, unless they let that pass.
    ///
    /// # Errors
    ///
    /// The refusal, where all of them are kept.
    pub fn refuse(&mut self, refusal: Refusal) -> Result<(), Refusal> {
        if !self.is_lenient() {
            return Err(refusal);
        }
        self.refused.get_or_insert(refusal);
        Ok(())
    }

    /// What of the body must be known to decide.
    pub fn wants(&self, request: &GateRequest<'_>) -> WantedFacts {
        self.route_match.wants(self.caller(), &facts(request, &BodyFacts::default()))
    }

    /// Applies the policy. `told` is what [`DecisionRequest::wants`] asked for.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the policy does not allow the request.
    pub fn decide(
        mut self,
        request: &GateRequest<'_>,
        body_facts: &BodyFacts,
        trail: &mut DecisionTrace,
    ) -> Result<Permit, Refusal> {
        if self.from_elsewhere
            && body_facts.graphql.as_ref().is_some_and(|operation| may_change(request.target, operation))
        {
            self.refuse(Refusal::ForeignOrigin)?;
        }
        let facts = facts(request, body_facts);
        let decision = match &mut trail.notes {
            None => self.evaluate(&facts, &mut ()),
            Some(notes) => self.evaluate(&facts, notes.as_mut()),
        };
        trail.decided_by = decision.rule.and_then(|rule| self.rule_named(rule));
        let (outcome, enforce) = (decision.outcome, decision.enforce);
        let kept =
            if self.refused.is_none() && enforce == Enforce::On { enforce } else { self.enforcement(&facts) };
        let Self {
            route_match: RouteMatch { route, .. },
            also,
            destination,
            accepts,
            recognised,
            preflight,
            refused,
            ..
        } = self;
        let permit = |identity, grounds| Permit { route, also, destination, accepts, identity, grounds };
        if let Some(refusal) = refused {
            // A caller who was refused before the rules is anonymous to them: they only say how strictly that is enforced.
            let_pass(refusal, kept, trail)?;
            return Ok(permit(None, Grounds { allowed: false, despite_foreign: false, enforce: kept }));
        }
        let mut grounds = Grounds { allowed: true, despite_foreign: false, enforce: kept };
        match outcome {
            Outcome::Allow => grounds.despite_foreign = recognised.is_foreign(),
            Outcome::Challenge if preflight => {
                trail.decided_by = Some(DecidedBy::Preflight);
                return Ok(permit(None, grounds));
            }
            Outcome::Challenge => {
                let refusal = recognised.unproven().map_or(Refusal::Challenge, Refusal::BadCredential);
                let_pass(refusal, enforce, trail)?;
                grounds.allowed = false;
            }
            Outcome::Deny => {
                let_pass(Refusal::Forbidden, enforce, trail)?;
                grounds.allowed = false;
            }
        }
        Ok(permit(recognised.into_caller(), grounds))
    }

    /// Decides everything that the request does; the strictest answer counts.
    fn evaluate(&self, facts: &Facts<'_>, witness: &mut impl RuleObserver) -> Decision<'_> {
        let caller = self.caller();
        let mut decision = self.route_match.evaluate(caller, facts, witness);
        for (target, route_match) in &self.also {
            if decision.is_final() {
                break;
            }
            witness.reading(Some(&format_args!("{} {}", target.method(), target.path())));
            decision = decision.or_stricter(route_match.evaluate(caller, &facts_of(target, facts), witness));
        }
        decision
    }

    /// Where the rule stands whose name the policy gave: that very one, for several routes may have rules of one name.
    fn rule_named(&self, name: &str) -> Option<DecidedBy> {
        let mut routes =
            self.route_match.all().chain(self.also.iter().flat_map(|(_, route_match)| route_match.all()));
        routes.find_map(|route| {
            let at = route.policy.rules.iter().position(|rule| std::ptr::eq(rule.name.as_str(), name))?;
            Some(DecidedBy::Rule(Rc::clone(route), at))
        })
    }

    fn enforcement(&self, facts: &Facts<'_>) -> Enforce {
        let caller = self.caller();
        let also = self
            .also
            .iter()
            .map(|(target, route_match)| route_match.enforcement(caller, &facts_of(target, facts)));
        also.fold(self.route_match.enforcement(caller, facts).max(self.least), Enforce::max)
    }
}

/// Whether a read may run an operation that changes something; one whose address says nothing runs none.
fn may_change(target: &RequestTarget, operation: &Operation) -> bool {
    operation.kind != OperationType::Query && target.query().is_some_and(|query| !query.is_empty())
}

/// Lets a refusal pass, or not. Where it passes, it is put on the trail.
fn let_pass(refusal: Refusal, enforce: Enforce, trail: &mut DecisionTrace) -> Result<(), Refusal> {
    match enforce {
        Enforce::On => return Err(refusal),
        Enforce::Log => trail.shadowed = Some(refusal),
        Enforce::Off => trail.waived = Some(refusal),
    }
    Ok(())
}

/// The same for something that the request does beside; its operation there is not known.
fn facts_of<'a>(target: &'a RequestTarget, facts: &Facts<'a>) -> Facts<'a> {
    Facts { target, graphql: Some(&Operation::UNKNOWN), mcp: mcp::UNKNOWN, ..*facts }
}

fn facts<'a>(request: &GateRequest<'a>, body_facts: &'a BodyFacts) -> Facts<'a> {
    let (target, client) = (request.target, request.client.address);
    Facts { target, client, graphql: body_facts.graphql.as_ref(), mcp: &body_facts.mcp }
}
