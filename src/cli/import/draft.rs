//! Settings of ours that are being made of another product's: a text that `check` passes, with what could not be taken over
//! beside it.

use std::ffi::OsString;

use serde_json::{Map, Value, json};

use crate::config;
use crate::config::{ConfigProblem, ConfigSource, Flags};
use crate::model::secret::Secret;

/// Settings in the making.
#[derive(Debug)]
pub(super) struct Draft {
    blocks: Vec<Block>,
    /// What people should know, in the order of their kinds.
    remarks: Vec<Remark>,
}

/// Something to be known of what was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remark {
    pub(super) kind: RemarkKind,
    /// The setting of the other product, where it is of one.
    pub(super) about: String,
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RemarkKind {
    /// The user's part.
    ToDo,
    /// There is nothing here that does it.
    LeftOut,
    /// It is done here in another way.
    Differs,
}

impl RemarkKind {
    pub(super) const ALL: [Self; 3] = [Self::ToDo, Self::LeftOut, Self::Differs];

    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::ToDo => "To do",
            Self::LeftOut => "Not taken over",
            Self::Differs => "Different here",
        }
    }
}

/// A table of settings.
#[derive(Debug)]
pub(super) struct Block {
    /// `""` above the first table, `"login"`, or with brackets for one of a list: `"[providers]"`.
    header: &'static str,
    comments: Vec<String>,
    settings: Vec<Setting>,
    /// Those of the table `claims` inside it.
    claims: Vec<Setting>,
    /// Why it cannot be taken over whole. One of a list is then commented out, since half of it could let in more people.
    problems: Vec<String>,
}

#[derive(Debug)]
struct Setting {
    key: &'static str,
    value: SettingValue,
    /// The other product's name for it.
    from: String,
    problem: Option<String>,
}

#[derive(Debug)]
pub(super) enum SettingValue {
    Text(String),
    Flag(bool),
    Texts(Vec<String>),
    /// An inline table of texts.
    Words(Vec<(String, String)>),
    /// A file for a secret.
    SecretFile {
        file: String,
        secret: Option<Secret>,
    },
}

/// A file that holds nothing but a secret.
#[derive(Debug)]
pub(super) struct SecretFile<'d> {
    pub(super) file: &'d str,
    /// The other product's setting.
    pub(super) from: &'d str,
    /// `None` where it is not known.
    pub(super) secret: Option<&'d Secret>,
}

/// Stands for a secret that is not known, where the settings are checked.
const STAND_IN: &str = "q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+";

impl Block {
    pub(super) fn new(header: &'static str) -> Self {
        let nothing = Vec::new;
        Self { header, comments: nothing(), settings: Vec::new(), claims: Vec::new(), problems: nothing() }
    }

    pub(super) fn comment(&mut self, text: impl Into<String>) {
        self.comments.push(text.into());
    }

    pub(super) fn problem(&mut self, about: &str, text: impl AsRef<str>) {
        self.problems.push(format!("{about}: {}", text.as_ref()));
    }

    pub(super) fn set(&mut self, key: &'static str, value: SettingValue, from: &str) {
        self.settings.push(Setting { key, value, from: from.to_owned(), problem: None });
    }

    pub(super) fn set_text(&mut self, key: &'static str, value: impl Into<String>, from: &str) {
        self.set(key, SettingValue::Text(value.into()), from);
    }

    pub(super) fn set_claim(&mut self, key: &'static str, value: SettingValue, from: &str) {
        self.claims.push(Setting { key, value, from: from.to_owned(), problem: None });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.claims.is_empty()
    }

    /// Whether nothing is wrong with it so far.
    pub(super) fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    fn is_of_list(&self) -> bool {
        self.header.starts_with('[')
    }

