//! Micromegas: its own clients in front of the real servers with `deploy/micromegas.toml`, where those have been built
//! (`tests/run.sh --long`), and in front of stand-ins for them otherwise.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use http::Method;
use serde_json::json;
use tempfile::TempDir;

use super::table::{self, Row};
use super::{gateway, micromegas_source, program, said, walk};
use crate::proxies::echo::Echo;
use crate::support::client::{self, Answer};
use crate::support::gateway::Gateway;
use crate::support::process::Process;
use crate::support::{PATIENCE, apps_python, free_port, python, repository, wait_for};

const PAGE: &str = "micromegas.md";

/// The servers are built without optimization, and what is sent is read only once their maintenance has been over it.
const LAKE: Duration = Duration::from_mins(3);

/// What the page says the HTTP gateway must be told, so that it passes on who asks.
fn header_setting() -> String {
    let page = std::fs::read_to_string(repository("docs/presets/micromegas.md")).unwrap();
    let (_, rest) = page.split_once("export MICROMEGAS_GATEWAY_HEADERS='").unwrap();
    rest.split('\'').next().unwrap().to_owned()
}

#[tokio::test]
async fn every_route_of_micromegas_is_as_its_table_says() {
    let server = Echo::start().await;
    let requests = walk::of_table(&table::table(PAGE, "Routes"), 1);
    walk::walk("micromegas", &server.address.to_string(), &requests).await;
}

#[test]
fn preset_of_micromegas_lets_nobody_in_whom_micromegas_would_not() {
    for row in table::table(PAGE, "Routes") {
        let [own, preset, why] = &row.cells[..] else { panic!("{row:?}") };
        assert!(["anyone", "signed-in"].contains(&own.as_str()), "{row:?}");
        assert!(own == "anyone" || preset != "anyone", "laxer than Micromegas: {row:?}");
        assert_eq!(why.is_empty(), own == preset, "says why it differs: {row:?}");
    }
}

#[tokio::test]
async fn client_of_micromegas_reads_as_a_viewer_and_writes_as_an_admin() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut serve = Command::new(apps_python());
    serve.arg(repository("tests/peers/presets/flight_server.py")).arg(port.to_string());
    let server = Process::start("flight", folder.path(), &serve);
    wait_for("a Flight server", PATIENCE, async || server.output().contains("listening").then_some(())).await;
    let gateway = gateway("micromegas", &format!("h2c://127.0.0.1:{port}"), "").await;
    let client = |key: &str| {
        let mut run = program("micromegas_client.py");
        run.arg(&gateway.url);
        if !key.is_empty() {
            run.arg(key);
        }
        said(&run.output().unwrap()).lines().map(str::to_owned).collect::<Vec<_>>()
    };

    for role in ["viewer", "member"] {
        let key = gateway.key(role, role, &[]);
        let lines = client(&key.key);
        let told =
            format!("query done x-auth-subject=key:{} x-auth-is-admin=false authorization=None", key.id);
        assert_eq!(lines[0], told, "the server learns who asks, and not the key");
        assert_eq!(lines[1..], ["prepare done SELECT 42", "write FlightUnauthorizedError"], "{role}");
    }
    let agent = gateway.key("agent", "agent", &[]).key;
    let refused = ["query", "prepare", "write"].map(|call| format!("{call} FlightUnauthorizedError"));
    assert_eq!(client(&agent), refused);
    assert_eq!(client(""), refused.map(|line| line.replace("Unauthorized", "Unauthenticated")));
    assert!(!server.output().contains("written"), "{}", server.output());

    let admin = gateway.key("admin", "admin", &[]).key;
    let lines = client(&admin);
    assert!(lines[0].contains("x-auth-is-admin=true"), "{lines:?}");
    assert!(lines[2].starts_with("write done"), "{lines:?}");
    assert!(server.output().contains("written 3"), "{}", server.output());
}

