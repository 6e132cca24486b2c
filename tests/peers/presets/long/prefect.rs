//! Prefect's server behind its preset.

use super::{START, beside, free_address, python, requests, surface, walk};
use crate::presets::is_seen;
use crate::support::process::Process;

#[tokio::test]
async fn prefect_has_the_routes_of_its_page_and_the_preset_lets_in_whom_it_says() {
    let Some(python) = python("prefect") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (address, port) = free_address();
    let mut serve = beside(&python, "prefect");
    serve.args(["server", "start", "--host", "127.0.0.1", "--port", &port]);
    serve.env("PREFECT_HOME", folder.path()).env("HOME", folder.path()).env("PREFECT_UI_API_URL", "/api");
    serve.env("PREFECT_SERVER_ANALYTICS_ENABLED", "false").env("DO_NOT_TRACK", "1");
    let process = Process::start("prefect", folder.path(), &serve);
    let asked = tokio::task::spawn_blocking(move || surface(&python, "prefect_surface.py"));
    let url = format!("http://{address}/api/health");
    let (surface, _process) = tokio::join!(asked, process.ready(&url, START));
    walk::walk("prefect", &address, &requests("prefect.md", &surface.unwrap().answers)).await;
    is_seen("prefect", &address, "viewer", "/dashboard", "Run a task or flow to get started").await;
}
