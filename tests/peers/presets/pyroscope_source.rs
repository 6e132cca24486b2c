//! What Pyroscope serves, read from its source, so that a version with more routes is noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::table::OTHER;

type Routes = BTreeMap<String, BTreeSet<String>>;

/// The routes of Pyroscope 0.37: methods by path, where a `*` at the end means that the path is a prefix.
///
/// They are made by calls of gorilla/mux, one a line: `x.Path("/a").Methods(http.MethodGet).Handler(h)`, subrouters in
/// variables, and lists of `{"/path", handler}`. A line with a path that is none of these fails the test.
pub(super) fn routes(source: &Path) -> Routes {
    let controller = std::fs::read_to_string(source.join("pkg/server/controller.go")).unwrap();
    let from = controller.find("func (ctrl *Controller) serverMux()").unwrap();
    let to = controller.find("func (ctrl *Controller) getHandler()").unwrap();
    let handlers = std::fs::read_to_string(source.join("pkg/api/router/router.go")).unwrap();
    let handlers_from = handlers.find("func (r *Router) RegisterHandlers()").unwrap();

    let mut routes = Routes::new();
    read(&controller[from..to], "", &mut routes);
    read(&handlers[handlers_from..], "/api*", &mut routes);
    routes
}

/// Reads lines in which `r` is the router at `root`.
fn read(source: &str, root: &str, routes: &mut Routes) {
    let mut parents = BTreeMap::from([("r".to_owned(), root.to_owned())]);
    for line in source.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        if let Some(path) =
            line.strip_prefix("{\"/").and_then(|rest| rest.split_once('"')).map(|(path, _)| path)
        {
            let path = format!("/{path}");
            let all = ["GET", "POST", OTHER].map(str::to_owned);
            routes.entry(path).or_default().extend(all);
            continue;
        }
        let (assigned, chain) = match line.split_once('=') {
            Some((name, chain)) => (Some(name.trim_end_matches(':').trim()), chain.trim()),
            None => (None, line),
        };
        let chain = chain.strip_prefix("router.New(").unwrap_or(chain);
        let known = chain.split_once('.').and_then(|(name, calls)| Some((parents.get(name)?, calls)));
        let Some((start, calls)) = known else {
            assert!(!line.contains("\"/"), "a path in a line that is not understood: {line}");
            continue;
        };
        let (mut path, mut method, mut handled, mut subrouter) = (start.clone(), None, false, false);
        for (name, argument) in self::calls(calls) {
            match name {
                "Path" => path = format!("{}{}", path.trim_end_matches('*'), argument.trim_matches('"')),
                "PathPrefix" => {
                    path = format!("{}{}*", path.trim_end_matches('*'), argument.trim_matches('"'));
                }
                "Methods" => method = Some(argument.strip_prefix("http.Method").unwrap().to_uppercase()),
                "Handler" | "HandlerFunc" => handled = true,
                "Subrouter" => subrouter = true,
                _ => assert!(!argument.contains("\"/"), "a path in a call that is not understood: {line}"),
            }
        }
        if handled {
            let methods =
                method.map_or_else(|| ["GET", "POST", OTHER].map(str::to_owned).to_vec(), |one| vec![one]);
            routes.entry(path).or_default().extend(methods);
        } else if subrouter {
            parents.insert(
                assigned.unwrap_or_else(|| panic!("a router without a name: {line}")).to_owned(),
                path,
            );
        }
    }
}

/// The calls of `A(x).B(y)`, as names and arguments.
fn calls(chain: &str) -> Vec<(&str, &str)> {
    let mut calls = Vec::new();
    let mut rest = chain;
    while let Some((name, after)) = rest.split_once('(') {
        let mut depth = 1;
        let end = after.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        // What goes on in the next line is the argument of a handler.
        let end = end.unwrap_or(after.len());
        calls.push((name.trim_start_matches('.'), &after[..end]));
        rest = after.get(end + 1..).unwrap_or_default();
    }
    calls
}

/// The procedures of Pyroscope 1.x, as paths, from the code that is made of its published interface.
pub(super) fn procedures(interface: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![interface.join("gen/proto/go")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(".connect.go") {
                let text = std::fs::read_to_string(path).unwrap();
                let constants = text.lines().filter(|line| line.contains("Procedure = \"/"));
                found.extend(constants.map(|line| line.split('"').nth(1).unwrap().to_owned()));
            }
        }
    }
    found
}
