//! Break-glass tokens, keys of systems that were here before, and keys as Basic passwords.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward::model::role::Role;

use crate::credentials::ROUTES;
use crate::support::gateway::bearer;
use crate::support::{Gateway, Upstream};

const GLASS: &str = "q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=";
const NEXT: &str = "Wm4Tz0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=";
const OLD: &str = "Zr8Kd0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=";
const READER: &str = "t6BnYVb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=";

fn settings(upstream: &Upstream, ring: &str, more: &str) -> String {
    format!(
        r#"
[[upstreams]]
name = "app"
url = "{url}"
{more}

[[break_glass]]
name = "on-call"
token = "{GLASS}"

[[break_glass]]
name = "elsewhere"
token = "{NEXT}"
networks = ["192.0.2.0/24"]

[[keys.imported]]
name = "ingestion"
role = "agent"
path = "/ingest"
ring = '''{ring}'''

[[keys.imported]]
name = "analytics"
role = "viewer"
ring = '[{{ "name": "grafana", "key": "{READER}" }}]'
{ROUTES}
[[routes]]
upstream = "app"
path = "/agents"
basic = true
rules = [ {{ name = "named", path = "/agents/grafana", allow = "key:grafana" }}, {{ name = "vouched", path = "/agents/vouched", allow = "provider:break-glass" }}, {{ name = "posts", methods = "write", allow = ["agent", "member"] }}, {{ name = "gets", allow = "viewer" }} ]
"#,
        url = upstream.url()
    )
}

