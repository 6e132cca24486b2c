//! Whose rights were lost: who is told by whom, and when it is not known.

use super::*;

on_each_database![
    what_takes_a_right_names_its_holder_and_what_takes_none_raises_nothing,
    losses_that_are_not_all_known_are_everybodys,
    only_the_newest_losses_are_kept,
];

async fn what_takes_a_right_names_its_holder_and_what_takes_none_raises_nothing(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let root = added(store, "root", Role::Admin).await;
    let a = &alice.id;
    let mut before = store.revision().await.unwrap();
    macro_rules! loses {
        ($what:expr, $holders:expr) => {{
            let what = stringify!($what);
            $what;
            let now = store.revision().await.unwrap();
            let lost = store.lost_rights(before, now).await.unwrap().unwrap();
            let holders: &[&str] = $holders;
            assert_eq!(lost, holders, "{what}");
            before = now;
        }};
    }
    loses!(signed_in(store, &alice, "s1").await, &[]);
    loses!(signed_in(store, &root, "r1").await, &[]);
    loses!(store.add_key(&key("own", Some(&alice)), TokenDigest::of("own")).await.unwrap(), &[]);
    loses!(store.add_key(&key("machine", None), TokenDigest::of("machine")).await.unwrap(), &[]);
    loses!(store.set_display_name(a, Some("Alice")).await.unwrap(), &[]);
    loses!(store.touch_sessions(&[("s1".to_owned(), later(5))]).await.unwrap(), &[]);
    loses!(store.set_role(a, Role::Member).await.unwrap(), &[]);
    loses!(store.set_disabled(a, false).await.unwrap(), &[]);
    loses!(store.end_session("none", Event::Logout).await.unwrap(), &[]);
    let own = &[a.0.as_str()];
    loses!(store.end_session("s1", Event::Logout).await.unwrap(), own);
    loses!(store.end_sessions_of(a).await.unwrap(), &[]);
    signed_in(store, &alice, "s2").await;
    loses!(store.end_sessions_of(a).await.unwrap(), own);
    loses!(store.revoke_key("own", "cli", NOW).await.unwrap(), own);
    loses!(store.revoke_key("own", "cli", NOW).await.unwrap(), &[]);
    loses!(store.revoke_key("machine", "cli", NOW).await.unwrap(), &["machine"]);
    loses!(store.add_group(a, "ops").await.unwrap(), own);
    loses!(store.remove_group(a, "none").await.unwrap(), &[]);
    loses!(store.set_role(a, Role::Viewer).await.unwrap(), own);
    loses!(store.set_disabled(a, true).await.unwrap(), own);
    loses!(store.set_password(a, "hash", false, NOW).await.unwrap(), own);
    loses!(store.delete_user(a).await.unwrap(), own);
    let all = store.lost_rights(0, before).await.unwrap();
    assert_eq!(all, None, "those before the first are not known");
}

async fn losses_that_are_not_all_known_are_everybodys(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let before = store.revision().await.unwrap();
    store.add_group(&alice.id, "ops").await.unwrap();
    let now = store.revision().await.unwrap();
    assert_eq!(store.lost_rights(before, now).await.unwrap(), Some(vec![alice.id.0.clone()]));
    assert_eq!(store.lost_rights(before, now + 1).await.unwrap(), None, "one that nobody noted");
    assert_eq!(store.lost_rights(now, before).await.unwrap(), None, "a database that was put back");
    assert_eq!(store.lost_rights(now, now + 1001).await.unwrap(), None, "too many");
    assert_eq!(store.lost_rights(now, now).await.unwrap(), Some(Vec::new()));
}

async fn only_the_newest_losses_are_kept(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let before = store.revision().await.unwrap();
    for _ in 0..2050 {
        store.add_group(&alice.id, "ops").await.unwrap();
        store.remove_group(&alice.id, "ops").await.unwrap();
    }
    let now = store.revision().await.unwrap();
    assert_eq!(now, before + 4100);
    assert_eq!(store.lost_rights(now - 1000, now).await.unwrap().map(|lost| lost.len()), Some(1000));
    assert_eq!(store.lost_rights(now - 1001, now).await.unwrap(), None, "too many to be told of");
    assert_eq!(store.lost_rights(before, before + 1).await.unwrap(), None, "no longer");
}
