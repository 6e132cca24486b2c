//! Applications of Node.js behind their presets: Node-RED and Verdaccio.

use std::path::Path;
use std::process::Command;

use super::is_seen;
use super::surface::{compared, surface_as};
use super::walk;
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, repository};

/// Compares a page with what the installed application serves, and walks it at an address.
async fn compare_and_walk(preset: &str, program: &'static str, address: &str) {
    let surface = tokio::task::spawn_blocking(move || {
        surface_as(Path::new("node"), program, &[&repository(".tests/node-apps").display().to_string()])
    });
    let rows = compared(&format!("{preset}.md"), "Routes", surface.await.unwrap().answers.iter());
    walk::walk(preset, address, &walk::of_table(&rows, 1)).await;
}

fn program(path: &str) -> Command {
    let mut run = Command::new("node");
    run.arg(repository(&format!(".tests/node-apps/node_modules/{path}")));
    run
}

#[tokio::test]
async fn node_red_has_the_routes_of_its_page_and_the_preset_is_nowhere_laxer() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        "module.exports = { uiHost: '127.0.0.1', editorTheme: { projects: { enabled: false } } };\n";
    std::fs::write(folder.path().join("settings.js"), settings).unwrap();
    let port = free_port().to_string();
    let mut serve = program("node-red/red.js");
    serve.args(["--userDir", ".", "--settings", "settings.js", "--port", &port]).env("HOME", folder.path());
    let process = Process::start("node-red", folder.path(), &serve);
    let address = format!("127.0.0.1:{port}");
    let _process = process.ready(&format!("http://{address}/settings"), PATIENCE * 2).await;
    compare_and_walk("node-red", "node_red_surface.js", &address).await;
    is_seen("node-red", &address, "member", "/", "Flow 1").await;
}

#[tokio::test]
async fn verdaccio_has_the_routes_of_its_page_and_the_preset_lets_in_whom_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let config = "storage: ./storage\nauth: {}\npackages:\n  '**': { access: $all, publish: $all, unpublish: $all }\n\
                  log: { type: stdout, format: json, level: warn }\n";
    std::fs::write(folder.path().join("config.yaml"), config).unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let mut serve = program("verdaccio/bin/verdaccio");
    serve.args(["--config", "config.yaml", "--listen", &address]).env("HOME", folder.path());
    let process = Process::start("verdaccio", folder.path(), &serve);
    let _process = process.ready(&format!("http://{address}/-/ping"), PATIENCE * 2).await;
    compare_and_walk("verdaccio", "verdaccio_surface.js", &address).await;
    is_seen("verdaccio", &address, "viewer", "/", "No Package Published Yet").await;
}
