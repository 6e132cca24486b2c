//! `doorward claims`: what claims of a provider would come to, and why, without a gateway and without the provider.

use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Common;
use super::failure::Failure;
use super::load_beside;
use super::output::Output;
use crate::config::ProviderConfig;
use crate::model::identity::RoleDecision;
use crate::policy::claims::{
    ClaimPath, ClaimSet, ClaimsEvaluation, ClaimsRules, EmailClaim, Found, GroupsFound, IgnoredGroup,
    RoleSource, VerifiedBy,
};

/// Bytes that are read: claims may be 128 KiB, and those of a token are a third longer.
const MOST_READ: u64 = 512 * 1024;
/// Characters of a value that are shown.
const MOST_SHOWN: usize = 300;

/// What `claims` takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Arguments {
    /// Which of the [[providers]] in the settings reads them
    #[arg(long, value_name = "NAME")]
    provider: String,
    /// A file with claims as JSON, or with a token; - is standard input. A token is no argument: others can read those
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

/// Exit code 1 where such claims would be refused.
pub(super) fn run(arguments: &Arguments, common: &Common, output: Output) -> Result<(), Failure> {
    let config = load_beside(common)?;
    let is_wanted = |provider: &&ProviderConfig| provider.name == arguments.provider;
    let provider = config.providers.iter().find(is_wanted).ok_or_else(|| {
        let names: Vec<_> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
        Failure::Usage(match names.as_slice() {
            [] => "the settings have no [[providers]]".to_owned(),
            names => format!("no provider has this name; there are {}", names.join(", ")),
        })
    })?;
    let given = Given::read(&arguments.file)?;
    let told = Told { provider, evaluation: provider.claims.evaluate(&given.claims), given };
    output.show(&told.value(), &told.lines().join("\n"))?;
    match told.refusal() {
        None => Ok(()),
        Some(_) => Err(Failure::Refused("somebody with such claims is refused".to_owned())),
    }
}

/// Claims at hand.
struct Given {
    claims: ClaimSet,
    /// They were in a token, whose signature nobody looked at.
    from_token: bool,
}

impl Given {
    fn read(file: &Path) -> Result<Self, Failure> {
        let mut text = Vec::new();
        let read = if file == Path::new("-") {
            std::io::stdin().lock().take(MOST_READ + 1).read_to_end(&mut text)
        } else {
            std::fs::File::open(file).and_then(|file| file.take(MOST_READ + 1).read_to_end(&mut text))
        };
        read.map_err(|error| Failure::Usage(format!("the claims cannot be read: {error}")))?;
        Self::parse(text.trim_ascii()).map_err(|why| Failure::Usage(why.to_owned()))
    }

    /// Says what is wrong, and nothing of what was given.
    fn parse(text: &[u8]) -> Result<Self, &'static str> {
        if text.len() as u64 > MOST_READ {
            return Err("there is more than 512 KiB, which is neither claims nor a token");
        }
        let told =
            |_| "these are no claims: give one JSON object of at most 128 KiB and 10,000 values, or a token";
        if text.starts_with(b"{") {
            return Ok(Self { claims: ClaimSet::parse(text).map_err(told)?, from_token: false });
        }
        let token = text.strip_prefix(b"Bearer ").unwrap_or(text);
        let parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
        let payload = match parts.as_slice() {
            [_, payload, _] => payload,
            [_, _, _, _, _] => return Err("this token is encrypted, so its claims cannot be read here"),
            _ => return Err("this is neither a JSON object nor a token of three parts (RFC 7519)"),
        };
        let payload =
            URL_SAFE_NO_PAD.decode(payload).map_err(|_| "the middle part of this token is no base64url")?;
        Ok(Self { claims: ClaimSet::parse(&payload).map_err(told)?, from_token: true })
    }
}

/// One evaluation, told.
struct Told<'p> {
    provider: &'p ProviderConfig,
    given: Given,
    evaluation: ClaimsEvaluation,
}

