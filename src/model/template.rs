//! Text with facts about a principal in it, such as `tenant-{group:0}`: parsed once, filled in per principal.

use super::principal::{Principal, Proof};
use super::role::Role;

/// Bytes of a template.
const LONGEST: usize = 1024;

/// A parsed template.
///
/// `{{` and `}}` stand for braces; every other brace begins or ends a fact. There are no conditions and no
/// functions: what a template needs beyond this belongs into a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<TemplatePart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePart {
    Text(String),
    Fact(TemplateVariable),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplateVariable {
    Subject,
    User,
    Name,
    Email,
    Groups(char),
    Group(usize),
    GroupAfter(String),
    Role,
    /// The application's words for our roles; each role once.
    RoleAs(Vec<(Role, String)>),
    Key,
    Kind,
    Provider,
}

/// How a fact is written: with the marks that cannot stand in it, where it is an item of a list.
pub type Escape<'e> = &'e dyn Fn(&str, &[char]) -> String;

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// A sentence that says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty: write text and facts in braces, such as \"{user}\"".into());
        }
        if text.len() > LONGEST {
            return Err(format!("is longer than {LONGEST} bytes"));
        }
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(first) = rest.chars().next() {
            let doubled = rest.get(1..).is_some_and(|next| next.starts_with(first));
            match first {
                '{' | '}' if doubled => {
                    plain.push(first);
                    rest = rest.get(2..).unwrap_or_default();
                }
                '{' => {
                    let (inside, after) = rest
                        .get(1..)
                        .and_then(|inside| inside.split_once('}'))
                        .ok_or("has a { without its }: write {{ for the character itself")?;
                    if !plain.is_empty() {
                        parts.push(TemplatePart::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(TemplatePart::Fact(TemplateVariable::parse(inside)?));
                    rest = after;
                }
                '}' => return Err("has a } without its {: write }} for the character itself".into()),
                other => {
                    plain.push(other);
                    rest = rest.get(other.len_utf8()..).unwrap_or_default();
                }
            }
        }
        if !plain.is_empty() {
            parts.push(TemplatePart::Text(plain));
        }
        Ok(Self { parts })
    }

    /// What is not ours to say: the text around the facts, and words for roles.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(|part| match part {
            TemplatePart::Text(text) => vec![text.as_str()],
            TemplatePart::Fact(TemplateVariable::RoleAs(words)) => {
                words.iter().map(|(_, word)| word.as_str()).collect()
            }
            TemplatePart::Fact(_) => Vec::new(),
        })
    }

    /// Roles of people for which it wants a word and has none.
    pub fn roles_without_word(&self) -> impl Iterator<Item = Role> {
        [Role::Admin, Role::Member, Role::Viewer].into_iter().filter(|role| {
            self.parts.iter().any(|part| match part {
                TemplatePart::Fact(TemplateVariable::RoleAs(words)) => {
                    !words.iter().any(|(known, _)| known == role)
                }
                _ => false,
            })
        })
    }

    /// Whether it is `{groups}` and nothing else: where lists can be written as such, it is one.
    pub fn is_group_list(&self) -> bool {
        matches!(self.parts.as_slice(), [TemplatePart::Fact(TemplateVariable::Groups(','))])
    }

    /// The text for a principal, or for an anonymous caller; `None` where any fact has no value, so that nothing is said by
    /// halves.
    pub fn fill(&self, principal: Option<&Principal>, escape: Escape<'_>) -> Option<String> {
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                TemplatePart::Text(text) => filled.push_str(text),
                TemplatePart::Fact(fact) => filled.push_str(&fact.of(principal?, escape)?),
            }
        }
        Some(filled)
    }
}

