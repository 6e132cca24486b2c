//! The floor plan and the absences that ARCHITECTURE.md states, checked against the source text.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attack_cases;
mod circles;
mod request_line;

use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up. Modules on one floor do not see each other.
const FLOORS: &[&[&str]] = &[
    &["model"],
    &["policy", "store", "egress"],
    &["config"],
    &["service", "oidc"],
    &["gate", "federation"],
    &["edge"],
    &["server"],
    &["app"],
    &["cli"],
];

/// Lines a file may have to be read in one sitting; tables of tests may be longer.
const LONGEST: usize = 450;
const LONGEST_TESTS: usize = 600;

/// Names that say nothing about what is inside.
const BANNED_NAMES: &[&str] = &["utils", "util", "helpers", "helper", "common", "misc", "prelude"];

/// One source file: its path below `src/`, its text, and the text taken apart.
struct Source {
    path: String,
    text: String,
    code: String,
    strings: Vec<String>,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let (code, strings) = take_apart(text);
        Self { path: path.to_owned(), text: text.to_owned(), code, strings }
    }

    /// The module at the top: `gate` for `gate/route.rs`; empty for `lib.rs` and `main.rs`.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        let first = first.strip_suffix(".rs").unwrap_or(first);
        if matches!(first, "lib" | "main") { "" } else { first }
    }

    fn is_below(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

/// Code without comments and literals, and the string literals by themselves.
fn take_apart(text: &str) -> (String, Vec<String>) {
    let bytes = text.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or(b' ');
    let (mut code, mut strings) = (Vec::new(), Vec::new());
    let mut here = 0;
    while here < bytes.len() {
        let ended = |from: usize, end: &str| {
            text.get(from..).and_then(|rest| rest.find(end)).map_or(bytes.len(), |found| from + found)
        };
        let after_word = here > 0 && (at(here - 1).is_ascii_alphanumeric() || at(here - 1) == b'_');
        match at(here) {
            b'/' if at(here + 1) == b'/' => here = ended(here, "\n"),
            b'/' if at(here + 1) == b'*' => here = ended(here, "*/") + 2,
            b'r' if !after_word && raw_fence(&text[here..]).is_some() => {
                let fence = raw_fence(&text[here..]).unwrap_or_default();
                let start = here + fence.len() + 2;
                let end = ended(start, &format!("\"{fence}"));
                strings.push(text[start..end].to_owned());
                here = end + 1 + fence.len();
            }
            b'"' => {
                let start = here + 1;
                here = start;
                while here < bytes.len() && at(here) != b'"' {
                    here += if at(here) == b'\\' { 2 } else { 1 };
                }
                strings.push(text[start..here.min(bytes.len())].to_owned());
                code.extend_from_slice(b"\"\"");
                here += 1;
            }
            // A character, not a lifetime.
            b'\'' if at(here + 1) == b'\\' => here = ended(here + 3, "'") + 1,
            b'\'' if text[here + 1..].chars().nth(1) == Some('\'') => here = ended(here + 2, "'") + 1,
            byte => {
                code.push(byte);
                here += 1;
            }
        }
    }
    (String::from_utf8_lossy(&code).into_owned(), strings)
}

/// The `#`s of a raw string that begins here.
fn raw_fence(text: &str) -> Option<String> {
    let rest = text.strip_prefix('r')?;
    let fence: String = rest.chars().take_while(|c| *c == '#').collect();
    rest[fence.len()..].starts_with('"').then_some(fence)
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The modules that stand after each `prefix`, whether alone or in braces: `x::y` and `{x::y, z}`.
fn named_after<'c>(code: &'c str, prefix: &str) -> Vec<&'c str> {
    let mut named = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            named.push(word(rest));
            continue;
        };
        let (mut depth, mut start) = (0, 0);
        for (index, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' | ',' if depth == 0 => {
                    named.push(word(group[start..index].trim_start()));
                    start = index + 1;
                    if c == '}' {
                        break;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
    }
    named
}

