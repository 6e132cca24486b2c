//! `MLflow`'s tracking server, used by its own client and by its pages.

use std::process::{Command, Output};
use std::time::Duration;

use http::Method;
use tokio::sync::OnceCell;

use super::surface::{compared, surface};
use super::walk::{self, Request};
use super::{App, asked, gateway, is_closed_to_strangers, program, refused, said, signed_in};
use crate::support::gateway::Gateway;
use crate::support::process::Process;
use crate::support::{apps_python, free_port};

const START: Duration = Duration::from_mins(3);

static MLFLOW: OnceCell<App> = OnceCell::const_new();

async fn mlflow() -> &'static App {
    MLFLOW
        .get_or_init(async || {
            let folder = tempfile::tempdir().unwrap();
            let port = free_port();
            let mut serve = Command::new(apps_python());
            serve.args(["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", &port.to_string()]);
            serve.args(["--workers", "1", "--allowed-hosts", "app.localhost:*,127.0.0.1:*"]);
            serve.args(["--cors-allowed-origins", "http://app.localhost:*"]);
            serve.arg("--backend-store-uri").arg(format!("sqlite:///{}/mlflow.db", folder.path().display()));
            serve.arg("--artifacts-destination").arg(folder.path().join("artifacts"));
            serve.env("HOME", folder.path()).env("MLFLOW_DISABLE_TELEMETRY", "true");
            serve.env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"); // seven processes more
            let process = Process::start("mlflow", folder.path(), &serve);
            let process = process.ready(&format!("http://127.0.0.1:{port}/health"), START).await;
            App { address: format!("127.0.0.1:{port}"), folder, _process: process }
        })
        .await
}

/// `MLflow`'s client with a key, where its documentation has the token.
fn client(gateway: &Gateway, what: &str, experiment: &str, key: &str) -> Output {
    let mut run = program("mlflow_client.py");
    run.args([what, experiment]);
    run.env("MLFLOW_TRACKING_URI", &gateway.url).env("MLFLOW_TRACKING_TOKEN", key);
    run.env("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1").env("MLFLOW_DISABLE_TELEMETRY", "true");
    run.env("GIT_PYTHON_REFRESH", "quiet").output().unwrap()
}

#[tokio::test]
async fn run_of_a_member_is_read_by_a_viewer_and_changed_by_none() {
    let app = mlflow().await;
    let gateway = gateway("mlflow", &app.address, "").await;
    let member = gateway.key("training", "member", &[]).key;
    let viewer = gateway.key("viewer", "viewer", &[]).key;
    let agent = gateway.key("agent", "agent", &[]).key;

    let output = client(&gateway, "train", "refused", "");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("401"), "{told}");
    for path in ["runs/search", "runs/create"] {
        let path = format!("/api/2.0/mlflow/{path}");
        assert_eq!(gateway.send(Method::POST, &path, &agent).await.refusal(), Some(403), "{path}");
    }

    let recorded = said(&client(&gateway, "train", "kept", &member));
    assert!(recorded.ends_with("recorded\n"), "{recorded}");

    let looked = said(&client(&gateway, "look", "kept", &viewer));
    let lines: Vec<&str> = looked.lines().collect();
    assert_eq!(lines[0], "found 1 run, loss 0.25, notes.txt says learned", "{looked}");
    let refusals =
        ["set_tag", "log_metric", "log_artifact", "delete_run", "delete_experiment", "create_experiment"];
    assert_eq!(lines[1..], refusals.map(|what| format!("{what} refused 403")), "{looked}");
    let changed = said(&client(&gateway, "look", "kept", &member));
    let lines: Vec<&str> = changed.lines().collect();
    assert_eq!(lines[0], looked.lines().next().unwrap(), "a viewer changed something");
    assert_eq!(lines[1..], refusals.map(|what| format!("{what} done")), "{changed}");
}

