//! Userinfo (OpenID Connect Core 1.0, 5.3): further claims, asked for where the ID token lacks what the settings look for.

use serde_json::{Map, Value};

use super::error::OidcError;
use super::id_token::is_audience;
use crate::config::{ProviderConfig, ProviderKind};
use crate::egress::{EgressClient, EgressError, EgressRequest};
use crate::model::secret::Secret;
use crate::policy::claims::{ClaimSet, EmailClaim, Unverified};

/// What userinfo answered, before anything of it is believed.
pub(super) enum Answer {
    /// Claims as JSON.
    Plain(Map<String, Value>),
    /// A token, whose signature has to be verified (`application/jwt`).
    Signed(String),
}

/// Why an answer is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum UserinfoError {
    #[error(transparent)]
    Call(#[from] EgressError),
    #[error("its token is no text")]
    NoText,
    #[error("its token is not verified: {0}")]
    Unverified(#[source] Box<OidcError>),
    #[error("its token is of another issuer or for another client, or does not say so")]
    OtherParty,
}

/// Whether the ID token lacks what the settings look for: an address and whether it is verified, groups, a role, the claim
/// that identifies. A directory has said all about groups. GitLab has inherited groups nowhere else.
pub(super) fn is_needed(config: &ProviderConfig, claims: &ClaimSet) -> bool {
    let found = config.claims.evaluate(claims);
    let lacks_email = match &found.email.email {
        EmailClaim::None | EmailClaim::Unverified { why: Unverified::Absent, .. } => true,
        EmailClaim::Unverified { .. } | EmailClaim::Verified { .. } => false,
    };
    let lacks_groups =
        config.directory.is_none() && config.claims.groups.is_some() && found.groups.groups.is_empty();
    let lacks_role = config.claims.role.is_some() && found.role.word.is_none();
    let lacks_subject = claims.get(&config.subject_claim).is_none();
    config.kind == ProviderKind::Gitlab || lacks_email || lacks_groups || lacks_role || lacks_subject
}

pub(super) async fn ask(
    egress: &EgressClient,
    endpoint: &str,
    access_token: &Secret,
) -> Result<Answer, UserinfoError> {
    let accept = Secret::new("application/json, application/jwt");
    let request = EgressRequest::get(endpoint).header("accept", &accept).bearer(access_token);
    let response = egress.send(request).await?;
    let content_type = response.header("content-type").unwrap_or_default().to_ascii_lowercase();
    if response.status() == 200
        && content_type.split(';').next().unwrap_or_default().trim() == "application/jwt"
    {
        let text = std::str::from_utf8(response.body()).map_err(|_| UserinfoError::NoText)?;
        return Ok(Answer::Signed(text.trim().to_owned()));
    }
    Ok(Answer::Plain(response.json()?))
}

/// A signed answer is of this issuer and for this client (OpenID Connect Core 1.0, 5.3.2).
pub(super) fn check_signed(
    claims: &Map<String, Value>,
    config: &ProviderConfig,
    issuer: &str,
) -> Result<(), UserinfoError> {
    let is_ours =
        claims.get("iss").and_then(Value::as_str) == Some(issuer) && is_audience(claims, &config.client_id);
    if is_ours { Ok(()) } else { Err(UserinfoError::OtherParty) }
}

/// Claims, and the claims that say whether those are verified (OpenID Connect Core 1.0, 5.1).
const VERIFICATIONS: [(&str, &str); 2] =
    [("email", "email_verified"), ("phone_number", "phone_number_verified")];

/// Claims of userinfo with those of the ID token, which win unless they are empty. What vouches for an address is taken only
/// from a document that names this address.
pub(super) fn merged(id_token: &Map<String, Value>, userinfo: Map<String, Value>) -> Map<String, Value> {
    let verifications = VERIFICATIONS.map(|(what, by)| (by, verification(what, by, [id_token, &userinfo])));
    let mut merged = userinfo;
    for (name, value) in id_token {
        if !is_empty(value) || !merged.contains_key(name) {
            merged.insert(name.clone(), value.clone());
        }
    }
    for (name, said) in verifications {
        match said {
            Some(said) => merged.insert(name.to_owned(), said),
            None => merged.remove(name),
        };
    }
    merged
}

/// What is said in the claim `by` of the value of `what` that counts. A `false` counts wherever it stands.
fn verification(what: &str, by: &str, documents: [&Map<String, Value>; 2]) -> Option<Value> {
    let said = |document: &'_ Map<String, Value>, name: &str| {
        document.get(name).filter(|value| !is_empty(value)).cloned()
    };
    let counts = documents.into_iter().find_map(|document| said(document, what));
    documents.into_iter().find_map(|document| {
        let verified = said(document, by)?;
        (verified == Value::Bool(false) || said(document, what) == counts).then_some(verified)
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
