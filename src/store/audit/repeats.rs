//! Events that unknown clients can repeat at will, such as wrong passwords: one row a minute for each source, and a count.
//!
//! Where sources are too many to tell apart, what they do to one account for one reason is counted together; where
//! that is too much as well, what they do for one reason, with the accounts in the count. So account and reason
//! stay, in bounded space.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::model::audit::{Note, Party, Reason};
use crate::model::time::Timestamp;

/// Within this after its first row a source is only counted.
const WINDOW: Duration = Duration::from_mins(1);
/// Sources told apart in that time, and then accounts with reasons.
const MOST: usize = 300;
/// Accounts that are named in a count of all that has a reason in common.
const MOST_ACCOUNTS: usize = 300;

/// What is counted: by source, by account and reason, by reason. Of reasons there are few.
#[derive(Debug, Default)]
pub(super) struct Repeats([HashMap<String, Repeat>; 3]);

/// Where something is counted: in which of the three, and as what.
pub(super) type RepeatKey = (usize, String);

/// One place in its minute.
#[derive(Clone, Debug)]
pub(super) struct Repeat {
    note: Note,
    /// How often each account was meant beyond the first time, where accounts are counted together.
    accounts: BTreeMap<String, u64>,
    since: Timestamp,
    last: Timestamp,
    /// Beyond the first.
    more: u64,
    /// Whether the first is in the trail; until then nothing is only counted.
    written: bool,
}

/// What is to be done about one occurrence.
#[derive(Debug)]
pub(super) enum RepeatOutcome {
    /// Nothing: it is counted.
    Repeat,
    /// It is to be written, after what was counted before in the same `place`.
    First { due: Option<Note>, repeat_key: RepeatKey },
}

impl Repeat {
    /// A row that tells of all but the first.
    pub(super) fn summary(&self) -> Note {
        let accounts: Map<String, Value> =
            self.accounts.iter().map(|(name, times)| (name.clone(), (*times).into())).collect();
        let mut note = self.note.clone();
        note.detail.remove("account");
        let note = if accounts.is_empty() { note } else { note.with("accounts", accounts) };
        note.with("repeats", self.more).with("since", self.since.rfc3339()).with("until", self.last.rfc3339())
    }

    fn is_over(&self, now: Timestamp) -> bool {
        !now.is_within(WINDOW, self.since)
    }
}

impl Repeats {
    pub(super) fn count(&mut self, source: &str, note: &Note, now: Timestamp) -> RepeatOutcome {
        let repeat_key = self.repeat_key(source, note, now);
        let account = note.target.as_ref().map(|party| party.name.as_ref().unwrap_or(&party.id).clone());
        let note = match repeat_key.0 {
            0 => note.clone(),
            1 => of_many(note.clone()),
            _ => of_reason(note, account.as_deref()),
        };
        let accounts = BTreeMap::new();
        let first = Repeat { note, accounts, since: now, last: now, more: 0, written: false };
        let Some(tier) = self.0.get_mut(repeat_key.0) else {
            return RepeatOutcome::First { due: None, repeat_key };
        };
        let Some(before) = tier.get_mut(&repeat_key.1) else {
            tier.insert(repeat_key.1.clone(), first);
            return RepeatOutcome::First { due: None, repeat_key };
        };
        if !before.written {
            return RepeatOutcome::First { due: None, repeat_key };
        }
        if !before.is_over(now) {
            before.more += 1;
            before.last = now;
            if let (2, Some(account)) = (repeat_key.0, account) {
                add_account(&mut before.accounts, account, 1);
            }
            return RepeatOutcome::Repeat;
        }
        let due = (before.more > 0).then(|| before.summary());
        *before = first;
        RepeatOutcome::First { due, repeat_key }
    }

