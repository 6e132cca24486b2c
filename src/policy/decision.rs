//! The result of the rules, and the interface for observing how it came about.

use std::fmt;

use super::enforce::Enforce;
use super::fit::{Doubt, Mismatch};
use super::rule::Rule;
use super::who::Who;

/// What to do with a request, which rule says so, and whether that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'p> {
    /// What to do.
    pub outcome: Outcome,
    /// The rule that decided; `None` where none fits.
    pub rule: Option<&'p str>,
    /// How strictly a refusal is kept.
    pub enforce: Enforce,
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Let it through.
    Allow,
    /// Refuse; the caller is anonymous and the rule requires a principal, so signing in may help.
    Challenge,
    /// Refuse.
    Deny,
}

impl Decision<'_> {
    /// How much of a refusal it is; a refusal that is kept is the most.
    fn strictness(&self) -> Option<Enforce> {
        (self.outcome != Outcome::Allow).then_some(self.enforce)
    }

    /// Whether nothing can be stricter.
    pub fn is_final(&self) -> bool {
        self.strictness() == Some(Enforce::On)
    }

    /// The stricter of two; `self` where they are alike.
    #[must_use]
    pub fn or_stricter(self, other: Self) -> Self {
        if other.strictness() > self.strictness() { other } else { self }
    }

    /// The same beside one that need not be there.
    #[must_use]
    pub(super) fn or_stricter_of(self, other: Option<Self>) -> Self {
        other.map_or(self, |other| self.or_stricter(other))
    }
}

/// Watches rules being tried. The decision itself does not depend on who watches.
pub trait RuleObserver {
    /// A way to read the request is about to be decided; `why` it is not the plain one, if it is not.
    fn reading(&mut self, _why: Option<&dyn fmt::Display>) {}

    /// A rule was tried.
    fn tried(&mut self, _rule: &Rule, _step: RuleOutcome<'_>) {}

    /// The rule that is tried next does not decide alone: the rules after it count as well, and the stricter wins.
    fn unsure(&mut self, _why: Doubt) {}

    /// No rule was left, so the answer is no.
    fn exhausted(&mut self) {}
}

/// No observer.
impl RuleObserver for () {}

/// The outcome of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleOutcome<'r> {
    /// It speaks for other requests.
    Skipped(Mismatch),
    /// It denies others only.
    PassedOver,
    /// It denies this caller.
    Denies(&'r Who),
    /// It allows this caller.
    Allows(&'r Who),
    /// It allows others only.
    AllowsOthers,
}
