//! How settings are read: files, variables and flags in layers, sections by their descriptions, problems with their
//! places. Nothing here knows a setting.

pub(super) mod layers;
pub(super) mod pem;
pub(super) mod problem;
pub(super) mod reader;
pub(super) mod section;
pub(super) mod values;
pub(super) mod weakness;
