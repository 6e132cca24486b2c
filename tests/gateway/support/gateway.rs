//! A whole gateway on a free port, with its own database and its own clock.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use doorward::app::{Inherited, ReloadError, Running, open_or_make_store};
use doorward::config::{ConfigOrigin, ConfigSource, Flags};
use doorward::model::api_key::KeyScope;
use doorward::model::refused::{RefusedBy, Tally};
use doorward::model::role::Role;
use doorward::model::secret::Secret;
use doorward::model::time::{Clock, ManualClock, Timestamp};
use doorward::model::user::UserId;
use doorward::service::accounts::{Accounts, NewUser};
use doorward::service::admin::AdminProof;
use doorward::service::api_keys::{ApiKeys, NewKey};
use doorward::service::composition::Services;
use doorward::service::revocation::Revocations;
use doorward::store::Store;
use tempfile::TempDir;

use super::ledger::Ledger;
use super::raw::{Answer, exchange};
use super::{until, wait_for};

/// Long enough for the password rules.
pub const PASSWORD: &str = "correct horse battery";

/// Reading needs a viewer, writing a member, `/admin` an admin, `/ingest` an agent; `/public` is open.
pub const ROUTES: &str = r#"
[[routes]]
upstream = "app"
path = "/"
rules = [
  { name = "public", path = "/public", allow = "anyone" },
  { name = "admin", path = "/admin", allow = "admin" },
  { name = "ingest", path = "/ingest", methods = ["POST"], allow = ["agent", "member"] },
  { name = "reads", methods = "read", allow = "viewer" },
  { name = "writes", methods = "write", allow = "member" },
]
"#;

/// A running gateway. Ends with the test, or properly by [`Gateway::begin_stop`].
pub struct Gateway {
    /// First, so that what it looks at is still there when it ends.
    pub ledger: Ledger,
    pub address: SocketAddr,
    pub addresses: Vec<SocketAddr>,
    pub clock: Arc<ManualClock>,
    pub folder: TempDir,
    /// As another process would use them: beside the gateway, over the same database.
    /// The user of the command line.
    pub by: AdminProof,
    pub accounts: Accounts,
    pub keys: ApiKeys,
    pub revocations: Revocations,
    pub store: Store,
    origin: tokio::sync::Mutex<ConfigOrigin>,
}

impl Gateway {
    /// A gateway with one upstream `app` at `upstream` and `routes` as TOML.
    pub async fn spawn(upstream: &str, routes: &str) -> Self {
        Self::configured(&format!("[[upstreams]]\nname = \"app\"\nurl = \"{upstream}\"\n{routes}")).await
    }

    /// A gateway with everything but addresses and store as TOML. `{folder}` stands for its folder.
    pub async fn configured(toml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = write_settings(folder.path(), toml);
        let (mut ledger, log) = Ledger::open(folder.path(), toml);
        let source = ConfigSource { file: Some(file), environment: Vec::new() };
        let mut origin = ConfigOrigin::new(source, Flags::default());
        let config = match doorward::app::load(&mut origin) {
            Ok(config) => config,
            Err(error) => panic!("{error}"),
        };
        let clock = Arc::new(ManualClock::at(Timestamp(1_900_000_000)));
        let dyn_clock: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
        let (store, key) = open_or_make_store(&config, 2, Arc::clone(&dyn_clock)).await.unwrap();
        let services = Services::new(store, &key, Arc::clone(&dyn_clock), (&config).into());
        let inherited = Inherited::default();
        let running = Box::pin(Running::start(config, dyn_clock, inherited, log)).await.unwrap();
        let addresses = running.addresses().to_vec();
        ledger.running = Some(running);
        Self {
            ledger,
            address: addresses[0],
            addresses,
            clock,
            folder,
            by: AdminProof::of_command_line(0),
            accounts: services.accounts,
            keys: services.api_keys,
            revocations: services.revocations,
            store: services.store,
            origin: tokio::sync::Mutex::new(origin),
        }
    }

