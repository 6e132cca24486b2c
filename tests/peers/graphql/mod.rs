//! GraphQL servers under attack by somebody who may only read: what they run is what was decided.

mod attacks;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use http::Method;
use serde_json::{Value, json};

use self::attacks::{ATTACKS, Attack, Body, persisted};
use crate::proxies::door::{Door, Proxy};
use crate::support::client::{self, Answer};
use crate::support::gateway::Gateway;
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, repository, servers_python};

/// As the preset for Phoenix has them, in the order that applications have them in.
const RULES: &str = r#"rules = [
    { name = "record", path = "/ran", allow = "anyone" },
    { name = "queries", path = "/graphql", graphql = "query", allow = "viewer" },
    { name = "changes", path = "/graphql", graphql = ["mutation", "subscription"], allow = "member" },
    { name = "reads", methods = "read", allow = "viewer" },
    { name = "writes", allow = "member" },
]"#;

/// A server with its record.
struct Server {
    url: String,
    _process: Process,
}

impl Server {
    async fn start(name: &'static str, folder: &Path) -> Self {
        let port = free_port();
        let mut command;
        if matches!(name, "apollo" | "yoga") {
            command = Command::new("node");
            command
                .arg(repository("tests/peers/graphql/servers.mjs"))
                .arg(repository(".tests/node/node_modules"));
        } else {
            command = Command::new(servers_python());
            command.arg(repository("tests/peers/graphql/servers.py"));
        }
        command.arg(name).arg(port.to_string());
        let url = format!("http://127.0.0.1:{port}");
        let process = Process::start(name, folder, &command);
        Self { _process: process.ready(&format!("{url}/ran"), PATIENCE).await, url }
    }

    /// What it ran so far.
    async fn ran(&self) -> Vec<String> {
        let record = client::get(&format!("{}/ran", self.url)).await.unwrap();
        serde_json::from_str(&record.body).unwrap()
    }

    /// Whether an attack ran there, sent to `base`, and what was answered.
    async fn runs(&self, base: &str, attack: &Attack, key: Option<&str>, id: &str) -> (bool, u16) {
        let before = self.ran().await.len();
        let bearer = format!("Bearer {}", key.unwrap_or_default());
        let mut headers = attack.headers.to_vec();
        if key.is_some() {
            headers.push(("authorization", &bearer));
        }
        let url = format!("{base}/graphql{}", attack.query.replace("ID", id));
        let method = Method::from_bytes(attack.method.as_bytes()).unwrap();
        let answer = client::send(method, &url, &headers, attack.body.bytes(id)).await;
        // A server that breaks off has not run it, or its record says so.
        (self.ran().await.len() > before, answer.map_or(0, |answer| answer.status))
    }
}

async fn gateway_of(server: &str, rules: &str) -> (Gateway, String, String) {
    let gateway = Gateway::start(&format!(
        "server.workers = 1\n[[upstreams]]\nname = \"app\"\nurl = \"{server}\"\n\
         [[routes]]\nupstream = \"app\"\n{rules}"
    ))
    .await;
    let viewer = gateway.key("viewer", "viewer", &[]).key;
    let member = gateway.key("member", "member", &[]).key;
    (gateway, viewer, member)
}

/// Attacks a server; `evidence` are some that must run when they come to it directly.
async fn attack(name: &'static str, evidence: &[&str]) {
    attack_under(RULES, name, evidence).await;
}

