//! The gateway and a certified provider in Chromium: from the application to the provider and back.

use std::process::Command;
use std::time::Duration;

use fantoccini::Locator;
use http::Method;
use serde_json::json;

use crate::support::chrome::Browser;
use crate::support::client;
use crate::support::gateway::{Gateway, PASSWORD};
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, repository, wait_for};

const SECRET: &str = "s3cret of the gateway, which is long enough";

/// For how long what the provider says holds: the shortest after which a session is refreshed is half a minute.
const SECONDS: &str = "40";

/// The gateway in front of the built-in sample, and a provider that asks who it is by a list of names.
struct World {
    gateway: Gateway,
    issuer: String,
    _provider: Process,
    _folder: tempfile::TempDir,
}

impl World {
    /// With plain settings, further ones of the provider, and where browsers come back to.
    async fn start(plain: &str, more: &str, callback: &str) -> Self {
        let port = free_port();
        let issuer = format!("http://127.0.0.1:{port}");
        let gateway = Gateway::start(&format!(
            r#"
            {plain}
            [[upstreams]]
            name = "sample"
            url = "builtin:sample"
            [[routes]]
            upstream = "sample"
            rules = [
              {{ name = "ops", path = "/ops", allow = "group:ops" }},
              {{ name = "admin", path = "/admin", allow = "admin" }},
              {{ name = "reads", methods = "read", allow = "viewer" }},
            ]
            [[providers]]
            name = "sso"
            display_name = "Example SSO"
            issuer = "{issuer}"
            client_id = "gateway"
            client_secret = "{SECRET}"
            scopes = ["groups"]
            {more}
            "#
        ))
        .await;
        let clients = json!([{
            "client_id": "gateway", "client_secret": SECRET, "redirect_uris": [format!("{}{callback}", gateway.url)],
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
            "token_endpoint_auth_method": "client_secret_basic",
            "post_logout_redirect_uris": [format!("{}/_doorward/signed-out", gateway.url)],
            "backchannel_logout_uri": format!("{}/_doorward/backchannel-logout/sso", gateway.url),
            "backchannel_logout_session_required": true,
        }]);
        let mut command = Command::new("node");
        command
            .arg(repository("tests/peers/oidc/provider.mjs"))
            .arg(repository(".tests/node/node_modules"))
            .arg(port.to_string())
            .arg(clients.to_string())
            .env("SECONDS", SECONDS);
        let folder = tempfile::tempdir().unwrap();
        let provider = Process::start("oidc-provider", folder.path(), &command);
        let provider = provider.ready(&format!("{issuer}/.well-known/openid-configuration"), PATIENCE).await;
        Self { gateway, issuer, _provider: provider, _folder: folder }
    }
}

const CLAIMS: &str = "[providers.claims]\ngroups = \"groups\"\nallowed_groups = [\"ops\", \"dev\"]\n\
                      role = \"contains(not_null(groups, `[]`), 'ops') && 'admin' || 'viewer'\"";

#[tokio::test]
async fn groups_decide_who_gets_in_and_an_expression_decides_the_role() {
    let world = World::start("", CLAIMS, "/_doorward/callback/sso").await;
    let deep = "/reports/daily?from=2026-01-01&q=a%26b%3Dc";
    for (person, is_refused) in [("ann", false), ("dora", true)] {
        let browser = Browser::start().await;
        browser.open(&world.gateway, deep).await;
        browser.arrive_below("/_doorward/login?rd=").await;
        browser.press("Sign in with Example SSO").await;
        browser.press(person).await;
        browser.arrive(deep).await;
        for path in ["/ops", "/admin"] {
            // The sample has no page at one of them.
            let status = browser.get(&world.gateway, path).await.status;
            assert_eq!(status == 403, is_refused, "{person} {path}: {status}");
            assert!(is_refused || matches!(status, 200 | 404), "{person} {path}: {status}");
        }
        assert_eq!(browser.get(&world.gateway, "/").await.status, 200, "{person}");
        browser.close().await;
    }
    for (person, said) in [("bob", "does not tell which groups"), ("nobody", "did not let you in")] {
        // The provider remembers who signed in, too.
        let browser = Browser::start().await;
        browser.open(&world.gateway, deep).await;
        browser.press("Sign in with Example SSO").await;
        browser.press(person).await;
        browser.see(said).await;
        browser.see("Reference").await;
        assert_ne!(browser.get(&world.gateway, "/").await.status, 200, "{person}");
        browser.close().await;
    }
}

#[tokio::test]
async fn tabs_that_sign_in_side_by_side_each_arrive_where_they_were_going() {
    let world = World::start("", "callback_path = \"/oauth2/sso/tokens\"", "/oauth2/sso/tokens").await;
    let browser = Browser::start().await;
    let mut tabs = Vec::new();
    for path in ["/one?x=1", "/two?x=2"] {
        let tab = browser.client.new_window(true).await.unwrap().handle;
        browser.client.switch_to_window(tab.clone()).await.unwrap();
        browser.open(&world.gateway, path).await;
        browser.press("Sign in with Example SSO").await;
        browser.find("a[href$='as=ann']").await;
        tabs.push((tab, path));
    }
    for (tab, path) in tabs.into_iter().rev() {
        browser.client.switch_to_window(tab).await.unwrap();
        browser.press("ann").await;
        browser.arrive(path).await;
    }
    browser.close().await;
}

