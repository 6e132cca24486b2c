//! What is made of the sections' descriptions: the reference page and the JSON Schema.

pub(super) mod reference;
pub(super) mod schema;
