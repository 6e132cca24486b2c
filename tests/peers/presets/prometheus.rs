//! Prometheus and what belongs to it behind their presets: Pushgateway and Alertmanager.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
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

#[tokio::test]
async fn pushgateway_takes_the_methods_of_its_page_and_the_preset_lets_in_whom_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let mut serve = Command::new(repository(".tests/pushgateway/usr/bin/prometheus-pushgateway"));
    serve.args(["--web.enable-lifecycle", "--web.enable-admin-api"]);
    serve.arg(format!("--web.listen-address={address}"));
    let process = Process::start("pushgateway", folder.path(), &serve);
    let _process = process.ready(&format!("http://{address}/-/ready"), PATIENCE).await;
    let requests = told_by_itself("pushgateway.md", &address, str::to_owned).await;
    // It ends, or never answers about a name that is no base64.
    let harmful = |request: &Request| request.path == "/-/quit" || request.path.contains("@base64");
    walk::walk_sparing("pushgateway", &address, &requests, harmful).await;
}

/// Where Debian's Alertmanager looks for its templates.
const TEMPLATES: &str = "/usr/share/prometheus/alertmanager";

/// Alertmanager as it was unpacked, made to look for its templates in the folder it is started in, which gets them.
fn unpacked_alertmanager(folder: &Path) -> Command {
    let unpacked = repository(".tests/alertmanager");
    for file in
        std::fs::read_dir(unpacked.join(TEMPLATES.trim_start_matches('/'))).unwrap().map(Result::unwrap)
    {
        if file.path().extension().is_some_and(|end| end == "tmpl") {
            std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
        }
    }
    let mut program = std::fs::read(unpacked.join("usr/bin/prometheus-alertmanager")).unwrap();
    let here = "./".repeat(TEMPLATES.len() / 2);
    let mut at = 0;
    while let Some(found) = memmem(&program[at..], TEMPLATES.as_bytes()) {
        program[at + found..at + found + here.len()].copy_from_slice(here.as_bytes());
        at += found + here.len();
    }
    assert!(at > 0 && here.len() == TEMPLATES.len(), "the path of its templates is not in it");
    let copy = folder.join("alertmanager");
    std::fs::write(&copy, program).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    Command::new(copy)
}

/// Where a text begins in bytes.
fn memmem(bytes: &[u8], text: &[u8]) -> Option<usize> {
    let first = |from: usize| bytes[from..].iter().position(|byte| *byte == text[0]).map(|at| from + at);
    let mut at = first(0)?;
    while !bytes[at..].starts_with(text) {
        at = first(at + 1)?;
    }
    Some(at)
}

#[tokio::test]
async fn alertmanager_takes_the_methods_of_its_page_and_the_preset_lets_in_whom_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let config = "route: { receiver: none }\nreceivers: [{ name: none }]\n";
    std::fs::write(folder.path().join("alertmanager.yml"), config).unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let mut serve = unpacked_alertmanager(folder.path());
    serve.args(["--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="]);
    serve.arg(format!("--web.listen-address={address}"));
    let process = Process::start("alertmanager", folder.path(), &serve);
    let _process = process.ready(&format!("http://{address}/-/ready"), PATIENCE).await;
    // It looks at the form of a number before it looks at the method.
    let known = |path: &str| path.replace("silence/x", "silence/2aa49e68-7e5c-4b8e-8b1c-4f9b4c7a7d11");
    let requests = told_by_itself("alertmanager.md", &address, known).await;
    walk::walk("alertmanager", &address, &requests).await;
}
