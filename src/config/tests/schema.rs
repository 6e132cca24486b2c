//! The JSON Schema for editors knows every setting and agrees with what is read.

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

use super::example::{EXAMPLE, uncommented};
use super::*;
use crate::config::documents::schema::schema;
use crate::config::reading::{Section, Setting};

/// The schema as a validator that is not ours understands it; one that is no schema does not compile.
struct Validator(Schemas, SchemaIndex);

impl Validator {
    fn new() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("schema.json", schema()).unwrap();
        let index = compiler.compile("schema.json", &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
        Self(schemas, index)
    }

    /// What is wrong with a TOML document, with its place.
    fn complaint(&self, text: &str) -> Option<String> {
        let document: Value = toml::from_str(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
        self.0.validate(&document, self.1).err().map(|error| error.to_string())
    }
}

#[test]
fn the_shipped_schema_is_up_to_date() {
    let shipped = include_str!("../../../docs/doorward.schema.json");
    assert!(
        shipped == format!("{:#}\n", schema()),
        "docs/doorward.schema.json is stale; run: cargo run -- check --schema > docs/doorward.schema.json"
    );
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let named = EXAMPLE.lines().next().and_then(|line| line.strip_prefix("#:schema ./")).unwrap();
    assert!(root.join(named).is_file(), "the example names {named}");
}

#[test]
fn every_setting_is_in_the_schema_under_each_of_its_keys() {
    let schema = schema();
    let mut seen = 0;
    for (path, _, info) in Root::INFO.sections() {
        let mut section = &schema;
        for part in path.split('.').filter(|part| !part.is_empty()) {
            section = &section["properties"][part];
            section = section.get("items").unwrap_or(section);
        }
        assert_eq!(section["additionalProperties"], false, "{path}");
        for Setting { name, also, .. } in info.settings {
            for key in [Some(*name), *also].into_iter().flatten() {
                let about = section["properties"][key]["description"].as_str();
                assert!(about.is_some_and(|about| !about.is_empty()), "{path}.{key}");
                seen += 1;
            }
        }
    }
    assert!(seen > 70, "{seen}");
    assert_eq!(schema["properties"]["secret_file"]["type"], "string");
    assert_eq!(schema["properties"]["store"]["properties"]["url_file"]["type"], "string");
    assert_eq!(schema["properties"]["server"]["properties"]["drain"]["default"], "30s");
}

#[test]
fn the_example_is_valid_as_it_is_and_with_every_setting_uncommented() {
    let validator = Validator::new();
    for text in [EXAMPLE.to_owned(), uncommented()] {
        assert_eq!(validator.complaint(&text), None, "{text}");
    }
}

#[test]
fn every_example_and_default_of_a_setting_is_valid() {
    let validator = Validator::new();
    let mut tried = 0;
    for (path, list, info) in Root::INFO.sections() {
        // Deeper ones need what is required around them; the example has those.
        for Setting { name, also, example, default, required, .. } in info.settings {
            if list || path.contains('.') || path == "upstreams" || path == "routes" || *required {
                continue;
            }
            for value in [Some(*example), *default].into_iter().flatten() {
                for key in [Some(*name), *also].into_iter().flatten() {
                    let location = if path.is_empty() { String::new() } else { format!("[{path}]\n") };
                    let text = format!("{location}{key} = {value}\n");
                    assert_eq!(validator.complaint(&text), None, "{text}");
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 60, "{tried}");
}

#[test]
fn what_check_takes_is_valid() {
    let validator = Validator::new();
    for text in [
        "",
        "[server]\nlisten = \"127.0.0.1:8080\"\ntrusted_proxies = \"10.0.0.1\"",
        "[session]\nidle = \"90m\"\n[server.limits]\nheader_count = 16",
        "[upstreams]\nname = \"a\"\nurl = \"builtin:sample\"\n[routes]\nupstream = \"a\"\n\
         rules = { hosts = [\"a\", \"b\"], allow = \"viewer\" }",
    ] {
        assert_eq!(validator.complaint(text), None, "{text}");
        good(text);
    }
}

#[test]
fn what_the_schema_refuses_is_refused_at_its_place_and_by_check_too() {
    let validator = Validator::new();
    let upstream = "[[upstreams]]\nname = \"a\"\nurl = \"builtin:sample\"\n";
    let route = format!("{upstream}[[routes]]\nupstream = \"a\"\n");
    for (text, location) in [
        ("publik_url = \"https://a.example\"".to_owned(), "''"),
        ("public_url = 5".to_owned(), "'/public_url'"),
        ("insecure = \"yes\"".to_owned(), "'/insecure'"),
        ("secret = \"a\"\nsecret_file = \"b\"".to_owned(), "''"),
        ("[server]\nlisen = []".to_owned(), "'/server'"),
        ("[server]\nlisten = [7]".to_owned(), "'/server/listen'"),
        ("[server]\nworkers = 0".to_owned(), "'/server/workers'"),
        ("[server]\nworkers = 1025".to_owned(), "'/server/workers'"),
        ("[server]\nworkers = \"4\"".to_owned(), "'/server/workers'"),
        ("[server]\nworkers = 1.5".to_owned(), "'/server/workers'"),
        ("[server]\ndrain = 30".to_owned(), "'/server/drain'"),
        ("[server]\ndrain = \"30\"".to_owned(), "'/server/drain'"),
        ("[server]\ndrain = \"soon\"".to_owned(), "'/server/drain'"),
        ("[server]\ndrain = \"-1s\"".to_owned(), "'/server/drain'"),
        ("[server]\ntls = { certificate = \"a\" }".to_owned(), "'/server/tls'"),
        ("[server.limits]\nheader_bites = 1".to_owned(), "'/server/limits'"),
        ("[session]\ncookie_same_site = \"none\"".to_owned(), "'/session/cookie_same_site'"),
        ("[log]\nformat = \"Text\"".to_owned(), "'/log/format'"),
        ("[store]\nurl_file = 5".to_owned(), "'/store/url_file'"),
        ("[store]\nurl = \"sqlite:a\"\nurl_file = \"b\"".to_owned(), "'/store'"),
        ("store = \"sqlite:a\"".to_owned(), "'/store'"),
        ("[[upstreams]]\nname = \"a\"".to_owned(), "'/upstreams/0'"),
        ("[upstreams]\nname = \"a\"".to_owned(), "'/upstreams'"),
        (format!("{upstream}headers = \"x\""), "'/upstreams/0/headers'"),
        (format!("{upstream}timeouts.conect = \"1s\""), "'/upstreams/0/timeouts'"),
        (format!("{upstream}paths.allow = [\"dots\"]"), "'/upstreams/0/paths/allow'"),
        (format!("{route}rules = [{{ alow = \"viewer\" }}]"), "'/routes/0/rules/0'"),
        (format!("{route}rules = {{ alow = \"viewer\" }}"), "'/routes/0/rules'"),
        (format!("{route}host = \"a\"\nhosts = [\"b\"]"), "'/routes/0'"),
        (
            format!("{route}rules = [{{ graphql = \"reads\", allow = \"viewer\" }}]"),
            "'/routes/0/rules/0/graphql'",
        ),
    ] {
        let complaint = validator.complaint(&text).unwrap_or_else(|| panic!("should be refused:\n{text}"));
        assert!(
            complaint.contains(&format!("at {location}")),
            "{text}\n{location} is not named:\n{complaint}"
        );
        bad(&text);
    }
}
