//! The JSON Schema of the configuration file, for editors; made from the sections' descriptions, so that a setting
//! described there is in it.
//!
//! Draft 7 is what editors of TOML understand. The schema says no to nothing that the program takes, and finds
//! what can be found without looking at files and other settings; `doorward check` finds the rest.

use serde_json::{Map, Value, json};

use super::reference::paragraph;
use crate::config::Root;
use crate::config::reading::{Section, SectionInfo, Setting, SettingType};

/// What a whole configuration file looks like.
pub fn schema() -> Value {
    let mut schema = table(Root::INFO, "#");
    schema.insert("$schema".into(), "http://json-schema.org/draft-07/schema#".into());
    schema.insert("$comment".into(), COMMENT.into());
    schema.insert("title".into(), "Doorward configuration".into());
    schema.into()
}

const COMMENT: &str = "Made from the program's own description of its settings; do not edit. To make it anew: \
                       cargo run -- check --schema > docs/doorward.schema.json";

/// A section; `pointer` leads to it from the top of the schema (RFC 6901, as a fragment).
fn table(info: &SectionInfo, pointer: &str) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    let mut conditions = Vec::new();
    for setting in info.settings {
        let keys: Vec<String> = setting.keys().collect();
        for key in &keys {
            properties.insert(key.clone(), property(setting, key, &format!("{pointer}/properties/{key}")));
        }
        match keys.as_slice() {
            [only] if setting.required => required.push(only.clone()),
            [_] => {}
            several => {
                let each = |key: &String| json!({ "required": [key] });
                conditions.push(json!({ "not": { "required": several } }));
                if setting.required {
                    conditions.push(json!({ "anyOf": several.iter().map(each).collect::<Vec<_>>() }));
                }
            }
        }
    }
    let mut table = Map::new();
    table.insert("type".into(), "object".into());
    table.insert("description".into(), text(info.about).into());
    table.insert("properties".into(), properties.into());
    table.insert("additionalProperties".into(), false.into());
    if !required.is_empty() {
        table.insert("required".into(), required.into());
    }
    if !conditions.is_empty() {
        table.insert("allOf".into(), conditions.into());
    }
    table
}

/// A setting under one of its keys.
fn property(setting: &Setting, key: &str, pointer: &str) -> Value {
    let named_file = setting.is_secret() && key != setting.name;
    let mut property = if named_file { words("string") } else { of_kind(setting.kind, pointer) };
    let about = text(setting.about);
    let about = match setting.kind {
        _ if named_file => {
            format!("Name of the file that holds `{}`, instead of the text itself.\n\n{about}", setting.name)
        }
        SettingType::Table(_) | SettingType::List(SettingType::Table(_)) => about,
        kind => format!("{about}\n\nType: {}.", kind.describe()),
    };
    property.insert("description".into(), about.into());
    if !named_file
        && !matches!(setting.kind, SettingType::Table(_) | SettingType::List(SettingType::Table(_)))
    {
        property.insert("examples".into(), json!([value(setting.example)]));
        if let Some(default) = setting.default {
            property.insert("default".into(), value(default));
        }
    }
    property.into()
}

fn of_kind(kind: &SettingType, pointer: &str) -> Map<String, Value> {
    let mut schema = match kind {
        SettingType::Flag => words("boolean"),
        SettingType::Number { .. } => words("integer"),
        SettingType::Text(_)
        | SettingType::Secret { .. }
        | SettingType::Choice(_)
        | SettingType::Duration { .. } => words("string"),
        SettingType::Table(info) => return table(info, pointer),
        SettingType::Map(_) => words("object"),
        SettingType::List(_) | SettingType::Any(_) => Map::new(),
    };
    let mut say = |keyword: &str, value: Value| drop(schema.insert(keyword.into(), value));
    match kind {
        SettingType::Number { least, most } => {
            say("minimum", json!(least));
            say("maximum", json!(most));
        }
        SettingType::Choice(words) => say("enum", json!(words)),
        SettingType::Map(value) => say("additionalProperties", of_kind(value, pointer).into()),
        SettingType::Duration { .. } => say("pattern", "^[0-9]+[smhd]$".into()),
        // A list of one may be written as that one. `if` instead of `anyOf`: what is wrong within a table is
        // then told of that place, and not of the whole list.
        SettingType::List(SettingType::Table(info)) => {
            let items = format!("{pointer}/items");
            say("type", json!(["array", "object"]));
            say("items", table(info, &items).into());
            say("if", json!({ "type": "object" }));
            say("then", json!({ "$ref": items }));
        }
        SettingType::List(item) => {
            let item = Value::from(of_kind(item, pointer));
            say("anyOf", json!([{ "type": "array", "items": item }, item]));
        }
        _ => {}
    }
    schema
}

fn words(name: &str) -> Map<String, Value> {
    Map::from_iter([("type".to_owned(), name.into())])
}

/// Doc comments with each paragraph on one line.
fn text(about: &str) -> String {
    paragraph(about).trim().split("\n\n").map(|part| part.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}

/// A value written as TOML.
fn value(toml: &str) -> Value {
    let document = toml::from_str::<Map<String, Value>>(&format!("x = {toml}"));
    document
        .ok()
        .and_then(|mut document| document.remove("x"))
        .expect("defaults and examples are TOML; a test reads them all")
}
