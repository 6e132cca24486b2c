//! The reference page, made from the sections' descriptions.

use std::fmt::Write;

use crate::config::Root;
use crate::config::reading::{Section, Setting, SettingType, join};

/// The reference page of all settings, in Markdown.
pub fn markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    for (path, list, info) in Root::INFO.sections() {
        let heading = match (path.as_str(), list) {
            ("", _) => "Top of the file".to_owned(),
            (path, false) => format!("`[{path}]`"),
            (path, true) => format!("`[[{path}]]`"),
        };
        let _ = write!(page, "\n## {heading}\n\n{}", paragraph(info.about));
        for setting in info.settings {
            describe(&path, setting, &mut page);
        }
    }
    page
}

fn describe(path: &str, setting: &Setting, page: &mut String) {
    let names: Vec<String> = [Some(setting.name), setting.also]
        .into_iter()
        .flatten()
        .map(str::to_owned)
        .chain(setting.is_secret().then(|| format!("{}_file", setting.name)))
        .map(|name| format!("`{name}`"))
        .collect();
    let _ = write!(page, "\n### {}\n\n{}\n", names.join(" or "), paragraph(setting.about));
    let _ = writeln!(page, "- Type: {}", setting.kind.describe());
    let _ = match (setting.kind, setting.default) {
        (SettingType::Table(_) | SettingType::List(SettingType::Table(_)), _) => {
            writeln!(page, "- Settings: see `{}` below", join(path, setting.name))
        }
        (_, Some(default)) => writeln!(page, "- Default: `{default}`"),
        (_, None) if setting.required => writeln!(page, "- Required"),
        (_, None) => writeln!(page, "- Default: not set"),
    };
    let _ = writeln!(page, "- Example: `{} = {}`", setting.also.unwrap_or(setting.name), setting.example);
    let variable = format!("DOORWARD_{}", join(path, setting.name).replace('.', "__").to_uppercase());
    if Root::INFO.variables().iter().any(|known| known.name == variable) {
        let _ = writeln!(page, "- Environment: `{variable}`");
    }
}

/// Doc comments without the blank that follows their slashes.
pub(in crate::config) fn paragraph(about: &str) -> String {
    let lines: Vec<&str> = about.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n") + "\n"
}

const INTRODUCTION: &str = "\
# Configuration reference

<!-- Made from the program's own description of its settings; do not edit.
     To make it anew: cargo run -- check --reference > docs/configuration.md -->

Settings are read in four layers, each over the one before: built-in defaults, the TOML file, environment
variables, flags. `doorward check` lists every problem at once, each with its place and what to write instead.
Editors find much of it while one types, with the [JSON Schema](doorward.schema.json) of the file: name it in the
first line, `#:schema ./docs/doorward.schema.json`; `doorward check --schema` prints it.

- A list of one may be written as that one: `allow = \"viewer\"`.
- Durations are a number and a unit: `30s`, `5m`, `12h`, `14d`.
- File names are relative to the directory of the configuration file, or to the working directory without one.
- Every secret may stand in a file of its own, named by the same setting with `_file` at its end. One newline at
  the end of that file is left out. The file must not be open to others (mode 0640 or stricter); nor must the
  configuration file, if a secret stands in it.
- Environment variables are named `DOORWARD_SECTION__KEY`. Lists and tables are written there as TOML or JSON, a
  list of one also plainly. `DOORWARD_ADMIN_PASSWORD` and `DOORWARD_ADMIN_PASSWORD_FILE` are short for
  `DOORWARD_LOGIN__ADMIN_PASSWORD` and `DOORWARD_LOGIN__ADMIN_PASSWORD_FILE`.
";
