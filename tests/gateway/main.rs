//! The gateway as a black box: a whole gateway, real sockets, and an upstream that records every byte.

#![expect(unreachable_pub, reason = "a test binary has no outside")]
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![expect(
    clippy::format_collect,
    clippy::format_push_string,
    reason = "what a test sends is written as it reads"
)]

#[expect(dead_code, reason = "each suite uses its part of what they share")]
mod support;

mod account;
mod answers;
mod app_sessions;
mod audit;
mod attribution;
mod behind_proxy;
mod client_certificates;
mod compat;
mod credentials;
mod explain;
mod failure;
mod foreign;
mod forward_auth;
mod graphql;
mod graphql_unruled;
mod grpc;
mod hanging_store;
mod header_templates;
mod hostile_hour;
mod mcp;
mod metrics;
mod open_streams;
mod read_ahead;
mod reload;
mod route_settings;
mod minted;
mod pages;
mod pages_at_hosts;
mod self_service;
mod servers;
mod shadow;
mod listeners;
mod providers;
mod proxy_protocol;
mod query;
mod streaming;
mod sub_path;
mod tls;
mod tokens;
mod unchanged;
mod unsent;
