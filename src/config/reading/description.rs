//! Descriptions of settings: names, types, meanings. Reading, variable names, the reference page and the schema use
//! them.

use figment::value::{Dict, Value};

/// What a section is for and which settings it has.
#[derive(Debug)]
pub(in crate::config) struct SectionInfo {
    pub(in crate::config) about: &'static str,
    pub(in crate::config) settings: &'static [Setting],
}

/// One setting.
#[derive(Debug)]
pub(in crate::config) struct Setting {
    pub(in crate::config) name: &'static str,
    /// A second name for the same, where one value and several both read well.
    pub(in crate::config) also: Option<&'static str>,
    pub(in crate::config) kind: &'static SettingType,
    pub(in crate::config) required: bool,
    /// As TOML.
    pub(in crate::config) default: Option<&'static str>,
    pub(in crate::config) about: &'static str,
    /// As TOML.
    pub(in crate::config) example: &'static str,
}

impl Setting {
    /// Whether its text is never shown, and may stand in a file of its own.
    pub(in crate::config) fn is_secret(&self) -> bool {
        matches!(self.kind, SettingType::Secret { .. })
    }

    /// Every key under which the setting may stand.
    pub(in crate::config) fn keys(&self) -> impl Iterator<Item = String> {
        let file = self.is_secret().then(|| format!("{}_file", self.name));
        [Some(self.name.to_owned()), self.also.map(str::to_owned), file].into_iter().flatten()
    }
}

