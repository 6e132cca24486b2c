//! The audit trail.

use std::time::Duration;

use crate::config::reading::{SettingsReader, Span, section};
use crate::config::sections::general::{CheckSection, General};

const DAY: u64 = 24 * 60 * 60;

section! {
    /// The trail of who did what: sign-ins, changes of users, keys and sessions, configurations.
    Audit {
        /// Rows are deleted when they are older than this, within a day. `0s`: never.
        keep: Span<0, {36_500 * DAY}> = r#""400d""#, r#""90d""#;
    }
}

/// The audit trail.
#[derive(Clone, Copy, Debug)]
pub struct AuditConfig {
    /// Rows older than this are deleted; zero: none.
    pub keep: Duration,
}

impl CheckSection for Audit {
    type Typed = AuditConfig;

    fn check(self, _: &General, _: &mut SettingsReader) -> AuditConfig {
        AuditConfig { keep: self.keep.0 }
    }
}