    /// The name of the table, without brackets.
    fn table(&self) -> &'static str {
        self.header.trim_matches(['[', ']'])
    }

    /// Whether it stands there with its lines commented out.
    fn is_out(&self) -> bool {
        self.is_of_list() && !self.problems.is_empty()
    }

    fn value(&self) -> Value {
        let of = |settings: &[Setting]| -> Map<String, Value> {
            settings.iter().filter(|setting| setting.problem.is_none()).map(Setting::checked).collect()
        };
        let mut table = of(&self.settings);
        if !self.claims.is_empty() {
            table.insert("claims".to_owned(), Value::Object(of(&self.claims)));
        }
        Value::Object(table)
    }

    /// Notes what is wrong with a setting of it.
    fn fault(&mut self, path: &str, problem: &ConfigProblem) {
        let (settings, key) = match path.strip_prefix("claims.") {
            Some(rest) => (&mut self.claims, rest),
            None => (&mut self.settings, path),
        };
        let key = key.split(['.', '[']).next().unwrap_or_default();
        let is_it =
            |setting: &&mut Setting| setting.key == key || setting.key.strip_suffix("_file") == Some(key);
        let text = format!("{} ({})", problem.what, problem.remedy);
        let found = settings.iter_mut().find(is_it);
        let about = found.as_ref().map_or(key, |setting| setting.from.as_str()).to_owned();
        if self.header.starts_with('[') {
            self.problems.push(format!("{about}: {text}"));
        } else if let Some(setting) = found {
            setting.problem = Some(format!("{about}: {text}"));
        }
    }

    fn render(&self, lines: &mut Vec<String>) {
        let out = self.is_out();
        if out {
            lines.push("# Left out, since it cannot be taken over whole. Mend this, and take the # of its lines away:".into());
            lines.extend(self.problems.iter().map(|problem| format!("# - {}", one_line(problem))));
        }
        let mark = if out { "#" } else { "" };
        lines.extend(self.comments.iter().map(|comment| format!("# {}", one_line(comment))));
        if !self.header.is_empty() {
            lines.push(format!("{mark}[{}]", self.header));
        }
        let render = |setting: &Setting, lines: &mut Vec<String>| {
            lines.extend(setting.problem.iter().map(|problem| format!("# {}", one_line(problem))));
            let mark = if setting.problem.is_some() { "#" } else { mark };
            lines.push(format!("{mark}{} = {}", setting.key, setting.value.toml()));
        };
        for setting in &self.settings {
            render(setting, lines);
        }
        if !self.claims.is_empty() {
            lines.push(format!("{mark}[{}.claims]", self.table()));
            for setting in &self.claims {
                render(setting, lines);
            }
        }
        lines.push(String::new());
    }
}

impl Setting {
    /// As it is checked: a file that need not be there yet is replaced by what will be in it.
    fn checked(&self) -> (String, Value) {
        match &self.value {
            SettingValue::SecretFile { secret, .. } => {
                let secret = secret.as_ref().map_or(STAND_IN, Secret::expose);
                (self.key.trim_end_matches("_file").to_owned(), json!(secret))
            }
            SettingValue::Text(text) => (self.key.to_owned(), json!(text)),
            SettingValue::Flag(flag) => (self.key.to_owned(), json!(flag)),
            SettingValue::Texts(texts) => (self.key.to_owned(), json!(texts)),
            SettingValue::Words(words) => {
                let words = words.iter().map(|(word, value)| (word.clone(), json!(value)));
                (self.key.to_owned(), Value::Object(words.collect()))
            }
        }
    }
}

impl SettingValue {
    fn toml(&self) -> String {
        match self {
            Self::Text(text) => toml_text(text),
            Self::Flag(flag) => flag.to_string(),
            Self::Texts(texts) => {
                format!("[{}]", texts.iter().map(|text| toml_text(text)).collect::<Vec<_>>().join(", "))
            }
            Self::Words(words) => {
                let words =
                    words.iter().map(|(word, value)| format!("{} = {}", toml_text(word), toml_text(value)));
                format!("{{ {} }}", words.collect::<Vec<_>>().join(", "))
            }
            Self::SecretFile { file, .. } => toml_text(file),
        }
    }
}

/// Text in TOML 1.0: with single quotes where that saves escapes.
fn toml_text(text: &str) -> String {
    if text.contains(['"', '\\']) && !text.contains(|c: char| c == '\'' || c.is_control()) {
        return format!("'{text}'");
    }
    // The escapes of JSON are escapes of TOML; DEL is one more that must not stand there as it is.
    json!(text).to_string().replace('\u{7f}', "\\u007F")
}

/// Nothing that could end a comment or steer a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

impl Draft {
    pub(super) fn new() -> Self {
        Self { blocks: Vec::new(), remarks: Vec::new() }
    }

    pub(super) fn remark(&mut self, kind: RemarkKind, about: &str, text: impl Into<String>) {
        self.remarks.push(Remark { kind, about: about.to_owned(), text: text.into() });
    }

    /// Adds a table, unless nothing is in it.
    pub(super) fn add(&mut self, block: Block) {
        if !block.is_empty() {
            self.blocks.push(block);
        }
    }

    /// Checks the settings as `check` does, and comments out what it refuses, with the reason.
    pub(super) fn check(&mut self) {
        // Each round comments out one thing at least, or is the last.
        while let Err(error) = config::load(&self.source(), &Flags::default()) {
            let before = self.in_effect();
            for problem in &error.0 {
                self.fault(problem);
            }
            if self.in_effect() == before {
                for problem in error.0 {
                    let text = format!("{} ({})", problem.what, problem.remedy);
                    self.remark(RemarkKind::ToDo, &problem.path, text);
                }
                return;
            }
        }
    }

