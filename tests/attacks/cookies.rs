//! C: sessions and the cookies that stand for them.

use doorward::model::role::Role;

use crate::forms::{FORM, form, login_form};
use crate::support::gateway::{PASSWORD, ROUTES, bearer, session_cookie};
use crate::support::raw::exchange;
use crate::support::{Answer, Gateway, Upstream, Watch};

/// C08: a session cookie from before signing in.
/// C11: a session replayed after signing out.
/// C27: a stale cookie at the sign-in page.
#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_session_at_once_and_signing_in_never_keeps_an_old_one() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let session = gateway.sign_in("mel").await;
    let other = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    let cookie = format!("cookie: {session}\r\n");
    assert_eq!(gateway.get("/data", &cookie).await.status, 200);
    let out = gateway.post_form("/_doorward/logout", "", &cookie).await;
    assert_eq!(out.status, 303);
    let set = out.headers("set-cookie");
    assert!(set.iter().any(|set| set.starts_with("doorward=; Max-Age=0")), "{}", out.head);
    assert!(out.header("clear-site-data").is_some());
    let watch = Watch::begin(&gateway, &upstream);
    assert_eq!(gateway.get("/data", &cookie).await.status, 401, "replayed");
    watch.nothing_reached("a replayed session").await;
    assert_eq!(gateway.get("/data", &other).await.status, 200, "the other browser stays");
    // The second tab signs out again, and in again.
    assert_eq!(gateway.post_form("/_doorward/logout", "", &cookie).await.status, 303);
    assert_eq!(gateway.get("/_doorward/login", &cookie).await.status, 200);

    // Fixation: whatever was there before is replaced, and what was a session ends.
    let old = gateway.sign_in("mel").await;
    let body = login_form("mel", PASSWORD, "/");
    for before in [old.as_str(), "doorward=chosen-by-an-attacker", session.as_str()] {
        let again = gateway.post_form("/_doorward/login", &body, &format!("cookie: {before}\r\n")).await;
        let fresh = session_cookie(&again).unwrap();
        assert_ne!(fresh, before);
        assert_eq!(gateway.get("/data", &format!("cookie: {fresh}\r\n")).await.status, 200);
        assert_eq!(gateway.get("/data", &format!("cookie: {before}\r\n")).await.status, 401, "{before}");
    }
    let stale = gateway.get("/_doorward/login", "cookie: doorward=stale\r\n").await;
    assert!(stale.header("set-cookie").unwrap().starts_with("doorward=; Max-Age=0"));
}

async fn change_password(gateway: &Gateway, cookie: &str, current: &str, new: &str) -> Answer {
    let body = form(&[("current", current), ("new", new), ("repeat", new)]);
    gateway.post_form("/_doorward/password", &body, &format!("cookie: {cookie}\r\n")).await
}

async fn data(gateway: &Gateway, cookie: &str) -> u16 {
    gateway.get("/data", &format!("cookie: {cookie}\r\n")).await.status
}

/// C01: what a cookie says of itself, behind https.
#[tokio::test(flavor = "multi_thread")]
async fn cookies_are_for_this_host_over_https_and_not_for_scripts() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "public_url = \"https://gate.example\"\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await;
    gateway.user("mel", Role::Member).await;
    let form = login_form("mel", PASSWORD, "/");
    let head = format!(
        "POST /_doorward/login HTTP/1.1\r\nhost: gate.example\r\norigin: https://gate.example\r\n{FORM}\
         content-length: {}\r\n\r\n{form}",
        form.len()
    );
    let answer = exchange(gateway.address, head).await;
    assert_eq!(answer.status, 303, "{}", answer.head);
    let set = answer.headers("set-cookie");
    assert_eq!(set.len(), 2, "{set:?}");
    for (cookie, name) in set.iter().zip(["__Host-doorward=", "__Host-doorward-device="]) {
        assert!(cookie.starts_with(name) && cookie.len() < 4096, "{cookie}");
        let attributes: Vec<&str> = cookie.split("; ").skip(1).collect();
        for wanted in ["Path=/", "HttpOnly", "Secure", "SameSite=Lax"] {
            assert!(attributes.contains(&wanted), "{cookie}");
        }
        assert!(!attributes.iter().any(|attribute| attribute.starts_with("Domain")), "{cookie}");
    }
    let session = set[0].split(';').next().unwrap();
    assert_eq!(data(&gateway, session).await, 200);
    // Names that only look alike: a browser lets any site below the domain set them.
    let value = session.split_once('=').unwrap().1;
    for name in
        ["doorward", "__host-doorward", "__Secure-doorward", "\u{2000}__Host-doorward", "__Host-doorward2"]
    {
        assert_eq!(data(&gateway, &format!("{name}={value}")).await, 401, "{name}");
    }
}

