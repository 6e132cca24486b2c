//! FA: questions of other proxies, as a client would twist them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward::model::role::Role;

use crate::support::Gateway;
use crate::support::gateway::bearer;
use crate::support::raw::{Answer, exchange};

/// The flavours that ask by headers, and the one that asks by its own path.
const FLAVOURS: [&str; 5] = ["nginx", "traefik", "caddy", "haproxy", "envoy"];

const ROUTES: &str = r#"
[forward_auth]
flavours = ["nginx", "traefik", "caddy", "haproxy", "envoy"]

[[routes]]
hosts = ["app.example"]
rules = [
  { path = "/public", allow = "anyone" },
  { path = "/admin", allow = "admin" },
  { methods = "read", allow = "viewer" },
  { methods = "write", allow = "member" },
]

[[routes]]
hosts = ["open.example"]
rules = [ { allow = "anyone" } ]
"#;

async fn gateway() -> Gateway {
    Gateway::configured(&format!("[server]\nworkers = 1\ntrusted_proxies = [\"127.0.0.1\"]\n{ROUTES}")).await
}

/// Asks as `flavour` does for a method, host and target, each exactly as given.
async fn ask(gateway: &Gateway, flavour: &str, method: &str, host: &str, uri: &[u8], more: &str) -> Answer {
    let own = gateway.address;
    let mut question = match flavour {
        "nginx" => format!(
            "GET /_doorward/auth/nginx HTTP/1.1\r\nhost: {own}\r\nx-original-method: {method}\r\n{more}\
             x-original-url: https://{host}"
        ),
        "envoy" => format!("{method} /_doorward/auth/envoy"),
        _ => format!(
            "GET /_doorward/auth/{flavour} HTTP/1.1\r\nhost: {own}\r\nx-forwarded-method: {method}\r\n{more}\
             x-forwarded-proto: https\r\nx-forwarded-host: {host}\r\nx-forwarded-uri: "
        ),
    }
    .into_bytes();
    question.extend_from_slice(uri);
    let end = if flavour == "envoy" {
        format!(" HTTP/1.1\r\nhost: {host}\r\nx-forwarded-proto: https\r\ncontent-length: 0\r\n{more}\r\n")
    } else {
        "\r\n\r\n".to_owned()
    };
    question.extend_from_slice(end.as_bytes());
    exchange(own, question).await
}

/// A refusal by gRPC is an HTTP 200, and the client of the proxy chooses the media type.
#[tokio::test(flavor = "multi_thread")]
async fn no_media_type_makes_an_allow_of_a_question_that_cannot_be_read() {
    let gateway = gateway().await;
    let grpc = "content-type: application/grpc\r\n";
    for flavour in FLAVOURS {
        let good = ask(&gateway, flavour, "POST", "app.example", b"/public", grpc).await;
        assert_eq!(good.status, 200, "{flavour}: {}", good.head);
        for uri in [&b"//admin"[..], b"/admin/%2e%2e/x", b"/admin%5cx", b"/%zz", b"*"] {
            let answer = ask(&gateway, flavour, "POST", "app.example", uri, grpc).await;
            assert!(answer.status >= 400, "{flavour} {}: {}", uri.escape_ascii(), answer.head);
        }
        for (method, host) in [("TRACE", "app.example"), ("POST", "app.example,b"), ("POST", "")] {
            let answer = ask(&gateway, flavour, method, host, b"/public", grpc).await;
            assert!(answer.status >= 400, "{flavour} {method} {host}: {}", answer.head);
        }
        let many = format!("{grpc}{}", "x: y\r\n".repeat(99));
        let answer = ask(&gateway, flavour, "POST", "app.example", b"/public", &many).await;
        assert!(answer.status >= 400, "{flavour}: {}", answer.head);
    }
}

