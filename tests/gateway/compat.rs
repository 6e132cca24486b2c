//! Configurations written for other products: their paths, parameters, statuses and header names.

use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;

use crate::support::gateway::bearer;
use crate::support::{Answer, Gateway};

/// Reading needs a viewer, deleting an admin, all else a member; `/public` is open.
const RULES: &str = r#"
[[routes]]
hosts = ["app.example", "localhost"]
rules = [
  { name = "public", path = "/public", allow = "anyone" },
  { name = "deletes", methods = ["DELETE"], path = "/guarded", allow = "admin" },
  { name = "reads", methods = "read", allow = "viewer" },
  { name = "writes", methods = "write", allow = "member" },
]
"#;

/// A gateway that only answers questions. `flavours` as TOML.
async fn gateway(product: &str, flavours: &str, trusted: &str, routes: &str) -> Gateway {
    let gateway = Gateway::configured(&format!(
        "[server]\nworkers = 1\ntrusted_proxies = [\"{trusted}\"]\n\
         [forward_auth]\ncompat = [\"{product}\"]\nflavours = {flavours}\n{routes}"
    ))
    .await;
    gateway.user_with("mel", Role::Member, &["dev", "on|call"], false).await;
    gateway.user("vera", Role::Viewer).await;
    gateway
}

async fn standard(product: &str) -> Gateway {
    gateway(product, "[]", "127.0.0.1", RULES).await
}

/// A question with `Host: app.example`.
async fn ask(gateway: &Gateway, line: &str, headers: &str) -> Answer {
    ask_host(gateway, line, "app.example", headers).await
}

async fn ask_host(gateway: &Gateway, line: &str, host: &str, headers: &str) -> Answer {
    crate::support::exchange(gateway.address, format!("{line} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n"))
        .await
}

async fn cookie(gateway: &Gateway, name: &str) -> String {
    format!("cookie: {}\r\n", gateway.sign_in(name).await)
}

/// All of `X-Forwarded-*`, as Traefik and Caddy write them.
fn forwarded(method: &str, host: &str, uri: &str) -> String {
    format!(
        "x-forwarded-method: {method}\r\nx-forwarded-proto: https\r\nx-forwarded-host: {host}\r\n\
         x-forwarded-uri: {uri}\r\n"
    )
}

fn original(uri: &str) -> String {
    format!("x-original-url: https://app.example{uri}\r\n")
}

const BROWSER: &str = "accept: text/html\r\n";

/// Every check of a product is refused from a peer that is no proxy of ours, and nobody's check is a 2xx.
async fn only_proxies_may_ask(product: &str, checks: &[&str]) {
    let ours = standard(product).await;
    let foreign = gateway(product, "[]", "192.0.2.1", RULES).await;
    let member = cookie(&foreign, "mel").await;
    let said = format!(
        "{}{}x-original-method: GET\r\n",
        forwarded("GET", "app.example", "/public"),
        original("/public")
    );
    for path in checks {
        let line = format!("GET {path}");
        let refused = ask(&foreign, &line, &format!("{said}{member}")).await;
        assert_eq!((refused.status, refused.problem().as_deref()), (403, Some("untrusted-proxy")), "{path}");
        for broken in [
            "x-forwarded-uri: /a/../b\r\n",
            "x-forwarded-uri: /a\r\nx-forwarded-uri: /b\r\n",
            "x-original-url: ftp://app.example/\r\n",
            "authorization: Bearer nonsense\r\nx-forwarded-uri: /public\r\n",
        ] {
            let answer = ask(&ours, &line, broken).await;
            assert!((300..600).contains(&answer.status), "{path} {broken}: {}", answer.status);
        }
    }
}

mod oauth2_proxy {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_person_passes_with_the_products_headers_and_nobody_gets_a_bare_401() {
        let gateway = standard("oauth2-proxy").await;
        let member = cookie(&gateway, "mel").await;
        let uri = "x-forwarded-uri: /x?y=1\r\n";
        let allowed = ask(&gateway, "GET /oauth2/auth", &format!("{uri}{member}")).await;
        assert_eq!((allowed.status, allowed.text().as_str()), (200, ""));
        assert_eq!(allowed.header("x-auth-request-user"), Some("mel"));
        assert_eq!(allowed.header("x-auth-request-preferred-username"), Some("mel"));
        assert_eq!(allowed.header("x-auth-request-email"), Some("mel@example.org"));
        assert_eq!(allowed.header("x-auth-request-groups"), Some("dev,on|call"));
        assert!(allowed.headers("set-cookie").is_empty());

