//! Spellings of paths that are refused unless an application needs them.

use crate::config::reading::{choice, section};
use crate::model::target::PathOptIns;

section! {
    /// Spellings of paths that are refused unless an upstream needs them. Rules are then matched on the plain
    /// and the decoded form, and the stricter answer wins.
    Paths {
        /// `encoded-slash` (`%2F`), `semicolon` (`;`), `empty-segment` (`//`, though never at the start),
        /// `disguised-separator` (characters that some programs read as `/`, `\`, `.`, `%`, `;`, `?` or `#`, such as
        /// U+FF0F `／`, U+2026 `…` or U+FF1F `？` in names of files).
        allow: Vec<PathOptIn> = "[]", r#"["encoded-slash"]"#;
    }
}

/// A path spelling an application needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum PathOptIn {
    EncodedSlash,
    Semicolon,
    EmptySegment,
    DisguisedSeparator,
}

choice! {
    PathOptIn {
        "encoded-slash" => Self::EncodedSlash,
        "disguised-separator" => Self::DisguisedSeparator,
        "semicolon" => Self::Semicolon,
        "empty-segment" => Self::EmptySegment,
    }
}

/// Spellings of paths, as the rest of the code asks for them.
pub(in crate::config) fn opt_ins(paths: &Paths) -> PathOptIns {
    spellings(&paths.allow)
}

pub(in crate::config) fn spellings(allowed: &[PathOptIn]) -> PathOptIns {
    PathOptIns {
        encoded_slash: allowed.contains(&PathOptIn::EncodedSlash),
        semicolon: allowed.contains(&PathOptIn::Semicolon),
        empty_segment: allowed.contains(&PathOptIn::EmptySegment),
        disguised_separator: allowed.contains(&PathOptIn::DisguisedSeparator),
    }
}
