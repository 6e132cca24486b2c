//! What Micromegas serves, read from the crates that its program is built of, so that a version with more is noticed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::repository;

/// The folder of the crate with this name that the program is built of.
pub(super) fn source(name: &str) -> PathBuf {
    // Of other platforms' crates there is nothing here.
    let compiler = Command::new("rustc").arg("-vV").output().unwrap();
    let compiler = String::from_utf8(compiler.stdout).unwrap();
    let host = compiler.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let mut metadata = Command::new(env!("CARGO"));
    metadata.args(["metadata", "--locked", "--offline", "--format-version", "1"]);
    metadata.args(["--filter-platform", host, "--manifest-path"]);
    metadata.arg(repository("tests/peers/presets/micromegas_server/Cargo.toml"));
    let output = metadata.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let known: Value = serde_json::from_slice(&output.stdout).unwrap();
    let package =
        known["packages"].as_array().unwrap().iter().find(|package| package["name"] == name).unwrap();
    Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

/// The texts between two marks, in all Rust files of a folder and below.
fn between(folder: &Path, before: &str, after: char) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(between(&path, before, after));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            found.extend(text.split(before).skip(1).map(|rest| rest.split(after).next().unwrap().to_owned()));
        }
    }
    found
}

/// Paths and methods of the ingestion server and the HTTP gateway, and of the service of Arrow Flight.
pub(super) fn routes() -> BTreeSet<(String, String)> {
    // Perfetto and the sidecar of probes have no routes of their own beside these.
    let servers = source("micromegas").join("src/servers");
    let mut routes = BTreeSet::new();
    for call in between(&servers, ".route(", ';') {
        let mut words = call.split('"');
        let path = words.nth(1).unwrap().to_owned();
        let handler = words.next().unwrap().trim_start_matches(',').trim();
        let (method, _) = handler.split_once('(').unwrap();
        routes.insert((method.to_uppercase(), path));
    }
    let flight = "/arrow.flight.protocol.FlightService/";
    for method in between(&source("arrow-flight").join("src"), &format!("\"{flight}"), '"') {
        routes.insert(("POST".to_owned(), format!("{flight}{method}")));
    }
    routes
}

/// Functions of the SQL server that it has for everybody, and those that it has for admins alone.
pub(super) fn functions() -> (BTreeSet<String>, BTreeSet<String>) {
    let query = source("micromegas-analytics").join("src/lakehouse/query.rs");
    let text = std::fs::read_to_string(query).unwrap();
    let (_, text) = text.split_once("pub fn register_lakehouse_functions(").unwrap();
    let (text, _) = text.split_once("\npub fn ").unwrap();
    let (for_all, for_admins) = text.split_once("if lakehouse_admin {").unwrap();
    (registered(for_all), registered(for_admins))
}

/// The names of what is registered: given, or those of the functions that make them.
fn registered(text: &str) -> BTreeSet<String> {
    let tables = text.split("register_udtf(").skip(1).map(|rest| rest.split('"').nth(1).unwrap().to_owned());
    let scalars = text.split("register_udf(").skip(1).map(|rest| {
        let made = |mark| rest.split_once(mark).map(|(_, after)| (mark, after));
        let (made, call) = ["make_", "Arc::new("].into_iter().find_map(made).unwrap();
        match made {
            "make_" => call.split_once("_udf(").unwrap().0.to_owned(),
            _ => snake_case(call.split_once("::new(").unwrap().0),
        }
    });
    tables.chain(scalars).collect()
}

fn snake_case(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push('_');
        }
        words.extend(letter.to_lowercase());
    }
    words
}
