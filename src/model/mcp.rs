//! What a message to a server of the Model Context Protocol would do, as far as a rule cares.

use std::fmt;

/// Methods that list and read (protocol revisions up to 2025-11-25, and the draft after it). All others, known or
/// not, may change something.
const READS: &[&str] = &[
    "completion/complete",
    "initialize",
    "notifications/cancelled",
    "notifications/initialized",
    "notifications/progress",
    "notifications/roots/list_changed",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "server/discover",
    "subscriptions/listen",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tools/list",
];

/// The method that calls a tool.
pub const CALL: &str = "tools/call";

/// One JSON-RPC message of a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Message {
    /// A request or notification.
    Request {
        /// Its method.
        method: String,
        /// The tool that is called; `None` where none is, or that cannot be told.
        tool: Option<String>,
    },
    /// The answer to a question of the server.
    Response,
    /// Whatever could not be read. It counts as a write.
    Unknown,
}

impl Message {
    /// Whether it lists or reads.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Request { method, .. } if READS.binary_search(&method.as_str()).is_ok())
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { method, tool: None } => f.write_str(method),
            Self::Request { method, tool: Some(tool) } => write!(f, "{method} {tool}"),
            Self::Response => f.write_str("an answer to the server"),
            Self::Unknown => f.write_str("a message that could not be read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_methods_read() {
        assert!(READS.is_sorted());
        let request = |method: &str| Message::Request { method: method.to_owned(), tool: None };
        for method in READS {
            assert!(request(method).is_read(), "{method}");
        }
        for method in [CALL, "tools/List", "tasks/cancel", "logging/setLevel", "notifications/x", ""] {
            assert!(!request(method).is_read(), "{method}");
        }
        assert!(!Message::Response.is_read() && !Message::Unknown.is_read());
    }
}
