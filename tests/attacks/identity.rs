//! I: nobody but the gateway says who is calling, under whatever name, spelling or protocol.

use bytes::Bytes;
use doorward::config::HeaderPreset;
use doorward::gate::identity_headers::names;
use doorward::model::header_names::{FAMILIES, NAMES as SAID};
use doorward::model::role::Role;
use http::{HeaderName, HeaderValue, Request};
use tokio::net::TcpStream;

use crate::support::gateway::{ROUTES, bearer};
use crate::support::oracle::{Claims, fold};
use crate::support::raw::read_answer;
use crate::support::{Gateway, Upstream, Watch, http2};

const STANDARD: Claims<'static> = &[
    ("x-auth-user", "mel"),
    ("x-auth-subject", "*"),
    ("x-auth-email", "mel@example.org"),
    ("x-auth-role", "member"),
];

/// Each preset with what it says of nobody, and of `mel`, a member with an address and neither groups nor another name.
const PRESETS: [(&str, Claims<'static>, Claims<'static>); 9] = [
    ("standard", &[], STANDARD),
    (
        "oauth2-proxy",
        &[],
        &[
            ("x-forwarded-user", "mel"),
            ("x-forwarded-preferred-username", "mel"),
            ("x-forwarded-email", "mel@example.org"),
            ("x-auth-request-user", "mel"),
            ("x-auth-request-preferred-username", "mel"),
            ("x-auth-request-email", "mel@example.org"),
        ],
    ),
    ("authelia", &[], &[("remote-user", "mel"), ("remote-email", "mel@example.org")]),
    (
        "authentik",
        &[],
        &[
            ("x-authentik-username", "mel"),
            ("x-authentik-uid", "*"),
            ("x-authentik-email", "mel@example.org"),
        ],
    ),
    ("vouch", &[], &[("x-vouch-user", "mel@example.org")]),
    ("traefik-forward-auth", &[], &[("x-forwarded-user", "mel@example.org")]),
    (
        "grafana",
        &[],
        &[("x-webauth-user", "mel"), ("x-webauth-email", "mel@example.org"), ("x-webauth-role", "Editor")],
    ),
    (
        "micromegas",
        &[("x-auth-is-admin", "false"), ("x-allow-delegation", "false")],
        &[
            ("x-auth-subject", "*"),
            ("x-auth-email", "mel@example.org"),
            ("x-auth-issuer", "http://localhost"),
            ("x-auth-is-admin", "false"),
            ("x-allow-delegation", "false"),
        ],
    ),
    ("none", &[], &[]),
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
    "X-authentik-username",
    "X-authentik-uid",
    "X-authentik-name",
    "X-authentik-email",
    "X-authentik-groups",
    "X-authentik-entitlements",
    "X-authentik-jwt",
    "X-authentik-meta-app",
    "X-authentik-meta-jwks",
    "X-authentik-meta-outpost",
    "X-authentik-meta-provider",
    "X-authentik-meta-version",
    "X-Vouch-User",
    "X-Vouch-Success",
    "X-Vouch-IdP-Claims-Groups",
    "X-Vouch-IdP-AccessToken",
    "X-Auth-Issuer",
    "X-Auth-Is-Admin",
    "X-Allow-Delegation",
    "X-User-Id",
    "X-User-Email",
    "X-User-Name",
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

#[test]
fn every_preset_is_attacked_and_every_name_it_sets() {
    let words: std::collections::BTreeSet<&str> = PRESETS.iter().map(|(preset, ..)| *preset).collect();
    assert_eq!(words.len(), HeaderPreset::ALL.len());
    for (name, _) in HeaderPreset::ALL.iter().flat_map(|preset| names(*preset)) {
        assert!(NAMES.iter().any(|attacked| attacked.eq_ignore_ascii_case(name)), "{name}");
    }
}

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

/// Sends a batch of header lines and checks what the upstream was told; `nobody` is what it is told of nobody.
async fn attack(
    gateway: &Gateway,
    upstream: &Upstream,
    path: &str,
    who: &str,
    lines: &str,
    (nobody, claims): (Claims<'_>, Claims<'_>),
) {
    let watch = Watch::begin(gateway, upstream).telling_of_nobody(nobody);
    let attack = format!("{path} with\n{lines}");
    let answer = gateway.get(path, &format!("{who}{lines}")).await;
    assert_eq!(answer.status, 200, "{attack}\n{}", answer.head);
    watch.reached(&attack, &[&format!("GET {path}")], claims).await;
}

/// I01: an unknown client names itself on an open route.
/// I02: a known caller names itself as another.
/// I03: headers for which the caller has no value.
/// I04: underscores, which some servers read as dashes.
/// I05: dots, and every other character a name may hold.
/// I15: the names of other products.
/// I23: marks that products use among their own parts.
/// P31: headers that name another path.
#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_any_identity_header_passes_with_any_preset() {
    let upstream = Upstream::spawn().await;
    for (preset, nobody, claims) in PRESETS {
        let gateway = gateway_with(&upstream, preset).await;
        gateway.user("mel", Role::Member).await;
        let mel = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
        let spelled: Vec<String> = NAMES.iter().flat_map(|name| spellings(name)).collect();
        for batch in spelled.chunks(80) {
            let lines: String = batch.iter().map(|name| format!("{name}: root\r\n")).collect();
            attack(&gateway, &upstream, "/public/x", "", &lines, (nobody, nobody)).await;
            attack(&gateway, &upstream, "/public/x", &mel, &lines, (nobody, claims)).await;
            attack(&gateway, &upstream, "/data", &mel, &lines, (nobody, claims)).await;
        }
    }
}

