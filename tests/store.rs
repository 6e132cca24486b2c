//! Everything the store promises, checked on SQLite in memory, SQLite in a file, and PostgreSQL.
//!
//! PostgreSQL is found by `DOORWARD_TEST_POSTGRES` (`postgres://user@host:port/database`); each test has a
//! schema of its own.

use std::path::Path;
use std::time::Duration;

use doorward::model::api_key::{ApiKey, KeyScope};
use doorward::model::role::Role;
use doorward::model::session::Session;
use doorward::model::time::Timestamp;
use doorward::model::token::TokenDigest;
use doorward::model::user::{User, UserId};
use doorward::store::{Bucket, Changed, Store, StoreError};
use sqlx::{Connection as _, PgConnection, SqliteConnection};

/// A database of one test.
struct Database {
    store: Store,
    url: String,
    _folder: Option<tempfile::TempDir>,
}

impl Database {
    async fn in_memory() -> Self {
        let url = "sqlite::memory:".to_owned();
        Self { store: Store::open(&url, 4).await.unwrap(), url, _folder: None }
    }

    async fn in_file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("doorward.db").display());
        Self { store: Store::open(&url, 4).await.unwrap(), url, _folder: Some(folder) }
    }

    async fn on_postgres() -> Self {
        let url = fresh_schema().await;
        Self { store: Store::open(&url, 4).await.unwrap(), url, _folder: None }
    }
}

#[expect(clippy::disallowed_methods, reason = "the test's own switch, not a setting of the program")]
async fn fresh_schema() -> String {
    let base = std::env::var("DOORWARD_TEST_POSTGRES")
        .expect("DOORWARD_TEST_POSTGRES is not set: run ./tests/run.sh, which starts a PostgreSQL");
    let schema = format!("t{}", UserId::fresh().0.replace('-', ""));
    let mut connection = PgConnection::connect(&base).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
    sqlx::query(create).execute(&mut connection).await.unwrap();
    format!("{base}?options=-csearch_path%3D{schema}")
}

macro_rules! on_each_database {
    ($($name:ident),+ $(,)?) => {
        mod sqlite_in_memory {
            use super::Database;
            $(#[tokio::test] async fn $name() {
                super::$name(&Database::in_memory().await.store).await;
            })+
        }
        mod sqlite_in_a_file {
            use super::Database;
            $(#[tokio::test] async fn $name() {
                let own = Database::in_file().await;
                super::$name(&own.store).await;
            })+
        }
        mod postgres {
            use super::Database;
            $(#[tokio::test] async fn $name() {
                super::$name(&Database::on_postgres().await.store).await;
            })+
        }
    };
}

on_each_database![
    a_user_is_found_as_it_was_stored,
    a_name_is_taken_whatever_its_case_and_kind,
    the_first_user_is_made_once,
    only_one_of_parallel_callers_makes_the_first_user,
    users_are_listed_by_name,
    a_new_password_ends_the_sessions_of_that_user_only,
    a_hash_is_replaced_only_if_it_is_still_the_old_one,
    the_last_admin_stays,
    parallel_callers_cannot_remove_the_last_admin,
    a_change_of_rights_ends_sessions_and_raises_the_revision,
    a_change_that_changes_nothing_leaves_the_revision,
    a_deleted_user_takes_everything_along,
    groups_come_and_go,
    a_group_name_that_would_read_as_two_is_refused,
    a_session_is_found_by_its_digest_only,
    the_oldest_sessions_give_way_beyond_the_cap,
    no_session_is_added_for_a_disabled_or_missing_user,
    last_seen_never_moves_back,
    sessions_are_listed_newest_first,
    dead_sessions_are_purged_and_live_ones_stay,
    a_key_is_found_as_it_was_stored,
    a_key_id_is_taken_once,
    a_scope_that_would_read_as_another_is_refused,
    a_key_is_revoked_once,
    last_use_never_moves_back,
    keys_are_listed_by_owner,
    attempts_are_free_then_delayed_then_forgotten,
    one_closed_bucket_closes_the_attempt_and_counts_nothing,
    success_clears_own_buckets_and_refunds_shared_ones,
    parallel_attempts_are_counted_one_by_one,
    a_setup_token_makes_the_first_user_once,
    a_setup_token_that_is_wrong_or_late_or_replaced_makes_nobody,
    only_one_of_parallel_callers_redeems_the_setup_token,
    gateways_behind_are_the_live_ones_that_have_not_caught_up,
    a_closed_store_says_that_it_is_unavailable,
];

