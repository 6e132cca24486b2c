//! How settings are read: files, variables and flags in layers, sections by their descriptions, problems with their
//! places. Nothing here knows a setting.

mod description;
mod fault;
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
mod weakness;
pub(super) mod toml_values;

pub(super) use self::description::{Kind, SectionInfo, Setting, brief, join};
pub(super) use self::fault::Fault;
pub(super) use self::field::{Field, Read, Required, Table};
pub(super) use self::guard::guard_secrets;
pub(super) use self::layers::{Alias, Layer, merge, not_utf8};
pub(super) use self::nearest::nearest;
pub(super) use self::pem::{CertificateFile, KeyFile};
pub(super) use self::problem::Places;
pub use self::problem::{ConfigError, Place, Problem};
pub(super) use self::reader::Reader;
pub use self::secret_file::{SecretFileError, check_key_material, read_secret_file};
pub(super) use self::section::{Section, first, section};
pub use self::source::Source;
pub(super) use self::source::SourceFile;
pub(super) use self::values::{FromText, HostName, Name, Number, Prefix, Span, choice, text};
pub(super) use self::weakness::{distinct, is_guessable, repeats};
