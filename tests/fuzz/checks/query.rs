//! Queries of URLs: a parameter that a form's reader finds is never said not to be there, what is plainly there is
//! what that reader finds, and a mutation in a parameter is found.
//!
//! Input: the query.

use doorward::model::query::{Presence, QueryParameter, may_change};

pub fn check(data: &[u8]) {
    let Ok(query) = std::str::from_utf8(data) else { return };
    let wanted = QueryParameter::parse("service=git-receive-pack").unwrap();
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(data).into_owned().collect();
    let is_name = |name: &str| name == "service";
    let found = pairs.iter().any(|(name, value)| is_name(name) && value == "git-receive-pack");
    match wanted.likeness(Some(query)) {
        Presence::No => assert!(!found, "a parameter is overlooked in {query:?}"),
        Presence::Plain => {
            let names = pairs.iter().filter(|(name, _)| is_name(name)).count();
            assert!(found && names == 1, "{query:?} is not as plain as that");
        }
        Presence::Perhaps => {}
    }
    let changes = pairs.iter().any(|(_, value)| {
        let rest = value.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
        let behind = rest.strip_prefix("mutation");
        behind.is_some_and(|behind| behind.trim_start().starts_with('{'))
    });
    assert!(!changes || may_change(Some(query)), "a mutation is overlooked in {query:?}");
}
