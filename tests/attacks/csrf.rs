//! S: what other sites can make a visitor's browser do.

use doorward::model::role::Role;

use crate::forms::{FORM, form, login_form, post};
use crate::support::gateway::{PASSWORD, ROUTES, bearer, session_cookie};
use crate::support::{Gateway, Upstream, Watch};

/// S01: a form posted from another site.
/// S02: one that says nothing of where it comes from.
/// S04: bodies of types that scripts of other sites may send.
/// S05: changes by methods that only look.
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

/// S07: scripts of other sites that want to read answers.
#[tokio::test(flavor = "multi_thread")]
async fn scripts_of_other_sites_may_read_nothing() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    for origin in ["https://evil.example", "null", "http://localhost.evil.example"] {
        let asks = format!("origin: {origin}\r\naccess-control-request-method: POST\r\n");
        for (line, who) in [
            ("GET /_doorward", cookie.as_str()),
            ("GET /_doorward/login", ""),
            ("OPTIONS /_doorward/login", ""),
            ("OPTIONS /_doorward/password", &cookie),
            ("GET /data", ""),
            ("OPTIONS /data", ""),
            ("POST /data", &cookie),
        ] {
            let watch = Watch::begin(&gateway, &upstream);
            let answer = gateway.send(line, &format!("{who}{asks}")).await;
            let told = answer.head.to_ascii_lowercase();
            assert!(!told.contains("access-control-allow"), "{line} from {origin}: {told}");
            watch.nothing_reached(&format!("{line} from {origin}")).await;
        }
    }
    // What an application says to whom is its own business.
    let theirs = "access-control-allow-origin: https://friend.example";
    upstream.answers(format!("HTTP/1.1 200 OK\r\n{theirs}\r\ncontent-length: 2\r\n\r\nok"));
    let answer = gateway.get("/public/x", "origin: https://evil.example\r\n").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://friend.example"));
}

/// S07, P30: an anonymous OPTIONS that names an origin of its own choice.
#[tokio::test(flavor = "multi_thread")]
async fn options_is_decided_by_the_rules_whatever_origin_it_names() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let own = format!("http://{}", gateway.address);
    for origin in [own.as_str(), "http://localhost", "https://evil.example", "null", ""] {
        let asks = format!("origin: {origin}\r\naccess-control-request-method: DELETE\r\n");
        for path in ["/data", "/admin/x", "/nowhere"] {
            let watch = Watch::begin(&gateway, &upstream);
            let answer = gateway.send(&format!("OPTIONS {path}"), &asks).await;
            assert_eq!(answer.status, 401, "{path} {origin}");
            watch.nothing_reached(&format!("{path} {origin}")).await;
        }
        assert_eq!(gateway.send("OPTIONS /public/x", &asks).await.status, 200, "a rule lets everybody");
    }
}

/// S13: scripts and frames of an application behind the same host, whose browser holds the session.
#[tokio::test(flavor = "multi_thread")]
async fn scripts_and_frames_of_applications_reach_no_page_about_the_account() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("root", Role::Admin).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("root").await);
    let own = format!("origin: http://{}\r\nsec-fetch-site: same-origin\r\n", gateway.address);
    for destination in
        ["empty", "iframe", "frame", "object", "embed", "script", "", "document\r\nsec-fetch-dest: empty"]
    {
        let headers = format!("{cookie}{own}sec-fetch-dest: {destination}\r\n");
        let watch = Watch::begin(&gateway, &upstream);
        for page in ["", "/account", "/account/keys/new", "/password", "/logout"] {
            let answer = gateway.get(&format!("/_doorward{page}"), &headers).await;
            assert_eq!(answer.status, 403, "{page} {destination}");
            assert!(!answer.text().contains("root@example.org"), "{page} {destination}");
        }
        for page in
            ["/account/name", "/account/sessions/end-others", "/account/keys/revoke", "/password", "/logout"]
        {
            let answer =
                post(&gateway, &format!("/_doorward{page}"), &format!("{headers}{FORM}"), "name=x").await;
            assert_eq!(answer.status, 403, "{page} {destination}");
        }
        let explained = gateway.get("/_doorward/api/explain?request=GET+/data&as=user:root", &headers).await;
        assert_eq!(explained.status, 403, "{destination}");
        watch.nothing_reached(destination).await;
    }
    let visit = format!("{cookie}{own}sec-fetch-dest: document\r\n");
    assert_eq!(gateway.get("/_doorward/account", &visit).await.status, 200, "still signed in");
    let renamed = post(&gateway, "/_doorward/account/name", &format!("{visit}{FORM}"), "name=Root").await;
    assert_eq!(renamed.status, 303);
}