/// C04: an application that sets cookies of our names.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_cannot_set_our_cookies() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    upstream.answers(
        "HTTP/1.1 200 OK\r\nset-cookie: doorward=evil; Path=/\r\nset-cookie: theirs=1; Path=/\r\n\
         Set-Cookie:  doorward-device=evil\r\nset-cookie: doorward =evil\r\nset-cookie: doorward\r\n\
         content-length: 2\r\n\r\nok",
    );
    let answer = gateway.get("/public/x", "").await;
    assert_eq!(answer.headers("set-cookie"), ["theirs=1; Path=/"], "{}", answer.head);
}

/// C13: whoever had signed in before a password was changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_ends_every_other_session() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    gateway.user("vera", Role::Viewer).await;
    let thief = gateway.sign_in("mel").await;
    let own = gateway.sign_in("mel").await;
    let other = gateway.sign_in("vera").await;
    for cookie in [&thief, &own, &other] {
        assert_eq!(data(&gateway, cookie).await, 200);
    }
    let changed = change_password(&gateway, &own, PASSWORD, "a quite new password").await;
    assert_eq!(changed.status, 303, "{}", changed.text());
    gateway.settle().await;
    let fresh = session_cookie(&changed).unwrap();
    for (cookie, status) in [(&thief, 401), (&own, 401), (&fresh, 200), (&other, 200)] {
        assert_eq!(data(&gateway, cookie).await, status, "{cookie}");
    }
}

/// C20: what was made for one purpose, shown for another.
#[tokio::test(flavor = "multi_thread")]
async fn no_other_token_of_ours_is_a_session() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let key = gateway.system_key("k", Role::Admin).await;
    let answer = gateway.post_login("mel", PASSWORD).await;
    let session = session_cookie(&answer).unwrap();
    let session = session.split_once('=').unwrap().1;
    let device =
        answer.headers("set-cookie").into_iter().find_map(|cookie| cookie.strip_prefix("doorward-device="));
    let device = device.and_then(|cookie| cookie.split(';').next()).unwrap();
    // A page that counts visits, and one that hands over, give tokens of their own.
    let begun = gateway.get("/_doorward/login?rd=%2F", "").await;
    let more = begun.headers("set-cookie").into_iter().filter_map(|cookie| cookie.split(['=', ';']).nth(1));
    let watch = Watch::begin(&gateway, &upstream);
    for token in [device, key.as_str()].into_iter().chain(more).filter(|token| !token.is_empty()) {
        assert_eq!(data(&gateway, &format!("doorward={token}")).await, 401, "{token}");
        // Nor is a part of it, or it and a part of the real one.
        let (value, tag) = token.rsplit_once('.').unwrap_or((token, ""));
        let own_tag = session.rsplit_once('.').map_or("", |(_, tag)| tag);
        for forged in [value.to_owned(), format!("{value}.{own_tag}"), format!("{session}.{tag}")] {
            assert_eq!(data(&gateway, &format!("doorward={forged}")).await, 401, "{forged}");
        }
    }
    for forged in [bearer(session), bearer(device), format!("x-api-key: {session}\r\n")] {
        assert_eq!(gateway.get("/data", &forged).await.status, 401, "{forged}");
    }
    watch.nothing_reached("tokens of other purposes").await;
    assert_eq!(data(&gateway, &format!("doorward={session}")).await, 200);
}

/// C22: a session of another gateway, with users of the same names.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_another_gateway_is_none_here() {
    let upstream = Upstream::spawn().await;
    let here = Gateway::spawn(&upstream.url(), ROUTES).await;
    let there = Gateway::spawn(&upstream.url(), ROUTES).await;
    let mut cookies = Vec::new();
    for gateway in [&here, &there] {
        gateway.user("mel", Role::Member).await;
        cookies.push(gateway.sign_in("mel").await);
    }
    let watch = Watch::begin(&here, &upstream);
    assert_eq!(data(&here, &cookies[1]).await, 401);
    let key = there.system_key("k", Role::Admin).await;
    assert_eq!(here.get("/data", &bearer(&key)).await.status, 401);
    watch.nothing_reached("a session and a key from elsewhere").await;
    assert_eq!((data(&here, &cookies[0]).await, data(&there, &cookies[1]).await), (200, 200));
}

