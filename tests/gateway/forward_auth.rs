//! Questions of other proxies, asked as each of them asks.

use doorward::model::role::Role;

use crate::support::gateway::bearer;
use crate::support::raw::{Answer, exchange};
use crate::support::{Gateway, Upstream};

/// The flavours that ask by HTTP.
pub const FLAVOURS: [&str; 5] = ["nginx", "traefik", "caddy", "haproxy", "envoy"];

const ROUTES: &str = r#"
[forward_auth]
flavours = ["nginx", "traefik", "caddy", "haproxy", "envoy"]

[[routes]]
name = "app"
hosts = ["app.example"]
rules = [
  { name = "public", path = "/public", allow = "anyone" },
  { name = "admin", path = "/admin", allow = "admin" },
  { name = "sockets", path = "/socket", methods = "websocket", allow = "member" },
  { name = "queries", path = "/graphql", graphql = "query", allow = "viewer" },
  { name = "changes", path = "/graphql", graphql = "mutation", allow = "member" },
  { name = "reads", methods = "read", allow = "viewer" },
  { name = "writes", methods = "write", allow = "member" },
]

[[routes]]
name = "grafana"
hosts = ["grafana.example"]
headers = "grafana"
rules = [ { name = "ops", allow = "group:ops" } ]
"#;

fn trusting(proxies: &str) -> String {
    format!(
        "[server]\nworkers = 2\ntrusted_proxies = [\"{proxies}\"]\n\
         trusted_origins = [\"https://spa.example\"]\n{ROUTES}"
    )
}

async fn gateway() -> Gateway {
    Gateway::configured(&trusting("127.0.0.1")).await
}

/// What nginx is told instead: it would make a bare 500 of any other refusal.
fn told(flavour: &str, status: u16) -> u16 {
    if flavour == "nginx" && (400..500).contains(&status) && status != 401 { 403 } else { status }
}

/// A question as `flavour` asks it. `request` is `METHOD target`; `more` are whole header lines of the client.
pub async fn ask(gateway: &Gateway, flavour: &str, request: &str, more: &str) -> Answer {
    ask_at(gateway, &format!("/_doorward/auth/{flavour}"), flavour, "app.example", request, more).await
}

async fn ask_at(
    gateway: &Gateway,
    path: &str,
    flavour: &str,
    host: &str,
    request: &str,
    more: &str,
) -> Answer {
    let (method, uri) = request.split_once(' ').unwrap();
    let own = gateway.address;
    let question = match flavour {
        "nginx" => format!(
            "GET {path} HTTP/1.1\r\nhost: {own}\r\nx-original-method: {method}\r\n\
             x-original-url: https://{host}{uri}\r\n{more}\r\n"
        ),
        "envoy" => format!(
            "{method} {path}{uri} HTTP/1.1\r\nhost: {host}\r\nx-forwarded-proto: https\r\ncontent-length: 0\r\n{more}\r\n"
        ),
        _ => format!(
            "GET {path} HTTP/1.1\r\nhost: {own}\r\nx-forwarded-method: {method}\r\nx-forwarded-proto: https\r\n\
             x-forwarded-host: {host}\r\nx-forwarded-uri: {uri}\r\n{more}\r\n"
        ),
    };
    exchange(own, question).await
}

