//! Hand-overs: taken once, gone with their session, bounded.

use super::*;

on_each_database![
    a_handover_is_taken_once_and_by_its_digest_only,
    of_many_who_take_it_at_once_one_gets_it,
    a_handover_of_a_child_is_one_of_its_parent,
    a_handover_goes_with_its_session,
    handovers_are_bounded_and_purged,
];

fn handover(session_id: &str, expires_at: Timestamp) -> Handover {
    Handover {
        session_id: session_id.to_owned(),
        browser: TokenDigest::of("browser"),
        host: "app.example".to_owned(),
        path: "/deep?x=1".to_owned(),
        expires_at,
    }
}

async fn put(store: &Store, session_id: &str, token: &str, at: i64) -> bool {
    let handover = handover(session_id, later(at + 60));
    store.put_handover(&handover, TokenDigest::of(token), later(at), 3).await.unwrap()
}

async fn take(store: &Store, token: &str) -> Option<Handover> {
    store.take_handover(TokenDigest::of(token)).await.unwrap()
}

async fn a_handover_is_taken_once_and_by_its_digest_only(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    signed_in(store, &alice, "s").await;
    assert!(put(store, "s", "token", 0).await);
    assert_eq!(take(store, "other").await, None);
    assert_eq!(take(store, "token").await, Some(handover("s", later(60))));
    assert_eq!(take(store, "token").await, None);
    assert!(!put(store, "gone", "more", 0).await, "no session, no hand-over");
    assert_eq!(take(store, "more").await, None);
}

async fn of_many_who_take_it_at_once_one_gets_it(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    signed_in(store, &alice, "s").await;
    assert!(put(store, "s", "token", 0).await);
    let takers = (0..8).map(|_| {
        let store = store.clone();
        async move { take(&store, "token").await.is_some() }
    });
    assert_eq!(count(takers).await, 1);
}

async fn a_handover_of_a_child_is_one_of_its_parent(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    signed_in(store, &alice, "parent").await;
    let mut child = session(&alice, "child", NOW);
    child.parent_id = Some("parent".to_owned());
    assert!(store.add_session(&child, TokenDigest::of("child"), 10, Event::Login).await.unwrap().is_some());
    assert!(put(store, "child", "token", 0).await);
    assert_eq!(take(store, "token").await.unwrap().session_id, "parent");
}

async fn a_handover_goes_with_its_session(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    signed_in(store, &alice, "s").await;
    assert!(put(store, "s", "token", 0).await);
    assert!(store.end_session("s", Event::SessionRevoke).await.unwrap().is_some());
    assert_eq!(take(store, "token").await, None);
}

async fn handovers_are_bounded_and_purged(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    for id in ["s", "other"] {
        signed_in(store, &alice, id).await;
    }
    assert!(put(store, "other", "kept", 0).await);
    for at in 0..5 {
        assert!(put(store, "s", &at.to_string(), at).await);
    }
    for (token, stays) in [("0", false), ("1", false), ("2", true), ("3", true), ("kept", true)] {
        assert_eq!(take(store, token).await.is_some(), stays, "{token}");
    }
    assert_eq!(store.purge_handovers(later(63)).await.unwrap(), 0);
    assert_eq!(store.purge_handovers(later(64)).await.unwrap(), 1);
}
