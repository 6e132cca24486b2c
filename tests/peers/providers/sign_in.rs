//! Signing in through each server, to an application behind the gateway: who is let in, as whom, and who is not.

use super::dex::{self, Dex};
use super::front::{Front, documented};
use super::glewlwyd::Glewlwyd;
use super::hydra::Hydra;
use super::keycloak::{self, Realm};
use super::visitor::{Page, Visitor};
use crate::support::{PATIENCE, free_port, wait_for};

/// Where the gateway is: by itself on its host, or below a path.
const BASES: [&str; 2] = ["", "/sub"];

/// Signs somebody in at Keycloak on the way to `path`.
pub(super) async fn by_keycloak(front: &Front, person: &str, path: &str) -> (Visitor, Page) {
    let mut visitor = Visitor::default();
    let page = front.begin(&mut visitor, "keycloak", path).await;
    let page = keycloak::sign_in(&mut visitor, &page, person).await;
    (visitor, page)
}

/// Somebody who is let in, came to where they wanted to go, and is this to the application.
async fn is_let_in(front: &Front, (visitor, page): &(Visitor, Page), path: &str, who: &str) {
    assert_eq!((page.status, page.url.as_str()), (200, front.url(path).as_str()), "{page:?}");
    assert_eq!(front.who(visitor, path).await.as_deref(), Ok(who));
}

/// Somebody who is told why they are not let in, and has no session.
async fn is_kept_out(front: &Front, (visitor, page): &(Visitor, Page), says: &str) {
    assert!(page.url.as_str().starts_with(&front.url("/_doorward/callback/")), "{page:?}");
    assert_eq!(page.status, 403, "{page:?}");
    assert!(page.body.contains(says), "{says}: {}", page.body);
    front.who(visitor, "/").await.unwrap_err();
}

#[tokio::test]
async fn keycloak_decides_by_groups_and_roles_who_gets_where() {
    for base in BASES {
        let Some(realm) = Realm::start(if base.is_empty() { "groups" } else { "groups-below" }).await else {
            return;
        };
        let front = Front::start(base, &documented("keycloak", &realm.issuer)).await;
        let ann = by_keycloak(&front, "ann", "/admin/a?b=c").await;
        is_let_in(&front, &ann, "/admin/a?b=c", "ann (admin) /engineering|/engineering/platform").await;
        // A role of the client that comes by a group.
        let kim = by_keycloak(&front, "kim", "/member").await;
        is_let_in(&front, &kim, "/member", "kim (member) /engineering/platform").await;
        assert_eq!(front.who(&kim.0, "/admin").await, Err(403));
        assert_eq!(front.who(&kim.0, "/science").await, Err(403));
        let bob = by_keycloak(&front, "bob", "/science").await;
        is_let_in(&front, &bob, "/science", "bob (viewer) /Data Science").await;
        assert_eq!(front.who(&bob.0, "/member").await, Err(403));
        // A group above one that is let in is not let in, and no group at all is not either.
        let noah = by_keycloak(&front, "noah", "/").await;
        is_kept_out(&front, &noah, "none of the groups").await;
        let eve = by_keycloak(&front, "eve", "/").await;
        is_kept_out(&front, &eve, "does not tell which groups").await;
        assert_eq!(front.users(), ["ann", "bob", "kim"]);
    }
}

#[tokio::test]
async fn people_sign_in_while_keys_of_keycloak_change() {
    let Some(realm) = Realm::start("rotation").await else { return };
    let front = Front::start("", &documented("keycloak", &realm.issuer)).await;
    let ann = by_keycloak(&front, "ann", "/").await;
    realm.add_key().await;
    let bob = by_keycloak(&front, "bob", "/").await;
    is_let_in(&front, &bob, "/", "bob (viewer) /Data Science").await;
    realm.remove_first_key().await;
    let kim = by_keycloak(&front, "kim", "/").await;
    is_let_in(&front, &kim, "/", "kim (member) /engineering/platform").await;
    is_let_in(&front, &ann, "/", "ann (admin) /engineering|/engineering/platform").await;
}

#[tokio::test]
async fn a_wrong_secret_lets_nobody_in_and_is_told_to_the_operator() {
    let Some(realm) = Realm::start("secret").await else { return };
    let right = documented("keycloak", &realm.issuer);
    let wrong = right.replace("doorward-secret", "another-secret");
    let front = Front::start("", &wrong).await;
    let (visitor, page) = by_keycloak(&front, "ann", "/").await;
    assert!(page.body.contains("is not set up correctly"), "{page:?}");
    front.who(&visitor, "/").await.unwrap_err();
    assert_eq!(front.users(), Vec::<String>::new());
    let log = front.gateway.output();
    assert!(log.contains("the provider refused a token request"), "{log}");
    assert!(!log.contains("another-secret"), "{log}");
}