    /// Writes other settings, as [`Gateway::configured`] takes them, and has the gateway take them over.
    pub async fn reload(&self, toml: &str) -> Result<u64, ReloadError> {
        write_settings(self.folder.path(), toml);
        self.ledger.knows(toml);
        let mut origin = self.origin.lock().await;
        Box::pin(self.running().reload(&mut origin)).await
    }

    /// Adds a user with [`PASSWORD`].
    pub async fn user(&self, name: &str, role: Role) -> UserId {
        self.user_with(name, role, &[], false).await
    }

    pub async fn user_with(&self, name: &str, role: Role, groups: &[&str], must_change: bool) -> UserId {
        let new = NewUser {
            username: name.to_owned(),
            email: Some(format!("{name}@example.org")),
            display_name: None,
            role,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            password: Some((Secret::new(PASSWORD), must_change)),
        };
        self.accounts.create(&self.by, new).await.unwrap().id
    }

    /// Adds a user who has neither a password nor an identity yet.
    pub async fn invite(&self, name: &str, email: &str) -> UserId {
        let new = NewUser {
            username: name.to_owned(),
            email: Some(email.to_owned()),
            display_name: None,
            role: Role::Viewer,
            groups: Vec::new(),
            password: None,
        };
        self.accounts.create(&self.by, new).await.unwrap().id
    }

    /// The text of a new system key.
    pub async fn system_key(&self, name: &str, role: Role) -> String {
        self.key_with(name, role, None, KeyScope::default()).await.0
    }

    /// Text and id of a new key.
    pub async fn key_with(
        &self,
        name: &str,
        role: Role,
        owner: Option<UserId>,
        scope: KeyScope,
    ) -> (String, String) {
        let new = NewKey { name: name.to_owned(), owner, role, scope, expires_at: None };
        let (text, key) = self.keys.issue(&self.by, new).await.unwrap();
        let text = text.expose().to_owned();
        // Its beginning is its id, which is no secret.
        self.ledger.handed_out(&text[text.len() / 2..]);
        (text, key.id)
    }

    /// Signs in with [`PASSWORD`] through the login page and gives the `Cookie` header's value.
    pub async fn sign_in(&self, name: &str) -> String {
        let answer = self.post_login(name, PASSWORD).await;
        assert_eq!(answer.status, 303, "{}\n{}", answer.head, answer.text());
        session_cookie(&answer).expect("signing in sets the session cookie")
    }

    /// Adds `mel`, a member, and `vera`, a viewer, and signs both in.
    pub async fn mel_and_vera(&self) -> (String, String) {
        self.user("mel", Role::Member).await;
        self.user("vera", Role::Viewer).await;
        (self.sign_in("mel").await, self.sign_in("vera").await)
    }

    pub async fn post_login(&self, name: &str, password: &str) -> Answer {
        let form: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("username", name)
            .append_pair("password", password)
            .append_pair("rd", "/")
            .finish();
        self.post_form("/_doorward/login", &form, "").await
    }

    /// Posts one of our own forms from our own origin.
    pub async fn post_form(&self, path: &str, form: &str, more_headers: &str) -> Answer {
        let host = self.address;
        let answer = exchange(
            self.address,
            format!(
                "POST {path} HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\n{more_headers}\
                 content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
                form.len()
            ),
        )
        .await;
        self.look_at(&answer, path);
        for cookie in answer.headers("set-cookie") {
            let value = cookie.split([';', '=']).nth(1).unwrap_or_default();
            if cookie.starts_with("doorward") && value.len() > 20 {
                self.ledger.handed_out(value);
            }
        }
        answer
    }

    /// What we answer ourselves holds no secret.
    fn look_at(&self, answer: &Answer, path: &str) {
        if answer.problem().is_some() || path.starts_with("/_doorward") {
            let text = answer.text();
            assert_eq!(self.ledger.secret_in(&text), None, "a secret is told to a client:\n{text}");
        }
    }

