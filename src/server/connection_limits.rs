//! Size and time limits of one connection.

use std::time::Duration;

use super::head::HeadLimits;
use super::wire::WireLimits;
use crate::config::ServerConfig;

/// Limits of a connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    pub(super) header_timeout: Duration,
    pub(super) keep_alive: Duration,
    pub(super) write_timeout: Duration,
    pub(super) header_bytes: usize,
    pub(super) header_count: usize,
    pub(super) http2_streams: u32,
}

impl ConnectionLimits {
    /// As configured.
    pub fn new(config: &ServerConfig) -> Self {
        Self {
            header_timeout: config.header_timeout,
            keep_alive: config.keep_alive,
            write_timeout: config.write_timeout,
            header_bytes: config.limits.header_bytes,
            header_count: config.limits.header_count,
            http2_streams: config.limits.http2_streams,
        }
    }

    pub(super) fn wire(&self) -> WireLimits {
        let bounds = HeadLimits { bytes: self.header_bytes, fields: self.header_count };
        WireLimits { head: self.header_timeout, idle: self.keep_alive, bounds }
    }

    /// How long a client may take until TLS or HTTP has begun.
    pub fn header_timeout(&self) -> Duration {
        self.header_timeout
    }
}
