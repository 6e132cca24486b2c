//! Floor 6, process-level HTTP: listeners, workers, limits, drain. Decides nothing.

pub mod access_log;
pub mod acme;
pub mod admission;
pub mod certificates;
pub mod connection;
pub mod connection_activity;
mod connection_limits;
pub mod dispatch;
pub mod generation;
pub mod head;
mod head_problem;
mod leaf;
pub mod listener;
mod message;
pub mod metrics;
pub mod proxy_protocol;
pub mod refused_log;
mod request_record;
pub mod stream;
pub mod tls;
pub mod wire;
pub mod worker;

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
