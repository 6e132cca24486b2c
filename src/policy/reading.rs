//! The ways in which a request can be read. Each of them is decided, and the strictest answer counts.

use std::fmt;
use std::iter;

use http::Method;

use super::Facts;
use super::rule::{MethodMatch, Rule};
use crate::model::mcp::Message;
use crate::model::target::{RequestKind, RequestTarget};

/// One way to read a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading<'a> {
    pub(super) method: &'a Method,
    /// Whether it makes another protocol of the connection.
    pub(super) switches: bool,
    /// Whether the path is read as a careless server would.
    pub(super) loose: bool,
    /// Whether what its query could change is changed, whatever the method says.
    pub(super) changes: bool,
    /// Which of the messages in its body is looked at.
    pub(super) message: Option<&'a Message>,
}

/// Every reading of a request under these rules. A plain request with a path that everybody reads alike has one.
///
/// Where the method is not known, it is each that the rules tell apart: one for each class that they do not name
/// (an unknown method is a write, OPTIONS a read), GET, and those they name; and each as a switch, too.
pub(super) fn readings<'a>(
    rules: &'a [Rule],
    facts: &Facts<'a>,
) -> impl Iterator<Item = Reading<'a>> + Clone + use<'a> {
    let (target, messages) = (facts.target, facts.mcp);
    let switches: &[bool] = match target.kind() {
        _ if !target.says_method() => &[false, true],
        RequestKind::Plain | RequestKind::Grpc => &[false],
        RequestKind::WebSocket | RequestKind::Upgrade => &[true],
        RequestKind::PerhapsSwitch => &[false, true],
    };
    let both = target.loose_path().is_some() || rules.iter().any(|rule| rule.when.names_loosely());
    let paths: &[bool] = if both { &[false, true] } else { &[false] };
    let changes: &[bool] = if target.may_change_by_query() { &[false, true] } else { &[false] };
    let named = rules.iter().flat_map(|rule| &rule.when.methods).filter_map(MethodMatch::method);
    let unsaid = (!target.says_method()).then(|| [&Method::GET, &Method::OPTIONS].into_iter().chain(named));
    iter::once(target.method()).chain(unsaid.into_iter().flatten()).flat_map(move |method| {
        switches.iter().flat_map(move |switches| {
            paths.iter().flat_map(move |loose| {
                changes.iter().flat_map(move |changes| {
                    // A request without a message is one reading as well.
                    (0..messages.len().max(1)).map(move |at| Reading {
                        method,
                        switches: *switches,
                        loose: *loose,
                        changes: *changes,
                        message: messages.get(at),
                    })
                })
            })
        })
    })
}

impl<'a> Reading<'a> {
    /// The plain one.
    pub(super) fn of(target: &'a RequestTarget) -> Self {
        Self {
            method: target.method(),
            switches: target.kind().may_switch(),
            loose: false,
            changes: target.may_change_by_query(),
            message: None,
        }
    }

    /// The same without a switch.
    pub(super) fn plain(self) -> Self {
        Self { switches: false, ..self }
    }

    /// GET, HEAD and OPTIONS that stay what they are; everything else, known or not, writes.
    pub(super) fn reads(self) -> bool {
        !self.switches
            && !self.changes
            && matches!(*self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// What is special about it, in words.
    pub(super) fn told(self, target: &'a RequestTarget) -> Told<'a> {
        Told { reading: self, target }
    }
}

/// What is special about a reading.
pub(super) struct Told<'a> {
    reading: Reading<'a>,
    target: &'a RequestTarget,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reading { method, switches, loose, changes, message } = self.reading;
        let mut words = 0;
        let mut say = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            words += 1;
            if words > 1 {
                f.write_str(", ")?;
            }
            f.write_fmt(text)
        };
        if !self.target.says_method() {
            say(f, format_args!("as {method}"))?;
        }
        if switches {
            say(f, format_args!("as a switch of protocol"))?;
        }
        if changes {
            say(f, format_args!("as the change that its query could make"))?;
        }
        if let Some(message) = message {
            say(f, format_args!("{message}"))?;
        }
        if loose {
            say(f, format_args!("{}", self.target.loose_path().unwrap_or(self.target.path())))?;
        }
        Ok(())
    }
}
