//! How strictly the result of the rules is enforced.

/// How strictly refusals are kept. Ordered: later is stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Enforce {
    /// Everything passes, and nothing is reported.
    Off,
    /// Everything passes; what would have been refused is written down.
    Log,
    /// What is refused is refused.
    On,
}

impl Enforce {
    /// The word in settings and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Log => "log",
            Self::On => "on",
        }
    }
}