impl TemplateVariable {
    fn parse(text: &str) -> Result<Self, String> {
        let (name, argument) = match text.split_once(':') {
            Some((name, argument)) => (name, Some(argument)),
            None => (text, None),
        };
        Ok(match (name, argument) {
            ("subject", None) => Self::Subject,
            ("user", None) => Self::User,
            ("name", None) => Self::Name,
            ("email", None) => Self::Email,
            ("role", None) => Self::Role,
            ("role", Some(words)) => Self::RoleAs(words_for_roles(words)?),
            ("key", None) => Self::Key,
            ("kind", None) => Self::Kind,
            ("provider", None) => Self::Provider,
            ("groups", None) => Self::Groups(','),
            ("groups", Some(separator)) => {
                let mut chars = separator.chars();
                match (chars.next(), chars.next()) {
                    (Some(one), None) if one.is_ascii_punctuation() && !matches!(one, '%' | '{') => {
                        Self::Groups(one)
                    }
                    _ => {
                        return Err(
                            "separates groups by more than one character: write one such as {groups:|}".into(),
                        );
                    }
                }
            }
            ("group", Some(which)) => match which.strip_suffix('*') {
                Some("") => {
                    return Err("asks for no particular group: write {group:0} or {group:tenant-*}".into());
                }
                Some(prefix) => Self::GroupAfter(prefix.to_owned()),
                None => Self::Group(which.parse().ok().filter(|at| *at < 1000).ok_or_else(|| {
                    format!(
                        "has {{{text}}}, which is not a position in a list: write {{group:0}} or {{group:tenant-*}}"
                    )
                })?),
            },
            ("claim", _) => {
                return Err(format!(
                    "has {{{text}}}, but no credential carries claims: sessions and keys have groups, a role and an address"
                ));
            }
            _ => {
                return Err(format!(
                    "has {{{text}}}, which is not a fact: write {{subject}}, {{user}}, {{name}}, {{email}}, {{groups}}, {{groups:|}}, \
                     {{group:0}}, {{group:tenant-*}}, {{role}}, {{role:admin=ADMIN}}, {{key}}, {{kind}} or {{provider}}"
                ));
            }
        })
    }

    fn of(&self, principal: &Principal, escape: Escape<'_>) -> Option<String> {
        let plain = |text: &str| escape(text, &[]);
        match self {
            Self::Subject => Some(plain(&principal.subject())),
            Self::User => Some(plain(&principal.name)),
            Self::Name => principal.display_name.as_deref().map(plain),
            Self::Email => principal.email.as_deref().map(plain),
            Self::Role => Some(principal.role.as_str().to_owned()),
            Self::RoleAs(words) => {
                words.iter().find(|(role, _)| *role == principal.role).map(|(_, word)| word.clone())
            }
            Self::Kind => Some(principal.kind.as_str().to_owned()),
            Self::Provider => Some(plain(principal.source.as_str())),
            // People name their own keys as they like, so such a name says nothing.
            Self::Key => match &principal.proof {
                Proof::Key { name, .. } if !principal.kind.is_person() => Some(plain(name)),
                Proof::Key { .. } | Proof::Session { .. } => None,
            },
            Self::Groups(separator) => {
                let groups: Vec<String> =
                    principal.groups.iter().map(|group| escape(group, &[*separator])).collect();
                (!groups.is_empty()).then(|| groups.join(separator.encode_utf8(&mut [0; 4])))
            }
            Self::Group(at) => principal.groups.get(*at).map(|group| plain(group)),
            Self::GroupAfter(prefix) => principal
                .groups
                .iter()
                .find_map(|group| group.strip_prefix(prefix.as_str()).filter(|rest| !rest.is_empty()))
                .map(plain),
        }
    }
}

