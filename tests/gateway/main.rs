//! The gateway as a black box: a whole gateway, real sockets, and an upstream that records every byte.

#![expect(unreachable_pub, reason = "a test binary has no outside")]
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![expect(
    clippy::format_collect,
    clippy::format_push_string,
    reason = "what a test sends is written as it reads"
)]

mod support;

mod account;
mod audit;
mod attribution;
mod behind_proxy;
mod compat;
mod credentials;
mod explain;
mod failure;
mod forward_auth;
mod forms;
mod framing;
mod graphql;
mod header_templates;
mod identity_headers;
mod open_streams;
mod reload;
mod minted;
mod servers;
mod shadow;
mod listeners;
mod proxy_protocol;
mod streaming;
mod sub_path;
mod target;
mod tls;
mod tokens;
