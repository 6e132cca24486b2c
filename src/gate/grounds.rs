//! On what grounds a request passes.

use crate::policy::Enforce;

/// On what grounds a request passes, for those who make what the application gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grounds {
    /// By the rules; otherwise in spite of them, where they only log or are off.
    pub allowed: bool,
    /// Although what was presented is somebody else's, because anyone may pass.
    pub despite_foreign: bool,
    /// How strictly a refusal is kept in the strictest reading of the request.
    pub enforce: Enforce,
}

/// By the rules, and those are kept: on these grounds the least goes on.
impl Default for Grounds {
    fn default() -> Self {
        Self { allowed: true, despite_foreign: false, enforce: Enforce::On }
    }
}
