//! The JSON Schema of the configuration in the hands of taplo, on which editors of TOML stand.

use std::process::Command;

use crate::support::repository;

/// What taplo says about a document beside the schema; nothing if it is content.
fn lint(text: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let docs = folder.path().join("docs");
    std::fs::create_dir(&docs).unwrap();
    std::fs::copy(repository("docs/doorward.schema.json"), docs.join("doorward.schema.json")).unwrap();
    std::fs::write(folder.path().join("doorward.toml"), text).unwrap();
    let taplo = repository(".tests/node/node_modules/.bin/taplo");
    assert!(taplo.exists(), "{} is missing: run tests/run.sh once", taplo.display());
    let output =
        Command::new(taplo).args(["lint", "doorward.toml"]).current_dir(folder.path()).output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn editors_take_the_example_and_mark_what_is_wrong_where_it_stands() {
    let example = std::fs::read_to_string(repository("config.example.toml")).unwrap();
    assert_eq!(lint(&example), None);
    let schema = example.lines().next().unwrap();
    for (wrong, place, said) in [
        ("publik_url = \"https://a.example\"", ":2:", "'publik_url' was unexpected"),
        ("[server]\nworkers = 0", ":3:11", "less than the minimum of 1"),
        ("[server]\ndrain = \"soon\"", ":3:9", "does not match"),
        ("[log]\nformat = \"xml\"", ":3:10", "is not one of"),
        ("[[upstreams]]\nurl = \"http://h\"", ":2:", "\"name\" is a required property"),
        // It needs `url` or `servers`.
        ("[[upstreams]]\nname = \"a\"", ":2:", "not valid under any of the schemas listed in the 'anyOf'"),
        ("[[routes]]\nrules = [{ alow = \"viewer\" }]", ":3:", "'alow' was unexpected"),
    ] {
        let told = lint(&format!("{schema}\n{wrong}\n")).unwrap_or_else(|| panic!("not noticed: {wrong}"));
        assert!(told.contains(said) && told.contains(&format!("doorward.toml{place}")), "{wrong}:\n{told}");
    }
}