/// FA25: a second address in the question, which decides as the first does; a question that lost it.
#[tokio::test(flavor = "multi_thread")]
async fn a_destination_in_a_question_is_decided_too() {
    let gateway = gateway().await;
    let mia = bearer(&gateway.system_key("mia", Role::Member).await);
    for flavour in FLAVOURS {
        for (method, place, expected) in [
            ("COPY", "destination: /b\r\n", 200),
            ("MOVE", "destination: https://app.example/b\r\n", 200),
            ("COPY", "destination: /admin/x\r\n", 403),
            ("MOVE", "destination: https://app.example/%61dmin/x\r\n", 403),
            ("PUT", "destination: /ADMIN/x\r\n", 403),
            ("PUT", "x-amz-copy-source: admin/x\r\n", 403),
            ("COPY", "destination: https://open.example/b\r\n", 400),
            ("COPY", "destination: /b/../admin/x\r\n", 400),
            ("COPY", "destination: /b\r\ndestination: /admin/x\r\n", 400),
            ("COPY", "", 400),
        ] {
            let answer = ask(&gateway, flavour, method, "app.example", b"/x", &format!("{mia}{place}")).await;
            // nginx knows 2xx, 401 and 403 only.
            let expected = if flavour == "nginx" && expected == 400 { 403 } else { expected };
            assert_eq!(answer.status, expected, "{flavour} {method} {place:?}: {}", answer.text());
        }
    }
}

/// FA03: targets that are none.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_none_is_no_question() {
    let gateway = gateway().await;
    let admin = bearer(&gateway.system_key("a", Role::Admin).await);
    let long = format!("/public/{}", "a".repeat(64 * 1024));
    for uri in [
        &b"//admin"[..],
        b"//public/admin",
        b"///",
        b"*",
        b"public",
        b"?x",
        b"#/public",
        b"/public#/../admin",
        b"/%",
        b"/public/%zz",
        b"/public/%u0061",
        b"/public/../admin",
        b"/public/%2e%2e/admin",
        b"/public/..;/admin",
        b"/public\\..\\admin",
        b"/public/%00",
        b"/public/\x01",
        b"/public/\xff",
        b"/public/%ff",
        b"/public /admin",
        long.as_bytes(),
    ] {
        for flavour in FLAVOURS {
            // A request line cannot hold these at all, or `http` cuts them off before anybody looks.
            if flavour == "envoy" && uri.iter().any(|byte| matches!(byte, b'#' | b' ')) {
                continue;
            }
            let answer = ask(&gateway, flavour, "GET", "app.example", uri, &admin).await;
            let shown = String::from_utf8_lossy(&uri[..uri.len().min(40)]).into_owned();
            // What no head may hold ends the connection, and the largest heads may lose their answer.
            assert!(
                (400..500).contains(&answer.status) || answer.status == 0,
                "{flavour} {shown}: {}",
                answer.head
            );
            assert!(!answer.head.to_lowercase().contains("x-auth-user"), "{flavour} {shown}");
        }
    }
    for flavour in ["traefik", "caddy", "haproxy"] {
        for uri in ["https://app.example/public", "http://evil.example/public", "app.example/public", ""] {
            let answer = ask(&gateway, flavour, "GET", "app.example", uri.as_bytes(), &admin).await;
            assert_eq!(answer.status, 400, "{flavour} {uri}");
        }
    }
}

/// FA07: methods that are none.
#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_is_none_is_denied() {
    let gateway = gateway().await;
    let viewer = bearer(&gateway.system_key("v", Role::Viewer).await);
    for flavour in FLAVOURS {
        for method in ["get", "Get", "delete", "TRACE", "TRACK", "CONNECT", "JEFF", "GET,POST", "G(T"] {
            if flavour == "envoy" && method.contains(['(', ',']) {
                continue; // no request line
            }
            let answer = ask(&gateway, flavour, method, "app.example", b"/data", &viewer).await;
            assert!((400..500).contains(&answer.status), "{flavour} {method}: {}", answer.status);
        }
        if flavour != "envoy" {
            let empty = ask(&gateway, flavour, "", "app.example", b"/public", &viewer).await;
            assert!(matches!(empty.status, 400 | 403), "{flavour}: {}", empty.status);
        }
        let allowed = ask(&gateway, flavour, "GET", "app.example", b"/data", &viewer).await;
        assert_eq!(allowed.status, 200, "{flavour}");
    }
}

