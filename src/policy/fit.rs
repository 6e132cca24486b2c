//! Whether a rule applies to a request, and why it does not or does not decide alone.

/// The first condition of a rule that a request does not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// `path`.
    Path,
    /// `methods`.
    Method,
    /// `host`.
    Host,
    /// `grpc`.
    Grpc,
    /// `networks`.
    Network,
    /// `query`.
    Query,
    /// `graphql`, `fields`, `any_field` or `mentions`.
    Graphql,
    /// `graphql`, of what a connection is switched to.
    SwitchedGraphql,
    /// `graphql`, of an operation that could not be read.
    UnreadGraphql,
    /// `mcp` or `tools`.
    Mcp,
}

impl Mismatch {
    /// The condition, by the name it has in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Method => "methods",
            Self::Host => "host",
            Self::Grpc => "grpc",
            Self::Network => "networks",
            Self::Query => "query",
            Self::Graphql | Self::SwitchedGraphql | Self::UnreadGraphql => "graphql",
            Self::Mcp => "mcp",
        }
    }
}

impl Mismatch {
    /// What would fit instead, where the condition alone does not tell.
    pub fn advice(self) -> Option<&'static str> {
        match self {
            Self::SwitchedGraphql => Some(
                "what a WebSocket carries is not read, so it counts as a mutation of unknown fields; \
                 `methods = \"websocket\"` without `graphql` fits it",
            ),
            Self::UnreadGraphql => Some(
                "the operation could not be read, so it counts as a mutation of unknown fields; \
                     `graphql = \"mutation\"` without `fields` fits it",
            ),
            _ => None,
        }
    }
}

/// Why a rule does not decide alone although it speaks: the rules after it count as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The client's address is not known, so it may or may not lie in the rule's networks.
    Network,
    /// The request asks for what the rule names, and for more.
    Part,
    /// What the request asks for could not be read, so it may or may not be what the rule names.
    Unread,
    /// Some program could read in the query what the rule names.
    Query,
}

/// Whether a rule speaks for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It does.
    Yes,
    /// It does, but not alone.
    Unsure(Doubt),
    /// It does not.
    No(Mismatch),
}

impl Fit {
    /// Both of two conditions.
    pub(super) fn and(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::No(_) => self,
            Self::Yes => other(),
            Self::Unsure(_) => match other() {
                Self::Yes => self,
                other => other,
            },
        }
    }
}
