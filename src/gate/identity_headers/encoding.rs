//! Encodes identity values as header values (RFC 9110, 5.5).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use crate::config::HeaderEncoding;

/// Bytes of text in one encoded word, so that the word has at most 75 characters (RFC 2047, 2).
const WORD_BYTES: usize = 45;

impl HeaderEncoding {
    /// A fact as it stands in a value. In a list, `marks` cannot stand inside of an item: they begin the next.
    ///
    /// Control characters become spaces. A fact has no white space at its ends, and an item of a list none of its marks:
    /// readers would take it for another one.
    pub(super) fn fact(self, text: &str, marks: &[char]) -> String {
        let text = if marks.is_empty() { text.trim_matches(is_control) } else { text };
        let text: String = text.chars().map(|c| if is_control(c) { ' ' } else { c }).collect();
        let is_escaped = match self {
            Self::Percent => true,
            _ => !marks.is_empty() && (text.contains(marks) || has_blank_end(&text) || looks_escaped(&text)),
        };
        if !is_escaped {
            return text;
        }
        let length = text.len();
        let begins = length - text.trim_start_matches(' ').len();
        let ends = text.trim_end_matches(' ').len();
        let mut written = String::with_capacity(length);
        for (at, c) in text.char_indices() {
            let inner_space = c == ' ' && (begins..ends).contains(&at);
            // What is not ASCII the other encodings write as they write all of a value.
            let left = c.is_ascii_graphic() || inner_space || (!c.is_ascii() && self != Self::Percent);
            if left && c != '%' && !marks.contains(&c) {
                written.push(c);
                continue;
            }
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                _ = write!(written, "%{byte:02X}");
            }
        }
        written
    }

    /// A whole value; `None` where nothing is left of it.
    pub(super) fn value(self, text: &str) -> Option<HeaderValue> {
        let text = text.trim_matches(' ');
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        let written = match self {
            Self::Percent | Self::Utf8 => {
                return HeaderValue::from_bytes(text.as_bytes()).ok().filter(is_something);
            }
            Self::QuotedPrintable => quoted_printable(text),
            Self::Rfc2047 if plain && !text.contains("=?") => text.to_owned(),
            Self::Rfc2047 => encoded_words(text),
        };
        HeaderValue::try_from(written).ok().filter(is_something)
    }
}

fn is_something(value: &HeaderValue) -> bool {
    !value.is_empty()
}

/// Also what ends a line or a paragraph without being a control character of Unicode.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

fn has_blank_end(text: &str) -> bool {
    text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace)
}

/// Whether a text could be an escaped one: then it is escaped itself, so that no two texts are written alike.
fn looks_escaped(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes
        .windows(3)
        .any(|three| matches!(three, [b'%', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()))
}

/// RFC 2045, 6.7, without its line breaks.
fn quoted_printable(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (byte.is_ascii_graphic() || byte == b' ') && byte != b'=' {
            written.push(char::from(byte));
        } else {
            _ = write!(written, "={byte:02X}");
        }
    }
    written
}

/// RFC 2047: whole characters in each word.
fn encoded_words(text: &str) -> String {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.floor_char_boundary(WORD_BYTES.min(rest.len()));
        let (word, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(word)));
        rest = after;
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [HeaderEncoding; 4] = [
        HeaderEncoding::Percent,
        HeaderEncoding::Utf8,
        HeaderEncoding::QuotedPrintable,
        HeaderEncoding::Rfc2047,
    ];

    fn written(encoding: HeaderEncoding, text: &str) -> Option<String> {
        let value = encoding.value(&encoding.fact(text, &[]))?;
        Some(String::from_utf8(value.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn a_name_is_written_as_its_reader_reads_it() {
        for (text, wanted) in [
            ("John Smith", ["John Smith"; 4]),
            ("Zoë M.", ["Zo%C3%AB M.", "Zoë M.", "Zo=C3=AB M.", "=?UTF-8?B?Wm/DqyBNLg==?="]),
            ("100% =x", ["100%25 =x", "100% =x", "100% =3Dx", "100% =x"]),
            (" a ", ["%20a%20", "a", "a", "a"]),
            ("a=?b", ["a=?b", "a=?b", "a=3D?b", "=?UTF-8?B?YT0/Yg==?="]),
        ] {
            let seen = ALL.map(|encoding| written(encoding, text).unwrap());
            assert_eq!(seen, wanted, "{text:?}");
        }
    }

    #[test]
    fn control_characters_never_pass() {
        for control in ["\r\n", "\0", "\t", "\u{7f}", "\u{85}", "\u{9f}", "\u{2028}"] {
            for encoding in ALL {
                let text = format!("a{control}X-Auth-Role: admin");
                let seen = written(encoding, &text).unwrap();
                assert!(!seen.contains(control) && !seen.contains("%0") && !seen.contains("=0"), "{seen:?}");
                assert!(HeaderValue::from_bytes(seen.as_bytes()).is_ok(), "{seen:?}");
                assert_eq!(written(encoding, control), None, "nothing is left of it");
            }
        }
    }

    #[test]
    fn no_item_of_a_list_can_be_taken_for_two_or_for_another() {
        let items = ["a,b", "a", "b", "a%2Cb", "a%252Cb", " a", "a ", "bü,ro", "büro", "a b", "%", "100%"];
        for encoding in ALL {
            let facts = items.map(|item| encoding.fact(item, &[',']));
            for (at, fact) in facts.iter().enumerate() {
                assert!(
                    !fact.contains(',') && fact.trim() == fact && !fact.is_empty(),
                    "{encoding:?} {fact:?}"
                );
                assert!(!facts.iter().skip(at + 1).any(|other| other == fact), "{encoding:?} {fact:?}");
            }
        }
    }

    #[test]
    fn words_are_short_and_hold_whole_characters() {
        let text = "é€𝄞".repeat(40);
        let words = written(HeaderEncoding::Rfc2047, &text).unwrap();
        let mut back = String::new();
        for word in words.split(' ') {
            assert!(word.len() <= 75, "{word}");
            let inner = word.strip_prefix("=?UTF-8?B?").and_then(|word| word.strip_suffix("?=")).unwrap();
            back.push_str(std::str::from_utf8(&STANDARD.decode(inner).unwrap()).unwrap());
        }
        assert_eq!(back, text);
    }
}
