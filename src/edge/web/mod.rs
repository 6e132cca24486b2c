//! The pages: sign in and out, one's own password and account, and making the first admin.
//!
//! Server-rendered forms without any script. A page reads its form, calls one use case and shows the result;
//! it holds no rule. Everything runs on the control runtime, never beside streams.

mod account;
mod app_sessions;
mod redirect_loop;
mod public_host;

mod handover;
mod login;
mod logout;
mod page;
mod password;
mod provider_links;
mod providers;
mod return_target;
mod setup;
mod sign_in_words;

use std::error::Error;
use std::sync::Arc;

use askama::Template;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, REFERRER_POLICY, SET_COOKIE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tokio::runtime::Handle;

pub use self::app_sessions::AppLogout;
pub use self::page::Page;
pub use self::redirect_loop::RedirectLoopGuard;
pub use self::return_target::{Destinations, ReturnTarget};
use super::audience::Audience;
use super::methods::Methods;
use super::pages::form;
use super::pages::problem::{Problem, ProblemContext};
use super::pages::site::{Site, fit_to_method};
use crate::config::LoginConfig;
use crate::federation::Federation;
use crate::gate::caller::Visitors;
use crate::gate::origins;
use crate::gate::origins::Origins;
use crate::gate::recognition::Recognition;
use crate::model::audit::Actor;
use crate::model::audit::Party;
use crate::model::principal::Client;
use crate::model::principal::Principal;
use crate::model::request_id::RequestId;
use crate::model::user::UserId;
use crate::service::ServiceError;
use crate::service::accounts::Accounts;
use crate::service::composition::Services;
use crate::service::handovers::Handovers;
use crate::service::identities::Identities;
use crate::service::login::Login;
use crate::service::own_keys::OwnKeys;
use crate::service::provider_sessions::ProviderSessions;
use crate::service::rate_limiter::RateLimiter;
use crate::service::sessions::Sessions;

/// A request below the reserved path.
#[derive(Clone, Debug)]
pub struct WebRequest {
    /// Method.
    pub method: Method,
    /// The host it names, lower-case, without port.
    pub host: String,
    /// Path below the reserved one: empty, or such as `/login` or `/sign-in/sso`; of [`Page::CompleteAtPath`] below the public URL.
    pub path: String,
    /// What is mounted there, if anything is, and the methods it has.
    pub page: Option<(Page, Methods)>,
    /// Query without `?`.
    pub query: Option<String>,
    /// Header fields; over HTTP/2 with `Host` filled in from the authority.
    pub headers: HeaderMap,
    /// The whole body; the caller has bounded it to 8 KiB.
    pub body: Bytes,
    /// The far end.
    pub client: Client,
    /// What the log knows the request by.
    pub request_id: RequestId,
}

impl WebRequest {
    /// The last segment of its path: the name of the provider, where the page is one of a provider.
    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// The use cases that pages call.
#[derive(Clone, Debug)]
struct PageServices {
    login: Login,
    sessions: Sessions,
    handovers: Handovers,
    provider_sessions: ProviderSessions,
    accounts: Accounts,
    own_keys: OwnKeys,
    identities: Identities,
    self_service: RateLimiter,
}

impl PageServices {
    fn of(services: &Services) -> Self {
        Self {
            login: services.login.clone(),
            sessions: services.sessions.clone(),
            handovers: services.handovers(),
            provider_sessions: services.provider_sessions.clone(),
            accounts: services.accounts.clone(),
            own_keys: services.own_keys(),
            identities: services.identities.clone(),
            self_service: services.self_service.clone(),
        }
    }
}

/// The pages.
#[derive(Clone, Debug)]
pub struct Web {
    site: Site,
    password_login: bool,
    services: PageServices,
    federation: Arc<Federation>,
    guard: PageGuard,
    /// The sender of the current request.
    actor: Actor,
    destinations: Destinations,
    loop_guard: RedirectLoopGuard,
    app_sessions: AppLogout,
}

/// Whether a known user or device shows this, as far as can be told without a store call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceRecognition {
    /// No known user has.
    Unknown,
    /// A session cookie alone, which does not tell whose it is.
    Session,
    /// This person, on a known device, who still may sign in.
    Person(UserId),
}

/// Who asks for a page.
type Visitor = Recognition<Arc<Principal>>;

/// What of the gate pages ask.
#[derive(Clone, Debug)]
pub struct PageGuard {
    /// Who asks.
    pub visitors: Visitors,
    /// Which page sent a form.
    pub origins: Origins,
}

