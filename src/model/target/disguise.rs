//! Characters that become another path once a program folds them: compatibility forms (Unicode, NFKC and NFKD),
//! lookalikes of separators, marks and invisible characters.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Beyond ASCII, what holds a separator, an escape's beginning or a control once it is folded, or dots alone. Sorted.
///
/// A test derives the list from the whole of Unicode.
const DISGUISES: &[char] = &[
    '\u{37E}', '\u{2024}', '\u{2025}', '\u{2026}', '\u{2047}', '\u{2048}', '\u{2049}', '\u{2100}',
    '\u{2101}', '\u{2105}', '\u{2106}', '\u{FE14}', '\u{FE16}', '\u{FE19}', '\u{FE30}', '\u{FE52}',
    '\u{FE54}', '\u{FE56}', '\u{FE5F}', '\u{FE68}', '\u{FE6A}', '\u{FF03}', '\u{FF05}', '\u{FF0E}',
    '\u{FF0F}', '\u{FF1B}', '\u{FF1F}', '\u{FF3C}',
];

/// What has no compatibility form and yet is made a separator by "best fit" conversions, as those of Windows to a
/// code page are, or drawn as one.
const LOOKALIKES: &[(char, char)] = &[
    ('\u{2044}', '/'),
    ('\u{2215}', '/'),
    ('\u{2216}', '\\'),
    ('\u{29F5}', '\\'),
    ('\u{29F8}', '/'),
    ('\u{29F9}', '\\'),
];

/// Whether a path means something else once this character of it is folded.
pub(super) fn hides_structure(c: char) -> bool {
    !c.is_ascii() && (DISGUISES.binary_search(&c).is_ok() || lookalike(c) != c)
}

fn lookalike(c: char) -> char {
    LOOKALIKES.iter().find_map(|(disguise, plain)| (*disguise == c).then_some(*plain)).unwrap_or(c)
}

/// A text as the most careless of programs folds it: compatibility forms, separators for their lookalikes, no marks
/// and nothing that is not seen (as HFS+ ignores it). Letter case stays.
pub(super) fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.nfkd().filter(|c| !is_combining_mark(*c) && !is_unseen(*c)).map(lookalike).collect())
}

/// Default ignorable code points (Unicode, `DerivedCoreProperties.txt`) that are no marks.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180E}'
        | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FEFF}'
        | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What gives a path its structure, and the control characters that cut or split it.
    fn is_structure(c: char) -> bool {
        "/\\%;?#".contains(c) || c.is_control()
    }

    #[test]
    fn the_list_is_what_the_whole_of_unicode_says() {
        let hides = |form: &str| form.chars().any(is_structure) || form.chars().all(|c| c == '.');
        let derived: Vec<char> = ('\u{80}'..=char::MAX)
            .filter(|c| !c.is_control())
            .filter(|c| {
                let text = c.to_string();
                hides(&text.nfkc().collect::<String>()) || hides(&text.nfkd().collect::<String>())
            })
            .collect();
        assert_eq!(derived, DISGUISES);
        assert!(derived.len() > 20 && DISGUISES.is_sorted());
    }

    #[test]
    fn whatever_folds_to_structure_is_said_to_hide_it() {
        for c in '\u{80}'..=char::MAX {
            let text = c.to_string();
            let folded = fold(&text);
            // Fractions and units (`½`, `㎧`) only hold a lookalike, which takes two programs to become a separator.
            let fraction = text.nfkd().any(|part| part != c && lookalike(part) != part);
            let structure = folded.chars().any(is_structure) && !c.is_control();
            assert!(!structure || fraction || hides_structure(c), "{c:?} folds to {folded:?}");
            assert_eq!(fold(&folded), folded, "{c:?} is folded once and for all");
        }
        assert!(('\0'..='\u{7F}').all(|c| !hides_structure(c)));
    }

    #[test]
    fn letters_in_disguise_are_letters() {
        for text in
            ["ａｄｍｉｎ", "𝐚𝓭𝕞𝗶𝚗", "àdmín", "ad\u{200B}min", "ⓐⓓⓜⓘⓝ", "admin\u{FE0F}", "a\u{301}d\u{AD}min"]
        {
            assert_eq!(fold(text), "admin", "{text}");
        }
        assert_eq!((fold("/a b"), fold("½"), fold("ﬁ")), ("/a b".into(), "1/2".into(), "fi".into()));
    }
}
