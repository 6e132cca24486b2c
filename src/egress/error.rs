//! Why there is no response, in words that hold no secret.

use std::error::Error;
use std::fmt;
use std::io;

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::destination::EgressRefusal;
use crate::model::origin::Origin;

/// Bytes of the text of a cause that a server may choose.
const LONGEST_CAUSE: usize = 200;
/// A longer content type is not shown.
const LONGEST_CONTENT_TYPE: usize = 60;

/// A request without a usable response.
///
/// It names the origin, what went wrong and, of a response, status and content type. It holds nothing else of the request
/// or the response: path, query, headers and body may each be a credential.
#[derive(Debug)]
pub struct EgressError {
    /// The origin of the URL; `None` where that cannot be read.
    pub server: Option<Origin>,
    /// What went wrong.
    pub fault: EgressFault,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum EgressFault {
    /// The destination is forbidden; there was no connection.
    #[error("is not called: {0}")]
    Refused(#[from] EgressRefusal),
    /// The URL or a header is not valid.
    #[error("is not called: the URL or a header is not valid")]
    Invalid,
    /// Its name was not resolved.
    #[error("has a host name that cannot be resolved")]
    Unresolved(#[source] io::Error),
    /// No connection.
    #[error("cannot be reached")]
    Unreachable(#[source] io::Error),
    /// No TLS, or no certificate that is trusted for this name.
    #[error("does not speak TLS, or has no trusted certificate")]
    Tls(#[source] io::Error),
    /// No connection, or no whole response, in time.
    #[error("did not answer in time")]
    Timeout,
    /// The response is not HTTP/1.1, or ends too early.
    #[error("sent a broken or incomplete response")]
    Broken(#[source] hyper::Error),
    /// The body is larger than allowed.
    #[error("sent more than {0} bytes")]
    TooLarge(usize),
    /// A redirect, which is not followed (RFC 9110, 15.4).
    #[error("answered with a redirect (status {0}), which is not followed")]
    Redirect(u16),
    /// The status is not one of success.
    #[error("answered with status {status} and {content_type}")]
    Status {
        /// The status.
        status: u16,
        /// Of the body.
        content_type: ContentType,
    },
    /// The body is not JSON, or not of the expected shape.
    #[error("answered with {content_type} (status {status}) that cannot be read")]
    Unreadable {
        /// The status.
        status: u16,
        /// Of the body.
        content_type: ContentType,
    },
}

impl EgressFault {
    /// A failed handshake. The text of the cause is cut, since it may list the names of a certificate that anybody made.
    pub(super) fn tls(error: io::Error) -> Self {
        let text = error.to_string();
        if text.len() <= LONGEST_CAUSE {
            return Self::Tls(error);
        }
        let end = text.floor_char_boundary(LONGEST_CAUSE);
        Self::Tls(io::Error::new(error.kind(), format!("{}...", &text[..end])))
    }
}

impl EgressError {
    /// Whether there was no connection.
    pub fn is_unreached(&self) -> bool {
        matches!(self.fault, EgressFault::Unresolved(_) | EgressFault::Unreachable(_) | EgressFault::Tls(_))
    }

    /// Whether the server is down: there was no connection, no whole answer in time, or a status of 500 or more.
    pub fn is_down(&self) -> bool {
        self.is_unreached()
            || match self.fault {
                EgressFault::Timeout | EgressFault::Broken(_) => true,
                EgressFault::Status { status, .. } | EgressFault::Unreadable { status, .. } => status >= 500,
                _ => false,
            }
    }
}

impl fmt::Display for EgressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            Some(server) => write!(f, "{server} {}", self.fault),
            None => write!(f, "a server {}", self.fault),
        }
    }
}

impl Error for EgressError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.fault.source()
    }
}

/// A content type (RFC 9110, 8.3) for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType(Option<Box<str>>);

impl ContentType {
    /// Without parameters, in lower case.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = text.map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        Self(essence.filter(|text| !text.is_empty() && text.len() <= LONGEST_CONTENT_TYPE).map(Into::into))
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("no content type"))
    }
}
