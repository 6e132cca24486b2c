//! The one place where a status is chosen for an error, and where its three forms are written (RFC 9457).
//!
//! Causes stay in the log; what is written here is safe to show to anybody.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use serde::Serialize;

use super::audience::Audience;
use super::page::{Site, fit_to_method};
use crate::gate::refusal::BadCredential;
use crate::gate::refusal::Refusal;
use crate::service::ServiceError;

/// A place to come back to longer than this is forgotten rather than put into an address.
const LONGEST_TARGET: usize = 4096;

/// What the caller is told.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// Stable, for programs: `urn:doorward:problem:<code>`.
    pub code: &'static str,
    /// What happened, the same for every problem of this code.
    pub title: &'static str,
    /// What to do about it, a sentence or two.
    pub detail: Cow<'static, str>,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// The way out.
    pub remedy: Remedy,
}

/// The way out of a problem: where a browser is sent, which buttons a page has, which challenge goes with a 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing but another request.
    None,
    /// The same again, a little later.
    Retry,
    /// Signing in.
    SignIn,
    /// Signing in again; the session cookie is worth nothing and is taken back.
    SignInAgain,
    /// Forgetting the cookies, of which there are too many, and signing in.
    ForgetCookies,
    /// A look at the sign-in page.
    OpenSignIn,
    /// Another key or token: the one presented is wrong.
    NewCredential,
    /// Another account.
    OtherAccount,
    /// A new password.
    NewPassword,
    /// One of these methods.
    Methods(&'static str),
}

