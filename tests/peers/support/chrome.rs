//! Chromium, driven over `WebDriver`.

use std::path::Path;
use std::process::Command;

use fantoccini::elements::Element;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;
use tempfile::TempDir;

use super::client::Answer;
use super::gateway::{Gateway, PASSWORD};
use super::process::Process;
use super::{PATIENCE, free_port, wait_for};

/// A fresh browser profile in one headless window.
pub(crate) struct Browser {
    pub(crate) client: Client,
    driver: Option<Process>,
    _profile: TempDir,
}

/// How a browser shows pages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    /// What it says its user prefers.
    pub(crate) dark: bool,
    /// A narrow window with a finger for a mouse.
    pub(crate) phone: bool,
}

impl Browser {
    pub(crate) async fn start() -> Self {
        Self::with(Look::default()).await
    }

    pub(crate) async fn with(look: Look) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut chromedriver = Command::new("chromedriver");
        chromedriver.arg(format!("--port={port}")); // loopback only, unless told otherwise
        let driver = Process::start("chromedriver", profile.path(), &chromedriver);
        let url = format!("http://127.0.0.1:{port}");
        let driver = driver.ready(&format!("{url}/status"), PATIENCE).await;
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities(profile.path(), look))
            .connect(&url)
            .await
            .unwrap_or_else(|e| panic!("Chromium does not start: {e}\n{}", driver.output()));
        Self { client, driver: Some(driver), _profile: profile }
    }

    /// Opens a path of the gateway.
    pub(crate) async fn open(&self, gateway: &Gateway, path: &str) {
        self.client.goto(&format!("{}{path}", gateway.url)).await.unwrap();
    }

    /// The element, once it is there.
    pub(crate) async fn find(&self, css: &str) -> Element {
        let found = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await;
        match found {
            Ok(element) => element,
            Err(error) => panic!("no {css} at {} ({error}):\n{}", self.address().await, self.text().await),
        }
    }

    /// Fills the named fields.
    pub(crate) async fn fill(&self, fields: &[(&str, &str)]) {
        for (name, value) in fields {
            let field = self.find(&format!("[name={name}]")).await;
            field.clear().await.unwrap();
            field.send_keys(value).await.unwrap();
        }
    }

    /// Puts into a field what its own limits would not let anybody type.
    pub(crate) async fn fill_by_script(&self, name: &str, value: &str) {
        let script = "document.getElementsByName(arguments[0])[0].value = arguments[1]";
        self.client.execute(script, vec![json!(name), json!(value)]).await.unwrap();
    }

    /// Presses the button or link that is read out with this text, or begins with it.
    pub(crate) async fn press(&self, text: &str) {
        let named = |element: &str| format!("//{element}[starts-with(normalize-space(.), '{text}')]");
        let either = format!("{} | {}", named("button"), named("a"));
        let found = self.client.wait().at_most(PATIENCE).for_element(Locator::XPath(&either)).await;
        match found {
            Ok(element) => element.click().await.unwrap(),
            Err(error) => panic!("nothing to press: {text} ({error}):\n{}", self.text().await),
        }
    }

    /// Fills the named fields and presses the page's one submit button.
    pub(crate) async fn submit(&self, fields: &[(&str, &str)]) {
        self.fill(fields).await;
        self.find("[type=submit], form button:not([type])").await.click().await.unwrap();
    }

    /// Submits, and reads the alert of the page that comes then, which may look like the one before.
    pub(crate) async fn submit_in_vain(&self, fields: &[(&str, &str)]) -> String {
        self.client.execute("window.submitted = true", vec![]).await.unwrap();
        self.submit(fields).await;
        let script = "return window.submitted ? null : document.querySelector('[role=alert]')?.innerText";
        wait_for("an alert on the next page", PATIENCE, async || {
            self.client.execute(script, vec![]).await.ok()?.as_str().map(str::to_owned)
        })
        .await
    }

    /// Fills the login page for a user of [`Gateway::user`].
    pub(crate) async fn sign_in(&self, name: &str) {
        self.submit(&[("username", name), ("password", PASSWORD)]).await;
    }

    /// Path and query of the page.
    pub(crate) async fn address(&self) -> String {
        let url = self.client.current_url().await.unwrap();
        url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
    }

    /// Waits for the page with this path and query.
    pub(crate) async fn arrive(&self, address: &str) {
        let what = format!("arrival at {address}");
        wait_for(&what, PATIENCE, async || (self.address().await == address).then_some(())).await;
    }

    /// Waits for a page whose path and query start so.
    pub(crate) async fn arrive_below(&self, start: &str) {
        let what = format!("arrival below {start}");
        wait_for(&what, PATIENCE, async || self.address().await.starts_with(start).then_some(())).await;
    }

    /// The text a reader sees, empty while a page is being replaced.
    pub(crate) async fn text(&self) -> String {
        let body = self.client.execute("return document.body ? document.body.innerText : ''", vec![]).await;
        body.ok().and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Waits until a reader sees this text.
    pub(crate) async fn see(&self, text: &str) {
        let what = format!("text {text:?} on the page");
        wait_for(&what, PATIENCE, async || self.text().await.contains(text).then_some(())).await;
    }

    /// The cookies of this site, as one header value.
    pub(crate) async fn cookies(&self) -> String {
        let cookies = self.client.get_all_cookies().await.unwrap();
        let pairs: Vec<String> = cookies.iter().map(|c| format!("{}={}", c.name(), c.value())).collect();
        pairs.join("; ")
    }

    /// What a program gets that has this browser's cookies; our own pages let no script ask.
    pub(crate) async fn get(&self, gateway: &Gateway, path: &str) -> Answer {
        let cookies = self.cookies().await;
        gateway.post(Method::GET, path, "", &[("cookie", &cookies)], "").await
    }

    /// Ends the browser; a test that fails before ends it by dropping the driver.
    pub(crate) async fn close(mut self) {
        self.client.clone().close().await.unwrap();
        drop(self.driver.take());
    }
}

fn capabilities(profile: &Path, look: Look) -> Capabilities {
    let directory = format!("--user-data-dir={}", profile.join("chromium").display());
    let scheme = format!("--blink-settings=preferredColorScheme={}", u8::from(!look.dark));
    let arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--no-proxy-server",
        "--window-size=1200,800",
        &directory,
        &scheme,
    ];
    let mut options = json!({ "goog:chromeOptions": { "args": arguments } });
    if look.phone {
        let metrics = json!({ "width": 390, "height": 844, "pixelRatio": 2, "touch": true });
        options["goog:chromeOptions"]["mobileEmulation"] = json!({ "deviceMetrics": metrics });
    }
    options.as_object().cloned().unwrap()
}
