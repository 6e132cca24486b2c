//! Where a claim is found: a JMESPath expression (<https://jmespath.org/specification.html>), compiled once and bounded.

use std::fmt;

use jmespath::ast::Ast;
use jmespath::{Context, JmespathError, Rcvar};
use serde_json::Value;

use super::cost;
use super::cost::Unbounded;
use super::document::ClaimSet;
use super::functions::FUNCTIONS;

/// Bytes of an expression.
const LONGEST: usize = 4096;
/// Characters that open something. The library's parser takes up to 8 KiB of stack for each in a debug build, and has no
/// bound of its own.
const MOST_OPENED: usize = 100;

/// An expression that can be evaluated on any claims: it neither fails to parse nor takes long.
#[derive(Clone)]
pub struct ClaimPath {
    text: String,
    expression: Ast,
}

/// What an expression finds in claims.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Nothing, or `null`.
    Absent,
    /// The expression does not fit these claims, such as `contains()` of a claim that is not there. Counts as absent, and
    /// never makes a role any stronger.
    Failed(EvaluationError),
    /// This.
    Value(Value),
}

/// Why an expression does not fit claims. Names types and positions, and no value of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluationError(String);

impl fmt::Display for EvaluationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no expression that is evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadClaimPath {
    /// More than 4 KiB.
    #[error("is longer than 4 KiB")]
    TooLong,
    /// Too much opened, or too long a chain.
    #[error("is nested too deeply")]
    TooDeep,
    /// It could take or make too much.
    #[error("could take too long with large claims")]
    TooCostly,
    /// It does not parse.
    #[error("is no JMESPath expression: it makes no sense at character {column}")]
    Syntax {
        /// Counted from 1.
        column: usize,
    },
    /// A function that there is not.
    #[error("calls `{0}`, which is no function of JMESPath")]
    UnknownFunction(String),
    /// Too few or too many arguments.
    #[error("calls `{0}` with another number of arguments than it takes")]
    Arguments(String),
    /// `&` out of place.
    #[error("has `&` where no function takes an expression, or a function without the `&` that it takes")]
    Reference,
    /// An index beyond a million.
    #[error("names a position beyond a million")]
    Position,
}

impl BadClaimPath {
    /// What to write instead of `text`.
    pub fn remedy(&self, text: &str) -> String {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_name = text.chars().all(|c| is_plain(c) || ":/.-@#~+ ".contains(c));
        match self {
            Self::Syntax { .. } if is_name && !text.is_empty() => format!(
                "put a name with other characters than letters, digits and _ into quotes of its own: '\"{text}\"'"
            ),
            Self::Syntax { .. } => "write an expression such as \"groups\", \"realm_access.roles\" or \
                                    '\"cognito:groups\"' (names with other characters than letters, digits and _ \
                                    in quotes of their own)"
                .to_owned(),
            Self::UnknownFunction(_) => "write one such as contains, starts_with, not_null, keys, map or join; \
                                         jmespath.org lists them"
                .to_owned(),
            Self::Arguments(_) | Self::Reference => "see the function at jmespath.org/specification.html".to_owned(),
            Self::TooLong | Self::TooDeep | Self::TooCostly | Self::Position => {
                "write a simpler one; many alternatives belong into `role_mapping`".to_owned()
            }
        }
    }
}

impl ClaimPath {
    /// Compiles an expression.
    ///
    /// # Errors
    ///
    /// [`BadClaimPath`] if it does not parse, or could take too long.
    pub fn parse(text: &str) -> Result<Self, BadClaimPath> {
        if text.len() > LONGEST {
            return Err(BadClaimPath::TooLong);
        }
        if opened(text) > MOST_OPENED {
            return Err(BadClaimPath::TooDeep);
        }
        let expression =
            jmespath::parse(text).map_err(|error| BadClaimPath::Syntax { column: column(&error) })?;
        cost::check(&expression).map_err(|unbounded| match unbounded {
            Unbounded::TooDeep => BadClaimPath::TooDeep,
            Unbounded::TooCostly => BadClaimPath::TooCostly,
            Unbounded::UnknownFunction(name) => BadClaimPath::UnknownFunction(name),
            Unbounded::Arguments(name) => BadClaimPath::Arguments(name),
            Unbounded::Reference => BadClaimPath::Reference,
            Unbounded::Position => BadClaimPath::Position,
        })?;
        Ok(Self { text: text.to_owned(), expression })
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name at the end, if the expression is nothing but names.
    pub(super) fn last_name(&self) -> Option<&str> {
        let mut node = &self.expression;
        loop {
            node = match node {
                Ast::Field { name, .. } => return Some(name),
                Ast::Subexpr { rhs, .. } => rhs,
                _ => return None,
            };
        }
    }

    /// Evaluates the expression.
    pub fn find(&self, claims: &ClaimSet) -> Found {
        self.search(claims.searched())
    }

    fn search(&self, value: &Rcvar) -> Found {
        let mut context = Context::new(&self.text, &FUNCTIONS);
        let found = jmespath::interpret(value, &self.expression, &mut context);
        match found.map(|value| serde_json::to_value(&*value)) {
            Ok(Ok(Value::Null)) => Found::Absent,
            Ok(Ok(value)) => Found::Value(value),
            Ok(Err(_)) => Found::Failed(EvaluationError("what it makes is no value".to_owned())),
            Err(error) => Found::Failed(evaluation_error(&error)),
        }
    }
}

impl fmt::Debug for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClaimPath").field(&self.text).finish()
    }
}

impl PartialEq for ClaimPath {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for ClaimPath {}

fn column(error: &JmespathError) -> usize {
    error.offset.saturating_add(1)
}

fn evaluation_error(error: &JmespathError) -> EvaluationError {
    let reason = error.reason.to_string();
    let reason = reason.strip_prefix("Runtime error: ").unwrap_or(&reason);
    EvaluationError(format!("{} (at character {})", reason.trim_end_matches('.'), column(error)))
}

/// How many characters outside of quotes open something that the parser descends into.
fn opened(text: &str) -> usize {
    let mut count = 0;
    let mut quote = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(_), '\\') => drop(characters.next()),
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"' | '`') => quote = Some(c),
            (None, '&') if characters.peek() == Some(&'&') => drop(characters.next()),
            (None, '(' | '[' | '{' | '*' | '!' | '&') => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