/// What an answer needs to know besides the problem.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The gateway as a browser meets it.
    pub site: &'a Site,
    /// The request's method.
    pub method: &'a Method,
    /// Path and query as the browser has them in its address bar: what to come back to after signing in.
    pub target: Option<&'a str>,
    /// The name of who is signed in, if anybody.
    pub account: Option<&'a str>,
    /// What the log knows the request by; empty if nothing.
    pub request_id: &'a str,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: &'static str) -> Self {
        Self { status, code, title, detail: Cow::Borrowed(detail), retry_after: None, remedy: Remedy::None }
    }

    fn with(mut self, remedy: Remedy) -> Self {
        self.remedy = remedy;
        self
    }

    fn after(mut self, span: Duration) -> Self {
        self.retry_after = Some(span);
        self.remedy = Remedy::Retry;
        self
    }

    fn because(mut self, detail: String) -> Self {
        self.detail = Cow::Owned(detail);
        self
    }

    /// A form or request that we cannot make sense of.
    pub fn bad_request(detail: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request is not complete", detail)
    }

    /// A form from a page that is not ours.
    pub fn foreign_form() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "foreign-origin",
            "This form did not come from here",
            "The form was sent by a page of another site, or by a browser that hides where it comes from. \
             Open the page again here and send it once more.",
        )
    }

    /// A password where no passwords are taken.
    pub fn password_login_off() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "password-login-off",
            "Passwords are not accepted here",
            "Signing in with a password is switched off.",
        )
    }

    /// A set-up link that does not work any more, or never did.
    pub fn setup_over() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "setup-link-invalid",
            "This link does not work",
            "A set-up link works once, within a day, and only while nobody has an account yet. Restart the \
             gateway to get a new one in its log, or sign in if the first account was made already.",
        )
        .with(Remedy::OpenSignIn)
    }

    /// A form in a media type other than the one HTML forms use.
    pub fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "The form is in the wrong format",
            "Forms are read as application/x-www-form-urlencoded only.",
        )
    }

    /// Nothing at this address.
    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "There is nothing here",
            "The address may be mistyped, or what was here has moved.",
        )
    }

    /// A method that this address does not have; `allow` lists those it has.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "This is not possible here",
            "The address exists, but not for this request method.",
        )
        .with(Remedy::Methods(allow))
    }

    /// A message whose framing two parsers could read differently.
    pub fn bad_framing() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad-framing",
            "The request cannot be read safely",
            "Where the request ends can be understood in more than one way, so it is not passed on.",
        )
    }

    /// A request target that is too long.
    pub fn uri_too_long() -> Self {
        Self::new(
            StatusCode::URI_TOO_LONG,
            "uri-too-long",
            "The address is too long",
            "The address is longer than this gateway accepts.",
        )
    }

    /// A request head that is too large.
    pub fn header_too_large() -> Self {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "header-too-large",
            "The request header is too large",
            "Often too many cookies are to blame: delete the cookies of this site and try again.",
        )
    }

    /// A client that stopped sending its request halfway.
    pub fn request_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request-timeout",
            "The request did not arrive in time",
            "The connection stalled while the request was being sent. Send it again.",
        )
        .with(Remedy::Retry)
    }

    /// A form larger than any of ours.
    pub fn body_too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "The request is too large",
            "The body is larger than what is accepted at this address.",
        )
    }

    /// The application behind us cannot be reached.
    pub fn upstream_connect() -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            "upstream-unreachable",
            "The application is not reachable",
            "The gateway is up and so is your sign-in, but the application behind it does not answer. \
             This is nothing you did: try again in a moment, and tell its operator if it lasts.",
        )
        .after(Duration::from_secs(5))
    }

    /// The application behind us took too long.
    pub fn upstream_timeout() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "upstream-timeout",
            "The application took too long",
            "The application behind the gateway did not answer in time. This is nothing you did: \
             try again in a moment, and tell its operator if it lasts.",
        )
        .after(Duration::from_secs(5))
    }

    /// The application behind us answered with something that is not HTTP as it should be.
    pub fn upstream_protocol() -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            "upstream-protocol",
            "The application gave an unusable answer",
            "What the application behind the gateway answered cannot be passed on safely. This is nothing \
             you did: try again, and tell its operator if it lasts.",
        )
        .with(Remedy::Retry)
    }

    /// We are stopping; another replica or the next start will answer.
    pub fn draining() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "draining",
            "Restarting",
            "The gateway is being restarted. Try again in a few seconds.",
        )
        .after(Duration::from_secs(2))
    }

    /// A mistake of ours.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong here",
            "This is a fault of the gateway and nothing you did. Try again; if it lasts, give the \
             operator the reference below.",
        )
        .with(Remedy::Retry)
    }

    fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "Cannot check your access right now",
            "The gateway cannot look up who may do what, so it lets nobody through. This is nothing you \
             did, and you are still signed in: try again in a moment.",
        )
        .after(Duration::from_secs(5))
    }

    /// The answer, in the form that `audience` understands.
    pub fn respond(&self, audience: Audience, look: &Look<'_>) -> Response<Bytes> {
        let mut response = match audience {
            Audience::Browser => self.for_browser(look),
            Audience::Api => self.for_api(look),
            Audience::Grpc => return self.for_grpc(look.site),
        };
        if let Some(clears) = self.clears_session(look.site) {
            response.headers_mut().append(SET_COOKIE, clears);
        }
        fit_to_method(look.method, response)
    }

    fn for_browser(&self, look: &Look<'_>) -> Response<Bytes> {
        let site = look.site;
        let send_to = match self.remedy {
            Remedy::SignIn | Remedy::SignInAgain => Some("/login"),
            Remedy::NewPassword => Some("/password"),
            _ => None,
        };
        if let Some(page) = send_to {
            let status = match *look.method {
                Method::GET | Method::HEAD => StatusCode::FOUND,
                _ => StatusCode::SEE_OTHER,
            };
            let target = look.target.filter(|target| target.len() <= LONGEST_TARGET);
            let location = target.map_or_else(|| site.link(page), |target| site.link_back(page, target));
            return site.redirect(status, &location);
        }
        let mut response = site.page(self.status, &ProblemPage { site, problem: self, look });
        self.add_fields(&mut response);
        response
    }

    fn for_api(&self, look: &Look<'_>) -> Response<Bytes> {
        let unauthorized = self.status == StatusCode::UNAUTHORIZED;
        let body = Body {
            kind: format!("urn:doorward:problem:{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            login_url: unauthorized.then(|| look.site.login_url()),
            request_id: Some(look.request_id).filter(|id| !id.is_empty()),
        };
        // Strings and numbers only: writing them as JSON cannot fail.
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = look.site.answer(self.status, "application/problem+json", Bytes::from(json));
        self.add_fields(&mut response);
        response
    }

    /// Trailers-only: the status is a header of an answer without a body (gRPC over HTTP/2, Responses).
    fn for_grpc(&self, site: &Site) -> Response<Bytes> {
        let mut response = site.answer(StatusCode::OK, "application/grpc", Bytes::new());
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from(grpc_status(self.status)));
        if let Ok(message) = HeaderValue::try_from(grpc_message(&format!("{}: {}", self.code, self.title))) {
            headers.insert(HeaderName::from_static("grpc-message"), message);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }

    /// What a form says above its fields: the detail, and when to try again.
    pub fn advice(&self) -> String {
        match self.retry_after {
            Some(span) => format!("{} Try again in {}.", self.detail, in_words(span)),
            None => self.detail.clone().into_owned(),
        }
    }

    /// Adds the header fields that belong to the status: when to retry, how to prove oneself, what is allowed.
    pub fn add_fields(&self, response: &mut Response<Bytes>) {
        let headers = response.headers_mut();
        if let Some(span) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(span.as_secs().max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = match self.remedy {
                Remedy::NewCredential => r#"Bearer realm="doorward", error="invalid_token""#,
                _ => r#"Bearer realm="doorward""#,
            };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Remedy::Methods(allow) = self.remedy {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
    }

    fn clears_session(&self, site: &Site) -> Option<HeaderValue> {
        matches!(self.remedy, Remedy::SignInAgain | Remedy::ForgetCookies).then(|| site.cookies().clear_session())
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::BadTarget(cause) => Self::new(
                StatusCode::BAD_REQUEST,
                "bad-target",
                "This address cannot be used",
                "",
            )
            .because(format!("The address can be read in more than one way, so it is not passed on: {cause}.")),
            Refusal::OddPath(spelling) => Self::new(
                StatusCode::BAD_REQUEST,
                "odd-path",
                "This address cannot be used",
                "",
            )
            .because(format!(
                "The path has a spelling ({spelling}) that is not enabled for the application at this address."
            )),
            Refusal::NoRoute => Self::new(
                StatusCode::NOT_FOUND,
                "no-route",
                "There is nothing here",
                "No application is configured for this host and path.",
            ),
            Refusal::Challenge { .. } => Self::new(
                StatusCode::UNAUTHORIZED,
                "sign-in-required",
                "Sign-in required",
                "Sign in, or send an API key.",
            )
            .with(Remedy::SignIn),
            Refusal::BadCredential(bad) => Self::from(*bad),
            Refusal::Forbidden { .. } => Self::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                "You do not have access to this",
                "You are signed in, but this account is not allowed to do this here. Ask an administrator \
                 for access, or use another account.",
            )
            .with(Remedy::OtherAccount),
            Refusal::KeyScope => Self::new(
                StatusCode::FORBIDDEN,
                "key-scope",
                "This key is not for this",
                "The API key is good, but limited to other paths, methods or networks.",
            ),
            Refusal::ForeignOrigin => Self::new(
                StatusCode::FORBIDDEN,
                "foreign-origin",
                "This request came from another site",
                "A page of another origin tried to act with your session, so nothing was done.",
            ),
            Refusal::PasswordChange => Self::new(
                StatusCode::FORBIDDEN,
                "password-change-required",
                "Choose a new password first",
                "The password of this account is temporary. Nothing else is possible until it is changed.",
            )
            .with(Remedy::NewPassword),
            Refusal::TooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body-too-large",
                "The request is too large",
                "The body must be read to decide whether it is allowed, and it is larger than the limit for that.",
            ),
            Refusal::BodyLost => Self::new(
                StatusCode::BAD_REQUEST,
                "body-incomplete",
                "The request is not complete",
                "The body must be read to decide whether it is allowed, and it did not arrive.",
            ),
            Refusal::Unavailable(_) => Self::unavailable(),
        }
    }
}

