//! A provider on loopback that says what a test wants, over real sockets.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use url::Url;

use super::*;
use crate::config::{ConfigSource, Flags, load};
use crate::egress::testing::{Behaviour, TestServer};
use crate::model::time::{ManualClock, Timestamp};

pub(super) const NOW: Timestamp = Timestamp(1_900_000_000);
pub(super) const SECRET: &str = "s3cret/of+the client:%=";
pub(super) const CLIENT: &str = "door ward";
pub(super) const NONCE: &str = "the-nonce";
pub(super) const CODE: &str = "the-code";
pub(super) const VERIFIER: &str = "the-verifier-of-forty-three-characters-0123";
pub(super) const REDIRECT: &str = "https://gateway.example/sub/_doorward/callback/sso";

/// Keys take a while to make.
pub(super) static RSA: LazyLock<String> = LazyLock::new(|| {
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    key.serialize_pem()
});

/// A key of a provider with its public half.
#[derive(Clone)]
pub(super) struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
    pub(super) jwk: Value,
}

impl Signer {
    pub(super) fn rsa(id: &str) -> Self {
        Self::new(EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap(), Algorithm::RS256, id)
    }

    /// A new one each time.
    pub(super) fn ec(id: &str) -> Self {
        let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
        Self::new(EncodingKey::from_ec_pem(pem.as_bytes()).unwrap(), Algorithm::ES256, id)
    }

    fn new(key: EncodingKey, algorithm: Algorithm, id: &str) -> Self {
        let mut jwk = Jwk::from_encoding_key(&key, algorithm).unwrap();
        jwk.common.key_id = Some(id.to_owned());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Self { key, algorithm, jwk: serde_json::to_value(jwk).unwrap() }
    }

    pub(super) fn header(&self) -> Header {
        let mut header = Header::new(self.algorithm);
        header.kid = self.jwk["kid"].as_str().map(str::to_owned);
        header
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        self.sign_with(&self.header(), claims)
    }

    pub(super) fn sign_with(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).unwrap()
    }
}

/// Three parts of any kind.
pub(super) fn token_of(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode(signature))
}

/// An object with some members replaced, and those left out that are `null`.
pub(super) fn changed(object: &Value, change: &Value) -> Value {
    let mut object = object.clone();
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => object.as_object_mut().unwrap().remove(name),
            value => object.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    object
}

/// What the provider says, by the path it is asked at.
#[derive(Clone)]
pub(super) struct Script {
    pub(super) discovery: Behaviour,
    pub(super) jwks: Behaviour,
    pub(super) token: Behaviour,
    pub(super) userinfo: Behaviour,
    pub(super) revocation: Behaviour,
    /// Whatever is below `/v1.0/` or `/api/`.
    pub(super) api: Behaviour,
}

