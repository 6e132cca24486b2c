//! Floor 5, where HTTP meets us: reads requests, calls the gate and the services, writes answers.

pub mod audience;
pub mod body;
pub mod client_body;
pub mod cookie;
pub mod cors;
pub mod forward_auth;
pub mod forwarded;
pub mod local;
pub mod pages;
pub mod proxy;
pub mod web;
