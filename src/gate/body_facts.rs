//! What a body told, as far as rules ask for it: read once, by one reader, within one budget.

use super::graphql::{self, Budget, Envelope};
use super::mcp;
use crate::model::graphql::Operation;
use crate::model::mcp::Message;
use crate::policy::WantedFacts;

/// What a request's body told. Whatever is not asked for is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyFacts {
    pub(super) wants: WantedFacts,
    pub(super) graphql: Option<Operation>,
    pub(super) mcp: Vec<Message>,
}

impl BodyFacts {
    /// What a request tells.
    pub fn of(wants: WantedFacts, envelope: &Envelope<'_>) -> Self {
        let mut budget = Budget::full();
        Self {
            wants,
            graphql: wants.graphql.then(|| graphql::classify_within(&mut budget, envelope)),
            mcp: if wants.mcp { mcp::classify(&mut budget, envelope) } else { Vec::new() },
        }
    }

    /// What is told by a body that cannot be read to its end.
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

    /// Whether a body could tell it.
    pub fn is_in_body(wants: WantedFacts, envelope: &Envelope<'_>) -> bool {
        wants.graphql && envelope.is_in_body() || wants.mcp && mcp::is_in_body(envelope)
    }

    /// Whether it was asked for all of this.
    pub(super) fn answers(&self, wants: WantedFacts) -> bool {
        self.wants.or(wants) == self.wants
    }
}
