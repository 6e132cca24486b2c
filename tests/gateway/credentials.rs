//! Who gets in: keys, sessions, and how they end.

use std::time::Duration;

use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;
use doorward::model::secret::Secret;
use doorward::model::token::{KeyPurpose, KeyText, MasterKey};

pub use crate::support::gateway::ROUTES;
use crate::support::gateway::bearer;
use crate::support::{Gateway, Upstream, until};

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

    assert!(gateway.keys.revoke(&gateway.by, &id).await.unwrap());
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

#[tokio::test(flavor = "multi_thread")]
async fn two_different_header_credentials_are_401() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("vera", Role::Viewer).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
    let (one, other) =
        (gateway.system_key("a", Role::Admin).await, gateway.system_key("b", Role::Admin).await);
    let named = |key: &str| format!("x-api-key: {key}\r\n");
    for two in [
        format!("{}{}", bearer(&one), named(&other)),
        format!("{}{}", named(&other), bearer(&one)),
        format!("{}{}", bearer(&one), bearer(&other)),
        format!("{}{}", named(&one), named(&other)),
        format!("{}{}{}", bearer(&one), named(&one), named(&other)),
    ] {
        for session in ["", &cookie] {
            for path in ["/data", "/public"] {
                let answer = gateway.get(path, &format!("{two}{session}accept: text/html\r\n")).await;
                assert_eq!(answer.status, 401, "{path} {two}{session}");
            }
            let api = gateway.get("/data", &format!("{two}{session}")).await;
            assert_eq!(api.problem().as_deref(), Some("several-credentials"), "{two}{session}");
        }
    }
    assert_eq!(upstream.begun(), 0);
    let twice_the_same = format!("{}{}", bearer(&one), named(&one));
    assert_eq!(gateway.get("/data", &twice_the_same).await.status, 200, "which is one credential");
    for key in [&one, &other] {
        assert_eq!(gateway.get("/data", &bearer(key)).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_on_a_warm_cache_asks_the_store_nothing() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let id = gateway.user("vera", Role::Viewer).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
    let (system, system_id) = gateway.key_with("k", Role::Viewer, None, KeyScope::default()).await;
    let system = bearer(&system);
    let (own, _) = gateway.key_with("own", Role::Viewer, Some(id), KeyScope::default()).await;
    let own = format!("x-api-key: {own}\r\n");
    let good = [&cookie, &system, &own];
    let before = gateway.lookups();
    for credential in good {
        assert_eq!(gateway.get("/data", credential).await.status, 200);
    }
    // Threads tell one another what the store said.
    assert_eq!(gateway.lookups(), before + 3, "each is looked up once");
    for _ in 0..50 {
        for credential in good {
            for (path, status) in [("/data", 200), ("/public", 200), ("/admin", 403), ("/nowhere?x", 200)] {
                assert_eq!(gateway.get(path, credential).await.status, status, "{path}");
            }
        }
        for wrong in ["", "cookie: doorward=forged.x\r\n", &bearer("dw_s_mistyped")] {
            assert_eq!(gateway.get("/data", wrong).await.status, 401);
        }
    }
    assert_eq!(gateway.lookups(), before + 3, "whatever is remembered, forged or mistyped is not looked up");
    assert!(gateway.keys.revoke(&gateway.by, &system_id).await.unwrap());
    gateway.settle().await;
    assert_eq!(gateway.get("/data", &system).await.status, 401);
    assert!(gateway.lookups() > before + 3, "which shows that lookups are counted");
}

/// The same key with one other character in its secret, and the checksum that is right for that.
fn with_another_secret(key: &str) -> String {
    let (body, _) = key.split_at(key.len() - 6);
    let (kept, last) = body.split_at(body.len() - 1);
    let body = format!("{kept}{}", if last == "x" { 'y' } else { 'x' });
    with_checksum(&body)
}

/// CRC-32 as six base 62 digits.
fn with_checksum(body: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut left = usize::try_from(crc32fast::hash(body.as_bytes())).unwrap();
    let mut digits = [' '; 6];
    for digit in digits.iter_mut().rev() {
        *digit = char::from(DIGITS[left % 62]);
        left /= 62;
    }
    format!("{body}{}", String::from_iter(digits))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_cache_answers_only_for_the_whole_credential() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("vera", Role::Viewer).await;
    let cookie = gateway.sign_in("vera").await;
    let (key, id) = gateway.key_with("k", Role::Viewer, None, KeyScope::default()).await;
    assert_eq!(with_checksum(key.split_at(key.len() - 6).0), key, "checksums are made as they are checked");
    let other_secret = with_another_secret(&key);
    let other_kind = with_checksum(other_secret.replacen("dw_s_", "dw_u_", 1).split_at(key.len() - 6).0);
    for key in [&other_secret, &other_kind] {
        assert_eq!(KeyText::id_of(key), Some(id.as_str()), "a whole key of the same id");
    }
    // Signed with the right key, as if that had leaked.
    let file = std::fs::read_to_string(gateway.folder.path().join("doorward.db.secret")).unwrap();
    let signing = MasterKey::new(Secret::new(file.trim())).derive(KeyPurpose::Session);
    let (token, _) = cookie.strip_prefix("doorward=").unwrap().rsplit_once('.').unwrap();
    assert_eq!(format!("doorward={}", signing.sign(token)), cookie, "cookies are signed as they are checked");
    let (kept, last) = token.split_at(token.len() - 1);
    let other_token =
        format!("doorward={}", signing.sign(&format!("{kept}{}", if last == "w" { 'Q' } else { 'w' })));
    let cookie_line = |cookie: &str| format!("cookie: {cookie}\r\n");
    let mut wrong = vec![cookie_line(&other_token)];
    for key in [&other_secret, &other_kind] {
        wrong.extend([bearer(key), format!("x-api-key: {key}\r\n")]);
    }
    let mut looks = 0;
    for round in 0..6 {
        for good in [bearer(&key), format!("x-api-key: {key}\r\n"), cookie_line(&cookie)] {
            assert_eq!(gateway.get("/data", &good).await.status, 200, "{round}");
        }
        let reached = upstream.begun();
        for wrong in &wrong {
            let before = gateway.lookups();
            assert_eq!(gateway.get("/data", wrong).await.status, 401, "{round} {wrong}");
            looks += gateway.lookups() - before;
        }
        assert_eq!(upstream.begun(), reached, "{round}");
    }
    assert!(looks >= 3, "nothing but the store can tell, of each of the three");
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
            "change role" => gateway.accounts.set_role(&gateway.by, &id, Role::Member).await.unwrap(),
            _ => gateway.accounts.disable(&gateway.by, &id).await.unwrap(),
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

    gateway.accounts.set_role(&gateway.by, &id, Role::Viewer).await.unwrap();
    gateway.settle().await;
    assert_eq!(gateway_post(&gateway, "/data", key.clone()).await, 403);
    assert_eq!(gateway.get("/data", &bearer(&key)).await.status, 200);

    gateway.accounts.disable(&gateway.by, &id).await.unwrap();
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
    assert_eq!(stale.status, 200, "a stale cookie is not a credential where none is needed");
}

/// A key that is nobody's is remembered as that, for a minute of a clock that stands still here.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_owner_is_let_in_again_is_looked_up_again() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let vera = gateway.user("vera", Role::Viewer).await;
    let (key, _) = gateway.key_with("k", Role::Viewer, Some(vera.clone()), KeyScope::default()).await;
    let becomes = async |status: u16| {
        until("news of the change", async || gateway.get("/data", &bearer(&key)).await.status == status)
            .await;
    };
    for _ in 0..3 {
        gateway.accounts.disable(&gateway.by, &vera).await.unwrap();
        becomes(401).await;
        assert_eq!(gateway.get("/data", &bearer(&key)).await.status, 401, "remembered by now");
        gateway.accounts.enable(&gateway.by, &vera).await.unwrap();
        becomes(200).await;
    }
}
