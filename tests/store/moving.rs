//! A whole store elsewhere: copies between databases of both kinds, backups, and what they hold.

use std::fmt::Write as _;

use doorward::model::audit::{Actor, Note};
use doorward::service::audit::Audit;
use doorward::store::SetupLink;

use super::*;

async fn filled(database: &Database) -> Vec<User> {
    let store = &database.store;
    let root = user("root", Role::Admin);
    store.create_user(&root, Some("$hash of root")).await.unwrap();
    let mut users = vec![root];
    for n in 0..1500 {
        users.push(added(store, &format!("user{n:04}"), Role::Member).await);
    }
    let alice = &users[1];
    store.add_group(&alice.id, "ops").await.unwrap();
    store.add_group(&alice.id, "dev").await.unwrap();
    signed_in(store, alice, "first").await;
    // Sorts before what it was opened from.
    let child = Session {
        parent_id: Some("first".to_owned()),
        host: Some("b.example.org".to_owned()),
        ..session(alice, "a-child", NOW)
    };
    store.add_session(&child, TokenDigest::of("a-child"), 10, Event::SessionOpen).await.unwrap();
    store.add_key(&key("k", Some(alice)), TokenDigest::of("k")).await.unwrap();
    store.add_key(&key("system", None), TokenDigest::of("system")).await.unwrap();
    store.put_setup_link(TokenDigest::of("link"), Some(&users[2].id), NOW, later(60)).await.unwrap();
    identities::enter(store, &identities::asserted("alice"), &["by-provider"]).await;
    let zoe = store.owner_of_identity(&identities::key("alice")).await.unwrap().unwrap();
    assert!(identities::opened_by(store, &zoe, "by-identity", "alice", "sso").await);
    assert!(store.use_sign_in(TokenDigest::of("state"), NOW, later(60)).await.unwrap());
    // Not of alice: her sessions would end with it.
    store.by(&Actor::gateway()).set_role(&users[3].id, Role::Viewer).await.unwrap();
    users
}

