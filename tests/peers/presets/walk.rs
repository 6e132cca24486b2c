//! Every row of a page in `docs/presets`, asked as each role: through the gateway, of the application itself, and by the
//! questions of nginx and of Traefik.

use std::collections::BTreeSet;

use http::Method;
use serde_json::json;

use super::table::{Row, requests};
use super::websocket_headers;
use crate::support::client::Answer;
use crate::support::gateway::Gateway;

/// Who asks; with the role's key, or with none.
const ROLES: [&str; 5] = ["admin", "member", "viewer", "agent", "anonymous"];

/// What a table calls a WebSocket's opening handshake.
const WEBSOCKET: &str = "WEBSOCKET";

/// Everybody, signed in or not.
const ANYONE: &str = "anyone";

/// A request, and who passes with it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    /// A GraphQL document that is posted.
    pub(super) document: Option<String>,
    pub(super) allowed: BTreeSet<String>,
}

/// The roles of a cell.
pub(super) fn roles(cell: &str) -> BTreeSet<String> {
    let words: BTreeSet<String> = cell.split(", ").map(str::to_owned).collect();
    let known = |word: &String| word == ANYONE || ROLES[..4].contains(&word.as_str());
    assert!(words.iter().all(known), "no list of roles: {cell}");
    words
}

/// Whether a preset lets nobody in whom the application would not let in; agents are held to what members may.
pub(super) fn is_no_laxer(preset: &BTreeSet<String>, application: &BTreeSet<String>) -> bool {
    let member = |role: &str| if role == "agent" { "member" } else { role }.to_owned();
    application.contains(ANYONE) || preset.iter().all(|role| application.contains(&member(role)))
}

/// The requests of a table whose column `preset` (after method and path, from 0) says who passes.
pub(super) fn of_table(rows: &[Row], preset: usize) -> Vec<Request> {
    let of_row = |row: &Row| {
        let allowed = roles(&row.cells[preset]);
        let request = |(method, path): (Method, String)| Request {
            method: method.to_string(),
            path,
            document: None,
            allowed: allowed.clone(),
        };
        requests(row).into_iter().map(request).collect::<Vec<_>>()
    };
    rows.iter().flat_map(of_row).collect()
}

/// How somebody gets to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Gateway,
    Nginx,
    Traefik,
}

/// Asks all of it in every way as every role; the test fails with each answer that is not as said.
pub(super) async fn walk(preset: &str, address: &str, requests: &[Request]) {
    walk_sparing(preset, address, requests, |_| false).await;
}

/// The same, but who passes with what is `harmful` does not send it to the application: that would end it, or go on for
/// ever.
pub(super) async fn walk_sparing(
    preset: &str,
    address: &str,
    requests: &[Request],
    harmful: impl Fn(&Request) -> bool,
) {
    let gateway = Gateway::start(&format!(
        r#"
        server.trusted_proxies = ["127.0.0.1"]
        log.access = false
        forward_auth.flavours = ["nginx", "traefik"]
        [[upstreams]]
        name = "{preset}"
        url = "http://{address}"
        [[routes]]
        upstream = "{preset}"
        preset = "{preset}"
        "#
    ))
    .await;
    let key = |role: &str| match role {
        "anonymous" => String::new(),
        role => gateway.key(role, role, &[]).key,
    };
    let keys = ROLES.map(|role| (role, key(role)));
    let mut wrong = Vec::new();
    for request in requests {
        for (role, key) in &keys {
            let passes = request.allowed.contains(ANYONE) || request.allowed.contains(*role);
            let expected = match (passes, *role) {
                (true, _) => None,
                (false, "anonymous") => Some(401),
                (false, _) => Some(403),
            };
            for way in [Way::Gateway, Way::Nginx, Way::Traefik] {
                // No proxy sends a body along with its question.
                if way != Way::Gateway && request.document.is_some() {
                    continue;
                }
                if way == Way::Gateway && passes && harmful(request) {
                    continue;
                }
                let mut answer = ask(&gateway, way, request, key).await;
                // The application may end an idle connection just as it is used again.
                if answer.refusal() == Some(502) {
                    answer = ask(&gateway, way, request, key).await;
                }
                if answer.refusal() != expected {
                    wrong.push(format!(
                        "{} {} as {role} by {way:?}: {:?} instead of {expected:?}",
                        request.method,
                        request.path,
                        answer.refusal()
                    ));
                }
            }
        }
    }
    let told = gateway.run(&["doctor", "applications"], "");
    assert!(told.status.success(), "the application is set as the preset takes it to be: {told:?}");
    assert!(wrong.is_empty(), "{} answers are not as the page says:\n{}", wrong.len(), wrong.join("\n"));
    assert!(!requests.is_empty());
}

async fn ask(gateway: &Gateway, way: Way, request: &Request, key: &str) -> Answer {
    let (method, switches) = match request.method.as_str() {
        WEBSOCKET => ("GET", true),
        method => (method, false),
    };
    let mut headers: Vec<(&str, &str)> = Vec::new();
    let url = format!("{}{}", gateway.url, request.path);
    match way {
        Way::Gateway => {
            let method = if request.document.is_some() { Method::POST } else { method.parse().unwrap() };
            if switches {
                headers.extend(websocket_headers());
            }
            let Some(document) = &request.document else {
                return gateway.post(method, &request.path, key, &headers, "").await;
            };
            headers.push(("content-type", "application/json"));
            let body = json!({ "query": document }).to_string();
            gateway.post(method, &request.path, key, &headers, body).await
        }
        Way::Nginx => {
            headers.extend([("x-original-method", method), ("x-original-url", &url)]);
            headers.extend([("x-doorward-answer-bytes", "32768"), ("x-forwarded-for", "127.0.0.1")]);
            headers.push(("x-original-upgrade", if switches { "websocket" } else { "" }));
            gateway.post(Method::GET, "/_doorward/auth/nginx", key, &headers, "").await
        }
        Way::Traefik => {
            let host = gateway.url.trim_start_matches("http://");
            headers.extend([("x-forwarded-method", method), ("x-forwarded-uri", &request.path)]);
            headers.extend([("x-forwarded-proto", if switches { "ws" } else { "http" })]);
            headers.extend([("x-forwarded-host", host), ("x-forwarded-for", "127.0.0.1")]);
            if switches {
                headers.push(("x-original-upgrade", "websocket"));
            }
            gateway.post(Method::GET, "/_doorward/auth/traefik", key, &headers, "").await
        }
    }
}
