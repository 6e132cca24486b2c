//! Keycloak, one server for all of these tests and a realm for each.

use std::process::Command;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use url::form_urlencoded::Serializer;

use super::visitor::{Page, Visitor};
use super::{CLIENT, made_with};
use crate::support::client::{self, Answer};
use crate::support::process::Process;
use crate::support::{free_port, repository};

/// It makes a database before it listens: a quarter of a minute, longer on a busy machine.
const START: Duration = Duration::from_mins(4);
/// Of its administrator, by name and password.
const ADMIN: &str = "admin";

/// A running Keycloak; static, so it ends with this test program (its leash sees to that).
struct Keycloak {
    url: String,
    _process: Process,
    _folder: TempDir,
}

static KEYCLOAK: OnceCell<Option<Keycloak>> = OnceCell::const_new();

impl Keycloak {
    async fn shared() -> Option<&'static Self> {
        KEYCLOAK.get_or_init(Self::start).await.as_ref()
    }

    async fn start() -> Option<Self> {
        let program = made_with(&["java", "mvn"], "keycloak/keycloak/bin/kc.sh")?;
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let mut serve = Command::new(program);
        serve.args(["start", "--optimized", "--cache=local", "--http-enabled=true", "--http-host=127.0.0.1"]);
        serve.args([format!("--http-port={port}"), format!("--hostname={url}")]);
        serve.envs([("KC_BOOTSTRAP_ADMIN_USERNAME", ADMIN), ("KC_BOOTSTRAP_ADMIN_PASSWORD", ADMIN)]);
        // It starts in two thirds of the time.
        serve.env("JAVA_OPTS_APPEND", "-XX:TieredStopAtLevel=1");
        let process = Process::start("keycloak", folder.path(), &serve);
        let process = process.ready(&format!("{url}/realms/master"), START).await;
        Some(Self { url, _process: process, _folder: folder })
    }

    /// Asks its administration, for which a token is good for a minute.
    async fn administer(&self, method: Method, path: &str, body: &Value) -> Answer {
        let form = Serializer::new(String::new())
            .extend_pairs([
                ("grant_type", "password"),
                ("client_id", "admin-cli"),
                ("username", ADMIN),
                ("password", ADMIN),
            ])
            .finish();
        let url = format!("{}/realms/master/protocol/openid-connect/token", self.url);
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let token = client::send(Method::POST, &url, &headers, form).await.unwrap().json();
        let token = format!("Bearer {}", token["access_token"].as_str().unwrap());
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        let answer = client::send(method, &format!("{}/admin{path}", self.url), &headers, body.to_string())
            .await
            .unwrap();
        assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
        answer
    }
}

/// A realm of its own with the people, groups and roles of `realm.json`.
pub(crate) struct Realm {
    name: &'static str,
    pub(crate) issuer: String,
    keycloak: &'static Keycloak,
}

impl Realm {
    /// `name` is this test's alone.
    pub(crate) async fn start(name: &'static str) -> Option<Self> {
        let keycloak = Keycloak::shared().await?;
        let mut realm: Value =
            serde_json::from_slice(&std::fs::read(repository("tests/peers/providers/realm.json")).unwrap())
                .unwrap();
        realm["realm"] = json!(name);
        keycloak.administer(Method::POST, "/realms", &realm).await;
        Some(Self { name, issuer: format!("{}/realms/{name}", keycloak.url), keycloak })
    }

    /// Takes somebody out of a group, such as `/engineering/platform`.
    pub(crate) async fn leave(&self, person: &str, group: &str) {
        let person = self.id_of(&format!("/users?exact=true&username={person}")).await;
        let groups =
            self.administer(Method::GET, &format!("/users/{person}/groups"), &json!({})).await.json();
        let groups = groups.as_array().unwrap();
        let group = groups.iter().find(|known| known["path"] == group).expect("a group of this person");
        let path = format!("/users/{person}/groups/{}", group["id"].as_str().unwrap());
        self.administer(Method::DELETE, &path, &json!({})).await;
    }

    /// Puts somebody into a group, such as `/engineering/platform`.
    pub(crate) async fn join(&self, person: &str, group: &str) {
        let person = self.id_of(&format!("/users?exact=true&username={person}")).await;
        let path = format!("/group-by-path{}", group.replace(' ', "%20"));
        let group = self.administer(Method::GET, &path, &json!({})).await.json();
        let path = format!("/users/{person}/groups/{}", group["id"].as_str().unwrap());
        self.administer(Method::PUT, &path, &json!({})).await;
    }

    /// Has its tokens expire so soon that sessions here are refreshed as often as they may be.
    pub(crate) async fn shorten_tokens(&self) {
        self.administer(Method::PUT, "", &json!({ "accessTokenLifespan": 30 })).await;
    }

    /// Ends every session that somebody has there, as its administrator.
    pub(crate) async fn end_sessions(&self, person: &str) {
        let person = self.id_of(&format!("/users?exact=true&username={person}")).await;
        self.administer(Method::POST, &format!("/users/{person}/logout"), &json!({})).await;
    }

    /// Signs a browser out at its own page.
    pub(crate) async fn sign_out(&self, visitor: &mut Visitor) {
        let page = visitor.open(&format!("{}/protocol/openid-connect/logout", self.issuer)).await;
        let page = visitor.submit(&page, &[]).await;
        assert!(page.body.contains("You are logged out"), "{page:?}");
    }

    /// Gives the realm a new key to sign with. The ones before stay published.
    pub(crate) async fn add_key(&self) {
        let config =
            json!({ "priority": ["1000"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"] });
        let key = json!({
            "name": "newer", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider", "config": config,
        });
        self.administer(Method::POST, "/components", &key).await;
    }

    /// Publishes the first key no more.
    pub(crate) async fn remove_first_key(&self) {
        let key = self.id_of("/components?name=rsa-generated").await;
        self.administer(Method::DELETE, &format!("/components/{key}"), &json!({})).await;
    }

    /// Has it send logout tokens to this address.
    pub(crate) async fn tell_of_logouts(&self, url: &str) {
        let client = self.id_of(&format!("/clients?clientId={CLIENT}")).await;
        let path = format!("/clients/{client}");
        let mut settings = self.administer(Method::GET, &path, &json!({})).await.json();
        settings["attributes"]["backchannel.logout.url"] = json!(url);
        self.administer(Method::PUT, &path, &settings).await;
    }

    /// The id of the one thing that an address lists.
    async fn id_of(&self, path: &str) -> String {
        let list = self.administer(Method::GET, path, &json!({})).await.json();
        let [only] = &list.as_array().unwrap()[..] else { panic!("{path}: {list}") };
        only["id"].as_str().unwrap().to_owned()
    }

    async fn administer(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.keycloak.administer(method, &format!("/realms/{}{path}", self.name), body).await
    }
}

/// Signs somebody in at its page.
pub(crate) async fn sign_in(visitor: &mut Visitor, page: &Page, person: &str) -> Page {
    assert!(page.body.contains("kc-form-login"), "{page:?}");
    visitor.submit(page, &[("username", person), ("password", &format!("{person}-pw"))]).await
}
