//! Every page of ours, looked at by axe-core for what WCAG 2.2 asks at levels A and AA: in light and dark, at a
//! desk and on a phone. Images of what was looked at are left in `.tests/pages`.

use serde_json::{Value, json};

use crate::account::{gateway, sign_in_elsewhere};
use crate::support::chrome::{Browser, Look};
use crate::support::gateway::{Gateway, PASSWORD};
use crate::support::{PATIENCE, repository, wait_for};

const AXE: &str = ".tests/node/node_modules/axe-core/axe.min.js";

const RUN: &str = "const done = arguments[arguments.length - 1];
    axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }).then(
      found => done({
        passes: found.passes.length,
        violations: found.violations.map(rule => ({ rule: rule.id, help: rule.help,
          nodes: rule.nodes.map(node => [node.html, node.failureSummary]) })),
        wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        dark: matchMedia('(prefers-color-scheme: dark)').matches,
      }),
      error => done({ error: String(error) }))";

/// A browser that looks at pages and remembers what is wrong.
struct Judge {
    browser: Browser,
    look: Look,
    axe: String,
    wrong: Vec<String>,
    seen: usize,
}

impl Judge {
    async fn start(look: Look) -> Self {
        let axe = repository(AXE);
        let axe = std::fs::read_to_string(&axe)
            .unwrap_or_else(|error| panic!("{}: {error}: run tests/run.sh once", axe.display()));
        Self { browser: Browser::with(look).await, look, axe, wrong: Vec::new(), seen: 0 }
    }

    /// Looks at the page that is open; `sign` is text by which it is known.
    async fn look_at(&mut self, page: &str, sign: &str) {
        self.browser.see(sign).await;
        let client = &self.browser.client;
        client.execute(&self.axe, vec![]).await.unwrap();
        let found = client.execute_async(RUN, vec![]).await.unwrap();
        let look = format!(
            "{}-{}",
            if self.look.dark { "dark" } else { "light" },
            if self.look.phone { "phone" } else { "desk" }
        );
        let folder = repository(".tests/pages");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{page}-{look}.png")), client.screenshot().await.unwrap())
            .unwrap();
        assert!(
            found["passes"].as_u64().is_some_and(|passes| passes > 5),
            "{page}: nothing was checked: {found}"
        );
        assert_eq!(found["dark"], self.look.dark, "{page}");
        if found["violations"] != json!([]) {
            self.wrong.push(format!("{page} ({look}): {:#}", found["violations"]));
        }
        if found["wide"].as_i64() != Some(0) {
            self.wrong.push(format!("{page} ({look}): scrolls sideways by {}", found["wide"]));
        }
        self.seen += 1;
    }

    async fn open(&self, gateway: &Gateway, path: &str) {
        self.browser.open(gateway, path).await;
    }

    async fn judge(self, pages: usize) {
        self.browser.close().await;
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        assert_eq!(self.seen, pages);
    }
}

