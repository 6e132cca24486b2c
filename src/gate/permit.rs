//! From a known caller to a permit: the one place where the policy is applied.

use std::rc::Rc;

use super::authenticator::Identity;
use super::refusal::{BadCredential, Refusal};
use super::route::Route;
use super::{GateRequest, Trail};
use crate::model::graphql::Operation;
use crate::model::principal::Caller;
use crate::policy::{Decision, Enforce, Facts, Outcome, Witness};

/// A request whose route and caller are known and whose decision is still to be made.
#[derive(Debug)]
pub struct Asked {
    pub(super) route: Rc<Route>,
    /// The route a careless reading of the path would take, where that is another one.
    pub(super) loose_route: Option<Rc<Route>>,
    pub(super) identity: Option<Rc<Identity>>,
    pub(super) stale_session: bool,
    /// A CORS preflight from an origin we trust: browsers send no credential with it (Fetch, 4.8).
    pub(super) preflight: bool,
    /// Why it is refused whatever the rules say, where the rules may let a refusal pass.
    pub(super) refused: Option<Refusal>,
}

/// Leave to forward one request: where to, and as whom.
///
/// Only [`Asked::decide`] makes one and an edge takes it by value, so there is no way to an upstream
/// around the policy.
#[derive(Debug)]
pub struct Permit {
    route: Rc<Route>,
    identity: Option<Rc<Identity>>,
    enforce: Enforce,
}

impl Permit {
    /// Where to.
    pub fn route(&self) -> &Rc<Route> {
        &self.route
    }

    /// Uses the permit up, for an answer that carries no request.
    pub fn spend(self) -> (Rc<Route>, Option<Rc<Identity>>) {
        (self.route, self.identity)
    }

    /// As whom; `None` is nobody.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_deref()
    }

    pub(super) fn holder(&self) -> Option<&Rc<Identity>> {
        self.identity.as_ref()
    }

    /// The permit, after a further condition was looked at.
    ///
    /// # Errors
    ///
    /// The condition's refusal, where refusals are kept.
    pub fn given(self, condition: Result<(), Refusal>, trail: &mut Trail) -> Result<Self, Refusal> {
        match condition {
            Ok(()) => Ok(self),
            Err(refusal) => {
                let_pass(refusal, self.enforce, trail)?;
                Ok(self)
            }
        }
    }
}

impl Asked {
    /// The route it takes.
    pub fn route(&self) -> &Route {
        &self.route
    }

    fn caller(&self) -> Caller<'_> {
        match &self.identity {
            Some(identity) => Caller::Known(&identity.principal),
            None => Caller::Anonymous,
        }
    }

    /// Whether a refusal may pass here.
    pub fn is_lenient(&self) -> bool {
        self.route.policy.is_lenient()
            && self.loose_route.as_ref().is_none_or(|route| route.policy.is_lenient())
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

    /// Whether the GraphQL operation in the body must be known to decide.
    pub fn needs_graphql(&self, request: &GateRequest<'_>) -> bool {
        let facts = facts(request, None);
        let caller = self.caller();
        self.route.policy.needs_graphql(caller, &facts)
            || self.loose_route.as_ref().is_some_and(|route| route.policy.needs_graphql(caller, &facts))
    }

    /// Applies the policy. `graphql` is what [`Asked::needs_graphql`] asked for.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the policy does not allow the request.
    pub fn decide(
        self,
        request: &GateRequest<'_>,
        graphql: Option<&Operation>,
        trail: &mut Trail,
    ) -> Result<Permit, Refusal> {
        let facts = facts(request, graphql);
        let decision = match &mut trail.notes {
            None => self.evaluate(&facts, &mut ()),
            Some(notes) => self.evaluate(&facts, notes.as_mut()),
        };
        let rule = decision.rule.map(str::to_owned);
        trail.rule.clone_from(&rule);
        let (outcome, enforce) = (decision.outcome, decision.enforce);
        let kept = self.refused.is_some().then(|| self.enforcement(&facts));
        if let (Some(refusal), Some(enforce)) = (self.refused, kept) {
            // Whoever was refused before the rules is nobody to them: they say only how strictly that is kept.
            let_pass(refusal, enforce, trail)?;
            return Ok(Permit { route: self.route, identity: None, enforce });
        }
        match outcome {
            Outcome::Allow => {}
            Outcome::Challenge if self.preflight => {
                trail.rule = Some(String::from("cors-preflight"));
                return Ok(Permit { route: self.route, identity: None, enforce });
            }
            Outcome::Challenge if self.stale_session => {
                let_pass(Refusal::BadCredential(BadCredential::Session), enforce, trail)?;
            }
            Outcome::Challenge => let_pass(Refusal::Challenge { rule }, enforce, trail)?,
            Outcome::Deny => let_pass(Refusal::Forbidden { rule }, enforce, trail)?,
        }
        Ok(Permit { route: self.route, identity: self.identity, enforce })
    }

    fn evaluate(&self, facts: &Facts<'_>, witness: &mut impl Witness) -> Decision<'_> {
        let caller = self.caller();
        let decision = self.route.policy.evaluate(caller, facts, witness);
        match &self.loose_route {
            Some(other) if !decision.is_final() => {
                witness.reading(Some(&format!("by route {}", other.name)));
                other.policy.evaluate(caller, facts, witness).or_stricter(decision)
            }
            _ => decision,
        }
    }

    fn enforcement(&self, facts: &Facts<'_>) -> Enforce {
        let of = |route: &Route| route.policy.enforcement(self.caller(), facts);
        self.loose_route.as_deref().map_or(Enforce::Off, of).max(of(&self.route))
    }
}

/// Lets a refusal pass, or not. Where it passes, it is put on the trail.
fn let_pass(refusal: Refusal, enforce: Enforce, trail: &mut Trail) -> Result<(), Refusal> {
    match enforce {
        Enforce::On => return Err(refusal),
        Enforce::Log => trail.shadowed = Some(refusal),
        Enforce::Off => trail.waived = Some(refusal),
    }
    Ok(())
}

fn facts<'a>(request: &GateRequest<'a>, graphql: Option<&'a Operation>) -> Facts<'a> {
    Facts { target: request.target, client: request.client.address, graphql }
}
