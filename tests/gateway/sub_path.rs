//! Applications and the gateway itself below a path: what is sent, and what comes back.

use doorward::model::role::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::credentials::ROUTES;
use crate::support::gateway::bearer;
use crate::support::oracle::check_claims;
use crate::support::raw::{Answer, SWITCHED, read_answer, read_head};
use crate::support::{Gateway, Upstream, exchange, within};

/// The standard routes, and the same below `/apps/phoenix`, which the upstream does not see.
pub fn routes() -> String {
    let below = ROUTES.replace("path = \"/", "path = \"/apps/phoenix/").replace("phoenix/\"", "phoenix\"");
    format!("{ROUTES}{}", below.replace("upstream", "strip_prefix = \"/apps/phoenix\"\nupstream"))
}

/// A gateway whose only route begins at `path` and has these prefixes; everyone may do everything.
async fn open(upstream: &str, path: &str, prefixes: &str) -> Gateway {
    let route = format!(
        "[[routes]]\nupstream = \"app\"\npath = \"{path}\"\n{prefixes}\nrules = [{{ allow = \"anyone\" }}]\n"
    );
    Gateway::spawn(upstream, &route).await
}

async fn ask(gateway: &Gateway, line: &str, host: &str, headers: &str) -> Answer {
    exchange(gateway.address, format!("{line} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_prefix_is_cut_off_and_another_put_before_and_the_rest_is_untouched() {
    for (path, prefixes, cases) in [
        (
            "/app",
            "strip_prefix = \"/app\"",
            &[("/app/", "/"), ("/app/?a=/app", "/?a=/app"), ("/app/app/x?%61", "/app/x?%61")][..],
        ),
        ("/a/b", "strip_prefix = \"/a\"", &[("/a/b", "/b"), ("/a/b/c%20d", "/b/c%20d")]),
        ("/", "add_prefix = \"/base\"", &[("/", "/base/"), ("/x?y", "/base/x?y")]),
        (
            "/app",
            "strip_prefix = \"/app\"\nadd_prefix = \"/base/\"",
            &[("/app", "/base"), ("/app/", "/base/"), ("/app/x", "/base/x")],
        ),
    ] {
        let upstream = Upstream::spawn().await;
        let gateway = open(&upstream.url(), path, prefixes).await;
        for (asked, sent) in cases {
            let answer = gateway.get(asked, "").await;
            assert_eq!((answer.status, upstream.last().line()), (200, format!("GET {sent}")), "{asked}");
        }
    }
}

/// The application's page at `/app` would ask for `/style.css`, not for `/app/style.css`.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_the_prefix_alone_is_sent_to_ask_with_a_slash_and_decided_as_that() {
    let upstream = Upstream::spawn().await;
    let route = "[[routes]]\nupstream = \"app\"\npath = \"/app\"\nstrip_prefix = \"/app\"\n\
                 rules = [{ path = \"/app/**\", methods = \"read\", allow = \"viewer\" }, { methods = \"write\", allow = \"viewer\" }]\n";
    let gateway = Gateway::spawn(&upstream.url(), route).await;
    let key = bearer(&gateway.system_key("k", Role::Viewer).await);
    for (line, location) in [
        ("GET /app", "/app/"),
        ("HEAD /app", "/app/"),
        ("GET /app?a=1&b=//evil.example/", "/app/?a=1&b=//evil.example/"),
        ("GET /%61pp", "/app/"),
        ("GET /app?", "/app/?"),
    ] {
        for host in ["app.example", "evil.example"] {
            let asked = format!("{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{key}\r\n");
            let answer = exchange(gateway.address, asked).await;
            assert_eq!((answer.status, answer.header("location")), (307, Some(location)), "{line}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{line}");
        }
        if line.starts_with("GET") {
            assert_eq!(gateway.send(line, "").await.status, 401, "{line}");
        }
    }
    assert_eq!(upstream.begun(), 0, "the application is asked for none of it");
    // What is no plain read, and what is not the prefix alone, goes on as it is.
    for (line, more, sent) in [
        ("POST /app", "content-length: 0\r\n", "POST /"),
        ("PROPFIND /app", "content-length: 0\r\n", "PROPFIND /"),
        ("GET /app/", "", "GET /"),
        ("GET /app/x", "", "GET /x"),
    ] {
        let answer = gateway.send(line, &format!("{key}{more}")).await;
        assert_eq!((answer.status, upstream.last().line()), (200, sent.to_owned()), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstream_hears_of_the_prefix_from_us_alone() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{}",
        upstream.url(),
        routes()
    ))
    .await;
    let forged = "X-Forwarded-Prefix: //evil.example\r\nx_forwarded_prefix: /x\r\nX-Script-Name: /y\r\n";
    gateway.get("/apps/phoenix/public", forged).await;
    check_claims("stripped", &upstream.last(), &[("x-forwarded-prefix", "/apps/phoenix")]);
    gateway.get("/public", forged).await;
    check_claims("not stripped", &upstream.last(), &[]);
}

/// What the upstream says, and what the client hears. `U` stands for the upstream's origin.
type Said<'s> = (&'s str, &'s str);

async fn compare(gateway: &Gateway, upstream: &Upstream, asked: &str, name: &str, cases: &[Said<'_>]) {
    for (said, heard) in cases {
        let said = said.replace("U/", &format!("{}/", upstream.url()));
        upstream.answers(format!("HTTP/1.1 302 Found\r\n{name}: {said}\r\ncontent-length: 0\r\n\r\n"));
        let line = if asked.starts_with('/') { format!("GET {asked}") } else { asked.to_owned() };
        let answer = ask(gateway, &line, "app.example:8443", "").await;
        let heard = heard.replace("U/", &format!("{}/", upstream.url()));
        assert_eq!(answer.header(name), Some(heard.as_str()), "{asked}: {name}: {said}");
    }
}

/// Where the client is, as these tests ask.
const HERE: &str = "http://app.example:8443";

#[tokio::test(flavor = "multi_thread")]
async fn a_location_leads_where_the_upstream_meant() {
    let upstream = Upstream::spawn().await;
    let gateway = open(&upstream.url(), "/app", "strip_prefix = \"/app\"").await;
    let absolute = |path: &str| format!("{HERE}{path}");
    let cases = [
        ("U/x?y#z", absolute("/app/x?y#z")),
        ("U/", absolute("/app/")),
        ("http://app.example:8443/x", absolute("/app/x")),
        ("http://app.example:8443/app/x", absolute("/app/x")),
        ("//app.example:8443/x", absolute("/app/x")),
        ("/", "/app/".into()),
        ("/x", "/app/x".into()),
        ("/x?a=/b#/c", "/app/x?a=/b#/c".into()),
        ("/app", "/app".into()),
        ("/app/x", "/app/x".into()),
        ("/apple", "/app/apple".into()),
        ("x", "x".into()),
        ("../x", "../x".into()),
        ("../../../x", "/app/x".into()),
        ("?page=2", "?page=2".into()),
        ("#top", "#top".into()),
        ("/../../x", "/app/x".into()),
        // What is not of this upstream is not ours to change.
        ("https://elsewhere.example/x", "https://elsewhere.example/x".into()),
        ("//elsewhere.example/x", "//elsewhere.example/x".into()),
        ("http://127.0.0.1:1/x", "http://127.0.0.1:1/x".into()),
        ("http://app.example.evil:8443/x", "http://app.example.evil:8443/x".into()),
        ("http://app.example:8443@evil.example/x", "http://app.example:8443@evil.example/x".into()),
        ("mailto:someone@example.org", "mailto:someone@example.org".into()),
        ("http://[broken", "http://[broken".into()),
    ];
    let cases: Vec<Said<'_>> = cases.iter().map(|(said, heard)| (*said, heard.as_str())).collect();
    for name in ["location", "content-location"] {
        compare(&gateway, &upstream, "/app/d/e", name, &cases).await;
    }
    // Relative to the prefix itself, which for the upstream is its root.
    let cases = [("x", "/app/x"), ("?q", "/app/?q"), ("/", "/app/")];
    compare(&gateway, &upstream, "POST /app", "location", &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_location_below_an_added_prefix_loses_it_and_never_becomes_another_host() {
    let upstream = Upstream::spawn().await;
    let gateway = open(&upstream.url(), "/", "add_prefix = \"/base\"").await;
    let here = |path: &str| format!("{HERE}{path}");
    let (x, other, doubled) = (here("/x"), here("/other"), here("//evil.example/"));
    let cases = [
        ("U/base/x", x.as_str()),
        ("/base/x", "/x"),
        ("/base", "/"),
        ("/based", "/based"),
        ("/other", "/other"),
        ("U/other", &other),
        ("/base//evil.example/", "/.//evil.example/"),
        ("/base/\\evil.example/", "/.//evil.example/"),
        ("U/base//evil.example/", &doubled),
        ("x", "x"),
    ];
    compare(&gateway, &upstream, "/d/e", "location", &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_prefixes_only_the_upstreams_own_address_is_replaced() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "public_url = \"https://app.example:8443\"\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await;
    let cases = [
        ("U/x", "https://app.example:8443/x"),
        ("http://app.example:8443/x", "https://app.example:8443/x"),
        ("https://app.example:8443/x", "https://app.example:8443/x"),
        ("//evil.example/x", "//evil.example/x"),
        ("/x", "/x"),
        ("//", "//"),
        ("x/../y", "x/../y"),
        ("https://elsewhere.example", "https://elsewhere.example"),
    ];
    compare(&gateway, &upstream, "/public/x", "location", &cases).await;
    // Another host that leads here keeps its own name.
    upstream.answers(format!(
        "HTTP/1.1 302 Found\r\nlocation: {}/x\r\ncontent-length: 0\r\n\r\n",
        upstream.url()
    ));
    let answer = ask(&gateway, "GET /public/x", "other.example", "").await;
    assert_eq!(answer.header("location"), Some("http://other.example/x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_leads_where_the_upstream_meant() {
    let upstream = Upstream::spawn().await;
    let gateway = open(&upstream.url(), "/app", "strip_prefix = \"/app\"").await;
    let cases = [
        ("5; url=/x", "5; url=/app/x"),
        ("0;URL = '/x?a;b'", "0;URL = '/app/x?a;b'"),
        ("1.5, url=\"/x\" ignored", "1.5, url=\"/app/x\" ignored"),
        ("3 /x", "3 /app/x"),
        ("5", "5"),
        ("5; url=", "5; url="),
        ("5; url=https://elsewhere.example/", "5; url=https://elsewhere.example/"),
    ];
    compare(&gateway, &upstream, "/app/d", "refresh", &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_stay_with_their_application() {
    let upstream = Upstream::spawn().await;
    let gateway = open(&upstream.url(), "/app", "strip_prefix = \"/app\"").await;
    let cases = [
        ("a=1; Path=/", "a=1; Path=/app"),
        ("a=/; path=/x/; HttpOnly", "a=/; path=/app/x/; HttpOnly"),
        ("a=\"x;Path=/", "a=\"x;Path=/app"),
        ("a=1; Path=/app; Secure", "a=1; Path=/app; Secure"),
        ("a=1", "a=1"),
        ("a=1; Path=x", "a=1; Path=x"),
        ("a=1; Domain=127.0.0.1; Path=/", "a=1; Path=/app"),
        ("a=1; Domain=.app.example", "a=1; Domain=.app.example"),
        ("a=1; Domain=example; Max-Age=3", "a=1; Domain=example; Max-Age=3"),
        ("a=1; Domain=elsewhere.example", "a=1; Domain=elsewhere.example"),
        ("__Host-a=1; Secure; Path=/", "__Host-a=1; Secure; Path=/"),
        ("__host-a=1; Secure; Path=/", "__host-a=1; Secure; Path=/"),
        ("__Secure-a=1; Secure; Path=/", "__Secure-a=1; Secure; Path=/app"),
        ("Path=/; Path=/", "Path=/; Path=/app"),
    ];
    compare(&gateway, &upstream, "/app/d/e", "set-cookie", &cases).await;
    // The folder of the prefix itself would be everybody's.
    compare(
        &gateway,
        &upstream,
        "POST /app",
        "set-cookie",
        &[("a=1", "a=1; Path=/app"), ("a=1;Path=/b", "a=1;Path=/app/b")],
    )
    .await;

    let added = open(&upstream.url(), "/", "add_prefix = \"/base\"").await;
    let cases = [
        ("a=1; Path=/base", "a=1; Path=/"),
        ("a=1; Path=/base/x", "a=1; Path=/x"),
        ("a=1; Path=/y", "a=1; Path=/y"),
    ];
    compare(&added, &upstream, "/d", "set-cookie", &cases).await;

    // Ours is nobody's to set, under whatever name a browser would read.
    upstream.answers(
        "HTTP/1.1 200 OK\r\nset-cookie: doorward=x; Path=/\r\nset-cookie: =doorward=x\r\nset-cookie: a=1; Path=/\r\n\
         set-cookie:  doorward-device =x\r\nset-cookie: b=2; Path=/b\r\ncontent-length: 2\r\n\r\nok",
    );
    let answer = gateway.get("/app/x", "").await;
    assert_eq!(answer.headers("set-cookie"), ["a=1; Path=/app", "b=2; Path=/app/b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_passes_below_a_prefix() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await.unwrap();
        let answer = format!("{SWITCHED}set-cookie: a=1; Path=/\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        head
    });
    let gateway = open(&format!("http://{address}"), "/app", "strip_prefix = \"/app\"").await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let handshake = "GET /app/ws?x HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
    client.write_all(handshake.as_bytes()).await.unwrap();
    let head = within("the switch", read_head(&mut client)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("set-cookie: a=1; Path=/app\r\n"), "{head}");
    client.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    within("the echo", client.read_exact(&mut echo)).await.unwrap();
    let seen = within("the upstream", server).await.unwrap();
    assert!(&echo == b"ping" && seen.starts_with("GET /ws?x HTTP/1.1\r\n"), "{seen}");
    assert!(seen.to_ascii_lowercase().contains("x-forwarded-prefix: /app\r\n"), "{seen}");
}

/// A gateway that is itself below `/apps/phoenix`, together with its application.
async fn below(upstream: &Upstream) -> Gateway {
    Gateway::configured(&format!(
        "public_url = \"http://localhost/apps/phoenix\"\n\
         [server]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [forward_auth]\nflavours = [\"nginx\", \"caddy\"]\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{}",
        upstream.url(),
        routes()
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_in_and_out_of_a_gateway_below_a_path() {
    let upstream = Upstream::spawn().await;
    let gateway = below(&upstream).await;
    gateway.user("vera", Role::Viewer).await;
    let browser = "accept: text/html\r\n";
    let asked = ask(&gateway, "GET /apps/phoenix/deep?a=1", "localhost", browser).await;
    assert_eq!(asked.status, 302, "{}", asked.head);
    let login = "/apps/phoenix/_doorward/login?rd=%2Fapps%2Fphoenix%2Fdeep%3Fa%3D1";
    assert_eq!(asked.header("location"), Some(login));

    let page = ask(&gateway, &format!("GET {login}"), "localhost", browser).await;
    assert_eq!(page.status, 200);
    for link in page.text().split(['"', '\'']).filter(|text| text.contains("_doorward")) {
        assert!(link.starts_with("/apps/phoenix/_doorward/"), "{link}");
        let found = ask(&gateway, &format!("GET {}", link.replace("&#38;", "&")), "localhost", "").await;
        assert!(found.status < 400, "{link}: {}", found.status);
    }
    let form = "username=vera&password=correct+horse+battery&rd=%2Fapps%2Fphoenix%2Fdeep%3Fa%3D1";
    let posted = exchange(
        gateway.address,
        format!(
            "POST /apps/phoenix/_doorward/login HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            form.len()
        ),
    )
    .await;
    assert_eq!(
        (posted.status, posted.header("location")),
        (303, Some("/apps/phoenix/deep?a=1")),
        "{}",
        posted.head
    );
    let cookie = crate::support::gateway::session_cookie(&posted).unwrap();
    let cookie = format!("cookie: {cookie}\r\n");
    assert!(
        posted.headers("set-cookie").iter().all(|cookie| cookie.contains("; Path=/;")),
        "{}",
        posted.head
    );

    let inside = ask(&gateway, "GET /apps/phoenix/deep?a=1", "localhost", &cookie).await;
    assert_eq!((inside.status, upstream.last().line().as_str()), (200, "GET /deep?a=1"));
    // The gateway has no pages anywhere else, and the upstream none among its own.
    let count = upstream.count();
    assert_eq!(ask(&gateway, "GET /apps/phoenix/_doorward/none", "localhost", &cookie).await.status, 404);
    assert_eq!(upstream.count(), count);
    let out = ask(
        &gateway,
        "POST /apps/phoenix/_doorward/logout",
        "localhost",
        &format!(
            "{cookie}origin: http://localhost\r\ncontent-length: 0\r\n\
             content-type: application/x-www-form-urlencoded\r\n"
        ),
    )
    .await;
    assert!(
        out.status == 303 && out.header("location").unwrap().starts_with("/apps/phoenix/"),
        "{}",
        out.head
    );
    assert_eq!(ask(&gateway, "GET /apps/phoenix/deep", "localhost", &cookie).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_of_other_proxies_are_answered_below_a_path() {
    let upstream = Upstream::spawn().await;
    let gateway = below(&upstream).await;
    let key = gateway.system_key("grafana", Role::Viewer).await;
    let asked = |uri: &str, more: &str| {
        format!(
            "x-original-method: GET\r\nx-original-url: http://localhost{uri}\r\nx-forwarded-proto: http\r\n\
             x-forwarded-host: localhost\r\n{more}"
        )
    };
    let at = "GET /apps/phoenix/_doorward/auth/nginx";
    let allowed = ask(&gateway, at, "localhost", &asked("/apps/phoenix/x", &bearer(&key))).await;
    assert_eq!(allowed.status, 200, "{}\n{}", allowed.head, allowed.text());
    let refused = ask(&gateway, at, "localhost", &asked("/apps/phoenix/admin", &bearer(&key))).await;
    assert_eq!(refused.status, 403, "{}", refused.head);
    let unknown = ask(&gateway, at, "localhost", &asked("/apps/phoenix/x?y", "accept: text/html\r\n")).await;
    assert_eq!(unknown.status, 401);
    let login = "http://localhost/apps/phoenix/_doorward/login?rd=";
    assert!(unknown.header("location").is_some_and(|place| place.starts_with(login)), "{}", unknown.head);
    assert_eq!(upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_find_a_gateway_below_a_path() {
    let upstream = Upstream::spawn().await;
    let gateway = below(&upstream).await;
    for (path, status) in [("/apps/phoenix/_doorward/healthz", 200), ("/apps/phoenix/_doorward/readyz", 200)]
    {
        assert_eq!(gateway.get(path, "").await.status, status, "{path}");
    }
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"GET /_doorward/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(read_answer(&mut stream).await.status, 401, "outside of its path nothing is the gateway's");
}
