//! Signing in where another proxy has the applications and only asks: a browser with a cookie jar for each
//! host, and a proxy that does what its manual says, or not.

use std::collections::BTreeMap;

use doorward::model::role::Role;

use crate::support::Gateway;
use crate::support::gateway::PASSWORD;
use crate::support::raw::{Answer, exchange, until_closed};

const CONFIG: &str = r#"
[server]
workers = 2
trusted_proxies = ["127.0.0.1"]

[forward_auth]
flavours = ["traefik"]

[[routes]]
hosts = ["app.example", "other.example"]
"#;

const DEEP: &str = "http://app.example/d/x?a=1&b=%2F&rd=http://evil.example";

/// What the proxy of the applications does wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    None,
    ChecksOurPages,
    DropsCookies,
}

struct Browser<'g> {
    gateway: &'g Gateway,
    mistake: Mistake,
    /// By host, then by name.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
    /// Every address it was sent to.
    hops: Vec<String>,
}

/// Where a browser ended up.
struct Page {
    url: String,
    answer: Answer,
}

impl<'g> Browser<'g> {
    fn new(gateway: &'g Gateway) -> Self {
        Self { gateway, mistake: Mistake::None, cookies: BTreeMap::new(), hops: Vec::new() }
    }

    /// Opens an address and follows redirects.
    async fn open(&mut self, url: &str) -> Page {
        let answer = self.fetch("GET", url, "").await;
        self.follow(url, answer).await
    }

    /// Sends a form of ours and follows redirects.
    async fn submit(&mut self, url: &str, fields: &[(&str, &str)]) -> Page {
        let form: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let answer = self.fetch("POST", url, &form).await;
        self.follow(url, answer).await
    }

    async fn sign_in_at(&mut self, page: &Page, name: &str) -> Page {
        // A form without an action is sent to the page's own address, which names the return path.
        assert!(page.answer.text().contains("<form method=\"post\">"), "{}", page.answer.text());
        self.submit(&page.url, &[("username", name), ("password", PASSWORD)]).await
    }

    async fn follow(&mut self, url: &str, answer: Answer) -> Page {
        let mut page = Page { url: url.to_owned(), answer };
        // Browsers give up after 20.
        for _ in 0..19 {
            let Some(location) = page.answer.header("location").filter(|_| page.answer.status / 100 == 3)
            else {
                return page;
            };
            let next = url::Url::parse(&page.url).unwrap().join(location).unwrap().to_string();
            self.hops.push(next.clone());
            let answer = self.fetch("GET", &next, "").await;
            page = Page { url: next, answer };
        }
        panic!("too many redirects: {:#?}", self.hops)
    }

