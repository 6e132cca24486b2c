//! Reads merged values into typed sections and notes every problem on the way.

use std::collections::HashMap;
use std::fmt::Display;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Value};

use crate::config::origin::SourceFile;
use crate::config::reading::layers;
use crate::config::reading::problem::{Place, Problem};
use crate::config::reading::section::{Kind, SectionInfo, Setting};

/// A type that can be read from a value.
pub(in crate::config) trait Read: Sized {
    const KIND: &'static Kind;

    /// `None` after noting at least one problem.
    fn read(value: &Value, path: &str, reader: &mut Reader) -> Option<Self>;
}

/// What a section's field can be: a type with a default, an `Option`, or [`Required`].
pub(in crate::config) trait Field: Sized {
    const KIND: &'static Kind;
    const REQUIRED: bool = false;

    fn take(table: Table<'_>, setting: &'static Setting, reader: &mut Reader) -> Self;
}

/// A setting without which nothing works. `None` only after a problem was noted.
#[derive(Debug)]
pub(in crate::config) struct Required<T>(pub(in crate::config) Option<T>);

impl<T: Read> Field for T {
    const KIND: &'static Kind = T::KIND;

    fn take(table: Table<'_>, setting: &'static Setting, reader: &mut Reader) -> Self {
        table.read(setting, reader).unwrap_or_else(|| {
            let default =
                setting.default.expect("a setting that is neither Option nor Required has a default");
            let value = layers::toml_value(default).expect("defaults are TOML; a test reads them all");
            T::read(&value, &join(table.path, setting.name), reader)
                .expect("defaults are valid; a test reads them all")
        })
    }
}

impl<T: Read> Field for Option<T> {
    const KIND: &'static Kind = T::KIND;

    fn take(table: Table<'_>, setting: &'static Setting, reader: &mut Reader) -> Self {
        table.read(setting, reader)
    }
}

impl<T: Read> Field for Required<T> {
    const KIND: &'static Kind = T::KIND;
    const REQUIRED: bool = true;

    fn take(table: Table<'_>, setting: &'static Setting, reader: &mut Reader) -> Self {
        if !setting.keys().any(|key| table.values.contains_key(&key)) {
            let remedy = format!("add `{} = {}`", setting.name, setting.example);
            reader.problem(&join(table.path, setting.name), "is missing", remedy);
        }
        Self(table.read(setting, reader))
    }
}

impl<T: Read> Read for Vec<T> {
    const KIND: &'static Kind = &Kind::List(T::KIND);

    fn read(value: &Value, path: &str, reader: &mut Reader) -> Option<Self> {
        match value {
            Value::Array(_, values) => Some(
                values
                    .iter()
                    .enumerate()
                    .filter_map(|(index, value)| T::read(value, &format!("{path}[{index}]"), reader))
                    .collect(),
            ),
            single => T::read(single, path, reader).map(|value| vec![value]),
        }
    }
}

/// The values of one section.
#[derive(Clone, Copy)]
pub(in crate::config) struct Table<'v> {
    pub(in crate::config) path: &'v str,
    pub(in crate::config) values: &'v Dict,
}

impl Table<'_> {
    fn read<T: Read>(self, setting: &'static Setting, reader: &mut Reader) -> Option<T> {
        let mut found = setting.keys().filter_map(|key| Some((self.values.get(&key)?, key)));
        let (value, key) = found.next()?;
        let path = join(self.path, &key);
        if let Some((_, other)) = found.next() {
            let what = format!("is set twice, also as `{other}`");
            reader.problem(&path, what, format!("keep one of `{key}` and `{other}`"));
        }
        reader.example = setting.example;
        if matches!(setting.kind, Kind::Secret) && key != setting.name {
            let text = reader.secret_file(value, &path)?;
            T::read(&Value::from(text), &path, reader)
        } else {
            T::read(value, &path, reader)
        }
    }

    /// Notes every key that is no setting of the section.
    pub(in crate::config) fn refuse_unknown(self, info: &SectionInfo, reader: &mut Reader) {
        let known: Vec<String> = info.settings.iter().flat_map(Setting::keys).collect();
        for key in self.values.keys().filter(|key| !known.contains(key)) {
            let remedy = if let Some(near) = nearest(key, known.iter().map(String::as_str)) {
                format!("did you mean `{near}`?")
            } else if let homes @ [_, ..] = crate::config::documents::reference::homes(key).as_slice() {
                format!("`{key}` belongs {}", homes.join(" or "))
            } else {
                format!("the settings here are {}", known.join(", "))
            };
            reader.problem(&join(self.path, key), "unknown setting", remedy);
        }
    }
}

/// The path under which a secret was set.
pub(in crate::config) fn set_as(path: &str, reader: &Reader) -> String {
    let file = format!("{path}_file");
    if reader.is_set(&file) { file } else { path.to_owned() }
}

/// `path.key`, or `key` alone at the top.
pub(in crate::config) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The candidate that `name` was probably meant to be.
pub(in crate::config) fn nearest<'c>(
    name: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    let reach = (name.chars().count() / 3).max(1);
    candidates
        .map(|candidate| {
            let begins = name.len() >= 3 && candidate.starts_with(name);
            let distance = if begins { 1 } else { strsim::damerau_levenshtein(name, candidate) };
            (distance, candidate)
        })
        .filter(|(distance, _)| *distance <= reach)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Where each value was written, by path.
pub(in crate::config) type Places = HashMap<String, Place>;

