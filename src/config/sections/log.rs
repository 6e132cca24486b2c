//! Logs.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::reading::{InvalidValue, SettingsReader, choice, section, text};
use crate::config::sections::general::{CheckSection, General};

section! {
    /// Logs, written to standard output.
    Log {
        /// For people, or one JSON object a line. `auto`: `text` on a terminal, otherwise `json`.
        format: LogStyle = r#""auto""#, r#""json""#;
        /// `off`, `error`, `warn`, `info`, `debug`, `trace`, or a list such as `info,doorward=debug`.
        level: Level = r#""info""#, r#""debug""#;
        /// Whether each request leaves an access event.
        access: bool = "true", "false";
    }
}

/// Logs.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
    /// A `tracing` filter, such as `info` or `doorward=debug`.
    pub level: String,
    /// Whether each request leaves an access event.
    pub access: bool,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl CheckSection for Log {
    type Typed = LogConfig;

    fn check(self, _: &General, _: &mut SettingsReader) -> LogConfig {
        let by_terminal = || if std::io::stdout().is_terminal() { LogFormat::Text } else { LogFormat::Json };
        LogConfig {
            format: self.format.0.unwrap_or_else(by_terminal),
            level: self.level.0,
            access: self.access,
        }
    }
}

/// How logs look, or that the terminal decides.
#[derive(Clone, Debug)]
pub(in crate::config) struct LogStyle(pub(in crate::config) Option<LogFormat>);

/// A filter for logs.
#[derive(Clone, Debug)]
pub(in crate::config) struct Level(pub(in crate::config) String);

choice! {
    LogStyle {
        "auto" => Self(None),
        "text" => Self(Some(LogFormat::Text)),
        "json" => Self(Some(LogFormat::Json)),
    }
}

text! {
    Level, "a log filter such as \"info\"", level;
}

fn level(text: &str) -> Result<Level, InvalidValue> {
    let word = !text.contains(['=', ',', '[']);
    let known = ["off", "error", "warn", "info", "debug", "trace"].contains(&text);
    if text.is_empty() || (word && !known) || EnvFilter::builder().parse(text).is_err() {
        return Err("is not a log filter: write off, error, warn, info, debug, trace, or a list such as \"info,doorward=debug\"".into());
    }
    Ok(Level(text.to_owned()))
}
