//! How settings are read: files, variables and flags in layers, sections by their descriptions, problems with their
//! places. Nothing here knows a setting.

mod description;
mod invalid_value;
mod field;
mod guard;
mod layers;
mod nearest;
mod pem;
mod problem;
mod reader;
mod secret_file;
mod section;
mod source;
mod values;
mod entropy;
pub(super) mod toml_values;

pub(super) use self::description::{SectionInfo, Setting, SettingType, brief, join};
pub(super) use self::entropy::{distinct, is_guessable, repeats};
pub(super) use self::field::{Read, Required, SectionField, SectionValues};
pub(super) use self::guard::guard_secrets;
pub(super) use self::invalid_value::InvalidValue;
pub(super) use self::layers::{Alias, Layer, merge, not_utf8};
pub(super) use self::nearest::nearest;
pub(super) use self::pem::{CertificateFile, KeyFile};
pub(super) use self::problem::SettingLocations;
pub use self::problem::{ConfigError, ConfigProblem, SettingLocation};
pub(super) use self::reader::SettingsReader;
pub use self::secret_file::{SecretFileError, check_key_material, read_secret_file};
pub(super) use self::section::{Section, first, section};
pub use self::source::ConfigSource;
pub(super) use self::source::SourceFile;
pub(super) use self::values::{FromText, HostName, Number, Prefix, ReferenceName, Span, choice, text};
