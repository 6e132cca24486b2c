//! Callback paths of other products: taken where the settings say so, at the public host, and nowhere else.

use serde_json::json;

use super::settings;
use crate::support::browser::Browser;
use crate::support::provider::{Fault, Provider, Request, person, with};
use crate::support::{Gateway, Upstream};

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_registered_already_is_taken_over_by_setting_alone() {
    for (plain, base, path) in [
        ("", "", "/oauth2/callback"),
        ("public_url = \"http://localhost/obs/phoenix\"", "/obs/phoenix", "/oauth2/sso/tokens"),
    ] {
        let (provider, upstream) = (Provider::start().await, Upstream::spawn().await);
        let of = |more: &str| settings(&upstream, plain, &[provider.settings("sso", more)]);
        let gateway = Gateway::configured(&of("")).await;
        let there = format!("{base}{path}?code=c&state=s");
        assert_eq!(gateway.get(&there, "").await.status, 401, "{path}: it is the application's");
        gateway.reload(&of(&format!("callback_path = \"{path}\""))).await.unwrap();

        let mut browser = Browser::default();
        let rd = format!("{base}/deep?x=1");
        let begin = format!("{base}/_doorward/sign-in/sso?rd={}", rd.replace('/', "%2F").replace('?', "%3F"));
        let location = browser.get(&gateway, &begin).await.header("location").unwrap().to_owned();
        let uri = Request::read(&location, &provider.url).get("redirect_uri");
        assert_eq!(uri, format!("http://localhost{base}{path}"));
        let back = provider.approve(&location, &person("ann"));
        let usual = back.replace(path, "/_doorward/callback/sso");
        assert_eq!(browser.get(&gateway, &usual).await.status, 404, "{path}: not at the usual one");
        let elsewhere = browser.get_at(&gateway, "app.example", &back).await;
        assert!(
            elsewhere.status >= 400 && elsewhere.headers("set-cookie").is_empty(),
            "{path}: at another host"
        );
        let answer = browser.get(&gateway, &back).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, Some(rd.as_str())),
            "{path}: {}",
            answer.text()
        );
        for near in [format!("{base}{path}/"), format!("{base}{path}x")] {
            assert_eq!(gateway.get(&near, "").await.status, 401, "{near}");
        }
        let form = "origin: http://localhost\r\ncontent-length: 0\r\n";
        assert_eq!(gateway.send(&format!("POST {base}{path}"), form).await.status, 405, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_of_several_is_of_the_one_where_the_browser_began_and_responses_say_whose_they_are() {
    let (one, two, upstream) = (Provider::start().await, Provider::start().await, Upstream::spawn().await);
    let shared = "callback_path = \"/oauth2/callback\"";
    let both = [one.settings("one", shared), two.settings("two", shared)];
    let gateway = Gateway::configured(&settings(&upstream, "", &both)).await;
    for (name, provider, other) in [("one", &one, &two), ("two", &two, &one)] {
        let mut browser = Browser::default();
        let claims = person(name);
        let answer = browser.sign_in(&gateway, (provider, name), &claims, "/").await;
        assert_eq!(answer.header("location"), Some("/"), "{}", answer.text());
        // A code of the other one, with the state of this one.
        let mut browser = Browser::default();
        let location = browser.begin(&gateway, name, "/").await;
        let back = provider.approve(&location, &claims);
        let asked = (one.asked("/token"), two.asked("/token"));
        let escaped = |url: &str| url.replace(':', "%3A").replace('/', "%2F");
        let mixed = back.replace(&escaped(&provider.url), &escaped(&other.url));
        assert_ne!(mixed, back);
        let refused = browser.get(&gateway, &mixed).await;
        assert_eq!(refused.status, 502, "{name}: {}", refused.text());
        let mut browser = Browser::default();
        let location = browser.begin(&gateway, name, "/").await;
        let back = provider.approve(&location, &claims);
        let nameless: Vec<&str> = back.split('&').filter(|part| !part.starts_with("iss=")).collect();
        let refused = browser.get(&gateway, &nameless.join("&")).await;
        assert_eq!(refused.status, 502, "{name}: {}", refused.text());
        assert_eq!(asked, (one.asked("/token"), two.asked("/token")), "{name}: no code was sent anywhere");
    }
    let stranger = gateway.get("/oauth2/callback?code=c&state=s", "accept: text/html\r\n").await;
    assert!(stranger.status == 400 && stranger.text().contains("has no such sign-in under way"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_below_the_public_url_is_below_it_everywhere() {
    let (provider, upstream) = (Provider::start().await, Upstream::spawn().await);
    let plain = "public_url = \"http://localhost/obs\"";
    let gateway = Gateway::configured(&settings(&upstream, plain, &[provider.settings("sso", "")])).await;
    let mut browser = Browser::default();
    let page = browser.get(&gateway, "/obs/_doorward/login?rd=%2Fobs%2Fx").await.text();
    assert!(page.contains("href=\"/obs/_doorward/sign-in/sso?rd=%2Fobs%2Fx\""), "{page}");
    let location = browser.get(&gateway, "/obs/_doorward/sign-in/sso?rd=%2Fobs%2Fx").await;
    let location = location.header("location").unwrap().to_owned();
    // Nothing that a request says of itself is in the address that the provider sends browsers to.
    let uri = Request::read(&location, &provider.url).get("redirect_uri");
    assert_eq!(uri, "http://localhost/obs/_doorward/callback/sso");
    let spoofed = "x-forwarded-host: evil.example\r\nx-forwarded-proto: https\r\nforwarded: host=evil.example\r\n\
                   referer: https://evil.example/\r\n";
    let other = gateway.get("/obs/_doorward/sign-in/sso", spoofed).await;
    let other = Request::read(other.header("location").unwrap(), &provider.url).get("redirect_uri");
    assert_eq!(other, uri);
    let claims = with(&person("ann"), &json!({}));
    let answer = browser.get(&gateway, &provider.approve(&location, &claims)).await;
    assert_eq!(answer.header("location"), Some("/obs/x"), "{}", answer.text());
    provider.set(Fault::Html("/token", 500));
    // From a page of ours, since this browser is signed in.
    let again = browser.follow(&gateway, "/obs/_doorward/sign-in/sso", "same-origin").await;
    let location = again.header("location").unwrap().to_owned();
    let refused = browser.get(&gateway, &provider.approve(&location, &claims)).await.text();
    assert!(refused.contains("href=\"/obs/_doorward/sign-in/sso?rd=%2Fobs%2F\""), "{refused}");
}
