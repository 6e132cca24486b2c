//! Why the text of a value is refused, with what to write instead.

/// Why a text is refused.
pub(in crate::config) struct InvalidValue {
    pub(super) what: String,
    pub(super) remedy: Option<String>,
}

impl InvalidValue {
    pub(in crate::config) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: Some(remedy.into()) }
    }

    /// Of a sentence that says the remedy after its first colon.
    pub(in crate::config) fn told(sentence: &str) -> Self {
        match sentence.split_once(": ") {
            Some((what, remedy)) => Self::new(what, remedy),
            None => sentence.into(),
        }
    }
}

impl From<String> for InvalidValue {
    /// A sentence; what follows its last colon, if it says what to write, is the remedy.
    fn from(sentence: String) -> Self {
        match sentence.rsplit_once(": write ") {
            Some((what, remedy)) => Self::new(what, format!("write {remedy}")),
            None => Self { what: sentence, remedy: None },
        }
    }
}

impl From<&str> for InvalidValue {
    fn from(sentence: &str) -> Self {
        sentence.to_owned().into()
    }
}