    /// The first place that is there or has room; in the last there always is.
    fn repeat_key(&mut self, source: &str, note: &Note, now: Timestamp) -> RepeatKey {
        let event = note.event.as_str();
        let account = note.target.as_ref().map_or("", |party| &party.id);
        let detail = Value::Object(note.detail.clone());
        let names = [
            format!("{event} {source}"),
            format!("{event} {account} {detail}"),
            format!("{event} {}", note.failure.map_or("", Reason::as_str)),
        ];
        for (tier, name) in names.into_iter().enumerate() {
            let last = tier + 1 == self.0.len();
            let Some(places) = self.0.get_mut(tier) else { continue };
            if places.len() >= MOST && !places.contains_key(&name) {
                places.retain(|_, repeat| repeat.more > 0 || !repeat.is_over(now));
            }
            if last || places.len() < MOST || places.contains_key(&name) {
                return (tier, name);
            }
        }
        (0, String::new())
    }

    /// The first occurrence is in the trail.
    pub(super) fn written(&mut self, (tier, name): &RepeatKey) {
        if let Some(repeat) = self.0.get_mut(*tier).and_then(|places| places.get_mut(name)) {
            repeat.written = true;
        }
    }

    /// The first occurrence could not be written: the next one is the first.
    pub(super) fn forget(&mut self, (tier, name): &RepeatKey) {
        if let Some(places) = self.0.get_mut(*tier)
            && places.get(name).is_some_and(|repeat| !repeat.written)
        {
            places.remove(name);
        }
    }

    /// Takes out what is over, or everything; only what has something to tell is returned.
    pub(super) fn take_due(&mut self, now: Timestamp, all: bool) -> Vec<(RepeatKey, Repeat)> {
        let mut due = Vec::new();
        for (tier, places) in self.0.iter_mut().enumerate() {
            let over = places.extract_if(|_, repeat| repeat.written && (all || repeat.is_over(now)));
            due.extend(
                over.filter(|(_, repeat)| repeat.more > 0).map(|(name, repeat)| ((tier, name), repeat)),
            );
        }
        due
    }

    /// Takes back what could not be written.
    pub(super) fn put_back(&mut self, due: Vec<(RepeatKey, Repeat)>) {
        for ((tier, name), repeat) in due {
            let Some(places) = self.0.get_mut(tier) else { continue };
            match places.get_mut(&name) {
                Some(newer) => {
                    newer.more += repeat.more + 1;
                    newer.since = repeat.since;
                    for (account, times) in repeat.accounts {
                        add_account(&mut newer.accounts, account, times);
                    }
                }
                None => {
                    places.insert(name, repeat);
                }
            }
        }
    }
}

fn add_account(accounts: &mut BTreeMap<String, u64>, account: String, times: u64) {
    const FURTHER: &str = "(others)";
    let known = accounts.len() < MOST_ACCOUNTS || accounts.contains_key(&account);
    *accounts.entry(if known { account } else { FURTHER.to_owned() }).or_default() += times;
}

/// What many sources do to one account, or for one reason.
fn of_many(note: Note) -> Note {
    Note { actor: Some(Party::new("nobody")), client: Some("many".to_owned()), ..note }
}