/// FA14: a refusal names nobody.
#[tokio::test(flavor = "multi_thread")]
async fn every_flavour_is_told_who_may_do_what() {
    let gateway = gateway().await;
    let viewer = bearer(&gateway.system_key("v", Role::Viewer).await);
    let member = bearer(&gateway.system_key("m", Role::Member).await);
    let admin = bearer(&gateway.system_key("a", Role::Admin).await);
    let socket = "sec-websocket-key: x\r\n";
    let websocket = |credential: &str| format!("{socket}{credential}");
    for flavour in FLAVOURS {
        for (request, more, status) in [
            ("GET /public/x", String::new(), 200),
            ("GET /data?x=1", String::new(), 401),
            ("GET /data", viewer.clone(), 200),
            ("HEAD /data", viewer.clone(), 200),
            ("POST /data", viewer.clone(), 403),
            ("POST /data", member.clone(), 200),
            ("JEFF /data", viewer.clone(), 403),
            ("GET /admin", member.clone(), 403),
            ("GET /admin/", admin.clone(), 200),
            ("GET /socket", websocket(&viewer), 403),
            ("GET /socket", websocket(&member), 200),
            ("GET /socket", websocket(""), 401),
            ("GET /graphql?query=%7Ba%7D", viewer.clone(), 403), // a body beside it stays with the proxy
            ("GET /graphql?query=mutation%7Ba%7D", viewer.clone(), 403),
            ("POST /graphql", viewer.clone(), 403),
            ("GET /data", bearer("dw_s_wrong"), 401),
            ("GET /data", "authorization: Basic eDp5\r\n".to_owned(), 401),
        ] {
            let answer = ask(&gateway, flavour, request, &more).await;
            assert_eq!(answer.status, status, "{flavour} {request} {more}\n{}", answer.text());
            assert!(answer.headers("set-cookie").is_empty(), "a check sets no cookie");
            let identity = answer.head.to_lowercase().contains("x-auth-user");
            assert_eq!(
                identity,
                status == 200,
                "{flavour} {request}: identity goes with an allow, and only then"
            );
        }
        let path = format!("/_doorward/auth/{flavour}");
        let unknown = ask_at(&gateway, &path, flavour, "other.example", "GET /", &admin).await;
        assert_eq!(unknown.status, told(flavour, 404), "{flavour}: a host without a route");
    }
}

/// FA13: an allow names every header, empty where there is nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_allow_carries_every_identity_header_whatever_the_client_sent() {
    let gateway = gateway().await;
    gateway.user_with("vera", Role::Viewer, &["ops", "büro"], false).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
    let forged = "x-auth-user: root\r\nx-auth-role: admin\r\n";
    for flavour in FLAVOURS {
        // What its application may read as one of ours, no answer can overwrite.
        let alias = format!("{cookie}{forged}X_Auth_Groups: admins\r\n");
        let disguised = ask(&gateway, flavour, "GET /data", &alias).await;
        assert_eq!(disguised.status, told(flavour, 400), "{flavour}: {}", disguised.head);
        assert!(disguised.header("x-auth-user").is_none(), "{}", disguised.head);
        let known = ask(&gateway, flavour, "GET /data", &format!("{cookie}{forged}")).await;
        assert_eq!(known.status, 200);
        assert_eq!(known.header("x-auth-user"), Some("vera"));
        assert_eq!(known.header("x-auth-role"), Some("viewer"));
        assert_eq!(known.header("x-auth-email"), Some("vera@example.org"));
        assert_eq!(known.header("x-auth-groups"), Some("b%C3%BCro,ops"));
        assert_eq!(
            known.header("x-auth-name"),
            Some(""),
            "empty, so that the proxy overwrites what the client sent"
        );
        assert_eq!(known.header("cache-control"), Some("no-store"));

        let nobody = ask(&gateway, flavour, "GET /public", forged).await;
        assert_eq!(nobody.status, 200);
        for name in
            ["x-auth-user", "x-auth-role", "x-auth-email", "x-auth-groups", "x-auth-subject", "x-auth-name"]
        {
            assert_eq!(nobody.header(name), Some(""), "{flavour} {name}");
        }
    }
    let path = "/_doorward/auth/traefik";
    let grafana = ask_at(&gateway, path, "traefik", "grafana.example", "GET /", &cookie).await;
    assert_eq!(grafana.header("x-webauth-user"), Some("vera"));
    assert_eq!(grafana.header("x-webauth-role"), Some("Viewer"));
    assert!(grafana.headers("x-auth-user").is_empty());
}

