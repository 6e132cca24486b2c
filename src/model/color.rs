//! Colours, and how well one can be read on another.

use std::fmt;

/// The least contrast of text with what is behind it (WCAG 2.2, 1.4.3, level AA).
pub const READABLE: f64 = 4.5;

/// An opaque sRGB colour; printed as `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color([u8; 3]);

impl Color {
    /// `#000000`.
    pub const BLACK: Self = Self([0; 3]);
    /// `#ffffff`.
    pub const WHITE: Self = Self([255; 3]);

    /// Of red, green and blue.
    pub const fn new(red: u8, green: u8, blue: u8) -> Self {
        Self([red, green, blue])
    }

    /// Reads `#rrggbb`, in hexadecimal digits of either case.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let part = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        Some(Self([part(0)?, part(2)?, part(4)?]))
    }

    /// The contrast of the two, from 1 to 21 (WCAG 2.2, contrast ratio).
    pub fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// WCAG 2.2, relative luminance.
    fn luminance(self) -> f64 {
        let linear = |part: u8| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        let [red, green, blue] = self.0.map(linear);
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    /// Mixed with so many 255ths of another colour.
    #[must_use]
    pub fn mixed(self, other: Self, share: u8) -> Self {
        let share = u16::from(share);
        let mix = |a: u8, b: u8| {
            let sum = u16::from(a) * (255 - share) + u16::from(b) * share;
            u8::try_from((sum + 127) / 255).unwrap_or(u8::MAX)
        };
        let ([r, g, b], [red, green, blue]) = (self.0, other.0);
        Self([mix(r, red), mix(g, green), mix(b, blue)])
    }

    /// The nearest shade, mixed with `end`, that can be read on `ground`; `end` itself where there is none.
    #[must_use]
    pub fn readable_on(self, ground: Self, end: Self) -> Self {
        (0..=u8::MAX)
            .map(|share| self.mixed(end, share))
            .find(|shade| shade.contrast(ground) >= READABLE)
            .unwrap_or(end)
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn color(text: &str) -> Color {
        Color::parse(text).unwrap()
    }

    #[test]
    fn only_six_digits_after_a_hash_are_a_color() {
        assert_eq!(color("#0F6354").to_string(), "#0f6354");
        for text in
            ["", "#", "0f6354", "#0f635", "#0f63544", "#0f6 54", "#+f6354", "#ggg000", "teal", "#éé00"]
        {
            assert_eq!(Color::parse(text), None, "{text}");
        }
    }

    #[test]
    fn contrast_is_what_others_measure() {
        for (a, b, expected) in [
            ("#000000", "#ffffff", 21.0),
            ("#ffffff", "#ffffff", 1.0),
            ("#777777", "#ffffff", 4.478),
            ("#767676", "#ffffff", 4.542),
            ("#0000ff", "#ffffff", 8.592),
            ("#ff0000", "#000000", 5.252),
        ] {
            let (a, b) = (color(a), color(b));
            assert!((a.contrast(b) - expected).abs() < 0.001, "{a} {b}: {}", a.contrast(b));
            assert!((a.contrast(b) - b.contrast(a)).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn a_shade_goes_just_as_far_as_it_must() {
        let (orange, white, black) = (color("#ff6600"), Color::WHITE, Color::BLACK);
        assert_eq!((orange.mixed(white, 0), orange.mixed(white, 255)), (orange, white));
        let shade = orange.readable_on(white, black);
        assert!(shade != orange && (READABLE..4.6).contains(&shade.contrast(white)), "{shade}");
        assert_eq!(black.readable_on(white, black), black, "one that can be read stays");
        assert_eq!(white.readable_on(white, white), white, "there is none");
    }
}
