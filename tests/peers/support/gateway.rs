//! A gateway as its users run it: the built binary, a configuration file, the command line.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use http::Method;
use serde_json::Value;
use tempfile::TempDir;

use super::client::{self, Answer};
use super::process::Process;
use super::{PATIENCE, free_port};

/// The password of every user made by [`Gateway::user`].
pub(crate) const PASSWORD: &str = "seven quiet herons at dawn";

/// The address every configuration here listens on until it is replaced by a free one.
pub(crate) const ADDRESS: &str = "127.0.0.1:8080";

/// The same address by a name, as people use one: browsers know that all below `localhost` is this machine.
pub(crate) const NAME: &str = "app.localhost:8080";

/// A running gateway with its own database; it and its files are gone when dropped.
pub(crate) struct Gateway {
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
    process: Option<Process>,
    config: PathBuf,
    directory: TempDir,
}

/// An API key as it is shown once.
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) key: String,
}

impl Gateway {
    /// Starts a gateway from a configuration, which listens on [`ADDRESS`] if it does not say where.
    pub(crate) async fn start(config: &str) -> Self {
        Self::start_with(config, &[]).await
    }

    /// The same with more environment.
    pub(crate) async fn start_with(config: &str, environment: &[(&str, &str)]) -> Self {
        let config = &whole(config);
        let directory = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let path = directory.path().join("doorward.toml");
        write_private(&path, &at(&address, config));
        let url = format!("http://{address}");
        let public = format!("public_url = \"http://{ADDRESS}");
        let base =
            config.split_once(&public).map_or("", |(_, rest)| rest.split('"').next().unwrap_or_default());

        let mut serve = doorward();
        serve.args(["serve", "--config"]).arg(&path).envs(environment.iter().copied());
        let process = Process::start("doorward", directory.path(), &serve);
        let process = process.ready(&format!("{url}{base}/_doorward/readyz"), PATIENCE).await;
        Self { url, process: Some(process), config: path, directory }
    }

    /// Writes another configuration over its own, as an editor does; it listens where it did.
    pub(crate) fn save(&self, config: &str) {
        let new = self.config.with_extension("new");
        write_private(&new, &at(self.url.trim_start_matches("http://"), &whole(config)));
        std::fs::rename(new, &self.config).unwrap();
    }

    /// The address by the name that a configuration calls [`NAME`].
    pub(crate) fn named(&self) -> String {
        at(self.url.trim_start_matches("http://"), &format!("http://{NAME}"))
    }

    /// Ends the server; its files stay.
    pub(crate) fn stop(&mut self) {
        drop(self.process.take());
    }

    /// What the server has printed so far.
    pub(crate) fn output(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }

    /// Runs a command beside the server.
    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = doorward();
        command.args(arguments).arg("--config").arg(&self.config).current_dir(self.directory.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that does not read its input may have ended already; its status tells.
        let _written = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Runs a command that succeeds and prints JSON.
    pub(crate) fn json(&self, arguments: &[&str], input: &str) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat(), input);
        assert!(output.status.success(), "doorward {}: {output:?}", arguments.join(" "));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("not JSON ({e}): {output:?}"))
    }

    /// Adds a user with [`PASSWORD`].
    pub(crate) fn user(&self, name: &str, role: &str) {
        let added = self.json(&["user", "add", name, "--role", role, "--password-stdin"], PASSWORD);
        assert_eq!(added["role"], role);
    }

    /// Makes an API key; `more` are further arguments.
    pub(crate) fn key(&self, name: &str, role: &str, more: &[&str]) -> Key {
        let made = self.json(&[&["key", "create", name, "--role", role], more].concat(), "");
        let text =
            |field: &str| made[field].as_str().unwrap_or_else(|| panic!("no {field}: {made}")).to_owned();
        Key { id: text("id"), key: text("key") }
    }

    /// A request with a bearer key, or anonymous with an empty one.
    pub(crate) async fn send(&self, method: Method, path: &str, key: &str) -> Answer {
        self.post(method, path, key, &[], "").await
    }

    /// A request with headers and a body.
    pub(crate) async fn post(
        &self,
        method: Method,
        path: &str,
        key: &str,
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Answer {
        let bearer = format!("Bearer {key}");
        let mut headers = headers.to_vec();
        if !key.is_empty() {
            headers.push(("authorization", &bearer));
        }
        let url = format!("{}{path}", self.url);
        client::send(method, &url, &headers, body).await.unwrap_or_else(|e| panic!("{path}: {e}"))
    }
}

/// A configuration that says where it listens.
fn whole(config: &str) -> String {
    if config.contains(ADDRESS) {
        return config.to_owned();
    }
    let public = format!("public_url = \"http://{ADDRESS}\"\n");
    let public = if config.contains("public_url") { "" } else { &public };
    format!("{public}server.listen = [\"{ADDRESS}\"]\n{config}")
}

/// A configuration that listens on this address.
fn at(address: &str, config: &str) -> String {
    let port = address.rsplit(':').next().unwrap_or_default();
    let (name, _) = NAME.split_once(':').expect("the name has a port");
    config.replace(ADDRESS, address).replace(NAME, &format!("{name}:{port}"))
}

/// Settings may hold secrets, so they are for their owner alone.
fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// The binary without the settings in our own environment, of which the tests have some.
fn doorward() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DOORWARD_") {
            command.env_remove(name);
        }
    }
    command
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.process.take()); // before its files go
    }
}