/// I06: the same over HTTP/2.
/// F38: cookies in crumbs, over HTTP/2.
#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_passes_over_http2() {
    let upstream = Upstream::spawn().await;
    for (preset, nobody, claims) in PRESETS {
        let gateway = gateway_with(&upstream, preset).await;
        gateway.user("mel", Role::Member).await;
        let mel = gateway.sign_in("mel").await;
        let spelled: Vec<String> = NAMES.iter().flat_map(|name| spellings(name)).collect();
        for batch in spelled.chunks(80) {
            for (path, cookie, claims) in [("/public/x", "", nobody), ("/data", mel.as_str(), claims)] {
                let watch = Watch::begin(&gateway, &upstream).telling_of_nobody(nobody);
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

/// Names that move what was decided on: path, script name, method, scheme, client, certificate, file to send.
#[tokio::test(flavor = "multi_thread")]
async fn no_second_target_passes_in_any_spelling() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let families = FAMILIES.iter().map(|(family, _)| format!("{family}x"));
    let whole = SAID.iter().map(|(name, _)| (*name).to_owned());
    let names: Vec<String> =
        whole.chain(families).flat_map(|name| [format!("grpc-metadata-{name}"), name]).collect();
    let spelled: Vec<String> = names.iter().flat_map(|name| spellings(name)).collect();
    for batch in spelled.chunks(80) {
        let lines: String = batch.iter().map(|name| format!("{name}: /moved\r\n")).collect();
        let watch = Watch::begin(&gateway, &upstream);
        let answer = gateway.get("/public/x", &format!("{lines}x-kept: 1\r\n")).await;
        assert_eq!(answer.status, 200, "{}\n{lines}", answer.head);
        let sent = upstream.last();
        assert!(!sent.head.contains("/moved") && sent.header("x-kept") == Some("1"), "{}", sent.head);
        watch.reached(&lines, &["GET /public/x"], &[]).await;
    }
}

/// Names that some server reads as framing, media type, credential or another fact that is decided on.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_read_as_another_passes_only_where_an_upstream_asks_and_never_as_one_that_counts() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"{0}\"\nodd_header_names = [\"X_Tenant\", \"ce.id\"]\n\
         [[upstreams]]\nname = \"other\"\nurl = \"{0}\"\n{ROUTES}\
         [[routes]]\nupstream = \"other\"\npath = \"/other\"\nrules = [{{ allow = \"anyone\" }}]\n",
        upstream.url()
    ))
    .await;
    let names = [
        "Content-Type",
        "Content-Length",
        "Transfer-Encoding",
        "Authorization",
        "X-Api-Key",
        "Cookie",
        "Host",
        "Connection",
        "Upgrade",
        "Destination",
        "Origin",
        "Sec-Fetch-Site",
        "X-Request-Id",
        "X-Tenant",
        "Ce-Id",
    ];
    let mut lines = String::from("x-tenant: plain\r\n");
    for separator in SEPARATORS.chars().filter(|separator| *separator != '-') {
        for name in names {
            if name.contains('-') {
                lines += &format!("{}: odd\r\n", name.replace('-', &separator.to_string()));
            }
            lines += &format!("{name}{separator}: odd\r\n");
        }
    }
    let halves: Vec<String> =
        lines.split_inclusive("\r\n").collect::<Vec<_>>().chunks(80).map(<[&str]>::concat).collect();
    for (path, asked) in [("/public/x", true), ("/other", false)] {
        let mut passed: Vec<String> = Vec::new();
        for lines in &halves {
            let watch = Watch::begin(&gateway, &upstream);
            assert_eq!(gateway.get(path, lines).await.status, 200, "{lines}");
            let sent = upstream.last();
            let odd = sent.head.lines().filter(|line| line.ends_with(": odd"));
            passed.extend(odd.map(str::to_ascii_lowercase));
            watch.reached(lines, &[&format!("GET {path}")], &[]).await;
        }
        passed.sort();
        let wanted: &[&str] = if asked { &["ce.id: odd", "x_tenant: odd"] } else { &[] };
        assert_eq!(passed, wanted, "{path}");
    }
}