/// What the pages are made of.
#[derive(Debug)]
pub struct WebParts {
    /// The gateway as a browser meets it.
    pub site: Site,
    /// Providers that people sign in with.
    pub federation: Arc<Federation>,
    /// What of the gate they ask.
    pub guard: PageGuard,
    /// Finds browsers that go round in circles.
    pub loop_guard: RedirectLoopGuard,
    /// Applications' own sessions.
    pub app_sessions: AppLogout,
}

impl Web {
    /// The pages, which may lead on to `hosts` of other proxies.
    pub fn new(
        parts: WebParts,
        login: &LoginConfig,
        services: &Services,
        hosts: impl IntoIterator<Item = String>,
    ) -> Self {
        let WebParts { site, federation, guard, loop_guard, app_sessions } = parts;
        let destinations = Destinations::new(site.public_url().clone(), hosts);
        let actor = Actor::gateway();
        Self {
            site,
            password_login: login.password,
            services: PageServices::of(services),
            federation,
            guard,
            actor,
            destinations,
            loop_guard,
            app_sessions,
        }
    }

    /// The providers that people sign in with.
    pub fn federation(&self) -> &Federation {
        &self.federation
    }

    /// What a browser shows by cookies that we signed. A session may have ended; a device whose owner may not sign in any
    /// more, which is asked for on `control` now and then, counts as none.
    pub async fn recognition(&self, headers: &HeaderMap, control: &Handle) -> DeviceRecognition {
        let cookies = self.site.cookies();
        let login = &self.services.login;
        if let Some(owner) = cookies.device(headers).and_then(|device| login.owner_of_device(device)) {
            let (login, asked) = (login.clone(), owner.clone());
            if !matches!(control.spawn(async move { login.may_come_back(&asked).await }).await, Ok(false)) {
                return DeviceRecognition::Person(owner);
            }
        }
        if self.guard.visitors.has_cookie(headers) {
            DeviceRecognition::Session
        } else {
            DeviceRecognition::Unknown
        }
    }

    /// Answers a request.
    pub async fn respond(&self, request: WebRequest) -> Response<Bytes> {
        let actor = Actor::stranger(request.client.address.nearest(), request.request_id.as_str());
        let own = Self { actor, ..self.clone() };
        let response = match Box::pin(own.visit(&request)).await {
            Ok(response) => response,
            Err(problem) => {
                let target = self.address(&request);
                let look = ProblemContext {
                    site: &self.site,
                    method: &request.method,
                    target: Some(&target),
                    account: None,
                    request_id: request.request_id.as_str(),
                };
                problem.respond(Audience::Browser, &look)
            }
        };
        fit_to_method(&request.method, response)
    }

    async fn visit(&self, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
        let Some((page, methods)) = request.page else {
            return Err(Problem::not_found());
        };
        if !methods.have(&request.method) {
            return Err(Problem::method_not_allowed(methods));
        }
        let sends = request.method == Method::POST;
        if page.is_personal() && !origins::is_visit(&request.headers) {
            return Err(Problem::opened_by_script());
        }
        let holds_secret = page == Page::Setup;
        if sends
            && !page.is_for_servers()
            && !self.guard.origins.may_send_form(&request.headers, &request.client, holds_secret)
        {
            let origin = origins::claimed(&request.headers);
            return Err(Problem::foreign_form(origin.as_deref(), &self.site.public_url().origin()));
        }
        if let Some(moved) = self.moved(request, page, sends)? {
            return Ok(moved);
        }
        match (page, sends) {
            (Page::Account, _) => account::show(self, request).await,
            (Page::Rename, _) => account::rename(self, request).await,
            (Page::LinkIdentity, _) => Box::pin(account::link_identity(self, request)).await,
            (Page::UnlinkIdentity, _) => account::unlink_identity(self, request).await,
            (Page::EndSession, _) => account::end_session(self, request).await,
            (Page::EndOtherSessions, _) => account::end_other_sessions(self, request).await,
            (Page::NewKey, false) => account::show_new_key(self, request).await,
            (Page::NewKey, true) => account::make_key(self, request).await,
            (Page::RevokeKey, _) => account::revoke_key(self, request).await,
            (Page::BeginSignIn, _) => Box::pin(providers::begin(self, request)).await,
            (Page::CompleteSignIn | Page::CompleteAtPath, _) => {
                Box::pin(providers::complete(self, request)).await
            }
            (Page::Begin, _) => Ok(handover::begin(self, request)),
            (Page::Grant, _) => handover::grant(self, request).await,
            (Page::Redeem, _) => handover::redeem(self, request).await,
            (Page::Login, false) => login::show(self, request).await,
            (Page::Login, true) => login::submit(self, request).await,
            (Page::Logout, false) => logout::show(self, request).await,
            (Page::Logout, true) => logout::submit(self, request).await,
            (Page::SignedOut, _) => Ok(providers::sign_out::signed_out(self, request)),
            (Page::ProviderLogout, _) => providers::sign_out::log_out(self, request).await,
            (Page::Password, false) => password::show(self, request).await,
            (Page::Password, true) => password::submit(self, request).await,
            (Page::Setup, false) => setup::show(self, request).await,
            (Page::Setup, true) => setup::submit(self, request).await,
            (Page::Style, _) => Ok(self.kept(request, self.site.style_file())),
            (Page::Logo(format), _) => {
                let logo = self.site.logo_file(format).ok_or_else(Problem::not_found)?;
                Ok(self.kept(request, logo))
            }
        }
    }

