//! Opening, migrating, closing, and what gateways tell each other.

use std::path::Path;

use doorward::model::audit::hex;
use doorward::service::audit::Audit;
use doorward::store::SetupLink;
use sqlx::SqliteConnection;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

on_each_database![
    gateways_behind_are_the_live_ones_that_have_not_caught_up,
    a_closed_store_says_that_it_is_unavailable,
];

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
    assert!(matches!(store.end_session("s", Event::SessionRevoke).await, Err(StoreError::Unavailable(_))));
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
            let store = opened(&url).await;
            store.create_user(&user(&format!("user{n}"), Role::Member), None).await.is_ok()
        }
    }));
    assert_eq!(added.await, 6);
    assert_eq!(Store::open(url, 1).await.unwrap().users_page(None).await.unwrap().len(), 6);
}

/// As the version before setup links left it.
fn as_before_setup_links(bytes: &str, link: &str) -> sqlx::AssertSqlSafe<String> {
    let until = later(60).0;
    sqlx::AssertSqlSafe(format!(
        "DELETE FROM _sqlx_migrations WHERE version >= 7;
         ALTER TABLE audit_head DROP COLUMN mark;
         DROP INDEX users_password_holders;
         DROP TABLE setup_links;
         DROP TABLE identities;
         DROP TABLE provider_sessions;
         DROP TABLE used_sign_ins;
         DROP TABLE provider_tokens;
         DROP TABLE used_logout_tokens;
         CREATE TABLE setup_token (only_row BIGINT PRIMARY KEY, digest {bytes} NOT NULL, expires_at BIGINT NOT NULL);
         INSERT INTO setup_token VALUES (1, {link}, {until})"
    ))
}

