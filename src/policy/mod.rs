//! Floor 1, who may do what: a pure function of principal and target.
//!
//! Rules are tried in order. The first whose conditions fit the *request* decides: whoever it allows passes,
//! everyone else is refused. A rule that only denies refuses those it names and lets the next rule speak
//! for the rest. Where no rule fits, the answer is no.

mod decision;
mod path;
mod rule;
mod shadow;
mod who;

pub use self::decision::{Decision, Enforce, Outcome, Step, Witness};
pub use self::path::PathPattern;
pub use self::rule::{GraphqlMatch, GrpcPattern, MethodMatch, Mismatch, Rule, When};
pub use self::shadow::{Shadowed, shadowed};
pub use self::who::Who;

use http::Method;

use self::rule::Fit;
use crate::model::graphql::Operation;
use crate::model::principal::{Caller, ClientAddress};
use crate::model::role::Role;
use crate::model::target::{RequestKind, RequestTarget};

/// An ordered list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// In the order they are tried.
    pub rules: Vec<Rule>,
    /// How strictly it is kept that where no rule fits, the answer is no.
    pub enforce: Enforce,
}

/// What a decision is about, beside the caller.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What is asked for.
    pub target: &'a RequestTarget,
    /// From where.
    pub client: ClientAddress,
    /// Which GraphQL operation would run, where [`Policy::needs_graphql`] said that matters.
    pub graphql: Option<&'a Operation>,
}

/// Which reading of the path is compared.
#[derive(Clone, Copy)]
enum Reading {
    Canonical,
    Loose,
}

impl Policy {
    /// The rules of a route that names none: reading needs a viewer, everything else a member.
    pub fn standard(enforce: Enforce) -> Self {
        let rule = |name: &str, methods, role| Rule {
            name: name.to_owned(),
            when: When { methods: vec![methods], ..When::default() },
            deny: Vec::new(),
            allow: vec![Who::Role(role)],
            enforce,
        };
        Self {
            rules: vec![
                rule("standard-reads", MethodMatch::Read, Role::Viewer),
                rule("standard-writes", MethodMatch::Write, Role::Member),
            ],
            enforce,
        }
    }