    fn running(&self) -> &Running {
        self.ledger.running.as_ref().expect("the gateway runs")
    }

    /// One request without a body. `headers` are whole lines, each ending in CR LF.
    pub async fn send(&self, line: &str, headers: &str) -> Answer {
        let request = format!("{line} HTTP/1.1\r\nhost: {}\r\n{headers}\r\n", self.address);
        let answer = exchange(self.address, request).await;
        self.look_at(&answer, line.split(' ').nth(1).unwrap_or_default());
        answer
    }

    pub async fn get(&self, path: &str, headers: &str) -> Answer {
        self.send(&format!("GET {path}"), headers).await
    }

    /// How often the gateway asked its store who a credential belongs to.
    pub fn lookups(&self) -> u64 {
        self.running().lookups()
    }

    /// Where the gateway shows its metrics.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.running().metrics_address()
    }

    /// What the report counted of these, once it is as many requests as it must be.
    pub async fn refused(
        &self,
        requests: u64,
        which: impl Fn(&RefusedBy) -> bool,
    ) -> Vec<(RefusedBy, Tally)> {
        wait_for("the report", async || {
            let mut counted = self.store.list_refused(Timestamp(0)).await.unwrap();
            counted.retain(|(by, _)| which(by));
            let sum: u64 = counted.iter().map(|(_, tally)| tally.count).sum();
            assert!(sum <= requests, "{sum} instead of {requests}: {counted:?}");
            (sum == requests).then_some(counted)
        })
        .await
    }

    /// Waits until the gateway says that it is ready, or that it is not.
    pub async fn until_ready(&self, ready: bool) {
        let what = if ready { "readiness" } else { "unreadiness" };
        until(what, async || (self.get("/_doorward/readyz", "").await.status == 200) == ready).await;
    }

    /// Waits until the running gateway acts on every change made beside it, as the command line does.
    pub async fn settle(&self) {
        let spread = self.revocations.seen_everywhere(super::DEADLINE).await.unwrap();
        assert!(spread.behind.is_empty() && spread.reached == 1, "{spread:?}");
    }

    /// Begins to stop, and leaves the rest of the test to look at how.
    pub fn begin_stop(&mut self) -> tokio::task::JoinHandle<()> {
        let running = self.ledger.running.take().expect("the gateway runs");
        tokio::spawn(running.stop())
    }
}

/// Everything but addresses and store is the test's to say; what it says of them itself is not said twice.
fn write_settings(folder: &Path, toml: &str) -> PathBuf {
    let place = folder.display().to_string();
    let mut toml = toml.replace("{folder}", &place);
    let mut text = String::new();
    if !toml.contains("public_url") {
        text.push_str("public_url = \"http://localhost\"\n");
    }
    if !toml.contains("[store]") {
        text.push_str(&format!("store.url = \"sqlite:{place}/doorward.db\"\n"));
    }
    for (setting, value) in [("listen = [", "\"127.0.0.1:0\"]"), ("workers = ", "2")] {
        if toml.contains(setting) {
            continue;
        }
        if toml.contains("[server]\n") {
            toml = toml.replacen("[server]\n", &format!("[server]\n{setting}{value}\n"), 1);
        } else {
            text.push_str(&format!("server.{setting}{value}\n"));
        }
    }
    if !toml.contains("[log]") {
        text.push_str("log.format = \"json\"\n");
    }
    text.push_str(&toml);
    let file = folder.join("doorward.toml");
    std::fs::write(&file, text).unwrap();
    // Secrets may stand in it.
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    file
}

/// `name=value` of the session cookie an answer sets.
pub fn session_cookie(answer: &Answer) -> Option<String> {
    let set = answer.headers("set-cookie").into_iter().find(|cookie| cookie.starts_with("doorward="))?;
    Some(set.split(';').next()?.to_owned())
}

/// A bearer header line.
pub fn bearer(key: &str) -> String {
    format!("authorization: Bearer {key}\r\n")
}
