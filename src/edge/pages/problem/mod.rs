//! The one place where a status is chosen for an error (RFC 9457); [`Problem::respond`] writes its three forms.
//!
//! Causes stay in the log; what is written here is safe to show to anybody.

mod answer;
mod causes;
mod challenge;
mod sign_in;

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use crate::config::Flavour;
use crate::edge::methods::Methods;
use crate::model::verdict::Code;

pub use self::answer::ProblemContext;
pub use self::challenge::SchemeHint;

/// What the caller is told.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// Why, for programs.
    pub code: Code,
    /// What happened, the same for every problem of this code.
    pub title: &'static str,
    /// What to do about it, a sentence or two.
    pub detail: Cow<'static, str>,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// The way out.
    pub remedy: Remedy,
    /// Whether HTTP Basic would do.
    pub basic: bool,
    /// What the caller speaks.
    pub speaks: SchemeHint,
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
    Methods(Methods),
    /// A WebSocket of the version that is spoken.
    WebSocketVersion,
}

impl Problem {
    fn new(status: StatusCode, code: Code, title: &'static str, detail: &'static str) -> Self {
        Self {
            status,
            code,
            title,
            detail: Cow::Borrowed(detail),
            retry_after: None,
            remedy: Remedy::None,
            basic: false,
            speaks: SchemeHint::default(),
        }
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
        Self::new(StatusCode::BAD_REQUEST, Code::BadRequest, "The request is not complete", detail)
    }

    /// A form from a page that is not ours: one at `origin`, where the browser says so, instead of `ours`.
    pub fn foreign_form(origin: Option<&str>, ours: &str) -> Self {
        let problem = Self::new(
            StatusCode::FORBIDDEN,
            Code::ForeignOrigin,
            "This form did not come from here",
            "The form was sent by a page of another site, or by a browser that hides where it comes from. \
             Open the page again here and send it once more.",
        );
        match origin {
            Some(origin) => problem.because(format!(
                "The form was sent by a page at {origin}, but this gateway is at {ours}, so nothing was done. Open \
                 {ours} and send it once more there. If {origin} is the right address, its operator has to set \
                 public_url to it."
            )),
            None => problem,
        }
    }

