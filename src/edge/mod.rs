//! Floor 5, where HTTP meets us: reads requests, calls the gate and the services, writes answers.

pub mod answer;
pub mod arrival;
pub mod audience;
pub mod body;
pub mod client_body;
pub mod cookie;
pub mod cors;
pub mod explain;
pub mod forward_auth;
pub mod forwarded;
pub mod health;
pub mod local;
pub mod methods;
pub mod mount;
mod on_control;
pub mod page_limiter;
pub mod pages;
pub mod proxy;
pub mod public_keys;
pub mod read_ahead;
pub mod request_context;
pub mod surfaces;
pub mod page_handler;
pub mod web;