/// FA09: a guarded host in other spellings, where another is open.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_in_another_spelling_is_that_host() {
    let gateway = gateway().await;
    for flavour in FLAVOURS {
        for host in ["app.example", "APP.Example", "app.example.", "app.example:443", "App.Example.:8443"] {
            let answer = ask(&gateway, flavour, "GET", host, b"/data", "").await;
            assert_eq!(answer.status, 401, "{flavour} {host}");
        }
        for host in ["open.example@app.example", "app.example, open.example", "a b", "[::1", ""] {
            let answer = ask(&gateway, flavour, "GET", host, b"/admin", "").await;
            assert!((400..500).contains(&answer.status), "{flavour} {host:?}: {}", answer.status);
        }
        assert_eq!(ask(&gateway, flavour, "GET", "open.example", b"/x", "").await.status, 200, "{flavour}");
    }
}

/// FA11: what health checks of other products are let through for.
#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_is_a_stranger_like_any_other() {
    let gateway = gateway().await;
    for flavour in FLAVOURS {
        for agent in ["kube-probe/1.30", "GoogleHC/1.0", "ELB-HealthChecker/2.0", "Envoy/HC", "Prometheus/2"]
        {
            for path in
                ["/data", "/ping", "/healthz", "/readyz", "/ready", "/_health", "/favicon.ico", "/robots.txt"]
            {
                let more = format!("user-agent: {agent}\r\n");
                let answer = ask(&gateway, flavour, "GET", "app.example", path.as_bytes(), &more).await;
                assert_eq!(answer.status, 401, "{flavour} {agent} {path}");
            }
        }
    }
}

/// FA19: bytes in headers that are no text.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text_make_no_allow() {
    let gateway = gateway().await;
    for flavour in FLAVOURS {
        for line in [
            &b"authorization: Bearer \xff\xfe"[..],
            b"x-api-key: \xff",
            b"cookie: doorward=\xff",
            b"cookie: \xff=1; doorward=x",
        ] {
            let mut question = format!("GET /_doorward/auth/{flavour}").into_bytes();
            let rest = match flavour {
                "nginx" => "x-original-method: GET\r\nx-original-url: https://app.example/data\r\n",
                "envoy" => "x-forwarded-proto: https\r\n",
                _ => {
                    "x-forwarded-method: GET\r\nx-forwarded-proto: https\r\nx-forwarded-host: app.example\r\n\
                      x-forwarded-uri: /data\r\n"
                }
            };
            let path = if flavour == "envoy" { "/data" } else { "" };
            question.extend_from_slice(format!("{path} HTTP/1.1\r\nhost: app.example\r\n{rest}").as_bytes());
            question.extend_from_slice(line);
            question.extend_from_slice(b"\r\n\r\n");
            let answer = exchange(gateway.address, question).await;
            assert_eq!(answer.status, 401, "{flavour} {}", line.escape_ascii());
        }
    }
}

/// FA23: where a refusal sends a browser.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_leads_to_our_own_page_only() {
    let gateway = gateway().await;
    let page = "accept: text/html\r\nsec-fetch-mode: navigate\r\n";
    for flavour in FLAVOURS {
        for (host, uri) in [
            ("app.example", "/x?rd=https://evil.example"),
            ("app.example", "/%5C%5Cevil"),
            ("app.example:443", "/.evil.example"),
            ("evil.example", "/x"),
        ] {
            let more =
                format!("{page}x-forwarded-prefix: //evil.example\r\nreferer: https://evil.example/\r\n");
            let answer = ask(&gateway, flavour, "GET", host, uri.as_bytes(), &more).await;
            assert!((300..500).contains(&answer.status), "{flavour} {host}{uri}: {}", answer.status);
            let Some(location) = answer.header("location") else { continue };
            let to = url::Url::parse(location).unwrap();
            assert_eq!(
                (to.host_str(), to.path()),
                (Some("localhost"), "/_doorward/login"),
                "{flavour} {location}"
            );
            let back = to.query_pairs().find(|(name, _)| name == "rd").map(|(_, value)| value.into_owned());
            let back = url::Url::parse(&back.unwrap()).unwrap();
            assert_eq!(back.host_str(), Some("app.example"), "{flavour} {location}");
        }
    }
}

