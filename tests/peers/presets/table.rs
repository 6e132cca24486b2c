//! The tables of `docs/presets`: what an application serves, and who is let in.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::repository;

/// What a table calls all methods but GET, HEAD, OPTIONS and POST.
pub(super) const OTHER: &str = "other";

/// One line of a table, whose first two columns are methods and paths.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) methods: Vec<String>,
    pub(super) paths: Vec<String>,
    /// The other columns.
    pub(super) cells: Vec<String>,
}

/// The table of methods and paths below a heading of a page in `docs/presets`.
pub(super) fn table(page: &str, heading: &str) -> Vec<Row> {
    let text = std::fs::read_to_string(repository(&format!("docs/presets/{page}"))).unwrap();
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let words = |cell: &str| cell.split(", ").map(|word| word.trim_matches('`').to_owned()).collect();
    let rows = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Method "));
    let rows: Vec<Row> = rows
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [methods, paths, cells @ ..] = &cells[..] else { panic!("{page}: {line}") };
            let cells = cells.iter().map(|cell| (*cell).to_owned()).collect();
            Row { methods: words(methods), paths: words(paths), cells }
        })
        .collect();
    assert!(!rows.is_empty(), "{page} has no table below {heading}");
    rows
}

/// Methods by path; a path and method that stand in two rows would be told two things.
pub(super) fn methods(rows: &[Row]) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        for path in &row.paths {
            for method in &row.methods {
                let new = all.entry(path.clone()).or_default().insert(method.clone());
                assert!(new, "{method} {path} stands there twice");
            }
        }
    }
    all
}

/// Requests that a row speaks of: placeholders are filled in, and the end of a prefix is tried in several ways.
pub(super) fn requests(row: &Row) -> Vec<(http::Method, String)> {
    let mut requests = Vec::new();
    for path in row.paths.iter().flat_map(|path| addresses(path)) {
        for method in &row.methods {
            let methods: &[&str] = if method == OTHER { &["DELETE", "PUT"] } else { &[method] };
            requests.extend(methods.iter().map(|method| (method.parse().unwrap(), path.clone())));
        }
    }
    requests
}

fn addresses(pattern: &str) -> Vec<String> {
    let mut path = String::new();
    let mut rest = pattern.strip_suffix('*').unwrap_or(pattern);
    while let Some((before, after)) = rest.split_once('{') {
        let (placeholder, after) = after.split_once('}').unwrap();
        path += before;
        path += if placeholder.contains(":[0-9") { "99" } else { "x" };
        rest = after;
    }
    path += rest;
    match pattern.strip_suffix('*') {
        None => vec![path],
        Some(_) if path.ends_with('/') => vec![format!("{path}app.js")],
        Some(_) => ["", "X", "/x"].iter().map(|end| format!("{path}{end}")).collect(),
    }
}