const NOW: Timestamp = Timestamp(1_900_000_000);

fn later(seconds: i64) -> Timestamp {
    Timestamp(NOW.0 + seconds)
}

fn user(name: &str, role: Role) -> User {
    User {
        id: UserId::fresh(),
        username: name.to_owned(),
        email: None,
        display_name: None,
        role,
        groups: Vec::new(),
        disabled: false,
        must_change_password: false,
        has_password: false,
        created_at: NOW,
    }
}

async fn added(store: &Store, name: &str, role: Role) -> User {
    let user = user(name, role);
    store.create_user(&user, None).await.unwrap();
    user
}

fn session(of: &User, id: &str, at: Timestamp) -> Session {
    Session {
        id: id.to_owned(),
        user_id: of.id.clone(),
        created_at: at,
        last_seen_at: at,
        expires_at: Timestamp(at.0 + 1000),
        client: "192.0.2.1".to_owned(),
        user_agent: "browser".to_owned(),
    }
}

/// Signs `of` in with a session whose token is its id.
async fn signed_in(store: &Store, of: &User, id: &str) {
    assert!(store.add_session(&session(of, id, NOW), TokenDigest::of(id), 10).await.unwrap());
}

async fn is_signed_in(store: &Store, id: &str) -> bool {
    store.find_session(TokenDigest::of(id)).await.unwrap().is_some()
}

fn key(id: &str, owner: Option<&User>) -> ApiKey {
    ApiKey {
        id: id.to_owned(),
        name: "exporter".to_owned(),
        owner: owner.map(|user| user.id.clone()),
        role: Role::Agent,
        scope: KeyScope::default(),
        created_at: NOW,
        created_by: "cli".to_owned(),
        expires_at: None,
        last_used_at: None,
        revoked: None,
    }
}

fn bucket(name: &str) -> Bucket {
    Bucket {
        name: name.to_owned(),
        free: 2,
        first_delay: Duration::from_secs(10),
        max_delay: Duration::from_secs(30),
        window: Duration::from_secs(600),
    }
}

fn is_conflict(result: &Result<(), StoreError>, kind: &str) -> bool {
    matches!(result, Err(StoreError::Conflict(what)) if *what == kind)
}

/// How many of the answers, given by tasks that run at once, are yes.
async fn count<F>(calls: impl Iterator<Item = F>) -> usize
where
    F: Future<Output = bool> + Send + 'static,
{
    let tasks: Vec<_> = calls.map(tokio::spawn).collect();
    let mut yes = 0;
    for task in tasks {
        yes += usize::from(task.await.unwrap());
    }
    yes
}

// Users

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
    assert_eq!(store.count_users().await.unwrap(), 2);
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
    assert_eq!(store.count_users().await.unwrap(), 1);
    assert!(store.find_user_by_login("other").await.unwrap().is_none());
}

async fn only_one_of_parallel_callers_makes_the_first_user(store: &Store) {
    let made = count((0..10).map(|n| {
        let (store, root) = (store.clone(), user(&format!("root{n}"), Role::Admin));
        async move { store.create_first_user(&root, "$hash").await.unwrap() }
    }));
    assert_eq!((made.await, store.count_users().await.unwrap()), (1, 1));
}