impl Told<'_> {
    fn rules(&self) -> &ClaimsRules {
        &self.provider.claims
    }

    /// What identifies somebody.
    fn subject(&self) -> Option<String> {
        self.given.claims.subject(&self.provider.subject_claim)
    }

    fn refusal(&self) -> Option<String> {
        if self.subject().is_none() {
            return Some(format!(
                "the claim `{}`, which identifies somebody, is neither text of 1 to 255 characters nor a whole number",
                self.provider.subject_claim
            ));
        }
        self.evaluation.result.as_ref().err().map(ToString::to_string)
    }

    fn value(&self) -> Value {
        let evaluation = &self.evaluation;
        let rights = evaluation.result.as_ref().ok();
        let role = rights.map(|rights| match rights.role {
            RoleDecision::Keep { new } => json!({ "new": new.as_str(), "known": null }),
            RoleDecision::Set(role) => json!({ "new": role.as_str(), "known": role.as_str() }),
        });
        let groups = &evaluation.groups;
        json!({
            "provider": self.provider.name,
            "from_token": self.given.from_token,
            "allowed": self.refusal().is_none(),
            "refusal": self.refusal(),
            "subject": self.subject(),
            "groups": { "found": groups.found.as_ref().map(found_value), "groups": groups.groups,
                        "left_out": groups.left_out.iter().map(ignored).collect::<Vec<_>>() },
            "role": { "found": evaluation.role.found.as_ref().map(found_value), "word": evaluation.role.word,
                      "given": role },
            "email": { "found": found_value(&evaluation.email.found), "address": evaluation.email.email.address(),
                       "verified": evaluation.email.email.verified().is_ok() },
            "name": { "found": found_value(&evaluation.name.found), "name": evaluation.name.name },
            "hints": self.hints(),
        })
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![match self.refusal() {
            Some(why) => format!("refused: {why}"),
            None => "let in".to_owned(),
        }];
        if self.given.from_token {
            lines.push(
                "claims: those of a token whose signature, issuer, audience and expiry were NOT checked"
                    .to_owned(),
            );
        }
        let claim = &self.provider.subject_claim;
        let subject =
            self.subject().map_or_else(|| "identifies nobody".to_owned(), |subject| shown(&json!(subject)));
        lines.push(format!("identity: {claim} {subject}, with the issuer"));
        lines.extend(self.group_lines());
        lines.extend(self.role_lines());
        lines.extend(self.email_lines());
        lines.push(found_line("name", Some(&self.rules().name), Some(&self.evaluation.name.found)));
        lines.extend(self.hints().iter().map(|hint| format!("hint: {hint}")));
        lines
    }

    fn group_lines(&self) -> Vec<String> {
        let GroupsFound { found, groups, left_out, .. } = &self.evaluation.groups;
        let mut lines = vec![found_line("groups", self.rules().groups.as_ref(), found.as_ref())];
        if found.is_none() {
            return lines;
        }
        lines.push(format!(
            "  groups: {}",
            if groups.is_empty() { "none".into() } else { shown(&json!(groups)) }
        ));
        lines.extend(left_out.iter().take(10).map(|out| format!("  left out: {}", ignored(out))));
        if left_out.len() > 10 {
            lines.push(format!("  left out: {} more", left_out.len() - 10));
        }
        let rules = self.rules();
        if !rules.allowed_groups.is_empty() {
            let fits: Vec<_> = groups.iter().filter(|group| rules.is_allowed(group)).cloned().collect();
            let fits = if fits.is_empty() { "none".to_owned() } else { shown(&json!(fits)) };
            lines.push(format!("  of allowed_groups: {fits}"));
        }
        lines
    }

    fn role_lines(&self) -> Vec<String> {
        let role = &self.evaluation.role;
        let word = role.word.as_ref().map(|word| shown(&json!(word))).unwrap_or_default();
        let by = match role.source {
            RoleSource::NoPath => "the default of who is new".to_owned(),
            RoleSource::Mapped => format!("what role_mapping says of {word}"),
            RoleSource::OwnWord => format!("the word {word} itself"),
            RoleSource::Absent => "the default, as there is no word for a role".to_owned(),
            RoleSource::Unmapped => format!("the default, as {word} is no word that is known here"),
            RoleSource::Failed => "the default and at most viewer, as the expression does not fit".to_owned(),
        };
        let mut lines = vec![found_line("role", self.rules().role.as_ref(), role.found.as_ref())];
        lines.push(match &self.evaluation.result {
            Err(_) => format!("  role: none; it would be {}: {by}", role.role),
            Ok(rights) => match rights.role {
                RoleDecision::Set(role) => format!("  role: {role} from now on: {by}"),
                RoleDecision::Keep { new } => {
                    format!("  role: {new} for who is new: {by}; who is known keeps theirs")
                }
            },
        });
        lines
    }

    fn email_lines(&self) -> Vec<String> {
        let email = &self.evaluation.email;
        let counts = match &email.email {
            EmailClaim::None => "no address".to_owned(),
            EmailClaim::Verified { by: VerifiedBy::Claim, .. } => {
                "counts as verified: email_verified says so".to_owned()
            }
            EmailClaim::Verified { by: VerifiedBy::Setting, .. } => {
                "counts as verified: trust_email says so".to_owned()
            }
            EmailClaim::Unverified { why, .. } => format!(
                "does not count as verified: {why}; it is shown, and matches no invitation and no allowed_domains"
            ),
        };
        vec![
            found_line("email", Some(&self.rules().email), Some(&email.found)),
            format!("  e-mail: {counts}"),
        ]
    }

    /// What may be meant otherwise.
    fn hints(&self) -> Vec<String> {
        let rules = self.rules();
        let evaluation = &self.evaluation;
        let mut hints: Vec<String> = evaluation.warnings().iter().map(ToString::to_string).collect();
        let absent = [
            ("groups", rules.groups.as_ref(), evaluation.groups.found.as_ref()),
            ("role", rules.role.as_ref(), evaluation.role.found.as_ref()),
            ("email", Some(&rules.email), Some(&evaluation.email.found)),
            ("name", Some(&rules.name), Some(&evaluation.name.found)),
        ];
        for (setting, path, found) in absent {
            let (Some(path), Some(Found::Absent | Found::Failed(_))) = (path, found) else { continue };
            for similar in rules.similar(path, &self.given.claims) {
                hints.push(format!("`{setting}` finds nothing, and there is a claim {similar}"));
            }
        }
        let issuer = self.provider.issuer.issuer.as_str();
        if let Some(named) = self.given.claims.get("iss").and_then(Value::as_str)
            && named != issuer
            && !issuer.contains('{')
        {
            hints.push(format!(
                "the claims are of the issuer {}, and the settings name {issuer}",
                shown(&json!(named))
            ));
        }
        hints
    }
}

