//! nginx, Traefik, Caddy and Envoy with the configurations people have for other products, in front of an
//! application that tells which headers reached it. Only the addresses in `tests/peers/compat/` are ours.

use std::path::Path;
use std::process::Command;

use http::Method;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::client::{self, Answer};
use crate::support::gateway::Gateway;
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, python, repository, wait_for};

const BROWSER: (&str, &str) = ("accept", "text/html");

/// A proxy with its application and the gateway it asks.
struct Setting {
    url: String,
    gateway: Gateway,
    application: tokio::task::JoinHandle<()>,
    _proxy: Process,
    _folder: TempDir,
}

impl Drop for Setting {
    fn drop(&mut self) {
        self.application.abort();
    }
}

impl Setting {
    /// `file` in `tests/peers/compat`, run by `start`, which is told the file and its folder.
    async fn of(
        name: &'static str,
        file: &str,
        product: &str,
        flavour: &str,
        start: impl FnOnce(&Path, u16) -> Command,
    ) -> Self {
        let gateway = Gateway::start(&format!(
            "public_url = \"http://127.0.0.1:8080\"\n\
             [server]\nlisten = [\"127.0.0.1:8080\"]\ntrusted_proxies = [\"127.0.0.1\"]\n\
             [forward_auth]\ncompat = [\"{product}\"]\nflavours = [\"{flavour}\"]\n\
             [[routes]]\nrules = [\n  {{ path = \"/public\", allow = \"anyone\" }},\n  \
             {{ methods = \"read\", allow = \"viewer\" }},\n  {{ methods = \"write\", allow = \"member\" }},\n]\n"
        ))
        .await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = listener.local_addr().unwrap().port();
        let application = tokio::spawn(application(listener));
        let front = free_port();
        let folder = tempfile::tempdir().unwrap();
        let asked = gateway.url.rsplit_once(':').unwrap().1;
        let text = std::fs::read_to_string(repository("tests/peers/compat").join(file)).unwrap();
        let mut text = text.replace("127.0.0.1:8080", &format!("127.0.0.1:{asked}"));
        for (old, new) in
            [("8000", front.to_string()), ("8080", asked.to_owned()), ("9000", behind.to_string())]
        {
            text = text.replace(&format!("127.0.0.1:{old}"), &format!("127.0.0.1:{new}"));
            text = text.replace(&format!("port_value: {old}"), &format!("port_value: {new}"));
        }
        let path = folder.path().join(file);
        std::fs::write(&path, text).unwrap();
        let proxy = Process::start(name, folder.path(), &start(&path, front));
        let url = format!("http://127.0.0.1:{front}");
        // Traefik listens before it knows its routes.
        wait_for(&format!("{name} at {url}"), PATIENCE, async || {
            client::get(&format!("{url}/public")).await.ok().filter(|answer| answer.status == 200).map(drop)
        })
        .await;
        Self { url, gateway, application, _proxy: proxy, _folder: folder }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        client::send(method, &format!("{}{path}", self.url), headers, "").await.unwrap()
    }

    async fn with_key(&self, method: Method, path: &str, key: &str) -> Answer {
        let bearer = format!("Bearer {key}");
        let forged = [("remote-user", "forged"), ("x-auth-request-user", "forged"), ("x-user", "forged")];
        let headers = [&[("authorization", bearer.as_str())], &forged[..]].concat();
        self.send(method, path, &headers).await
    }

    /// A member passes and is named to the application, in place of whom the client claims to be; a viewer
    /// may only read; nobody passes without a credential, except where anyone may. `nobody` is the status then.
    async fn decides_by_method(&self, header: &str, nobody: u16) {
        let member = self.gateway.key("robot", "member", &[]);
        let viewer = self.gateway.key("reader", "viewer", &[]);
        for (method, key, expected) in [
            (Method::GET, &member, 200),
            (Method::POST, &member, 200),
            (Method::GET, &viewer, 200),
            (Method::POST, &viewer, 403),
        ] {
            let answer = self.with_key(method.clone(), "/x", &key.key).await;
            assert_eq!(answer.status, expected, "{method} {answer:?}");
        }
        let told = self.with_key(Method::GET, "/x?y=1", &member.key).await;
        assert!(told.body.contains(&format!("{header}: robot\n")), "{}", told.body);
        assert!(!told.body.contains(&format!("{header}: forged")), "{}", told.body);
        assert_eq!(self.send(Method::GET, "/x", &[]).await.status, nobody);
        assert_eq!(self.with_key(Method::GET, "/x", "nonsense").await.status, nobody);
        let open = self.send(Method::GET, "/public", &[(header, "forged")]).await;
        assert_eq!(open.status, 200);
        assert!(!open.body.contains("forged"), "{}", open.body);
    }

    /// Where a browser that is nobody's is sent from `/x?y=1`.
    async fn sends_browsers_to_sign_in(&self, method: &str) {
        let sent = self.send(Method::GET, "/x?y=1", &[BROWSER]).await;
        assert_eq!(sent.status, 302, "{sent:?}");
        let back: String =
            url::form_urlencoded::byte_serialize(format!("{}/x?y=1", self.url).as_bytes()).collect();
        let location = format!("{}/_doorward/login?rd={back}{method}", self.gateway.url);
        assert_eq!(sent.header("location"), location);
    }
}

