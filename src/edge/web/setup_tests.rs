//! The page where admins choose their first password.

use http::header::ORIGIN;

use super::testing::{PASSWORD, PageFixture, by, encode, form, settings};
use super::*;
use crate::service::bootstrap::FirstAdmin;

#[tokio::test]
async fn the_first_admin_is_made_once() {
    let world = PageFixture::new().await;
    let start = world.web.services.accounts.bootstrap(&settings()).await.unwrap();
    let FirstAdmin::Link(token) = start.first else { panic!("nobody is there yet") };
    let token = token.expose();
    let link = format!("/setup?token={token}");
    let page = world.get(&link, None).await;
    assert_eq!((page.status, page.header("referrer-policy")), (200, "no-referrer"));
    assert_eq!(world.get("/setup?token=wrong", None).await.status, 404);
    assert_eq!(world.get("/setup", None).await.status, 404);

    let body = |token: &str, password: &str, repeat: &str| {
        encode(&[("token", token), ("username", "root"), ("password", password), ("repeat", repeat)])
    };
    assert_eq!(world.post("/setup", None, &body("wrong", PASSWORD, PASSWORD)).await.status, 404);
    assert_eq!(world.post("/setup", None, &body(token, PASSWORD, "x")).await.status, 422);
    assert_eq!(world.post("/setup", None, &body(token, "short", "short")).await.status, 422);
    assert_eq!(world.get(&link, None).await.status, 200, "a mistake uses nothing up");

    // The page has no-referrer, so its form says that it comes from nowhere.
    let fields = [(ORIGIN, "null"), form()];
    let made = world.send(Method::POST, "/setup", None, &fields, &body(token, PASSWORD, PASSWORD)).await;
    assert_eq!((made.status, made.header("location")), (303, "/"));
    assert!(world.is_signed_in(&made.session_cookie()).await);
    assert_eq!(world.post("/setup", None, &body(token, PASSWORD, PASSWORD)).await.status, 404);
    assert_eq!(world.get(&link, None).await.status, 404);
}

#[tokio::test]
async fn a_named_admin_chooses_a_password_by_an_own_link() {
    let world = PageFixture::new().await;
    let named = LoginConfig { admins: vec![("zelda".into(), "zelda@example.org".into())], ..settings() };
    let start = world.web.services.accounts.bootstrap(&named).await.unwrap();
    let [(name, token)] = start.links.as_slice() else { panic!("{start:?}") };
    let token = token.expose();
    let page = world.get(&format!("/setup?token={token}"), None).await;
    assert!(page.body.contains("value=\"zelda\"") && page.body.contains(" readonly"), "{}", page.body);
    // Whatever else is posted as the name: it is hers.
    let body = [("token", token), ("username", "mallory"), ("password", PASSWORD), ("repeat", PASSWORD)];
    let made = world.send(Method::POST, "/setup", None, &[(ORIGIN, "null"), form()], &encode(&body)).await;
    assert!(made.status == 303 && world.is_signed_in(&made.session_cookie()).await, "{}", made.status);
    let by = by();
    let find = |name| world.web.services.accounts.find(&by, name);
    assert!(find("mallory").await.unwrap().is_none() && find(name).await.unwrap().unwrap().has_password);
}
