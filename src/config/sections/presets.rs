//! Rule sets for known applications: the files in `presets`, read as if they were part of the settings.

use http::Method;
use http::uri::PathAndQuery;

use crate::config::reading::{
    FromText, InvalidValue, ReferenceName, Required, Section, SectionValues, SettingLocation,
    SettingLocations, SettingType, SettingsReader, section, toml_values,
};
use crate::config::sections::header_preset::HeaderPreset;
use crate::config::sections::paths::{PathOptIn, spellings};
use crate::config::sections::policy_tests::{PolicyTest, RequestLine, Test, policy_tests};
use crate::config::sections::rules::WrittenRule;
use crate::model::session_cookie::SessionCookie;
use crate::model::target::{PathOptIns, Prefixes, RequestKind, RequestTarget};
use std::path::PathBuf;

macro_rules! presets {
    ($($(#[doc = $about:literal])* $variant:ident = $name:literal,)*) => {
        /// An application whose rules are shipped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Preset {
            $($(#[doc = $about])* $variant,)*
        }

        impl Preset {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word in settings, and the name of its file.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The file, as shipped.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => include_str!(concat!("../../../presets/", $name, ".toml")),)*
                }
            }
        }

        impl FromText for Preset {
            const WHAT: &'static SettingType = &SettingType::Choice(&[$($name),*]);

            fn from_text(text: &str) -> Result<Self, InvalidValue> {
                let named = Self::ALL.iter().find(|preset| preset.as_str() == text);
                let unknown = || InvalidValue::new("is not one of the words allowed here", format!("write {}", Self::WHAT.describe()));
                named.copied().ok_or_else(unknown)
            }
        }
    };
}

presets! {
    /// Arize Phoenix.
    Phoenix = "phoenix",
    /// Grafana Pyroscope 1.x.
    Pyroscope = "pyroscope",
    /// Pyroscope up to 0.37.
    PyroscopeUpTo037 = "pyroscope-0.37",
    /// Micromegas.
    Micromegas = "micromegas",
    /// Grafana behind its auth proxy.
    Grafana = "grafana",
    /// `JupyterLab`.
    Jupyter = "jupyter",
    /// Streamlit.
    Streamlit = "streamlit",
    /// `MLflow`'s tracking server.
    Mlflow = "mlflow",
    /// Prometheus.
    Prometheus = "prometheus",
    /// Gradio.
    Gradio = "gradio",
    /// A container registry.
    Registry = "registry",
    /// Dagster's webserver.
    Dagster = "dagster",
    /// Prefect's server.
    Prefect = "prefect",
    /// Airflow's API server.
    Airflow = "airflow",
    /// `TensorBoard`.
    Tensorboard = "tensorboard",
    /// marimo's editor.
    Marimo = "marimo",
    /// An app served by marimo.
    MarimoRun = "marimo-run",
    /// `JupyterHub`.
    Jupyterhub = "jupyterhub",
    /// pgAdmin in server mode.
    Pgadmin = "pgadmin",
    /// Node-RED.
    NodeRed = "node-red",
    /// Verdaccio.
    Verdaccio = "verdaccio",
    /// Flower.
    Flower = "flower",
    /// Prometheus' Pushgateway.
    Pushgateway = "pushgateway",
    /// Alertmanager.
    Alertmanager = "alertmanager",
    /// `ESPHome`'s dashboard.
    Esphome = "esphome",
}

impl Preset {
    /// What the file claims of its own rules, for a route at `/`.
    pub fn tests(self) -> Vec<PolicyTest> {
        let mut reader = reader();
        let file = self.file(&mut reader);
        policy_tests(file.tests, &reader)
    }

    pub(in crate::config) fn file(self, reader: &mut SettingsReader) -> PresetFile {
        let values = toml_values::table(self.text()).unwrap_or_default();
        PresetFile::of(SectionValues { path: "", values: &values }, reader)
    }
}

/// A reader of what is shipped, whose problems are found by tests.
pub(in crate::config) fn reader() -> SettingsReader {
    SettingsReader::new(PresetFile::INFO, SettingLocations::new(), SettingLocation::Nowhere, PathBuf::new())
}

section! {
    /// A file of `presets`.
    PresetFile {
        /// Spellings of paths that the application needs.
        paths: Vec<PathOptIn> = "[]", r#"["encoded-slash"]"#;
        /// Names of the headers that tell it who is calling.
        headers: Option<HeaderPreset>, r#""grafana""#;
        /// Names of the cookies by which it remembers who signed in to it.
        session_cookies: Vec<SessionCookie> = "[]", r#"["app_session"]"#;
        /// Whether its agents know nothing but HTTP Basic, so that a key may be the password.
        basic: bool = "false", "true";
        /// Whether nothing is protected where it is told of callers under other names.
        headers_needed: bool = "false", "true";
        /// Settings of the application that cannot be seen from here, and what changes with them.
        reliances: Vec<WrittenReliance> = "[]", r#"[{ name = "x", about = "X is set", request = "POST /", for_admins = "a", for_all = "b" }]"#;
        /// How the application is set that these rules are for.
        settings: Vec<WrittenSetting> = "[]", r#"[{ about = "its own sign-in is off", request = "GET /api" }]"#;
        /// Rules; their paths begin at the application's root.
        rules: Vec<WrittenRule> = "[]", r#"[{ allow = "viewer" }]"#;
        /// Claims about them.
        tests: Vec<Test> = "[]", r#"[{ request = "GET /", expect = "sign-in" }]"#;
    }
}

