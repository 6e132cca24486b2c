//! Why the gate refuses a request.

use std::error::Error;
use std::time::Duration;

use super::effects::BadAddress;
use crate::model::target::TargetError;
use crate::model::verdict::{Code, Verdict};
use crate::model::words::words;

/// Why a request goes no further. The edge turns it into a response; there is no other way past a permit.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The target can be read in two ways.
    #[error("{0}")]
    BadTarget(#[from] TargetError),
    /// The path has a spelling that this route's upstream does not opt in to; its name in the configuration.
    #[error("the path has a spelling that is not enabled here: {0}")]
    OddPath(&'static str),
    /// The second address that the request names cannot be decided on.
    #[error("{0}")]
    BadAddress(#[from] BadAddress),
    /// A header that the proxy which asks would hand on, and that its application may read as another one.
    #[error("a header may be read as another one")]
    Disguised,
    /// No route for this host and path.
    #[error("there is nothing at this address")]
    NoRoute,
    /// No credential, and somebody is wanted.
    #[error("sign-in required")]
    Challenge,
    /// A credential that is wrong, expired or revoked, or two of them. Says which kind was looked at, never its value.
    #[error("{0}")]
    BadCredential(BadCredential),
    /// The client presented many unknown credentials, so this one was not looked up.
    #[error("too many credentials of this client were wrong")]
    TooManyAttempts {
        /// It may try again after this.
        retry_after: Duration,
    },
    /// Known, and not allowed.
    #[error("not allowed")]
    Forbidden,
    /// Known, but the key is limited to other paths, methods or networks.
    #[error("this key is not for this path, method or network")]
    KeyScope,
    /// A write or WebSocket with a cookie from a page of another origin.
    #[error("the request comes from a page of another origin")]
    ForeignOrigin,
    /// The password is temporary and must be changed first.
    #[error("the password must be changed first")]
    PasswordChange,
    /// The body had to be read to decide, and is too large for that.
    #[error("the body is too large to be decided")]
    TooLarge,
    /// The body had to be read to decide, and its client has too many of those under way.
    #[error("too many bodies of this client are being read to decide")]
    TooManyBodies,
    /// The body had to be read to decide, and too many of those are under way.
    #[error("too many bodies are being read to decide")]
    NoRoom,
    /// The client has too many requests open.
    #[error("too many requests of this client are open")]
    TooManyRequests,
    /// Too many requests of all clients are open.
    #[error("too many requests are open")]
    Full,
    /// The body had to be read to decide, and did not arrive.
    #[error("the body did not arrive")]
    BodyLost,
    /// The body had to be read to decide, and came too slowly.
    #[error("the body came too slowly")]
    BodyLate,
    /// An answer we could not get is a refusal.
    #[error("cannot decide now")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

impl Refusal {
    /// Why, as answers, metrics and reports say it.
    pub fn code(&self) -> Code {
        match self {
            Self::BadTarget(_) => Code::BadTarget,
            Self::OddPath(_) => Code::OddPath,
            Self::BadAddress(BadAddress::Foreign(_)) => Code::ForeignDestination,
            Self::BadAddress(_) => Code::BadDestination,
            Self::Disguised => Code::OddHeader,
            Self::NoRoute => Code::NoRoute,
            Self::Challenge => Code::SignInRequired,
            Self::BadCredential(bad) => bad.code(),
            Self::TooManyAttempts { .. } => Code::TooManyAttempts,
            Self::Forbidden => Code::Forbidden,
            Self::KeyScope => Code::KeyScope,
            Self::ForeignOrigin => Code::ForeignOrigin,
            Self::PasswordChange => Code::PasswordChangeRequired,
            Self::TooLarge => Code::BodyTooLarge,
            Self::TooManyBodies => Code::TooManyBodies,
            Self::TooManyRequests => Code::TooManyRequests,
            Self::NoRoom | Self::Full => Code::NoRoom,
            Self::BodyLost => Code::BodyIncomplete,
            Self::BodyLate => Code::RequestTimeout,
            Self::Unavailable(_) => Code::Unavailable,
        }
    }

    /// What was decided with it: `Challenge`, `Error` or `Deny`.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Challenge | Self::BadCredential(_) => Verdict::Challenge,
            Self::Unavailable(_) | Self::NoRoom | Self::Full => Verdict::Error,
            _ => Verdict::Deny,
        }
    }
}

/// A credential of another system that a request presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignCredential {
    /// What is wrong with it where only ours are taken.
    pub wrong: BadCredential,
    /// Whether a session of ours was presented beside it, of whatever worth: then it is most likely that of the application's
    /// own login.
    pub beside_session: bool,
    /// The setting that would leave it to the application, where there is one.
    pub setting: Option<PassSetting>,
}

words! {
    /// A setting of a route or upstream that leaves credentials of another system to the application.
    PassSetting {
        /// For `Authorization`.
        Authorization = "pass_authorization",
        /// For the headers that bring keys.
        ApiKey = "pass_api_key",
    }
}

/// How a credential of ours was presented that is refused for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misused {
    /// As the password of HTTP Basic, where that is not taken.
    AsPassword,
    /// In a form that is taken nowhere.
    Mangled,
    /// Beside a credential of another system.
    BesideForeign,
}

/// What is wrong with a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCredential {
    /// More than one header credential, or more than one cookie of our name.
    #[error("more than one credential was presented")]
    Several,
    /// A key that is mistyped, unknown, expired or revoked.
    #[error("the API key is not valid")]
    Key,
    /// What is no key of ours at all, in the header that brings keys.
    #[error("the header for API keys does not hold a key of this gateway")]
    ForeignKey,
    /// HTTP Basic whose password is no key of ours.
    #[error("the password is not an API key")]
    Password,
    /// HTTP Basic, where no key may be its password.
    #[error("HTTP Basic is not accepted")]
    Basic,
    /// A bearer token we do not accept.
    #[error("the bearer token is not valid")]
    Bearer,
    /// An `Authorization` scheme that brings no keys anywhere.
    #[error("this authorization scheme is not accepted")]
    Scheme,
    /// A key in a header that is not for it.
    #[error("a key stands in a header that is not for it")]
    Misplaced,
    /// Anything else that says who somebody is, of whom nothing is known here.
    #[error("the credential is not known")]
    Unknown,
    /// A session cookie that is malformed, forged, expired or ended.
    #[error("the session has ended")]
    Session,
}

impl BadCredential {
    /// Whether it is a credential of another system rather than one of ours that does not count.
    pub fn is_foreign(self) -> bool {
        matches!(self, Self::ForeignKey | Self::Password | Self::Basic | Self::Bearer | Self::Scheme)
    }

    /// The setting of a route or upstream that would leave it to the application, where it is another system's.
    pub fn setting(self) -> Option<PassSetting> {
        match self {
            Self::Password | Self::Basic | Self::Bearer | Self::Scheme => Some(PassSetting::Authorization),
            Self::ForeignKey => Some(PassSetting::ApiKey),
            _ => None,
        }
    }

    /// Why, as answers, metrics and reports say it.
    pub fn code(self) -> Code {
        match self {
            Self::Several => Code::SeveralCredentials,
            Self::Key | Self::Password => Code::InvalidKey,
            Self::ForeignKey => Code::ForeignKey,
            Self::Bearer => Code::InvalidToken,
            Self::Basic | Self::Scheme => Code::UnsupportedScheme,
            Self::Misplaced => Code::MisplacedKey,
            Self::Unknown => Code::InvalidCredential,
            Self::Session => Code::SessionEnded,
        }
    }
}
