//! Refuses secrets in a configuration file that other users can read.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use figment::value::Dict;

use super::description::SectionInfo;
use super::reader::SettingsReader;
use super::secret_file::LOOSE;

/// Notes every secret among the values that stands in `file`, if that is open to others.
pub(in crate::config) fn guard_secrets(
    file: &Path,
    root: &SectionInfo,
    values: &Dict,
    reader: &mut SettingsReader,
) {
    let mode = std::fs::metadata(file).map_or(0, |found| found.permissions().mode());
    if mode & LOOSE == 0 {
        return;
    }
    for path in root.secrets(values) {
        if reader.location(&path).line().is_some() {
            let what = format!("is a secret in a file whose mode {:04o} lets others in", mode & 0o7777);
            let remedy =
                format!("chmod 0640 the file, or put the secret into a file of its own with `{path}_file`");
            reader.problem(&path, what, remedy);
        }
    }
}
