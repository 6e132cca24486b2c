//! How sections are described: once, by [`section!`].
//!
//! A description holds each setting's name, type, default, meaning and example. Reading, the search for unknown
//! keys, the names of environment variables and the reference page all come from it.

use super::description::{SectionInfo, join};
use super::field::SectionValues;
use super::reader::SettingsReader;

/// A section as read; made by [`section!`].
pub(in crate::config) trait Section: Sized {
    const INFO: &'static SectionInfo;

    /// The section's path, such as `upstreams[0].tls`.
    fn location(&self) -> &str;

    /// Reads what is there, fills in defaults and notes every problem.
    fn of(table: SectionValues<'_>, reader: &mut SettingsReader) -> Self;

    /// The path of one of its settings.
    fn at(&self, name: &str) -> String {
        join(self.location(), name)
    }
}

/// Describes a section and derives its type and reading from the description.
///
/// `name: type = "default as TOML", "example as TOML";` with the meaning as doc comment.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        $section:ident {
            $($(#[doc = $doc:literal])*
            $name:ident $(or $also:ident)?: $type:ty $(= $default:literal)?, $example:literal;)*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug)]
        pub(in crate::config) struct $section {
            location: String,
            $($(#[doc = $doc])* pub(in crate::config) $name: $type,)*
        }

        impl $crate::config::reading::Section for $section {
            const INFO: &'static $crate::config::reading::SectionInfo =
                &$crate::config::reading::SectionInfo {
                    about: concat!($($about, "\n"),*),
                    settings: &[$($crate::config::reading::Setting {
                        name: stringify!($name),
                        also: $crate::config::reading::first([$(Some(stringify!($also)),)? None]),
                        kind: <$type as $crate::config::reading::SectionField>::KIND,
                        required: <$type as $crate::config::reading::SectionField>::REQUIRED,
                        default: $crate::config::reading::first([$(Some($default),)? None]),
                        about: concat!($($doc, "\n"),*),
                        example: $example,
                    }),*],
                };

            fn location(&self) -> &str {
                &self.location
            }

            fn of(
                table: $crate::config::reading::SectionValues<'_>,
                reader: &mut $crate::config::reading::SettingsReader,
            ) -> Self {
                table.refuse_unknown(Self::INFO, reader);
                let mut settings = Self::INFO.settings.iter();
                Self {
                    location: table.path.to_owned(),
                    $($name: <$type as $crate::config::reading::SectionField>::take(
                        table,
                        settings.next().expect("fields and settings come from one list"),
                        reader,
                    ),)*
                }
            }
        }

        impl $crate::config::reading::Read for $section {
            const KIND: &'static $crate::config::reading::SettingType =
                &$crate::config::reading::SettingType::Table(<Self as $crate::config::reading::Section>::INFO);

            fn read(
                value: &figment::value::Value,
                path: &str,
                reader: &mut $crate::config::reading::SettingsReader,
            ) -> Option<Self> {
                let figment::value::Value::Dict(_, values) = value else {
                    reader.mismatch(value, path, Self::KIND);
                    return None;
                };
                Some($crate::config::reading::Section::of($crate::config::reading::SectionValues { path, values }, reader))
            }
        }
    };
}
pub(in crate::config) use section;

/// The first of one or two; lets [`section!`] leave out what is optional.
pub(in crate::config) const fn first<const N: usize>(
    texts: [Option<&'static str>; N],
) -> Option<&'static str> {
    let [first, ..] = texts.as_slice() else { return None };
    *first
}
