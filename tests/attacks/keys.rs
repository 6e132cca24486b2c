//! K: API keys, where and for what they count.

use std::time::Duration;

use doorward::model::api_key::KeyScope;
use doorward::model::audit::Actor;
use doorward::model::principal::{Principal, PrincipalKind};
use doorward::model::role::Role;
use doorward::model::time::Clock;
use doorward::model::token::{KeyKind, KeyText};
use doorward::service::admin::AdminProof;
use doorward::service::api_keys::NewKey;

use crate::forms::{FORM, form, post};
use crate::support::gateway::{PASSWORD, ROUTES, bearer, session_cookie};
use crate::support::oracle::Claims;
use crate::support::{Gateway, Upstream, Watch};

const AS_KEY: Claims<'static> = &[("x-auth-user", "k"), ("x-auth-subject", "*"), ("x-auth-role", "member")];

/// K03: a key past its end, by either header.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_ends_when_it_should() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let now = gateway.clock.now();
    let new = NewKey {
        name: "k".to_owned(),
        owner: None,
        role: Role::Member,
        scope: KeyScope::default(),
        expires_at: Some(now.after(Duration::from_mins(10))),
    };
    let (key, _) = gateway.keys.issue(&gateway.by, new).await.unwrap();
    let headers = [bearer(key.expose()), format!("x-api-key: {}\r\n", key.expose())];
    gateway.clock.advance(Duration::from_secs(599));
    for header in &headers {
        let watch = Watch::begin(&gateway, &upstream);
        assert_eq!(gateway.get("/data", header).await.status, 200, "a second before");
        watch.reached("a living key", &["GET /data"], AS_KEY).await;
    }
    // It is remembered by now, and ends all the same.
    gateway.clock.advance(Duration::from_secs(1));
    for header in &headers {
        let watch = Watch::begin(&gateway, &upstream);
        assert_eq!(gateway.get("/data", header).await.status, 401, "at its end");
        watch.nothing_reached("an expired key").await;
    }
}

/// K07: a key where people put keys that should not stand there.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_counts_in_its_header_only() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let key = gateway.system_key("k", Role::Member).await;
    let body = form(&[("access_token", &key), ("api_key", &key)]);
    for (line, headers, body) in [
        (format!("GET /data?access_token={key}"), String::new(), ""),
        (format!("GET /data?api_key={key}&x-api-key={key}&authorization=Bearer%20{key}"), String::new(), ""),
        (format!("GET /data/{key}"), String::new(), ""),
        ("POST /data".to_owned(), FORM.to_owned(), body.as_str()),
        ("GET /data".to_owned(), format!("cookie: access_token={key}; x-api-key={key}\r\n"), ""),
        ("GET /data".to_owned(), format!("cookie: doorward={key}\r\n"), ""),
        ("GET /data".to_owned(), format!("x-auth-token: {key}\r\napikey: {key}\r\napi-key: {key}\r\n"), ""),
        ("GET /data".to_owned(), format!("proxy-authorization: Bearer {key}\r\n"), ""),
        ("GET /data".to_owned(), format!("authorization: Token {key}\r\n"), ""),
        ("GET /data".to_owned(), format!("authorization: {key}\r\n"), ""),
        ("GET /data".to_owned(), format!("authorization: Bearer,{key}\r\n"), ""),
        ("GET /data".to_owned(), format!("authorization: Bearer {key}x\r\n"), ""),
        ("GET /data".to_owned(), format!("authorization: Bearer {key} {key}\r\n"), ""),
        ("GET /data".to_owned(), format!("authorization: Bearer \"{key}\"\r\n"), ""),
        ("GET /data".to_owned(), format!("authorization: Bearer {}\r\n", key.to_uppercase()), ""),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nhost: {}\r\n{headers}content-length: {length}\r\n\r\n{body}",
            gateway.address
        );
        let answer = crate::support::exchange(gateway.address, request).await;
        assert_eq!(answer.status, 401, "{line} {headers}");
        assert!(!answer.head.contains(&key) && !answer.text().contains(&key), "{line}: {}", answer.text());
        watch.nothing_reached(&headers).await;
    }
}

