//! O: what can be done with sign-ins through providers, by other browsers, other sites, other providers and their people.

use doorward::model::role::Role;
use serde_json::json;

use crate::support::browser::Browser;
use crate::support::gateway::{PASSWORD, ROUTES};
use crate::support::provider::{CLIENT_SECRET, Provider, Request, person, with};
use crate::support::{Gateway, Upstream, Watch};

/// A gateway in front of an application with one provider, `sso`.
async fn world(more: &str) -> (Provider, Upstream, Gateway) {
    let (provider, upstream) = (Provider::start().await, Upstream::spawn().await);
    let gateway = Gateway::configured(&settings(&upstream, &[provider.settings("sso", more)])).await;
    (provider, upstream, gateway)
}

fn settings(upstream: &Upstream, providers: &[String]) -> String {
    format!("[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}\n{}", upstream.url(), providers.join("\n"))
}

/// A callback with another value of a parameter, or without it.
fn with_parameter(callback: &str, name: &str, value: Option<&str>) -> String {
    let (path, query) = callback.split_once('?').unwrap();
    let others = url::form_urlencoded::parse(query.as_bytes()).filter(|(other, _)| other != name);
    let mut changed = url::form_urlencoded::Serializer::new(String::new());
    changed.extend_pairs(others);
    if let Some(value) = value {
        changed.append_pair(name, value);
    }
    format!("{path}?{}", changed.finish())
}

/// O01: a state that is missing, wrong, used before or older than ten minutes.
/// O02: a state that was made in another browser.
/// O07: a callback that nobody has asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_callback_counts_once_for_the_browser_that_began_it() {
    let (provider, upstream, gateway) = world("").await;
    let ann = person("ann");
    let watch = Watch::begin(&gateway, &upstream);
    let mut browser = Browser::default();
    let location = browser.begin(&gateway, "sso", "/").await;
    let back = provider.approve(&location, &ann);
    let other = provider.approve(&Browser::default().begin(&gateway, "sso", "/").await, &ann);
    let other_state = Request::read(&location, &provider.url).get("state").chars().rev().collect::<String>();
    let stolen = [
        (with_parameter(&back, "state", None), "none"),
        (with_parameter(&back, "state", Some("")), "empty"),
        (with_parameter(&back, "state", Some(&other_state)), "another"),
        (format!("{back}&state=x"), "two"),
        (other, "of another browser"),
        ("/_doorward/callback/sso".to_owned(), "nothing at all"),
        ("/_doorward/callback/sso?code=c".to_owned(), "only a code"),
    ];
    for (callback, what) in &stolen {
        let answer = browser.get(&gateway, callback).await;
        assert_eq!((answer.status, browser.cookie("doorward")), (400, None), "{what}: {}", answer.text());
    }
    let mut thief = Browser::default();
    assert_eq!(thief.get(&gateway, &back).await.status, 400, "without the cookie");
    for (name, value) in [("doorward-sign-in-AAAAAAAAAAA", "x"), ("doorward-sign-in", "x")] {
        thief.put(name, value);
        assert_eq!(thief.get(&gateway, &back).await.status, 400);
    }
    assert_eq!(provider.asked("/token"), 0, "no code was sent anywhere");
    watch.nothing_reached("callbacks").await;

    assert_eq!(browser.get(&gateway, &back).await.status, 303, "and the honest one works");
    let mut again = browser.clone();
    again.forget("doorward");
    assert_eq!(again.get(&gateway, &back).await.status, 400);

    // Used before, with the cookie that was kept.
    let mut browser = Browser::default();
    let back = provider.approve(&browser.begin(&gateway, "sso", "/").await, &ann);
    let mut kept = browser.clone();
    assert_eq!(browser.get(&gateway, &back).await.status, 303);
    let asked = provider.asked("/token");
    let answer = kept.get(&gateway, &back).await;
    assert!(answer.status == 400 && answer.text().contains("came back before"), "{}", answer.text());

    let mut late = Browser::default();
    let back = provider.approve(&late.begin(&gateway, "sso", "/").await, &ann);
    gateway.clock.advance(std::time::Duration::from_mins(10));
    let answer = late.get(&gateway, &back).await;
    assert!(answer.status == 400 && answer.text().contains("longer than ten minutes"), "{}", answer.text());
    assert_eq!(provider.asked("/token"), asked);
}

