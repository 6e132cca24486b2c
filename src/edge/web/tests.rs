//! The pages over a database in memory.

#[path = "device_recognition_tests.rs"]
mod device_recognition_tests;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::header::{CONTENT_TYPE, COOKIE, HOST, ORIGIN};
use tokio::sync::watch;

use super::*;
use crate::config::{PagesConfig, PublicUrl, SameSite, SessionConfig};
use crate::edge::mount;
use crate::gate::authenticator::CredentialResolver;
use crate::gate::credential::LookUps;
use crate::model::principal::ClientAddress;
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::model::time::{Clock, ManualClock, Timestamp};
use crate::model::token::{KeyPurpose, MasterKey};
use crate::model::user::User;
use crate::service::accounts::NewUser;
use crate::service::admin::AdminProof;
use crate::service::api_keys::ApiKeys;
use crate::service::audit::Audit;
use crate::service::bootstrap::FirstAdmin;
use crate::service::login::LoginKeys;
use crate::service::password::Passwords;
use crate::service::rate_limiter::RateLimiter;
use crate::service::revocation::Revocations;
use crate::service::touches;
use crate::store::Store;

#[path = "answers_tests.rs"]
mod answers;

const PASSWORD: &str = "nine bees in a bonnet";
const NEXT_PASSWORD: &str = "seven geese on a ladder";
const ORIGIN_OF_OURS: &str = "https://gate.example";
const COOKIE_NAME: &str = "__Host-doorward";
const DELETION: &str = "__Host-doorward=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Lax";

/// Whoever runs the command line.
fn by() -> AdminProof {
    AdminProof::of_command_line(0)
}

/// The pages over a database in memory and a clock that stands still.
struct PageFixture {
    web: Web,
    store: Store,
    clock: Arc<ManualClock>,
}

/// One answer, read as a browser would.
struct PageResponse {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl PageFixture {
    async fn new() -> Self {
        Self::sharing(None).await
    }

    /// With a cookie for all hosts of a domain.
    async fn sharing(cookie_domain: Option<&str>) -> Self {
        let manual = Arc::new(ManualClock::at(Timestamp(1_900_000_000)));
        let clock: Arc<dyn Clock> = manual.clone();
        let master = MasterKey::new(Secret::new("m".repeat(32)));
        let store = Store::open("sqlite::memory:", 1).await.unwrap();
        let store = store.audited(master.derive(KeyPurpose::Audit), clock.clone()).await.unwrap();
        let revocations = Revocations::new(store.clone(), clock.clone());
        let passwords = Passwords::new();
        let config = SessionConfig {
            idle: Duration::from_hours(1),
            absolute: Duration::from_hours(12),
            cookie_same_site: SameSite::Lax,
            cookie_domain: cookie_domain.map(str::to_owned),
        };
        let sessions = Sessions::new(
            config.clone(),
            store.clone(),
            master.derive(KeyPurpose::Session),
            revocations.clone(),
            clock.clone(),
        );
        let login_keys = LoginKeys::of(&master);
        let login = Login::new(store.clone(), passwords.clone(), sessions.clone(), login_keys, clock.clone());
        let keys = ApiKeys::new(store.clone(), revocations.clone(), clock.clone());
        let look_ups = LookUps::new(sessions.clone(), keys.clone());
        let resolver = Arc::new(CredentialResolver::new(look_ups, revocations.epoch().clone()));
        let audit = Audit::new(store.clone(), master.derive(KeyPurpose::Audit));
        let (touches, _) = touches::channel(
            watch::channel(sessions.clone()).1,
            keys.clone(),
            (audit, Duration::MAX),
            store.clone(),
            clock.clone(),
        );
        let own_keys = OwnKeys::new(login.clone(), keys, clock.clone());
        let accounts = Accounts::new(store.clone(), passwords, revocations, clock.clone());
        let handovers = Handovers::new(store.clone(), sessions.clone(), clock.clone());
        let site = Site::new(PublicUrl::parse(ORIGIN_OF_OURS).unwrap(), &config, &PagesConfig::default());
        let self_service = RateLimiter::of_changes();
        let services = PageServices { login, sessions, handovers, accounts, own_keys, self_service };
        let bounces = RedirectLoopGuard::new(master.derive(KeyPurpose::Bounce), clock.clone());
        let guard = PageGuard {
            visitors: Visitors::new(resolver, COOKIE_NAME.to_owned(), touches, clock),
            origins: Origins::of(ORIGIN_OF_OURS, []),
        };
        let web = Web::new(
            site,
            &settings(),
            services,
            guard,
            ["app.test", "app.gate.example"].map(str::to_owned),
            bounces,
            AppLogout::default(),
        );
        Self { web, store, clock: manual }
    }

