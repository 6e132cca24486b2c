//! Rule sets for known applications: the files in `presets`, read as if they stood in the settings.

use http::Method;
use http::uri::PathAndQuery;

use crate::config::HeaderPreset;
use crate::config::reading::layers;
use crate::config::reading::problem::Place;
use crate::config::reading::reader::{Fault, Reader, Required, Table};
use crate::config::reading::section::{Kind, Section, section};
use crate::config::reading::values::{FromText, Name, PathOptIn, Prefix, RequestLine};
use crate::config::sections::policy_tests::Test;
use crate::config::sections::policy_tests::{PolicyTest, policy_tests};
use crate::config::sections::routes::Route;
use crate::config::sections::rules::WrittenRule;
use crate::config::sections::upstream;
use crate::config::sections::upstream::Named;
use crate::model::session_cookie::SessionCookie;
use crate::model::target::{PathOptIns, Prefixes, RequestKind, RequestTarget};
use crate::policy::{GrpcPattern, PathPattern, Rule};

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
            const WHAT: &'static Kind = &Kind::Choice(&[$($name),*]);

            fn from_text(text: &str) -> Result<Self, Fault> {
                let named = Self::ALL.iter().find(|preset| preset.as_str() == text);
                let unknown = || Fault::new("is none of the words allowed here", format!("write {}", Self::WHAT.describe()));
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

    pub(in crate::config) fn file(self, reader: &mut Reader) -> PresetFile {
        let values = layers::toml_table(self.text()).unwrap_or_default();
        PresetFile::of(Table { path: "", values: &values }, reader)
    }
}

/// A reader of what is shipped, whose problems are found by tests.
pub(in crate::config) fn reader() -> Reader {
    Reader::new(crate::config::reading::reader::Places::new(), Place::Nowhere, std::path::PathBuf::new())
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
        name: Required<Name>, r#""gateway-headers""#;
        /// What is set, where: a sentence without its end.
        about: Required<Words>, r#""GATEWAY_HEADERS lets X-Auth-Is-Admin through""#;
        /// What is asked.
        request: Required<RequestLine>, r#""POST /query""#;
        /// A body (JSON) with which the application answers admins alone.
        for_admins: Required<Words>, r#"'{"sql": "SELECT * FROM denials()"}'"#;
        /// A body (JSON) with which it answers everybody.
        for_all: Required<Words>, r#"'{"sql": "SELECT 1"}'"#;
        /// Rules that rely on it; they come first, and replace those of their names.
        rules: Vec<WrittenRule> = "[]", r#"[{ allow = "viewer" }]"#;
    }
}

section! {
    /// How the application is set, which cannot be seen from here, and what tells.
    WrittenSetting {
        /// What is set, where: a sentence without its end.
        about: Required<Words>, r#""its own sign-in is off""#;
        /// What it answers with success where that is so, and only there, without changing anything. By default nothing tells.
        request: Option<RequestLine>, r#""GET /api/version""#;
    }
}

/// Any text.
#[derive(Debug)]
pub(in crate::config) struct Words(String);

impl FromText for Words {
    const WHAT: &'static Kind = &Kind::Text("text");

    fn from_text(text: &str) -> Result<Self, Fault> {
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
        upstream::spellings(&self.paths)
    }

    /// The rules that are in effect with these settings of the application.
    pub(in crate::config) fn rules_with(&self, relies_on: &[Name]) -> impl Iterator<Item = &WrittenRule> {
        let relied = self.reliances.iter().filter(move |reliance| reliance.is_in(relies_on));
        relied.flat_map(|reliance| &reliance.rules).chain(&self.rules)
    }
}

impl WrittenReliance {
    fn is_in(&self, names: &[Name]) -> bool {
        self.name.0.as_ref().is_some_and(|own| names.iter().any(|name| name.0 == own.0))
    }

