//! Sessions while they go on, in front of an application: they follow what changes at each server, and who signs out in one
//! place is out in the other.

use std::time::Duration;

use super::dex::{self, Dex};
use super::front::{Front, Socket, documented};
use super::glewlwyd::Glewlwyd;
use super::hydra::Hydra;
use super::keycloak::Realm;
use super::sign_in::{by_keycloak, of_hydra};
use super::visitor::{Page, Visitor};
use crate::support::chrome::Browser;
use crate::support::{PATIENCE, free_port, wait_for};

/// A session in use is refreshed after half a minute at the soonest; its next use is noted each half minute.
const REFRESH: Duration = Duration::from_mins(3);

/// Settings of a provider with one more.
fn with(settings: &str, more: &str) -> String {
    settings.replace("[providers.claims]", &format!("{more}\n[providers.claims]"))
}

/// Waits for a refresh after which the application gets this of somebody at `path`, or they this refusal.
async fn becomes(front: &Front, visitor: &Visitor, path: &str, wanted: Result<&str, u16>) {
    let wanted = wanted.map(str::to_owned);
    wait_for(&format!("{wanted:?} at {path}"), REFRESH, async || {
        (front.who(visitor, path).await == wanted).then_some(())
    })
    .await;
}

/// Waits until somebody has no session any more: far sooner than it would be refreshed.
async fn session_ends(front: &Front, visitor: &Visitor) {
    wait_for("end of the session", PATIENCE, async || {
        (front.who(visitor, "/").await == Err(401)).then_some(())
    })
    .await;
}

async fn socket_ends(socket: &mut Socket) {
    wait_for("end of the socket", PATIENCE, async || (!socket.lives().await).then_some(())).await;
}

/// Somebody who has just signed out here sees so and stays out, wherever they go, until they sign in again.
async fn is_signed_out(front: &Front, visitor: &mut Visitor, page: &Page) {
    let is_sign_in = |page: &Page| {
        page.status == 200 && page.url.as_str().starts_with(&format!("{}?", front.url("/_doorward/login")))
    };
    assert!(is_sign_in(page) && page.body.contains("You are signed out"), "{page:?}");
    assert_eq!(front.who(visitor, "/").await, Err(401));
    let page = visitor.open(&front.url("/")).await;
    assert!(is_sign_in(&page) && page.body.contains("Sign in with"), "{page:?}");
    assert_eq!(front.who(visitor, "/").await, Err(401));
}

/// Whether a browser that has lost its session here gets in anew without being asked for anything.
async fn is_known_there(front: &Front, visitor: &mut Visitor, provider: &str) -> bool {
    visitor.forget("doorward");
    assert_eq!(front.who(visitor, "/").await, Err(401));
    let page = front.begin(visitor, provider, "/").await;
    page.status == 200 && page.url.as_str() == front.url("/")
}

#[tokio::test]
async fn who_loses_a_group_at_keycloak_loses_what_it_opened_at_the_next_refresh() {
    let Some(realm) = Realm::start("refresh").await else { return };
    realm.shorten_tokens().await;
    realm.join("ann", "/Data Science").await;
    let front = Front::start("", &documented("keycloak", &realm.issuer)).await;
    let (ann, _) = by_keycloak(&front, "ann", "/science").await;
    let (bob, _) = by_keycloak(&front, "bob", "/science").await;
    let (kim, _) = by_keycloak(&front, "kim", "/member").await;
    let all = "ann (admin) /Data Science|/engineering|/engineering/platform";
    assert_eq!(front.who(&ann, "/science").await.as_deref(), Ok(all));
    assert_eq!(front.who(&bob, "/science").await.as_deref(), Ok("bob (viewer) /Data Science"));
    assert_eq!(front.who(&kim, "/member").await.as_deref(), Ok("kim (member) /engineering/platform"));
    let mut by_group = front.socket(&ann, "/science").await.unwrap();
    let mut by_role = front.socket(&ann, "/admin").await.unwrap();
    let mut of_bob = front.socket(&bob, "/science").await.unwrap();
    let mut of_kim = front.socket(&kim, "/member").await.unwrap();

    realm.leave("ann", "/Data Science").await;
    realm.join("bob", "/engineering").await;
    realm.leave("kim", "/engineering/platform").await;
    // One of several: what that one opened is closed, and nothing else.
    becomes(&front, &ann, "/science", Err(403)).await;
    let fewer = "ann (admin) /engineering|/engineering/platform";
    assert_eq!(front.who(&ann, "/admin").await.as_deref(), Ok(fewer));
    socket_ends(&mut by_group).await;
    assert!(by_role.lives().await);
    assert_eq!(front.socket(&ann, "/science").await.unwrap_err(), 403);
    // The only one by which somebody was let in: the session is over.
    becomes(&front, &kim, "/member", Err(401)).await;
    socket_ends(&mut of_kim).await;
    assert_eq!(front.causes(), ["provider-claims"]);
    // Who is in another one besides goes on, and has it.
    becomes(&front, &bob, "/science", Ok("bob (viewer) /Data Science|/engineering")).await;
    assert!(of_bob.lives().await);
    let (_, page) = by_keycloak(&front, "kim", "/").await;
    assert_eq!(page.status, 403, "{page:?}");
}

