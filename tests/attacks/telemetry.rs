//! E: what is told to logs, to clients, and in addresses.

use bytes::Bytes;
use doorward::model::role::Role;
use http::Request;

use crate::forms::{form, login_form};
use crate::support::gateway::{PASSWORD, ROUTES, bearer, session_cookie};
use crate::support::process::Process;
use crate::support::{Answer, Gateway, Upstream, exchange, http2, until};

/// Stands in places where secrets stand; must turn up nowhere.
const CANARY: &str = "Canary7f3aQ9zX";

async fn send(process: &Process, line: &str, headers: &str, body: &str) -> Answer {
    let host = process.address;
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\n{headers}content-length: {length}\r\n\r\n{body}"
    );
    exchange(host, request).await
}

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

/// E01: everything that is secret, at the most talkative level there is.
/// E03: secrets in queries.
/// E04: `Authorization`, `Cookie` and `Set-Cookie`.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_logged_at_any_level() {
    let upstream = Upstream::spawn().await;
    let process = Process::serve_talkative(&upstream.url(), ROUTES);
    process.user("mel", Role::Member).await;
    let key = process.system_key("k", Role::Member).await;
    let signed_in = send(&process, "POST /_doorward/login", FORM, &login_form("mel", PASSWORD, "/")).await;
    let session = session_cookie(&signed_in).expect("signed in");
    let device =
        signed_in.headers("set-cookie").into_iter().find_map(|set| set.strip_prefix("doorward-device="));
    let device = device.and_then(|value| value.split(';').next()).unwrap().to_owned();
    upstream.answers(format!(
        "HTTP/1.1 200 OK\r\nset-cookie: app={CANARY}\r\nx-token: {CANARY}\r\ncontent-length: 2\r\n\r\nok"
    ));
    let cookie = format!("cookie: {session}; app={CANARY}\r\n");
    let mistyped = format!("{}{CANARY}", &key[..key.len() - CANARY.len()]);
    for (line, headers, body) in [
        ("GET /data".to_owned(), cookie.clone(), String::new()),
        ("POST /data".to_owned(), cookie.clone(), CANARY.to_owned()),
        (
            format!("GET /data?code={CANARY}&state={CANARY}&token={CANARY}&key={CANARY}&password={CANARY}"),
            bearer(&key),
            String::new(),
        ),
        (format!("GET /data?x={CANARY}"), String::new(), String::new()),
        (format!("GET /data?x={CANARY}"), "accept: text/html\r\n".to_owned(), String::new()),
        (format!("GET /data/../x?{CANARY}"), String::new(), String::new()),
        ("GET /data".to_owned(), bearer(&mistyped), String::new()),
        ("GET /data".to_owned(), bearer(CANARY), String::new()),
        ("GET /data".to_owned(), format!("authorization: Basic {CANARY}\r\n"), String::new()),
        ("GET /data".to_owned(), format!("x-api-key: {CANARY}\r\n"), String::new()),
        ("GET /data".to_owned(), format!("cookie: doorward={CANARY}\r\n"), String::new()),
        ("GET /data".to_owned(), format!("cookie: doorward={CANARY}.{CANARY}\r\n"), String::new()),
        ("GET /data".to_owned(), format!("{}{cookie}", bearer(CANARY)), String::new()),
        ("POST /_doorward/login".to_owned(), FORM.to_owned(), login_form("mel", CANARY, "/")),
        ("POST /_doorward/login".to_owned(), FORM.to_owned(), login_form(CANARY, "a wrong password", "/")),
        ("POST /_doorward/login".to_owned(), FORM.to_owned(), format!("username={CANARY}&{CANARY}")),
        (
            format!("POST /_doorward/login?rd=%2F{CANARY}"),
            FORM.to_owned(),
            login_form("mel", "wrong", CANARY),
        ),
        (format!("GET /_doorward/setup?token={CANARY}"), String::new(), String::new()),
        (
            "POST /_doorward/setup".to_owned(),
            FORM.to_owned(),
            form(&[("token", CANARY), ("username", "x"), ("password", CANARY), ("repeat", CANARY)]),
        ),
        (
            format!("GET /_doorward/handover?token={CANARY}"),
            format!("cookie: doorward-handover={CANARY}\r\n"),
            String::new(),
        ),
        (
            "POST /_doorward/password".to_owned(),
            format!("{cookie}{FORM}"),
            form(&[("current", CANARY), ("new", CANARY), ("repeat", CANARY)]),
        ),
        (
            "GET /_doorward/auth/nginx".to_owned(),
            format!("x-original-url: https://a/?{CANARY}\r\n"),
            String::new(),
        ),
        (
            "POST /graphql".to_owned(),
            format!("{cookie}content-type: application/json\r\n"),
            format!("{{\"query\":\"{{ {CANARY} }}\"}}"),
        ),
        (
            "GET /data".to_owned(),
            format!(
                "{cookie}connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                 sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-protocol: {CANARY}\r\n"
            ),
            String::new(),
        ),
    ] {
        send(&process, &line, &headers, &body).await;
    }
    for (name, value) in [("cookie", session.as_str()), ("authorization", CANARY), ("x-secret", CANARY)] {
        let request = Request::get(format!("http://{}/data?token={CANARY}", process.address));
        let request = request.header(name, value).body(Bytes::new()).unwrap();
        http2::request(process.address, request).await;
    }
    send(&process, "GET /public/the-last", "", "").await;
    until("the last line of the log", async || process.said().contains("/public/the-last")).await;
    let said = process.said();
    assert!(
        said.contains("TRACE") && said.contains("/data"),
        "it said too little to prove anything:\n{said:.2000}"
    );
    let value = session.split_once('=').unwrap().1;
    for secret in [CANARY, PASSWORD, value, &device, &key, &key["dw_s_".len() + 17..]] {
        let line = said.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "a secret was logged");
    }
}

