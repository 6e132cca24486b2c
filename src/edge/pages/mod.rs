//! The kit that pages of ours are made with: where browsers meet us, how it looks, forms, and what a refusal says.
//!
//! It knows no page and no router: those stand beside it and take from here.

pub mod form;
pub mod problem;
pub mod site;
mod theme;
