//! Users, groups, passwords, and the admin who must stay.

use sqlx::SqliteConnection;

use super::*;

on_each_database![
    a_user_is_found_as_it_was_stored,
    a_name_is_taken_whatever_its_case_and_kind,
    the_first_user_is_made_once,
    only_one_of_parallel_callers_makes_the_first_user,
    users_are_listed_by_name,
    a_new_password_ends_the_sessions_of_that_user_only,
    a_hash_is_replaced_only_if_it_is_still_the_old_one,
    the_last_admin_stays,
    who_cannot_sign_in_is_no_other_admin,
    parallel_callers_cannot_remove_the_last_admin,
    a_change_of_rights_ends_sessions_and_raises_the_revision,
    a_change_that_changes_nothing_leaves_the_revision,
    a_deleted_user_takes_everything_along,
    groups_come_and_go,
    a_group_name_that_would_read_as_two_is_refused,
    a_shown_name_is_changed_and_cleared,
    of_many_names_in_a_minute_the_trail_has_the_first_and_their_number,
];

async fn a_user_is_found_as_it_was_stored(store: &Store) {
    let mut full = user("Zoë", Role::Member);
    full.email = Some("Zoe@Example.org".to_owned());
    full.display_name = Some("Zoë Z.".to_owned());
    full.groups = vec!["ops".to_owned(), "red".to_owned()];
    full.must_change_password = true;
    full.has_password = true;
    store.create_user(&full, Some("$hash")).await.unwrap();
    let bare = added(store, "bare", Role::Viewer).await;

    assert_eq!(store.find_user(&full.id).await.unwrap(), Some(full.clone()));
    assert_eq!(store.find_user(&bare.id).await.unwrap(), Some(bare.clone()));
    for login in ["zoë", "ZOË ", "zoe@example.ORG"] {
        let found = store.find_user_by_login(login).await.unwrap();
        assert_eq!(found, Some((full.clone(), Some("$hash".to_owned()))), "{login}");
    }
    assert_eq!(store.find_user_by_login("bare").await.unwrap(), Some((bare.clone(), None)));
    for login in ["", "zo", "nobody", "a\0b", "' OR 1=1 --"] {
        assert_eq!(store.find_user_by_login(login).await.unwrap(), None, "{login:?}");
    }
    assert_eq!(store.password_of(&full.id).await.unwrap().as_deref(), Some("$hash"));
    assert_eq!(store.password_of(&bare.id).await.unwrap(), None);
    assert_eq!(store.find_user(&UserId::fresh()).await.unwrap(), None);
    assert_eq!(store.users_page(None).await.unwrap().len(), 2);
}

async fn a_name_is_taken_whatever_its_case_and_kind(store: &Store) {
    let mut first = user("alice", Role::Member);
    first.email = Some("alice@example.org".to_owned());
    store.create_user(&first, None).await.unwrap();

    let attempts = [
        ("ALICE", None, "username"),
        ("Alice@example.org", None, "username"),
        ("bob", Some("ALICE@example.org"), "e-mail"),
    ];
    for (name, email, kind) in attempts {
        let mut second = user(name, Role::Member);
        second.email = email.map(str::to_owned);
        let result = store.create_user(&second, None).await;
        assert!(is_conflict(&result, kind), "{name} {email:?}: {result:?}");
        assert_eq!(store.find_user(&second.id).await.unwrap(), None, "nothing of it is stored");
    }
    let mut named_by_address = user("carol@example.org", Role::Member);
    named_by_address.email = Some("Carol@example.org".to_owned());
    store.create_user(&named_by_address, None).await.unwrap();
    let mut other = user("dave", Role::Member);
    other.email = Some("carol@example.org".to_owned());
    assert!(is_conflict(&store.create_user(&other, None).await, "e-mail"));

    assert_eq!(store.delete_user(&first.id).await.unwrap(), Changed::Done);
    added(store, "Alice@example.org", Role::Member).await; // free again
}

async fn the_first_user_is_made_once(store: &Store) {
    assert!(store.create_first_user(&user("root", Role::Admin), "$hash").await.unwrap());
    assert!(!store.create_first_user(&user("other", Role::Admin), "$hash").await.unwrap());
    assert_eq!(store.users_page(None).await.unwrap().len(), 1);
    assert!(store.find_user_by_login("other").await.unwrap().is_none());
}