/// `admin=ADMIN,member=OP`.
fn words_for_roles(text: &str) -> Result<Vec<(Role, String)>, String> {
    let mut words: Vec<(Role, String)> = Vec::new();
    for pair in text.split(',') {
        let wrong = |what: &str| {
            format!(
                "has `{pair}` in {{role:...}}, {what}: write pairs such as {{role:admin=ADMIN,member=OP,viewer=VIEWER}}"
            )
        };
        let (role, word) = pair.split_once('=').ok_or_else(|| wrong("which is not a pair"))?;
        let role: Role =
            role.parse().map_err(|_| wrong("whose role is not admin, member, viewer or agent"))?;
        if word.is_empty() || word.trim() != word {
            return Err(wrong("whose word is empty or has a blank at an end"));
        }
        if words.iter().any(|(known, _)| *known == role) {
            return Err(wrong("whose role has a word already"));
        }
        words.push((role, word.to_owned()));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::super::principal::PrincipalKind;
    use super::*;
    use crate::model::role::Role;
    use crate::model::user::UserId;

    fn principal() -> Principal {
        Principal {
            email: Some("vera@example.org".into()),
            groups: vec!["ops".into(), "tenant-a".into(), "tenant-b".into()],
            ..Principal::example(PrincipalKind::User(UserId("u1".into())), "vera", Role::Viewer)
        }
    }

    fn plain(text: &str, _: &[char]) -> String {
        text.to_owned()
    }

    #[test]
    fn a_template_is_filled_with_what_is_known() {
        let filled = |text: &str| Template::parse(text).unwrap().fill(Some(&principal()), &plain);
        for (text, wanted) in [
            ("{user}", "vera"),
            ("{subject}/{role}", "user:u1/viewer"),
            ("{{{user}}}", "{vera}"),
            ("a{{b}}c", "a{b}c"),
            ("{groups}", "ops,tenant-a,tenant-b"),
            ("{groups:|}", "ops|tenant-a|tenant-b"),
            ("{group:0}", "ops"),
            ("org-{group:tenant-*}", "org-a"),
            ("{kind} of {provider}", "user of local"),
            ("{role:admin=ADMIN,member=OP,viewer=VIEWER}", "VIEWER"),
            ("as {role:viewer=a=b c}!", "as a=b c!"),
            ("fixed", "fixed"),
        ] {
            assert_eq!(filled(text).as_deref(), Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_lacks_any_fact_is_not_said_by_halves() {
        for text in [
            "{name}",
            "x-{name}",
            "{user}{key}",
            "{group:3}",
            "t-{group:team-*}",
            "{group:ops*}",
            "x{role:admin=A}",
        ] {
            assert_eq!(Template::parse(text).unwrap().fill(Some(&principal()), &plain), None, "{text}");
            assert_eq!(Template::parse(text).unwrap().fill(None, &plain), None, "{text}");
        }
        let nobody = Principal { groups: Vec::new(), ..principal() };
        assert_eq!(Template::parse("{groups}").unwrap().fill(Some(&nobody), &plain), None);
        assert_eq!(
            Template::parse("a {{b}}").unwrap().fill(None, &plain).as_deref(),
            Some("a {b}"),
            "a constant"
        );
    }

    #[test]
    fn roles_of_people_without_a_word_are_named() {
        let lacking = |text: &str| Template::parse(text).unwrap().roles_without_word().collect::<Vec<_>>();
        assert_eq!(lacking("{role:admin=A,viewer=V}"), [Role::Member]);
        assert_eq!(lacking("{role:admin=A,member=M,viewer=V}"), []);
        assert_eq!(lacking("{role} {user}"), []);
    }

    #[test]
    fn what_is_no_template_says_what_to_write() {
        for text in [
            "",
            "{",
            "}",
            "{user",
            "user}",
            "{}",
            "{nick}",
            "{user:1}",
            "{groups:}",
            "{groups:ab}",
            "{groups:%}",
            "{group}",
            "{group:}",
            "{group:*}",
            "{group:-1}",
            "{group:9999}",
            "{claim:tenant}",
            "{role:}",
            "{role:admin}",
            "{role:admin=}",
            "{role:root=ADMIN}",
            "{role:admin=A,admin=B}",
            "{role:admin=A,}",
            "{role:admin=A, member=B}",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
        assert!(Template::parse("{claim:tenant}").unwrap_err().contains("no credential carries claims"));
        assert!(Template::parse(&"x".repeat(LONGEST + 1)).is_err());
    }
}
