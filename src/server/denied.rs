//! A problem on its way to an answer, with what the access event and the connection need to know of it.

use crate::edge::problem::Problem;
use crate::gate::refusal::Refusal;
use crate::model::target::TargetError;

/// A problem on its way to an answer.
pub(super) struct Denied {
    pub(super) problem: Box<Problem>,
    pub(super) decision: &'static str,
    /// Whether the connection must end: what follows on it cannot be trusted.
    pub(super) close: bool,
}

impl Denied {
    pub(super) fn open(problem: Problem, decision: &'static str) -> Self {
        Self { problem: Box::new(problem), decision, close: false }
    }

    pub(super) fn closing(problem: Problem) -> Self {
        Self { problem: Box::new(problem), decision: "deny", close: true }
    }
}

pub(super) fn refused(error: TargetError) -> Denied {
    Denied::closing(Problem::from(&Refusal::BadTarget(error)))
}