    /// A file that browsers keep; its address changes when it does.
    fn kept(&self, request: &WebRequest, mut file: Response<Bytes>) -> Response<Bytes> {
        let tag = format!("\"{}\"", self.site.version());
        let known = request
            .headers
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().trim_start_matches("W/") == tag);
        if known {
            *file.status_mut() = StatusCode::NOT_MODIFIED;
            *file.body_mut() = Bytes::new();
        }
        let headers = file.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
        if let Ok(tag) = HeaderValue::try_from(tag) {
            headers.insert(ETAG, tag);
        }
        file
    }

    /// Who is asking, and from here on whose changes they are.
    async fn visitor(&self, request: &WebRequest) -> Result<Visitor, Problem> {
        let visitor = self.guard.visitors.visitor(&request.headers, &request.host).await;
        let visitor = visitor.map_err(|error| failed(&error))?;
        if let Some(principal) = visitor.caller() {
            self.actor.recognise(Party::from(&**principal));
        }
        Ok(visitor)
    }

    /// Where the person wants to be afterwards.
    fn target(&self, request: &WebRequest) -> ReturnTarget {
        let wanted = form::parameter(request.query.as_deref(), "rd").unwrap_or_default();
        ReturnTarget::parse(&wanted, &self.destinations)
    }

    /// The request's own path and query, as the browser has it.
    fn address(&self, request: &WebRequest) -> String {
        let path = match request.page {
            Some((Page::CompleteAtPath, _)) => {
                format!("{}{}", self.site.public_url().base_path(), request.path)
            }
            _ => self.site.link(&request.path),
        };
        // The queries of these hold a secret.
        let secret = matches!(
            request.page,
            Some((Page::Setup | Page::Redeem | Page::CompleteSignIn | Page::CompleteAtPath, _))
        );
        match request.query.as_deref().filter(|_| !secret) {
            Some(query) => format!("{path}?{query}"),
            None => path,
        }
    }

    /// A page whose form leads on to `target`.
    fn page_towards(
        &self,
        target: &ReturnTarget,
        status: StatusCode,
        page: &impl Template,
    ) -> Response<Bytes> {
        let mut response = self.site.page(status, page);
        if let Some(away) = target.away() {
            self.site.let_form_lead_to(&away.origin, &mut response);
        }
        response
    }

    /// On to another page, after a form or instead of a page.
    fn go(&self, location: &str) -> Response<Bytes> {
        self.site.redirect(StatusCode::SEE_OTHER, location)
    }

    /// To the sign-in page, and back to where the request was going.
    fn sign_in_first(&self, request: &WebRequest, visitor: &Visitor) -> Response<Bytes> {
        let mut response = self.go(&self.site.link_back("/login", &self.address(request)));
        self.take_back(visitor, &mut response);
        response
    }

    /// Has the browser forget applications' own sessions: a former user may have left them.
    fn end_app_sessions(&self, request: &WebRequest, response: &mut Response<Bytes>) {
        self.app_sessions.end(self.site.cookies(), request, response);
    }

    /// Takes a worthless session cookie back.
    fn take_back(&self, visitor: &Visitor, response: &mut Response<Bytes>) {
        if matches!(visitor, Visitor::Ended) {
            response.headers_mut().append(SET_COOKIE, self.site.cookies().clear_session());
        }
    }
}

/// What a failed use case is to the person; its cause goes to the log.
fn failed(error: &ServiceError) -> Problem {
    if let ServiceError::Unavailable(cause) = error {
        tracing::warn!(cause = &**cause as &dyn Error, "a page could not be served");
    }
    Problem::from(error)
}

/// The address holds a token or a provider's answer, or leads to one: it is not shown to any other site.
fn unreferred(mut response: Response<Bytes>) -> Response<Bytes> {
    response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn user_agent(headers: &HeaderMap) -> &str {
    headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod answers_tests;
#[cfg(test)]
mod device_recognition_tests;
#[cfg(test)]
mod login_tests;
#[cfg(test)]
mod logout_tests;
#[cfg(test)]
mod password_tests;
#[cfg(test)]
mod setup_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
