//! No file imports, by whatever way round, what imports it; nor does a folder beside others.
//!
//! The graph is drawn from the text: `use` lines, and paths in the code that begin with `crate`, `self`, `super` or a
//! module of one's own. What a module only hands on (`pub use`) counts as the file that defines it.
//!
//! What a module takes from its own parts makes no edge: a face is made of what is behind it, and `mod` lines hold them
//! together in any case. So `mod.rs` may define what its parts share, and parts may import it by `super`: that is how a
//! type and its `impl` stand in several files, and those two can only be read together. It becomes a circle as soon as
//! a part's neighbour, or anything outside, leads back.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, sources};

/// Where a module or an item is, from the crate's root.
type Path = Vec<String>;

/// What a `use` line brings in.
struct Import {
    path: Path,
    name: String,
}

/// A file, by what it names.
struct Node {
    imports: Vec<Import>,
    mentioned: Vec<Path>,
}

/// Every file but those of tests, by its module.
struct Graph(BTreeMap<Path, Node>);

impl Graph {
    fn of(sources: &[Source]) -> Self {
        let files: Vec<(Path, &Source)> =
            sources.iter().filter_map(|source| Some((module_of(&source.path)?, source))).collect();
        let modules: BTreeSet<&Path> = files.iter().map(|(module, _)| module).collect();
        let nodes =
            files.iter().map(|(module, source)| (module.clone(), node(module, &source.code, &modules)));
        Self(nodes.collect())
    }

    /// The file that defines what a path leads to.
    fn home(&self, path: &[String], steps: usize) -> Option<Path> {
        let module = (1..=path.len())
            .rev()
            .find_map(|end| path.get(..end).filter(|part| self.0.contains_key(*part)))?;
        let handed_on = path.get(module.len()).filter(|_| steps > 0).and_then(|item| {
            let node = self.0.get(module)?;
            node.imports.iter().find(|import| import.name == *item).map(|import| &import.path)
        });
        match handed_on {
            Some(from) => {
                let rest = path.iter().skip(module.len() + 1);
                self.home(&from.iter().chain(rest).cloned().collect::<Path>(), steps - 1)
            }
            None => Some(module.to_vec()),
        }
    }

    /// Which files each file imports from, but for its own parts.
    fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (module, node) in &self.0 {
            let paths = node.imports.iter().map(|import| &import.path).chain(&node.mentioned);
            let homes = paths.filter_map(|path| self.home(path, 8)).filter(|home| !home.starts_with(module));
            edges.insert(module.join("/"), homes.map(|home| home.join("/")).collect());
        }
        edges
    }
}

type Edges = BTreeMap<String, BTreeSet<String>>;

/// `["gate", "route"]` for `gate/route.rs`, `["gate"]` for `gate/mod.rs`; none for tests and what is above all modules.
fn module_of(path: &str) -> Option<Path> {
    let is_test = path.ends_with("tests.rs") || path.ends_with("/testing.rs") || path.contains("/tests/");
    let name = path.strip_suffix(".rs").filter(|name| !is_test && !matches!(*name, "lib" | "main"))?;
    Some(name.strip_suffix("/mod").unwrap_or(name).split('/').map(str::to_owned).collect())
}

fn node(module: &Path, code: &str, modules: &BTreeSet<&Path>) -> Node {
    let code = code.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let absolute = |path: &[String]| {
        let mut base = module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => return Some(path.iter().skip(1).cloned().collect()),
            "self" => rest = rest.get(1..)?,
            "super" => {
                while rest.first().is_some_and(|part| part == "super") {
                    base.pop();
                    rest = rest.get(1..)?;
                }
            }
            own => {
                let part: Path = module.iter().cloned().chain([own.to_owned()]).collect();
                modules.contains(&part).then_some(())?;
            }
        }
        Some(base.iter().chain(rest).cloned().collect::<Path>())
    };
    let (mut imports, mut rest) = (Vec::new(), String::new());
    let mut left = code;
    while let Some((before, tree, after)) = next_use(left) {
        rest.push_str(before);
        left = after;
        for (path, name) in branches(tree) {
            imports.extend(absolute(&path).map(|path| Import { path, name }));
        }
    }
    rest.push_str(left);
    let mentioned = paths_in(&rest).iter().filter_map(|path| absolute(path)).collect();
    Node { imports, mentioned }
}

/// What stands before the next `use`, what it brings in, and what follows.
fn next_use(code: &str) -> Option<(&str, &str, &str)> {
    for (at, _) in code.match_indices("use ") {
        let line = code[..at].rsplit('\n').next().unwrap_or_default().trim();
        if line.is_empty() || line == "pub" || (line.starts_with("pub(") && line.ends_with(')')) {
            let (tree, after) = code[at + 4..].split_once(';')?;
            return Some((&code[..at], tree, after));
        }
    }
    None
}

