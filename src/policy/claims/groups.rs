//! Groups out of a claim: a list of names, whatever form the issuer gives them.

use serde_json::Value;

use super::path::{ClaimPath, Found};
use crate::model::user;
use crate::model::words::words;

/// Groups that a claim may list.
pub(super) const MOST_GROUPS: usize = 5000;

words! {
    /// How a claim that is text, and not a list, is read as groups.
    GroupsText {
        /// As one group, exactly as it stands.
        One = "one",
        /// As groups between commas: `ops, admins`.
        Commas = "commas",
        /// As groups between blanks: `ops admins`.
        Blanks = "blanks",
        /// As groups between commas in square brackets, as Amazon Cognito hands lists of other providers on: `[ops, admins]`.
        /// Without brackets it is one group.
        Brackets = "brackets",
        /// As a list in JSON: `["ops", "admins"]`. What is none is one group.
        Json = "json",
    }
}

/// The groups of somebody, and how they were found.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupsFound {
    /// What the expression found; `None` where there is none.
    pub found: Option<Found>,
    /// Sorted, without duplicates; each a name that a group may have, with the prefix.
    pub groups: Vec<String>,
    /// What the claim lists beside them.
    pub left_out: Vec<IgnoredGroup>,
    /// The claim lists more than 5,000. Then there are none.
    pub too_many: bool,
    /// The claim is text that looks like a list, and is read as one group.
    pub looks_like_list: bool,
}

/// What a claim lists and what is no group.
#[derive(Clone, Debug, PartialEq)]
pub enum IgnoredGroup {
    /// A text that no group may be called.
    Name(String),
    /// A list, an object or nothing.
    Value(Value),
}

/// `prefix` is put before each name.
pub(super) fn groups(
    path: Option<&ClaimPath>,
    (text, prefix): (GroupsText, &str),
    find: impl Fn(&ClaimPath) -> Found,
) -> GroupsFound {
    let found = path.map(find);
    let mut outcome = GroupsFound {
        groups: Vec::new(),
        left_out: Vec::new(),
        too_many: false,
        looks_like_list: false,
        found: None,
    };
    if let Some(Found::Value(value)) = &found {
        let items = items(value, text);
        outcome.too_many = items.len() > MOST_GROUPS;
        outcome.looks_like_list = match value {
            Value::String(whole) => {
                text == GroupsText::One && (whole.contains(',') || whole.starts_with('['))
            }
            _ => false,
        };
        if !outcome.too_many {
            outcome.take(items, prefix);
        }
    }
    outcome.found = found;
    outcome
}

impl GroupsFound {
    fn take(&mut self, items: Vec<Value>, prefix: &str) {
        for item in items {
            let name = match item {
                Value::String(name) => name,
                Value::Number(number) => number.to_string(),
                Value::Bool(value) => value.to_string(),
                other => {
                    self.left_out.push(IgnoredGroup::Value(other));
                    continue;
                }
            };
            // By itself, too: a prefix must not make a group of what is none.
            let group = format!("{prefix}{name}");
            match user::check_group(&name).and(user::check_group(&group)) {
                Ok(()) => self.groups.push(group),
                Err(_) => self.left_out.push(IgnoredGroup::Name(name)),
            }
        }
        self.groups.sort_unstable();
        self.groups.dedup();
    }
}

/// What a claim lists; a single value is a list of one.
fn items(value: &Value, text: GroupsText) -> Vec<Value> {
    match value {
        Value::Array(items) => items.clone(),
        Value::String(whole) => split(whole, text),
        single => vec![single.clone()],
    }
}

fn split(whole: &str, text: GroupsText) -> Vec<Value> {
    let one = || vec![Value::from(whole)];
    let parts = |text: &str, mark: char| -> Vec<Value> {
        text.split(mark).map(str::trim).filter(|part| !part.is_empty()).map(Value::from).collect()
    };
    match text {
        GroupsText::One => one(),
        GroupsText::Commas => parts(whole, ','),
        GroupsText::Blanks => parts(whole, ' '),
        GroupsText::Brackets => {
            let inner = whole.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            inner.map_or_else(one, |inner| parts(inner, ','))
        }
        GroupsText::Json => serde_json::from_str::<Vec<Value>>(whole).unwrap_or_else(|_| one()),
    }
}
