//! What every answer carries, whatever page it is, and where people are sent on to.

use super::testing::{PASSWORD, PageFixture, credentials};
use super::*;

#[tokio::test]
async fn every_page_carries_the_protective_headers() {
    let world = PageFixture::new().await;
    for address in ["/login", "/nothing", "/", "/static/doorward.css"] {
        let answer = world.get(address, None).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("strict-transport-security", "max-age=31536000"),
        ] {
            assert_eq!(answer.header(name), value, "{address} {name}");
        }
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"));
        for inline in ["<script", "style=", "<style", " onclick"] {
            assert!(!answer.body.contains(inline), "{address} has {inline}");
        }
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let world = PageFixture::new().await;
    for address in ["/login", "/static/doorward.css", "/nothing"] {
        let get = world.get(address, None).await;
        let head = world.send(Method::HEAD, address, None, &[], "").await;
        assert_eq!((head.status, head.body.len()), (get.status, 0));
        assert_eq!(head.header("content-length"), get.body.len().to_string());
    }
}

#[tokio::test]
async fn static_files_are_kept_until_they_change() {
    let world = PageFixture::new().await;
    let login = world.get("/login", None).await;
    let address = format!("/_doorward/static/doorward.css?v={}", world.web.site.version());
    assert!(login.body.contains(&address));
    let style = world.get("/static/doorward.css", None).await;
    assert_eq!((style.status, style.header("content-type")), (200, "text/css; charset=utf-8"));
    assert_eq!(style.header("cache-control"), "public, max-age=86400");
    let tag: &'static str = Box::leak(style.header("etag").to_owned().into_boxed_str());
    for (known, status) in [(tag, 304), ("\"other\"", 200)] {
        let fields = [(IF_NONE_MATCH, known)];
        let answer = world.send(Method::GET, "/static/doorward.css", None, &fields, "").await;
        assert_eq!((answer.status, answer.body.is_empty()), (status, status == 304));
    }
    let logo = world.get("/static/logo.svg", None).await;
    assert_eq!(logo.header("content-type"), "image/svg+xml");
    assert_eq!(world.get("/static/logo.png", None).await.status, 404, "there is one logo, by one name");
}

#[tokio::test]
async fn a_host_that_shares_the_cookie_is_gone_to_directly_and_others_by_a_hand_over() {
    for (domain, away, expected) in [
        (Some("gate.example"), "https://app.gate.example/x?y", "https://app.gate.example/x?y"),
        (Some("gate.example"), "https://app.test/x", "https://app.test/_doorward/handover/begin?rd="),
        (None, "https://app.gate.example/x", "https://app.gate.example/_doorward/handover/begin?rd="),
        (None, "https://gate.example/x", "https://gate.example/x"),
        (Some("gate.example"), "https://evil.gate.example/x", "/"),
    ] {
        let world = PageFixture::sharing(domain).await;
        world.user("alice", false).await;
        let answer = world.post("/login", None, &credentials("alice", PASSWORD, away)).await;
        assert_eq!(answer.status, 303);
        let location = answer.header("location");
        assert!(location.starts_with(expected), "{location}");
        assert!(!location.contains("token"));
    }
}
