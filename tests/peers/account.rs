//! One's account in Chromium: every button clicked, and what it does seen from outside.

use fantoccini::Locator;
use http::Method;

use crate::support::chrome::Browser;
use crate::support::gateway::{Gateway, PASSWORD};
use crate::support::{PATIENCE, wait_for};

const ACCOUNT: &str = "/_doorward/account";
const NEXT_PASSWORD: &str = "eight loud geese at dusk";

/// In front of the built-in sample: `/admin` is for admins, everything else for anybody signed in.
pub(crate) async fn gateway() -> Gateway {
    Gateway::start(
        r#"
        [[upstreams]]
        name = "sample"
        url = "builtin:sample"
        [[routes]]
        upstream = "sample"
        path = "/"
        rules = [
          { name = "admin", path = "/admin", allow = "admin" },
          { name = "reads", methods = "read", allow = "viewer" },
        ]
        "#,
    )
    .await
}

/// The cookie of another browser that signs in.
pub(crate) async fn sign_in_elsewhere(gateway: &Gateway, name: &str) -> String {
    let form: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("username", name), ("password", PASSWORD), ("rd", "/")])
        .finish();
    let fields = [
        ("origin", gateway.url.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
        ("user-agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ];
    let answer = gateway.post(Method::POST, "/_doorward/login", "", &fields, form).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

async fn status_with(gateway: &Gateway, cookie: &str) -> u16 {
    gateway.post(Method::GET, "/", "", &[("cookie", cookie)], "").await.status
}

#[tokio::test]
async fn name_password_sessions_and_keys_are_managed_by_clicking() {
    let gateway = gateway().await;
    gateway.user("vera", "viewer");
    let browser = Browser::start().await;
    browser.open(&gateway, ACCOUNT).await;
    browser.sign_in("vera").await;
    browser.arrive(ACCOUNT).await;

    // The name.
    browser.fill(&[("name", "Vera Vogel")]).await;
    browser.press("Save name").await;
    browser.see("Your name was changed.").await;
    let name = browser.find("#name").await.prop("value").await.unwrap();
    assert_eq!(name.as_deref(), Some("Vera Vogel"));

    // A key: first with a wrong password, then with the right one.
    browser.press("New key").await;
    browser.arrive("/_doorward/account/keys/new").await;
    browser.fill(&[("name", "notebook"), ("paths", "/\n"), ("password", "not the password at all")]).await;
    browser.press("Make the key").await;
    browser.see("The password is wrong.").await;
    wait_for("the focus of the field to correct", PATIENCE, async || {
        let focused = browser.client.execute("return document.activeElement.id", vec![]).await.unwrap();
        (focused == "password").then_some(())
    })
    .await;
    browser.fill(&[("password", PASSWORD)]).await;
    browser.press("Make the key").await;
    browser.see("it is shown only this once").await;
    assert_eq!(browser.address().await, "/_doorward/account/keys/new", "the key is in no address");
    let key = browser.find("#key").await.prop("value").await.unwrap().unwrap();
    assert!(key.starts_with("dw_u_"), "{key}");
    assert_eq!(gateway.send(Method::GET, "/", &key).await.status, 200);
    browser.press("I have copied it").await;
    browser.arrive(ACCOUNT).await;
    browser.see("notebook").await;
    assert!(!browser.client.source().await.unwrap().contains(&key), "shown once");
    browser.press("Revoke: notebook").await;
    browser.see("You have no keys yet.").await;
    assert_eq!(gateway.send(Method::GET, "/", &key).await.status, 401);

    // Sessions: one by one, then all the others.
    let there = sign_in_elsewhere(&gateway, "vera").await;
    assert_eq!(status_with(&gateway, &there).await, 200);
    browser.open(&gateway, ACCOUNT).await;
    browser.see("Firefox on Windows").await;
    browser.press("Sign out there: Firefox on Windows").await;
    browser.see("That browser is signed out.").await;
    assert_eq!(status_with(&gateway, &there).await, 401);
    let others = [sign_in_elsewhere(&gateway, "vera").await, sign_in_elsewhere(&gateway, "vera").await];
    browser.open(&gateway, ACCOUNT).await;
    browser.press("Sign out everywhere else").await;
    browser.see("You are signed in nowhere else.").await;
    for other in others {
        assert_eq!(status_with(&gateway, &other).await, 401);
    }

    // The password, and out.
    browser.press("Change password").await;
    browser.submit(&[("current", PASSWORD), ("new", NEXT_PASSWORD), ("repeat", NEXT_PASSWORD)]).await;
    browser.see("Your password was changed.").await;
    browser.press("Sign out here").await;
    browser.submit(&[]).await;
    browser.arrive_below("/_doorward/login").await;
    browser.submit(&[("username", "vera"), ("password", NEXT_PASSWORD)]).await;
    browser.arrive("/").await;
    browser.close().await;
}

#[tokio::test]
async fn everything_is_reached_by_keyboard_in_the_order_of_the_page() {
    let gateway = gateway().await;
    gateway.user("vera", "viewer");
    let browser = Browser::start().await;
    browser.open(&gateway, ACCOUNT).await;
    browser.sign_in("vera").await;
    browser.arrive(ACCOUNT).await;
    let body = browser.client.find(Locator::Css("body")).await.unwrap();
    let mut visited = Vec::new();
    for _ in 0..7 {
        body.send_keys("\u{e004}").await.unwrap();
        let focused = "const e = document.activeElement; return (e.id || e.innerText) + '|' + getComputedStyle(e).outlineStyle";
        let focused = browser.client.execute(focused, vec![]).await.unwrap();
        visited.push(focused.as_str().unwrap().to_owned());
    }
    let expected = [
        "Go to the dashboards",
        "Sign out",
        "name",
        "Save name",
        "Change password",
        "Sign out here",
        "New key",
    ];
    let expected: Vec<String> = expected.iter().map(|what| format!("{what}|solid")).collect();
    assert_eq!(visited, expected, "each in its turn, and each with a visible outline");
    browser.close().await;
}
