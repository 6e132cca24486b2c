//! Sessions: their digests, their cap, their end.

use super::*;

on_each_database![
    a_session_is_found_by_its_digest_only,
    the_oldest_sessions_give_way_beyond_the_cap,
    a_session_in_use_stays_when_others_are_opened,
    no_session_is_added_for_a_disabled_or_missing_user,
    last_seen_never_moves_back,
    sessions_are_listed_newest_first,
    dead_sessions_are_purged_and_live_ones_stay,
    children_end_with_their_parent_and_the_parent_with_a_child,
    a_child_needs_a_living_parent_of_the_same_user,
    children_are_counted_among_themselves,
    a_child_in_use_keeps_its_parent,
    all_but_one_family_of_a_user_are_ended,
];

async fn all_but_one_family_of_a_user_are_ended(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let bob = added(store, "bob", Role::Member).await;
    for kept in ["kept", "child", "gone"] {
        signed_in(store, &bob, "bobs").await;
        for (parent, child) in [("kept", "child"), ("other", "others")] {
            signed_in(store, &alice, parent).await;
            assert!(handed_over(store, &alice, child, parent, 10).await);
        }
        let before = store.revision().await.unwrap();
        let stays = kept != "gone";
        let ended = store.end_other_sessions_of(&alice.id, kept).await.unwrap();
        assert_eq!(ended, if stays { 2 } else { 4 }, "{kept}: a session that has ended keeps none");
        assert!(store.revision().await.unwrap() > before);
        for (id, stays) in
            [("kept", stays), ("child", stays), ("other", false), ("others", false), ("bobs", true)]
        {
            assert_eq!(is_signed_in(store, id).await, stays, "{id}, but for {kept}");
        }
        store.end_sessions_of(&alice.id).await.unwrap();
        store.end_sessions_of(&bob.id).await.unwrap();
    }
}

/// Signs `of` in at another host, from the session `parent`; the token is the id.
async fn handed_over(store: &Store, of: &User, id: &str, parent: &str, cap: usize) -> bool {
    let child = Session {
        parent_id: Some(parent.to_owned()),
        host: Some("app.example".to_owned()),
        ..session(of, id, NOW)
    };
    store.add_session(&child, TokenDigest::of(id), cap, Event::Login).await.unwrap().is_some()
}

async fn children_end_with_their_parent_and_the_parent_with_a_child(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    for ended in ["parent", "a", "all", "purge"] {
        signed_in(store, &alice, "other").await;
        signed_in(store, &alice, "parent").await;
        for id in ["a", "b"] {
            assert!(handed_over(store, &alice, id, "parent", 10).await);
        }
        let before = store.revision().await.unwrap();
        match ended {
            "all" => assert_eq!(store.end_sessions_of(&alice.id).await.unwrap(), 4),
            "purge" => assert_eq!(store.purge_sessions(later(1000), 9999).await.unwrap(), 4),
            id => assert!(store.end_session(id, Event::SessionRevoke).await.unwrap().is_some()),
        }
        for id in ["parent", "a", "b"] {
            assert!(!is_signed_in(store, id).await, "{id} after {ended}");
        }
        assert_eq!(is_signed_in(store, "other").await, ended == "parent" || ended == "a", "{ended}");
        assert_eq!(store.revision().await.unwrap() > before, ended != "purge", "{ended}");
        store.end_sessions_of(&alice.id).await.unwrap();
    }
}

async fn a_child_needs_a_living_parent_of_the_same_user(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let bob = added(store, "bob", Role::Member).await;
    signed_in(store, &bob, "bobs").await;
    assert!(!handed_over(store, &alice, "child", "gone", 10).await);
    assert!(!handed_over(store, &alice, "child", "bobs", 10).await);
    assert!(!is_signed_in(store, "child").await);
    assert!(handed_over(store, &bob, "child", "bobs", 10).await);
    let (found, of) = store.session_by_id("child").await.unwrap().unwrap();
    assert_eq!((found.parent_id.as_deref(), of.id), (Some("bobs"), bob.id));
    assert_eq!(found.host.as_deref(), Some("app.example"));
    assert_eq!(store.session_by_id("gone").await.unwrap(), None);
}

async fn children_are_counted_among_themselves(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    for parent in ["p1", "p2"] {
        signed_in(store, &alice, parent).await;
    }
    for (id, parent) in [("a", "p1"), ("b", "p1"), ("c", "p2"), ("d", "p1")] {
        assert!(handed_over(store, &alice, id, parent, 2).await);
    }
    for (id, stays) in [("p1", true), ("p2", true), ("a", false), ("b", true), ("c", true), ("d", true)] {
        assert_eq!(is_signed_in(store, id).await, stays, "{id}");
    }
    store
        .add_session(&session(&alice, "p3", later(1)), TokenDigest::of("p3"), 2, Event::Login)
        .await
        .unwrap();
    for (id, stays) in [("p1", false), ("p2", true), ("p3", true), ("b", false), ("c", true)] {
        assert_eq!(is_signed_in(store, id).await, stays, "{id}");
    }
}

async fn a_child_in_use_keeps_its_parent(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    signed_in(store, &alice, "parent").await;
    assert!(handed_over(store, &alice, "child", "parent", 10).await);
    assert!(handed_over(store, &alice, "idle", "parent", 10).await);
    store.touch_sessions(&[("child".to_owned(), later(60))]).await.unwrap();
    assert_eq!(store.purge_sessions(later(100), 100).await.unwrap(), 1);
    for (id, stays) in [("parent", true), ("child", true), ("idle", false)] {
        assert_eq!(is_signed_in(store, id).await, stays, "{id}");
    }
}

