//! The route of a target together with the other routes whose rules apply.

use std::rc::Rc;

use super::credential::Accepts;
use super::route::Route;
use crate::model::principal::Caller;
use crate::model::target::RequestTarget;
use crate::policy::{Decision, Enforce, Facts, RuleObserver, WantedFacts};

/// The route of a target.
#[derive(Clone, Debug)]
pub(super) struct RouteMatch {
    pub(super) route: Rc<Route>,
    /// Other routes whose rules count as well: those of a careless reading of the path, and those for any host that
    /// a route for this one keeps back.
    pub(super) beside: Vec<Rc<Route>>,
}

impl RouteMatch {
    /// Whether a refusal may pass here.
    pub(super) fn is_lenient(&self) -> bool {
        self.routes().all(|route| route.policy.is_lenient())
    }

    /// A spelling of the path that the route, or one whose rules count as well, does not allow.
    pub(super) fn odd_spelling(&self, target: &RequestTarget) -> Option<&'static str> {
        self.routes().find_map(|route| target.needs().first_missing(route.paths))
    }

    /// What of the body must be known to decide.
    pub(super) fn wants(&self, caller: Caller<'_>, facts: &Facts<'_>) -> WantedFacts {
        self.routes()
            .map(|route| route.policy.wants(caller, facts))
            .fold(WantedFacts::default(), WantedFacts::or)
    }

    /// Decides by all routes; the strictest counts.
    pub(super) fn evaluate(
        &self,
        caller: Caller<'_>,
        facts: &Facts<'_>,
        witness: &mut impl RuleObserver,
    ) -> Decision<'_> {
        let mut strictest = self.route.policy.evaluate(caller, facts, witness);
        for other in &self.beside {
            if strictest.is_final() {
                break;
            }
            witness.reading(Some(&format!("by route {}", other.name)));
            strictest = other.policy.evaluate(caller, facts, witness).or_stricter(strictest);
        }
        strictest
    }

    /// How strictly a refusal is kept that has another cause than the rules.
    pub(super) fn enforcement(&self, caller: Caller<'_>, facts: &Facts<'_>) -> Enforce {
        self.routes().map(|route| route.policy.enforcement(caller, facts)).max().unwrap_or(Enforce::On)
    }

    /// The same where it may be at any place of the application.
    pub(super) fn strictest(&self) -> Enforce {
        self.routes().map(|route| route.strictest).max().unwrap_or(Enforce::On)
    }

    /// Which credentials are taken there.
    pub(super) fn accepts(&self) -> Accepts {
        let beside = self.beside.iter();
        beside.fold(self.route.accepts.clone(), |all, route| all.or_stricter(&route.accepts))
    }

    /// The route and those beside it.
    pub(super) fn routes(&self) -> impl Iterator<Item = &Route> {
        self.all().map(|route| &**route)
    }

    /// The same, to be kept.
    pub(super) fn all(&self) -> impl Iterator<Item = &Rc<Route>> {
        std::iter::once(&self.route).chain(&self.beside)
    }
}
