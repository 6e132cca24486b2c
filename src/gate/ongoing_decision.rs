//! Re-evaluates the decision about an open exchange: a permit is valid only for the moment it is made.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use http::HeaderMap;

use super::authenticator::{Identity, LookupVersion};
use super::body_facts::BodyFacts;
use super::credential::CredentialHandling;
use super::effects::Effects;
use super::recognition::Recognition;
use super::refusal::{BadCredential, Refusal};
use super::rulebook::check_bounds;
use super::{DecisionTrace, Gate, GateRequest, Grounds, Permit};
use crate::model::principal::Client;
use crate::model::target::{RequestKind, RequestTarget};
use crate::service::epoch::Epoch;

/// The decision about an open exchange, kept so that it can be evaluated again.
#[derive(Debug)]
pub struct OngoingDecision {
    target: Rc<RequestTarget>,
    /// What else it does.
    also: Vec<RequestTarget>,
    /// The same without a switch of protocol, once it was answered without one.
    plain: OnceCell<RequestTarget>,
    client: Client,
    body_facts: BodyFacts,
    /// The caller as last looked up; `None` is anonymous, with nothing to lose.
    identity: RefCell<Option<Rc<Identity>>>,
    grounds: Cell<Grounds>,
}

impl Permit {
    /// What the exchange it opens will rest on: the request it was given for.
    pub fn ongoing(
        &self,
        target: Rc<RequestTarget>,
        client: Client,
        body_facts: BodyFacts,
    ) -> OngoingDecision {
        let also = self.also();
        let (identity, grounds) = (RefCell::new(self.holder().cloned()), Cell::new(self.grounds()));
        OngoingDecision { target, plain: OnceCell::new(), also, client, body_facts, identity, grounds }
    }
}

impl OngoingDecision {
    /// What was asked for, as far as it was given: without a switch of protocol once that has not happened.
    pub fn target(&self) -> &RequestTarget {
        self.plain.get().unwrap_or(&self.target)
    }

    /// By whom.
    pub fn client(&self) -> Client {
        self.client
    }

    /// The caller; `None` is anonymous.
    pub fn identity(&self) -> Option<Rc<Identity>> {
        self.identity.borrow().clone()
    }

    /// On what grounds it passes.
    pub fn grounds(&self) -> Grounds {
        self.grounds.get()
    }
}

impl Gate {
    /// Tells of lost rights.
    pub fn epoch(&self) -> &Epoch {
        self.authenticator.epoch()
    }

    /// To be taken before [`Gate::identify`] or [`Gate::renew`] by code that acts on the answer later.
    pub fn look(&self) -> LookupVersion {
        self.authenticator.look()
    }

    /// Whether a caller would be found as at that look, if looked at now. Makes no store call.
    pub fn still_counts(&self, look: LookupVersion, identity: &Identity) -> bool {
        self.authenticator.still_counts(look, identity)
    }

    /// For how long open exchanges may go on without another look at the store, if it is not read meanwhile;
    /// `None` is not at all.
    pub fn trusted_for(&self) -> Option<Duration> {
        self.authenticator.trusted_for()
    }

    /// Whether a session or key has not expired by itself; `active` if it was used just now.
    pub fn still_holds(&self, identity: &Identity, active: bool) -> bool {
        self.authenticator.still_holds(identity, active)
    }

    /// The caller of open exchanges as the store knows it now.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if its session or key has ended, or that cannot be told now.
    pub async fn renew(&self, identity: &Identity) -> Result<Rc<Identity>, Refusal> {
        let renewed = if identity.is_named() {
            self.names.still_named(identity)
        } else {
            let renewed = self.authenticator.renew(identity).await?;
            renewed.filter(|renewed| self.still_holds(renewed, false))
        };
        renewed.ok_or_else(|| Refusal::BadCredential(CredentialHandling::of(&identity.principal).ended()))
    }

    /// Decides an open exchange again, for its caller as renewed, or refused.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if a new request like it would be refused.
    pub fn decide_again(
        &self,
        ongoing: &OngoingDecision,
        renewed: Result<Rc<Identity>, Refusal>,
    ) -> Result<(), Refusal> {
        self.decide_as(ongoing, renewed.map(Recognition::Caller), &mut DecisionTrace::default())
    }

    /// Decides again what was permitted and is not sent yet. The trail tells of the last decision only.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if it would be refused if it came now.
    pub fn decide_unsent(
        &self,
        ongoing: &OngoingDecision,
        renewed: Result<Rc<Identity>, Refusal>,
        trail: &mut DecisionTrace,
    ) -> Result<(), Refusal> {
        trail.identity = renewed.as_ref().ok().cloned();
        trail.shadowed = None;
        trail.notes = trail.notes.take().map(|_| Box::default());
        let used = match renewed {
            // It was not sent yet: without its session it is an anonymous request.
            Err(Refusal::BadCredential(BadCredential::Session)) => Ok(Recognition::Ended),
            renewed => renewed.map(Recognition::Caller),
        };
        self.decide_as(ongoing, used, trail)
    }

    /// Decides as a plain request what asked for a switch of protocol and is answered without one, for its caller
    /// as last looked up.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the plain request would be refused.
    pub fn decide_unswitched(
        &self,
        ongoing: &OngoingDecision,
        trail: &mut DecisionTrace,
    ) -> Result<(), Refusal> {
        let target = &ongoing.target;
        ongoing.plain.get_or_init(|| target.as_method(target.method(), RequestKind::Plain));
        let caller = ongoing.identity().map_or(Recognition::Anonymous, Recognition::Caller);
        self.decide_as(ongoing, Ok(caller), trail)
    }

    fn decide_as(
        &self,
        ongoing: &OngoingDecision,
        used: Result<Recognition<Rc<Identity>>, Refusal>,
        trail: &mut DecisionTrace,
    ) -> Result<(), Refusal> {
        let target = ongoing.target();
        // What headers say was judged when the exchange began: its credential, and the page it comes from.
        let request = GateRequest {
            target,
            headers: &HeaderMap::new(),
            authority: "",
            route: None,
            client: ongoing.client,
            request_id: "",
        };
        let used = used.and_then(|recognised| {
            if let Some(identity) = recognised.caller() {
                if !identity.principal.is_for(target.host()) {
                    return Err(Refusal::BadCredential(BadCredential::Session));
                }
                check_bounds(&request, ongoing.also.iter(), identity)?;
            }
            Ok(recognised)
        });
        let effects = Effects { also: ongoing.also.clone(), destination: None };
        let mut asked = self.rulebook.route_with(&request, effects, trail)?.asked(used)?;
        if !ongoing.body_facts.answers(asked.wants(&request)) {
            // The body that would tell has gone by.
            asked.refuse(Refusal::Forbidden)?;
        }
        let permit = asked.decide(&request, &ongoing.body_facts, trail)?;
        // What it presented beside its credential is what it was.
        let despite_foreign = ongoing.grounds.get().despite_foreign;
        ongoing.grounds.set(Grounds { despite_foreign, ..permit.grounds() });
        let (_, identity) = permit.spend();
        ongoing.identity.replace(identity);
        Ok(())
    }
}
