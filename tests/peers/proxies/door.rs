//! A proxy started with exactly what `doorward snippet` prints, a gateway beside it, an application behind it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::client::{self, Answer};
use crate::support::gateway::{ADDRESS, Gateway, PASSWORD};
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, repository};

/// A proxy that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    Nginx,
    Traefik,
    Caddy,
    Haproxy,
    Envoy,
    EnvoyGrpc,
}

impl Proxy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Traefik => "traefik",
            Self::Caddy => "caddy",
            Self::Haproxy => "haproxy",
            Self::Envoy | Self::EnvoyGrpc => "envoy",
        }
    }
}

/// Proxy and gateway.
pub(crate) struct Door {
    pub(crate) url: String,
    pub(crate) gateway: Gateway,
    _proxy: Process,
    _directory: TempDir,
}

/// Rules of the application, the same through the proxy and, as host `own.test`, through the gateway itself.
const RULES: &str = r#"[
    { name = "admin", path = "/admin", allow = "admin" },
    { name = "public", path = "/public", allow = "anyone" },
    { name = "shell", path = "/readable", methods = "websocket", allow = "admin" },
    { name = "queries", path = "/graphql", graphql = "query", allow = "viewer" },
    { name = "changes", path = "/graphql", graphql = ["mutation", "subscription"], allow = "member" },
    { name = "sockets", methods = "websocket", allow = "viewer" },
    { name = "reads", methods = "read", allow = "viewer" },
    { name = "writes", allow = "member" },
]"#;

/// What is set up beside the usual.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct More<'m> {
    /// In the section of this edge.
    pub(crate) forward_auth: &'m str,
    /// Sections at the end; `APP` is the application's address.
    pub(crate) sections: &'m str,
    /// Rules of the application instead of the usual; empty for the standard ones.
    pub(crate) rules: Option<&'m str>,
    /// The public address's host, where it is not that of the proxy's.
    pub(crate) public_host: Option<&'m str>,
}

impl Door {
    pub(crate) async fn open(proxy: Proxy, app: &str) -> Self {
        Self::open_changed(proxy, app, str::to_owned).await
    }

    /// The same with a change to what is printed.
    pub(crate) async fn open_changed(proxy: Proxy, app: &str, change: impl Fn(&str) -> String) -> Self {
        Self::open_with(proxy, app, More::default(), change).await
    }

    /// The same with more settings.
    pub(crate) async fn open_with(
        proxy: Proxy,
        app: &str,
        more: More<'_>,
        change: impl Fn(&str) -> String,
    ) -> Self {
        let listen = format!("127.0.0.1:{}", free_port());
        let url = format!("http://{listen}");
        let public = match more.public_host {
            Some(host) => url.replace("127.0.0.1", host),
            None => url.clone(),
        };
        let sections = more.sections.replace("APP", app);
        let usual = format!("rules = {RULES}");
        let rules = more.rules.unwrap_or(&usual);
        let gateway = Gateway::start(&format!(
            r#"
            public_url = "{public}"
            [server]
            listen = ["{ADDRESS}"]
            trusted_proxies = ["127.0.0.1"]
            [forward_auth]
            flavours = ["{}"]
            {}
            [[upstreams]]
            name = "app"
            url = "http://{app}"
            [[routes]]
            host = "own.test"
            upstream = "app"
            {rules}
            [[routes]]
            {rules}
            {sections}
            "#,
            proxy.name(),
            more.forward_auth,
        ))
        .await;
        let directory = tempfile::tempdir().unwrap();
        let command = configured(proxy, &gateway, &listen, app, directory.path(), &change);
        let process = Process::start(proxy.name(), directory.path(), &command);
        let process = process.ready(&format!("{url}/_doorward/healthz"), PATIENCE).await;
        Self { url, gateway, _proxy: process, _directory: directory }
    }

