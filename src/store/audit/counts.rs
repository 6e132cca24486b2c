//! How often what was noted, in one process.

use std::collections::BTreeMap;

use crate::model::audit::{Event, Note};
use crate::model::time::Timestamp;

/// How often each event was noted since the process started, with what came of it.
#[derive(Clone, Debug, Default)]
pub struct AuditCounts {
    /// By event and result: `success`, or the reason.
    pub counts: BTreeMap<(String, String), u64>,
    /// When a configuration last took effect.
    pub last_load: Option<Timestamp>,
    /// By cause and result.
    loads: BTreeMap<(String, bool), u64>,
}

impl AuditCounts {
    pub(super) fn add(&mut self, note: &Note, now: Timestamp) {
        let text = |name: &str| note.detail.get(name).and_then(serde_json::Value::as_str);
        // A summary tells of what was counted one by one already.
        if note.detail.contains_key("repeats") {
            return;
        }
        let result = if note.success { "success" } else { text("reason").unwrap_or("failure") };
        *self.counts.entry((note.event.as_str().to_owned(), result.to_owned())).or_default() += 1;
        if note.event == Event::ConfigLoad {
            let cause = text("cause").unwrap_or_default().to_owned();
            *self.loads.entry((cause, note.success)).or_default() += 1;
            if note.success {
                self.last_load = Some(now);
            }
        }
    }

    /// How many configurations of this cause took effect (`success`), or were refused.
    pub fn loads(&self, cause: &str, result: &str) -> u64 {
        self.loads.get(&(cause.to_owned(), result == "success")).copied().unwrap_or(0)
    }
}
