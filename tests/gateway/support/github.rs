//! GitHub on loopback as an Enterprise server: codes and access tokens, and the interface below `/api/v3`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use doorward::model::token::{TokenDigest, random_text};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use url::Url;

use super::raw::{header_values, read_head};

const CLIENT_SECRET: &str = "s3cret-of-the-app-at-github";

/// A running server; stops when dropped.
pub struct Github {
    pub url: String,
    state: Arc<Mutex<State>>,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct State {
    /// Code challenge and account by code.
    codes: HashMap<String, (String, Account)>,
    accounts: HashMap<String, Account>,
    /// Answered with this status, by path.
    broken: HashMap<String, u16>,
    handed_out: Vec<String>,
}

/// Somebody with an account there.
#[derive(Clone, Debug)]
pub struct Account {
    pub id: u64,
    pub login: String,
    /// Logins.
    pub organizations: Vec<&'static str>,
    /// Organisation and short name.
    pub teams: Vec<(&'static str, &'static str)>,
    /// Whether some organisations hide from applications.
    pub has_hidden: bool,
}

impl Account {
    pub fn new(id: u64, login: &str) -> Self {
        let (organizations, teams) = (Vec::new(), Vec::new());
        Self { id, login: login.to_owned(), organizations, teams, has_hidden: false }
    }

    pub fn in_organization(mut self, login: &'static str) -> Self {
        self.organizations.push(login);
        self
    }

    pub fn in_team(mut self, organization: &'static str, slug: &'static str) -> Self {
        self.teams.push((organization, slug));
        self
    }

    fn answer(&self, path: &str) -> Option<Value> {
        let organization = |login: &str| json!({ "id": login.len(), "login": login, "description": null });
        Some(match path {
            "/api/v3/user" => {
                json!({ "id": self.id, "login": self.login, "name": null, "email": "public@example.com" })
            }
            "/api/v3/user/emails" => {
                json!([{ "email": format!("{}@example.org", self.id), "primary": true, "verified": true, "visibility": "private" }])
            }
            "/api/v3/user/orgs" => self.organizations.iter().map(|login| organization(login)).collect(),
            "/api/v3/user/teams" => {
                let team = |(login, slug): &(&str, &str)| json!({ "id": slug.len(), "slug": slug, "name": "A Team", "organization": organization(login), "parent": null });
                self.teams.iter().map(team).collect()
            }
            _ => return None,
        })
    }
}

impl Github {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state: Arc<Mutex<State>> = Arc::default();
        let there = Arc::clone(&state);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&there)));
            }
        });
        Self { url, state, _task: task }
    }

    /// Settings of a provider `github`, and further ones.
    pub fn settings(&self, more: &str) -> String {
        format!(
            "[[providers]]\nname = \"github\"\ntype = \"github\"\nissuer = \"{}\"\nclient_id = \"Iv1.0123456789abcdef\"\n\
             client_secret = \"{CLIENT_SECRET}\"\n{more}\n",
            self.url
        )
    }

    /// From now on a path is answered with this status.
    pub fn breaks(&self, path: &str, status: u16) {
        self.state.lock().unwrap().broken.insert(path.to_owned(), status);
    }

    /// Codes and tokens that it gave.
    pub fn handed_out(&self) -> Vec<String> {
        self.state.lock().unwrap().handed_out.clone()
    }

    /// What a browser brings back that was sent to `location` and where somebody signs in: path and query.
    pub fn approve(&self, location: &str, account: &Account) -> String {
        assert!(location.starts_with(&format!("{}/login/oauth/authorize?", self.url)), "{location}");
        let request = Url::parse(location).unwrap();
        let request: HashMap<String, String> = request.query_pairs().into_owned().collect();
        assert_eq!(request["code_challenge_method"], "S256");
        assert!(request["scope"].split(' ').any(|scope| scope == "read:org"), "{location}");
        let code = random_text().expose().to_owned();
        let mut back = Url::parse(&request["redirect_uri"]).unwrap();
        back.query_pairs_mut().append_pair("code", &code).append_pair("state", &request["state"]);
        let mut state = self.state.lock().unwrap();
        state.handed_out.push(code.clone());
        state.codes.insert(code, (request["code_challenge"].clone(), account.clone()));
        format!("{}?{}", back.path(), back.query().unwrap())
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let Some(head) = read_head(&mut stream).await else { return };
    let length =
        header_values(&head, "content-length").first().and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut form = vec![0; length];
    if stream.read_exact(&mut form).await.is_err() {
        return;
    }
    let path = head.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
    let (status, headers, body) = state.lock().unwrap().answer(&path, &head, &form);
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 {status} As Said\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
}

impl State {
    fn answer(&mut self, path: &str, head: &str, form: &[u8]) -> (u16, &'static str, Value) {
        if let Some(status) = self.broken.get(path) {
            return (*status, "", json!({ "message": "As a test wants it" }));
        }
        if path == "/login/oauth/access_token" {
            // GitHub says no with a status of success.
            let bad = json!({ "error": "bad_verification_code", "error_description": "The code passed is incorrect or expired." });
            return (200, "", self.token(form).unwrap_or(bad));
        }
        let token = header_values(head, "authorization").first().map(|text| text.replace("Bearer ", ""));
        let Some(account) = self.accounts.get(&token.unwrap_or_default()) else {
            return (401, "", json!({ "message": "Bad credentials" }));
        };
        let headers =
            if account.has_hidden { "x-github-sso: partial-results; organizations=21955855\r\n" } else { "" };
        match account.answer(path) {
            Some(answer) => (200, headers, answer),
            None => (404, "", json!({ "message": "Not Found" })),
        }
    }

    fn token(&mut self, form: &[u8]) -> Option<Value> {
        let form: HashMap<String, String> = url::form_urlencoded::parse(form).into_owned().collect();
        if form.get("client_secret")? != CLIENT_SECRET {
            return Some(json!({ "error": "incorrect_client_credentials" }));
        }
        let (challenge, account) = self.codes.remove(form.get("code")?)?;
        if TokenDigest::of(form.get("code_verifier")?).to_text() != challenge {
            return None;
        }
        let token = format!("gho_{}", random_text().expose());
        self.handed_out.push(token.clone());
        self.accounts.insert(token.clone(), account);
        Some(
            json!({ "access_token": token, "token_type": "bearer", "scope": "read:org,read:user,user:email" }),
        )
    }
}