#[tokio::test]
async fn pages_of_mlflow_show_a_viewer_the_run() {
    let app = mlflow().await;
    let gateway = gateway("mlflow", &app.address, "").await;
    let member = gateway.key("training", "member", &[]).key;
    let recorded = said(&client(&gateway, "train", "shown", &member));
    assert!(recorded.ends_with("recorded\n"), "{recorded}");
    gateway.user("vera", "viewer");

    let browser = signed_in(&gateway, "/", "vera").await;
    let run =
        recorded.lines().find_map(|line| line.split_once(&gateway.url)).expect("the address of the run").1;
    let experiment = run.rsplit_once('/').expect("a run of an experiment").0;
    for (page, text) in [("/#/experiments", "shown"), (experiment, "first-run"), (run, "0.25")] {
        browser.client.goto(&format!("{}{page}", gateway.named())).await.unwrap();
        browser.see(text).await;
    }
    let asked = asked(&browser).await;
    for path in ["/ajax-api/2.0/mlflow/runs/search", "/ajax-api/2.0/mlflow/experiments"] {
        assert!(asked.iter().any(|entry| entry.starts_with(&format!("200 {path}"))), "{path}: {asked:#?}");
    }
    // The assistant is for admins; the page asks whether there is one.
    let refused = refused(&browser).await;
    assert!(
        refused.iter().all(|entry| entry.starts_with("403 /ajax-api/3.0/mlflow/assistant/")),
        "{refused:?}"
    );
    browser.close().await;
}

#[tokio::test]
async fn mlflow_is_closed_to_strangers_and_keeps_its_inside_for_admins() {
    let app = mlflow().await;
    let gateway = gateway("mlflow", &app.address, "").await;
    assert_eq!(gateway.send(Method::GET, "/health", "").await.body, "OK");
    let others = [
        (Method::GET, "/"),
        (Method::GET, "/static-files/index.html"),
        (Method::GET, "/get-artifact?path=notes.txt&run_uuid=0"),
        (Method::GET, "/api/2.0/mlflow-artifacts/artifacts"),
        (Method::POST, "/ajax-api/2.0/mlflow/experiments/search"),
        (Method::POST, "/api/2.0/mlflow/runs/create"),
        (Method::POST, "/graphql"),
        (Method::POST, "/v1/traces"),
    ];
    is_closed_to_strangers(&gateway, "/", &others).await;

    let member = gateway.key("member", "member", &[]).key;
    let admin = gateway.key("admin", "admin", &[]).key;
    let inside = [
        "/ajax-api/3.0/mlflow/gateway/secrets/list",
        "/api/3.0/mlflow/gateway/secrets/list",
        "/ajax-api/3.0/mlflow/assistant/config",
        "/api/2.0/mlflow/webhooks?max_results=1",
    ];
    for path in inside {
        let answer = gateway.send(Method::GET, path, &member).await;
        assert_eq!(answer.refusal(), Some(403), "{path}: {answer:?}");
        let answer = gateway.send(Method::GET, path, &admin).await;
        assert!(answer.refusal().is_none() && answer.status != 404, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn mlflow_has_the_routes_of_its_page_and_the_preset_is_nowhere_laxer() {
    let asked = tokio::task::spawn_blocking(|| surface(&apps_python(), "mlflow_surface.py"));
    let (surface, app) = tokio::join!(asked, mlflow());
    let rows = compared("mlflow.md", "Routes", surface.unwrap().answers.iter());
    let mut requests = walk::of_table(&rows, 1);
    let twins = requests.iter().filter(|request| request.path.starts_with("/api/")).map(|request| Request {
        method: request.method.clone(),
        path: format!("/ajax-{}", request.path.trim_start_matches('/')),
        document: None,
        allowed: request.allowed.clone(),
    });
    requests.extend(twins.collect::<Vec<_>>());
    // Programs, jobs and data of its own, and what it asks the internet for.
    let harmful = |request: &Request| {
        ["/assistant/", "/demo/", "/invoke", "/supported-models"]
            .iter()
            .any(|part| request.path.contains(part))
    };
    walk::walk_sparing("mlflow", &app.address, &requests, harmful).await;
}

#[tokio::test]
async fn doctor_sees_whether_mlflow_knows_its_public_host() {
    let app = mlflow().await;
    let known = gateway("mlflow", &app.address, "").await;
    let told = known.run(&["doctor", "applications"], "");
    assert!(told.status.success() && String::from_utf8_lossy(&told.stdout).starts_with("ok "), "{told:?}");
    let unknown = gateway("mlflow", &app.address, "host = \"other.localhost\"").await;
    let told = unknown.run(&["doctor", "applications"], "");
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(!told.status.success() && text.contains("WRONG") && text.contains("status 403"), "{told:?}");
    assert!(text.contains("see to it that --allowed-hosts of MLflow names its public host"), "{text}");
}
