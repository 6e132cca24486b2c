//! What an installed application serves, beside its page in `docs/presets`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use http::Method;
use serde::Deserialize;

use super::said;
use super::table::{self, Row};
use super::walk::{self, Request, is_no_laxer, roles};
use crate::support::{client, repository};

/// What a program `*_surface.py` tells.
#[derive(Debug, Deserialize)]
pub(super) struct Surface {
    pub(super) answers: Vec<Answer>,
    /// Names by which a GraphQL document reaches what has permissions below its root.
    #[serde(default)]
    pub(super) ways: BTreeSet<String>,
}

/// A route or a GraphQL operation.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    /// Or the kind of the operation.
    pub(super) method: String,
    /// Or the root field.
    pub(super) path: String,
    /// Whom the application lets in.
    pub(super) demands: BTreeSet<String>,
    /// Who of admin, member and viewer was seen to be let in, where that was tried.
    #[serde(default)]
    pub(super) seen: BTreeSet<String>,
    /// A document that selects the root field.
    #[serde(default)]
    pub(super) document: Option<String>,
}

/// Asks the installed application, by a program of the same Python.
pub(super) fn surface(python: &Path, program: &str) -> Surface {
    surface_as(python, program, &[])
}

/// The same with arguments for the program.
pub(super) fn surface_as(python: &Path, program: &str, arguments: &[&str]) -> Surface {
    let mut run = Command::new(python);
    run.arg(repository(&format!("tests/peers/presets/{program}"))).args(arguments);
    run.env("HTTPS_PROXY", "http://127.0.0.1:9");
    let told = said(&run.output().unwrap());
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
}

/// The rows of a page's table. The test fails where page and application do not name the same, or differ in whom the
/// application lets in; where the preset is laxer; and where a row does not say why it is stricter.
pub(super) fn compared<'a>(page: &str, heading: &str, answers: impl Iterator<Item = &'a Answer>) -> Vec<Row> {
    let rows = table::table(page, heading);
    table::methods(&rows);
    let mut said: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
    for row in &rows {
        let [application, preset, why] = &row.cells[..] else { panic!("{page}: {row:?}") };
        assert!(
            is_no_laxer(&roles(preset), &roles(application)),
            "{page}: laxer than the application: {row:?}"
        );
        assert_eq!(why.is_empty(), application == preset, "{page}: a row says why it differs: {row:?}");
        for method in &row.methods {
            said.extend(row.paths.iter().map(|path| ((method.as_str(), path.as_str()), roles(application))));
        }
    }
    let is: BTreeMap<(&str, &str), &BTreeSet<String>> =
        answers.map(|answer| ((answer.method.as_str(), answer.path.as_str()), &answer.demands)).collect();
    for (pair, demands) in &is {
        assert_eq!(said.get(pair), Some(*demands), "{pair:?} is not in docs/presets/{page} as it is");
    }
    for pair in said.keys() {
        assert!(is.contains_key(pair), "{pair:?} is in docs/presets/{page}, and not in the application");
    }
    rows
}

/// What is to be asked of an application, after its page was compared with what it serves: its routes, and its GraphQL
/// operations if it has such.
pub(super) fn requests(page: &str, answers: &[Answer]) -> Vec<Request> {
    let (operations, routes): (Vec<&Answer>, Vec<&Answer>) =
        answers.iter().partition(|answer| answer.document.is_some());
    let mut requests = walk::of_table(&compared(page, "Routes", routes.into_iter()), 1);
    if operations.is_empty() {
        return requests;
    }
    for row in &compared(page, "GraphQL", operations.iter().copied()) {
        let allowed = roles(&row.cells[1]);
        let is_of_row = |one: &&&Answer| row.methods.contains(&one.method) && row.paths.contains(&one.path);
        requests.extend(operations.iter().filter(is_of_row).map(|one| Request {
            method: format!("{} {}", one.method, one.path),
            path: "/graphql".to_owned(),
            document: one.document.clone(),
            allowed: allowed.clone(),
        }));
    }
    requests
}

/// The requests of a page whose application asks nobody who they are, and tells by status 405 which methods a path takes;
/// `known` makes of a path one that it knows.
pub(super) async fn told_by_itself(
    page: &str,
    address: &str,
    known: impl Fn(&str) -> String,
) -> Vec<Request> {
    let requests = walk::of_table(&table::table(page, "Routes"), 1);
    let mut paths: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for request in &requests {
        paths.entry(&request.path).or_default().insert(&request.method);
    }
    for (path, methods) in paths {
        let url = format!("http://{address}{}", known(path));
        let answer = client::send(Method::from_bytes(b"UNKNOWN").unwrap(), &url, &[], "").await.unwrap();
        // Of `/v2/` every method is answered alike.
        if answer.status == 405 {
            let taken = answer.header("allow").split(',').map(str::trim);
            let taken = taken.filter(|method| !["HEAD", "OPTIONS"].contains(method));
            assert_eq!(methods, taken.collect(), "{path} of docs/presets/{page}: {answer:?}");
        } else {
            assert_ne!(answer.status, 404, "{path} is in docs/presets/{page}, and not in the application");
        }
    }
    requests
}
