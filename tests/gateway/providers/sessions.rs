//! Sessions while they go on: they learn from the provider what it says now.

use std::time::Duration;

use doorward::model::role::Role;
use doorward::model::time::Clock as _;
use doorward::store::AuditFilter;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{World, settings};
use crate::open_streams::{lives, open};
use crate::support::browser::Browser;
use crate::support::patient::patient;
use crate::support::provider::{Fault, Provider, person, with};
use crate::support::{Gateway, Upstream, until};

/// What the stub's tokens are good for.
const LIFETIME: Duration = Duration::from_mins(5);
const GROUPS: &str = "[providers.claims]\ngroups = \"groups\"";

async fn world(more: &str) -> World {
    let world = World::with(more).await;
    world.provider.let_refresh();
    world
}

fn in_groups(name: &str, groups: &[&str]) -> Value {
    with(&person(name), &json!({ "groups": groups }))
}

async fn is_answered(gateway: &Gateway, browser: &Browser, path: &str, status: u16) -> bool {
    gateway.get(path, &browser.cookies()).await.status == status
}

/// Why sessions were ended, newest first.
async fn causes(gateway: &Gateway) -> Vec<String> {
    let filter = AuditFilter { event: Some("session.revoke"), ..AuditFilter::default() };
    let rows = gateway.store.audit_recent(&filter, 100).await.unwrap();
    let cause =
        |detail: &str| serde_json::from_str::<Value>(detail).unwrap()["cause"].as_str().map(str::to_owned);
    rows.iter().filter_map(|row| cause(&row.detail)).collect()
}

/// Refreshed sessions are not due again before they are used; what says so is written each half minute.
async fn note_use(world: &World) {
    let sessions = world.gateway.store.sessions_page(None).await.unwrap();
    let seen: Vec<_> =
        sessions.iter().map(|(session, _)| (session.id.clone(), session.last_seen_at)).collect();
    world.gateway.store.touch_sessions(&seen).await.unwrap();
}