/// FA12: what each proxy can pass on.
#[tokio::test(flavor = "multi_thread")]
async fn an_allow_carries_the_headers_that_templates_make() {
    let set = "set_headers = { X-Scope-OrgID = \"{group:0}\" }";
    let flavours = r#"flavours = ["nginx", "traefik", "caddy", "haproxy", "envoy"]"#;
    let settings = trusting("127.0.0.1").replace(flavours, &format!("{flavours}\n{set}"));
    let gateway = Gateway::configured(&settings).await;
    gateway.user_with("vera", Role::Viewer, &["ops"], false).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
    let forged = "x-scope-orgid: forged\r\n";
    for flavour in FLAVOURS {
        let alias = format!("{cookie}{forged}X_Scope_OrgID: forged\r\n");
        let disguised = ask(&gateway, flavour, "GET /data", &alias).await;
        assert_eq!(disguised.status, told(flavour, 400), "{flavour}: {}", disguised.head);
        let known = ask(&gateway, flavour, "GET /data", &format!("{cookie}{forged}")).await;
        assert_eq!((known.status, known.header("x-scope-orgid")), (200, Some("ops")), "{flavour}");
        let nobody = ask(&gateway, flavour, "GET /public", forged).await;
        assert_eq!((nobody.status, nobody.header("x-scope-orgid")), (200, Some("")), "{flavour}");
        let denied =
            ask(&gateway, flavour, "POST /data", &format!("{cookie}{forged}origin: https://spa.example\r\n"))
                .await;
        assert_eq!((denied.status, denied.header("x-scope-orgid")), (403, None), "{flavour}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_sent_to_sign_in_in_the_way_their_proxy_understands() {
    let gateway = gateway().await;
    let navigates = "sec-fetch-mode: navigate\r\naccept: text/html\r\n";
    let fetches = "sec-fetch-mode: cors\r\naccept: text/html, */*\r\n";
    let login = "http://localhost/_doorward/login?rd=https%3A%2F%2Fapp.example%2Fdeep%3Fa%3D1%26b%3D2";
    for flavour in FLAVOURS {
        let status = if flavour == "nginx" { 401 } else { 302 };
        let answer = ask(&gateway, flavour, "GET /deep?a=1&b=2", navigates).await;
        assert_eq!((answer.status, answer.header("location")), (status, Some(login)), "{flavour}");
        let status = if flavour == "nginx" { 401 } else { 303 };
        assert_eq!(ask(&gateway, flavour, "POST /deep", navigates).await.status, status, "{flavour}");
        for (request, more) in
            [("GET /deep", fetches), ("GET /deep", ""), ("POST /svc/M", "content-type: application/grpc\r\n")]
        {
            let answer = ask(&gateway, flavour, request, more).await;
            assert_eq!((answer.status, answer.header("location")), (401, None), "{flavour} {more}");
            assert!(answer.header("www-authenticate").is_some(), "{flavour} {more}");
            assert_eq!(answer.problem().as_deref(), Some("sign-in-required"), "{flavour} {more}");
        }
        let stale =
            ask(&gateway, flavour, "GET /deep", &format!("{navigates}cookie: doorward=stale\r\n")).await;
        assert!(stale.headers("set-cookie").is_empty(), "{flavour}: not even to take a stale one back");
        assert_eq!(
            stale.header("location").map(|to| to.starts_with("http://localhost/_doorward/login")),
            Some(true)
        );
    }
}

/// FA05: a question of somebody who is no proxy of ours.
/// FA21: the questions' address at the proxied host itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_no_trusted_proxy_is_told_nothing() {
    let gateway = Gateway::configured(&trusting("192.0.2.1")).await;
    let admin = bearer(&gateway.system_key("a", Role::Admin).await);
    for flavour in FLAVOURS {
        for request in ["GET /public", "GET /admin"] {
            let answer = ask(&gateway, flavour, request, &admin).await;
            assert_eq!(
                (answer.status, answer.problem().as_deref()),
                (403, Some("untrusted-proxy")),
                "{flavour}"
            );
        }
    }
}

/// FA01: a question with a part missing.
#[tokio::test(flavor = "multi_thread")]
async fn unclear_questions_are_refused() {
    let gateway = gateway().await;
    let admin = bearer(&gateway.system_key("a", Role::Admin).await);
    let host = gateway.address;
    for (path, headers) in [
        ("/_doorward/auth/nginx", "x-original-url: https://app.example/"),
        ("/_doorward/auth/nginx", "x-original-method: GET"),
        ("/_doorward/auth/nginx", "x-original-method: GET\r\nx-original-url: /admin"),
        (
            "/_doorward/auth/nginx",
            "x-original-method: GET\r\nx-original-url: https://app.example/\r\nx-original-url: https://app.example/",
        ),
        (
            "/_doorward/auth/traefik",
            "x-forwarded-method: GET\r\nx-forwarded-proto: https\r\nx-forwarded-host: app.example",
        ),
        (
            "/_doorward/auth/caddy",
            "x-forwarded-method: \r\nx-forwarded-proto: https\r\nx-forwarded-host: app.example\r\nx-forwarded-uri: /",
        ),
        (
            "/_doorward/auth/haproxy",
            "x-forwarded-method: GET\r\nx-forwarded-proto: javascript\r\nx-forwarded-host: app.example\r\nx-forwarded-uri: /",
        ),
        (
            "/_doorward/auth/traefik",
            "x-forwarded-method: GET\r\nx-forwarded-proto: https\r\nx-forwarded-host: app.example\r\nx-forwarded-uri: /a#b",
        ),
        (
            "/_doorward/auth/traefik",
            "x-forwarded-method: GET\r\nx-forwarded-proto: https\r\nx-forwarded-host: app.example, evil\r\nx-forwarded-uri: /",
        ),
        ("/_doorward/auth/envoy/x", ""),
    ] {
        let line = if headers.is_empty() { String::new() } else { format!("{headers}\r\n") };
        let answer =
            exchange(host, format!("GET {path} HTTP/1.1\r\nhost: app.example\r\n{admin}{line}\r\n")).await;
        assert_eq!(
            (answer.status, answer.problem().as_deref()),
            (told(path.split('/').nth(3).unwrap_or_default(), 400), Some("unclear-question")),
            "{path} {headers}"
        );
    }
    for path in ["/_doorward/auth/", "/_doorward/auth/apache", "/_doorward/auth/nginx/x", "/_doorward/auth"] {
        assert_eq!(gateway.get(path, &admin).await.status, 404, "{path}");
    }
}

/// Whoever sets a proxy up finds out which setting is missing; nobody else learns which are there.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_asks_as_it_may_not_is_told_the_setting_and_nobody_else_is() {
    let settings = |trusted| trusting(trusted).replace(r#", "traefik", "caddy", "haproxy", "envoy"]"#, "]");
    let told = |answer: &Answer| answer.text().contains("forward_auth.flavours");
    let gateway = Gateway::configured(&settings("127.0.0.1")).await;
    for flavour in &FLAVOURS[1..] {
        for path in ["auth", "auth-route/app"].map(|place| format!("/_doorward/{place}/{flavour}")) {
            let answer = ask_at(&gateway, &path, flavour, "app.example", "GET /public", "").await;
            assert_eq!((answer.status, answer.problem().as_deref()), (404, Some("not-found")), "{path}");
            assert!(told(&answer) && answer.text().contains(&format!("`{flavour}`")), "{}", answer.text());
        }
    }
    assert_eq!(ask(&gateway, "nginx", "GET /public", "").await.status, 200);
    assert!(!told(&gateway.get("/_doorward/auth/apache", "").await));
    let gateway = Gateway::configured(&settings("192.0.2.1")).await;
    let answer = ask(&gateway, "traefik", "GET /public", "").await;
    assert!(answer.status == 404 && !told(&answer), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_may_choose_the_route_by_its_own_configuration_only() {
    let gateway = gateway().await;
    gateway.user_with("olga", Role::Viewer, &["ops"], false).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("olga").await);
    for flavour in FLAVOURS {
        let path = format!("/_doorward/auth-route/grafana/{flavour}");
        let chosen = ask_at(&gateway, &path, flavour, "anything.example", "GET /x", &cookie).await;
        assert_eq!((chosen.status, chosen.header("x-webauth-user")), (200, Some("olga")), "{flavour}");
        let nobody = ask_at(&gateway, &path, flavour, "anything.example", "GET /x", "").await;
        assert_eq!(nobody.status, 401, "{flavour}");
        let none = format!("/_doorward/auth-route/nowhere/{flavour}");
        assert_eq!(
            ask_at(&gateway, &none, flavour, "app.example", "GET /public", &cookie).await.status,
            told(flavour, 404)
        );
    }
    // A client's path never reaches the place where the route is named.
    let sneaky = ask(&gateway, "envoy", "GET /../auth-route/grafana/envoy/x", &cookie).await;
    assert_eq!(sneaky.status, 400);
}

/// FA04: every confusing path, at both edges.
#[tokio::test(flavor = "multi_thread")]
async fn both_edges_decide_every_confusing_path_alike() {
    let upstream = Upstream::spawn().await;
    let proxied = ROUTES.replace("name = \"app\"\nhosts", "name = \"app\"\nupstream = \"app\"\nhosts");
    let gateway = Gateway::configured(&format!(
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{proxied}",
        upstream.url()
    ))
    .await;
    let viewer = bearer(&gateway.system_key("v", Role::Viewer).await);
    let paths = [
        "/public/../admin/x",
        "/public/%2e%2e/admin",
        "/public/..%2fadmin",
        "/public/..;/admin",
        "//admin",
        "/admin%2fusers",
        "/admin//users",
        "/./admin",
        "/../admin",
        "/%2e/admin",
        "/%61dmin",
        "/%2561dmin",
        "/public\\..\\admin",
        "/public%5c..%5cadmin",
        "/admin%00",
        "/admin%00.css",
        "/admin?x=/public/",
        "/Admin",
        "/ADMIN",
        "/adm%C4%B1n",
        "/admin.",
        "/admin/",
        "/admin%20",
        "/admin%09",
        "/admin%0d%0a",
        "/%",
        "/%2",
        "/%zz",
        "/%u0061",
        "/%ff",
        "/public",
        "/public/",
        "/publicx",
        "/data",
        "/data/%C3%BC",
        "/admin;x",
        "/;/admin",
    ];
    for path in paths {
        for credential in ["", viewer.as_str()] {
            let before = upstream.count();
            let through = exchange(
                gateway.address,
                format!("GET {path} HTTP/1.1\r\nhost: app.example\r\n{credential}\r\n"),
            )
            .await;
            let reached = upstream.count() > before;
            assert_eq!(reached, through.status == 200, "{path}");
            if reached {
                let sent = upstream.last().line();
                assert!(!sent.to_lowercase().starts_with("get /admin"), "{path} reached {sent}");
            }
            for flavour in FLAVOURS {
                let asked = ask(&gateway, flavour, &format!("GET {path}"), credential).await;
                assert_eq!(asked.status == 200, through.status == 200, "{flavour} {path} {}", asked.status);
                assert!(
                    asked.status == told(flavour, through.status) || asked.status == told(flavour, 400),
                    "{flavour} {path} {}",
                    asked.status
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_on_a_warm_cache_asks_the_store_nothing() {
    let gateway = gateway().await;
    gateway.user("vera", Role::Viewer).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
    let key = bearer(&gateway.system_key("k", Role::Viewer).await);
    for _ in 0..4 {
        for credential in [&cookie, &key] {
            assert_eq!(ask(&gateway, "traefik", "GET /data", credential).await.status, 200);
        }
    }
    let before = gateway.lookups();
    assert!(before >= 2);
    for _ in 0..100 {
        for flavour in FLAVOURS {
            for credential in
                [cookie.as_str(), key.as_str(), "", "cookie: doorward=forged.x\r\n", &bearer("dw_s_mistyped")]
            {
                ask(&gateway, flavour, "GET /data", credential).await;
            }
        }
    }
    assert_eq!(gateway.lookups(), before, "neither good nor forged nor mistyped credentials are looked up");
}

/// FA10: a thousand faults.
#[tokio::test(flavor = "multi_thread")]
async fn no_fault_ever_becomes_a_2xx() {
    let gateway = gateway().await;
    gateway.user("vera", Role::Viewer).await;
    let cookie = gateway.sign_in("vera").await;
    let key = gateway.system_key("k", Role::Admin).await;
    // The store breaks: whatever was remembered stops counting, whatever was not cannot be decided.
    let database = gateway.folder.path().join("doorward.db");
    crate::failure::break_database(&database);
    gateway.until_ready(false).await;
    let mut asked = 0;
    for round in 0..50 {
        let mut flipped = key.clone().into_bytes();
        let at = 5 + round % (flipped.len() - 5);
        flipped[at] = if flipped[at] == b'a' { b'b' } else { b'a' };
        let flipped = String::from_utf8(flipped).unwrap();
        for flavour in FLAVOURS {
            for (request, more) in [
                ("GET /data", format!("cookie: {cookie}\r\n")),
                ("GET /data", bearer(&key)),
                ("GET /data", bearer(&flipped)),
                ("GET /data", format!("cookie: {}\r\n", &cookie[..cookie.len() - round % 40])),
                ("GET /admin", format!("cookie: {cookie}; {cookie}\r\n")),
                ("GET /admin/%", bearer(&key)),
            ] {
                let answer = ask(&gateway, flavour, request, &more).await;
                assert!(
                    (400..600).contains(&answer.status) || answer.status == 302,
                    "{flavour} {request} {}",
                    answer.status
                );
                // Of a 5xx Envoy makes a refusal of its own, or an allow where it is told to.
                assert!(flavour != "envoy" || answer.status < 500, "{request} {}", answer.status);
                asked += 1;
            }
        }
    }
    assert!(asked >= 1000, "{asked} faults");
}

/// FA18: preflights.
#[tokio::test(flavor = "multi_thread")]
async fn scripts_of_trusted_pages_may_read_a_refusal_and_ask_before_they_ask() {
    let gateway = gateway().await;
    for flavour in FLAVOURS {
        let known = ask(&gateway, flavour, "GET /data", "origin: https://spa.example\r\n").await;
        assert_eq!(known.status, 401);
        assert_eq!(known.header("access-control-allow-origin"), Some("https://spa.example"));
        assert_eq!(known.header("access-control-allow-credentials"), Some("true"));
        let foreign = ask(&gateway, flavour, "GET /data", "origin: https://evil.example\r\n").await;
        assert_eq!(foreign.header("access-control-allow-origin"), None);

        let preflight = "access-control-request-method: POST\r\norigin: ";
        let status = |origin: &str| {
            let more = format!("{preflight}{origin}\r\n");
            let gateway = &gateway;
            async move { ask(gateway, flavour, "OPTIONS /data", &more).await.status }
        };
        assert_eq!(status("https://spa.example").await, 200);
        assert_eq!(status("https://app.example").await, 401, "the application's own pages never ask");
        assert_eq!(status("https://evil.example").await, 401);
        assert_eq!(
            ask(&gateway, flavour, "OPTIONS /data", "origin: https://spa.example\r\n").await.status,
            401
        );
    }
}

/// FA16: an answer too large for a proxy.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_too_large_for_proxies_is_refused_not_cut() {
    let gateway = gateway().await;
    let groups: Vec<String> = (0..250).map(|number| format!("a-rather-long-group-name-{number}")).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    gateway.user_with("many", Role::Viewer, &groups, false).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("many").await);
    let answer = ask(&gateway, "nginx", "GET /data", &cookie).await;
    assert_eq!((answer.status, answer.problem().as_deref()), (403, Some("identity-too-large")));
    assert!(answer.head.len() + answer.body.len() < 4096);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_for_questions_only_is_no_way_to_an_upstream() {
    let gateway = gateway().await;
    let admin = bearer(&gateway.system_key("a", Role::Admin).await);
    let answer =
        exchange(gateway.address, format!("GET /data HTTP/1.1\r\nhost: app.example\r\n{admin}\r\n")).await;
    assert_eq!(answer.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_authorization_is_left_to_applications_only_where_that_is_said() {
    for (setting, left) in
        [("", false), ("pass_authorization = false", false), ("pass_authorization = true", true)]
    {
        let text = trusting("127.0.0.1").replace("[forward_auth]\n", &format!("[forward_auth]\n{setting}\n"));
        let gateway = Gateway::configured(&text).await;
        gateway.user("vera", Role::Viewer).await;
        let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
        let key = bearer(&gateway.system_key("k", Role::Viewer).await);
        for foreign in ["Bearer theirs", "Basic dGhlbTpzZWNyZXQ=", "Negotiate x"] {
            let foreign = format!("authorization: {foreign}\r\n");
            let beside = format!("{foreign}{cookie}");
            for flavour in FLAVOURS {
                for (path, headers, name, status) in [
                    ("/public", &foreign, "", if left { 200 } else { 401 }),
                    // To the rules it is nobody's.
                    ("/data", &foreign, "", 401),
                    ("/data", &beside, "vera", if left { 200 } else { 401 }),
                    ("/admin", &beside, "", if left { 403 } else { 401 }),
                    ("/data", &key, "k", 200),
                ] {
                    let answer = ask(&gateway, flavour, &format!("GET {path}"), headers).await;
                    let case = format!("{setting} {flavour} {path} {headers}");
                    assert_eq!(answer.status, told(flavour, status), "{case}");
                    if status == 200 {
                        assert_eq!(answer.header("x-auth-user"), Some(name), "{case}");
                    }
                    let says =
                        (status == 200 && headers.contains(foreign.as_str())).then(|| foreign.trim_end());
                    let says = says.map(|line| line.trim_start_matches("authorization: "));
                    assert_eq!(answer.header("authorization"), says, "{case}");
                }
            }
        }
        // A key of ours that is wrong is never somebody else's.
        let wrong = format!("{}{cookie}", bearer("dw_s_mistyped"));
        assert_eq!(ask(&gateway, "traefik", "GET /public", &wrong).await.status, 401, "{setting}");
    }
}
