//! H: a right to read that is to become a socket, and a right to a socket that is to become a page.

use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;
use http::Method;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::gateway::{ROUTES, bearer};
use crate::support::raw::{HANDSHAKE, SWITCHED, exchange, read_answer_to};
use crate::support::{Gateway, Upstream, Watch, within};

const KEY: &str = "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The caller that [`Gateway::system_key`] makes, as the upstream is told of it.
fn told(role: &'static str) -> [(&'static str, &'static str); 3] {
    [("x-auth-user", "*"), ("x-auth-subject", "*"), ("x-auth-role", role)]
}

/// A gateway whose only route has these rules, or the standard ones.
async fn ruled(upstream: &Upstream, rules: &str) -> Gateway {
    let public = "{ name = \"public\", path = \"/public\", allow = \"anyone\" }";
    let rules = if rules.is_empty() { String::new() } else { format!("rules = [ {public}, {rules} ]") };
    let open = "[[routes]]\nupstream = \"app\"\npath = \"/public\"\nrules = [{ allow = \"anyone\" }]\n";
    Gateway::spawn(&upstream.url(), &format!("{open}[[routes]]\nupstream = \"app\"\npath = \"/\"\n{rules}"))
        .await
}

/// H12: `Upgrade` as a list, doubled, with a version, beside an invitation to HTTP/2, and without `Connection`.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_two_servers_could_read_differently_reaches_none() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let admin = bearer(&gateway.system_key("root", Role::Admin).await);
    for upgrade in [
        "websocket,",
        ",websocket",
        "x, websocket",
        "websocket, x",
        "h2c, websocket",
        "websocket,h2c",
        "WebSocket/13",
        "websocket/13, websocket",
        "websocket;v=13",
        "\"websocket\"",
        "websocket websocket",
        "",
        "websocket\r\nupgrade: websocket",
        "tcp\r\nupgrade: websocket",
        "h2c\r\nupgrade: websocket",
        "websocket\r\nupgrade: ",
        "h2c, h2",
    ] {
        for connection in ["upgrade", "keep-alive, Upgrade", "close\r\nconnection: upgrade"] {
            let watch = Watch::begin(&gateway, &upstream);
            let headers = format!("connection: {connection}\r\nupgrade: {upgrade}\r\n{KEY}{admin}");
            let answer = gateway.get("/socket", &headers).await;
            assert_eq!(answer.status, 400, "{headers}: {}", answer.text());
            assert!(answer.text().contains("odd-upgrade"), "{}", answer.text());
            watch.nothing_reached(&headers).await;
        }
    }
    // What asks for nothing, or for what is declined, is a plain request without a trace of it.
    for headers in [
        format!("upgrade: websocket\r\n{KEY}"),
        format!("connection: keep-alive\r\nupgrade: x, websocket\r\n{KEY}"),
        "connection: upgrade\r\n".to_owned(),
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n".to_owned(),
        "connection: upgrade\r\nupgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n".to_owned(),
        "connection: upgrade\r\nupgrade: HTTP/2.0\r\n".to_owned(),
        "connection: upgrade\r\nupgrade: TLS/1.2\r\n".to_owned(),
        "http2-settings: AAMAAABk\r\n".to_owned(),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        assert_eq!(gateway.get("/socket", &format!("{headers}{admin}")).await.status, 200, "{headers}");
        let sent = upstream.last();
        for name in ["upgrade", "http2-settings"] {
            assert_eq!(sent.header(name), None, "{headers}");
        }
        assert!(!sent.header("connection").unwrap_or_default().contains("pgrade"), "{headers}");
        watch.reached(&headers, &["GET /socket"], &told("admin")).await;
    }
}