/// C26: what caches may keep.
#[tokio::test(flavor = "multi_thread")]
async fn no_cache_keeps_what_was_for_one_person() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let mel = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    let key = bearer(&gateway.system_key("k", Role::Viewer).await);
    for (path, who) in [
        ("/_doorward", mel.as_str()),
        ("/_doorward/login", ""),
        ("/_doorward/login", &mel),
        ("/_doorward/logout", &mel),
        ("/_doorward/password", &mel),
        ("/_doorward/nothing", &mel),
        ("/data", ""),
        ("/data", "accept: text/html\r\n"),
        ("/admin", &mel),
        ("/admin", &key),
        ("/data", "cookie: doorward=x\r\n"),
        ("/data/%zz", &mel),
        ("/_doorward/readyz", ""),
    ] {
        let answer = gateway.get(path, who).await;
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path} {who}: {}", answer.head);
    }
    // What the application answers a known caller is for that caller; its own word stays.
    for (theirs, open, kept) in [
        ("", "", ""),
        ("cache-control: public, s-maxage=9, max-age=60\r\n", "public, s-maxage=9, max-age=60", "max-age=60"),
        ("cache-control: private, public\r\ncdn-cache-control: max-age=60\r\n", "private, public", "private"),
        ("cache-control: max-age=60\r\nvary: accept\r\n", "max-age=60", "max-age=60"),
        ("cache-control: no-store\r\n", "no-store", "no-store"),
        ("cache-control: private, max-age=60\r\n", "private, max-age=60", "private, max-age=60"),
    ] {
        const DIALECTS: [&str; 5] =
            ["cdn-cache-control", "surrogate-control", "x-accel-expires", "edge-control", "surrogate-key"];
        let dialects = DIALECTS.map(|name| format!("{name}: max-age=60\r\n")).concat();
        let theirs = theirs.replace("cdn-cache-control: max-age=60\r\n", &dialects);
        upstream.answers(format!("HTTP/1.1 200 OK\r\n{theirs}content-length: 2\r\n\r\nok"));
        for who in [&mel, &key] {
            let answer = gateway.get("/data", who).await;
            let told = answer.headers("cache-control").join(", ");
            assert!(DIALECTS.iter().all(|name| answer.headers(name).is_empty()), "{}", answer.head);
            assert!(!told.contains("public") && !told.contains("s-maxage"), "{theirs}: {told}");
            assert!(told.starts_with(kept), "{theirs}: {told}");
            assert!(told.contains("private") || told.contains("no-store"), "{theirs}: {told}");
            assert!(told.matches("private").count() <= 1, "{theirs}: {told}");
        }
        let answer = gateway.get("/public/x", "").await;
        assert_eq!(answer.headers("cache-control").join(", "), open, "what is for everybody stays as it is");
        assert_eq!(answer.headers("edge-control").len(), theirs.matches("edge-control").count());
    }
    // Nor does an application speak for our pages on its origin, whoever asks.
    for (theirs, kept) in [
        ("clear-site-data: \"cache\", \"cookies\"", vec!["clear-site-data: \"cache\""]),
        ("clear-site-data: \"cookies\"", vec![]),
        ("service-worker-allowed: /", vec![]),
        ("service-worker-allowed: /data/", vec!["service-worker-allowed: /data/"]),
        ("nel: {\"report_to\":\"x\",\"max_age\":60}", vec![]),
    ] {
        upstream.answers(format!("HTTP/1.1 200 OK\r\n{theirs}\r\ncontent-length: 2\r\n\r\nok"));
        for path in ["/data", "/public/x"] {
            let answer = gateway.get(path, &mel).await;
            let name = theirs.split(':').next().unwrap();
            let told: Vec<_> = answer.head.lines().filter(|line| line.starts_with(name)).collect();
            assert_eq!(told, kept, "{path} {theirs}");
        }
    }
}