impl From<BadCredential> for Problem {
    fn from(bad: BadCredential) -> Self {
        let (code, title, detail, remedy) = match bad {
            BadCredential::Several => (
                "several-credentials",
                "More than one credential was sent",
                "Which of them counts cannot be told, so none does. In a browser, delete the cookies of this \
                 site and sign in again.",
                Remedy::ForgetCookies,
            ),
            BadCredential::Key => (
                "invalid-key",
                "The API key is not valid",
                "It is mistyped, has expired or was revoked.",
                Remedy::NewCredential,
            ),
            BadCredential::Bearer => (
                "invalid-token",
                "The bearer token is not valid",
                "It is not one of this gateway's, or has expired.",
                Remedy::NewCredential,
            ),
            BadCredential::Scheme => (
                "unsupported-scheme",
                "This authorization scheme is not accepted",
                "Send an API key as a bearer token.",
                Remedy::None,
            ),
            BadCredential::Session => {
                ("session-ended", "Your session has ended", "Sign in again.", Remedy::SignInAgain)
            }
        };
        Self::new(StatusCode::UNAUTHORIZED, code, title, detail).with(remedy)
    }
}

impl From<&ServiceError> for Problem {
    fn from(error: &ServiceError) -> Self {
        match error {
            ServiceError::Conflict { .. } => {
                Self::new(StatusCode::CONFLICT, "conflict", "This exists already", "")
                    .because(format!("The {error}."))
            }
            ServiceError::Invalid { field, reason } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "A value is not accepted", "")
                    .because(if reason.starts_with("is ") {
                        format!("The {field} {reason}.")
                    } else {
                        format!("The {field} is not accepted: {reason}.")
                    })
            }
            ServiceError::NotFound { .. } => {
                Self::new(StatusCode::NOT_FOUND, "not-found", "There is nothing here", "")
                    .because(format!("The {error}."))
            }
            ServiceError::LastAdmin => Self::new(
                StatusCode::CONFLICT,
                "last-admin",
                "Somebody has to be admin",
                "This is the last admin who can sign in. Make somebody else an admin first.",
            ),
            ServiceError::Refused => Self::new(
                StatusCode::UNAUTHORIZED,
                "wrong-credentials",
                "Sign-in failed",
                "The name or the password is wrong.",
            ),
            ServiceError::Throttled { retry_after } => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-attempts",
                "Too many attempts",
                "Too many attempts have failed, so nothing was checked.",
            )
            .after(*retry_after),
            ServiceError::Busy { retry_after } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "A lot is going on",
                "Many people are signing in at this moment, so nothing was checked. This is nothing you did: \
                 it was not your password.",
            )
            .after(*retry_after),
            ServiceError::Unavailable(_) => Self::unavailable(),
        }
    }
}