/// H13: handshakes that are none: another method, another version, no key, several.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_is_one_before_it_is_decided() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let admin = bearer(&gateway.system_key("root", Role::Admin).await);
    let (upgrade, version) =
        ("connection: upgrade\r\nupgrade: websocket\r\n", "sec-websocket-version: 13\r\n");
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (method, fields, status) in [
        ("POST", format!("{version}{key}"), 400),
        ("HEAD", format!("{version}{key}"), 400),
        ("OPTIONS", format!("{version}{key}"), 400),
        ("GET", key.to_owned(), 426),
        ("GET", format!("sec-websocket-version: 8\r\n{key}"), 426),
        ("GET", format!("sec-websocket-version: 13, 8\r\n{key}"), 426),
        ("GET", format!("{version}{version}{key}"), 426),
        ("GET", version.to_owned(), 400),
        ("GET", format!("{version}sec-websocket-key: \r\n"), 400),
        ("GET", format!("{version}sec-websocket-key: c2hvcnQ=\r\n"), 400),
        ("GET", format!("{version}{key}{key}"), 400),
    ] {
        for credential in ["", &admin] {
            let watch = Watch::begin(&gateway, &upstream);
            let request =
                format!("{method} /socket HTTP/1.1\r\nhost: a\r\n{upgrade}{fields}{credential}\r\n");
            let answer = exchange(gateway.address, request).await;
            assert_eq!(answer.status, status, "{method} {fields}");
            if status == 426 {
                assert_eq!(answer.header("sec-websocket-version"), Some("13"), "{fields}");
            }
            watch.nothing_reached(&fields).await;
        }
    }
}

/// H14: a right to read, by role and by a key's scope, that is to open a socket.
#[tokio::test(flavor = "multi_thread")]
async fn no_right_to_read_opens_a_socket() {
    let upstream = Upstream::spawn().await;
    for rules in [
        "",
        "{ methods = \"read\", allow = \"viewer\" }, { methods = \"write\", allow = \"member\" }",
        "{ methods = [\"GET\"], allow = \"viewer\" }, { allow = \"member\" }",
        "{ methods = [\"read\", \"GET\", \"OPTIONS\"], allow = \"viewer\" }, { methods = \"websocket\", allow = \"member\" }",
    ] {
        let gateway = ruled(&upstream, rules).await;
        let viewer = bearer(&gateway.system_key("v", Role::Viewer).await);
        let member = bearer(&gateway.system_key("m", Role::Member).await);
        let scope = KeyScope { methods: vec![Method::GET], ..KeyScope::default() };
        let gets = bearer(&gateway.key_with("g", Role::Member, None, scope).await.0);
        for upgrade in [
            HANDSHAKE,
            "connection: upgrade\r\nupgrade: tcp\r\n",
            "connection: upgrade\r\nupgrade: spice/2\r\n",
        ] {
            for credential in [&viewer, &gets] {
                let watch = Watch::begin(&gateway, &upstream);
                let answer = gateway.get("/terminal/ws", &format!("{upgrade}{credential}")).await;
                assert_eq!(answer.status, 403, "{rules} {upgrade}");
                watch.nothing_reached(upgrade).await;
            }
            let protocol = if upgrade == HANDSHAKE {
                "websocket"
            } else {
                upgrade.trim_end().rsplit(' ').next().unwrap()
            };
            upstream.answers(match protocol {
                "websocket" => format!("{SWITCHED}\r\n"),
                other => format!("HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: {other}\r\n\r\n"),
            });
            let mut stream = TcpStream::connect(gateway.address).await.unwrap();
            let request = format!("GET /terminal/ws HTTP/1.1\r\nhost: a\r\n{upgrade}{member}\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let answer = within("the switch", read_answer_to(&mut stream, true)).await;
            assert_eq!((answer.status, answer.header("upgrade")), (101, Some(protocol)), "{rules}");
        }
        upstream.answers(crate::support::upstream::OK);
        for credential in [&viewer, &gets, &member] {
            assert_eq!(gateway.get("/terminal/ws", credential).await.status, 200, "{rules}: a plain request");
        }
    }
}

/// H15: a page behind a handshake, for somebody who may open sockets and read no page.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_answered_by_a_page_gives_what_a_plain_request_would() {
    let upstream = Upstream::spawn().await;
    let gateway = ruled(
        &upstream,
        "{ name = \"sockets\", methods = \"websocket\", allow = [\"agent\", \"viewer\"] }, \
         { name = \"watched\", path = \"/watched\", allow = \"admin\", enforce = \"log\" }, \
         { name = \"reads\", methods = \"read\", allow = \"viewer\" }",
    )
    .await;
    let agent = bearer(&gateway.system_key("a", Role::Agent).await);
    let viewer = bearer(&gateway.system_key("v", Role::Viewer).await);
    for page in [
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret",
        "HTTP/1.1 404 Not Found\r\nx-secret: secret\r\ncontent-length: 6\r\n\r\nsecret",
        "HTTP/1.1 302 Found\r\nlocation: /secret\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nsecret\r\n",
    ] {
        for upgrade in [HANDSHAKE, "connection: upgrade\r\nupgrade: tcp\r\n"] {
            let watch = Watch::begin(&gateway, &upstream);
            upstream.answers(page);
            let answer = gateway.get("/page", &format!("{upgrade}{agent}")).await;
            assert_eq!(answer.status, 403, "{page}");
            assert!(!answer.head.contains("secret") && !answer.text().contains("secret"), "{}", answer.head);
            watch.reached(page, &["GET /page"], &told("agent")).await;
        }
    }
    upstream.answers("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\npage");
    let answer = gateway.get("/page", &format!("{HANDSHAKE}{viewer}")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "page"), "who may read it gets it");
    let answer = gateway.get("/watched", &format!("{HANDSHAKE}{agent}")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "page"), "what is only logged passes");
    upstream.answers(format!("{SWITCHED}\r\n"));
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let request = format!("GET /page HTTP/1.1\r\nhost: a\r\n{HANDSHAKE}{agent}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(within("the switch", read_answer_to(&mut stream, true)).await.status, 101);
}

