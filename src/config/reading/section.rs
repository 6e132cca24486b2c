//! How sections are described: once, by [`section!`].
//!
//! A description holds each setting's name, type, default, meaning and example. Reading, the search for unknown
//! keys, the names of environment variables and the reference page all come from it.

use crate::config::reading::reader::{Reader, Table, join};

/// What a section is for and which settings it has.
#[derive(Debug)]
pub(in crate::config) struct SectionInfo {
    pub(in crate::config) about: &'static str,
    pub(in crate::config) settings: &'static [Setting],
}

/// One setting.
#[derive(Debug)]
pub(in crate::config) struct Setting {
    pub(in crate::config) name: &'static str,
    /// A second name for the same, where one value and several both read well.
    pub(in crate::config) also: Option<&'static str>,
    pub(in crate::config) kind: &'static Kind,
    pub(in crate::config) required: bool,
    /// As TOML.
    pub(in crate::config) default: Option<&'static str>,
    pub(in crate::config) about: &'static str,
    /// As TOML.
    pub(in crate::config) example: &'static str,
}

impl Setting {
    /// Every key under which the setting may stand.
    pub(in crate::config) fn keys(&self) -> impl Iterator<Item = String> {
        let file = matches!(self.kind, Kind::Secret).then(|| format!("{}_file", self.name));
        [Some(self.name.to_owned()), self.also.map(str::to_owned), file].into_iter().flatten()
    }
}

/// The type of a setting.
#[derive(Debug)]
pub(in crate::config) enum Kind {
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
    pub(in crate::config) fn describe(&self) -> String {
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
pub(in crate::config) fn brief(seconds: u64) -> String {
    for (unit, size) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
        if seconds >= size && seconds.is_multiple_of(size) {
            return format!("{}{unit}", seconds / size);
        }
    }
    format!("{seconds}s")
}

/// A section as read; made by [`section!`].
pub(in crate::config) trait Section: Sized {
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
        pub(in crate::config) struct $section {
            place: String,
            $($(#[doc = $doc])* pub(in crate::config) $name: $type,)*
        }

        impl $crate::config::reading::section::Section for $section {
            const INFO: &'static $crate::config::reading::section::SectionInfo =
                &$crate::config::reading::section::SectionInfo {
                    about: concat!($($about, "\n"),*),
                    settings: &[$($crate::config::reading::section::Setting {
                        name: stringify!($name),
                        also: $crate::config::reading::section::first([$(Some(stringify!($also)),)? None]),
                        kind: <$type as $crate::config::reading::reader::Field>::KIND,
                        required: <$type as $crate::config::reading::reader::Field>::REQUIRED,
                        default: $crate::config::reading::section::first([$(Some($default),)? None]),
                        about: concat!($($doc, "\n"),*),
                        example: $example,
                    }),*],
                };

            fn place(&self) -> &str {
                &self.place
            }

            fn of(
                table: $crate::config::reading::reader::Table<'_>,
                reader: &mut $crate::config::reading::reader::Reader,
            ) -> Self {
                table.refuse_unknown(Self::INFO, reader);
                let mut settings = Self::INFO.settings.iter();
                Self {
                    place: table.path.to_owned(),
                    $($name: <$type as $crate::config::reading::reader::Field>::take(
                        table,
                        settings.next().expect("fields and settings come from one list"),
                        reader,
                    ),)*
                }
            }
        }

        impl $crate::config::reading::reader::Read for $section {
            const KIND: &'static $crate::config::reading::section::Kind =
                &$crate::config::reading::section::Kind::Table(<Self as $crate::config::reading::section::Section>::INFO);

            fn read(
                value: &figment::value::Value,
                path: &str,
                reader: &mut $crate::config::reading::reader::Reader,
            ) -> Option<Self> {
                let figment::value::Value::Dict(_, values) = value else {
                    reader.mismatch(value, path, Self::KIND);
                    return None;
                };
                Some($crate::config::reading::section::Section::of($crate::config::reading::reader::Table { path, values }, reader))
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
