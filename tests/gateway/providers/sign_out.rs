//! Signing out: on to the provider, and from there.

use std::time::Duration;

use doorward::store::AuditFilter;
use serde_json::{Value, json};
use url::Url;

use super::World;
use crate::open_streams::{lives, open};
use crate::support::browser::Browser;
use crate::support::patient::patient;
use crate::support::provider::{NOW, Provider, claims_of, person, with};
use crate::support::{Answer, Gateway, exchange, until};

/// A provider where people sign out.
async fn world(more: &str) -> World {
    let world = World::with(more).await;
    world
        .provider
        .announce(json!({ "end_session_endpoint": format!("{}/logout?realm=a", world.provider.url) }));
    world
}

async fn sign_out(world: &World, browser: &mut Browser) -> Answer {
    let page = browser.get(&world.gateway, "/_doorward/logout?rd=%2Fdeep").await;
    assert_eq!(page.status, 200, "{}", page.head);
    browser.post(&world.gateway, "/_doorward/logout?rd=%2Fdeep", &[]).await
}

fn parameters(location: &str) -> Vec<(String, String)> {
    Url::parse(location).unwrap().query_pairs().into_owned().collect()
}

fn one(parameters: &[(String, String)], name: &str) -> String {
    let found: Vec<_> = parameters.iter().filter(|(other, _)| other == name).collect();
    assert_eq!(found.len(), 1, "{name} in {parameters:?}");
    found[0].1.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_goes_on_to_the_provider_and_coming_back_signs_nobody_in() {
    let world = world("auto_login = true").await;
    let mut ann = world.signed_in(&person("ann")).await;
    let page = ann.get(&world.gateway, "/_doorward/logout").await;
    assert!(page.text().contains("signed out at The sso too"), "{}", page.text());
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains(&format!("form-action 'self' {}", world.provider.url)), "{policy}");
    let old = ann.cookies();
    let answer = sign_out(&world, &mut ann).await;
    assert_eq!((answer.status, answer.header("referrer-policy")), (303, Some("no-referrer")));
    let location = answer.header("location").unwrap().to_owned();
    assert!(location.starts_with(&format!("{}/logout?realm=a&", world.provider.url)), "{location}");
    let sent = parameters(&location);
    let hint = one(&sent, "id_token_hint");
    assert_eq!(claims_of(&hint)["sub"], "id-of-ann");
    assert_eq!(one(&sent, "client_id"), "doorward");
    assert_eq!(one(&sent, "post_logout_redirect_uri"), "http://localhost/_doorward/signed-out");
    assert!(ann.cookie("doorward").is_none(), "here it is over first");
    assert_eq!(world.gateway.get("/traces", &old).await.status, 401);

    let state = one(&sent, "state");
    assert!(!state.contains("deep"));
    let back = ann.get(&world.gateway, &format!("/_doorward/signed-out?state={state}")).await;
    let login = back.header("location").unwrap().to_owned();
    assert!(login.starts_with("/_doorward/login?rd=%2Fdeep") && login.ends_with("signed-out=1"), "{login}");
    for forgets in [false, true] {
        if forgets {
            ann.forget("doorward-choice");
        }
        let page = ann.get(&world.gateway, &login).await;
        assert_eq!(page.status, 200, "it does not go to the provider by itself: {}", page.head);
        assert!(page.text().contains("Sign in with The sso"));
    }
    for odd in ["", "?state=", "?state=x", "?state=%2Fevil", &format!("?state={state}x")] {
        let back = Browser::default().get(&world.gateway, &format!("/_doorward/signed-out{odd}")).await;
        assert_eq!(back.header("location"), Some("/_doorward/login?rd=%2F&signed-out=1"), "{odd}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_here_where_the_settings_or_the_provider_say_so_or_it_is_down() {
    let local = world("logout = \"local\"").await;
    let mut ann = local.signed_in(&person("ann")).await;
    let answer = sign_out(&local, &mut ann).await;
    assert_eq!(
        answer.header("location"),
        Some("/_doorward/login?rd=%2Fdeep&signed-out=1"),
        "by the settings"
    );
    let without = World::with("").await;
    let mut ann = without.signed_in(&person("ann")).await;
    let answer = sign_out(&without, &mut ann).await;
    assert_eq!(
        answer.header("location"),
        Some("/_doorward/login?rd=%2Fdeep&signed-out=1"),
        "it has no address"
    );
    let by_setting = World::with("logout_url = \"https://sso.example/out\"").await;
    let mut ann = by_setting.signed_in(&person("ann")).await;
    let answer = sign_out(&by_setting, &mut ann).await;
    assert!(answer.header("location").unwrap().starts_with("https://sso.example/out?client_id="));
    // Who signed in by a password has nothing to do with any provider.
    local.gateway.user("mel", doorward::model::role::Role::Member).await;
    let mel = format!("cookie: {}\r\n", local.gateway.sign_in("mel").await);
    let answer = local.gateway.post_form("/_doorward/logout", "", &mel).await;
    assert_eq!(answer.header("location"), Some("/_doorward/login?rd=%2F&signed-out=1"));
}

/// P-10: an ID token of 9 kB.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_that_no_address_holds_is_posted_by_a_button() {
    let world = world("").await;
    let long = with(&person("ann"), &json!({ "padding": "x".repeat(9 * 1024) }));
    let mut ann = world.signed_in(&long).await;
    // As bytes: elsewhere no page may hold a token.
    let more = format!("origin: http://{}\r\n{}", world.gateway.address, ann.cookies());
    let answer = send(&world.gateway, "/_doorward/logout", "", &more).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
    assert_eq!(ann.get(&world.gateway, "/traces").await.status, 401, "here it is over first");
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains(&format!("form-action 'self' {}", world.provider.url)), "{policy}");
    let text = answer.text();
    assert!(text.contains(&format!("action=\"{}/logout?realm=a\"", world.provider.url)), "{text:.600}");
    for name in ["id_token_hint", "client_id", "post_logout_redirect_uri", "state"] {
        assert!(text.contains(&format!("name=\"{name}\"")), "{name}");
    }
}

