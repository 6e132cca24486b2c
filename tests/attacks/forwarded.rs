//! X: who the client is, told by unknown clients and by trusted proxies.

use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;

use crate::support::gateway::{PASSWORD, ROUTES};
use crate::support::raw::until_closed;
use crate::support::{Gateway, Upstream, Watch};

/// X01: an unknown client's forwarding headers.
/// X07: its scheme.
/// X08: its host, in addresses that we make.
/// X09: its prefix.
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
    let form = format!("username=mel&password={}&rd=%2F", PASSWORD.replace(' ', "+"));
    let signed_in = gateway.post_form("/_doorward/login", &form, forged).await;
    assert_eq!((signed_in.status, signed_in.header("location")), (303, Some("/")));
    assert!(!signed_in.head.to_ascii_lowercase().contains("secure"), "the cookie follows the public address");
    watch.nothing_reached("forged forwarding at sign-in").await;
}

const INSIDE: &str = "{ path = \"/inside\", networks = [\"10.0.0.0/8\"], allow = \"anyone\" },\n";

/// A gateway that trusts the proxy before it; beside these rules, `/public` is open.
async fn behind_proxy(upstream: &Upstream, rules: &str) -> Gateway {
    Gateway::configured(&format!(
        "server.workers = 1\nserver.trusted_proxies = [\"127.0.0.1\"]\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n\
         [[routes]]\nupstream = \"app\"\npath = \"/\"\nrules = [\n\
         {{ path = \"/public\", allow = \"anyone\" }},\n{rules}]",
        upstream.url()
    ))
    .await
}

/// X02: what stands left of the last stranger.
/// X16: no entry at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_is_believed_to_the_last_stranger_and_no_further() {
    let upstream = Upstream::spawn().await;
    let gateway = behind_proxy(&upstream, INSIDE).await;
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

/// X14: PROXY protocol where none is expected.
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

/// X06: headers that other products put the client's address into.
#[tokio::test(flavor = "multi_thread")]
async fn no_other_header_names_the_client_not_even_from_a_trusted_proxy() {
    let upstream = Upstream::spawn().await;
    let gateway = behind_proxy(&upstream, INSIDE).await;
    for name in [
        "true-client-ip",
        "cf-connecting-ip",
        "x-client-ip",
        "x-real-ip",
        "x-cluster-client-ip",
        "fastly-client-ip",
        "client-ip",
        "x-envoy-external-address",
        "x_forwarded_for",
        "x.forwarded.for",
        "x-original-forwarded-for",
    ] {
        for value in ["10.0.0.1", "for=10.0.0.1"] {
            let watch = Watch::begin(&gateway, &upstream);
            let answer = gateway.get("/inside", &format!("{name}: {value}\r\n")).await;
            assert_eq!(answer.status, 401, "{name}");
            watch.nothing_reached(name).await;
        }
    }
    let watch = Watch::begin(&gateway, &upstream);
    let forwarded = "forwarded: for=10.0.0.1;proto=https;host=evil.example\r\n";
    assert_eq!(gateway.get("/inside", forwarded).await.status, 401, "only one dialect is read");
    watch.nothing_reached("forwarded").await;
}

