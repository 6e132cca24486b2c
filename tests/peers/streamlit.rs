//! Streamlit: a page that is blank without its WebSocket.

use std::process::Command;
use std::time::Duration;

use fantoccini::Locator;
use http::Method;
use tempfile::TempDir;

use crate::proxies::door::{Door, Proxy};
use crate::support::chrome::Browser;
use crate::support::client::Answer;
use crate::support::gateway::{ADDRESS, Gateway};
use crate::support::process::Process;
use crate::support::{free_port, python, repository};

const START: Duration = Duration::from_secs(90);

pub(crate) struct Streamlit {
    pub(crate) address: String,
    _process: Process,
    _directory: TempDir,
}

impl Streamlit {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more options.
    pub(crate) async fn start_with(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut run = Command::new(python());
        run.args(["-m", "streamlit", "run"]).arg(repository("tests/peers/streamlit_app.py"));
        run.args(["--server.address", "127.0.0.1", "--server.port", &port.to_string()]);
        run.args(["--server.headless", "true", "--server.fileWatcherType", "none"]);
        run.args(["--browser.gatherUsageStats", "false"]);
        run.args(options);
        let process = Process::start("streamlit", directory.path(), &run);
        let address = format!("127.0.0.1:{port}");
        let process =
            process.ready(&format!("http://{address}{}/_stcore/health", base_of(options)), START).await;
        Self { address, _process: process, _directory: directory }
    }

    /// Anybody signed in sees it; what a page does travels over the stream, so that is a member's.
    async fn gateway(&self) -> Gateway {
        let upstream = &self.address;
        Gateway::start(&format!(
            r#"
            [[upstreams]]
            name = "streamlit"
            url = "http://{upstream}"
            [[routes]]
            upstream = "streamlit"
            path = "/"
            rules = [
              {{ name = "stream", path = "/_stcore/stream", methods = "websocket", allow = "member" }},
              {{ name = "reads", methods = "read", allow = "viewer" }},
            ]
            "#
        ))
        .await
    }
}

/// Below which path Streamlit believes itself.
fn base_of(options: &[&str]) -> String {
    options
        .windows(2)
        .find(|pair| pair[0] == "--server.baseUrlPath")
        .map_or_else(String::new, |pair| format!("/{}", pair[1]))
}

/// The opening handshake (RFC 6455, 4.1) as Streamlit's page makes it.
async fn open_stream(gateway: &Gateway, key: &str, origin: &str) -> Answer {
    let headers = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "streamlit"),
        ("origin", origin),
    ];
    gateway.post(Method::GET, "/_stcore/stream", key, &headers, "").await
}

/// Clicks the button of the page, and sees that the application counts.
async fn counts_clicks(browser: &Browser) {
    browser.see("Counted 0 times").await;
    for count in 1..=3 {
        browser.find("[data-testid=stButton] button").await.click().await.unwrap();
        browser.see(&format!("Counted {count} times")).await;
    }
}

#[tokio::test]
async fn click_of_a_member_travels_over_the_websocket() {
    let streamlit = Streamlit::start().await;
    let gateway = streamlit.gateway().await;
    gateway.user("mark", "member");
    let browser = Browser::start().await;

    browser.open(&gateway, "/").await;
    browser.arrive_below("/_doorward/login").await;
    browser.sign_in("mark").await;

    counts_clicks(&browser).await;
    browser.close().await;
}

/// Gateway and application below one path, whether or not the application knows.
#[tokio::test]
async fn click_travels_over_the_websocket_below_a_path() {
    for (options, strip) in
        [(&[][..], "strip_prefix = \"/apps/streamlit\""), (&["--server.baseUrlPath", "apps/streamlit"], "")]
    {
        let streamlit = Streamlit::start_with(options).await;
        let gateway = Gateway::start(&format!(
            r#"
            public_url = "http://{ADDRESS}/apps/streamlit"
            server.listen = ["{ADDRESS}"]
            [[upstreams]]
            name = "streamlit"
            url = "http://{}"
            [[routes]]
            upstream = "streamlit"
            path = "/apps/streamlit"
            {strip}
            rules = [
              {{ name = "stream", path = "/apps/streamlit/_stcore/stream", methods = "websocket", allow = "member" }},
              {{ name = "reads", methods = "read", allow = "viewer" }},
            ]
            "#,
            streamlit.address
        ))
        .await;
        gateway.user("mark", "member");
        let browser = Browser::start().await;

        browser.open(&gateway, "/apps/streamlit/").await;
        browser.arrive_below("/apps/streamlit/_doorward/login").await;
        browser.sign_in("mark").await;

        counts_clicks(&browser).await;
        assert_eq!(browser.address().await, "/apps/streamlit/");
        browser.close().await;
    }
}

#[tokio::test]
async fn revoked_session_disconnects_the_page_that_is_open() {
    let streamlit = Streamlit::start().await;
    let gateway = streamlit.gateway().await;
    gateway.user("mark", "member");
    let browser = Browser::start().await;
    browser.open(&gateway, "/").await;
    browser.sign_in("mark").await;
    browser.see("Counted 0 times").await;
    let status = Locator::Css("[data-testid=stConnectionStatus]");
    assert!(browser.client.find(status).await.is_err(), "the page is connected");

    let revoked = gateway.run(&["session", "revoke", "--user", "mark"], "");
    assert!(revoked.status.success(), "{revoked:?}");
    browser.find("[data-testid=stConnectionStatus]").await;
    browser.close().await;
}

#[tokio::test]
async fn click_travels_over_the_websocket_through_nginx_that_asks() {
    let streamlit = Streamlit::start().await;
    let door = Door::open(Proxy::Nginx, &streamlit.address).await;
    door.gateway.user("vera", "viewer");
    let browser = Browser::start().await;

    browser.client.goto(&door.url).await.unwrap();
    browser.arrive_below("/_doorward/login").await;
    browser.sign_in("vera").await;

    counts_clicks(&browser).await;
    browser.close().await;
}

#[tokio::test]
async fn stream_opens_for_members_only() {
    let streamlit = Streamlit::start().await;
    let gateway = streamlit.gateway().await;
    let member = gateway.key("member", "member", &[]).key;
    let viewer = gateway.key("viewer", "viewer", &[]).key;
    let own = gateway.url.clone();

    let opened = open_stream(&gateway, &member, &own).await;
    assert_eq!(opened.status, 101, "{opened:?}");
    assert_eq!(opened.header("sec-websocket-protocol"), "streamlit");
    assert_eq!(opened.header("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

    let refused = open_stream(&gateway, &viewer, &own).await;
    assert_eq!(refused.refusal(), Some(403), "{refused:?}");
    let anonymous = open_stream(&gateway, "", &own).await;
    assert_eq!(anonymous.refusal(), Some(401), "{anonymous:?}");
    let foreign = open_stream(&gateway, &member, "http://evil.test").await;
    assert_eq!(foreign.status, 403, "{foreign:?}");
}
