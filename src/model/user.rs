//! Local users and the forms their names are compared in.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

use super::role::Role;
use super::time::Timestamp;
use super::visible::is_unseen;

/// A user's stable identifier (`UUIDv7` text), never reused and never shown as a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub String);

impl UserId {
    /// A fresh identifier.
    pub fn fresh() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Someone who may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, in any combination")]
pub struct User {
    /// Stable identifier.
    pub id: UserId,
    /// As typed at creation; compared by [`name_key`].
    pub username: String,
    /// Never changed by the user.
    pub email: Option<String>,
    /// What pages show.
    pub display_name: Option<String>,
    /// Rights.
    pub role: Role,
    /// Where the user may go; sorted, without duplicates.
    pub groups: Vec<String>,
    /// A disabled user can do nothing at all.
    pub disabled: bool,
    /// The password is temporary: nothing but changing it is allowed.
    pub must_change_password: bool,
    /// Whether a password is set at all.
    pub has_password: bool,
    /// Whether the user has an identity at an identity provider.
    pub has_identity: bool,
    /// When the row was made.
    pub created_at: Timestamp,
}

impl User {
    /// Whether the user has a password or an identity; an invited user has neither. An identity counts whether or not its
    /// provider is in the settings.
    pub fn can_sign_in(&self) -> bool {
        self.has_password || self.has_identity
    }
}

/// The form in which usernames and e-mail addresses are compared: NFKC, then lower case, trimmed.
///
/// Two names with the same key are the same name (SPEC of usernames: unique case-insensitively).
pub fn name_key(name: &str) -> String {
    name.trim().nfkc().flat_map(char::to_lowercase).nfkc().collect()
}

/// Whether two e-mail addresses are the same mailbox: equal but for the case of ASCII letters. Stricter than [`name_key`],
/// which takes lookalikes for one, and so shows that two differ but never whose an address is.
pub fn is_same_mailbox(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Why a name cannot be a username or group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name has 1 to 128 visible characters, no white space, and none of , ; : \" ' < > / \\ % or control characters, also none that only steer how text is shown"
)]
pub struct BadName;

/// Checks a username or group name.
///
/// The refused characters are those that would need escaping in a header list, a cookie, a path or a page.
///
/// # Errors
///
/// [`BadName`] if it is empty, too long, or holds a character outside the allowed ones.
pub fn check_name(name: &str) -> Result<(), BadName> {
    let fits = (1..=128).contains(&name.chars().count());
    let clean = !name.chars().any(|c| c.is_whitespace() || is_unseen(c) || ",;:\"'<>/\\%".contains(c));
    (fits && clean).then_some(()).ok_or(BadName)
}

/// Why a name cannot be that of a new user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUsername {
    /// No name at all.
    #[error(transparent)]
    Name(#[from] BadName),
    /// It could be taken for an option of a command, or for a path.
    #[error("a username begins with a letter, a digit or _")]
    Beginning,
}

/// Checks the name of a new user.
///
/// # Errors
///
/// [`BadUsername`] if it is no name, or begins otherwise than with a letter, a digit or `_`.
pub fn check_username(name: &str) -> Result<(), BadUsername> {
    check_name(name)?;
    if name.starts_with(may_begin_username) { Ok(()) } else { Err(BadUsername::Beginning) }
}

/// Whether usernames may begin with the character.
pub fn may_begin_username(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Why a name cannot be a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a group has 1 to 128 visible characters, single spaces only between them, and none of , ; \" ' < > \\ % or control characters, also none that only steer how text is shown"
)]
pub struct BadGroup;

/// Checks the name of a group. Those of directories have spaces, slashes and colons (`Platform Team`, `/admins/db`).
///
/// The refused characters are those that would need escaping in a list, or in its quotes.
///
/// # Errors
///
/// [`BadGroup`] if it is empty, too long, or holds a character outside the allowed ones.
pub fn check_group(name: &str) -> Result<(), BadGroup> {
    let fits = (1..=128).contains(&name.chars().count());
    let spaced = name.trim() == name && !name.contains("  ");
    let clean =
        !name.chars().any(|c| c.is_whitespace() && c != ' ' || is_unseen(c) || ",;\"'<>\\%".contains(c));
    (fits && spaced && clean).then_some(()).ok_or(BadGroup)
}

/// Why a text cannot be an e-mail address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an e-mail address has exactly one @ with something on both sides, and no white space or invisible characters"
)]
pub struct BadEmail;