/// Answers every request with the headers it came with, one a line.
async fn application(listener: TcpListener) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        connections.spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                head.push(byte);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let mut told = String::new();
            for (name, value) in head.lines().skip(1).filter_map(|line| line.split_once(": ")) {
                told.push_str(&name.to_lowercase());
                told.extend([": ", value, "\n"]);
            }
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{told}",
                told.len()
            );
            let _written = stream.write_all(answer.as_bytes()).await;
        });
    }
}

/// A program that came with the Python packages.
fn program(name: &str) -> Command {
    Command::new(python().with_file_name(name))
}

fn nginx(file: &Path, _: u16) -> Command {
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(file.parent().unwrap()).arg("-c").arg(file);
    command.args(["-e", "error.log", "-g", "daemon off; master_process off;"]);
    command
}

fn traefik(file: &Path, port: u16) -> Command {
    let mut command = program("traefik");
    command.arg(format!("--entryPoints.web.address=127.0.0.1:{port}"));
    command.arg(format!("--providers.file.filename={}", file.display()));
    command.args(["--global.checkNewVersion=false", "--global.sendAnonymousUsage=false"]);
    command
}

#[tokio::test]
async fn nginx_as_configured_for_oauth2_proxy() {
    let nginx = Setting::of("nginx", "nginx-oauth2-proxy.conf", "oauth2-proxy", "nginx", nginx).await;
    let member = nginx.gateway.key("robot", "member", &[]);
    let viewer = nginx.gateway.key("reader", "viewer", &[]);
    let told = nginx.with_key(Method::GET, "/x", &member.key).await;
    assert_eq!(told.status, 200, "{told:?}");
    assert!(told.body.contains("x-user: robot\n"), "{}", told.body);
    // The method is not said there, so it counts as writing; what the client claims has no effect.
    assert_eq!(nginx.with_key(Method::GET, "/x", &viewer.key).await.status, 403);
    let bearer = format!("Bearer {}", viewer.key);
    let claims = [
        ("authorization", bearer.as_str()),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-uri", "/public"),
        ("x-forwarded-host", "other"),
    ];
    assert_eq!(nginx.send(Method::POST, "/x", &claims).await.status, 403);
    assert_eq!(nginx.send(Method::GET, "/x", &claims[2..]).await.status, 403, "nobody");

    // This configuration gives the sign-in page status 403; the page leads on by itself.
    let page = nginx.send(Method::GET, "/x?y=1", &[BROWSER]).await;
    assert_eq!(page.status, 403, "{page:?}");
    let onward = format!("url={}/_doorward/login?rd=", nginx.gateway.url);
    assert!(page.body.contains(&onward) && page.body.contains("%2Fx%3Fy%3D1"), "{}", page.body);
    assert_eq!(nginx.send(Method::GET, "/public", &[]).await.status, 200);
    let info = nginx.with_key(Method::GET, "/oauth2/userinfo", &member.key).await;
    assert_eq!((info.status, &info.json()["user"]), (200, &"robot".into()));
}

#[tokio::test]
async fn nginx_as_configured_for_authelia() {
    let nginx = Setting::of("nginx", "nginx-authelia.conf", "authelia", "nginx", nginx).await;
    nginx.decides_by_method("remote-user", 302).await;
    nginx.sends_browsers_to_sign_in("&rm=GET").await;
}

#[tokio::test]
async fn traefik_as_configured_for_authelia() {
    let traefik = Setting::of("traefik", "traefik-authelia.yml", "authelia", "traefik", traefik).await;
    traefik.decides_by_method("remote-user", 401).await;
    traefik.sends_browsers_to_sign_in("&rm=GET").await;
}

#[tokio::test]
async fn traefik_as_configured_for_oauth2_proxy() {
    let traefik =
        Setting::of("traefik", "traefik-oauth2-proxy.yml", "oauth2-proxy", "traefik", traefik).await;
    traefik.decides_by_method("x-auth-request-user", 401).await;
    traefik.sends_browsers_to_sign_in("").await;
}

#[tokio::test]
async fn caddy_as_configured_for_authelia() {
    let caddy = Setting::of("caddy", "caddy-authelia.conf", "authelia", "caddy", |file, _| {
        let mut command = program("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
        command.env("HOME", file.parent().unwrap());
        command
    })
    .await;
    caddy.decides_by_method("remote-user", 401).await;
    caddy.sends_browsers_to_sign_in("&rm=GET").await;
}

#[tokio::test]
async fn envoy_as_configured_for_authelia() {
    let envoy = Setting::of("envoy", "envoy-authelia.yaml", "authelia", "envoy", |file, _| {
        let mut command = program("envoy");
        command.arg("-c").arg(file).args([
            "--concurrency",
            "1",
            "--use-dynamic-base-id",
            "--log-level",
            "warn",
        ]);
        command
    })
    .await;
    envoy.decides_by_method("remote-user", 401).await;
    envoy.sends_browsers_to_sign_in("&rm=GET").await;
}
