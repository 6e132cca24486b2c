//! Setup links.

use doorward::store::SetupLink;

use super::*;

on_each_database![
    a_setup_link_makes_the_first_admin_once,
    a_setup_link_that_is_wrong_or_late_makes_nobody,
    links_made_before_count_until_one_is_used_and_only_so_many,
    only_one_of_parallel_callers_redeems_a_setup_link,
    a_link_of_a_user_gives_a_password_once,
    links_end_with_their_user,
];

async fn put(store: &Store, link: &str, of: Option<&User>) {
    store.put_setup_link(TokenDigest::of(link), of.map(|user| &user.id), NOW, later(60)).await.unwrap();
}

async fn link(store: &Store, link: &str) -> Option<SetupLink> {
    store.setup_link(TokenDigest::of(link), NOW).await.unwrap()
}

async fn redeemed(store: &Store, link: &str, at: Timestamp, user: &User) -> bool {
    store.redeem_setup_link(TokenDigest::of(link), at, user, "$hash").await.unwrap()
}

async fn a_setup_link_makes_the_first_admin_once(store: &Store) {
    put(store, "setup", None).await;
    // Neither a user nor an admin who cannot sign in is in its way.
    added(store, "viewer", Role::Viewer).await;
    added(store, "no-password", Role::Admin).await;
    assert!(!store.is_administered().await.unwrap());
    assert_eq!(link(store, "setup").await, Some(SetupLink::FirstAdmin));
    let root = user("root", Role::Admin);
    assert!(redeemed(store, "setup", NOW, &root).await);
    assert!(store.is_administered().await.unwrap());
    assert_eq!(store.password_of(&root.id).await.unwrap().as_deref(), Some("$hash"));
    assert_eq!(link(store, "setup").await, None);
    assert!(!redeemed(store, "setup", NOW, &user("second", Role::Admin)).await);
    put(store, "setup", None).await;
    assert_eq!(link(store, "setup").await, None, "worth nothing while an admin can sign in");
    assert!(!redeemed(store, "setup", NOW, &user("third", Role::Admin)).await);
    assert_eq!(store.users_page(None).await.unwrap().len(), 3);
}

async fn a_setup_link_that_is_wrong_or_late_makes_nobody(store: &Store) {
    let root = user("root", Role::Admin);
    assert_eq!(link(store, "link").await, None, "there is none yet");
    put(store, "link", None).await;
    for (link, at) in [("other", NOW), ("", NOW), ("link", later(60))] {
        assert_eq!(store.setup_link(TokenDigest::of(link), at).await.unwrap(), None);
        assert!(!redeemed(store, link, at, &root).await);
        assert_eq!(store.redeem_own_setup_link(TokenDigest::of(link), at, "$hash").await.unwrap(), None);
    }
    let own = store.redeem_own_setup_link(TokenDigest::of("link"), NOW, "$hash").await.unwrap();
    assert_eq!(own, None, "it is nobody's own");
    assert_eq!(store.users_page(None).await.unwrap().len(), 0);
    assert!(redeemed(store, "link", later(59), &root).await, "still there");
}

async fn links_made_before_count_until_one_is_used_and_only_so_many(store: &Store) {
    for n in 0..20 {
        let expires = later(60 + n);
        store.put_setup_link(TokenDigest::of(&format!("link{n}")), None, NOW, expires).await.unwrap();
    }
    for n in 0..20 {
        assert_eq!(link(store, &format!("link{n}")).await.is_some(), n >= 4, "{n}");
    }
    assert!(redeemed(store, "link7", NOW, &user("root", Role::Admin)).await);
    store.delete_user(&store.find_user_by_login("root").await.unwrap().unwrap().0.id).await.unwrap();
    for n in 0..20 {
        assert_eq!(link(store, &format!("link{n}")).await, None, "{n}");
    }
}

async fn only_one_of_parallel_callers_redeems_a_setup_link(store: &Store) {
    put(store, "setup", None).await;
    let made = count((0..10).map(|n| {
        let (store, root) = (store.clone(), user(&format!("root{n}"), Role::Admin));
        async move { redeemed(&store, "setup", NOW, &root).await }
    }));
    assert_eq!((made.await, store.users_page(None).await.unwrap().len()), (1, 1));
}

async fn a_link_of_a_user_gives_a_password_once(store: &Store) {
    let zelda = added(store, "zelda", Role::Admin).await;
    put(store, "one", Some(&zelda)).await;
    put(store, "two", Some(&zelda)).await;
    assert_eq!(link(store, "one").await, Some(SetupLink::Of(Box::new(zelda.clone()))));
    assert!(!redeemed(store, "one", NOW, &user("root", Role::Admin)).await, "it makes nobody");
    let own =
        async |link: &str| store.redeem_own_setup_link(TokenDigest::of(link), NOW, "$hash").await.unwrap();
    store.set_disabled(&zelda.id, true).await.unwrap();
    let boss = added(store, "boss", Role::Admin).await;
    store.set_disabled(&zelda.id, true).await.unwrap();
    assert_eq!(own("one").await, None, "a disabled user has no use of it");
    store.set_disabled(&zelda.id, false).await.unwrap();
    store.delete_user(&boss.id).await.unwrap();
    let with_password = User { has_password: true, ..zelda.clone() };
    assert_eq!(own("two").await, Some(with_password));
    assert_eq!(store.password_of(&zelda.id).await.unwrap().as_deref(), Some("$hash"));
    assert_eq!((own("one").await, own("two").await), (None, None));
}

async fn links_end_with_their_user(store: &Store) {
    added(store, "boss", Role::Admin).await;
    let zelda = added(store, "zelda", Role::Admin).await;
    put(store, "one", Some(&zelda)).await;
    store.delete_user(&zelda.id).await.unwrap();
    assert_eq!(link(store, "one").await, None);
}
