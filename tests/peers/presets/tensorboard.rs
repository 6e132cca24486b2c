//! `TensorBoard` behind its preset.

use std::process::Command;

use super::is_seen;
use super::surface::{compared, surface};
use super::walk;
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, servers_python};

#[tokio::test]
async fn tensorboard_has_the_routes_of_its_page_and_the_preset_lets_in_whom_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let mut serve = Command::new(servers_python());
    serve.args(["-m", "tensorboard.main", "--load_fast=false", "--logdir", ".", "--host", "127.0.0.1"]);
    serve.arg(format!("--port={}", address.rsplit(':').next().unwrap()));
    let process = Process::start("tensorboard", folder.path(), &serve);
    let asked = tokio::task::spawn_blocking(|| surface(&servers_python(), "tensorboard_surface.py"));
    let url = format!("http://{address}/data/environment");
    let (surface, _process) = tokio::join!(asked, process.ready(&url, PATIENCE * 4));
    let rows = compared("tensorboard.md", "Routes", surface.unwrap().answers.iter());
    walk::walk("tensorboard", &address, &walk::of_table(&rows, 1)).await;
    is_seen("tensorboard", &address, "viewer", "/", "No dashboards are active").await;
}
