//! PostgreSQL by a socket, and through a real `PgBouncer`: one that keeps a connection for a client serves,
//! another is refused, however it lends connections.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::str::FromStr as _;

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

use super::*;

const PGBOUNCER: &str = "/usr/sbin/pgbouncer";

/// `PgBouncer` on a socket in a folder of its own, with a fresh database behind it.
struct Pooler {
    child: Child,
    folder: tempfile::TempDir,
    database: String,
}

impl Pooler {
    /// None where the program is not installed.
    #[expect(clippy::print_stdout, reason = "what is left out is told")]
    async fn start(set: &str) -> Option<Self> {
        if !Path::new(PGBOUNCER).exists() {
            println!("not tried: there is no {PGBOUNCER}");
            return None;
        }
        let server = url::Url::parse(&base()).unwrap();
        let database = format!("pooled{}", UserId::fresh().0.replace('-', ""));
        let mut connection = PgConnection::connect(server.as_str()).await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {database}"));
        sqlx::raw_sql(create).execute(&mut connection).await.unwrap();

        let folder = tempfile::tempdir().unwrap();
        // As root it becomes somebody else, who makes the socket there.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let here = folder.path().display();
        let (host, port, user) =
            (server.host_str().unwrap(), server.port().unwrap_or(5432), server.username());
        std::fs::write(folder.path().join("users"), format!("\"{user}\" \"\"\n")).unwrap();
        let settings = format!(
            "[databases]\n* = host={host} port={port}\n[pgbouncer]\nlisten_port = 6432\nunix_socket_dir = {here}\n\
             auth_type = trust\nauth_file = {here}/users\n{set}\n"
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, settings).unwrap();
        let mut command = Command::new(PGBOUNCER);
        if Command::new("id").arg("-u").output().unwrap().stdout == b"0\n" {
            command.args(["-u", "postgres"]);
        }
        let mut child = command.arg(&file).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.by_ref().any(|line| line.contains("process up")), "it does not start");
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { child, folder, database })
    }

    fn url(&self) -> String {
        let user = url::Url::parse(&base()).unwrap().username().to_owned();
        let (database, folder) = (&self.database, self.folder.path().display());
        format!("postgres:///{database}?host={folder}&port=6432&user={user}")
    }

    /// With other settings from now on.
    fn set(&self, from: &str, to: &str) {
        let file = self.folder.path().join("pgbouncer.ini");
        let settings = std::fs::read_to_string(&file).unwrap();
        assert!(settings.contains(from));
        std::fs::write(&file, settings.replace(from, to)).unwrap();
        let hangup = Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status().unwrap();
        assert!(hangup.success());
    }

    /// Has so many connections to the server at hand.
    async fn warm(&self, connections: usize) {
        let mut open = Vec::new();
        for _ in 0..connections {
            // A pooler knows no such parameter.
            let options = PgConnectOptions::from_str(&self.url()).unwrap().extra_float_digits(None);
            let mut connection = options.connect().await.unwrap();
            sqlx::raw_sql("BEGIN; SELECT 1").execute(&mut connection).await.unwrap();
            open.push(connection);
        }
        for mut connection in open {
            sqlx::raw_sql("COMMIT").execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    }

    /// Ends every connection to the server from there.
    async fn cut(&self) {
        let mut connection = PgConnection::connect(&base()).await.unwrap();
        let cut = format!(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{}'",
            self.database
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(cut)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    async fn stop(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut connection = PgConnection::connect(&base()).await.unwrap();
        let gone = sqlx::AssertSqlSafe(format!("DROP DATABASE {} WITH (FORCE)", self.database));
        sqlx::raw_sql(gone).execute(&mut connection).await.unwrap();
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_pooler_that_keeps_connections_for_clients_serves() {
    let Some(pooler) = Pooler::start("pool_mode = session").await else { return };
    let (one, other) = (opened(&pooler.url()).await, opened(&pooler.url()).await);
    Store::look(&pooler.url()).await.unwrap();
    let alice = added(&one, "alice", Role::Member).await;
    for _ in 0..20 {
        let (here, there) = tokio::join!(one.find_user(&alice.id), other.find_user(&alice.id));
        assert_eq!((here.unwrap().as_ref(), there.unwrap().as_ref()), (Some(&alice), Some(&alice)));
    }
    other.set_disabled(&alice.id, true).await.unwrap();
    assert!(one.find_user(&alice.id).await.unwrap().unwrap().disabled);
    one.close().await;
    other.close().await;
    pooler.stop().await;
}

#[tokio::test]
async fn a_pooler_that_keeps_connections_serves_however_it_picks_them() {
    for robin in [0, 1] {
        let set = format!("pool_mode = session\nserver_round_robin = {robin}");
        let Some(pooler) = Pooler::start(&set).await else { return };
        for look in 0..20 {
            if look == 5 {
                pooler.warm(5).await;
            }
            Store::look(&pooler.url()).await.unwrap();
        }
        pooler.stop().await;
    }
}

#[tokio::test]
async fn a_pooler_that_lends_connections_is_refused_however_it_picks_them_and_before_anything_is_made() {
    for robin in [0, 1] {
        for size in [1, 2, 3, 8] {
            let set =
                format!("pool_mode = transaction\nserver_round_robin = {robin}\ndefault_pool_size = {size}");
            let Some(pooler) = Pooler::start(&set).await else { return };
            for look in 0..20 {
                if look == 5 {
                    pooler.warm(size).await;
                }
                let looked = Store::look(&pooler.url()).await;
                assert!(matches!(looked, Err(StoreError::Pooled)), "{set}, look {look}: {looked:?}");
            }
            let refused = Store::open(&pooler.url(), 4).await.unwrap_err();
            assert!(matches!(refused, StoreError::Pooled), "{refused:?}");
            assert!(refused.to_string().contains("set pool_mode = session"), "{refused}");
            let mut server = url::Url::parse(&base()).unwrap();
            server.set_path(&pooler.database);
            let mut connection = PgConnection::connect(server.as_str()).await.unwrap();
            let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
            assert_eq!(sqlx::query_scalar::<_, i64>(tables).fetch_one(&mut connection).await.unwrap(), 0);
            connection.close().await.unwrap();
            pooler.stop().await;
        }
    }
}

#[tokio::test]
async fn a_pooler_that_lends_connections_for_statements_is_refused() {
    for robin in [0, 1] {
        let set = format!("pool_mode = statement\nserver_round_robin = {robin}");
        let Some(pooler) = Pooler::start(&set).await else { return };
        for _ in 0..5 {
            let looked = Store::look(&pooler.url()).await;
            assert!(matches!(looked, Err(StoreError::Pooled)), "{looked:?}");
        }
        pooler.stop().await;
    }
}

#[tokio::test]
async fn a_pooler_with_too_few_connections_is_told_from_a_silent_server() {
    let Some(pooler) = Pooler::start("pool_mode = session\ndefault_pool_size = 1").await else { return };
    let looked = Store::look(&pooler.url()).await.unwrap_err();
    assert!(matches!(looked, StoreError::Unavailable(_)) && looked.may_pass(), "{looked:?}");
    assert!(format!("{looked:?}").contains("default_pool_size"), "{looked:?}");
    pooler.stop().await;
}

#[tokio::test]
async fn a_pooler_that_begins_to_lend_connections_is_named_where_it_is_met() {
    let Some(pooler) = Pooler::start("pool_mode = session").await else { return };
    let store = opened(&pooler.url()).await;
    let alice = added(&store, "alice", Role::Member).await;
    pooler.set("pool_mode = session", "pool_mode = transaction");
    let met = async {
        loop {
            // In between it has other connections to the server, on which nothing was prepared.
            pooler.cut().await;
            match store.find_user(&alice.id).await {
                Err(StoreError::Pooled) => break,
                Ok(_) | Err(StoreError::Unavailable(_) | StoreError::NoConnection { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), met).await.unwrap();
    pooler.stop().await;
}

#[tokio::test]
async fn a_socket_is_found_by_its_folder_however_that_is_written() {
    let mut connection = PgConnection::connect(&base()).await.unwrap();
    let folders = "SHOW unix_socket_directories";
    let folder: String = sqlx::query_scalar(folders).fetch_one(&mut connection).await.unwrap();
    let folder = folder.split(',').next().unwrap().trim();
    if folder.is_empty() {
        println!("not tried: the server listens on no socket");
        return;
    }
    let schema = url::Url::parse(&fresh_schema().await).unwrap();
    let (user, port) = (schema.username(), schema.port().unwrap_or(5432));
    let (database, options) = (schema.path(), schema.query().unwrap());
    let escaped = folder.replace('/', "%2F");
    for url in [
        format!("postgres://{database}?host={folder}&port={port}&user={user}&{options}"),
        format!("postgres://{user}@{escaped}:{port}{database}?{options}"),
        format!("postgresql://{user}@localhost:{port}{database}?host={folder}&{options}"),
    ] {
        Store::look(&url).await.unwrap();
        let store = opened(&url).await;
        store.ping().await.unwrap();
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let by_socket = "SELECT inet_client_addr() IS NULL";
        assert!(sqlx::query_scalar::<_, bool>(by_socket).fetch_one(&mut connection).await.unwrap(), "{url}");
        store.close().await;
    }
}