fn wrong_imports(source: &Source) -> Vec<String> {
    let module = source.module();
    let Some(floor) = floor_of(module) else { return Vec::new() };
    // From the top module's own file `super::` is the crate as well.
    let is_top = source.path == format!("{module}/mod.rs") || !source.path.contains('/');
    let mut named = named_after(&source.code, "crate::");
    if is_top {
        named.extend(named_after(&source.code, "super::"));
    }
    named
        .into_iter()
        .filter(|other| *other != module && floor_of(other).is_some_and(|other| other >= floor))
        .map(|other| format!("src/{}: `{module}` imports `{other}`", source.path))
        .collect()
}

/// Rules inside a floor, for what is not a matter of height: from where, and what is not seen there.
const NOT_SEEN: &[(&str, &[&str])] = &[
    ("edge/proxy/", &["crate::service", "crate::edge::web", "crate::store"]),
    // Pages ask the gate who somebody is and which page sent a form, and nothing else.
    ("edge/web/", &["crate::edge::proxy", "Gate", "Permit", "Authenticator"]),
    ("edge/pages/", &["crate::edge::proxy", "crate::edge::web", "crate::edge::forward_auth", "crate::store"]),
    ("edge/forward_auth/", &["crate::edge::proxy", "crate::edge::web", "crate::store", "Passwords"]),
    // No slow hash is within reach of a decision.
    ("gate/", &["crate::store", "Passwords"]),
    ("service/", &["http::", "hyper::", "askama"]),
    ("oidc/", &["crate::store", "http::", "hyper::", "askama"]),
    ("model/", &["tokio::", "hyper::", "sqlx::", "async fn"]),
    ("policy/", &["tokio::", "hyper::", "async fn", "Clock"]),
];

fn unwanted_sights(source: &Source) -> Vec<String> {
    // Tests may build what they look at.
    let code = source.code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    if source.path.ends_with("tests.rs") || source.path.ends_with("/testing.rs") {
        return Vec::new();
    }
    NOT_SEEN
        .iter()
        .filter(|(folder, _)| source.is_below(folder))
        .flat_map(|(_, names)| names.iter())
        .filter(|name| code.match_indices(**name).any(|(at, _)| stands_alone(code, at)))
        .map(|name| format!("src/{} sees `{name}`", source.path))
        .collect()
}

/// Whether a name found here is not the end of a longer one.
fn stands_alone(code: &str, at: usize) -> bool {
    !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

fn is_sql(literal: &str) -> bool {
    let text = format!(" {} ", literal.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase());
    let both =
        |first: &str, then: &str| text.find(first).is_some_and(|at| text[at + first.len()..].contains(then));
    both(" select ", " from ")
        || both(" update ", " set ")
        || [" insert into ", " delete from ", " create table ", " drop table "]
            .iter()
            .any(|statement| text.contains(statement))
}

/// Places that build a `Permit`.
fn permits_built(source: &Source) -> usize {
    built(&source.code, "Permit {")
}

/// Places that build what `literal` begins.
fn built(code: &str, literal: &str) -> usize {
    code.match_indices(literal)
        .filter(|(at, _)| {
            let before = code[..*at].trim_end();
            stands_alone(code, *at) && !["struct", "impl", "for", "->"].iter().any(|w| before.ends_with(w))
        })
        .count()
}

/// The ways in which a source makes a proof that somebody may administer, outside of tests and of the proof's own file.
fn doors_to_administer(source: &Source) -> Vec<&'static str> {
    let is_test = source.path.ends_with("tests.rs") || source.path.ends_with("/testing.rs");
    if is_test || source.path == "service/admin.rs" {
        return Vec::new();
    }
    let code = source.code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    ["AdminProof::of_caller(", "AdminProof::of_command_line(", "AdminProof {"]
        .into_iter()
        .filter(|door| built(code, door) > 0)
        .collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn sources() -> Vec<Source> {
    let folder = root().join("src");
    let mut sources: Vec<Source> = files_below(&folder)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let name = path.strip_prefix(&folder).unwrap().to_string_lossy().into_owned();
            Source::new(&name, &fs::read_to_string(&path).unwrap())
        })
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 50, "the source was not found");
    sources
}

