//! What the pages do beside a plain sign-in: where they lead, and where they do not.

use super::{World, settings};
use crate::support::browser::Browser;
use crate::support::provider::{Provider, person};
use crate::support::{Gateway, Upstream};

#[tokio::test(flavor = "multi_thread")]
async fn every_provider_has_a_button_and_a_page_of_its_own_and_no_other_has() {
    let (one, two, upstream) = (Provider::start().await, Provider::start().await, Upstream::spawn().await);
    let both = [one.settings("one", ""), two.settings("two", "")];
    let gateway = Gateway::configured(&settings(&upstream, "", &both)).await;
    let text = gateway.get("/_doorward/login", "").await.text();
    assert!(text.find("Sign in with The one") < text.find("Sign in with The two"), "{text}");
    let mut browser = Browser::default();
    assert!(browser.begin(&gateway, "one", "/").await.starts_with(&one.url));
    assert!(browser.begin(&gateway, "two", "/").await.starts_with(&two.url));
    for path in
        ["/_doorward/sign-in/three", "/_doorward/callback/three?code=c&state=s", "/_doorward/sign-in/"]
    {
        assert_eq!(gateway.get(path, "").await.status, 404, "{path}");
    }
    let form = "origin: http://localhost\r\ncontent-length: 0\r\n";
    for path in ["/_doorward/sign-in/one", "/_doorward/callback/one"] {
        assert_eq!(gateway.send(&format!("POST {path}"), form).await.status, 405, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_loads_pages_in_advance_begins_nothing() {
    let world = World::with("").await;
    for header in
        ["sec-purpose: prefetch", "sec-purpose: prefetch;prerender", "purpose: prefetch", "x-moz: prefetch"]
    {
        let answer = world.gateway.get("/_doorward/sign-in/sso", &format!("{header}\r\n")).await;
        assert_eq!((answer.status, answer.header("cache-control")), (503, Some("no-store")), "{header}");
        assert!(answer.headers("set-cookie").is_empty(), "{header}");
    }
    for header in ["sec-fetch-dest: iframe", "sec-fetch-dest: empty"] {
        let answer = world.gateway.get("/_doorward/sign-in/sso", &format!("{header}\r\n")).await;
        assert_eq!(answer.status, 403, "{header}");
    }
    assert_eq!(world.provider.asked("/.well-known/openid-configuration"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sign_in_page_goes_straight_to_a_provider_but_not_round_in_circles() {
    let world = World::with("auto_login = true").await;
    let page = "/_doorward/login?rd=%2Fdeep";
    let mut browser = Browser::default();
    let answer = browser.get(&world.gateway, page).await;
    assert_eq!(answer.header("location"), Some("/_doorward/sign-in/sso?rd=%2Fdeep"), "{}", answer.head);
    let escape = browser.get(&world.gateway, "/_doorward/login?rd=%2Fdeep&password").await;
    assert!(escape.status == 200 && escape.text().contains("name=\"password\""));

    // Refused there: also in a second tab, and after a reload, the page stays.
    let location = browser.begin(&world.gateway, "sso", "/deep").await;
    let back = world.provider.deny(&location, "access_denied");
    for _ in 0..2 {
        let refused = browser.get(&world.gateway, &back).await;
        assert!(refused.status >= 400 && refused.header("location").is_none());
    }
    let second = browser.get(&world.gateway, page).await;
    assert!(second.status == 200 && second.text().contains("Sign in with The sso"), "{}", second.text());

    // Signed in, and out again.
    let answer = browser.sign_in(&world.gateway, (&world.provider, "sso"), &person("ann"), "/deep").await;
    assert_eq!(answer.header("location"), Some("/deep"), "{}", answer.text());
    browser.post(&world.gateway, "/_doorward/logout?rd=%2Fdeep", &[]).await;
    for path in [page, "/_doorward/login?rd=%2Fdeep&signed-out=1"] {
        assert_eq!(browser.get(&world.gateway, path).await.status, 200, "{path}");
    }
    // A browser that keeps no session is shown the page when it comes back.
    let mut lossy = Browser::default();
    lossy.sign_in(&world.gateway, (&world.provider, "sso"), &person("ann"), "/deep").await;
    let mut only_choice = Browser::default();
    only_choice.put("doorward-choice", lossy.cookie("doorward-choice").unwrap());
    assert_eq!(only_choice.get(&world.gateway, page).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_passwords_are_off_there_are_buttons_alone() {
    let world = World::of("login.password = false", "").await;
    let text = world.gateway.get("/_doorward/login", "").await.text();
    assert!(text.contains("Sign in with The sso") && !text.contains("<form"), "{text}");
    world.gateway.user("local", doorward::model::role::Role::Viewer).await;
    let form = [("username", "local"), ("password", crate::support::gateway::PASSWORD)];
    let answer = Browser::default().post(&world.gateway, "/_doorward/login", &form).await;
    assert_eq!((answer.status, answer.headers("set-cookie").len()), (403, 0));
    world.signed_in(&person("ann")).await;
}