/// FA24: a browser that fetches ahead, with the cookie.
#[tokio::test(flavor = "multi_thread")]
async fn asking_ahead_changes_nothing() {
    let gateway = gateway().await;
    gateway.user("vera", Role::Viewer).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
    for ahead in ["purpose: prefetch\r\n", "sec-purpose: prefetch;prerender\r\n", "x-moz: prefetch\r\n", ""] {
        for flavour in FLAVOURS {
            for method in ["GET", "HEAD"] {
                let more = format!("{cookie}{ahead}");
                let answer = ask(&gateway, flavour, method, "app.example", b"/data", &more).await;
                assert_eq!(answer.status, 200, "{flavour} {ahead}");
                assert!(answer.headers("set-cookie").is_empty(), "{flavour}: {}", answer.head);
            }
        }
        for page in ["/_doorward/logout", "/_doorward/login", "/_doorward/password"] {
            gateway.get(page, &format!("{cookie}{ahead}")).await;
        }
    }
    let answer = ask(&gateway, "traefik", "GET", "app.example", b"/data", &cookie).await;
    assert_eq!(answer.status, 200, "still signed in");
}

/// Names that an application may read as ours, as a credential or as a fact, which a proxy hands on as they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_in_disguise_is_no_allow() {
    let gateway = gateway().await;
    let key = gateway.system_key("ci", Role::Viewer).await;
    let known = format!("authorization: Bearer {key}\r\n");
    for flavour in FLAVOURS {
        for (host, credential) in [("app.example", known.as_str()), ("open.example", "")] {
            for line in ["", "x_tenant: a", "x-auth-token: theirs", &format!("referer: https://x/?{key}")] {
                let more =
                    if line.is_empty() { credential.to_owned() } else { format!("{credential}{line}\r\n") };
                let answer = ask(&gateway, flavour, "GET", host, b"/data", &more).await;
                assert_eq!(answer.status, 200, "{flavour} {host} {line}: {}", answer.head);
            }
            for (line, code) in [
                ("x_auth_user: root", "odd-header"),
                ("X.Forwarded_Groups: ops", "odd-header"),
                ("content_type: application/json", "odd-header"),
                ("transfer_encoding: chunked", "odd-header"),
                ("SCRIPT_NAME: /public", "odd-header"),
                (&format!("x_api_key: {key}"), "odd-header"),
                (&format!("x-auth-token: {key}"), "misplaced-key"),
                (&format!("private-token: token {key}"), "misplaced-key"),
            ] {
                let more = format!("{credential}{line}\r\n");
                let answer = ask(&gateway, flavour, "GET", host, b"/data", &more).await;
                let wanted = match (code, flavour) {
                    ("misplaced-key", _) => 401,
                    (_, "nginx") => 403,
                    _ => 400,
                };
                assert_eq!(answer.status, wanted, "{flavour} {host} {line}: {}", answer.head);
                assert_eq!(
                    answer.problem().as_deref(),
                    Some(code),
                    "{flavour} {host} {line}: {}",
                    answer.text()
                );
            }
        }
    }
}

const IMPORTED: &str = "imported-5f8ae0c1d2b34f6798a0";
const GLASS: &str = "Kd0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5PcZr8+/=";

/// Hosts that leave foreign credentials to their application, each in its way.
const LEAVING: &str = r#"
[server]
workers = 1
trusted_proxies = ["127.0.0.1"]
[forward_auth]
flavours = ["nginx", "traefik", "caddy", "haproxy", "envoy"]
[[keys.imported]]
name = "old"
ring = '[{ "name": "grafana", "key": "IMPORTED" }]'
role = "viewer"
[[break_glass]]
name = "on-call"
token = "GLASS"
role = "viewer"
[[routes]]
hosts = ["plain.example"]
rules = [ { path = "/open", allow = "anyone" }, { allow = "viewer" } ]
[[routes]]
hosts = ["left.example"]
pass_authorization = true
pass_api_key = true
rules = [ { path = "/open", allow = "anyone" }, { allow = "viewer" } ]
[[routes]]
hosts = ["key-left.example"]
pass_api_key = true
rules = [ { path = "/open", allow = "anyone" }, { allow = "viewer" } ]
[[routes]]
hosts = ["hook.example"]
foreign_credentials = "pass"
rules = [ { path = "/open", allow = "anyone" }, { allow = "viewer" } ]
[[routes]]
hosts = ["drop.example"]
foreign_credentials = "drop"
rules = [ { path = "/open", allow = "anyone" }, { allow = "viewer" } ]
[[routes]]
hosts = ["other.example"]
key_headers = "X-Token"
rules = [ { path = "/open", allow = "anyone" }, { allow = "viewer" } ]
"#;

