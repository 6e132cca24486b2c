//! The protocol of OpenID Connect against a certified provider, the `oidc-provider` of npm.

mod gateway;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use doorward::config::{ConfigSource, Flags, load};
use doorward::model::secret::Secret;
use doorward::model::time::SystemClock;
use doorward::model::token::TokenDigest;
use doorward::oidc::{
    AuthenticationRequest, AuthorizationResponse, ErrorCode, ExpectedResponse, OidcError, RefreshedClaims,
    RelyingParty, TokenEndpointError, TokenRefusal,
};
use http::Method;
use serde_json::{Value, json};

use crate::support::client;
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, repository};

const REDIRECT: &str = "https://gateway.example/sub/callback/sso";
const SECRET: &str = "s3cret/of+the client:%=, which is long enough";
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";
const NONCE: &str = "a-nonce";

/// The provider with a client for each method, and the folder with what the settings name.
struct Provider {
    url: String,
    folder: tempfile::TempDir,
    _process: Process,
}

impl Provider {
    async fn start() -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let public = keys(folder.path());
        let client = |id: &str, method: &str, more: Value| {
            let mut client = json!({
                "client_id": id, "client_secret": SECRET, "redirect_uris": [REDIRECT],
                "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
                "token_endpoint_auth_method": method,
            });
            client.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            client
        };
        let clients = json!([
            client("basic client/1", "client_secret_basic", json!({})),
            client("post", "client_secret_post", json!({ "id_token_signed_response_alg": "ES256" })),
            client("public", "none", json!({ "id_token_signed_response_alg": "EdDSA" })),
            client(
                "key",
                "private_key_jwt",
                json!({ "jwks": { "keys": [public] }, "userinfo_signed_response_alg": "RS256" })
            ),
        ]);
        let mut command = Command::new("node");
        command
            .arg(repository("tests/peers/oidc/provider.mjs"))
            .arg(repository(".tests/node/node_modules"))
            .arg(port.to_string())
            .arg(clients.to_string());
        let url = format!("http://127.0.0.1:{port}");
        let process = Process::start("oidc-provider", folder.path(), &command);
        let process = process.ready(&format!("{url}/.well-known/openid-configuration"), PATIENCE).await;
        Self { url, folder, _process: process }
    }

    /// The gateway as one of its clients.
    fn party(&self, client: &str, settings: &str) -> RelyingParty {
        let text = format!(
            "[[providers]]\nname = \"sso\"\nissuer = {:?}\nclient_id = {client:?}\nlogin_hint = true\nscopes = [\"groups\"]\n\
             {settings}\n[providers.claims]\ngroups = \"groups\"\n\
             [[upstreams]]\nname = \"app\"\nurl = \"http://127.0.0.1:6006\"\n[[routes]]\nupstream = \"app\"\n",
            self.url
        );
        let file = self.folder.path().join("doorward.toml");
        write(&file, &text);
        let source = ConfigSource { file: Some(file), environment: Vec::new() };
        let config = load(&source, &Flags::default()).unwrap_or_else(|error| panic!("{error}"));
        let provider = config.providers.into_iter().next().unwrap();
        RelyingParty::new(provider, REDIRECT.to_owned(), Arc::new(SystemClock)).unwrap()
    }
}

/// A file that nobody else may read, as files with secrets must be.
fn write(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
}

/// Writes the private key of a client, and returns its public half.
fn keys(folder: &Path) -> Value {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    write(&folder.join("client.key"), &key.serialize_pem());
    let point = key.public_key_raw();
    let half = |from: usize| URL_SAFE_NO_PAD.encode(&point[from..from + 32]);
    json!({ "kty": "EC", "crv": "P-256", "x": half(1), "y": half(33), "kid": "named by the provider", "use": "sig" })
}

/// What a browser brings back when `person` signs in.
async fn response(party: &RelyingParty, person: &str) -> AuthorizationResponse {
    let challenge = TokenDigest::of(VERIFIER).to_text();
    let request = AuthenticationRequest {
        state: "a-state",
        nonce: NONCE,
        challenge: &challenge,
        login_hint: Some(person),
    };
    let mut url = party.authorization_url(&request).await.unwrap();
    let mut cookies: Vec<(String, String)> = Vec::new();
    for _ in 0..10 {
        if let Some(query) = url.strip_prefix(REDIRECT).and_then(|rest| rest.strip_prefix('?')) {
            let response = AuthorizationResponse::parse(query).unwrap();
            assert_eq!(response.state(), "a-state");
            return response;
        }
        let sent =
            cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let answer = client::send(Method::GET, &url, &[("cookie", sent.as_str())], "").await.unwrap();
        for cookie in answer.headers.get_all("set-cookie") {
            let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            cookies.retain(|(other, _)| other != name);
            cookies.push((name.to_owned(), value.to_owned()));
        }
        let location = answer.header("location");
        assert!(!location.is_empty(), "{url} answered {}: {}", answer.status, answer.body);
        url = url::Url::parse(&url).unwrap().join(location).unwrap().into();
    }
    panic!("too many redirects, the last to {url}");
}

fn expected<'a>(nonce: &'a str, verifier: &'a Secret) -> ExpectedResponse<'a> {
    ExpectedResponse { nonce, verifier }
}

