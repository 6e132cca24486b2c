//! A failure of the driver or the database, in words that can be shown. Those of a server are its own: whoever answers at
//! its address can say anything.

use crate::model::visible::is_unseen;
use std::error::Error;
use std::fmt;

/// Characters of what is shown.
const LONGEST: usize = 300;

/// A failure as it can be shown: one line of bounded length, without the password.
pub struct DatabaseFailure {
    cause: sqlx::Error,
    shown: String,
}

impl DatabaseFailure {
    /// The same, without a secret in what is shown.
    pub(super) fn without(self, secret: &str) -> Self {
        if secret.is_empty() {
            return self;
        }
        // What is shown may have been cut in the middle of it.
        Self { shown: one_line(&self.cause.to_string().replace(secret, "[password]")), ..self }
    }

    /// The driver's error, to see what kind it is of.
    pub(super) fn cause(&self) -> &sqlx::Error {
        &self.cause
    }
}

impl From<sqlx::Error> for DatabaseFailure {
    fn from(cause: sqlx::Error) -> Self {
        Self { shown: one_line(&cause.to_string()), cause }
    }
}

impl fmt::Display for DatabaseFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for DatabaseFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.shown, f)
    }
}

/// What it is has been said by then, causes included.
impl Error for DatabaseFailure {}

fn one_line(text: &str) -> String {
    let mut chars = text.chars();
    let mut line: String = chars.by_ref().take(LONGEST).map(|c| if is_unseen(c) { ' ' } else { c }).collect();
    if chars.next().is_some() {
        line.push('\u{2026}');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_one_short_line_without_the_password() {
        let fault = |said: String| DatabaseFailure::from(sqlx::Error::Protocol(said));
        let before = fault(String::new()).to_string().chars().count();
        // Cut in the middle of the password.
        let long = "x".repeat(LONGEST - before - 3) + "hunter2" + &"y".repeat(5000);
        for said in [long, "no hunter2\u{1b}[2J\r\nERROR all is well\u{202e}".to_owned()] {
            let shown = fault(said.clone()).without("hunter2");
            for shown in [shown.to_string(), format!("{shown:?}")] {
                assert!(shown.chars().count() <= LONGEST + 3, "{shown}");
                assert!(
                    !shown.contains(['\u{1b}', '\r', '\n', '\u{202e}']) && !shown.contains("hun"),
                    "{shown}"
                );
            }
            assert_eq!(shown.to_string().ends_with('\u{2026}'), said.len() > LONGEST, "{shown}");
        }
        let usual = "password authentication failed for user \"zo\u{eb}\"";
        let shown = fault(usual.to_owned()).without("");
        assert!(shown.to_string().ends_with(usual), "{shown}");
    }
}