    /// A request through the proxy.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(http::Method::GET, path, headers, "").await
    }

    pub(crate) async fn send(
        &self,
        method: http::Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &'static str,
    ) -> Answer {
        let url = if path.starts_with('/') { format!("{}{path}", self.url) } else { path.to_owned() };
        client::send(method, &url, headers, body).await.unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// Signs in at the page that a refusal led to; the cookies, and where it leads back.
    pub(crate) async fn sign_in(&self, page: &str, name: &str) -> (String, String) {
        let shown = self.get(page, &[("accept", "text/html")]).await;
        assert_eq!(shown.status, 200, "{page}: {shown:?}");
        let page = url::Url::parse(page).unwrap();
        let rd = page.query_pairs().find(|(name, _)| name == "rd");
        let form: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("username", name)
            .append_pair("password", PASSWORD)
            .append_pair("rd", &rd.map_or_else(String::new, |(_, rd)| rd.into_owned()))
            .finish();
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("origin", self.url.as_str())];
        let url = format!("{}/_doorward/login", self.url);
        let answer = client::send(http::Method::POST, &url, &headers, form).await.unwrap();
        assert_eq!(answer.status, 303, "{answer:?}");
        let cookies = answer.headers.get_all("set-cookie").iter();
        let pairs: Vec<&str> = cookies.map(|c| c.to_str().unwrap().split(';').next().unwrap()).collect();
        (pairs.join("; "), answer.header("location").to_owned())
    }
}

/// The command that runs a proxy in `directory`, and its files.
fn configured(
    proxy: Proxy,
    gateway: &Gateway,
    listen: &str,
    app: &str,
    directory: &Path,
    change: &dyn Fn(&str) -> String,
) -> Command {
    let app = format!("http://{app}");
    let snippet = |more: &[&str], file: &str| {
        let arguments = ["snippet", proxy.name(), "--app", &app, "--listen", listen];
        let printed = gateway.run(&[&arguments[..], more].concat(), "");
        assert!(printed.status.success(), "{printed:?}");
        std::fs::write(directory.join(file), change(&String::from_utf8(printed.stdout).unwrap())).unwrap();
    };
    let peers = repository(".tests/venv");
    match proxy {
        Proxy::Nginx => {
            snippet(&[], "doorward.conf");
            // Nothing of its own but where its files go.
            std::fs::write(directory.join("nginx.conf"), nginx(directory)).unwrap();
            let mut command = Command::new(system("nginx"));
            command.arg("-p").arg(directory).args(["-c", "nginx.conf", "-e", "stderr"]);
            command
        }
        Proxy::Traefik => {
            snippet(&["--part", "static"], "traefik.yml");
            snippet(&["--part", "dynamic"], "doorward.yml");
            let mut command = Command::new(peers.join("bin/traefik"));
            command.arg("--configFile=traefik.yml");
            command
        }
        Proxy::Caddy => {
            snippet(&[], "Caddyfile");
            let mut command = Command::new(peers.join("bin/caddy"));
            command.args(["run", "--config", "Caddyfile", "--adapter", "caddyfile"]);
            command.env(
                "CADDY_ADMIN",
                "unix//".to_owned() + &directory.join("admin.sock").display().to_string(),
            );
            command.env("XDG_DATA_HOME", directory).env("XDG_CONFIG_HOME", directory);
            command
        }
        Proxy::Haproxy => {
            snippet(&[], "haproxy.cfg");
            snippet(&["--part", "lua"], "doorward.lua");
            let mut command = Command::new(system("haproxy"));
            command.args(["-db", "-f", "haproxy.cfg"]);
            command
        }
        Proxy::Envoy | Proxy::EnvoyGrpc => {
            let grpc: &[&str] = if proxy == Proxy::EnvoyGrpc { &["--grpc"] } else { &[] };
            snippet(grpc, "envoy.yaml");
            let mut command = Command::new(envoy(&peers));
            command.args(["-c", "envoy.yaml", "--concurrency", "1", "-l", "warn", "--use-dynamic-base-id"]);
            command
        }
    }
}

fn nginx(directory: &Path) -> String {
    let at = directory.display();
    let mut text =
        format!("daemon off;\npid {at}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n");
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        _ = writeln!(text, "{kind}_temp_path {at}/{kind};");
    }
    text + "include doorward.conf;\n}\n"
}

/// A server of the system, which need not be in a user's search path.
pub(crate) fn system(name: &str) -> PathBuf {
    let path = Path::new("/usr/sbin").join(name);
    if path.exists() { path } else { PathBuf::from(name) }
}

/// The program inside Envoy's Python package.
fn envoy(venv: &Path) -> PathBuf {
    let libraries = std::fs::read_dir(venv.join("lib")).unwrap();
    let inside = "site-packages/envoy/_bin/envoy";
    let mut found = libraries.map(|entry| entry.unwrap().path().join(inside)).filter(|path| path.exists());
    found.next().expect("Envoy is missing: run tests/run.sh once")
}

/// Sends bytes as they are and reads one answer to the end of the connection.
pub(crate) async fn raw(address: &str, request: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Who refuses early closes while we still write.
    let _written = stream.write_all(request).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection stays open: {}", String::from_utf8_lossy(request));
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text)
}