/// H16: an upstream that agrees to something else, or to somebody else's handshake.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_switches_to_something_else_is_none() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let member = bearer(&gateway.system_key("m", Role::Member).await);
    let accept = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    for answer in [
        "connection: upgrade\r\nupgrade: websocket\r\n".to_owned(),
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n"
            .to_owned(),
        format!("connection: upgrade\r\nupgrade: websocket\r\n{accept}{accept}"),
        format!("connection: upgrade\r\nupgrade: h2c\r\n{accept}"),
        format!("connection: upgrade\r\nupgrade: websocket, h2c\r\n{accept}"),
        format!("connection: upgrade\r\n{accept}"),
        format!("upgrade: websocket\r\n{accept}"),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        upstream.answers(format!("HTTP/1.1 101 Switching Protocols\r\n{answer}\r\n"));
        let got = gateway.get("/socket", &format!("{HANDSHAKE}{member}")).await;
        assert_eq!(got.status, 502, "{answer}");
        watch.reached(&answer, &["GET /socket"], &told("member")).await;
    }
}

/// FA26: signs of a handshake that the client of another proxy makes up, or leaves out.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_claims_of_a_switch_widens_no_answer_to_a_question() {
    let gateway = Gateway::configured(
        "[server]\nworkers = 1\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [forward_auth]\nflavours = [\"nginx\", \"traefik\", \"caddy\", \"haproxy\", \"envoy\"]\n\
         [[routes]]\nhosts = [\"app.example\"]\nrules = [\n\
         { name = \"sockets\", methods = \"websocket\", allow = [\"agent\", \"member\"] },\n\
         { name = \"reads\", methods = \"read\", allow = \"viewer\" },\n\
         { name = \"writes\", methods = \"write\", allow = \"member\" },\n]\n",
    )
    .await;
    let mut keys = Vec::new();
    for (name, role) in [("agent", Role::Agent), ("viewer", Role::Viewer), ("member", Role::Member)] {
        keys.push((name, bearer(&gateway.system_key(name, role).await)));
    }
    let ask = async |flavour: &str, method: &str, proto: &str, more: &str| {
        let own = gateway.address;
        let at = format!("/_doorward/auth/{flavour}");
        let question = match flavour {
            "nginx" => format!(
                "GET {at} HTTP/1.1\r\nhost: {own}\r\nx-original-method: {method}\r\n\
                 x-original-url: {proto}://app.example/x\r\n{more}\r\n"
            ),
            "envoy" => format!(
                "{method} {at}/x HTTP/1.1\r\nhost: app.example\r\nx-forwarded-proto: {proto}\r\n\
                 content-length: 0\r\n{more}\r\n"
            ),
            _ => format!(
                "GET {at} HTTP/1.1\r\nhost: {own}\r\nx-forwarded-method: {method}\r\nx-forwarded-proto: {proto}\r\n\
                 x-forwarded-host: app.example\r\nx-forwarded-uri: /x\r\n{more}\r\n"
            ),
        };
        exchange(own, question).await.status
    };
    for flavour in ["nginx", "traefik", "caddy", "haproxy", "envoy"] {
        for (proto, signs) in [
            ("https", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
            ("https", "sec-websocket-version: 13\r\n"),
            ("https", "sec-websocket-protocol: graphql-ws\r\n"),
            ("https", "upgrade: websocket\r\n"),
            ("https", "upgrade: x, websocket\r\n"),
            ("https", "upgrade: tcp\r\n"),
            ("https", "x-original-upgrade: websocket\r\n"),
            ("https", "x-original-upgrade: tcp\r\nx-original-upgrade: websocket\r\n"),
            ("wss", ""),
            ("ws", "x-forwarded-proto-was: http\r\n"),
            ("https", HANDSHAKE),
        ] {
            for (name, credential) in &keys {
                let status = ask(flavour, "GET", proto, &format!("{signs}{credential}")).await;
                let both = *name == "member";
                assert_eq!(status == 200, both, "{flavour} {proto} {signs} by {name}: {status}");
            }
        }
        for (name, credential) in &keys {
            let status = ask(flavour, "GET", "https", credential).await;
            assert_eq!(status == 200, *name != "agent", "{flavour}: a plain GET by {name}: {status}");
        }
    }
}