/// X03: entries that are no addresses.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_cannot_be_read_is_in_no_network_and_never_the_proxy() {
    let upstream = Upstream::spawn().await;
    let rules = "{ path = \"/inside\", networks = [\"127.0.0.0/8\", \"10.0.0.0/8\", \"::/0\", \"0.0.0.0/0\"], allow = \"anyone\" },\n\
                 { path = \"/banned\", networks = [\"192.0.2.0/24\"], deny = \"anyone\" },\n\
                 { path = \"/banned\", allow = \"anyone\" },\n\
                 { path = \"/keys\", allow = \"member\" },\n";
    let gateway = behind_proxy(&upstream, rules).await;
    let bound = KeyScope {
        networks: vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
        ..KeyScope::default()
    };
    let (key, _) = gateway.key_with("bound", Role::Member, None, bound).await;
    let key = format!("authorization: Bearer {key}\r\n");
    let watch = Watch::begin(&gateway, &upstream);
    let known = "x-forwarded-for: 10.0.0.1\r\n";
    assert_eq!(gateway.get("/inside", known).await.status, 200);
    assert_eq!(gateway.get("/banned", known).await.status, 200);
    assert_eq!(gateway.get("/banned", "x-forwarded-for: 192.0.2.9\r\n").await.status, 403);
    watch.reached("known", &["GET /inside", "GET /banned"], &[]).await;
    let watch = Watch::begin(&gateway, &upstream);
    assert_eq!(gateway.get("/keys", &format!("{known}{key}")).await.status, 200);
    let claims = [("x-auth-user", "bound"), ("x-auth-subject", "*"), ("x-auth-role", "member")];
    watch.reached("a key within its network", &["GET /keys"], &claims).await;
    let long: String = vec!["127.0.0.1"; 40].join(",");
    for chain in [
        "unknown",
        "10.0.0.1, unknown",
        "fe80::1%eth0",
        "10.0.0.1:99999",
        "_hidden",
        "10.0.0.1,",
        "",
        "\u{fc}",
        "0.0.0.0",
        "10.0.0.1, 127.0.0.1, _x, 127.0.0.1",
        &long,
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        let shown: String = chain.chars().take(40).collect();
        let headers = format!("x-forwarded-for: {chain}\r\n");
        assert_eq!(gateway.get("/inside", &headers).await.status, 401, "{shown}");
        assert_eq!(gateway.get("/banned", &headers).await.status, 403, "{shown}");
        let refused = gateway.get("/keys", &format!("{headers}{key}")).await;
        assert!(refused.status == 403 && refused.text().contains("key-scope"), "{shown}: {}", refused.text());
        watch.nothing_reached(&shown).await;
        assert_eq!(gateway.get("/public/x", &headers).await.status, 200, "{shown}");
        let sent = upstream.last();
        assert!(sent.header("forwarded").is_some_and(|told| told.starts_with("for=unknown;")), "{shown}");
    }
    for header in ["x-forwarded-proto: https", "forwarded: for=10.0.0.1", "x-real-ip: 10.0.0.1"] {
        assert_eq!(gateway.get("/inside", &format!("{header}\r\n")).await.status, 401, "{header}");
    }
}

/// A client's address in another proxy's question, where that proxy leaves the header to its client.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_names_the_client_only_where_the_proxy_does() {
    const RULES: &str = "[[routes]]\nrules = [\n\
         { path = \"/inside\", networks = [\"10.0.0.0/8\", \"127.0.0.0/8\"], allow = \"anyone\" },\n\
         { path = \"/public\", allow = \"anyone\" },\n]";
    let gateway = async |settings: &str| {
        Gateway::configured(&format!(
            "[server]\nworkers = 1\ntrusted_proxies = [\"127.0.0.1\"]\n\
             [forward_auth]\n{settings}\n{RULES}"
        ))
        .await
    };
    let address = "x-forwarded-for: 10.0.0.1\r\n";
    let of_nginx = |path: &str| {
        format!(
            "x-forwarded-uri: {path}\r\nx-original-method: GET\r\nx-original-url: http://app.example{path}\r\n"
        )
    };
    let nginx = gateway("flavours = \"nginx\"\ncompat = [\"oauth2-proxy\", \"vouch\", \"authentik\"]").await;
    for (endpoint, believed) in [
        ("/_doorward/auth/nginx", true),
        ("/oauth2/auth", false),
        ("/validate", false),
        ("/outpost.goauthentik.io/auth/nginx", false),
    ] {
        let ask = async |path: &str, more: &str| {
            nginx.get(endpoint, &format!("{}{more}", of_nginx(path))).await.status
        };
        assert_eq!(ask("/public", address).await, 200, "{endpoint}");
        assert_eq!(ask("/inside", address).await, if believed { 200 } else { 401 }, "{endpoint}");
        // The proxy asks from an address of that network, but never for itself.
        assert_eq!(ask("/inside", "").await, 401, "{endpoint}");
        assert_eq!(ask("/inside", "x-forwarded-for: unknown\r\n").await, 401, "{endpoint}");
    }
    let traefik = gateway("flavours = \"traefik\"\ncompat = \"oauth2-proxy\"").await;
    let of_traefik = "x-forwarded-method: GET\r\nx-forwarded-proto: https\r\nx-forwarded-host: app.example\r\nx-forwarded-uri: /inside\r\n";
    for endpoint in ["/_doorward/auth/traefik", "/oauth2/auth"] {
        assert_eq!(traefik.get(endpoint, &format!("{of_traefik}{address}")).await.status, 200, "{endpoint}");
        assert_eq!(traefik.get(endpoint, of_traefik).await.status, 401, "{endpoint}");
    }
}
