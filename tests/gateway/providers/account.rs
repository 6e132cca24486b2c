//! Accounts elsewhere on the account page: linking by who one is, and never losing the last way in.

use doorward::model::role::Role;
use serde_json::json;

use super::World;
use crate::support::browser::Browser;
use crate::support::gateway::PASSWORD;
use crate::support::provider::{person, with};

const ACCOUNT: &str = "/_doorward/account";
const LINK: &str = "/_doorward/account/identities/link";
const UNLINK: &str = "/_doorward/account/identities/unlink";

/// Where the page that follows the form leads to.
fn way_on(page: &str) -> String {
    let (_, rest) = page.split_once("<a class=\"button\" rel=\"nofollow\" href=\"").expect("a way on");
    rest.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&")
}

/// A browser of somebody who has signed in with a password.
async fn local(world: &World, name: &str) -> Browser {
    world.gateway.user(name, Role::Viewer).await;
    let mut browser = Browser::default();
    let form = [("username", name), ("password", PASSWORD), ("rd", "/")];
    assert_eq!(browser.post(&world.gateway, "/_doorward/login", &form).await.status, 303);
    browser
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_elsewhere_is_linked_with_the_password_and_signs_in_from_then_on() {
    let world = World::with("").await;
    world.gateway.user("root", Role::Admin).await;
    let mut vera = local(&world, "vera").await;
    let claims = with(&person("v.elsewhere"), &json!({ "email": "vera@example.org" }));
    let (status, text) = world.refused(&claims).await;
    assert!(status == 403 && text.contains("link The sso on your account page"), "{text}");

    let page = vera.get(&world.gateway, ACCOUNT).await.text();
    assert!(page.contains("Link an account at The sso") && page.contains("None is linked yet"), "{page}");
    for (password, status) in [("", 401), ("wrong wrong wrong", 401)] {
        let answer = vera.post(&world.gateway, LINK, &[("provider", "sso"), ("password", password)]).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains("The password is not right") && !vera.holds("doorward-sign-in-"));
    }
    let unknown = vera.post(&world.gateway, LINK, &[("provider", "other"), ("password", PASSWORD)]).await;
    assert_eq!(unknown.status, 404);
    let page = vera.post(&world.gateway, LINK, &[("provider", "sso"), ("password", PASSWORD)]).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let location = way_on(&page.text());
    assert!(page.text().contains("http-equiv=\"refresh\""));

    // Another browser, and another session of the same browser, link nothing.
    let back = world.provider.approve(&location, &claims);
    let mut mallory = local(&world, "mallory").await;
    assert_eq!(mallory.get(&world.gateway, &back).await.header("location"), Some("/"), "just goes on");
    let answer = vera.get(&world.gateway, &back).await;
    assert_eq!(answer.header("location"), Some("/_doorward/account?done=linked"), "{}", answer.text());
    let page = vera.get(&world.gateway, ACCOUNT).await.text();
    assert!(page.contains("vera@example.org") && page.contains("The sso"), "{page}");
    let page = mallory.get(&world.gateway, ACCOUNT).await.text();
    assert!(page.contains("None is linked yet"), "{page}");

    world.signed_in(&claims).await.get(&world.gateway, "/x").await;
    assert_eq!(world.upstream.last().header("x-auth-user"), Some("vera"));
    // It is hers, so nobody else gets it.
    let page = mallory.post(&world.gateway, LINK, &[("provider", "sso"), ("password", PASSWORD)]).await;
    let back = world.provider.approve(&way_on(&page.text()), &claims);
    let refused = mallory.get(&world.gateway, &back).await;
    assert!(refused.status == 403 && refused.text().contains("belongs to somebody else here"));
    assert!(refused.text().contains("Back to your account") && refused.text().contains("mallory"));

    let form = [("issuer", world.provider.url.as_str()), ("subject", "id-of-v.elsewhere")];
    assert_eq!(mallory.post(&world.gateway, UNLINK, &form).await.status, 404, "it is not hers to remove");
    let answer = vera.post(&world.gateway, UNLINK, &form).await;
    assert_eq!(answer.header("location"), Some("/_doorward/account?done=unlinked"), "{}", answer.text());
    assert_eq!(world.refused(&claims).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_password_links_after_a_new_sign_in_and_keeps_a_way_in() {
    let world = World::with("").await;
    world.gateway.user("root", Role::Admin).await;
    let mut ann = world.signed_in(&person("ann")).await;
    let first = [("issuer", world.provider.url.as_str()), ("subject", "id-of-ann")];
    let second = [("issuer", world.provider.url.as_str()), ("subject", "id-of-ann.work")];
    let kept = ann.post(&world.gateway, UNLINK, &first).await;
    assert!(kept.status == 422 && kept.text().contains("the only account that you can sign in with"));

    world.gateway.clock.advance(std::time::Duration::from_mins(6));
    let page = ann.get(&world.gateway, ACCOUNT).await.text();
    assert!(page.contains("Sign in with The sso again") && !page.contains("Link an account"), "{page}");
    let refused = ann.post(&world.gateway, LINK, &[("provider", "sso")]).await;
    assert!(
        refused.status == 403 && refused.text().contains("of the last five minutes"),
        "{}",
        refused.text()
    );
    world.gateway.clock.set_back(std::time::Duration::from_mins(6));
    let mut ann = world.signed_in(&person("ann")).await;
    let page = ann.post(&world.gateway, LINK, &[("provider", "sso")]).await;
    let back = world.provider.approve(&way_on(&page.text()), &person("ann.work"));
    let answer = ann.get(&world.gateway, &back).await;
    assert_eq!(answer.header("location"), Some("/_doorward/account?done=linked"), "{}", answer.text());
    let answer = ann.post(&world.gateway, UNLINK, &second).await;
    assert_eq!(answer.header("location"), Some("/_doorward/account?done=unlinked"), "{}", answer.text());
    assert_eq!(ann.post(&world.gateway, UNLINK, &first).await.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_somebody_out_keeps_an_account_from_being_linked() {
    let world = World::with("[providers.claims]\ngroups = \"groups\"\nallowed_groups = [\"ops\"]").await;
    let mut vera = local(&world, "vera").await;
    for (groups, status) in [("dev", 403), ("ops", 303)] {
        let page = vera.post(&world.gateway, LINK, &[("provider", "sso"), ("password", PASSWORD)]).await;
        let claims = with(&person("v"), &json!({ "groups": [groups] }));
        let answer = vera.get(&world.gateway, &world.provider.approve(&way_on(&page.text()), &claims)).await;
        assert_eq!(answer.status, status, "{groups}: {}", answer.text());
    }
    // A page of another site has no form here.
    let foreign = format!("{}origin: https://evil.example\r\ncontent-length: 0\r\n", vera.cookies());
    for path in [LINK, UNLINK] {
        assert_eq!(world.gateway.send(&format!("POST {path}"), &foreign).await.status, 403, "{path}");
    }
}