/// Opens each of our pages, in each state that looks different.
async fn look_at_every_page(look: Look) {
    let mut judge = Judge::start(look).await;
    let empty = gateway().await;
    judge.open(&empty, "/_doorward/login").await;
    judge.look_at("login-first", "Nobody has an account here yet").await;
    let printed = "/_doorward/setup?token=";
    let link = wait_for("set-up link", PATIENCE, async || {
        let output = empty.output();
        let at = output.find(printed)?;
        Some(output[at..].split_whitespace().next()?.to_owned())
    })
    .await;
    judge.open(&empty, &link).await;
    judge.look_at("setup", "Make the first account").await;
    judge
        .browser
        .submit(&[("username", "root"), ("password", PASSWORD), ("repeat", "another one altogether")])
        .await;
    judge.look_at("setup-wrong", "are not the same").await;

    let gateway = gateway().await;
    gateway.user("vera", "viewer");
    let temporary = ["user", "add", "nora", "--role", "viewer", "--password-stdin", "--temporary"];
    gateway.json(&temporary, "only for the first time");
    judge.open(&gateway, "/_doorward/setup?token=over").await;
    judge.look_at("setup-over", "This link does not work").await;
    judge.open(&gateway, "/deep/link").await;
    judge.look_at("login", "to continue to").await;
    judge.browser.submit(&[("username", "vera"), ("password", "wrong wrong wrong")]).await;
    judge.look_at("login-wrong", "is wrong").await;
    judge.browser.submit(&[("username", "nora"), ("password", "only for the first time")]).await;
    judge.look_at("password-forced", "Choose a new password").await;
    judge.open(&gateway, "/_doorward/logout").await;
    judge.look_at("logout", "Sign out?").await;
    judge.browser.submit(&[]).await;
    judge.look_at("signed-out", "You are signed out").await;

    judge.open(&gateway, "/_doorward/account").await;
    judge.browser.sign_in("vera").await;
    judge.look_at("account-empty", "You have no keys yet").await;
    let group = ["user", "add-group", "vera", "operations"];
    gateway.json(&group, "");
    sign_in_elsewhere(&gateway, "vera").await;
    gateway.key("build server in the cellar", "viewer", &["--owner", "vera"]);
    let narrow = ["--owner", "vera", "--expires", "30d", "--path", "/v1/traces", "--method", "POST"];
    gateway.key("notebook", "viewer", &narrow);
    judge.open(&gateway, "/_doorward/account?done=name").await;
    judge.look_at("account", "notebook").await;
    judge.browser.fill_by_script("name", &"x".repeat(129)).await;
    judge.browser.press("Save name").await;
    judge.look_at("account-wrong", "has 1 to 128 characters").await;
    judge.open(&gateway, "/_doorward/password").await;
    judge.look_at("password", "Every other browser will be signed out").await;
    judge.open(&gateway, "/_doorward/account/keys/new").await;
    judge.look_at("new-key", "What it is for").await;
    judge.browser.fill(&[("name", "cron"), ("methods", "FETCH"), ("password", PASSWORD)]).await;
    judge.browser.press("Make the key").await;
    judge.look_at("new-key-wrong", "is not a method").await;
    judge.browser.fill(&[("methods", "GET"), ("password", PASSWORD)]).await;
    judge.browser.press("Make the key").await;
    judge.look_at("key", "shown only this once").await;

    judge.open(&gateway, "/admin").await;
    judge.look_at("forbidden", "You do not have access").await;
    judge.open(&gateway, "/_doorward/nothing").await;
    judge.look_at("not-found", "There is nothing here").await;
    judge.open(&gateway, "/_doorward/handover?token=x").await;
    judge.look_at("handover", "Signing in did not work").await;
    let down = Gateway::start(
        "[[upstreams]]\nname = \"app\"\n\
         url = \"http://127.0.0.1:9\"\n[[routes]]\nupstream = \"app\"\nrules = [{ allow = \"anyone\" }]\n",
    )
    .await;
    judge.open(&down, "/").await;
    judge.look_at("unreachable", "The application is not reachable").await;
    judge.judge(20).await;
}

#[tokio::test]
async fn every_page_in_light_at_a_desk() {
    look_at_every_page(Look { dark: false, phone: false }).await;
}

#[tokio::test]
async fn every_page_in_dark_at_a_desk() {
    look_at_every_page(Look { dark: true, phone: false }).await;
}

#[tokio::test]
async fn every_page_in_light_on_a_phone() {
    look_at_every_page(Look { dark: false, phone: true }).await;
}

#[tokio::test]
async fn every_page_in_dark_on_a_phone() {
    look_at_every_page(Look { dark: true, phone: true }).await;
}

