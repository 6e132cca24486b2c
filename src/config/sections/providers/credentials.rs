//! How the gateway proves to a provider who it is: one method, with what that needs and nothing else.

use std::path::PathBuf;

use super::Provider;
use super::kind::{ProviderKind, ProviderPreset};
use super::values::TokenAuth;
use crate::config::reading::{Section as _, SettingsReader};
use crate::model::secret::Secret;

/// How the gateway proves to a provider who it is.
#[derive(Clone, Debug)]
pub enum ClientCredentials {
    /// A secret in `Authorization`.
    Basic(Secret),
    /// A secret in the form.
    Post(Secret),
    /// Nothing.
    None,
    /// A key that signs, in a PEM file.
    PrivateKey(PathBuf),
    /// A statement in a file, read each time.
    Assertion(PathBuf),
}

/// `None` where a problem was noted.
pub(super) fn credentials(
    written: &Provider,
    preset: &ProviderPreset,
    reader: &mut SettingsReader,
) -> Option<ClientCredentials> {
    let method_at = written.at("token_auth");
    let chosen = if reader.is_set(&method_at) { written.token_auth } else { preset.token_auth };
    if written.kind == ProviderKind::Github && chosen != TokenAuth::ClientSecretPost {
        let remedy = "leave it out, or write `token_auth = \"client_secret_post\"`";
        reader.problem(&method_at, "is no method that GitHub knows", remedy);
        return None;
    }
    let secret_at = reader.set_as(&written.at("client_secret"));
    let given = [
        ("client_secret", secret_at, written.client_secret.is_some()),
        ("private_key_file", written.at("private_key_file"), written.private_key_file.is_some()),
        (
            "client_assertion_file",
            written.at("client_assertion_file"),
            written.client_assertion_file.is_some(),
        ),
    ];
    let (method, needed, remedy) = match chosen {
        TokenAuth::ClientSecretBasic => ("client_secret_basic", Some("client_secret"), SECRET),
        TokenAuth::ClientSecretPost => ("client_secret_post", Some("client_secret"), SECRET),
        TokenAuth::None => ("none", None, ""),
        TokenAuth::PrivateKeyJwt => ("private_key_jwt", Some("private_key_file"), KEY),
        TokenAuth::ClientAssertion => ("client_assertion", Some("client_assertion_file"), ASSERTION),
    };
    for (name, at, is_given) in &given {
        if *is_given && needed != Some(*name) {
            let what = format!("is of no use with `token_auth = \"{method}\"`");
            reader.problem(at, what, "leave it out, or name the method that uses it in `token_auth`");
        } else if !*is_given && needed == Some(*name) && !reader.is_broken(at) {
            reader.problem(at, format!("is missing, but `token_auth = \"{method}\"` needs it"), remedy);
        }
    }
    let secret = || written.client_secret.clone();
    match chosen {
        TokenAuth::ClientSecretBasic => secret().map(ClientCredentials::Basic),
        TokenAuth::ClientSecretPost => secret().map(ClientCredentials::Post),
        TokenAuth::None => Some(ClientCredentials::None),
        TokenAuth::PrivateKeyJwt => {
            written.private_key_file.as_ref().map(|file| ClientCredentials::PrivateKey(file.0.clone()))
        }
        TokenAuth::ClientAssertion => {
            let file = written.client_assertion_file.as_ref()?;
            Some(ClientCredentials::Assertion(reader.resolve(&file.0)))
        }
    }
}

const SECRET: &str =
    "add `client_secret_file = \"client-secret\"`, or `token_auth = \"none\"` for a public client";
const KEY: &str = "add `private_key_file = \"client.key\"`";
const ASSERTION: &str = "add `client_assertion_file = \"/var/run/secrets/tokens/sso\"`";