/// All users, page by page.
async fn everybody(store: &Store) -> Vec<User> {
    let mut all: Vec<User> = Vec::new();
    loop {
        let page = store.users_page(all.last()).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// All that can be asked for, as text.
async fn told(store: &Store, users: &[User]) -> String {
    let mut told = format!("{:?}", everybody(store).await);
    for user in users.iter().take(3) {
        writeln!(told, "{:?}", store.find_user_by_login(&user.username).await.unwrap()).unwrap();
    }
    writeln!(told, "{:?}", store.sessions_page(None).await.unwrap()).unwrap();
    let owner = store.owner_of_identity(&identities::key("alice")).await.unwrap().unwrap();
    writeln!(told, "{:?}", store.identities_of(&owner.id).await.unwrap()).unwrap();
    writeln!(told, "{:?}", store.keys_page(None).await.unwrap()).unwrap();
    writeln!(told, "{:?}", store.audit_page(0, None, 10_000).await.unwrap()).unwrap();
    told + &format!("{:?}", store.audit_head().await.unwrap())
}

async fn everything_arrives(from: Database, to: Database) {
    let users = filled(&from).await;
    let (before, revision) = (told(&from.store, &users).await, from.store.revision().await.unwrap());
    let mut steps = 0;
    let copied = from.store.copy_to(&to.store, |_, _| steps += 1).await.unwrap();
    assert!(steps > copied.len(), "{steps}: a table of several pages is told of in between");
    assert_eq!(copied.iter().find(|(table, _)| *table == "users"), Some(&("users", 1502)));
    assert_eq!(told(&to.store, &users).await, before);
    assert_eq!(told(&from.store, &users).await, before, "nothing is changed where it came from");
    assert!(to.store.revision().await.unwrap() > revision, "what gateways remember is looked up again");
    let (child, _) = to.store.session_by_id("a-child").await.unwrap().unwrap();
    assert_eq!(child.parent_id.as_deref(), Some("first"), "and ends with what it was opened from");
    let link = to.store.setup_link(TokenDigest::of("link"), NOW).await.unwrap();
    assert_eq!(link, Some(SetupLink::Of(Box::new(users[2].clone()))));
    let vouched = to.store.session_by_id("by-identity").await.unwrap().unwrap().0.provider;
    assert_eq!(vouched.map(|vouched| vouched.key), Some(identities::key("alice")));
    assert!(!to.store.use_sign_in(TokenDigest::of("state"), NOW, later(60)).await.unwrap(), "used there too");
    // The trail goes on there.
    added(&to.store, "later", Role::Member).await;
    let verified = Audit::new(to.store.clone(), audit_key()).verify(&by(), &[], None).await.unwrap().unwrap();
    assert_eq!(verified.last, from.store.audit_head().await.unwrap().seq + 1);

    let again = from.store.copy_to(&to.store, |_, _| ()).await;
    assert!(matches!(again, Err(StoreError::NotEmpty { table: "users" })), "{again:?}");
    assert_eq!(everybody(&to.store).await.len(), 1503, "and nothing is added");
}

#[tokio::test]
async fn everything_arrives_from_sqlite_on_postgres() {
    everything_arrives(Database::in_file().await, Database::on_postgres().await).await;
}

#[tokio::test]
async fn everything_arrives_from_postgres_in_sqlite() {
    everything_arrives(Database::on_postgres().await, Database::in_file().await).await;
}

#[tokio::test]
async fn everything_arrives_between_two_of_a_kind() {
    everything_arrives(Database::in_file().await, Database::in_file().await).await;
    everything_arrives(Database::on_postgres().await, Database::on_postgres().await).await;
}

/// A trail alone, such as of a gateway that was started once, is something too.
async fn what_holds_anything_is_refused(from: Database, to: Database) {
    to.store.record(Note::done(Event::ConfigLoad)).await.unwrap();
    let refused = from.store.copy_to(&to.store, |_, _| ()).await;
    assert!(matches!(refused, Err(StoreError::NotEmpty { table: "audit" })), "{refused:?}");
}

#[tokio::test]
async fn a_database_that_holds_anything_is_refused() {
    what_holds_anything_is_refused(Database::in_file().await, Database::on_postgres().await).await;
    what_holds_anything_is_refused(Database::on_postgres().await, Database::in_file().await).await;
}

/// Whatever is changed meanwhile: users and trail are those of one moment.
async fn a_copy_is_of_one_moment(from: Database, to: Database) {
    filled(&from).await;
    let writer = from.store.clone();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let writing = tokio::spawn(async move {
        let mut n = 0;
        while stopped.try_recv().is_err() {
            added(&writer, &format!("meanwhile{n}"), Role::Member).await;
            n += 1;
        }
        n
    });
    until("a change meanwhile", async || everybody(&from.store).await.len() >= 1506).await;
    from.store.copy_to(&to.store, |_, _| ()).await.unwrap();
    stop.send(()).unwrap();
    let written = writing.await.unwrap();
    let there = everybody(&to.store).await.len();
    assert!(there >= 1506 && there < 1502 + written, "{there}, and {written} were written");
    Audit::new(to.store.clone(), audit_key()).verify(&by(), &[], None).await.unwrap().unwrap();
    let created = to.store.audit_page(0, None, 100_000).await.unwrap();
    let created = created.iter().filter(|row| row.event == "user.create").count();
    assert_eq!(created, there, "each user and the row that tells of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_from_sqlite_is_of_one_moment() {
    a_copy_is_of_one_moment(Database::in_file().await, Database::on_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_from_postgres_is_of_one_moment() {
    a_copy_is_of_one_moment(Database::on_postgres().await, Database::in_file().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_whole_private_and_can_be_put_back() {
    use std::os::unix::fs::PermissionsExt as _;
    let own = Database::in_file().await;
    let users = filled(&own).await;
    let before = told(&own.store, &users).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.db");
    own.store.backup(&file).await.unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    added(&own.store, "later", Role::Member).await;

    let existing = own.store.backup(&file).await;
    assert!(matches!(existing, Err(StoreError::CannotCreate { .. })), "{existing:?}");
    let restored = opened(&format!("sqlite:{}", file.display())).await;
    assert_eq!(told(&restored, &users).await, before);
    Audit::new(restored.clone(), audit_key()).verify(&by(), &[], None).await.unwrap().unwrap();
    added(&restored, "goes-on", Role::Member).await;
    Audit::new(restored, audit_key()).verify(&by(), &[], None).await.unwrap().unwrap();

    let nowhere = folder.path().join("missing/backup.db");
    assert!(matches!(own.store.backup(&nowhere).await, Err(StoreError::CannotCreate { .. })));
    let elsewhere = Database::on_postgres().await;
    let refused = elsewhere.store.backup(&folder.path().join("other.db")).await;
    assert!(matches!(refused, Err(StoreError::BadUrl(_))), "{refused:?}");
    assert!(!folder.path().join("other.db").exists());
}
