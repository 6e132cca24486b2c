//! The look of our pages: the style sheet and the logo, as shipped or as the settings say.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::config::{LogoFormat, PagesConfig};
use crate::model::color::Color;

/// The style sheet, but for colours of one's own.
const STYLE: &[u8] = include_bytes!("static/doorward.css");
/// The door, which pages hold themselves; here as the icon of every page.
const LOGO: &[u8] = include_bytes!("static/logo.svg");

/// Parts of 255 of black or white in an accent that is pointed at.
const STRONG: u8 = 64;

/// The look of our pages. Made once for each configuration.
#[derive(Debug)]
pub(super) struct Theme {
    pub(super) name: String,
    pub(super) style: Bytes,
    pub(super) logo: Bytes,
    pub(super) logo_format: LogoFormat,
    /// Whether pages show the logo's file instead of the door.
    pub(super) own_logo: bool,
    /// Changes whenever style or logo do, so that browsers may keep them without asking.
    pub(super) version: String,
}

impl Theme {
    pub(super) fn new(pages: &PagesConfig) -> Self {
        let style = match colors(pages) {
            colors if colors.is_empty() => Bytes::from_static(STYLE),
            colors => [STYLE, colors.as_bytes()].concat().into(),
        };
        let (logo, logo_format) = match &pages.logo {
            Some(logo) => (logo.bytes.clone(), logo.format),
            None => (Bytes::from_static(LOGO), LogoFormat::Svg),
        };
        let digest = Sha256::new().chain_update(&style).chain_update(&logo).finalize();
        Self {
            name: pages.name.clone(),
            style,
            logo,
            logo_format,
            own_logo: pages.logo.is_some(),
            version: URL_SAFE_NO_PAD.encode(digest.first_chunk::<9>().unwrap_or(&[0; 9])),
        }
    }

    /// The name of the logo's file.
    pub(super) fn logo_name(&self) -> &'static str {
        match self.logo_format {
            LogoFormat::Svg => "logo.svg",
            LogoFormat::Png => "logo.png",
        }
    }

    /// What the logo is, for `Content-Type`.
    pub(super) fn logo_type(&self) -> &'static str {
        match self.logo_format {
            LogoFormat::Svg => "image/svg+xml",
            LogoFormat::Png => "image/png",
        }
    }
}

/// What the style sheet ends with to have the colours of the settings.
///
/// A colour that can be read on a light page can be written on in white, and one for a dark page in black; so can
/// the strong shades, which go away from the page.
fn colors(pages: &PagesConfig) -> String {
    let mut css = String::new();
    if let Some(accent) = pages.color {
        let strong = accent.mixed(Color::BLACK, STRONG);
        let door = [strong, accent];
        _ = write!(css, "\n:root {{\n{}}}\n", declarations(accent, strong, Color::WHITE, accent, door));
    }
    if let Some(accent) = pages.color_dark {
        let strong = accent.mixed(Color::WHITE, STRONG);
        let door = [accent.mixed(Color::BLACK, 2 * STRONG), accent.mixed(Color::BLACK, STRONG)];
        let dark = declarations(accent, strong, Color::BLACK, strong, door);
        _ = write!(css, "\n@media (prefers-color-scheme: dark) {{\n:root {{\n{dark}}}\n}}\n");
    }
    css
}

fn declarations(accent: Color, strong: Color, on: Color, focus: Color, [frame, leaf]: [Color; 2]) -> String {
    format!(
        "  --accent: {accent};\n  --accent-strong: {strong};\n  --on-accent: {on};\n  --focus: {focus};\n  \
         --logo-frame: {frame};\n  --logo-leaf: {leaf};\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DARK_PAGE, LIGHT_PAGE};
    use crate::model::color::READABLE;

    fn text(theme: &Theme) -> &str {
        std::str::from_utf8(&theme.style).unwrap()
    }

    fn value(block: &str, name: &str) -> Color {
        let (_, rest) = block.split_once(&format!("--{name}: ")).unwrap();
        Color::parse(&rest[..7]).unwrap()
    }

    #[test]
    fn what_settings_are_measured_against_is_what_pages_have() {
        let theme = Theme::new(&PagesConfig::default());
        let (light, dark) = text(&theme).split_once("@media (prefers-color-scheme: dark)").unwrap();
        assert_eq!((value(light, "door"), value(dark, "door")), (LIGHT_PAGE, DARK_PAGE));
        for (block, page) in [(light, LIGHT_PAGE), (dark, DARK_PAGE)] {
            assert!(value(block, "accent").contrast(page) >= READABLE, "the default would be taken as well");
        }
    }

    #[test]
    fn without_settings_the_style_is_the_file() {
        let theme = Theme::new(&PagesConfig::default());
        assert_eq!((&theme.style[..], &theme.logo[..], theme.own_logo), (STYLE, LOGO, false));
        let named = Theme::new(&PagesConfig { name: "Other".to_owned(), ..PagesConfig::default() });
        assert_eq!((named.name.as_str(), &named.version), ("Other", &theme.version));
    }

    #[test]
    fn everything_can_be_read_whatever_color_is_chosen() {
        let (mut light, mut dark) = (0, 0);
        let steps = || (0..=u8::MAX).step_by(15);
        for (red, green, blue) in
            steps().flat_map(|r| steps().flat_map(move |g| steps().map(move |b| (r, g, b))))
        {
            let color = Color::new(red, green, blue);
            for (page, count) in [(LIGHT_PAGE, &mut light), (DARK_PAGE, &mut dark)] {
                if color.contrast(page) < READABLE {
                    continue;
                }
                *count += 1;
                let mut pages = PagesConfig::default();
                let chosen = if page == LIGHT_PAGE { &mut pages.color } else { &mut pages.color_dark };
                *chosen = Some(color);
                let css = colors(&pages);
                let [accent, strong, on, focus] =
                    ["accent", "accent-strong", "on-accent", "focus"].map(|name| value(&css, name));
                assert_eq!(accent, color);
                for pair in [(strong, page), (focus, page), (on, accent), (on, strong)] {
                    assert!(pair.0.contrast(pair.1) >= READABLE, "{color}: {pair:?} in {css}");
                }
            }
        }
        assert!(light > 1000 && dark > 1000, "{light} and {dark} of 5832");
    }

    #[test]
    fn another_color_is_another_version() {
        let versions = ["#1d4ed8", "#1d4ed9"].map(|color| {
            let color = Color::parse(color);
            [(color, None), (None, color)].map(|(color, color_dark)| {
                Theme::new(&PagesConfig { color, color_dark, ..PagesConfig::default() }).version
            })
        });
        let mut versions = versions.concat();
        versions.push(Theme::new(&PagesConfig::default()).version);
        versions.sort();
        versions.dedup();
        assert_eq!(versions.len(), 5);
    }
}