#[track_caller]
fn assert_none(violations: impl IntoIterator<Item = String>) {
    let violations: Vec<String> = violations.into_iter().collect();
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn modules_import_only_from_lower_floors() {
    assert_none(sources().iter().flat_map(wrong_imports));
}

#[test]
fn every_module_has_a_floor() {
    let sources = sources();
    let strays =
        sources.iter().filter(|source| !source.module().is_empty() && floor_of(source.module()).is_none());
    assert_none(strays.map(|source| format!("src/{} stands on no floor", source.path)));
}

#[test]
fn neighbours_do_not_see_what_is_none_of_their_business() {
    assert_none(sources().iter().flat_map(unwanted_sights));
}

#[test]
fn only_the_store_speaks_sql() {
    let sources = sources();
    let outside = sources.iter().filter(|source| !source.is_below("store/"));
    assert_none(outside.clone().flat_map(|source| {
        let sql = source.strings.iter().filter(|literal| is_sql(literal));
        sql.map(|literal| format!("src/{}: {literal}", source.path))
    }));
    assert_none(
        outside
            .filter(|source| source.code.contains("sqlx"))
            .map(|source| format!("src/{}: sqlx", source.path)),
    );
    assert!(
        sources
            .iter()
            .any(|source| source.is_below("store/") && source.strings.iter().any(|text| is_sql(text)))
    );
}

#[test]
fn only_the_gate_makes_permits_and_in_one_file() {
    for source in sources() {
        assert_eq!(permits_built(&source) > 0, source.path == "gate/permit.rs", "src/{}", source.path);
    }
}

/// Files of the server that look at a path themselves: listeners of their own, with one address each.
const ONE_ADDRESS: [&str; 2] = ["server/acme/plain.rs", "server/metrics/mod.rs"];

/// Literals of a file that look like paths of a request, but for those of its tests.
fn paths_in(source: &Source) -> Vec<String> {
    let text = source.text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let (_, strings) = take_apart(text);
    strings.into_iter().filter(|text| text.starts_with('/') && !text.starts_with("/proc/")).collect()
}

#[test]
fn only_the_mount_list_says_what_answers_where() {
    let sources = sources();
    let of = |path: &str| sources.iter().find(|source| source.path == path).unwrap();
    assert!(paths_in(of("edge/mount.rs")).len() > 20, "the list was not found");
    assert_none(sources.iter().filter(|source| source.is_below("server/")).filter_map(|source| {
        let found = paths_in(source);
        let expected = usize::from(ONE_ADDRESS.contains(&source.path.as_str()));
        (found.len() != expected && source.path != "server/acme/plain.rs" || found.len() > 2)
            .then(|| format!("src/{} looks for {found:?}", source.path))
    }));
    // Whoever is handed a request takes the answer of the list, and does not look it up again.
    let looks_up =
        |source: &&Source| source.code.contains("Mount::at(") || source.code.contains("mount::own(");
    let lookers: Vec<_> = sources.iter().filter(looks_up).map(|source| source.path.as_str()).collect();
    assert_eq!(lookers, ["edge/surfaces.rs", "edge/web/testing.rs", "server/dispatch.rs"]);
}

/// Files that open connections, and for what.
const CONNECTING: [&str; 4] = [
    // a question to the gateway itself
    "cli/healthcheck.rs",
    // upstreams
    "edge/proxy/connect.rs",
    // the gateway's own requests
    "egress/mod.rs",
    // whether anybody listens on a socket file
    "server/listener.rs",
];

#[test]
fn own_requests_leave_by_the_way_out_alone() {
    let connects = |source: &Source| {
        let code = source.code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        !source.path.ends_with("tests.rs")
            && ["Stream::connect(", "lookup_host("].iter().any(|call| code.contains(call))
    };
    let sources = sources();
    let found: Vec<&str> =
        sources.iter().filter(|source| connects(source)).map(|source| source.path.as_str()).collect();
    assert_eq!(found, CONNECTING);
}

#[test]
fn only_the_gate_and_the_command_line_make_admin_proofs_and_each_in_one_file() {
    for source in sources() {
        let made = doors_to_administer(&source);
        let expected: &[&str] = match source.path.as_str() {
            "gate/admin.rs" => &["AdminProof::of_caller("],
            "cli/services.rs" => &["AdminProof::of_command_line("],
            _ => &[],
        };
        assert_eq!(made, expected, "src/{}", source.path);
    }
}

#[test]
fn only_the_clock_knows_the_time() {
    let sources = sources();
    let others = sources.iter().filter(|source| source.path != "model/time.rs");
    assert_none(
        others
            .filter(|source| source.code.contains("SystemTime"))
            .map(|source| format!("src/{}", source.path)),
    );
}

#[test]
fn every_module_says_first_what_it_holds() {
    let silent = sources().into_iter().filter(|source| !source.text.starts_with("//! "));
    assert_none(silent.map(|source| format!("src/{}", source.path)));
}

#[test]
fn every_file_can_be_read_in_one_sitting() {
    assert_none(sources().into_iter().filter_map(|source| {
        let lines = source.text.lines().count();
        let longest = if source.path.ends_with("tests.rs") { LONGEST_TESTS } else { LONGEST };
        (lines > longest).then(|| format!("src/{}: {lines} lines", source.path))
    }));
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    assert_none(sources().into_iter().filter_map(|source| {
        let mut parts = source.path.trim_end_matches(".rs").split('/');
        parts.any(|part| BANNED_NAMES.contains(&part)).then(|| format!("src/{}", source.path))
    }));
}

#[test]
fn every_path_the_documents_name_exists() {
    let documents =
        ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"].map(|name| root().join(name));
    let pages = files_below(&root().join("docs"));
    let mut checked = 0;
    let mut missing = Vec::new();
    for document in documents.iter().chain(&pages) {
        for path in ticked_paths(&fs::read_to_string(document).unwrap()) {
            checked += 1;
            if !root().join(&path).exists() {
                missing.push(format!("{}: {path}", document.display()));
            }
        }
    }
    assert_none(missing);
    assert!(checked > 40, "only {checked} paths are named");
}

/// Files that a part of the source takes in when it is built, but for its tests.
fn taken_in(source: &Source) -> Vec<PathBuf> {
    let test = source.path.ends_with("tests.rs") || source.path.contains("tests/");
    let code = source.text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code = if test { "" } else { code };
    let folder = root().join("src").join(&source.path);
    let includes =
        ["include_str!(", "include_bytes!(", "include!("].iter().flat_map(|word| code.split(word).skip(1));
    // One of several in a folder, by a name that is put together, stands for them all.
    let path = |name: &str| fs::canonicalize(folder.parent().unwrap().join(name)).unwrap();
    let all = |path: PathBuf| match fs::read_dir(&path) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => vec![path],
    };
    let names =
        includes.filter_map(|rest| rest.trim_start_matches("concat!(").strip_prefix('"')?.split('"').next());
    names.map(path).flat_map(all).collect()
}

