//! Maps each refusal of the gate and each service error to a problem.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use super::Problem;
use super::Remedy;
use crate::gate::refusal::Refusal;
use crate::gate::refusal::{BadCredential, ForeignCredential};
use crate::model::target::TargetError;
use crate::model::verdict::Code;
use crate::service::ServiceError;

/// After so long there may well be room for a body.
const AGAIN: Duration = Duration::from_secs(1);

/// What begins with two slashes can be read in two ways whatever the application behind does.
const UNCONDITIONAL: &str = " No setting allows that.";

/// Where empty segments come from.
const SLASHES: &str = " Two slashes in a row are mostly the mistake of a client that was told an address with a slash \
                       at its end and adds its own path: write that address without it.";

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::BadTarget(cause) => Self::new(
                StatusCode::BAD_REQUEST,
                refusal.code(),
                "This address cannot be used",
                "",
            )
            .because(format!(
                "The address can be read in more than one way, so it is not passed on: {cause}.{}",
                match cause {
                    TargetError::TwoSlashes => format!("{UNCONDITIONAL}{SLASHES}"),
                    TargetError::HiddenSlashes => UNCONDITIONAL.to_owned(),
                    _ => String::new(),
                }
            )),
            Refusal::OddPath(spelling) => Self::new(
                StatusCode::BAD_REQUEST,
                refusal.code(),
                "This address cannot be used",
                "",
            )
            .because(format!(
                "The path has a spelling ({spelling}) that the application at this address may read differently. If it \
                 needs that, its operator has to write paths.allow = [\"{spelling}\"] for the upstream (or in \
                 [forward_auth]).{}",
                if spelling.starts_with("empty") { SLASHES } else { "" }
            )),
            Refusal::BadAddress(cause) => Self::new(
                StatusCode::BAD_REQUEST,
                refusal.code(),
                "The second address of this request cannot be used",
                "",
            )
            .because(format!(
                "A request that names a second place is allowed only if both places are, so it must name it plainly: \
                 {cause}."
            )),
            Refusal::Disguised => Self::new(
                StatusCode::BAD_REQUEST,
                refusal.code(),
                "A header of this request is ambiguous",
                "A header has a name that many servers read as another one, such as `X_Auth_User` for `X-Auth-User`. Leave it \
                 out, or spell it with `-`. The proxy in front can drop such headers: `doorward snippet` prints how.",
            ),
            Refusal::NoRoute => Self::new(
                StatusCode::NOT_FOUND,
                refusal.code(),
                "There is nothing here",
                "No application is configured for this host and path. If the address is right, its operator has \
                 to add a route for it: `doorward check` lists those there are.",
            ),
            Refusal::Challenge => Self::new(
                StatusCode::UNAUTHORIZED,
                refusal.code(),
                "Sign-in required",
                "Sign in, or send an API key as `Authorization: Bearer KEY`.",
            )
            .with(Remedy::SignIn),
            Refusal::BadCredential(bad) => Self::from(*bad),
            Refusal::TooManyAttempts { retry_after } => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                refusal.code(),
                "Too many attempts",
                "Many unknown keys came from this address, so this one was not checked.",
            )
            .after(*retry_after),
            Refusal::Forbidden => Self::new(
                StatusCode::FORBIDDEN,
                refusal.code(),
                "You do not have access to this",
                "This account is not allowed to do this here. Ask an administrator for access, or use another \
                 account.",
            )
            .with(Remedy::OtherAccount),
            Refusal::KeyScope => Self::new(
                StatusCode::FORBIDDEN,
                refusal.code(),
                "This key is not for this",
                "The API key is valid, but limited to other paths, methods or networks.",
            ),
            Refusal::ForeignOrigin => Self::new(
                StatusCode::FORBIDDEN,
                refusal.code(),
                "This request came from another site",
                "A page of another origin tried to act with your session, so nothing was done. If that page is one of \
                 your own, its operator has to correct public_url or name its origin in server.trusted_origins.",
            ),
            Refusal::PasswordChange => Self::new(
                StatusCode::FORBIDDEN,
                refusal.code(),
                "Choose a new password first",
                "The password of this account is temporary. Nothing else is possible until it is changed.",
            )
            .with(Remedy::NewPassword),
            Refusal::TooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                refusal.code(),
                "The request is too large",
                "The body must be read to decide whether it is allowed, and it is larger than the limit for that, \
                 server.limits.graphql_body_bytes.",
            ),
            Refusal::TooManyBodies => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                refusal.code(),
                "Too much at once",
                "Too many requests of this address are being read at once. Send it again in a moment. The limit is \
                 server.limits.read_ahead_bytes_per_client.",
            )
            .after(AGAIN),
            Refusal::NoRoom => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                refusal.code(),
                "No room for the request",
                "Too many requests are being read at once. Send it again in a moment. The limit is \
                 server.limits.read_ahead_bytes.",
            )
            .after(AGAIN),
            Refusal::TooManyRequests => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                refusal.code(),
                "Too many open requests",
                "Too many requests of this address are open at once. Send it again when one of them has ended. The limit is \
                 server.limits.open_requests_per_client.",
            )
            .after(AGAIN),
            Refusal::Full => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                refusal.code(),
                "No room for the request",
                "Too many requests are open at once. Send it again in a moment. The limit is \
                 server.limits.open_requests.",
            )
            .after(AGAIN),
            Refusal::BodyLost => Self::new(
                StatusCode::BAD_REQUEST,
                refusal.code(),
                "The request is not complete",
                "The body must be read to decide whether it is allowed, and it did not arrive.",
            ),
            Refusal::BodyLate => Self::request_timeout(),
            Refusal::Unavailable(_) => Self::unavailable(),
        }
    }
}

