//! How forward-auth responses are written and how large they may be, by the kind of proxy.

use http::{HeaderMap, HeaderName, StatusCode};

use super::AuthCheck;
use super::original::BadSubrequest;
use crate::config::Flavour;
use crate::edge::answer::Denied;
use crate::edge::forwarded::Peer;
use crate::edge::pages::problem::Problem;
use crate::gate::refusal::Refusal;
use crate::model::target::TargetError;
use crate::model::verdict::Verdict;

/// nginx holds an answer's head in 4 KiB, unless it is told otherwise; some others do so too.
pub(super) const LARGEST_ANSWER: usize = 3800;

/// What a head has beside our fields: the status line, a date and a length.
const BESIDE: usize = 296;

/// How many bytes of an answer's head nginx holds, where its configuration says so. A proxy that says it takes from the response
/// what the application gets for `Cookie`.
const X_DOORWARD_ANSWER_BYTES: HeaderName = HeaderName::from_static("x-doorward-answer-bytes");

/// How an answer is worded for the proxy that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The proxy passes a refusal on as it is: browsers are redirected.
    PassedOn,
    /// The same, but for Envoy a 5xx is a question that failed: of that it makes a refusal of its own, or, told to, an
    /// allow. It removes from a request what the answer names.
    Envoy,
    /// The proxy knows 2xx, 401 and 403 only: 401 carries the `Location` for it to use.
    StatusOnly,
    /// 401, without a way to sign in: the proxy's own configuration knows it.
    Bare,
}

impl Style {
    /// The status that the proxy is told a refusal by. nginx makes a bare 500 of what it does not know, which is right
    /// for our own failures alone.
    pub(super) fn refusal(self, status: StatusCode) -> StatusCode {
        let known = match self {
            Self::PassedOn => true,
            Self::Envoy => !status.is_server_error(),
            Self::StatusOnly | Self::Bare => status == StatusCode::UNAUTHORIZED || status.is_server_error(),
        };
        if known && !status.is_success() { status } else { StatusCode::FORBIDDEN }
    }

    /// How many bytes of an answer's head nginx says that it holds.
    pub(super) fn answer_bytes(self, question: &HeaderMap) -> Option<usize> {
        let mut said = question.get_all(X_DOORWARD_ANSWER_BYTES).iter();
        match (self, said.next(), said.next()) {
            (Self::StatusOnly | Self::Bare, Some(bytes), None) => bytes.to_str().ok()?.parse().ok(),
            _ => None,
        }
    }

    /// The style of a flavour.
    pub fn of(flavour: Flavour) -> Self {
        match flavour {
            Flavour::Nginx => Self::StatusOnly,
            Flavour::Envoy => Self::Envoy,
            Flavour::Traefik | Flavour::Caddy | Flavour::Haproxy => Self::PassedOn,
        }
    }
}

impl AuthCheck {
    /// Bytes of an answer's fields that the proxy holds.
    pub(super) fn room(&self) -> usize {
        match (self.style, self.answer_bytes) {
            (Style::PassedOn | Style::Envoy, _) => usize::MAX,
            (Style::StatusOnly | Style::Bare, Some(said)) => said.saturating_sub(BESIDE),
            (Style::StatusOnly | Style::Bare, None) => LARGEST_ANSWER,
        }
    }

    /// Whether the proxy takes what the application gets for `Cookie` from the answer. nginx says so; in four
    /// kilobytes there would be no room for it.
    pub(super) fn takes_cookies(&self) -> bool {
        matches!(self.style, Style::PassedOn | Style::Envoy) || self.answer_bytes.is_some()
    }
}

/// The bytes of an answer's fields.
pub(super) fn size_of(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// What the proxy that asked is told where nothing was asked that could be decided.
pub(super) fn told_of(unclear: &BadSubrequest, style: Style) -> Problem {
    let mut problem = Problem::from(unclear);
    problem.status = style.refusal(problem.status);
    problem
}

/// A question that is not clear, on its way to an answer.
pub(super) fn unclear(unclear: &BadSubrequest, problem: Problem, peer: Peer) -> Denied {
    tracing::warn!(client.ip = %peer.address, error = %unclear, "a proxy's question is not clear");
    Denied::open(problem, Verdict::Deny)
}

impl From<&BadSubrequest> for Problem {
    fn from(unclear: &BadSubrequest) -> Self {
        match unclear {
            // That is the client's doing, and the same as where it asks us directly.
            BadSubrequest::TooLong => Self::uri_too_long(),
            BadSubrequest::Target(TargetError::BadMethod) => Self::method_not_proxied(),
            BadSubrequest::Target(error) if *error != TargetError::BadHost => {
                Self::from(&Refusal::BadTarget(*error))
            }
            _ => Self::unclear_question(format!(
                "The proxy in front does not say clearly what is asked for: {unclear}. `doorward snippet` prints a \
                 configuration that does."
            )),
        }
    }
}