#[test]
fn the_image_is_built_with_every_file_that_the_source_takes_in() {
    let read = |name: &str| fs::read_to_string(root().join("deploy").join(name)).unwrap();
    let (dockerfile, ignored) = (read("Dockerfile"), read("Dockerfile.dockerignore"));
    let build = dockerfile.split("\nFROM ").nth(1).unwrap();
    let copied: Vec<&str> = build
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .flat_map(|line| line.rsplit_once(' ').unwrap().0.split(' '))
        .collect();
    let sent: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let mut needed: Vec<PathBuf> = sources().iter().flat_map(taken_in).collect();
    let presets = needed.iter().filter(|path| path.starts_with(root().join("presets"))).count();
    assert!(presets > 3 && needed.len() > 15, "what is taken in was not found");
    needed.extend(["Cargo.toml", "Cargo.lock", "askama.toml", "src/main.rs"].map(|name| root().join(name)));
    for (list, said) in [(&copied, "not copied"), (&sent, "not sent")] {
        let there = |path: &PathBuf| list.iter().any(|part| path.starts_with(root().join(part)));
        assert_none(
            needed.iter().filter(|path| !there(path)).map(|path| format!("{}: {said}", path.display())),
        );
    }
}

/// What stands in back-ticks and looks like a path in this repository.
fn ticked_paths(text: &str) -> Vec<String> {
    let folders = ["src/", "tests/", "docs/", "deploy/"];
    let ticked = text.split('`').skip(1).step_by(2);
    let paths = ticked.filter(|ticked| folders.iter().any(|folder| ticked.starts_with(folder)));
    paths.filter(|path| !path.contains(['*', ' ', '{', '<'])).map(str::to_owned).collect()
}

