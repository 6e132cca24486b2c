//! An OpenID provider on loopback that says what a test wants, over real sockets: discovery, keys, tokens, userinfo.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use doorward::model::token::{TokenDigest, random_text};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use url::Url;

use super::raw::{header_values, read_head};

/// The secret of the gateway as its client.
pub const CLIENT_SECRET: &str = "s3cret-of-the-client-at-the-provider";
/// What the clock of a gateway says at first.
pub const NOW: i64 = 1_900_000_000;

/// What is odd about a provider.
#[derive(Clone, Debug, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Every request at this path is answered with this status and HTML.
    Html(&'static str, u16),
    /// Requests at this path are never answered.
    Hangs(&'static str),
    /// ID tokens have these claims instead; `null` leaves one out.
    Claims(Value),
}

/// A running provider; stops when dropped.
pub struct Provider {
    pub url: String,
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

struct Shared {
    url: String,
    key: EncodingKey,
    jwk: Value,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    codes: HashMap<String, Grant>,
    /// Userinfo by access token.
    people: HashMap<String, Value>,
    fault: Fault,
    /// Further answers, by path.
    served: HashMap<&'static str, Value>,
    asked: Vec<String>,
    handed_out: Vec<String>,
    /// Further members of the discovery document.
    announced: Value,
    /// Whether sign-ins get refresh tokens, each good once.
    refreshes: bool,
    /// Who signed in, and with what nonce, by refresh token.
    grants: HashMap<String, (Value, String)>,
    /// Refresh tokens that were used.
    spent: Vec<String>,
    /// Whether one of them came again.
    reused: bool,
}

/// What a code stands for.
struct Grant {
    nonce: String,
    challenge: String,
    redirect_uri: String,
    client: String,
    person: Value,
}

impl Provider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
        let key = EncodingKey::from_ec_pem(pem.as_bytes()).unwrap();
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some("k1".to_owned());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        let jwk = serde_json::to_value(jwk).unwrap();
        let shared = Arc::new(Shared { url: url.clone(), key, jwk, state: Mutex::default() });
        let mut task = JoinSet::new();
        let there = Arc::clone(&shared);
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&there)));
            }
        });
        Self { url, shared, _task: task }
    }

    /// The settings of a provider with this name, and further ones.
    pub fn settings(&self, name: &str, more: &str) -> String {
        format!(
            "[[providers]]\nname = \"{name}\"\ndisplay_name = \"The {name}\"\nissuer = \"{}\"\nclient_id = \"doorward\"\n\
             client_secret = \"{CLIENT_SECRET}\"\nalgorithms = [\"ES256\"]\n{more}\n",
            self.url
        )
    }

    /// From now on.
    pub fn set(&self, fault: Fault) {
        self.shared.state.lock().unwrap().fault = fault;
    }

    /// From now on this is answered at a path, as a whole list.
    pub fn serve(&self, path: &'static str, answer: &Value) {
        self.shared.state.lock().unwrap().served.insert(path, answer.clone());
    }

    /// Adds members to the discovery document, which the gateway must not know yet.
    pub fn announce(&self, more: Value) {
        self.shared.state.lock().unwrap().announced = more;
    }

    /// From now on sign-ins get refresh tokens, each good once, and what is said holds for five minutes.
    pub fn let_refresh(&self) {
        self.shared.state.lock().unwrap().refreshes = true;
    }

    /// What it says of somebody who has signed in, from now on.
    pub fn says_now(&self, claims: &Value) {
        let mut state = self.shared.state.lock().unwrap();
        for (person, _) in state.grants.values_mut().filter(|(person, _)| person["sub"] == claims["sub"]) {
            *person = claims.clone();
        }
    }

    /// No refresh token is good any more.
    pub fn take_grants_back(&self) {
        self.shared.state.lock().unwrap().grants.clear();
    }

    /// How many refresh tokens were used.
    pub fn refreshes(&self) -> usize {
        self.shared.state.lock().unwrap().spent.len()
    }

    /// Whether a refresh token was used twice.
    pub fn was_reused(&self) -> bool {
        self.shared.state.lock().unwrap().reused
    }

    /// A logout token for the gateway, with these claims beside or instead.
    pub fn logout_token(&self, more: &Value) -> String {
        let claims = json!({
            "iss": self.url, "aud": "doorward", "iat": NOW, "exp": NOW + 120, "jti": random_text().expose(),
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        let header = Header { typ: Some("logout+jwt".to_owned()), ..header() };
        jsonwebtoken::encode(&header, &with(&claims, more), &self.shared.key).unwrap()
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        self.shared.state.lock().unwrap().asked.iter().filter(|asked| *asked == path).count()
    }

    /// Codes and tokens that it gave.
    pub fn handed_out(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().handed_out.clone()
    }

    /// What a browser brings back that was sent to `location` and where `person` signs in: path and query.
    pub fn approve(&self, location: &str, person: &Value) -> String {
        let request = Request::read(location, &self.url);
        let code = random_text().expose().to_owned();
        let back = request.back(&[("code", &code), ("iss", &self.url)]);
        let grant = Grant {
            nonce: request.get("nonce"),
            challenge: request.get("code_challenge"),
            redirect_uri: request.get("redirect_uri"),
            client: request.get("client_id"),
            person: person.clone(),
        };
        let mut state = self.shared.state.lock().unwrap();
        state.handed_out.push(code.clone());
        state.codes.insert(code, grant);
        back
    }

    /// The same where the provider ends it with an error.
    pub fn deny(&self, location: &str, error: &str) -> String {
        let description = "<script>alert(1)</script> of the provider";
        Request::read(location, &self.url).back(&[
            ("error", error),
            ("error_description", description),
            ("iss", &self.url),
        ])
    }
}

/// An authentication request, as a strict provider reads it.
pub struct Request(Vec<(String, String)>);

impl Request {
    #[track_caller]
    pub fn read(location: &str, issuer: &str) -> Self {
        let url = Url::parse(location).unwrap_or_else(|error| panic!("{location}: {error}"));
        assert!(location.starts_with(&format!("{issuer}/authorize?")), "{location}");
        let request = Self(url.query_pairs().into_owned().collect());
        assert_eq!(request.get("response_type"), "code");
        assert_eq!(request.get("code_challenge_method"), "S256");
        for random in ["state", "nonce", "code_challenge"] {
            assert_eq!(request.get(random).len(), 43, "{random}");
        }
        request
    }

    /// The value of a parameter that stands once; empty if it is not there.
    #[track_caller]
    pub fn get(&self, name: &str) -> String {
        let found: Vec<_> = self.0.iter().filter(|(other, _)| other == name).collect();
        assert!(found.len() <= 1, "{name} stands twice");
        found.first().map(|(_, value)| value.clone()).unwrap_or_default()
    }

    fn back(&self, parameters: &[(&str, &str)]) -> String {
        let mut url = Url::parse(&self.get("redirect_uri")).unwrap();
        url.query_pairs_mut().extend_pairs(parameters).append_pair("state", &self.get("state"));
        format!("{}?{}", url.path(), url.query().unwrap())
    }
}

/// The claims of somebody with a verified address.
pub fn person(name: &str) -> Value {
    json!({ "sub": format!("id-of-{name}"), "preferred_username": name, "name": format!("{name} at the provider"),
            "email": format!("{name}@example.org"), "email_verified": true })
}

/// The claims with others beside or instead; `null` leaves one out.
pub fn with(claims: &Value, more: &Value) -> Value {
    let mut claims = claims.clone();
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let Some(head) = read_head(&mut stream).await else { return };
    let length =
        header_values(&head, "content-length").first().and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut form = vec![0; length];
    if stream.read_exact(&mut form).await.is_err() {
        return;
    }
    let path = head.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
    let answer = {
        let mut state = shared.state.lock().unwrap();
        state.asked.push(path.clone());
        match state.fault.clone() {
            Fault::Hangs(at) if at == path => None,
            Fault::Html(at, status) if at == path => Some((status, "text/html", "<h1>Oops</h1>".to_owned())),
            _ => {
                let (status, json) = shared.answer(&mut state, &path, &head, &form);
                Some((status, "application/json", json.to_string()))
            }
        }
    };
    let Some((status, media_type, body)) = answer else {
        return std::future::pending().await;
    };
    let head = format!(
        "HTTP/1.1 {status} As Said\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\nx-next-page: \r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}

impl Shared {
    fn answer(&self, state: &mut State, path: &str, head: &str, form: &[u8]) -> (u16, Value) {
        match path {
            "/.well-known/openid-configuration" => (200, self.discovery(&state.announced)),
            "/jwks" => (200, json!({ "keys": [self.jwk] })),
            "/token" => {
                self.tokens(state, head, form).unwrap_or_else(|| (400, json!({ "error": "invalid_grant" })))
            }
            "/me" => {
                let token =
                    header_values(head, "authorization").first().map(|text| text.replace("Bearer ", ""));
                match state.people.get(&token.unwrap_or_default()) {
                    Some(claims) => (200, claims.clone()),
                    None => (401, json!({ "error": "invalid_token" })),
                }
            }
            other => match state.served.get(other) {
                Some(answer) => (200, answer.clone()),
                None => (404, json!({ "error": "not_found" })),
            },
        }
    }

    fn discovery(&self, announced: &Value) -> Value {
        let none = json!({});
        let url = &self.url;
        let document = json!({
            "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
            "jwks_uri": format!("{url}/jwks"), "userinfo_endpoint": format!("{url}/me"),
            "authorization_response_iss_parameter_supported": true,
        });
        with(&document, if announced.is_object() { announced } else { &none })
    }

    /// `None` where a code is not good: unknown, used before, for another client, or without its verifier.
    fn tokens(&self, state: &mut State, head: &str, form: &[u8]) -> Option<(u16, Value)> {
        let form: HashMap<String, String> = url::form_urlencoded::parse(form).into_owned().collect();
        let proof = header_values(head, "authorization").first()?.strip_prefix("Basic ")?.to_owned();
        let proof = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(proof).ok()?).ok()?;
        let (client, secret) = proof.split_once(':')?;
        if secret != CLIENT_SECRET {
            return Some((401, json!({ "error": "invalid_client" })));
        }
        if form.get("grant_type")? == "refresh_token" {
            return self.refreshed(state, client, form.get("refresh_token")?);
        }
        let grant = state.codes.remove(form.get("code")?)?;
        let proven = TokenDigest::of(form.get("code_verifier")?).to_text() == grant.challenge;
        if grant.client != client || !proven || form.get("redirect_uri")? != &grant.redirect_uri {
            return None;
        }
        Some((200, self.told(state, client, grant.person, grant.nonce)))
    }

    /// `None` for a refresh token that is not good; one that was used ends them all.
    fn refreshed(&self, state: &mut State, client: &str, token: &str) -> Option<(u16, Value)> {
        if state.spent.iter().any(|spent| spent == token) {
            state.reused = true;
            state.grants.clear();
        }
        let (person, nonce) = state.grants.remove(token)?;
        state.spent.push(token.to_owned());
        Some((200, self.told(state, client, person, nonce)))
    }

    /// Tokens for somebody.
    fn told(&self, state: &mut State, client: &str, person: Value, nonce: String) -> Value {
        let claims = json!({ "iss": self.url, "aud": client, "nonce": nonce, "iat": NOW, "exp": NOW + 3600 });
        let mut claims = with(&claims, &person);
        if let Fault::Claims(others) = &state.fault {
            claims = with(&claims, others);
        }
        let id_token = jsonwebtoken::encode(&header(), &claims, &self.key).unwrap();
        let access_token = random_text().expose().to_owned();
        state.people.insert(access_token.clone(), person.clone());
        state.handed_out.extend([access_token.clone(), id_token.split('.').nth(2).unwrap().to_owned()]);
        let mut told = json!({
            "access_token": access_token, "token_type": "Bearer", "expires_in": 3600, "id_token": id_token,
        });
        if state.refreshes {
            let token = random_text().expose().to_owned();
            state.handed_out.push(token.clone());
            told = with(&told, &json!({ "refresh_token": token, "expires_in": 300 }));
            state.grants.insert(token, (person, nonce));
        }
        told
    }
}

fn header() -> Header {
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some("k1".to_owned());
    header
}

/// The claims of a token, whoever signed it.
pub fn claims_of(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}
