//! [`load`]: from file, environment and flags to a checked [`Config`].

use std::path::Path;

use super::flags::Flags;
use super::reading::{
    Alias, ConfigError, ConfigSource, Section, SectionValues, SettingLocation, SettingsReader, SourceFile,
    guard_secrets, merge,
};
use super::sections::store::check_variables;
use super::{Config, Root};

/// What the environment may set beside the settings by their own names.
const ALIASES: [Alias; 2] = [
    ("DOORWARD_ADMIN_PASSWORD", &["login", "admin_password"]),
    ("DOORWARD_ADMIN_PASSWORD_FILE", &["login", "admin_password_file"]),
];

/// Reads defaults, file, environment and flags, each over the one before.
///
/// # Errors
///
/// [`ConfigError`] with *every* problem, in the order of the file. A file that cannot be read or is not TOML
/// is the only problem then.
pub fn load(source: &ConfigSource, flags: &Flags) -> Result<Config, ConfigError> {
    read(source, flags, &mut Vec::new())
}

/// [`load`], which also tells how every file was that it read, the configuration file first.
pub(super) fn read(
    source: &ConfigSource,
    flags: &Flags,
    files: &mut Vec<SourceFile>,
) -> Result<Config, ConfigError> {
    let layers = |before: &_, problems: &mut _| flags.layers(before, problems);
    let merged = merge(source, (Root::INFO, &ALIASES), layers, files).map_err(ConfigError::new)?;
    let directory = source.file.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
    let home = source.file.clone().map_or(SettingLocation::Nowhere, SettingLocation::File);
    let mut reader = SettingsReader::new(Root::INFO, merged.locations, home, directory);
    reader.problems = merged.problems;
    let root = Root::of(SectionValues { path: "", values: &merged.values }, &mut reader);
    if let Some(file) = &source.file {
        guard_secrets(file, Root::INFO, &merged.values, &mut reader);
    }
    let config = Config::check(root, &mut reader);
    check_variables(&config.store, &source.environment, &mut reader);
    files.append(&mut reader.files);
    if reader.problems.is_empty() { Ok(config) } else { Err(ConfigError::new(reader.problems)) }
}
