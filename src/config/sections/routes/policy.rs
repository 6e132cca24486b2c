//! The rules of a route: its own and those of its preset.

use super::preset;
use crate::config::reading::{Section, SettingsReader};
use crate::config::sections::presets::PresetFile;
use crate::config::sections::routes::Route;
use crate::config::sections::routes::warnings::{
    warn_of_bypassed_rules, warn_of_hidden, warn_of_shadow, warn_of_signing_out, warn_of_switches,
};
use crate::config::sections::rules::rule;
use crate::policy::Enforce;
use crate::policy::PathPattern;
use crate::policy::Policy;
use crate::policy::Rule;
use crate::policy::shadowed;

/// Who may do what on a route: its own rules, then those of its preset.
pub(in crate::config) fn policy(
    route: &Route,
    preset: Option<&PresetFile>,
    enforce: Enforce,
    reader: &mut SettingsReader,
) -> Policy {
    if route.rules.is_empty() && preset.is_none() {
        for path in route.graphql.iter().filter(|path| !meets(path, &route.path.0)) {
            let below = format!("{}{path}", route.path.0.trim_end_matches('/'));
            let what = format!("`{path}` lies outside the route's path, `{}`", route.path.0);
            reader.problem(&route.at("graphql"), what, format!("write it from the root: `{below}`"));
        }
        return Policy::standard(enforce).with_graphql(&route.graphql);
    }
    if let Some(path) = route.graphql.first() {
        let what = "has no effect beside `rules` or `preset`, which say what is needed where";
        let remedy =
            format!("add a rule such as {{ path = \"{path}\", graphql = \"query\", allow = \"viewer\" }}");
        reader.problem(&route.at("graphql"), what, remedy);
    }
    let mut rules: Vec<Rule> = Vec::new();
    for (index, written) in route.rules.iter().enumerate() {
        let rule = rule(written, index, enforce, reader);
        if rules.iter().any(|earlier| earlier.name == rule.name) {
            reader.problem(
                &written.at("name"),
                format!("`{}` is the name of an earlier rule", rule.name),
                "give each rule of a route a name of its own",
            );
        }
        warn_of_switches(&rule, written.location(), reader);
        for found in shadowed(&rules, &rule) {
            warn_of_shadow(&found, &rule, written.location(), reader);
        }
        if !rule.when.paths.is_empty() && !rule.when.paths.iter().any(|path| meets(path, &route.path.0)) {
            let what =
                format!("rule `{}` is never reached, because its paths lie outside the route's", rule.name);
            reader.warn(written.location(), what);
        }
        rules.push(rule);
        warn_of_signing_out(&rules, written.location(), reader);
        warn_of_bypassed_rules(&rules, written.location(), reader);
    }
    // A rule of the route replaces the shipped one of its name.
    let mut shipped: Vec<Rule> = Vec::new();
    for (index, written) in preset.iter().flat_map(|file| file.rules_with(&route.relies_on)).enumerate() {
        let rule = preset::moved(rule(written, index, enforce, reader), route);
        if !rules.iter().chain(&shipped).any(|earlier| earlier.name == rule.name) {
            shipped.push(rule);
        }
    }
    warn_of_hidden(&rules, &shipped, &route.at("preset"), reader);
    rules.extend(shipped);
    Policy { rules, enforce }
}

/// Whether a pattern can match anything below `prefix`; compared up to the pattern's first `*`.
fn meets(pattern: &PathPattern, prefix: &str) -> bool {
    let text = pattern.as_str();
    let plain = text.split('*').next().unwrap_or_default().trim_end_matches('/');
    let prefix = prefix.trim_end_matches('/');
    plain.starts_with(prefix) || prefix.starts_with(plain)
}