async fn users_are_listed_by_name(store: &Store) {
    assert_eq!(store.list_users().await.unwrap(), []);
    for name in ["bob", "Carol", "alice", "ann-1", "ann1"] {
        added(store, name, Role::Viewer).await;
    }
    let names: Vec<_> = store.list_users().await.unwrap().into_iter().map(|user| user.username).collect();
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
    let users = store.list_users().await.unwrap();
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
            "end" => store.end_session("a").await.unwrap(),
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
    assert_eq!(store.set_role(&alice.id, Role::Member).await.unwrap(), Changed::Done);
    assert_eq!(store.set_disabled(&alice.id, false).await.unwrap(), Changed::Done);
    assert!(!store.end_session("b").await.unwrap());
    assert_eq!(store.end_sessions_of(&UserId::fresh()).await.unwrap(), 0);
    assert!(!store.remove_group(&alice.id, "ops").await.unwrap());
    assert!(!store.revoke_key("none", "cli", NOW).await.unwrap());
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

// Sessions

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

// API keys

async fn a_key_is_found_as_it_was_stored(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let mut full = key("full", Some(&alice));
    full.scope = KeyScope {
        paths: vec!["/v1/**".to_owned(), "/a b".to_owned()],
        methods: vec![http::Method::GET, "PURGE".parse().unwrap()],
        networks: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
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
    assert!(store.revoke_key("k", "root", NOW).await.unwrap());
    assert!(!store.revoke_key("k", "other", later(1)).await.unwrap());
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
    assert_eq!(ids(store.list_keys(None).await.unwrap()), ["a", "b"]);
    assert_eq!(ids(store.list_keys(Some(&alice.id)).await.unwrap()), ["a"]);
    assert_eq!(ids(store.list_keys(Some(&UserId::fresh())).await.unwrap()), Vec::<String>::new());
}

// Throttle

async fn attempts_are_free_then_delayed_then_forgotten(store: &Store) {
    let account = [bucket("account")];
    let wait = |seconds| Some(Duration::from_secs(seconds));
    let steps = [
        (0, None),
        (0, None),
        (0, None), // the third failure is the first beyond the free ones
        (0, wait(10)),
        (9, wait(1)),
        (10, None),
        (10, wait(20)),
        (30, None),
        (30, wait(30)),
        (60, None),
        (60, wait(30)), // the longest delay
        (90, None),
        (689, None), // a second short of the window
        (690, wait(29)),
        (1289, None), // forgotten
        (1289, None),
        (1289, None),
        (1289, wait(10)),
    ];
    for (n, (at, expected)) in steps.into_iter().enumerate() {
        let answer = store.reserve_attempt(&account, later(at)).await.unwrap();
        assert_eq!(answer, expected, "step {n} at {at}");
    }
    assert_eq!(store.reserve_attempt(&[bucket("other")], later(1289)).await.unwrap(), None);
    assert_eq!(store.purge_attempts(later(1290)).await.unwrap(), 2);
    assert_eq!(store.reserve_attempt(&account, later(1290)).await.unwrap(), None);
    assert_eq!(store.purge_attempts(later(1290)).await.unwrap(), 0);
}

async fn one_closed_bucket_closes_the_attempt_and_counts_nothing(store: &Store) {
    for _ in 0..3 {
        assert_eq!(store.reserve_attempt(&[bucket("network")], NOW).await.unwrap(), None);
    }
    for _ in 0..5 {
        let both = [bucket("account"), bucket("network")];
        let answer = store.reserve_attempt(&both, NOW).await.unwrap();
        assert_eq!(answer, Some(Duration::from_secs(10)), "a refused attempt does not prolong the wait");
    }
    for _ in 0..3 {
        assert_eq!(store.reserve_attempt(&[bucket("account")], NOW).await.unwrap(), None, "was not counted");
    }
}

async fn success_clears_own_buckets_and_refunds_shared_ones(store: &Store) {
    let (own, shared) = (bucket("own"), bucket("shared"));
    for _ in 0..3 {
        assert_eq!(store.reserve_attempt(&[own.clone(), shared.clone()], NOW).await.unwrap(), None);
    }
    store.clear_attempts(&["own".to_owned(), "unknown".to_owned()]).await.unwrap();
    store.refund_attempts(&["shared".to_owned(), "unknown".to_owned()]).await.unwrap();
    for (bucket, expected) in [(own, 3), (shared, 1)] {
        let mut passed = 0;
        while store.reserve_attempt(std::slice::from_ref(&bucket), NOW).await.unwrap().is_none() {
            passed += 1;
        }
        assert_eq!(passed, expected, "{}", bucket.name);
    }
}

async fn parallel_attempts_are_counted_one_by_one(store: &Store) {
    let passed = count((0..20).map(|n| {
        let store = store.clone();
        let mut both = [bucket("account"), bucket("network")];
        if n % 2 == 0 {
            both.reverse();
        }
        async move { store.reserve_attempt(&both, NOW).await.unwrap().is_none() }
    }));
    assert_eq!(passed.await, 3);
}

// Setup link

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
    assert_eq!(store.count_users().await.unwrap(), 1);
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
    assert_eq!(store.count_users().await.unwrap(), 0);
    assert!(store.redeem_setup_token(second, later(59), &root, "$hash").await.unwrap(), "still there");
}

async fn only_one_of_parallel_callers_redeems_the_setup_token(store: &Store) {
    let token = TokenDigest::of("setup");
    store.put_setup_token(token, later(60)).await.unwrap();
    let made = count((0..10).map(|n| {
        let (store, root) = (store.clone(), user(&format!("root{n}"), Role::Admin));
        async move { store.redeem_setup_token(token, NOW, &root, "$hash").await.unwrap() }
    }));
    assert_eq!((made.await, store.count_users().await.unwrap()), (1, 1));
}

// Revision, opening, closing

async fn gateways_behind_are_the_live_ones_that_have_not_caught_up(store: &Store) {
    for (id, revision, at) in [("b", 4, 0), ("a", 3, 0), ("dead", 1, -100), ("gone", 1, 0), ("ready", 5, 0)] {
        store.report_gateway(id, revision, later(at)).await.unwrap();
    }
    store.forget_gateway("gone").await.unwrap();
    assert_eq!(store.gateways_behind(5, later(-60)).await.unwrap(), ["a", "b"]);
    store.report_gateway("a", 5, later(1)).await.unwrap();
    assert_eq!(store.gateways_behind(5, later(-60)).await.unwrap(), ["b"]);
    assert_eq!(store.purge_gateways(later(-60)).await.unwrap(), 1);
    assert_eq!(store.gateways_behind(5, later(-1000)).await.unwrap(), ["b"]);
}

async fn a_closed_store_says_that_it_is_unavailable(store: &Store) {
    store.ping().await.unwrap();
    store.close().await;
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.end_session("s").await, Err(StoreError::Unavailable(_))));
}