async fn only_one_of_parallel_callers_makes_the_first_user(store: &Store) {
    let made = count((0..10).map(|n| {
        let (store, root) = (store.clone(), user(&format!("root{n}"), Role::Admin));
        async move { store.create_first_user(&root, "$hash").await.unwrap() }
    }));
    assert_eq!((made.await, store.users_page(None).await.unwrap().len()), (1, 1));
}

async fn users_are_listed_by_name(store: &Store) {
    assert_eq!(store.users_page(None).await.unwrap(), []);
    for name in ["bob", "Carol", "alice", "ann-1", "ann1"] {
        added(store, name, Role::Viewer).await;
    }
    let names: Vec<_> = store.users_page(None).await.unwrap().into_iter().map(|user| user.username).collect();
    assert_eq!(names, ["alice", "ann-1", "ann1", "bob", "Carol"]);
}

async fn a_new_password_ends_the_sessions_of_that_user_only(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let bob = added(store, "bob", Role::Member).await;
    signed_in(store, &alice, "a").await;
    signed_in(store, &bob, "b").await;
    let before = store.revision().await.unwrap();

    assert!(store.set_password(&alice.id, "$new", true, NOW).await.unwrap());

    assert_eq!((is_signed_in(store, "a").await, is_signed_in(store, "b").await), (false, true));
    assert!(store.revision().await.unwrap() > before);
    let changed = store.find_user(&alice.id).await.unwrap().unwrap();
    assert!(changed.must_change_password && changed.has_password);
    assert_eq!(store.password_of(&alice.id).await.unwrap().as_deref(), Some("$new"));
    assert!(!store.set_password(&UserId::fresh(), "$new", false, NOW).await.unwrap());
}

async fn a_hash_is_replaced_only_if_it_is_still_the_old_one(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    assert!(!store.replace_hash(&alice.id, "$old", "$new").await.unwrap(), "no password is not an old one");
    store.set_password(&alice.id, "$old", false, NOW).await.unwrap();
    signed_in(store, &alice, "a").await;
    assert!(store.replace_hash(&alice.id, "$old", "$new").await.unwrap());
    assert!(!store.replace_hash(&alice.id, "$old", "$newer").await.unwrap());
    assert_eq!(store.password_of(&alice.id).await.unwrap().as_deref(), Some("$new"));
    assert!(is_signed_in(store, "a").await);
}

async fn the_last_admin_stays(store: &Store) {
    let last = added(store, "last", Role::Admin).await;
    let idle = added(store, "idle", Role::Admin).await;
    assert_eq!(store.set_disabled(&idle.id, true).await.unwrap(), Changed::Done);
    signed_in(store, &last, "a").await;
    let before = store.revision().await.unwrap();

    assert_eq!(store.set_role(&last.id, Role::Member).await.unwrap(), Changed::LastAdmin);
    assert_eq!(store.set_disabled(&last.id, true).await.unwrap(), Changed::LastAdmin);
    assert_eq!(store.delete_user(&last.id).await.unwrap(), Changed::LastAdmin);
    assert_eq!(store.find_user(&last.id).await.unwrap(), Some(last.clone()));
    assert!(is_signed_in(store, "a").await);
    assert_eq!(store.revision().await.unwrap(), before);

    assert_eq!(store.set_role(&idle.id, Role::Member).await.unwrap(), Changed::Done, "not an active one");
    assert_eq!(store.set_role(&idle.id, Role::Admin).await.unwrap(), Changed::Done);
    assert_eq!(store.set_disabled(&idle.id, false).await.unwrap(), Changed::Done);
    assert_eq!(store.delete_user(&last.id).await.unwrap(), Changed::Done, "another one is left");
    let unknown = UserId::fresh();
    assert_eq!(store.set_role(&unknown, Role::Admin).await.unwrap(), Changed::NotFound);
    assert_eq!(store.set_disabled(&unknown, true).await.unwrap(), Changed::NotFound);
    assert_eq!(store.delete_user(&unknown).await.unwrap(), Changed::NotFound);
}

