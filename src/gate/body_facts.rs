//! The facts that rules need from a request body: read once, within one budget.

use super::graphql::{self, Budget, Envelope};
use super::mcp;
use crate::model::graphql::Operation;
use crate::model::mcp::Message;
use crate::policy::WantedFacts;

/// Facts from a request body. Only those that were asked for are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyFacts {
    pub(super) wants: WantedFacts,
    pub(super) graphql: Option<Operation>,
    pub(super) mcp: Vec<Message>,
}

impl BodyFacts {
    /// Reads the facts of a request.
    pub fn of(wants: WantedFacts, envelope: &Envelope<'_>) -> Self {
        let mut budget = Budget::full();
        Self {
            wants,
            graphql: wants.graphql.then(|| graphql::classify_within(&mut budget, envelope)),
            mcp: if wants.mcp { mcp::classify(&mut budget, envelope) } else { Vec::new() },
        }
    }

    /// The facts of a body that cannot be read to its end: unknown.
    pub fn unknown(wants: WantedFacts) -> Self {
        Self {
            wants,
            graphql: wants.graphql.then_some(Operation::UNKNOWN),
            mcp: if wants.mcp { mcp::UNKNOWN.to_vec() } else { Vec::new() },
        }
    }

    /// What a question of another proxy tells, with which the body stays. Some servers of GraphQL read one of `GET`
    /// too, before the address; those of the Model Context Protocol go by the method.
    pub fn without_body(wants: WantedFacts, envelope: &Envelope<'_>) -> Self {
        let told =
            Self::of(WantedFacts { graphql: false, ..wants }, &Envelope { body: Some(&[]), ..*envelope });
        Self { wants, graphql: wants.graphql.then_some(Operation::UNKNOWN), ..told }
    }

    /// Whether a body could hold these facts.
    pub fn is_in_body(wants: WantedFacts, envelope: &Envelope<'_>) -> bool {
        wants.graphql && envelope.is_in_body() || wants.mcp && mcp::is_in_body(envelope)
    }

    /// Whether all of these facts were asked for.
    pub(super) fn answers(&self, wants: WantedFacts) -> bool {
        self.wants.or(wants) == self.wants
    }
}
