//! Why an upstream gave no response, which side caused it, and what the client is told.

use std::error::Error;

use http::Response;

use super::{Proxy, hop_by_hop};
use crate::edge::answer::{Answer, Denied};
use crate::edge::arrival::Arrival;
use crate::edge::body::ResponseBody;
use crate::edge::pages::problem::Problem;
use crate::edge::request_context::RequestContext;
use crate::gate::DecisionTrace;
use crate::gate::refusal::Refusal;
use crate::model::request_id::RequestId;

/// Why an upstream's answer cannot be passed on; says which side failed.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// No connection to the upstream.
    #[error("cannot connect to the upstream")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The upstream took the request and did not answer in time.
    #[error("the upstream did not answer in time")]
    Timeout,
    /// The upstream broke off, or answered with something that is not HTTP as it should be.
    #[error("the upstream broke the protocol")]
    Protocol(#[source] Box<dyn Error + Send + Sync>),
    /// The client stopped sending its body.
    #[error("the client stopped sending")]
    ClientStalled,
    /// The client's body broke off, or cannot be read.
    #[error("the client's body is not whole")]
    ClientBroke,
}

/// Why an upstream gave no response.
#[derive(Debug, thiserror::Error)]
pub enum ProxyFailure {
    /// The gate refused the request.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The gate permitted the request, and refused it before the upstream answered.
    #[error(transparent)]
    Ended(Refusal),
    /// The gate permitted a protocol switch, but the upstream answered with a page, which the gate refuses.
    #[error(transparent)]
    Withheld(Refusal),
    /// The gate said yes and the upstream failed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

impl Proxy {
    /// Forwards a request to its application, if the gate permits.
    ///
    /// # Errors
    ///
    /// [`Denied`] if there is no answer from there to hand on.
    pub async fn answer(
        &self,
        mut arrival: Arrival,
        seen: &mut RequestContext,
        trail: &mut DecisionTrace,
    ) -> Result<Answer<Response<ResponseBody>>, Denied> {
        seen.proxied = true;
        // What `Connection` names is not sent on, so nothing may be decided on it either. In a question it counts: there
        // it is the asking proxy that sends the request on, and it may think otherwise.
        hop_by_hop::drop_named(arrival.request.headers_mut(), self.gate.managed());
        match self.forward(arrival, seen.client, seen.request_id, trail).await {
            Ok(response) => Ok(Answer { response, verdict: trail.passed(), code: None }),
            Err(failure) => Err(denied(&failure, trail, seen.request_id)),
        }
    }
}

/// Logs what an operator must know, and words the rest for the client.
fn denied(failure: &ProxyFailure, trail: &DecisionTrace, request_id: RequestId) -> Denied {
    match failure {
        ProxyFailure::Refused(refusal) | ProxyFailure::Ended(refusal) | ProxyFailure::Withheld(refusal) => {
            let request_id = request_id.as_str();
            match failure {
                ProxyFailure::Withheld(_) => {
                    tracing::debug!(request.id = request_id, "a page was withheld that answers a handshake");
                }
                ProxyFailure::Ended(_) => {
                    tracing::info!(
                        request.id = request_id,
                        "a request was ended before its answer, and may have reached its application"
                    );
                }
                ProxyFailure::Refused(_) | ProxyFailure::Forward(_) => {}
            }
            if let Refusal::Unavailable(cause) = refusal {
                tracing::error!(request.id = request_id, error = %cause, "a request could not be decided");
            }
            let close = matches!(failure, ProxyFailure::Ended(_))
                || matches!(
                    refusal,
                    Refusal::TooLarge | Refusal::BodyLost | Refusal::BodyLate | Refusal::BadTarget(_)
                );
            Denied { problem: Box::new(Problem::from(refusal)), verdict: refusal.verdict(), close }
        }
        ProxyFailure::Forward(error) => {
            let cause = Error::source(error).map(ToString::to_string);
            let upstream = trail.route.as_ref().and_then(|route| route.upstream_name.as_deref());
            let remedy = error.remedy();
            tracing::warn!(request.id = request_id.as_str(), upstream, %error, cause, "{remedy}");
            let (problem, close) = match error {
                ForwardError::Connect(_) => (Problem::upstream_connect(), false),
                ForwardError::Timeout => (Problem::upstream_timeout(), false),
                ForwardError::Protocol(_) => (Problem::upstream_protocol(), false),
                ForwardError::ClientStalled => (Problem::request_timeout(), true),
                ForwardError::ClientBroke => (Problem::body_broken(), true),
            };
            Denied { problem: Box::new(problem), verdict: trail.passed(), close }
        }
    }
}

impl ForwardError {
    /// What an operator can do about it.
    fn remedy(&self) -> &'static str {
        match self {
            Self::Connect(_) => "an upstream failed: start it, or correct its url",
            Self::Timeout => {
                "an upstream failed: it is slow, or its timeouts.response, or timeouts.idle for streams, is short"
            }
            Self::Protocol(_) => "an upstream failed: does it speak what its url says?",
            Self::ClientStalled => "a client stopped sending",
            Self::ClientBroke => "a client sent half a body, or one that cannot be read",
        }
    }
}
