//! Everything the store promises, checked on SQLite in memory, SQLite in a file, and PostgreSQL.
//!
//! PostgreSQL is found by `DOORWARD_TEST_POSTGRES` (`postgres://user@host:port/database`); each test has a
//! schema of its own.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

use std::sync::Arc;
use std::time::Duration;

use doorward::model::api_key::{ApiKey, KeyScope};
use doorward::model::audit::Event;
use doorward::model::role::Role;
use doorward::model::secret::Secret;
use doorward::model::session::Session;
use doorward::model::time::{Clock, ManualClock, Timestamp};
use doorward::model::token::{KeyPurpose, MasterKey, SigningKey, TokenDigest};
use doorward::model::user::{User, UserId};
use doorward::service::admin::AdminProof;
use doorward::store::{Attempted, Bucket, Changed, CountedAttempt, Handover, Store, StoreError};
use sqlx::{Connection as _, PgConnection};

/// A database of one test.
struct Database {
    store: Store,
    url: String,
    _folder: Option<tempfile::TempDir>,
}

impl Database {
    async fn in_memory() -> Self {
        let url = "sqlite::memory:".to_owned();
        Self { store: opened(&url).await, url, _folder: None }
    }

    async fn in_file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("doorward.db").display());
        Self { store: opened(&url).await, url, _folder: Some(folder) }
    }

    async fn on_postgres() -> Self {
        let url = fresh_schema().await;
        Self { store: opened(&url).await, url, _folder: None }
    }
}

/// Waits until something holds, and fails the test with `what` if it does not in time.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), waiting).await.is_ok(), "{what} did not happen");
}

/// The user of the command line.
fn by() -> AdminProof {
    AdminProof::of_command_line(0)
}

/// The gateway's own key in every test.
fn master_key() -> MasterKey {
    MasterKey::new(Secret::new("k".repeat(32)))
}

/// The key of the trail in every test.
fn audit_key() -> SigningKey {
    master_key().derive(KeyPurpose::Audit)
}

/// A store whose clock stands still at [`NOW`].
async fn opened(url: &str) -> Store {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
    Store::open(url, 4).await.unwrap().audited(audit_key(), clock).await.unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the test's own switch, not a setting of the program")]
fn base() -> String {
    std::env::var("DOORWARD_TEST_POSTGRES")
        .expect("DOORWARD_TEST_POSTGRES is not set: run ./tests/run.sh, which starts a PostgreSQL")
}

async fn fresh_schema() -> String {
    let base = base();
    let schema = format!("t{}", UserId::fresh().0.replace('-', ""));
    let mut connection = PgConnection::connect(&base).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
    sqlx::query(create).execute(&mut connection).await.unwrap();
    format!("{base}?options=-csearch_path%3D{schema}")
}

macro_rules! on_each_database {
    ($($name:ident),+ $(,)?) => {
        mod sqlite_in_memory {
            use super::super::Database;
            $(#[tokio::test] async fn $name() {
                super::$name(&Database::in_memory().await.store).await;
            })+
        }
        mod sqlite_in_a_file {
            use super::super::Database;
            $(#[tokio::test] async fn $name() {
                let own = Database::in_file().await;
                super::$name(&own.store).await;
            })+
        }
        mod postgres {
            use super::super::Database;
            $(#[tokio::test] async fn $name() {
                super::$name(&Database::on_postgres().await.store).await;
            })+
        }
    };
}

mod api_keys;
mod audit;
mod clock;
mod doctor;
mod failed_attempts;
mod handovers;
mod identities;
mod moving;
mod opening;
mod plans;
mod pooler;
mod provider_tokens;
mod refused;
mod revision;
mod sessions;
mod setup;
mod password_holders;
mod throttle;
mod upkeep;
mod used_sign_ins;
mod users;

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
        has_identity: false,
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
        parent_id: None,
        host: None,
        provider: None,
    }
}

/// Signs `of` in with a session whose token is its id.
async fn signed_in(store: &Store, of: &User, id: &str) {
    let added = store.add_session(&session(of, id, NOW), TokenDigest::of(id), 10, Event::Login).await;
    assert!(added.unwrap().is_some());
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
        window: Duration::from_mins(10),
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