/// O03: a state, a challenge or a redirect URI that a link brings along.
/// S10: a sign-in that another site begins.
/// D17: sign-ins that are begun and never come back.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_begins_a_sign_in_chooses_nothing_of_it_and_costs_nothing() {
    let (provider, upstream, gateway) = world("").await;
    let watch = Watch::begin(&gateway, &upstream);
    let wishes = "state=mine&nonce=mine&code_challenge=mine&code_challenge_method=plain&redirect_uri=https%3A%2F%2Fevil.example\
                  &client_id=mine&scope=mine&response_type=token&response_mode=fragment&prompt=none&login_hint=victim";
    let foreign = "origin: https://evil.example\r\nreferer: https://evil.example/\r\nsec-fetch-site: cross-site\r\n\
                   sec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n";
    let answer = gateway.get(&format!("/_doorward/sign-in/sso?rd=%2Fx&{wishes}"), foreign).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let request = Request::read(answer.header("location").unwrap(), &provider.url);
    assert_eq!(request.get("redirect_uri"), "http://localhost/_doorward/callback/sso");
    assert_eq!(
        (request.get("client_id").as_str(), request.get("scope").as_str()),
        ("doorward", "openid email profile")
    );
    for (name, value) in [("response_mode", ""), ("prompt", ""), ("login_hint", "")] {
        assert_eq!(request.get(name), value, "{name}");
    }
    assert!(
        !answer.head.contains("mine") && !answer.head.contains("evil") && !answer.head.contains("victim")
    );
    let set: Vec<&str> = answer.headers("set-cookie");
    assert!(set.len() == 1 && set[0].starts_with("doorward-sign-in-"), "no session by itself: {set:?}");
    assert!(set[0].contains("; HttpOnly") && set[0].contains("; SameSite=Lax"), "{set:?}");
    // Where it leads afterwards is one of our own places.
    for wish in [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/%2f/evil.example",
    ] {
        let mut browser = Browser::default();
        let answer = browser.sign_in(&gateway, (&provider, "sso"), &person("ann"), wish).await;
        assert_eq!(answer.header("location"), Some("/"), "{wish}");
    }
    for _ in 0..300 {
        assert_eq!(gateway.get("/_doorward/sign-in/sso", "").await.status, 303);
    }
    // A tab too many takes the place of the oldest.
    let mut tabs = Browser::default();
    let mut back = Vec::new();
    for _ in 0..8 {
        back.push(provider.approve(&tabs.begin(&gateway, "sso", "/").await, &person("ann")));
    }
    assert!(tabs.cookies().matches("doorward-sign-in-").count() <= 5, "{}", tabs.cookies());
    assert_eq!(tabs.get(&gateway, &back[7]).await.status, 303, "the newest");
    watch.nothing_reached("begun sign-ins").await;
}

