//! Rule sets for known applications: the files in `presets`, read as if they stood in the settings.

use super::layers;
use super::policy_tests::Test;
use super::policy_tests::{PolicyTest, policy_tests};
use super::problem::Place;
use super::reader::{Reader, Table};
use super::rules::WrittenRule;
use super::section::{Section, section};
use super::upstream::Named;
use super::values::PathOptIn;
use super::{HeaderPreset, upstream};
use crate::model::target::PathOptIns;
use crate::policy::{GrpcPattern, PathPattern, Rule};

/// An application whose rules are shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Arize Phoenix.
    Phoenix,
    /// Grafana Pyroscope 1.x.
    Pyroscope,
    /// Pyroscope up to 0.37.
    PyroscopeUpTo037,
    /// Micromegas.
    Micromegas,
    /// Grafana behind its auth proxy.
    Grafana,
    /// `JupyterLab`.
    Jupyter,
    /// Streamlit.
    Streamlit,
    /// `MLflow`'s tracking server.
    Mlflow,
}

impl Preset {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Phoenix,
        Self::Pyroscope,
        Self::PyroscopeUpTo037,
        Self::Micromegas,
        Self::Grafana,
        Self::Jupyter,
        Self::Streamlit,
        Self::Mlflow,
    ];

    /// The word in settings, and the name of its file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Phoenix => "phoenix",
            Self::Pyroscope => "pyroscope",
            Self::PyroscopeUpTo037 => "pyroscope-0.37",
            Self::Micromegas => "micromegas",
            Self::Grafana => "grafana",
            Self::Jupyter => "jupyter",
            Self::Streamlit => "streamlit",
            Self::Mlflow => "mlflow",
        }
    }

    /// The file, as shipped.
    pub fn text(self) -> &'static str {
        match self {
            Self::Phoenix => include_str!("../../presets/phoenix.toml"),
            Self::Pyroscope => include_str!("../../presets/pyroscope.toml"),
            Self::PyroscopeUpTo037 => include_str!("../../presets/pyroscope-0.37.toml"),
            Self::Micromegas => include_str!("../../presets/micromegas.toml"),
            Self::Grafana => include_str!("../../presets/grafana.toml"),
            Self::Jupyter => include_str!("../../presets/jupyter.toml"),
            Self::Streamlit => include_str!("../../presets/streamlit.toml"),
            Self::Mlflow => include_str!("../../presets/mlflow.toml"),
        }
    }

    /// What the file claims of its own rules, for a route at `/`.
    pub fn tests(self) -> Vec<PolicyTest> {
        let mut reader = reader();
        let file = self.file(&mut reader);
        policy_tests(file.tests, &reader)
    }

    pub(super) fn file(self, reader: &mut Reader) -> PresetFile {
        let values = layers::toml_table(self.text()).unwrap_or_default();
        PresetFile::of(Table { path: "", values: &values }, reader)
    }
}

/// A reader of what is shipped, whose problems are found by tests.
pub(super) fn reader() -> Reader {
    Reader::new(super::reader::Places::new(), Place::Nowhere, std::path::PathBuf::new())
}

section! {
    /// A file of `presets`.
    PresetFile {
        /// Spellings of paths that the application needs.
        paths: Vec<PathOptIn> = "[]", r#"["encoded-slash"]"#;
        /// Names of the headers that tell it who is calling.
        headers: Option<HeaderPreset>, r#""grafana""#;
        /// Rules; their paths begin at the application's root.
        rules: Vec<WrittenRule> = "[]", r#"[{ allow = "viewer" }]"#;
        /// Claims about them.
        tests: Vec<Test> = "[]", r#"[{ request = "GET /", expect = "sign-in" }]"#;
    }
}

/// A preset's rule where the application stands at a route's path.
pub(super) fn moved(rule: Rule, path: &str) -> Rule {
    let mut rule = rule;
    if path != "/" {
        let pattern = |pattern: &PathPattern| PathPattern::parse(&format!("{path}{}", pattern.as_str())).ok();
        rule.when.paths = rule.when.paths.iter().filter_map(pattern).collect();
        // A route may also be for a service itself, by the path that every call of it has.
        let calls =
            |method: &GrpcPattern| [method.below(path), method.is_below(path).then(|| method.clone())];
        rule.when.grpc = rule.when.grpc.iter().flat_map(calls).flatten().collect();
    }
    rule
}

/// Gives an upstream what a preset of its routes says about it, where its own settings do not.
pub(super) fn complete(named: &mut Named, file: &PresetFile, reader: &Reader) {
    let Some(config) = &mut named.config else { return };
    let PathOptIns { encoded_slash, semicolon, empty_segment, disguised_separator } =
        upstream::spellings(&file.paths);
    config.paths.encoded_slash |= encoded_slash;
    config.paths.semicolon |= semicolon;
    config.paths.empty_segment |= empty_segment;
    config.paths.disguised_separator |= disguised_separator;
    if let Some(headers) = file.headers
        && !reader.is_set(&format!("{}.headers", named.path))
    {
        config.headers = headers;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_can_be_read_and_tests_itself_for_and_against() {
        for preset in Preset::ALL {
            let mut reader = reader();
            let file = preset.file(&mut reader);
            assert!(reader.problems.is_empty(), "{preset:?}: {:?}", reader.problems);
            assert!(file.rules.len() >= 2, "{preset:?}");
            let expected: Vec<&str> = preset.tests().iter().map(|test| test.expect.as_str()).collect();
            for word in ["allow", "deny", "sign-in"] {
                assert!(expected.contains(&word), "{preset:?} has no test that expects {word}");
            }
        }
    }
}