/// The program of the real servers; none but in a long run.
fn built() -> Option<PathBuf> {
    if std::env::var_os("DOORWARD_TEST_LONG").is_none() {
        eprintln!(
            "left out: the real Micromegas, which takes half an hour to build; tests/run.sh --long runs it"
        );
        return None;
    }
    let path = repository(".tests/micromegas/debug/micromegas-peer");
    assert!(path.exists(), "{} is missing: run tests/run.sh --long once", path.display());
    Some(path)
}

#[test]
fn tables_of_micromegas_are_what_its_crates_serve() {
    if built().is_none() {
        return;
    }
    let rows = |heading| table::table(PAGE, heading);
    let documented = rows("Routes").iter().flat_map(pairs).collect();
    assert_eq!(micromegas_source::routes(), documented, "routes");
    let functions = |demanded: &str| {
        let rows = rows("Functions").into_iter().filter(|row| row.cells[0] == demanded);
        rows.flat_map(|row| row.paths).collect()
    };
    assert_eq!(micromegas_source::functions(), (functions("signed-in"), functions("admin")), "functions");
}

fn pairs(row: &Row) -> Vec<(String, String)> {
    let methods = row.methods.iter();
    methods.flat_map(|method| row.paths.iter().map(move |path| (method.clone(), path.clone()))).collect()
}

/// The three servers with a database of their own, which is gone with them.
struct Micromegas {
    ingestion: String,
    flight: String,
    http: String,
    folder: TempDir,
    database: String,
    process: Option<Process>,
}

/// The PostgreSQL of the run, and a statement for it.
fn postgres(statement: &str) -> String {
    let url =
        std::env::var_os("DOORWARD_TEST_POSTGRES").expect("DOORWARD_TEST_POSTGRES names a PostgreSQL server");
    let url = url.into_string().unwrap();
    let output = Command::new("psql").args([&url, "-qc", statement]).output().unwrap();
    said(&output);
    url.rsplit_once('/').unwrap().0.to_owned()
}

impl Micromegas {
    /// `headers` is what the HTTP gateway is told to pass on; nothing leaves it as it is.
    async fn start(program: &Path, headers: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [ingestion, flight, http] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
        let database = format!("micromegas_{}", free_port());
        let server = postgres(&format!("CREATE DATABASE {database}"));
        let objects = folder.path().join("objects");
        std::fs::create_dir(&objects).unwrap();
        let mut serve = Command::new(program);
        serve.env("MICROMEGAS_SQL_CONNECTION_STRING", format!("{server}/{database}"));
        serve.env("MICROMEGAS_OBJECT_STORE_URI", format!("file://{}", objects.display()));
        serve.env("PEER_INGESTION", &ingestion).env("PEER_FLIGHT", &flight).env("PEER_HTTP", &http);
        serve.env("RUST_MIN_STACK", "16777216").env("RUST_BACKTRACE", "0");
        if let Some(headers) = headers {
            serve.env("MICROMEGAS_GATEWAY_HEADERS", headers);
        }
        let process = Process::start("micromegas", folder.path(), &serve);
        let process = process.ready(&format!("http://{ingestion}/ready"), LAKE).await;
        let process = process.ready(&format!("http://{http}/gateway/health"), LAKE).await;
        wait_for("Flight SQL", LAKE, async || tokio::net::TcpStream::connect(&flight).await.ok().map(drop))
            .await;
        Self { ingestion, flight, http, folder, database, process: Some(process) }
    }

    /// The shipped configuration, with the servers where they listen here.
    fn config(&self, relies_on: bool) -> String {
        let mut config = std::fs::read_to_string(repository("deploy/micromegas.toml")).unwrap();
        let places = [("9000", &self.ingestion), ("50051", &self.flight), ("3000", &self.http)];
        for (shipped, place) in places {
            let shipped = format!("127.0.0.1:{shipped}\"");
            assert!(config.contains(&shipped), "deploy/micromegas.toml names {shipped} no more");
            config = config.replace(&shipped, &format!("{place}\""));
        }
        assert!(config.contains("\n#relies_on = "));
        if relies_on { config.replace("\n#relies_on = ", "\nrelies_on = ") } else { config }
    }
}