/// A provider, and the gateway as its client.
pub(super) struct World {
    pub(super) server: TestServer,
    pub(super) script: Arc<Mutex<Script>>,
    pub(super) signer: Signer,
    pub(super) clock: Arc<ManualClock>,
    pub(super) party: RelyingParty,
    folder: tempfile::TempDir,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with("").await
    }

    /// With further settings of the provider, in which `ISSUER` is its address.
    pub(super) async fn with(settings: &str) -> Self {
        let signer = Signer::rsa("k1");
        let nothing = Behaviour::answer(404, "text/plain", "nothing here");
        let script = Script {
            discovery: nothing.clone(),
            jwks: keys(&[&signer.jwk]),
            token: nothing.clone(),
            userinfo: nothing.clone(),
            revocation: nothing.clone(),
            api: nothing,
        };
        let script = Arc::new(Mutex::new(script));
        let asked = Arc::clone(&script);
        let server = TestServer::plain(Behaviour::Choose(Arc::new(move |request| {
            let script = asked.lock().unwrap();
            let path = request.split([' ', '?']).nth(1).unwrap();
            match path {
                "/.well-known/openid-configuration" => script.discovery.clone(),
                "/jwks" => script.jwks.clone(),
                "/token" => script.token.clone(),
                "/me" => script.userinfo.clone(),
                "/revoke" => script.revocation.clone(),
                api if api.starts_with("/v1.0/") || api.starts_with("/api/") => script.api.clone(),
                other => panic!("nobody asks for {other}"),
            }
        })))
        .await;
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(NOW));
        let config = config(&folder, &server.url(""), settings);
        let party =
            RelyingParty::new(config, REDIRECT.to_owned(), Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        let world = Self { server, script, signer, clock, party, folder };
        world.announce(&json!({}));
        world.answer_with(&json!({}));
        world
    }

    pub(super) fn issuer(&self) -> String {
        self.server.url("")
    }

    /// Another client of the same provider, which remembers nothing.
    pub(super) fn fresh(&self, settings: &str) -> RelyingParty {
        self.made(settings).unwrap()
    }

    pub(super) fn made(&self, settings: &str) -> Result<RelyingParty, SetupError> {
        let config = config(&self.folder, &self.issuer(), settings);
        RelyingParty::new(config, REDIRECT.to_owned(), Arc::clone(&self.clock) as Arc<dyn Clock>)
    }

    /// A file that settings may name.
    pub(super) fn write(&self, name: &str, text: &str) {
        write(&self.folder.path().join(name), text);
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    /// Changes the discovery document.
    pub(super) fn announce(&self, change: &Value) {
        let document = changed(&self.document(), change);
        self.set(|script| script.discovery = Behaviour::json(&document.to_string()));
    }

    pub(super) fn document(&self) -> Value {
        json!({
            "issuer": self.issuer(),
            "authorization_endpoint": self.server.url("/authorize"),
            "token_endpoint": self.server.url("/token"),
            "jwks_uri": self.server.url("/jwks"),
            "userinfo_endpoint": self.server.url("/me"),
            "id_token_signing_alg_values_supported": ["none", "HS256", "RS256"],
            "token_endpoint_auth_methods_supported": ["tls_client_auth"],
        })
    }

    /// The claims of a good ID token.
    pub(super) fn claims(&self) -> Value {
        json!({
            "iss": self.issuer(), "sub": "user-1", "aud": CLIENT, "nonce": NONCE,
            "iat": NOW.0, "exp": NOW.0 + 300, "email": "ann@example.test", "email_verified": true,
        })
    }

    /// The next token response has an ID token with these changes.
    pub(super) fn answer_with(&self, change: &Value) {
        self.answer_with_token(&self.signer.sign(&changed(&self.claims(), change)));
    }

    /// The next token response has this ID token.
    pub(super) fn answer_with_token(&self, id_token: &str) {
        let answer = json!({
            "access_token": "the-access-token", "token_type": "bearer", "expires_in": 3600,
            "refresh_token": "the-refresh-token", "id_token": id_token,
        });
        self.set(|script| script.token = Behaviour::json(&answer.to_string()));
    }

    pub(super) fn userinfo(&self, claims: &Value) {
        self.set(|script| script.userinfo = Behaviour::json(&claims.to_string()));
    }

    /// What comes of a response that has a code and nothing else.
    pub(super) async fn sign_in(&self) -> Result<Authentication, OidcError> {
        self.respond(&format!("code={CODE}&state=s")).await
    }

    pub(super) async fn respond(&self, query: &str) -> Result<Authentication, OidcError> {
        respond(&self.party, query).await
    }

    /// Why the ID token is refused; `None` if it is not.
    pub(super) async fn refusal(&self) -> Option<TokenRefusal> {
        match self.sign_in().await {
            Ok(_) => None,
            Err(OidcError::IdToken(refusal)) => Some(refusal),
            Err(error) => panic!("{error}"),
        }
    }

    /// How often a path was asked for.
    pub(super) fn asked(&self, path: &str) -> usize {
        self.requests(path).len()
    }

    /// The requests for a path.
    pub(super) fn requests(&self, path: &str) -> Vec<String> {
        let is_at = |request: &String| request.split([' ', '?']).nth(1) == Some(path);
        self.server.requests().into_iter().filter(is_at).collect()
    }

    /// The form and the head of the last request for tokens.
    pub(super) fn last_token_request(&self) -> (String, Vec<(String, String)>) {
        let request = self.requests("/token").pop().unwrap();
        let (head, form) = request.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), url::form_urlencoded::parse(form.as_bytes()).into_owned().collect())
    }
}

pub(super) async fn respond(party: &RelyingParty, query: &str) -> Result<Authentication, OidcError> {
    let response = AuthorizationResponse::parse(query).map_err(OidcError::Response)?;
    let verifier = Secret::new(VERIFIER);
    party.complete(&response, ExpectedResponse { nonce: NONCE, verifier: &verifier }).await
}

pub(super) fn keys(keys: &[&Value]) -> Behaviour {
    Behaviour::json(&json!({ "keys": keys }).to_string())
}

/// Settings as they are written in a file. Those of a test replace the usual ones.
pub(super) fn config(folder: &tempfile::TempDir, issuer: &str, settings: &str) -> ProviderConfig {
    let settings = settings.replace("ISSUER", issuer);
    let mut text = "[[providers]]\n".to_owned();
    for (name, value) in
        [("name", "sso"), ("issuer", issuer), ("client_id", CLIENT), ("client_secret", SECRET)]
    {
        if !settings
            .lines()
            .any(|line| line.starts_with(&format!("{name} =")) || line == format!("# no {name}"))
        {
            writeln!(text, "{name} = {value:?}").unwrap();
        }
    }
    writeln!(text, "{settings}\n[[upstreams]]\nname = \"app\"\nurl = \"http://127.0.0.1:6006\"").unwrap();
    writeln!(text, "[[routes]]\nupstream = \"app\"").unwrap();
    let file = folder.path().join("doorward.toml");
    write(&file, &text);
    let loaded = load(&ConfigSource { file: Some(file), environment: Vec::new() }, &Flags::default());
    let config = loaded.unwrap_or_else(|error| panic!("{text}\n{error}"));
    config.providers.into_iter().next().unwrap()
}

/// A file that nobody else may read, as files with secrets must be.
fn write(file: &std::path::Path, text: &str) {
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// The parameters of an address.
pub(super) fn parameters(url: &str) -> Vec<(String, String)> {
    Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

/// The value of a parameter or field that stands exactly once.
#[track_caller]
pub(super) fn only<'p>(parameters: &'p [(String, String)], name: &str) -> &'p str {
    let found: Vec<_> = parameters.iter().filter(|(other, _)| other == name).collect();
    let [(_, value)] = found.as_slice() else { panic!("{name} in {parameters:?}") };
    value
}

/// Longer than any pause between fetches.
pub(super) const LONG: Duration = Duration::from_mins(2);
