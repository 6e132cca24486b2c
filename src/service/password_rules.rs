//! What a new password must be: long, and not one that everybody tries first.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::password::unified;
use super::{Field, ServiceError};
use crate::model::secret::Secret;
use crate::model::user::name_key;

/// Fewest and most characters (Unicode scalar values).
const LENGTH: std::ops::RangeInclusive<usize> = 12..=128;

/// Passwords of twelve and more characters that lists of leaked ones are full of, in lower case.
static COMMON: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());

/// Words that carry no secret here; a password made of little else is refused.
const WORDS: [&str; 26] = [
    "doorward",
    "administrator",
    "password",
    "passwort",
    "passw0rd",
    "p@ssw0rd",
    "passphrase",
    "changeme",
    "dashboard",
    "welcome",
    "letmein",
    "gateway",
    "qwertz",
    "qwerty",
    "azerty",
    "iloveyou",
    "secret",
    "access",
    "admin",
    "login",
    "abc123",
    "123456",
    "12345",
    "1234",
    "test",
    "user",
];

/// Characters that may be left over beside such words.
const SLACK: usize = 5;

/// What people begin with when a password must have digits and signs as well: seasons, months, first names, teams.
static BASES: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let mut words: Vec<_> = include_str!("common_words.txt").split_whitespace().collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    words
});

/// So many of those make a password that is only decorated; more are a phrase.
const MOST_BASES: usize = 2;
/// Letters, and characters of all kinds, that may decorate them.
const DECORATION: (usize, usize) = (2, 8);

/// Checks a password that somebody wants to use from now on. There are no composition rules.
///
/// `user_words` are the names of the user: username, e-mail address.
///
/// # Errors
///
/// [`ServiceError::Invalid`] with the rule it breaks.
pub(super) fn check_new_password(password: &Secret, user_words: &[&str]) -> Result<(), ServiceError> {
    let refuse = |reason: &str| Err(ServiceError::invalid(Field::Password, reason));
    let password = unified(password);
    let length = password.expose().chars().count();
    if length < *LENGTH.start() {
        return refuse("is shorter than 12 characters");
    }
    if length > *LENGTH.end() {
        return refuse("is longer than 128 characters");
    }
    let key = name_key(password.expose());
    if COMMON.contains(key.as_str()) {
        return refuse("is one of the most common passwords: choose another");
    }
    if is_pattern(&key) {
        return refuse("is a sequence or repeats a few characters: choose another");
    }
    if is_made_of(&key, user_words) {
        return refuse("is made of your name or of very common words: choose another");
    }
    if is_decorated(&key) {
        return refuse("is a very common word with digits and signs: choose another");
    }
    Ok(())
}

/// A run such as `abcdefghijkl` or `987654321098`, or a unit of up to four characters over and over.
fn is_pattern(key: &str) -> bool {
    let chars: Vec<char> = key.chars().collect();
    let repeats = |unit: usize| chars.iter().zip(chars.iter().skip(unit)).all(|(one, next)| one == next);
    let steps_by = |step: i64| {
        chars.iter().zip(chars.iter().skip(1)).all(|(one, next)| {
            let wraps = matches!((*one, *next, step), ('9', '0', 1) | ('0', '9', -1));
            wraps || i64::from(u32::from(*next)) - i64::from(u32::from(*one)) == step
        })
    };
    (1..=4).any(repeats) || steps_by(1) || steps_by(-1)
}

/// Whether next to nothing is left once the known words are taken out.
fn is_made_of(key: &str, user_words: &[&str]) -> bool {
    let mut words: Vec<String> = WORDS.iter().map(|word| (*word).to_owned()).collect();
    for word in user_words {
        let word = name_key(word);
        words.extend(word.split('@').map(str::to_owned));
        words.push(word);
    }
    words.retain(|word| word.chars().count() >= 3);
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let rest = words.iter().fold(key.to_owned(), |rest, word| rest.replace(word.as_str(), ""));
    rest.len() < key.len() && rest.chars().count() <= SLACK
}

/// Whether it is one or two very common words with digits and signs before, behind or instead of letters.
fn is_decorated(key: &str) -> bool {
    [key.to_owned(), without_leet(key)].iter().any(|key| {
        let (mut rest, mut taken) = (without_years(key), 0);
        for base in BASES.iter() {
            if taken < MOST_BASES && rest.contains(base) {
                rest = rest.replace(base, " ");
                taken += 1;
            }
        }
        let rest: String = rest.chars().filter(|c| !c.is_whitespace()).collect();
        let letters = rest.chars().filter(|c| c.is_alphabetic()).count();
        taken > 0 && letters <= DECORATION.0 && rest.chars().count() <= DECORATION.1
    })
}

