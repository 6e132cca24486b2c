//! Finds rules about GraphQL fields that a later rule bypasses when other fields are selected as well.

use http::Method;

use super::graphql::Selects;
use super::path::PathPattern;
use super::rule::{MethodMatch, Rule};
use super::who::Who;

/// Of `earlier`, by name, those about every field beside which `rule` is the first to let in more with other fields.
pub fn bypassed_rules<'r>(earlier: &'r [Rule], rule: &Rule) -> Vec<&'r str> {
    let is_first =
        |at: usize, narrow: &Rule| !earlier.iter().skip(at + 1).any(|between| bypasses(narrow, between));
    let found =
        earlier.iter().enumerate().filter(|(at, narrow)| bypasses(narrow, rule) && is_first(*at, narrow));
    found.map(|(_, narrow)| narrow.name.as_str()).collect()
}

fn bypasses(narrow: &Rule, wide: &Rule) -> bool {
    let Some(graphql) = narrow.when.graphql.as_ref() else { return false };
    let denies = |who: &Who| narrow.deny.iter().any(|denied| denied.covers(who) || who.covers(denied));
    let refuses =
        |who: &Who| !narrow.allow.is_empty() && !narrow.allow.iter().any(|allowed| allowed.covers(who));
    let keeps_back = matches!(graphql.selects, Selects::Every(_))
        && wide.allow.iter().any(|who| denies(who) || refuses(who));
    let takes = wide.when.graphql.as_ref().is_none_or(|wide| {
        wide.selects == Selects::Anything && wide.kinds.iter().any(|kind| graphql.kinds.contains(kind))
    });
    let shares = |one: &[PathPattern], other: &[PathPattern]| {
        let share = |one: &PathPattern| other.iter().any(|other| one.includes(other) || other.includes(one));
        one.is_empty() || other.is_empty() || one.iter().any(share)
    };
    let hosts = |one: &[String], other: &[String]| {
        one.is_empty() || other.is_empty() || one.iter().any(|host| other.contains(host))
    };
    let by_post = wide.when.methods.is_empty()
        || wide
            .when
            .methods
            .iter()
            .any(|method| *method == MethodMatch::Write || method.method() == Some(&Method::POST));
    keeps_back
        && takes
        && by_post
        && wide.when.grpc.is_empty()
        && wide.when.mcp.is_none()
        && shares(&narrow.when.paths, &wide.when.paths)
        && hosts(&narrow.when.hosts, &wide.when.hosts)
}
