//! The sign-out page.

use super::testing::{DELETION, PageFixture};

#[tokio::test]
async fn signing_out_ends_the_session_and_takes_the_cookie_back() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    let cookie = world.sign_in("alice").await;
    let page = world.get("/logout", Some(&cookie)).await;
    assert_eq!(page.status, 200);
    assert!(world.is_signed_in(&cookie).await, "looking at the page ends nothing");
    let answer = world.post("/logout?rd=%2Fdash", Some(&cookie), "").await;
    assert_eq!(answer.status, 303);
    assert_eq!(answer.header("location"), "/_doorward/login?rd=%2Fdash&signed-out=1");
    assert_eq!(answer.header("clear-site-data"), r#""cache", "storage""#);
    let stays = "__Host-doorward-choice=1; Max-Age=600; Path=/; HttpOnly; Secure; SameSite=Lax";
    assert_eq!(answer.cookies(), [DELETION, stays], "and nothing signs in again by itself");
    assert!(!world.is_signed_in(&cookie).await);
}
