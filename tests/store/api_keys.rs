//! API keys: their scope, use and end.

use super::*;

on_each_database![
    a_key_is_found_as_it_was_stored,
    a_key_id_is_taken_once,
    a_scope_that_would_read_as_another_is_refused,
    a_key_is_revoked_once,
    last_use_never_moves_back,
    keys_are_listed_by_owner,
    a_user_has_at_most_fifty_keys_that_can_be_used,
    the_oldest_ended_keys_of_a_user_are_forgotten,
    one_form_sent_twice_makes_one_key,
];

async fn a_key_is_found_as_it_was_stored(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let mut full = key("full", Some(&alice));
    full.scope = KeyScope {
        paths: vec!["/v1/**".to_owned(), "/a b".to_owned()],
        methods: vec![http::Method::GET, "PURGE".parse().unwrap()],
        networks: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        may_act_for_users: true,
    };
    full.expires_at = Some(later(5));
    full.last_used_at = Some(later(1));
    full.revoked = Some((later(2), "root".to_owned()));
    let bare = key("bare", None);
    store.add_key(&full, TokenDigest::of("full text")).await.unwrap();
    store.add_key(&bare, TokenDigest::of("bare text")).await.unwrap();

    let found = store.find_key("full").await.unwrap();
    assert_eq!(found, Some((full, TokenDigest::of("full text"), Some(alice))));
    assert_eq!(store.find_key("bare").await.unwrap(), Some((bare, TokenDigest::of("bare text"), None)));
    for id in ["", "Full", "ful", "%"] {
        assert_eq!(store.find_key(id).await.unwrap(), None, "{id}");
    }
}

async fn a_key_id_is_taken_once(store: &Store) {
    store.add_key(&key("k", None), TokenDigest::of("first")).await.unwrap();
    assert!(is_conflict(&store.add_key(&key("k", None), TokenDigest::of("second")).await, "key"));
    let (_, digest, _) = store.find_key("k").await.unwrap().unwrap();
    assert_eq!(digest, TokenDigest::of("first"));
    let orphan = key("orphan", Some(&user("nobody", Role::Member)));
    assert!(store.add_key(&orphan, TokenDigest::of("orphan")).await.is_err());
}

async fn a_scope_that_would_read_as_another_is_refused(store: &Store) {
    for path in ["", "/a\n/b", "/a\r"] {
        let mut wide = key("wide", None);
        wide.scope.paths = vec![path.to_owned()];
        assert!(store.add_key(&wide, TokenDigest::of("wide")).await.is_err(), "{path:?}");
    }
    assert_eq!(store.find_key("wide").await.unwrap(), None);
}

async fn a_key_is_revoked_once(store: &Store) {
    store.add_key(&key("k", None), TokenDigest::of("k")).await.unwrap();
    let before = store.revision().await.unwrap();
    assert!(store.revoke_key("k", "root", NOW).await.unwrap().is_some());
    assert!(store.revoke_key("k", "other", later(1)).await.unwrap().is_none());
    assert_eq!(store.revision().await.unwrap(), before + 1);
    let (found, _, _) = store.find_key("k").await.unwrap().unwrap();
    assert_eq!(found.revoked, Some((NOW, "root".to_owned())));
}

async fn last_use_never_moves_back(store: &Store) {
    store.add_key(&key("k", None), TokenDigest::of("k")).await.unwrap();
    store.touch_keys(&[("k".to_owned(), later(9)), ("k".to_owned(), later(3))]).await.unwrap();
    let (found, _, _) = store.find_key("k").await.unwrap().unwrap();
    assert_eq!(found.last_used_at, Some(later(9)));
}

async fn keys_are_listed_by_owner(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    for (id, owner) in [("a", Some(&alice)), ("b", None)] {
        store.add_key(&key(id, owner), TokenDigest::of(id)).await.unwrap();
    }
    let ids = |keys: Vec<ApiKey>| -> Vec<String> { keys.into_iter().map(|key| key.id).collect() };
    assert_eq!(ids(store.keys_page(None).await.unwrap()), ["b", "a"]);
    assert_eq!(ids(store.keys_of(&alice.id).await.unwrap()), ["a"]);
    assert_eq!(ids(store.keys_of(&UserId::fresh()).await.unwrap()), Vec::<String>::new());
}

