//! The audit trail: one unbroken chain whatever writes it, and every way of tampering is found.

use doorward::model::audit::{Actor, AuditRow, Note, Party, Reason, hex, mark_of_end};
use doorward::service::audit::{Audit, BrokenTrail, TrailFault};
use doorward::store::AuditFilter;
use sqlx::SqliteConnection;

use super::*;

on_each_database![
    every_change_leaves_one_row_that_says_who_and_whom,
    what_changes_nothing_leaves_no_row,
    a_refusal_that_protects_the_last_admin_leaves_a_row,
    rows_are_listed_by_time_event_and_person,
    repeats_are_one_row_and_a_count,
    pruning_keeps_the_rest_verifiable,
    writers_at_once_make_one_chain,
    an_empty_trail_is_whole,
];

fn audit(store: &Store) -> Audit {
    Audit::new(store.clone(), audit_key())
}

async fn rows(store: &Store) -> Vec<AuditRow> {
    store.audit_page(0, None, 10_000).await.unwrap()
}

/// What a row says, in short.
fn said(row: &AuditRow) -> String {
    let name = |party: &Party| party.name.clone().unwrap_or_else(|| party.id.clone());
    let target = row.target.as_ref().map(name).unwrap_or_default();
    format!("{} {} {target} {}", name(&row.actor), row.event, row.success)
}

pub(super) async fn assert_whole(store: &Store, first: i64, last: i64) {
    let verified = audit(store).verify(&by(), &[], None).await.unwrap().unwrap();
    assert_eq!((verified.first, verified.last), (first, last));
}

