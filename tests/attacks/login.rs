//! L: passwords, as guessers and unknown clients try them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;

use crate::forms::{form, login_form};
use crate::support::gateway::{PASSWORD, ROUTES, bearer, session_cookie};
use crate::support::{Answer, Gateway, Upstream, Watch, within};

/// L23: steps of a change left out, swapped or repeated.
/// C10: a new session after a change.
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

/// L01: unknown, disabled, wrong: one answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_does_not_tell_who_exists() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("root", Role::Admin).await;
    gateway.user("name1", Role::Viewer).await;
    let disabled = gateway.user("name2", Role::Viewer).await;
    gateway.accounts.disable(&gateway.by, &disabled).await.unwrap();
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

/// L09: a client that changes its address by headers.
/// L10: an attacker who locks the owner out.
/// X15: the same, seen from the throttle.
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

/// L14: bodies that are no form of ours.
/// D05: a form that does not end.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_and_endless_forms_are_refused() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let endless = format!("username=mel&password={}&rd=/", "x".repeat(9 * 1024));
    for (body, status) in [
        ("", 400),
        ("username=mel", 400),
        ("username=mel&password=x", 401),
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

/// A gateway that believes its peer, so that a test can come from many addresses.
async fn behind_proxy(upstream: &Upstream, more: &str) -> Gateway {
    Gateway::configured(&format!(
        "{more}\n[server]\nworkers = 2\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await
}

async fn try_from(gateway: &Gateway, client: &str, name: &str, password: &str) -> Answer {
    let body = login_form(name, password, "/");
    gateway.post_form("/_doorward/login", &body, &format!("x-forwarded-for: {client}\r\n")).await
}

/// L04: one account by its name, its address, and other cases of both.
#[tokio::test(flavor = "multi_thread")]
async fn all_names_share_the_count_of_a_network() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let names = ["mel", "mel@example.org", "MEL", "Mel@Example.org", "MEL@EXAMPLE.ORG", "mEl"];
    for name in names {
        assert_eq!(gateway.post_login(name, "a wrong password").await.status, 401, "{name}");
    }
    for name in names {
        assert_eq!(gateway.post_login(name, "a wrong password").await.status, 429, "{name}");
    }
    // Names that are nobody's are slowed down alike, so that the throttle tells nothing either.
    for name in ["nobody", "nobody@example.org", "never-tried"] {
        assert_eq!(gateway.post_login(name, "a wrong password").await.status, 429, "{name}");
    }
}

/// Nor does a count that all addresses share.
#[tokio::test(flavor = "multi_thread")]
async fn guessing_from_many_addresses_tells_nothing_of_names() {
    let upstream = Upstream::spawn().await;
    let gateway = behind_proxy(&upstream, "").await;
    gateway.user("mel", Role::Member).await;
    let mut told = Vec::new();
    for (network, name) in [("198.51.100", "mel"), ("203.0.113", "nobody")] {
        let mut statuses = Vec::new();
        for at in 0..55 {
            statuses.push(try_from(&gateway, &format!("{network}.{at}"), name, "wrong").await.status);
        }
        for alias in [name.to_uppercase(), format!("{name}@example.org"), format!("{name}@EXAMPLE.org")] {
            statuses.push(try_from(&gateway, "192.0.2.77", &alias, "wrong").await.status);
        }
        told.push(statuses);
    }
    assert_eq!(told[0].iter().filter(|status| **status == 401).count(), 28, "{:?}", told[0]);
    assert_eq!(told[0], told[1]);
    assert_eq!(try_from(&gateway, "192.0.2.77", "never-tried", "wrong").await.status, 401);
}

/// Whoever is asked for the password again, while an unknown client wants them not to get through.
#[tokio::test(flavor = "multi_thread")]
async fn the_owner_inside_a_session_waits_for_no_stranger() {
    let upstream = Upstream::spawn().await;
    let gateway = behind_proxy(&upstream, "").await;
    let id = gateway.user_with("new", Role::Member, &[], true).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("new").await);
    for at in 0..60 {
        try_from(&gateway, &format!("198.51.100.{at}"), "new", "wrong").await;
        try_from(&gateway, "127.0.0.1", "new", "wrong").await;
    }
    assert_eq!(try_from(&gateway, "192.0.2.1", "new", PASSWORD).await.status, 429);
    let next = "nine bees in a bonnet";
    let change = form(&[("current", PASSWORD), ("new", next), ("repeat", next)]);
    let changed = gateway.post_form("/_doorward/password", &change, &cookie).await;
    assert_eq!(changed.status, 303, "a temporary password: {}", changed.text());
    let cookie = format!("cookie: {}\r\n", session_cookie(&changed).unwrap());
    for at in 0..5 {
        let wish = form(&[
            ("name", format!("key{at}").as_str()),
            ("role", "viewer"),
            ("life", "90d"),
            ("paths", ""),
            ("methods", ""),
            ("networks", ""),
            ("password", next),
        ]);
        let made = gateway.post_form("/_doorward/account/keys/new", &wish, &cookie).await;
        assert_eq!(made.status, 200, "{at}: {}", made.text());
    }
    assert!(gateway.accounts.find_by_id(&id).await.unwrap().is_some());
}

/// L07: a second gateway over the same database, and one that starts anew.
#[tokio::test(flavor = "multi_thread")]
async fn counts_hold_over_replicas_and_restarts() {
    let upstream = Upstream::spawn().await;
    let first = Gateway::spawn(&upstream.url(), ROUTES).await;
    first.user("mel", Role::Member).await;
    let database = first.folder.path().join("doorward.db");
    let beside = || async {
        Gateway::configured(&format!(
            "[store]\nurl = \"sqlite:{}\"\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
            database.display(),
            upstream.url()
        ))
        .await
    };
    let second = beside().await;
    for at in 0..6 {
        let gateway = if at % 2 == 0 { &first } else { &second };
        assert_eq!(gateway.post_login("mel", "a wrong password").await.status, 401, "{at}");
    }
    for gateway in [&first, &second, &beside().await] {
        assert_eq!(gateway.post_login("mel", PASSWORD).await.status, 429);
    }
}

/// L08: a flood of names that are nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_names_frees_no_account() {
    let upstream = Upstream::spawn().await;
    let gateway = behind_proxy(&upstream, "").await;
    gateway.user("mel", Role::Member).await;
    for _ in 0..6 {
        assert_eq!(try_from(&gateway, "192.0.2.1", "mel", "a wrong password").await.status, 401);
    }
    for at in 0..60 {
        let answer = try_from(&gateway, &format!("198.51.100.{at}"), &format!("nobody{at}"), "x").await;
        assert!(matches!(answer.status, 401 | 503), "{at}: {}", answer.status);
    }
    assert_eq!(try_from(&gateway, "192.0.2.1", "mel", PASSWORD).await.status, 429, "still closed");
    assert_eq!(try_from(&gateway, "203.0.113.9", "mel", PASSWORD).await.status, 303, "elsewhere it is open");
}

