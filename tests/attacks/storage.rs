//! T: what is written down, and what a crash leaves of it.

use doorward::model::role::Role;
use doorward::service::accounts::NewUser;

use crate::forms::login_form;
use crate::support::gateway::{PASSWORD, ROUTES, bearer, session_cookie};
use crate::support::process::Process;
use crate::support::{Gateway, Upstream, Watch, exchange};

/// Texts that are more than text to somebody who pastes them into a statement.
const PAYLOADS: [&str; 25] = [
    "'",
    "''",
    "\"",
    "`",
    "\\",
    ";",
    "--",
    "/*",
    "' OR '1'='1",
    "' OR 1=1 --",
    "' OR 1=1 /*",
    "\" OR \"\"=\"",
    "') OR ('1'='1",
    "'; DROP TABLE users; --",
    "'; DELETE FROM sessions; --",
    "' UNION SELECT id, name FROM users --",
    "1; UPDATE users SET role = 'admin'",
    "admin'/**/OR/**/1=1#",
    "'||(SELECT name FROM users)||'",
    "$1",
    "?1",
    ":name",
    "%",
    "_",
    "$$; DROP TABLE users; $$",
];

fn integrity(database: &std::path::Path) -> String {
    let output = std::process::Command::new("python3")
        .args(["-c", "import sqlite3,sys; print(sqlite3.connect(sys.argv[1]).execute('pragma integrity_check').fetchone()[0])"])
        .arg(database)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// T03: statements in every text that reaches the store.
#[tokio::test(flavor = "multi_thread")]
async fn no_text_is_taken_for_a_statement() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "[server]\nworkers = 1\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await;
    gateway.user("mel", Role::Member).await;
    let cookie = gateway.sign_in("mel").await;
    let key = gateway.system_key("k", Role::Member).await;
    let people = gateway.accounts.list(&gateway.by).await.unwrap();
    let mut kept = 0;
    for (at, payload) in PAYLOADS.into_iter().enumerate() {
        let watch = Watch::begin(&gateway, &upstream);
        let from = format!("x-forwarded-for: 198.51.100.{at}\r\nuser-agent: {payload}\r\n");
        for (name, password) in [(payload, PASSWORD), ("mel", payload), (&format!("mel{payload}"), PASSWORD)]
        {
            let answer = gateway.post_form("/_doorward/login", &login_form(name, password, "/"), &from).await;
            assert!(matches!(answer.status, 401 | 503), "{payload}: {}", answer.status);
        }
        for credential in [
            format!("cookie: doorward={payload}\r\n"),
            format!("cookie: {cookie}{payload}\r\n"),
            format!("authorization: Bearer dw_s_{payload}\r\n"),
            bearer(&format!("{key}{payload}")),
            format!("x-api-key: {payload}\r\n"),
        ] {
            // A `;` ends a cookie, and what is left of it then may be the real one.
            let whole = credential.contains(&cookie) && payload.starts_with(';');
            let answer = gateway.get("/data", &credential).await;
            assert!(answer.status == 401 || whole, "{credential}: {}", answer.status);
            if whole {
                assert_eq!(answer.status, 200);
            }
        }
        let whole = usize::from(payload.starts_with(';'));
        let query: String = url::form_urlencoded::byte_serialize(payload.as_bytes()).collect();
        for path in ["setup?token=", "handover?token=", "login?rd="] {
            let answer = gateway.get(&format!("/_doorward/{path}{query}"), &from).await;
            assert!(answer.status < 500, "{path}{payload}: {}", answer.status);
        }
        let mel: crate::support::oracle::Claims<'_> = &[
            ("x-auth-user", "mel"),
            ("x-auth-subject", "*"),
            ("x-auth-email", "mel@example.org"),
            ("x-auth-role", "member"),
        ];
        watch.reached(payload, &vec!["GET /data"; whole], mel).await;
        // As names, they are refused or kept as they are.
        let new = NewUser {
            username: format!("u{payload}"),
            email: None,
            display_name: Some(payload.to_owned()),
            role: Role::Viewer,
            groups: vec![format!("g{payload}")],
            password: None,
        };
        if let Ok(user) = gateway.accounts.create(&gateway.by, new).await {
            let found = gateway.accounts.find(&gateway.by, &format!("u{payload}")).await.unwrap().unwrap();
            assert_eq!((found.id.clone(), found.role), (user.id.clone(), Role::Viewer), "{payload}");
            gateway.accounts.delete(&gateway.by, &user.id).await.unwrap();
            kept += 1;
        }
        assert_eq!(gateway.accounts.find(&gateway.by, payload).await.unwrap(), None, "{payload}");
    }
    assert!(kept > 0, "all were refused as names");
    assert_eq!(gateway.accounts.list(&gateway.by).await.unwrap(), people, "nobody came, went or changed");
    gateway.settle().await;
    assert_eq!(gateway.get("/data", &format!("cookie: {cookie}\r\n")).await.status, 200);
}

async fn post(process: &Process, path: &str, headers: &str, body: &str) -> crate::support::Answer {
    let host = process.address;
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\n{headers}\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    exchange(host, request).await
}

async fn status(process: &Process, cookie: &str) -> u16 {
    let request = format!("GET /data HTTP/1.1\r\nhost: a\r\ncookie: {cookie}\r\n\r\n");
    exchange(process.address, request).await.status
}

/// T05: what was answered with success, after a crash right behind the answer.
/// T06: the database, after crashes in the middle of writing.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_with_success_outlives_a_crash() {
    let upstream = Upstream::spawn().await;
    let mut process = Process::serve(&upstream.url(), ROUTES);
    process.user("mel", Role::Member).await;
    let mut ended = Vec::new();
    for round in 0..8 {
        let signed_in = post(&process, "/_doorward/login", "", &login_form("mel", PASSWORD, "/")).await;
        let kept = session_cookie(&signed_in).unwrap_or_else(|| panic!("{round}: {}", signed_in.text()));
        let out = post(&process, "/_doorward/login", "", &login_form("mel", PASSWORD, "/")).await;
        let gone = session_cookie(&out).unwrap();
        assert_eq!(status(&process, &gone).await, 200);
        let out = post(&process, "/_doorward/logout", &format!("cookie: {gone}\r\n"), "").await;
        assert_eq!(out.status, 303);
        ended.push(gone);
        // Some more is being written as it dies.
        let mut writers = tokio::task::JoinSet::new();
        for _ in 0..2 {
            let address = process.address;
            writers.spawn(async move {
                let body = login_form("nobody", "a wrong password", "/");
                let head = format!(
                    "POST /_doorward/login HTTP/1.1\r\nhost: {address}\r\norigin: http://{address}\r\n"
                );
                let form = "content-type: application/x-www-form-urlencoded";
                exchange(address, format!("{head}{form}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
                    .await
            });
        }
        process = process.restart(&upstream.url(), ROUTES);
        writers.abort_all();
        assert_eq!(integrity(&process.database()), "ok", "{round}");
        assert_eq!(status(&process, &kept).await, 200, "{round}: a session that was given is lost");
        for gone in &ended {
            assert_eq!(status(&process, gone).await, 401, "{round}: a session that was ended lives again");
        }
    }
}
