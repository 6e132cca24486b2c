//! Floor 1, who may do what: a pure function of principal and target.
//!
//! Rules are tried in order. The first whose conditions fit the *request* decides: whoever it allows passes,
//! everyone else is refused. A rule that only denies refuses those it names and lets the next rule speak
//! for the rest. Where no rule fits, the answer is no.

mod path;
mod rule;
mod who;

pub use self::path::PathPattern;
pub use self::rule::{GraphqlMatch, GrpcPattern, MethodMatch, Rule, When};
pub use self::who::Who;

use std::net::IpAddr;

use http::Method;

use crate::model::graphql::Operation;
use crate::model::principal::Caller;
use crate::model::role::Role;
use crate::model::target::{RequestKind, RequestTarget};

/// An ordered list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// In the order they are tried.
    pub rules: Vec<Rule>,
}

/// What a decision is about, beside the caller.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What is asked for.
    pub target: &'a RequestTarget,
    /// From which address.
    pub client: IpAddr,
    /// Which GraphQL operation would run, where [`Policy::needs_graphql`] said that matters.
    pub graphql: Option<&'a Operation>,
}

/// What to do with a request, and which rule says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'p> {
    /// Let it through.
    Allow {
        /// The rule that did.
        rule: &'p str,
    },
    /// The caller is nobody and the rule wants somebody: signing in may help.
    Challenge {
        /// `None` where no rule matched.
        rule: Option<&'p str>,
    },
    /// Refuse.
    Deny {
        /// `None` where no rule matched.
        rule: Option<&'p str>,
    },
}

/// Which reading of the path is compared.
#[derive(Clone, Copy)]
enum Reading {
    Canonical,
    Loose,
}

impl Policy {
    /// The rules of a route that names none: reading needs a viewer, everything else a member.
    pub fn standard() -> Self {
        let rule = |name: &str, methods, role| Rule {
            name: name.to_owned(),
            when: When { methods: vec![methods], ..When::default() },
            deny: Vec::new(),
            allow: vec![Who::Role(role)],
        };
        Self {
            rules: vec![
                rule("standard-reads", MethodMatch::Read, Role::Viewer),
                rule("standard-writes", MethodMatch::Write, Role::Member),
            ],
        }
    }

    /// Decides. Where the path can be read loosely, both readings are decided and the stricter wins; where the
    /// method is not known, the strictest of all that the rules tell apart.
    pub fn evaluate(&self, caller: Caller<'_>, facts: &Facts<'_>) -> Decision<'_> {
        let decision = self.evaluate_method(caller, facts);
        if facts.target.says_method() || !matches!(decision, Decision::Allow { .. }) {
            return decision;
        }
        let named = self.rules.iter().flat_map(|rule| &rule.when.methods).filter_map(MethodMatch::method);
        let kinds = [facts.target.kind(), RequestKind::Plain];
        let refused = [facts.target.method(), &Method::GET]
            .into_iter()
            .chain(named)
            .flat_map(|method| kinds.map(|kind| facts.target.as_method(method, kind)))
            .map(|target| self.evaluate_method(caller, &Facts { target: &target, ..*facts }))
            .find(|decision| !matches!(decision, Decision::Allow { .. }));
        refused.unwrap_or(decision)
    }

    /// Whether a request's path, or what stands for one, can change the decision.
    pub fn looks_at_paths(&self) -> bool {
        self.rules.iter().any(|rule| {
            let When { paths, grpc, graphql, .. } = &rule.when;
            !paths.is_empty() || !grpc.is_empty() || graphql.is_some()
        })
    }

    fn evaluate_method(&self, caller: Caller<'_>, facts: &Facts<'_>) -> Decision<'_> {
        let canonical = self.decide(caller, facts, Reading::Canonical);
        match (canonical, facts.target.loose_path()) {
            (Decision::Allow { .. }, Some(_)) => self.decide(caller, facts, Reading::Loose),
            _ => canonical,
        }
    }

    /// Whether the decision depends on the GraphQL operation in the body.
    ///
    /// It does not where this caller is refused whatever the operation: nobody's body is read for that.
    pub fn needs_graphql(&self, caller: Caller<'_>, facts: &Facts<'_>) -> bool {
        let depends = self.rules.iter().any(|rule| {
            rule.when.graphql.is_some()
                && (rule.when.fits_envelope(facts, Reading::Canonical)
                    || (facts.target.loose_path().is_some()
                        && rule.when.fits_envelope(facts, Reading::Loose)))
        });
        depends && self.may_allow(caller, facts)
    }

    /// Whether there could be an operation with which the request is allowed.
    fn may_allow(&self, caller: Caller<'_>, facts: &Facts<'_>) -> bool {
        for rule in self.rules.iter().filter(|rule| rule.when.fits_envelope(facts, Reading::Canonical)) {
            let denied = rule.deny.iter().any(|who| who.includes(caller));
            if !denied && rule.allow.iter().any(|who| who.includes(caller)) {
                return true;
            }
            let decides = denied || !rule.allow.is_empty();
            if decides && rule.when.graphql.is_none() {
                return false;
            }
        }
        false
    }

    fn decide(&self, caller: Caller<'_>, facts: &Facts<'_>, reading: Reading) -> Decision<'_> {
        for rule in self.rules.iter().filter(|rule| rule.when.fits(facts, reading)) {
            let name = rule.name.as_str();
            if rule.deny.iter().any(|who| who.includes(caller)) {
                return Decision::Deny { rule: Some(name) };
            }
            if rule.allow.is_empty() {
                continue;
            }
            if rule.allow.iter().any(|who| who.includes(caller)) {
                return Decision::Allow { rule: name };
            }
            return refuse(caller, Some(name));
        }
        refuse(caller, None)
    }
}

fn refuse<'r>(caller: Caller<'_>, rule: Option<&'r str>) -> Decision<'r> {
    match caller {
        Caller::Anonymous => Decision::Challenge { rule },
        Caller::Known(_) => Decision::Deny { rule },
    }
}

#[cfg(test)]
mod tests;