/// L11: the other form that takes a password.
#[tokio::test(flavor = "multi_thread")]
async fn every_form_that_takes_a_password_counts() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    let body = |current: &str| {
        form(&[("current", current), ("new", "a quite new password"), ("repeat", "a quite new password")])
    };
    for at in 0..6 {
        let answer = gateway.post_form("/_doorward/password", &body("a wrong password"), &cookie).await;
        assert_eq!(answer.status, 401, "{at}: {}", answer.text());
    }
    let answer = gateway.post_form("/_doorward/password", &body(PASSWORD), &cookie).await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    let other = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    let answer = gateway.post_form("/_doorward/password", &body("a wrong password"), &other).await;
    assert_eq!(answer.status, 401, "the owner's other session: {}", answer.text());
    gateway.clock.advance(std::time::Duration::from_hours(1));
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    assert_eq!(gateway.post_form("/_doorward/password", &body(PASSWORD), &cookie).await.status, 303);
}

/// L15: an account without a password, tried with none.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_password_cannot_sign_in_with_an_empty_one() {
    let upstream = Upstream::spawn().await;
    let gateway = behind_proxy(&upstream, "").await;
    let new = doorward::service::accounts::NewUser {
        username: "sso".to_owned(),
        email: None,
        display_name: None,
        role: Role::Admin,
        groups: Vec::new(),
        password: None,
    };
    gateway.accounts.create(&gateway.by, new).await.unwrap();
    for (at, password) in ["", " ", "\0", "null", "undefined", PASSWORD].into_iter().enumerate() {
        let answer = try_from(&gateway, &format!("192.0.2.{at}"), "sso", password).await;
        assert!(matches!(answer.status, 400 | 401), "{password:?}: {}", answer.status);
        assert_eq!(session_cookie(&answer), None);
    }
}

