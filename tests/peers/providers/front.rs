//! The gateway in front of an application, with people who come from providers.

use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::visitor::{Page, Visitor};
use super::{CLIENT, SECRET};
use crate::proxies::WEBSOCKET_KEY;
use crate::proxies::echo::Echo;
use crate::support::PATIENCE;
use crate::support::gateway::{ADDRESS, Gateway};
use crate::support::repository;

/// The gateway and the application behind it.
pub(crate) struct Front {
    pub(crate) gateway: Gateway,
    app: Echo,
    base: &'static str,
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Socket(TcpStream);

impl Socket {
    /// Whether it still carries bytes both ways.
    pub(crate) async fn lives(&mut self) -> bool {
        let mut back = [0; 5];
        let answered = async {
            self.0.write_all(b"there").await?;
            self.0.read_exact(&mut back).await
        };
        let answered = timeout(PATIENCE, answered).await.expect("an echo or the end");
        answered.is_ok() && &back == b"there"
    }
}

/// The settings of a provider as a page of `docs/providers` has them, with the issuer and the secret of a test.
pub(crate) fn documented(page: &str, issuer: &str) -> String {
    let text = std::fs::read_to_string(repository(&format!("docs/providers/{page}.md"))).unwrap();
    let (_, settings) = text.split_once("```toml\n").unwrap();
    let lines = settings.split("```").next().unwrap().lines().map(|line| match line.split_once(" = ") {
        Some(("issuer", _)) => format!("issuer = {issuer:?}\n"),
        Some(("client_secret_file", _)) => format!("client_secret = {SECRET:?}\n"),
        Some(("client_id", id)) => {
            assert_eq!(id, format!("{CLIENT:?}"));
            format!("{line}\n")
        }
        _ => format!("{line}\n"),
    });
    lines.collect()
}

impl Front {
    /// With these providers, at `/` (an empty `base`) or below a path such as `/sub`.
    pub(crate) async fn start(base: &'static str, providers: &str) -> Self {
        let app = Echo::start().await;
        let gateway = Gateway::start(&settings(base, &app, providers)).await;
        Self { gateway, app, base }
    }

    /// The address of a path of the application or of ours.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{}{path}", self.gateway.url, self.base)
    }

    /// What is registered at a provider.
    pub(crate) fn redirect_uri(&self, provider: &str) -> String {
        self.url(&format!("/_doorward/callback/{provider}"))
    }

    /// The first page that somebody sees who wants to go to `path` by way of a provider.
    pub(crate) async fn begin(&self, visitor: &mut Visitor, provider: &str, path: &str) -> Page {
        visitor.open(&self.sign_in_url(provider, path)).await
    }

    /// The same by a link that says who it is.
    pub(crate) async fn begin_as(
        &self,
        visitor: &mut Visitor,
        provider: &str,
        path: &str,
        person: &str,
    ) -> Page {
        visitor.open(&format!("{}&login_hint={person}", self.sign_in_url(provider, path))).await
    }

    /// Signs out at our page; the page that somebody comes to then.
    pub(crate) async fn sign_out(&self, visitor: &mut Visitor) -> Page {
        let page = visitor.open(&self.url("/_doorward/logout")).await;
        assert!(page.body.contains("Sign out?"), "{page:?}");
        visitor.submit(&page, &[]).await
    }

    /// Where a provider's server tells of those who signed out there.
    pub(crate) fn logout_uri(&self, provider: &str) -> String {
        self.url(&format!("/_doorward/backchannel-logout/{provider}"))
    }

    /// Where browsers come back to that signed out at a provider.
    pub(crate) fn signed_out_uri(&self) -> String {
        self.url("/_doorward/signed-out")
    }

    /// Opens somebody's WebSocket to the application, over which it echoes.
    pub(crate) async fn socket(&self, visitor: &Visitor, path: &str) -> Result<Socket, u16> {
        let url = url::Url::parse(&self.url(path)).unwrap();
        let host = self.gateway.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).await.unwrap();
        let request = format!(
            "GET {} HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\norigin: {}\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: {WEBSOCKET_KEY}\r\ncookie: {}\r\n\r\n",
            url.path(),
            self.gateway.url,
            visitor.cookies_for(&url),
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let status = String::from_utf8(head).unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        if status == 101 { Ok(Socket(stream)) } else { Err(status) }
    }

    fn sign_in_url(&self, provider: &str, path: &str) -> String {
        let target = format!("{}{path}", self.base);
        let target: String = url::form_urlencoded::byte_serialize(target.as_bytes()).collect();
        self.url(&format!("/_doorward/sign-in/{provider}?rd={target}"))
    }

    /// What the application gets of somebody's request, `name (role) groups`, or the status of the refusal.
    pub(crate) async fn who(&self, visitor: &Visitor, path: &str) -> Result<String, u16> {
        let url = url::Url::parse(&self.url(path)).unwrap();
        let cookies = visitor.cookies_for(&url);
        self.app.take();
        let path = format!("{}{path}", self.base);
        let answer = self.gateway.post(Method::GET, &path, "", &[("cookie", &cookies)], "").await;
        match &self.app.take()[..] {
            [] => Err(answer.status),
            [seen] => Ok(seen.all("x-who").join(", ")),
            more => panic!("{more:?}"),
        }
    }

    /// Why sessions were ended that nobody here ended, the newest last.
    pub(crate) fn causes(&self) -> Vec<String> {
        let list = self.gateway.json(&["audit", "list", "--event", "session.revoke"], "");
        let rows = list["events"].as_array().unwrap();
        rows.iter().filter_map(|row| row["detail"]["cause"].as_str().map(str::to_owned)).collect()
    }

    /// The users that the store has, by username.
    pub(crate) fn users(&self) -> Vec<String> {
        let list = self.gateway.json(&["user", "list"], "");
        let users = list["users"].as_array().unwrap();
        users.iter().map(|user| user["username"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

fn settings(base: &str, app: &Echo, providers: &str) -> String {
    format!(
        r#"
        public_url = "http://{ADDRESS}{base}"
        server.listen = ["{ADDRESS}"]
        {providers}
        [[upstreams]]
        name = "app"
        url = "http://{}"
        set_headers = {{ X-Who = "{{user}} ({{role}}) {{groups:|}}" }}
        [[routes]]
        upstream = "app"
        path = "{base}/"
        rules = [
          {{ name = "admin", path = "{base}/admin", allow = "admin" }},
          {{ name = "member", path = "{base}/member", allow = "member" }},
          {{ name = "science", path = "{base}/science", allow = ["group:Data Science", "group:/Data Science"] }},
          {{ name = "reads", methods = "read", allow = "viewer" }},
          {{ name = "socket", methods = "websocket", allow = "viewer" }},
        ]
        "#,
        app.address
    )
}
