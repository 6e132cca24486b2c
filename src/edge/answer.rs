//! The result of a request: a response with its verdict, or a problem that becomes one.

use super::pages::problem::Problem;
use crate::gate::refusal::Refusal;
use crate::model::target::TargetError;
use crate::model::verdict::{Code, Verdict};

/// An answer, with what the access event tells of it.
#[derive(Debug)]
pub struct Answer<R> {
    /// What is sent.
    pub response: R,
    /// What was decided.
    pub verdict: Verdict,
    /// Why, where it is refused.
    pub code: Option<Code>,
}

impl<R> Answer<R> {
    /// A page of our own.
    pub fn own(response: R) -> Self {
        Self { response, verdict: Verdict::Own, code: None }
    }

    /// The same in another form.
    pub fn map<T>(self, change: impl FnOnce(R) -> T) -> Answer<T> {
        let Self { response, verdict, code } = self;
        Answer { response: change(response), verdict, code }
    }
}

/// A problem on its way to an answer.
#[derive(Debug)]
pub struct Denied {
    /// What the client is told.
    pub problem: Box<Problem>,
    /// What was decided.
    pub verdict: Verdict,
    /// Whether the connection must end: what follows on it cannot be trusted.
    pub close: bool,
}

impl Denied {
    /// The connection goes on.
    pub fn open(problem: Problem, verdict: Verdict) -> Self {
        Self { problem: Box::new(problem), verdict, close: false }
    }

    /// The connection ends.
    pub fn closing(problem: Problem) -> Self {
        Self { problem: Box::new(problem), verdict: Verdict::Deny, close: true }
    }
}

impl From<TargetError> for Denied {
    fn from(error: TargetError) -> Self {
        Self::closing(Problem::from(&Refusal::BadTarget(error)))
    }
}
