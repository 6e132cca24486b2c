//! The types that a field of a section can have, and how its value is taken from the layers.

use figment::value::{Dict, Value};

use super::description::{SectionInfo, Setting, SettingType, join};
use super::nearest::nearest;
use super::reader::SettingsReader;
use super::toml_values;

/// A type that can be read from a value.
pub(in crate::config) trait Read: Sized {
    const KIND: &'static SettingType;

    /// `None` after noting at least one problem.
    fn read(value: &Value, path: &str, reader: &mut SettingsReader) -> Option<Self>;
}

/// What a section's field can be: a type with a default, an `Option`, or [`Required`].
pub(in crate::config) trait SectionField: Sized {
    const KIND: &'static SettingType;
    const REQUIRED: bool = false;

    fn take(table: SectionValues<'_>, setting: &'static Setting, reader: &mut SettingsReader) -> Self;
}

/// A setting without which nothing works. `None` only after a problem was noted.
#[derive(Clone, Debug)]
pub(in crate::config) struct Required<T>(pub(in crate::config) Option<T>);

impl<T: Read> SectionField for T {
    const KIND: &'static SettingType = T::KIND;

    fn take(table: SectionValues<'_>, setting: &'static Setting, reader: &mut SettingsReader) -> Self {
        table.read(setting, reader).unwrap_or_else(|| {
            let default =
                setting.default.expect("a setting that is neither Option nor Required has a default");
            let value = toml_values::value(default).expect("defaults are TOML; a test reads them all");
            T::read(&value, &join(table.path, setting.name), reader)
                .expect("defaults are valid; a test reads them all")
        })
    }
}

impl<T: Read> SectionField for Option<T> {
    const KIND: &'static SettingType = T::KIND;

    fn take(table: SectionValues<'_>, setting: &'static Setting, reader: &mut SettingsReader) -> Self {
        table.read(setting, reader)
    }
}

impl<T: Read> SectionField for Required<T> {
    const KIND: &'static SettingType = T::KIND;
    const REQUIRED: bool = true;

    fn take(table: SectionValues<'_>, setting: &'static Setting, reader: &mut SettingsReader) -> Self {
        if !setting.keys().any(|key| table.values.contains_key(&key)) {
            let remedy = format!("add `{} = {}`", setting.name, setting.example);
            reader.problem(&join(table.path, setting.name), "is missing", remedy);
        }
        Self(table.read(setting, reader))
    }
}

impl<T: Read> Read for Vec<T> {
    const KIND: &'static SettingType = &SettingType::List(T::KIND);

    fn read(value: &Value, path: &str, reader: &mut SettingsReader) -> Option<Self> {
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
pub(in crate::config) struct SectionValues<'v> {
    pub(in crate::config) path: &'v str,
    pub(in crate::config) values: &'v Dict,
}

impl SectionValues<'_> {
    fn read<T: Read>(self, setting: &'static Setting, reader: &mut SettingsReader) -> Option<T> {
        let mut found = setting.keys().filter_map(|key| Some((self.values.get(&key)?, key)));
        let (value, key) = found.next()?;
        let path = join(self.path, &key);
        if let Some((_, other)) = found.next() {
            let what = format!("is set twice, also as `{other}`");
            reader.problem(&path, what, format!("keep one of `{key}` and `{other}`"));
        }
        reader.show(setting.example);
        if setting.is_secret() && key != setting.name {
            let secret = reader.secret_file(value, &path)?;
            T::read(&Value::from(secret.expose()), &path, reader)
        } else {
            T::read(value, &path, reader)
        }
    }

    /// Notes every key that is no setting of the section.
    pub(in crate::config) fn refuse_unknown(self, info: &SectionInfo, reader: &mut SettingsReader) {
        let known: Vec<String> = info.settings.iter().flat_map(Setting::keys).collect();
        for key in self.values.keys().filter(|key| !known.contains(key)) {
            let remedy = if let Some(near) = nearest(key, known.iter().map(String::as_str)) {
                format!("did you mean `{near}`?")
            } else if let homes @ [_, ..] = reader.homes(key).as_slice() {
                format!("`{key}` belongs {}", homes.join(" or "))
            } else {
                format!("the settings here are {}", known.join(", "))
            };
            reader.problem(&join(self.path, key), "unknown setting", remedy);
        }
    }
}
