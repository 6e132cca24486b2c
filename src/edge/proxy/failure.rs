//! Why a request has no answer from its upstream, and whose doing that is.

use std::error::Error;

use crate::gate::refusal::Refusal;

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

/// Why there is no answer from an upstream.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The gate said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The gate said yes, and no before the upstream answered.
    #[error(transparent)]
    Ended(Refusal),
    /// The gate said yes to a switch of protocol; the upstream answered with a page, and to that it says no.
    #[error(transparent)]
    Withheld(Refusal),
    /// The gate said yes and the upstream failed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}
