//! Presets of applications that are large: a run with `--long` installs each into a Python of its own and tries it.

mod airflow;
mod dagster;
mod esphome;
mod jupyterhub;
mod pgadmin;
mod prefect;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::surface::{requests, surface};
use super::walk;
use crate::support::{free_port, repository};

/// They take their time.
const START: Duration = Duration::from_mins(3);

/// The Python that has an application installed; none but in a long run.
fn python(name: &str) -> Option<PathBuf> {
    if std::env::var_os("DOORWARD_TEST_LONG").is_none() {
        eprintln!("left out: the real {name}, which is large; tests/run.sh --long runs it");
        return None;
    }
    let python = repository(&format!(".tests/{name}/bin/python"));
    assert!(python.exists(), "{} is missing: run tests/run.sh --long once", python.display());
    Some(python)
}

/// A program that is installed beside a Python.
fn beside(python: &std::path::Path, program: &str) -> Command {
    let mut command = Command::new(python.with_file_name(program));
    command.env("PATH", format!("{}:/usr/bin:/bin", python.parent().unwrap().display()));
    command
}

fn free_address() -> (String, String) {
    let port = free_port().to_string();
    (format!("127.0.0.1:{port}"), port)
}
