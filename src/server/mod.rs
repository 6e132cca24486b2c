//! Floor 6, process-level HTTP: listeners, workers, limits, drain. Decides nothing.

pub mod access_log;
mod request_record;
pub mod acme;
pub mod admission;
pub mod connection;
mod connection_limits;
pub mod dispatch;
mod head_problem;
pub mod generation;
pub mod metrics;
pub mod refused_log;
mod leaf;
pub mod listener;
pub mod proxy_protocol;
pub mod connection_activity;
pub mod stream;
pub mod tls;
pub mod wire;
pub mod worker;

mod message;

/// What the gateway is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Serving.
    Running,
    /// No new connections; open requests are finished.
    Draining,
}

/// What is served on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// Everything.
    Public,
    /// Health, for operators.
    Operations,
}