/// What many sources do to many accounts for one reason; the first of them is named.
fn of_reason(note: &Note, account: Option<&str>) -> Note {
    let bare = note.failure.map_or_else(|| Note::done(note.event), |reason| Note::failed(note.event, reason));
    of_many(if let Some(account) = account { bare.with("account", account) } else { bare })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit::Event;

    const NOW: Timestamp = Timestamp(1_900_000_000);

    fn count(repeats: &mut Repeats, source: &str, at: i64) -> RepeatOutcome {
        let note = Note::failed(Event::Login, Reason::WrongPassword);
        let counted = repeats.count(source, &note, Timestamp(NOW.0 + at));
        if let RepeatOutcome::First { repeat_key, .. } = &counted {
            repeats.written(repeat_key);
        }
        counted
    }

    fn kept(repeats: &Repeats) -> usize {
        repeats.0.iter().map(HashMap::len).sum()
    }

    #[test]
    fn a_source_is_written_once_a_minute_and_counted_otherwise() {
        let mut repeats = Repeats::default();
        assert!(matches!(count(&mut repeats, "a", 0), RepeatOutcome::First { due: None, .. }));
        for at in 1..60 {
            assert!(matches!(count(&mut repeats, "a", at), RepeatOutcome::Repeat), "{at}");
        }
        assert!(matches!(count(&mut repeats, "b", 59), RepeatOutcome::First { due: None, .. }));
        let RepeatOutcome::First { due: Some(due), .. } = count(&mut repeats, "a", 60) else {
            panic!("not due")
        };
        assert_eq!(due.detail["repeats"], 59);
        assert_eq!(due.detail["until"], Timestamp(NOW.0 + 59).rfc3339());
        assert_eq!(repeats.take_due(Timestamp(NOW.0 + 200), false).len(), 0, "nothing more to tell");
        assert_eq!(kept(&repeats), 0);
    }

    #[test]
    fn a_minute_of_a_clock_that_was_set_back_is_over() {
        let mut repeats = Repeats::default();
        count(&mut repeats, "a", 7200);
        assert!(matches!(count(&mut repeats, "a", 7201), RepeatOutcome::Repeat));
        let RepeatOutcome::First { due: Some(due), .. } = count(&mut repeats, "a", 0) else {
            panic!("not due")
        };
        assert_eq!(due.detail["repeats"], 1);
    }

    #[test]
    fn nothing_is_only_counted_before_the_first_is_written() {
        let mut repeats = Repeats::default();
        let note = Note::failed(Event::Login, Reason::WrongPassword);
        for _ in 0..3 {
            assert!(matches!(repeats.count("a", &note, NOW), RepeatOutcome::First { .. }));
        }
        repeats.forget(&(0, "login a".to_owned()));
        assert_eq!(kept(&repeats), 0);
        count(&mut repeats, "a", 0);
        repeats.forget(&(0, "login a".to_owned()));
        assert_eq!(kept(&repeats), 1, "another has written it");
    }

    #[test]
    fn account_and_reason_stay_at_any_rate_and_space_is_bounded() {
        let mut repeats = Repeats::default();
        let tried = |repeats: &mut Repeats, account: usize, source: usize, reason: Reason| {
            let target = Party::named(format!("user:{account}"), &format!("name{account}"));
            let note = Note::failed(Event::Login, reason).on(target);
            match repeats.count(&format!("user:{account}@{source} {reason}"), &note, NOW) {
                RepeatOutcome::First { repeat_key, .. } => {
                    repeats.written(&repeat_key);
                    true
                }
                RepeatOutcome::Repeat => false,
            }
        };
        let mut written = 0;
        // Two accounts from thousands of places.
        for source in 0..10 * MOST {
            written += usize::from(tried(&mut repeats, source % 2, source, Reason::WrongPassword));
        }
        assert_eq!((written, kept(&repeats)), (MOST + 2, MOST + 2));
        // Thousands of accounts.
        for account in 0..10 * MOST {
            written += usize::from(tried(&mut repeats, account, 0, Reason::Throttled));
        }
        assert_eq!((written, kept(&repeats)), (2 * MOST + 1, 2 * MOST + 1));
        let due = repeats.take_due(NOW, true);
        let told: Vec<Note> = due.iter().map(|(_, repeat)| repeat.summary()).collect();
        for name in ["name0", "name1"] {
            let of = |note: &&Note| {
                note.target.as_ref().and_then(|party| party.name.as_deref()) == Some(name)
                    && note.detail["reason"] == "wrong-password"
            };
            let note = told.iter().find(of).unwrap();
            assert_eq!(note.client.as_deref(), Some("many"));
            assert_eq!(note.detail["repeats"], 10 * MOST / 2 - MOST / 2 - 1);
        }
        let of_all = told.iter().find(|note| note.detail.contains_key("accounts")).unwrap();
        assert_eq!((&of_all.detail["reason"], &of_all.target), (&"throttled".into(), &None));
        let accounts = of_all.detail["accounts"].as_object().unwrap();
        assert_eq!(accounts.len(), MOST_ACCOUNTS + 1);
        assert!(accounts.contains_key("name400") && accounts.contains_key("(others)"));
        let counted: u64 = accounts.values().map(|times| times.as_u64().unwrap()).sum();
        assert_eq!(of_all.detail["repeats"], counted);
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
        assert_eq!(repeats.0[0]["login a"].more, 3);
    }
}