    /// A page for people that was asked for by a script, or to be shown inside another page.
    pub fn opened_by_script() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Code::OpenedByScript,
            "This page opens by itself only",
            "Scripts and frames of applications on this host may not use it. Open it in a tab of its own.",
        )
    }

    /// A session where only a key counts.
    pub fn key_required() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Code::KeyRequired,
            "A session is not enough here",
            "Scripts of applications on this host could use it. Send the key of an admin instead.",
        )
    }

    /// A key or token at a page for people.
    pub fn people_only() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Code::PeopleOnly,
            "This page is for people",
            "Keys and tokens do not work here. Sign in with a browser.",
        )
        .with(Remedy::OpenSignIn)
    }

    /// A password where no passwords are taken.
    pub fn password_login_off() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Code::PasswordLoginOff,
            "Passwords are not accepted here",
            "Signing in with a password is switched off.",
        )
    }

    /// A set-up link that does not work any more, or never did.
    pub fn setup_over() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Code::SetupLinkInvalid,
            "This link does not work",
            "A set-up link works once, within a day, and only while nobody has an account yet. Restart the \
             gateway to get a new one in its log, or sign in if the first account was made already.",
        )
        .with(Remedy::OpenSignIn)
    }

    /// A browser that would be sent to and fro for ever, because the set-up is wrong.
    pub fn sign_in_loop(detail: String) -> Self {
        Self::new(StatusCode::CONFLICT, Code::SignInLoop, "Signing in does not lead on", "")
            .because(detail)
            .with(Remedy::Retry)
    }

    /// A form in a media type other than the one HTML forms use.
    pub fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::UnsupportedMediaType,
            "The form is in the wrong format",
            "Forms are read as application/x-www-form-urlencoded only.",
        )
    }

    /// Nothing at this address.
    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Code::NotFound,
            "There is nothing here",
            "The address may be mistyped, or what was here has moved.",
        )
    }

    /// An address of another product that is not taken over, and why.
    pub fn not_taken_over(why: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::NotTakenOver, "There is nothing here any more", why)
    }

    /// A method that is not one of those that this address has.
    pub fn method_not_allowed(methods: Methods) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Code::MethodNotAllowed,
            "This is not possible here",
            "The address exists, but not for this request method.",
        )
        .with(Remedy::Methods(methods))
    }

    /// TRACE, CONNECT, or what is no method.
    pub fn method_not_proxied() -> Self {
        Self::method_not_allowed(Methods::Any)
    }

    /// A message whose framing two parsers could read differently; `what` is wrong with it.
    pub fn bad_framing(what: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::BadFraming, "The request cannot be read safely", "").because(format!(
            "Where the request ends can be understood in more than one way, so it is not passed on: {what}."
        ))
    }

    /// A head that no two programs would read alike; `what` is wrong with it.
    pub fn unreadable_head(what: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::UnreadableRequest, "The request cannot be read", "")
            .because(format!("The request was not looked at: {what}."))
    }

    /// A switch of protocol that two servers could read differently.
    pub fn odd_upgrade(cause: &impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::OddUpgrade, "The switch of protocol cannot be understood", "")
            .because(format!(
                "What the connection is to become can be read in more than one way, so it is not passed on: {cause}."
            ))
    }

    /// A WebSocket of an obsolete version.
    pub fn websocket_version() -> Self {
        Self::new(
            StatusCode::UPGRADE_REQUIRED,
            Code::WebsocketVersion,
            "This version of WebSockets is not spoken",
            "Send Sec-WebSocket-Version: 13, and send it once.",
        )
        .with(Remedy::WebSocketVersion)
    }

    /// A body that broke off or cannot be read, after forwarding began.
    pub fn body_broken() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            Code::BodyIncomplete,
            "The request is not complete",
            "Its body broke off, or cannot be read.",
        )
    }

    /// A request target that is too long.
    pub fn uri_too_long() -> Self {
        Self::new(
            StatusCode::URI_TOO_LONG,
            Code::UriTooLong,
            "The address is too long",
            "The address is longer than this gateway accepts, which is server.limits.uri_bytes.",
        )
    }

    /// A request head of too many bytes.
    pub fn header_too_large() -> Self {
        Self::large_header(
            "Often too many cookies are to blame: delete the cookies of this site and try again. How many bytes a header \
             may have is server.limits.header_bytes.",
        )
    }

    /// A request head of too many fields.
    pub fn too_many_fields() -> Self {
        Self::large_header(
            "It has more lines than this gateway accepts, which is server.limits.header_count.",
        )
    }

    fn large_header(detail: &'static str) -> Self {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Code::HeaderTooLarge,
            "The request header is too large",
            detail,
        )
    }

    /// A client that stopped sending its request halfway.
    pub fn request_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            Code::RequestTimeout,
            "The request did not arrive in time",
            "The connection stalled while the request was being sent. Send it again.",
        )
        .with(Remedy::Retry)
    }

    /// A question from a peer that is not one of our proxies.
    pub fn untrusted_proxy() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Code::UntrustedProxy,
            "This address is for proxies",
            "Only the proxies named in server.trusted_proxies may ask here.",
        )
    }

    /// A question as a proxy asks it whose questions are not answered.
    pub fn flavour_off(flavour: Flavour) -> Self {
        Self::not_found().because(format!(
            "Questions of proxies are not answered here. If your proxy asks one, add `{}` to forward_auth.flavours.",
            flavour.as_str()
        ))
    }

    /// A question that leaves open what is asked for.
    pub fn unclear_question(detail: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::UnclearQuestion, "The question is not clear", "")
            .because(detail)
    }

    /// Identity headers that no proxy would accept.
    pub fn identity_too_large() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Code::IdentityTooLarge,
            "You are in too many groups",
            "The headers that tell the application who you are would be too large for the proxy in front of it. \
             Ask the operator to take you out of some groups.",
        )
    }

    /// A form larger than any of ours.
    pub fn body_too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Code::BodyTooLarge,
            "The request is too large",
            "The body is larger than what is accepted at this address.",
        )
    }

    /// The application behind us cannot be reached.
    pub fn upstream_connect() -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            Code::UpstreamUnreachable,
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
            Code::UpstreamTimeout,
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
            Code::UpstreamProtocol,
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
            Code::Draining,
            "Restarting",
            "The gateway is being restarted. Try again in a few seconds.",
        )
        .after(Duration::from_secs(2))
    }

    /// A mistake of ours.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::Internal,
            "Something went wrong here",
            "This is a fault of the gateway and nothing you did. Try again, and tell the operator \
             if it lasts.",
        )
        .with(Remedy::Retry)
    }

    fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::Unavailable,
            "Cannot check your access right now",
            "The gateway cannot look up who may do what, so it lets nobody through. This is nothing you \
             did, and nobody was signed out: try again in a moment.",
        )
        .after(Duration::from_secs(5))
    }
}

#[cfg(test)]
mod tests;
