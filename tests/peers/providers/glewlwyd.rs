//! Glewlwyd, an identity server in C that shares no code with any other.

use std::path::Path;
use std::process::{Command, Stdio};

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::visitor::{Page, Visitor};
use super::{CLIENT, SECRET, unpacked};
use crate::support::client::{self, Answer};
use crate::support::process::Process;
use crate::support::{PATIENCE, python, repository};

/// A running Glewlwyd; it ends with the test.
pub(crate) struct Glewlwyd {
    issuer: String,
    url: String,
    /// The session of its administrator.
    cookie: String,
    _process: Process,
    _folder: TempDir,
}

impl Glewlwyd {
    /// Where it is when it listens on this port.
    pub(crate) fn issuer(port: u16) -> String {
        format!("http://127.0.0.1:{port}/api/oidc")
    }

    /// `redirect_uris` are those of its one client.
    pub(crate) async fn start(port: u16, redirect_uris: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let settings = folder.path().join("glewlwyd.conf");
        std::fs::write(&settings, configuration(port, folder.path())).unwrap();
        make_database(folder.path());
        let mut serve = unpacked("glewlwyd", "usr/bin/glewlwyd");
        serve.arg(format!("--config-file={}", settings.display()));
        let process = Process::start("glewlwyd", folder.path(), &serve);
        let process = process.ready(&format!("{url}/config"), PATIENCE).await;
        let mut server = Self {
            issuer: Self::issuer(port),
            url,
            cookie: String::new(),
            _process: process,
            _folder: folder,
        };
        server.cookie = server.session("admin", "password").await;
        server.fill(redirect_uris).await;
        server
    }

    /// Signs somebody in and agrees to everything for them, as the scripts of its page do, and goes on where the page would.
    pub(crate) async fn sign_in(&self, visitor: &mut Visitor, page: &Page, person: &str) -> Page {
        let query: Vec<(String, String)> = page.url.query_pairs().into_owned().collect();
        let (_, callback) = query.iter().find(|(name, _)| name == "callback_url").expect("a page to sign in");
        let cookie = self.session(person, &format!("{person}-password")).await;
        let grant = json!({ "scope": "openid" });
        self.ask(Method::PUT, &format!("/auth/grant/{CLIENT}"), &cookie, &grant).await;
        visitor.take(&page.url, &cookie);
        visitor.open(&format!("{callback}&g_continue")).await
    }

    /// Gives somebody these groups and no others.
    pub(crate) async fn set_groups(&self, person: &str, groups: &[&str]) {
        self.manage(Method::PUT, &format!("/user/{person}"), &json!({ "groups": groups })).await;
    }

    /// Has it send logout tokens to this address, and browsers to that one.
    pub(crate) async fn tell_of_logouts(&self, to: &str, signed_out: &str) {
        let path = format!("/client/{CLIENT}");
        let mut client = self.manage(Method::GET, &path, &json!({})).await.json();
        client["backchannel_logout_uri"] = json!(to);
        client["post_logout_redirect_uri"] = json!(signed_out);
        self.manage(Method::PUT, &path, &client).await;
    }

    /// Ends a session there, as the script of its page does that people come to for it.
    pub(crate) async fn end_session(&self, visitor: &Visitor, session: &str) {
        let cookies = visitor.cookies_for(&url::Url::parse(&self.issuer).unwrap());
        self.ask(Method::DELETE, &format!("/oidc/session/{session}/"), &cookies, &json!({})).await;
    }

    async fn session(&self, name: &str, password: &str) -> String {
        let body = json!({ "username": name, "password": password });
        let answer = self.ask(Method::POST, "/auth/", "", &body).await;
        answer.header("set-cookie").split(';').next().unwrap().to_owned()
    }

    async fn manage(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.ask(method, path, &self.cookie, body).await
    }

    async fn ask(&self, method: Method, path: &str, cookie: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json"), ("cookie", cookie)];
        let url = format!("{}/api{path}", self.url);
        let answer = client::send(method, &url, &headers, body.to_string()).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer
    }