async fn every_change_leaves_one_row_that_says_who_and_whom(store: &Store) {
    let root = Party::named("user:0", "root");
    let actor = Actor::stranger("192.0.2.9".parse().unwrap(), "request-1");
    actor.recognise(root);
    let store = &store.by(&actor);
    let boss = added(store, "boss", Role::Admin).await;
    let alice = added(store, "alice", Role::Member).await;
    assert_eq!(store.set_role(&alice.id, Role::Viewer).await.unwrap(), Changed::Done);
    assert!(store.add_group(&alice.id, "ops").await.unwrap());
    assert!(store.remove_group(&alice.id, "ops").await.unwrap());
    assert!(store.set_password(&alice.id, "$hash", true, NOW).await.unwrap());
    signed_in(store, &alice, "s1").await;
    assert!(store.end_session("s1", Event::Logout).await.unwrap().is_some());
    signed_in(store, &alice, "s2").await;
    assert_eq!(store.end_sessions_of(&alice.id).await.unwrap(), 1);
    store.add_key(&key("k", Some(&alice)), TokenDigest::of("k")).await.unwrap();
    assert!(store.revoke_key("k", "root", NOW).await.unwrap().is_some());
    store.set_disabled(&alice.id, true).await.unwrap();
    store.set_disabled(&alice.id, false).await.unwrap();
    store.delete_user(&alice.id).await.unwrap();
    let own = Actor::stranger("192.0.2.9".parse().unwrap(), "request-2");
    own.recognise(Party::from(&boss));
    assert!(store.by(&own).set_password(&boss.id, "$hash", false, NOW).await.unwrap());

    let rows = rows(store).await;
    let said: Vec<_> = rows.iter().map(said).collect();
    assert_eq!(
        said,
        [
            "root user.create boss true",
            "root user.create alice true",
            "root user.role alice true",
            "root user.group alice true",
            "root user.group alice true",
            "root password.reset alice true",
            "alice login session:s1 true",
            "root logout session:s1 true",
            "alice login session:s2 true",
            "root session.revoke alice true",
            "root key.create exporter true",
            "root key.revoke exporter true",
            "root user.disable alice true",
            "root user.enable alice true",
            "root user.delete alice true",
            "boss password.change boss true",
        ]
    );
    let role = &rows[2];
    assert_eq!(role.detail, r#"{"from":"member","to":"viewer"}"#);
    assert_eq!((role.client.as_deref(), role.request_id.as_deref()), (Some("192.0.2.9"), Some("request-1")));
    assert_eq!((role.seq, role.at), (3, NOW));
    assert_eq!(rows[6].client.as_deref(), Some("192.0.2.1"), "the session's own");
    assert_eq!(rows[3].detail, r#"{"added":"ops"}"#);
    assert_whole(store, 1, 16).await;
}

async fn what_changes_nothing_leaves_no_row(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    let again = user("ALICE", Role::Member);
    assert!(is_conflict(&store.create_user(&again, None).await, "username"));
    store.set_role(&alice.id, Role::Member).await.unwrap();
    store.set_disabled(&alice.id, false).await.unwrap();
    assert!(store.end_session("none", Event::Logout).await.unwrap().is_none());
    assert_eq!(store.end_sessions_of(&alice.id).await.unwrap(), 0);
    assert!(store.revoke_key("none", "cli", NOW).await.unwrap().is_none());
    assert!(!store.remove_group(&alice.id, "ops").await.unwrap());
    assert!(!store.create_first_user(&user("root", Role::Admin), "$hash").await.unwrap());
    assert_eq!(rows(store).await.len(), 1);
    assert_whole(store, 1, 1).await;
}

async fn a_refusal_that_protects_the_last_admin_leaves_a_row(store: &Store) {
    let root = added(store, "root", Role::Admin).await;
    assert_eq!(store.set_role(&root.id, Role::Member).await.unwrap(), Changed::LastAdmin);
    assert_eq!(store.set_disabled(&root.id, true).await.unwrap(), Changed::LastAdmin);
    assert_eq!(store.delete_user(&root.id).await.unwrap(), Changed::LastAdmin);
    let rows = rows(store).await;
    let said: Vec<_> = rows.iter().skip(1).map(said).collect();
    assert_eq!(
        said,
        ["gateway user.role root false", "gateway user.disable root false", "gateway user.delete root false",]
    );
    assert!(rows.iter().skip(1).all(|row| row.detail == r#"{"reason":"last-admin"}"#));
}

async fn rows_are_listed_by_time_event_and_person(store: &Store) {
    let alice = added(store, "alice", Role::Member).await;
    added(store, "bob", Role::Member).await;
    signed_in(store, &alice, "s").await;
    let count = async |filter: AuditFilter<'_>| store.audit_recent(&filter, 10).await.unwrap().len();
    assert_eq!(count(AuditFilter::default()).await, 3);
    assert_eq!(count(AuditFilter { since: Some(NOW), ..AuditFilter::default() }).await, 3);
    assert_eq!(count(AuditFilter { since: Some(later(1)), ..AuditFilter::default() }).await, 0);
    assert_eq!(count(AuditFilter { event: Some("login"), ..AuditFilter::default() }).await, 1);
    assert_eq!(count(AuditFilter { about: Some("alice"), ..AuditFilter::default() }).await, 2);
    let id = format!("user:{}", alice.id);
    assert_eq!(count(AuditFilter { about: Some(&id), ..AuditFilter::default() }).await, 2);
    assert_eq!(store.audit_recent(&AuditFilter::default(), 1).await.unwrap()[0].event, "login");
    assert_eq!(store.audit_page(1, None, 1).await.unwrap()[0].seq, 2);
    assert_eq!(store.audit_page(0, Some(later(1)), 10).await.unwrap(), []);
}

async fn repeats_are_one_row_and_a_count(store: &Store) {
    let wrong = || Note::failed(Event::Login, Reason::WrongPassword).on(Party::new("user:1"));
    for source in ["a", "b", "a", "a"] {
        store.record_repeatable(wrong(), source).await.unwrap();
    }
    assert_eq!(rows(store).await.len(), 2);
    store.flush_repeats(false).await.unwrap();
    assert_eq!(rows(store).await.len(), 2, "the minute is not over");
    store.flush_repeats(true).await.unwrap();
    store.flush_repeats(true).await.unwrap();
    let rows = rows(store).await;
    assert_eq!(rows.len(), 3);
    assert!(rows[2].detail.contains(r#""repeats":2"#), "{}", rows[2].detail);
    assert_eq!(rows[2].target, Some(Party::new("user:1")));
    assert_whole(store, 1, 3).await;
}

async fn pruning_keeps_the_rest_verifiable(store: &Store) {
    let at = async |seconds| {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(later(seconds)));
        store.audited(audit_key(), clock).await.unwrap()
    };
    let note = || Note::done(Event::ConfigLoad);
    for seconds in [0, 10, 20, 30, 40] {
        at(seconds).await.record(note()).await.unwrap();
    }
    assert_eq!(store.prune_audit(NOW, 100).await.unwrap(), 0, "nothing is older");
    assert_eq!(at(50).await.prune_audit(later(25), 2).await.unwrap(), 2, "at most so many");
    assert_eq!(at(50).await.prune_audit(later(25), 2).await.unwrap(), 1);
    assert_whole(store, 4, 7).await;
    at(60).await.record(note()).await.unwrap();
    assert_eq!(at(100).await.prune_audit(later(99), 100).await.unwrap(), 5, "all there are");
    assert_whole(store, 9, 9).await;
    let noted = audit(store).verify(&by(), &[], Some(&(3, "0".repeat(64)))).await.unwrap();
    assert_eq!(noted, Err(BrokenTrail { seq: 3, fault: TrailFault::Pruned }));
}

async fn writers_at_once_make_one_chain(store: &Store) {
    let many = (0..12).map(|writer| {
        let store = store.clone();
        async move {
            let mut done = true;
            for n in 0..8 {
                let name = format!("user{writer}-{n}");
                done &= store.create_user(&user(&name, Role::Member), None).await.is_ok();
                done &= store.record(Note::done(Event::ConfigLoad)).await.is_ok();
            }
            done
        }
    });
    assert_eq!(count(many).await, 12);
    assert_whole(store, 1, 192).await;
}

async fn an_empty_trail_is_whole(store: &Store) {
    let head = store.audit_head().await.unwrap();
    assert_eq!((head.seq, head.link), (0, [0; 32]));
    assert_whole(store, 0, 0).await;
}

/// A database with a trail of ten rows, whose triggers somebody has dropped.
pub(super) struct Tampered {
    pub(super) database: Database,
}

impl Tampered {
    pub(super) async fn on(database: Database) -> Self {
        for n in 0..9 {
            added(&database.store, &format!("user{n}"), Role::Member).await;
        }
        added(&database.store, "root", Role::Admin).await;
        assert_whole(&database.store, 1, 10).await;
        Self { database }
    }

    pub(super) async fn without_triggers(self) -> Self {
        self.execute("DROP TRIGGER audit_unchanged ON audit", "DROP TRIGGER audit_unchanged").await.unwrap();
        self.execute("DROP TRIGGER audit_kept ON audit", "DROP TRIGGER audit_kept").await.unwrap();
        self
    }

    async fn execute(&self, postgres: &str, sqlite: &str) -> Result<(), sqlx::Error> {
        let url = &self.database.url;
        if url.starts_with("postgres") {
            let mut connection = PgConnection::connect(url).await?;
            sqlx::raw_sql(sqlx::AssertSqlSafe(postgres.to_owned())).execute(&mut connection).await?;
        } else {
            let mut connection = SqliteConnection::connect(url).await?;
            sqlx::raw_sql(sqlx::AssertSqlSafe(sqlite.to_owned())).execute(&mut connection).await?;
        }
        Ok(())
    }

    pub(super) async fn both(&self, sql: &str) -> &Self {
        self.execute(sql, sql).await.unwrap();
        self
    }

    async fn is(&self, seq: i64, fault: TrailFault) {
        let found = audit(&self.database.store).verify(&by(), &[], None).await.unwrap();
        assert_eq!(found, Err(BrokenTrail { seq, fault }));
    }
}

async fn triggers_guard_against_accidents(tampered: Tampered) {
    for sql in [
        "UPDATE audit SET actor = 'x' WHERE seq = 3",
        "UPDATE audit SET link = link",
        "DELETE FROM audit WHERE seq = 3",
        "DELETE FROM audit",
    ] {
        assert!(tampered.execute(sql, sql).await.is_err(), "{sql}");
    }
    assert!(tampered.execute("TRUNCATE audit", "DELETE FROM audit WHERE seq > 9").await.is_err());
    assert_whole(&tampered.database.store, 1, 10).await;
}

async fn each_change_of_content_is_found(tampered: Tampered) {
    for column in ["event", "actor", "actor_name", "client", "request_id", "target", "target_name", "detail"]
    {
        tampered.both("CREATE TABLE kept AS SELECT * FROM audit WHERE seq = 4").await;
        tampered.both(&format!("UPDATE audit SET {column} = 'forged' WHERE seq = 4")).await;
        tampered.is(4, TrailFault::Changed).await;
        tampered
            .both("DELETE FROM audit WHERE seq = 4; INSERT INTO audit SELECT * FROM kept; DROP TABLE kept")
            .await;
        assert_whole(&tampered.database.store, 1, 10).await;
    }
    tampered.both("UPDATE audit SET happened_at = happened_at - 1 WHERE seq = 7").await;
    tampered.is(7, TrailFault::Changed).await;
    tampered.both("UPDATE audit SET success = NOT success WHERE seq = 2").await;
    tampered.is(2, TrailFault::Changed).await;
    tampered.both("UPDATE audit SET key_id = 'ffffffff' WHERE seq = 1").await;
    tampered.is(1, TrailFault::OtherSecret { key_id: "ffffffff".to_owned() }).await;
}

async fn missing_rows_are_named(tampered: Tampered) {
    tampered.both("DELETE FROM audit WHERE seq = 10").await;
    tampered.is(10, TrailFault::Missing { to: 10 }).await;
    tampered.both("DELETE FROM audit WHERE seq IN (5, 6)").await;
    tampered.is(5, TrailFault::Missing { to: 6 }).await;
    tampered.both("DELETE FROM audit WHERE seq <= 2").await;
    tampered.is(1, TrailFault::Missing { to: 2 }).await;
    tampered.both("DELETE FROM audit").await;
    tampered.is(1, TrailFault::Missing { to: 10 }).await;
}

async fn moved_rows_are_found_under_their_new_number(tampered: Tampered) {
    tampered
        .both(
            "UPDATE audit SET seq = 100 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 8;
             UPDATE audit SET seq = 8 WHERE seq = 100",
        )
        .await;
    tampered.is(4, TrailFault::Moved { from: 8 }).await;
    // Closing the gap that a deletion leaves.
    tampered.both("DELETE FROM audit WHERE seq = 3").await;
    tampered.both("UPDATE audit SET seq = 3 WHERE seq = 5").await;
    tampered.is(3, TrailFault::Moved { from: 5 }).await;
}

async fn a_cut_end_is_found_with_the_head_cut_as_well(tampered: Tampered) {
    let whole = audit(&tampered.database.store).verify(&by(), &[], None).await.unwrap().unwrap();
    assert_eq!(whole.last, 10);
    let noted = (10, whole.link);
    tampered
        .both(
            "DELETE FROM audit WHERE seq > 8;
             UPDATE audit_head SET seq = 8, link = (SELECT link FROM audit WHERE seq = 8)",
        )
        .await;
    // Nobody without the secret can mark an earlier end.
    tampered.is(9, TrailFault::CutOff).await;
    let audit = audit(&tampered.database.store);
    let found = audit.verify(&by(), &[], Some(&noted)).await.unwrap();
    assert_eq!(found, Err(BrokenTrail { seq: 9, fault: TrailFault::Missing { to: 10 } }));
    // Anyone who writes next writes that down first, so that it is not forgotten.
    for name in ["x", "y"] {
        added(&tampered.database.store, name, Role::Member).await;
    }
    let rows = rows(&tampered.database.store).await;
    let told: Vec<_> = rows.iter().skip(8).map(|row| (row.event.as_str(), row.success)).collect();
    assert_eq!(told, [("audit.cut", false), ("user.create", true), ("user.create", true)]);
    tampered.is(9, TrailFault::TellsOfCut).await;
    let nothing = "UPDATE audit_head SET mark = ";
    tampered.execute(&format!("{nothing}''"), &format!("{nothing}x''")).await.unwrap();
    tampered.both("DELETE FROM audit WHERE seq >= 9; UPDATE audit_head SET seq = 8, link = (SELECT link FROM audit WHERE seq = 8)").await;
    tampered.is(9, TrailFault::CutOff).await;
}

/// Marks included: the trail is whole in itself then.
async fn an_older_state_that_is_put_back_is_found_by_who_runs_and_by_who_noted(tampered: Tampered) {
    let store = &tampered.database.store;
    assert!(store.watch_audit().await.unwrap());
    tampered.both("CREATE TABLE kept AS SELECT * FROM audit_head").await;
    for name in ["x", "y"] {
        added(store, name, Role::Member).await;
    }
    assert!(store.watch_audit().await.unwrap());
    let noted = audit(store).verify(&by(), &[], None).await.unwrap().unwrap();
    let back =
        "DELETE FROM audit WHERE seq > 10; DELETE FROM audit_head; INSERT INTO audit_head SELECT * FROM kept";
    tampered.both(back).await;
    assert_whole(store, 1, 10).await;
    let found = audit(store).verify(&by(), &[], Some(&(noted.last, noted.link))).await.unwrap();
    assert_eq!(found, Err(BrokenTrail { seq: 11, fault: TrailFault::Missing { to: 12 } }));
    // One that has just started knows nothing of it.
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
    assert!(store.audited(audit_key(), clock).await.unwrap().watch_audit().await.unwrap());
    assert!(!store.watch_audit().await.unwrap());
    tampered.is(11, TrailFault::TellsOfCut).await;
    assert!(store.watch_audit().await.unwrap(), "it is told once");
    assert_eq!(rows(store).await.len(), 11);
    // As many rows as before, and others.
    tampered.both(back).await;
    for name in ["z1", "z2", "z3"] {
        let replica = opened(&tampered.database.url).await;
        added(&replica, name, Role::Member).await;
    }
    assert!(!store.watch_audit().await.unwrap());
}

const EMPTY: [&str; 2] = [
    "DELETE FROM audit; UPDATE audit_head SET seq = 0, link = decode(repeat('00', 32), 'hex'), mark = ''",
    "DELETE FROM audit; UPDATE audit_head SET seq = 0, link = zeroblob(32), mark = x''",
];

/// With its end as in a database that was never used.
async fn a_trail_that_was_emptied_is_told_from_one_that_never_began(tampered: Tampered) {
    let store = &tampered.database.store;
    let [postgres, sqlite] = EMPTY;
    tampered.execute(postgres, sqlite).await.unwrap();
    tampered.is(1, TrailFault::CutOff).await;
    added(store, "x", Role::Member).await;
    let told: Vec<_> = rows(store).await.iter().map(|row| row.event.clone()).collect();
    assert_eq!(told, ["audit.cut", "user.create"]);
    tampered.is(1, TrailFault::TellsOfCut).await;

    // With the mark of the empty trail, which somebody has kept: there are users, so it cannot be empty.
    tampered.execute(postgres, sqlite).await.unwrap();
    let mark = hex(&mark_of_end(0, &[0; 32], &audit_key()));
    let put = |bytes: String| format!("UPDATE audit_head SET mark = {bytes}");
    let (postgres, sqlite) = (format!("decode('{mark}', 'hex')"), format!("x'{mark}'"));
    tampered.execute(&put(postgres), &put(sqlite)).await.unwrap();
    let opened = opened(&tampered.database.url).await;
    assert_eq!(rows(&opened).await.iter().map(|row| row.event.as_str()).collect::<Vec<_>>(), ["audit.cut"]);
    tampered.is(1, TrailFault::TellsOfCut).await;
    opened.close().await;
}

/// Whoever changed a row may have changed the number of the last as well.
async fn a_changed_row_is_named_at_once_whatever_the_end_is_said_to_be(tampered: Tampered) {
    tampered.both("UPDATE audit_head SET seq = 9000000000000000000").await;
    tampered.is(11, TrailFault::Missing { to: 9_000_000_000_000_000_000 }).await;
    tampered.both("UPDATE audit SET actor = 'x' WHERE seq = 4").await;
    let url = tampered.database.url.clone();
    let (sender, found) = std::sync::mpsc::channel();
    // On a thread of its own, since nothing could stop it.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome =
            runtime.block_on(async { audit(&opened(&url).await).verify(&by(), &[], None).await.unwrap() });
        sender.send(outcome)
    });
    let found = tokio::task::spawn_blocking(move || found.recv_timeout(Duration::from_secs(30)));
    assert_eq!(found.await.unwrap(), Ok(Err(BrokenTrail { seq: 4, fault: TrailFault::Changed })));
}

async fn a_forged_pruning_does_not_excuse_missing_rows(tampered: Tampered) {
    tampered
        .both(
            "DELETE FROM audit WHERE seq <= 3;
             UPDATE audit SET event = 'audit.prune', detail = '{\"through\":3,\"link\":\"00\"}' WHERE seq = 10",
        )
        .await;
    tampered.is(1, TrailFault::Missing { to: 3 }).await;
}

/// The key after a change of the secret.
fn new_key() -> SigningKey {
    MasterKey::new(Secret::new("n".repeat(32))).derive(KeyPurpose::Audit)
}

/// The same database, for a gateway whose secret was changed.
async fn renewed(store: &Store) -> Store {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
    store.audited(new_key(), clock).await.unwrap()
}

/// What a walk finds that is given both secrets.
async fn found_with_both(store: &Store) -> Result<i64, BrokenTrail> {
    let audit = Audit::new(store.clone(), new_key());
    audit.verify(&by(), &[audit_key()], None).await.unwrap().map(|verified| verified.last)
}

/// Rows that another secret wrote hold once that secret is given, and not before.
async fn a_changed_secret_is_told_from_a_forgery(tampered: Tampered) {
    let renewed = renewed(&tampered.database.store).await;
    for name in ["later", "later still"] {
        added(&renewed, name, Role::Member).await;
    }
    let found = Audit::new(renewed.clone(), new_key()).verify(&by(), &[], None).await.unwrap();
    assert!(matches!(found, Err(BrokenTrail { seq: 1, fault: TrailFault::OtherSecret { .. } })), "{found:?}");
    assert_eq!(found_with_both(&renewed).await, Ok(13));
    let told: Vec<_> = rows(&renewed).await.iter().skip(10).map(|row| row.event.clone()).collect();
    assert_eq!(told, ["audit.secret", "user.create", "user.create"], "the change is told once");
}

const CUT: &str = "DELETE FROM audit WHERE seq > 10; UPDATE audit_head SET seq = 10, link = (SELECT link FROM audit WHERE seq = 10)";

/// All that came since is gone, and the row before could be the last under the former secret.
async fn a_trail_cut_back_to_a_former_secret_is_found(tampered: Tampered) {
    let renewed = renewed(&tampered.database.store).await;
    added(&renewed, "later", Role::Member).await;
    tampered.both(CUT).await;
    assert_eq!(found_with_both(&renewed).await, Err(BrokenTrail { seq: 11, fault: TrailFault::CutOff }));
    for name in ["x", "y"] {
        added(&renewed, name, Role::Member).await;
        assert_eq!(found_with_both(&renewed).await, Err(BrokenTrail { seq: 11, fault: TrailFault::CutOff }));
    }
}

async fn a_trail_cut_before_the_secret_was_changed_is_found(tampered: Tampered) {
    tampered.both("DELETE FROM audit WHERE seq > 8; UPDATE audit_head SET seq = 8, link = (SELECT link FROM audit WHERE seq = 8)").await;
    let renewed = renewed(&tampered.database.store).await;
    added(&renewed, "later", Role::Member).await;
    assert_eq!(found_with_both(&renewed).await, Err(BrokenTrail { seq: 9, fault: TrailFault::CutOff }));
}

/// Nobody has to keep a secret for ever.
async fn a_former_secret_is_not_asked_for_once_its_rows_are_pruned(tampered: Tampered) {
    let renewed = renewed(&tampered.database.store).await;
    renewed.record(Note::done(Event::ConfigLoad)).await.unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(later(100)));
    let late = renewed.audited(new_key(), clock).await.unwrap();
    late.record(Note::done(Event::ConfigLoad)).await.unwrap();
    assert_eq!(late.prune_audit(later(50), 10).await.unwrap(), 10);
    let verified = Audit::new(late, new_key()).verify(&by(), &[], None).await.unwrap().unwrap();
    assert_eq!((verified.first, verified.last), (11, 14));
}

macro_rules! tampering {
    ($($name:ident),+ $(,)?) => {
        mod tampering_with_sqlite {
            use super::super::Database;
            $(#[tokio::test] async fn $name() {
                let tampered = super::Tampered::on(Database::in_file().await).await.without_triggers().await;
                super::$name(tampered).await;
            })+

            #[tokio::test]
            async fn triggers_guard_against_accidents() {
                super::triggers_guard_against_accidents(super::Tampered::on(Database::in_file().await).await).await;
            }
        }
        mod tampering_with_postgres {
            use super::super::Database;
            $(#[tokio::test] async fn $name() {
                let tampered = super::Tampered::on(Database::on_postgres().await).await.without_triggers().await;
                super::$name(tampered).await;
            })+

            #[tokio::test]
            async fn triggers_guard_against_accidents() {
                super::triggers_guard_against_accidents(super::Tampered::on(Database::on_postgres().await).await).await;
            }
        }
    };
}

