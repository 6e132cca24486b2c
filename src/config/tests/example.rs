//! The shipped example and the reference page say what the settings are.

use super::provider_groups::service_account;
use super::*;
use crate::config::documents::reference;
use crate::config::reading::{Section, Setting, SettingType, toml_values};

pub(super) const EXAMPLE: &str = include_str!("../../../config.example.toml");

/// Takes the `#` from every commented setting; prose has a blank after it.
pub(super) fn uncommented() -> String {
    let lines: Vec<&str> = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest,
            _ => line,
        })
        .collect();
    lines.join("\n")
}

#[test]
fn the_example_works_as_it_is() {
    let config = ConfigDir::new(EXAMPLE).load().unwrap();
    assert_eq!(config.upstreams[0].servers[0], UpstreamAddress::Sample);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn the_example_works_with_every_setting_uncommented() {
    // Client certificates want a proxy that is believed, and by default none is.
    let config_dir =
        ConfigDir::new(&uncommented().replace("trusted_proxies = []", "trusted_proxies = [\"127.0.0.1\"]"));
    config_dir.write_pem("tls.crt", "tls.key");
    config_dir.write_pem("client.crt", "client.key");
    config_dir.write_pem("ca.crt", "ca.key");
    config_dir.write("logo.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>", 0o644);
    config_dir.write("secret", "q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+\n", 0o600);
    config_dir.write("admin-password", "correct horse battery\n", 0o600);
    config_dir.write("pwned-passwords-sha1-ordered-by-hash.txt", &format!("{}:7\n", "0A".repeat(20)), 0o644);
    config_dir.write("app-password", "quiet herons at dawn\n", 0o600);
    config_dir.write("app-token", "Lw8Rf4Hd6Jy1Mg5PcZr8\n", 0o600);
    config_dir.write("api-key", "Kd0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5PcZr8+\n", 0o600);
    config_dir.write("client-secret", "s3cret of the client\n", 0o600);
    config_dir.write("service-account.json", &service_account(&serde_json::json!({})), 0o600);
    config_dir.write("break-glass", "Zr8Kd0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+\n", 0o600);
    config_dir.write(
        "ingestion-keys.json",
        "[{ \"name\": \"a\", \"key\": \"t6Bn0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+\" }]",
        0o600,
    );
    let config = config_dir.load().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((config.upstreams.len(), config.routes.len()), (3, 4));
    assert!(config.routes[2].policy.rules.len() > 5, "the preset's");
    assert_eq!(config.providers.len(), 6);
    // The providers are one or the other; together their groups want prefixes.
    let others: Vec<_> = config.warnings.iter().filter(|it| !it.contains("`groups_prefix`")).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn the_example_shows_every_setting() {
    let text = uncommented();
    let table: toml::Table = text.parse().unwrap();
    for (path, _, info) in Root::INFO.sections() {
        let mut found: Vec<&toml::Table> = vec![&table];
        // The one section that goes by its second name.
        let path = path.replace("tests.caller", "tests.as");
        for part in path.split('.').filter(|part| !part.is_empty()) {
            found = found
                .iter()
                .filter_map(|table| table.get(part))
                .flat_map(|value| match value {
                    toml::Value::Array(items) => items.iter().filter_map(toml::Value::as_table).collect(),
                    other => other.as_table().into_iter().collect::<Vec<_>>(),
                })
                .collect();
        }
        for setting in info.settings {
            let shown = found.iter().any(|table| setting.keys().any(|key| table.contains_key(&key)));
            assert!(shown, "config.example.toml lacks `{}` in [{path}]", setting.name);
        }
    }
}

#[test]
fn commented_settings_show_their_defaults() {
    let values: toml::Table = uncommented().parse().unwrap();
    let mut compared = 0;
    for (path, list, info) in Root::INFO.sections() {
        let mut table = Some(&values);
        for part in path.split('.').filter(|part| !part.is_empty()) {
            table = table.and_then(|table| table.get(part)).and_then(toml::Value::as_table);
        }
        let Some(table) = table.filter(|_| !list) else { continue };
        for setting in info.settings {
            let is_table =
                matches!(setting.kind, SettingType::Table(_) | SettingType::List(SettingType::Table(_)));
            if let (Some(default), Some(shown), false) = (setting.default, table.get(setting.name), is_table)
            {
                let default: toml::Table = format!("x = {default}").parse().unwrap();
                assert_eq!(&default["x"], shown, "{path}.{}", setting.name);
                compared += 1;
            }
        }
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn defaults_and_examples_are_toml_and_every_setting_has_words() {
    for (path, _, info) in Root::INFO.sections() {
        assert!(!info.about.trim().is_empty(), "{path}");
        for Setting { name, about, example, default, required, .. } in info.settings {
            assert!(!about.trim().is_empty(), "{path}.{name} says nothing");
            assert!(toml_values::value(example).is_some(), "{path}.{name} example {example}");
            assert!(default.is_none_or(|text| toml_values::value(text).is_some()), "{path}.{name}");
            assert!(!(*required && default.is_some()), "{path}.{name} cannot be both required and defaulted");
        }
    }
    assert!(Root::INFO.settings.len() > 5);
}

#[test]
fn the_reference_page_is_up_to_date() {
    let page = include_str!("../../../docs/configuration.md");
    assert!(
        page == reference::markdown(),
        "docs/configuration.md is stale; run: cargo run -- check --reference > docs/configuration.md"
    );
}

/// A small generator of repeatable randomness (xorshift64).
struct XorShift(u64);

impl XorShift {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

#[test]
fn mutations_of_the_example_never_panic() {
    const SCRAPS: &[&str] = &[
        "\"", "[", "]", "[[", "]]", "{", "}", "=", "#", "\n", ".", "-1", "\0", "é", "\u{feff}", "'''", "0x",
        "1e9", "*", "%", "//", "x = [",
    ];
    let whole = uncommented();
    let config_dir = ConfigDir::new("");
    let mut dice = XorShift(0x9E37_79B9_7F4A_7C15);
    for round in 0..2_000 {
        let mut text: Vec<char> = if round % 2 == 0 { &whole } else { EXAMPLE }.chars().collect();
        for _ in 0..=dice.below(6) {
            let at = dice.below(text.len());
            match dice.below(4) {
                0 => drop(text.splice(at..at, SCRAPS[dice.below(SCRAPS.len())].chars())),
                1 => drop(text.drain(at..(at + dice.below(40)).min(text.len()))),
                2 => text[at] = char::from(u8::try_from(dice.below(128)).unwrap()),
                _ => {
                    let end = (at + dice.below(80)).min(text.len());
                    let copy: Vec<char> = text[at..end].to_vec();
                    let to = dice.below(text.len());
                    drop(text.splice(to..to, copy));
                }
            }
        }
        let text: String = text.into_iter().collect();
        config_dir.write("doorward.toml", &text, 0o600);
        if let Err(error) = config_dir.load() {
            assert!(!error.0.is_empty());
            assert!(error.0.iter().all(|problem| !problem.remedy.is_empty()), "{error}");
        }
    }
}
