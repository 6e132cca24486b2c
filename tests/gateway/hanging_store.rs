//! A database that takes what it is asked and says nothing more, as one that is suspended does, breaks off, starts
//! again, is slow, or takes no changes any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use doorward::model::role::Role;
use doorward::model::secret::Secret;
use doorward::model::time::{Clock, SystemClock, Timestamp};
use doorward::model::token::{KeyKind, KeyPurpose, KeyText, MasterKey};
use doorward::model::user::{User, UserId};
use doorward::store::{Lane, Store, StoreError};
use sqlx::{Connection as _, PgConnection};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use url::Url;

use crate::credentials::ROUTES;
use crate::open_streams::{lives, open};
use crate::support::bound::Stopwatch;
use crate::support::gateway::{PASSWORD, bearer};
use crate::support::patient::patient;
use crate::support::relay::Relay;
use crate::support::{DEADLINE, Gateway, Upstream, until, within};

const GLASS: &str = "q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=";
pub const SECRET: &str = "xM2v8Rk4Tz0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc7QaWe0=";
/// Several times as many as one thread looks up at the same time.
const CALLERS: usize = 100;

/// A schema of the test's own in the PostgreSQL that `DOORWARD_TEST_POSTGRES` names, by a way that can be held up.
#[expect(clippy::disallowed_methods, reason = "the test's own switch, not a setting of the program")]
pub async fn database() -> (Relay, String) {
    let base = std::env::var("DOORWARD_TEST_POSTGRES")
        .expect("DOORWARD_TEST_POSTGRES is not set: run ./tests/run.sh, which starts a PostgreSQL");
    let schema = format!("t{}", UserId::fresh().0.replace('-', ""));
    let mut connection = PgConnection::connect(&base).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
    sqlx::query(create).execute(&mut connection).await.unwrap();
    let mut url = Url::parse(&base).unwrap();
    let relay = Relay::to(url.socket_addrs(|| Some(5432)).unwrap()[0]).await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(relay.address.port())).unwrap();
    (relay, format!("{url}?options=-csearch_path%3D{schema}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_however_many_callers_end_together_and_what_needs_no_store_lives_on() {
    let upstream = patient().await;
    let (relay, url) = database().await;
    let gateway = Gateway::configured(&format!(
        "secret = \"{SECRET}\"\n[server]\nworkers = 1\n[store]\nurl = \"{url}\"\n\
         [[break_glass]]\nname = \"on-call\"\ntoken = \"{GLASS}\"\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await;
    let mut streams = Vec::new();
    for number in 0..CALLERS {
        let key = gateway.system_key(&format!("k{number}"), Role::Viewer).await;
        streams.push(open(gateway.address, "/events", &bearer(&key)).await);
    }
    let mut glass = open(gateway.address, "/socket", &bearer(GLASS)).await;
    let quiet = tokio::time::timeout(Duration::from_millis(50), streams[0].read_u8()).await;
    assert!(quiet.is_err(), "while the store answers they are open");

    relay.hold();
    let held = Instant::now();
    within("the end of the first stream", streams[0].read_u8()).await.unwrap_err();
    assert!(held.elapsed() > Duration::from_millis(900), "trust lasts a little, and one more look is taken");
    let watch = Stopwatch::start();
    for stream in &mut streams[1..] {
        within("the end of a stream", stream.read_u8()).await.unwrap_err();
    }
    watch.check("the end of the last stream after the first");
    assert!(lives(&mut glass).await, "a break-glass token is for such a day");
}

/// From the store's return to where everything is well again.
const RETURN: Duration = Duration::from_secs(5);

/// A gateway whose only way to its database is the relay, with a key and a person.
async fn gateway_by_relay() -> (Upstream, Gateway, Relay, String) {
    let upstream = Upstream::spawn().await;
    let (relay, url) = database().await;
    let gateway = Gateway::configured(&format!(
        "secret = \"{SECRET}\"\n[server]\nworkers = 1\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [store]\nurl = \"{url}\"\nconnections = 5\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await;
    gateway.user("mel", Role::Member).await;
    let key = gateway.system_key("k", Role::Viewer).await;
    assert_eq!(gateway.get("/reads", &bearer(&key)).await.status, 200);
    (upstream, gateway, relay, key)
}

async fn readiness(gateway: &Gateway) -> u16 {
    gateway.get("/_doorward/readyz", "").await.status
}

/// How long it takes until the gateway says that it is ready, or is not.
async fn time_until_ready(gateway: &Gateway, ready: bool) -> Duration {
    let since = Instant::now();
    gateway.until_ready(ready).await;
    since.elapsed()
}

/// Waits until the gateway has noticed that all its connections are silent since then: it is not ready, or it has read the
/// store by another one, as it has if it is still ready when what it read before no longer counts.
pub async fn until_noticed(gateway: &Gateway, since: Instant) {
    until("an outage that is noticed", async || {
        readiness(gateway).await != 200 || since.elapsed() >= Duration::from_secs(2)
    })
    .await;
}

/// A caller who is known, one who was never seen, and one who signs in are all served.
async fn all_is_well(gateway: &Gateway, key: &str, name: &str) {
    assert_eq!(gateway.get("/reads", &bearer(key)).await.status, 200, "{name}: a known key");
    let fresh = gateway.system_key(name, Role::Viewer).await;
    assert_eq!(gateway.get("/reads", &bearer(&fresh)).await.status, 200, "{name}: a key never seen");
    assert_eq!(gateway.post_login("mel", PASSWORD).await.status, 303, "{name}: a sign-in");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_fell_silent_are_thrown_away_and_fresh_ones_serve() {
    let (_upstream, gateway, relay, key) = gateway_by_relay().await;
    for round in ["once", "again"] {
        // Every connection, with whatever is under way on it.
        let asking = gateway.get("/reads", "authorization: Bearer dw_s_nobody\r\n");
        relay.swallow().await;
        asking.await;
        let silent = Instant::now();
        until_noticed(&gateway, silent).await;
        let back = time_until_ready(&gateway, true).await;
        assert!(silent.elapsed() < RETURN, "{round}: {:?}, of it not ready {back:?}", silent.elapsed());
        all_is_well(&gateway, &key, round).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_end_while_the_store_is_silent_and_do_so_again_when_it_is_not() {
    let (_upstream, gateway, relay, key) = gateway_by_relay().await;
    relay.hold();
    let asked = Instant::now();
    let answers = tokio::join!(
        gateway.post_login("mel", PASSWORD),
        gateway.get("/reads", "authorization: Bearer dw_s_nobody\r\n"),
        time_until_ready(&gateway, false),
    );
    assert_eq!(answers.0.status, 503, "{}", answers.0.head);
    assert!(asked.elapsed() < DEADLINE / 2, "a page took {:?}", asked.elapsed());
    relay.release();
    let back = time_until_ready(&gateway, true).await;
    assert!(back < RETURN, "{back:?}");
    all_is_well(&gateway, &key, "after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_store_is_over_when_it_is_over() {
    let (_upstream, gateway, relay, key) = gateway_by_relay().await;
    relay.close().await;
    time_until_ready(&gateway, false).await;
    assert_eq!(gateway.post_login("mel", PASSWORD).await.status, 503);
    relay.open();
    let back = time_until_ready(&gateway, true).await;
    assert!(back < RETURN, "{back:?}");
    all_is_well(&gateway, &key, "after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_store_is_a_store() {
    let (_upstream, gateway, relay, key) = gateway_by_relay().await;
    relay.slow(Duration::from_millis(40));
    all_is_well(&gateway, &key, "slow").await;
    assert_eq!(readiness(&gateway).await, 200);
}

/// A client with ever other keys, all at once, at a store that is slow.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_many_keys_at_once_waits_for_them_alone() {
    let (_upstream, gateway, relay, _) = gateway_by_relay().await;
    let gateway = Arc::new(gateway);
    let keys =
        [gateway.system_key("first", Role::Viewer).await, gateway.system_key("second", Role::Viewer).await];
    relay.slow(Duration::from_millis(50));
    let mut flood = tokio::task::JoinSet::new();
    let before = gateway.lookups();
    for _ in 0..400 {
        let gateway = Arc::clone(&gateway);
        let key = bearer(KeyText::draw(KeyKind::System).text.expose());
        flood.spawn(async move {
            gateway.get("/reads", &format!("{key}x-forwarded-for: 198.51.100.1\r\n")).await
        });
    }
    until("the first of them", async || gateway.lookups() >= before + 2).await;
    for key in &keys {
        let answer = gateway.get("/reads", &bearer(key)).await;
        assert_eq!(answer.status, 200, "a key that was never seen: {}", answer.head);
    }
    relay.slow(Duration::ZERO);
    while let Some(answer) = flood.join_next().await {
        let answer = answer.unwrap();
        assert!(matches!(answer.status, 401 | 429 | 503), "{}", answer.head);
        assert!(answer.status == 401 || answer.header("retry-after").is_some(), "{}", answer.head);
    }
}

fn somebody(name: &str) -> User {
    User {
        id: UserId::fresh(),
        username: name.to_owned(),
        email: None,
        display_name: None,
        role: Role::Viewer,
        groups: Vec::new(),
        disabled: false,
        must_change_password: false,
        has_password: false,
        has_identity: false,
        created_at: Timestamp(1_900_000_000),
    }
}

/// A store with so many connections, as a gateway opens it.
async fn store_at(url: &str, connections: u32) -> Store {
    let key = MasterKey::new(Secret::new("k".repeat(32))).derive(KeyPurpose::Audit);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Store::open(url, connections).await.unwrap().audited(key, clock).await.unwrap()
}

/// Another gateway in the middle of a change of rights, for which all such changes wait.
struct OtherChange {
    connection: PgConnection,
    beside: PgConnection,
}

impl OtherChange {
    async fn begin(url: &str) -> Self {
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::raw_sql("BEGIN; SELECT value FROM revision FOR UPDATE").execute(&mut connection).await.unwrap();
        Self { connection, beside: PgConnection::connect(url).await.unwrap() }
    }

    /// Waits until the database has a change that waits for this one.
    async fn until_waited_for(&mut self) {
        const WAITING: &str = "SELECT COUNT(*) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))";
        let own: i32 =
            sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut self.connection).await.unwrap();
        until("a change in the middle of its wait", async || {
            let waiting = sqlx::query_scalar::<_, i64>(WAITING).bind(own);
            waiting.fetch_one(&mut self.beside).await.unwrap() > 0
        })
        .await;
    }

    async fn end(mut self) {
        sqlx::raw_sql("ROLLBACK").execute(&mut self.connection).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_take_no_changes_any_more_are_replaced() {
    let (relay, url) = database().await;
    let store = store_at(&url, 4).await;
    for name in ["a", "b"] {
        store.create_user(&somebody(name), None).await.unwrap();
    }
    let lanes = [Lane::Watch, Lane::Requests, Lane::Rest].map(|lane| store.clone().on(lane));
    for lane in &lanes {
        lane.ping().await.unwrap();
    }
    let before = relay.connections().await;
    relay.say("SET default_transaction_read_only = on").await;
    // One change may be the first to notice; it was not made, and says so.
    let noticed = store.create_user(&somebody("c"), None).await;
    assert!(
        matches!(noticed, Ok(()) | Err(StoreError::Unavailable(_) | StoreError::NoConnection { .. })),
        "{noticed:?}"
    );
    store.create_user(&somebody("d"), None).await.unwrap();
    // Reading notices too, within the second for which a connection is trusted.
    until("fresh connections for all who read", async || {
        for lane in &lanes {
            lane.ping().await.unwrap();
        }
        relay.connections().await >= before + lanes.len()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_changes_is_no_store() {
    let (relay, url) = database().await;
    let store = Store::open(&url, 4).await.unwrap();
    let read_only = format!("{url}%20-cdefault_transaction_read_only%3Don");
    assert!(matches!(Store::open(&read_only, 4).await, Err(StoreError::Unavailable(_))));
    store.ping().await.unwrap();
    relay.hold();
    let asked = Instant::now();
    assert!(matches!(Store::open(&url, 1).await, Err(StoreError::NoConnection { .. })), "as a command does");
    let silent = store.ping().await;
    assert!(
        matches!(silent, Err(StoreError::Unavailable(_) | StoreError::NoConnection { .. })),
        "{silent:?}"
    );
    assert!(asked.elapsed() < DEADLINE / 2, "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_takes_the_last_connection_keeps_none_from_the_request_line_and_the_watch() {
    let (_relay, url) = database().await;
    // One connection for each lane.
    let store = store_at(&url, 3).await;
    let mut other = OtherChange::begin(&url).await;
    let changing = store.clone();
    let change = tokio::spawn(async move { changing.create_user(&somebody("alice"), None).await });
    other.until_waited_for().await;
    for lane in [Lane::Watch, Lane::Requests] {
        assert!(store.clone().on(lane).ping().await.is_ok(), "{lane:?}");
    }
    other.end().await;
    within("the change whose turn has come", change).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_turn_keeps_no_connection_from_others() {
    let (_relay, url) = database().await;
    let store = store_at(&url, 5).await;
    let mut other = OtherChange::begin(&url).await;
    let changes: Vec<_> = (0..20)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.create_user(&somebody(&format!("u{number}")), None).await })
        })
        .collect();
    other.until_waited_for().await;
    for lane in [Lane::Watch, Lane::Requests, Lane::Rest] {
        let asked = Instant::now();
        store.clone().on(lane).ping().await.unwrap();
        assert!(asked.elapsed() < Duration::from_secs(1), "{lane:?} waited {:?}", asked.elapsed());
    }
    other.end().await;
    for change in changes {
        within("a change whose turn has come", change).await.unwrap().unwrap();
    }
}

/// Wherever in its answers the server, or the network before it, falls silent, and whether or not the schema is there.
#[tokio::test(flavor = "multi_thread")]
async fn opening_ends_wherever_the_database_falls_silent() {
    let mut openings = tokio::task::JoinSet::new();
    for (made, lengths) in [(true, &[350, 450, 550, 700, 1000, 1500][..]), (false, &[450, 550, 700])] {
        for &bytes in lengths {
            openings.spawn(async move {
                let (relay, url) = database().await;
                if made {
                    Store::open(&url, 1).await.unwrap().close().await;
                }
                relay.fade_after(bytes);
                let opened = within("the end of opening a store", Store::open(&url, 1)).await;
                (made, bytes, opened.is_ok())
            });
        }
    }
    let ends = openings.join_all().await;
    let silent = ends.iter().filter(|(made, _, opened)| *made && !opened).count();
    assert!(silent >= 3 && ends.iter().all(|(made, _, opened)| *made || !opened), "{ends:?}");
}

#[tokio::test]
async fn a_copy_ends_when_either_database_falls_silent() {
    for into_silence in [true, false] {
        let (relay, silent) = database().await;
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sqlite:{}", folder.path().join("own.db").display());
        let (from, to) = if into_silence { (&file, &silent) } else { (&silent, &file) };
        let key = MasterKey::new(Secret::new("k".repeat(32))).derive(KeyPurpose::Audit);
        let source = Store::open(from, 1).await.unwrap().audited(key, Arc::new(SystemClock)).await.unwrap();
        source.create_user(&somebody("a"), None).await.unwrap();
        let target = Store::open(to, 1).await.unwrap();
        let held = AtomicUsize::new(usize::MAX);
        let copied = source.copy_to(&target, |_, _| {
            relay.hold();
            held.fetch_min(relay.heard(), Ordering::SeqCst);
        });
        let asked_in_vain = async {
            until("a question without an answer", async || relay.heard() > held.load(Ordering::SeqCst)).await;
            // Nothing else is under way, so limits need not be waited for.
            tokio::time::pause();
            std::future::pending().await
        };
        let ended = tokio::select! {
            ended = tokio::time::timeout(Duration::from_mins(10), copied) => ended,
            never = asked_in_vain => never,
        };
        tokio::time::resume();
        assert!(matches!(ended, Ok(Err(StoreError::Unavailable(_)))), "{into_silence}: {ended:?}");
        relay.release();
        assert!(target.users_page(None).await.unwrap().is_empty(), "nothing of it was kept");
    }
}
