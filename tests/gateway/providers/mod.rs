//! Signing in through providers, as browsers do it.

mod account;
mod callback_paths;
mod crowds;
mod floods;
mod pages;
mod products;
mod sessions;
mod sign_in;
mod sign_out;

use serde_json::Value;

use crate::support::browser::Browser;
use crate::support::provider::Provider;
use crate::support::{Gateway, Upstream};

/// A provider `sso`, a gateway in front of an application, and nobody who has an account.
pub struct World {
    pub provider: Provider,
    pub upstream: Upstream,
    pub gateway: Gateway,
}

/// Reading needs a viewer, writing a member, `/ops` the group `ops`, `/admin` an admin.
const ROUTES: &str = r#"
[[routes]]
upstream = "app"
rules = [
  { name = "ops", path = "/ops", allow = "group:ops" },
  { name = "admin", path = "/admin", allow = "admin" },
  { name = "reads", methods = "read", allow = "viewer" },
  { name = "writes", methods = "write", allow = "member" },
]
"#;

/// Settings with one upstream and these providers; plain settings come first.
pub fn settings(upstream: &Upstream, plain: &str, providers: &[String]) -> String {
    format!(
        "{plain}\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}\n{}",
        upstream.url(),
        providers.join("\n")
    )
}

impl World {
    /// With further settings of the provider.
    pub async fn with(more: &str) -> Self {
        Self::of("", more).await
    }

    /// With plain settings, too.
    pub async fn of(plain: &str, more: &str) -> Self {
        let (provider, upstream) = (Provider::start().await, Upstream::spawn().await);
        let gateway =
            Gateway::configured(&settings(&upstream, plain, &[provider.settings("sso", more)])).await;
        Self { provider, upstream, gateway }
    }

    /// Signs in as somebody and gives the browser; it must work.
    pub async fn signed_in(&self, claims: &Value) -> Browser {
        let mut browser = Browser::default();
        let answer = browser.sign_in(&self.gateway, (&self.provider, "sso"), claims, "/").await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{}", answer.text());
        browser
    }

    /// The page that refuses somebody, and the browser.
    pub async fn refused(&self, claims: &Value) -> (u16, String) {
        let mut browser = Browser::default();
        let answer = browser.sign_in(&self.gateway, (&self.provider, "sso"), claims, "/").await;
        assert!(browser.cookie("doorward").is_none(), "{}", answer.head);
        (answer.status, answer.text())
    }
}