async fn who_cannot_sign_in_is_no_other_admin(store: &Store) {
    let able = user("able", Role::Admin);
    store.create_user(&able, Some("$hash")).await.unwrap();
    let named = added(store, "named", Role::Admin).await;
    assert_eq!(store.set_role(&able.id, Role::Member).await.unwrap(), Changed::LastAdmin);
    assert_eq!(store.set_disabled(&able.id, true).await.unwrap(), Changed::LastAdmin);
    assert_eq!(store.delete_user(&able.id).await.unwrap(), Changed::LastAdmin);
    // Who cannot sign in may go.
    assert_eq!(store.set_disabled(&named.id, true).await.unwrap(), Changed::Done);
    assert_eq!(store.set_disabled(&named.id, false).await.unwrap(), Changed::Done);
    assert!(store.set_password(&named.id, "$hash", true, NOW).await.unwrap());
    assert_eq!(store.delete_user(&able.id).await.unwrap(), Changed::Done);
    assert_eq!(store.delete_user(&named.id).await.unwrap(), Changed::LastAdmin);
}

async fn parallel_callers_cannot_remove_the_last_admin(store: &Store) {
    let mut admins = Vec::new();
    for n in 0..9 {
        let admin = added(store, &format!("admin{n}"), Role::Admin).await;
        signed_in(store, &admin, &format!("s{n}")).await;
        admins.push((n, admin.id));
    }
    let refused = count(admins.into_iter().map(|(n, id)| {
        let store = store.clone();
        async move {
            let changed = match n % 3 {
                0 => store.set_role(&id, Role::Viewer).await,
                1 => store.set_disabled(&id, true).await,
                _ => store.delete_user(&id).await,
            };
            changed.unwrap() == Changed::LastAdmin
        }
    }))
    .await;
    let users = store.users_page(None).await.unwrap();
    let left = users.iter().filter(|user| user.role == Role::Admin && !user.disabled).count();
    assert_eq!((refused, left), (1, 1));
}

async fn a_change_of_rights_ends_sessions_and_raises_the_revision(store: &Store) {
    added(store, "root", Role::Admin).await;
    let alice = added(store, "alice", Role::Member).await;
    for step in ["role", "disable", "end", "end all", "delete"] {
        store.set_disabled(&alice.id, false).await.unwrap();
        signed_in(store, &alice, "a").await;
        let before = store.revision().await.unwrap();
        let done = match step {
            "role" => store.set_role(&alice.id, Role::Viewer).await.unwrap() == Changed::Done,
            "disable" => store.set_disabled(&alice.id, true).await.unwrap() == Changed::Done,
            "end" => store.end_session("a", Event::SessionRevoke).await.unwrap().is_some(),
            "end all" => store.end_sessions_of(&alice.id).await.unwrap() == 1,
            _ => store.delete_user(&alice.id).await.unwrap() == Changed::Done,
        };
        assert!(done, "{step}");
        assert!(!is_signed_in(store, "a").await, "{step}");
        assert_eq!(store.revision().await.unwrap(), before + 1, "{step}");
    }
}

async fn a_change_that_changes_nothing_leaves_the_revision(store: &Store) {
    added(store, "root", Role::Admin).await;
    let alice = added(store, "alice", Role::Member).await;
    signed_in(store, &alice, "a").await;
    let before = store.revision().await.unwrap();
    assert_eq!(store.set_role(&alice.id, Role::Member).await.unwrap(), Changed::Already);
    assert_eq!(store.set_disabled(&alice.id, false).await.unwrap(), Changed::Already);
    assert!(store.end_session("b", Event::SessionRevoke).await.unwrap().is_none());
    assert_eq!(store.end_sessions_of(&UserId::fresh()).await.unwrap(), 0);
    assert!(!store.remove_group(&alice.id, "ops").await.unwrap());
    assert!(store.revoke_key("none", "cli", NOW).await.unwrap().is_none());
    assert_eq!(store.revision().await.unwrap(), before);
    assert!(is_signed_in(store, "a").await);
}

async fn a_deleted_user_takes_everything_along(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    store.add_group(&alice.id, "ops").await.unwrap();
    signed_in(store, &alice, "a").await;
    store.add_key(&key("own", Some(&alice)), TokenDigest::of("own")).await.unwrap();
    let mut made_by_her = key("system", None);
    made_by_her.created_by = alice.id.0.clone();
    store.add_key(&made_by_her, TokenDigest::of("system")).await.unwrap();
    let before = store.revision().await.unwrap();

    assert_eq!(store.delete_user(&alice.id).await.unwrap(), Changed::Done);

    assert!(!is_signed_in(store, "a").await);
    assert!(store.find_key("own").await.unwrap().is_none());
    assert!(store.find_key("system").await.unwrap().is_some(), "a system key survives its creator");
    assert!(store.find_user_by_login("alice").await.unwrap().is_none());
    assert!(store.revision().await.unwrap() > before);
    let mut again = user("alice", Role::Viewer);
    again.id = alice.id;
    store.create_user(&again, None).await.unwrap();
    let found = store.find_user(&again.id).await.unwrap();
    assert_eq!(found, Some(again), "no old group comes back");
}

