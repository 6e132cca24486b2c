//! The page where people change their password.

use super::testing::{NEXT_PASSWORD, PASSWORD, PageFixture, change, credentials};

#[tokio::test]
async fn a_temporary_password_is_changed_before_anything_else() {
    let world = PageFixture::new().await;
    world.user("alice", true).await;
    let answer = world.post("/login", None, &credentials("alice", PASSWORD, "/dash")).await;
    assert_eq!(answer.header("location"), "/_doorward/password?rd=%2Fdash");
    let cookie = answer.session_cookie();
    let account = world.get("/", Some(&cookie)).await;
    assert!(account.header("location").starts_with("/_doorward/password"));

    let page = world.get("/password?rd=%2Fdash", Some(&cookie)).await;
    assert!(page.body.contains("Temporary password"));
    for (body, status, field) in [
        (change(PASSWORD, "short", "short"), 422, "new"),
        (change(PASSWORD, NEXT_PASSWORD, "another one here"), 422, "repeat"),
        (change("not my password", NEXT_PASSWORD, NEXT_PASSWORD), 401, "current"),
    ] {
        let answer = world.post("/password?rd=%2Fdash", Some(&cookie), &body).await;
        assert_eq!((answer.status, answer.cookies().len()), (status, 0), "{field}");
        let input = answer.body.lines().find(|line| line.contains(&format!("id=\"{field}\""))).unwrap();
        assert!(input.contains("aria-invalid") && input.contains("problem"), "{input}");
    }

    let body = change(PASSWORD, NEXT_PASSWORD, NEXT_PASSWORD);
    let answer = world.post("/password?rd=%2Fdash", Some(&cookie), &body).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/dash"));
    assert!(!world.is_signed_in(&cookie).await, "every session before has ended");
    assert!(world.is_signed_in(&answer.session_cookie()).await);
}

#[tokio::test]
async fn changing_a_password_needs_a_session() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    for answer in [
        world.get("/password?rd=%2Fx", None).await,
        world.post("/password?rd=%2Fx", None, &change(PASSWORD, NEXT_PASSWORD, NEXT_PASSWORD)).await,
    ] {
        assert_eq!(answer.status, 303);
        assert_eq!(answer.header("location"), "/_doorward/login?rd=%2F_doorward%2Fpassword%3Frd%3D%252Fx");
    }
    world.sign_in("alice").await;
}
