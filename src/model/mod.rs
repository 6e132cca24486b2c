//! Floor 0, vocabulary: pure data without I/O, shared by every floor above.

pub mod api_key;
pub mod audit;
pub mod color;
pub mod graphql;
pub mod header_names;
pub mod jwt;
pub mod mcp;
pub mod metrics;
pub mod network;
pub mod opaque_string;
pub mod origin;
pub mod principal;
pub mod query;
pub mod refused;
pub mod request_id;
pub mod role;
pub mod secret;
pub mod session;
pub mod session_cookie;
pub mod target;
pub mod template;
pub mod time;
pub mod token;
pub mod user;
pub mod verdict;
pub(crate) mod words;