async fn a_user_has_at_most_fifty_keys_that_can_be_used(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let bob = added(store, "bob", Role::Member).await;
    let of = |owner, id: &str| ApiKey { expires_at: Some(later(10)), ..key(id, Some(owner)) };
    for number in 0..50 {
        let id = format!("k{number}");
        store.add_key(&of(&alice, &id), TokenDigest::of(&id)).await.unwrap();
    }
    let full = store.add_key(&of(&alice, "more"), TokenDigest::of("more")).await;
    assert!(matches!(full, Err(StoreError::Full(_))), "{full:?}");
    assert!(store.find_key("more").await.unwrap().is_none());
    store.add_key(&of(&bob, "bobs"), TokenDigest::of("bobs")).await.unwrap();
    store.add_key(&key("systems", None), TokenDigest::of("systems")).await.unwrap();
    assert!(store.revoke_key("k7", "alice", NOW).await.unwrap().is_some());
    store.add_key(&of(&alice, "more"), TokenDigest::of("more")).await.unwrap();
    let full = store.add_key(&of(&alice, "most"), TokenDigest::of("most")).await;
    assert!(matches!(full, Err(StoreError::Full(_))), "{full:?}");
    let when_the_others_have_ended = ApiKey { created_at: later(10), expires_at: None, ..of(&alice, "most") };
    store.add_key(&when_the_others_have_ended, TokenDigest::of("most")).await.unwrap();
}

async fn the_oldest_ended_keys_of_a_user_are_forgotten(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    store.add_key(&key("kept", Some(&alice)), TokenDigest::of("kept")).await.unwrap();
    for number in 0..103_i64 {
        let id = format!("k{number:03}");
        let ended = ApiKey {
            created_at: later(number + 1),
            revoked: Some((NOW, "alice".to_owned())),
            ..key(&id, Some(&alice))
        };
        store.add_key(&ended, TokenDigest::of(&id)).await.unwrap();
    }
    let last = ApiKey { created_at: later(200), ..key("last", Some(&alice)) };
    store.add_key(&last, TokenDigest::of("last")).await.unwrap();
    assert_eq!(store.keys_of(&alice.id).await.unwrap().len(), 102, "100 that have ended, and 2");
    for (id, there) in [("k000", false), ("k002", false), ("k003", true), ("k102", true), ("kept", true)] {
        assert_eq!(store.find_key(id).await.unwrap().is_some(), there, "{id}");
    }
}

/// At the very same time, too.
async fn one_form_sent_twice_makes_one_key(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let own = |id: &str, name: &str| ApiKey {
        name: name.to_owned(),
        created_by: alice.id.0.clone(),
        ..key(id, Some(&alice))
    };
    let (one, other) = (own("one", "notebook"), own("other", "notebook"));
    let (first, second) = tokio::join!(
        store.add_key(&one, TokenDigest::of("one")),
        store.add_key(&other, TokenDigest::of("other")),
    );
    let refused = if first.is_ok() { second } else { first };
    assert!(is_conflict(&refused, "key of that name"), "{refused:?}");
    assert_eq!(store.keys_of(&alice.id).await.unwrap().len(), 1);
    store.add_key(&own("else", "exporter"), TokenDigest::of("else")).await.unwrap();

    // Whoever administers keys may have two of a name for a while, and one that has ended is in nobody's way.
    store
        .add_key(&ApiKey { name: "notebook".into(), ..key("cli", Some(&alice)) }, TokenDigest::of("cli"))
        .await
        .unwrap();
    for id in ["one", "other", "cli"] {
        store.revoke_key(id, "cli", NOW).await.unwrap();
    }
    store.add_key(&own("again", "notebook"), TokenDigest::of("again")).await.unwrap();
}
