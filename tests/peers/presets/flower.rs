//! Flower behind its preset, with a broker in its own memory and no workers.

use std::process::Command;

use super::is_seen;
use super::surface::{compared, surface};
use super::walk;
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, servers_python};

#[tokio::test]
async fn flower_has_the_routes_of_its_page_and_the_preset_lets_in_whom_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let mut serve = Command::new(servers_python());
    serve.args(["-m", "celery", "--broker=memory://", "flower", "--address=127.0.0.1"]);
    serve.arg(format!("--port={}", address.rsplit(':').next().unwrap()));
    serve.env("FLOWER_UNAUTHENTICATED_API", "true");
    let process = Process::start("flower", folder.path(), &serve);
    let asked = tokio::task::spawn_blocking(|| surface(&servers_python(), "flower_surface.py"));
    let url = format!("http://{address}/healthcheck");
    let (surface, _process) = tokio::join!(asked, process.ready(&url, PATIENCE * 2));
    let rows = compared("flower.md", "Routes", surface.unwrap().answers.iter());
    walk::walk("flower", &address, &walk::of_table(&rows, 1)).await;
    is_seen("flower", &address, "viewer", "/", "Broker").await;
}
