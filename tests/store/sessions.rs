//! Sessions: their digests, their cap, their end.

use super::*;

on_each_database![
    a_session_is_found_by_its_digest_only,
    the_oldest_sessions_give_way_beyond_the_cap,
    no_session_is_added_for_a_disabled_or_missing_user,
    last_seen_never_moves_back,
    sessions_are_listed_newest_first,
    dead_sessions_are_purged_and_live_ones_stay,
];

async fn a_session_is_found_by_its_digest_only(store: &Store) {
    let mut alice = user("alice", Role::Member);
    alice.groups = vec!["ops".to_owned()];
    store.create_user(&alice, None).await.unwrap();
    let stored = session(&alice, "id", NOW);
    assert!(store.add_session(&stored, TokenDigest::of("token"), 10).await.unwrap());
    let found = store.find_session(TokenDigest::of("token")).await.unwrap();
    assert_eq!(found, Some((stored, alice.clone())));
    for wrong in ["id", "", "Token"] {
        assert_eq!(store.find_session(TokenDigest::of(wrong)).await.unwrap(), None);
    }
    let twice = store.add_session(&session(&alice, "other", NOW), TokenDigest::of("token"), 10).await;
    assert!(twice.is_err(), "a digest is one session's");
}

async fn the_oldest_sessions_give_way_beyond_the_cap(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let bob = added(store, "bob", Role::Member).await;
    signed_in(store, &bob, "b").await;
    let before = store.revision().await.unwrap();
    for (id, at) in [("a0", 0), ("a1", 1), ("a2", 2)] {
        store.add_session(&session(&alice, id, later(at)), TokenDigest::of(id), 2).await.unwrap();
    }
    for (id, stays) in [("a0", false), ("a1", true), ("a2", true), ("b", true)] {
        assert_eq!(is_signed_in(store, id).await, stays, "{id}");
    }
    assert_eq!(store.revision().await.unwrap(), before + 1);
    store.add_session(&session(&alice, "early", later(-100)), TokenDigest::of("early"), 0).await.unwrap();
    assert!(is_signed_in(store, "early").await, "the new one stays, whatever its time and the cap");
    assert!(!is_signed_in(store, "a2").await);
}

async fn no_session_is_added_for_a_disabled_or_missing_user(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    store.set_disabled(&alice.id, true).await.unwrap();
    let missing = user("missing", Role::Member);
    for of in [&alice, &missing] {
        assert!(!store.add_session(&session(of, "s", NOW), TokenDigest::of("s"), 10).await.unwrap());
    }
    assert!(!is_signed_in(store, "s").await);
}

async fn last_seen_never_moves_back(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    signed_in(store, &alice, "a").await;
    let touches = [("a".to_owned(), later(60)), ("a".to_owned(), later(30)), ("gone".to_owned(), later(60))];
    store.touch_sessions(&touches).await.unwrap();
    store.touch_sessions(&[]).await.unwrap();
    let (found, _) = store.find_session(TokenDigest::of("a")).await.unwrap().unwrap();
    assert_eq!(found.last_seen_at, later(60));
}

async fn sessions_are_listed_newest_first(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let bob = added(store, "bob", Role::Member).await;
    for (of, id, at) in [(&alice, "a0", 0), (&bob, "b1", 1), (&alice, "a2", 2)] {
        store.add_session(&session(of, id, later(at)), TokenDigest::of(id), 10).await.unwrap();
    }
    let listed = |found: Vec<(Session, String)>| -> Vec<String> {
        found.into_iter().map(|(session, name)| format!("{} {name}", session.id)).collect()
    };
    assert_eq!(listed(store.list_sessions(None).await.unwrap()), ["a2 alice", "b1 bob", "a0 alice"]);
    assert_eq!(listed(store.list_sessions(Some(&bob.id)).await.unwrap()), ["b1 bob"]);
    assert_eq!(store.list_sessions(Some(&UserId::fresh())).await.unwrap(), []);
}

async fn dead_sessions_are_purged_and_live_ones_stay(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let mut over = session(&alice, "over", NOW);
    over.expires_at = later(100);
    store.add_session(&over, TokenDigest::of("over"), 10).await.unwrap();
    signed_in(store, &alice, "idle").await;
    signed_in(store, &alice, "live").await;
    store.touch_sessions(&[("live".to_owned(), later(60)), ("over".to_owned(), later(99))]).await.unwrap();
    let before = store.revision().await.unwrap();
    for (found, _) in store.list_sessions(None).await.unwrap() {
        let live = found.is_live(later(100), Duration::from_secs(100));
        assert_eq!(live, found.id == "live", "{}: the purge and the model agree", found.id);
    }
    assert_eq!(store.purge_sessions(later(100), 100).await.unwrap(), 2);
    assert!(is_signed_in(store, "live").await);
    assert_eq!(store.revision().await.unwrap(), before);
}