section! {
    /// A setting of the application that rules may rely on, and how it is tried without changing anything.
    WrittenReliance {
        /// What `relies_on` of a route calls it.
        name: Required<ReferenceName>, r#""gateway-headers""#;
        /// What is set, where: a sentence without its end.
        about: Required<FreeText>, r#""GATEWAY_HEADERS lets X-Auth-Is-Admin through""#;
        /// What is asked.
        request: Required<RequestLine>, r#""POST /query""#;
        /// A body (JSON) with which the application answers admins alone.
        for_admins: Required<FreeText>, r#"'{"sql": "SELECT * FROM denials()"}'"#;
        /// A body (JSON) with which it answers everybody.
        for_all: Required<FreeText>, r#"'{"sql": "SELECT 1"}'"#;
        /// Rules that rely on it; they come first, and replace those of their names.
        rules: Vec<WrittenRule> = "[]", r#"[{ allow = "viewer" }]"#;
    }
}

section! {
    /// How the application is set, which cannot be seen from here, and what tells.
    WrittenSetting {
        /// What is set, where: a sentence without its end.
        about: Required<FreeText>, r#""its own sign-in is off""#;
        /// What it answers with success where that is so, and only there, without changing anything. By default nothing tells.
        request: Option<RequestLine>, r#""GET /api/version""#;
    }
}

/// Any text.
#[derive(Clone, Debug)]
pub(in crate::config) struct FreeText(pub(in crate::config) String);

impl FromText for FreeText {
    const WHAT: &'static SettingType = &SettingType::Text("text");

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        Ok(Self(text.to_owned()))
    }
}

/// A setting of the application that a route relies on.
#[derive(Clone, Debug)]
pub struct Reliance {
    /// What `relies_on` calls it.
    pub name: String,
    /// What is set, where: a sentence without its end.
    pub about: String,
    /// How the application is asked.
    pub method: Method,
    /// What it is asked for, as the upstream sees it.
    pub target: PathAndQuery,
    /// A body (JSON) with which it answers admins alone, without changing anything.
    pub for_admins: String,
    /// A body (JSON) with which it answers everybody.
    pub for_all: String,
}

/// How the application of a route is set, by what it answers.
#[derive(Clone, Debug)]
pub struct Assumption {
    /// What is set, where: a sentence without its end.
    pub about: String,
    /// How the application is asked.
    pub method: Method,
    /// What it is asked for, as the upstream sees it; it answers with success where that is so.
    pub target: PathAndQuery,
}

impl PresetFile {
    /// Spellings of paths that the application needs.
    pub(in crate::config) fn path_opt_ins(&self) -> PathOptIns {
        spellings(&self.paths)
    }

    /// The rules that are in effect with these settings of the application.
    pub(in crate::config) fn rules_with(
        &self,
        relies_on: &[ReferenceName],
    ) -> impl Iterator<Item = &WrittenRule> {
        let relied = self.reliances.iter().filter(move |reliance| reliance.is_in(relies_on));
        relied.flat_map(|reliance| &reliance.rules).chain(&self.rules)
    }
}

impl WrittenReliance {
    pub(in crate::config) fn is_in(&self, names: &[ReferenceName]) -> bool {
        self.name.0.as_ref().is_some_and(|own| names.iter().any(|name| name.0 == own.0))
    }

    pub(in crate::config) fn read(&self, root: &str, prefixes: Option<&Prefixes>) -> Option<Reliance> {
        let (method, target) = sent(self.request.0.as_ref()?, root, prefixes)?;
        Some(Reliance {
            name: self.name.0.as_ref()?.0.clone(),
            about: self.about.0.as_ref()?.0.clone(),
            method,
            target,
            for_admins: self.for_admins.0.as_ref()?.0.clone(),
            for_all: self.for_all.0.as_ref()?.0.clone(),
        })
    }
}

/// A path of the application, as clients see it.
pub(in crate::config) fn below(root: &str, target: &str) -> String {
    format!("{}{target}", root.trim_end_matches('/'))
}

/// A request of a preset as the upstream sees it.
pub(in crate::config) fn sent(
    line: &RequestLine,
    root: &str,
    prefixes: Option<&Prefixes>,
) -> Option<(Method, PathAndQuery)> {
    let method = line.0.clone();
    let target = below(root, line.1.as_str()).parse().ok()?;
    let asked = RequestTarget::parse(&method, "localhost", &target, RequestKind::Plain).ok()?;
    let target = match prefixes {
        Some(prefixes) => prefixes.sent(&asked)?,
        None => asked.path_and_query().clone(),
    };
    Some((method, target))
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
