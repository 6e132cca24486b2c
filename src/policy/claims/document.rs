//! The claims about somebody, as one JSON object of bounded size.

use std::sync::Arc;

use jmespath::{Rcvar, Variable};
use serde_json::{Map, Value};

use crate::model::identity::is_subject;

/// Bytes of claims as JSON.
pub(super) const MOST_BYTES: usize = 128 * 1024;
/// Values in claims, those inside lists and objects included.
pub(super) const MOST_VALUES: usize = 10_000;

/// What an issuer says of somebody: the claims of an ID token, with those of userinfo where it was asked (OpenID Connect
/// Core 1.0, 5.1), or of an access token.
#[derive(Clone, Debug)]
pub struct ClaimSet {
    object: Map<String, Value>,
    searched: Rcvar,
}

/// Why something cannot be looked at as claims. Holds nothing of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadClaimSet {
    /// No JSON, or something else than an object.
    #[error("the claims are no JSON object")]
    NoObject,
    /// Too long, or too many values.
    #[error("the claims are longer than 128 KiB or have more than 10,000 values")]
    TooLarge,
}

impl ClaimSet {
    /// Claims that were read already.
    ///
    /// # Errors
    ///
    /// [`BadClaimSet::TooLarge`] beyond 128 KiB or 10,000 values.
    pub fn new(object: Map<String, Value>) -> Result<Self, BadClaimSet> {
        if object.values().map(values).sum::<usize>() > MOST_VALUES {
            return Err(BadClaimSet::TooLarge);
        }
        let whole = Value::Object(object.clone());
        if whole.to_string().len() > MOST_BYTES {
            return Err(BadClaimSet::TooLarge);
        }
        let searched = Variable::try_from(whole).map_err(|_| BadClaimSet::NoObject)?;
        Ok(Self { object, searched: Arc::new(searched) })
    }

    /// Claims as JSON text.
    ///
    /// # Errors
    ///
    /// [`BadClaimSet`] if they are no object (also where they are nested deeper than 128 times), or too large.
    pub fn parse(text: &[u8]) -> Result<Self, BadClaimSet> {
        if text.len() > 4 * MOST_BYTES {
            return Err(BadClaimSet::TooLarge);
        }
        Self::new(serde_json::from_slice(text).map_err(|_| BadClaimSet::NoObject)?)
    }

    /// A claim by its name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.object.get(name)
    }

    /// The same claims with another value of one of them.
    ///
    /// # Errors
    ///
    /// As for [`ClaimSet::new`].
    pub fn with(&self, name: &str, value: Value) -> Result<Self, BadClaimSet> {
        let mut object = self.object.clone();
        object.insert(name.to_owned(), value);
        Self::new(object)
    }

    /// What a claim identifies somebody by: 1 to 255 characters without control characters, or a whole number as text (OpenID Connect Core 1.0, 2).
    pub fn subject(&self, claim: &str) -> Option<String> {
        subject(self.object.get(claim))
    }

    /// Every claim with its name.
    pub fn all(&self) -> &Map<String, Value> {
        &self.object
    }

    pub(super) fn searched(&self) -> &Rcvar {
        &self.searched
    }

    /// Whether the issuer says that it left the groups out because they are too many, as Microsoft Entra ID does beyond 200:
    /// by a claim that is elsewhere (OpenID Connect Core 1.0, 5.6.2), or by `hasgroups`.
    pub fn has_group_overage(&self) -> bool {
        let elsewhere = self.get("_claim_names").and_then(|names| names.get("groups")).is_some();
        elsewhere || self.get("hasgroups") == Some(&Value::Bool(true))
    }
}

/// A claim that identifies somebody, as [`ClaimSet::subject`] reads it.
pub fn subject(claim: Option<&Value>) -> Option<String> {
    let subject = match claim? {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
        _ => return None,
    };
    Some(subject).filter(|subject| is_subject(subject))
}

/// How many values a value is made of, itself included.
fn values(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(values).sum(),
        Value::Object(fields) => fields.values().map(values).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_that_are_no_object_or_too_large_are_refused() {
        for text in ["", "null", "[]", "\"a\"", "{", "{} {}"] {
            assert_eq!(ClaimSet::parse(text.as_bytes()).unwrap_err(), BadClaimSet::NoObject, "{text}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        assert_eq!(ClaimSet::parse(deep.as_bytes()).unwrap_err(), BadClaimSet::NoObject);
        let with = |count: usize| format!("{{\"a\":[{}]}}", vec!["1"; count].join(","));
        assert!(ClaimSet::parse(with(MOST_VALUES - 1).as_bytes()).is_ok());
        assert_eq!(ClaimSet::parse(with(MOST_VALUES).as_bytes()).unwrap_err(), BadClaimSet::TooLarge);
        let long = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length));
        assert!(ClaimSet::parse(long(MOST_BYTES - 8).as_bytes()).is_ok());
        assert_eq!(ClaimSet::parse(long(MOST_BYTES - 7).as_bytes()).unwrap_err(), BadClaimSet::TooLarge);
        let blank = format!("{{{}}}", " ".repeat(4 * MOST_BYTES));
        assert_eq!(
            ClaimSet::parse(blank.as_bytes()).unwrap_err(),
            BadClaimSet::TooLarge,
            "before it is parsed"
        );
    }

    #[test]
    fn groups_that_are_elsewhere_are_noticed() {
        let claims = |text: &str| ClaimSet::parse(text.as_bytes()).unwrap();
        for text in [r#"{"_claim_names":{"groups":"src1"}}"#, r#"{"hasgroups":true}"#] {
            assert!(claims(text).has_group_overage(), "{text}");
        }
        for text in
            ["{}", r#"{"_claim_names":{"roles":"src1"}}"#, r#"{"hasgroups":false}"#, r#"{"groups":[]}"#]
        {
            assert!(!claims(text).has_group_overage(), "{text}");
        }
    }
}
