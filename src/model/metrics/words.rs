//! Closed sets of metric labels that nothing else uses.

use crate::model::words::words;

/// Upper bounds of a duration's buckets, in microseconds.
pub const BUCKETS: &[u64] = &[
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

words! {
    /// The class of a status (RFC 9110, 15).
    StatusClass {
        /// Something comes before the answer, or another protocol.
        Informational = "1xx",
        /// It was done.
        Success = "2xx",
        /// The client has to go elsewhere.
        Redirection = "3xx",
        /// The client is to blame, or has left.
        ClientError = "4xx",
        /// We are, or the application is.
        ServerError = "5xx",
    }

    /// What became of an attempt to get a connection to an upstream.
    Connect {
        /// None could be opened.
        Failed = "failed",
        /// A new one was opened.
        Opened = "opened",
        /// One that served before is used again.
        Reused = "reused",
    }
}

/// The result of a look into the credential cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Memory {
    /// The key was there.
    KeyHit,
    /// It was not.
    KeyMiss,
    /// The session was there.
    SessionHit,
    /// It was not.
    SessionMiss,
}

impl Memory {
    /// Every one, in order.
    pub(super) const ALL: [Self; 4] = [Self::KeyHit, Self::KeyMiss, Self::SessionHit, Self::SessionMiss];

    /// What was looked for, and what came of it, as labels.
    pub fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::KeyHit => ("key", "hit"),
            Self::KeyMiss => ("key", "miss"),
            Self::SessionHit => ("session", "hit"),
            Self::SessionMiss => ("session", "miss"),
        }
    }
}

impl StatusClass {
    /// The class of a status; what has none counts as the nearest.
    pub(super) fn of(status: u16) -> Self {
        match status / 100 {
            0 | 1 => Self::Informational,
            2 => Self::Success,
            3 => Self::Redirection,
            4 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_buckets_rise() {
        assert!(BUCKETS.is_sorted());
    }
}
