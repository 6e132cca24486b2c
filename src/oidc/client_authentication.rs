//! How the gateway proves to the token endpoint which client it is (OpenID Connect Core 1.0, 9), by the settings alone.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use url::form_urlencoded::byte_serialize;

use super::error::{SetupError, TokenEndpointError};
use crate::config::ClientCredentials;
use crate::model::jwt::{JwtAlgorithm, JwtKey};
use crate::model::secret::Secret;
use crate::model::time::Clock;
use crate::model::token::random_text;

/// For how long a client assertion is good, which is used at once.
const ASSERTION_LIFETIME: Duration = Duration::from_mins(1);
/// Bytes of the file of a client assertion.
const LARGEST_ASSERTION: u64 = 64 * 1024;
/// RFC 7523, 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Who the gateway is for a provider, and how it proves that.
pub(super) struct ClientAuthentication {
    client_id: String,
    method: Method,
}

enum Method {
    /// The secret, the value of `Authorization` that is made of it, and whether form-encoding changed the client or the secret.
    Basic {
        secret: Secret,
        authorization: Secret,
        is_changed: bool,
    },
    Post(Secret),
    None,
    PrivateKey(Box<JwtKey>),
    Assertion(PathBuf),
}

/// What goes along with one request.
#[derive(Default)]
pub(super) struct ClientProof {
    /// `Authorization`.
    pub(super) authorization: Option<Secret>,
    /// Fields of the form that are no secret.
    pub(super) fields: Vec<(&'static str, String)>,
    /// A field of the form that is one.
    pub(super) secret: Option<(&'static str, Secret)>,
}

impl ClientAuthentication {
    pub(super) fn new(client_id: &str, credentials: &ClientCredentials) -> Result<Self, SetupError> {
        let method = match credentials {
            ClientCredentials::Basic(secret) => basic(client_id, secret),
            ClientCredentials::Post(secret) => Method::Post(secret.clone()),
            ClientCredentials::None => Method::None,
            ClientCredentials::PrivateKey(file) => {
                let text =
                    std::fs::read_to_string(file).map(Secret::new).map_err(SetupError::PrivateKeyFile)?;
                let kinds = [JwtAlgorithm::Rs256, JwtAlgorithm::Es256, JwtAlgorithm::EdDsa];
                let key = kinds.into_iter().find_map(|kind| JwtKey::from_text(kind, &text).ok());
                Method::PrivateKey(Box::new(key.ok_or(SetupError::PrivateKey)?))
            }
            ClientCredentials::Assertion(file) => Method::Assertion(file.clone()),
        };
        Ok(Self { client_id: client_id.to_owned(), method })
    }

    /// What goes along with a request to the token endpoint at `audience`.
    pub(super) async fn proof(
        &self,
        audience: &str,
        clock: &dyn Clock,
    ) -> Result<ClientProof, TokenEndpointError> {
        if let Method::Basic { authorization, .. } = &self.method {
            return Ok(ClientProof { authorization: Some(authorization.clone()), ..ClientProof::default() });
        }
        let mut proof =
            ClientProof { fields: vec![("client_id", self.client_id.clone())], ..ClientProof::default() };
        proof.secret = match &self.method {
            Method::Basic { .. } | Method::None => None,
            Method::Post(secret) => Some(("client_secret", secret.clone())),
            Method::PrivateKey(key) => Some(("client_assertion", self.signed(key, audience, clock)?)),
            Method::Assertion(file) => {
                Some(("client_assertion", read(file).await.map_err(TokenEndpointError::AssertionFile)?))
            }
        };
        if matches!(self.method, Method::PrivateKey(_) | Method::Assertion(_)) {
            proof.fields.push(("client_assertion_type", ASSERTION_TYPE.to_owned()));
        }
        Ok(proof)
    }

    /// Whether a provider that does not decode client and secret before it compares them (RFC 6749, 2.3.1) would see others.
    pub(super) fn is_changed_by_encoding(&self) -> bool {
        matches!(self.method, Method::Basic { is_changed: true, .. })
    }

    /// Whether a text repeats the client secret.
    pub(super) fn is_repeated_in(&self, text: &str) -> bool {
        matches!(&self.method, Method::Basic { secret, .. } | Method::Post(secret) if text.contains(secret.expose()))
    }

    /// `private_key_jwt` (OpenID Connect Core 1.0, 9; RFC 7523, 3).
    fn signed(&self, key: &JwtKey, audience: &str, clock: &dyn Clock) -> Result<Secret, TokenEndpointError> {
        let now = clock.now();
        let claims = json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": audience,
            "jti": random_text().expose(),
            "iat": now.0,
            "exp": now.after(ASSERTION_LIFETIME).0,
        });
        let signed = claims.as_object().and_then(|claims| key.sign_as(None, claims));
        signed.map(Secret::new).ok_or(TokenEndpointError::Signing)
    }
}

/// Client and secret are form-encoded before they are joined (RFC 6749, 2.3.1).
fn basic(client_id: &str, secret: &Secret) -> Method {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let (id, password) = (encoded(client_id), Secret::new(encoded(secret.expose())));
    let is_changed = id != client_id || password.expose() != secret.expose();
    let joined = Secret::new(format!("{id}:{}", password.expose()));
    let authorization = Secret::new(format!("Basic {}", STANDARD.encode(joined.expose())));
    Method::Basic { secret: secret.clone(), authorization, is_changed }
}

/// The statement that the platform keeps in a file, which it renews.
async fn read(file: &Path) -> io::Result<Secret> {
    let mut text = String::new();
    tokio::fs::File::open(file).await?.take(LARGEST_ASSERTION).read_to_string(&mut text).await?;
    Ok(Secret::new(text.trim()))
}