/// S08: a key beside a cookie, from another site's page.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_beside_a_cookie_decides_alone() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("root", Role::Admin).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("root").await);
    let key = bearer(&gateway.system_key("k", Role::Viewer).await);
    let evil = "origin: https://evil.example\r\n";
    for (line, headers, status, user) in [
        ("GET /data", format!("{key}{cookie}{evil}"), 200, Some("k")),
        // The cookie's role does not help the key, nor the key's freedom from origins the cookie.
        ("GET /admin", format!("{key}{cookie}"), 403, None),
        ("POST /data", format!("{key}{cookie}{evil}"), 403, None),
        ("POST /data", format!("{cookie}{evil}"), 403, None),
        ("POST /data", format!("authorization: Bearer wrong\r\n{cookie}"), 401, None),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        let answer = gateway.send(line, &format!("{headers}content-length: 0\r\n")).await;
        assert_eq!(answer.status, status, "{line} {headers}");
        match user {
            Some(_) => {
                let claims = &[("x-auth-user", "k"), ("x-auth-subject", "*"), ("x-auth-role", "viewer")];
                watch.reached(&headers, &[line], claims).await;
            }
            None => watch.nothing_reached(&headers).await,
        }
    }
}

/// S09: our pages in a frame of another site.
/// S12: our answers as scripts of another site.
#[tokio::test(flavor = "multi_thread")]
async fn pages_are_not_framed_and_answers_are_no_scripts() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    for (path, who) in [
        ("/_doorward", cookie.as_str()),
        ("/_doorward/login", ""),
        ("/_doorward/login?rd=%2Fdata", "accept: */*\r\n"),
        ("/_doorward/logout", &cookie),
        ("/_doorward/password", &cookie),
        ("/_doorward/setup?token=x", ""),
        ("/_doorward/nothing", ""),
        ("/_doorward/static/logo.svg", ""),
        ("/data", ""),
        ("/data", "accept: text/html\r\n"),
        ("/admin", &cookie),
        ("/data/%zz", ""),
    ] {
        let answer = gateway.get(path, who).await;
        let policy = answer.header("content-security-policy").unwrap_or_default().to_owned();
        for wanted in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(wanted), "{path}: {}", answer.head);
        }
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{path}: {policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}: {}", answer.head);
        }
        let kind = answer.header("content-type").unwrap_or_default().to_owned();
        assert!(!kind.contains("javascript") && kind != "application/json", "{path}: {kind}");
    }
}

