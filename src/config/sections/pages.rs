//! How our own pages look: name, logo and colours, such that everything on them can be read.

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;
use figment::value::Value;
use sha2::{Digest as _, Sha256};

use crate::config::reading::{FromText, InvalidValue, Read, Section, SettingType, SettingsReader, section};
use crate::config::sections::general::{CheckSection, General};
use crate::model::color::Color;
use crate::model::color::READABLE;

/// What text of our pages stands on in a light scheme.
pub const LIGHT_PAGE: Color = Color::new(0xff, 0xfe, 0xfb);
/// What text of our pages stands on in a dark scheme.
pub const DARK_PAGE: Color = Color::new(0x18, 0x21, 0x1f);

/// Bytes of a logo.
const LARGEST_LOGO: u64 = 256 * 1024;

section! {
    /// How the gateway's own pages look: sign-in, account, errors.
    Pages {
        /// The name above every page and in its title, 1 to 64 visible characters.
        name: PageName = r#""Doorward""#, r#""Example Dashboards""#;
        /// SVG or PNG file of the logo, also the icon in browsers' tabs; at most 256 KiB. It should be seen on light and
        /// dark. By default a door in the colours of the pages.
        logo: Option<Logo>, r#""logo.svg""#;
        /// Colour of buttons and links, as `#rrggbb`. Its contrast with a light page is at least 4.5:1. By default green.
        color: Option<Color>, r##""#1d4ed8""##;
        /// The same for browsers that prefer dark, with that contrast to a dark page. By default the nearest lighter
        /// shade of `color` that has it.
        color_dark: Option<Color>, r##""#93b4fd""##;
    }
}

/// How our own pages look.
#[derive(Clone, Debug)]
pub struct PagesConfig {
    /// The name on every page. Any text: templates escape it.
    pub name: String,
    /// Instead of the door.
    pub logo: Option<Logo>,
    /// Colour of buttons and links that can be read on [`LIGHT_PAGE`]; `None`: as built in.
    pub color: Option<Color>,
    /// The same, on [`DARK_PAGE`].
    pub color_dark: Option<Color>,
}

impl Default for PagesConfig {
    fn default() -> Self {
        Self { name: "Doorward".to_owned(), logo: None, color: None, color_dark: None }
    }
}

/// An image.
#[derive(Clone)]
pub struct Logo {
    /// What its first bytes say it is.
    pub format: LogoFormat,
    /// The file, as it was when the settings were read.
    pub bytes: Bytes,
}

impl fmt::Debug for Logo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Logo({:?}, {:x?})", self.format, Sha256::digest(&self.bytes))
    }
}

/// What browsers show as an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogoFormat {
    /// Scalable Vector Graphics.
    Svg,
    /// Portable Network Graphics.
    Png,
}

impl CheckSection for Pages {
    type Typed = PagesConfig;

    fn check(self, _: &General, reader: &mut SettingsReader) -> PagesConfig {
        let given = self.color;
        let color = given.filter(|color| is_readable(*color, "color", &self, reader));
        let color_dark = match self.color_dark {
            Some(dark) => Some(dark).filter(|dark| is_readable(*dark, "color_dark", &self, reader)),
            None => color.map(|color| color.readable_on(DARK_PAGE, Color::WHITE)),
        };
        PagesConfig { name: self.name.0, logo: self.logo, color, color_dark }
    }
}

/// Whether links of a colour can be read; says what is lacking.
fn is_readable(color: Color, setting: &str, pages: &Pages, reader: &mut SettingsReader) -> bool {
    let (page, scheme, way, end) = match setting {
        "color" => (LIGHT_PAGE, "light", "darker", Color::BLACK),
        _ => (DARK_PAGE, "dark", "lighter", Color::WHITE),
    };
    let contrast = color.contrast(page);
    if contrast >= READABLE {
        return true;
    }
    // Rounded down: what falls short by little must not read as enough.
    let reached = (contrast * 100.0).floor() / 100.0;
    let what = format!(
        "has a contrast of {reached:.2}:1 with a {scheme} page ({page}), but text needs {READABLE}:1"
    );
    let shade = color.readable_on(page, end);
    reader.problem(&pages.at(setting), what, format!("write a {way} colour, such as \"{shade}\""));
    false
}

/// The name on every page.
#[derive(Clone, Debug)]
pub(in crate::config) struct PageName(String);

impl FromText for PageName {
    const WHAT: &'static SettingType = &SettingType::Text("1 to 64 visible characters");

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        // Marks that only turn the direction of text or are nothing at all; joiners belong into words.
        let unseen = |c| matches!(c, '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        let clean = !text.chars().any(|c| c.is_control() || unseen(c)) && text.trim() == text;
        if clean && (1..=64).contains(&text.chars().count()) {
            Ok(Self(text.to_owned()))
        } else {
            Err("is not a name: write 1 to 64 visible characters, without blanks at either end".into())
        }
    }
}

impl FromText for Color {
    const WHAT: &'static SettingType = &SettingType::Text("a colour as #rrggbb");

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let example = "is not a colour: write # and six hexadecimal digits, such as \"#1d4ed8\"";
        Self::parse(text).ok_or_else(|| example.into())
    }
}

impl Read for Logo {
    const KIND: &'static SettingType = &SettingType::Text("the name of an SVG or PNG file");

    fn read(value: &Value, path: &str, reader: &mut SettingsReader) -> Option<Self> {
        let unreadable = reader.unreadable(value.as_str().unwrap_or_default());
        let file = value.as_str().map(|name| reader.source(name)).unwrap_or_default();
        reader.parse(value, path, Self::KIND, |_| read_logo(&file, unreadable))
    }
}

fn read_logo(file: &Path, unreadable: impl Fn(std::io::Error) -> InvalidValue) -> Result<Logo, InvalidValue> {
    if !std::fs::metadata(file).map_err(&unreadable)?.is_file() {
        return Err(InvalidValue::new("is not a regular file", "name an SVG or PNG file"));
    }
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(&unreadable)?;
    opened.take(LARGEST_LOGO + 1).read_to_end(&mut bytes).map_err(&unreadable)?;
    if bytes.len() as u64 > LARGEST_LOGO {
        return Err(InvalidValue::new("the image is larger than 256 KiB", "name a smaller one"));
    }
    let Some(format) = format_of(&bytes) else {
        return Err(InvalidValue::new("the file is neither SVG nor PNG", "name one that is; not .svgz"));
    };
    Ok(Logo { format, bytes: bytes.into() })
}

/// What a file is by how it begins.
fn format_of(bytes: &[u8]) -> Option<LogoFormat> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") {
        return Some(LogoFormat::Png);
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    loop {
        rest = rest.trim_ascii_start();
        if let Some(root) = rest.strip_prefix("<svg") {
            return root.starts_with([' ', '\t', '\r', '\n', '>', '/']).then_some(LogoFormat::Svg);
        }
        // A document type with declarations of its own is refused: entities can be made to grow.
        let end = [("<?xml", "?>"), ("<!--", "-->"), ("<!DOCTYPE svg", ">")]
            .into_iter()
            .find_map(|(start, end)| rest.starts_with(start).then_some(end))?;
        (_, rest) = rest.split_once(end)?;
    }
}