impl Problem {
    /// Says it of a credential that the application's own login makes beside a session of ours, where it is refused
    /// for that.
    pub fn beside_session(&mut self, foreign: Option<ForeignCredential>) {
        let refused = foreign.filter(|foreign| foreign.beside_session && foreign.wrong.code() == self.code);
        let Some((wrong, setting)) =
            refused.and_then(|ForeignCredential { wrong, setting, .. }| Some((wrong, setting?)))
        else {
            return;
        };
        let header = match wrong {
            BadCredential::ForeignKey => "a header for API keys (keys.headers, or key_headers of the route)",
            _ => "Authorization",
        };
        self.detail = Cow::Owned(format!(
            "The session in the cookie does not count, because {header} holds something beside it that is not this \
             gateway's. Most likely that is from the application's own login: its operator has to write {setting} = true \
             for the route or upstream, and then it is the application's, and the session counts, if it still \
             stands. For a route that lets anyone in there is foreign_credentials as well."
        ));
    }
}

impl From<BadCredential> for Problem {
    fn from(bad: BadCredential) -> Self {
        let (title, detail, remedy) = match bad {
            BadCredential::Several => (
                "More than one credential was sent",
                "It is not clear which of them counts, so none does. In a browser, delete the cookies of this \
                 site and sign in again.",
                Remedy::ForgetCookies,
            ),
            BadCredential::Key => (
                "The API key is not valid",
                "It is mistyped, has expired or was revoked.",
                Remedy::NewCredential,
            ),
            BadCredential::ForeignKey => (
                "This is not a key of this gateway",
                "A header for its API keys (keys.headers, or key_headers of the route) holds something else. Where that \
                 is for the application, the operator has to write pass_api_key = true for the route or upstream, or \
                 foreign_credentials for a route that lets anyone in.",
                Remedy::NewCredential,
            ),
            BadCredential::Password => (
                "The password is not an API key",
                "HTTP Basic takes an API key as the password, with any username. Where user and password are for the \
                 application, the operator has to write pass_authorization = true for the route or upstream, or \
                 foreign_credentials for a route that lets anyone in.",
                Remedy::NewCredential,
            ),
            BadCredential::Bearer => (
                "The bearer token is not valid",
                "It is not one of this gateway's, or has expired. Where it is for the application, the operator has to \
                 write pass_authorization = true for the route or upstream, or foreign_credentials for a route that \
                 lets anyone in.",
                Remedy::NewCredential,
            ),
            BadCredential::Basic => (
                "This authorization scheme is not accepted",
                "Send an API key as `Authorization: Bearer KEY`. For keys as the password of HTTP Basic the operator \
                 has to write basic = true for the route; where this is for the application, pass_authorization = \
                 true for the route or upstream, or foreign_credentials for a route that lets anyone in.",
                Remedy::None,
            ),
            BadCredential::Scheme => (
                "This authorization scheme is not accepted",
                "Send an API key as `Authorization: Bearer KEY`. Where this is for the application, the operator has to \
                 write pass_authorization = true for the route or upstream, or foreign_credentials for a route that lets \
                 anyone in.",
                Remedy::None,
            ),
            BadCredential::Misplaced => (
                "The API key is in the wrong place",
                "An API key was sent in a header that is not meant for keys. Send the key as `Authorization: Bearer KEY`.",
                Remedy::NewCredential,
            ),
            BadCredential::Unknown => (
                "You are not known here",
                "This gateway does not know the credential that identifies you, or no longer does. Its operator can add it.",
                Remedy::NewCredential,
            ),
            BadCredential::Session => ("Your session has ended", "Sign in again.", Remedy::SignInAgain),
        };
        Self::new(StatusCode::UNAUTHORIZED, bad.code(), title, detail).with(remedy)
    }
}

impl From<&ServiceError> for Problem {
    fn from(error: &ServiceError) -> Self {
        match error {
            ServiceError::Conflict { .. } => {
                Self::new(StatusCode::CONFLICT, Code::Conflict, "This exists already", "")
                    .because(format!("The {error}."))
            }
            ServiceError::Invalid { field, reason } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, Code::Invalid, "A value is not accepted", "")
                    .because(if reason.starts_with("is ") {
                        format!("The {field} {reason}.")
                    } else {
                        format!("The {field} is not accepted: {reason}.")
                    })
            }
            ServiceError::NotFound { .. } => {
                Self::new(StatusCode::NOT_FOUND, Code::NotFound, "There is nothing here", "")
                    .because(format!("The {error}."))
            }
            ServiceError::LastAdmin => Self::new(
                StatusCode::CONFLICT,
                Code::LastAdmin,
                "Somebody has to be admin",
                "This is the last admin who can sign in. Make somebody else an admin first.",
            ),
            ServiceError::Refused => Self::new(
                StatusCode::UNAUTHORIZED,
                Code::WrongCredentials,
                "Sign-in failed",
                "The name or the password is wrong.",
            ),
            ServiceError::Throttled { retry_after } => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                Code::TooManyAttempts,
                "Too many attempts",
                "There were too many attempts in a short time.",
            )
            .after(*retry_after),
            ServiceError::Busy { retry_after } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Code::Busy,
                "The gateway is busy",
                "Many people are signing in or at their accounts at this moment, so nothing was checked or \
                 changed. Your password is not the reason.",
            )
            .after(*retry_after),
            ServiceError::Unavailable(_) => Self::unavailable(),
        }
    }
}