#[tokio::test]
async fn a_provider_that_is_stopped_leaves_the_others_and_those_who_are_signed_in_alone() {
    let [port, other_port] = [free_port(), free_port()];
    let providers = of_hydra(port) + &documented("glewlwyd", &Glewlwyd::issuer(other_port));
    let front = Front::start("", &providers).await;
    // Nothing of it is known yet.
    let mut visitor = Visitor::default();
    let page = front.begin(&mut visitor, "hydra", "/").await;
    assert_eq!(page.status, 503, "{page:?}");
    assert!(page.body.contains("does not answer as it should"), "{page:?}");

    let redirect_uri = front.redirect_uri("hydra");
    let Some(hydra) = Hydra::start(port, &[&redirect_uri]).await else { return };
    let glewlwyd = Glewlwyd::start(other_port, &[&front.redirect_uri("glewlwyd")]).await;
    let by_hydra = async |person: &str| {
        let mut visitor = Visitor::default();
        let page = front.begin_as(&mut visitor, "hydra", "/", person).await;
        (visitor, page)
    };
    let ann = wait_for("sign-in at a provider that is up again", PATIENCE, async || {
        Some(by_hydra("ann").await).filter(|(_, page)| page.status == 200)
    })
    .await;
    let who = "ann (member) engineering|engineering/platform";
    is_let_in(&front, &ann, "/", who).await;

    drop(hydra);
    is_let_in(&front, &ann, "/", who).await;
    let mut visitor = Visitor::default();
    let page = front.begin(&mut visitor, "glewlwyd", "/").await;
    let page = glewlwyd.sign_in(&mut visitor, &page, "kim").await;
    is_let_in(&front, &(visitor, page), "/", "kim (viewer) Data Science|ops").await;

    // It remembers nothing, so it has other keys and knows nobody's sign-in any more.
    let Some(_hydra) = Hydra::start(port, &[&redirect_uri]).await else { return };
    let bob = by_hydra("bob").await;
    is_let_in(&front, &bob, "/", "bob (viewer) Data Science").await;
}

/// Its pages sign in whom the link names.
pub(super) fn of_hydra(port: u16) -> String {
    documented("hydra", &Hydra::issuer(port))
        .replace("[providers.claims]", "login_hint = true\n[providers.claims]")
}

#[tokio::test]
async fn hydra_decides_by_groups_who_is_let_in() {
    for base in BASES {
        let port = free_port();
        let front = Front::start(base, &of_hydra(port)).await;
        let Some(_hydra) = Hydra::start(port, &[&front.redirect_uri("hydra")]).await else { return };
        let sign_in = async |person: &str, path: &str| {
            let mut visitor = Visitor::default();
            let page = front.begin_as(&mut visitor, "hydra", path, person).await;
            (visitor, page)
        };
        let ann = sign_in("ann", "/member").await;
        is_let_in(&front, &ann, "/member", "ann (member) engineering|engineering/platform").await;
        let bob = sign_in("bob", "/science").await;
        is_let_in(&front, &bob, "/science", "bob (viewer) Data Science").await;
        assert_eq!(front.who(&bob.0, "/member").await, Err(403));
        is_kept_out(&front, &sign_in("noah", "/").await, "none of the groups").await;
        // An empty list, as its pages send it here.
        is_kept_out(&front, &sign_in("eve", "/").await, "none of the groups").await;
        is_kept_out(&front, &sign_in("nobody", "/").await, "did not let you in").await;
    }
}

#[tokio::test]
async fn groups_of_a_directory_behind_dex_count_exactly_as_they_are_written() {
    for base in BASES {
        let port = free_port();
        let front = Front::start(base, &documented("dex", &Dex::issuer(port))).await;
        let Some(_dex) = Dex::start(port, &[&front.redirect_uri("dex")]).await else { return };
        let sign_in = async |person: &str, path: &str| {
            let mut visitor = Visitor::default();
            let page = front.begin(&mut visitor, "dex", path).await;
            let page = dex::sign_in(&mut visitor, &page, person).await;
            (visitor, page)
        };
        let ann = sign_in("ann", "/science").await;
        is_let_in(&front, &ann, "/science", "ann (member) Data Science|Ops (EU)").await;
        let zoe = sign_in("zoe", "/member").await;
        is_let_in(&front, &zoe, "/member", "zoe (member) Ops (EU)").await;
        assert_eq!(front.who(&zoe.0, "/science").await, Err(403));
        // Of a group whose name begins as one that is let in, but for its capital letters.
        is_kept_out(&front, &sign_in("bob", "/").await, "none of the groups").await;
        is_kept_out(&front, &sign_in("lea", "/").await, "does not tell which groups").await;
        // Of one whose name no group can have here.
        is_kept_out(&front, &sign_in("eve", "/").await, "none of the groups").await;
    }
}

#[tokio::test]
async fn glewlwyd_decides_by_groups_who_is_let_in() {
    for base in BASES {
        let port = free_port();
        let front = Front::start(base, &documented("glewlwyd", &Glewlwyd::issuer(port))).await;
        let server = Glewlwyd::start(port, &[&front.redirect_uri("glewlwyd")]).await;
        let sign_in = async |person: &str, path: &str| {
            let mut visitor = Visitor::default();
            let page = front.begin(&mut visitor, "glewlwyd", path).await;
            let page = server.sign_in(&mut visitor, &page, person).await;
            (visitor, page)
        };
        let ann = sign_in("ann", "/science").await;
        is_let_in(&front, &ann, "/science", "ann (viewer) Data Science|engineering").await;
        is_kept_out(&front, &sign_in("bob", "/").await, "none of the groups").await;
    }
}
