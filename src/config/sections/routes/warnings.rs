//! Warnings about rules that are valid but seldom intended.

use crate::config::reading::{SettingsReader, join};
use crate::config::sections::header_preset::HeaderPreset;
use crate::config::sections::public_url::PublicUrl;
use crate::config::sections::routes::RouteConfig;
use crate::model::principal::IdentitySource;
use crate::policy::{
    Conditions, Enforce, MethodMatch, PathPattern, Rule, UnreachableRule, Who, bypassed_rules, shadowed,
};

/// Warns, at every start, of what lets requests through that are refused; the application is told in the words of `sent`.
pub(in crate::config) fn warn_of_leniency(
    route: &RouteConfig,
    sent: Option<HeaderPreset>,
    location: &str,
    reader: &mut SettingsReader,
) {
    let name = &route.name;
    if let Some((headers, when)) = sent.and_then(HeaderPreset::limits).filter(|_| route.policy.is_lenient()) {
        let headers = headers.join(" and ");
        let what = format!(
            "while route `{name}` lets through what it refuses, its application is not told {headers} {when} there: to it, \
             everybody may do what they may without a gateway"
        );
        reader.warn(&join(location, "enforce"), what);
    }
    match route.policy.enforce {
        Enforce::On => {}
        Enforce::Log => reader.warn(
            &join(location, "enforce"),
            format!(
                "route `{name}` lets everything through and writes down what would be refused (`doorward refused`)"
            ),
        ),
        Enforce::Off => {
            reader.warn(&join(location, "enforce"), format!("route `{name}` lets everything through: nothing is protected"));
        }
    }
    for rule in route.policy.rules.iter().filter(|rule| rule.enforce < route.policy.enforce) {
        reader.warn(
            location,
            format!(
                "rule `{}` of route `{name}` lets through what it refuses: enforce = \"{}\"",
                rule.name,
                rule.enforce.as_str()
            ),
        );
    }
}

/// Warns where rules do not tell operations of GraphQL apart that seem to be spoken, or cannot, since the body that would
/// tell stays with another proxy.
pub(in crate::config) fn warn_of_graphql(route: &RouteConfig, location: &str, reader: &mut SettingsReader) {
    let name = &route.name;
    if !route.policy.knows_graphql() {
        let says = |path: &str| path.split('/').any(|segment| segment.eq_ignore_ascii_case("graphql"));
        let paths = route.policy.rules.iter().flat_map(|rule| &rule.when.paths).map(PathPattern::as_str);
        if let Some(path) = paths.chain([route.path.as_str()]).find(|path| says(path)) {
            let what = format!(
                "`{path}` of route `{name}` looks like an endpoint of GraphQL, and no rule of the route tells queries from \
                 changes: add rules with `graphql`, or `graphql = [\"{path}\"]` to a route without rules"
            );
            reader.warn(location, what);
        }
    }
    let names = body_rules(&route.policy.rules);
    if route.upstream.is_none() && !names.is_empty() {
        let what = format!(
            "{names} of route `{name}` cannot see bodies, which stay with the proxy that asks: there every request of GraphQL \
             counts as a mutation of unknown fields, and every message of MCP as a call of an unknown tool, so that what \
             only reads is refused to those who may not change. To tell them apart, let this gateway be the proxy \
             (`upstream`)"
        );
        reader.warn(location, what);
    }
}

/// Rules that look into bodies, in words; empty if there is none.
pub fn body_rules(rules: &[Rule]) -> String {
    let names: Vec<String> = rules
        .iter()
        .filter(|rule| rule.when.looks_at_bodies())
        .map(|rule| format!("`{}`", rule.name))
        .collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => format!("rule {one}"),
        [first, .., last] if names.len() > 4 => format!("rules {first} to {last}"),
        several => format!("rules {}", several.join(", ")),
    }
}

/// Warns of a rule that names switches of protocol and fits none.
pub(in crate::config) fn warn_of_switches(rule: &Rule, location: &str, reader: &mut SettingsReader) {
    let names_switches = rule.when.methods.contains(&MethodMatch::WebSocket);
    let Some(condition) = rule.when.misses_switches().filter(|_| names_switches) else { return };
    let name = &rule.name;
    let counts = match condition {
        "mcp" => "a call of an unknown tool",
        _ => "a mutation of unknown fields",
    };
    let never = if rule.when.methods.len() == 1 {
        format!("rule `{name}` never fits")
    } else {
        format!("`websocket` in `methods` of rule `{name}` never fits")
    };
    let what = format!(
        "{never}: what a WebSocket carries is not read, so it counts as {counts}. Make a rule of \
         `methods = \"websocket\"` without `{condition}`"
    );
    reader.warn(location, what);
}

/// Warns of a rule or a word that never decides.
pub(in crate::config) fn warn_of_shadow(
    found: &UnreachableRule,
    rule: &Rule,
    location: &str,
    reader: &mut SettingsReader,
) {
    let (deciding, verb) = deciding(&found.by);
    let name = &rule.name;
    let what = match &found.word {
        None => format!(
            "rule `{name}` is never reached, because {deciding} {verb} before it: move it up, narrow {deciding}, or \
             delete it"
        ),
        Some((setting, word)) if found.by == [name.as_str()] => {
            format!(
                "`{word}` in `{setting}` of rule `{name}` never decides, because its own `deny` does: leave one out"
            )
        }
        Some((setting, word)) => format!(
            "`{word}` in `{setting}` of rule `{name}` never decides, because {deciding} {verb} before it: move the rule \
             up, narrow {deciding}, or leave `{word}` out"
        ),
    };
    reader.warn(location, what);
}