const SVG: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 1" width="80" height="20">
<style>rect { fill: #7c3aed }</style><rect width="4" height="1"/>
<script>document.documentElement.setAttribute('id', 'ran')</script></svg>"#;

/// Whether the script in the logo has run, of the document that is open.
async fn has_run(judge: &Judge) -> bool {
    let asked = "return [document.documentElement.tagName, document.documentElement.id]";
    let told = judge.browser.client.execute(asked, vec![]).await.unwrap();
    assert_eq!(told[0], "svg");
    told[1] == "ran"
}

/// The pages with the most in them, in a look of one's own.
async fn look_at_a_theme(dark: bool) {
    let folder = tempfile::tempdir().unwrap();
    let logo = folder.path().join("logo.svg");
    std::fs::write(&logo, SVG).unwrap();
    // The accent is as weak as it may be, and of the dark one nothing is written.
    let gateway = Gateway::start(&format!(
        "[pages]\nname = \"Ops <b>\"\n\
         logo = \"{}\"\ncolor = \"#ed0600\"\n[[upstreams]]\nname = \"app\"\nurl = \"builtin:sample\"\n\
         [[routes]]\nupstream = \"app\"\n",
        logo.display()
    ))
    .await;
    gateway.user("vera", "viewer");
    gateway.key("notebook", "viewer", &["--owner", "vera"]);
    let mut judge = Judge::start(Look { dark, phone: false }).await;
    judge.open(&gateway, "/_doorward/login").await;
    judge.look_at("theme-login", "to continue to").await;
    let shown = "const logo = document.querySelector('img.logo'), button = document.querySelector('button');
        return [logo.naturalWidth, document.title, document.querySelector('.brand-name').textContent,
          getComputedStyle(button).backgroundColor === 'rgb(237, 6, 0)', getComputedStyle(button).color]";
    let shown = judge.browser.client.execute(shown, vec![]).await.unwrap();
    let text = if dark { "rgb(0, 0, 0)" } else { "rgb(255, 255, 255)" };
    assert_eq!(shown, json!([80, "Sign in · Ops <b>", "Ops <b>", !dark, text]));
    judge.open(&gateway, "/_doorward/account").await;
    judge.browser.sign_in("vera").await;
    judge.look_at("theme-account", "notebook").await;
    judge.open(&gateway, "/_doorward/account/keys/new").await;
    judge.look_at("theme-new-key", "What it is for").await;
    judge.open(&gateway, "/_doorward/nothing").await;
    judge.look_at("theme-not-found", "There is nothing here").await;
    // Opened by itself, the logo is a picture still; as a file of nobody's it is not.
    judge.open(&gateway, "/_doorward/static/logo.svg").await;
    assert!(!has_run(&judge).await);
    judge.browser.client.goto(&format!("file://{}", logo.display())).await.unwrap();
    assert!(has_run(&judge).await);
    judge.judge(4).await;
}

#[tokio::test]
async fn a_look_of_ones_own_in_light() {
    look_at_a_theme(false).await;
}

#[tokio::test]
async fn a_look_of_ones_own_in_dark() {
    look_at_a_theme(true).await;
}

#[tokio::test]
async fn the_judge_finds_what_is_wrong() {
    let gateway = gateway().await;
    let judge = Judge::start(Look::default()).await;
    judge.open(&gateway, "/_doorward/login").await;
    judge.browser.see("Sign in").await;
    let client = &judge.browser.client;
    let spoil = "document.querySelector('label').remove(); document.documentElement.removeAttribute('lang');
                 document.querySelector('h1').style.color = '#ddd'";
    client.execute(spoil, vec![]).await.unwrap();
    client.execute(&judge.axe, vec![]).await.unwrap();
    let found = client.execute_async(RUN, vec![]).await.unwrap();
    let rules: Vec<&Value> =
        found["violations"].as_array().unwrap().iter().map(|rule| &rule["rule"]).collect();
    for rule in ["label", "html-has-lang", "color-contrast"] {
        assert!(rules.iter().any(|found| **found == rule), "{rule} is not among {rules:?}");
    }
    judge.browser.close().await;
}
