//! Arize Phoenix behind `deploy/phoenix.toml`: its own client sends spans, roles decide as Phoenix's
//! own do, and its pages work in a browser. Phoenix is started once for all of these tests.

use std::process::{Command, Output};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::support::chrome::Browser;
use crate::support::client::{self, Answer};
use crate::support::gateway::{Gateway, PASSWORD};
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, python, repository, wait_for};

/// Phoenix imports for half a minute before it listens, longer on a busy machine.
const PHOENIX_START: Duration = Duration::from_mins(3);

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

const PROJECTS: &str = "{projects{edges{node{name traceCount}}}}";

/// A running Phoenix; static, so it ends with this test program (its leash sees to that).
pub(crate) struct Phoenix {
    http: String,
    grpc: String,
    _process: Process,
    _directory: TempDir,
}

static PHOENIX: OnceCell<Phoenix> = OnceCell::const_new();

impl Phoenix {
    pub(crate) async fn shared() -> &'static Self {
        PHOENIX.get_or_init(Self::start).await
    }

    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (http, grpc) = (free_port(), free_port());
        let mut serve = Command::new(python());
        serve.arg(repository("tests/peers/phoenix_loopback.py"));
        serve.env("PHOENIX_HOST", "127.0.0.1");
        serve.env("PHOENIX_PORT", http.to_string());
        serve.env("PHOENIX_GRPC_PORT", grpc.to_string());
        serve.env("PHOENIX_WORKING_DIR", directory.path());
        serve.env("PHOENIX_TELEMETRY_ENABLED", "false");
        serve.env("PHOENIX_ALLOW_EXTERNAL_RESOURCES", "false");
        let process = Process::start("phoenix", directory.path(), &serve);
        let process = process.ready(&format!("http://127.0.0.1:{http}/healthz"), PHOENIX_START).await;
        Self {
            http: format!("127.0.0.1:{http}"),
            grpc: format!("127.0.0.1:{grpc}"),
            _process: process,
            _directory: directory,
        }
    }

    /// Host and port of its pages.
    pub(crate) fn address(&self) -> &str {
        &self.http
    }

    /// The shipped configuration, with Phoenix where it listens here.
    pub(crate) fn config(&self) -> String {
        let shipped = std::fs::read_to_string(repository("deploy/phoenix.toml")).unwrap();
        for address in ["127.0.0.1:6006\"", "127.0.0.1:4317\""] {
            assert!(shipped.contains(address), "deploy/phoenix.toml names {address} no more");
        }
        shipped.replace("127.0.0.1:6006", &self.http).replace("127.0.0.1:4317", &self.grpc)
    }
}

/// A gateway with the shipped configuration in front of the shared Phoenix.
async fn gateway() -> Gateway {
    Gateway::start(&Phoenix::shared().await.config()).await
}

/// Sends one span over each protocol with Phoenix's own client; they arrive in the projects
/// `<project>-http` and `<project>-grpc`.
fn send_spans(gateway: &Gateway, project: &str, key: &str) -> Output {
    let mut send = Command::new(python());
    send.arg(repository("tests/peers/send_spans.py")).arg(project);
    send.arg(format!("http/protobuf={}/v1/traces", gateway.url)).arg(format!("grpc={}", gateway.url));
    send.env("PHOENIX_API_KEY", key).output().unwrap()
}

async fn graphql(gateway: &Gateway, key: &str, body: impl Into<bytes::Bytes>) -> Answer {
    let json = [("content-type", "application/json")];
    gateway.post(Method::POST, "/graphql", key, &json, body).await
}