/// The same under other rules.
async fn attack_under(rules: &str, name: &'static str, evidence: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(name, folder.path()).await;
    let (gateway, viewer, member) = gateway_of(&server.url, rules).await;
    let mut table = String::new();
    for (number, attack) in ATTACKS.iter().enumerate() {
        for (way, base, key) in [("v", &gateway.url, Some(viewer.as_str())), ("d", &server.url, None)] {
            let id = format!("{way}-{number}");
            if matches!(attack.body, Body::Hash) {
                let full = persisted(&id, &format!(r#""query":"mutation{{drop(id:\"{id}\")}}","#));
                let json = [("content-type", "application/json")];
                client::send(Method::POST, &format!("{}/graphql", server.url), &json, full).await.unwrap();
            }
            let (ran, status) = server.runs(base, attack, key, &id).await;
            if key.is_some() {
                assert!(!ran, "{name}: a viewer changed something by {:?} ({status})", attack.name);
                assert!([400, 403].contains(&status), "{name}: {:?} is answered {status}", attack.name);
            } else {
                _ = writeln!(
                    table,
                    "{name} | {} | {} {status}",
                    attack.name,
                    if ran { "runs" } else { "does not" }
                );
                assert!(
                    ran || !evidence.contains(&attack.name),
                    "{name}: {:?} does not run: {status}",
                    attack.name
                );
            }
        }
    }
    eprintln!("{table}");
    // A member may.
    let plain = ATTACKS.iter().find(|attack| attack.name == "plain mutation").unwrap();
    assert_eq!(server.runs(&gateway.url, plain, Some(&member), "m").await, (true, 200), "{name}");
    queries_work(&gateway, &viewer, name).await;
}

/// The forms that clients send queries in.
async fn queries_work(gateway: &Gateway, viewer: &str, name: &str) {
    let send = async |method: Method, path: &str, headers: &[(&str, &str)], body: String| -> Answer {
        gateway.post(method, path, viewer, headers, body).await
    };
    let long = "é".repeat(5_000);
    let plain = json!({ "query": "{ a }" });
    let bodies = [
        plain.clone(),
        json!({ "operationName": "Q", "variables": { "t": "mutation { x }" }, "query": "query Q($t: String!) { a echo(text: $t) }" }),
        json!({ "query": "query Q { a ...F } # mutation\nfragment F on Query { b: a }", "variables": null, "id": null }),
        json!({ "query": format!("{{ a echo(text: \"{long}\") }}") }),
        json!({ "query": "{ a }", "extensions": { "clientLibrary": { "name": "@apollo/client", "version": "4.0.0" } } }),
    ];
    for body in bodies {
        for content_type in
            ["application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8"]
        {
            let headers = [("content-type", content_type), ("accept", "application/json")];
            let answer = send(Method::POST, "/graphql", &headers, body.to_string()).await;
            assert_eq!(answer.status, 200, "{name}: {body}: {answer:?}");
            assert_eq!(answer.json()["data"]["a"], "read", "{name}: {body}: {answer:?}");
        }
    }
    let json = [("content-type", "application/json"), ("accept", "application/json")];
    let batch = send(Method::POST, "/graphql?op=Both", &json, json!([plain, plain]).to_string()).await;
    let read = |one: &Value| one["data"]["a"] == "read";
    assert!(
        batch.json().as_array().is_some_and(|all| all.len() == 2 && all.iter().all(read)),
        "{name}: {batch:?}"
    );
    let by_url = [("accept", "application/json"), ("apollo-require-preflight", "1")];
    let answer = send(Method::GET, "/graphql?query=%7Ba%7D&variables=%7B%7D", &by_url, String::new()).await;
    assert_eq!(answer.json()["data"]["a"], "read", "{name}: {answer:?}");
}

const UTF_7: &str = "charset=utf-7, `+ACI-` for quotation marks";
const TWICE: &str = "`query` twice";
const PLAIN: &str = "plain mutation";

#[tokio::test]
async fn apollo_server_with_express_runs_no_mutation_of_a_viewer() {
    attack(
        "apollo",
        &[PLAIN, UTF_7, TWICE, "charset=utf-16le", "Content-Encoding: gzip", "stored by its hash"],
    )
    .await;
}

#[tokio::test]
async fn strawberry_with_fastapi_runs_no_mutation_of_a_viewer() {
    attack("fastapi", &[PLAIN, TWICE, "multipart"]).await;
}

#[tokio::test]
async fn aiohttp_runs_no_mutation_of_a_viewer() {
    attack("aiohttp", &[PLAIN, UTF_7, TWICE]).await;
}

#[tokio::test]
async fn graphene_with_flask_runs_no_mutation_of_a_viewer() {
    attack("flask", &[PLAIN, TWICE, "a form", "GET"]).await;
}

/// These two run mutations by `GET`.
#[tokio::test]
async fn standard_rules_that_know_graphql_let_no_mutation_of_a_viewer_run() {
    let rules = "graphql = [\"/graphql\"]";
    tokio::join!(
        attack_under(rules, "flask", &[PLAIN, TWICE, "a form", "GET"]),
        attack_under(rules, "aiohttp", &[PLAIN, TWICE, "GET"]),
    );
}

#[tokio::test]
async fn graphql_yoga_runs_no_mutation_of_a_viewer() {
    attack("yoga", &[PLAIN, TWICE, "application/graphql"]).await;
}

/// What a mutation over a WebSocket came to: what it answered, or the status of the handshake.
fn by_socket(base: &str, query: &str, id: &str, key: Option<&str>) -> String {
    let url = format!("{}/graphql{query}", base.replacen("http", "ws", 1));
    let mut command = Command::new(servers_python());
    command.arg(repository("tests/peers/graphql/over_socket.py")).arg(url).arg(id).args(key);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What a URL says of a handshake is not what the socket carries.
async fn socket_carries_no_mutation(base: &str, server: &Server, gateway: &Gateway) {
    let viewer = gateway.key("reader", "viewer", &[]).key;
    let member = gateway.key("writer", "member", &[]).key;
    for query in ["", "?query=%7Ba%7D"] {
        assert_eq!(by_socket(base, query, "viewer", Some(&viewer)), "403", "{query}");
        assert_eq!(by_socket(base, query, "member", Some(&member)), "dropped", "{query}");
        assert_eq!(by_socket(&server.url, query, "direct", None), "dropped", "{query}");
    }
    assert_eq!(server.ran().await, ["member", "direct", "member", "direct"]);
}

#[tokio::test]
async fn a_handshake_is_not_the_query_that_its_address_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start("fastapi", folder.path()).await;
    let (gateway, ..) = gateway_of(&server.url, RULES).await;
    socket_carries_no_mutation(&gateway.url, &server, &gateway).await;
}

async fn through(proxy: Proxy) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start("fastapi", folder.path()).await;
    let door = Door::open(proxy, server.url.trim_start_matches("http://")).await;
    socket_carries_no_mutation(&door.url, &server, &door.gateway).await;
    // Bodies stay with the proxy, and a body of GET may win over the address: no operation is known here.
    let viewer = door.gateway.key("asker", "viewer", &[]).key;
    let bearer = format!("Bearer {viewer}");
    let headers = [("authorization", bearer.as_str())];
    assert_eq!(door.get("/graphql?query=%7Ba%7D", &headers).await.status, 403);
    let posted = [headers[0], ("content-type", "application/json")];
    assert_eq!(door.send(Method::POST, "/graphql", &posted, r#"{"query":"{a}"}"#).await.status, 403);
}

#[tokio::test]
async fn a_handshake_through_nginx_is_not_the_query_that_its_address_says() {
    through(Proxy::Nginx).await;
}

#[tokio::test]
async fn a_handshake_through_traefik_is_not_the_query_that_its_address_says() {
    through(Proxy::Traefik).await;
}