tampering![
    each_change_of_content_is_found,
    missing_rows_are_named,
    moved_rows_are_found_under_their_new_number,
    a_cut_end_is_found_with_the_head_cut_as_well,
    an_older_state_that_is_put_back_is_found_by_who_runs_and_by_who_noted,
    a_trail_that_was_emptied_is_told_from_one_that_never_began,
    a_changed_row_is_named_at_once_whatever_the_end_is_said_to_be,
    a_forged_pruning_does_not_excuse_missing_rows,
    a_changed_secret_is_told_from_a_forgery,
    a_trail_cut_back_to_a_former_secret_is_found,
    a_trail_cut_before_the_secret_was_changed_is_found,
    a_former_secret_is_not_asked_for_once_its_rows_are_pruned,
];

/// Several gateways, each with connections of its own, on one database.
async fn replicas_make_one_chain(database: Database) {
    let replicas = (0..4).map(|replica| {
        let url = database.url.clone();
        async move {
            let store = opened(&url).await;
            let mut done = true;
            for n in 0..15 {
                let name = format!("user{replica}-{n}");
                done &= store.create_user(&user(&name, Role::Member), None).await.is_ok();
                done &=
                    store.record_repeatable(Note::failed(Event::Login, Reason::Unknown), &name).await.is_ok();
            }
            done
        }
    });
    assert_eq!(count(replicas).await, 4);
    assert_whole(&database.store, 1, 120).await;
}

