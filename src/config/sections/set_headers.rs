//! Headers that the settings choose, with templates of their values or secrets from files.

use figment::value::Value;
use http::HeaderName;

use crate::config::reading::{InvalidValue, Read, SettingType, SettingsReader, join};
use crate::config::sections::header_name;
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::model::template::Template;

pub(in crate::config) const A_TEMPLATE: &str = "text with facts in braces such as \"{user}\"";

/// After the name of a header, says that its value is what a file holds.
const FILE: &str = "_file";

/// Headers, and the templates of their values or the values themselves.
#[derive(Clone, Debug)]
pub(in crate::config) struct HeaderTemplates {
    pub(in crate::config) templates: Vec<(HeaderName, Template)>,
    pub(in crate::config) secrets: Vec<(HeaderName, Secret)>,
}

impl HeaderTemplates {
    /// Every header it names.
    pub(in crate::config) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        let templates = self.templates.iter().map(|(name, _)| name);
        templates.chain(self.secrets.iter().map(|(name, _)| name))
    }
}

impl Read for HeaderTemplates {
    const KIND: &'static SettingType = &SettingType::Map(&SettingType::Text(A_TEMPLATE));

    fn read(value: &Value, path: &str, reader: &mut SettingsReader) -> Option<Self> {
        let Value::Dict(_, values) = value else {
            reader.mismatch(value, path, Self::KIND);
            return None;
        };
        let mut all = Self { templates: Vec::new(), secrets: Vec::new() };
        for (key, value) in values {
            let path = join(path, key);
            // No name that may be set holds an underscore.
            let (name, file) = match key.strip_suffix(FILE) {
                Some(name) => (name, true),
                None => (key.as_str(), false),
            };
            let name = header_name::set_by_us(name).map_err(|fault| reader.fault(&path, fault)).ok();
            let is_new = name.as_ref().is_none_or(|name| !all.names().any(|other| other == name));
            if !is_new {
                reader.problem(&path, "is set twice, in other letters or by a file", "keep one of them");
            }
            if file {
                let secret = secret(value, &path, reader);
                all.secrets.extend(name.filter(|_| is_new).zip(secret));
            } else {
                let template = reader.parse(value, &path, &SettingType::Text(A_TEMPLATE), header_template);
                if let Some(template) = &template {
                    warn_of_roles(template, &path, reader);
                }
                all.templates.extend(name.filter(|_| is_new).zip(template));
            }
        }
        Some(all)
    }
}

/// What a file holds, if it can stand in a header as it is.
fn secret(value: &Value, path: &str, reader: &mut SettingsReader) -> Option<Secret> {
    let text = reader.secret_file(value, path)?;
    if text.expose().trim() != text.expose() || !is_visible(text.expose()) {
        let what = "holds what cannot stand in a header";
        reader.problem(path, what, "write one line of visible ASCII into it, without blanks at either end");
        return None;
    }
    Some(text)
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

fn header_template(text: &str) -> Result<Template, InvalidValue> {
    let template = Template::parse(text)?;
    if !template.literals().all(is_visible) || text.trim() != text {
        return Err(
            "holds what cannot stand in a header: write visible ASCII, without blanks at either end".into()
        );
    }
    Ok(template)
}

/// Warns of people of whom a template says nothing because it has no word for their role.
pub(in crate::config) fn warn_of_roles(template: &Template, path: &str, reader: &mut SettingsReader) {
    let lacking: Vec<&str> = template.roles_without_word().map(Role::as_str).collect();
    if !lacking.is_empty() {
        let roles = lacking.join(" and ");
        reader.warn(path, format!("has no word for {roles} in {{role:...}}, so it is left out for them"));
    }
}
