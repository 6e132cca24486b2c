//! Conditions of a rule on the GraphQL operation that would run.

use super::fit::{Doubt, Fit, Mismatch};
use crate::model::graphql::{Operation, OperationType};

/// A condition on the GraphQL operation that would run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphqlMatch {
    /// Its type is one of these.
    pub kinds: Vec<OperationType>,
    /// What it selects.
    pub selects: Selects,
}

/// A condition on what a GraphQL operation selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selects {
    /// Whatever it likes.
    Anything,
    /// Root fields that are all among these.
    Every(Vec<String>),
    /// One of these root fields, perhaps beside others.
    Any(Vec<String>),
    /// Anywhere, a field or a type of one of these names.
    Mentions(Vec<String>),
}

impl GraphqlMatch {
    pub(super) fn fit(&self, operation: Option<&Operation>) -> Fit {
        let no = Fit::No(Mismatch::Graphql);
        let Some(operation) = operation else { return no };
        let is_of_kind = self.kinds.contains(&operation.kind);
        let (names, wanted) = match &self.selects {
            Selects::Anything if is_of_kind => return Fit::Yes,
            Selects::Every(wanted) if is_of_kind => {
                let fields = operation.fields.as_ref();
                let all = fields.is_some_and(|fields| fields.iter().all(|field| wanted.contains(field)));
                return if all { Fit::Yes } else { no };
            }
            Selects::Anything | Selects::Every(_) => return no,
            Selects::Any(wanted) => (&operation.fields, wanted),
            Selects::Mentions(wanted) => (&operation.names, wanted),
        };
        // Its type is that of its strictest part; of which type is what is named there, it does not tell.
        if !self.kinds.iter().any(|kind| *kind <= operation.kind) {
            return no;
        }
        let Some(names) = names else { return Fit::Unsure(Doubt::Unread) };
        let found = names.iter().filter(|name| wanted.contains(name)).count();
        match &self.selects {
            _ if found == 0 => no,
            Selects::Any(_) if is_of_kind && found == names.len() => Fit::Yes,
            _ => Fit::Unsure(Doubt::Part),
        }
    }
}
