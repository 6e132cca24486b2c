//! Values that must never reach a log, an error message or a page.

use std::fmt;

use zeroize::Zeroizing;

/// A secret string.
///
/// `Debug` prints `Secret(***)`; there is no `Display` and no `Serialize`.
/// Every read goes through [`Secret::expose`], so every use can be grepped.
/// The memory is wiped on drop.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the plain value in.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The plain value. Never pass it to `tracing`, `format!` or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}
