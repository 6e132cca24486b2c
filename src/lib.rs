//! Doorward: an auth gateway in front of dashboards and APIs that have no login of their own.
//!
//! The modules in reading order, from the ground up. A module imports only from floors below its own
//! (`tests/architecture.rs` checks it).

pub mod model; // floor 0: vocabulary, pure data
pub mod policy; // floor 1: who may do what, pure and sync
pub mod config; // floor 2: settings, read once, typed, complete
