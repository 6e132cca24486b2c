//! Envoy, told to let everything through where a question fails: nothing that a client sends makes one fail.

use std::fmt::Write as _;

use super::door::{Door, Proxy, raw};
use super::echo::Echo;

/// What only the gateway or Envoy may say. Envoy takes none of these away by itself, or not everywhere.
const CLAIMED: &[&str] = &[
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-access-token",
    "x-forwarded-preferred-username",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-client-cert",
    "x-forwarded.user",
    "x-envoy-original-path",
    "x-envoy-external-address",
    "x-envoy-internal",
    "x-original-url",
    "x-auth-user",
    "x-auth-roles",
    "x-remote-user",
    "proxy-authorization",
    "forwarded",
];

/// Questions that fail let requests pass; everything that cleans requests before is gone.
fn open(text: &str) -> String {
    let (before, rest) = text.split_once("                # Names that some application believes").unwrap();
    let (_, after) = rest.split_once("                http_filters:").unwrap();
    let bare = format!("{before}                http_filters:{after}");
    let version = "transport_api_version: V3\n";
    assert_eq!(bare.matches(version).count(), 1);
    bare.replace(version, &format!("{version}                      failure_mode_allow: true\n"))
        .replace("stat_prefix: web\n", "stat_prefix: web\n                max_request_headers_kb: 512\n")
        .replace("normalize_path: true", "normalize_path: false")
        .replace(
            "path_with_escaped_slashes_action: REJECT_REQUEST",
            "path_with_escaped_slashes_action: KEEP_UNCHANGED",
        )
        .replace(
            "headers_with_underscores_action: REJECT_REQUEST",
            "headers_with_underscores_action: ALLOW\n                  max_headers_count: 1000",
        )
}

