//! What a GraphQL request would do, as far as a rule cares.

use std::fmt;
use std::str::FromStr;

/// The three operation types of GraphQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperationType {
    /// Reads.
    Query,
    /// Reads for as long as the connection lasts.
    Subscription,
    /// Writes; also anything that could not be understood.
    Mutation,
}

impl OperationType {
    /// Every one, the mildest first.
    pub const ALL: [Self; 3] = [Self::Query, Self::Subscription, Self::Mutation];

    /// The word in GraphQL and in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Subscription => "subscription",
            Self::Mutation => "mutation",
        }
    }
}

impl fmt::Display for OperationType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OperationType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "query" => Ok(Self::Query),
            "subscription" => Ok(Self::Subscription),
            "mutation" => Ok(Self::Mutation),
            _ => Err(()),
        }
    }
}

/// The operation a request would run: the strictest one, where there could be several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its type.
    pub kind: OperationType,
    /// The root fields it selects; `None` where they are not known.
    pub fields: Option<Vec<String>>,
    /// What its documents name anywhere: fields at every depth and types of conditions, used or not; `None` where
    /// they are not known.
    pub names: Option<Vec<String>>,
}

impl Operation {
    /// What stands for anything unparsable, persisted or unknown: a mutation of unknown fields.
    pub const UNKNOWN: Self = Self { kind: OperationType::Mutation, fields: None, names: None };
}