        for headers in ["", BROWSER] {
            let refused = ask(&gateway, "GET /oauth2/auth", &format!("{uri}{headers}")).await;
            assert_eq!(refused.status, 401, "{}", refused.head);
            assert_eq!(refused.header("location"), None);
        }
        let open = ask(&gateway, "GET /oauth2/auth", "x-forwarded-uri: /public\r\n").await;
        assert_eq!((open.status, open.header("x-auth-request-user")), (200, Some("")));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_nginx_may_pass_on_from_the_client_is_not_believed() {
        let gateway = standard("oauth2-proxy").await;
        let (member, viewer) = (cookie(&gateway, "mel").await, cookie(&gateway, "vera").await);
        let status = async |headers: String| ask(&gateway, "GET /oauth2/auth", &headers).await.status;
        assert_eq!(status(format!("x-forwarded-uri: /x\r\n{member}")).await, 200);
        assert_eq!(status(format!("x-original-uri: /x\r\n{member}")).await, 200);
        // A method that is not said counts as writing, and as each that a rule names.
        let get = "x-forwarded-method: GET\r\nx-original-method: GET\r\n";
        assert_eq!(status(format!("{get}x-forwarded-uri: /x\r\n{viewer}")).await, 403);
        assert_eq!(status(format!("{get}x-forwarded-uri: /guarded\r\n{member}")).await, 403);
        // Nor is another host, and two targets that differ are none.
        let other = "x-forwarded-host: localhost\r\n";
        let asked = format!("{other}x-forwarded-uri: /public\r\n");
        assert_eq!(ask_host(&gateway, "GET /oauth2/auth", "other.example", &asked).await.status, 403);
        let differ = "x-forwarded-uri: /public\r\nx-original-uri: /x\r\n";
        assert_eq!(status(differ.to_owned()).await, 400);
        // Rules look at paths here, so a question without one cannot be answered: the client could add it.
        assert_eq!(status(member.clone()).await, 400);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn without_a_target_the_answer_is_the_same_for_all_where_no_rule_looks_at_paths() {
        let plain = gateway(
            "oauth2-proxy",
            "[]",
            "127.0.0.1",
            "[[routes]]\nhosts = [\"app.example\", \"localhost\"]\n",
        )
        .await;
        let (member, viewer) = (cookie(&plain, "mel").await, cookie(&plain, "vera").await);
        assert_eq!(ask(&plain, "GET /oauth2/auth", &member).await.status, 200);
        assert_eq!(ask(&plain, "GET /oauth2/auth", &viewer).await.status, 403);
        assert_eq!(ask(&plain, "GET /oauth2/auth", "").await.status, 401);
        // Who holds a key for one path could otherwise send the header that nobody else sends.
        let scope = KeyScope { paths: vec!["/v1".into()], ..KeyScope::default() };
        let (narrow, _) = plain.key_with("narrow", Role::Member, None, scope).await;
        let claimed = format!("x-forwarded-uri: /v1\r\n{}", bearer(&narrow));
        assert_eq!(ask(&plain, "GET /oauth2/auth", &claimed).await.status, 403);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn proxies_that_write_every_header_are_believed_once_they_are_named() {
        let gateway = gateway("oauth2-proxy", "[\"traefik\"]", "127.0.0.1", RULES).await;
        let viewer = cookie(&gateway, "vera").await;
        let status = async |headers: String| {
            ask_host(&gateway, "GET /oauth2/auth", "auth:4180", &headers).await.status
        };
        let get = forwarded("GET", "app.example", "/x");
        assert_eq!(status(format!("{get}{viewer}")).await, 200);
        assert_eq!(status(get).await, 401);
        assert_eq!(status(format!("{}{viewer}", forwarded("POST", "app.example", "/x"))).await, 403);
        assert_eq!(status(format!("x-forwarded-uri: /x\r\n{viewer}")).await, 400);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn parameters_narrow_the_circle_further() {
        let gateway = standard("oauth2-proxy").await;
        let (member, viewer) = (cookie(&gateway, "mel").await, cookie(&gateway, "vera").await);
        for (query, expected) in [
            ("allowed_groups=dev", 200),
            ("allowed_groups=ops,dev", 200),
            ("allowed_groups=ops", 403),
            ("allowed_groups=de", 403),
            ("allowed_groups=DEV", 403),
            ("allowed_groups=", 403),
            ("allowed_emails=mel@example.org", 200),
            ("allowed_emails=el@example.org", 403),
            ("allowed_email_domains=example.org", 200),
            ("allowed_email_domains=example.com,EXAMPLE.org", 200),
            ("allowed_email_domains=ample.org", 403),
            ("allowed_email_domains=org", 403),
            ("allowed_groups=dev&allowed_emails=other@example.org", 403),
            ("allowed_groups=dev&allowed_email_domains=example.org", 200),
        ] {
            let line = format!("GET /oauth2/auth?{query}");
            let answer = ask(&gateway, &line, &format!("x-forwarded-uri: /x\r\n{member}")).await;
            assert_eq!(answer.status, expected, "{query}");
            let nobody = ask(&gateway, &line, "x-forwarded-uri: /public\r\n").await;
            assert_eq!(nobody.status, 401, "{query}: a circle has no place for nobody");
            let beyond = ask(&gateway, &line, &format!("x-forwarded-uri: /x\r\n{viewer}")).await;
            assert_eq!(beyond.status, 403, "{query}: a circle never widens what the rules allow");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn traefik_is_answered_with_a_redirect_at_the_prefix_and_at_the_root() {
        let gateway = standard("oauth2-proxy").await;
        let viewer = cookie(&gateway, "vera").await;
        for path in ["/oauth2/", "/"] {
            let line = format!("GET {path}");
            let get = forwarded("GET", "app.example", "/x?y=1");
            let sent = ask_host(&gateway, &line, "auth", &format!("{get}{BROWSER}")).await;
            assert_eq!(sent.status, 302, "{path} {}", sent.text());
            assert_eq!(
                sent.header("location"),
                Some("http://localhost/_doorward/login?rd=https%3A%2F%2Fapp.example%2Fx%3Fy%3D1")
            );
            assert_eq!(ask_host(&gateway, &line, "auth", &get).await.status, 401);
            assert_eq!(ask_host(&gateway, &line, "auth", &format!("{get}{viewer}")).await.status, 200);
        }
        assert_eq!(ask_host(&gateway, "GET /", "auth", BROWSER).await.status, 404, "no question");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn pages_lead_to_ours_with_the_way_back() {
        let gateway = standard("oauth2-proxy").await;
        let login = "http://localhost/_doorward/login";
        for (line, headers, expected) in [
            ("GET /oauth2/sign_in", "", login.to_owned()),
            (
                "GET /oauth2/start?rd=https%3A%2F%2Fapp.example%2Fx",
                "",
                format!("{login}?rd=https%3A%2F%2Fapp.example%2Fx"),
            ),
            (
                "GET /oauth2/sign_in?rd=https://app.example/x?a=1&b=2",
                "",
                format!("{login}?rd=https%3A%2F%2Fapp.example%2Fx%3Fa%3D1%26b%3D2"),
            ),
            ("GET /oauth2/sign_in?rd=/x", "", format!("{login}?rd=http%3A%2F%2Fapp.example%2Fx")),
            (
                "GET /oauth2/sign_in",
                "x-auth-request-redirect: /y\r\n",
                format!("{login}?rd=http%3A%2F%2Fapp.example%2Fy"),
            ),
            (
                "GET /oauth2/sign_out?rd=/x",
                "host-is: no\r\n",
                "http://localhost/_doorward/logout?rd=http%3A%2F%2Fapp.example%2Fx".to_owned(),
            ),
        ] {
            let answer = ask(&gateway, line, headers).await;
            assert_eq!((answer.status, answer.header("location")), (302, Some(expected.as_str())), "{line}");
            assert!(answer.headers("set-cookie").is_empty());
            assert!(answer.text().contains("http-equiv=\"refresh\""), "{}", answer.text());
        }
        let hostile = ask(&gateway, "GET /oauth2/sign_in?rd=https://x/%22><script>", "").await;
        assert!(!hostile.text().contains("<script"), "{}", hostile.text());
        assert_eq!(ask(&gateway, "PUT /oauth2/sign_in", "content-length: 0\r\n").await.status, 405);
        assert_eq!(ask(&gateway, "POST /oauth2/sign_out", "content-length: 0\r\n").await.status, 303);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn userinfo_health_and_the_rest() {
        let gateway = standard("oauth2-proxy").await;
        let member = cookie(&gateway, "mel").await;
        let info = ask(&gateway, "GET /oauth2/userinfo", &member).await;
        let json: serde_json::Value = serde_json::from_slice(&info.body).unwrap();
        assert_eq!(
            json,
            serde_json::json!({ "user": "mel", "email": "mel@example.org", "groups": ["dev", "on|call"], "preferredUsername": "mel" })
        );
        for headers in ["", BROWSER, "cookie: doorward=x\r\n"] {
            assert_eq!(ask(&gateway, "GET /oauth2/userinfo", headers).await.status, 401, "{headers}");
        }
        for path in ["/ping", "/ready", "/robots.txt"] {
            assert_eq!(ask(&gateway, &format!("GET {path}"), "").await.status, 200, "{path}");
        }
        for path in [
            "/oauth2/static/css/bulma.min.css",
            "/oauth2/callback?code=x",
            "/oauth2/other",
            "/validate",
            "/api/health",
        ] {
            assert_eq!(ask(&gateway, &format!("GET {path}"), "").await.status, 404, "{path}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_our_proxies_may_ask() {
        only_proxies_may_ask("oauth2-proxy", &["/oauth2/auth", "/oauth2/"]).await;
    }
}

mod authelia {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn forward_auth_passes_people_on_and_sends_others_to_the_portal() {
        let gateway = standard("authelia").await;
        let member = cookie(&gateway, "mel").await;
        let allowed = ask_host(
            &gateway,
            "GET /api/authz/forward-auth",
            "authelia:9091",
            &format!("{}{member}", forwarded("POST", "app.example", "/x")),
        )
        .await;
        assert_eq!(allowed.status, 200, "{}", allowed.text());
        assert_eq!(allowed.header("remote-user"), Some("mel"));
        assert_eq!(allowed.header("remote-name"), Some(""));
        assert_eq!(allowed.header("remote-email"), Some("mel@example.org"));
        assert_eq!(allowed.header("remote-groups"), Some("dev,on|call"));

        let back = "rd=https%3A%2F%2Fapp.example%2Fx";
        for (query, header, portal) in [
            ("", "", "http://localhost"),
            ("?authelia_url=https://app.example/", "", "https://app.example"),
            ("?authelia_url=https%3A%2F%2Fapp.example%3A8443%2F", "", "https://app.example:8443"),
            ("", "x-authelia-url: https://app.example/\r\n", "https://app.example"),
            ("?authelia_url=https://evil.example/", "", "http://localhost"),
            ("?authelia_url=https://evil.example@app.example.evil/", "", "http://localhost"),
            ("?authelia_url=javascript:alert(1)", "", "http://localhost"),
        ] {
            let line = format!("GET /api/authz/forward-auth{query}");
            let headers = format!("{header}{BROWSER}{}", forwarded("GET", "app.example", "/x"));
            let sent = ask_host(&gateway, &line, "authelia", &headers).await;
            let location = format!("{portal}/_doorward/login?{back}&rm=GET");
            assert_eq!((sent.status, sent.header("location")), (302, Some(location.as_str())), "{query}");
        }
        let line = "GET /api/authz/forward-auth";
        let post = format!("sec-fetch-mode: navigate\r\n{}", forwarded("POST", "app.example", "/x"));
        let sent = ask(&gateway, line, &post).await;
        assert_eq!(sent.status, 303);
        assert!(sent.header("location").unwrap().ends_with("&rm=POST"), "{}", sent.head);
        assert_eq!(ask(&gateway, line, &forwarded("GET", "app.example", "/x")).await.status, 401);
        let viewer = cookie(&gateway, "vera").await;
        let write = format!("{}{viewer}", forwarded("POST", "app.example", "/x"));
        assert_eq!(ask(&gateway, line, &write).await.status, 403);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nginx_needs_url_and_method_and_gets_401_with_the_location() {
        let gateway = standard("authelia").await;
        let viewer = cookie(&gateway, "vera").await;
        let line = "GET /api/authz/auth-request";
        let get = format!("{}x-original-method: GET\r\n", original("/x"));
        assert_eq!(ask(&gateway, line, &format!("{get}{viewer}")).await.status, 200);
        let post = format!("{}x-original-method: POST\r\n", original("/x"));
        assert_eq!(ask(&gateway, line, &format!("{post}{viewer}")).await.status, 403);
        let sent = ask(&gateway, line, &format!("{get}{BROWSER}")).await;
        assert_eq!(sent.status, 401);
        assert_eq!(
            sent.header("location"),
            Some("http://localhost/_doorward/login?rd=https%3A%2F%2Fapp.example%2Fx&rm=GET")
        );
        assert!(ask(&gateway, line, &get).await.header("location").is_some(), "nginx knows no other way out");
        assert_eq!(ask(&gateway, line, &format!("{}{viewer}", original("/x"))).await.status, 400);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn envoy_asks_with_the_path_behind_the_prefix() {
        let gateway = standard("authelia").await;
        let viewer = cookie(&gateway, "vera").await;
        let proto = "x-forwarded-proto: https\r\n";
        let read = ask(&gateway, "GET /api/authz/ext-authz//x?y=1", &format!("{proto}{viewer}")).await;
        assert_eq!(read.status, 200, "{}", read.text());
        let write =
            ask(&gateway, "POST /api/authz/ext-authz//x", &format!("{proto}{viewer}content-length: 0\r\n"))
                .await;
        assert_eq!(write.status, 403);
        let sent = ask(&gateway, "GET /api/authz/ext-authz//x?y=1", &format!("{proto}{BROWSER}")).await;
        assert_eq!(sent.status, 302);
        assert!(sent.header("location").unwrap().contains("app.example%2Fx%3Fy%3D1"), "{}", sent.head);
        // With another prefix than the documented one, one slash could stand for two.
        let other = ask(&gateway, "GET /api/authz/ext-authz/public", proto).await;
        assert_eq!(other.status, 400);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_older_endpoint_refuses_two_targets_that_differ() {
        let gateway = standard("authelia").await;
        let (member, viewer) = (cookie(&gateway, "mel").await, cookie(&gateway, "vera").await);
        let line = "GET /api/verify";
        let both = format!("{}{}", original("/x"), forwarded("GET", "app.example", "/x"));
        assert_eq!(ask(&gateway, line, &format!("{both}{member}")).await.status, 200);
        assert_eq!(
            ask(&gateway, line, &format!("{both}{viewer}")).await.status,
            403,
            "the method may be the client's"
        );
        assert_eq!(ask(&gateway, line, &format!("{}{member}", original("/x"))).await.status, 200);
        let alone = forwarded("GET", "app.example", "/x");
        assert_eq!(ask(&gateway, line, &format!("{alone}{viewer}")).await.status, 200);
        let differ = format!("{}{}", original("/x"), forwarded("GET", "app.example", "/public"));
        assert_eq!(ask(&gateway, line, &format!("{differ}{member}")).await.status, 400);

        let bare = ask(&gateway, line, &format!("{alone}{BROWSER}")).await;
        assert_eq!((bare.status, bare.header("location")), (401, None));
        let sent = ask(&gateway, "GET /api/verify?rd=https://localhost/", &format!("{alone}{BROWSER}")).await;
        assert_eq!(sent.status, 302);
        assert!(sent.header("location").unwrap().starts_with("https://localhost/_doorward/login?rd="));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn health_and_state_have_its_shapes() {
        let gateway = standard("authelia").await;
        let member = cookie(&gateway, "mel").await;
        let json = async |path: &str, headers: &str| -> serde_json::Value {
            let answer = ask(&gateway, &format!("GET {path}"), headers).await;
            assert_eq!(answer.status, 200, "{path}");
            serde_json::from_slice(&answer.body).unwrap()
        };
        assert_eq!(json("/api/health", "").await["status"], "OK");
        assert_eq!(json("/api/state", "").await["data"]["authentication_level"], 0);
        let state = json("/api/state", &member).await;
        assert_eq!(
            (&state["data"]["username"], &state["data"]["authentication_level"]),
            (&"mel".into(), &1.into())
        );
        assert_eq!(json("/api/user/info", &member).await["data"]["emails"][0], "mel@example.org");
        assert_eq!(ask(&gateway, "GET /api/user/info", "").await.status, 401);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_our_proxies_may_ask() {
        let checks = [
            "/api/authz/forward-auth",
            "/api/authz/auth-request",
            "/api/authz/ext-authz//public",
            "/api/verify",
        ];
        only_proxies_may_ask("authelia", &checks[..2]).await;
        only_proxies_may_ask("authelia", &checks[3..]).await;
        let foreign = gateway("authelia", "[]", "192.0.2.1", RULES).await;
        assert_eq!(
            ask(&foreign, &format!("GET {}", checks[2]), "x-forwarded-proto: https\r\n").await.status,
            403
        );
    }
}

mod authentik {
    use super::*;

    const BELOW: &str = "/outpost.goauthentik.io";

    #[tokio::test(flavor = "multi_thread")]
    async fn every_proxy_gets_the_products_headers() {
        let gateway = standard("authentik").await;
        let member = cookie(&gateway, "mel").await;
        let full = forwarded("GET", "app.example", "/x");
        for (path, headers, refused) in [
            ("/auth/traefik", full.as_str(), 302),
            ("/auth/caddy", full.as_str(), 302),
            ("/auth/nginx", original("/x").as_str(), 401),
            ("/auth/envoy/x", "", 302),
        ] {
            let line = format!("GET {BELOW}{path}");
            let allowed = ask(&gateway, &line, &format!("{headers}{member}")).await;
            assert_eq!(allowed.status, 200, "{path} {}", allowed.text());
            assert_eq!(allowed.header("x-authentik-username"), Some("mel"));
            assert_eq!(allowed.header("x-authentik-email"), Some("mel@example.org"));
            assert_eq!(allowed.header("x-authentik-groups"), Some("dev|on%7Ccall"));
            assert!(allowed.header("x-authentik-uid").unwrap().starts_with("user:"));
            assert_eq!(ask(&gateway, &line, &format!("{headers}{BROWSER}")).await.status, refused, "{path}");
            assert_eq!(ask(&gateway, &line, headers).await.status, 401, "{path}");
        }
        let viewer = cookie(&gateway, "vera").await;
        let unsaid = format!("{}x-original-method: GET\r\n{viewer}", original("/x"));
        assert_eq!(ask(&gateway, &format!("GET {BELOW}/auth/nginx"), &unsaid).await.status, 403);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn its_pages_lead_to_ours() {
        let gateway = standard("authentik").await;
        let start = ask(&gateway, &format!("GET {BELOW}/start?rd=https://app.example/x?a=1&b=2"), "").await;
        assert_eq!(
            (start.status, start.header("location")),
            (302, Some("http://localhost/_doorward/login?rd=https%3A%2F%2Fapp.example%2Fx%3Fa%3D1%26b%3D2"))
        );
        let out = ask(&gateway, &format!("GET {BELOW}/sign_out"), "").await;
        assert_eq!(out.header("location"), Some("http://localhost/_doorward/logout"));
        assert_eq!(ask(&gateway, &format!("GET {BELOW}/ping"), "").await.status, 204);
        let callback = ask(&gateway, &format!("GET {BELOW}/callback?code=x"), "").await;
        assert_eq!((callback.status, callback.problem().as_deref()), (404, Some("not-taken-over")));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_our_proxies_may_ask() {
        let checks = ["traefik", "caddy", "nginx"].map(|name| format!("{BELOW}/auth/{name}"));
        only_proxies_may_ask("authentik", &checks.each_ref().map(String::as_str)).await;
    }
}

mod vouch {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_person_is_valid_and_nobody_is_401() {
        let gateway =
            gateway("vouch", "[]", "127.0.0.1", "[[routes]]\nhosts = [\"app.example\", \"localhost\"]\n")
                .await;
        let member = cookie(&gateway, "mel").await;
        let valid = ask(&gateway, "GET /validate", &member).await;
        assert_eq!((valid.status, valid.header("x-vouch-user")), (200, Some("mel@example.org")));
        let key = gateway.system_key("robot", Role::Member).await;
        let robot = ask(&gateway, "GET /validate", &bearer(&key)).await;
        assert_eq!(robot.header("x-vouch-user"), Some("robot"));
        let nobody = ask(&gateway, "GET /validate", BROWSER).await;
        assert_eq!((nobody.status, nobody.header("location")), (401, None));
        let viewer = cookie(&gateway, "vera").await;
        assert_eq!(ask(&gateway, "GET /validate", &viewer).await.status, 403);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn its_pages_lead_to_ours() {
        let gateway = standard("vouch").await;
        let login = ask(
            &gateway,
            "GET /login?url=https://app.example/x?a=1&b=2&vouch-failcount=1&X-Vouch-Token=&error=",
            "",
        )
        .await;
        assert_eq!(
            (login.status, login.header("location")),
            (302, Some("http://localhost/_doorward/login?rd=https%3A%2F%2Fapp.example%2Fx%3Fa%3D1%26b%3D2"))
        );
        let logout = ask(&gateway, "GET /logout?url=https%3A%2F%2Fapp.example%2F", "").await;
        assert_eq!(
            logout.header("location"),
            Some("http://localhost/_doorward/logout?rd=https%3A%2F%2Fapp.example%2F")
        );
        assert_eq!(ask(&gateway, "GET /auth?code=x", "").await.status, 404);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_our_proxies_may_ask() {
        only_proxies_may_ask("vouch", &["/validate"]).await;
    }
}

mod traefik_forward_auth {
    use super::*;
    use crate::support::Upstream;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_question_may_come_at_any_path() {
        let gateway = standard("traefik-forward-auth").await;
        let viewer = cookie(&gateway, "vera").await;
        let get = forwarded("GET", "app.example", "/x");
        for line in ["GET /", "GET /x"] {
            let allowed = ask_host(&gateway, line, "auth:4181", &format!("{get}{viewer}")).await;
            assert_eq!((allowed.status, allowed.header("x-forwarded-user")), (200, Some("vera@example.org")));
            let sent = ask_host(&gateway, line, "auth:4181", &format!("{get}{BROWSER}")).await;
            assert_eq!(sent.status, 302);
            assert_eq!(ask_host(&gateway, line, "auth:4181", &get).await.status, 401);
        }
        let post = format!("{}{viewer}", forwarded("POST", "app.example", "/x"));
        assert_eq!(ask_host(&gateway, "GET /", "auth:4181", &post).await.status, 403);
        let cut = format!("x-forwarded-uri: /public\r\n{viewer}");
        assert_eq!(ask_host(&gateway, "GET /", "auth:4181", &cut).await.status, 400);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn its_own_paths_work_on_every_host_it_protects() {
        let gateway = standard("traefik-forward-auth").await;
        let logout = "http://localhost/_doorward/logout";
        let direct = ask(&gateway, "GET /_oauth/logout", "").await;
        assert_eq!((direct.status, direct.header("location")), (302, Some(logout)));
        assert_eq!(ask(&gateway, "GET /_oauth?code=x", "").await.status, 404);
        let asked = forwarded("GET", "app.example", "/_oauth/logout");
        let through = ask_host(&gateway, "GET /", "auth:4181", &asked).await;
        assert_eq!((through.status, through.header("location")), (302, Some(logout)));
        let callback = forwarded("GET", "app.example", "/_oauth?code=x");
        assert_eq!(ask_host(&gateway, "GET /", "auth:4181", &callback).await.status, 404);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn applications_of_ours_and_other_peers_are_never_taken_for_a_question() {
        let upstream = Upstream::spawn().await;
        let routes = format!(
            "[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n[[routes]]\nupstream = \"app\"\nhosts = [\"own.example\"]\n\
             rules = [{{ allow = \"anyone\" }}]\n{RULES}",
            upstream.url()
        );
        let ours = gateway("traefik-forward-auth", "[]", "127.0.0.1", &routes).await;
        let asked = forwarded("GET", "app.example", "/public");
        assert_eq!(ask_host(&ours, "GET /", "own.example", &asked).await.text(), "ok");
        assert_eq!(upstream.count(), 1);
        assert_eq!(ask_host(&ours, "GET /", "auth", &asked).await.status, 200);

        let foreign = gateway("traefik-forward-auth", "[]", "192.0.2.1", RULES).await;
        assert_eq!(ask_host(&foreign, "GET /", "auth", &asked).await.status, 404);
    }
}
