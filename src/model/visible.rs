//! Characters that nobody sees, or that change how others are shown: two texts that differ in them alone look the same.

/// Whether a character cannot be seen or changes the direction of others: control and format characters, unassigned and
/// private ones, line and paragraph separators, and those that Unicode says are ignored or that are blank without being white
/// space. White space is none of them.
pub fn is_unseen(c: char) -> bool {
    if c.is_ascii() || c.is_control() {
        return c.is_control();
    }
    let is_blank = matches!(
        c,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2028}' | '\u{2029}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}'
    );
    is_blank || !c.is_whitespace() && is_escaped(c)
}

/// The same for texts that are only shown: joiners and variation selectors, which belong into words of some scripts, are left.
pub fn is_unseen_in_prose(c: char) -> bool {
    let shapes = matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
    is_unseen(c) && !shapes
}

/// Whether `Debug` of a text shows the character by its number: the standard library does so with what is not printable
/// (general categories Cc, Cf, Cn, Co, Zl, Zp, Zs). Behind a letter, where marks that combine with it are shown as they are.
fn is_escaped(c: char) -> bool {
    let text: String = ['a', c].into_iter().collect();
    text.escape_debug().nth(1) == Some('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_or_turns_others_round_is_found_and_no_letter_of_any_script() {
        for unseen in [
            '\0',
            '\n',
            '\u{7f}',
            '\u{85}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{2028}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2800}',
            '\u{3164}',
            '\u{e000}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{ffff}',
            '\u{378}',
            '\u{e0041}',
            '\u{e0100}',
            '\u{f0000}',
        ] {
            assert!(is_unseen(unseen), "{unseen:?}");
        }
        for seen in "aZ0-_.@\\'\"| ÄßéЯΩאبहक्ष้한日ー々𠮷😀\u{301}\u{a0}\u{3000}".chars()
        {
            assert!(!is_unseen(seen), "{seen:?}");
        }
    }

    #[test]
    fn joiners_and_forms_of_letters_are_left_in_what_is_only_shown() {
        for c in "می\u{200c}خواهم ❤\u{fe0f} 👩\u{200d}💻 辻\u{e0100} 山田\u{3000}太郎".chars()
        {
            assert!(!is_unseen_in_prose(c), "{c:?}");
        }
        for c in ['\u{202e}', '\u{2060}', '\u{feff}', '\u{ad}', '\u{2028}', '\u{e0041}', '\n'] {
            assert!(is_unseen_in_prose(c), "{c:?}");
        }
    }
}
