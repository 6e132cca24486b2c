//! The first minute with the shipped example.

use http::Method;

use crate::support::chrome::Browser;
use crate::support::gateway::{Gateway, PASSWORD};
use crate::support::{client, repository};

#[tokio::test]
async fn shipped_example_starts_says_how_to_sign_in_and_shows_the_sample() {
    let example = std::fs::read_to_string(repository("config.example.toml")).unwrap();
    let gateway = Gateway::start(&example).await;
    assert!(gateway.output().contains(&gateway.url), "no address in:\n{}", gateway.output());

    let health = client::get(&format!("{}/_doorward/healthz", gateway.url)).await.unwrap();
    assert_eq!(health.status, 200, "{health:?}");
    let program = gateway.send(Method::GET, "/", "").await;
    assert_eq!(program.refusal(), Some(401), "{program:?}");
    let navigation =
        [("accept", "text/html"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    let page = gateway.post(Method::GET, "/x?a=1&b=2", "", &navigation, "").await;
    assert!([302, 303].contains(&page.status), "{page:?}");
    let login = page.header("location").trim_start_matches(&gateway.url);
    let rd = url::Url::parse("http://unused").unwrap().join(login).unwrap();
    assert_eq!(rd.path(), "/_doorward/login", "{page:?}");
    let rd = rd.query_pairs().find(|(name, _)| name == "rd").expect("rd").1.into_owned();
    assert_eq!(rd, "/x?a=1&b=2");

    gateway.user("ada", "admin");
    let browser = Browser::start().await;
    browser.open(&gateway, "/").await;
    browser.sign_in("ada").await;
    browser.arrive("/").await;
    browser.see("ada").await;
    assert_eq!(browser.get(&gateway, "/").await.status, 200);
    browser.close().await;
    assert!(!gateway.output().contains(PASSWORD), "the password is in the log");
}
