//! Who gets in: keys, sessions, and how they end.

use std::time::Duration;

use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;

pub use crate::support::gateway::ROUTES;
use crate::support::gateway::bearer;
use crate::support::{Gateway, Upstream};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_credential_programs_get_401_and_browsers_the_login_page() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;

    let api = gateway.get("/data?token=x", "").await;
    assert_eq!((api.status, api.problem().as_deref()), (401, Some("sign-in-required")), "{}", api.text());
    assert!(api.header("www-authenticate").unwrap().starts_with("Bearer"));
    assert!(api.text().contains("http://localhost/_doorward/login"));

    let browser = gateway.get("/deep/link?a=1&b=2", "accept: text/html\r\n").await;
    assert_eq!(browser.status, 302);
    assert_eq!(browser.header("location"), Some("/_doorward/login?rd=%2Fdeep%2Flink%3Fa%3D1%26b%3D2"));

    let public = gateway.get("/public/x", "").await;
    assert_eq!((public.status, public.text().as_str()), (200, "ok"));
    assert_eq!(upstream.count(), 1, "only the open path reached the upstream");
}

/// K02: a key after it was revoked.
/// K10: a key that may only read.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_acts_with_its_role_until_it_is_revoked() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let (agent, id) = gateway.key_with("ci", Role::Agent, None, KeyScope::default()).await;
    let viewer = gateway.system_key("grafana", Role::Viewer).await;

    let post = |key: &str| gateway_post(&gateway, "/ingest", key.to_owned());
    assert_eq!(post(&agent).await, 200);
    assert_eq!(post(&viewer).await, 403);
    assert_eq!(gateway.get("/data", &bearer(&agent)).await.status, 403);
    assert_eq!(gateway.get("/data", &bearer(&viewer)).await.status, 200);
    assert_eq!(gateway.get("/data", &format!("x-api-key: {viewer}\r\n")).await.status, 200);
    assert_eq!(gateway.get("/admin", &bearer(&viewer)).await.status, 403);
    for line in upstream.requests() {
        assert!(!line.head.contains("dw_s_"), "a key reached the upstream:\n{}", line.head);
    }

    assert!(gateway.keys.revoke(&id, "test").await.unwrap());
    gateway.settle().await;
    assert_eq!(post(&agent).await, 401);
}

async fn gateway_post(gateway: &Gateway, path: &str, key: String) -> u16 {
    gateway.send(&format!("POST {path}"), &format!("{}content-length: 0\r\n", bearer(&key))).await.status
}

/// L21: a password by HTTP Basic.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_header_credential_is_final_even_beside_a_good_session() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("vera", Role::Viewer).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
    let key = gateway.system_key("k", Role::Viewer).await;
    let last = if key.ends_with('x') { 'y' } else { 'x' };
    let mistyped = format!("{}{last}", &key[..key.len() - 1]);
    assert_eq!(gateway.get("/data", &cookie).await.status, 200);
    for header in [
        bearer(&mistyped),
        bearer("eyJhbGciOiJub25lIn0.e30."),
        "authorization: Basic eDp5\r\n".to_owned(),
        "authorization: Bearer\r\n".to_owned(),
        "x-api-key: nonsense\r\n".to_owned(),
        format!("{}x-api-key: {mistyped}\r\n", bearer(&key)),
    ] {
        for path in ["/data", "/public"] {
            let answer = gateway.get(path, &format!("{header}{cookie}accept: text/html\r\n")).await;
            assert_eq!(answer.status, 401, "{path} {header}");
        }
    }
    assert_eq!(upstream.count(), 1);
}

/// C12: every session of a person, ended.
/// C14: a session after a change of role.
/// C15: a session after its owner was disabled.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_at_once_by_revocation_role_change_and_disabling() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let id = gateway.user("vera", Role::Viewer).await;
    gateway.user("root", Role::Admin).await;

    for ending in ["end sessions", "change role", "disable"] {
        let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
        assert_eq!(gateway.get("/data", &cookie).await.status, 200, "before: {ending}");
        match ending {
            "end sessions" => assert_eq!(gateway.store.end_sessions_of(&id).await.unwrap(), 1),
            "change role" => gateway.accounts.set_role(&id, Role::Member).await.unwrap(),
            _ => gateway.accounts.disable(&id).await.unwrap(),
        }
        gateway.settle().await;
        assert_eq!(gateway.get("/data", &cookie).await.status, 401, "after: {ending}");
    }
    assert_eq!(gateway.post_login("vera", crate::support::gateway::PASSWORD).await.status, 401);
}