#[tokio::test]
async fn people_sign_in_by_every_method_and_their_sessions_are_refreshed() {
    let provider = Provider::start().await;
    let verifier = Secret::new(VERIFIER);
    let secret = format!("client_secret = {SECRET:?}");
    for (client, settings) in [
        ("basic client/1", secret.clone()),
        ("post", format!("{secret}\ntoken_auth = \"client_secret_post\"\nalgorithms = [\"ES256\"]")),
        ("public", "token_auth = \"none\"\nalgorithms = [\"EdDSA\"]".to_owned()),
        ("key", "token_auth = \"private_key_jwt\"\nprivate_key_file = \"client.key\"".to_owned()),
    ] {
        let party = provider.party(client, &settings);
        let response = response(&party, "ann").await;
        let begun = party.complete(&response, expected(NONCE, &verifier)).await;
        let begun = begun.unwrap_or_else(|error| panic!("{client}: {error}"));
        assert_eq!(
            (begun.issuer.as_str(), begun.subject.as_str()),
            (provider.url.as_str(), "ann"),
            "{client}"
        );
        assert!(!begun.lacks_userinfo, "{client}");
        for (name, value) in [
            ("email", json!("ann@example.test")),
            ("email_verified", json!(true)),
            ("groups", json!(["ops", "Platform Team"])),
        ] {
            assert_eq!(begun.claims.get(name), Some(&value), "{client}");
        }
        let first = begun.refresh_token.unwrap();
        let second = party.refresh(&first, begun.id_token.as_ref().unwrap(), &begun.subject).await.unwrap();
        let RefreshedClaims::Told(claims) = second.claims.unwrap() else {
            panic!("{client}: it says nothing")
        };
        assert_eq!(claims.get("groups"), Some(&json!(["ops", "Platform Team"])), "{client}");
        assert_ne!(second.refresh_token.expose(), first.expose(), "{client}: it is a new one each time");
        let third =
            party.refresh(&second.refresh_token, second.id_token.as_ref().unwrap(), "ann").await.unwrap();
        let reused = party.refresh(&first, third.id_token.as_ref().unwrap(), "ann").await.unwrap_err();
        assert!(reused.is_over(), "{client}: {reused}");
        let ended =
            party.refresh(&third.refresh_token, third.id_token.as_ref().unwrap(), "ann").await.unwrap_err();
        assert!(ended.is_over(), "{client}: a token that is used again ends them all: {ended}");
    }
}

#[tokio::test]
async fn a_code_is_good_once_for_who_began_with_it() {
    let provider = Provider::start().await;
    let secret = format!("client_secret = {SECRET:?}");
    let party = provider.party("basic client/1", &secret);
    let (verifier, other) = (Secret::new(VERIFIER), Secret::new(format!("{VERIFIER}-other")));
    let is_spent = |error: &OidcError| {
        let grant = ErrorCode::InvalidGrant;
        matches!(error, OidcError::Token(TokenEndpointError::Refused { code, .. }) if *code == grant)
    };
    let begun = response(&party, "ann").await;
    let refused = party.complete(&begun, expected(NONCE, &other)).await.unwrap_err();
    assert!(is_spent(&refused), "another verifier: {refused}");
    let begun = response(&party, "ann").await;
    let refused = party.complete(&begun, expected("another", &verifier)).await.unwrap_err();
    assert!(matches!(refused, OidcError::IdToken(TokenRefusal::Nonce)), "{refused}");
    let begun = response(&party, "bob").await;
    assert_eq!(party.complete(&begun, expected(NONCE, &verifier)).await.unwrap().subject, "bob");
    let refused = party.complete(&begun, expected(NONCE, &verifier)).await.unwrap_err();
    assert!(is_spent(&refused), "a second time: {refused}");
    let begun = response(&party, "ann").await;
    let stranger = provider.party("basic client/1", "client_secret = \"another-secret-0123456789\"");
    let refused = stranger.complete(&begun, expected(NONCE, &verifier)).await.unwrap_err();
    let client = ErrorCode::InvalidClient;
    assert!(
        matches!(&refused, OidcError::Token(TokenEndpointError::Refused { code, .. }) if *code == client),
        "{refused}"
    );
    let pinned = provider.party("basic client/1", &format!("{secret}\nalgorithms = [\"ES256\"]"));
    let begun = response(&pinned, "ann").await;
    let refused = pinned.complete(&begun, expected(NONCE, &verifier)).await.unwrap_err();
    assert!(matches!(refused, OidcError::IdToken(TokenRefusal::Algorithm)), "{refused}");
}

#[tokio::test]
async fn who_is_refused_there_is_refused_here() {
    let provider = Provider::start().await;
    let party = provider.party("basic client/1", &format!("client_secret = {SECRET:?}"));
    let verifier = Secret::new(VERIFIER);
    let refused = response(&party, "nobody").await;
    let refused = party.complete(&refused, expected(NONCE, &verifier)).await.unwrap_err();
    assert!(matches!(refused, OidcError::Denied(ErrorCode::AccessDenied)), "{refused}");
    // This provider names itself in every response (RFC 9207).
    let nameless = AuthorizationResponse::parse("code=c&state=a-state").unwrap();
    let refused = party.complete(&nameless, expected(NONCE, &verifier)).await.unwrap_err();
    assert!(matches!(refused, OidcError::Response(_)), "{refused}");
}