/// The type of a setting.
#[derive(Debug)]
pub(in crate::config) enum SettingType {
    Flag,
    Number {
        least: u64,
        most: u64,
    },
    /// Text of some form, said in a few words.
    Text(&'static str),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Both bounds in seconds.
    Duration {
        least: u64,
        most: u64,
    },
    /// Text that is never shown; may stand in a file of its own.
    Secret {
        /// Whether this text lets somebody in, and so must not stand in a file that others may read.
        is_guarded: fn(&str) -> bool,
    },
    /// Several, or a single one written plainly.
    List(&'static SettingType),
    Table(&'static SectionInfo),
    /// Any value of these, said in a few words.
    Any(&'static str),
    /// A table whose keys are the operator's own.
    Map(&'static SettingType),
}

impl SettingType {
    /// The type in a few words that fit after "should be".
    pub(in crate::config) fn describe(&self) -> String {
        match self {
            Self::Flag => "true or false".into(),
            Self::Number { least, most } => format!("a whole number from {least} to {most}"),
            Self::Text(what) | Self::Any(what) => (*what).into(),
            Self::Choice(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                match quoted.split_last() {
                    Some((last, rest @ [_, ..])) => format!("{} or {last}", rest.join(", ")),
                    _ => quoted.concat(),
                }
            }
            Self::Duration { least, most } => {
                format!("a duration from \"{}\" to \"{}\"", brief(*least), brief(*most))
            }
            Self::Secret { .. } => "text that is kept secret".into(),
            Self::List(Self::Table(_)) => "a list of tables".into(),
            Self::List(item) => format!("a list; each item {}", item.describe()),
            Self::Table(_) => "a table".into(),
            Self::Map(value) => format!("a table of your own names; each value {}", value.describe()),
        }
    }
}

/// Seconds in the largest unit that fits without rest.
pub(in crate::config) fn brief(seconds: u64) -> String {
    for (unit, size) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
        if seconds >= size && seconds.is_multiple_of(size) {
            return format!("{}{unit}", seconds / size);
        }
    }
    format!("{seconds}s")
}

/// A variable that sets a setting.
pub(in crate::config) struct Variable {
    pub(in crate::config) name: String,
    pub(in crate::config) path: Vec<String>,
    pub(in crate::config) kind: &'static SettingType,
}

impl SectionInfo {
    /// Every variable that means something, sections included.
    pub(in crate::config) fn variables(&'static self) -> Vec<Variable> {
        fn collect(info: &'static SectionInfo, path: &[String], found: &mut Vec<Variable>) {
            for setting in info.settings {
                for key in setting.keys() {
                    let path: Vec<String> = path.iter().cloned().chain([key]).collect();
                    if let SettingType::Table(inner) = setting.kind {
                        collect(inner, &path, found);
                    }
                    let name = format!("DOORWARD_{}", path.join("__").to_uppercase());
                    found.push(Variable { name, path, kind: setting.kind });
                }
            }
        }
        let mut found = Vec::new();
        collect(self, &[], &mut found);
        found
    }

    /// This section and every one inside it, outer ones first, with its path and whether it is one of a list.
    pub(in crate::config) fn sections(&'static self) -> Vec<(String, bool, &'static Self)> {
        fn collect(
            path: &str,
            list: bool,
            info: &'static SectionInfo,
            found: &mut Vec<(String, bool, &'static SectionInfo)>,
        ) {
            found.push((path.to_owned(), list, info));
            for setting in info.settings {
                let path = join(path, setting.name);
                match setting.kind {
                    SettingType::Table(inner) => collect(&path, false, inner, found),
                    SettingType::List(SettingType::Table(inner)) => collect(&path, true, inner, found),
                    _ => {}
                }
            }
        }
        let mut found = Vec::new();
        collect("", false, self, &mut found);
        found
    }

    /// Where settings of this name live, said as a place.
    pub(in crate::config) fn homes(&'static self, key: &str) -> Vec<String> {
        self.sections()
            .iter()
            .filter(|(_, _, info)| info.settings.iter().flat_map(Setting::keys).any(|known| known == key))
            .map(|(path, list, _)| match (path.as_str(), list) {
                ("", _) => "at the top, above the first [section]".to_owned(),
                (path, false) => format!("in [{path}]"),
                (path, true) => format!("in [[{path}]]"),
            })
            .collect()
    }

    /// The path of every secret that stands among these values itself, not in a file of its own.
    pub(in crate::config) fn secrets(&self, values: &Dict) -> Vec<String> {
        let mut found = Vec::new();
        find_secrets_in(self, values, "", &mut found);
        found
    }
}

fn find_secrets_in(info: &SectionInfo, values: &Dict, path: &str, found: &mut Vec<String>) {
    for setting in info.settings {
        for name in [Some(setting.name), setting.also].into_iter().flatten() {
            if let Some(value) = values.get(name) {
                find_secrets(setting.kind, value, &join(path, name), found);
            }
        }
    }
}

fn find_secrets(kind: &SettingType, value: &Value, path: &str, found: &mut Vec<String>) {
    match (kind, value) {
        (SettingType::Secret { is_guarded }, value) if is_guarded(value.as_str().unwrap_or_default()) => {
            found.push(path.to_owned());
        }
        (SettingType::Table(info), Value::Dict(_, values)) => find_secrets_in(info, values, path, found),
        (SettingType::List(item), Value::Array(_, values)) => {
            for (index, value) in values.iter().enumerate() {
                find_secrets(item, value, &format!("{path}[{index}]"), found);
            }
        }
        // A list of one may be written as that one.
        (SettingType::List(item), single) => find_secrets(item, single, path, found),
        (SettingType::Map(item), Value::Dict(_, values)) => {
            for (key, value) in values {
                find_secrets(item, value, &join(path, key), found);
            }
        }
        _ => {}
    }
}

/// `path.key`, or `key` alone at the top.
pub(in crate::config) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Whether a path is `outer` or lies inside it: `a.b` and `a[0]` are inside `a`, and `ab` is not.
pub(in crate::config) fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_within_another_by_whole_segments_only() {
        for (path, outer) in
            [("a.b", "a.b"), ("a.b.c", "a.b"), ("a.b[0]", "a.b"), ("a[1].b", "a"), ("a[1].b", "a[1]")]
        {
            assert!(is_within(path, outer), "{path} in {outer}");
        }
        for (path, outer) in
            [("a.bc", "a.b"), ("a.b_file", "a.b"), ("a", "a.b"), ("a[10]", "a[1]"), ("b.a", "a")]
        {
            assert!(!is_within(path, outer), "{path} in {outer}");
        }
    }
}
