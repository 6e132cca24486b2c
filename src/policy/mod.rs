//! Floor 1, who may do what: a pure function of principal and target.
//!
//! Rules are tried in order. The first whose conditions fit the *request* decides: callers it allows pass,
//! everyone else is refused. A rule that only denies refuses those it names and lets the next rule speak
//! for the rest. Where no rule fits, the answer is no.

pub mod claims;
mod decision;
mod enforce;
mod fit;
mod graphql;
mod field_bypass;
mod mcp;
mod path;
mod reading;
mod readings;
mod rule;
mod shadow;
mod who;

pub use self::decision::{Decision, Outcome, RuleObserver, RuleOutcome};
pub use self::enforce::Enforce;
pub use self::field_bypass::bypassed_rules;
pub use self::fit::{Doubt, Mismatch};
pub use self::graphql::{GraphqlMatch, Selects};
pub use self::mcp::{McpMatch, McpMethod};
pub use self::path::PathPattern;
pub use self::rule::{Conditions, GrpcPattern, MethodMatch, Rule};
pub use self::shadow::{UnreachableRule, shadowed};
pub use self::who::Who;

use self::fit::Fit;
use self::reading::RequestReading;
use self::readings::readings;
use crate::model::graphql::{Operation, OperationType};
use crate::model::mcp::Message;
use crate::model::principal::{Caller, ClientAddress};
use crate::model::role::Role;
use crate::model::target::RequestTarget;

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
    /// Which GraphQL operation would run, where [`Policy::wants`] said that matters.
    pub graphql: Option<&'a Operation>,
    /// The messages of the Model Context Protocol that it carries, each of which is decided; likewise.
    pub mcp: &'a [Message],
}

/// The facts of a body that a decision depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WantedFacts {
    /// The GraphQL operation.
    pub graphql: bool,
    /// The messages of the Model Context Protocol.
    pub mcp: bool,
}

impl WantedFacts {
    /// Whether there is anything.
    pub fn any(self) -> bool {
        self.graphql || self.mcp
    }

    /// What either wants.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { graphql: self.graphql || other.graphql, mcp: self.mcp || other.mcp }
    }
}

impl Policy {
    /// The rules of a route that names none: reading needs a viewer, everything else a member, switches of
    /// protocol included.
    pub fn standard(enforce: Enforce) -> Self {
        let rule = |name: &str, methods: &[MethodMatch], role| Rule {
            name: name.to_owned(),
            when: Conditions { methods: methods.to_vec(), ..Conditions::default() },
            deny: Vec::new(),
            allow: vec![Who::Role(role)],
            enforce,
        };
        Self {
            rules: vec![
                rule("standard-reads", &[MethodMatch::Read], Role::Viewer),
                rule("standard-writes", &[MethodMatch::Write, MethodMatch::WebSocket], Role::Member),
            ],
            enforce,
        }
    }

    /// The same where GraphQL is spoken at `paths`: there a query or subscription is a read, and everything else a write.
    #[must_use]
    pub fn with_graphql(mut self, paths: &[PathPattern]) -> Self {
        if paths.is_empty() {
            return self;
        }
        let rule = |name: &str, graphql, role| Rule {
            name: name.to_owned(),
            when: Conditions { paths: paths.to_vec(), graphql, ..Conditions::default() },
            deny: Vec::new(),
            allow: vec![Who::Role(role)],
            enforce: self.enforce,
        };
        let kinds = vec![OperationType::Query, OperationType::Subscription];
        let queries = GraphqlMatch { kinds, selects: Selects::Anything };
        let graphql = [
            rule("standard-queries", Some(queries), Role::Viewer),
            rule("standard-changes", None, Role::Member),
        ];
        self.rules.splice(0..0, graphql);
        self
    }

