//! What is noted of passwords that were tried in vain, and when it is written.

use super::*;
use crate::model::audit::{Event, Party};

const NOW: Timestamp = Timestamp(1_900_000_000);

fn note(failed: &mut FailedAttempts, note: Note, name: &str, network: &str, at: i64) {
    let attempt = FailedAttempt { by: Actor::gateway(), note };
    assert!(failed.note(attempt, name, network, Timestamp(NOW.0 + at)));
}

fn on(name: &str) -> Note {
    Note::failed(Event::Login, Reason::WrongPassword).on(Party::named(format!("user:{name}"), name))
}

fn of_nobody() -> Note {
    Note::failed(Event::Login, Reason::Unknown)
}

/// What is written at a time.
fn rows(failed: &mut FailedAttempts, at: i64, all: bool) -> Vec<Note> {
    let due = failed.take_due(Timestamp(NOW.0 + at), all);
    due.iter().flat_map(|(_, counted)| counted.rows()).map(|row| row.note).collect()
}

#[test]
fn a_name_at_a_network_is_written_once_a_minute_and_counted_otherwise() {
    let mut failed = FailedAttempts::default();
    for at in 0..60 {
        note(&mut failed, on("alice"), "a", "n", at);
    }
    note(&mut failed, on("alice"), "a", "other", 59);
    let first = rows(&mut failed, 59, false);
    assert_eq!((first[0].at, first[1].at), (Some(NOW), Some(Timestamp(NOW.0 + 59))));
    assert!(rows(&mut failed, 59, false).is_empty(), "they are written");
    let counted = rows(&mut failed, 60, false);
    assert_eq!((counted.len(), &counted[0].detail["reason"]), (1, &"wrong-password".into()));
    assert_eq!(counted[0].detail["repeats"], 59);
    assert_eq!(counted[0].detail["until"], Timestamp(NOW.0 + 59).rfc3339());
    assert!(rows(&mut failed, 200, false).is_empty(), "nothing more to tell");
    note(&mut failed, on("alice"), "a", "n", 7200);
    assert_eq!(rows(&mut failed, 7201, false).len(), 1);
    note(&mut failed, on("alice"), "a", "n", 7201);
    assert_eq!(rows(&mut failed, 0, false).len(), 1, "a minute of a clock that was set back is over");
}

/// Else the time that writing takes tells which names there are.
#[test]
fn names_that_are_nobodys_leave_as_many_rows_as_users_names_in_every_place() {
    let written = |of: fn(usize) -> Note| {
        let mut failed = FailedAttempts::default();
        let mut counts = Vec::new();
        for tried in 0..20_000_usize {
            let (name, network) = (format!("n{}", tried % 977), format!("net{}", tried % 463));
            note(&mut failed, of(tried), &name, &network, i64::try_from(tried / 100).unwrap());
            if tried % 100 == 99 {
                counts.push(rows(&mut failed, i64::try_from(tried / 100).unwrap(), false).len());
            }
        }
        counts.push(rows(&mut failed, 0, true).len());
        counts
    };
    let users = written(|tried| on(&format!("user{}", tried % 977)));
    assert_eq!(users, written(|_| of_nobody()));
    let mixed = written(|tried| match tried % 4 {
        0 => of_nobody(),
        1 => Note::failed(Event::Login, Reason::Disabled).on(Party::named("user:d", "d")),
        2 => Note::failed(Event::Login, Reason::NoPassword).on(Party::named("user:p", "p")),
        _ => on("alice"),
    });
    assert_eq!(users, mixed);
    assert!(users.iter().any(|count| *count > 20), "or else it shows nothing");
}