#[tokio::test]
async fn who_signs_out_at_keycloak_is_out_here_with_what_is_open() {
    let Some(realm) = Realm::start("told").await else { return };
    let front = Front::start("", &documented("keycloak", &realm.issuer)).await;
    realm.tell_of_logouts(&front.logout_uri("keycloak")).await;
    let mut sessions = Vec::new();
    for person in ["ann", "ann", "bob"] {
        let (visitor, _) = by_keycloak(&front, person, "/").await;
        front.who(&visitor, "/").await.unwrap();
        let socket = front.socket(&visitor, "/").await.unwrap();
        sessions.push((visitor, socket));
    }
    let [(ann, first), (again, second), (bob, his)] = &mut sessions[..] else { unreachable!() };
    realm.sign_out(ann).await;
    session_ends(&front, ann).await;
    socket_ends(first).await;
    assert_eq!(front.socket(ann, "/").await.unwrap_err(), 401);
    // It names one session.
    front.who(again, "/").await.unwrap();
    assert!(second.lives().await && his.lives().await);
    realm.end_sessions("ann").await;
    session_ends(&front, again).await;
    socket_ends(second).await;
    assert_eq!(front.causes(), ["provider-logout"; 2]);
    assert!(his.lives().await);
    front.who(bob, "/").await.unwrap();
    // Nothing of all this keeps her from signing in again.
    let (ann, _) = by_keycloak(&front, "ann", "/").await;
    front.who(&ann, "/").await.unwrap();
}

#[tokio::test]
async fn who_signs_out_here_is_out_at_keycloak_and_signed_in_by_nothing_but_themselves() {
    let Some(realm) = Realm::start("out").await else { return };
    let settings = documented("keycloak", &realm.issuer);
    for (base, more) in [("", ""), ("/sub", "auto_login = true")] {
        let front = Front::start(base, &with(&settings, more)).await;
        let (mut ann, _) = by_keycloak(&front, "ann", "/").await;
        let (mut bob, _) = by_keycloak(&front, "bob", "/").await;
        assert!(is_known_there(&front, &mut ann, "keycloak").await, "{more}");
        let mut socket = front.socket(&ann, "/").await.unwrap();
        let page = front.sign_out(&mut ann).await;
        is_signed_out(&front, &mut ann, &page).await;
        socket_ends(&mut socket).await;
        assert!(!is_known_there(&front, &mut ann, "keycloak").await, "{more}");
        assert!(is_known_there(&front, &mut bob, "keycloak").await, "{more}");
        // Elsewhere the setting does what it says.
        let page = Visitor::default().open(&front.url("/")).await;
        assert_eq!(page.body.contains("kc-form-login"), !more.is_empty(), "{page:?}");
    }
    let front = Front::start("", &with(&settings, "auto_login = true\nlogout = \"local\"")).await;
    let (mut ann, _) = by_keycloak(&front, "ann", "/").await;
    let page = front.sign_out(&mut ann).await;
    is_signed_out(&front, &mut ann, &page).await;
    assert!(is_known_there(&front, &mut ann, "keycloak").await, "only here, as the settings say");
}

#[tokio::test]
async fn chromium_goes_on_to_keycloak_to_sign_out_and_comes_back() {
    let Some(realm) = Realm::start("out-in-chromium").await else { return };
    let front = Front::start("", &with(&documented("keycloak", &realm.issuer), "auto_login = true")).await;
    let browser = Browser::start().await;
    browser.open(&front.gateway, "/deep").await;
    browser.submit(&[("username", "bob"), ("password", "bob-pw")]).await;
    browser.arrive("/deep").await;
    browser.open(&front.gateway, "/_doorward/logout").await;
    browser.see("You will be signed out at Keycloak too").await;
    browser.press("Sign out").await;
    browser.see("You are signed out").await;
    browser.open(&front.gateway, "/deep").await;
    browser.arrive_below("/_doorward/login").await;
    browser.press("Sign in with Keycloak").await;
    browser.submit(&[("username", "bob"), ("password", "bob-pw")]).await;
    browser.arrive("/deep").await;
    browser.close().await;
}