fn ring() -> String {
    format!(r#"[{{ "name": "collector", "key": "{OLD}" }}]"#)
}

fn basic(pair: &str) -> String {
    format!("authorization: Basic {}\r\n", STANDARD.encode(pair))
}

async fn status(gateway: &Gateway, line: &str, headers: &str) -> u16 {
    let length = if line.starts_with("POST") { "content-length: 0\r\n" } else { "" };
    gateway.send(line, &format!("{headers}{length}")).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_break_glass_token_opens_what_its_role_may_and_any_other_is_final() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&settings(&upstream, &ring(), "")).await;
    gateway.user("root", Role::Admin).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("root").await);
    let before = gateway.lookups();
    assert_eq!(status(&gateway, "GET /admin", &bearer(GLASS)).await, 200);
    let told = upstream.last();
    assert_eq!(told.header("x-auth-subject"), Some("break-glass:on-call"));
    assert!(!told.head.contains(&GLASS[..30]), "{}", told.head);
    assert_eq!(status(&gateway, "POST /data", &format!("x-api-key: {GLASS}\r\n")).await, 200);
    assert_eq!(gateway.lookups(), before, "it needs no store");
    let count = upstream.count();
    for at in 0..GLASS.len() {
        let mut wrong = GLASS.as_bytes().to_vec();
        wrong[at] = if wrong[at] == b'x' { b'y' } else { b'x' };
        let wrong = bearer(std::str::from_utf8(&wrong).unwrap());
        for path in ["/admin", "/public"] {
            assert_eq!(
                status(&gateway, &format!("GET {path}"), &format!("{wrong}{cookie}")).await,
                401,
                "{at}"
            );
        }
    }
    for wrong in [&GLASS[1..], &GLASS[..33], &format!("{GLASS}x"), &GLASS.to_lowercase(), ""] {
        assert_eq!(
            status(&gateway, "GET /public", &format!("{}{cookie}", bearer(wrong))).await,
            401,
            "{wrong}"
        );
    }
    let two = format!("{}{}", bearer(GLASS), format_args!("x-api-key: {OLD}\r\n"));
    assert_eq!(status(&gateway, "GET /admin", &two).await, 401, "two credentials");
    assert_eq!(status(&gateway, "GET /admin", &bearer(NEXT)).await, 403, "from another network");
    assert_eq!(upstream.count(), count);
    assert_eq!(status(&gateway, "GET /agents/vouched", &bearer(GLASS)).await, 200);
    assert_eq!(status(&gateway, "GET /agents/vouched", &bearer(READER)).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_key_works_within_its_role_and_paths_until_it_leaves_the_ring() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&settings(&upstream, &ring(), "")).await;
    let old = bearer(OLD);
    assert_eq!(status(&gateway, "POST /ingest", &old).await, 200);
    let told = upstream.last();
    assert_eq!(told.header("x-auth-subject"), Some("imported:ingestion/collector"));
    assert_eq!((told.header("x-auth-user"), told.header("x-auth-role")), (Some("collector"), Some("agent")));
    assert!(told.header("authorization").is_none());
    assert_eq!(status(&gateway, "POST /ingest", &format!("x-api-key: {OLD}\r\n")).await, 200);
    for (line, key, wanted) in [
        ("GET /data", OLD, 403),
        ("POST /ingested", OLD, 403),
        ("POST /agents", OLD, 403),
        ("GET /data", READER, 200),
        ("POST /data", READER, 403),
        ("GET /agents/grafana", READER, 200),
        ("GET /agents/grafana", GLASS, 403),
        ("GET /data", "t6BnYVb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/", 401),
    ] {
        assert_eq!(status(&gateway, line, &bearer(key)).await, wanted, "{line} {key}");
    }
    let after = Gateway::configured(&settings(&upstream, "[]", "")).await;
    assert_eq!(status(&after, "POST /ingest", &old).await, 401, "it left the ring");
    assert_eq!(status(&after, "GET /public", &old).await, 401, "and is not a foreign token either");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ours_stays_here_where_foreign_authorization_passes() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&settings(&upstream, &ring(), "pass_authorization = true")).await;
    let key = gateway.system_key("v", Role::Viewer).await;
    for (headers, wanted) in [
        (bearer("theirs"), Some("Bearer theirs")),
        (basic("them:secret"), Some("Basic dGhlbTpzZWNyZXQ=")),
        (bearer(GLASS), None),
        (bearer(READER), None),
        (bearer(&key), None),
    ] {
        assert_eq!(status(&gateway, "GET /public", &headers).await, 200, "{headers}");
        assert_eq!(upstream.last().header("authorization"), wanted, "{headers}");
    }
    let count = upstream.count();
    for ours in [GLASS, READER, &key] {
        assert_eq!(status(&gateway, "GET /public", &basic(&format!("x:{ours}"))).await, 401, "{ours}");
    }
    // Only `Authorization` may be the application's; a wrong value in our own header stays final.
    gateway.user("mel", Role::Member).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    for beside in ["", cookie.as_str()] {
        assert_eq!(status(&gateway, "GET /public", &format!("x-api-key: nonsense\r\n{beside}")).await, 401);
    }
    assert_eq!(upstream.count(), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_rules_only_log_an_application_that_checks_goes_on_seeing_the_keys_it_shares_with_us() {
    let upstream = Upstream::spawn().await;
    for (setting, enforce, goes_on) in [
        ("pass_authorization = true", "log", true),
        ("", "log", true),
        ("pass_authorization = true\npass_api_key = true", "off", true),
        ("pass_authorization = true\npass_api_key = true", "on", false),
    ] {
        let settings = settings(&upstream, &ring(), setting);
        let gateway = Gateway::configured(&format!("enforce = \"{enforce}\"\n{settings}")).await;
        let own = gateway.system_key("k", Role::Viewer).await;
        for (key, shared) in [(READER, true), (GLASS, false), (&own, false)] {
            assert_eq!(status(&gateway, "GET /data", &bearer(key)).await, 200, "{setting} {enforce}");
            let sent = upstream.last();
            assert_eq!(sent.header("authorization").is_some(), shared && goes_on, "{setting} {enforce}");
            assert!(sent.header("x-auth-user").is_some(), "{setting} {enforce}");
            assert_eq!(status(&gateway, "GET /data", &format!("x-api-key: {key}\r\n")).await, 200);
            let sent = upstream.last();
            assert_eq!(sent.header("x-api-key").is_some(), shared && goes_on, "{setting} {enforce}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn basic_counts_on_its_routes_only_and_is_asked_for_there_only() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&settings(&upstream, &ring(), "")).await;
    let agent = gateway.system_key("agent", Role::Agent).await;
    let viewer = gateway.system_key("viewer", Role::Viewer).await;
    gateway.user("mel", Role::Member).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    let last = if agent.ends_with('x') { 'y' } else { 'x' };
    let mistyped = format!("{}{last}", &agent[..agent.len() - 1]);
    for (line, headers, wanted) in [
        ("POST /agents", basic(&format!("anything:{agent}")), 200),
        ("POST /agents", basic(&format!(":{agent}")), 200),
        ("POST /agents", format!("authorization: bAsIc {}\r\n", STANDARD.encode(format!("x:{agent}"))), 200),
        ("GET /agents", basic(&format!("x:{READER}")), 200),
        ("GET /agents", basic(&format!("x:{agent}")), 403),
        ("POST /agents", basic(&format!("x:{viewer}")), 403),
        ("POST /agents", format!("{}origin: https://evil.example\r\n", basic(&format!("x:{agent}"))), 403),
        ("POST /agents", format!("{}sec-fetch-site: cross-site\r\n", basic(&format!("x:{agent}"))), 403),
        ("POST /agents", basic(&format!("x:{mistyped}")), 401),
        ("POST /agents", format!("{}{cookie}", basic("mel:correct horse battery")), 401),
        ("POST /agents", format!("{}{cookie}", basic(&agent)), 401),
        ("POST /agents", format!("authorization: Basic !!!\r\n{cookie}"), 401),
        ("GET /data", basic(&format!("x:{viewer}")), 401),
        ("GET /data", format!("{}{cookie}", basic(&format!("x:{viewer}"))), 401),
        ("GET /public", basic(&format!("x:{viewer}")), 401),
    ] {
        let count = upstream.count();
        assert_eq!(status(&gateway, line, &headers).await, wanted, "{line} {headers}");
        assert_eq!(upstream.count() - count, usize::from(wanted == 200), "{line} {headers}");
        if wanted == 200 {
            assert!(upstream.last().header("authorization").is_none());
        }
    }
    for (headers, scheme) in
        [(String::new(), "Basic "), (basic("x:y"), "Basic "), (bearer("nonsense"), "Bearer ")]
    {
        let answer = gateway.get("/agents", &headers).await;
        let asked = answer.headers("www-authenticate");
        assert_eq!(answer.status, 401);
        assert!(asked.len() == 1 && asked[0].starts_with(scheme), "{headers}: {asked:?}");
    }
    let other = gateway.get("/data", "").await;
    let asked = other.headers("www-authenticate");
    assert!(!asked.is_empty() && asked.iter().all(|asked| asked.starts_with("Bearer")), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_tokens_in_and_out() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&settings(&upstream, &ring(), "")).await;
    gateway.user("mel", Role::Member).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    let (old, new) = (bearer(OLD), bearer("hN5pYVb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/="));
    assert_eq!(status(&gateway, "POST /ingest", &old).await, 200);
    assert_eq!(status(&gateway, "POST /ingest", &new).await, 401);
    let other = ring().replace(OLD, "hN5pYVb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=");
    let more = "assertion = {}\nset_headers = { X-Team = \"{user}\" }";
    let changed = settings(&upstream, &other, more).replace(GLASS, "Bd2QxVb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=x");
    gateway.reload(&changed).await.unwrap();
    let revoked = format!("{old}{cookie}");
    for (line, headers, wanted) in [
        ("POST /ingest", old.as_str(), 401),
        ("GET /public", &revoked, 401),
        ("POST /ingest", &new, 200),
        ("GET /admin", &bearer(GLASS), 401),
        ("GET /data", &bearer(READER), 200),
    ] {
        assert_eq!(status(&gateway, line, headers).await, wanted, "{line} {headers}");
    }
    // Callers that are remembered are told of in the new terms, and the keys for them are published.
    assert_eq!(status(&gateway, "GET /data", &format!("{cookie}x_team: forged\r\n")).await, 200);
    let told = upstream.last();
    assert_eq!(told.header("x-team"), Some("mel"));
    assert!(told.header("x-doorward-assertion").is_some() && !told.head.contains("forged"), "{}", told.head);
    let keys = gateway.get("/_doorward/jwks.json", "").await;
    assert_eq!(keys.text().matches("\"kid\"").count(), 3, "{}", keys.text());

    let unreadable = changed.replace(&other, "[");
    assert!(gateway.reload(&unreadable).await.is_err());
    assert_eq!(status(&gateway, "POST /ingest", &new).await, 200, "what cannot be read changes nothing");
}