impl Drop for Micromegas {
    fn drop(&mut self) {
        drop(self.process.take());
        postgres(&format!("DROP DATABASE {} WITH (FORCE)", self.database));
    }
}

/// A query by HTTP through the gateway.
async fn query(gateway: &Gateway, key: &str, sql: &str) -> Answer {
    let headers = [("content-type", "application/json")];
    gateway.post(Method::POST, "/gateway/query", key, &headers, json!({ "sql": sql }).to_string()).await
}

/// What Micromegas' client, and that of Grafana's data source, got by gRPC.
fn used(gateway: &Gateway, key: &str) -> Vec<String> {
    let mut run = program("micromegas_use.py");
    run.arg(gateway.url.trim_start_matches("http://"));
    if !key.is_empty() {
        run.arg(key);
    }
    said(&run.output().unwrap()).lines().map(str::to_owned).collect()
}

/// How many programs have sent telemetry.
async fn programs(gateway: &Gateway, admin: &str) -> u64 {
    let answer = query(gateway, admin, "SELECT count(*) AS n FROM processes").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()[0]["n"].as_u64().unwrap()
}

/// What changes something, each of which the SQL server has for admins alone.
const CHANGES: [&str; 3] = [
    "SELECT * FROM deny_queries('sql = ''SELECT 4711''', 'x')",
    "SELECT * FROM retire_partitions('blocks', 'global', '2020-01-01T00:00:00Z', '2020-01-02T00:00:00Z')",
    "SELECT retire_partition_by_file('x')",
];

#[tokio::test]
async fn real_micromegas_is_written_by_agents_read_by_viewers_and_changed_by_admins() {
    let Some(peer) = built() else { return };
    let server = Micromegas::start(&peer, None).await;
    let gateway = Gateway::start(&server.config(false)).await;
    let [admin, member, viewer, agent] =
        ["admin", "member", "viewer", "agent"].map(|role| gateway.key(role, role, &[]).key);

    // Arrow Flight: its own client, and that of Grafana's data source.
    for key in [&viewer, &member] {
        assert_eq!(
            used(&gateway, key),
            [
                "query done [42]",
                "prepare done SELECT 42",
                "denials ArrowInvalid not found",
                "retire ArrowInvalid not found",
                "write FlightUnauthorizedError",
                "grafana done 42",
            ]
        );
    }
    let lines = used(&gateway, &admin);
    assert_eq!(lines[..4], ["query done [42]", "prepare done SELECT 42", "denials done 0", "retire done 0"]);
    assert!(lines[4].contains("error ingesting"), "an admin's table reaches the server: {lines:?}");
    for (key, told) in [(agent.as_str(), "Unauthorized"), ("", "Unauthenticated")] {
        for line in used(&gateway, key) {
            let grafana = line.starts_with("grafana ") && !line.contains("done");
            assert!(grafana || line.contains(told), "{line}");
        }
    }

    // Its own sink, and OpenTelemetry's exporter.
    for (key, arrives) in [(&viewer, false), (&agent, true)] {
        let before = programs(&gateway, &admin).await;
        let mut send = Command::new(&peer);
        send.arg("send")
            .env("MICROMEGAS_TELEMETRY_URL", &gateway.url)
            .env("MICROMEGAS_INGESTION_API_KEY", key);
        said(&tokio::task::spawn_blocking(move || send.output().unwrap()).await.unwrap());
        let mut export = Command::new(python());
        export.arg(repository("tests/peers/presets/micromegas_otlp.py")).args([&gateway.url, key]);
        let told = said(&tokio::task::spawn_blocking(move || export.output().unwrap()).await.unwrap());
        assert_eq!(told.trim(), if arrives { "sent" } else { "refused" });
        if arrives {
            let both = async || (programs(&gateway, &admin).await == before + 2).then_some(());
            wait_for("both programs", LAKE, both).await;
        } else {
            assert!(gateway.output().contains("/ingestion/insert_process"), "the sink has not asked");
            assert_eq!(programs(&gateway, &admin).await, before, "a viewer wrote");
        }
    }

    // Firehose's own header is one for keys where it delivers, and nowhere else.
    let delivers = async |path: &str, key: &str| {
        let headers = [("x-amz-firehose-access-key", key), ("content-type", "application/json")];
        gateway.post(Method::POST, path, "", &headers, "{}").await.refusal()
    };
    for path in ["/ingestion/otlp/v1/metrics/firehose", "/ingestion/cloudwatch/v1/logs/firehose"] {
        assert_eq!(delivers(path, &agent).await, None, "{path}");
        assert_eq!(delivers(path, &viewer).await, Some(403), "{path}");
    }
    assert_eq!(delivers("/gateway/query", &admin).await, Some(401));

    // By HTTP everybody would be an admin.
    for sql in [&["SELECT 1"][..], &CHANGES].concat() {
        for key in [&viewer, &member, &agent] {
            assert_eq!(query(&gateway, key, sql).await.refusal(), Some(403), "{sql}");
        }
        assert_eq!(query(&gateway, "", sql).await.refusal(), Some(401), "{sql}");
    }
    assert_eq!(query(&gateway, &admin, "SELECT * FROM list_query_denials()").await.status, 200);
    let url = format!("http://{}/gateway/query", server.http);
    let headers = [("content-type", "application/json"), ("x-auth-is-admin", "false")];
    let body = json!({ "sql": "SELECT * FROM list_query_denials()" }).to_string();
    let direct = client::send(Method::POST, &url, &headers, body).await.unwrap();
    assert_eq!(direct.status, 200, "it tells the SQL server who asks: the preset may be less strict");

    // What is relied on although it is not so is found.
    let believing = Gateway::start(&server.config(true)).await;
    let told = believing.run(&["doctor", "applications"], "");
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        !told.status.success() && text.contains("WRONG") && text.contains("answers a viewer"),
        "{told:?}"
    );
}

