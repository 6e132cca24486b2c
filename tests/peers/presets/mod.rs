//! Presets by name, and nothing else, in front of the applications they are for. Phoenix has `phoenix.rs`, which runs on
//! its preset. Of Pyroscope 1.x there is only the client to be had; a stand-in is the server.

mod flower;
mod gradio;
mod jupyter;
mod long;
mod marimo;
mod micromegas;
mod micromegas_source;
mod mlflow;
mod node;
mod phoenix;
mod prometheus;
mod pyroscope;
mod pyroscope_source;
mod registry;
mod streamlit;
mod surface;
mod table;
mod tensorboard;
mod walk;

use std::process::{Command, Output};

use http::Method;
use tempfile::TempDir;

use crate::support::chrome::Browser;
use crate::support::client::Answer;
use crate::support::gateway::{Gateway, NAME};
use crate::support::process::Process;

/// A running application on a port of loopback; static, so it ends with this test program.
struct App {
    address: String,
    folder: TempDir,
    _process: Process,
}

impl App {
    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A gateway whose whole configuration is this; `address` may have a scheme, `more` is added to the route.
async fn gateway(preset: &str, address: &str, more: &str) -> Gateway {
    let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    Gateway::start(&format!(
        r#"
        public_url = "http://{NAME}"

        [[upstreams]]
        name = "{preset}"
        url = "{url}"

        [[routes]]
        upstream = "{preset}"
        preset = "{preset}"
        {more}
        "#
    ))
    .await
}

/// A fresh browser that came to a page by its name, was asked to sign in, and has done so.
async fn signed_in(gateway: &Gateway, path: &str, user: &str) -> Browser {
    let browser = Browser::start().await;
    browser.client.goto(&format!("{}{path}", gateway.named())).await.unwrap();
    browser.arrive_below("/_doorward/login").await;
    browser.sign_in(user).await;
    browser
}

/// Somebody of a role signs in, sees a page of the application, and nothing that the page asks for is refused.
async fn is_seen(preset: &str, address: &str, role: &str, page: &str, text: &str) {
    let gateway = gateway(preset, address, "").await;
    gateway.user("vera", role);
    let browser = signed_in(&gateway, page, "vera").await;
    browser.see(text).await;
    // Browsers ask for what a page may be installed by without cookies.
    let refused = refused(&browser).await.into_iter().filter(|line| !line.ends_with(".webmanifest"));
    assert_eq!(refused.collect::<Vec<_>>(), Vec::<String>::new());
    browser.close().await;
}

/// What the page has asked of its own origin so far, as `200 /path`; Chromium tells.
async fn asked(browser: &Browser) -> Vec<String> {
    let script = "return performance.getEntriesByType('resource').filter(e => e.name.startsWith(origin)) \
                  .map(e => e.responseStatus + ' ' + e.name.slice(origin.length))";
    let asked = browser.client.execute(script, vec![]).await.unwrap();
    serde_json::from_value(asked).unwrap()
}

/// What of it was refused.
async fn refused(browser: &Browser) -> Vec<String> {
    let refused = |entry: &String| entry.starts_with("401") || entry.starts_with("403");
    asked(browser).await.into_iter().filter(refused).collect()
}

/// The opening handshake (RFC 6455, 4.1) of a program with a key.
async fn open_websocket(gateway: &Gateway, path: &str, key: &str) -> Answer {
    gateway.post(Method::GET, path, key, &websocket_headers(), "").await
}

fn websocket_headers() -> [(&'static str, &'static str); 4] {
    [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
}

/// Somebody unknown gets nothing of the application: a page leads to the sign-in, all else is 401.
async fn is_closed_to_strangers(gateway: &Gateway, page: &str, others: &[(Method, &str)]) {
    let html = [("accept", "text/html"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    let asked = gateway.post(Method::GET, page, "", &html, "").await;
    assert!(asked.status == 303 || asked.status == 302, "{page}: {asked:?}");
    assert!(asked.header("location").contains("/_doorward/login"), "{page}: {asked:?}");
    for (method, path) in others {
        let answer = gateway.send(method.clone(), path, "").await;
        assert_eq!(answer.refusal(), Some(401), "{method} {path}: {answer:?}");
    }
}

/// Runs a program to its end; its output, or the test fails with what it told.
fn said(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}{told}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A program of the applications' Python.
fn program(name: &str) -> Command {
    let mut run = Command::new(crate::support::apps_python());
    run.arg(crate::support::repository(&format!("tests/peers/presets/{name}")));
    run
}