/// K12: one key after the other, all well made and all nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn who_tries_many_keys_is_slowed_down_and_nobody_else_is() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "[server]\nworkers = 1\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await;
    let (known, fresh) =
        (gateway.system_key("k", Role::Member).await, gateway.system_key("n", Role::Member).await);
    let guesser = "x-forwarded-for: 198.51.100.7\r\n";
    assert_eq!(gateway.get("/data", &format!("{guesser}{}", bearer(&known))).await.status, 200);
    let before = gateway.lookups();
    let revoked = bearer(KeyText::draw(KeyKind::System).text.expose());
    for _ in 0..200 {
        assert_eq!(gateway.get("/data", &format!("{guesser}{revoked}")).await.status, 401);
    }
    assert_eq!(gateway.lookups() - before, 1, "one key, one look");
    let watch = Watch::begin(&gateway, &upstream);
    let (mut wrong, mut slowed) = (0, 0);
    for _ in 0..150 {
        let guess = bearer(KeyText::draw(KeyKind::System).text.expose());
        let answer = gateway.get("/data", &format!("{guesser}{guess}")).await;
        match answer.status {
            401 => wrong += 1,
            429 => {
                slowed += 1;
                let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=60).contains(&seconds), "{seconds}");
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!((wrong, slowed), (59, 91));
    assert_eq!(gateway.lookups() - before, 60, "the store is asked no more");
    watch.nothing_reached("guesses").await;

    assert_eq!(
        gateway.get("/data", &format!("{guesser}{}", bearer(&known))).await.status,
        200,
        "it is remembered"
    );
    assert_eq!(gateway.get("/data", &format!("{guesser}{}", bearer(&fresh))).await.status, 429);
    let elsewhere = "x-forwarded-for: 198.51.100.8\r\n";
    assert_eq!(gateway.get("/data", &format!("{elsewhere}{}", bearer(&fresh))).await.status, 200);
    gateway.clock.advance(Duration::from_mins(1));
    let guess = bearer(KeyText::draw(KeyKind::System).text.expose());
    assert_eq!(gateway.get("/data", &format!("{guesser}{guess}")).await.status, 401, "and looked at again");
}

/// K09: a key at the pages that are for people.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_changes_no_password_and_opens_no_page() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let id = gateway.user("root", Role::Admin).await;
    let (own, _) = gateway.key_with("own", Role::Admin, Some(id), KeyScope::default()).await;
    let system = gateway.system_key("system", Role::Admin).await;
    let change =
        form(&[("current", PASSWORD), ("new", "a quite new password"), ("repeat", "a quite new password")]);
    for key in [&own, &system] {
        for header in [bearer(key), format!("x-api-key: {key}\r\n"), format!("cookie: doorward={key}\r\n")] {
            let watch = Watch::begin(&gateway, &upstream);
            let page = gateway.get("/_doorward", &header).await;
            assert!(matches!(page.status, 303 | 401 | 403), "{}", page.head);
            assert!(!page.text().contains("root@example.org"), "{}", page.text());
            let own_origin = format!("origin: http://{}\r\n{header}{FORM}", gateway.address);
            let changed = post(&gateway, "/_doorward/password", &own_origin, &change).await;
            assert!(matches!(changed.status, 303 | 401 | 403), "{}", changed.head);
            assert_eq!(session_cookie(&changed).filter(|cookie| cookie != "doorward="), None);
            watch.nothing_reached("a key at our pages").await;
        }
    }
    assert_eq!(gateway.post_login("root", PASSWORD).await.status, 303, "the password is what it was");
}

/// K14: a system key whose maker is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_system_key_outlives_who_made_it_and_a_persons_key_does_not() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("ada", Role::Admin).await;
    let maker = gateway.user("root", Role::Admin).await;
    let (own, _) = gateway.key_with("own", Role::Member, Some(maker.clone()), KeyScope::default()).await;
    let new = NewKey {
        name: "k".to_owned(),
        owner: None,
        role: Role::Member,
        scope: KeyScope::default(),
        expires_at: None,
    };
    let caller = Principal::example(PrincipalKind::User(maker.clone()), "root", Role::Admin);
    let by = AdminProof::of_caller(&caller, Actor::gateway()).unwrap();
    let (system, _) = gateway.keys.issue(&by, new).await.unwrap();
    for key in [own.as_str(), system.expose()] {
        assert_eq!(gateway.get("/data", &bearer(key)).await.status, 200);
    }
    gateway.accounts.delete(&gateway.by, &maker).await.unwrap();
    gateway.settle().await;
    let watch = Watch::begin(&gateway, &upstream);
    assert_eq!(gateway.get("/data", &bearer(&own)).await.status, 401);
    watch.nothing_reached("the key of somebody who is gone").await;
    let watch = Watch::begin(&gateway, &upstream);
    assert_eq!(gateway.get("/data", &bearer(system.expose())).await.status, 200);
    watch.reached("a key of nobody's", &["GET /data"], AS_KEY).await;
}
