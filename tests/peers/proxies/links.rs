//! Links that somebody follows before signing in: whatever their length, they come back whole.

use super::door::{Door, More, Proxy};
use super::echo::Echo;
use crate::support::chrome::Browser;
use crate::support::gateway::{Gateway, PASSWORD};
use crate::support::{PATIENCE, wait_for};

const TEMPORARY: &str = "only for the first time";

/// A link of so many bytes, without its fragment, in which a little of everything is that browsers leave as it is. Only `;`
/// is escaped: Traefik makes `&` of it before it asks.
fn link(bytes: usize) -> String {
    let mut link = String::from(
        "/reports/it's/d%C3%A9j%C3%A0?from=2026-01-01&q=a%26b%3Dc%2Bd+e&re=x\\d+|y%3Bz&rd=/other&pad=",
    );
    let pad = bytes - link.len();
    link.push_str(&"0123456789".repeat(pad / 10 + 1)[..pad]);
    link
}

async fn lands_at(browser: &Browser, wanted: &str) {
    let script = "return [location.href, document.body ? document.body.innerText : '']";
    wait_for(&format!("arrival at {wanted}"), PATIENCE, async || {
        let said = browser.client.execute(script, vec![]).await.ok()?;
        let (address, text) = (said[0].as_str()?, said[1].as_str()?);
        (address == wanted && text.contains("\"target\"")).then_some(())
    })
    .await;
}

/// Follows links of every length as anonymous, signs in, and is where the link leads.
async fn follow(browser: &Browser, origin: &str, public: &str, lengths: &[usize]) {
    for bytes in lengths {
        let wanted = format!("{origin}{}#part-2/of?it&all", link(*bytes));
        for origin in [origin, public] {
            browser.client.goto(&format!("{origin}/_doorward/healthz")).await.unwrap();
            browser.client.delete_all_cookies().await.unwrap();
        }
        browser.client.goto(&wanted).await.unwrap();
        browser.arrive_below("/_doorward/login?rd=").await;
        let told =
            browser.submit_in_vain(&[("username", "vera"), ("password", "not the password at all")]).await;
        assert!(!told.is_empty(), "{bytes}");
        browser.sign_in("vera").await;
        lands_at(browser, &wanted).await;
    }
}

/// The same for somebody whose password must be changed first.
async fn follow_with_a_new_password(browser: &Browser, gateway: &Gateway, origin: &str, bytes: usize) {
    let name = format!("nora{bytes}");
    let add = ["user", "add", &name, "--role", "viewer", "--password-stdin", "--temporary"];
    gateway.json(&add, TEMPORARY);
    // Away from there: only another fragment would be no new visit.
    browser.client.goto(&format!("{origin}/_doorward/healthz")).await.unwrap();
    browser.client.delete_all_cookies().await.unwrap();
    let wanted = format!("{origin}{}#part-2", link(bytes));
    browser.client.goto(&wanted).await.unwrap();
    browser.arrive_below("/_doorward/login?rd=").await;
    browser.submit(&[("username", &name), ("password", TEMPORARY)]).await;
    browser.arrive_below("/_doorward/password?rd=").await;
    browser
        .submit_in_vain(&[("current", TEMPORARY), ("new", PASSWORD), ("repeat", "not the same one")])
        .await;
    browser.submit(&[("current", TEMPORARY), ("new", PASSWORD), ("repeat", PASSWORD)]).await;
    lands_at(browser, &wanted).await;
}

async fn through(proxy: Proxy, lengths: &[usize]) {
    let echo = Echo::start().await;
    let door = Door::open(proxy, &echo.address.to_string()).await;
    door.gateway.user("vera", "viewer");
    let browser = Browser::start().await;
    follow(&browser, &door.url, &door.url, lengths).await;
    follow_with_a_new_password(&browser, &door.gateway, &door.url, lengths[lengths.len() - 1]).await;
    browser.close().await;
}

const LENGTHS: [usize; 3] = [2400, 4096, 8000];

#[tokio::test]
async fn links_come_back_whole_through_nginx() {
    through(Proxy::Nginx, &LENGTHS).await;
}

#[tokio::test]
async fn links_come_back_whole_through_traefik() {
    through(Proxy::Traefik, &LENGTHS).await;
}

#[tokio::test]
async fn links_come_back_whole_through_caddy() {
    through(Proxy::Caddy, &LENGTHS).await;
}

#[tokio::test]
async fn links_come_back_whole_through_haproxy() {
    through(Proxy::Haproxy, &LENGTHS).await;
}

#[tokio::test]
async fn links_come_back_whole_through_envoy() {
    through(Proxy::Envoy, &LENGTHS).await;
}

#[tokio::test]
async fn links_come_back_whole_through_envoy_over_grpc() {
    through(Proxy::EnvoyGrpc, &LENGTHS).await;
}

#[tokio::test]
async fn links_come_back_whole_through_the_gateway_itself() {
    let echo = Echo::start().await;
    let gateway = Gateway::start(&format!(
        r#"
        [[upstreams]]
        name = "app"
        url = "http://{}"
        [[routes]]
        upstream = "app"
        rules = [{{ allow = "viewer" }}]
        "#,
        echo.address
    ))
    .await;
    gateway.user("vera", "viewer");
    let browser = Browser::start().await;
    follow(&browser, &gateway.url, &gateway.url, &[2400, 4096, 8000, 8192]).await;
    follow_with_a_new_password(&browser, &gateway, &gateway.url, 8192).await;
    browser.close().await;
}

/// People sign in at one host, and the link is at another, to which the sign-in is handed over.
async fn handed_over(proxy: Proxy) {
    let echo = Echo::start().await;
    let more = More {
        sections: "[[routes]]\nhosts = [\"127.0.0.1\"]\nrules = [{ allow = \"viewer\" }]",
        public_host: Some("localhost"),
        ..More::default()
    };
    let door = Door::open_with(proxy, &echo.address.to_string(), more, str::to_owned).await;
    door.gateway.user("vera", "viewer");
    let browser = Browser::start().await;
    let public = door.url.replace("127.0.0.1", "localhost");
    follow(&browser, &door.url, &public, &LENGTHS).await;
    assert!(browser.cookies().await.contains("doorward"), "a session of that host's own");
    browser.close().await;
}

#[tokio::test]
async fn links_to_another_host_come_back_whole_through_nginx() {
    handed_over(Proxy::Nginx).await;
}

#[tokio::test]
async fn links_to_another_host_come_back_whole_through_caddy() {
    handed_over(Proxy::Caddy).await;
}