async fn groups_come_and_go(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let before = store.revision().await.unwrap();
    for group in ["red", "blue"] {
        assert!(store.add_group(&alice.id, group).await.unwrap());
        assert!(!store.add_group(&alice.id, group).await.unwrap(), "is in it already");
    }
    assert_eq!(store.find_user(&alice.id).await.unwrap().unwrap().groups, ["blue", "red"]);
    assert!(store.remove_group(&alice.id, "blue").await.unwrap());
    assert!(!store.remove_group(&alice.id, "blue").await.unwrap());
    assert_eq!(store.find_user(&alice.id).await.unwrap().unwrap().groups, ["red"]);
    assert_eq!(store.revision().await.unwrap(), before + 3);
    assert!(!store.add_group(&UserId::fresh(), "red").await.unwrap(), "nobody to add");
}

async fn a_group_name_that_would_read_as_two_is_refused(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    for group in ["red,blue", ""] {
        assert!(store.add_group(&alice.id, group).await.is_err(), "{group:?}");
    }
    assert_eq!(store.find_user(&alice.id).await.unwrap().unwrap().groups, Vec::<String>::new());
}

async fn a_shown_name_is_changed_and_cleared(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let before = store.revision().await.unwrap();
    for name in [Some("Alice Ä. <b>"), None] {
        assert_eq!(store.set_display_name(&alice.id, name).await.unwrap(), Changed::Done);
        let found = store.find_user(&alice.id).await.unwrap().unwrap();
        assert_eq!(found.display_name.as_deref(), name);
        let rows = store.audit_head().await.unwrap().seq;
        assert_eq!(store.set_display_name(&alice.id, name).await.unwrap(), Changed::Already);
        assert_eq!(store.audit_head().await.unwrap().seq, rows, "what has not changed leaves no row");
    }
    assert_eq!(store.revision().await.unwrap(), before, "no right is lost");
    assert_eq!(store.set_display_name(&UserId::fresh(), Some("x")).await.unwrap(), Changed::NotFound);
    assert!(store.is_anybody().await.unwrap());
}

async fn of_many_names_in_a_minute_the_trail_has_the_first_and_their_number(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let bob = added(store, "bob", Role::Member).await;
    let before = store.audit_head().await.unwrap().seq;
    for number in 0..30 {
        for of in [&alice, &bob] {
            let name = format!("name {number}");
            assert_eq!(store.set_display_name(&of.id, Some(&name)).await.unwrap(), Changed::Done);
        }
    }
    assert_eq!(store.audit_head().await.unwrap().seq, before + 2);
    store.flush_repeats(true).await.unwrap();
    let rows = store.audit_page(before, None, 10).await.unwrap();
    let told: Vec<_> = rows.iter().map(|row| row.detail.contains(r#""repeats":29"#)).collect();
    assert_eq!(told, [false, false, true, true], "{rows:?}");
    let found = store.find_user(&alice.id).await.unwrap().unwrap();
    assert_eq!(found.display_name.as_deref(), Some("name 29"));
}

#[tokio::test]
async fn a_name_that_stays_waits_for_no_turn() {
    for own in [Database::in_file().await, Database::on_postgres().await] {
        let alice = added(&own.store, "alice", Role::Member).await;
        assert_eq!(own.store.set_display_name(&alice.id, Some("Alice")).await.unwrap(), Changed::Done);
        // Somebody else is in the middle of a change, until the connection goes.
        let (mut postgres, mut file);
        if own.url.starts_with("sqlite:") {
            file = SqliteConnection::connect(&own.url).await.unwrap();
            sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut file).await.unwrap();
        } else {
            postgres = PgConnection::connect(&own.url).await.unwrap();
            let turn = sqlx::raw_sql("BEGIN; SELECT value FROM revision FOR UPDATE");
            turn.execute(&mut postgres).await.unwrap();
        }
        let unchanged = own.store.set_display_name(&alice.id, Some("Alice")).await;
        assert_eq!(unchanged.unwrap(), Changed::Already, "{}", own.url);
        let another = own.store.set_display_name(&alice.id, Some("Alicia")).await;
        assert!(another.is_err(), "{}", own.url);
    }
}