#[tokio::test]
async fn straight_to_the_provider_without_passwords_and_not_back_again_after_signing_out() {
    let world = World::start(
        "login.password = false",
        "auto_login = true\nlogout = \"local\"",
        "/_doorward/callback/sso",
    )
    .await;
    let browser = Browser::start().await;
    browser.open(&world.gateway, "/deep?x=1").await;
    browser.press("nobody").await;
    browser.see("did not let you in").await;
    browser.open(&world.gateway, "/deep?x=1").await;
    browser.arrive_below("/_doorward/login").await;
    assert!(
        browser.client.find_all(Locator::Css("input")).await.unwrap().is_empty(),
        "no password is asked for"
    );
    browser.press("Sign in with Example SSO").await;
    browser.press("ann").await;
    browser.arrive("/deep?x=1").await;
    browser.open(&world.gateway, "/_doorward/logout").await;
    browser.press("Sign out").await;
    browser.see("You are signed out").await;
    browser.open(&world.gateway, "/deep?x=1").await;
    browser.arrive_below("/_doorward/login").await;
    assert_ne!(browser.get(&world.gateway, "/").await.status, 200);
    browser.close().await;
    // Another browser goes there by itself.
    let browser = Browser::start().await;
    browser.open(&world.gateway, "/deep?x=1").await;
    browser.press("ann").await;
    browser.arrive("/deep?x=1").await;
    browser.close().await;
}

#[tokio::test]
async fn an_account_is_linked_and_removed_by_the_buttons_of_the_account_page() {
    let world = World::start("", "", "/_doorward/callback/sso").await;
    world.gateway.user("vera", "viewer");
    let browser = Browser::start().await;
    browser.open(&world.gateway, "/_doorward/account").await;
    browser.sign_in("vera").await;
    browser.see("None is linked yet").await;
    browser.fill(&[("password", "wrong wrong wrong")]).await;
    browser.press("Link an account at Example SSO").await;
    browser.see("The password is not right").await;
    browser.fill(&[("password", PASSWORD)]).await;
    browser.press("Link an account at Example SSO").await;
    browser.press("ann").await;
    browser.arrive("/_doorward/account?done=linked").await;
    browser.see("You can sign in with this account from now on").await;
    browser.close().await;

    let browser = Browser::start().await;
    browser.open(&world.gateway, "/_doorward/account").await;
    browser.press("Sign in with Example SSO").await;
    browser.press("ann").await;
    browser.see("as vera").await;
    browser.press("Remove").await;
    // The session that was opened by it ends with it.
    wait_for("the end of the session", PATIENCE, async || {
        (browser.get(&world.gateway, "/").await.status != 200).then_some(())
    })
    .await;
    browser.close().await;
}

async fn waits_for(browser: &Browser, world: &World, path: &str, what: &str, holds: impl Fn(u16) -> bool) {
    wait_for(what, LONG, async || holds(browser.get(&world.gateway, path).await.status).then_some(())).await;
}

/// Longer than a session is refreshed after, and written down as used.
const LONG: Duration = Duration::from_secs(90);

#[tokio::test]
async fn signing_out_here_signs_out_there_and_signing_out_there_ends_the_session_here() {
    let world = World::start("", "", "/_doorward/callback/sso").await;
    let browser = Browser::start().await;
    let sign_in = async || {
        browser.open(&world.gateway, "/deep?x=1").await;
        browser.press("Sign in with Example SSO").await;
        // The provider asks only whom it does not know.
        browser.press("ann").await;
        browser.arrive("/deep?x=1").await;
    };
    sign_in().await;
    browser.open(&world.gateway, "/_doorward/logout").await;
    browser.see("signed out at Example SSO too").await;
    browser.press("Sign out").await;
    browser.press("Yes, sign me out").await;
    browser.see("You are signed out").await;
    assert_ne!(browser.get(&world.gateway, "/").await.status, 200);
    sign_in().await;
    assert_eq!(browser.get(&world.gateway, "/").await.status, 200);
    browser.client.goto(&format!("{}/session/end", world.issuer)).await.unwrap();
    browser.press("Yes, sign me out").await;
    browser.see("Signed out at the provider").await;
    waits_for(&browser, &world, "/", "the end of the session", |status| status != 200).await;
    browser.close().await;
}

#[tokio::test]
async fn a_group_that_is_taken_away_there_is_gone_here_after_the_next_refreshes() {
    let world = World::start("", "[providers.claims]\ngroups = \"groups\"", "/_doorward/callback/sso").await;
    let browser = Browser::start().await;
    browser.open(&world.gateway, "/deep?x=1").await;
    browser.press("Sign in with Example SSO").await;
    browser.press("ann").await;
    browser.arrive("/deep?x=1").await;
    let may = |status| status != 403;
    assert!(may(browser.get(&world.gateway, "/ops").await.status));
    let people = format!("{}/people/ann", world.issuer);
    let says = async |groups: &str| {
        let said =
            client::send(Method::POST, &people, &[], format!("{{\"groups\":{groups}}}")).await.unwrap();
        assert_eq!(said.status, 204);
    };
    // Twice, so that the second refresh is by the token of the first.
    says("[\"dev\"]").await;
    waits_for(&browser, &world, "/ops", "the end of the group's access", |status| status == 403).await;
    assert_eq!(browser.get(&world.gateway, "/").await.status, 200, "the session goes on");
    says("[\"ops\"]").await;
    waits_for(&browser, &world, "/ops", "the group's access again", may).await;
    browser.close().await;
}
