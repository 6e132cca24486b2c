//! What strangers can repeat at will, such as wrong passwords: one row a minute for each source, and a count.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::audit::{Note, Party};
use crate::model::time::Timestamp;

/// Within this after its first row a source is only counted.
const WINDOW: Duration = Duration::from_mins(1);
/// Sources told apart in that time; further ones are counted together.
const MOST: usize = 300;
/// The place of all further ones.
const FURTHER: &str = "";

/// What is counted, by source.
#[derive(Debug, Default)]
pub(super) struct Repeats(HashMap<String, Repeat>);

/// One source in its minute.
#[derive(Clone, Debug)]
pub(super) struct Repeat {
    note: Note,
    since: Timestamp,
    last: Timestamp,
    /// Beyond the first.
    more: u64,
    /// Whether the first is in the trail; until then nothing is only counted.
    written: bool,
}

/// What is to be done about one occurrence.
#[derive(Debug)]
pub(super) enum Counted {
    /// Nothing: it is counted.
    Repeat,
    /// It is to be written, after what was counted before in the same `place`.
    First { due: Option<Note>, place: String },
}

impl Repeat {
    /// A row that tells of all but the first.
    pub(super) fn summary(&self) -> Note {
        let note = self.note.clone();
        note.with("repeats", self.more).with("since", self.since.rfc3339()).with("until", self.last.rfc3339())
    }

    fn is_over(&self, now: Timestamp) -> bool {
        !now.is_within(WINDOW, self.since)
    }
}

impl Repeats {
    pub(super) fn count(&mut self, source: &str, note: &Note, now: Timestamp) -> Counted {
        let place = format!("{} {source}", note.event.as_str());
        let full = self.0.len() >= MOST && !self.0.contains_key(&place);
        if full {
            self.0.retain(|_, repeat| repeat.more > 0 || !repeat.is_over(now));
        }
        let further = full && self.0.len() >= MOST;
        let (place, note) =
            if further { (FURTHER.to_owned(), without_source(note)) } else { (place, note.clone()) };
        let first = Repeat { note, since: now, last: now, more: 0, written: false };
        let Some(before) = self.0.get_mut(&place) else {
            self.0.insert(place.clone(), first);
            return Counted::First { due: None, place };
        };
        if !before.written {
            return Counted::First { due: None, place };
        }
        if !before.is_over(now) {
            before.more += 1;
            before.last = now;
            return Counted::Repeat;
        }
        let due = (before.more > 0).then(|| before.summary());
        *before = first;
        Counted::First { due, place }
    }

    /// The first occurrence is in the trail.
    pub(super) fn written(&mut self, place: &str) {
        if let Some(repeat) = self.0.get_mut(place) {
            repeat.written = true;
        }
    }

    /// The first occurrence could not be written: the next one is the first.
    pub(super) fn forget(&mut self, place: &str) {
        if self.0.get(place).is_some_and(|repeat| !repeat.written) {
            self.0.remove(place);
        }
    }

    /// Takes out what is over, or everything; only what has something to tell is returned.
    pub(super) fn take_due(&mut self, now: Timestamp, all: bool) -> Vec<(String, Repeat)> {
        let due: Vec<_> =
            self.0.extract_if(|_, repeat| repeat.written && (all || repeat.is_over(now))).collect();
        due.into_iter().filter(|(_, repeat)| repeat.more > 0).collect()
    }

    /// Takes back what could not be written.
    pub(super) fn put_back(&mut self, due: Vec<(String, Repeat)>) {
        for (place, repeat) in due {
            let more = repeat.more;
            self.0
                .entry(place)
                .and_modify(|newer| {
                    newer.more += more + 1;
                    newer.since = repeat.since;
                })
                .or_insert(repeat);
        }
    }
}

/// What many sources have in common.
fn without_source(note: &Note) -> Note {
    let reason = "too many sources to tell apart";
    let bare = Note {
        actor: Some(Party::new("nobody")),
        client: Some("many".to_owned()),
        ..Note::failed(note.event, reason)
    };
    Note { success: note.success, ..bare }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit::Event;

    const NOW: Timestamp = Timestamp(1_900_000_000);

    fn count(repeats: &mut Repeats, source: &str, at: i64) -> Counted {
        let note = Note::failed(Event::Login, "wrong-password");
        let counted = repeats.count(source, &note, Timestamp(NOW.0 + at));
        if let Counted::First { place, .. } = &counted {
            repeats.written(place);
        }
        counted
    }

    #[test]
    fn a_source_is_written_once_a_minute_and_counted_otherwise() {
        let mut repeats = Repeats::default();
        assert!(matches!(count(&mut repeats, "a", 0), Counted::First { due: None, .. }));
        for at in 1..60 {
            assert!(matches!(count(&mut repeats, "a", at), Counted::Repeat), "{at}");
        }
        assert!(matches!(count(&mut repeats, "b", 59), Counted::First { due: None, .. }));
        let Counted::First { due: Some(due), .. } = count(&mut repeats, "a", 60) else { panic!("not due") };
        assert_eq!(due.detail["repeats"], 59);
        assert_eq!(due.detail["until"], Timestamp(NOW.0 + 59).rfc3339());
        assert_eq!(repeats.take_due(Timestamp(NOW.0 + 200), false).len(), 0, "nothing more to tell");
        assert!(repeats.0.is_empty());
    }

    #[test]
    fn a_minute_of_a_clock_that_was_set_back_is_over() {
        let mut repeats = Repeats::default();
        count(&mut repeats, "a", 7200);
        assert!(matches!(count(&mut repeats, "a", 7201), Counted::Repeat));
        let Counted::First { due: Some(due), .. } = count(&mut repeats, "a", 0) else { panic!("not due") };
        assert_eq!(due.detail["repeats"], 1);
    }

    #[test]
    fn nothing_is_only_counted_before_the_first_is_written() {
        let mut repeats = Repeats::default();
        let note = Note::failed(Event::Login, "wrong-password");
        for _ in 0..3 {
            assert!(matches!(repeats.count("a", &note, NOW), Counted::First { .. }));
        }
        repeats.forget("login a");
        assert!(repeats.0.is_empty());
        count(&mut repeats, "a", 0);
        repeats.forget("login a");
        assert_eq!(repeats.0.len(), 1, "another has written it");
    }

    #[test]
    fn sources_beyond_the_bound_are_counted_together() {
        let mut repeats = Repeats::default();
        let mut written = 0;
        for source in 0..10 * MOST {
            written +=
                usize::from(matches!(count(&mut repeats, &source.to_string(), 0), Counted::First { .. }));
        }
        assert_eq!((written, repeats.0.len()), (MOST + 1, MOST + 1));
        let due = repeats.take_due(NOW, true);
        let [(_, further)] = due.as_slice() else { panic!("{due:?}") };
        assert_eq!(further.summary().detail["repeats"], 9 * MOST - 1);
        assert_eq!(further.summary().client.as_deref(), Some("many"));
    }

    #[test]
    fn what_could_not_be_written_is_counted_on() {
        let mut repeats = Repeats::default();
        for at in 0..3 {
            count(&mut repeats, "a", at);
        }
        let due = repeats.take_due(NOW, true);
        count(&mut repeats, "a", 5);
        repeats.put_back(due);
        assert_eq!(repeats.0["login a"].more, 3);
    }
}
