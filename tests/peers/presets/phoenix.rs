//! Phoenix's own routes, GraphQL operations and permissions beside those of its preset.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde::Deserialize;

use super::said;
use super::table::{self, Row};
use super::walk::{self, Request, is_no_laxer, roles};
use crate::phoenix::Phoenix;
use crate::support::{python, repository};

/// What `phoenix_surface.py` tells.
#[derive(Deserialize)]
struct Surface {
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    /// Or the kind of the operation.
    method: String,
    /// Or the root field.
    path: String,
    /// Whom its dependencies or permission classes let in.
    demands: BTreeSet<String>,
    /// Who of admin, member and viewer was let in.
    seen: BTreeSet<String>,
    /// A document that selects the root field.
    document: Option<String>,
}

/// Read from the installed Phoenix, which is asked in that process with its own authentication on.
fn surface() -> Surface {
    let mut run = Command::new(python());
    run.arg(repository("tests/peers/presets/phoenix_surface.py"));
    serde_json::from_str(&said(&run.output().unwrap())).unwrap()
}

fn names(roles: &[&str]) -> BTreeSet<String> {
    roles.iter().map(|role| (*role).to_owned()).collect()
}

/// Fails where page and application do not name the same, with the rows that are missing or too many.
fn compare(rows: &[Row], answers: &[&Answer]) {
    table::methods(rows);
    let said: BTreeMap<(&str, &str), BTreeSet<String>> = rows
        .iter()
        .flat_map(|row| {
            let demands = roles(&row.cells[0]);
            let pairs =
                row.methods.iter().flat_map(|m| row.paths.iter().map(move |p| (m.as_str(), p.as_str())));
            pairs.map(move |pair| (pair, demands.clone()))
        })
        .collect();
    let is: BTreeMap<(&str, &str), BTreeSet<String>> = answers
        .iter()
        .map(|answer| ((answer.method.as_str(), answer.path.as_str()), answer.demands.clone()))
        .collect();
    for (pair, demands) in &is {
        assert_eq!(
            said.get(pair),
            Some(demands),
            "{pair:?} is not in docs/presets/phoenix.md as Phoenix has it"
        );
    }
    for pair in said.keys() {
        assert!(is.contains_key(pair), "{pair:?} is in docs/presets/phoenix.md, and not in Phoenix");
    }
}

#[tokio::test]
async fn phoenix_has_the_routes_and_operations_of_its_page_and_the_preset_is_nowhere_laxer() {
    let (surface, app) = tokio::join!(tokio::task::spawn_blocking(surface), Phoenix::shared());
    let surface = surface.unwrap();
    let (operations, routes): (Vec<&Answer>, Vec<&Answer>) =
        surface.answers.iter().partition(|answer| answer.document.is_some());
    let everybody = names(&["admin", "member", "viewer"]);
    for answer in &surface.answers {
        let demands = if answer.demands.contains("anyone") { &everybody } else { &answer.demands };
        assert_eq!(
            &answer.seen, demands,
            "Phoenix lets others in than it says: {} {}",
            answer.method, answer.path
        );
    }
    let page = |heading| table::table("phoenix.md", heading);
    let (of_routes, of_operations) = (page("Routes"), page("GraphQL"));
    compare(&of_routes, &routes);
    compare(&of_operations, &operations);
    for row in of_routes.iter().chain(&of_operations) {
        let [application, preset, why] = &row.cells[..] else { panic!("{row:?}") };
        assert!(is_no_laxer(&roles(preset), &roles(application)), "laxer than Phoenix: {row:?}");
        assert_eq!(why.is_empty(), application == preset, "says why it differs: {row:?}");
    }

    let mut requests = walk::of_table(&of_routes, 1);
    for row in &of_operations {
        let allowed = roles(&row.cells[1]);
        let fields = operations
            .iter()
            .filter(|one| row.methods.contains(&one.method) && row.paths.contains(&one.path));
        requests.extend(fields.map(|one| Request {
            method: format!("{} {}", one.method, one.path),
            path: "/graphql".to_owned(),
            document: one.document.clone(),
            allowed: allowed.clone(),
        }));
    }
    walk::walk("phoenix", app.address(), &requests).await;
}
