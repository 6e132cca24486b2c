//! Dagster's webserver behind its preset.

use super::{START, beside, free_address, python, requests, surface, walk};
use crate::presets::is_seen;
use crate::support::process::Process;

#[tokio::test]
async fn dagster_has_the_routes_and_operations_of_its_page_and_the_preset_lets_in_whom_it_says() {
    let Some(python) = python("dagster") else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("workspace.yaml"), "load_from: []\n").unwrap();
    std::fs::write(folder.path().join("dagster.yaml"), "telemetry:\n  enabled: false\n").unwrap();
    let (address, port) = free_address();
    let mut serve = beside(&python, "dagster-webserver");
    serve.args(["-h", "127.0.0.1", "-p", &port, "-w", "workspace.yaml"]).env("DAGSTER_HOME", folder.path());
    let process = Process::start("dagster", folder.path(), &serve);
    let asked = tokio::task::spawn_blocking(move || surface(&python, "dagster_surface.py"));
    let url = format!("http://{address}/server_info");
    let (surface, _process) = tokio::join!(asked, process.ready(&url, START));
    walk::walk("dagster", &address, &requests("dagster.md", &surface.unwrap().answers)).await;
    is_seen("dagster", &address, "viewer", "/runs", "No runs").await;
}