/// Warns of what of a preset never decides, because the route's own rules come before all of it.
pub(in crate::config) fn warn_of_hidden(
    own: &[Rule],
    shipped: &[Rule],
    location: &str,
    reader: &mut SettingsReader,
) {
    let mut hidden: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    for rule in shipped {
        // What has no methods can be hidden for some of them.
        let mut spelt = rule.clone();
        let implied = spelt.when.methods.is_empty();
        if implied {
            spelt.when.methods = vec![MethodMatch::Read, MethodMatch::Write];
        }
        for found in shadowed(own, &spelt) {
            let name = &rule.name;
            let what = match found.word {
                None => format!("`{name}`"),
                // By a `deny` of one's own what is shipped is meant to be narrowed.
                Some(("allow", _)) => continue,
                Some(("methods", word)) if implied => format!("{word}s of `{name}`"),
                Some((setting, word)) => format!("`{word}` in `{setting}` of `{name}`"),
            };
            match hidden.iter_mut().find(|(by, _)| *by == found.by) {
                Some((_, list)) => list.push(what),
                None => hidden.push((found.by, vec![what])),
            }
        }
    }
    for (by, what) in hidden {
        let ((by, verb), what) = (deciding(&by), what.join(", "));
        reader.warn(
            location,
            format!(
                "{by} of the route {verb} before all rules of the preset, so these never decide: {what}. Narrow {by}, or \
                 give a rule the name of the one that it is to replace"
            ),
        );
    }
}

/// Rules by name, and what they do.
fn deciding(names: &[String]) -> (String, &'static str) {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    (quoted.join(" and "), if names.len() == 1 { "decides" } else { "decide" })
}

/// Warns where the newest rule lets everyone through whom this or an earlier rule refuses by name: the refused
/// need only sign out.
pub(in crate::config) fn warn_of_signing_out(rules: &[Rule], location: &str, reader: &mut SettingsReader) {
    let Some(newest) = rules.last().filter(|rule| rule.allow.contains(&Who::Anyone)) else { return };
    let names_people = |rule: &&Rule| {
        !rule.deny.is_empty()
            && !rule.deny.contains(&Who::Anyone)
            && (rule.when == Conditions::default()
                || newest.when == Conditions::default()
                || rule.when == newest.when)
    };
    if let Some(denying) = rules.iter().find(names_people) {
        reader.warn(
            location,
            format!(
                "rule `{}` allows anyone, so those whom `{}` denies get in by signing out",
                newest.name, denying.name
            ),
        );
    }
}

/// Warns where requests for what an earlier rule keeps back pass by the newest, if they ask for more beside.
pub(in crate::config) fn warn_of_bypassed_rules(rules: &[Rule], location: &str, reader: &mut SettingsReader) {
    let Some((newest, earlier)) = rules.split_last() else { return };
    for by in bypassed_rules(earlier, newest) {
        let what = format!(
            "what rule `{by}` keeps back passes by `{}` where a request asks for other fields beside: `fields` speaks only \
             where every field is among them. Write `any_field` in `{by}`",
            newest.name
        );
        reader.warn(location, what);
    }
}

/// Warns of a word for everybody whom a provider vouches for, where there is no such provider. `providers` are the names of
/// those in the settings.
pub(in crate::config) fn warn_of_providers(
    routes: &[RouteConfig],
    providers: &[&str],
    reader: &mut SettingsReader,
) {
    let is_nobody = |who: &&Who| match who {
        Who::Provider(name) => {
            matches!(IdentitySource::named(name), IdentitySource::Provider(_))
                && !providers.contains(&name.as_str())
        }
        _ => false,
    };
    for (index, route) in routes.iter().enumerate() {
        for rule in &route.policy.rules {
            for nobody in rule.allow.iter().chain(&rule.deny).filter(is_nobody) {
                let what = format!(
                    "`{nobody}` in rule `{}` of route `{}` is nobody: no `[[providers]]` has that name, nor is it `local`, \
                     `imported`, `break-glass` or `client-certificate`",
                    rule.name, route.name
                );
                reader.warn(&format!("routes[{index}]"), what);
            }
        }
    }
}

/// Warns where a route for any host would be, or once was, taken by surprise: it hands on whatever `Host` a client
/// writes, or its path is longer than that of a route which names the host and comes first.
pub(in crate::config) fn warn_of_hosts(
    routes: &[RouteConfig],
    public_url: &PublicUrl,
    reader: &mut SettingsReader,
) {
    let none_named = routes.iter().all(|route| route.hosts.is_empty());
    for (index, route) in routes.iter().enumerate().filter(|(_, route)| route.hosts.is_empty()) {
        let location = format!("routes[{index}]");
        if none_named && route.upstream.is_some() && !public_url.is_loopback() {
            let what = format!(
                "route `{}` takes requests for any host and hands the name on: write `hosts = [\"{}\"]`, so that \
                 others are refused",
                route.name,
                public_url.host()
            );
            reader.warn(&location, what);
            // Once is enough: what is named in one route holds for all.
            return;
        }
        let path = route.path.trim_end_matches('/');
        let before = routes.iter().filter(|other| {
            let rest = path.strip_prefix(other.path.trim_end_matches('/'));
            !other.hosts.is_empty() && rest.is_some_and(|rest| rest.starts_with('/'))
        });
        for other in before {
            let what = format!(
                "route `{}` has no `hosts`, so at {} requests below `{}` go to route `{}`, and the stricter answer of \
                 both counts: write `hosts` for where it is meant",
                route.name,
                other.hosts.join(", "),
                route.path,
                other.name
            );
            reader.warn(&location, what);
        }
    }
}