    async fn user(&self, name: &str, must_change: bool) -> User {
        let new = NewUser {
            username: name.to_owned(),
            email: None,
            display_name: None,
            role: Role::Admin,
            groups: vec!["ops".to_owned()],
            password: Some((Secret::new(PASSWORD), must_change)),
        };
        self.web.services.accounts.create(&by(), new).await.unwrap()
    }

    async fn get(&self, address: &str, cookie: Option<&str>) -> PageResponse {
        self.send(Method::GET, address, cookie, &[], "").await
    }

    async fn post(&self, address: &str, cookie: Option<&str>, body: &str) -> PageResponse {
        self.send(Method::POST, address, cookie, &[(ORIGIN, ORIGIN_OF_OURS), form()], body).await
    }

    async fn send(
        &self,
        method: Method,
        address: &str,
        cookie: Option<&str>,
        fields: &[(HeaderName, &'static str)],
        body: &str,
    ) -> PageResponse {
        let (path, query) = match address.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (address, None),
        };
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("gate.example"));
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_static(value));
        }
        if let Some(cookie) = cookie {
            headers.insert(COOKIE, HeaderValue::try_from(cookie).unwrap());
        }
        let request = WebRequest {
            method,
            host: "gate.example".to_owned(),
            path: path.to_owned(),
            page: mount::own(path).and_then(mount::MountPoint::page),
            query,
            headers,
            body: Bytes::from(body.to_owned()),
            client: Client {
                address: ClientAddress::at(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                secure: true,
                by_proxy: false,
            },
            request_id: RequestId::new([0; 6], 1),
        };
        let (parts, body) = self.web.respond(request).await.into_parts();
        let body = String::from_utf8(body.to_vec()).unwrap();
        PageResponse { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// Signs in and returns the `Cookie` header from then on.
    async fn sign_in(&self, name: &str) -> String {
        let answer = self.post("/login", None, &credentials(name, PASSWORD, "/")).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        answer.session_cookie()
    }

    async fn is_signed_in(&self, cookie: &str) -> bool {
        self.get("/", Some(cookie)).await.status == 200
    }
}

impl PageResponse {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn cookies(&self) -> Vec<&str> {
        self.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect()
    }

    fn session_cookie(&self) -> String {
        let own = format!("{COOKIE_NAME}=");
        let cookies = self.cookies();
        let cookie = cookies.iter().find(|cookie| cookie.starts_with(&own)).unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    /// What may differ between two sign-ins that fail is nothing but what was typed.
    fn without(&self, typed: &str) -> (u16, String, String) {
        (self.status, format!("{:?}", self.headers), self.body.replace(typed, ""))
    }
}

fn settings() -> LoginConfig {
    LoginConfig {
        password: true,
        default_role: Role::Viewer,
        admins: Vec::new(),
        admin_password: None,
        breach_list: None,
    }
}

fn form() -> (HeaderName, &'static str) {
    (CONTENT_TYPE, "application/x-www-form-urlencoded")
}

fn encode(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn credentials(name: &str, password: &str, rd: &str) -> String {
    encode(&[("username", name), ("password", password), ("rd", rd)])
}

fn change(current: &str, new: &str, repeat: &str) -> String {
    encode(&[("current", current), ("new", new), ("repeat", repeat)])
}

#[tokio::test]
async fn signing_in_opens_a_session_and_leads_back() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    let page = world.get("/login?rd=%2Fdash%3Fx%3D1", None).await;
    assert_eq!(page.status, 200);
    // Without an action, a browser sends the form to the page's own address, fragment included.
    assert!(page.body.contains(r#"<form method="post">"#) && !page.body.contains(r#"name="rd""#));
    let form = encode(&[("username", "alice"), ("password", PASSWORD)]);
    let answer = world.post("/login?rd=%2Fdash%3Fx%3D1", None, &form).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/dash?x=1"));

    let answer = world.post("/login", None, &credentials("alice", PASSWORD, "/dash?x=1")).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/dash?x=1"));
    assert_eq!(answer.header("cache-control"), "no-store");
    let attributes = "; Max-Age=43200; Path=/; HttpOnly; Secure; SameSite=Lax";
    assert!(answer.cookies()[0].ends_with(attributes), "{:?}", answer.cookies());
    assert!(answer.cookies()[1].starts_with("__Host-doorward-device="));

    let cookie = answer.session_cookie();
    let account = world.get("/", Some(&cookie)).await;
    assert!(account.body.contains("alice") && account.body.contains("admin") && account.body.contains("ops"));
    let again = world.get("/login?rd=%2Fdash", Some(&cookie)).await;
    assert_eq!((again.status, again.header("location")), (303, "/dash"));
}

#[tokio::test]
async fn signing_in_never_leads_elsewhere() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    let answer = world.post("/login", None, &credentials("alice", PASSWORD, "//evil.example")).await;
    assert_eq!(answer.header("location"), "/");
    let cookie = answer.session_cookie();
    for (address, expected) in [
        ("/login?rd=https%3A%2F%2Fevil.example", "/"),
        ("/login?rd=%2F%5Cevil.example", "/"),
        ("/logout?rd=%2F%2Fevil.example", ""),
    ] {
        let answer = world.get(address, Some(&cookie)).await;
        assert_eq!(answer.header("location"), expected);
        assert!(!answer.body.contains("evil.example"));
    }
}

#[tokio::test]
async fn whoever_cannot_sign_in_gets_the_same_answer() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    let disabled = world.user("bob", false).await;
    world.web.services.accounts.disable(&by(), &disabled.id).await.unwrap();
    let wrong = world.post("/login", None, &credentials("alice", "wrong wrong wrong", "/")).await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.body.contains(r#"role="alert""#) && wrong.cookies().is_empty());
    for (name, password) in [("bob", PASSWORD), ("bob", "wrong wrong wrong"), ("nobody", PASSWORD), ("", "")]
    {
        let answer = world.post("/login", None, &credentials(name, password, "/")).await;
        let shown = |name: &str| format!("value=\"{name}\"");
        let (status, headers, body) = answer.without(&shown(name));
        let (wrong_status, wrong_headers, wrong_body) = wrong.without(&shown("alice"));
        assert_eq!((status, headers), (wrong_status, wrong_headers), "{name}");
        if !name.is_empty() {
            assert_eq!(body, wrong_body, "{name}");
        }
    }
}

#[tokio::test]
async fn what_was_typed_comes_back_escaped_and_the_password_never() {
    let world = PageFixture::new().await;
    let typed = r#""><script>x</script>"#;
    let answer = world.post("/login", None, &credentials(typed, "s3cret s3cret", "/\"><b>")).await;
    assert_eq!(answer.status, 401);
    for raw in ["<script", "\"><", "<b>", "s3cret"] {
        assert!(!answer.body.contains(raw), "{raw}");
    }
    assert!(answer.body.contains("&#60;script&#62;"));
}

#[tokio::test]
async fn too_many_attempts_are_told_when_to_come_back() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    let mut last = None;
    for _ in 0..8 {
        last = Some(world.post("/login", None, &credentials("alice", "wrong wrong wrong", "/")).await);
    }
    let answer = last.unwrap();
    assert_eq!(answer.status, 429);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert!(answer.body.contains("Try again in "));
    world.clock.advance(Duration::from_hours(2));
    world.sign_in("alice").await;
}

#[tokio::test]
async fn a_new_sign_in_replaces_the_session_before() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    world.user("bob", false).await;
    let before = world.sign_in("alice").await;
    let answer = world.post("/login", Some(&before), &credentials("bob", PASSWORD, "/")).await;
    assert_ne!(answer.session_cookie(), before);
    assert!(!world.is_signed_in(&before).await);
    assert!(world.is_signed_in(&answer.session_cookie()).await);
}

#[tokio::test]
async fn a_temporary_password_is_changed_before_anything_else() {
    let world = PageFixture::new().await;
    world.user("alice", true).await;
    let answer = world.post("/login", None, &credentials("alice", PASSWORD, "/dash")).await;
    assert_eq!(answer.header("location"), "/_doorward/password?rd=%2Fdash");
    let cookie = answer.session_cookie();
    let account = world.get("/", Some(&cookie)).await;
    assert!(account.header("location").starts_with("/_doorward/password"));

    let page = world.get("/password?rd=%2Fdash", Some(&cookie)).await;
    assert!(page.body.contains("Temporary password"));
    for (body, status, field) in [
        (change(PASSWORD, "short", "short"), 422, "new"),
        (change(PASSWORD, NEXT_PASSWORD, "another one here"), 422, "repeat"),
        (change("not my password", NEXT_PASSWORD, NEXT_PASSWORD), 401, "current"),
    ] {
        let answer = world.post("/password?rd=%2Fdash", Some(&cookie), &body).await;
        assert_eq!((answer.status, answer.cookies().len()), (status, 0), "{field}");
        let input = answer.body.lines().find(|line| line.contains(&format!("id=\"{field}\""))).unwrap();
        assert!(input.contains("aria-invalid") && input.contains("problem"), "{input}");
    }

    let body = change(PASSWORD, NEXT_PASSWORD, NEXT_PASSWORD);
    let answer = world.post("/password?rd=%2Fdash", Some(&cookie), &body).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/dash"));
    assert!(!world.is_signed_in(&cookie).await, "every session before has ended");
    assert!(world.is_signed_in(&answer.session_cookie()).await);
}

#[tokio::test]
async fn changing_a_password_needs_a_session() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    for answer in [
        world.get("/password?rd=%2Fx", None).await,
        world.post("/password?rd=%2Fx", None, &change(PASSWORD, NEXT_PASSWORD, NEXT_PASSWORD)).await,
    ] {
        assert_eq!(answer.status, 303);
        assert_eq!(answer.header("location"), "/_doorward/login?rd=%2F_doorward%2Fpassword%3Frd%3D%252Fx");
    }
    world.sign_in("alice").await;
}

#[tokio::test]
async fn signing_out_ends_the_session_and_takes_the_cookie_back() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    let cookie = world.sign_in("alice").await;
    let page = world.get("/logout", Some(&cookie)).await;
    assert_eq!(page.status, 200);
    assert!(world.is_signed_in(&cookie).await, "looking at the page ends nothing");
    let answer = world.post("/logout?rd=%2Fdash", Some(&cookie), "").await;
    assert_eq!(answer.status, 303);
    assert_eq!(answer.header("location"), "/_doorward/login?rd=%2Fdash&signed-out=1");
    assert_eq!(answer.header("clear-site-data"), r#""cache", "storage""#);
    assert_eq!(answer.cookies(), [DELETION]);
    assert!(!world.is_signed_in(&cookie).await);
}

#[tokio::test]
async fn the_first_admin_is_made_once() {
    let world = PageFixture::new().await;
    let start = world.web.services.accounts.bootstrap(&settings()).await.unwrap();
    let FirstAdmin::Link(token) = start.first else { panic!("nobody is there yet") };
    let token = token.expose();
    let link = format!("/setup?token={token}");
    let page = world.get(&link, None).await;
    assert_eq!((page.status, page.header("referrer-policy")), (200, "no-referrer"));
    assert_eq!(world.get("/setup?token=wrong", None).await.status, 404);
    assert_eq!(world.get("/setup", None).await.status, 404);

    let body = |token: &str, password: &str, repeat: &str| {
        encode(&[("token", token), ("username", "root"), ("password", password), ("repeat", repeat)])
    };
    assert_eq!(world.post("/setup", None, &body("wrong", PASSWORD, PASSWORD)).await.status, 404);
    assert_eq!(world.post("/setup", None, &body(token, PASSWORD, "x")).await.status, 422);
    assert_eq!(world.post("/setup", None, &body(token, "short", "short")).await.status, 422);
    assert_eq!(world.get(&link, None).await.status, 200, "a mistake uses nothing up");

    // The page has no-referrer, so its form says that it comes from nowhere.
    let fields = [(ORIGIN, "null"), form()];
    let made = world.send(Method::POST, "/setup", None, &fields, &body(token, PASSWORD, PASSWORD)).await;
    assert_eq!((made.status, made.header("location")), (303, "/"));
    assert!(world.is_signed_in(&made.session_cookie()).await);
    assert_eq!(world.post("/setup", None, &body(token, PASSWORD, PASSWORD)).await.status, 404);
    assert_eq!(world.get(&link, None).await.status, 404);
}

#[tokio::test]
async fn a_named_admin_chooses_a_password_by_an_own_link() {
    let world = PageFixture::new().await;
    let named = LoginConfig { admins: vec![("zelda".into(), "zelda@example.org".into())], ..settings() };
    let start = world.web.services.accounts.bootstrap(&named).await.unwrap();
    let [(name, token)] = start.links.as_slice() else { panic!("{start:?}") };
    let token = token.expose();
    let page = world.get(&format!("/setup?token={token}"), None).await;
    assert!(page.body.contains("value=\"zelda\"") && page.body.contains(" readonly"), "{}", page.body);
    // Whatever else is posted as the name: it is hers.
    let body = [("token", token), ("username", "mallory"), ("password", PASSWORD), ("repeat", PASSWORD)];
    let made = world.send(Method::POST, "/setup", None, &[(ORIGIN, "null"), form()], &encode(&body)).await;
    assert!(made.status == 303 && world.is_signed_in(&made.session_cookie()).await, "{}", made.status);
    let by = by();
    let find = |name| world.web.services.accounts.find(&by, name);
    assert!(find("mallory").await.unwrap().is_none() && find(name).await.unwrap().unwrap().has_password);
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    let cookie = world.sign_in("alice").await;
    let site = HeaderName::from_static("sec-fetch-site");
    for origin in [
        vec![],
        vec![(ORIGIN, "https://evil.example")],
        vec![(ORIGIN, "null")],
        vec![(site.clone(), "cross-site")],
        vec![(ORIGIN, "https://evil.example"), (site.clone(), "same-origin")],
    ] {
        for address in ["/logout", "/login", "/password", "/setup"] {
            let fields: Vec<_> = origin.iter().cloned().chain([form()]).collect();
            let answer = world.send(Method::POST, address, Some(&cookie), &fields, "").await;
            let expected = if address == "/setup" && origin.len() < 2 { [400, 403] } else { [403, 403] };
            assert!(expected.contains(&answer.status), "{address} {origin:?} {}", answer.status);
            assert!(answer.cookies().is_empty());
        }
    }
    assert!(world.is_signed_in(&cookie).await);
    let fields = [(site, "same-origin"), form()];
    assert_eq!(world.send(Method::POST, "/logout", Some(&cookie), &fields, "").await.status, 303);
}

#[tokio::test]
async fn a_session_cookie_that_is_worth_nothing_is_taken_back() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    let expired = world.sign_in("alice").await;
    world.clock.advance(Duration::from_hours(13));
    for cookie in [expired.as_str(), "__Host-doorward=", "__Host-doorward=forged.forged"] {
        for (address, status) in [("/login", 200), ("/", 303), ("/password", 303), ("/logout", 303)] {
            let answer = world.get(address, Some(cookie)).await;
            assert_eq!((answer.status, answer.cookies()), (status, vec![DELETION]), "{address} {cookie}");
        }
    }
    assert!(world.get("/login", None).await.cookies().is_empty());
}