/// Problem details as JSON (RFC 9457, 3).
#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    site: &'a Site,
    problem: &'a Problem,
    look: &'a Look<'a>,
}

impl ProblemPage<'_> {
    /// A GET can be repeated by a link; anything else must be sent again by the person.
    fn again(&self) -> Option<&str> {
        (self.problem.remedy == Remedy::Retry && *self.look.method == Method::GET)
            .then_some(self.look.target)
            .flatten()
            .filter(|target| target.strip_prefix('/').is_some_and(|rest| !rest.starts_with(['/', '\\'])))
    }

    fn wait(&self) -> Option<String> {
        self.problem.retry_after.filter(|_| self.again().is_none()).map(in_words)
    }

    fn other_account(&self) -> Option<String> {
        (self.problem.remedy == Remedy::OtherAccount && self.look.account.is_some()).then(|| {
            let target = self.look.target.filter(|target| target.len() <= LONGEST_TARGET);
            target.map_or_else(|| self.site.link("/logout"), |target| self.site.link_back("/logout", target))
        })
    }

    fn signs_in(&self) -> bool {
        matches!(self.problem.remedy, Remedy::ForgetCookies | Remedy::OpenSignIn)
    }
}

/// A span as people say it, rounded up: `20 seconds`, `2 minutes`.
fn in_words(span: Duration) -> String {
    let seconds = span.as_secs().max(1);
    let (count, unit) = if seconds < 120 { (seconds, "second") } else { (seconds.div_ceil(60), "minute") };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// The gRPC status code that says what an HTTP status says.
fn grpc_status(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 | 415 | 422 => 3,            // INVALID_ARGUMENT
        401 => 16,                       // UNAUTHENTICATED
        403 => 7,                        // PERMISSION_DENIED
        404 | 405 => 12,                 // UNIMPLEMENTED
        409 => 6,                        // ALREADY_EXISTS
        413 | 414 | 431 => 8,            // RESOURCE_EXHAUSTED
        429 | 502 | 503 | 504 => 14,     // UNAVAILABLE
        500 => 13,                       // INTERNAL
        _ => 2,                          // UNKNOWN
    }
}

/// Percent-encoding of a status message: visible ASCII and space stay, but for `%`.
fn grpc_message(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if matches!(byte, 0x20..=0x7e) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
#[path = "problem_tests.rs"]
mod tests;
