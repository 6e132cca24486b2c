//! Signing in and out, passwords and set-up, as strangers, other sites and guessers try them.

use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;

use crate::credentials::ROUTES;
use crate::support::gateway::{PASSWORD, bearer, session_cookie};
use crate::support::{Answer, Gateway, Upstream, Watch, exchange};

fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn login_form(name: &str, password: &str, rd: &str) -> String {
    form(&[("username", name), ("password", password), ("rd", rd)])
}

async fn post(gateway: &Gateway, path: &str, headers: &str, body: &str) -> Answer {
    exchange(
        gateway.address,
        format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\n{headers}content-length: {}\r\n\r\n{body}",
            gateway.address,
            body.len()
        ),
    )
    .await
}

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn forms_of_other_sites_do_nothing() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    let own = format!("http://{}", gateway.address);
    let body = login_form("mel", PASSWORD, "/");
    let change =
        form(&[("current", PASSWORD), ("new", "another long password"), ("repeat", "another long password")]);
    for origin in [
        "origin: https://evil.example\r\n".to_owned(),
        "origin: null\r\n".to_owned(),
        "origin:\r\n".to_owned(),
        format!("origin: {own}.evil.example\r\n"),
        format!("origin: {own}@evil.example\r\n"),
        format!("origin: {}\r\n", own.replace("http", "https")),
        "origin: http://127.0.0.1:1\r\n".to_owned(),
        format!("origin: {own}\r\norigin: {own}\r\n"),
        format!("origin: {own}\r\norigin: https://evil.example\r\n"),
        "origin: https://evil.example\r\nsec-fetch-site: same-origin\r\n".to_owned(),
        "origin: null\r\nsec-fetch-site: cross-site\r\n".to_owned(),
        "sec-fetch-site: cross-site\r\n".to_owned(),
        "sec-fetch-site: same-site\r\n".to_owned(),
        "sec-fetch-site: none\r\n".to_owned(),
        String::new(),
        "referer: http://localhost/_doorward/login\r\n".to_owned(),
        "x-forwarded-host: evil.example\r\norigin: http://evil.example\r\n".to_owned(),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        for (path, body) in [
            ("/_doorward/login", body.as_str()),
            ("/_doorward/logout", ""),
            ("/_doorward/password", change.as_str()),
        ] {
            let answer = post(&gateway, path, &format!("{cookie}{origin}{FORM}"), body).await;
            assert_eq!(answer.status, 403, "{path} {origin}");
            assert_eq!(session_cookie(&answer), None, "{path} {origin}");
        }
        watch.nothing_reached(&origin).await;
    }
    assert_eq!(gateway.get("/data", &cookie).await.status, 200, "still signed in");
    for origin in [
        format!("origin: {own}\r\n"),
        "origin: http://localhost\r\n".to_owned(),
        "sec-fetch-site: same-origin\r\n".to_owned(),
        "origin: null\r\nsec-fetch-site: same-origin\r\n".to_owned(),
    ] {
        let answer = post(&gateway, "/_doorward/login", &format!("{origin}{FORM}"), &body).await;
        assert_eq!(answer.status, 303, "{origin}");
    }
    // No other type of body, and nothing by a request that only looks.
    let same = format!("origin: {own}\r\n");
    for kind in [
        "",
        "content-type: text/plain\r\n",
        "content-type: application/json\r\n",
        "content-type: multipart/form-data; boundary=x\r\n",
    ] {
        for path in ["/_doorward/login", "/_doorward/logout", "/_doorward/password"] {
            let answer = post(&gateway, path, &format!("{cookie}{same}{kind}"), &body).await;
            assert_eq!(answer.status, 415, "{path} {kind}");
        }
    }
    assert_eq!(gateway.get("/_doorward/logout", &cookie).await.status, 200, "a question, no sign-out");
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        for path in ["/_doorward/login", "/_doorward/logout", "/_doorward/password", "/_doorward/setup"] {
            let answer = gateway.send(&format!("{method} {path}"), &format!("{cookie}{same}")).await;
            assert_eq!(answer.status, 405, "{method} {path}");
        }
    }
    assert_eq!(gateway.get("/data", &cookie).await.status, 200, "still signed in");
    // Writes to the upstream with the cookie: only from pages of our own.
    for origin in [
        "origin: https://evil.example\r\n",
        "origin: null\r\n",
        "sec-fetch-site: cross-site\r\n",
        "sec-fetch-site: same-site\r\n",
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        assert_eq!(post(&gateway, "/data", &format!("{cookie}{origin}"), "x").await.status, 403, "{origin}");
        watch.nothing_reached(origin).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_led_to_another_origin() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let long = format!("/{}", "a".repeat(5000));
    for rd in [
        "//evil",
        "/\\evil",
        "\\/evil",
        "\\\\evil",
        "/%0a/evil",
        "/%0d//evil",
        "/\n/evil",
        "/\t/evil",
        "/ /evil",
        "///evil",
        "////evil",
        "https:/evil",
        "https:evil",
        "https://app@evil",
        "https://localhost.evil",
        "https://evillocalhost/",
        "https://evil#localhost",
        "https://evil?localhost",
        "http://localhost@evil",
        "http://localhost:80@evil:443",
        "javascript:alert(1)",
        "java\tscript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "%2f%2fevil",
        "/%2fevil",
        "/%5cevil",
        "/%255cevil",
        "/%252fevil",
        "/.//evil",
        "/..//evil",
        "/x/..//evil",
        " //evil",
        "\u{1}//evil",
        "/\r\nset-cookie: x=y",
        "/\u{2028}/evil",
        "evil",
        "?x",
        "",
        "/_doorward/logout",
        "/_doorward/login?rd=//evil",
        &long,
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        let encoded: String = url::form_urlencoded::byte_serialize(rd.as_bytes()).collect();
        // After signing in, when signed in already, and at the question before signing out.
        let signed_in = gateway.post_form("/_doorward/login", &login_form("mel", PASSWORD, rd), "").await;
        let cookie = session_cookie(&signed_in).unwrap_or_else(|| panic!("{rd:?}: {}", signed_in.head));
        let answers = [
            signed_in,
            gateway.get(&format!("/_doorward/login?rd={encoded}"), &format!("cookie: {cookie}\r\n")).await,
            gateway.get(&format!("/_doorward/logout?rd={encoded}"), "").await,
        ];
        for answer in answers.iter().filter(|answer| answer.status != 414) {
            let location = answer.header("location").unwrap_or_else(|| panic!("{rd:?}: {}", answer.head));
            let base = url::Url::parse("http://localhost/_doorward/login").unwrap();
            let resolved = base.join(location).unwrap();
            assert_eq!(resolved.origin(), base.origin(), "{rd:?}: {location}");
            assert!(location.starts_with('/') && !location.starts_with("//"), "{rd:?}: {location}");
            assert!(!resolved.path().starts_with("//"), "{rd:?}: {location}");
            // Whatever stands in the address of the next page is not another origin either.
            let inner =
                resolved.query_pairs().find(|(name, _)| name == "rd").map(|(_, value)| value.into_owned());
            assert_eq!(
                inner.map_or(base.origin(), |inner| base.join(&inner).unwrap().origin()),
                base.origin()
            );
            assert_eq!(
                answer.headers("set-cookie").iter().filter(|cookie| cookie.starts_with("x=")).count(),
                0
            );
        }
        watch.nothing_reached(rd).await;
    }
    for rd in ["/", "/a/b?c=d&e=//f", "/x#y", "/a%2Fb"] {
        let answer = gateway.post_form("/_doorward/login", &login_form("mel", PASSWORD, rd), "").await;
        assert_eq!((answer.status, answer.header("location")), (303, Some(rd)));
    }
    // What a refused request asked for is quoted, not followed.
    for path in ["//evil/x", "/x?rd=//evil", "/%5c/evil"] {
        let answer = gateway.get(path, "accept: text/html\r\n").await;
        let location = answer.header("location").unwrap_or("/");
        assert!(location.starts_with('/') && !location.starts_with("//"), "{path}: {location}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_password_opens_nothing_but_its_own_change() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("root", Role::Admin).await;
    let id = gateway.user_with("new", Role::Admin, &[], true).await;
    let (key, _) = gateway.key_with("news", Role::Admin, Some(id), KeyScope::default()).await;
    let signed_in = gateway.post_login("new", PASSWORD).await;
    assert_eq!(signed_in.header("location"), Some("/_doorward/password?rd=%2F"));
    let cookie = format!("cookie: {}\r\n", session_cookie(&signed_in).unwrap());
    let origin = format!("origin: http://{}\r\n", gateway.address);
    let watch = Watch::begin(&gateway, &upstream);
    for path in ["/data", "/admin", "/public/x", "/ingest", "/_doorward", "/_doorward/login"] {
        for method in ["GET", "HEAD", "POST"] {
            for (who, headers) in [("cookie", format!("{cookie}{origin}")), ("key", bearer(&key))] {
                if path.starts_with("/_doorward") && (who == "key" || method == "POST") {
                    continue;
                }
                let line = format!("{method} {path}");
                let request = format!(
                    "{line} HTTP/1.1\r\nhost: {}\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n",
                    gateway.address
                );
                let text = crate::support::raw::until_closed(gateway.address, request).await;
                let status = crate::support::raw::statuses(&text)[0];
                assert!(matches!(status, 403 | 303), "{line} by {who}: {text}");
            }
        }
    }
    let page = gateway.get("/data?x=1", &format!("{cookie}accept: text/html\r\n")).await;
    assert_eq!((page.status, page.header("location")), (302, Some("/_doorward/password?rd=%2Fdata%3Fx%3D1")));
    watch.nothing_reached("a temporary password").await;

    let change = |current: &str, new: &str, repeat: &str| {
        form(&[("current", current), ("new", new), ("repeat", repeat)])
    };
    for (current, new, repeat, status) in [
        ("wrong", "a new long password", "a new long password", 401),
        (PASSWORD, "a new long password", "another long password", 422),
        (PASSWORD, "short", "short", 422),
        (PASSWORD, PASSWORD, PASSWORD, 422),
        (PASSWORD, "", "", 422),
    ] {
        let answer = gateway.post_form("/_doorward/password", &change(current, new, repeat), &cookie).await;
        assert_eq!(answer.status, status, "{current} {new}: {}", answer.text());
        assert_eq!(gateway.get("/data", &cookie).await.status, 403);
    }
    let body = change(PASSWORD, "a new long password", "a new long password");
    let changed = gateway.post_form("/_doorward/password?rd=%2Fdata", &body, &cookie).await;
    assert_eq!((changed.status, changed.header("location")), (303, Some("/data")), "{}", changed.text());
    gateway.settle().await;
    let fresh = format!("cookie: {}\r\n", session_cookie(&changed).unwrap());
    assert_ne!(fresh, cookie, "a changed password is a new session");
    assert_eq!(gateway.get("/data", &cookie).await.status, 401, "and the end of the old one");
    assert_eq!(gateway.get("/data", &fresh).await.status, 200);
    assert_eq!(gateway.get("/data", &bearer(&key)).await.status, 200);
    assert_eq!(gateway.post_login("new", PASSWORD).await.status, 401);
}

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
    assert!(out.header("set-cookie").unwrap().starts_with("doorward=; Max-Age=0"), "{}", out.head);
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

/// Everything an observer sees of an answer, but what differs between any two.
fn observed(answer: &Answer) -> String {
    let head: Vec<&str> =
        answer.head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("date:")).collect();
    let reference = answer
        .text()
        .split("Reference <code>")
        .nth(1)
        .and_then(|rest| Some(rest.split('<').next()?.to_owned()));
    let body = reference.map_or(answer.text(), |reference| answer.text().replace(&reference, "?"));
    format!("{}\n{body}", head.join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_does_not_tell_who_exists() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("root", Role::Admin).await;
    gateway.user("name1", Role::Viewer).await;
    let disabled = gateway.user("name2", Role::Viewer).await;
    gateway.accounts.disable(&disabled).await.unwrap();
    gateway.user_with("name4", Role::Viewer, &[], true).await;
    let mut seen = Vec::new();
    for (name, password) in [
        ("name1", "a wrong password"),
        ("name2", PASSWORD),
        ("name3", PASSWORD),
        ("name4", "a wrong password"),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        let answer = gateway.post_login(name, password).await;
        assert_eq!(answer.status, 401, "{name}");
        assert_eq!(answer.headers("set-cookie"), Vec::<&str>::new(), "{name}");
        assert!(!answer.text().contains(password), "{name}");
        seen.push(observed(&answer).replace(name, "NAME"));
        watch.nothing_reached(name).await;
    }
    assert!(seen.iter().all(|answer| *answer == seen[0]), "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_down_and_cannot_lock_the_owner_out() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let first = gateway.post_login("mel", PASSWORD).await;
    let device = first
        .headers("set-cookie")
        .into_iter()
        .find(|cookie| cookie.starts_with("doorward-device="))
        .unwrap();
    let device = format!("cookie: {}\r\n", device.split(';').next().unwrap());
    let guess = login_form("mel", "a wrong password", "/");
    let right = login_form("mel", PASSWORD, "/");
    let spoof = |at: usize| {
        format!("x-forwarded-for: 10.0.0.{at}\r\nx-real-ip: 10.0.0.{at}\r\nforwarded: for=10.0.0.{at}\r\n")
    };
    let mut wrong = 0;
    let throttled = loop {
        let answer = gateway.post_form("/_doorward/login", &guess, &spoof(wrong)).await;
        match answer.status {
            401 => wrong += 1,
            _ => break answer,
        }
        assert!(wrong < 10, "guessing goes on");
    };
    assert_eq!((wrong, throttled.status), (6, 429), "five are free, the next costs time");
    assert!(throttled.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    let stranger = gateway.post_form("/_doorward/login", &right, "").await;
    assert_eq!(stranger.status, 429, "even the right password is not tried now");
    assert_eq!(session_cookie(&stranger), None);
    for forged in [
        "cookie: doorward-device=forged~x.y\r\n".to_owned(),
        device.replace("doorward-device=", "doorward-device=x"),
    ] {
        assert_eq!(gateway.post_form("/_doorward/login", &right, &forged).await.status, 429, "{forged}");
    }
    let owner = gateway.post_form("/_doorward/login", &right, &device).await;
    assert_eq!(owner.status, 303, "the owner, on a known device: {}", owner.text());
    gateway.clock.advance(std::time::Duration::from_hours(1));
    assert_eq!(gateway.post_form("/_doorward/login", &right, "").await.status, 303, "and everybody, in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_and_endless_forms_are_refused() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let endless = format!("username=mel&password={}&rd=/", "x".repeat(9 * 1024));
    for (body, status) in [
        ("", 400),
        ("username=mel", 400),
        ("username=mel&password=x", 400),
        ("username=mel&username=root&password=x&rd=/", 400),
        ("username=mel&password=x&password=correct+horse+battery&rd=/", 400),
        ("username=mel&password=%ff&rd=/", 400),
        ("username[]=mel&password=x&rd=/", 400),
        (endless.as_str(), 413),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        let answer = gateway.post_form("/_doorward/login", body, "").await;
        assert_eq!(answer.status, status, "{body:.60}");
        watch.nothing_reached(body).await;
    }
    for token in ["", "wrong", &"x".repeat(3000), "%00"] {
        let watch = Watch::begin(&gateway, &upstream);
        assert_eq!(gateway.get(&format!("/_doorward/setup?token={token}"), "").await.status, 404);
        let body =
            form(&[("token", token), ("username", "evil"), ("password", PASSWORD), ("repeat", PASSWORD)]);
        assert_eq!(gateway.post_form("/_doorward/setup", &body, "").await.status, 404);
        watch.nothing_reached(token).await;
    }
    assert_eq!(gateway.post_login("evil", PASSWORD).await.status, 401);
}
