//! Paths that two parties could read differently, through each proxy and through the gateway's own.

use std::fmt::Write as _;

use super::door::{Door, Proxy, raw};
use super::echo::Echo;

/// Every class of confusion, aimed at `/admin` from where anybody may go, and the other way round.
const PATHS: &[&str] = &[
    "/x",
    "/public/x",
    "/admin/x",
    "/public/../admin/x",
    "/admin/../public/x",
    "/public/%2e%2e/admin",
    "/public/%2E./admin",
    "/public/..%2fadmin",
    "/public%2f..%2fadmin",
    "/public/..;/admin",
    "/public;/../admin",
    "//admin",
    "//public/../admin",
    "/admin%2fusers",
    "/admin//users",
    "/public//x",
    "/./admin",
    "/../admin",
    "/%2e/admin",
    "/%61dmin",
    "/%61%64min/x",
    "/%2561dmin",
    "/public/%252e%252e/admin",
    "/public\\..\\admin",
    "/public/%5c../admin",
    "/admin%00",
    "/admin%00.css",
    "/admin?x=/public/",
    "/public/x?y=/../admin",
    "/public?/../admin",
    "/public#/../../admin",
    "/public%23/../admin",
    "/public%3f/../admin",
    "/Admin",
    "/ADMIN/x",
    "/%41dmin",
    "/admin.",
    "/admin/",
    "/admin%20",
    "/admin%09",
    "/admin\t",
    "/admin%0d%0a",
    "/%",
    "/%2",
    "/%zz",
    "/%u0061dmin",
    "/adm\u{131}n",
    "/adm%c4%b1n",
    "/admin%ff",
    "/public../x",
    "/publicx",
    "/public/.../x",
    "/a b",
    "/a+b",
    "/a%2Bb",
    "*",
    "admin",
    "http://own.test/admin",
    "http://own.test/public/x",
];

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// The application got it, as this target.
    Passed(String),
    /// Somebody on the way refused it, with this status.
    Refused(u16),
}

async fn ask(address: &str, host: &str, target: &str, key: &str, echo: &Echo) -> Outcome {
    let authorization =
        if key.is_empty() { String::new() } else { format!("authorization: Bearer {key}\r\n") };
    let request = format!(
        "GET {target} HTTP/1.1\r\nhost: {host}\r\n{authorization}accept: application/json\r\nconnection: close\r\n\r\n"
    );
    let (status, _) = raw(address, request.as_bytes()).await;
    match echo.take().pop() {
        Some(seen) => Outcome::Passed(seen.target),
        None => Outcome::Refused(status),
    }
}

/// The spelling that the gateway itself sends: needless escapes gone, hex digits upper case.
fn canonical(target: &str) -> String {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let bytes = path.as_bytes();
    let (mut text, mut at) = (String::new(), 0);
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| path.get(at + 1..at + 3)).flatten();
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                text.push(char::from(byte));
                at += 3;
            }
            Some(byte) => {
                _ = write!(text, "%{byte:02X}");
                at += 3;
            }
            None => {
                text.push(char::from(bytes[at]));
                at += 1;
            }
        }
    }
    query.map_or(text.clone(), |query| format!("{text}?{query}"))
}

/// Nothing passes a proxy that would not pass the gateway in the very form in which the application gets it,
/// and nothing is refused but what the proxy itself is known to refuse.
pub(super) async fn both_edges(proxy: Proxy) {
    let echo = Echo::start().await;
    let door = Door::open(proxy, &echo.address.to_string()).await;
    let host = door.url.trim_start_matches("http://").to_owned();
    let gateway = door.gateway.url.trim_start_matches("http://").to_owned();
    let keys = [
        ("nobody", String::new()),
        ("viewer", door.gateway.key("viewer", "viewer", &[]).key),
        ("admin", door.gateway.key("admin", "admin", &[]).key),
    ];
    let mut differences = Vec::new();
    for path in PATHS {
        for (who, key) in &keys {
            // An absolute target names its host, and that is to be the one asked.
            let own_path = path.to_string();
            let door_path = path.replace("own.test", &host);
            let own = ask(&gateway, "own.test", &own_path, key, &echo).await;
            let through = ask(&host, &host, &door_path, key, &echo).await;
            if let Outcome::Passed(target) = &through {
                let again = ask(&gateway, "own.test", target, key, &echo).await;
                assert_eq!(
                    again,
                    Outcome::Passed(canonical(target)),
                    "{path} for {who}: what reaches the application is not what was decided"
                );
            }
            let difference = match (&own, &through) {
                (Outcome::Refused(_), Outcome::Refused(_)) => None,
                (Outcome::Passed(own), Outcome::Passed(through)) if *own == canonical(through) => None,
                (Outcome::Refused(_), Outcome::Passed(target)) => {
                    Some(format!("{path} repaired to {target}"))
                }
                _ => Some(format!("{path} refused")),
            };
            differences.extend(difference);
        }
    }
    differences.dedup();
    assert_eq!(differences, known(proxy), "{differences:#?}");
}

/// Where a proxy repairs a path, and then asks about the repaired one, or refuses it without asking.
fn known(proxy: Proxy) -> &'static [&'static str] {
    match proxy {
        Proxy::Nginx => &["/public#/../../admin refused"],
        Proxy::Caddy => &["/public#/../../admin refused", "/adm\u{131}n repaired to /adm%C4%B1n"],
        Proxy::Haproxy => &["/public#/../../admin refused", "/admin\t repaired to /admin"],
        Proxy::Traefik => &[
            "/public/../admin/x repaired to /admin/x",
            "/admin/../public/x repaired to /public/x",
            "/public/%2e%2e/admin repaired to /admin",
            "/public/%2E./admin repaired to /admin",
            "/public;/../admin repaired to /admin",
            "//admin repaired to /admin",
            "//public/../admin repaired to /admin",
            "/admin//users repaired to /admin/users",
            "/public//x repaired to /public/x",
            "/./admin repaired to /admin",
            "/../admin repaired to /admin",
            "/%2e/admin repaired to /admin",
            "/public#/../../admin refused",
            "/public%23/../admin repaired to /admin",
            "/public%3f/../admin repaired to /admin",
            "/adm\u{131}n repaired to /adm%C4%B1n",
        ],
        Proxy::Envoy | Proxy::EnvoyGrpc => &[
            "/public/../admin/x repaired to /admin/x",
            "/admin/../public/x repaired to /public/x",
            "/public/%2e%2e/admin repaired to /admin",
            "/public/%2E./admin repaired to /admin",
            "/public/..;/admin repaired to /admin",
            "/public;/../admin repaired to /admin",
            "/./admin repaired to /admin",
            "/../admin repaired to /admin",
            "/%2e/admin repaired to /admin",
            "/public\\..\\admin repaired to /admin",
            "/public#/../../admin refused",
            "/public%23/../admin repaired to /admin",
            "/public%3f/../admin repaired to /admin",
            "/admin\t repaired to /admin",
        ],
    }
}
