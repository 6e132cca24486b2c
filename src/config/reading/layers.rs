//! Merges file, environment and flags with figment, and keeps the location of every value.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use toml::de::DeTable;

use super::description::{SectionInfo, SettingType, join};
use super::nearest::nearest;
use super::problem::{ConfigProblem, SettingLocation, SettingLocations};
use super::source::{ConfigSource, SourceFile};
use super::toml_values;

/// What the environment may set beside the settings by their own names: a variable and the path that it sets.
pub(in crate::config) type Alias = (&'static str, &'static [&'static str]);

/// The layers as one.
pub(in crate::config) struct Merged {
    pub(in crate::config) values: Dict,
    pub(in crate::config) locations: SettingLocations,
    pub(in crate::config) problems: Vec<ConfigProblem>,
}

/// A layer: where it comes from and what it says.
pub(in crate::config) struct Layer {
    name: String,
    values: Dict,
}

impl Layer {
    /// One setting, as a flag or variable of this name says it.
    pub(in crate::config) fn new(name: &str, path: &[&str], value: Value) -> Self {
        Self { name: name.to_owned(), values: nest(path, value) }
    }
}

const FILE: &str = "file";

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// Merges what was said, later layers over earlier ones, `flags` last: they are told what was said before. Built-in
/// defaults fill in where the result is read.
pub(in crate::config) fn merge(
    source: &ConfigSource,
    (root, aliases): (&'static SectionInfo, &[Alias]),
    flags: impl FnOnce(&Figment, &mut Vec<ConfigProblem>) -> Vec<Layer>,
    files: &mut Vec<SourceFile>,
) -> Result<Merged, Vec<ConfigProblem>> {
    let mut lines = SettingLocations::new();
    let mut problems = Vec::new();
    let mut figment = Figment::new();
    if let Some(file) = &source.file {
        let mut seen = SourceFile::look(file);
        let values = read_file(file, &mut seen, &mut lines);
        files.push(seen);
        let values = values?;
        figment = figment.merge(Layer { name: FILE.to_owned(), values });
    }
    for layer in environment(&source.environment, root, aliases, &mut problems) {
        figment = figment.merge(layer);
    }
    for layer in flags(&figment, &mut problems) {
        figment = figment.merge(layer);
    }
    let values = figment.data().ok().and_then(|mut data| data.remove(&Profile::Default)).unwrap_or_default();
    let mut locations = SettingLocations::new();
    for (key, value) in &values {
        locate(value, key.clone(), &figment, &lines, &mut locations);
    }
    Ok(Merged { values, locations, problems })
}

/// Notes the place of a value and of everything in it.
fn locate(
    value: &Value,
    path: String,
    figment: &Figment,
    lines: &SettingLocations,
    locations: &mut SettingLocations,
) {
    match value {
        Value::Dict(_, values) => {
            for (key, value) in values {
                locate(value, join(&path, key), figment, lines, locations);
            }
        }
        Value::Array(_, values) => {
            for (index, value) in values.iter().enumerate() {
                locate(value, format!("{path}[{index}]"), figment, lines, locations);
            }
        }
        _ => {}
    }
    let layer = figment.get_metadata(value.tag()).map_or(FILE, |metadata| metadata.name.as_ref());
    let location = match layer {
        FILE => lines.get(&path).cloned(),
        flag if flag.starts_with("--") => Some(SettingLocation::Flag(flag.to_owned())),
        variable => Some(SettingLocation::Environment(variable.to_owned())),
    };
    if let Some(location) = location {
        locations.insert(path, location);
    }
}

fn read_file(
    file: &Path,
    seen: &mut SourceFile,
    lines: &mut SettingLocations,
) -> Result<Dict, Vec<ConfigProblem>> {
    const MOST: u64 = 1024 * 1024;
    let whole = |what: String, remedy: &str| {
        vec![ConfigProblem {
            path: String::new(),
            location: SettingLocation::File(file.to_owned()),
            what,
            remedy: remedy.to_owned(),
        }]
    };
    let unreadable = |error: std::io::Error| {
        whole(format!("cannot be read: {error}"), "check the name after --config and who may read it")
    };
    let too_long = || whole("is longer than 1 MiB".into(), "name a configuration file");
    if std::fs::metadata(file).map_err(unreadable)?.len() > MOST {
        return Err(too_long());
    }
    // A pipe or a device has no length to be known before.
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    opened.take(MOST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MOST {
        return Err(too_long());
    }
    seen.held(&bytes);
    let text = String::from_utf8(bytes).map_err(|_| whole("is not UTF-8".into(), "save it as UTF-8"))?;
    let starts = LineIndex::of(&text, file);
    let (table, errors) = DeTable::parse_recoverable(&text);
    if errors.is_empty() {
        return Ok(toml_values::convert_table(table.get_ref(), "", &mut |path, offset| {
            lines.insert(path.to_owned(), starts.location(offset));
        }));
    }
    Err(errors
        .iter()
        .take(20)
        .map(|error| ConfigProblem {
            path: String::new(),
            location: starts.location(error.span().map_or(text.len(), |span| span.start)),
            what: format!("is not TOML: {}", error.message()),
            remedy: "settings look like key = \"text\", sections like [section]".into(),
        })
        .collect())
}

/// Where the lines of a text begin.
struct LineIndex {
    file: PathBuf,
    starts: Vec<usize>,
}

impl LineIndex {
    fn of(text: &str, file: &Path) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { file: file.to_owned(), starts: starts.collect() }
    }

    fn location(&self, offset: usize) -> SettingLocation {
        SettingLocation::Line(self.file.clone(), self.starts.partition_point(|start| *start <= offset) + 1)
    }
}

fn environment(
    variables: &[(OsString, OsString)],
    root: &'static SectionInfo,
    aliases: &[Alias],
    problems: &mut Vec<ConfigProblem>,
) -> Vec<Layer> {
    let settings = root.variables();
    let mut layers = Vec::new();
    for (name, value) in variables.iter().filter(|(name, _)| name.as_bytes().starts_with(b"DOORWARD_")) {
        let (Some(name), Some(text)) = (name.to_str(), value.to_str()) else {
            problems.push(not_utf8(name));
            continue;
        };
        let alias = aliases.iter().find(|(alias, _)| *alias == name);
        if let Some((_, path)) = alias {
            layers.push(Layer::new(name, path, Value::from(text)));
        } else if let Some(variable) = settings.iter().find(|variable| variable.name == name) {
            let path: Vec<&str> = variable.path.iter().map(String::as_str).collect();
            layers.push(Layer::new(name, &path, from_text(text, variable.kind)));
        } else if !is_service_link(name) {
            let names = settings.iter().map(|v| v.name.as_str()).chain(aliases.iter().map(|(name, _)| *name));
            let remedy = match nearest(name, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    "unset it; a variable is named DOORWARD_SECTION__KEY, such as DOORWARD_SERVER__LISTEN"
                        .to_owned()
                }
            };
            problems.push(ConfigProblem {
                path: name.to_owned(),
                location: SettingLocation::Environment("environment".into()),
                what: "unknown variable".into(),
                remedy,
            });
        }
    }
    layers
}

/// The problem with a variable that is not UTF-8: shows its name, never its value.
pub(in crate::config) fn not_utf8(name: &OsStr) -> ConfigProblem {
    ConfigProblem {
        path: name.to_string_lossy().into_owned(),
        location: SettingLocation::Environment("environment".into()),
        what: "is not UTF-8".into(),
        remedy: "set it again in UTF-8, or unset it".into(),
    }
}

/// Whether Kubernetes sets the variable by itself, for a Service that is called `doorward`.
fn is_service_link(name: &str) -> bool {
    name == "DOORWARD_PORT"
        || name == "DOORWARD_SERVICE_HOST"
        || name.starts_with("DOORWARD_SERVICE_PORT")
        || name
            .strip_prefix("DOORWARD_PORT_")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Reads a variable as its setting wants it; what does not fit is left as text for the reader to refuse.
fn from_text(text: &str, kind: &SettingType) -> Value {
    let as_text = || Value::from(text);
    match kind {
        SettingType::Flag => text.parse::<bool>().map_or_else(|_| as_text(), Value::from),
        SettingType::Number { .. } => text.parse::<u64>().map_or_else(|_| as_text(), Value::from),
        SettingType::List(_) | SettingType::Table(_) | SettingType::Map(_)
            if text.starts_with(['[', '{']) =>
        {
            toml_values::value(text)
                .or_else(|| {
                    let json = serde_json::from_str::<serde_json::Value>(text).ok()?;
                    Value::serialize(json).ok()
                })
                .unwrap_or_else(as_text)
        }
        _ => as_text(),
    }
}

fn nest(path: &[&str], value: Value) -> Dict {
    match path {
        [] => Dict::new(),
        [key] => Dict::from([((*key).to_owned(), value)]),
        [key, rest @ ..] => Dict::from([((*key).to_owned(), nest(rest, value).into())]),
    }
}
