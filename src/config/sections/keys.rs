//! API keys.

use http::HeaderName;

use crate::config::reading::section;
use crate::config::sections::tokens::ImportedKeys;

section! {
    /// API keys.
    Keys {
        /// The headers that may carry a key, beside `Authorization`. A route may name others.
        header or headers: Vec<HeaderName> = r#"["X-Api-Key"]"#, r#"["X-Api-Key", "X-Token"]"#;
        /// Keys of systems that were here before.
        imported: Vec<ImportedKeys> = "[]", r#"[{ name = "old", ring_file = "keys.json", role = "agent" }]"#;
    }
}

/// API keys.
#[derive(Clone, Debug)]
pub struct KeyConfig {
    /// The headers that may carry a key beside `Authorization`, where a route names no others.
    pub headers: Vec<HeaderName>,
}
