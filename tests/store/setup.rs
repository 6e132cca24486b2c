//! The setup link.

use super::*;

on_each_database![
    a_setup_token_makes_the_first_user_once,
    a_setup_token_that_is_wrong_or_late_or_replaced_makes_nobody,
    only_one_of_parallel_callers_redeems_the_setup_token,
];

async fn a_setup_token_makes_the_first_user_once(store: &Store) {
    let token = TokenDigest::of("setup");
    store.put_setup_token(token, later(60)).await.unwrap();
    assert!(store.check_setup_token(token, NOW).await.unwrap());
    let root = user("root", Role::Admin);
    assert!(store.redeem_setup_token(token, NOW, &root, "$hash").await.unwrap());
    assert_eq!(store.password_of(&root.id).await.unwrap().as_deref(), Some("$hash"));
    assert!(!store.check_setup_token(token, NOW).await.unwrap());
    assert!(!store.redeem_setup_token(token, NOW, &user("second", Role::Admin), "$hash").await.unwrap());
    store.put_setup_token(token, later(60)).await.unwrap();
    assert!(!store.check_setup_token(token, NOW).await.unwrap(), "worth nothing while there is a user");
    assert!(!store.redeem_setup_token(token, NOW, &user("third", Role::Admin), "$hash").await.unwrap());
    assert_eq!(store.users_page(None).await.unwrap().len(), 1);
}

async fn a_setup_token_that_is_wrong_or_late_or_replaced_makes_nobody(store: &Store) {
    let (first, second) = (TokenDigest::of("first"), TokenDigest::of("second"));
    let root = user("root", Role::Admin);
    assert!(!store.check_setup_token(first, NOW).await.unwrap(), "there is none yet");
    store.put_setup_token(first, later(60)).await.unwrap();
    store.put_setup_token(second, later(60)).await.unwrap();
    for (token, at) in [(first, NOW), (TokenDigest::of(""), NOW), (second, later(60))] {
        assert!(!store.check_setup_token(token, at).await.unwrap());
        assert!(!store.redeem_setup_token(token, at, &root, "$hash").await.unwrap());
    }
    assert_eq!(store.users_page(None).await.unwrap().len(), 0);
    assert!(store.redeem_setup_token(second, later(59), &root, "$hash").await.unwrap(), "still there");
}

async fn only_one_of_parallel_callers_redeems_the_setup_token(store: &Store) {
    let token = TokenDigest::of("setup");
    store.put_setup_token(token, later(60)).await.unwrap();
    let made = count((0..10).map(|n| {
        let (store, root) = (store.clone(), user(&format!("root{n}"), Role::Admin));
        async move { store.redeem_setup_token(token, NOW, &root, "$hash").await.unwrap() }
    }));
    assert_eq!((made.await, store.users_page(None).await.unwrap().len()), (1, 1));
}
