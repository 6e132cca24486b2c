//! The token endpoint (RFC 6749, 4.1.3, 5 and 6): a code or a refresh token goes in, tokens come out.

use std::time::Duration;

use serde_json::{Map, Value};

use super::client_authentication::ClientAuthentication;
use super::error::{ErrorCode, TokenEndpointError, loggable};
use crate::egress::{EgressClient, EgressRequest, EgressResponse};
use crate::model::json;
use crate::model::secret::Secret;
use crate::model::time::Clock;

/// For how long an answer holds that does not say it.
const USUAL_LIFETIME: Duration = Duration::from_mins(5);
/// For how long an answer holds at most.
const LONGEST_LIFETIME: Duration = Duration::from_hours(24);

/// What is given for tokens.
pub(super) enum Grant<'a> {
    Code { code: &'a Secret, redirect_uri: &'a str, verifier: &'a Secret },
    Refresh { token: &'a Secret },
}

/// What comes back. Every text is as it came.
pub(super) struct TokenResponse {
    pub(super) access_token: Secret,
    pub(super) id_token: Option<Secret>,
    pub(super) refresh_token: Option<Secret>,
    pub(super) lifetime: Duration,
    /// What was allowed (RFC 6749, 3.3), where it is said.
    pub(super) scope: Option<String>,
}

pub(super) async fn send(
    egress: &EgressClient,
    authentication: &ClientAuthentication,
    url: &str,
    grant: &Grant<'_>,
    clock: &dyn Clock,
) -> Result<TokenResponse, TokenEndpointError> {
    let (fields, secrets) = match grant {
        Grant::Code { code, redirect_uri, verifier } => (
            vec![("grant_type", "authorization_code"), ("redirect_uri", *redirect_uri)],
            vec![("code", *code), ("code_verifier", *verifier)],
        ),
        Grant::Refresh { token } => (vec![("grant_type", "refresh_token")], vec![("refresh_token", *token)]),
    };
    let form = ClientForm { fields, secrets: secrets.clone() };
    let response = form.post(egress, authentication, url, clock).await?;
    let read = TokenResponse::read(&response, |text| {
        authentication.is_repeated_in(text)
            || secrets.iter().any(|(_, secret)| text.contains(secret.expose()))
    });
    match grant {
        Grant::Code { .. } => read,
        Grant::Refresh { .. } => read.map_err(|error| of_refresh(error, &response)),
    }
}

/// Nothing but the token can be wrong with the request of a refresh. Dex calls a spent one `invalid_request`, and Glewlwyd
/// answers with a status and not a word.
fn of_refresh(error: TokenEndpointError, response: &EgressResponse) -> TokenEndpointError {
    let code = ErrorCode::InvalidGrant;
    match error {
        TokenEndpointError::Refused { code: ErrorCode::InvalidRequest, said } => {
            TokenEndpointError::Refused { code, said }
        }
        TokenEndpointError::Call(_) if response.status() == 400 && response.body().is_empty() => {
            TokenEndpointError::Refused { code, said: "(nothing)".to_owned() }
        }
        error => error,
    }
}

/// Gives a signed statement for a token (RFC 7523, 2.1).
pub(super) async fn exchange_assertion(
    egress: &EgressClient,
    url: &str,
    assertion: &Secret,
) -> Result<TokenResponse, TokenEndpointError> {
    const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    let fields = [("grant_type", GRANT), ("assertion", assertion.expose())];
    let response = egress.send(EgressRequest::form(url, &fields)).await?;
    TokenResponse::read(&response, |text| text.contains(assertion.expose()))
}

/// Gives a refresh token back (RFC 7009, 2.1).
pub(super) async fn revoke(
    egress: &EgressClient,
    authentication: &ClientAuthentication,
    url: &str,
    token: &Secret,
    clock: &dyn Clock,
) -> Result<(), TokenEndpointError> {
    let form =
        ClientForm { fields: vec![("token_type_hint", "refresh_token")], secrets: vec![("token", token)] };
    let response = form.post(egress, authentication, url, clock).await?;
    let answer: Map<String, Value> = json::read(response.body()).unwrap_or_default();
    let is_secret = |text: &str| authentication.is_repeated_in(text) || text.contains(token.expose());
    match refusal(response.status(), &answer, is_secret) {
        Some(refusal) => Err(refusal),
        None => Ok(response.check_success()?),
    }
}

/// What is posted beside the proof of who the gateway is.
struct ClientForm<'a> {
    fields: Vec<(&'static str, &'a str)>,
    secrets: Vec<(&'static str, &'a Secret)>,
}

