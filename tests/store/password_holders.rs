//! Those who can sign in with a password, as decoys are drawn among them.

use super::*;

on_each_database![
    those_from_a_place_on_and_around_are_found,
    only_who_can_sign_in_with_a_password_is_one,
    every_hash_of_who_can_sign_in_comes_once_a_thousand_at_a_time,
];

/// With the hash `$<name>`.
async fn with_password(store: &Store, name: &str) -> User {
    let user =
        User { email: Some(format!("{name}@Example.org")), has_password: true, ..user(name, Role::Member) };
    store.create_user(&user, Some(&format!("${name}"))).await.unwrap();
    user
}

/// The end of an id, by which they are in order.
fn end(id: &UserId) -> &str {
    &id.0[28..]
}

async fn those_from_a_place_on_and_around_are_found(store: &Store) {
    let mut ids = Vec::new();
    for number in 0..Store::PASSWORD_HOLDERS + 4 {
        ids.push(with_password(store, &format!("user{number}")).await.id);
        let found = store.password_holders("80000000").await.unwrap();
        assert_eq!(found.len(), ids.len().min(Store::PASSWORD_HOLDERS), "all, as long as they are few");
    }
    ids.sort_by(|one, other| end(one).cmp(end(other)));
    let around =
        |from: usize| ids.iter().cycle().skip(from).take(Store::PASSWORD_HOLDERS).collect::<Vec<_>>();
    for from in [0, 1, 10, ids.len() - 1] {
        let found = store.password_holders(end(&ids[from])).await.unwrap();
        assert_eq!(found.iter().map(|one| &one.id).collect::<Vec<_>>(), around(from), "from {from}");
        for one in &found {
            let name = one.password.expose().strip_prefix('$').unwrap();
            assert_eq!(one.username_key, name);
            assert_eq!(one.email.as_deref(), Some(format!("{name}@Example.org").as_str()));
        }
    }
    for (place, from) in [("00000000", 0), ("ffffffff", 0)] {
        // That an id ends with the last of all places is not to be expected.
        let found = store.password_holders(place).await.unwrap();
        assert_eq!(found.iter().map(|one| &one.id).collect::<Vec<_>>(), around(from), "{place}");
    }
}

async fn only_who_can_sign_in_with_a_password_is_one(store: &Store) {
    assert!(store.password_holders("00000000").await.unwrap().is_empty());
    added(store, "passwordless", Role::Member).await;
    let disabled = with_password(store, "disabled").await;
    let alice = with_password(store, "alice").await;
    store.set_disabled(&disabled.id, true).await.unwrap();
    let found = store.password_holders("00000000").await.unwrap();
    assert_eq!(found.into_iter().map(|one| one.id).collect::<Vec<_>>(), std::slice::from_ref(&alice.id));
    store.set_disabled(&disabled.id, false).await.unwrap();
    assert_eq!(store.password_holders("00000000").await.unwrap().len(), 2);
    assert!(store.replace_hash(&alice.id, "$alice", "$another").await.unwrap());
    let found = store.password_holders("00000000").await.unwrap();
    assert!(
        found.iter().any(|one| one.id == alice.id && one.password.expose() == "$another"),
        "as it is now"
    );
}

async fn every_hash_of_who_can_sign_in_comes_once_a_thousand_at_a_time(store: &Store) {
    added(store, "passwordless", Role::Member).await;
    let disabled = with_password(store, "disabled").await;
    store.set_disabled(&disabled.id, true).await.unwrap();
    let mut names = std::collections::BTreeSet::new();
    for number in 0..1100 {
        let name = format!("user{number}");
        with_password(store, &name).await;
        names.insert(format!("${name}"));
    }
    let (mut after, mut pages, mut found) = (None, Vec::new(), Vec::new());
    loop {
        let page = store.password_hashes(after.as_ref()).await.unwrap();
        pages.push(page.len());
        found.extend(page.iter().map(|(_, hash)| hash.expose().to_owned()));
        let Some((last, _)) = page.into_iter().last() else { break };
        after = Some(last);
    }
    assert_eq!(pages, [1000, 100, 0]);
    assert_eq!(found.into_iter().collect::<std::collections::BTreeSet<_>>(), names);
}