#[tokio::test]
async fn two_cookies_of_our_name_are_nobody() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    let cookie = world.sign_in("alice").await;
    let two = format!("{cookie}; {cookie}");
    let answer = world.get("/", Some(&two)).await;
    assert_eq!((answer.status, answer.cookies()), (303, vec![DELETION]));
    assert!(world.is_signed_in(&cookie).await);
}

#[tokio::test]
async fn a_store_that_is_gone_is_no_verdict() {
    let world = PageFixture::new().await;
    world.user("alice", false).await;
    let cookie = world.sign_in("alice").await;
    world.store.close().await;
    for answer in [
        world.get("/", Some(&cookie)).await,
        world.post("/logout", Some(&cookie), "").await,
        world.post("/login", None, &credentials("alice", PASSWORD, "/")).await,
    ] {
        assert_eq!((answer.status, answer.header("retry-after")), (503, "5"), "{}", answer.body);
        assert!(answer.cookies().is_empty(), "nobody is signed in or out by it");
    }
}

#[tokio::test]
async fn forms_are_whole_and_of_one_type() {
    let world = PageFixture::new().await;
    for body in ["", "username=a&rd=/", "username=a&password=b&rd=/&rd=/", "password=b&rd=/"] {
        assert_eq!(world.post("/login", None, body).await.status, 400, "{body}");
    }
    let own = (ORIGIN, ORIGIN_OF_OURS);
    for other in ["text/plain", "application/json", "multipart/form-data"] {
        let fields = [own.clone(), (CONTENT_TYPE, other)];
        let answer = world.send(Method::POST, "/login", None, &fields, &credentials("a", "b", "/")).await;
        assert_eq!(answer.status, 415, "{other}");
    }
}

#[tokio::test]
async fn other_addresses_and_methods_are_told_apart() {
    let world = PageFixture::new().await;
    for address in ["/nothing", "/login/", "//login", "/static/../login", "/LOGIN"] {
        assert_eq!(world.get(address, None).await.status, 404, "{address}");
    }
    let own = [(ORIGIN, ORIGIN_OF_OURS), form()];
    assert_eq!(world.get("", None).await.header("location"), "/_doorward/login?rd=%2F_doorward%2Faccount");
    for (method, address, allow) in [
        (Method::PUT, "/login", "GET, HEAD, POST"),
        (Method::OPTIONS, "/login", "GET, HEAD, POST"),
        (Method::POST, "/", "GET, HEAD"),
        (Method::DELETE, "/static/logo.svg", "GET, HEAD"),
    ] {
        let answer = world.send(method, address, None, &own, "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, allow));
    }
}