#[tokio::test]
async fn real_micromegas_that_is_told_who_asks_by_http_keeps_changes_for_admins() {
    let Some(peer) = built() else { return };
    let server = Micromegas::start(&peer, Some(&header_setting())).await;
    let gateway = Gateway::start(&server.config(true)).await;
    let told = gateway.run(&["doctor", "applications"], "");
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        told.status.success() && text.contains("ok") && text.contains("tells a viewer from an admin"),
        "{told:?}"
    );

    let [admin, member, viewer, agent] =
        ["admin", "member", "viewer", "agent"].map(|role| gateway.key(role, role, &[]).key);
    for key in [&viewer, &member] {
        assert_eq!(query(&gateway, key, "SELECT 1 AS one").await.body, r#"[{"one":1}]"#);
        for sql in CHANGES {
            let answer = query(&gateway, key, sql).await;
            assert_eq!((answer.status, answer.refusal()), (500, None), "{sql}: {answer:?}");
            assert!(
                answer.body.contains("not found") || answer.body.contains("Invalid function"),
                "{answer:?}"
            );
        }
    }
    for key in [agent.as_str(), ""] {
        assert!(query(&gateway, key, "SELECT 1").await.refusal().is_some());
    }
    for sql in &CHANGES[..2] {
        assert_eq!(query(&gateway, &admin, sql).await.status, 200, "{sql}");
    }

    // The first line of its page: the day this fails, that line goes.
    let file = server.folder.path().join("written-by-a-viewer.csv");
    let copy = format!("COPY (SELECT 1 AS one) TO '{}' STORED AS CSV", file.display());
    assert_eq!(query(&gateway, &viewer, &copy).await.status, 200);
    assert!(file.exists(), "Micromegas lets no viewer write files any more");
}
