//! The sign-in page.

use std::time::Duration;

use super::testing::{PASSWORD, PageFixture, by, credentials, encode};

#[tokio::test]
async fn signing_in_opens_a_session_and_leads_back() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    let page = world.get("/login?rd=%2Fdash%3Fx%3D1", None).await;
    assert_eq!(page.status, 200);
    // Without an action, a browser sends the form to the page's own address, fragment included.
    assert!(page.body.contains(r#"<form method="post">"#) && !page.body.contains(r#"name="rd""#));
    let form = encode(&[("username", "alice"), ("password", PASSWORD)]);
    let answer = world.post("/login?rd=%2Fdash%3Fx%3D1", None, &form).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/dash?x=1"));

    let answer = world.post("/login", None, &credentials("alice", PASSWORD, "/dash?x=1")).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/dash?x=1"));
    assert_eq!(answer.header("cache-control"), "no-store");
    let attributes = "; Max-Age=43200; Path=/; HttpOnly; Secure; SameSite=Lax";
    assert!(answer.cookies()[0].ends_with(attributes), "{:?}", answer.cookies());
    assert!(answer.cookies()[1].starts_with("__Host-doorward-device="));

    let cookie = answer.session_cookie();
    let account = world.get("/", Some(&cookie)).await;
    assert!(account.body.contains("alice") && account.body.contains("admin") && account.body.contains("ops"));
    let again = world.get("/login?rd=%2Fdash", Some(&cookie)).await;
    assert_eq!((again.status, again.header("location")), (303, "/dash"));
}

#[tokio::test]
async fn signing_in_never_leads_elsewhere() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    let answer = world.post("/login", None, &credentials("alice", PASSWORD, "//evil.example")).await;
    assert_eq!(answer.header("location"), "/");
    let cookie = answer.session_cookie();
    for (address, expected) in [
        ("/login?rd=https%3A%2F%2Fevil.example", "/"),
        ("/login?rd=%2F%5Cevil.example", "/"),
        ("/logout?rd=%2F%2Fevil.example", ""),
    ] {
        let answer = world.get(address, Some(&cookie)).await;
        assert_eq!(answer.header("location"), expected);
        assert!(!answer.body.contains("evil.example"));
    }
}

#[tokio::test]
async fn whoever_cannot_sign_in_gets_the_same_answer() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    let disabled = world.user("bob", false).await;
    world.web.services.accounts.disable(&by(), &disabled.id).await.unwrap();
    let wrong = world.post("/login", None, &credentials("alice", "wrong wrong wrong", "/")).await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.body.contains(r#"role="alert""#) && wrong.cookies().is_empty());
    for (name, password) in [("bob", PASSWORD), ("bob", "wrong wrong wrong"), ("nobody", PASSWORD), ("", "")]
    {
        let answer = world.post("/login", None, &credentials(name, password, "/")).await;
        let shown = |name: &str| format!("value=\"{name}\"");
        let (status, headers, body) = answer.without(&shown(name));
        let (wrong_status, wrong_headers, wrong_body) = wrong.without(&shown("alice"));
        assert_eq!((status, headers), (wrong_status, wrong_headers), "{name}");
        if !name.is_empty() {
            assert_eq!(body, wrong_body, "{name}");
        }
    }
}

#[tokio::test]
async fn what_was_typed_comes_back_escaped_and_the_password_never() {
    let world = PageFixture::new().await;
    let typed = r#""><script>x</script>"#;
    let answer = world.post("/login", None, &credentials(typed, "s3cret s3cret", "/\"><b>")).await;
    assert_eq!(answer.status, 401);
    for raw in ["<script", "\"><", "<b>", "s3cret"] {
        assert!(!answer.body.contains(raw), "{raw}");
    }
    assert!(answer.body.contains("&#60;script&#62;"));
}

#[tokio::test]
async fn too_many_attempts_are_told_when_to_come_back() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    let mut last = None;
    for _ in 0..8 {
        last = Some(world.post("/login", None, &credentials("alice", "wrong wrong wrong", "/")).await);
    }
    let answer = last.unwrap();
    assert_eq!(answer.status, 429);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert!(answer.body.contains("Try again in "));
    world.clock.advance(Duration::from_hours(2));
    world.sign_in("alice").await;
}

#[tokio::test]
async fn a_new_sign_in_replaces_the_session_before() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    world.user("bob", false).await;
    let before = world.sign_in("alice").await;
    let answer = world.post("/login", Some(&before), &credentials("bob", PASSWORD, "/")).await;
    assert_ne!(answer.session_cookie(), before);
    assert!(!world.is_signed_in(&before).await);
    assert!(world.is_signed_in(&answer.session_cookie()).await);
}
