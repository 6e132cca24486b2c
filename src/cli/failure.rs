//! Why a command failed, and the exit code for it.

use std::error::Error;

use crate::app::StartError;
use crate::config::ConfigError;
use crate::service::ServiceError;
use crate::store::StoreError;

/// The outcome of a command that did not work.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The arguments make no sense.
    #[error("{0}")]
    Usage(String),
    /// The settings have problems.
    #[error("the settings have {} problem{}", .0.0.len(), if .0.0.len() == 1 { "" } else { "s" })]
    Config(ConfigError),
    /// The settings lead to a database that is not there.
    #[error("{0}")]
    NoDatabase(String),
    /// What was looked at would keep the gateway from starting.
    #[error("{}", lines(.0))]
    Start(Vec<StartError>),
    /// The command was understood and was refused or failed.
    #[error("{0}")]
    Refused(String),
    /// Something underneath failed.
    #[error(transparent)]
    Failed(Box<dyn Error + Send + Sync>),
}

impl Failure {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config(_) | Self::NoDatabase(_) => 2,
            Self::Start(_) | Self::Refused(_) | Self::Failed(_) => 1,
        }
    }

    /// The message with its causes.
    pub(super) fn text(&self) -> String {
        with_causes(self)
    }
}

/// An error and its causes in one line.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// What a start would say, of all that is wrong.
fn lines(problems: &[StartError]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| with_causes(problem)).collect();
    format!("a start would fail:\n{}", lines.join("\n"))
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Unavailable(_) | ServiceError::Busy { .. } => Self::Failed(Box::new(error)),
            other => Self::Refused(other.to_string()),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::NoDatabase { .. } => Self::NoDatabase(error.to_string()),
            other => Self::Failed(Box::new(other)),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Failed(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_its_causes_once() {
        let cause = std::io::Error::other("no route to host");
        let failure = Failure::from(ServiceError::Unavailable(Box::new(cause)));
        assert_eq!(failure.text(), "temporarily unavailable: no route to host");
        assert_eq!(failure.exit_code(), 1);
        assert_eq!(Failure::from(ServiceError::LastAdmin).exit_code(), 1);
        assert_eq!(Failure::Usage(String::new()).exit_code(), 2);
    }
}