const HOSTS: [&str; 6] =
    ["plain.example", "left.example", "key-left.example", "hook.example", "drop.example", "other.example"];

async fn leaving() -> Gateway {
    Gateway::configured(&LEAVING.replace("IMPORTED", IMPORTED).replace("GLASS", GLASS)).await
}

/// FA29: what is ours, in every form and place, where credentials of other systems pass.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_ours_stands_in_an_answer_whatever_is_left_to_the_application() {
    let gateway = leaving().await;
    let key = gateway.system_key("k", Role::Viewer).await;
    for own in [key.as_str(), IMPORTED, GLASS] {
        let encoded = STANDARD.encode(format!("x:{own}"));
        for (form, good) in [
            (format!("x-api-key: {own}\r\n"), true),
            (format!("X-API-KEY:{own} \r\n"), true),
            (bearer(own), true),
            (format!("x-api-key: {own}\r\nx-api-key: theirs\r\n"), false),
            (format!("x-api-key: theirs\r\nx-api-key: {own}\r\n"), false),
            (format!("x-api-key: \"{own}\"\r\n"), false),
            (format!("x-api-key: {own},theirs\r\n"), false),
            (format!("x-api-key: key={own}\r\n"), false),
            (format!("authorization: {own}\r\n"), false),
            (format!("authorization: Bearer theirs,{own}\r\n"), false),
            (format!("authorization: Basic {encoded}\r\n"), false),
            (format!("authorization: Token {own}\r\nx-api-key: theirs\r\n"), false),
            (format!("x-token: {own}\r\n"), false),
        ] {
            for host in HOSTS {
                for path in [&b"/open"[..], b"/data"] {
                    for flavour in FLAVOURS {
                        let answer = ask(&gateway, flavour, "GET", host, path, &form).await;
                        let told = format!("{flavour} {host} {form}: {}", answer.head);
                        assert!(!answer.head.contains(own) && !answer.head.contains(&encoded), "{told}");
                        let elsewhere = host == "other.example" && !form.starts_with("auth");
                        assert!(!good || elsewhere || answer.status == 200, "{told}");
                        // Whatever stands in one of these is sent on as it is.
                        for name in ["authorization", "x-api-key", "x-token"] {
                            let left = answer.header(name).filter(|_| answer.status == 200);
                            assert!(left.is_none_or(|left| left == "theirs"), "{told}");
                        }
                    }
                }
            }
        }
    }
}

/// FA30: a credential of another system where no setting leaves it to the application.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_credential_passes_by_a_question_only_where_that_is_said() {
    let gateway = leaving().await;
    let own = bearer(&gateway.system_key("k", Role::Viewer).await);
    for (host, open, beside_ours) in [
        // What is left of a foreign bearer and of a foreign key where anyone may pass, and of such a key beside ours.
        ("plain.example", [None, None], None),
        ("left.example", [Some(Some("Bearer theirs")), Some(Some("theirs"))], Some(Some("theirs"))),
        ("key-left.example", [None, Some(Some("theirs"))], Some(Some("theirs"))),
        ("hook.example", [Some(Some("Bearer theirs")), Some(Some("theirs"))], None),
        ("drop.example", [Some(None), Some(None)], None),
        ("other.example", [None, Some(Some("theirs"))], Some(Some("theirs"))),
    ] {
        for flavour in FLAVOURS {
            let (foreign, foreign_key) = ("authorization: Bearer theirs\r\n", "x-api-key: theirs\r\n");
            let both = format!("{own}{foreign_key}");
            for (name, path, headers, expected) in [
                ("authorization", &b"/open"[..], foreign, open[0]),
                ("x-api-key", b"/open", foreign_key, open[1]),
                ("x-api-key", b"/data", &both, beside_ours),
            ] {
                let answer = ask(&gateway, flavour, "GET", host, path, headers).await;
                let told = format!("{flavour} {host} {headers}: {}", answer.head);
                assert_eq!(answer.status, if expected.is_some() { 200 } else { 401 }, "{told}");
                assert!(expected.is_none_or(|left| answer.header(name) == left), "{told}");
            }
            // Nobody becomes anybody by it.
            for headers in [foreign, foreign_key] {
                let answer = ask(&gateway, flavour, "GET", host, b"/data", headers).await;
                assert_eq!(answer.status, 401, "{flavour} {host} {headers}");
            }
        }
    }
}