/// Checks the shape of an e-mail address: one `@`, no white space or control characters, at most 254 bytes.
///
/// # Errors
///
/// [`BadEmail`] if the shape is wrong; whether mail arrives is not looked at.
pub fn check_email(email: &str) -> Result<(), BadEmail> {
    let clean = email.len() <= 254
        && !email.chars().any(|c| c.is_whitespace() || is_unseen(c) || ",;<>\"'\\()".contains(c));
    match email.split_once('@') {
        Some((local, domain))
            if clean && !local.is_empty() && !domain.is_empty() && !domain.contains('@') =>
        {
            Ok(())
        }
        _ => Err(BadEmail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_the_same_have_one_key() {
        for (a, b) in [("Alice", "alice"), ("ｒｏｏｔ", "root"), ("STRASSE", "strasse"), (" bob ", "bob")]
        {
            assert_eq!(name_key(a), name_key(b), "{a} {b}");
        }
        assert_ne!(name_key("alice"), name_key("alicia"));
    }

    #[test]
    fn an_address_that_only_looks_the_same_is_another_mailbox() {
        assert!(is_same_mailbox("Mike@Example.test", "mike@example.TEST"));
        for other in
            ["mi\u{212a}e@example.test", "ｍike@example.test", "mike@example.test ", "mike@ex\u{e4}mple.test"]
        {
            assert!(!is_same_mailbox("mike@example.test", other), "{other}");
        }
    }

    #[test]
    fn names_that_need_escaping_are_refused() {
        for name in ["", "a b", "a,b", "a\r\nb", "a;b", "<b>", "a\0", "a/b", "a%20", "x:y"] {
            assert_eq!(check_name(name), Err(BadName), "{name:?}");
        }
        assert_eq!(check_name(&"x".repeat(129)), Err(BadName));
        for name in ["alice", "zoë", "a.b-c_d+1", "team@example.org"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn nothing_that_cannot_be_seen_stands_in_names_groups_or_addresses() {
        for unseen in [
            '\u{2060}',
            '\u{feff}',
            '\u{ad}',
            '\u{202e}',
            '\u{115f}',
            '\u{e0041}',
            '\u{e000}',
            '\u{200b}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{378}',
        ] {
            for name in [format!("ro{unseen}ot"), format!("root{unseen}"), format!("{unseen}root")] {
                assert_eq!(check_name(&name), Err(BadName), "{name:?}");
                assert_eq!(check_group(&name), Err(BadGroup), "{name:?}");
                assert_eq!(check_email(&format!("{name}@example.org")), Err(BadEmail), "{name:?}");
            }
        }
        for name in ["иван", "山田", "عمر", "प्रिया", "zoe\u{308}", "józef"] {
            assert_eq!((check_username(name), check_group(name)), (Ok(()), Ok(())), "{name}");
        }
    }

    #[test]
    fn a_username_begins_with_a_letter_or_digit() {
        for name in ["-", "--help", ".", "..", ".hidden", "@all", "+x", "|x", "\u{301}a"] {
            assert_eq!(check_username(name), Err(BadUsername::Beginning), "{name}");
        }
        for name in ["", "a b"] {
            assert_eq!(check_username(name), Err(BadUsername::Name(BadName)), "{name}");
        }
        for name in ["a", "_svc", "1st", "é-x", "team@example.org"] {
            assert_eq!(check_username(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn groups_are_named_as_directories_name_them() {
        for name in ["ops", "Platform Team", "/admins/db", "a:b", "x@y.example", "role:a/b c", "zoë & co"] {
            assert_eq!(check_group(name), Ok(()), "{name}");
        }
        for name in [
            "", " ", " a", "a ", "a  b", "a,b", "a;b", "a\tb", "a\r\nb", "a\"b", "<b>", "a\\b", "a%20",
            "a\0", "a\u{a0}b",
        ] {
            assert_eq!(check_group(name), Err(BadGroup), "{name:?}");
        }
        assert_eq!(check_group(&"x".repeat(129)), Err(BadGroup));
    }

    #[test]
    fn an_address_has_exactly_one_at_sign() {
        for email in ["", "a", "@b", "a@", "a@b@c", "a b@c", "a@b\n"] {
            assert_eq!(check_email(email), Err(BadEmail), "{email:?}");
        }
        assert_eq!(check_email("admin@localhost"), Ok(()));
    }
}