/// What was stored is there after the database is opened again, also by several processes at once.
async fn opens_again_in_parallel(first: Database) {
    let alice = added(&first.store, "alice", Role::Member).await;
    let found =
        count(
            (0..4).map(|_| {
                let (url, alice) = (first.url.clone(), alice.clone());
                async move {
                    Store::open(&url, 2).await.unwrap().find_user(&alice.id).await.unwrap() == Some(alice)
                }
            }),
        );
    assert_eq!(found.await, 4);
}

/// A fresh database that several processes open at once has one schema, and all of them use it.
async fn is_made_once_in_parallel(url: &str) {
    let added = count((0..6).map(|n| {
        let url = url.to_owned();
        async move {
            let store = Store::open(&url, 2).await.unwrap();
            store.create_user(&user(&format!("user{n}"), Role::Member), None).await.is_ok()
        }
    }));
    assert_eq!(added.await, 6);
    assert_eq!(Store::open(url, 1).await.unwrap().count_users().await.unwrap(), 6);
}

mod sqlite_only {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn an_existing_database_opens_in_parallel() {
        opens_again_in_parallel(Database::in_file().await).await;
    }

    #[tokio::test]
    async fn a_fresh_database_opens_in_parallel() {
        let folder = tempfile::tempdir().unwrap();
        is_made_once_in_parallel(&format!("sqlite://{}", folder.path().join("new.db").display())).await;
    }