    async fn fetch(&mut self, method: &str, url: &str, form: &str) -> Answer {
        let parsed = url::Url::parse(url).unwrap();
        let host = parsed.host_str().unwrap().to_owned();
        let uri = parsed[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
        let jar = self.cookies.entry(host.clone()).or_default();
        let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookie =
            if cookies.is_empty() { String::new() } else { format!("cookie: {}\r\n", cookies.join("; ")) };
        let ours = host == "localhost"
            || (uri.starts_with("/_doorward/") && self.mistake != Mistake::ChecksOurPages);
        let answer = if ours {
            let origin = if method == "POST" { format!("origin: http://{host}\r\n") } else { String::new() };
            let head = format!(
                "{method} {uri} HTTP/1.1\r\nhost: {host}\r\n{origin}{cookie}accept: text/html\r\n\
                 content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
                form.len()
            );
            exchange(self.gateway.address, head).await
        } else {
            let cookie = if self.mistake == Mistake::DropsCookies { String::new() } else { cookie };
            let question = format!(
                "GET /_doorward/auth/traefik HTTP/1.1\r\nhost: {}\r\nx-forwarded-method: {method}\r\n\
                 x-forwarded-proto: http\r\nx-forwarded-host: {host}\r\nx-forwarded-uri: {uri}\r\n\
                 accept: text/html\r\n{cookie}\r\n",
                self.gateway.address
            );
            let answer = exchange(self.gateway.address, question).await;
            assert!(answer.headers("set-cookie").is_empty(), "a check sets no cookie");
            answer
        };
        self.keep_cookies(&host, &answer);
        answer
    }

    fn keep_cookies(&mut self, host: &str, answer: &Answer) {
        let jar = self.cookies.entry(host.to_owned()).or_default();
        for line in answer.headers("set-cookie") {
            assert!(!line.contains("Domain="), "{line}");
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            if line.contains("Max-Age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    fn session_at(&self, host: &str) -> Option<&String> {
        self.cookies.get(host)?.get("doorward")
    }

    fn token_address(&self) -> String {
        self.hops.iter().find(|hop| hop.contains("/_doorward/handover?token=")).unwrap().clone()
    }
}

async fn gateway() -> Gateway {
    let gateway = Gateway::configured(CONFIG).await;
    gateway.user("vera", Role::Viewer).await;
    gateway
}

/// A browser that is signed in, at the deep link.
async fn arrived(gateway: &Gateway) -> Browser<'_> {
    let mut browser = Browser::new(gateway);
    let page = browser.open(DEEP).await;
    let page = browser.sign_in_at(&page, "vera").await;
    assert_eq!((page.answer.status, page.url.as_str()), (200, DEEP), "{:#?}", browser.hops);
    browser
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deep_link_is_kept_through_the_sign_in() {
    let gateway = gateway().await;
    let mut browser = Browser::new(&gateway);
    let login = browser.open(DEEP).await;
    assert_eq!(login.answer.status, 200);
    assert!(login.url.starts_with("http://localhost/_doorward/login?rd=http%3A%2F%2Fapp.example%2F"));
    assert!(login.answer.text().contains("<strong>app.example</strong>"));
    let policy = login.answer.header("content-security-policy").unwrap();
    assert!(policy.contains("form-action 'self' http://app.example;"), "{policy}");
    let wrong = browser.submit(&login.url, &[("username", "vera"), ("password", "x")]).await;
    assert_eq!(wrong.answer.status, 401);
    let page = browser.sign_in_at(&wrong, "vera").await;
    assert_eq!((page.answer.status, page.url.as_str()), (200, DEEP));
    let identity = page.answer.head.to_lowercase();
    assert!(identity.contains("vera"), "{identity}");
    assert_ne!(browser.session_at("app.example"), browser.session_at("localhost"));
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_once_is_enough_for_every_host() {
    let gateway = gateway().await;
    let mut browser = arrived(&gateway).await;
    let page = browser.open("http://other.example/x?y").await;
    assert_eq!((page.answer.status, page.url.as_str()), (200, "http://other.example/x?y"));
    let page = browser.open("http://localhost/_doorward/login?rd=http%3A%2F%2Fapp.example%2Fagain").await;
    assert_eq!((page.answer.status, page.url.as_str()), (200, "http://app.example/again"));
    let mut stranger = Browser::new(&gateway);
    assert!(stranger.open("http://other.example/x").await.url.contains("/_doorward/login"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_is_at_the_public_host_and_what_an_application_has_seen_is_worth_nothing_there() {
    let gateway = gateway().await;
    let mut browser = arrived(&gateway).await;
    let mut other = arrived(&gateway).await;
    let page = browser.open("http://app.example/_doorward/account").await;
    assert_eq!((page.answer.status, page.url.as_str()), (200, "http://localhost/_doorward/account"));
    let text = page.answer.text();
    assert!(text.contains("also at app.example") && text.matches("this one").count() == 1, "{text}");
    let there = "http://app.example/_doorward/account";
    for (path, fields) in [("/name", &[("name", "Evil")][..]), ("/sessions/end-others", &[])] {
        let page = browser.submit(&format!("{there}{path}"), fields).await;
        assert_eq!(page.url, "http://localhost/_doorward/account");
    }
    assert_eq!(gateway.accounts.find(&gateway.by, "vera").await.unwrap().unwrap().display_name, None);
    assert_eq!(other.open(DEEP).await.url, DEEP, "still signed in");

    let page = browser.submit("http://localhost/_doorward/account/sessions/end-others", &[]).await;
    assert_eq!(page.answer.status, 200);
    assert!(other.open(DEEP).await.url.contains("/_doorward/login"), "signed out at every host");
    assert_eq!(browser.open(DEEP).await.url, DEEP, "what belongs to this browser stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_taken_along_counts_at_its_own_host_only() {
    let gateway = gateway().await;
    let browser = arrived(&gateway).await;
    let taken = browser.session_at("app.example").unwrap().clone();
    // The application there has seen the cookie and tries it elsewhere, as somebody else's browser.
    for host in ["other.example", "localhost"] {
        let mut thief = Browser::new(&gateway);
        thief.cookies.entry(host.to_owned()).or_default().insert("doorward".to_owned(), taken.clone());
        let page = thief.open(&format!("http://{host}/_doorward/")).await;
        assert!(page.url.contains("/_doorward/login"), "{host}: {}", page.url);
        if host == "other.example" {
            let page = thief.open("http://other.example/x").await;
            assert!(page.url.contains("/_doorward/login"), "{host}: {}", page.url);
        }
    }
}

/// R23: a return address swapped on the way.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_works_once_in_its_browser_at_its_host_in_time() {
    let gateway = gateway().await;
    let mut browser = arrived(&gateway).await;
    let used = browser.token_address();
    let failed = |page: &Page| {
        let text = page.answer.text();
        assert_eq!(page.answer.status, 403, "{}", page.url);
        assert!(text.contains("Sign in again") && text.contains("http://localhost/_doorward/login?rd=http"));
        assert!(page.answer.headers("set-cookie").is_empty());
        assert_eq!(page.answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(page.answer.header("cache-control"), Some("no-store"));
    };
    failed(&browser.open(&used).await);

    // A second one, stopped before it is used.
    let fresh = async |browser: &mut Browser<'_>| {
        let begin = "http://app.example/_doorward/handover/begin?rd=http%3A%2F%2Fapp.example%2F";
        let grant = browser.fetch("GET", begin, "").await;
        let grant = grant.header("location").unwrap().to_owned();
        let answer = browser.fetch("GET", &grant, "").await;
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        answer.header("location").unwrap().to_owned()
    };
    for wrong in ["browser", "host", "time"] {
        let token = fresh(&mut browser).await;
        match wrong {
            "browser" => {
                let mut victim = Browser::new(&gateway);
                failed(&victim.open(&token).await);
                victim
                    .open("http://app.example/_doorward/handover/begin?rd=http%3A%2F%2Fapp.example%2F")
                    .await;
                failed(&victim.open(&fresh(&mut browser).await).await);
                assert!(victim.session_at("app.example").is_none());
            }
            "host" => {
                let held = browser.cookies["app.example"].clone();
                browser.cookies.insert("other.example".to_owned(), held);
                failed(&browser.open(&token.replace("app.example", "other.example")).await);
            }
            _ => {
                gateway.clock.advance(std::time::Duration::from_mins(1));
                failed(&browser.open(&token).await);
            }
        }
        failed(&browser.open(&token).await);
    }
    let token = fresh(&mut browser).await;
    let (_, target) = token.split_once("//app.example").unwrap();
    let head = format!("HEAD {target} HTTP/1.1\r\nhost: app.example\r\nconnection: close\r\n\r\n");
    assert!(until_closed(gateway.address, head).await.starts_with("HTTP/1.1 405"));
    assert_eq!(browser.open(&token).await.url, "http://app.example/", "untouched by the HEAD");
    for bad in ["", "?token=", "?token=x", "?token=a&token=b"] {
        failed(&browser.open(&format!("http://app.example/_doorward/handover{bad}")).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_begins_only_at_the_host_it_is_for() {
    let gateway = gateway().await;
    let mut browser = arrived(&gateway).await;
    for rd in ["http%3A%2F%2Fother.example%2F", "http%3A%2F%2Fevil.example%2F", "%2Fx", ""] {
        let page = browser.open(&format!("http://app.example/_doorward/handover/begin?rd={rd}")).await;
        assert_eq!(page.answer.status, 403, "{rd}");
    }
    let grant = "http://localhost/_doorward/handover/grant?rd=";
    for (query, status, location) in [
        ("http%3A%2F%2Fapp.example%2F&browser=x", 400, None),
        ("http%3A%2F%2Fapp.example%2F", 400, None),
        ("http%3A%2F%2Fevil.example%2F&browser=x", 303, Some("/")),
    ] {
        let answer = browser.fetch("GET", &format!("{grant}{query}"), "").await;
        assert_eq!((answer.status, answer.header("location")), (status, location), "{query}");
    }
    let mut stranger = Browser::new(&gateway);
    let page = stranger.open(&format!("{grant}http%3A%2F%2Fapp.example%2F&browser=x")).await;
    assert!(page.url.starts_with("http://localhost/_doorward/login?rd=http%3A%2F%2Fapp.example"));
}

#[tokio::test(flavor = "multi_thread")]
async fn absolute_addresses_of_strangers_lead_home() {
    let gateway = gateway().await;
    let mut browser = arrived(&gateway).await;
    for evil in [
        "http://evil.example/",
        "http://app.example.evil.example/",
        "http://evilapp.example/",
        "http://app.example@evil.example/",
        "http://app.example:80@evil.example/",
        "http://app.example:9999/",
        "http://x.app.example/",
        "http://app.example//evil.example",
        "http://app.example\\@evil.example/",
        "http:\\\\evil.example/",
        "http:/evil.example",
        "//app.example/",
        "javascript://app.example/%0aalert(1)",
        " http://app.example/",
        "http://app.example/\t/",
        "http://app.example\r\nset-cookie: a=b",
        "https://app.example/_doorward/logout",
    ] {
        let rd: String = url::form_urlencoded::byte_serialize(evil.as_bytes()).collect();
        let answer = browser.fetch("GET", &format!("http://localhost/_doorward/login?rd={rd}"), "").await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{evil}");
        let form: String = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("username", "vera"), ("password", PASSWORD), ("rd", evil)])
            .finish();
        let answer = Browser::new(&gateway).fetch("POST", "http://localhost/_doorward/login", &form).await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{evil}");
        gateway.clock.advance(std::time::Duration::from_secs(10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_anywhere_signs_out_everywhere() {
    let gateway = gateway().await;
    for host in ["localhost", "app.example"] {
        let mut browser = arrived(&gateway).await;
        assert_eq!(browser.open("http://other.example/").await.answer.status, 200);
        let kept = browser.cookies.clone();
        let page = browser.submit(&format!("http://{host}/_doorward/logout"), &[]).await;
        assert!(page.answer.text().contains("You are signed out"), "{}", page.answer.text());
        assert!(browser.session_at(host).is_none());
        gateway.settle().await;
        browser.cookies = kept;
        for url in ["http://app.example/", "http://other.example/", "http://localhost/_doorward/"] {
            let page = browser.open(url).await;
            assert!(page.url.contains("/_doorward/login"), "{url} after signing out at {host}");
            assert_eq!(page.answer.status, 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_ends_at_a_page_that_says_what_is_wrong() {
    let gateway = gateway().await;
    for (mistake, said) in [
        (Mistake::DropsCookies, "pass the Cookie header on"),
        (Mistake::ChecksOurPages, "Have the proxy of app.example pass /_doorward/ on"),
    ] {
        let mut browser = Browser::new(&gateway);
        let page = browser.open(DEEP).await;
        browser.mistake = mistake;
        let page = browser.sign_in_at(&page, "vera").await;
        assert_eq!(page.answer.status, 409, "{}", page.url);
        assert!(page.url.starts_with("http://localhost/_doorward/login?rd="));
        let text = page.answer.text();
        assert!(text.contains(said) && text.contains("doorward"), "{text}");
        gateway.clock.advance(std::time::Duration::from_secs(10));
        browser.mistake = Mistake::None;
        assert_eq!(browser.open(DEEP).await.url, DEEP, "once it is mended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_password_is_changed_on_the_way() {
    let gateway = gateway().await;
    gateway.user_with("nora", Role::Viewer, &[], true).await;
    let mut browser = Browser::new(&gateway);
    let page = browser.open(DEEP).await;
    let page = browser.sign_in_at(&page, "nora").await;
    assert!(
        page.url.starts_with("http://localhost/_doorward/password?rd=http%3A%2F%2Fapp.example"),
        "{}",
        page.url
    );
    assert!(page.answer.header("content-security-policy").unwrap().contains("'self' http://app.example;"));
    let next = "nine bees in a bonnet";
    let page = browser.submit(&page.url, &[("current", PASSWORD), ("new", next), ("repeat", next)]).await;
    assert_eq!((page.answer.status, page.url.as_str()), (200, DEEP));
}
