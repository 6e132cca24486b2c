//! Collects problems while values are read into typed sections.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use figment::value::Value;

use super::description::{SectionInfo, SettingType, is_within};
use super::invalid_value::InvalidValue;
use super::problem::{ConfigProblem, SettingLocation, SettingLocations};
use super::secret_file::{SecretFileError, read_secret_file};
use super::source::SourceFile;
use crate::model::secret::Secret;

/// Collects problems; knows where values were written and which directory file names are relative to.
pub(in crate::config) struct SettingsReader {
    locations: SettingLocations,
    /// Where what is missing should be added.
    home: SettingLocation,
    directory: PathBuf,
    /// All settings there are, to say where one belongs.
    root: &'static SectionInfo,
    example: &'static str,
    pub(in crate::config) problems: Vec<ConfigProblem>,
    pub(in crate::config) warnings: Vec<String>,
    /// What the settings name, as it was just before it was read.
    pub(in crate::config) files: Vec<SourceFile>,
}

impl SettingsReader {
    pub(in crate::config) fn new(
        root: &'static SectionInfo,
        locations: SettingLocations,
        home: SettingLocation,
        directory: PathBuf,
    ) -> Self {
        Self {
            locations,
            home,
            directory,
            root,
            example: "",
            problems: Vec::new(),
            warnings: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Notes a problem.
    pub(in crate::config) fn problem(
        &mut self,
        path: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let location = self.location(path);
        self.problems.push(ConfigProblem {
            path: path.to_owned(),
            location,
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    /// Notes something that is allowed but unwise.
    pub(in crate::config) fn warn(&mut self, path: &str, what: impl Display) {
        let location = match self.location(path) {
            location @ SettingLocation::Line(..) => format!(" ({location})"),
            _ => String::new(),
        };
        self.warnings.push(format!("{path}: {what}{location}"));
    }

    /// Where a setting was written, or else the section around it.
    pub(in crate::config) fn location(&self, path: &str) -> SettingLocation {
        let mut path = path;
        while !path.is_empty() {
            if let Some(location) = self.locations.get(path) {
                return location.clone();
            }
            path = path.rfind(['.', '[']).and_then(|end| path.get(..end)).unwrap_or_default();
        }
        self.home.clone()
    }

    /// Whether this very setting was written anywhere.
    pub(in crate::config) fn is_set(&self, path: &str) -> bool {
        self.locations.contains_key(path)
    }

    /// The path under which a secret was set: its own, or that of the file which holds it.
    pub(in crate::config) fn set_as(&self, path: &str) -> String {
        let file = format!("{path}_file");
        if self.is_set(&file) { file } else { path.to_owned() }
    }

    /// Whether a problem was noted at this setting or inside it; what it lacks then says nothing more.
    pub(in crate::config) fn is_broken(&self, path: &str) -> bool {
        self.problems.iter().any(|problem| is_within(&problem.path, path))
    }

    /// A file name as written, made relative to the configuration file's directory.
    pub(in crate::config) fn resolve(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    /// The same, for a file that is about to be read: a change from now on is noticed.
    pub(in crate::config) fn source(&mut self, file: &str) -> PathBuf {
        let file = self.resolve(file);
        self.files.push(SourceFile::look(&file));
        file
    }

    /// What is said where a file cannot be read: where a relative name counts from, and never the name, as it may be
    /// the secret itself.
    pub(in crate::config) fn unreadable(
        &self,
        name: &str,
    ) -> impl Fn(std::io::Error) -> InvalidValue + use<> {
        let directory = if Path::new(name).is_absolute() {
            None
        } else {
            std::path::absolute(self.directory.join(".")).ok()
        };
        let from = directory.map(|directory| format!(", which counts from {},", directory.display()));
        let remedy = format!("check its name{} and its owner", from.unwrap_or_default());
        move |error| InvalidValue::new(format!("the file cannot be read: {error}"), remedy.as_str())
    }

    /// From now on a remedy that knows nothing better shows this.
    pub(super) fn show(&mut self, example: &'static str) {
        self.example = example;
    }

    /// Where settings of this name live, said as a place.
    pub(super) fn homes(&self, key: &str) -> Vec<String> {
        self.root.homes(key)
    }

    /// Whether a text is what the reference page shows for a setting at the top.
    pub(in crate::config) fn is_example(&self, text: &str) -> bool {
        self.root.settings.iter().any(|setting| setting.example.trim_matches('"') == text)
    }

    /// Notes that a value has the wrong type.
    pub(in crate::config) fn mismatch(&mut self, value: &Value, path: &str, kind: &SettingType) {
        let found = match value {
            Value::String(..) | Value::Char(..) => "text",
            Value::Bool(..) => "true or false",
            Value::Num(..) => "a number",
            Value::Empty(..) => "nothing",
            Value::Dict(..) => "a table",
            Value::Array(..) => "a list",
        };
        let remedy = self.for_example();
        self.problem(path, format!("is {found}, but should be {}", kind.describe()), remedy);
    }

    /// The remedy where nothing better is known.
    pub(in crate::config) fn for_example(&self) -> String {
        format!("write for example {}", self.example)
    }

    /// Reads text and parses it; a failure is a phrase or sentence, with its own remedy or the example.
    pub(in crate::config) fn parse<T>(
        &mut self,
        value: &Value,
        path: &str,
        kind: &SettingType,
        parse: impl FnOnce(&str) -> Result<T, InvalidValue>,
    ) -> Option<T> {
        let Value::String(_, text) = value else {
            self.mismatch(value, path, kind);
            return None;
        };
        parse(text).map_err(|fault| self.fault(path, fault)).ok()
    }

    /// Notes why a text is refused.
    pub(in crate::config) fn fault(&mut self, path: &str, fault: InvalidValue) {
        let remedy = fault.remedy.unwrap_or_else(|| self.for_example());
        self.problem(path, fault.what, remedy);
    }

    /// The content of the file that holds a secret, without the newline at its end.
    ///
    /// Neither the content nor the name is ever shown: people write the secret itself there by mistake.
    pub(in crate::config) fn secret_file(&mut self, value: &Value, path: &str) -> Option<Secret> {
        let Value::String(_, name) = value else {
            self.mismatch(value, path, &SettingType::Text("the name of a file"));
            return None;
        };
        let unreadable = self.unreadable(name);
        let secret = read_secret_file(&self.source(name)).map_err(|error| match error {
            SecretFileError::Unreadable(cause) => unreadable(cause),
            other => InvalidValue::told(&other.to_string()),
        });
        secret.map_err(|fault| self.fault(path, fault)).ok()
    }
}
