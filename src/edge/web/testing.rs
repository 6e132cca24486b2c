//! The pages over a database in memory, for their tests.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::header::{CONTENT_TYPE, COOKIE, HOST, ORIGIN};
use tokio::sync::watch;

use super::*;
use crate::config::{PagesConfig, PublicUrl, SessionConfig};
use crate::edge::mount;
use crate::gate::authenticator::CredentialResolver;
use crate::gate::credential::LookUps;
use crate::model::principal::ClientAddress;
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::model::time::ManualClock;
use crate::model::token::KeyPurpose;
use crate::model::user::User;
use crate::service::accounts::NewUser;
use crate::service::admin::AdminProof;
use crate::service::testing::{ServiceFixture, in_memory};
use crate::service::touches;
use crate::store::Store;

pub(super) const PASSWORD: &str = "nine bees in a bonnet";
pub(super) const NEXT_PASSWORD: &str = "seven geese on a ladder";
pub(super) const ORIGIN_OF_OURS: &str = "https://gate.example";
pub(super) const COOKIE_NAME: &str = "__Host-doorward";
pub(super) const DELETION: &str = "__Host-doorward=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Lax";

/// The user of the command line.
pub(super) fn by() -> AdminProof {
    AdminProof::of_command_line(0)
}

/// The pages over a database in memory and a clock that stands still.
pub(super) struct PageFixture {
    pub(super) web: Web,
    pub(super) store: Store,
    pub(super) clock: Arc<ManualClock>,
}

/// One answer, read as a browser would.
pub(super) struct PageResponse {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl PageFixture {
    pub(super) async fn new() -> Self {
        Self::sharing(None).await
    }

    /// With a cookie for all hosts of a domain.
    pub(super) async fn sharing(cookie_domain: Option<&str>) -> Self {
        let session = SessionConfig {
            cookie_domain: cookie_domain.map(str::to_owned),
            ..ServiceFixture::session_config()
        };
        let site = Site::new(PublicUrl::parse(ORIGIN_OF_OURS).unwrap(), &session, &PagesConfig::default());
        let (services, manual, master) = in_memory(session, Vec::new()).await;
        let clock = Arc::clone(&services.clock);
        let look_ups = LookUps::new(services.sessions.clone(), services.api_keys.clone());
        let epoch = services.revocations.epoch().clone();
        let resolver = Arc::new(CredentialResolver::new(look_ups, epoch));
        let (touches, _) = touches::channel(
            watch::channel(services.sessions.clone()).1,
            services.api_keys.clone(),
            (services.audit.clone(), Duration::MAX),
            services.store.clone(),
            clock.clone(),
        );
        let loop_guard = RedirectLoopGuard::new(master.derive(KeyPurpose::LoopGuard), clock.clone());
        let guard = PageGuard {
            visitors: Visitors::new(resolver, COOKIE_NAME.to_owned(), touches, clock),
            origins: Origins::of(ORIGIN_OF_OURS, []),
        };
        let federation = Arc::new(Federation::of_none(&services));
        let parts = WebParts { site, federation, guard, loop_guard, app_sessions: AppLogout::default() };
        let hosts = ["app.test", "app.gate.example"].map(str::to_owned);
        let web = Web::new(parts, &settings(), &services, hosts);
        Self { web, store: services.store, clock: manual }
    }

    pub(super) async fn user(&self, name: &str, must_change: bool) -> User {
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

    pub(super) async fn get(&self, address: &str, cookie: Option<&str>) -> PageResponse {
        self.send(Method::GET, address, cookie, &[], "").await
    }

    pub(super) async fn post(&self, address: &str, cookie: Option<&str>, body: &str) -> PageResponse {
        self.send(Method::POST, address, cookie, &[(ORIGIN, ORIGIN_OF_OURS), form()], body).await
    }

    pub(super) async fn send(
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
    pub(super) async fn sign_in(&self, name: &str) -> String {
        let answer = self.post("/login", None, &credentials(name, PASSWORD, "/")).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        answer.session_cookie()
    }

    pub(super) async fn is_signed_in(&self, cookie: &str) -> bool {
        self.get("/", Some(cookie)).await.status == 200
    }
}

impl PageResponse {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn cookies(&self) -> Vec<&str> {
        self.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect()
    }

    pub(super) fn session_cookie(&self) -> String {
        let own = format!("{COOKIE_NAME}=");
        let cookies = self.cookies();
        let cookie = cookies.iter().find(|cookie| cookie.starts_with(&own)).unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    /// What may differ between two sign-ins that fail is nothing but what was typed.
    pub(super) fn without(&self, typed: &str) -> (u16, String, String) {
        (self.status, format!("{:?}", self.headers), self.body.replace(typed, ""))
    }
}

pub(super) fn settings() -> LoginConfig {
    LoginConfig {
        password: true,
        default_role: Role::Viewer,
        admins: Vec::new(),
        admin_password: None,
        breach_list: None,
    }
}

pub(super) fn form() -> (HeaderName, &'static str) {
    (CONTENT_TYPE, "application/x-www-form-urlencoded")
}

pub(super) fn encode(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

pub(super) fn credentials(name: &str, password: &str, rd: &str) -> String {
    encode(&[("username", name), ("password", password), ("rd", rd)])
}

pub(super) fn change(current: &str, new: &str, repeat: &str) -> String {
    encode(&[("current", current), ("new", new), ("repeat", repeat)])
}
