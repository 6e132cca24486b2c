//! Tokens that tell an upstream who is calling: signed, short-lived, made once per caller and half life.

use std::cell::RefCell;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::config::{AssertionConfig, BearerConfig, ClaimValue};
use crate::model::jwt::{JwtAlgorithm, JwtKey, RotatingKeys};
use crate::model::principal::Principal;
use crate::model::time::Timestamp;

/// Makes one kind of token for one application.
#[derive(Debug)]
pub(super) struct Minter {
    /// Where the token goes.
    pub(super) header: HeaderName,
    scheme: &'static str,
    issuer: String,
    audience: String,
    lifetime: Duration,
    claims: Vec<(String, ClaimValue)>,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    Own(JwtKey),
    /// The last one used is kept, with its period.
    Rotating(JwtAlgorithm, RefCell<Option<(i64, JwtKey)>>),
}

/// A token for a header, and how long until the next one is due.
pub(super) struct Minted {
    pub(super) value: HeaderValue,
    pub(super) good_for: Duration,
}

impl Minter {
    /// A minter of assertions; `name` is whom they are for where the settings do not say.
    pub(super) fn assertion(config: &AssertionConfig, issuer: &str, name: &str) -> Self {
        Self {
            header: config.header.clone(),
            scheme: "",
            issuer: issuer.to_owned(),
            audience: config.audience.clone().unwrap_or_else(|| name.to_owned()),
            lifetime: config.lifetime,
            claims: Vec::new(),
            keys: Keys::Rotating(config.algorithm, RefCell::new(None)),
        }
    }

    /// A minter of bearer tokens.
    pub(super) fn bearer(config: &BearerConfig, issuer: &str, name: &str) -> Self {
        Self {
            header: http::header::AUTHORIZATION,
            scheme: "Bearer ",
            issuer: config.issuer.clone().unwrap_or_else(|| issuer.to_owned()),
            audience: config.audience.clone().unwrap_or_else(|| name.to_owned()),
            lifetime: config.lifetime,
            claims: config.claims.clone(),
            keys: Keys::Own(config.key.clone()),
        }
    }

    /// A token for a caller; `None` only if the cryptography fails.
    pub(super) fn mint(&self, principal: &Principal, now: Timestamp, keys: &RotatingKeys) -> Option<Minted> {
        let claims = self.claims_of(principal, now);
        let token = match &self.keys {
            Keys::Own(key) => key.sign(&claims),
            Keys::Rotating(algorithm, last) => {
                let period = RotatingKeys::period(now);
                let mut last = last.borrow_mut();
                if last.as_ref().is_none_or(|(of, _)| *of != period) {
                    *last = keys.key(*algorithm, period).map(|key| (period, key));
                }
                last.as_ref().and_then(|(_, key)| key.sign(&claims))
            }
        };
        let value = token.and_then(|token| HeaderValue::try_from(format!("{}{token}", self.scheme)).ok());
        let Some(mut value) = value else {
            tracing::error!(http.header = %self.header, "a token could not be signed");
            return None;
        };
        value.set_sensitive(true);
        Some(Minted { value, good_for: self.lifetime / 2 })
    }

    /// Claims of the settings that are missing for a caller, or of whose list a part is, as people are told of them.
    pub(super) fn without_value(&self, principal: &Principal) -> impl Iterator<Item = String> {
        let lacking = self.claims.iter().filter(|(_, value)| !value.is_whole_for(principal));
        lacking.map(|(claim, _)| format!("claim {claim} of the token in {}", self.header))
    }

    fn claims_of(&self, principal: &Principal, now: Timestamp) -> Map<String, Value> {
        let mut claims = Map::new();
        let mut say = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
        say("sub", principal.subject().into());
        say("preferred_username", principal.name.as_str().into());
        if let Some(name) = &principal.display_name {
            say("name", name.as_str().into());
        }
        if let Some(email) = &principal.email {
            say("email", email.as_str().into());
        }
        say("groups", principal.groups.clone().into());
        say("role", principal.role.as_str().into());
        for (name, value) in &self.claims {
            match value.of(principal) {
                Some(value) => drop(claims.insert(name.clone(), value)),
                None => drop(claims.remove(name)),
            }
        }
        // Last, so that nothing above can change what the signature is good for.
        let mut say = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
        say("iss", self.issuer.as_str().into());
        say("aud", self.audience.as_str().into());
        say("iat", now.0.into());
        say("nbf", now.0.into());
        say("exp", now.after(self.lifetime).0.into());
        claims
    }
}
