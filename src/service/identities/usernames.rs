//! Usernames for users who are created at their first sign-in by an identity.
//!
//! At many providers people choose the claim themselves that a username is made of. So a name that already means something,
//! here or in applications, is never given to them.

use std::collections::HashSet;
use std::sync::Arc;

use crate::config::Config;
use crate::model::identity::ProviderAssertion;
use crate::model::token::random_text;
use crate::model::user::{check_name, check_username, may_begin_username, name_key};
use crate::policy::Who;

/// Characters of a name, before a number.
const LONGEST: usize = 64;
/// The highest number after a name; after that a random suffix is used.
const MOST_NUMBER: u32 = 9;

/// Names that applications take for one of their own: for who administers them, or for nobody.
const OF_APPLICATIONS: [&str; 18] = [
    "admin",
    "administrator",
    "anonymous",
    "default",
    "doorward",
    "elastic",
    "guest",
    "minioadmin",
    "nobody",
    "operator",
    "owner",
    "postgres",
    "root",
    "sa",
    "superadmin",
    "superuser",
    "sysadmin",
    "system",
];

/// Usernames that no new user of a provider gets, as they look ([`name_key`]).
#[derive(Clone, Debug)]
pub struct ReservedNames(Arc<HashSet<String>>);

impl Default for ReservedNames {
    fn default() -> Self {
        Self::new([])
    }
}

impl ReservedNames {
    fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self(Arc::new(OF_APPLICATIONS.into_iter().chain(names).map(name_key).collect()))
    }

    /// Those of a configuration: whom rules name, `login.admins`, and what applications know tokens, keys and certificates of
    /// the settings by; and those that applications know themselves.
    pub fn of(config: &Config) -> Self {
        let rules = config.routes.iter().flat_map(|route| &route.policy.rules);
        let named = rules.flat_map(|rule| rule.allow.iter().chain(&rule.deny)).filter_map(|who| match who {
            Who::User(name) => Some(name.as_str()),
            _ => None,
        });
        let admins = config.login.admins.iter().map(|(name, _)| name.as_str());
        let tokens = config.tokens.iter().map(|token| token.name.as_str());
        let certificates = config.client_certificates.iter().flat_map(|all| &all.known);
        let certificates = certificates.map(|certificate| certificate.name.as_str());
        Self::new(named.chain(admins).chain(tokens).chain(certificates))
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains(&name_key(name))
    }
}

/// Usernames for a new user, best first, none of them reserved: the suggested name, or the local part of the address, or the subject; then the same
/// with numbers. Never an address, since addresses share one name space with usernames at sign-in.
pub(super) fn usernames(assertion: &ProviderAssertion, reserved: &ReservedNames) -> Vec<String> {
    let sources = [assertion.username.as_deref(), assertion.email.any(), Some(assertion.key.subject())];
    let base = sources.into_iter().flatten().find_map(name_in).unwrap_or_else(|| "user".to_owned());
    let numbered = (2..=MOST_NUMBER).map(|number| format!("{base}-{number}"));
    let random: String =
        random_text().expose().chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    let random_suffix = format!("{base}-{}", random.to_lowercase());
    let names = std::iter::once(base.clone()).chain(numbered).chain([random_suffix]);
    names.filter(|name| !reserved.has(name)).collect()
}

/// The username in a text, if there is one: without the part after an `@`, and without characters that usernames cannot have.
fn name_in(text: &str) -> Option<String> {
    let local = text.split('@').next().unwrap_or_default().trim();
    let name: String = local
        .chars()
        .map(|c| if c.is_whitespace() { '.' } else { c })
        .filter(|c| check_name(c.encode_utf8(&mut [0; 4])).is_ok())
        .skip_while(|c| !may_begin_username(*c))
        .take(LONGEST)
        .collect();
    check_username(&name).is_ok().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::identity::{AssertedEmail, IdentityKey, RoleDecision};
    use crate::model::role::Role;

    fn asserted(username: Option<&str>, email: Option<&str>, subject: &str) -> ProviderAssertion {
        ProviderAssertion {
            provider: "sso".to_owned(),
            key: IdentityKey::new("https://idp.example", subject).unwrap(),
            subject_claim: "sub".to_owned(),
            email: email.map_or(AssertedEmail::None, |email| AssertedEmail::Verified(email.to_owned())),
            username: username.map(str::to_owned),
            display_name: None,
            groups: None,
            role: RoleDecision::Keep { new: Role::Viewer },
        }
    }

    fn named(username: Option<&str>, email: Option<&str>, subject: &str) -> Vec<String> {
        usernames(&asserted(username, email, subject), &ReservedNames::default())
    }

    #[test]
    fn a_name_that_means_something_already_is_not_given_to_whoever_asks_for_it() {
        let reserved = ReservedNames::new(["boss", "bosses-2"]);
        let first =
            |username: &str| usernames(&asserted(Some(username), None, "1"), &reserved).swap_remove(0);
        for (wanted, given) in [
            ("admin", "admin-2"),
            ("Administrator", "Administrator-2"),
            ("ad/min", "admin-2"),
            ("ｒｏｏｔ", "ｒｏｏｔ-2"),
            ("boss", "boss-2"),
            ("BOSS@corp.example", "BOSS-2"),
            ("bo\u{17f}s", "bo\u{17f}s-2"),
            ("bosses", "bosses"),
            ("administrators", "administrators"),
        ] {
            assert_eq!(first(wanted), given, "{wanted}");
        }
        let taken = usernames(&asserted(Some("bosses"), None, "1"), &reserved);
        assert_eq!(taken[..2], ["bosses", "bosses-3"], "a number makes no other reserved name");
        let by_subject = usernames(&asserted(None, Some("root@example.org"), "1"), &reserved);
        assert_eq!(by_subject[0], "root-2", "nor does an address");
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
            (Some("\u{202e}nimda"), None, "1", "nimda"),
            (Some("al\u{2060}ice\u{feff}"), None, "1", "alice"),
            (Some("--help"), None, "1", "help"),
            (Some(".."), Some("dot@example.org"), "1", "dot"),
        ] {
            let names = named(username, email, subject);
            assert_eq!(names[0], expected, "{username:?} {email:?} {subject}");
            assert!(
                names.iter().all(|name| check_username(name).is_ok() && !name.contains('@')),
                "{names:?}"
            );
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
