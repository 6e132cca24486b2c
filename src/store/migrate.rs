//! The schema's versions, compiled in, and the way from any older one to the newest.

use std::time::Duration;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

use super::StoreError;
use super::pool::{Change, Database, OPENING, Pool, within};

/// How long all of it may take, waiting for others who do it included.
const LONGEST: Duration = Duration::from_mins(15);
/// How often it is looked meanwhile whether the database still answers.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Number, name and text of a version.
type Version = (i64, &'static str, &'static str);

const SQLITE: &[Version] = &[
    (1, "initial", include_str!("migrations/sqlite/0001_initial.sql")),
    (2, "refused", include_str!("migrations/sqlite/0002_refused.sql")),
    (3, "audit", include_str!("migrations/sqlite/0003_audit.sql")),
    (4, "acting", include_str!("migrations/sqlite/0004_acting.sql")),
    (5, "lost_rights", include_str!("migrations/sqlite/0005_lost_rights.sql")),
    (6, "indexes", include_str!("migrations/sqlite/0006_indexes.sql")),
    (7, "mark", include_str!("migrations/sqlite/0007_mark.sql")),
    (8, "setup_links", include_str!("migrations/sqlite/0008_setup_links.sql")),
    (9, "password_holders", include_str!("migrations/sqlite/0009_password_holders.sql")),
    (10, "identities", include_str!("migrations/sqlite/0010_identities.sql")),
    (11, "provider_tokens", include_str!("migrations/sqlite/0011_provider_tokens.sql")),
];
const POSTGRES: &[Version] = &[
    (1, "initial", include_str!("migrations/postgres/0001_initial.sql")),
    (2, "refused", include_str!("migrations/postgres/0002_refused.sql")),
    (3, "audit", include_str!("migrations/postgres/0003_audit.sql")),
    (4, "acting", include_str!("migrations/postgres/0004_acting.sql")),
    (5, "lost_rights", include_str!("migrations/postgres/0005_lost_rights.sql")),
    (6, "indexes", include_str!("migrations/postgres/0006_indexes.sql")),
    (7, "mark", include_str!("migrations/postgres/0007_mark.sql")),
    (8, "setup_links", include_str!("migrations/postgres/0008_setup_links.sql")),
    (9, "password_holders", include_str!("migrations/postgres/0009_password_holders.sql")),
    (10, "identities", include_str!("migrations/postgres/0010_identities.sql")),
    (11, "provider_tokens", include_str!("migrations/postgres/0011_provider_tokens.sql")),
];

/// Applies what is missing, if anything is: otherwise it only reads, within the limits of every question. Several
/// processes may do so at once: one does it, the others wait and find it done.
pub(super) async fn run(pool: &Pool) -> Result<(), StoreError> {
    let newest = within(OPENING, async {
        if let Database::Postgres(lanes, _) = pool.database() {
            lanes.refuse_lent().await?;
        }
        is_newest(pool).await
    });
    if newest.await?? {
        return Ok(());
    }
    tokio::select! {
        migrated = within(LONGEST, migrate(pool)) => migrated?,
        silent = until_silent(pool) => Err(silent),
    }
}

/// Whether the schema is the newest, just as this program would make it.
async fn is_newest(pool: &Pool) -> Result<bool, StoreError> {
    const APPLIED: &str =
        "SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version LIMIT 1000";
    let (made, versions) = match pool.database() {
        Database::Sqlite(_) => {
            ("SELECT name FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'", SQLITE)
        }
        Database::Postgres(..) => (
            "SELECT value FROM (SELECT to_regclass('_sqlx_migrations') AS value) made WHERE value IS NOT NULL",
            POSTGRES,
        ),
    };
    if pool.row(made, &[]).await?.is_none() {
        return Ok(false);
    }
    let applied = pool.rows(APPLIED, &[]).await?;
    let migrator = migrator(versions);
    if applied.len() != versions.len() {
        return Ok(false);
    }
    for (row, migration) in applied.iter().zip(migrator.iter()) {
        let same = row.number("version")? == migration.version
            && row.flag("success")?
            && row.bytes("checksum")? == *migration.checksum;
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn migrate(pool: &Pool) -> Result<(), StoreError> {
    match pool.database() {
        Database::Sqlite(_) => {
            // The migrator takes no lock on SQLite, so it runs inside a write transaction.
            let mut change = pool.change().await?;
            if let Change::Sqlite(tx) = &mut change {
                migrator(SQLITE).run_direct(None, &mut **tx, false).await?;
            }
            change.commit().await
        }
        Database::Postgres(lanes, _) => {
            // A connection of its own, closed afterwards: its time limits are others, and the migrator's
            // lock must end with it if anything fails.
            let mut connection = lanes.own().await?;
            sqlx::query("SET statement_timeout = '10min'").execute(&mut connection).await?;
            sqlx::query("SET lock_timeout = '1min'").execute(&mut connection).await?;
            migrator(POSTGRES).run_direct(None, &mut connection, false).await?;
            Ok(())
        }
    }
}

/// Waits until PostgreSQL, or the network before it, answers no one any more. A file always does.
async fn until_silent(pool: &Pool) -> StoreError {
    if let Database::Sqlite(_) = pool.database() {
        std::future::pending::<()>().await;
    }
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Err(silent) = pool.row("SELECT 1 AS one", &[]).await {
            return silent;
        }
    }
}

fn migrator(versions: &'static [Version]) -> Migrator {
    let migrations = versions.iter().map(|(version, name, sql)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMissing(_) => Self::TooNew,
            MigrateError::VersionMismatch(_) | MigrateError::Dirty(_) => {
                Self::Corrupt { table: "_sqlx_migrations" }
            }
            MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => {
                Self::Unavailable(cause.into())
            }
            other => Self::Unavailable(sqlx::Error::Migrate(Box::new(other)).into()),
        }
    }
}
