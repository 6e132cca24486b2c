//! Passwords that were tried in vain: noted without a write, and written down together.

use std::sync::Arc;

use doorward::model::audit::{Actor, AuditRow, Event, Note, Party, Reason};
use doorward::model::role::Role;
use doorward::model::time::{Clock, ManualClock};
use doorward::store::{Store, StoreError};

use super::audit::{Tampered, assert_whole};
use super::{Database, NOW, added, audit_key, later};

on_each_database![
    nothing_is_written_before_the_flush_whoever_was_meant,
    failures_are_one_row_and_a_count_with_the_time_they_happened,
    a_crowd_of_failures_is_written_whole,
];

fn failure(name: Option<&str>) -> Note {
    match name {
        Some(name) => {
            Note::failed(Event::Login, Reason::WrongPassword).on(Party::named(format!("user:{name}"), name))
        }
        None => Note::failed(Event::Login, Reason::Unknown),
    }
}

async fn rows(store: &Store) -> Vec<AuditRow> {
    store.audit_page(0, None, 10_000).await.unwrap()
}

async fn nothing_is_written_before_the_flush_whoever_was_meant(store: &Store) {
    for (typed, name) in [("a", Some("alice")), ("g", None)] {
        let before = rows(store).await.len();
        store.note_failed_attempt(failure(name), typed, "192.0.2.1").unwrap();
        assert_eq!(rows(store).await.len(), before, "{typed}");
        store.flush_failed_attempts(false).await.unwrap();
        assert_eq!(rows(store).await.len(), before + 1, "{typed}");
        store.flush_failed_attempts(false).await.unwrap();
        assert_eq!(rows(store).await.len(), before + 1, "{typed}");
    }
}

async fn failures_are_one_row_and_a_count_with_the_time_they_happened(store: &Store) {
    let clock = Arc::new(ManualClock::at(NOW));
    let store = store.audited(audit_key(), clock.clone() as Arc<dyn Clock>).await.unwrap();
    let by = |request: &str| store.by(&Actor::stranger("192.0.2.1".parse().unwrap(), request));
    for request in ["first", "second", "third"] {
        by(request).note_failed_attempt(failure(Some("alice")), "a", "192.0.2.1").unwrap();
    }
    clock.advance(std::time::Duration::from_secs(2));
    store.flush_failed_attempts(false).await.unwrap();
    added(&store, "other", Role::Member).await;
    store.flush_failed_attempts(true).await.unwrap();
    store.flush_failed_attempts(true).await.unwrap();
    let rows = rows(&store).await;
    assert_eq!(rows.len(), 3);
    let [first, _, counted] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((first.at, first.request_id.as_deref(), first.success), (NOW, Some("first"), false));
    assert_eq!((first.actor.id.as_str(), first.client.as_deref()), ("nobody", Some("192.0.2.1")));
    assert_eq!(first.target, Some(Party::named("user:alice", "alice")));
    assert_eq!((counted.at, counted.request_id.as_deref(), &counted.target), (later(2), None, &first.target));
    assert!(counted.detail.contains(r#""repeats":2"#), "{}", counted.detail);
    assert_eq!((counted.actor.id.as_str(), counted.client.as_deref()), ("nobody", Some("192.0.2.1")));
    assert_whole(&store, 1, 3).await;
}

async fn a_crowd_of_failures_is_written_whole(store: &Store) {
    for n in 0..400 {
        let name = format!("user{n}");
        store.note_failed_attempt(failure(Some(&name)), &name, &format!("net{}", n % 200)).unwrap();
    }
    store.flush_failed_attempts(false).await.unwrap();
    // The last hundred find no place of their own at a network, but one for all networks.
    let rows = rows(store).await;
    assert_eq!(rows.len(), 400);
    assert_eq!(rows.iter().filter(|row| row.client.as_deref() == Some("many")).count(), 100);
    assert_whole(store, 1, 400).await;
}

/// Guesses are not answered for long while nothing tells of them.
#[tokio::test]
async fn while_the_trail_cannot_be_written_failures_are_kept_and_after_seconds_refused() {
    for database in [Database::in_file().await, Database::on_postgres().await] {
        let tampered = Tampered { database };
        let store = &tampered.database.store;
        tampered.both("ALTER TABLE audit RENAME TO gone").await;
        for flush in 0..3 {
            store.note_failed_attempt(failure(Some("alice")), "a", "192.0.2.1").unwrap();
            assert!(store.flush_failed_attempts(false).await.is_err(), "{flush}");
        }
        let refused = store.note_failed_attempt(failure(None), "g", "192.0.2.1");
        assert!(matches!(refused, Err(StoreError::TrailBehind)), "{refused:?}");
        tampered.both("ALTER TABLE gone RENAME TO audit").await;
        store.flush_failed_attempts(true).await.unwrap();
        store.note_failed_attempt(failure(None), "g", "192.0.2.1").unwrap();
        let told: Vec<_> = rows(store).await.into_iter().map(|row| (row.target, row.detail)).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[1].0.is_some() && told[1].1.contains(r#""repeats":2"#), "{told:?}");
        assert_eq!(told[2].0, None, "what was refused is told of as well");
    }
}
