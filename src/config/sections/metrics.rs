//! Metrics for Prometheus.

use std::net::SocketAddr;

use crate::config::reading::{Section, SettingsReader, section};
use crate::config::sections::general::{CheckSection, General};

section! {
    /// Metrics for Prometheus, on a listener of their own.
    Metrics {
        /// Where `GET /metrics` answers, and nothing else does. Everyone who can connect can read them.
        listen: Option<SocketAddr>, r#""127.0.0.1:9464""#;
        /// Allows an address in `listen` that other machines can reach.
        allow_remote: bool = "false", "true";
    }
}

/// Metrics.
#[derive(Clone, Copy, Debug)]
pub struct MetricsConfig {
    /// Where `/metrics` answers, if anywhere.
    pub listen: Option<SocketAddr>,
}

impl CheckSection for Metrics {
    type Typed = MetricsConfig;

    fn check(self, _: &General, reader: &mut SettingsReader) -> MetricsConfig {
        if self.listen.is_some_and(|address| !address.ip().is_loopback()) && !self.allow_remote {
            reader.problem(
                &self.at("listen"),
                "can be reached from other machines, and whoever can connect reads the metrics",
                "write a loopback address such as \"127.0.0.1:9464\", or metrics.allow_remote = true",
            );
        }
        MetricsConfig { listen: self.listen }
    }
}
