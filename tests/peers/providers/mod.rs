//! Identity servers that people run: Keycloak, Ory Hydra, Dex with an LDAP directory behind it, and Glewlwyd.

mod dex;
mod directory;
mod front;
mod glewlwyd;
mod hydra;
mod in_browser;
mod keycloak;
mod logout;
mod protocol;
mod sessions;
mod sign_in;
mod visitor;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::repository;

/// What all of them call the gateway.
const CLIENT: &str = "doorward";
const SECRET: &str = "doorward-secret";

/// A file that `tests/run.sh` made with these programs; none where one of them is missing, and then the test is left out.
fn made_with(programs: &[&str], file: &str) -> Option<PathBuf> {
    let path = repository(".tests").join(file);
    if path.exists() {
        return Some(path);
    }
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap()).collect();
    let is_here = |program: &&&str| folders.iter().any(|folder| folder.join(program).exists());
    let missing = programs.iter().find(|program| !is_here(program));
    let Some(program) = missing else { panic!("{} is missing: run tests/run.sh once", path.display()) };
    eprintln!("left out: {} is missing, and there is no {program} to make it with", path.display());
    None
}

/// A program of a package that was only unpacked, with the libraries that were unpacked beside it.
fn unpacked(folder: &str, program: &str) -> Command {
    let folder = repository(".tests").join(folder);
    let path = folder.join(program);
    assert!(path.exists(), "{} is missing: run tests/run.sh once", path.display());
    let mut command = Command::new(path);
    command.env("LD_LIBRARY_PATH", std::env::join_paths(libraries(&folder)).unwrap());
    command
}

/// Folders of libraries, named after the kind of machine.
fn libraries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("usr/lib")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains("-linux-gnu")).collect()
}