/// `a::b` and `a::c` of `a::{b, c}`, each with the name by which it is known afterwards.
fn branches(tree: &str) -> Vec<(Path, String)> {
    let words = |text: &str| -> Path {
        text.split("::").map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let Some((stem, group)) = tree.split_once('{') else {
        let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias)));
        let mut path = words(path);
        if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
            path.pop();
        }
        let name = alias.map(str::trim).or(path.last().map(String::as_str)).unwrap_or_default().to_owned();
        return vec![(path, name)];
    };
    let group = group.rsplit_once('}').map_or(group, |(inside, _)| inside);
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[start..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| branches(&format!("{stem}{}", part.trim()))).collect()
}

/// Every `a::b::c` in code.
fn paths_in(code: &str) -> Vec<Path> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut paths, mut rest) = (Vec::new(), code);
    while let Some(start) = rest.find(|c: char| is_word(c) && !c.is_numeric()) {
        let begins = !rest[..start].ends_with(|c: char| is_word(c) || c == ':' || c == '.');
        rest = &rest[start..];
        let mut path = Path::new();
        loop {
            let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            path.push(rest[..end].to_owned());
            rest = &rest[end..];
            match rest.strip_prefix("::").filter(|next| next.starts_with(is_word)) {
                Some(next) => rest = next,
                None => break,
            }
        }
        if begins && path.len() > 1 {
            paths.push(path);
        }
    }
    paths
}

/// Everything that leads back to itself, each circle once and in order.
fn circles(edges: &Edges) -> BTreeSet<Vec<String>> {
    let leads_to = |from: &String, to: &String| reachable(from, edges).contains(to);
    let back = edges.keys().filter(|node| leads_to(node, node));
    back.map(|node| {
        let round = reachable(node, edges).into_iter().filter(|other| leads_to(other, node));
        round.cloned().collect()
    })
    .collect()
}

fn reachable<'e>(from: &String, edges: &'e Edges) -> BTreeSet<&'e String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&String> = edges.get(from).into_iter().flatten().collect();
    while let Some(next) = open.pop() {
        if found.insert(next) {
            open.extend(edges.get(next).into_iter().flatten());
        }
    }
    found
}

/// The same edges between whatever stands side by side in each folder, file or folder.
fn side_by_side(edges: &Edges) -> Edges {
    let mut beside = Edges::new();
    for (from, to) in edges.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to))) {
        let alike = from.split('/').zip(to.split('/')).take_while(|(a, b)| a == b).count();
        let up_to = |path: &str| path.split('/').take(alike + 1).collect::<Vec<_>>().join("/");
        // One of the two may be the face of the other.
        if from.split('/').count() > alike && to.split('/').count() > alike {
            beside.entry(up_to(from)).or_default().insert(up_to(to));
            beside.entry(up_to(to)).or_default();
        }
    }
    beside
}

fn all_circles(sources: &[Source]) -> BTreeSet<Vec<String>> {
    let edges = Graph::of(sources).edges();
    let mut found = circles(&edges);
    found.extend(circles(&side_by_side(&edges)));
    found
}

#[test]
fn no_imports_go_in_a_circle() {
    let found = all_circles(&sources());
    super::assert_none(found.iter().map(|circle| format!("a circle of imports: {}", circle.join(", "))));
}

#[test]
fn a_circle_is_caught_in_every_form() {
    let found = |files: &[(&str, &str)]| {
        let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        all_circles(&sources)
    };
    let rest = ("x/mod.rs", "mod a;\nmod b;\npub use self::b::B;");
    for there in
        ["use super::b::B;", "use crate::x::{b::B, c};", "use super::B;", "fn f() { crate::x::b::f() }"]
    {
        for back in ["use super::a::A;", "use crate::x::a;", "pub(super) use super::a::A as Other;"] {
            let circle = [vec!["x/a".to_owned(), "x/b".to_owned()]];
            assert_eq!(found(&[rest, ("x/a.rs", there), ("x/b.rs", back)]), circle.into(), "{there} {back}");
        }
    }
    let folders = found(&[
        ("x/a/mod.rs", "mod one;\nmod two;"),
        ("x/a/one.rs", "use crate::x::b::one;"),
        ("x/a/two.rs", ""),
        ("x/b/mod.rs", "mod one;"),
        ("x/b/one.rs", "use crate::x::a::two::Two;"),
    ]);
    assert_eq!(
        folders,
        [vec!["x/a".to_owned(), "x/b".to_owned()]].into(),
        "folders, where no file leads back"
    );
    for (a, b) in [
        ("use super::b::B;", "use super::Shared;"),
        ("use super::b::B;", "// use super::a::A;"),
        ("use super::b::B;", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use super::super::a::A;\n}"),
        ("use super::b::B;", "let text = \"crate::x::a::A\";"),
    ] {
        assert_eq!(found(&[rest, ("x/a.rs", a), ("x/b.rs", b)]), BTreeSet::new(), "{b}");
    }
}
