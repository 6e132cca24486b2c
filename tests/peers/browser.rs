//! The gateway's own pages in Chromium, in front of the built-in sample.

use crate::account;
use crate::support::chrome::Browser;
use crate::support::gateway::PASSWORD;

#[tokio::test]
async fn sign_in_returns_to_the_deep_link_with_its_query() {
    let deep = "/reports/daily?from=2026-01-01&to=2026-01-31&q=a%26b%3Dc";
    let gateway = account::gateway().await;
    gateway.user("vera", "viewer");
    let browser = Browser::start().await;

    browser.open(&gateway, deep).await;
    browser.arrive_below("/_doorward/login?rd=").await;
    browser.sign_in("vera").await;

    browser.arrive(deep).await;
    assert_eq!(browser.get(&gateway, "/").await.status, 200);
    browser.close().await;
}

#[tokio::test]
async fn wrong_password_is_told_and_the_right_one_still_works() {
    let gateway = account::gateway().await;
    gateway.user("vera", "viewer");
    let browser = Browser::start().await;

    browser.open(&gateway, "/kept?a=1").await;
    let mut told = Vec::new();
    for (name, password) in [("vera", "not the password at all"), ("nobody", PASSWORD)] {
        told.push(browser.submit_in_vain(&[("username", name), ("password", password)]).await);
        assert!(browser.address().await.starts_with("/_doorward/login"));
        assert_ne!(browser.get(&gateway, "/").await.status, 200, "{name} got in");
    }
    assert!(!told[0].is_empty());
    assert_eq!(told[0], told[1], "an unknown name is told from a wrong password");

    browser.sign_in("vera").await;
    browser.arrive("/kept?a=1").await;
    browser.close().await;
}

#[tokio::test]
async fn temporary_password_is_changed_before_the_upstream_answers() {
    let temporary = "only for the first time";
    let gateway = account::gateway().await;
    let add = ["user", "add", "nora", "--role", "viewer", "--password-stdin", "--temporary"];
    gateway.json(&add, temporary);
    let browser = Browser::start().await;

    browser.open(&gateway, "/start?x=1").await;
    browser.submit(&[("username", "nora"), ("password", temporary)]).await;
    browser.arrive_below("/_doorward/password").await;
    assert_ne!(browser.get(&gateway, "/").await.status, 200);

    // Refused where the two differ, and where the new one is the old one.
    for (new, repeat) in [(PASSWORD, "something else entirely"), (temporary, temporary)] {
        browser.submit_in_vain(&[("current", temporary), ("new", new), ("repeat", repeat)]).await;
        assert_ne!(browser.get(&gateway, "/").await.status, 200);
    }

    browser.submit(&[("current", temporary), ("new", PASSWORD), ("repeat", PASSWORD)]).await;
    browser.arrive("/start?x=1").await;
    assert_eq!(browser.get(&gateway, "/").await.status, 200);
    browser.close().await;
}

#[tokio::test]
async fn sign_out_ends_the_session_and_asks_again() {
    let gateway = account::gateway().await;
    gateway.user("vera", "viewer");
    let browser = Browser::start().await;
    browser.open(&gateway, "/").await;
    browser.sign_in("vera").await;
    browser.arrive("/").await;
    let cookies = browser.cookies().await;

    browser.open(&gateway, "/_doorward/logout").await;
    assert_eq!(browser.get(&gateway, "/").await.status, 200, "opening the page is not yet signing out");
    browser.submit(&[]).await;

    browser.arrive_below("/_doorward/login").await;
    browser.open(&gateway, "/again").await;
    browser.arrive_below("/_doorward/login?rd=").await;
    let replayed = gateway.post(http::Method::GET, "/", "", &[("cookie", &cookies)], "").await;
    assert_eq!(replayed.refusal(), Some(401), "the old session still works: {replayed:?}");
    browser.close().await;
}

#[tokio::test]
async fn refusal_is_readable() {
    let gateway = account::gateway().await;
    gateway.user("vera", "viewer");
    let browser = Browser::start().await;

    browser.open(&gateway, "/admin/users").await;
    browser.sign_in("vera").await;

    browser.arrive("/admin/users").await;
    let heading = browser.find("h1").await.text().await.unwrap();
    assert!(!heading.is_empty());
    assert!(browser.text().await.contains("vera"), "it does not say who was refused");
    assert_eq!(browser.get(&gateway, "/admin/users").await.status, 403);
    browser.close().await;
}

#[tokio::test]
async fn pages_load_nothing_from_elsewhere() {
    let gateway = account::gateway().await;
    gateway.user("vera", "viewer");
    let browser = Browser::start().await;
    let loaded = "return performance.getEntriesByType('resource').map(entry => entry.name)";

    for path in ["/_doorward/login", "/_doorward/logout"] {
        browser.open(&gateway, path).await;
        browser.find("h1").await;
        let resources = browser.client.execute(loaded, vec![]).await.unwrap();
        let resources: Vec<String> = serde_json::from_value(resources).unwrap();
        for resource in &resources {
            assert!(resource.starts_with(&gateway.url), "{path} loads {resource}");
            let answer = crate::support::client::get(resource).await.unwrap();
            assert_eq!(answer.status, 200, "{path} loads {resource}");
        }
    }
    browser.close().await;
}