    #[tokio::test]
    async fn a_newer_schema_is_refused() {
        let own = Database::in_file().await;
        own.store.close().await;
        let mut connection = SqliteConnection::connect(&own.url).await.unwrap();
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (999, 'newer', TRUE, X'00', 0)";
        sqlx::query(newer).execute(&mut connection).await.unwrap();
        assert!(matches!(Store::open(&own.url, 1).await, Err(StoreError::TooNew)));
    }

    #[tokio::test]
    async fn the_files_are_for_their_owner_only_and_hold_no_token() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite:{}/own.db", folder.path().display()), 2).await.unwrap();
        let alice = added(&store, "alice", Role::Member).await;
        let (cookie, text, link) = ("cookie-token-text", "dw_u_key-text", "setup-link-text");
        store.add_session(&session(&alice, "s", NOW), TokenDigest::of(cookie), 10).await.unwrap();
        store.add_key(&key("k", Some(&alice)), TokenDigest::of(text)).await.unwrap();
        store.put_setup_token(TokenDigest::of(link), later(60)).await.unwrap();

        let mut all = Vec::new();
        for name in ["own.db", "own.db-wal", "own.db-shm"] {
            let path = folder.path().join(name);
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
            all.extend(std::fs::read(path).unwrap());
        }
        let holds = |what: &[u8]| all.windows(what.len()).any(|window| window == what);
        for token in [cookie, text, link] {
            assert!(holds(&TokenDigest::of(token).0), "{token}: the digest is stored");
            assert!(!holds(token.as_bytes()), "{token}");
        }
    }

    #[tokio::test]
    async fn a_missing_folder_is_named_and_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let error = Store::open(&format!("sqlite:{}/a.db", missing.display()), 1).await.unwrap_err();
        assert!(matches!(error, StoreError::CannotCreate { .. }), "{error:?}");
        assert!(error.to_string().contains("missing/a.db"), "{error}");
        assert!(!missing.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        let text = "these are notes, not a database\n".repeat(200);
        std::fs::write(&path, &text).unwrap();
        assert!(Store::open(&format!("sqlite:{}", path.display()), 1).await.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[tokio::test]
    async fn an_address_of_another_form_is_refused_without_quoting_it() {
        let addresses = [
            "",
            "mysql://root:hunter2@localhost/db",
            "sqlite:",
            "sqlite://",
            "sqlite:a.db?mode=rwc&x=hunter2",
            "postgres://user:hunter2@host:notaport/db",
        ];
        for address in addresses {
            let error = Store::open(address, 1).await.unwrap_err();
            assert!(matches!(error, StoreError::BadUrl(_)), "{address}: {error:?}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{address}");
        }
        assert!(!Path::new("a.db").exists());
    }
}

mod postgres_only {
    use super::*;

    #[tokio::test]
    async fn an_existing_database_opens_in_parallel() {
        opens_again_in_parallel(Database::on_postgres().await).await;
    }

    #[tokio::test]
    async fn a_fresh_database_opens_in_parallel() {
        is_made_once_in_parallel(&fresh_schema().await).await;
    }

    #[tokio::test]
    async fn a_newer_schema_is_refused() {
        let own = Database::on_postgres().await;
        let mut connection = PgConnection::connect(&own.url).await.unwrap();
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (999, 'newer', TRUE, 'x', 0)";
        sqlx::query(newer).execute(&mut connection).await.unwrap();
        assert!(matches!(Store::open(&own.url, 1).await, Err(StoreError::TooNew)));
    }

    #[tokio::test]
    async fn an_unreachable_server_is_unavailable_and_its_password_is_not_shown() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = Store::open(&format!("postgres://gate:hunter2@{free}/none"), 1).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        let own = Database::on_postgres().await;
        assert_eq!(format!("{:?}", own.store), "Store(postgres)");
    }
}
