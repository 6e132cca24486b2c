//! Normalises passwords (RFC 8265, `OpaqueString`).

use unicode_normalization::UnicodeNormalization as _;

/// NFC, and every space a plain one, as the profile `OpaqueString` has it (RFC 8265, 4.2).
pub fn unified(password: &str) -> String {
    const SPACES: [char; 8] =
        ['\u{a0}', '\u{1680}', '\u{202f}', '\u{205f}', '\u{3000}', '\u{2000}', '\u{2001}', '\u{2002}'];
    let plain = |c: char| if SPACES.contains(&c) || ('\u{2003}'..='\u{200a}').contains(&c) { ' ' } else { c };
    password.chars().map(plain).nfc().collect()
}
