//! What answers to other proxies' questions hold beside the identity, how large they get, and what is told of them.

use http::{Request, Version};
use http_body_util::{BodyExt as _, Full};

use doorward::model::role::Role;

use crate::forward_auth::{FLAVOURS, ask};
use crate::grpc::message;
use crate::support::gateway::bearer;
use crate::support::hyper::http2;
use crate::support::{Gateway, Upstream, wait_for, within};

const SETTINGS: &str = r#"
[server]
workers = 1
trusted_proxies = ["127.0.0.1"]
[forward_auth]
flavours = ["nginx", "traefik", "caddy", "haproxy", "envoy"]
PASS
[[routes]]
hosts = ["app.example"]
rules = [ { path = "/public", allow = "anyone" }, { allow = "viewer" } ]
"#;

/// nginx with this holds forty kilobytes of an answer.
const ROOM: &str = "x-doorward-answer-bytes: 40960\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_allow_says_what_is_left_of_the_credentials() {
    let gateway = Gateway::configured(&SETTINGS.replace("PASS", "pass_authorization = true")).await;
    gateway.user("vera", Role::Viewer).await;
    let session = gateway.sign_in("vera").await;
    let key = gateway.system_key("k", Role::Viewer).await;
    let name = session.split('=').next().unwrap();
    let own = format!("cookie: {session}; {name}-device=d\r\n");
    let mixed = format!("cookie: a=1; {session}; b=\"2 3\"; {name}-bounces=x\r\n");
    let theirs = "authorization: Basic dGhlbTpzZWNyZXQ=\r\n";
    let left = "Basic dGhlbTpzZWNyZXQ=";
    for flavour in FLAVOURS {
        for (sent, cookie, authorization) in [
            (own.clone(), None, None),
            (mixed.clone(), Some("a=1; b=\"2 3\""), None),
            (format!("{mixed}{theirs}"), Some("a=1; b=\"2 3\""), Some(left)),
            (format!("cookie: a=1\r\n{}", bearer(&key)), Some("a=1"), None),
            (format!("x-api-key: {key}\r\n{theirs}"), None, Some(left)),
        ] {
            let room = if flavour == "nginx" { ROOM } else { "" };
            let answer = ask(&gateway, flavour, "GET /data", &format!("{room}{sent}")).await;
            assert_eq!(answer.status, 200, "{flavour} {}", answer.text());
            assert_eq!(answer.header("cookie"), cookie, "{flavour}");
            assert_eq!(answer.header("authorization"), authorization, "{flavour}");
            assert_eq!(answer.header("x-api-key"), None, "{flavour}");
            let removed = answer.header("x-envoy-auth-headers-to-remove").unwrap_or_default();
            let mut removed: Vec<_> = removed.split(',').filter(|name| !name.is_empty()).collect();
            removed.sort_unstable();
            let mut expected = Vec::new();
            if flavour == "envoy" {
                expected.extend(
                    (sent.contains("uthorization: ") && authorization.is_none()).then_some("authorization"),
                );
                expected.extend((sent.contains("cookie: ") && cookie.is_none()).then_some("cookie"));
                expected.extend(sent.contains("x-api-key: ").then_some("x-api-key"));
            }
            assert_eq!(removed, expected, "{flavour} {}", answer.head);
        }
    }
    // An nginx that has not said so takes no cookies from an answer, and has no room for them.
    let answer = ask(&gateway, "nginx", "GET /data", &format!("{mixed}{theirs}")).await;
    assert_eq!((answer.header("cookie"), answer.header("authorization")), (None, Some(left)));
    let long = format!("authorization: Basic {}\r\n{mixed}", "x".repeat(5000));
    let answer = ask(&gateway, "nginx", "GET /data", &long).await;
    assert_eq!((answer.status, answer.header("authorization")), (200, None));
    assert!(answer.head.len() < 4096);
    let short = format!("x-doorward-answer-bytes: 2000\r\n{long}");
    assert_eq!(ask(&gateway, "nginx", "GET /data", &short).await.status, 403, "never cut");
}

