//! marimo behind its presets: the editor, and an app.

use std::process::Command;

use super::surface::{compared, surface_as};
use super::walk::{self, Request};
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, servers_python};

const NOTEBOOK: &str = "import marimo\n\napp = marimo.App()\n\n\n@app.cell\ndef _():\n    return\n";

/// A marimo with a notebook of its own, and where it is.
async fn marimo(folder: &std::path::Path, command: &str, token: &str) -> (String, Process) {
    std::fs::write(folder.join("notebook.py"), NOTEBOOK).unwrap();
    let port = free_port();
    let mut serve = Command::new(servers_python());
    serve.args(["-m", "marimo", "--yes", command, "--headless", token, "--host", "127.0.0.1"]);
    serve.args(["--port", &port.to_string()]);
    // It would ask a registry; an app does not.
    serve.args(if command == "edit" {
        &["--skip-update-check", "notebook.py"][..]
    } else {
        &["notebook.py"]
    });
    serve.env("HOME", folder);
    let process = Process::start("marimo", folder, &serve);
    let process = process.ready(&format!("http://127.0.0.1:{port}/health"), PATIENCE * 2).await;
    (format!("127.0.0.1:{port}"), process)
}

#[tokio::test]
async fn marimo_has_the_routes_of_its_page_and_the_presets_are_nowhere_laxer() {
    for (preset, command, heading) in [("marimo", "edit", "Routes"), ("marimo-run", "run", "Apps")] {
        let folder = tempfile::tempdir().unwrap();
        let asked = tokio::task::spawn_blocking(move || {
            surface_as(&servers_python(), "marimo_surface.py", &[command])
        });
        let (surface, (address, _process)) =
            tokio::join!(asked, marimo(folder.path(), command, "--no-token"));
        let rows = compared("marimo.md", heading, surface.unwrap().answers.iter());
        // It would be ended, install packages, or run a shell for each handshake; or streams without an end.
        let harmful = |request: &Request| {
            let harmful = ["/kernel/", "/packages/", "/requirements/install", "/terminal", "/sse", "/ws"];
            harmful.iter().any(|part| request.path.contains(part))
                && request.path != "/api/kernel/function_call"
        };
        walk::walk_sparing(preset, &address, &walk::of_table(&rows, 1), harmful).await;
    }
}

#[tokio::test]
async fn doctor_sees_that_marimo_asks_for_a_token_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (address, _process) = marimo(folder.path(), "run", "--token").await;
    let gateway = super::gateway("marimo-run", &address, "").await;
    let told = gateway.run(&["doctor", "applications"], "");
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(!told.status.success() && text.contains("WRONG") && text.contains("status 401"), "{told:?}");
    assert!(text.contains("see to it that marimo asks for no token"), "{text}");
}