async fn send(gateway: &Gateway, path: &str, form: &str, more: &str) -> Answer {
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n{more}\r\n{form}",
        gateway.address,
        form.len()
    );
    exchange(gateway.address, request).await
}

async fn say(gateway: &Gateway, token: &str) -> Answer {
    send(gateway, "/_doorward/backchannel-logout/sso", &format!("logout_token={token}"), "").await
}

/// The claims with others beside or instead, `null` included.
fn changed(claims: &Value, change: &Value) -> Value {
    let mut claims = claims.clone();
    claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    claims
}

fn with_sid(name: &str, sid: &str) -> Value {
    with(&person(name), &json!({ "sid": sid }))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_out_at_the_provider_is_out_here_with_what_is_open() {
    let upstream = patient().await;
    let provider = Provider::start().await;
    let text = format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n[[routes]]\nupstream = \"app\"\nrules = [\n\
         {{ name = \"sockets\", path = \"/socket\", methods = \"websocket\", allow = \"viewer\" }},\n\
         {{ name = \"reads\", methods = \"read\", allow = \"viewer\" }},\n]\n{}",
        upstream.url(),
        provider.settings("sso", "")
    );
    let gateway = Gateway::configured(&text).await;
    let mut sessions = Vec::new();
    for (name, sid) in [("ann", "s1"), ("ann", "s2"), ("bob", "s3")] {
        let mut browser = Browser::default();
        assert_eq!(
            browser.sign_in(&gateway, (&provider, "sso"), &with_sid(name, sid), "/").await.status,
            303
        );
        sessions.push(browser);
    }
    let mut first = open(gateway.address, "/socket", &sessions[0].cookies()).await;
    let mut second = open(gateway.address, "/socket", &sessions[1].cookies()).await;
    let mut his = open(gateway.address, "/socket", &sessions[2].cookies()).await;
    let answer = say(&gateway, &provider.logout_token(&json!({ "sid": "s1", "sub": "id-of-ann" }))).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{}", answer.text());
    assert!(answer.body.is_empty() && answer.header("set-cookie").is_none());
    until("the end of the session's socket", async || !lives(&mut first).await).await;
    assert_eq!(gateway.get("/data", &sessions[0].cookies()).await.status, 401);
    assert!(lives(&mut second).await && lives(&mut his).await, "it names one session");
    let answer = say(&gateway, &provider.logout_token(&json!({ "sub": "id-of-ann", "exp": null }))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    until("the end of all of hers", async || !lives(&mut second).await).await;
    assert!(lives(&mut his).await, "it names one person");
    let rows = gateway
        .store
        .audit_recent(&AuditFilter { event: Some("session.revoke"), ..AuditFilter::default() }, 10)
        .await
        .unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row.detail.contains("\"cause\":\"provider-logout\"")), "{rows:?}");
}