/// The upstream's setting where a route has one, and the section's where it has none.
#[tokio::test(flavor = "multi_thread")]
async fn which_authorization_is_left_is_one_setting_for_both_edges() {
    for (general, own) in [(false, true), (true, false)] {
        let upstream = Upstream::spawn().await;
        let text = format!(
            "{}\n[[upstreams]]\nname = \"app\"\nurl = \"http://{}\"\npass_authorization = {own}\n\
             [[routes]]\nhosts = [\"own.example\"]\nupstream = \"app\"\nrules = [ {{ allow = \"anyone\" }} ]\n",
            SETTINGS.replace("PASS", &format!("pass_authorization = {general}")),
            upstream.address
        );
        let gateway = Gateway::configured(&text).await;
        let theirs = "authorization: Bearer theirs\r\n";
        let expected = if own { 200 } else { 401 };
        let question = format!(
            "GET /_doorward/auth/traefik HTTP/1.1\r\nhost: x\r\nx-forwarded-method: GET\r\nx-forwarded-proto: http\r\n\
             x-forwarded-host: own.example\r\nx-forwarded-uri: /x\r\n{theirs}\r\n"
        );
        let asked = crate::support::raw::exchange(gateway.address, question).await;
        assert_eq!(asked.status, expected);
        assert_eq!(asked.header("authorization"), own.then_some("Bearer theirs"));
        let proxied = format!("GET /x HTTP/1.1\r\nhost: own.example\r\nconnection: close\r\n{theirs}\r\n");
        assert_eq!(crate::support::raw::exchange(gateway.address, proxied).await.status, expected);
        let elsewhere = ask(&gateway, "traefik", "GET /public", theirs).await;
        assert_eq!(elsewhere.status, if general { 200 } else { 401 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_outgrows_what_nginx_holds_and_the_way_back_is_whole_where_it_fits() {
    let gateway = Gateway::configured(&SETTINGS.replace("PASS", "")).await;
    let browser = "accept: text/html\r\n";
    for (bytes, fits) in [(10, true), (2400, true), (4096, false), (8000, false), (8192, false)] {
        let path = format!("/{}?q=a%26b", "x".repeat(bytes - 9));
        let back: String =
            url::form_urlencoded::byte_serialize(format!("https://app.example{path}").as_bytes()).collect();
        let whole =
            |location: Option<&str>| location.is_some_and(|it| it.ends_with(&format!("/login?rd={back}")));
        let answer = ask(&gateway, "nginx", &format!("GET {path}"), browser).await;
        assert_eq!(answer.status, 401);
        assert!(answer.head.len() < 4096, "{bytes}: {}", answer.head.len());
        assert_eq!(whole(answer.header("location")), fits, "{bytes}");
        assert!(answer.header("location").is_some_and(|it| it.contains("/_doorward/login")), "{bytes}");
        for flavour in FLAVOURS {
            let more = format!("{browser}{}", if flavour == "nginx" { ROOM } else { "" });
            let answer = ask(&gateway, flavour, &format!("GET {path}"), &more).await;
            assert!(whole(answer.header("location")), "{flavour} {bytes}: {}", answer.head);
        }
    }
    let beyond = ask(&gateway, "traefik", &format!("GET /{}", "x".repeat(8192)), "").await;
    assert_eq!((beyond.status, beyond.problem().as_deref()), (414, Some("uri-too-long")));
}

/// The event names the rule that decided, otherwise the code; and so it does where the request itself comes here.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_by_the_same_reason_on_both_edges() {
    let gateway = Gateway::configured(&SETTINGS.replace("PASS", "")).await;
    let wrong = bearer("dw_s_mistyped");
    for (request, more, reason) in [
        ("GET /data", wrong.as_str(), "invalid-key"),
        ("GET /data", "authorization: Bearer eyJ\r\n", "invalid-token"),
        ("GET /data", "authorization: Basic eDp5\r\n", "unsupported-scheme"),
        ("GET /data", "authorization: Bearer dw_s_a\r\nx-api-key: dw_s_b\r\n", "several-credentials"),
        ("GET //admin", "", "bad-target"),
        ("GET /a%5cb", "", "bad-target"),
        ("TRACE /data", "", "method-not-allowed"),
    ] {
        for flavour in FLAVOURS {
            if (flavour, request) == ("envoy", "GET //admin") {
                continue;
            }
            let answer = ask(&gateway, flavour, request, more).await;
            assert!((400..500).contains(&answer.status), "{flavour} {request}");
            assert_eq!(told(&gateway, "auth", &answer).await, reason, "{flavour} {request} {more}");
        }
        let request = format!("{request} HTTP/1.1\r\nhost: app.example\r\nconnection: close\r\n{more}\r\n");
        let answer = crate::support::raw::exchange(gateway.address, request).await;
        let proxied = told(&gateway, "proxy", &answer).await;
        // No upstream is behind the route; whatever was refused before that is told by the same word.
        assert!(proxied == reason || proxied == "no-route", "{proxied} is not {reason}");
    }
}

/// What the access event of an answer names, once it is written.
async fn told(gateway: &Gateway, edge: &str, answer: &crate::support::raw::Answer) -> String {
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let id = problem["request_id"].as_str().unwrap().to_owned();
    wait_for(edge, async || {
        let events = gateway.ledger.events();
        let event = events.iter().find(|event| event["request.id"] == id.as_str())?;
        Some(event["rule"].as_str().unwrap_or_default().to_owned())
    })
    .await
}

/// Envoy may be told to make an allow of an error of gRPC.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_by_grpc_is_a_refusal_and_no_error() {
    let huge = "x".repeat(200 * 1024);
    for (trusted, body) in [("127.0.0.1", "no message"), ("127.0.0.1", huge.as_str()), ("192.0.2.1", "")] {
        let settings = SETTINGS.replace("PASS", "").replace("[\"127.0.0.1\"]", &format!("[\"{trusted}\"]"));
        let gateway = Gateway::configured(&settings).await;
        let mut client = http2(gateway.address).await;
        let call = Request::post("http://doorward/envoy.service.auth.v3.Authorization/Check")
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(message(body)))
            .unwrap();
        let answer = within("an answer", client.send_request(call)).await.unwrap();
        assert_eq!(answer.status(), 200);
        let body = within("its body", answer.into_body().collect()).await.unwrap();
        assert_eq!(body.trailers().unwrap()["grpc-status"], "0", "{trusted}");
        let frame = body.to_bytes();
        // `status` is `PERMISSION_DENIED`, then comes `denied_response`, and nothing else could.
        assert_eq!(frame[5..10], [0x0a, 2, 8, 7, 0x12], "{trusted}: {frame:?}");
    }
}
