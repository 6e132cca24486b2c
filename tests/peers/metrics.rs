//! Metrics as Prometheus takes them: its checker finds nothing, and a real server scrapes and queries.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use http::Method;
use serde_json::Value;
use url::form_urlencoded::byte_serialize;

use crate::support::gateway::Gateway;
use crate::support::process::Process;
use crate::support::{PATIENCE, client, free_port, repository, wait_for};

/// As odd as a name may be.
const ROUTE: &str = "odd{x=1}é";

/// A gateway with metrics at the address it gives.
async fn gateway() -> (Gateway, String) {
    let port = free_port();
    let gateway = Gateway::start(&format!(
        "metrics.listen = \"127.0.0.1:{port}\"\n[[upstreams]]\nname = \"app\"\n\
         url = \"builtin:sample\"\n[[routes]]\nname = '{ROUTE}'\nupstream = \"app\"\nrules = [{{ allow = \"anyone\" }}]\n"
    ))
    .await;
    (gateway, format!("127.0.0.1:{port}"))
}

fn program(name: &str) -> PathBuf {
    let program = repository(".tests/prometheus/usr/bin").join(name);
    assert!(program.exists(), "{} is missing: run tests/run.sh once", program.display());
    program
}

/// What `promtool` has to say of a page, and whether it is content.
fn checked(page: &str) -> (bool, String) {
    let mut tool = Command::new(program("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    tool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn the_checker_of_prometheus_finds_nothing_in_the_page() {
    let (gateway, address) = gateway().await;
    assert_eq!(gateway.send(Method::GET, "/", "").await.status, 200);
    let page = client::get(&format!("http://{address}/metrics")).await.unwrap().body;
    assert_eq!(checked(&page), (true, String::new()), "{page}");
    let spoilt =
        page.replacen("# TYPE doorward_requests_total counter", "# TYPE doorward_requests_total gauge", 1);
    let (content, complaint) = checked(&spoilt);
    assert!(
        !content && complaint.contains("doorward_requests_total"),
        "it would have found something: {complaint}"
    );
}

/// A query's result, or what is wrong with it.
async fn query(server: &str, text: &str) -> Result<Vec<Value>, String> {
    let text: String = byte_serialize(text.as_bytes()).collect();
    let answer = client::get(&format!("http://{server}/api/v1/query?query={text}")).await.unwrap().json();
    match answer["data"]["result"].as_array() {
        Some(result) => Ok(result.clone()),
        None => Err(answer["error"].to_string()),
    }
}

#[tokio::test]
async fn a_prometheus_server_scrapes_and_understands_every_query_that_is_shipped() {
    let (gateway, address) = gateway().await;
    for _ in 0..7 {
        assert_eq!(gateway.send(Method::GET, "/", "").await.status, 200);
    }
    let folder = tempfile::tempdir().unwrap();
    let settings = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\n\
         scrape_configs:\n  - job_name: doorward\n    static_configs: [{{ targets: [\"{address}\"] }}]\n"
    );
    fs::write(folder.path().join("prometheus.yml"), settings).unwrap();
    let server = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(program("prometheus"));
    command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
    command.arg(format!("--web.listen-address={server}"));
    let _prometheus = Process::start("prometheus", folder.path(), &command)
        .ready(&format!("http://{server}/-/ready"), PATIENCE)
        .await;

    let found = wait_for("the seven requests", PATIENCE, async || {
        let found =
            query(&server, "doorward_requests_total{decision=\"allow\",status=\"2xx\"} == 7").await.unwrap();
        (!found.is_empty()).then_some(found)
    })
    .await;
    assert_eq!(found[0]["metric"]["route"], ROUTE, "labels arrive as they were written");
    assert_eq!(query(&server, "up{job=\"doorward\"} == 1").await.unwrap().len(), 1);

    let dashboard: Value =
        serde_json::from_slice(&fs::read(repository("deploy/grafana-dashboard.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let shown = targets.map(|target| {
        let text = target["expr"].as_str().unwrap();
        ["$job", "$instance", "$route", "$__rate_interval"]
            .iter()
            .zip(["doorward", ".*", ".*", "5m"])
            .fold(text.to_owned(), |text, (variable, value)| text.replace(variable, value))
    });
    let documentation = fs::read_to_string(repository("docs/metrics.md")).unwrap();
    let (_, alerts) = documentation.split_once("## Worth an alert\n\n```\n").unwrap();
    let alerts = alerts.lines().take_while(|line| *line != "```").map(str::to_owned);
    let queries: Vec<String> = shown.chain(alerts).collect();
    assert!(queries.len() > 30, "{queries:#?}");
    for text in queries {
        query(&server, &text).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    query(&server, "sum(doorward_requests_total").await.expect_err("what is not a query is refused");
}