/// The link that the former version printed makes the first admin after the update too, and the trail goes on.
async fn a_setup_link_from_before_counts_on(url: &str) {
    let store = opened(url).await;
    let digest = || TokenDigest::of("link");
    assert_eq!(store.setup_link(digest(), NOW).await.unwrap(), Some(SetupLink::FirstAdmin));
    assert_eq!(store.setup_link(digest(), later(60)).await.unwrap(), None);
    assert!(store.redeem_setup_link(digest(), NOW, &user("root", Role::Admin), "$hash").await.unwrap());
    let trail = Audit::new(store, audit_key()).verify(&by(), &[], None).await.unwrap().unwrap();
    assert_eq!(trail.last, 1);
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
    async fn an_update_keeps_the_setup_link() {
        let own = Database::in_file().await;
        own.store.close().await;
        let mut connection = SqliteConnection::connect(&own.url).await.unwrap();
        let link = format!("x'{}'", hex(&TokenDigest::of("link").0));
        sqlx::raw_sql(as_before_setup_links("BLOB", &link)).execute(&mut connection).await.unwrap();
        a_setup_link_from_before_counts_on(&own.url).await;
    }

    /// G13: a database of a newer version.
    /// T07: the same, as a downgrade.
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
        let store = opened(&format!("sqlite:{}/own.db", folder.path().display())).await;
        let alice = added(&store, "alice", Role::Member).await;
        let (cookie, text, link) = ("cookie-token-text", "dw_u_key-text", "setup-link-text");
        store
            .add_session(&session(&alice, "s", NOW), TokenDigest::of(cookie), 10, Event::Login)
            .await
            .unwrap();
        store.add_key(&key("k", Some(&alice)), TokenDigest::of(text)).await.unwrap();
        store.put_setup_link(TokenDigest::of(link), None, NOW, later(60)).await.unwrap();

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

    /// As `touch` leaves one.
    #[tokio::test]
    async fn an_empty_file_is_closed_to_others_before_anything_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.db");
        std::fs::write(&path, "").unwrap();
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let store = opened(&format!("sqlite:{}", path.display())).await;
        assert_eq!(mode(), 0o600);
        added(&store, "alice", Role::Member).await;
        let log = std::fs::metadata(folder.path().join("own.db-wal")).unwrap();
        assert_eq!(log.permissions().mode() & 0o777, 0o600);
        store.close().await;
        // Anyone who opens one to others with something in it means to.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        opened(&format!("sqlite:{}", path.display())).await.close().await;
        assert_eq!(mode(), 0o640);
    }

    #[tokio::test]
    async fn what_only_reads_waits_for_no_writer() {
        let own = Database::in_file().await;
        added(&own.store, "alice", Role::Member).await;
        let mut writer = SqliteConnection::connect(&own.url).await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
        let reader = opened(&own.url).await;
        assert_eq!(reader.users_page(None).await.unwrap().len(), 1);
        // What writes cannot.
        assert!(reader.create_user(&user("bob", Role::Member), None).await.is_err());
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
    async fn an_update_keeps_the_setup_link() {
        let own = Database::on_postgres().await;
        own.store.close().await;
        let mut connection = PgConnection::connect(&own.url).await.unwrap();
        let link = format!("decode('{}', 'hex')", hex(&TokenDigest::of("link").0));
        sqlx::raw_sql(as_before_setup_links("BYTEA", &link)).execute(&mut connection).await.unwrap();
        a_setup_link_from_before_counts_on(&own.url).await;
    }

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

    /// An error with its causes.
    fn whole_text(error: &StoreError) -> String {
        let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }

    /// Answers the first bytes of whoever connects with these.
    async fn answering(answer: &'static [u8]) -> std::net::SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                client.readable().await.unwrap();
                let _ = client.try_read(&mut [0; 1024]);
                client.write_all(answer).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn why_there_is_no_connection_is_said_with_the_address_and_without_the_password() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let without_tls = answering(b"N").await;
        let wrong = answering(b"E\0\0\0\x31SFATAL\0C28P01\0Mthis password is not the one\0\0").await;
        let rude = answering(b"E\0\0\0\x28SFATAL\0C28P01\0Mno hunter2\x1b[2J\nhere\0\0").await;
        let mut missing = url::Url::parse(&base()).unwrap();
        missing.set_path("nobodys");
        let server = format!("{}:{}", missing.host_str().unwrap(), missing.port().unwrap_or(5432));
        for (url, address, why, may_pass) in [
            (format!("postgres://gate:hunter2@{free}/none"), free.to_string(), "refused", true),
            (
                "postgres://gate:hunter2@gate.invalid:5433/none".to_owned(),
                "gate.invalid:5433".to_owned(),
                "",
                true,
            ),
            (
                format!("postgres://gate:hunter2@{without_tls}/none?sslmode=require"),
                without_tls.to_string(),
                "TLS",
                false,
            ),
            (
                format!("postgres://gate:hunter2@{wrong}/none?sslmode=disable"),
                wrong.to_string(),
                "this password is not the one",
                false,
            ),
            (
                format!("postgres://gate:hunter2@{rude}/none?sslmode=disable"),
                rude.to_string(),
                "no [password] [2J here",
                false,
            ),
            (missing.to_string(), server, "database \"nobodys\" does not exist", false),
        ] {
            for error in [Store::open(&url, 1).await.unwrap_err(), Store::look(&url).await.unwrap_err()] {
                let told = whole_text(&error);
                assert!(matches!(error, StoreError::NoConnection { .. }), "{error:?}");
                assert!(told.contains(&address) && told.contains(why), "{told}");
                assert_eq!(error.may_pass(), may_pass, "{told}");
                let told = format!("{told} {error:?}");
                assert!(!told.contains("hunter2") && !told.chars().any(char::is_control), "{told:?}");
            }
        }
        let own = Database::on_postgres().await;
        assert_eq!(format!("{:?}", own.store), "Store(postgres)");
    }

    /// Answers everything like a server, and takes so long for each answer.
    async fn answering_after(delay: Duration) -> std::net::SocketAddr {
        const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
        // One row with one number.
        const ROW: &[u8] = b"T\0\0\0\x1a\0\x01n\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0\
            D\0\0\0\x0b\0\x01\0\0\0\x017C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut answer = WELCOME;
                    while client.read(&mut [0; 1024]).await.is_ok_and(|bytes| bytes > 0) {
                        tokio::time::sleep(delay).await;
                        let _ = client.write_all(answer).await;
                        answer = ROW;
                    }
                });
            }
        });
        address
    }

    /// By a clock that goes on when everything waits.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_slow_at_every_step_does_not_keep_whoever_opens_the_store() {
        for delay in [900, 1700, 2400, 2900, 60_000] {
            let address = answering_after(Duration::from_millis(delay)).await;
            let url = format!("postgres://gate@{address}/none?sslmode=disable");
            for looks in [true, false] {
                let began = tokio::time::Instant::now();
                let outcome =
                    if looks { Store::look(&url).await } else { Store::open(&url, 1).await.map(drop) };
                assert!(outcome.is_err(), "{delay}");
                assert!(began.elapsed() <= Duration::from_millis(7001), "{delay}: {:?}", began.elapsed());
            }
        }
    }

    /// Lets the first client in and takes changes; the next ones are let in and get no answer.
    async fn silent_after_the_first_look() -> std::net::SocketAddr {
        const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
        // One row with the text `off`.
        const OFF: &[u8] = b"T\0\0\0\x1a\0\x01n\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0\
            D\0\0\0\x0d\0\x01\0\0\0\x03offC\0\0\0\x09SHOW\0Z\0\0\0\x05I";
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut answers = &[WELCOME, OFF][..];
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut answers = answers.iter();
                    while client.read(&mut [0; 1024]).await.is_ok_and(|bytes| bytes > 0) {
                        if let Some(answer) = answers.next() {
                            let _ = client.write_all(answer).await;
                        }
                    }
                });
                answers = &[WELCOME];
            }
        });
        address
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_falls_silent_does_not_keep_whoever_looks_at_it() {
        let url = format!("postgres://gate@{}/none?sslmode=disable", silent_after_the_first_look().await);
        let began = tokio::time::Instant::now();
        let error = Store::look(&url).await.unwrap_err();
        assert!(error.may_pass(), "{error:?}");
        assert_eq!(began.elapsed().as_secs(), 7, "or else it shows nothing: {error:?}");
    }
}