/// E07: what clients are told of what went wrong.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_tells_nothing_of_the_inside() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let mel = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    let folder = gateway.folder.path().display().to_string();
    let mut answers = Vec::new();
    for accept in
        ["", "accept: text/html\r\n", "accept: application/json\r\n", "content-type: application/grpc\r\n"]
    {
        for path in ["/data", "/admin", "/data/%zz", "/_doorward/nothing", "/_doorward/setup?token=x", "//x"]
        {
            answers.push(gateway.get(path, &format!("{accept}{mel}")).await);
            answers.push(gateway.get(path, accept).await);
        }
        upstream.answers("garbage\r\n\r\n");
        answers.push(gateway.get("/data", &format!("{accept}{mel}")).await);
    }
    answers.push(gateway.post_login("x' OR 1=1 --", "x").await);
    answers.push(gateway.post_form("/_doorward/login", "%", "").await);
    for answer in answers {
        let told = format!("{}{}", answer.head, answer.text()).to_ascii_lowercase();
        for inside in [
            env!("CARGO_PKG_VERSION"),
            "hyper",
            "rustls",
            "tokio",
            "sqlite",
            "sqlx",
            "select ",
            "panicked",
            ".rs:",
            "stack backtrace",
            "server:",
            "x-powered-by",
            &folder.to_ascii_lowercase(),
            &upstream.address.to_string(),
        ] {
            assert!(!told.contains(inside), "{inside}: {told}");
        }
    }
}

/// E08: secrets in addresses that we make.
#[tokio::test(flavor = "multi_thread")]
async fn no_address_of_ours_holds_a_session() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let key = gateway.system_key("k", Role::Member).await;
    let session = gateway.sign_in("mel").await;
    let value = session.split_once('=').unwrap().1;
    let cookie = format!("cookie: {session}\r\n");
    let mut answers = vec![gateway.post_login("mel", PASSWORD).await];
    for path in
        ["/_doorward", "/_doorward/login?rd=%2Fdata", "/_doorward/logout", "/_doorward/password", "/admin"]
    {
        answers.push(gateway.get(path, &format!("{cookie}accept: text/html\r\n")).await);
    }
    answers.push(gateway.get("/data", &format!("{}accept: text/html\r\n", bearer(&key))).await);
    answers.push(gateway.post_form("/_doorward/logout", "", &cookie).await);
    for answer in answers {
        let location = answer.header("location").unwrap_or_default();
        for secret in [value, &key] {
            assert!(!location.contains(secret), "{location}");
            assert!(!answer.text().contains(secret), "{}", answer.text());
        }
        for set in answer.headers("set-cookie") {
            let fresh = set.split([';', '=']).nth(1).unwrap_or_default();
            // Shorter ones, such as `1`, are no secrets.
            assert!(fresh.len() < 16 || !location.contains(fresh), "{location}");
        }
    }
}