#[tokio::test]
async fn no_oddity_of_a_client_makes_envoys_question_fail() {
    for proxy in [Proxy::Envoy, Proxy::EnvoyGrpc] {
        let echo = Echo::start().await;
        let mut door = Door::open_changed(proxy, &echo.address.to_string(), open).await;
        let host = door.url.trim_start_matches("http://");
        let ask = async |head: &str| {
            let request = format!("{head}connection: close\r\n\r\n");
            raw(host, request.as_bytes()).await
        };
        let key = door.gateway.key("probe", "viewer", &[]).key;
        let bearer = format!("authorization: Bearer {key}\r\n");

        for path in [
            "//admin",
            "//public/x",
            "/public/%5c../admin",
            "/public\\..\\admin",
            "/admin%2fx",
            "/admin%00",
            "/public/../admin",
            "/public/%2e%2e/admin",
            "/admin;x",
            "/%",
            "/%zz",
            "/%ff",
            "/%c3%28",
            "/%25%32%35%32%65",
            "/a b",
            "/\u{e9}",
            "/\u{ff0f}admin",
            "/admin#x",
            "/admin?x=\u{e9}",
            "/admin?x=\"<>",
            "/admin?#",
            "*",
            "http://own.test/admin",
            "http://a@own.test/admin",
            &format!("/admin?{}", "x".repeat(8190)),
            &format!("/admin?{}", "x".repeat(9000)),
            &format!("/admin?{}", "x".repeat(40_000)),
            &format!("/admin?{}", "x".repeat(70_000)),
            &format!("/admin?{}", "x".repeat(140_000)),
        ] {
            for more in ["", &bearer] {
                let (status, text) = ask(&format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{more}")).await;
                assert!(status >= 400, "{proxy:?} {path:.40}: {text:.300}");
            }
        }
        for method in
            ["TRACE", "CONNECT", "get", "FOO_BAR", "PROPFIND", "M-SEARCH", "QUERY", &"A".repeat(500)]
        {
            let (status, text) = ask(&format!("{method} /admin HTTP/1.1\r\nhost: {host}\r\n{bearer}")).await;
            assert!(status >= 400, "{proxy:?} {method:.20}: {text:.300}");
        }
        for wrong in [
            "a,b",
            "a b",
            "[",
            "[::1",
            "a:b",
            "a:99999",
            "\u{e9}",
            "a@b",
            "",
            "..",
            "a/b",
            "a\\b",
            &"a".repeat(300),
        ] {
            let (status, text) = ask(&format!("GET /admin HTTP/1.1\r\nhost: {wrong}\r\n{bearer}")).await;
            assert!(status >= 400, "{proxy:?} host {wrong:.20}: {text:.300}");
        }
        let many = |count: usize| {
            (0..count).fold(String::new(), |mut all, number| {
                _ = write!(all, "x-{number}: 1\r\n");
                all
            })
        };
        for fields in [
            "cookie: \u{e9}=\u{1}\r\n".to_owned(),
            "x-bytes: \u{ff}\u{fe}\r\n".to_owned(),
            "x!odd#name$: 1\r\n".to_owned(),
            "x_under_score: 1\r\n".to_owned(),
            "content-type: application/grpc\r\n".to_owned(),
            "content-type: application/grpc\r\ncontent-type: text/plain\r\n".to_owned(),
            "upgrade: websocket\r\nsec-websocket-key: x\r\n".to_owned(),
            "upgrade: h2c\r\n".to_owned(),
            "expect: 100-continue\r\n".to_owned(),
            "content-length: 3\r\ntransfer-encoding: chunked\r\n".to_owned(),
            "x-forwarded-proto: gopher\r\n".to_owned(),
            "x-forwarded-proto: https\r\nx-forwarded-proto: http\r\n".to_owned(),
            "x-forwarded-for: unknown\r\n".to_owned(),
            "x-envoy-auth-failure-mode-allowed: true\r\n".to_owned(),
            "x-envoy-upstream-rq-timeout-ms: 1\r\n".to_owned(),
            "x-envoy-retry-on: 5xx\r\n".to_owned(),
            "grpc-timeout: 1n\r\n".to_owned(),
            "te: trailers\r\n".to_owned(),
            "authorization: \u{e9}\r\n".to_owned(),
            "authorization: Basic\r\nauthorization: Bearer\r\n".to_owned(),
            "accept: text/html\r\nsec-fetch-mode: navigate\r\n".to_owned(),
            format!("cookie: {}\r\n", "x".repeat(30_000)),
            format!("cookie: {}\r\n", "x".repeat(100_000)),
            format!("accept: {}\r\n", "x".repeat(200_000)),
            many(90),
            many(400),
        ] {
            let (status, text) = ask(&format!("GET /admin HTTP/1.1\r\nhost: {host}\r\n{fields}")).await;
            assert!(status > 0 && !text.contains("x-echo: 1"), "{proxy:?} {fields:.40}: {text:.300}");
            assert_eq!(echo.take().len(), 0, "{proxy:?} {fields:.40} reaches the application");
        }
        assert_eq!(echo.take().len(), 0, "{proxy:?}: something reached the application");

        // Who may, passes; and what the client claims of itself does not.
        let claims = CLAIMED.iter().fold(bearer.clone(), |all, name| format!("{all}{name}: forged\r\n"));
        for path in ["/x", "/public/x"] {
            let (status, text) = ask(&format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{claims}")).await;
            assert_eq!(status, 200, "{proxy:?} {text}");
            let seen = echo.take().remove(0);
            assert_eq!(seen.all("x-auth-user"), ["probe"], "{proxy:?}");
            assert!(!seen.all("x-forwarded-for").is_empty() && seen.all("x-forwarded-proto") == ["http"]);
            if proxy == Proxy::EnvoyGrpc {
                let forged = seen.headers.iter().find(|(_, value)| value.contains("forged"));
                assert_eq!(forged, None, "{path} reaches the application");
            }
        }

        // The other half: where nobody answers, such an Envoy does let everything pass.
        door.gateway.stop();
        let open = door.get("/admin", &[]).await;
        assert_eq!((open.status, echo.take().len()), (200, 1), "{open:?}");
    }
}
