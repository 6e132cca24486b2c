//! Problems in the settings: setting, location, cause and remedy.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

/// One thing that keeps the gateway from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// TOML path, such as `server.trusted_proxies[0]`; empty where the whole file is meant.
    pub path: String,
    /// Where it was written.
    pub location: SettingLocation,
    /// What is wrong. Never holds the value of a secret.
    pub what: String,
    /// What to write instead.
    pub remedy: String,
}

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SettingLocation {
    /// A line of a file, counted from 1.
    Line(PathBuf, usize),
    /// A file as a whole.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A command-line flag.
    Flag(String),
    /// Nowhere: it is the absence that matters.
    Nowhere,
}

/// Where each value was written, by path.
pub(in crate::config) type SettingLocations = HashMap<String, SettingLocation>;

impl SettingLocation {
    /// The line, where there is one.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Line(_, line) => Some(*line),
            _ => None,
        }
    }
}

impl fmt::Display for SettingLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(file, line) => write!(f, "{}:{line}", file.display()),
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Environment(name) | Self::Flag(name) => f.write_str(name),
            Self::Nowhere => f.write_str("settings"),
        }
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, location, what, remedy } = self;
        let separator = if path.is_empty() { "" } else { ": " };
        write!(f, "{location}  {path}{separator}{what}\n  → {remedy}")
    }
}

/// Every problem found, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError(pub Vec<ConfigProblem>);

impl ConfigError {
    pub(in crate::config) fn new(mut problems: Vec<ConfigProblem>) -> Self {
        problems.sort_by(|a, b| a.location.cmp(&b.location));
        problems.dedup();
        Self(problems)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_place_path_cause_and_remedy() {
        let problem = ConfigProblem {
            path: "server.lisen".into(),
            location: SettingLocation::Line("doorward.toml".into(), 12),
            what: "unknown setting".into(),
            remedy: "did you mean `listen`?".into(),
        };
        let text = "doorward.toml:12  server.lisen: unknown setting\n  → did you mean `listen`?";
        assert_eq!(problem.to_string(), text);
        let error = ConfigError::new(vec![problem.clone(), problem]);
        assert_eq!(error.to_string(), text, "the same problem is said once");
    }
}
