//! The closed sets of words that are labels.

/// What was decided; the last stands for what is not among them.
pub const DECISIONS: &[&str] =
    &["allow", "challenge", "deny", "error", "none", "own", "shadow_refused", "other"];

/// Classes of statuses.
pub(super) const CLASSES: &[&str] = &["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Codes of problems; the last stands for what is not among them.
pub const CODES: &[&str] = &[
    "bad-destination",
    "bad-framing",
    "bad-request",
    "bad-target",
    "body-incomplete",
    "body-too-large",
    "busy",
    "conflict",
    "draining",
    "forbidden",
    "foreign-destination",
    "foreign-key",
    "foreign-origin",
    "header-too-large",
    "identity-too-large",
    "internal",
    "invalid",
    "invalid-key",
    "invalid-token",
    "key-required",
    "key-scope",
    "last-admin",
    "method-not-allowed",
    "misplaced-key",
    "no-room",
    "no-route",
    "not-found",
    "not-taken-over",
    "odd-header",
    "odd-path",
    "odd-upgrade",
    "opened-by-script",
    "password-change-required",
    "password-login-off",
    "people-only",
    "request-timeout",
    "session-ended",
    "setup-link-invalid",
    "several-credentials",
    "sign-in-loop",
    "sign-in-required",
    "too-many-attempts",
    "too-many-bodies",
    "unavailable",
    "unclear-question",
    "unreadable-request",
    "unsupported-media-type",
    "unsupported-scheme",
    "untrusted-proxy",
    "upstream-protocol",
    "upstream-timeout",
    "upstream-unreachable",
    "uri-too-long",
    "websocket-version",
    "wrong-credentials",
    "other",
];

/// Upper bounds of a duration's buckets, in microseconds.
pub const BUCKETS: &[u64] = &[
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal,)+ })+) => {
        $($(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$word_doc])* $word,)+
        }

        impl $name {
            /// The words, in order.
            pub const WORDS: &'static [&'static str] = &[$($text,)+];
        })+
    };
}

words! {
    /// What became of a look at the credentials that a thread remembers.
    Memory {
        /// The session was there.
        SessionHit = "session hit",
        /// It was not.
        SessionMiss = "session miss",
        /// The key was there.
        KeyHit = "key hit",
        /// It was not.
        KeyMiss = "key miss",
    }

    /// What became of an attempt to get a connection to an upstream.
    Connect {
        /// A new one was opened.
        Opened = "opened",
        /// One that served before is used again.
        Reused = "reused",
        /// None could be opened.
        Failed = "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise_and_words_differ() {
        assert!(BUCKETS.is_sorted());
        let mut codes = CODES.to_vec();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), CODES.len());
    }
}