    /// The settings as variables: no file need be written, and no secret.
    fn source(&self) -> ConfigSource {
        let mut tables: Map<String, Value> = Map::new();
        for block in self.blocks.iter().filter(|block| !block.is_out()) {
            match (block.table(), block.value()) {
                ("", Value::Object(settings)) => tables.extend(settings),
                (name, value) if block.is_of_list() => {
                    let list = tables.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                    if let Value::Array(list) = list {
                        list.push(value);
                    }
                }
                (name, value) => drop(tables.insert(name.to_owned(), value)),
            }
        }
        let variable = |(name, value): (String, Value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (OsString::from(format!("DOORWARD_{}", name.to_uppercase())), OsString::from(text))
        };
        ConfigSource { file: None, environment: tables.into_iter().map(variable).collect() }
    }

    /// How much is not commented out.
    fn in_effect(&self) -> usize {
        let live = |settings: &[Setting]| settings.iter().filter(|setting| setting.problem.is_none()).count();
        let blocks = self.blocks.iter().filter(|block| !block.is_out());
        blocks.map(|block| live(&block.settings) + live(&block.claims)).sum()
    }

    fn fault(&mut self, problem: &ConfigProblem) {
        let (table, rest) = match problem.path.find(['.', '[']) {
            Some(at) => problem.path.split_at(at),
            None => ("", problem.path.as_str()),
        };
        let (index, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((index, rest)) => (index.parse().unwrap_or(0), rest),
            None => (0, rest),
        };
        let mut blocks = self.blocks.iter_mut().filter(|block| !block.is_out() && block.table() == table);
        if let Some(block) = blocks.nth(index) {
            block.fault(rest.trim_start_matches('.'), problem);
        }
    }

    /// Comments a setting out.
    pub(super) fn withdraw(&mut self, table: &str, key: &str, why: &str) {
        let blocks = self.blocks.iter_mut().filter(|block| block.table() == table);
        for setting in blocks.flat_map(|block| &mut block.settings).filter(|setting| setting.key == key) {
            setting.problem = Some(format!("{}: {why}", setting.from));
        }
    }

    /// How many tables of a list are in effect, and how many there are.
    pub(super) fn count(&self, table: &str) -> (usize, usize) {
        let all = || self.blocks.iter().filter(|block| block.table() == table);
        (all().filter(|block| !block.is_out()).count(), all().count())
    }

    /// The files that are to hold secrets.
    pub(super) fn secret_files(&self) -> Vec<SecretFile<'_>> {
        let settings = self.blocks.iter().flat_map(|block| &block.settings);
        let file = |setting| match setting {
            &Setting { value: SettingValue::SecretFile { ref file, ref secret }, ref from, .. } => {
                Some(SecretFile { file, from, secret: secret.as_ref() })
            }
            _ => None,
        };
        settings.filter_map(file).collect()
    }

    /// Puts the files that hold secrets into a folder.
    pub(super) fn move_secret_files(&mut self, place: impl Fn(&str) -> String) {
        for setting in self.blocks.iter_mut().flat_map(|block| &mut block.settings) {
            if let SettingValue::SecretFile { file, .. } = &mut setting.value {
                *file = place(file);
            }
        }
    }

    /// Everything that was remarked, by its kind.
    pub(super) fn remarks(&self, kind: RemarkKind) -> impl Iterator<Item = &Remark> {
        self.remarks.iter().filter(move |remark| remark.kind == kind)
    }

    /// The text, in TOML.
    pub(super) fn render(&self, title: &str) -> String {
        let mut lines = vec![format!("# {title}")];
        for kind in RemarkKind::ALL {
            let mut remarks = self.remarks(kind).peekable();
            if remarks.peek().is_some() {
                lines.extend(["#".to_owned(), format!("# {}:", kind.heading())]);
                lines.extend(remarks.map(|remark| format!("# - {}", one_line(&remark.line()))));
            }
        }
        lines.push(String::new());
        for block in &self.blocks {
            block.render(&mut lines);
        }
        lines.join("\n")
    }
}

impl Remark {
    fn line(&self) -> String {
        if self.about.is_empty() { self.text.clone() } else { format!("{}: {}", self.about, self.text) }
    }

    pub(super) fn value(&self) -> Value {
        json!({ "setting": self.about, "text": self.text })
    }
}

#[cfg(test)]
#[path = "draft_tests.rs"]
mod tests;
