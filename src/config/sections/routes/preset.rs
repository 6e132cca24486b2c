//! The preset of a route: where its application begins, what the route relies on, and what its upstream is told.

use crate::config::reading::{Prefix, Section, SettingsReader};
use crate::config::sections::header_preset::HeaderPreset;
use crate::config::sections::presets::{
    Assumption, FreeText, PresetFile, Reliance, WrittenReliance, below, sent,
};
use crate::config::sections::routes::Route;
use crate::config::sections::upstream::NamedUpstream;
use crate::model::target::Prefixes;
use crate::policy::GrpcPattern;
use crate::policy::PathPattern;
use crate::policy::Rule;

/// How the application of a route is set, as far as it can be asked. Notes what nothing tells.
pub(in crate::config) fn assumptions(
    route: &Route,
    file: Option<&PresetFile>,
    prefixes: Option<&Prefixes>,
    reader: &mut SettingsReader,
) -> Vec<Assumption> {
    let served = PathPattern::parse(&route.path.0).ok();
    let mut told = Vec::new();
    for setting in file.iter().flat_map(|file| &file.settings) {
        let Some(FreeText(about)) = &setting.about.0 else { continue };
        match &setting.request {
            // Parts of an application that have a route of their own answer nothing else.
            Some(line)
                if !served
                    .as_ref()
                    .is_some_and(|path| path.matches(below(root(route), line.1.path()).as_str())) => {}
            Some(line) => told.extend(sent(line, root(route), prefixes).map(|(method, target)| Assumption {
                about: about.clone(),
                method,
                target,
            })),
            None => reader.warn(
                &route.at("preset"),
                format!("holds only while {about}, which nothing tells from here"),
            ),
        }
    }
    told
}

/// What a route relies on. Notes what its preset does not know, and that what it knows cannot be seen from here.
pub(in crate::config) fn reliances(
    route: &Route,
    file: Option<&PresetFile>,
    prefixes: Option<&Prefixes>,
    reader: &mut SettingsReader,
) -> Vec<Reliance> {
    let location = route.at("relies_on");
    let known: Vec<&WrittenReliance> = file.map(|file| file.reliances.iter().collect()).unwrap_or_default();
    for name in &route.relies_on {
        if !known.iter().any(|reliance| reliance.is_in(std::slice::from_ref(name))) {
            let words: Vec<&str> =
                known.iter().filter_map(|reliance| Some(reliance.name.0.as_ref()?.0.as_str())).collect();
            let remedy = match words.as_slice() {
                [] => "leave it out: the route has no `preset` that knows any".to_owned(),
                words => format!("write one of {}", words.join(", ")),
            };
            reader.problem(&location, format!("the preset knows no `{}`", name.0), remedy);
        }
    }
    let relied = known.into_iter().filter(|reliance| reliance.is_in(&route.relies_on));
    let relied: Vec<Reliance> = relied.filter_map(|reliance| reliance.read(root(route), prefixes)).collect();
    for reliance in &relied {
        let what = format!(
            "holds only while {}, which cannot be seen from here: `doorward doctor applications` tries it",
            reliance.about
        );
        reader.warn(&location, what);
    }
    relied
}

/// Where the application begins that a route's preset is for. Notes a root that the route does not lie below.
pub(in crate::config) fn check_root(route: &Route, reader: &mut SettingsReader) {
    let Some(Prefix(root)) = &route.preset_root else { return };
    let location = route.at("preset_root");
    let path = &route.path.0;
    if route.preset.is_none() {
        reader.problem(&location, "has no effect without `preset`", "add `preset`, or leave it out");
    } else if root != "/"
        && !path.strip_prefix(root.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    {
        let what =
            format!("the route's path `{path}` is not below it, so none of the preset's rules would fit");
        reader.problem(&location, what, format!("write `path = \"{root}\"`, or what `{path}` begins with"));
    }
}

fn root(route: &Route) -> &str {
    route.preset_root.as_ref().map_or(&route.path.0, |root| &root.0)
}

/// Notes where a preset would protect nothing, since the application is told of callers under other names.
pub(in crate::config) fn check_headers(
    route: &Route,
    file: &PresetFile,
    sent: HeaderPreset,
    reader: &mut SettingsReader,
) {
    if file.headers_needed && file.headers.is_some_and(|needed| needed != sent) {
        let what = "protects nothing with these `headers`: where its own names are missing, the application takes \
                    everybody for an admin";
        reader.problem(&route.at("preset"), what, "leave `headers` out, of the upstream and of the route");
    }
}

/// A preset's rule where the application is that a route leads to.
pub(in crate::config) fn moved(rule: Rule, route: &Route) -> Rule {
    let path = root(route);
    let mut rule = rule;
    if path != "/" {
        let pattern = |pattern: &PathPattern| PathPattern::parse(&format!("{path}{}", pattern.as_str())).ok();
        rule.when.paths = rule.when.paths.iter().filter_map(pattern).collect();
        // A route may also be for a service itself, by the path that every call of it has.
        let calls =
            |method: &GrpcPattern| [method.below(path), method.is_below(path).then(|| method.clone())];
        rule.when.grpc = rule.when.grpc.iter().flat_map(calls).flatten().collect();
    }
    rule
}

/// Gives an upstream what a preset of its routes says about it, where its own settings do not.
pub(in crate::config) fn complete(named: &mut NamedUpstream, file: &PresetFile, reader: &SettingsReader) {
    let Some(config) = &mut named.config else { return };
    if let Some(headers) = file.headers
        && !reader.is_set(&format!("{}.headers", named.path))
    {
        config.headers = headers;
    }
    if !reader.is_set(&format!("{}.session_cookies", named.path)) {
        let more = file.session_cookies.iter().filter(|cookie| !config.session_cookies.contains(cookie));
        let more: Vec<_> = more.cloned().collect();
        config.session_cookies.extend(more);
    }
}
