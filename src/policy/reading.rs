//! One interpretation of a request.

use std::fmt;

use http::Method;

use crate::model::mcp::Message;
use crate::model::target::RequestTarget;

/// One way to read a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestReading<'a> {
    pub(super) method: &'a Method,
    /// Whether it makes another protocol of the connection.
    pub(super) switches: bool,
    /// Whether the path is read as a careless server would.
    pub(super) loose: bool,
    /// Whether this reading treats the request as a write because its query could make the server change something.
    pub(super) changes: bool,
    /// Which of the messages in its body is looked at.
    pub(super) message: Option<&'a Message>,
}

impl<'a> RequestReading<'a> {
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
    pub(super) fn told(self, target: &'a RequestTarget) -> ReadingDescription<'a> {
        ReadingDescription { reading: self, target }
    }
}

/// What is special about a reading.
pub(super) struct ReadingDescription<'a> {
    reading: RequestReading<'a>,
    target: &'a RequestTarget,
}

impl fmt::Display for ReadingDescription<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RequestReading { method, switches, loose, changes, message } = self.reading;
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