    /// Decides. Where the request can be read in several ways (a path that a careless server reads as another, a
    /// method that is not known, a switch of protocol that is only claimed), each is decided and the strictest wins.
    pub fn evaluate(
        &self,
        caller: Caller<'_>,
        facts: &Facts<'_>,
        witness: &mut impl RuleObserver,
    ) -> Decision<'_> {
        let mut strictest: Option<Decision<'_>> = None;
        for reading in readings(&self.rules, facts) {
            if strictest.is_some() {
                witness.reading(Some(&reading.told(facts.target)));
            }
            let decision = self.decide(caller, facts, reading, witness);
            let stricter = match strictest {
                None => decision,
                Some(other) if reading.loose => decision.or_stricter(other),
                Some(other) => other.or_stricter(decision),
            };
            if stricter.is_final() {
                return stricter;
            }
            strictest = Some(stricter);
        }
        strictest.unwrap_or(Decision { outcome: refuse(caller), rule: None, enforce: self.enforce })
    }

    /// How strictly a refusal is kept that has another cause than the rules: as the strictest rule would have
    /// it that speaks for the request in any reading.
    pub fn enforcement(&self, caller: Caller<'_>, facts: &Facts<'_>) -> Enforce {
        let of = |reading| self.decide(caller, facts, reading, &mut ()).enforce;
        let all = readings(&self.rules, facts).flat_map(|reading| [reading, reading.plain()]);
        all.map(of).max().unwrap_or(Enforce::On)
    }

    /// Whether anything may pass that is refused.
    pub fn is_lenient(&self) -> bool {
        self.enforce != Enforce::On || self.rules.iter().any(|rule| rule.enforce != Enforce::On)
    }

    /// Whether anything is refused in earnest.
    pub fn is_kept(&self) -> bool {
        self.strictest() == Enforce::On
    }

    /// How strictly the strictest of its rules is kept.
    pub fn strictest(&self) -> Enforce {
        self.rules.iter().map(|rule| rule.enforce).fold(self.enforce, Enforce::max)
    }

    /// Whether a request's path, or what stands for one, can change the decision.
    pub fn looks_at_paths(&self) -> bool {
        self.rules.iter().any(|rule| {
            let Conditions { paths, grpc, query, .. } = &rule.when;
            !paths.is_empty() || !grpc.is_empty() || !query.is_empty() || rule.when.looks_at_bodies()
        })
    }

    /// Whether a rule tells operations of GraphQL apart.
    pub fn knows_graphql(&self) -> bool {
        self.rules.iter().any(|rule| rule.when.graphql.is_some())
    }

    /// What of the body the decision depends on.
    ///
    /// Nothing where this caller is refused whatever stands there: no body is read for an anonymous caller then. Where
    /// refusals may pass it is read all the same, to tell which rule refuses.
    pub fn wants(&self, caller: Caller<'_>, facts: &Facts<'_>) -> WantedFacts {
        let mut wants = WantedFacts::default();
        for rule in self.rules.iter().filter(|rule| rule.when.looks_at_bodies()) {
            let may_fit = |reading| !matches!(rule.when.fit_envelope(facts, reading), Fit::No(_));
            // A switch that is answered without one was a plain request.
            if readings(&self.rules, facts).any(|reading| may_fit(reading) || may_fit(reading.plain())) {
                let Conditions { graphql, mcp, .. } = &rule.when;
                wants = wants.or(WantedFacts { graphql: graphql.is_some(), mcp: mcp.is_some() });
            }
        }
        let may_allow = |reading| self.may_allow(caller, facts, reading);
        let depends = wants.any() && (self.is_lenient() || readings(&self.rules, facts).all(may_allow));
        if depends { wants } else { WantedFacts::default() }
    }

    /// Whether there could be a body with which the request, so read, is allowed.
    fn may_allow(&self, caller: Caller<'_>, facts: &Facts<'_>, reading: RequestReading<'_>) -> bool {
        for rule in &self.rules {
            let fit = rule.when.fit_envelope(facts, reading);
            if matches!(fit, Fit::No(_)) {
                continue;
            }
            let denied = rule.deny.iter().any(|who| who.includes(caller));
            if !denied && rule.allow.iter().any(|who| who.includes(caller)) {
                if matches!(fit, Fit::Unsure(_)) {
                    // It allows nothing unless the rules after it do.
                    continue;
                }
                return true;
            }
            let decides = denied || !rule.allow.is_empty();
            if decides && !rule.when.looks_at_bodies() {
                return false;
            }
        }
        false
    }

    fn decide(
        &self,
        caller: Caller<'_>,
        facts: &Facts<'_>,
        reading: RequestReading<'_>,
        witness: &mut impl RuleObserver,
    ) -> Decision<'_> {
        // What rules say that do not decide alone.
        let mut perhaps: Option<Decision<'_>> = None;
        for rule in &self.rules {
            let doubt = match rule.when.fit(facts, reading) {
                Fit::No(mismatch) => {
                    witness.tried(rule, RuleOutcome::Skipped(mismatch));
                    continue;
                }
                Fit::Yes => None,
                Fit::Unsure(doubt) => Some(doubt),
            };
            if let Some(doubt) = doubt {
                witness.unsure(doubt);
            }
            let Some(mut decision) = rule.speak(caller, witness) else { continue };
            if reading.switches && decision.outcome == Outcome::Allow && !rule.when.names_switches() {
                // A rule that speaks for all there is, or for all writing, opens no socket to those who may not as
                // much as read there.
                witness.reading(Some(&"as a plain request"));
                decision = decision.or_stricter(self.decide(caller, facts, reading.plain(), witness));
                witness.reading(Some(&reading.told(facts.target)));
            }
            let strictest = decision.or_stricter_of(perhaps);
            if doubt.is_none() || strictest.is_final() {
                return strictest;
            }
            perhaps = Some(strictest);
        }
        witness.exhausted();
        Decision { outcome: refuse(caller), rule: None, enforce: self.enforce }.or_stricter_of(perhaps)
    }
}

impl Rule {
    /// What it says of a request that it speaks for; `None` if it leaves that to the next.
    fn speak(&self, caller: Caller<'_>, witness: &mut impl RuleObserver) -> Option<Decision<'_>> {
        let (step, outcome) = if let Some(who) = self.deny.iter().find(|who| who.includes(caller)) {
            (RuleOutcome::Denies(who), Some(Outcome::Deny))
        } else if let Some(who) = self.allow.iter().find(|who| who.includes(caller)) {
            (RuleOutcome::Allows(who), Some(Outcome::Allow))
        } else if self.allow.is_empty() {
            (RuleOutcome::PassedOver, None)
        } else {
            (RuleOutcome::AllowsOthers, Some(refuse(caller)))
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
mod facts_tests;
#[cfg(test)]
mod graphql_tests;
#[cfg(test)]
mod reading_tests;
#[cfg(test)]
mod tests;