/// O35: a group that is taken away at the provider.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_removed_at_the_provider_ends_access_at_the_next_refresh() {
    let world = world(GROUPS).await;
    let ann = world.signed_in(&in_groups("ann", &["ops", "data"])).await;
    let bob = world.signed_in(&in_groups("bob", &["ops"])).await;
    assert!(is_answered(&world.gateway, &ann, "/ops", 200).await);
    world.provider.says_now(&in_groups("ann", &["data"]));
    assert!(
        is_answered(&world.gateway, &ann, "/ops", 200).await,
        "what was said holds until the next refresh"
    );
    world.gateway.clock.advance(LIFETIME);
    until("the end of the group's access", async || is_answered(&world.gateway, &ann, "/ops", 403).await)
        .await;
    assert!(is_answered(&world.gateway, &ann, "/traces", 200).await, "the session goes on");
    until("the refresh of the other", async || world.provider.refreshes() == 2).await;
    assert!(is_answered(&world.gateway, &bob, "/ops", 200).await, "nothing changes for others");
    assert!(!world.provider.was_reused());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_no_allowed_group_any_more_is_out_everywhere_with_what_is_open() {
    let upstream = patient().await;
    let provider = Provider::start().await;
    provider.let_refresh();
    let claims = format!("{GROUPS}\nallowed_groups = [\"ops\"]");
    let text = format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n[[routes]]\nupstream = \"app\"\nrules = [\n\
         {{ name = \"sockets\", path = \"/socket\", methods = \"websocket\", allow = \"viewer\" }},\n\
         {{ name = \"reads\", methods = \"read\", allow = \"viewer\" }},\n]\n{}",
        upstream.url(),
        provider.settings("sso", &claims)
    );
    let gateway = Gateway::configured(&text).await;
    let mut sessions = Vec::new();
    for name in ["ann", "ann", "bob"] {
        let mut browser = Browser::default();
        let person = in_groups(name, &["ops"]);
        assert_eq!(browser.sign_in(&gateway, (&provider, "sso"), &person, "/").await.status, 303);
        sessions.push(browser);
    }
    let mut hers = open(gateway.address, "/socket", &sessions[0].cookies()).await;
    let mut his = open(gateway.address, "/socket", &sessions[2].cookies()).await;
    provider.says_now(&in_groups("ann", &["data"]));
    gateway.clock.advance(LIFETIME);
    until("the end of her socket", async || !lives(&mut hers).await).await;
    for (at, status) in [(0, 401), (1, 401), (2, 200)] {
        until("both of her sessions", async || is_answered(&gateway, &sessions[at], "/data", status).await)
            .await;
    }
    assert!(lives(&mut his).await);
    assert_eq!(causes(&gateway).await, ["provider-claims"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_role_at_the_provider_ends_the_sessions_as_everywhere() {
    let world = world("[providers.claims]\nrole = \"role\"").await;
    world.gateway.user("root", Role::Admin).await;
    let admin = with(&person("ann"), &json!({ "role": "admin" }));
    let mut ann = world.signed_in(&admin).await;
    assert_eq!(ann.get(&world.gateway, "/admin").await.status, 200);
    world.provider.says_now(&with(&admin, &json!({ "role": "viewer" })));
    world.gateway.clock.advance(LIFETIME);
    until("the end of the session", async || is_answered(&world.gateway, &ann, "/admin", 401).await).await;
    let user = world.gateway.accounts.find(&world.gateway.by, "ann").await.unwrap().unwrap();
    assert_eq!(user.role, Role::Viewer);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_at_the_moment_of_refresh_make_one_refresh() {
    let world = world(GROUPS).await;
    let ann = world.signed_in(&in_groups("ann", &["ops"])).await;
    let bob = world.signed_in(&in_groups("bob", &["ops"])).await;
    world.gateway.clock.advance(LIFETIME);
    until("both refreshes", async || {
        let all = (0..50).map(|_| is_answered(&world.gateway, &ann, "/ops", 200));
        assert!(join_all(all).await.into_iter().all(|answered| answered));
        world.provider.refreshes() >= 2
    })
    .await;
    assert!(is_answered(&world.gateway, &bob, "/ops", 200).await);
    assert_eq!((world.provider.refreshes(), world.provider.was_reused()), (2, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_for_minutes_signs_nobody_out() {
    let world = world(&format!("outage_grace = \"10m\"\n{GROUPS}")).await;
    let ann = world.signed_in(&in_groups("ann", &["ops"])).await;
    for fault in [Fault::Html("/token", 503), Fault::Html("/token", 200), Fault::Html("/me", 500)] {
        let asked = world.provider.asked("/token");
        if let Fault::Html("/me", _) = fault {
            // Userinfo is needed where the ID token says no groups.
            world.provider.says_now(&person("ann"));
        }
        world.provider.set(fault.clone());
        world.gateway.clock.advance(LIFETIME);
        until("a refresh that fails", async || {
            note_use(&world).await;
            world.provider.asked("/token") > asked
        })
        .await;
        assert!(is_answered(&world.gateway, &ann, "/ops", 200).await, "{fault:?}");
        world.provider.set(Fault::None);
        let refreshed = world.provider.refreshes();
        world.provider.says_now(&in_groups("ann", &["ops"]));
        until("the next refresh", async || {
            let now = world.gateway.clock.now();
            if !world.gateway.store.is_refresh_due("sso", now).await.unwrap() {
                world.gateway.clock.advance(Duration::from_secs(2));
            }
            world.provider.refreshes() > refreshed
        })
        .await;
        assert!(is_answered(&world.gateway, &ann, "/ops", 200).await, "{fault:?}");
        assert!(!world.provider.was_reused(), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_for_longer_than_the_grace_ends_its_sessions_and_no_others() {
    let (down, up, upstream) = (Provider::start().await, Provider::start().await, Upstream::spawn().await);
    for provider in [&down, &up] {
        provider.let_refresh();
    }
    let grace = "outage_grace = \"10m\"";
    let all = [down.settings("down", grace), up.settings("up", grace)];
    let gateway = Gateway::configured(&settings(&upstream, "", &all)).await;
    let (mut ann, mut bob) = (Browser::default(), Browser::default());
    ann.sign_in(&gateway, (&down, "down"), &person("ann"), "/").await;
    bob.sign_in(&gateway, (&up, "up"), &person("bob"), "/").await;
    down.set(Fault::Html("/token", 503));
    gateway.clock.advance(LIFETIME);
    until("a refresh that fails", async || down.asked("/token") > 1).await;
    until("the refresh of the other", async || up.refreshes() == 1).await;
    assert!(is_answered(&gateway, &ann, "/traces", 200).await, "it goes on for now");
    gateway.clock.advance(Duration::from_mins(10));
    until("the end", async || is_answered(&gateway, &ann, "/traces", 401).await).await;
    assert!(is_answered(&gateway, &bob, "/traces", 200).await);
    assert_eq!(causes(&gateway).await, ["provider-unavailable"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_whose_refresh_fails_keeps_nobody_else_from_losing_a_group() {
    let world = world(GROUPS).await;
    // Without groups in the ID token, userinfo is asked.
    let eve = world.signed_in(&person("eve")).await;
    let asked = world.provider.asked("/me");
    world.provider.set(Fault::Html("/me", 403));
    world.gateway.clock.advance(LIFETIME);
    until("a refresh that fails", async || world.provider.asked("/me") > asked).await;
    let ann = world.signed_in(&in_groups("ann", &["ops"])).await;
    assert!(is_answered(&world.gateway, &ann, "/ops", 200).await);
    world.provider.says_now(&in_groups("ann", &["data"]));
    world.gateway.clock.advance(LIFETIME);
    until("the end of the group's access", async || is_answered(&world.gateway, &ann, "/ops", 403).await)
        .await;
    assert!(is_answered(&world.gateway, &eve, "/traces", 200).await, "hers goes on for now");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_has_ended_is_over_here_at_the_next_refresh() {
    let world = world("").await;
    let ann = world.signed_in(&person("ann")).await;
    world.provider.take_grants_back();
    world.gateway.clock.advance(LIFETIME);
    until("the end", async || is_answered(&world.gateway, &ann, "/traces", 401).await).await;
    assert_eq!(causes(&world.gateway).await, ["provider-ended"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_speaks_of_somebody_else_ends_the_session_and_changes_nobody() {
    for (change, cause) in [
        (json!({ "sub": "id-of-eve" }), "provider-answer"),
        (json!({ "aud": "other" }), "provider-answer"),
        (json!({ "iss": "https://evil.example" }), "provider-answer"),
    ] {
        let world = world(GROUPS).await;
        let ann = world.signed_in(&in_groups("ann", &["data"])).await;
        world.provider.says_now(&in_groups("ann", &["ops"]));
        world.provider.set(Fault::Claims(change.clone()));
        world.gateway.clock.advance(LIFETIME);
        until("the end", async || is_answered(&world.gateway, &ann, "/traces", 401).await).await;
        assert_eq!(causes(&world.gateway).await, [cause], "{change}");
        let user = world.gateway.accounts.find(&world.gateway.by, "ann").await.unwrap().unwrap();
        assert_eq!(user.groups, ["data"], "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_refreshed_only_if_the_settings_say_so_and_while_they_do() {
    let (on, off, upstream) = (Provider::start().await, Provider::start().await, Upstream::spawn().await);
    for provider in [&on, &off] {
        provider.let_refresh();
    }
    let text = |refresh| {
        let all = [on.settings("on", ""), off.settings("off", &format!("refresh = {refresh}"))];
        settings(&upstream, "", &all)
    };
    let gateway = Gateway::configured(&text(false)).await;
    let mut browsers = [Browser::default(), Browser::default(), Browser::default()];
    browsers[0].sign_in(&gateway, (&off, "off"), &person("ann"), "/").await;
    gateway.reload(&text(true)).await.unwrap();
    browsers[1].sign_in(&gateway, (&off, "off"), &person("ann"), "/").await;
    gateway.reload(&text(false)).await.unwrap();
    browsers[2].sign_in(&gateway, (&on, "on"), &person("bob"), "/").await;
    gateway.clock.advance(LIFETIME);
    until("the one that is refreshed", async || on.refreshes() == 1).await;
    gateway.reload(&text(true)).await.unwrap();
    until("the one with a token", async || off.refreshes() == 1).await;
    assert_eq!(off.asked("/token"), 3, "the first was given none to keep");
    for browser in &browsers {
        assert!(is_answered(&gateway, browser, "/traces", 200).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_issuer_gave_is_never_sent_to_another_that_has_its_name() {
    let (former, new, upstream) = (Provider::start().await, Provider::start().await, Upstream::spawn().await);
    former.let_refresh();
    for provider in [&former, &new] {
        let at = |path: &str| format!("{}/{path}", provider.url);
        provider
            .announce(json!({ "end_session_endpoint": at("logout"), "revocation_endpoint": at("revoke") }));
    }
    let offline = "scopes = [\"offline_access\"]";
    let text = |provider: &Provider| settings(&upstream, "", &[provider.settings("sso", offline)]);
    let gateway = Gateway::configured(&text(&former)).await;
    let (mut ann, mut bob, mut eve) = (Browser::default(), Browser::default(), Browser::default());
    for (browser, name) in [(&mut ann, "ann"), (&mut bob, "bob"), (&mut eve, "eve")] {
        assert_eq!(browser.sign_in(&gateway, (&former, "sso"), &person(name), "/").await.status, 303);
    }
    let answer = eve.post(&gateway, "/_doorward/logout", &[]).await;
    assert!(answer.header("location").unwrap().starts_with(&format!("{}/logout?", former.url)));
    until("the token that is given back", async || former.asked("/revoke") == 1).await;
    gateway.reload(&text(&new)).await.unwrap();
    let answer = bob.post(&gateway, "/_doorward/logout", &[]).await;
    let location = answer.header("location").unwrap();
    assert!(
        location.starts_with("/_doorward/login?"),
        "no ID token of the former issuer goes there: {location}"
    );
    assert!(is_answered(&gateway, &ann, "/traces", 200).await);
    gateway.clock.advance(LIFETIME);
    until("the end of the other", async || is_answered(&gateway, &ann, "/traces", 401).await).await;
    assert_eq!(causes(&gateway).await, ["provider-issuer"]);
    assert_eq!((new.asked("/token"), new.asked("/revoke")), (0, 0), "nor a refresh token");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_offline_access_out_of_the_request_is_not_let_in() {
    let world = World::with("scopes = [\"offline_access\"]").await;
    let (status, text) = world.refused(&person("ann")).await;
    assert_eq!(status, 502, "{text}");
    world.provider.let_refresh();
    world.signed_in(&person("ann")).await;
}