#[test]
fn one_network_leaves_few_rows_and_the_accounts_that_it_tried_stay() {
    let mut failed = FailedAttempts::default();
    for tried in 0..500 {
        note(&mut failed, of_nobody(), &format!("ghost{tried}"), "n", 0);
    }
    for name in ["alice", "bob", "alice"] {
        note(&mut failed, on(name), name, "n", 1);
    }
    let off = Note::failed(Event::Login, Reason::Disabled).on(Party::named("user:off", "off"));
    note(&mut failed, off, "off", "n", 1);
    assert_eq!(rows(&mut failed, 1, false).len(), MOST_OF_NETWORK + 1);
    let counted = rows(&mut failed, 60, false);
    let [told] = counted.as_slice() else { panic!("{counted:?}") };
    assert_eq!((&told.detail["reason"], &told.target), (&"refused".into(), &None));
    let accounts = serde_json::json!({"(unknown)": 479, "alice": 2, "bob": 1, "off (disabled)": 1});
    assert_eq!((&told.detail["accounts"], &told.detail["repeats"]), (&accounts, &483.into()));
}

#[test]
fn an_account_that_is_tried_from_everywhere_stays_and_space_is_bounded() {
    let mut failed = FailedAttempts::default();
    for network in 0..10 * MOST {
        note(&mut failed, on("alice"), "alice", &format!("n{network}"), 0);
    }
    assert_eq!(failed.places.len(), MOST + 1);
    let due = failed.take_due(NOW, true);
    let of_all = due.iter().find(|(place, _)| place.network.is_none()).unwrap();
    let told: Vec<Note> = of_all.1.rows().map(|row| row.note).collect();
    for told in &told {
        assert_eq!(told.target.as_ref().unwrap().name.as_deref(), Some("alice"));
        assert_eq!(
            (told.client.as_deref(), &told.detail["reason"]),
            (Some("many"), &"wrong-password".into())
        );
    }
    assert_eq!(told[1].detail["repeats"], 9 * MOST - 1);
    // Many accounts from everywhere.
    for tried in 0..100 * MOST {
        let name = format!("name{}", tried % (10 * MOST));
        note(&mut failed, on(&name), &name, &format!("n{}", tried % 5000), 0);
    }
    assert!(failed.places.len() <= 2 * MOST + MOST_NETWORKS + 1, "{}", failed.places.len());
    let due = failed.take_due(NOW, true);
    let rest = due.iter().find(|(place, _)| place.name.is_none() && place.network.is_none()).unwrap();
    assert_eq!(rest.1.accounts.len(), MOST_ACCOUNTS + 1);
    assert!(rest.1.accounts.contains_key("(others)"));
    assert_eq!(rest.1.accounts.values().sum::<u64>(), rest.1.more);
}

#[test]
fn what_could_not_be_written_is_written_later_and_nothing_is_counted_twice() {
    let mut failed = FailedAttempts::default();
    for at in 0..3 {
        note(&mut failed, on("alice"), "a", "n", at);
    }
    let due = failed.take_due(NOW, false);
    note(&mut failed, on("alice"), "a", "n", 5);
    failed.put_back(due);
    let all = failed.take_due(Timestamp(NOW.0 + 60), false);
    note(&mut failed, on("alice"), "a", "n", 60);
    note(&mut failed, on("alice"), "a", "n", 61);
    failed.put_back(all);
    let told = rows(&mut failed, 120, false);
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].at, Some(NOW));
    assert_eq!((&told[1].detail["repeats"], &told[1].detail["since"]), (&5.into(), &NOW.rfc3339().into()));
}

#[test]
fn while_nothing_can_be_written_what_waits_does_not_grow_with_names_and_networks() {
    let mut failed = FailedAttempts { failed_flushes: MOST_FAILED_FLUSHES, ..FailedAttempts::default() };
    for round in 0..3 {
        for at in 0..1000 {
            let attempt = FailedAttempt { by: Actor::gateway(), note: of_nobody() };
            let (name, network) = (format!("{round}-{at}"), format!("n{at}"));
            assert!(!failed.note(attempt, &name, &network, NOW), "refused, since it may never be written");
        }
        let due = failed.take_due(NOW, true);
        failed.put_back(due);
    }
    assert_eq!(failed.places.len(), 1);
    let due = failed.take_due(NOW, true);
    assert_eq!(due.iter().map(|(_, counted)| counted.more + 1).sum::<u64>(), 3000, "all are counted");
}