#[tokio::test]
async fn processes_on_one_file_make_one_chain() {
    replicas_make_one_chain(Database::in_file().await).await;
}

#[tokio::test]
async fn replicas_on_postgres_make_one_chain() {
    replicas_make_one_chain(Database::on_postgres().await).await;
}

/// No row, no change: the transaction is one.
#[tokio::test]
async fn a_change_whose_row_cannot_be_written_does_not_happen() {
    for database in [Database::in_file().await, Database::on_postgres().await] {
        let bare = Store::open(&database.url, 1).await.unwrap();
        let refused = bare.create_user(&user("alice", Role::Member), None).await;
        assert!(matches!(refused, Err(StoreError::Unaudited)), "{refused:?}");
        let tampered = Tampered { database };
        tampered
            .execute("ALTER TABLE audit RENAME TO gone", "ALTER TABLE audit RENAME TO gone")
            .await
            .unwrap();
        let store = &tampered.database.store;
        assert!(store.create_user(&user("alice", Role::Member), None).await.is_err());
        assert!(store.record_repeatable(Note::failed(Event::Login, Reason::Unknown), "a").await.is_err());
        assert!(store.record_repeatable(Note::failed(Event::Login, Reason::Unknown), "a").await.is_err());
        assert_eq!(store.users_page(None).await.unwrap().len(), 0);
        assert_eq!(store.audit_head().await.unwrap().seq, 0);
    }
}