/// The same page, before an application, in the question of another proxy, and before a page of ours.
#[tokio::test(flavor = "multi_thread")]
async fn every_edge_reads_the_origin_of_a_page_alike() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "[server]\nworkers = 1\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [forward_auth]\nflavours = \"traefik\"\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await;
    gateway.user("mel", Role::Member).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    let address = gateway.address;
    let own = format!("http://{address}");
    let body = login_form("mel", PASSWORD, "/");
    for (says, allowed) in [
        (format!("origin: {own}\r\n"), true),
        (format!("origin: {}\r\n", own.to_uppercase()), true),
        ("origin: http://localhost\r\n".to_owned(), true),
        ("origin: http://LOCALHOST:80\r\n".to_owned(), true),
        ("origin: null\r\nsec-fetch-site: same-origin\r\n".to_owned(), true),
        ("sec-fetch-site: same-origin\r\n".to_owned(), true),
        ("origin: null\r\n".to_owned(), false),
        ("origin: null\r\nsec-fetch-site: none\r\n".to_owned(), false),
        ("origin: null\r\nsec-fetch-site: same-site\r\n".to_owned(), false),
        ("origin: null\r\nsec-fetch-site: cross-site\r\n".to_owned(), false),
        ("sec-fetch-site: same-site\r\n".to_owned(), false),
        ("sec-fetch-site: cross-site\r\n".to_owned(), false),
        ("sec-fetch-site: same-origin\r\nsec-fetch-site: same-origin\r\n".to_owned(), false),
        ("origin: http://localhost:443\r\n".to_owned(), false),
        ("origin: https://localhost\r\n".to_owned(), false),
        (format!("origin: {own}/\r\n"), false),
        (format!("origin: {own}\r\norigin: {own}\r\n"), false),
        ("origin: https://evil.example\r\nsec-fetch-site: same-origin\r\n".to_owned(), false),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        let asked = format!(
            "{cookie}{says}x-forwarded-method: POST\r\nx-forwarded-proto: http\r\n\
             x-forwarded-host: {address}\r\nx-forwarded-uri: /data\r\nx-forwarded-for: 192.0.2.1\r\n"
        );
        let question = gateway.get("/_doorward/auth/traefik", &asked).await;
        assert_eq!(question.status, if allowed { 200 } else { 403 }, "question: {says}");
        let page = post(&gateway, "/_doorward/login", &format!("{says}{FORM}"), &body).await;
        assert_eq!(page.status, if allowed { 303 } else { 403 }, "page: {says}");
        watch.nothing_reached(&says).await;
        let proxied = post(&gateway, "/data", &format!("{cookie}{says}"), "").await;
        assert_eq!(proxied.status, if allowed { 200 } else { 403 }, "proxy: {says}");
    }
}

/// A change by a method that only looks, where an operation stands in the address.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_from_elsewhere_runs_no_operation_that_changes() {
    const RULES: &str = r#"
[[routes]]
upstream = "app"
rules = [
  { path = "/graphql", graphql = "query", allow = "viewer" },
  { path = "/graphql", graphql = "mutation", allow = "member" },
  { methods = "read", allow = "viewer" },
  { methods = "write", allow = "member" },
]
"#;
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), RULES).await;
    gateway.user("mel", Role::Member).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    let key = bearer(&gateway.system_key("m", Role::Member).await);
    let mutation = "/graphql?query=mutation%7Binc%7D";
    for (site, passes) in [("cross-site", false), ("same-site", false), ("same-origin", true), ("none", true)]
    {
        let mode = format!("sec-fetch-site: {site}\r\nsec-fetch-mode: navigate\r\n");
        for path in [
            mutation,
            "/graphql?Query=mutation%7Binc%7D",
            "/graphql?query=%7Ba%7D&id=7",
            // Without a rule that knows of GraphQL as well.
            "/x?query=mutation%7Binc%7D",
        ] {
            let answer = gateway.get(path, &format!("{cookie}{mode}")).await;
            assert_eq!(answer.status, if passes { 200 } else { 403 }, "{path} {site}: {}", answer.head);
            let refused = answer.text().contains("came from another site");
            assert_eq!(refused, !passes, "{path} {site}: {}", answer.text());
        }
        // A query, a page, and a program's own credential are nobody's mischief.
        for (path, who) in [
            ("/graphql?query=%7Ba%7D", &cookie),
            ("/graphql", &cookie),
            ("/x?query=mutation", &cookie),
            (mutation, &key),
        ] {
            assert_eq!(gateway.get(path, &format!("{who}{mode}")).await.status, 200, "{path} {site}");
        }
    }
}
