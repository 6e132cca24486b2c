//! A problem as a page, as problem+json and as a gRPC status.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use http::header::{ALLOW, RETRY_AFTER, SEC_WEBSOCKET_VERSION, SET_COOKIE, UPGRADE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use serde::Serialize;

use super::{Problem, Remedy};
use crate::edge::audience::Audience;
use crate::edge::pages::site::{Site, fit_to_method};
use crate::model::verdict::Code;

/// What an answer needs to know besides the problem.
#[derive(Clone, Copy, Debug)]
pub struct ProblemContext<'a> {
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
    /// The answer, in the form that `audience` understands.
    pub fn respond(&self, audience: Audience, look: &ProblemContext<'_>) -> Response<Bytes> {
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

    fn for_browser(&self, look: &ProblemContext<'_>) -> Response<Bytes> {
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
            let location = look.target.map_or_else(|| site.link(page), |target| site.link_back(page, target));
            return site.redirect(status, &location);
        }
        let mut response = site.page(self.status, &ProblemPage { site, problem: self, look });
        self.add_fields(&mut response);
        response
    }

    fn for_api(&self, look: &ProblemContext<'_>) -> Response<Bytes> {
        let unauthorized = self.status == StatusCode::UNAUTHORIZED;
        let body = Body {
            kind: format!("urn:doorward:problem:{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail_for_programs(),
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

    /// The detail, with every way to send a key that the route takes.
    fn detail_for_programs(&self) -> Cow<'_, str> {
        const SENTENCE: &str = "HTTP Basic takes it as the password, with any username.";
        if !self.basic {
            return Cow::Borrowed(&self.detail);
        }
        match (self.code, self.detail.split_once("KEY`. ")) {
            (Code::UnsupportedScheme, Some((send, rest))) => {
                Cow::Owned(format!("{send}KEY`. {SENTENCE} {rest}"))
            }
            _ if self.remedy == Remedy::SignIn => Cow::Owned(format!("{} {SENTENCE}", self.detail)),
            _ => Cow::Borrowed(&self.detail),
        }
    }

    /// Trailers-only: the status is a header of an answer without a body (gRPC over HTTP/2, Responses).
    fn for_grpc(&self, site: &Site) -> Response<Bytes> {
        let mut response = site.answer(StatusCode::OK, "application/grpc", Bytes::new());
        response.headers_mut().extend(self.grpc_trailers());
        response
    }

    /// Trailers that end a gRPC stream with this problem.
    pub fn grpc_trailers(&self) -> HeaderMap {
        let mut trailers = HeaderMap::new();
        trailers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from(grpc_status(self.status)));
        if let Ok(message) = HeaderValue::try_from(grpc_message(&format!("{}: {}", self.code, self.title))) {
            trailers.insert(HeaderName::from_static("grpc-message"), message);
        }
        trailers
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
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        match self.remedy {
            Remedy::Methods(methods) => _ = headers.insert(ALLOW, methods.allow()),
            // RFC 6455, 4.4; RFC 9110, 15.5.22.
            Remedy::WebSocketVersion => {
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            }
            _ => {}
        }
    }

    fn clears_session(&self, site: &Site) -> Option<HeaderValue> {
        matches!(self.remedy, Remedy::SignInAgain | Remedy::ForgetCookies)
            .then(|| site.cookies().clear_session())
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
    code: Code,
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
    look: &'a ProblemContext<'a>,
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
            let site = self.site;
            self.look.target.map_or_else(|| site.link("/logout"), |target| site.link_back("/logout", target))
        })
    }

    fn signs_in(&self) -> bool {
        matches!(self.problem.remedy, Remedy::ForgetCookies | Remedy::OpenSignIn)
    }
}

/// A span as people say it, rounded up: `20 seconds`, `2 minutes`.
pub(super) fn in_words(span: Duration) -> String {
    let seconds = span.as_secs().max(1);
    let (count, unit) = if seconds < 120 { (seconds, "second") } else { (seconds.div_ceil(60), "minute") };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// The gRPC status code that says what an HTTP status says.
fn grpc_status(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 | 415 | 422 => 3,        // INVALID_ARGUMENT
        401 => 16,                   // UNAUTHENTICATED
        403 => 7,                    // PERMISSION_DENIED
        408 => 4,                    // DEADLINE_EXCEEDED
        404 | 405 => 12,             // UNIMPLEMENTED
        409 => 6,                    // ALREADY_EXISTS
        413 | 414 | 431 => 8,        // RESOURCE_EXHAUSTED
        429 | 502 | 503 | 504 => 14, // UNAVAILABLE
        500 => 13,                   // INTERNAL
        _ => 2,                      // UNKNOWN
    }
}

/// Percent-encoding of a status message: visible ASCII and space stay, but for `%`.
pub(super) fn grpc_message(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if matches!(byte, 0x20..=0x7e) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