/// A key of ours under other names than those that bring it to us.
#[tokio::test(flavor = "multi_thread")]
async fn our_key_reaches_no_upstream_under_any_name() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let key = gateway.system_key("ci", Role::Member).await;
    for line in [
        "X_Api_Key: {}",
        "X.Api.Key: {}",
        "X-Auth-Token: {}",
        "Private-Token: token {}",
        "Api-Key: \"{}\"",
        "X-Goog-Api-Key: {}",
        "Authorization_: Bearer {}",
        "Cookie: a=1; token={}",
        "Referer: https://x/?key={}",
        "Sec-WebSocket-Protocol: bearer, {}",
        "X-Forwarded-Authorization: {}",
    ] {
        let line = format!("{}\r\n", line.replace("{}", &key));
        // `reached` looks for our keys in what the upstream was sent.
        let watch = Watch::begin(&gateway, &upstream);
        assert_eq!(gateway.get("/public/x", &line).await.status, 200, "{line}");
        watch.reached(&line, &["GET /public/x"], &[]).await;
        let watch = Watch::begin(&gateway, &upstream);
        assert_eq!(gateway.get("/data", &line).await.status, 401, "{line} is not a credential");
        watch.nothing_reached(&line).await;
    }
}

/// `Connection` names what is decided on, or what we add: it is sent as it was decided on.
#[tokio::test(flavor = "multi_thread")]
async fn connection_takes_away_nothing_that_is_decided_on() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let facts = [
        ("content-type", "application/json"),
        ("content-encoding", "identity"),
        ("origin", "http://a"),
        ("depth", "0"),
        ("overwrite", "F"),
        ("accept", "a/b"),
        ("sec-fetch-site", "none"),
        ("content-language", "en"),
        ("range", "bytes=0-1"),
        ("if", "(<x>)"),
    ];
    let lines: String = facts.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let all = facts.map(|(name, _)| name).join(", ");
    let many = format!("{}, x-private-hop, x-request-id", vec!["x-none"; 40].join(","));
    for connection in [
        all.clone(),
        all.to_uppercase(),
        "x-request-id, X-Private-Hop".into(),
        many,
        format!("close, {all}\r\nconnection: x-private-hop"),
        "te, upgrade, trailer, content-length, host".into(),
    ] {
        let attack = format!("connection: {connection}\r\n{lines}x-private-hop: 1\r\n");
        let watch = Watch::begin(&gateway, &upstream);
        assert_eq!(gateway.get("/public/x", &attack).await.status, 200, "{attack}");
        let sent = upstream.last();
        for (name, value) in facts {
            assert_eq!(sent.header(name), Some(value), "{attack}\n{}", sent.head);
        }
        assert!(sent.header("x-request-id").is_some_and(|id| id.len() > 8), "{attack}\n{}", sent.head);
        let named = connection.to_ascii_lowercase().contains("x-private-hop");
        assert_eq!(sent.header("x-private-hop").is_none(), named, "{attack}\n{}", sent.head);
        assert_eq!(sent.header("connection"), None, "{}", sent.head);
        watch.reached(&attack, &["GET /public/x"], &[]).await;
    }
}

