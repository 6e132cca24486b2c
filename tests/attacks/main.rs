//! Attacks on a whole gateway, one file for each class of them.
//!
//! What must hold after every one of them is `support::oracle`: nothing reaches the upstream that was not
//! allowed, once, as decided, naming the caller as we name it, and the next honest request is served. What must
//! hold when a test ends, of every gateway there is, is `support::ledger`. A
//! line of a test's documentation that begins with a case's name, such as `F07:`, says that it is tested
//! there; `tests/architecture.rs` holds the list of them.

#![expect(unreachable_pub, reason = "a test binary has no outside")]
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![expect(
    clippy::format_collect,
    clippy::format_push_string,
    reason = "what a test sends is written as it reads"
)]

mod forms;
#[expect(dead_code, reason = "each suite uses its part of what they share")]
#[path = "../gateway/support/mod.rs"]
mod support;

mod app_sessions;
mod configuration;
mod cookies;
mod csrf;
mod ext_authz;
mod forward_auth;
mod forwarded;
mod framing;
mod identity;
mod keys;
mod ledger;
mod login;
mod paths;
mod providers;
mod readings;
mod redirects;
mod resilience;
mod storage;
mod streaming;
mod telemetry;
mod upgrades;
