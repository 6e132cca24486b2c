//! The log of the gateway's own life.

use tracing_subscriber::EnvFilter;

use super::reload::SetLevel;
use crate::config::{Config, LogFormat};

/// Events of the gateway's life go to standard error; access events have standard output to themselves. Gives
/// what changes the level later.
pub(super) fn start(config: &Config) -> Option<SetLevel> {
    let filter = |level: &str| EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_writer(std::io::stderr);
    let first = filter(&config.log.level);
    // A subscriber that is there already, as in tests, is left alone.
    match config.log.format {
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_env_filter(first).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.try_init().ok()?;
            Some(Box::new(move |level| drop(handle.reload(filter(level)))))
        }
        LogFormat::Text => {
            let builder =
                builder.with_target(false).with_ansi(false).with_env_filter(first).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.try_init().ok()?;
            Some(Box::new(move |level| drop(handle.reload(filter(level)))))
        }
    }
}