/// Digits and signs back to the letters that they stand for within a word; behind the last letter they are decoration.
fn without_leet(key: &str) -> String {
    let end = key.rfind(char::is_alphabetic).unwrap_or_default();
    let letter = |(at, c): (usize, char)| match c {
        _ if at > end => c,
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    };
    key.char_indices().map(letter).collect()
}

/// Without the years that people put behind words.
fn without_years(key: &str) -> String {
    let mut rest = key.to_owned();
    for year in 1950..2050 {
        rest = rest.replace(&year.to_string(), " ");
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str) -> Result<(), String> {
        check_new_password(&Secret::new(password), &["zelda", "zelda.fitz@example.org"])
            .map_err(|error| error.to_string())
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert!(check("vierzwölf-üü").is_ok());
        assert!(check(&"ζήτω".repeat(4)).is_err(), "a repeated unit");
        assert!(check("elevenchars").unwrap_err().contains("shorter"));
        let long: String = (0..128).map(|at| char::from(b'a' + u8::try_from(at * 7 % 26).unwrap())).collect();
        assert!(check(&long).is_ok());
        assert!(check(&format!("{long}x")).unwrap_err().contains("longer"));
    }

    #[test]
    fn there_are_no_composition_rules() {
        for password in
            ["plain lower case words", "8403957162047", "correct horse battery", "ДлинныйПарольЗдесь"]
        {
            assert_eq!(check(password), Ok(()), "{password}");
        }
    }

    /// L19: passwords that everybody tries first.
    #[test]
    fn what_everybody_tries_first_is_refused() {
        for password in [
            "1qaz2wsx3edc",
            "QwertyUiop123",
            "unbelievable",
            "111111111111",
            "abcabcabcabc",
            "abcdefghijkl",
            "123456789012",
            "987654321098",
            "DoorWard-2024",
            "doorwarddoorward",
            "password1234",
            "Admin-Password!",
            "zeldazeldazelda",
            "zelda.fitz!!",
            "Zelda.Fitz@example.org",
            "zelda123456!",
            "ｐａｓｓｗｏｒｄ１２３４",
        ] {
            let told = check(password).unwrap_err();
            assert!(told.ends_with(": choose another"), "{password}: {told}");
        }
    }

    #[test]
    fn a_common_word_with_digits_and_signs_is_common() {
        for password in [
            "Password2026!",
            "Summer2026!!",
            "SummerWinter2026",
            "Winter20252026!",
            "5uMm3r!2026##",
            "!!Football99!!",
            "Michael-1987-x",
            "D0nald-Trump1",
            "P@55w0rd2026#",
            "Monday2026!!!",
            "dragon12345678",
        ] {
            let told = check(password).unwrap_err();
            assert!(told.ends_with(": choose another"), "{password}: {told}");
        }
        for password in [
            "summer rain on a tin roof",
            "winter monday dragon football",
            "dragon 8403957162047",
            "Quokka2026!!Lunch",
            "summerhouse-lantern",
        ] {
            assert_eq!(check(password), Ok(()), "{password}");
        }
    }

    #[test]
    fn the_common_words_can_match() {
        assert!(BASES.len() >= 250, "{}", BASES.len());
        for word in BASES.iter() {
            assert!(word.chars().count() >= 4 && name_key(word) == **word, "{word}");
        }
    }

    #[test]
    fn length_is_that_of_the_one_form_of_a_password() {
        let decomposed = "e\u{301}".repeat(3) + "xyzab1";
        assert!(check(&decomposed).unwrap_err().contains("shorter"), "nine characters");
    }

    #[test]
    fn a_name_inside_a_longer_password_is_fine() {
        assert_eq!(check("zelda rides a tall bicycle"), Ok(()));
        assert_eq!(check("doorward keeps nine bees"), Ok(()));
    }

    #[test]
    fn the_list_holds_only_lines_that_can_match() {
        assert!(COMMON.len() >= 350, "{}", COMMON.len());
        for line in COMMON.iter() {
            assert!(line.chars().count() >= 12 && name_key(line) == **line, "{line}");
        }
    }
}
