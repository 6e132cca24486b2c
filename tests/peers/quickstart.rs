//! The first minute with the shipped example.

use http::Method;

use crate::support::chrome::Browser;
use crate::support::gateway::{Gateway, PASSWORD};
use crate::support::{PATIENCE, client, repository, wait_for};

async fn gateway() -> Gateway {
    Gateway::start(&std::fs::read_to_string(repository("config.example.toml")).unwrap()).await
}

#[tokio::test]
async fn shipped_example_answers_programs_and_sends_people_to_sign_in() {
    let gateway = gateway().await;

    let health = client::get(&format!("{}/_doorward/healthz", gateway.url)).await.unwrap();
    assert_eq!(health.status, 200, "{health:?}");
    let program = gateway.send(Method::GET, "/", "").await;
    assert_eq!(program.refusal(), Some(401), "{program:?}");

    let navigation =
        [("accept", "text/html"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    let page = gateway.post(Method::GET, "/x?a=1&b=2", "", &navigation, "").await;
    assert!([302, 303].contains(&page.status), "{page:?}");
    let login = url::Url::parse(&gateway.url).unwrap().join(page.header("location")).unwrap();
    assert_eq!(login.path(), "/_doorward/login", "{page:?}");
    let rd = login.query_pairs().find(|(name, _)| name == "rd").expect("rd").1.into_owned();
    assert_eq!(rd, "/x?a=1&b=2");
}

#[tokio::test]
async fn printed_link_makes_the_first_admin_once_who_then_sees_the_sample() {
    let gateway = gateway().await;
    let link = wait_for("printed setup link", PATIENCE, async || {
        let output = gateway.output();
        let start = format!("{}/_doorward/setup?token=", gateway.url);
        output.split_whitespace().find(|word| word.starts_with(&start)).map(str::to_owned)
    })
    .await;
    let browser = Browser::start().await;

    browser.client.goto(&link).await.unwrap();
    browser.submit(&[("username", "ada"), ("password", PASSWORD), ("repeat", PASSWORD)]).await;
    browser.arrive("/").await;
    browser.see("ada").await;
    assert_eq!(browser.get(&gateway, "/").await.status, 200);

    let again = client::get(&link).await.unwrap();
    assert_ne!(again.status, 200, "the link works twice: {again:?}");
    assert!(!gateway.output().contains(PASSWORD), "the password is in the log");
    browser.close().await;
}
