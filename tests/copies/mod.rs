//! Backups and copies of a store, as commands: what is left when they are broken off, and the secret they need.

use std::collections::BTreeSet;

use sqlx::{Connection as _, SqliteConnection};

use super::*;

/// Enough to be in the middle of for a while.
const BALLAST: &str = "CREATE TABLE ballast (piece BLOB NOT NULL);
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
     INSERT INTO ballast SELECT randomblob(1000) FROM n";

fn on<T>(place: &Place, name: &str, what: impl AsyncFnOnce(SqliteConnection) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let address = format!("sqlite:{}", place.path(name).display());
    runtime.block_on(async { what(SqliteConnection::connect(&address).await.unwrap()).await })
}

/// Every file but SQLite's log of the database, which whoever ends early leaves for the next to fold in.
fn names(place: &Place) -> BTreeSet<String> {
    let entries = fs::read_dir(place.folder.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| !name.starts_with("doorward.db-")).collect()
}

fn assert_whole(place: &Place, name: &str) {
    let rows: i64 = on(place, name, async |mut backup| {
        let verdict: String =
            sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut backup).await.unwrap();
        assert_eq!(verdict, "ok");
        sqlx::query_scalar("SELECT COUNT(*) FROM ballast").fetch_one(&mut backup).await.unwrap()
    });
    assert_eq!(rows, 60_000);
}

#[test]
fn a_backup_that_is_broken_off_leaves_nothing_under_its_name() {
    let place = Place::with_upstream("builtin:sample", "");
    place.json(&["store", "create"]);
    on(&place, "doorward.db", async |mut database| {
        sqlx::raw_sql(BALLAST).execute(&mut database).await.unwrap();
    });
    let before = names(&place);
    let mut broken_off = 0;
    for signal in ["-INT", "-TERM", "-HUP", "-KILL"] {
        let mut child =
            place.command(&["store", "backup", "backup.db"]).stdin(Stdio::null()).spawn().unwrap();
        let begun = |name: &String| name.starts_with("backup.db");
        let deadline = Instant::now() + PATIENCE;
        while !names(&place).iter().any(begun) {
            assert!(Instant::now() < deadline, "it was never begun");
            std::thread::yield_now();
        }
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        let output = child.wait().map(|status| status.code()).unwrap();
        if place.path("backup.db").exists() {
            assert!(sent.success() && output != Some(1), "{signal}: it was done before the signal came");
            assert_whole(&place, "backup.db");
            fs::remove_file(place.path("backup.db")).unwrap();
        } else {
            broken_off += 1;
        }
        let left: Vec<String> = names(&place).difference(&before).cloned().collect();
        // Whoever is killed cannot tidy up, and leaves what nobody takes for a backup.
        if signal == "-KILL" {
            assert!(left.iter().all(|name| name.contains(".part")), "{left:?}");
        } else {
            assert_eq!(left, [] as [String; 0], "{signal}");
        }
    }
    assert!(broken_off > 0, "no signal came in time");
    place.json(&["store", "backup", "backup.db"]);
    assert_whole(&place, "backup.db");
    let again = place.run(&["store", "backup", "backup.db"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert_whole(&place, "backup.db");
}

/// A database that was brought here without its secret, as a backup is.
#[test]
fn a_database_without_its_secret_is_given_none_by_commands() {
    let place = Place::with_upstream("builtin:sample", "");
    place.json(&["store", "create"]);
    place.json(&["user", "add", "alice", "--role", "admin"]);
    fs::rename(place.path("doorward.db.secret"), place.path("kept-elsewhere")).unwrap();
    let before = names(&place);
    for command in [
        &["user", "list"][..],
        &["user", "add", "bob", "--role", "viewer"],
        &["key", "create", "ingest", "--role", "agent"],
        &["session", "list"],
        &["audit", "verify"],
        &["refused"],
        &["store", "copy", "--to", "sqlite:copy.db"],
        &["store", "copy", "--from", "sqlite:doorward.db", "--to", "sqlite:copy.db"],
    ] {
        let output = place.run(command);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {output:?}");
        assert!(
            said.contains("secret") && said.contains("doorward.db.secret, beside the database"),
            "{said}"
        );
        assert_eq!(
            command.contains(&"copy"),
            said.contains("nothing was copied") && said.contains("--secret-file"),
            "{said}"
        );
        assert_eq!(names(&place), before, "{command:?}");
    }
    let another = place.path("another");
    fs::copy(place.path("kept-elsewhere"), &another).unwrap();
    fs::write(&another, "another secret than that of the database: 8sKq2vXw").unwrap();
    let refused = place.run(&["store", "copy", "--to", "sqlite:copy.db", "--secret-file", "another"]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(said.contains("nothing was copied") && said.contains("another secret"), "{said}");
    assert!(!place.path("copy.db").exists());
    let copied = place.json(&["store", "copy", "--to", "sqlite:copy.db", "--secret-file", "kept-elsewhere"]);
    assert_eq!((&copied["copied"]["users"], &copied["trail"]), (&1.into(), &"whole".into()));
    assert!(!place.path("doorward.db.secret").exists() && !place.path("copy.db.secret").exists());
    fs::rename(place.path("kept-elsewhere"), place.path("doorward.db.secret")).unwrap();
    assert_eq!(place.json(&["audit", "verify"])["last"], 1);
}

/// Rows of before are verified at the other place, too.
#[test]
fn a_copy_after_a_change_of_the_secret_wants_the_former_one_and_is_verified() {
    let place = Place::with_upstream("builtin:sample", "");
    place.json(&["store", "create"]);
    place.json(&["user", "add", "alice", "--role", "admin"]);
    fs::rename(place.path("doorward.db.secret"), place.path("former")).unwrap();
    place.json(&["store", "create"]);
    place.json(&["user", "add", "bob", "--role", "admin"]);
    let copied = place.json(&["store", "copy", "--to", "sqlite:copy.db", "--secret-file", "former"]);
    assert_eq!(copied["trail"], "whole");
    let verified = place.json(&["audit", "verify", "--secret-file", "former"]);
    assert_eq!(
        (&verified["first"], &verified["last"]),
        (&1.into(), &3.into()),
        "the change is a row of its own"
    );
    let refused = place.run(&["audit", "verify"]);
    assert!(text(&refused.stderr).contains("--secret-file"), "{refused:?}");
}