impl ClientForm<'_> {
    async fn post(
        self,
        egress: &EgressClient,
        authentication: &ClientAuthentication,
        url: &str,
        clock: &dyn Clock,
    ) -> Result<EgressResponse, TokenEndpointError> {
        let proof = authentication.proof(url, clock).await?;
        let mut fields = self.fields;
        fields.extend(proof.fields.iter().map(|(name, value)| (*name, value.as_str())));
        let secrets = self.secrets.into_iter().chain(proof.secret.iter().map(|(name, value)| (*name, value)));
        fields.extend(secrets.map(|(name, value)| (name, value.expose())));
        let mut request = EgressRequest::form(url, &fields);
        if let Some(authorization) = &proof.authorization {
            request = request.header("authorization", authorization);
        }
        Ok(egress.send(request).await?)
    }
}

impl TokenResponse {
    /// Some servers say no with a status of success, or bend the shape of lifetimes and types.
    fn read(response: &EgressResponse, is_secret: impl Fn(&str) -> bool) -> Result<Self, TokenEndpointError> {
        let answer: Option<Map<String, Value>> = json::read(response.body());
        if let Some(refusal) =
            answer.as_ref().and_then(|answer| refusal(response.status(), answer, is_secret))
        {
            return Err(refusal);
        }
        let mut answer = match answer {
            Some(answer) => {
                response.check_success()?;
                answer
            }
            None => response.json()?,
        };
        let lifetime = lifetime(answer.get("expires_in"));
        let is_bearer = match answer.get("token_type") {
            None => true,
            Some(kind) => kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")),
        };
        let scope = answer.get("scope").and_then(Value::as_str).map(str::to_owned);
        let mut token = |name| match answer.remove(name) {
            Some(Value::String(text)) if !text.is_empty() => Some(Secret::new(text)),
            _ => None,
        };
        Ok(Self {
            access_token: token("access_token").filter(|_| is_bearer).ok_or(TokenEndpointError::Shape)?,
            id_token: token("id_token"),
            refresh_token: token("refresh_token"),
            lifetime,
            scope,
        })
    }
}

/// `None` if the answer is no error. Dex says `invalid_request` where its own directory fails it, so a status of the server's
/// is believed before any word but that the token is spent.
fn refusal(
    status: u16,
    answer: &Map<String, Value>,
    is_secret: impl Fn(&str) -> bool,
) -> Option<TokenEndpointError> {
    let code = answer.get("error")?.as_str()?;
    let said = match answer.get("error_description").and_then(Value::as_str) {
        Some(description) => format!("{code}: {description}"),
        None => code.to_owned(),
    };
    let said = if is_secret(&said) { "(it repeats what it was sent)".to_owned() } else { loggable(&said) };
    let code = match ErrorCode::read(code) {
        code @ (ErrorCode::InvalidGrant | ErrorCode::TemporarilyUnavailable) => code,
        _ if status >= 500 => ErrorCode::ServerError,
        code => code,
    };
    Some(TokenEndpointError::Refused { code, said })
}

/// Seconds, also as text.
fn lifetime(value: Option<&Value>) -> Duration {
    let seconds = match value {
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(number) => number.as_u64(),
        None => None,
    };
    match seconds {
        None | Some(0) => USUAL_LIFETIME,
        Some(seconds) => Duration::from_secs(seconds).min(LONGEST_LIFETIME),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lifetimes_are_numbers_or_text_and_never_nothing_or_for_ever() {
        for (value, seconds) in [
            (json!(3600), 3600),
            (json!("3600"), 3600),
            (json!(" 60 "), 60),
            (json!(0), 300),
            (json!("0"), 300),
            (json!(-1), 300),
            (json!("soon"), 300),
            (json!(null), 300),
            (json!([60]), 300),
            (json!(u64::MAX), 86_400),
            (json!("99999999999999999999999"), 300),
        ] {
            assert_eq!(lifetime(Some(&value)), Duration::from_secs(seconds), "{value}");
        }
        assert_eq!(lifetime(None), USUAL_LIFETIME);
    }
}
