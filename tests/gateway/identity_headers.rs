//! Nobody but the gateway says who is calling, under whatever name, spelling or protocol.

use std::net::SocketAddr;

use bytes::Bytes;
use doorward::model::role::Role;
use http::{HeaderName, HeaderValue, Request};

use crate::credentials::ROUTES;
use crate::support::gateway::bearer;
use crate::support::oracle::{Claims, fold};
use crate::support::raw::{read_answer, until_closed};
use crate::support::{Gateway, Upstream, Watch, http2};

const STANDARD: Claims<'static> = &[
    ("x-auth-user", "mel"),
    ("x-auth-subject", "*"),
    ("x-auth-email", "mel@example.org"),
    ("x-auth-role", "member"),
];

/// Each preset with what it says of `mel`, a member with an address and neither groups nor another name.
const PRESETS: [(&str, Claims<'static>); 5] = [
    ("standard", STANDARD),
    (
        "oauth2-proxy",
        &[
            ("x-forwarded-user", "mel"),
            ("x-forwarded-preferred-username", "mel"),
            ("x-forwarded-email", "mel@example.org"),
            ("x-auth-request-user", "mel"),
            ("x-auth-request-preferred-username", "mel"),
            ("x-auth-request-email", "mel@example.org"),
        ],
    ),
    ("authelia", &[("remote-user", "mel"), ("remote-email", "mel@example.org")]),
    (
        "grafana",
        &[("x-webauth-user", "mel"), ("x-webauth-email", "mel@example.org"), ("x-webauth-role", "Editor")],
    ),
    ("none", &[]),
];

/// Everything any preset sets, and what other products take for the caller or the target.
const NAMES: &[&str] = &[
    "X-Auth-User",
    "X-Auth-Subject",
    "X-Auth-Name",
    "X-Auth-Email",
    "X-Auth-Groups",
    "X-Auth-Role",
    "X-Forwarded-User",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Access-Token",
    "X-Forwarded-Prefix",
    "X-Forwarded-Path",
    "X-Forwarded-Port",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Uri",
    "X-Forwarded-Method",
    "Forwarded",
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Auth-Request-Groups",
    "X-Auth-Request-Preferred-Username",
    "X-Auth-Request-Access-Token",
    "Remote-User",
    "Remote-Name",
    "Remote-Email",
    "Remote-Groups",
    "X-WEBAUTH-USER",
    "X-Webauth-Name",
    "X-Webauth-Email",
    "X-Webauth-Groups",
    "X-Webauth-Role",
    "X-Authentik-Username",
    "X-MS-CLIENT-PRINCIPAL",
    "X-Ms-Client-Principal-Name",
    "X-JWT-Assertion",
    "X-Goog-Authenticated-User-Email",
    "X-Amzn-Oidc-Identity",
    "Cf-Access-Authenticated-User-Email",
    "X-Real-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Client-IP",
    "X-Original-URL",
    "X-Original-Uri",
    "X-Rewrite-URL",
    "X-Envoy-Original-Path",
    "X-Middleware-Subrequest",
    "X-Http-Method-Override",
    "X-Doorward-User",
    "Proxy-Authorization",
];

/// Characters that a header name may hold beside letters and digits (RFC 9110, 5.6.2).
const SEPARATORS: &str = "-_.~!#$%&'*+^`|";

async fn gateway_with(upstream: &Upstream, preset: &str) -> Gateway {
    Gateway::configured(&format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"{}\"\nheaders = \"{preset}\"\n{ROUTES}",
        upstream.url()
    ))
    .await
}

