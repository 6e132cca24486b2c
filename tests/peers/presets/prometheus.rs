//! Prometheus behind its preset.

use std::process::Command;

use super::surface::told_by_itself;
use super::walk::{self, Request};
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, repository};

#[tokio::test]
async fn prometheus_takes_the_methods_of_its_page_and_the_preset_lets_in_whom_it_says() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("prometheus.yml"), "global: {}\n").unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let mut serve = Command::new(repository(".tests/prometheus/usr/bin/prometheus"));
    serve.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.enable-lifecycle"]);
    serve.args(["--web.enable-remote-write-receiver", "--web.enable-admin-api"]);
    serve.arg(format!("--web.listen-address={address}"));
    let process = Process::start("prometheus", folder.path(), &serve);
    let _process = process.ready(&format!("http://{address}/-/ready"), PATIENCE).await;
    let requests = told_by_itself("prometheus.md", &address, str::to_owned).await;
    walk::walk_sparing("prometheus", &address, &requests, |request: &Request| request.path == "/-/quit")
        .await;
}
