//! Gradio's own routes beside those of its preset.

use std::process::Command;

use super::surface::{compared, surface};
use super::walk::{self, Request};
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, repository, servers_python};

#[tokio::test]
async fn gradio_has_the_routes_of_its_page_and_the_preset_is_nowhere_laxer() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut serve = Command::new(servers_python());
    serve.arg(repository("tests/peers/recipes/gradio_app.py")).arg(port.to_string());
    serve.env("HOME", folder.path()).env("GRADIO_ANALYTICS_ENABLED", "False");
    let process = Process::start("gradio", folder.path(), &serve);
    let asked = tokio::task::spawn_blocking(|| surface(&servers_python(), "gradio_surface.py"));
    let address = format!("127.0.0.1:{port}");
    let url = format!("http://{address}/");
    let (surface, _process) = tokio::join!(asked, process.ready(&url, PATIENCE * 4));
    let rows = compared("gradio.md", "Routes", surface.unwrap().answers.iter());
    // Streams without an end, or with a broken one.
    let endless = [
        "/heartbeat/",
        "/queue/data",
        "/startup-events",
        "/upload_progress",
        "/stream/",
        "/dev/reload",
        "/call/",
    ];
    let harmful = |request: &Request| endless.iter().any(|part| request.path.contains(part));
    walk::walk_sparing("gradio", &address, &walk::of_table(&rows, 1), harmful).await;
}