/// O25: somebody's address at another provider, and somebody's subject at another issuer.
/// O27: a local account with the victim's address, and the other way round.
/// O34: a sign-in at a provider by a user who is disabled.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_becomes_somebody_else_by_an_address_a_name_or_a_subject() {
    let (one, two, upstream) = (Provider::start().await, Provider::start().await, Upstream::spawn().await);
    let both = [one.settings("one", ""), two.settings("two", "")];
    let gateway = Gateway::configured(&settings(&upstream, &both)).await;
    gateway.user("root", Role::Admin).await;
    let mut ann = Browser::default();
    ann.sign_in(&gateway, (&one, "one"), &person("ann"), "/").await;
    let of = async |provider: &Provider, name: &str, claims: &serde_json::Value| {
        let mut browser = Browser::default();
        let status = browser.sign_in(&gateway, (provider, name), claims, "/").await.status;
        let seen = browser.get(&gateway, "/data").await.status;
        (status, (seen == 200).then(|| upstream.last().header("x-auth-user").unwrap().to_owned()))
    };
    // The same address with another subject or issuer.
    let claims = with(&person("ann"), &json!({ "sub": "mallory" }));
    assert_eq!(of(&one, "one", &claims).await, (403, None));
    assert_eq!(of(&two, "two", &person("ann")).await, (403, None), "the same subject at another issuer");
    // One that is not verified is as none: whoever has it is somebody new.
    for verified in [json!(false), json!(null)] {
        let claims = with(&person("ann"), &json!({ "sub": "mallory", "email_verified": verified }));
        assert_eq!(of(&one, "one", &claims).await, (303, Some("ann-2".to_owned())), "{verified}");
        let own = gateway.accounts.find(&gateway.by, "ann-2").await.unwrap().unwrap();
        assert_eq!(own.email, None, "{verified}");
    }
    // The same subject at another issuer without an address is somebody else.
    let nameless = with(&person("ann"), &json!({ "email": null }));
    let (status, name) = of(&two, "two", &nameless).await;
    assert!(status == 303 && name.as_deref() != Some("ann"), "{name:?}");
    // Those of a local account: its name, its address, and both.
    for claims in [
        with(&person("root"), &json!({ "email": "root@example.org" })),
        with(&person("x"), &json!({ "email": "ROOT@example.org" })),
    ] {
        assert_eq!(of(&one, "one", &claims).await, (403, None), "{claims}");
    }
    let (status, name) = of(&one, "one", &with(&person("root"), &json!({ "email": null }))).await;
    assert!(status == 303 && name.as_deref() != Some("root"), "{name:?}");
    // Who is disabled stays out.
    let id = gateway.accounts.find(&gateway.by, "ann").await.unwrap().unwrap().id;
    gateway.accounts.disable(&gateway.by, &id).await.unwrap();
    gateway.settle().await;
    assert_eq!(ann.get(&gateway, "/data").await.status, 401);
    assert_eq!(of(&one, "one", &person("ann")).await, (403, None));
    assert!(gateway.accounts.find(&gateway.by, "ann").await.unwrap().unwrap().disabled);
    // A local sign-in is nobody's at the provider.
    assert_eq!(gateway.post_login("root", PASSWORD).await.status, 303);
}

/// O33: a provider that was taken out of the settings.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_out_of_the_settings_lets_nobody_in_any_more() {
    let (provider, upstream, gateway) = world("").await;
    let mut ann = Browser::default();
    ann.sign_in(&gateway, (&provider, "sso"), &person("ann"), "/").await;
    let mut begun = Browser::default();
    let back = provider.approve(&begun.begin(&gateway, "sso", "/").await, &person("bob"));
    gateway.reload(&settings(&upstream, &[provider.settings("other", "")])).await.unwrap();
    gateway.settle().await;
    let watch = Watch::begin(&gateway, &upstream);
    assert_eq!(ann.get(&gateway, "/data").await.status, 401);
    assert_eq!(begun.get(&gateway, &back).await.status, 404);
    let elsewhere = back.replace("/callback/sso", "/callback/other");
    assert_eq!(begun.get(&gateway, &elsewhere).await.status, 400, "it began at another provider");
    assert_eq!(provider.asked("/token"), 1);
    watch.nothing_reached("a removed provider").await;
}

/// O36: an error that holds HTML.
/// O37: tokens of the provider in what is told, kept by browsers or logged.
/// O38: the client secret in anything that is told.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_provider_is_told_to_anybody() {
    let (provider, _upstream, gateway) = world("").await;
    gateway.ledger.handed_out(CLIENT_SECRET);
    let mut browser = Browser::default();
    let denied = provider.deny(&browser.begin(&gateway, "sso", "/").await, "<img src=x onerror=alert(1)>");
    let answer = browser.get(&gateway, &denied).await;
    assert!(!answer.text().contains("<img") && !answer.text().contains("<script"), "{}", answer.text());
    assert!(!answer.head.contains("onerror"));
    let mut told = Vec::new();
    let location = browser.begin(&gateway, "sso", "/").await;
    told.push(location.clone());
    let back = provider.approve(&location, &person("ann"));
    let answer = browser.get(&gateway, &back).await;
    told.extend([answer.head.clone(), answer.text()]);
    for path in ["/_doorward/account", "/_doorward/login", "/data", "/_doorward/api/explain?path=/data"] {
        let answer = browser.get(&gateway, path).await;
        told.extend([answer.head.clone(), answer.text()]);
    }
    told.push(browser.cookies());
    // The ledger looks for them in logs and files, once the gateway ends.
    let secrets = provider.handed_out();
    assert!(secrets.len() >= 3, "code, access token and signature");
    for secret in secrets.iter().map(String::as_str).chain([CLIENT_SECRET]) {
        assert!(told.iter().all(|told| !told.contains(secret)));
        gateway.ledger.handed_out(secret);
    }
}