    /// Decides. Where the path can be read loosely, both readings are decided and the stricter wins; where the
    /// method is not known, the strictest of all that the rules tell apart.
    pub fn evaluate(
        &self,
        caller: Caller<'_>,
        facts: &Facts<'_>,
        witness: &mut impl Witness,
    ) -> Decision<'_> {
        let decision = self.evaluate_method(caller, facts, witness);
        if facts.target.says_method() || decision.is_final() {
            return decision;
        }
        let mut strictest = decision;
        for target in self.possible_methods(facts) {
            witness.reading(Some(&format!("as {}", target.method())));
            let decision = self.evaluate_method(caller, &Facts { target: &target, ..*facts }, witness);
            strictest = strictest.or_stricter(decision);
            if strictest.is_final() {
                break;
            }
        }
        strictest
    }

    /// How strictly a refusal is kept that has another cause than the rules: as the strictest rule would have
    /// it that speaks for the request in any reading.
    pub fn enforcement(&self, caller: Caller<'_>, facts: &Facts<'_>) -> Enforce {
        let of = |facts: &Facts<'_>| {
            let loose = facts.target.loose_path().map(|_| Reading::Loose);
            let readings = [Some(Reading::Canonical), loose].into_iter().flatten();
            readings.map(|reading| self.decide(caller, facts, reading, &mut ()).enforce).max()
        };
        let as_asked = of(facts).unwrap_or(Enforce::On);
        if facts.target.says_method() {
            return as_asked;
        }
        let all = self.possible_methods(facts);
        all.filter_map(|target| of(&Facts { target: &target, ..*facts })).fold(as_asked, Enforce::max)
    }

    /// Whether anything may pass that is refused.
    pub fn is_lenient(&self) -> bool {
        self.enforce != Enforce::On || self.rules.iter().any(|rule| rule.enforce != Enforce::On)
    }

    /// The target with every method that the rules tell apart.
    fn possible_methods<'a>(&'a self, facts: &Facts<'a>) -> impl Iterator<Item = RequestTarget> + use<'a> {
        let named = self.rules.iter().flat_map(|rule| &rule.when.methods).filter_map(MethodMatch::method);
        let kinds = [facts.target.kind(), RequestKind::Plain];
        let (target, own) = (facts.target, facts.target.method());
        [own, &Method::GET]
            .into_iter()
            .chain(named)
            .flat_map(move |method| kinds.map(|kind| target.as_method(method, kind)))
    }

    /// Whether a request's path, or what stands for one, can change the decision.
    pub fn looks_at_paths(&self) -> bool {
        self.rules.iter().any(|rule| {
            let When { paths, grpc, graphql, .. } = &rule.when;
            !paths.is_empty() || !grpc.is_empty() || graphql.is_some()
        })
    }

    fn evaluate_method(
        &self,
        caller: Caller<'_>,
        facts: &Facts<'_>,
        witness: &mut impl Witness,
    ) -> Decision<'_> {
        let canonical = self.decide(caller, facts, Reading::Canonical, witness);
        match facts.target.loose_path() {
            Some(path) if !canonical.is_final() => {
                witness.reading(Some(path));
                self.decide(caller, facts, Reading::Loose, witness).or_stricter(canonical)
            }
            _ => canonical,
        }
    }

    /// Whether the decision depends on the GraphQL operation in the body.
    ///
    /// It does not where this caller is refused whatever the operation: nobody's body is read for that. Where
    /// refusals may pass it does all the same, to tell which rule refuses.
    pub fn needs_graphql(&self, caller: Caller<'_>, facts: &Facts<'_>) -> bool {
        let depends = self.rules.iter().any(|rule| {
            let may_fit = |reading| !matches!(rule.when.fit_envelope(facts, reading), Fit::No(_));
            rule.when.graphql.is_some()
                && (may_fit(Reading::Canonical)
                    || (facts.target.loose_path().is_some() && may_fit(Reading::Loose)))
        });
        depends && (self.is_lenient() || self.may_allow(caller, facts))
    }

    /// Whether there could be an operation with which the request is allowed.
    fn may_allow(&self, caller: Caller<'_>, facts: &Facts<'_>) -> bool {
        for rule in &self.rules {
            let fit = rule.when.fit_envelope(facts, Reading::Canonical);
            if matches!(fit, Fit::No(_)) {
                continue;
            }
            let denied = rule.deny.iter().any(|who| who.includes(caller));
            if !denied && rule.allow.iter().any(|who| who.includes(caller)) {
                if fit == Fit::Unsure {
                    // It allows nothing unless the rules after it do.
                    continue;
                }
                return true;
            }
            let decides = denied || !rule.allow.is_empty();
            if decides && rule.when.graphql.is_none() {
                return false;
            }
        }
        false
    }

    fn decide(
        &self,
        caller: Caller<'_>,
        facts: &Facts<'_>,
        reading: Reading,
        witness: &mut impl Witness,
    ) -> Decision<'_> {
        // What rules say of which it cannot be told whether they speak for the request.
        let mut perhaps: Option<Decision<'_>> = None;
        for rule in &self.rules {
            match rule.when.fit(facts, reading) {
                Fit::No(mismatch) => witness.tried(rule, Step::Skipped(mismatch)),
                Fit::Yes => {
                    if let Some(decision) = rule.speak(caller, witness) {
                        return decision.or_stricter_of(perhaps);
                    }
                }
                Fit::Unsure => {
                    witness.unsure(rule);
                    if let Some(decision) = rule.speak(caller, witness) {
                        let strictest = decision.or_stricter_of(perhaps);
                        if strictest.is_final() {
                            return strictest;
                        }
                        perhaps = Some(strictest);
                    }
                }
            }
        }
        witness.exhausted();
        Decision { outcome: refuse(caller), rule: None, enforce: self.enforce }.or_stricter_of(perhaps)
    }
}

impl Rule {
    /// What it says of a request that it speaks for; `None` if it leaves that to the next.
    fn speak(&self, caller: Caller<'_>, witness: &mut impl Witness) -> Option<Decision<'_>> {
        let (step, outcome) = if let Some(who) = self.deny.iter().find(|who| who.includes(caller)) {
            (Step::Denies(who), Some(Outcome::Deny))
        } else if let Some(who) = self.allow.iter().find(|who| who.includes(caller)) {
            (Step::Allows(who), Some(Outcome::Allow))
        } else if self.allow.is_empty() {
            (Step::PassedOver, None)
        } else {
            (Step::AllowsOthers, Some(refuse(caller)))
        };
        witness.tried(self, step);
        Some(Decision { outcome: outcome?, rule: Some(&self.name), enforce: self.enforce })
    }
}

fn refuse(caller: Caller<'_>) -> Outcome {
    match caller {
        Caller::Anonymous => Outcome::Challenge,
        Caller::Known(_) => Outcome::Deny,
    }
}

#[cfg(test)]
mod tests;
