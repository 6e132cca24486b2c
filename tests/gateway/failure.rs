//! What fails is refused, says so clearly, and loses nothing.

use std::net::SocketAddr;
use std::path::Path;

use doorward::model::role::Role;
use sqlx::{Connection as _, SqliteConnection};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::credentials::ROUTES;
use crate::support::gateway::bearer;
use crate::support::gateway::{PASSWORD, session_cookie};
use crate::support::process::Process;
use crate::support::raw::{Answer, exchange, read_answer};
use crate::support::{Gateway, Upstream, until, within};

/// Makes every later look at the database fail, as a broken disk would.
pub fn break_database(database: &Path) {
    rename_tables(database, "not like 'gone_%'", "'gone_'+t");
}

/// Undoes that.
pub fn mend_database(database: &Path) {
    rename_tables(database, "like 'gone_%'", "t[5:]");
}

fn rename_tables(database: &Path, which: &str, name: &str) {
    let script = format!(
        "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); \
         [c.execute('ALTER TABLE '+t+' RENAME TO '+{name}) for (t,) in c.execute(\"select name from sqlite_master \
         where type='table' and name not like 'sqlite_%' and name {which}\").fetchall()]; c.commit()"
    );
    let done = std::process::Command::new("python3").args(["-c", &script]).arg(database).status().unwrap();
    assert!(done.success());
}

/// C24: a database that fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_is_503_for_all_but_open_paths_and_never_an_allow() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("vera", Role::Viewer).await;
    let known = bearer(&gateway.system_key("known", Role::Viewer).await);
    let unknown = bearer(&gateway.system_key("unknown", Role::Viewer).await);
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
    for credential in [&known, &cookie] {
        assert_eq!(gateway.get("/data", credential).await.status, 200);
    }
    break_database(&gateway.folder.path().join("doorward.db"));
    // What is remembered is trusted for as long as revocations were read a moment ago, and then no more.
    until("the end of trust", async || gateway.get("/data", &known).await.status == 503).await;
    let before = upstream.count();
    for credential in [&known, &unknown, &cookie] {
        let answer = gateway.get("/data", credential).await;
        assert_eq!((answer.status, answer.problem().as_deref()), (503, Some("unavailable")), "{credential}");
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(upstream.count(), before, "nothing was let through");
    assert_eq!(gateway.get("/data", "").await.status, 401, "a stranger is a stranger without asking anybody");
    assert_eq!(gateway.post_login("vera", PASSWORD).await.status, 503);
    assert_eq!(gateway.get("/public", "").await.status, 200, "open paths need no store");
    assert_eq!(gateway.get("/_doorward/healthz", "").await.status, 200);
    gateway.until_ready(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_grace_lets_remembered_credentials_live_on_for_that_long() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "store.outage_grace = \"1h\"\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await;
    let known = bearer(&gateway.system_key("known", Role::Viewer).await);
    let unknown = bearer(&gateway.system_key("unknown", Role::Viewer).await);
    // Both workers remember it, whichever took the connection.
    for _ in 0..8 {
        assert_eq!(gateway.get("/data", &known).await.status, 200);
    }
    break_database(&gateway.folder.path().join("doorward.db"));
    gateway.until_ready(false).await;
    assert_eq!(gateway.get("/data", &known).await.status, 200);
    assert_eq!(gateway.get("/data", &unknown).await.status, 503, "what was never seen cannot be decided");
}

/// D21: a lock on the database that somebody else holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_somebody_else_holds_keeps_nobody_out_and_no_change_waiting_for_ever() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("vera", Role::Viewer).await;
    let known = bearer(&gateway.system_key("known", Role::Viewer).await);
    let fresh = bearer(&gateway.system_key("fresh", Role::Viewer).await);
    assert_eq!(gateway.get("/data", &known).await.status, 200);
    let file = format!("sqlite:{}", gateway.folder.path().join("doorward.db").display());
    let mut other = SqliteConnection::connect(&file).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();

    // What only reads goes on, while what writes waits.
    let sign_in = gateway.post_login("vera", PASSWORD);
    let meanwhile = async {
        for (credential, status) in [(&known, 200), (&fresh, 200), (&String::new(), 401)] {
            assert_eq!(gateway.get("/data", credential).await.status, status, "{credential}");
        }
    };
    let (answer, ()) = within("the end of the wait", async { tokio::join!(sign_in, meanwhile) }).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some() && session_cookie(&answer).is_none(), "{}", answer.head);
    assert_eq!(gateway.get("/data", &known).await.status, 200);

    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    until("the return", async || gateway.post_login("vera", PASSWORD).await.status == 303).await;
}

