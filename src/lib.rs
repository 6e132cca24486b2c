//! Doorward: an auth gateway in front of dashboards and APIs that have no login of their own.
//!
//! The modules in reading order, from the ground up. A module imports only from floors below its own
//! (`tests/architecture.rs` checks it).

pub mod model; // floor 0: vocabulary, pure data
pub mod policy; // floor 1: who may do what, pure and sync
pub mod store; // floor 1: SQLite and PostgreSQL, the only SQL
pub mod egress; // floor 1: calls that the gateway itself makes, but for health checks of upstreams and of itself
pub mod config; // floor 2: settings, read once, typed, complete
pub mod oidc; // floor 3: OpenID Connect as a relying party
pub mod service; // floor 3: use cases, which every edge and the command line share
pub mod gate; // floor 4: the one line from target to permit
pub mod federation; // floor 4: sign-in through identity providers
pub mod edge; // floor 5: where HTTP meets us
pub mod server; // floor 6: listeners, workers, limits, drain
pub mod app; // floor 7: the composition root
pub mod cli; // floor 8: the command line
