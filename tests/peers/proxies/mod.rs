//! nginx, Traefik, Caddy, `HAProxy` and Envoy, each started with exactly what `doorward snippet` prints.

pub(crate) mod door;
pub(crate) mod echo;
mod left;
mod links;
mod names;
mod oddities;
mod paths;
pub(crate) mod sockets;

use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::door::{Door, Proxy, raw};
use self::echo::Echo;
use crate::support::chrome::Browser;

/// The key of the example in RFC 6455, 1.3.
pub(crate) const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const NAVIGATION: [(&str, &str); 3] =
    [("accept", "text/html"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];

/// Names that some application believes, in spellings that a careless one folds to the same.
const FORGED: &[&str] = &[
    "X-Auth-User",
    "x-auth-role",
    "X-Auth-Email",
    "X-Auth-Groups",
    "X-Auth-Name",
    "X-Auth-Subject",
    "X_Auth_User",
    "X_Auth-Role",
    "X.Auth.Role",
    "X~Auth~Role",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token",
    "X_Forwarded_User",
    "X-Auth-Request-User",
    "Remote-User",
    "Remote_User",
    "Remote-Groups",
    "X-WEBAUTH-USER",
    "X-authentik-username",
    "X-Vouch-User",
    "X-MS-CLIENT-PRINCIPAL",
    "X-JWT-Assertion",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Forwarded-Prefix",
    "X-HTTP-Method-Override",
    "X-Script-Name",
    "Script-Name",
    "SCRIPT_NAME",
    "X-Middleware-Subrequest",
    "X-Sendfile-Type",
    "Forwarded",
];

/// One test for each proxy.
macro_rules! each_proxy {
    ($($test:ident => $run:path;)+) => {
        $(mod $test {
            use super::*;
            each_proxy!(@one $run, nginx Nginx, traefik Traefik, caddy Caddy, haproxy Haproxy, envoy Envoy,
                envoy_over_grpc EnvoyGrpc);
        })+
    };
    (@one $run:path, $($name:ident $proxy:ident),+) => {
        $(#[tokio::test]
        async fn $name() {
            $run(Proxy::$proxy).await;
        })+
    };
}

each_proxy! {
    people_and_programs_get_in_as_themselves_only => callers;
    nothing_a_client_says_of_itself_counts => forgeries;
    both_edges_decide_alike => paths::both_edges;
    only_who_may_open_a_socket_opens_one => sockets::attacks;
    the_doctor_finds_nothing_wrong => doctor;
    both_places_of_a_copy_are_decided => crate::webdav::through;
    what_is_ours_never_reaches_the_application => left::credentials;
    no_name_that_is_printed_reaches_the_application => names::believed;
}

/// Sign-in and back, sessions, keys, and sockets.
/// FA17: a WebSocket through each proxy.
/// FA20: refusals as the client of each proxy gets them.
async fn callers(proxy: Proxy) {
    let echo = Echo::start().await;
    let door = Door::open(proxy, &echo.address.to_string()).await;
    door.gateway.user("vera", "viewer");
    door.gateway.user("ada", "admin");
    let key = door.gateway.key("probe", "viewer", &[]).key;

    // A browser is sent to sign in, and comes back to where it wanted to go, query included.
    let deep = "/reports/daily?from=2026-01-01&q=a%26b";
    let sent = door.get(deep, &NAVIGATION).await;
    assert!([302, 303].contains(&sent.status), "{sent:?}");
    let page = sent.header("location").to_owned();
    assert!(page.starts_with(&format!("{}/_doorward/login?rd=", door.url)), "{page}");
    assert!(echo.take().is_empty(), "the application was asked before anybody signed in");
    let (vera, back) = door.sign_in(&page, "vera").await;
    assert_eq!(back, deep);
    let read = door.get(&back, &[("cookie", &format!("theme=dark; {vera}; lang=en"))]).await;
    assert_eq!((read.status, read.header("x-echo")), (200, "1"), "{read:?}");
    let seen = echo.take().remove(0);
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", deep));
    assert_eq!(seen.all("x-auth-user"), ["vera"]);
    assert_eq!(seen.all("x-auth-role"), ["viewer"]);
    let cookies = seen.all("cookie").join("; ");
    assert_eq!(cookies, "theme=dark; lang=en", "the session cookie reaches the application");

    // A viewer reads, does not write, and is nobody's admin; an admin is.
    let write = door.send(Method::POST, "/x", &[("cookie", &vera), ("origin", &door.url)], "a=1").await;
    assert_eq!((write.status, write.header("x-echo")), (403, ""), "{write:?}");
    assert_eq!(door.get("/admin/users", &[("cookie", &vera)]).await.status, 403);
    let (ada, _) = door.sign_in(&format!("{}/_doorward/login", door.url), "ada").await;
    assert_eq!(door.get("/admin/users", &[("cookie", &ada)]).await.status, 200);
    let write = door.send(Method::POST, "/x", &[("cookie", &ada), ("origin", &door.url)], "a=1").await;
    assert_eq!((write.status, write.header("x-echo")), (200, "1"), "{write:?}");
    let foreign = [("cookie", ada.as_str()), ("origin", "http://evil.test")];
    assert_eq!(door.send(Method::POST, "/x", &foreign, "a=1").await.status, 403);
    assert_eq!(door.get("/public/x", &[]).await.status, 200);

    // Programs are told, and get in with a key that the application never sees.
    let told = door.get("/x", &[("accept", "application/json")]).await;
    assert_eq!(told.status, 401, "{told:?}");
    assert!(told.header("content-type").starts_with("application/problem+json"), "{told:?}");
    assert!(told.header("www-authenticate").starts_with("Bearer"), "{told:?}");
    assert_eq!(told.header("location"), "");
    echo.take();
    let bearer = format!("Bearer {key}");
    for header in [("authorization", bearer.as_str()), ("x-api-key", key.as_str())] {
        let read = door.get("/x", &[header]).await;
        assert_eq!((read.status, read.header("x-echo")), (200, "1"), "{header:?} {read:?}");
        assert_eq!(door.get("/admin", &[header]).await.status, 403);
    }
    for seen in echo.take() {
        assert_eq!(seen.all("x-auth-user"), ["probe"]);
        let leaks: Vec<_> = seen.headers.iter().filter(|(_, value)| value.contains(&key)).collect();
        assert!(leaks.is_empty(), "{leaks:?}");
    }
    let wrong = door.get("/x", &[("authorization", "Bearer dw_s_nothing")]).await;
    assert_eq!(wrong.status, 401, "{wrong:?}");

    // WebSockets, and what only looks like one.
    let echoed = open_socket(&door, "/ws", &vera).await;
    assert_eq!(echoed, Ok(b"over the switched connection".to_vec()));
    assert_eq!(open_socket(&door, "/ws", "").await, Err(401));
    assert_eq!(open_socket(&door, "/admin/ws", &vera).await, Err(403));

    // Nobody asks questions from outside, and a session that has ended is one no more.
    echo.take();
    for path in ["auth", "%61uth", "auth-route/x", "./auth", "x/../auth", "/auth"] {
        let request = format!(
            "GET /_doorward/{path}/{} HTTP/1.1\r\nhost: {}\r\nx-original-url: {}/public/x\r\nx-original-method: GET\r\n\
             x-forwarded-uri: /public/x\r\nx-forwarded-method: GET\r\nconnection: close\r\n\r\n",
            proxy.name(),
            door.url.trim_start_matches("http://"),
            door.url,
        );
        let (status, text) = raw(door.url.trim_start_matches("http://"), request.as_bytes()).await;
        assert!(status >= 300 && !text.to_ascii_lowercase().contains("x-auth-user:"), "{path}: {text}");
    }
    door.gateway.json(&["session", "revoke", "--user", "vera"], "");
    assert_eq!(door.get("/x", &[("cookie", &vera), ("accept", "application/json")]).await.status, 401);
}

/// Opens a WebSocket through the proxy and sends something over it: what comes back, or the refusal.
async fn open_socket(door: &Door, path: &str, cookies: &str) -> Result<Vec<u8>, u16> {
    let host = door.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\norigin: {}\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {WEBSOCKET_KEY}\r\ncookie: {cookies}\r\n\r\n",
        door.url
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
    if status != 101 {
        return Err(status);
    }
    let message = b"over the switched connection";
    stream.write_all(message).await.unwrap();
    let mut back = vec![0; message.len()];
    stream.read_exact(&mut back).await.unwrap();
    Ok(back)
}

/// Forged identities, forwarding headers and hop-by-hop tricks.
/// FA22: what is forged, through each proxy by the configuration we print.
async fn forgeries(proxy: Proxy) {
    let echo = Echo::start().await;
    let door = Door::open(proxy, &echo.address.to_string()).await;
    let bearer = format!("Bearer {}", door.gateway.key("probe", "viewer", &[]).key);

    for name in FORGED {
        for (path, credential) in [("/x", Some(("authorization", bearer.as_str()))), ("/public/x", None)] {
            let mut headers = vec![(*name, "forged"), (*name, "again")];
            headers.extend(credential);
            let answer = door.get(path, &headers).await;
            let seen = echo.take();
            // Envoy refuses names with underscores.
            let refused = matches!(proxy, Proxy::Envoy | Proxy::EnvoyGrpc) && name.contains('_');
            assert_eq!(answer.status, if refused { 400 } else { 200 }, "{name}: {answer:?}");
            for seen in seen {
                let forged = seen
                    .headers
                    .iter()
                    .find(|(_, value)| value.contains("forged") || value.contains("again"));
                assert_eq!(forged, None, "{name} reaches the application");
                let expected = if credential.is_some() { "probe" } else { "" };
                assert_eq!(seen.all("x-auth-user").join(","), expected, "{name}");
            }
        }
    }

    // Ours cannot be had dropped on the way, here or further on.
    for token in ["X-Auth-User", "close, x-auth-user", "keep-alive, X-Auth-Role"] {
        door.get("/x", &[("authorization", &bearer), ("connection", token)]).await;
        for seen in echo.take() {
            assert_eq!(seen.all("x-auth-user"), ["probe"], "connection: {token}");
            assert_eq!(seen.all("x-auth-role"), ["viewer"], "connection: {token}");
            assert!(!seen.all("connection").concat().to_ascii_lowercase().contains("x-auth"), "{seen:?}");
        }
    }

    // What a client says of method, address and itself changes nothing: neither more rights nor less.
    for (name, value) in [
        ("x-forwarded-method", "GET"),
        ("x-forwarded-uri", "/public/x"),
        ("x-forwarded-host", "own.test"),
        ("x-forwarded-proto", "ws"),
        ("x-original-method", "GET"),
        ("x-original-url", "http://own.test/public/x"),
        ("x-original-uri", "/public/x"),
        ("x-envoy-original-path", "/public/x"),
        ("sec-websocket-key", WEBSOCKET_KEY),
    ] {
        let forged = [("authorization", bearer.as_str()), (name, value)];
        let admin = door.get("/admin/x", &forged).await;
        assert_eq!(admin.status, 403, "{name}: {admin:?}");
        let write = door.send(Method::POST, "/x", &forged, "a=1").await;
        assert_eq!(write.status, 403, "{name}: {write:?}");
        let anonymous = door.get("/x", &[("accept", "application/json"), (name, value)]).await;
        assert_eq!(anonymous.status, 401, "{name}: {anonymous:?}");
        let read = door.get("/x", &forged).await;
        assert_eq!(read.status, 200, "{name}: {read:?}");
    }
    echo.take();
    let forged =
        [("authorization", bearer.as_str()), ("x-forwarded-for", "6.6.6.6"), ("x-real-ip", "6.6.6.6")];
    door.get("/x", &forged).await;
    for seen in echo.take() {
        let believed = seen.headers.iter().find(|(_, value)| value.contains("6.6.6.6"));
        // Envoy adds to the list, whose last entry is the one that counts.
        let adds = matches!(proxy, Proxy::Envoy | Proxy::EnvoyGrpc);
        let last = seen.all("x-forwarded-for").concat();
        assert!(believed.is_none() || (adds && !last.ends_with("6.6.6.6")), "{seen:?}");
    }
}

/// The doctor agrees with the printed configuration, and sees what is missing from a worse one.
async fn doctor(proxy: Proxy) {
    let echo = Echo::start().await;
    let door = Door::open(proxy, &echo.address.to_string()).await;
    let page = format!("{}/reports?a=1", door.url);
    let told = door.gateway.run(&["doctor", proxy.name(), "--through", &page], "");
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.status.success(), "{text}{}", String::from_utf8_lossy(&told.stderr));
    assert!(text.contains(&page) && !text.contains("WRONG"), "{text}");

    // A configuration that lacks a line is told which.
    if proxy == Proxy::Nginx {
        let worse = Door::open_changed(proxy, &echo.address.to_string(), |text| {
            text.replace("proxy_set_header X-Original-URL $scheme", "proxy_set_header X-Not-That $scheme")
        })
        .await;
        let told = worse.gateway.run(&["doctor", "nginx", "--through", &format!("{}/a", worse.url)], "");
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        assert_eq!(told.status.code(), Some(1), "{text}");
        assert!(text.contains("WRONG  method, scheme, host and path"), "{text}");
        assert!(text.contains("proxy_set_header X-Original-URL $scheme://$http_host$request_uri"), "{text}");
    }

    // About Doorward's own pages nobody is asked.
    let past = format!("{}/_doorward/healthz", door.url);
    let told = door.gateway.run(&["doctor", proxy.name(), "--through", &past, "--json"], "");
    assert_eq!(told.status.code(), Some(1), "{told:?}");
    assert!(String::from_utf8_lossy(&told.stdout).contains("did not ask"), "{told:?}");
}

#[tokio::test]
async fn browser_signs_in_through_nginx_and_lands_on_the_deep_link() {
    browser(Proxy::Nginx).await;
}

#[tokio::test]
async fn browser_signs_in_through_traefik_and_lands_on_the_deep_link() {
    browser(Proxy::Traefik).await;
}

async fn browser(proxy: Proxy) {
    let deep = "/reports/daily?from=2026-01-01&q=a%26b%3Dc";
    let echo = Echo::start().await;
    let door = Door::open(proxy, &echo.address.to_string()).await;
    door.gateway.user("vera", "viewer");
    let browser = Browser::start().await;
    browser.client.goto(&format!("{}{deep}", door.url)).await.unwrap();
    browser.arrive_below("/_doorward/login?rd=").await;
    browser.sign_in("vera").await;
    browser.arrive(deep).await;
    browser.see("/reports/daily").await;
    assert_eq!(echo.take().first().unwrap().all("x-auth-user"), ["vera"]);
    browser.close().await;
}