/// Collects problems; knows where values were written and which directory file names are relative to.
pub(in crate::config) struct Reader {
    places: Places,
    /// Where what is missing should be added.
    home: Place,
    directory: PathBuf,
    example: &'static str,
    pub(in crate::config) problems: Vec<Problem>,
    pub(in crate::config) warnings: Vec<String>,
    /// What the settings name, as it was just before it was read.
    pub(in crate::config) files: Vec<SourceFile>,
}

impl Reader {
    pub(in crate::config) fn new(places: Places, home: Place, directory: PathBuf) -> Self {
        Self {
            places,
            home,
            directory,
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
        let place = self.place(path);
        self.problems.push(Problem {
            path: path.to_owned(),
            place,
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    /// Notes something that is allowed but unwise.
    pub(in crate::config) fn warn(&mut self, path: &str, what: impl Display) {
        let place = match self.place(path) {
            place @ Place::Line(..) => format!(" ({place})"),
            _ => String::new(),
        };
        self.warnings.push(format!("{path}: {what}{place}"));
    }

    /// Where a setting was written, or else the section around it.
    pub(in crate::config) fn place(&self, path: &str) -> Place {
        let mut path = path;
        while !path.is_empty() {
            if let Some(place) = self.places.get(path) {
                return place.clone();
            }
            path = path.rfind(['.', '[']).and_then(|end| path.get(..end)).unwrap_or_default();
        }
        self.home.clone()
    }

    /// Whether this very setting was written anywhere.
    pub(in crate::config) fn is_set(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }

    /// Whether a problem was noted at this setting or inside it; what it lacks then says nothing more.
    pub(in crate::config) fn is_broken(&self, path: &str) -> bool {
        self.problems.iter().any(|problem| problem.path.starts_with(path))
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
    pub(in crate::config) fn unreadable(&self, name: &str) -> impl Fn(std::io::Error) -> Fault + use<> {
        let directory = if Path::new(name).is_absolute() {
            None
        } else {
            std::path::absolute(self.directory.join(".")).ok()
        };
        let from = directory.map(|directory| format!(", which counts from {},", directory.display()));
        let remedy = format!("check its name{} and its owner", from.unwrap_or_default());
        move |error| Fault::new(format!("the file cannot be read: {error}"), remedy.as_str())
    }

    /// Notes that a value has the wrong type.
    pub(in crate::config) fn mismatch(&mut self, value: &Value, path: &str, kind: &Kind) {
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
        kind: &Kind,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        let Value::String(_, text) = value else {
            self.mismatch(value, path, kind);
            return None;
        };
        parse(text).map_err(|fault| self.fault(path, fault)).ok()
    }

    /// Notes why a text is refused.
    pub(in crate::config) fn fault(&mut self, path: &str, fault: Fault) {
        let remedy = fault.remedy.unwrap_or_else(|| self.for_example());
        self.problem(path, fault.what, remedy);
    }

    /// The content of the file that holds a secret, without the newline at its end.
    ///
    /// Neither the content nor the name is ever shown: people write the secret itself there by mistake.
    pub(in crate::config) fn secret_file(&mut self, value: &Value, path: &str) -> Option<String> {
        let Value::String(_, name) = value else {
            self.mismatch(value, path, &Kind::Text("the name of a file"));
            return None;
        };
        let unreadable = self.unreadable(name);
        match read_secret(&self.source(name), unreadable) {
            Ok(text) => Some(text),
            Err(fault) => {
                self.fault(path, fault);
                None
            }
        }
    }
}

/// Why a text is refused.
pub(in crate::config) struct Fault {
    what: String,
    remedy: Option<String>,
}

impl Fault {
    pub(in crate::config) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: Some(remedy.into()) }
    }
}

impl From<String> for Fault {
    /// A sentence; what follows its last colon, if it says what to write, is the remedy.
    fn from(sentence: String) -> Self {
        match sentence.rsplit_once(": write ") {
            Some((what, remedy)) => Self::new(what, format!("write {remedy}")),
            None => Self { what: sentence, remedy: None },
        }
    }
}

impl From<&str> for Fault {
    fn from(sentence: &str) -> Self {
        sentence.to_owned().into()
    }
}

/// Permission bits beyond 0640: the group may not write, others may nothing.
pub(in crate::config) const LOOSE: u32 = 0o027;

/// Permission bits that let anyone but the owner write.
const WRITABLE: u32 = 0o022;

/// Where container engines mount secrets.
const MOUNTED_SECRETS: [&str; 2] = ["/run/secrets", "/var/run/secrets"];

fn read_secret(file: &Path, unreadable: impl Fn(std::io::Error) -> Fault) -> Result<String, Fault> {
    const MOST: u64 = 64 * 1024;
    let metadata = std::fs::metadata(file).map_err(&unreadable)?;
    if !metadata.is_file() {
        return Err(Fault::new("is no regular file", "name a file that holds only the secret"));
    }
    // Container engines mount secrets for everyone to read, into a container that has only one reader.
    let mounted = MOUNTED_SECRETS.iter().any(|folder| file.starts_with(folder));
    if metadata.permissions().mode() & if mounted { WRITABLE } else { LOOSE } != 0 {
        let what = format!("the file's mode {:04o} lets others in", metadata.permissions().mode() & 0o7777);
        return Err(Fault::new(what, "chmod 0640 or stricter (in a container: mount it below /run/secrets)"));
    }
    if metadata.len() > MOST {
        return Err(Fault::new("the file is longer than 64 KiB", "name a file that holds only the secret"));
    }
    let text = std::fs::read_to_string(file).map_err(&unreadable)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(Fault::new("the file is empty", "write the secret into it"));
    }
    Ok(text.to_owned())
}
