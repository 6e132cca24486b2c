//! Floor 5, where HTTP meets us: reads requests, calls the gate and the services, writes answers.

pub mod audience;
pub mod cookie;
pub mod page;
pub mod problem;
pub mod web;
