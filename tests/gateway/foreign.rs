//! Credentials of other systems, and the gateway's own towards an application.

use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward::model::role::Role;

use crate::support::gateway::bearer;
use crate::support::{Gateway, Upstream};

const WEBHOOK: &str = "authorization: Bearer whsec_5f8a\r\n";
const BY_PASSWORD: &str = "authorization: Basic aG9vazpzZWNyZXQ=\r\n";
const BY_SIGNATURE: &str = "authorization: AWS4-HMAC-SHA256 Credential=x\r\n";
const BY_KEY: &str = "x-api-key: 0f1e2d3c\r\n";
const THEIRS: [&str; 4] = [WEBHOOK, BY_PASSWORD, BY_SIGNATURE, BY_KEY];

/// Anyone may call the hooks; two of the routes say what becomes of a credential there.
fn settings(upstream: &Upstream, more: &str) -> String {
    let rules = r#"rules = [{ path = "/*/hook", allow = "anyone" }, { allow = "viewer" }]"#;
    let route = |path: &str, foreign: &str| {
        format!("[[routes]]\nupstream = \"app\"\npath = \"/{path}\"\n{foreign}\n{rules}\n")
    };
    let routes = [
        route("refuse", ""),
        route("drop", "foreign_credentials = \"drop\""),
        route("pass", "foreign_credentials = \"pass\""),
    ];
    format!("[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{more}\n{}", upstream.url(), routes.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_passes_as_nobody_with_or_without_its_credential_where_anyone_may() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&settings(&upstream, "")).await;
    gateway.user("vera", Role::Viewer).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
    for theirs in THEIRS {
        let (name, value) = theirs.trim_end().split_once(": ").unwrap();
        for beside in ["", cookie.as_str()] {
            let headers = format!("{theirs}{beside}");
            for (path, status) in [
                ("/drop/hook", 200),
                ("/pass/hook", 200),
                ("/refuse/hook", 401),
                // Where somebody is wanted it is final, and never falls through to the cookie.
                ("/drop/data", 401),
                ("/pass/data", 401),
                ("/refuse/data", 401),
            ] {
                let before = upstream.count();
                let answer = gateway.get(path, &headers).await;
                assert_eq!(answer.status, status, "{path} {headers}");
                assert_eq!(upstream.count() - before, usize::from(status == 200), "{path} {headers}");
                if status == 200 {
                    let sent = upstream.last();
                    assert_eq!(sent.header(name), path.starts_with("/pass").then_some(value), "{path}");
                    assert_eq!(sent.header("x-auth-user"), None, "{path} {headers}");
                    assert!(!sent.head.contains("doorward="), "{}", sent.head);
                } else {
                    let text = answer.text();
                    assert!(text.contains("foreign_credentials"), "{path}: {text}");
                    let switch = if name == "x-api-key" { "pass_api_key" } else { "pass_authorization" };
                    assert!(text.contains(switch), "{path}: {text}");
                    assert!(name != "x-api-key" || text.contains("keys.header"), "{path}: {text}");
                }
            }
        }
    }
    assert_eq!(gateway.get("/drop/data", &cookie).await.status, 200, "the cookie alone counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_of_ours_is_refused_where_a_foreign_one_passes() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&settings(&upstream, "")).await;
    let key = gateway.system_key("k", Role::Viewer).await;
    let basic = |pair: &str| format!("authorization: Basic {}\r\n", STANDARD.encode(pair));
    for wrong in [
        bearer("dw_s_mistyped"),
        bearer(&format!("\"{key}\"")),
        format!("authorization: Token token=\"{key}\"\r\n"),
        format!("authorization: {key}\r\n"),
        format!("x-api-key: {}\r\n", &key[..key.len() - 1]),
        format!("x-api-key: \"{key}\"\r\n"),
        format!("x-api-key: key={key}\r\n"),
        basic(&format!("x:{key}")),
        basic(&format!("{key}:x")),
        // Beside somebody else's, it cannot be told which of them counts.
        format!("{WEBHOOK}x-api-key: {key}\r\n"),
        format!("{}{BY_KEY}", bearer(&key)),
    ] {
        for path in ["/drop/hook", "/pass/hook", "/refuse/hook"] {
            assert_eq!(gateway.get(path, &wrong).await.status, 401, "{path} {wrong}");
        }
    }
    assert_eq!(upstream.begun(), 0);
    assert_eq!(gateway.get("/drop/hook", &bearer(&key)).await.status, 200);
    assert_eq!(upstream.last().header("x-auth-user"), Some("k"), "a good one counts there too");
    assert_eq!(upstream.last().header("authorization"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_keeps_its_own_api_keys_and_never_sees_ours() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&settings(&upstream, "pass_api_key = true")).await;
    gateway.user("vera", Role::Viewer).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
    let key = gateway.system_key("k", Role::Viewer).await;
    for (headers, status, user, left) in [
        (format!("{BY_KEY}{cookie}"), 200, Some("vera"), Some("0f1e2d3c")),
        (format!("{BY_KEY}{}", bearer(&key)), 200, Some("k"), Some("0f1e2d3c")),
        (format!("x-api-key: {key}\r\n"), 200, Some("k"), None),
        (format!("{BY_KEY}x-api-key: {key}\r\n"), 200, Some("k"), Some("0f1e2d3c")),
        (BY_KEY.to_owned(), 401, None, None),
        (format!("x-api-key: dw_s_mistyped\r\n{cookie}"), 401, None, None),
        (format!("x-api-key: \"{key}\"\r\n{cookie}"), 401, None, None),
        (format!("{WEBHOOK}{cookie}"), 401, None, None),
    ] {
        let before = upstream.count();
        let answer = gateway.get("/refuse/data", &headers).await;
        assert_eq!(answer.status, status, "{headers}: {}", answer.text());
        assert_eq!(upstream.count() - before, usize::from(status == 200), "{headers}");
        if status == 200 {
            let sent = upstream.last();
            assert_eq!((sent.header("x-auth-user"), sent.header("x-api-key")), (user, left), "{headers}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_gets_in_by_a_credential_of_its_own_for_those_whom_the_rules_allow() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "s3cr3t-of-the-file\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let file = file.display();
    let value = format!("Basic {}", STANDARD.encode("doorward:quiet herons: at dawn"));
    let basic = "basic = { username = \"doorward\", password = \"quiet herons: at dawn\" }";
    gets_in(basic, "authorization", &value).await;
    gets_in(&format!("token_file = '{file}'"), "authorization", "Bearer s3cr3t-of-the-file").await;
    gets_in(&format!("set_headers = {{ X-Vault_file = '{file}' }}"), "x-vault", "s3cr3t-of-the-file").await;
}

async fn gets_in(login: &str, name: &str, value: &str) {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "{}\n[[routes]]\nupstream = \"app\"\npath = \"/shadow\"\nenforce = \"log\"\nrules = [{{ path = \"/shadow/open\", allow = \"anyone\" }}]\n",
        settings(&upstream, login)
    ))
    .await;
    gateway.ledger.handed_out(value);
    let forged = format!("{name}: forged\r\n");
    let forged = if name == "authorization" { "" } else { &forged };
    let left = (name == "authorization").then_some("Basic aG9vazpzZWNyZXQ=");
    let key = gateway.system_key("k", Role::Viewer).await;
    for (path, headers, sent) in [
        ("/refuse/data", bearer(&key), Some(value)),
        ("/refuse/hook", String::new(), Some(value)),
        ("/refuse/hook", forged.to_owned(), Some(value)),
        ("/pass/hook", WEBHOOK.to_owned(), Some(value)),
        ("/shadow/open", String::new(), Some(value)),
        // Whom the rules would refuse comes to the application as without a gateway.
        ("/shadow/data", String::new(), None),
        ("/shadow/data", bearer(&key), None),
        ("/shadow/data", forged.to_owned(), None),
        ("/shadow/data", BY_PASSWORD.to_owned(), left),
    ] {
        let answer = gateway.get(path, &headers).await;
        assert_eq!(answer.status, 200, "{path} {headers}");
        let told = upstream.last();
        assert_eq!(told.header(name), sent, "{path} {headers}");
        let lines = told.head.to_lowercase().matches(&format!("{name}:")).count();
        assert_eq!(lines, usize::from(sent.is_some()), "{}", told.head);
        assert!(!answer.head.contains(value), "{}", answer.head);
    }
    assert_eq!(gateway.get("/refuse/data", "").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_carries_one_challenge_for_the_scheme_that_its_client_speaks() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n[[routes]]\nupstream = \"app\"\n\
         [[routes]]\nupstream = \"app\"\npath = \"/dav\"\nbasic = true\n",
        upstream.url()
    ))
    .await;
    let key = bearer(&gateway.system_key("k", Role::Viewer).await);
    let (plain, basic) = (r#"Bearer realm="doorward""#, r#"Basic realm="doorward", charset="UTF-8""#);
    let invalid = &format!("{plain}, error=\"invalid_token\"");
    let narrow = &format!("{plain}, error=\"insufficient_scope\"");
    let wrong = bearer("dw_s_mistyped");
    for (line, headers, status, challenge) in [
        ("GET /data", "", 401, Some(plain)),
        ("GET /data", &wrong, 401, Some(invalid)),
        ("GET /data", "authorization: Basic eDp5\r\n", 401, Some(plain)),
        ("GET /data", "x-api-key: theirs\r\n", 401, Some(invalid)),
        ("DELETE /data", &key, 403, Some(narrow)),
        ("GET /dav/x", "", 401, Some(basic)),
        ("PROPFIND /dav/x", "content-length: 0\r\n", 401, Some(basic)),
        ("GET /dav/x", "authorization: Basic eDp5\r\n", 401, Some(basic)),
        ("GET /dav/x", "authorization: Digest username=x\r\n", 401, Some(basic)),
        ("GET /dav/x", &wrong, 401, Some(invalid)),
        ("DELETE /dav/x", &key, 403, Some(narrow)),
        // Scripts and frames of pages get no prompt of the browser's, and people the sign-in page.
        ("GET /dav/x", "sec-fetch-mode: cors\r\nsec-fetch-site: same-origin\r\n", 401, Some(plain)),
        ("GET /dav/x", "referer: http://app.example/dav\r\n", 401, Some(plain)),
        ("GET /dav/x", "x-requested-with: XMLHttpRequest\r\n", 401, Some(plain)),
        ("GET /dav/x", "accept: text/html\r\n", 302, None),
    ] {
        let answer = gateway.send(line, headers).await;
        assert_eq!(answer.status, status, "{line} {headers}");
        assert_eq!(answer.headers("www-authenticate"), Vec::from_iter(challenge), "{line} {headers}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_of_a_trusted_page_reads_refusals_of_the_gateway_and_no_other_script_does() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "[server]\ntrusted_origins = [\"https://spa.example\"]\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n[[routes]]\nupstream = \"app\"\n",
        upstream.url()
    ))
    .await;
    let key = bearer(&gateway.system_key("k", Role::Viewer).await);
    for (line, more, status) in [
        ("GET /data", String::new(), 401),
        ("GET /data", bearer("dw_s_mistyped"), 401),
        ("DELETE /data", key.clone(), 403),
        ("GET /a%2Fb", key.clone(), 400),
    ] {
        let trusted = gateway.send(line, &format!("{more}origin: https://spa.example\r\n")).await;
        assert_eq!(trusted.status, status, "{line}");
        assert_eq!(trusted.header("access-control-allow-origin"), Some("https://spa.example"), "{line}");
        assert_eq!(trusted.header("access-control-allow-credentials"), Some("true"), "{line}");
        let exposed = trusted.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("WWW-Authenticate"), "{exposed}");
        assert!(trusted.headers("vary").contains(&"Origin"), "{}", trusted.head);
        for other in ["https://evil.example", "null", "https://spa.example.evil.example"] {
            let foreign = gateway.send(line, &format!("{more}origin: {other}\r\n")).await;
            assert_eq!(foreign.status, status, "{line} {other}");
            assert!(!foreign.head.to_lowercase().contains("access-control"), "{}", foreign.head);
        }
    }
    let allowed = gateway.get("/data", &format!("{key}origin: https://spa.example\r\n")).await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), None, "the application's answer is its own");
    let page = gateway.get("/_doorward/nowhere", "origin: https://spa.example\r\n").await;
    assert_eq!(page.header("access-control-allow-origin"), None, "so are the gateway's pages");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_odd_path_is_told_its_cause_and_the_setting_for_it_if_there_is_one() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&settings(&upstream, "")).await;
    let key = bearer(&gateway.system_key("k", Role::Viewer).await);
    for (path, named) in [
        ("/refuse//v1/traces", Some("paths.allow = [\"empty-segment\"]")),
        ("/refuse/a%2Fb", Some("paths.allow = [\"encoded-slash\"]")),
        ("/refuse/a;b", Some("paths.allow = [\"semicolon\"]")),
        ("//v1/traces", None),
    ] {
        let answer = gateway.get(path, &key).await;
        assert_eq!(answer.status, 400, "{path}");
        let problem: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(detail.contains("paths.allow"), named.is_some(), "{path}: {detail}");
        assert!(named.is_none_or(|named| detail.contains(named)), "{path}: {detail}");
        assert_eq!(detail.contains("slash at its end"), path.contains("//"), "{path}: {detail}");
    }
    assert_eq!(upstream.begun(), 0);
}
