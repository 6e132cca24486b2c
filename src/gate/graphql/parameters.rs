//! What the query of a URL says about the operation.
//!
//! Servers differ in how they split it, in whether letter case counts, and in what they make of brackets, dots and
//! blanks in names: whatever any of them could take for a parameter of GraphQL and is not plainly one makes it unreadable.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::posted::Extensions;

/// Names, in small letters and without marks, that a server could read a document or its name from.
const SPEAKING: &[&str] = &[
    "docid",
    "document",
    "documentid",
    "extensions",
    "hash",
    "id",
    "mutation",
    "operationid",
    "operationname",
    "operations",
    "persistedquery",
    "query",
    "queryid",
    "sha256hash",
];

/// The parameters of GraphQL.
#[derive(Default)]
pub(super) struct GraphqlParameters<'a> {
    /// The document.
    pub(super) query: Option<Cow<'a, str>>,
    /// Which of its operations is to run.
    pub(super) operation_name: Option<Cow<'a, str>>,
    /// Whether `extensions` stand there; they name no stored document.
    extended: bool,
}

impl<'a> GraphqlParameters<'a> {
    /// `None` where two servers could read it differently.
    pub(super) fn read(query: &'a str) -> Option<Self> {
        let mut read = Self::default();
        if query.contains(';') {
            return None; // a separator to some
        }
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let doubled = match name {
                "query" => read.query.replace(decode(value)?).is_some(),
                "operationName" => read.operation_name.replace(decode(value)?).is_some(),
                "extensions" => {
                    let value = decode(value)?;
                    serde_json::from_str::<Extensions>(&value).ok()?;
                    std::mem::replace(&mut read.extended, true)
                }
                _ => !is_silent(name),
            };
            if doubled {
                return None;
            }
        }
        Some(read)
    }

    /// Whether they leave everything to the body.
    pub(super) fn are_silent(&self) -> bool {
        self.query.is_none() && self.operation_name.is_none() && !self.extended
    }
}

/// Decodes a value (URL Standard, 5.1); `None` where it holds broken escapes or is not UTF-8.
fn decode(value: &str) -> Option<Cow<'_, str>> {
    let mut escapes = value.split('%').skip(1);
    if !escapes.all(|rest| rest.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)))
    {
        return None;
    }
    if !value.contains('+') {
        return percent_decode_str(value).decode_utf8().ok();
    }
    let spaced = value.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(|value| Cow::Owned(value.into_owned()))
}

/// Whether no server takes a parameter of this name for one of GraphQL's.
fn is_silent(name: &str) -> bool {
    let Some(name) = decode(name) else { return false };
    if name.contains('%') {
        return false; // escaped twice
    }
    // PHP and Rails make `query[]` and `query[x]` of it; PHP drops blanks before it and reads dots as `_`.
    let bare = name.split('[').next().unwrap_or_default();
    let letters: String = bare.chars().filter(char::is_ascii_alphanumeric).collect();
    !SPEAKING.iter().any(|speaking| letters.eq_ignore_ascii_case(speaking))
}
