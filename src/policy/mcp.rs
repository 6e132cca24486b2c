//! Conditions of a rule on a message of the Model Context Protocol.

use std::fmt;

use super::fit::{Doubt, Fit, Mismatch};
use crate::model::mcp::{CALL, Message};
use crate::model::query::is_alike;

/// A condition on one message; a batch is decided message by message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpMatch {
    /// Its method is one of these.
    pub methods: Vec<McpMethod>,
    /// The tool that it calls is one of these; empty: whatever it does.
    pub tools: Vec<String>,
}

/// Methods of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum McpMethod {
    /// Those that list and read.
    Read,
    /// All others, known or not; answers to the server and what cannot be read, too.
    Write,
    /// Answers to questions of the server.
    Response,
    /// One of them.
    Named(String),
    /// Those that begin so.
    Below(String),
}

impl McpMethod {
    /// Reads `read`, `write`, `response`, a method, or the beginning of some, such as `tasks/*`.
    ///
    /// # Errors
    ///
    /// A sentence that lists the forms.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_name =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'*');
        match text {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            "response" => Ok(Self::Response),
            _ => match text.strip_suffix('*') {
                Some(begin) if is_name(begin) && begin.ends_with('/') => Ok(Self::Below(begin.to_owned())),
                None if is_name(text) && text.contains('/') || text == "initialize" || text == "ping" => {
                    Ok(Self::Named(text.to_owned()))
                }
                _ => Err(format!(
                    "`{text}` is not a method: write read, write, response, a name such as tools/call, or tasks/* for all \
                     that begin so"
                )),
            },
        }
    }

    fn takes(&self, message: &Message) -> Fit {
        let no = Fit::No(Mismatch::Mcp);
        let when = |fits: bool| if fits { Fit::Yes } else { no };
        match (self, message) {
            (Self::Read, _) => when(message.is_read()),
            (Self::Write, _) => when(!message.is_read()),
            (_, Message::Unknown) => Fit::Unsure(Doubt::Unread),
            (Self::Response, _) => when(*message == Message::Response),
            (Self::Named(_) | Self::Below(_), Message::Response) => no,
            (Self::Named(name), Message::Request { method, .. }) => {
                one_of(std::slice::from_ref(name), method)
            }
            (Self::Below(begin), Message::Request { method, .. }) => {
                let segment = begin.trim_end_matches('/');
                let alike = method.split_once('/').is_some_and(|(first, _)| is_alike(first, segment));
                match () {
                    () if method.starts_with(begin.as_str()) => Fit::Yes,
                    () if alike => Fit::Unsure(Doubt::Unread),
                    () => no,
                }
            }
        }
    }
}

impl fmt::Display for McpMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => f.write_str("read"),
            Self::Write => f.write_str("write"),
            Self::Response => f.write_str("response"),
            Self::Named(name) => f.write_str(name),
            Self::Below(begin) => write!(f, "{begin}*"),
        }
    }
}

/// Whether a word is one of some, to every server or to those that fold letter case and marks.
fn one_of(words: &[String], word: &str) -> Fit {
    match () {
        () if words.iter().any(|own| own == word) => Fit::Yes,
        () if !word.is_ascii() || words.iter().any(|own| is_alike(own, word)) => Fit::Unsure(Doubt::Unread),
        () => Fit::No(Mismatch::Mcp),
    }
}

impl McpMatch {
    /// `None` is a request that carries no message.
    pub(super) fn fit(&self, message: Option<&Message>) -> Fit {
        let Some(message) = message else { return Fit::No(Mismatch::Mcp) };
        let mut method = Fit::No(Mismatch::Mcp);
        for own in &self.methods {
            match own.takes(message) {
                Fit::No(_) => {}
                Fit::Yes => {
                    method = Fit::Yes;
                    break;
                }
                doubt @ Fit::Unsure(_) => method = doubt,
            }
        }
        method.and(|| match message {
            _ if self.tools.is_empty() => Fit::Yes,
            Message::Request { tool: Some(tool), .. } => one_of(&self.tools, tool),
            Message::Request { method, tool: None } if !is_alike(method, CALL) => Fit::No(Mismatch::Mcp),
            Message::Response => Fit::No(Mismatch::Mcp),
            Message::Request { .. } | Message::Unknown => Fit::Unsure(Doubt::Unread),
        })
    }

    /// Whether it decides alone wherever one about `inner` speaks.
    pub(super) fn covers(&self, inner: &Self) -> bool {
        let class = |method: &McpMethod| matches!(method, McpMethod::Read | McpMethod::Write);
        self.tools.is_empty()
            && inner.methods.iter().all(|method| class(method) && self.methods.contains(method))
    }
}