/// I07: other cases, two lines, empty lines, lists.
#[tokio::test(flavor = "multi_thread")]
async fn repeated_empty_and_listed_values_leave_exactly_our_line() {
    let upstream = Upstream::spawn().await;
    for (preset, nobody, claims) in PRESETS {
        let gateway = gateway_with(&upstream, preset).await;
        gateway.user("mel", Role::Member).await;
        let mel = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
        let ours = ["X-Auth-User", "x-forwarded-user", "REMOTE-USER", "X-Webauth-Role", "X-Auth-Groups"];
        for name in ours.into_iter().chain(["X-authentik-uid", "X-Vouch-User", "X-Auth-Is-Admin"]) {
            for lines in [
                format!("{name}: root\r\n{name}: mel\r\n"),
                format!("{name}:\r\n{name}: root\r\n"),
                format!("{name}: mel, root\r\n"),
                format!("{name}: \r\n"),
                format!("{name}: root\r\n{}: root\r\n", fold(name)),
                format!("{}: root\r\n{name}: root\r\n{}: root\r\n", name.to_uppercase(), name.to_lowercase()),
            ] {
                attack(&gateway, &upstream, "/public/x", "", &lines, (nobody, nobody)).await;
                attack(&gateway, &upstream, "/data", &mel, &lines, (nobody, claims)).await;
            }
        }
    }
}

/// I08: `Connection` names our headers.
/// I09: the same in other cases, lists and blanks.
/// I11: the same beside an upgrade.
#[tokio::test(flavor = "multi_thread")]
async fn connection_cannot_take_our_headers_away() {
    let upstream = Upstream::spawn().await;
    for (preset, nobody, claims) in PRESETS {
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
                attack(&gateway, &upstream, "/data", &mel, &lines, (nobody, claims)).await;
            }
            // As part of a switch of protocols, which the upstream declines.
            let upgrade = format!(
                "origin: http://{}\r\nconnection: Upgrade, {name}\r\nupgrade: custom\r\n",
                gateway.address
            );
            attack(&gateway, &upstream, "/data", &mel, &upgrade, (nobody, claims)).await;
        }
        let plain = "connection: close, x-private-hop\r\nx-private-hop: 1\r\nx-other: 2\r\n";
        attack(&gateway, &upstream, "/data", &mel, plain, (nobody, claims)).await;
        let sent = &upstream.requests()[upstream.count() - 2];
        assert_eq!((sent.header("x-private-hop"), sent.header("x-other")), (None, Some("2")));
    }
}

/// F19: framing and routing in trailers.
/// I13: identity and credentials in trailers.
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

/// I19: our cookies go no further, others keep their bytes.
/// I20: nor do our keys.
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

/// I21: the same where `Authorization` is passed on.
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

/// I22: an upstream that sends identity headers back.
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

/// I16: control bytes, commas and quotes in names and groups.
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
        assert!(gateway.accounts.create(&gateway.by, new).await.is_err(), "{bad:?}");
    }
    let someone = gateway.user("someone", Role::Viewer).await;
    for bad in ["a,b", "c;d", "\"e\"", "f\r\ng", "h\0", " i", ""] {
        let added = gateway.accounts.add_group(&gateway.by, &someone, bad).await;
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
    attack(&gateway, &upstream, "/data", &cookie, "", (&[], claims)).await;
}

