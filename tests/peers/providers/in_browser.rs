//! The same in Chromium, to Arize Phoenix.

use super::front::documented;
use super::keycloak::Realm;
use crate::phoenix::Phoenix;
use crate::support::chrome::Browser;
use crate::support::gateway::Gateway;

/// Opens a page of Phoenix and signs somebody in at Keycloak on the way.
async fn sign_in(gateway: &Gateway, person: &str) -> Browser {
    let browser = Browser::start().await;
    browser.open(gateway, "/projects").await;
    browser.arrive_below("/_doorward/login").await;
    browser.press("Sign in with Keycloak").await;
    browser.submit(&[("username", person), ("password", &format!("{person}-pw"))]).await;
    browser
}

#[tokio::test]
async fn groups_and_roles_of_keycloak_decide_what_people_do_in_phoenix() {
    let Some(realm) = Realm::start("phoenix").await else { return };
    let config = Phoenix::shared().await.config() + &documented("keycloak", &realm.issuer);
    let gateway = Gateway::start(&config).await;
    for (person, users) in [("ann", 200), ("bob", 403)] {
        let browser = sign_in(&gateway, person).await;
        browser.arrive("/projects").await;
        browser.see("Projects").await;
        assert_eq!(browser.get(&gateway, "/v1/projects").await.status, 200, "{person}");
        assert_eq!(browser.get(&gateway, "/v1/users").await.status, users, "{person}");
        browser.close().await;
    }
    let browser = sign_in(&gateway, "eve").await;
    browser.see("does not tell which groups you are in").await;
    assert_ne!(browser.get(&gateway, "/v1/projects").await.status, 200);
    // Nothing goes round: she may choose another account, and gets to the page when she does.
    browser.press("Sign in with Keycloak again").await;
    browser.see("does not tell which groups you are in").await;
    browser.close().await;
}
