//! The authentication request (OpenID Connect Core 1.0, 3.1.2.1): the address that a browser is sent to.

use url::Url;

use crate::config::{Prompt, ProviderConfig, ProviderKind};

/// Characters of a `login_hint`, which is a name or an e-mail address.
const LONGEST_HINT: usize = 320;

/// What is new in each request. State, nonce and verifier are random and used once.
#[derive(Clone, Copy, Debug)]
pub struct AuthenticationRequest<'a> {
    /// The `state` (RFC 6749, 4.1.1).
    pub state: &'a str,
    /// The `nonce`, which GitHub has no use for.
    pub nonce: &'a str,
    /// The `code_challenge` of the method `S256` (RFC 7636, 4.2).
    pub challenge: &'a str,
    /// Who wants to sign in, as a link said it; GitHub calls it `login`. Left out unless the settings pass it on and it is short text.
    pub login_hint: Option<&'a str>,
}

/// The authorization endpoint, with its own query (RFC 6749, 3.1) and the request.
pub(super) fn url(
    config: &ProviderConfig,
    redirect_uri: &str,
    endpoint: &Url,
    request: &AuthenticationRequest<'_>,
) -> String {
    let is_github = config.kind == ProviderKind::Github;
    let mut url = endpoint.clone();
    let mut query = url.query_pairs_mut();
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", &config.client_id)
        .append_pair("redirect_uri", redirect_uri)
        .append_pair("scope", &config.scopes.join(" "))
        .append_pair("state", request.state)
        .append_pair("code_challenge", request.challenge)
        .append_pair("code_challenge_method", "S256");
    if !is_github {
        query.append_pair("nonce", request.nonce);
    }
    if !config.prompt.is_empty() {
        let words: Vec<&str> = config.prompt.iter().copied().map(word).collect();
        query.append_pair("prompt", &words.join(" "));
    }
    if let Some(max_age) = config.max_age {
        query.append_pair("max_age", &max_age.as_secs().to_string());
    }
    if !config.acr_values.is_empty() {
        query.append_pair("acr_values", &config.acr_values.join(" "));
    }
    if let Some(hint) = request.login_hint.filter(|hint| config.login_hint && is_hint(hint)) {
        query.append_pair(if is_github { "login" } else { "login_hint" }, hint);
    }
    // A hint alone: what the ID token says is checked.
    match config.hosted_domains.as_slice() {
        [] => {}
        [domain] => {
            query.append_pair("hd", domain);
        }
        _ => {
            query.append_pair("hd", "*");
        }
    }
    for (name, value) in &config.authorize_parameters {
        query.append_pair(name, value);
    }
    drop(query);
    url.into()
}

fn is_hint(text: &str) -> bool {
    (1..=LONGEST_HINT).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn word(prompt: Prompt) -> &'static str {
    match prompt {
        Prompt::Login => "login",
        Prompt::Consent => "consent",
        Prompt::SelectAccount => "select_account",
        Prompt::Create => "create",
    }
}
