//! pgAdmin behind its preset, told by a header who is calling.

use std::process::Command;

use super::{START, free_address, python, requests, surface, walk};
use crate::support::process::Process;
use crate::support::repository;

#[tokio::test]
async fn pgadmin_has_the_routes_of_its_page_and_the_preset_is_nowhere_laxer() {
    let Some(python) = python("pgadmin") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (address, port) = free_address();
    let mut serve = Command::new(&python);
    serve.arg(repository("tests/peers/presets/pgadmin_app.py")).arg(port).env("TMPDIR", folder.path());
    let process = Process::start("pgadmin", folder.path(), &serve);
    let asked = tokio::task::spawn_blocking(move || surface(&python, "pgadmin_surface.py"));
    let url = format!("http://{address}/misc/ping");
    let (surface, _process) = tokio::join!(asked, process.ready(&url, START));
    walk::walk("pgadmin", &address, &requests("pgadmin.md", &surface.unwrap().answers)).await;
}