/// How many traces a project has, by a GraphQL query; `None` while there is no such project.
pub(crate) async fn traces(gateway: &Gateway, key: &str, project: &str) -> Option<u64> {
    let answer = graphql(gateway, key, json!({ "query": PROJECTS }).to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    let edges = answer["data"]["projects"]["edges"].as_array().expect("projects").iter();
    let mut nodes = edges.map(|edge| &edge["node"]);
    nodes.find(|node| node["name"] == project)?["traceCount"].as_u64()
}

#[tokio::test]
async fn spans_of_an_agent_arrive_over_http_and_grpc() {
    let gateway = gateway().await;
    let agent = gateway.key("instrumented-app", "agent", &[]);
    let viewer = gateway.key("reader", "viewer", &[]);

    let sent = send_spans(&gateway, "arrives", &agent.key);
    assert!(sent.status.success(), "{sent:?}");

    for project in ["arrives-http", "arrives-grpc"] {
        wait_for(&format!("trace in {project}"), PATIENCE, async || {
            (traces(&gateway, &viewer.key, project).await == Some(1)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn spans_of_a_viewer_do_not_arrive() {
    let gateway = gateway().await;
    let viewer = gateway.key("reader", "viewer", &[]);

    let sent = send_spans(&gateway, "refused", &viewer.key);
    let told = String::from_utf8_lossy(&sent.stderr);
    assert!(sent.status.success(), "{told}");
    assert!(told.contains("403") && told.contains("PERMISSION_DENIED"), "{told}");

    for project in ["refused-http", "refused-grpc"] {
        assert_eq!(traces(&gateway, &viewer.key, project).await, None, "{project}");
    }
}

#[tokio::test]
async fn without_a_key_ingestion_is_unauthenticated() {
    let gateway = gateway().await;
    let agent = gateway.key("instrumented-app", "agent", &[]);
    let (body, last) = agent.key.split_at(agent.key.len() - 1);
    let mistyped = format!("{body}{}", if last == "A" { "B" } else { "A" });

    for key in ["", "not-a-key", &mistyped] {
        let answer = gateway.send(Method::POST, "/v1/traces", key).await;
        assert_eq!(answer.refusal(), Some(401), "{key:?}: {answer:?}");
        assert!(!answer.header("www-authenticate").is_empty(), "{key:?}: {answer:?}");
    }

    let anonymous = client::grpc(&gateway.url, EXPORT, &[], b"").await.unwrap();
    assert_eq!((anonymous.status, anonymous.header("grpc-status")), (200, "16"), "{anonymous:?}");

    let bearer = format!("Bearer {mistyped}");
    let mistyped = client::grpc(&gateway.url, EXPORT, &[("authorization", &bearer)], b"").await.unwrap();
    assert_eq!((mistyped.status, mistyped.header("grpc-status")), (200, "16"), "{mistyped:?}");
}

#[tokio::test]
async fn grpc_export_is_for_agents_and_members() {
    let gateway = gateway().await;
    for (role, status) in [("agent", "0"), ("member", "0"), ("admin", "0"), ("viewer", "7")] {
        let key = gateway.key(role, role, &[]).key;
        let bearer = format!("Bearer {key}");
        // An empty ExportTraceServiceRequest is a valid one.
        let answer = client::grpc(&gateway.url, EXPORT, &[("authorization", &bearer)], b"").await.unwrap();
        assert_eq!((answer.status, answer.header("grpc-status")), (200, status), "{role}: {answer:?}");
    }
}

#[tokio::test]
async fn agent_cannot_read() {
    let gateway = gateway().await;
    let agent = gateway.key("instrumented-app", "agent", &[]).key;

    for path in ["/", "/v1/projects", "/v1/datasets", "/graphql"] {
        let answer = gateway.send(Method::GET, path, &agent).await;
        assert_eq!(answer.refusal(), Some(403), "{path}: {answer:?}");
    }
    let query = graphql(&gateway, &agent, json!({ "query": PROJECTS }).to_string()).await;
    assert_eq!(query.refusal(), Some(403), "{query:?}");
}

#[tokio::test]
async fn key_of_a_user_reads_as_its_owner() {
    let gateway = gateway().await;
    gateway.user("vera", "viewer");
    let key = gateway.key("notebook", "viewer", &["--owner", "vera"]).key;

    let read = gateway.send(Method::GET, "/v1/projects", &key).await;
    assert!(read.status == 200 && read.json()["data"].is_array(), "{read:?}");
    let write = gateway.send(Method::POST, "/v1/prompts", &key).await;
    assert_eq!(write.refusal(), Some(403), "{write:?}");
    let as_header = gateway.post(Method::GET, "/v1/projects", "", &[("x-api-key", &key)], "").await;
    assert_eq!(as_header.status, 200, "{as_header:?}");
}

#[tokio::test]
async fn graphql_of_a_viewer_is_decided_by_the_operation_that_would_run() {
    const MUTATION: &str = "mutation M { createDataset(input: {name: \"by a viewer\"}) { dataset { id } } }";
    let gateway = gateway().await;
    let viewer = gateway.key("reader", "viewer", &[]).key;
    let query = format!("query Q {PROJECTS}");
    let both = format!("{query} {MUTATION}");
    let utf16: Vec<u8> =
        json!({ "query": MUTATION }).to_string().encode_utf16().flat_map(u16::to_le_bytes).collect();

    let passes = [
        ("a query", json!({ "query": PROJECTS })),
        ("a named query", json!({ "query": query, "operationName": "Q" })),
        ("the query of two operations", json!({ "query": both, "operationName": "Q" })),
        ("a mutation in a comment", json!({ "query": format!("# {MUTATION}\n{PROJECTS}") })),
        ("a batch of queries", json!([{ "query": PROJECTS }, { "query": query }])),
    ];
    for (what, body) in passes {
        let answer = graphql(&gateway, &viewer, body.to_string()).await;
        assert_eq!(answer.refusal(), None, "{what}: {answer:?}");
    }

    let refused: [(&str, Vec<u8>); 13] = [
        ("a mutation", json!({ "query": MUTATION }).to_string().into()),
        ("a mutation behind white space", json!({ "query": format!("\n,,\t{MUTATION}") }).to_string().into()),
        ("the mutation of two", json!({ "query": both, "operationName": "M" }).to_string().into()),
        ("two operations, none chosen", json!({ "query": both }).to_string().into()),
        ("an unknown operation", json!({ "query": both, "operationName": "X" }).to_string().into()),
        ("a batch with a mutation", json!([{ "query": PROJECTS }, { "query": MUTATION }]).to_string().into()),
        ("an empty batch", b"[]".to_vec()),
        ("a subscription", json!({ "query": "subscription { x }" }).to_string().into()),
        ("a persisted query", json!({ "extensions": { "persistedQuery": {} } }).to_string().into()),
        ("an unparsable document", json!({ "query": "{ projects" }).to_string().into()),
        ("an unparsable body", b"{\"query\": \"{projects".to_vec()),
        ("a query said twice", format!("{{\"query\":\"{{a}}\",\"query\":{}}}", json!(MUTATION)).into()),
        ("a body in UTF-16", utf16),
    ];
    for (what, body) in refused {
        let answer = graphql(&gateway, &viewer, body).await;
        assert_eq!(answer.refusal(), Some(403), "{what}: {answer:?}");
    }

    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let get = gateway.send(Method::GET, &format!("/graphql?query={}", encode(PROJECTS)), &viewer).await;
    assert!(get.status == 200 && get.json()["data"]["projects"].is_object(), "{get:?}");
    let get = gateway.send(Method::GET, &format!("/graphql?query={}", encode(MUTATION)), &viewer).await;
    assert_eq!(get.refusal(), Some(403), "{get:?}");

    let datasets = gateway.send(Method::GET, "/v1/datasets", &viewer).await;
    assert!(datasets.status == 200 && !datasets.body.contains("by a viewer"), "{datasets:?}");
}

#[tokio::test]
async fn what_a_member_writes_is_read_afterwards() {
    let gateway = gateway().await;
    let member = gateway.key("writer", "member", &[]).key;
    let viewer = gateway.key("reader", "viewer", &[]).key;
    let upload = json!({
        "action": "create", "name": "uploaded by a member",
        "inputs": [{ "question": "who?" }], "outputs": [{ "answer": "me" }],
    });
    let mutation = "mutation { createDataset(input: {name: \"mutated by a member\"}) { dataset { id } } }";
    let json = [("content-type", "application/json")];
    let path = "/v1/datasets/upload?sync=true";

    let refused = gateway.post(Method::POST, path, &viewer, &json, upload.to_string()).await;
    assert_eq!(refused.refusal(), Some(403), "{refused:?}");
    let uploaded = gateway.post(Method::POST, path, &member, &json, upload.to_string()).await;
    assert_eq!(uploaded.status, 200, "{uploaded:?}");
    let mutated = graphql(&gateway, &member, json!({ "query": mutation }).to_string()).await;
    assert!(mutated.json()["data"]["createDataset"].is_object(), "{mutated:?}");

    let datasets = gateway.send(Method::GET, "/v1/datasets", &viewer).await.json();
    let datasets = datasets["data"].as_array().unwrap();
    let names: Vec<&Value> = datasets.iter().map(|dataset| &dataset["name"]).collect();
    for name in ["uploaded by a member", "mutated by a member"] {
        assert!(names.iter().any(|found| *found == name), "{name} is not among {names:?}");
    }
}

/// Who passes to Phoenix, in the order admin, member, viewer, agent, anonymous; what answers then is
/// Phoenix's affair.
const RIGHTS: &[(&str, &str, [Right; 5])] = &[
    ("GET", "/healthz", [PASS, PASS, PASS, PASS, PASS]),
    ("HEAD", "/healthz", [PASS, PASS, PASS, PASS, PASS]),
    // pages and reads
    ("GET", "/", [PASS, PASS, PASS, DENY, SIGN_IN]),
    ("GET", "/v1/projects", [PASS, PASS, PASS, DENY, SIGN_IN]),
    ("HEAD", "/v1/projects", [PASS, PASS, PASS, DENY, SIGN_IN]),
    ("GET", "/v1/projects/default", [PASS, PASS, PASS, DENY, SIGN_IN]),
    ("GET", "/v1/datasets", [PASS, PASS, PASS, DENY, SIGN_IN]),
    ("GET", "/v1/prompts", [PASS, PASS, PASS, DENY, SIGN_IN]),
    ("GET", "/v1/user", [PASS, PASS, PASS, DENY, SIGN_IN]),
    ("GET", "/readyz", [PASS, PASS, PASS, PASS, PASS]),
    // writes
    ("POST", "/v1/datasets/upload", [PASS, PASS, DENY, DENY, SIGN_IN]),
    ("DELETE", "/v1/datasets/none", [PASS, PASS, DENY, DENY, SIGN_IN]),
    ("POST", "/v1/datasets/none/experiments", [PASS, PASS, DENY, DENY, SIGN_IN]),
    ("PATCH", "/v1/experiments/none", [PASS, PASS, DENY, DENY, SIGN_IN]),
    ("POST", "/v1/span_annotations", [PASS, PASS, DENY, DENY, SIGN_IN]),
    ("POST", "/v1/trace_annotations", [PASS, PASS, DENY, DENY, SIGN_IN]),
    ("POST", "/v1/prompts", [PASS, PASS, DENY, DENY, SIGN_IN]),
    ("PATCH", "/v1/prompts/none", [PASS, PASS, DENY, DENY, SIGN_IN]),
    ("DELETE", "/v1/traces/none", [PASS, PASS, DENY, DENY, SIGN_IN]),
    ("POST", "/v1/projects", [PASS, PASS, DENY, DENY, SIGN_IN]),
    ("QUERY", "/v1/projects", [PASS, PASS, DENY, DENY, SIGN_IN]),
    // ingestion
    ("POST", "/v1/traces", [PASS, PASS, DENY, PASS, SIGN_IN]),
    ("GET", "/v1/traces", [PASS, PASS, PASS, DENY, SIGN_IN]),
    // administration
    ("GET", "/v1/users", [PASS, DENY, DENY, DENY, SIGN_IN]),
    ("POST", "/v1/users", [PASS, DENY, DENY, DENY, SIGN_IN]),
    ("DELETE", "/v1/users/none", [PASS, DENY, DENY, DENY, SIGN_IN]),
    ("GET", "/v1/users/api_keys", [PASS, DENY, DENY, DENY, SIGN_IN]),
    ("GET", "/v1/system/api_keys", [PASS, DENY, DENY, DENY, SIGN_IN]),
    ("POST", "/v1/system/api_keys", [PASS, DENY, DENY, DENY, SIGN_IN]),
    ("DELETE", "/v1/system/api_keys/none", [PASS, DENY, DENY, DENY, SIGN_IN]),
    ("PUT", "/v1/projects/none", [PASS, DENY, DENY, DENY, SIGN_IN]),
    ("DELETE", "/v1/projects/none", [PASS, DENY, DENY, DENY, SIGN_IN]),
    ("PUT", "/v1/secrets", [PASS, DENY, DENY, DENY, SIGN_IN]),
    // the same places in other spellings
    ("GET", "/v1/%75sers", [PASS, DENY, DENY, DENY, SIGN_IN]),
];

type Right = Option<u16>;
const PASS: Right = None;
const DENY: Right = Some(403);
const SIGN_IN: Right = Some(401);

#[tokio::test]
async fn rest_rights_are_those_of_phoenix() {
    let gateway = gateway().await;
    let roles = ["admin", "member", "viewer", "agent"];
    let mut keys: Vec<String> = roles.iter().map(|role| gateway.key(role, role, &[]).key).collect();
    keys.push(String::new());

    for (method, path, rights) in RIGHTS {
        for ((who, key), right) in roles.iter().chain(&["anonymous"]).zip(&keys).zip(rights) {
            let answer = gateway.send(method.parse().unwrap(), path, key).await;
            let decided = if *method == "HEAD" {
                // No body to tell by; Phoenix itself never answers 401 or 403 to these.
                [401, 403].contains(&answer.status).then_some(answer.status)
            } else {
                answer.refusal()
            };
            assert_eq!(decided, *right, "{method} {path} as {who}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn revoked_key_is_refused_within_a_second() {
    let gateway = gateway().await;
    let key = gateway.key("leaked", "viewer", &[]);
    let other = gateway.key("kept", "viewer", &[]);
    assert_eq!(gateway.send(Method::GET, "/v1/projects", &key.key).await.status, 200);

    let revoked = gateway.run(&["key", "revoke", &key.id], "");
    assert!(revoked.status.success(), "{revoked:?}");

    wait_for("refusal of the revoked key", Duration::from_secs(1), async || {
        let answer = gateway.send(Method::GET, "/v1/projects", &key.key).await;
        (answer.refusal() == Some(401)).then_some(())
    })
    .await;
    assert_eq!(gateway.send(Method::GET, "/v1/projects", &other.key).await.status, 200);
}

#[tokio::test]
async fn first_admin_changes_the_password_before_anything_answers() {
    const FIRST: &str = "from the environment once";
    let config = Phoenix::shared().await.config();
    let gateway = Gateway::start_with(&config, &[("DOORWARD_ADMIN_PASSWORD", FIRST)]).await;
    let browser = Browser::start().await;

    browser.open(&gateway, "/projects").await;
    browser.submit(&[("username", "admin"), ("password", FIRST)]).await;
    browser.arrive_below("/_doorward/password").await;
    assert_ne!(browser.get(&gateway, "/v1/projects").await.status, 200);
    browser.open(&gateway, "/projects").await;
    browser.arrive_below("/_doorward/password").await;

    browser.submit(&[("current", FIRST), ("new", PASSWORD), ("repeat", PASSWORD)]).await;
    wait_for("answer to the admin", PATIENCE, async || {
        (browser.get(&gateway, "/v1/projects").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(browser.get(&gateway, "/v1/users").await.status, 200);
    browser.close().await;
}

#[tokio::test]
async fn pages_of_phoenix_show_a_signed_in_viewer_the_project() {
    let gateway = gateway().await;
    gateway.user("vera", "viewer");
    let agent = gateway.key("instrumented-app", "agent", &[]).key;
    let sent = send_spans(&gateway, "seen", &agent);
    assert!(sent.status.success(), "{sent:?}");
    let browser = Browser::start().await;

    browser.open(&gateway, "/projects").await;
    browser.arrive_below("/_doorward/login").await;
    browser.sign_in("vera").await;

    browser.arrive("/projects").await;
    browser.see("Projects").await;
    browser.see("seen-http").await;
    browser.see("seen-grpc").await;
    browser.close().await;
}