#[tokio::test]
async fn who_loses_a_group_in_the_directory_behind_dex_loses_it_here_at_the_next_refresh() {
    let port = free_port();
    let front = Front::start("", &documented("dex", &Dex::issuer(port))).await;
    let Some(dex) = Dex::start(port, &[&front.redirect_uri("dex")]).await else { return };
    let sign_in = async |person: &str| {
        let mut visitor = Visitor::default();
        let page = front.begin(&mut visitor, "dex", "/").await;
        let page = dex::sign_in(&mut visitor, &page, person).await;
        (visitor, page)
    };
    let [ann, kim, zoe] = [sign_in("ann").await.0, sign_in("kim").await.0, sign_in("zoe").await.0];
    assert_eq!(front.who(&ann, "/science").await.as_deref(), Ok("ann (member) Data Science|Ops (EU)"));
    assert_eq!(front.who(&kim, "/science").await.as_deref(), Ok("kim (viewer) Data Science"));
    assert_eq!(front.who(&zoe, "/member").await.as_deref(), Ok("zoe (member) Ops (EU)"));
    let mut by_group = front.socket(&ann, "/science").await.unwrap();
    let mut by_role = front.socket(&ann, "/member").await.unwrap();
    let mut of_kim = front.socket(&kim, "/science").await.unwrap();
    let mut of_zoe = front.socket(&zoe, "/member").await.unwrap();

    dex.directory.leave("ann", "Data Science");
    dex.directory.leave_as("cn=Zoë\\, the (ops) * \\\\o/", "Ops (EU)");
    becomes(&front, &ann, "/science", Err(403)).await;
    assert_eq!(front.who(&ann, "/member").await.as_deref(), Ok("ann (member) Ops (EU)"));
    socket_ends(&mut by_group).await;
    assert!(by_role.lives().await);
    becomes(&front, &zoe, "/member", Err(401)).await;
    socket_ends(&mut of_zoe).await;
    assert_eq!(front.causes(), ["provider-claims"]);
    assert_eq!(front.who(&kim, "/science").await.as_deref(), Ok("kim (viewer) Data Science"));
    assert!(of_kim.lives().await);
    let (_, page) = sign_in("zoe").await;
    assert_eq!(page.status, 403, "{page:?}");
}

#[tokio::test]
async fn who_signs_out_at_hydra_is_out_here_and_the_other_way_round() {
    let port = free_port();
    let front = Front::start("", &of_hydra(port)).await;
    let Some(hydra) = Hydra::start(port, &[&front.redirect_uri("hydra")]).await else { return };
    // As long as it knows no address to come back to, people are signed out here only.
    let mut early = Visitor::default();
    front.begin_as(&mut early, "hydra", "/", "bob").await;
    front.who(&early, "/").await.unwrap();
    let page = front.sign_out(&mut early).await;
    assert!(page.url.as_str().starts_with(&Hydra::issuer(port)), "{page:?}");
    assert!(page.body.contains("post_logout_redirect_uri"), "{page:?}");
    assert_eq!(front.who(&early, "/").await, Err(401));
    assert!(is_known_there(&front, &mut early, "hydra").await);

    hydra.tell_of_logouts(&front.logout_uri("hydra"), &front.signed_out_uri()).await;
    let mut sessions = Vec::new();
    for person in ["ann", "ann", "bob"] {
        let mut visitor = Visitor::default();
        front.begin_as(&mut visitor, "hydra", "/", person).await;
        let socket = front.socket(&visitor, "/").await.unwrap();
        sessions.push((visitor, socket));
    }
    let [(ann, first), (again, second), (bob, his)] = &mut sessions[..] else { unreachable!() };
    ann.open(&format!("{}/oauth2/sessions/logout", Hydra::issuer(port))).await;
    session_ends(&front, ann).await;
    socket_ends(first).await;
    assert_eq!(front.causes(), ["provider-logout"]);
    front.who(again, "/").await.unwrap();
    assert!(second.lives().await && his.lives().await, "it names one session");

    // Without a name in the link its pages let in only whom Hydra remembers.
    assert!(is_known_there(&front, bob, "hydra").await);
    let page = front.sign_out(bob).await;
    is_signed_out(&front, bob, &page).await;
    assert!(!is_known_there(&front, bob, "hydra").await);
    assert!(is_known_there(&front, again, "hydra").await);
}

#[tokio::test]
async fn who_signs_out_at_glewlwyd_is_out_here_in_every_browser() {
    let port = free_port();
    let front = Front::start("", &documented("glewlwyd", &Glewlwyd::issuer(port))).await;
    let server = Glewlwyd::start(port, &[&front.redirect_uri("glewlwyd")]).await;
    server.tell_of_logouts(&front.logout_uri("glewlwyd"), &front.signed_out_uri()).await;
    let mut sessions = Vec::new();
    for person in ["ann", "ann", "kim"] {
        let mut visitor = Visitor::default();
        let page = front.begin(&mut visitor, "glewlwyd", "/").await;
        server.sign_in(&mut visitor, &page, person).await;
        let socket = front.socket(&visitor, "/").await.unwrap();
        sessions.push((visitor, socket));
    }
    let [(ann, first), (again, second), (kim, hers)] = &mut sessions[..] else { unreachable!() };
    // Its page asks first; until she agrees, she is signed out here only.
    let page = front.sign_out(ann).await;
    assert_eq!(front.who(ann, "/").await, Err(401));
    socket_ends(first).await;
    front.who(again, "/").await.unwrap();
    assert!(second.lives().await);
    let (_, session) = page.url.query_pairs().find(|(name, _)| name == "sid").expect("a session to end");
    server.end_session(ann, &session).await;
    session_ends(&front, again).await;
    socket_ends(second).await;
    assert_eq!(front.causes(), ["provider-logout"]);
    front.who(kim, "/").await.unwrap();
    assert!(hers.lives().await);
}