/// T10: a full disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_new_sessions_clearly_and_loses_no_old_one() {
    let upstream = Upstream::spawn().await;
    let gateway = Process::serve_with_full_disk(&upstream.url(), ROUTES, 600);
    gateway.user("vera", Role::Viewer).await;
    let key = gateway.system_key("k", Role::Viewer).await;
    let mut cookies = Vec::new();
    let refused = loop {
        let answer = post_login(gateway.address, "vera").await;
        match session_cookie(&answer) {
            Some(cookie) => cookies.push(cookie),
            None => break answer,
        }
        assert!(cookies.len() < 2000, "the disk never filled up");
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    assert!(!cookies.is_empty(), "some signed in before the disk was full");
    let newest = format!("cookie: {}\r\n", cookies[cookies.len() - 1]);
    assert_eq!(status(gateway.address, "/data", &newest).await, 200, "who is signed in goes on");
    assert_eq!(status(gateway.address, "/data", &bearer(&key)).await, 200);
    assert_eq!(status(gateway.address, "/data", "").await, 401);

    // With room again, everything that was answered with success is still there.
    let gateway = gateway.restart(&upstream.url(), ROUTES);
    assert_eq!(status(gateway.address, "/data", &newest).await, 200);
    assert_eq!(status(gateway.address, "/data", &bearer(&key)).await, 200);
    assert!(session_cookie(&post_login(gateway.address, "vera").await).is_some());
}

async fn status(address: SocketAddr, path: &str, headers: &str) -> u16 {
    exchange(address, format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n")).await.status
}

async fn post_login(address: SocketAddr, name: &str) -> Answer {
    let form = format!("username={name}&password={}&rd=/", PASSWORD.replace(' ', "+"));
    let length = form.len();
    let head = format!(
        "POST /_doorward/login HTTP/1.1\r\nhost: {address}\r\norigin: http://{address}\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n"
    );
    exchange(address, format!("{head}{form}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listener_for_operators_answers_health_and_nothing_else() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "[server]\nops_listen = \"127.0.0.1:0\"\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await;
    let operators = gateway.addresses[1];
    assert_eq!(status(operators, "/healthz", "").await, 200);
    assert_eq!(status(operators, "/readyz", "").await, 200);
    for path in ["/", "/public", "/_doorward/login", "/_doorward/healthz"] {
        assert_eq!(status(operators, path, "").await, 404, "{path}");
    }
    assert_eq!(
        gateway.get("/healthz", "").await.status,
        401,
        "without our prefix it is the application's path"
    );
    assert_eq!(upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_down_is_502_and_comes_back() {
    let spare = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = spare.local_addr().unwrap();
    drop(spare);
    let gateway = Gateway::spawn(&format!("http://{address}"), ROUTES).await;
    let answer = gateway.get("/public", "").await;
    assert_eq!((answer.status, answer.problem().as_deref()), (502, Some("upstream-unreachable")));
    let page = gateway.get("/public", "accept: text/html\r\n").await;
    assert!(page.text().contains("<h1"), "{}", page.text());

    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        crate::support::raw::read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nback").await.unwrap();
        std::future::pending::<()>().await;
    });
    assert_eq!(gateway.get("/public", "").await.text(), "back");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_the_upstream_closed_costs_no_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        // Each connection answers once and is closed just after the second request has arrived on it.
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                crate::support::raw::read_head(&mut stream).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                crate::support::raw::read_head(&mut stream).await;
            });
        }
    });
    let gateway = Gateway::spawn(&format!("http://{address}"), ROUTES).await;
    for _ in 0..10 {
        assert_eq!(gateway.get("/public", "").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_open_requests_and_takes_no_new_ones() {
    let (release, released) = tokio::sync::watch::channel(false);
    let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (arrived, mut released) = (arrived.clone(), released.clone());
            tokio::spawn(async move {
                crate::support::raw::read_head(&mut stream).await;
                arrived.send(()).unwrap();
                released.wait_for(|released| *released).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").await.unwrap();
            });
        }
    });
    let mut gateway = Gateway::spawn(&format!("http://{address}"), ROUTES).await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    client.write_all(b"GET /public HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    arrivals.recv().await.unwrap();

    let stopping = gateway.begin_stop();
    until("the closed door", async || TcpStream::connect(gateway.address).await.is_err()).await;
    assert!(!stopping.is_finished(), "the open request is waited for");
    release.send(true).unwrap();
    let answer = read_answer(&mut client).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    within("the stop", stopping).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_cuts_what_does_not_end_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut gateway = Gateway::configured(&format!(
        "[server]\ndrain = \"1s\"\n\
         [[upstreams]]\nname = \"app\"\nurl = \"http://{address}\"\n{ROUTES}"
    ))
    .await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    client.write_all(b"GET /public HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let (_held, _) = within("the request", listener.accept()).await.unwrap();
    within("the stop", gateway.begin_stop()).await.unwrap();
    assert_eq!(read_answer(&mut client).await.status, 0, "no answer is better than half of one");
}