/// The name with each of its separators replaced, and mixed; half of them with every other letter turned.
fn spellings(name: &str) -> Vec<String> {
    let mut spelled: Vec<String> =
        SEPARATORS.chars().map(|separator| name.replace('-', &separator.to_string())).collect();
    let mut turn = 0;
    spelled.push(
        name.chars()
            .map(|c| {
                if c == '-' {
                    turn += 1;
                    if turn % 2 == 0 { '.' } else { '_' }
                } else {
                    c
                }
            })
            .collect(),
    );
    for (at, text) in spelled.iter_mut().enumerate().filter(|(at, _)| at % 2 == 1) {
        *text = text
            .char_indices()
            .map(|(i, c)| if (i + at) % 2 == 0 { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
            .collect();
    }
    spelled
}

/// Sends a batch of header lines and checks what the upstream was told.
async fn attack(
    gateway: &Gateway,
    upstream: &Upstream,
    path: &str,
    who: &str,
    lines: &str,
    claims: Claims<'_>,
) {
    let watch = Watch::begin(gateway, upstream);
    let attack = format!("{path} with\n{lines}");
    let answer = gateway.get(path, &format!("{who}{lines}")).await;
    assert_eq!(answer.status, 200, "{attack}\n{}", answer.head);
    watch.reached(&attack, &[&format!("GET {path}")], claims).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_any_identity_header_passes_with_any_preset() {
    let upstream = Upstream::spawn().await;
    for (preset, claims) in PRESETS {
        let gateway = gateway_with(&upstream, preset).await;
        gateway.user("mel", Role::Member).await;
        let mel = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
        let spelled: Vec<String> = NAMES.iter().flat_map(|name| spellings(name)).collect();
        for batch in spelled.chunks(80) {
            let lines: String = batch.iter().map(|name| format!("{name}: root\r\n")).collect();
            attack(&gateway, &upstream, "/public/x", "", &lines, &[]).await;
            attack(&gateway, &upstream, "/public/x", &mel, &lines, claims).await;
            attack(&gateway, &upstream, "/data", &mel, &lines, claims).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_passes_over_http2() {
    let upstream = Upstream::spawn().await;
    for (preset, claims) in PRESETS {
        let gateway = gateway_with(&upstream, preset).await;
        gateway.user("mel", Role::Member).await;
        let mel = gateway.sign_in("mel").await;
        let spelled: Vec<String> = NAMES.iter().flat_map(|name| spellings(name)).collect();
        for batch in spelled.chunks(80) {
            for (path, cookie, claims) in [("/public/x", "", &[][..]), ("/data", mel.as_str(), claims)] {
                let watch = Watch::begin(&gateway, &upstream);
                let mut request =
                    Request::get(format!("http://{}{path}", gateway.address)).body(Bytes::new()).unwrap();
                for name in batch {
                    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                    request.headers_mut().append(name, HeaderValue::from_static("root"));
                }
                if !cookie.is_empty() {
                    // In crumbs, as browsers send them.
                    for crumb in ["a=1", cookie, "b=2"] {
                        request.headers_mut().append("cookie", HeaderValue::from_str(crumb).unwrap());
                    }
                }
                let (status, ..) = http2::request(gateway.address, request).await;
                assert_eq!(status, 200);
                if !cookie.is_empty() {
                    assert_eq!(upstream.last().header("cookie"), Some("a=1; b=2"), "crumbs are joined");
                }
                watch
                    .reached(&format!("h2 {preset} {path} {batch:?}"), &[&format!("GET {path}")], claims)
                    .await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_empty_and_listed_values_leave_exactly_our_line() {
    let upstream = Upstream::spawn().await;
    for (preset, claims) in PRESETS {
        let gateway = gateway_with(&upstream, preset).await;
        gateway.user("mel", Role::Member).await;
        let mel = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
        for name in ["X-Auth-User", "x-forwarded-user", "REMOTE-USER", "X-Webauth-Role", "X-Auth-Groups"] {
            for lines in [
                format!("{name}: root\r\n{name}: mel\r\n"),
                format!("{name}:\r\n{name}: root\r\n"),
                format!("{name}: mel, root\r\n"),
                format!("{name}: \r\n"),
                format!("{name}: root\r\n{}: root\r\n", fold(name)),
                format!("{}: root\r\n{name}: root\r\n{}: root\r\n", name.to_uppercase(), name.to_lowercase()),
            ] {
                attack(&gateway, &upstream, "/public/x", "", &lines, &[]).await;
                attack(&gateway, &upstream, "/data", &mel, &lines, claims).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_cannot_take_our_headers_away() {
    let upstream = Upstream::spawn().await;
    for (preset, claims) in PRESETS {
        let gateway = gateway_with(&upstream, preset).await;
        gateway.user("mel", Role::Member).await;
        let mel = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
        let named: Vec<&str> = claims.iter().map(|(name, _)| *name).collect();
        for name in
            named.iter().chain(&["x-forwarded-for", "x-forwarded-host", "forwarded", "host", "cookie"])
        {
            let is_ours = named.contains(name);
            for lines in [
                format!("connection: {name}\r\n"),
                format!("CONNECTION: {}\r\n", name.to_uppercase()),
                format!("connection: keep-alive, {name}, {}\r\n", fold(name)),
                format!(
                    "connection: close,\t{name} ,,\r\n{}: root\r\n",
                    if is_ours { *name } else { "x-auth-role" }
                ),
                format!("connection: keep-alive\r\nconnection: {name}\r\nproxy-connection: {name}\r\n"),
            ] {
                attack(&gateway, &upstream, "/data", &mel, &lines, claims).await;
            }
            // As part of a switch of protocols, which the upstream declines.
            let upgrade = format!(
                "origin: http://{}\r\nconnection: Upgrade, {name}\r\nupgrade: custom\r\n",
                gateway.address
            );
            attack(&gateway, &upstream, "/data", &mel, &upgrade, claims).await;
        }
        let plain = "connection: close, x-private-hop\r\nx-private-hop: 1\r\nx-other: 2\r\n";
        attack(&gateway, &upstream, "/data", &mel, plain, claims).await;
        let sent = &upstream.requests()[upstream.count() - 2];
        assert_eq!((sent.header("x-private-hop"), sent.header("x-other")), (None, Some("2")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_carry_neither_identity_nor_credentials() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let mel = gateway.sign_in("mel").await;
    let trailers = "Authorization: Bearer x\r\nX-Forwarded-User: root\r\nx_auth_user: root\r\n\
                    X-Auth-User: root\r\nContent-Length: 3\r\nHost: evil\r\nCookie: a=1\r\nX-Api-Key: y\r\n";
    let watch = Watch::begin(&gateway, &upstream);
    let names = "authorization, x-forwarded-user, x_auth_user, x-auth-user, content-length, host, cookie";
    let answer = crate::support::exchange(
        gateway.address,
        format!(
            "POST /data HTTP/1.1\r\nhost: {}\r\ncookie: {mel}\r\ntransfer-encoding: chunked\r\n\
             trailer: {names}\r\n\r\n4\r\nbody\r\n0\r\n{trailers}\r\n",
            gateway.address
        ),
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    let sent = upstream.last();
    assert_eq!(String::from_utf8_lossy(&sent.body), "body", "nothing follows the last chunk");
    assert_eq!(sent.header("trailer"), None);
    watch.reached("trailers", &["POST /data"], STANDARD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_credentials_stay_here_and_other_cookies_keep_their_bytes() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let session = gateway.sign_in("mel").await;
    let key = gateway.system_key("ci", Role::Member).await;
    let as_key: Claims<'_> = &[("x-auth-user", "ci"), ("x-auth-subject", "*"), ("x-auth-role", "member")];

    for (cookies, left) in [
        (format!("a=1; {session}; b=\"x y\"; c==;d; =e;f"), Some("a=1; b=\"x y\"; c==;d; =e;f")),
        (format!("{session}; a=1"), Some("a=1")),
        (format!("a=1;{session};b=2"), Some("a=1;b=2")),
        (session.clone(), None),
        (format!("{session}; doorward-device=abc; z=\u{fc}"), Some("z=\u{fc}")),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        let answer =
            gateway.get("/data", &format!("cookie: {cookies}\r\nproxy-authorization: Basic eDp5\r\n")).await;
        assert_eq!(answer.status, 200, "{cookies}");
        assert_eq!(upstream.last().header("cookie"), left, "{cookies}");
        watch.reached(&cookies, &["GET /data"], STANDARD).await;
    }
    for header in [
        bearer(&key),
        format!("authorization: bEARER  {key}\r\n"),
        format!("x-api-key: {key}\r\n"),
        format!("{}x-api-key: {key}\r\n", bearer(&key)),
        format!("{}cookie: {session}\r\n", bearer(&key)),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        assert_eq!(gateway.get("/data", &header).await.status, 200, "{header}");
        let sent = upstream.last();
        assert_eq!((sent.header("authorization"), sent.header("x-api-key")), (None, None), "{header}");
        watch.reached(&header, &["GET /data"], as_key).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_passes_authorization_on_still_never_sees_a_key_of_ours() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"{}\"\npass_authorization = true\n{ROUTES}",
        upstream.url()
    ))
    .await;
    let key = gateway.system_key("ci", Role::Member).await;
    let as_key: Claims<'_> = &[("x-auth-user", "ci"), ("x-auth-subject", "*"), ("x-auth-role", "member")];
    for (headers, left, claims) in [
        ("authorization: Basic eDp5\r\n".to_owned(), Some("Basic eDp5"), &[][..]),
        (format!("{}authorization: Basic eDp5\r\n", bearer(&key)), Some("Basic eDp5"), as_key),
        (format!("authorization: Basic eDp5\r\nx-api-key: {key}\r\n"), Some("Basic eDp5"), as_key),
        (bearer(&key), None, as_key),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        assert_eq!(gateway.get("/public/x", &headers).await.status, 200, "{headers}");
        assert_eq!(upstream.last().header("authorization"), left, "{headers}");
        watch.reached(&headers, &["GET /public/x"], claims).await;
    }
    let watch = Watch::begin(&gateway, &upstream);
    assert_eq!(gateway.get("/data", "authorization: Basic eDp5\r\n").await.status, 401);
    watch.nothing_reached("a foreign credential is nobody here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_headers_in_an_answer_do_not_reach_the_client() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let mel = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    let lines: String = NAMES
        .iter()
        .flat_map(|name| [name.to_string(), fold(name), name.replace('-', ".")])
        .map(|name| format!("{name}: mel\r\n"))
        .collect();
    let watch = Watch::begin(&gateway, &upstream);
    upstream.answers(format!(
        "HTTP/1.1 200 OK\r\n{lines}alt-svc: h3=\":443\"\r\nx-app: kept\r\ncontent-length: 2\r\n\r\nok"
    ));
    let answer = gateway.get("/data", &mel).await;
    assert_eq!((answer.status, answer.text().as_str(), answer.header("x-app")), (200, "ok", Some("kept")));
    assert!(!answer.head.contains("mel"), "{}", answer.head);
    assert_eq!(answer.header("alt-svc"), None);
    watch.reached("echoed identity", &["GET /data"], STANDARD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_groups_with_odd_characters_stay_one_encoded_line() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    for bad in ["a\r\nb", "a\0b", "a\nX-Auth-Role: admin", "", " "] {
        let new = doorward::service::accounts::NewUser {
            username: bad.to_owned(),
            email: None,
            display_name: None,
            role: Role::Viewer,
            groups: Vec::new(),
            password: None,
        };
        assert!(gateway.accounts.create(new).await.is_err(), "{bad:?}");
    }
    let someone = gateway.user("someone", Role::Viewer).await;
    for bad in ["a,b", "c;d", "\"e\"", "f\r\ng", "h\0", " i", ""] {
        let added = gateway.accounts.add_group(&someone, bad).await;
        assert!(added.is_err(), "{bad:?}");
    }
    gateway.user_with("zoë", Role::Viewer, &["a=b", "späße"], false).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("zoë").await);
    let claims: Claims<'_> = &[
        ("x-auth-user", "zo%C3%AB"),
        ("x-auth-subject", "*"),
        ("x-auth-email", "zo%C3%AB@example.org"),
        ("x-auth-groups", "a=b,sp%C3%A4%C3%9Fe"),
        ("x-auth-role", "viewer"),
    ];
    attack(&gateway, &upstream, "/data", &cookie, "", claims).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarding_headers_of_a_stranger_change_nothing() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let forged = "x-forwarded-for: 10.0.0.1\r\nx-forwarded-for: 10.0.0.2\r\nx-forwarded-proto: https\r\n\
                  x-forwarded-host: evil.example\r\nx-forwarded-prefix: //evil.example\r\n\
                  forwarded: for=10.0.0.3;host=evil.example;proto=https\r\nx-real-ip: 10.0.0.4\r\n\
                  x-forwarded-port: 443\r\nx-forwarded-uri: /public/x\r\nx-original-url: /public/x\r\n";
    let watch = Watch::begin(&gateway, &upstream);
    assert_eq!(gateway.get("/public/x", forged).await.status, 200);
    let host = gateway.address.to_string();
    let sent = upstream.last();
    let of = |name: &str| sent.header(name).unwrap_or_default().to_owned();
    assert_eq!(of("x-forwarded-for"), "127.0.0.1");
    assert_eq!(of("x-forwarded-proto"), "http");
    assert_eq!(of("x-forwarded-host"), host);
    assert_eq!(of("forwarded"), format!("for=127.0.0.1;host=\"{host}\";proto=http"));
    assert!(!sent.head.contains("10.0.0.") && !sent.head.contains("evil"), "{}", sent.head);
    watch.reached("forged forwarding", &["GET /public/x"], &[]).await;

    let watch = Watch::begin(&gateway, &upstream);
    let refused = gateway.get("/data", forged).await;
    assert_eq!(refused.status, 401);
    assert!(!refused.text().contains("evil") && refused.text().contains("http://localhost/_doorward/login"));
    let page = gateway.get("/data", &format!("{forged}accept: text/html\r\n")).await;
    assert_eq!(page.header("location"), Some("/_doorward/login?rd=%2Fdata"));
    watch.nothing_reached("forged forwarding").await;

    gateway.user("mel", Role::Member).await;
    let watch = Watch::begin(&gateway, &upstream);
    let form =
        format!("username=mel&password={}&rd=%2F", crate::support::gateway::PASSWORD.replace(' ', "+"));
    let signed_in = gateway.post_form("/_doorward/login", &form, forged).await;
    assert_eq!((signed_in.status, signed_in.header("location")), (303, Some("/")));
    assert!(!signed_in.head.to_ascii_lowercase().contains("secure"), "the cookie follows the public address");
    watch.nothing_reached("forged forwarding at sign-in").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_is_believed_to_the_last_stranger_and_no_further() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "server.listen = [\"127.0.0.1:0\"]\nserver.workers = 1\nserver.trusted_proxies = [\"127.0.0.1\"]\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n\
         [[routes]]\nupstream = \"app\"\npath = \"/\"\nrules = [\n\
         {{ path = \"/public\", allow = \"anyone\" }},\n\
         {{ path = \"/inside\", networks = [\"10.0.0.0/8\"], allow = \"anyone\" }},\n] # [server]",
        upstream.url()
    ))
    .await;
    let long: String = vec!["10.0.0.1"; 3000].join(",");
    for (chain, allowed) in [
        ("10.0.0.1", true),
        ("192.0.2.1, 10.0.0.1", true),
        ("192.0.2.1, 10.0.0.1, 127.0.0.1", true),
        ("10.0.0.1:4711", true),
        ("::ffff:10.0.0.1", true),
        ("10.0.0.1, 192.0.2.1", false),
        ("10.0.0.1, unknown", false),
        ("a", false),
        ("10.0.0.1, [::1]:9", false),
        ("10.0.0.1, \u{fc}", false),
        ("10.0.0.1,", false),
        ("", false),
        (long.as_str(), true),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        let answer = gateway.get("/inside", &format!("x-forwarded-for: {chain}\r\n")).await;
        let shown: String = chain.chars().take(40).collect();
        if allowed {
            assert_eq!(answer.status, 200, "{shown}");
            assert_eq!(
                upstream.last().header("x-forwarded-for"),
                Some(format!("{chain}, 127.0.0.1").as_str())
            );
            watch.reached(&shown, &["GET /inside"], &[]).await;
        } else {
            assert!(matches!(answer.status, 401 | 403), "{shown}: {}", answer.status);
            watch.nothing_reached(&shown).await;
        }
    }
    // Only the entry that the trusted proxy wrote, the last, is believed; no chain at all is the peer itself.
    let watch = Watch::begin(&gateway, &upstream);
    let two = "x-forwarded-for: 10.0.0.1\r\nx-forwarded-for: 192.0.2.1\r\n";
    assert_eq!(gateway.get("/inside", two).await.status, 401);
    assert_eq!(gateway.get("/inside", "").await.status, 401);
    watch.nothing_reached("two lines, no line").await;
    for (proto, told) in
        [("https", "https"), ("javascript", "http"), ("https, http", "http"), ("http, https", "https")]
    {
        let watch = Watch::begin(&gateway, &upstream);
        let headers = format!("x-forwarded-proto: {proto}\r\nx-forwarded-host: evil.example\r\n");
        assert_eq!(gateway.get("/public/x", &headers).await.status, 200);
        assert_eq!(upstream.last().header("x-forwarded-proto"), Some(told));
        assert_eq!(upstream.last().header("x-forwarded-host"), Some(gateway.address.to_string().as_str()));
        watch.reached(proto, &["GET /public/x"], &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_protocol_bytes_are_not_a_request() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    for first in ["PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", "\r\n\r\n\0\r\nQUIT\n!"] {
        let watch = Watch::begin(&gateway, &upstream);
        let text = format!("{first}GET /public/x HTTP/1.1\r\nhost: {}\r\n\r\n", gateway.address);
        let answer = until_closed(gateway.address, text).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
        watch.nothing_reached(first).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_on_a_connection_is_judged_by_its_own_credential() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let mel = gateway.sign_in("mel").await;
    let key = gateway.system_key("grafana", Role::Viewer).await;
    let mut stream = connect(gateway.address).await;
    let before = upstream.count();
    let send = |path: &str, headers: String| format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    let pipeline = [
        send("/data?1", String::new()),
        send("/data?2", format!("cookie: {mel}\r\n")),
        send("/public/3", String::new()),
        send("/data?4", bearer(&key)),
        send("/data?5", String::new()),
        send("/public/6", "x-auth-user: root\r\n".to_owned()),
    ]
    .concat();
    tokio::io::AsyncWriteExt::write_all(&mut stream, pipeline.as_bytes()).await.unwrap();
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(read_answer(&mut stream).await.status);
    }
    assert_eq!(statuses, [401, 200, 200, 200, 401, 200]);
    let told: Vec<(String, Option<String>)> = upstream.requests()[before..]
        .iter()
        .map(|request| (request.line(), request.header("x-auth-user").map(str::to_owned)))
        .collect();
    let expected = [
        ("GET /data?2", Some("mel")),
        ("GET /public/3", None),
        ("GET /data?4", Some("grafana")),
        ("GET /public/6", None),
    ];
    assert_eq!(told, expected.map(|(line, user)| (line.to_owned(), user.map(str::to_owned))));
}

async fn connect(address: SocketAddr) -> tokio::net::TcpStream {
    tokio::net::TcpStream::connect(address).await.unwrap()
}