/// L16: two hundred at once.
/// D15: what each of them would cost.
#[tokio::test(flavor = "multi_thread")]
async fn a_rush_is_queued_or_sent_away_and_others_are_served_meanwhile() {
    let upstream = Upstream::spawn().await;
    let gateway = Arc::new(behind_proxy(&upstream, "").await);
    gateway.user("mel", Role::Member).await;
    let mut rush = tokio::task::JoinSet::new();
    for at in 0..200 {
        let gateway = Arc::clone(&gateway);
        rush.spawn(async move {
            let client = format!("198.51.100.{at}");
            try_from(&gateway, &client, &format!("nobody{at}"), "a wrong password").await
        });
    }
    let over = Arc::new(AtomicBool::new(false));
    let (others, until) = (Arc::clone(&gateway), Arc::clone(&over));
    let others = tokio::spawn(async move {
        while !until.load(Ordering::SeqCst) {
            assert_eq!(others.get("/public/x", "").await.status, 200, "somebody else is not served");
        }
    });
    let mut sent_away = 0;
    while let Some(answer) = rush.join_next().await {
        let answer = answer.unwrap();
        assert!(matches!(answer.status, 401 | 503), "{}", answer.head);
        if answer.status == 503 {
            sent_away += 1;
            assert!(answer.header("retry-after").is_some(), "{}", answer.head);
        }
    }
    over.store(true, Ordering::SeqCst);
    within("the others", others).await.unwrap();
    assert!(sent_away > 0, "nothing was sent away");
    // Every seat is free again.
    let answer = try_from(&gateway, "203.0.113.9", "mel", PASSWORD).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
}

/// One address takes all turns, or all of the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_rush_from_one_address_takes_nothing_from_others() {
    let upstream = Upstream::spawn().await;
    let gateway = Arc::new(behind_proxy(&upstream, "").await);
    gateway.user("root", Role::Admin).await;
    let mut keys = Vec::new();
    for at in 0..8 {
        keys.push(gateway.system_key(&format!("key{at}"), Role::Viewer).await);
    }
    let mut rush = tokio::task::JoinSet::new();
    for at in 0..200 {
        let gateway = Arc::clone(&gateway);
        rush.spawn(async move { try_from(&gateway, "198.51.100.1", &format!("nobody{at}"), "wrong").await });
    }
    let mut sent_away = 0;
    let mut count = |answer: &Answer| {
        assert!(matches!(answer.status, 401 | 429 | 503), "{}", answer.head);
        sent_away += usize::from(answer.status == 503);
        assert!(answer.status == 401 || answer.header("retry-after").is_some(), "{}", answer.head);
    };
    count(&rush.join_next().await.unwrap().unwrap());
    for key in &keys {
        assert_eq!(gateway.get("/data", &bearer(key)).await.status, 200, "a key that was never seen");
    }
    let admin = try_from(&gateway, "203.0.113.9", "root", PASSWORD).await;
    assert_eq!(admin.status, 303, "{}", admin.text());
    while let Some(answer) = rush.join_next().await {
        count(&answer.unwrap());
    }
    assert!(sent_away >= 100, "{sent_away} were sent away");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_office_that_signs_in_at_once_is_taken_for_no_guesser() {
    let upstream = Upstream::spawn().await;
    let gateway = Arc::new(behind_proxy(&upstream, "").await);
    gateway.user("mel", Role::Member).await;
    let mut office = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let gateway = Arc::clone(&gateway);
        office.spawn(async move { try_from(&gateway, "198.51.100.1", "mel", PASSWORD).await.status });
    }
    let mut answers = Vec::new();
    while let Some(status) = office.join_next().await {
        answers.push(status.unwrap());
    }
    assert!(answers.iter().all(|status| matches!(status, 303 | 503)), "{answers:?}");
    assert!(answers.iter().filter(|status| **status == 303).count() >= 7, "{answers:?}");
}

/// L24: signing in by password where it is turned off.
#[tokio::test(flavor = "multi_thread")]
async fn where_passwords_are_off_none_is_taken() {
    let upstream = Upstream::spawn().await;
    let gateway = behind_proxy(&upstream, "login.password = false").await;
    gateway.user("mel", Role::Member).await;
    for password in [PASSWORD, "a wrong password"] {
        let answer = gateway.post_login("mel", password).await;
        assert_eq!((answer.status, session_cookie(&answer)), (403, None), "{}", answer.text());
    }
}
