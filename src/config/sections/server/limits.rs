//! Bounds on what a client may send or hold.

use std::time::Duration;

use crate::config::reading::{Number, Section, SettingsReader, section};

const MIB: u64 = 1024 * 1024;

section! {
    /// Bounds on what a client may send or hold. What exceeds them is refused.
    Limits {
        /// Bytes of a request head.
        header_bytes: Number<8192, MIB> = "32768", "65536";
        /// Header fields of a request.
        header_count: Number<16, 1000> = "100", "200";
        /// Bytes of a request target: path and query.
        uri_bytes: Number<256, 65536> = "8192", "16384";
        /// Open connections in total.
        connections: Number<1, 1_000_000> = "10000", "50000";
        /// Open connections of one client, at most `connections`: of the address that connects or, by PROXY protocol, is named;
        /// for IPv6, of one /64; all peers on socket files are one. `server.trusted_proxies` carry the connections of many, so
        /// neither they nor the clients that they name in headers are bounded by it. Beyond it: closed at once.
        connections_per_client: Number<1, 1_000_000> = "256", "1000";
        /// Open requests in total that were passed on to upstreams, streams and tunnels included. Beyond it: 503. At
        /// most half of them may be of callers without a credential. Each of the `server.workers` has an equal part, and no
        /// less than `http2_streams`.
        open_requests: Number<1, 1_000_000> = "20000", "100000";
        /// Those of one client without a credential, and as many with one; for IPv6, of one /64. Beyond it: 429. Divided in the same way. By HTTP/1.1 nobody
        /// has more than connections, so this is for HTTP/2.
        open_requests_per_client: Number<1, 1_000_000> = "2000", "10000";
        /// Concurrent HTTP/2 streams of one connection.
        http2_streams: Number<1, 10_000> = "100", "250";
        /// Least bytes a second of a request body, see `server.body_timeout`. `0`: no least. Bodies without an
        /// announced length are streams and may pause: `upstreams.timeouts.idle` ends them.
        body_rate: Number<0, MIB> = "256", "0";
        /// Bytes of a body of GraphQL or MCP that is read to decide by its operation.
        graphql_body_bytes: Number<1024, {64 * MIB}> = "1048576", "4194304";
        /// Bytes of all bodies together that were read to decide and are not sent on yet. Beyond it: 503.
        read_ahead_bytes: Number<65536, {64 * 1024 * MIB}> = "67108864", "268435456";
        /// Bytes of those of one client (IPv6: one /64), and of one account. Beyond it: 429. One body of `graphql_body_bytes` always fits.
        read_ahead_bytes_per_client: Number<65536, {64 * 1024 * MIB}> = "8388608", "33554432";
    }
}

/// Bounds on what a client may send or hold.
#[derive(Clone, Copy, Debug)]
pub struct LimitConfig {
    /// Bytes of a request head.
    pub header_bytes: usize,
    /// Fields of a request head.
    pub header_count: usize,
    /// Bytes of a request target.
    pub uri_bytes: usize,
    /// Open connections in total.
    pub connections: usize,
    /// Open connections of one client (IPv6: one /64).
    pub connections_per_client: usize,
    /// Open requests in total that were passed on.
    pub open_requests: usize,
    /// Those of one client (IPv6: one /64).
    pub open_requests_per_client: usize,
    /// Concurrent HTTP/2 streams of one connection.
    pub http2_streams: u32,
    /// Bytes of a GraphQL body that is read to decide.
    pub graphql_body_bytes: usize,
    /// Bytes of all such bodies that are not sent on yet.
    pub read_ahead_bytes: usize,
    /// Bytes of those of one client (IPv6: one /64).
    pub read_ahead_bytes_per_client: usize,
}

/// The slowest a body may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyPace {
    /// Bytes a second; zero is no least.
    pub rate: u64,
    /// Over this much time.
    pub over: Duration,
}

impl BodyPace {
    /// What must have come in a span.
    pub fn bytes_in(self, span: Duration) -> u64 {
        self.rate.saturating_mul(span.as_secs())
    }
}

/// Checks what was written.
pub(in crate::config) fn limits(limits: &Limits, reader: &mut SettingsReader) -> LimitConfig {
    if limits.uri_bytes.0 > limits.header_bytes.0 {
        let remedy = format!("write at most {}", limits.header_bytes.0);
        reader.problem(&limits.at("uri_bytes"), "is more than header_bytes, of which it is a part", remedy);
    }
    if limits.connections_per_client.0 > limits.connections.0 {
        let remedy = format!("write at most {}", limits.connections.0);
        reader.problem(
            &limits.at("connections_per_client"),
            "is more than connections, of all clients",
            remedy,
        );
    }
    if limits.open_requests_per_client.0 > limits.open_requests.0 {
        let remedy = format!("write at most {}", limits.open_requests.0);
        let path = limits.at("open_requests_per_client");
        reader.problem(&path, "is more than open_requests, of all clients", remedy);
    }
    LimitConfig {
        header_bytes: limits.header_bytes.size(),
        header_count: limits.header_count.size(),
        uri_bytes: limits.uri_bytes.size(),
        connections: limits.connections.size(),
        connections_per_client: limits.connections_per_client.size(),
        open_requests: limits.open_requests.size(),
        open_requests_per_client: limits.open_requests_per_client.size(),
        http2_streams: limits.http2_streams.count(),
        graphql_body_bytes: limits.graphql_body_bytes.size(),
        read_ahead_bytes: limits.read_ahead_bytes.size(),
        read_ahead_bytes_per_client: limits.read_ahead_bytes_per_client.size(),
    }
}