fn found_line(setting: &str, path: Option<&ClaimPath>, found: Option<&Found>) -> String {
    let (Some(path), Some(found)) = (path, found) else { return format!("{setting}: not asked for") };
    let found = match found {
        Found::Absent => "finds nothing".to_owned(),
        Found::Failed(why) => format!("does not fit: {why}"),
        Found::Value(value) => format!("finds {}", shown(value)),
    };
    format!("{setting}: `{}` {found}", path.as_str())
}

fn found_value(found: &Found) -> Value {
    match found {
        Found::Absent => Value::Null,
        Found::Failed(why) => json!({ "does_not_fit": why.to_string() }),
        Found::Value(value) => json!({ "value": value }),
    }
}

fn ignored(out: &IgnoredGroup) -> String {
    match out {
        IgnoredGroup::Name(name) => format!("{}, as no group can be called so", shown(&json!(name))),
        IgnoredGroup::Value(value) => format!("{}, which is no name", shown(value)),
    }
}

/// A value as JSON, which holds no control characters, and not too much of it.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => {
            format!("{}… ({} characters)", text.get(..end).unwrap_or_default(), text.chars().count())
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> String {
        format!("eyJhbGciOiJub25lIn0.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn claims_are_read_from_json_and_from_tokens() {
        let claims = r#"{"sub":"1"}"#;
        for (text, from_token) in
            [(claims.to_owned(), false), (token(claims), true), (format!("Bearer {}", token(claims)), true)]
        {
            let given = Given::parse(text.as_bytes()).ok().unwrap();
            assert_eq!(
                (given.from_token, given.claims.get("sub")),
                (from_token, Some(&json!("1"))),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_neither_is_refused_without_a_word_of_it() {
        for text in [
            "",
            "s3cret",
            "a.s3cret.b",
            "a.b.s3cret.d.e",
            "{\"s3cret\"",
            &token("[\"s3cret\"]"),
            "[\"s3cret\"]",
        ] {
            let why = Given::parse(text.as_bytes()).err().unwrap();
            assert!(!why.contains("s3cret"), "{why}");
        }
        let long = vec![b'a'; 1024 * 1024];
        assert!(Given::parse(&long).is_err());
    }

    #[test]
    fn values_are_shown_so_that_they_cannot_steer_a_terminal() {
        assert_eq!(shown(&json!("a\u{1b}[2J\n")), r#""a\u001b[2J\n""#);
        let long = shown(&json!("é".repeat(1000)));
        assert!(long.ends_with("… (1002 characters)") && long.chars().count() < 330, "{long}");
    }
}