/// FA27: calls of gRPC methods by any media type, at both edges.
#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_rule_is_passed_by_no_media_type() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [forward_auth]\nflavours = [\"nginx\", \"caddy\"]\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n[[routes]]\nupstream = \"app\"\nrules = [\n\
         {{ name = \"public\", path = \"/public\", allow = \"anyone\" }},\n\
         {{ name = \"bulk\", grpc = \"a.Flight/DoPut\", allow = \"admin\" }},\n\
         {{ name = \"rest\", allow = \"member\" }},\n]\n",
        upstream.url()
    ))
    .await;
    let member = bearer(&gateway.system_key("m", Role::Member).await);
    let admin = bearer(&gateway.system_key("a", Role::Admin).await);
    let own = gateway.address;
    let status = async |request: String| exchange(own, request).await.status;
    for types in [
        "",
        "content-type: application/grpc\r\n",
        "content-type: application/grpcx\r\n",
        "content-type: application/grpc-web\r\n",
        "content-type: application/grpc-web-text+proto\r\n",
        "content-type: application/grpc,x\r\n",
        "content-type: application/grpc;x\r\n",
        "content-type: APPLICATION/GRPC+proto\r\n",
        "content-type: text/plain\r\ncontent-type: application/grpc\r\n",
        "content-type: application/grpc\r\ncontent-type: text/plain\r\n",
        "content-type: \r\n",
    ] {
        for (method, path) in [
            ("POST", "/a.Flight/DoPut"),
            ("GET", "/a.Flight/DoPut"),
            ("PUT", "/a.Flight/DoPut"),
            ("POST", "/a.flight/doput"),
            ("POST", "/a.Flight/DoPut/"),
        ] {
            let case = format!("{method} {path} {types}");
            let watch = Watch::begin(&gateway, &upstream);
            let direct = |who: &str| {
                format!("{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n{types}{who}\r\n")
            };
            let refused = exchange(own, direct(&member)).await;
            let status_of_grpc = refused.header("grpc-status").map(str::to_owned);
            assert!(
                refused.status == 403 || status_of_grpc.as_deref() == Some("7"),
                "{case}: {}",
                refused.head
            );
            for question in [
                format!(
                    "GET /_doorward/auth/nginx HTTP/1.1\r\nhost: {own}\r\nx-original-method: {method}\r\nx-original-url: http://a{path}\r\n{types}{member}\r\n"
                ),
                format!(
                    "GET /_doorward/auth/caddy HTTP/1.1\r\nhost: {own}\r\nx-forwarded-method: {method}\r\nx-forwarded-proto: http\r\nx-forwarded-host: a\r\nx-forwarded-uri: {path}\r\n{types}{member}\r\n"
                ),
            ] {
                assert_eq!(status(question).await, 403, "{case}");
            }
            watch.nothing_reached(&case).await;
        }
        let allowed =
            format!("POST /a.Flight/DoPut HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n{types}{admin}\r\n");
        let other =
            format!("POST /a.Flight/DoGet HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n{types}{member}\r\n");
        for request in [allowed, other] {
            assert_eq!(status(request).await, 200, "{types}");
        }
    }
}