/// F21: requests of several callers in one pipeline.
#[tokio::test(flavor = "multi_thread")]
async fn each_request_on_a_connection_is_judged_by_its_own_credential() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let mel = gateway.sign_in("mel").await;
    let key = gateway.system_key("grafana", Role::Viewer).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
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

/// I10: `Connection` names a header that the operator has chosen.
#[tokio::test(flavor = "multi_thread")]
async fn connection_cannot_make_a_chosen_key_header_pass_or_vanish() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "keys.header = \"X-Team-Key\"\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}\n\
         [[routes]]\nupstream = \"app\"\npath = \"/hose\"\nkey_headers = \"X-Hose-Key\"\n",
        upstream.url()
    ))
    .await;
    let key = gateway.system_key("ci", Role::Member).await;
    let as_key: Claims<'_> = &[("x-auth-user", "ci"), ("x-auth-subject", "*"), ("x-auth-role", "member")];
    for connection in ["", "connection: x-team-key\r\n", "connection: X-TEAM-KEY, x-auth-user\r\n"] {
        let lines = format!("{connection}x-team-key: {key}\r\n");
        attack(&gateway, &upstream, "/data", "", &lines, (&[], as_key)).await;
        let sent = &upstream.requests()[upstream.count() - 2];
        assert_eq!(sent.header("x-team-key"), None, "{}", sent.head);
        let lines = lines.replace("x-team-key", "x-hose-key").replace("X-TEAM-KEY", "X-HOSE-KEY");
        attack(&gateway, &upstream, "/hose", "", &lines, (&[], as_key)).await;
        let sent = &upstream.requests()[upstream.count() - 2];
        assert_eq!(sent.header("x-hose-key"), None, "{}", sent.head);
    }
    let watch = Watch::begin(&gateway, &upstream);
    assert_eq!(
        gateway.get("/data", &format!("x-api-key: {key}\r\n")).await.status,
        401,
        "the usual name is off"
    );
    assert_eq!(gateway.get("/data", "x-team-key: wrong\r\n").await.status, 401);
    for (path, name) in [("/data", "x-hose-key"), ("/hose", "x-team-key")] {
        assert_eq!(gateway.get(path, &format!("{name}: {key}\r\n")).await.status, 401, "not here");
    }
    watch.nothing_reached("another key header").await;
}

/// I18: hundreds of groups.
#[tokio::test(flavor = "multi_thread")]
async fn groups_are_bounded_and_told_whole() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let groups: Vec<String> = (0..256).map(|at| format!("a-group-with-a-rather-long-name-{at:04}")).collect();
    let named: Vec<&str> = groups.iter().map(String::as_str).collect();
    let id = gateway.user_with("mel", Role::Member, &named, false).await;
    assert!(gateway.accounts.add_group(&gateway.by, &id, "one-too-many").await.is_err());
    let mel = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    let told = named.join(",");
    let mut claims = STANDARD.to_vec();
    claims.push(("x-auth-groups", &told));
    attack(&gateway, &upstream, "/data", &mel, "x-auth-groups: admins\r\n", (&[], &claims)).await;
}

/// I25: what is told when the upstream fails.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_page_tells_nothing_of_what_the_upstream_would_have_been_told() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway_with(&upstream, "standard").await;
    gateway.user_with("mel", Role::Member, &["secret-group"], false).await;
    let session = gateway.sign_in("mel").await;
    let mel = format!("cookie: {session}\r\n");
    for answer in ["garbage\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok"] {
        for accept in ["", "accept: text/html\r\n"] {
            upstream.answers(answer);
            let failed = gateway.get("/data", &format!("{mel}{accept}x-mark: own-mark\r\n")).await;
            assert_eq!(failed.status, 502, "{}", failed.head);
            let told = format!("{}{}", failed.head, failed.text()).to_ascii_lowercase();
            for secret in
                ["x-auth", "secret-group", "mel@example.org", "own-mark", session.split_once('=').unwrap().1]
            {
                assert!(!told.contains(&secret.to_ascii_lowercase()), "{secret}: {told}");
            }
        }
    }
}