#[test]
fn architecture_is_short_enough_to_be_read() {
    // A quarter of an hour, of which the glossary takes some lines.
    let lines = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap().lines().count();
    assert!(lines <= 200, "{lines} lines");
}

#[test]
fn an_upward_import_is_caught_in_every_form() {
    let caught = |path: &str, text: &str| !wrong_imports(&Source::new(path, text)).is_empty();
    for text in [
        "use crate::gate::Gate;",
        "use crate::{config, gate::Gate};",
        "use crate::{config::{Config, Section}, server};",
        "fn f() { crate::edge::pages::problem::f() }",
        "pub(crate) use crate::app;",
    ] {
        assert!(caught("service/login.rs", text), "{text}");
    }
    assert!(caught("policy/mod.rs", "use crate::store::Store;"), "neighbours on a floor");
    assert!(caught("policy/mod.rs", "use super::store::Store;"), "super is the crate here");
    for text in [
        "use crate::service::login;",
        "use crate::{config, store::Store};",
        "// use crate::gate::Gate;",
        "let text = \"crate::gate\";",
        "let text = r#\"a \" crate::gate\"#;",
        "let quote = '\"'; // crate::gate \"",
        "use super::gate;",
    ] {
        assert!(!caught("service/login.rs", text), "{text}");
    }
}

#[test]
fn sql_and_forged_permits_are_caught() {
    for text in [
        "SELECT id\n FROM users",
        "insert into users values (?)",
        "UPDATE users SET name = ?",
        "DELETE FROM users",
        "WITH x AS (SELECT 1 FROM y) SELECT * FROM x",
    ] {
        assert!(is_sql(text), "{text}");
    }
    for text in ["GET, HEAD, PUT, DELETE", "select a role", "Update the settings", "deleted from here on"] {
        assert!(!is_sql(text), "{text}");
    }
    let built = |text: &str| permits_built(&Source::new("edge/proxy/mod.rs", text));
    assert_eq!(built("let permit = Permit { route, identity: None };"), 1);
    assert_eq!(built("pub struct Permit { route: Route } impl Permit { } fn f() -> Permit { todo() }"), 0);
    let doors = |path: &str, text: &str| doors_to_administer(&Source::new(path, text)).len();
    assert_eq!(doors("edge/web/login.rs", "let by = AdminProof::of_command_line(0);"), 1);
    assert_eq!(doors("service/testing.rs", "by: AdminProof::of_command_line(0),"), 0);
    let sight = Source::new("edge/proxy/pool.rs", "use crate::service::login::Login;");
    assert_eq!(unwanted_sights(&sight).len(), 1);
}