    fn read(&self, root: &str, prefixes: Option<&Prefixes>) -> Option<Reliance> {
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

fn below(root: &str, target: &str) -> String {
    format!("{}{target}", root.trim_end_matches('/'))
}

/// A request of a preset as the upstream sees it.
fn sent(line: &RequestLine, root: &str, prefixes: Option<&Prefixes>) -> Option<(Method, PathAndQuery)> {
    let method = line.0.clone();
    let target = below(root, line.1.as_str()).parse().ok()?;
    let asked = RequestTarget::parse(&method, "localhost", &target, RequestKind::Plain).ok()?;
    let target = match prefixes {
        Some(prefixes) => prefixes.sent(&asked)?,
        None => asked.path_and_query().clone(),
    };
    Some((method, target))
}

/// How the application of a route is set, as far as it can be asked. Notes what nothing tells.
pub(in crate::config) fn assumptions(
    route: &Route,
    file: Option<&PresetFile>,
    prefixes: Option<&Prefixes>,
    reader: &mut Reader,
) -> Vec<Assumption> {
    let served = PathPattern::parse(&route.path.0).ok();
    let mut told = Vec::new();
    for setting in file.iter().flat_map(|file| &file.settings) {
        let Some(Words(about)) = &setting.about.0 else { continue };
        match &setting.request {
            // Parts of an application that have a route of their own answer nothing else.
            Some(line)
                if !served
                    .as_ref()
                    .is_some_and(|path| path.matches(below(root(route), line.1.path()).as_str())) => {}
            Some(line) => told.extend(sent(line, root(route), prefixes).map(|(method, target)| Assumption {
                about: about.clone(),
                method,
                target,
            })),
            None => reader.warn(
                &route.at("preset"),
                format!("holds only while {about}, which nothing tells from here"),
            ),
        }
    }
    told
}

/// What a route relies on. Notes what its preset does not know, and that what it knows cannot be seen from here.
pub(in crate::config) fn reliances(
    route: &Route,
    file: Option<&PresetFile>,
    prefixes: Option<&Prefixes>,
    reader: &mut Reader,
) -> Vec<Reliance> {
    let place = route.at("relies_on");
    let known: Vec<&WrittenReliance> = file.map(|file| file.reliances.iter().collect()).unwrap_or_default();
    for name in &route.relies_on {
        if !known.iter().any(|reliance| reliance.is_in(std::slice::from_ref(name))) {
            let words: Vec<&str> =
                known.iter().filter_map(|reliance| Some(reliance.name.0.as_ref()?.0.as_str())).collect();
            let remedy = match words.as_slice() {
                [] => "leave it out: the route has no `preset` that knows any".to_owned(),
                words => format!("write one of {}", words.join(", ")),
            };
            reader.problem(&place, format!("the preset knows no `{}`", name.0), remedy);
        }
    }
    let relied = known.into_iter().filter(|reliance| reliance.is_in(&route.relies_on));
    let relied: Vec<Reliance> = relied.filter_map(|reliance| reliance.read(root(route), prefixes)).collect();
    for reliance in &relied {
        let what = format!(
            "holds only while {}, which cannot be seen from here: `doorward doctor applications` tries it",
            reliance.about
        );
        reader.warn(&place, what);
    }
    relied
}

/// Where the application begins that a route's preset is for. Notes a root that the route does not lie below.
pub(in crate::config) fn check_root(route: &Route, reader: &mut Reader) {
    let Some(Prefix(root)) = &route.preset_root else { return };
    let place = route.at("preset_root");
    let path = &route.path.0;
    if route.preset.is_none() {
        reader.problem(&place, "has no effect without `preset`", "add `preset`, or leave it out");
    } else if root != "/"
        && !path.strip_prefix(root.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    {
        let what =
            format!("the route's path `{path}` is not below it, so none of the preset's rules would fit");
        reader.problem(&place, what, format!("write `path = \"{root}\"`, or what `{path}` begins with"));
    }
}

fn root(route: &Route) -> &str {
    route.preset_root.as_ref().map_or(&route.path.0, |root| &root.0)
}

/// Notes where a preset would protect nothing, since the application is told of callers under other names.
pub(in crate::config) fn check_headers(
    route: &Route,
    file: &PresetFile,
    sent: HeaderPreset,
    reader: &mut Reader,
) {
    if file.headers_needed && file.headers.is_some_and(|needed| needed != sent) {
        let what = "protects nothing with these `headers`: where its own names are missing, the application takes \
                    everybody for an admin";
        reader.problem(&route.at("preset"), what, "leave `headers` out, of the upstream and of the route");
    }
}

/// A preset's rule where the application is that a route leads to.
pub(in crate::config) fn moved(rule: Rule, route: &Route) -> Rule {
    let path = root(route);
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
pub(in crate::config) fn complete(named: &mut Named, file: &PresetFile, reader: &Reader) {
    let Some(config) = &mut named.config else { return };
    if let Some(headers) = file.headers
        && !reader.is_set(&format!("{}.headers", named.path))
    {
        config.headers = headers;
    }
    if !reader.is_set(&format!("{}.session_cookies", named.path)) {
        let more = file.session_cookies.iter().filter(|cookie| !config.session_cookies.contains(cookie));
        let more: Vec<_> = more.cloned().collect();
        config.session_cookies.extend(more);
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
