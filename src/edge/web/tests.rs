//! What every page asks of a request before it answers.

use std::time::Duration;

use http::HeaderName;
use http::header::{CONTENT_TYPE, ORIGIN};

use super::testing::{DELETION, ORIGIN_OF_OURS, PASSWORD, PageFixture, credentials, form};
use super::*;

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    let cookie = world.sign_in("alice").await;
    let site = HeaderName::from_static("sec-fetch-site");
    for origin in [
        vec![],
        vec![(ORIGIN, "https://evil.example")],
        vec![(ORIGIN, "null")],
        vec![(site.clone(), "cross-site")],
        vec![(ORIGIN, "https://evil.example"), (site.clone(), "same-origin")],
    ] {
        for address in ["/logout", "/login", "/password", "/setup"] {
            let fields: Vec<_> = origin.iter().cloned().chain([form()]).collect();
            let answer = world.send(Method::POST, address, Some(&cookie), &fields, "").await;
            let expected = if address == "/setup" && origin.len() < 2 { [400, 403] } else { [403, 403] };
            assert!(expected.contains(&answer.status), "{address} {origin:?} {}", answer.status);
            assert!(answer.cookies().is_empty());
        }
    }
    assert!(world.is_signed_in(&cookie).await);
    let fields = [(site, "same-origin"), form()];
    assert_eq!(world.send(Method::POST, "/logout", Some(&cookie), &fields, "").await.status, 303);
}

#[tokio::test]
async fn a_session_cookie_that_is_worth_nothing_is_taken_back() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    let expired = world.sign_in("alice").await;
    world.clock.advance(Duration::from_hours(13));
    for cookie in [expired.as_str(), "__Host-doorward=", "__Host-doorward=forged.forged"] {
        for (address, status) in [("/login", 200), ("/", 303), ("/password", 303), ("/logout", 303)] {
            let answer = world.get(address, Some(cookie)).await;
            assert_eq!((answer.status, answer.cookies()), (status, vec![DELETION]), "{address} {cookie}");
        }
    }
    assert!(world.get("/login", None).await.cookies().is_empty());
}

#[tokio::test]
async fn two_cookies_of_our_name_are_nobody() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    let cookie = world.sign_in("alice").await;
    let two = format!("{cookie}; {cookie}");
    let answer = world.get("/", Some(&two)).await;
    assert_eq!((answer.status, answer.cookies()), (303, vec![DELETION]));
    assert!(world.is_signed_in(&cookie).await);
}

#[tokio::test]
async fn a_store_that_is_gone_is_no_verdict() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    let cookie = world.sign_in("alice").await;
    world.store.close().await;
    for answer in [
        world.get("/", Some(&cookie)).await,
        world.post("/logout", Some(&cookie), "").await,
        world.post("/login", None, &credentials("alice", PASSWORD, "/")).await,
    ] {
        assert_eq!((answer.status, answer.header("retry-after")), (503, "5"), "{}", answer.body);
        assert!(answer.cookies().is_empty(), "nobody is signed in or out by it");
    }
}

#[tokio::test]
async fn forms_are_whole_and_of_one_type() {
    let world = PageFixture::new().await;
    for body in ["", "username=a&rd=/", "username=a&password=b&rd=/&rd=/", "password=b&rd=/"] {
        assert_eq!(world.post("/login", None, body).await.status, 400, "{body}");
    }
    let own = (ORIGIN, ORIGIN_OF_OURS);
    for other in ["text/plain", "application/json", "multipart/form-data"] {
        let fields = [own.clone(), (CONTENT_TYPE, other)];
        let answer = world.send(Method::POST, "/login", None, &fields, &credentials("a", "b", "/")).await;
        assert_eq!(answer.status, 415, "{other}");
    }
}

#[tokio::test]
async fn other_addresses_and_methods_are_told_apart() {
    let world = PageFixture::new().await;
    for address in ["/nothing", "/login/", "//login", "/static/../login", "/LOGIN"] {
        assert_eq!(world.get(address, None).await.status, 404, "{address}");
    }
    let own = [(ORIGIN, ORIGIN_OF_OURS), form()];
    assert_eq!(world.get("", None).await.header("location"), "/_doorward/login?rd=%2F_doorward%2Faccount");
    for (method, address, allow) in [
        (Method::PUT, "/login", "GET, HEAD, POST"),
        (Method::OPTIONS, "/login", "GET, HEAD, POST"),
        (Method::POST, "/", "GET, HEAD"),
        (Method::DELETE, "/static/logo.svg", "GET, HEAD"),
    ] {
        let answer = world.send(method, address, None, &own, "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, allow));
    }
}
