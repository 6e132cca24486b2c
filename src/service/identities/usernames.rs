//! Usernames for users who are created at their first sign-in by an identity.

use crate::model::identity::ProviderAssertion;
use crate::model::token::random_text;
use crate::model::user::check_name;

/// Characters of a name, before a number.
const LONGEST: usize = 64;
/// The highest number after a name; after that a random suffix is used.
const MOST_NUMBER: u32 = 9;

/// Usernames for a new user, best first: the suggested name, or the local part of the address, or the subject; then the same
/// with numbers. Never an address, since addresses share one name space with usernames at sign-in.
pub(super) fn usernames(assertion: &ProviderAssertion) -> Vec<String> {
    let sources = [assertion.username.as_deref(), assertion.email.any(), Some(assertion.key.subject())];
    let base = sources.into_iter().flatten().find_map(name_in).unwrap_or_else(|| "user".to_owned());
    let numbered = (2..=MOST_NUMBER).map(|number| format!("{base}-{number}"));
    let random: String =
        random_text().expose().chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    let random_suffix = format!("{base}-{}", random.to_lowercase());
    std::iter::once(base.clone()).chain(numbered).chain([random_suffix]).collect()
}

/// The username in a text, if there is one: without the part after an `@`, and without characters that usernames cannot have.
fn name_in(text: &str) -> Option<String> {
    let local = text.split('@').next().unwrap_or_default().trim();
    let name: String = local
        .chars()
        .map(|c| if c.is_whitespace() { '.' } else { c })
        .filter(|c| check_name(c.encode_utf8(&mut [0; 4])).is_ok())
        .take(LONGEST)
        .collect();
    check_name(&name).is_ok().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::identity::{AssertedEmail, IdentityKey, RoleDecision};
    use crate::model::role::Role;

    fn named(username: Option<&str>, email: Option<&str>, subject: &str) -> Vec<String> {
        usernames(&ProviderAssertion {
            provider: "sso".to_owned(),
            key: IdentityKey::new("https://idp.example", subject).unwrap(),
            subject_claim: "sub".to_owned(),
            email: email.map_or(AssertedEmail::None, |email| AssertedEmail::Verified(email.to_owned())),
            username: username.map(str::to_owned),
            display_name: None,
            groups: None,
            role: RoleDecision::Keep { new: Role::Viewer },
        })
    }

    #[test]
    fn the_name_is_the_suggested_one_or_is_made_of_address_or_subject() {
        let long = "x".repeat(200);
        for (username, email, subject, expected) in [
            (Some("alice"), Some("a@example.org"), "1", "alice"),
            (Some("Alice Smith"), None, "1", "Alice.Smith"),
            (Some("alice@corp.example"), None, "1", "alice"),
            (Some("ü"), None, "1", "ü"),
            (Some("<,;>"), Some("al/ice@example.org"), "1", "alice"),
            (Some("@corp.example"), Some("bob@example.org"), "1", "bob"),
            (None, Some("carol@example.org"), "1", "carol"),
            (None, None, "auth0|5f7c", "auth0|5f7c"),
            (None, None, "\"%\"", "user"),
            (Some(&long), None, "1", &long[..64]),
        ] {
            let names = named(username, email, subject);
            assert_eq!(names[0], expected, "{username:?} {email:?} {subject}");
            assert!(names.iter().all(|name| check_name(name).is_ok() && !name.contains('@')), "{names:?}");
        }
    }

    #[test]
    fn who_has_a_name_that_is_taken_gets_a_number_and_at_last_a_random_one() {
        let names = named(Some("alice"), None, "1");
        assert_eq!(names[..3], ["alice", "alice-2", "alice-3"]);
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!((names.len(), distinct.len()), (10, 10));
        assert_ne!(names.last(), named(Some("alice"), None, "1").last());
    }
}
