//! Documents generated from the descriptions of the sections: the reference page and the JSON Schema.

pub(super) mod reference;
pub(super) mod schema;