    async fn fill(&self, redirect_uris: &[&str]) {
        let mut users = self.manage(Method::GET, "/mod/user/database", &json!({})).await.json();
        for (name, multiple) in [("groups", true), ("verified", false)] {
            users["parameters"]["data-format"][name] =
                json!({ "multiple": multiple, "read": true, "write": true });
        }
        self.manage(Method::PUT, "/mod/user/database", &users).await;
        self.manage(Method::PUT, "/mod/user/database/reset", &json!({})).await;
        let plugin = json!({ "module": "oidc", "name": "oidc", "display_name": "OpenID Connect", "parameters": self.parameters() });
        self.manage(Method::POST, "/mod/plugin/", &plugin).await;
        for (name, verified, groups) in [
            ("ann", "yes", ["engineering", "Data Science"]),
            ("bob", "no", ["ops", "data science"]),
            ("kim", "yes", ["ops", "Data Science"]),
        ] {
            let person = json!({
                "username": name, "password": format!("{name}-password"), "name": name, "email": format!("{name}@acme.test"),
                "verified": verified, "groups": groups, "scope": ["openid"], "enabled": true,
            });
            self.manage(Method::POST, "/user/", &person).await;
        }
        let client = json!({
            "client_id": CLIENT, "client_secret": SECRET, "name": "Doorward", "confidential": true, "enabled": true,
            "redirect_uri": redirect_uris, "authorization_type": ["code", "refresh_token"], "scope": ["openid"],
            "token_endpoint_auth_method": ["client_secret_basic"],
        });
        self.manage(Method::POST, "/client/", &client).await;
    }

    fn parameters(&self) -> Value {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        json!({
            "iss": self.issuer, "jwt-type": "ecdsa", "jwt-key-size": "256",
            "key": key.serialize_pem(), "cert": key.public_key_pem(),
            "access-token-duration": 300, "refresh-token-duration": 3600, "code-duration": 60,
            "refresh-token-rolling": true, "refresh-token-one-use": "always", "allow-non-oidc": false,
            "auth-type-code-enabled": true, "auth-type-code-revoke-replayed": true, "auth-type-refresh-enabled": true,
            "auth-type-token-enabled": false, "auth-type-none-enabled": false, "auth-type-password-enabled": false,
            "auth-type-client-enabled": false, "auth-type-device-enabled": false,
            "jwks-show": true, "pkce-allowed": true, "pkce-required": true, "oauth-as-iss-id": true,
            "name-claim": "mandatory", "email-claim": "mandatory", "scope-claim": "no", "allowed-scope": ["openid"],
            "claims": [
                { "name": "groups", "user-property": "groups", "type": "string", "mandatory": true },
                { "name": "email_verified", "user-property": "verified", "type": "boolean", "boolean-value-true": "yes",
                  "boolean-value-false": "no", "mandatory": true },
            ],
            "session-management-allowed": true, "session-cookie-name": "GLEWLWYD2_OIDC_SESSION_ID",
            "session-cookie-expiration": 3600, "back-channel-logout-allowed": true, "front-channel-logout-allowed": false,
        })
    }
}

/// The tables and the administrator of its package.
fn make_database(folder: &Path) {
    let script = "import gzip, sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as database:\n    \
                  database.executescript(gzip.open(sys.argv[2], 'rt').read())";
    let statements = repository(".tests/glewlwyd/usr/share/doc/glewlwyd/database/init.sqlite3.sql.gz");
    let mut command = Command::new(python());
    command.args(["-c", script]).arg(folder.join("database")).arg(statements);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn configuration(port: u16, folder: &Path) -> String {
    let unpacked = repository(".tests/glewlwyd/usr");
    let (unpacked, folder) = (unpacked.display(), folder.display());
    format!(
        r#"
port={port}
bind_address="127.0.0.1"
external_url="http://127.0.0.1:{port}"
login_url="login.html"
api_prefix="api"
static_files_path="{unpacked}/share/glewlwyd/webapp/"
log_mode="console"
log_level="WARNING"
cookie_domain="127.0.0.1"
cookie_secure=0
session_expiration=3600
session_key="GLEWLWYD2_SESSION_ID"
admin_scope="g_admin"
profile_scope="g_profile"
user_module_path="{unpacked}/lib/glewlwyd/user"
user_middleware_module_path="{unpacked}/lib/glewlwyd/user_middleware"
client_module_path="{unpacked}/lib/glewlwyd/client"
user_auth_scheme_module_path="{unpacked}/lib/glewlwyd/scheme"
plugin_module_path="{unpacked}/lib/glewlwyd/plugin"
use_secure_connection=false
secure_connection_key_file="none"
secure_connection_pem_file="none"
secure_connection_ca_file="none"
hash_algorithm = "SHA512"
database = {{ type = "sqlite3"; path = "{folder}/database"; }};
"#
    )
}
