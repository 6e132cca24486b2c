//! What an ID token must say (OpenID Connect Core 1.0, 3.1.3.7 and 12.2), once its signature is verified.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::error::TokenRefusal;
use super::jwt;
use crate::config::{IssuerConfig, ProviderConfig};
use crate::model::secret::Secret;
use crate::model::time::{SKEW, Timestamp};
pub(super) use crate::policy::claims::subject;

/// What stands in the place of a tenant in an issuer of Microsoft Entra ID.
const TENANT: &str = "{tenantid}";

/// The claims of an ID token that was checked.
#[derive(Debug)]
pub(super) struct IdToken {
    pub(super) claims: Map<String, Value>,
    /// `iss`.
    pub(super) issuer: String,
    /// `sub`.
    pub(super) subject: String,
}

/// What a token has to belong to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Binding<'a> {
    /// A sign-in that has just come back.
    SignIn { nonce: &'a str, max_age: Option<Duration> },
    /// A sign-in that goes on.
    Refresh { last: &'a IdToken },
}

impl IdToken {
    pub(super) fn check(
        claims: Map<String, Value>,
        config: &ProviderConfig,
        now: Timestamp,
        binding: Binding<'_>,
    ) -> Result<Self, TokenRefusal> {
        let issuer = issuer(&claims, &config.issuer)?.to_owned();
        if !is_audience(&claims, &config.client_id) {
            return Err(TokenRefusal::Audience);
        }
        let subject = subject(claims.get("sub")).ok_or(TokenRefusal::Subject)?;
        if time(claims.get("exp")).is_none_or(|expires| now >= expires.after(SKEW)) {
            return Err(TokenRefusal::Expired);
        }
        let is_ahead = |name| time(claims.get(name)).is_none_or(|time| time.is_ahead_of(now));
        if is_ahead("iat") || claims.contains_key("nbf") && is_ahead("nbf") {
            return Err(TokenRefusal::NotYet);
        }
        if !is_of_hosted_domain(&claims, &config.hosted_domains) {
            return Err(TokenRefusal::HostedDomain);
        }
        match binding {
            Binding::SignIn { nonce, max_age } => {
                if text(&claims, "nonce") != Some(nonce) {
                    return Err(TokenRefusal::Nonce);
                }
                let fits = |max_age: Duration| {
                    let signed_in = time(claims.get("auth_time"))?;
                    Some(!signed_in.is_ahead_of(now) && now.since(signed_in) <= max_age + SKEW)
                };
                if max_age.is_some_and(|max_age| fits(max_age) != Some(true)) {
                    return Err(TokenRefusal::AuthTime);
                }
            }
            Binding::Refresh { last } => {
                if (&issuer, &subject) != (&last.issuer, &last.subject) {
                    return Err(TokenRefusal::OtherPerson);
                }
                let before = last.claims.get("nonce");
                if before.is_some() && claims.contains_key("nonce") && claims.get("nonce") != before {
                    return Err(TokenRefusal::Nonce);
                }
            }
        }
        Ok(Self { claims, issuer, subject })
    }

    /// Checks `at_hash`, which an ID token from the token endpoint need not have (OpenID Connect Core 1.0, 3.1.3.8).
    pub(super) fn of_access_token(
        self,
        algorithm: Algorithm,
        access_token: &Secret,
    ) -> Result<Self, TokenRefusal> {
        let Some(hash) = self.claims.get("at_hash") else { return Ok(self) };
        if hash.as_str() == Some(&left_half(algorithm, access_token.expose())) {
            Ok(self)
        } else {
            Err(TokenRefusal::AccessTokenHash)
        }
    }

    /// One that was verified when it came, and kept sealed since. It may have expired.
    pub(super) fn verified_before(token: &Secret) -> Result<Self, TokenRefusal> {
        let claims = jwt::claims(token.expose())?;
        let issuer = text(&claims, "iss").ok_or(TokenRefusal::Issuer)?.to_owned();
        let subject = subject(claims.get("sub")).ok_or(TokenRefusal::Subject)?;
        Ok(Self { claims, issuer, subject })
    }
}

/// `sid`: the session at the provider (OpenID Connect Front-Channel Logout 1.0, 3), shaped as a subject.
pub(super) fn session(claims: &Map<String, Value>) -> Option<String> {
    claims.get("sid").filter(|sid| sid.is_string()).and_then(|sid| subject(Some(sid)))
}

/// Whether a text is this issuer, or that of one of its tenants.
pub(super) fn is_issuer(text: &str, config: &IssuerConfig) -> bool {
    if config.tenants.is_empty() {
        text == config.issuer
    } else {
        config.tenants.iter().any(|tenant| text == of_tenant(config, tenant))
    }
}

/// Whether `aud` names this client, and `azp` nobody else. With several audiences `azp` must say that the token is for us.
pub(super) fn is_audience(claims: &Map<String, Value>, client_id: &str) -> bool {
    let are_several = claims.get("aud").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
    let is_client = |value: &Value| value.as_str() == Some(client_id);
    names_client(claims, client_id) && claims.get("azp").map_or(!are_several, is_client)
}

/// Whether `aud` names this client, alone or among others.
pub(super) fn names_client(claims: &Map<String, Value>, client_id: &str) -> bool {
    let is_client = |value: &Value| value.as_str() == Some(client_id);
    match claims.get("aud") {
        Some(Value::Array(all)) => all.iter().any(is_client),
        one => one.is_some_and(is_client),
    }
}

/// Whether `hd` is one of the domains, if there are any. Of an account that belongs to no organisation it is missing, whatever its
/// e-mail address is (developers.google.com/identity/openid-connect, "Authenticating the user").
fn is_of_hosted_domain(claims: &Map<String, Value>, domains: &[String]) -> bool {
    let hosted = text(claims, "hd").map(str::to_ascii_lowercase);
    domains.is_empty() || hosted.is_some_and(|hosted| domains.contains(&hosted))
}

/// `iss`, if it is the configured one. With several tenants it must be that of the tenant in `tid`, which must be a configured
/// one.
pub(super) fn issuer<'c>(
    claims: &'c Map<String, Value>,
    config: &IssuerConfig,
) -> Result<&'c str, TokenRefusal> {
    let expected = if config.tenants.is_empty() {
        config.issuer.clone()
    } else {
        let is_tenant = |tid: &&str| config.tenants.iter().any(|tenant| tenant == tid);
        of_tenant(config, text(claims, "tid").filter(is_tenant).ok_or(TokenRefusal::Tenant)?)
    };
    text(claims, "iss").filter(|issuer| *issuer == expected).ok_or(TokenRefusal::Issuer)
}

fn of_tenant(config: &IssuerConfig, tenant: &str) -> String {
    config.issuer.replace(TENANT, tenant)
}

pub(super) fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c str> {
    claims.get(name)?.as_str()
}

/// A `NumericDate` (RFC 7519, 2), which may have a fraction. Text is none.
pub(super) fn time(claim: Option<&Value>) -> Option<Timestamp> {
    let number = claim?;
    #[expect(clippy::cast_possible_truncation, reason = "a float's conversion saturates, and NaN is no JSON")]
    let seconds = number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds as i64))?;
    Some(Timestamp(seconds))
}

/// The left half of a hash, by the algorithm that signed the ID token. Ed25519 goes with SHA-512 (RFC 8032, 5.1).
fn left_half(algorithm: Algorithm, text: &str) -> String {
    let half = |digest: &[u8]| URL_SAFE_NO_PAD.encode(digest.get(..digest.len() / 2).unwrap_or_default());
    match algorithm {
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => half(&Sha384::digest(text)),
        Algorithm::RS512 | Algorithm::PS512 | Algorithm::EdDSA => half(&Sha512::digest(text)),
        _ => half(&Sha256::digest(text)),
    }
}
