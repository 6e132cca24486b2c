//! Ory Hydra, whose pages are `consent.mjs`.

use std::process::Command;

use http::Method;
use serde_json::json;
use tempfile::TempDir;

use super::{CLIENT, SECRET, made_with};
use crate::support::process::Process;
use crate::support::{PATIENCE, client, free_port, repository};

/// A running Hydra with its pages; both end with the test.
pub(crate) struct Hydra {
    admin: String,
    _processes: [Process; 2],
    _folder: TempDir,
}

impl Hydra {
    /// Where it is when it listens on this port.
    pub(crate) fn issuer(port: u16) -> String {
        url(port)
    }

    /// `redirect_uris` are those of its one client.
    pub(crate) async fn start(public: u16, redirect_uris: &[&str]) -> Option<Self> {
        let program = made_with(&["go"], "hydra/hydra")?;
        let folder = tempfile::tempdir().unwrap();
        let [admin, pages] = [free_port(), free_port()];
        let settings = folder.path().join("hydra.yml");
        std::fs::write(&settings, configuration(public, admin, pages)).unwrap();
        let mut serve = Command::new(program);
        serve.args(["serve", "all", "--dev", "--sqa-opt-out", "-c"]).arg(&settings);
        let server = Process::start("hydra", folder.path(), &serve);
        let mut consent = Command::new("node");
        consent.arg(repository("tests/peers/providers/consent.mjs")).args([&pages.to_string(), &url(admin)]);
        consent.arg(people().to_string());
        let consent = Process::start("consent", folder.path(), &consent);
        let server = server.ready(&format!("{}/health/ready", url(admin)), PATIENCE).await;
        // It makes its keys when it is first asked for them, which takes longer than the gateway waits.
        let server = server.ready(&format!("{}/.well-known/jwks.json", url(public)), PATIENCE).await;
        let consent = consent.ready(&format!("{}/ready", url(pages)), PATIENCE).await;
        let hydra = Self { admin: url(admin), _processes: [server, consent], _folder: folder };
        hydra.register(redirect_uris).await;
        Some(hydra)
    }

    async fn register(&self, redirect_uris: &[&str]) {
        let body = json!({
            "client_id": CLIENT, "client_secret": SECRET, "client_name": "Doorward",
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
            "token_endpoint_auth_method": "client_secret_basic", "redirect_uris": redirect_uris,
            "scope": "openid offline_access email profile groups",
        });
        let url = format!("{}/admin/clients", self.admin);
        let headers = [("content-type", "application/json")];
        let made = client::send(Method::POST, &url, &headers, body.to_string()).await.unwrap();
        assert_eq!(made.status, 201, "{made:?}");
    }

    /// Has it send logout tokens to this address, and browsers to that one.
    pub(crate) async fn tell_of_logouts(&self, to: &str, signed_out: &str) {
        let body = json!([
            { "op": "add", "path": "/backchannel_logout_uri", "value": to },
            { "op": "add", "path": "/post_logout_redirect_uris", "value": [signed_out] },
        ]);
        let url = format!("{}/admin/clients/{CLIENT}", self.admin);
        let headers = [("content-type", "application/json")];
        let changed = client::send(Method::PATCH, &url, &headers, body.to_string()).await.unwrap();
        assert_eq!(changed.status, 200, "{changed:?}");
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Claims by name.
fn people() -> serde_json::Value {
    json!({
        "ann": { "email": "ann@acme.test", "email_verified": true, "name": "Ann Archer", "groups": ["engineering", "engineering/platform"] },
        "bob": { "email": "bob@acme.test", "email_verified": true, "name": "Bob Börk", "groups": ["Data Science"] },
        "eve": { "email": "eve@acme.test", "email_verified": false, "name": "Eve Ember", "groups": [] },
        "noah": { "name": "Noah Nomail", "groups": ["engineering"] },
    })
}

fn configuration(public: u16, admin: u16, pages: u16) -> String {
    let pages = format!("http://127.0.0.1:{pages}");
    format!(
        "dsn: memory\n\
         serve:\n\
         \x20 public: {{ host: 127.0.0.1, port: {public} }}\n\
         \x20 admin: {{ host: 127.0.0.1, port: {admin} }}\n\
         \x20 cookies: {{ same_site_mode: Lax }}\n\
         urls:\n\
         \x20 self: {{ issuer: \"http://127.0.0.1:{public}\" }}\n\
         \x20 login: {pages}/login\n\
         \x20 consent: {pages}/consent\n\
         \x20 logout: {pages}/logout\n\
         secrets: {{ system: [ a-secret-for-tests-only ] }}\n\
         oauth2: {{ pkce: {{ enforced: true }} }}\n\
         webfinger: {{ oidc_discovery: {{ supported_scope: [ groups, email, profile ], supported_claims: [ email, name, groups ] }} }}\n\
         ttl: {{ access_token: 5m, id_token: 5m, refresh_token: 1h }}\n\
         log: {{ level: warn, format: json }}\n\
         sqa: {{ opt_out: true }}\n"
    )
}
