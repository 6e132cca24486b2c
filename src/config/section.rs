//! How sections are described: once, by [`section!`].
//!
//! A description holds each setting's name, type, default, meaning and example. Reading, the search for unknown
//! keys, the names of environment variables and the reference page all come from it.

use super::reader::{Reader, Table, join};

/// What a section is for and which settings it has.
#[derive(Debug)]
pub(super) struct SectionInfo {
    pub(super) about: &'static str,
    pub(super) settings: &'static [Setting],
}

/// One setting.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// A second name for the same, where one value and several both read well.
    pub(super) also: Option<&'static str>,
    pub(super) kind: &'static Kind,
    pub(super) required: bool,
    /// As TOML.
    pub(super) default: Option<&'static str>,
    pub(super) about: &'static str,
    /// As TOML.
    pub(super) example: &'static str,
}

impl Setting {
    /// Every key under which the setting may stand.
    pub(super) fn keys(&self) -> impl Iterator<Item = String> {
        let file = matches!(self.kind, Kind::Secret).then(|| format!("{}_file", self.name));
        [Some(self.name.to_owned()), self.also.map(str::to_owned), file].into_iter().flatten()
    }
}

/// The type of a setting.
#[derive(Debug)]
pub(super) enum Kind {
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
    Secret,
    /// Several, or a single one written plainly.
    List(&'static Kind),
    Table(&'static SectionInfo),
    /// Any value of these, said in a few words.
    Any(&'static str),
    /// A table whose keys are the operator's own.
    Map(&'static Kind),
}

impl Kind {
    /// The type in a few words that fit after "should be".
    pub(super) fn describe(&self) -> String {
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
            Self::Secret => "text that is kept secret".into(),
            Self::List(Self::Table(_)) => "a list of tables".into(),
            Self::List(item) => format!("a list; each item {}", item.describe()),
            Self::Table(_) => "a table".into(),
            Self::Map(value) => format!("a table of your own names; each value {}", value.describe()),
        }
    }
}

/// Seconds in the largest unit that fits without rest.
pub(super) fn brief(seconds: u64) -> String {
    for (unit, size) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
        if seconds >= size && seconds.is_multiple_of(size) {
            return format!("{}{unit}", seconds / size);
        }
    }
    format!("{seconds}s")
}

/// A section as read; made by [`section!`].
pub(super) trait Section: Sized {
    const INFO: &'static SectionInfo;

    /// The section's path, such as `upstreams[0].tls`.
    fn place(&self) -> &str;

    /// Reads what is there, fills in defaults and notes every problem.
    fn of(table: Table<'_>, reader: &mut Reader) -> Self;

    /// The path of one of its settings.
    fn at(&self, name: &str) -> String {
        join(self.place(), name)
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
        #[derive(Debug)]
        pub(super) struct $section {
            place: String,
            $($(#[doc = $doc])* pub(super) $name: $type,)*
        }

        impl $crate::config::section::Section for $section {
            const INFO: &'static $crate::config::section::SectionInfo =
                &$crate::config::section::SectionInfo {
                    about: concat!($($about, "\n"),*),
                    settings: &[$($crate::config::section::Setting {
                        name: stringify!($name),
                        also: $crate::config::section::first([$(Some(stringify!($also)),)? None]),
                        kind: <$type as $crate::config::reader::Field>::KIND,
                        required: <$type as $crate::config::reader::Field>::REQUIRED,
                        default: $crate::config::section::first([$(Some($default),)? None]),
                        about: concat!($($doc, "\n"),*),
                        example: $example,
                    }),*],
                };

            fn place(&self) -> &str {
                &self.place
            }

            fn of(
                table: $crate::config::reader::Table<'_>,
                reader: &mut $crate::config::reader::Reader,
            ) -> Self {
                table.refuse_unknown(Self::INFO, reader);
                let mut settings = Self::INFO.settings.iter();
                Self {
                    place: table.path.to_owned(),
                    $($name: <$type as $crate::config::reader::Field>::take(
                        table,
                        settings.next().expect("fields and settings come from one list"),
                        reader,
                    ),)*
                }
            }
        }

        impl $crate::config::reader::Read for $section {
            const KIND: &'static $crate::config::section::Kind =
                &$crate::config::section::Kind::Table(<Self as $crate::config::section::Section>::INFO);

            fn read(
                value: &figment::value::Value,
                path: &str,
                reader: &mut $crate::config::reader::Reader,
            ) -> Option<Self> {
                let figment::value::Value::Dict(_, values) = value else {
                    reader.mismatch(value, path, Self::KIND);
                    return None;
                };
                Some($crate::config::section::Section::of($crate::config::reader::Table { path, values }, reader))
            }
        }
    };
}
pub(super) use section;

/// The first of one or two; lets [`section!`] leave out what is optional.
pub(super) const fn first<const N: usize>(texts: [Option<&'static str>; N]) -> Option<&'static str> {
    let [first, ..] = texts.as_slice() else { return None };
    *first
}