/// K04: a key whose owner lost a right.
#[tokio::test(flavor = "multi_thread")]
async fn a_users_key_is_never_more_than_its_owner() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("root", Role::Admin).await;
    let id = gateway.user("mel", Role::Member).await;
    let (key, _) = gateway.key_with("laptop", Role::Member, Some(id.clone()), KeyScope::default()).await;
    assert_eq!(gateway.get("/admin", &bearer(&key)).await.status, 403);
    assert_eq!(gateway_post(&gateway, "/data", key.clone()).await, 200);

    gateway.accounts.set_role(&id, Role::Viewer).await.unwrap();
    gateway.settle().await;
    assert_eq!(gateway_post(&gateway, "/data", key.clone()).await, 403);
    assert_eq!(gateway.get("/data", &bearer(&key)).await.status, 200);

    gateway.accounts.disable(&id).await.unwrap();
    gateway.settle().await;
    assert_eq!(gateway.get("/data", &bearer(&key)).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_works_only_within_its_scope_and_time() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let scope =
        KeyScope { paths: vec!["/v1".into()], methods: vec!["GET".parse().unwrap()], ..KeyScope::default() };
    let (narrow, _) = gateway.key_with("narrow", Role::Admin, None, scope).await;
    assert_eq!(gateway.get("/v1/x", &bearer(&narrow)).await.status, 200);
    assert_eq!(gateway.get("/v2", &bearer(&narrow)).await.status, 403);
    assert_eq!(gateway.get("/public", &bearer(&narrow)).await.status, 403);
    assert_eq!(gateway_post(&gateway, "/v1", narrow.clone()).await, 403);
    assert_eq!(gateway.send("HEAD /v1/x", &bearer(&narrow)).await.status, 200, "HEAD is decided as GET");
    assert_eq!(gateway.send("OPTIONS /v1/x", &bearer(&narrow)).await.status, 403);
    let elsewhere = KeyScope { networks: vec!["192.0.2.0/24".parse().unwrap()], ..KeyScope::default() };
    let (elsewhere, _) = gateway.key_with("elsewhere", Role::Admin, None, elsewhere).await;
    assert_eq!(gateway.get("/v1", &bearer(&elsewhere)).await.status, 403);
}

/// C19: a session kept alive beyond its end.
/// C28: a session at the very second of its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_expires_idle_and_absolutely() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n[session]\nidle = \"1h\"\nabsolute = \"3h\"\n{ROUTES}",
        upstream.url()
    ))
    .await;
    gateway.user("vera", Role::Viewer).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
    let minutes = |count: u64| Duration::from_secs(count * 60);
    for _ in 0..3 {
        assert_eq!(gateway.get("/data", &cookie).await.status, 200);
        gateway.clock.advance(minutes(50));
    }
    assert_eq!(gateway.get("/data", &cookie).await.status, 200, "use keeps it alive");
    gateway.clock.advance(minutes(61));
    assert_eq!(gateway.get("/data", &cookie).await.status, 401, "idle for too long");

    let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
    for _ in 0..4 {
        assert_eq!(gateway.get("/data", &cookie).await.status, 200);
        gateway.clock.advance(minutes(44));
    }
    gateway.clock.advance(minutes(5));
    assert_eq!(gateway.get("/data", &cookie).await.status, 401, "past its end");
}

/// C03: two cookies of our name.
/// C23: cookies that are none of ours.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_forged_and_doubled_cookies_never_let_in() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("vera", Role::Viewer).await;
    let good = gateway.sign_in("vera").await;
    let mut flipped = good.clone();
    let last = flipped.pop().unwrap();
    flipped.push(if last == 'A' { 'B' } else { 'A' });
    let long = format!("doorward={}", "a".repeat(8000));
    for cookie in [
        "doorward=",
        "doorward=x",
        "doorward=.",
        "doorward=%00",
        "doorward=\u{fc}",
        &long,
        &flipped,
        &good.to_uppercase(),
    ] {
        let answer = gateway.get("/data", &format!("cookie: {cookie}\r\n")).await;
        assert_eq!(answer.status, 401, "{cookie}");
    }
    for doubled in
        [format!("cookie: {good}; {good}\r\n"), format!("cookie: {good}\r\ncookie: doorward=x\r\n")]
    {
        assert_eq!(gateway.get("/data", &doubled).await.status, 401, "{doubled}");
    }
    assert_eq!(upstream.count(), 0);
    assert_eq!(gateway.get("/data", &format!("cookie: a=1; {good}; b=2\r\n")).await.status, 200);
    assert_eq!(upstream.last().header("cookie"), Some("a=1; b=2"));
    let stale = gateway.get("/public", "cookie: doorward=stale\r\n").await;
    assert_eq!(stale.status, 200, "a stale cookie is no credential where none is needed");
}
