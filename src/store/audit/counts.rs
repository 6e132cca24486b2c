//! How often each event was recorded, in this process.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::audit::{Event, Load, Note, Reason};
use crate::model::time::Timestamp;

/// How often each event was noted since the process started, with what came of it.
#[derive(Clone, Debug, Default)]
pub struct AuditCounts {
    /// By event, and why it was not done if it was not.
    pub counts: BTreeMap<(Event, Option<Reason>), u64>,
    /// When a configuration last took effect.
    pub last_load: Option<Timestamp>,
    /// By cause, and whether it took effect.
    loads: BTreeMap<(Load, bool), u64>,
}

impl AuditCounts {
    pub(super) fn add(&mut self, note: &Note, now: Timestamp) {
        // A summary tells of what was counted one by one already.
        if note.detail.contains_key("repeats") {
            return;
        }
        *self.counts.entry((note.event, note.failure)).or_default() += 1;
        if note.event == Event::ConfigLoad {
            let done = note.failure.is_none();
            if let Some(cause) = note.detail.get("cause").and_then(Value::as_str).and_then(Load::named) {
                *self.loads.entry((cause, done)).or_default() += 1;
            }
            if done {
                self.last_load = Some(now);
            }
        }
    }

    /// How many configurations of this cause took effect (`done`), or were refused.
    pub fn loads(&self, cause: Load, done: bool) -> u64 {
        self.loads.get(&(cause, done)).copied().unwrap_or(0)
    }
}
