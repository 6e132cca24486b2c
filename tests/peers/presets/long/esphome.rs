//! `ESPHome`'s dashboard behind its preset.

use super::{START, beside, free_address, python, requests, surface, walk};
use crate::support::process::Process;

#[tokio::test]
async fn esphome_has_the_routes_of_its_page_and_the_preset_lets_in_whom_it_says() {
    let Some(python) = python("esphome") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (address, port) = free_address();
    let mut serve = beside(&python, "esphome");
    serve.args(["dashboard", ".", "--address", "127.0.0.1", "--port", &port]).env("HOME", folder.path());
    let process = Process::start("esphome", folder.path(), &serve);
    let asked = tokio::task::spawn_blocking(move || surface(&python, "esphome_surface.py"));
    let url = format!("http://{address}/version");
    let (surface, _process) = tokio::join!(asked, process.ready(&url, START));
    walk::walk("esphome", &address, &requests("esphome.md", &surface.unwrap().answers)).await;
}