/// P-04: what is no logout token for us, or came before.
#[tokio::test(flavor = "multi_thread")]
async fn a_logout_token_that_is_none_ends_nothing_and_says_why() {
    let world = World::with("").await;
    let ann = world.signed_in(&with_sid("ann", "s1")).await;
    let is_in = async || world.gateway.get("/traces", &ann.cookies()).await.status == 200;
    let good = json!({ "sid": "s1", "sub": "id-of-ann" });
    let id_token = json!({ "sid": "s1", "sub": "id-of-ann", "nonce": "n", "events": null });
    for change in [
        json!({ "aud": "other" }),
        json!({ "iss": "https://evil.example" }),
        json!({ "nonce": "n" }),
        json!({ "events": null }),
        json!({ "events": { "other": {} } }),
        json!({ "iat": NOW - 3600, "exp": null }),
        json!({ "iat": NOW + 3600 }),
        json!({ "exp": NOW - 3600 }),
        json!({ "jti": null }),
        json!({ "sid": null, "sub": null }),
        id_token,
    ] {
        let answer = say(&world.gateway, &world.provider.logout_token(&changed(&good, &change))).await;
        assert_eq!((answer.status, answer.header("cache-control")), (400, Some("no-store")), "{change}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{change}");
        let said: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(said["error"], "invalid_request", "{change}");
        assert!(said["error_description"].as_str().unwrap().len() > 10, "{change}");
        assert!(is_in().await, "{change}");
    }
    let other = Provider::start().await;
    let foreign = other.logout_token(&changed(&good, &json!({ "iss": world.provider.url })));
    assert_eq!(say(&world.gateway, &foreign).await.status, 400, "by a key of somebody else");
    let token = world.provider.logout_token(&good);
    let (head, signature) = token.rsplit_once('.').unwrap();
    let unsigned = format!("{head}.");
    for text in
        ["", "x", "a.b.c", head, &unsigned, &signature.repeat(3), &format!("{token}&logout_token={token}")]
    {
        assert_eq!(say(&world.gateway, text).await.status, 400, "{text:.40}");
    }
    for (path, form, status) in [
        ("/_doorward/backchannel-logout/sso", "token=x", 400),
        ("/_doorward/backchannel-logout/other", "logout_token=x", 404),
        ("/_doorward/backchannel-logout/", "logout_token=x", 404),
    ] {
        assert_eq!(send(&world.gateway, path, form, "").await.status, status, "{path} {form}");
    }
    assert_eq!(world.gateway.get("/_doorward/backchannel-logout/sso", "").await.status, 405);
    let large = format!("logout_token={}", "x".repeat(100_000));
    assert_eq!(send(&world.gateway, "/_doorward/backchannel-logout/sso", &large, "").await.status, 413);
    assert!(is_in().await);

    let unknown = say(&world.gateway, &world.provider.logout_token(&json!({ "sid": "s9" }))).await;
    assert_eq!((unknown.status, is_in().await), (200, true), "who is not here is signed out");
    // Servers are no pages: what browsers say of themselves means nothing here.
    let odd = "origin: https://evil.example\r\nsec-fetch-site: cross-site\r\ncookie: doorward=x\r\n";
    let path = "/_doorward/backchannel-logout/sso";
    let answer = send(&world.gateway, path, &format!("logout_token={token}"), odd).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    until("the end", async || !is_in().await).await;
    let mut again = world.signed_in(&with_sid("ann", "s1")).await;
    assert_eq!(say(&world.gateway, &token).await.status, 400, "it came before");
    assert_eq!(again.get(&world.gateway, "/traces").await.status, 200, "and ends nothing again");
    world.gateway.clock.advance(Duration::from_mins(6));
    assert_eq!(
        say(&world.gateway, &world.provider.logout_token(&good)).await.status,
        400,
        "a minute too old"
    );
}
