//! A database that takes what it is asked and says nothing more, as one that is suspended does.

use std::time::Duration;

use doorward::model::role::Role;
use doorward::model::user::UserId;
use sqlx::{Connection as _, PgConnection};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use url::Url;

use crate::credentials::ROUTES;
use crate::open_streams::{lives, open};
use crate::support::bound::Stopwatch;
use crate::support::gateway::bearer;
use crate::support::patient::patient;
use crate::support::relay::Relay;
use crate::support::{Gateway, within};

const GLASS: &str = "q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=";
const SECRET: &str = "xM2v8Rk4Tz0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc7QaWe0=";
/// Several times as many as one thread looks up at the same time.
const CALLERS: usize = 100;

/// A schema of the test's own in the PostgreSQL that `DOORWARD_TEST_POSTGRES` names, by a way that can be held up.
#[expect(clippy::disallowed_methods, reason = "the test's own switch, not a setting of the program")]
async fn database() -> (Relay, String) {
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
        "secret = \"{SECRET}\"\n[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[store]\nurl = \"{url}\"\n\
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