async fn a_session_is_found_by_its_digest_only(store: &Store) {
    let mut alice = user("alice", Role::Member);
    alice.groups = vec!["ops".to_owned()];
    store.create_user(&alice, None).await.unwrap();
    let stored = session(&alice, "id", NOW);
    assert_eq!(
        store.add_session(&stored, TokenDigest::of("token"), 10, Event::Login).await.unwrap(),
        Some(0)
    );
    let found = store.find_session(TokenDigest::of("token")).await.unwrap();
    assert_eq!(found, Some((stored, alice.clone())));
    for wrong in ["id", "", "Token"] {
        assert_eq!(store.find_session(TokenDigest::of(wrong)).await.unwrap(), None);
    }
    let twice =
        store.add_session(&session(&alice, "other", NOW), TokenDigest::of("token"), 10, Event::Login).await;
    assert!(twice.is_err(), "a digest is one session's");
}

async fn the_oldest_sessions_give_way_beyond_the_cap(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let bob = added(store, "bob", Role::Member).await;
    signed_in(store, &bob, "b").await;
    let before = store.revision().await.unwrap();
    for (id, at) in [("a0", 0), ("a1", 1), ("a2", 2)] {
        store
            .add_session(&session(&alice, id, later(at)), TokenDigest::of(id), 2, Event::Login)
            .await
            .unwrap();
    }
    for (id, stays) in [("a0", false), ("a1", true), ("a2", true), ("b", true)] {
        assert_eq!(is_signed_in(store, id).await, stays, "{id}");
    }
    assert_eq!(store.revision().await.unwrap(), before + 1);
    store
        .add_session(&session(&alice, "early", later(-100)), TokenDigest::of("early"), 0, Event::Login)
        .await
        .unwrap();
    assert!(is_signed_in(store, "early").await, "the new one stays, whatever its time and the cap");
    assert!(!is_signed_in(store, "a2").await);
}

async fn a_session_in_use_stays_when_others_are_opened(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let open = async |id: &str, at: i64| {
        let session = session(&alice, id, later(at));
        store.add_session(&session, TokenDigest::of(id), 4, Event::Login).await.unwrap();
    };
    open("desk", 0).await;
    open("phone", 1).await;
    store.touch_sessions(&[("phone".to_owned(), later(100))]).await.unwrap();
    store.touch_sessions(&[("desk".to_owned(), later(200))]).await.unwrap();
    for (number, id) in ["s1", "s2", "s3", "s4", "s5", "s6"].into_iter().enumerate() {
        open(id, 300 + i64::try_from(number).unwrap()).await;
    }
    for (id, stays) in
        [("desk", true), ("phone", true), ("s1", false), ("s4", false), ("s5", true), ("s6", true)]
    {
        assert_eq!(is_signed_in(store, id).await, stays, "{id}");
    }
    // Among those in use, the one not used for longest goes.
    store.touch_sessions(&[("s5".to_owned(), later(400)), ("s6".to_owned(), later(400))]).await.unwrap();
    open("s7", 500).await;
    for (id, stays) in [("desk", true), ("phone", false), ("s5", true), ("s6", true), ("s7", true)] {
        assert_eq!(is_signed_in(store, id).await, stays, "{id}");
    }
}

async fn no_session_is_added_for_a_disabled_or_missing_user(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    store.set_disabled(&alice.id, true).await.unwrap();
    let missing = user("missing", Role::Member);
    for of in [&alice, &missing] {
        let added = store.add_session(&session(of, "s", NOW), TokenDigest::of("s"), 10, Event::Login).await;
        assert_eq!(added.unwrap(), None);
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
        store.add_session(&session(of, id, later(at)), TokenDigest::of(id), 10, Event::Login).await.unwrap();
    }
    let listed = |found: Vec<(Session, String)>| -> Vec<String> {
        found.into_iter().map(|(session, name)| format!("{} {name}", session.id)).collect()
    };
    assert_eq!(listed(store.sessions_page(None).await.unwrap()), ["a2 alice", "b1 bob", "a0 alice"]);
    assert_eq!(listed(store.sessions_of(&bob.id).await.unwrap()), ["b1 bob"]);
    assert_eq!(store.sessions_of(&UserId::fresh()).await.unwrap(), []);
}

async fn dead_sessions_are_purged_and_live_ones_stay(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let mut over = session(&alice, "over", NOW);
    over.expires_at = later(100);
    store.add_session(&over, TokenDigest::of("over"), 10, Event::Login).await.unwrap();
    signed_in(store, &alice, "idle").await;
    signed_in(store, &alice, "live").await;
    store.touch_sessions(&[("live".to_owned(), later(60)), ("over".to_owned(), later(99))]).await.unwrap();
    let before = store.revision().await.unwrap();
    for (found, _) in store.sessions_page(None).await.unwrap() {
        let live = found.is_live(later(100), Duration::from_secs(100));
        assert_eq!(live, found.id == "live", "{}: the purge and the model agree", found.id);
    }
    assert_eq!(store.purge_sessions(later(100), 100).await.unwrap(), 2);
    assert!(is_signed_in(store, "live").await);
    assert_eq!(store.revision().await.unwrap(), before);
}
