//! Routes, checked for contradictions.

mod policy;
mod preset;
mod warnings;

use std::time::Duration;

use http::HeaderName;

use crate::config::reading::{
    HostName, Prefix, ReferenceName, Section, SettingsReader, Span, choice, join, nearest, section,
};
use crate::config::sections::forward_auth::ForwardAuthConfig;
use crate::config::sections::header_preset::HeaderPreset;
use crate::config::sections::keys::KeyConfig;
use crate::config::sections::presets;
use crate::config::sections::presets::Preset;
use crate::config::sections::presets::{Assumption, PresetFile, Reliance};
use crate::config::sections::rules::WrittenRule;
use crate::config::sections::upstream::{NamedUpstream, UpstreamConfig};
use crate::model::session_cookie::SessionCookie;
use crate::model::target::PathOptIns;
use crate::model::target::Prefixes;
use crate::policy::Policy;
use crate::policy::{Enforce, PathPattern, Who};

use self::policy::policy;
pub use self::warnings::body_rules;
use self::warnings::{warn_of_graphql, warn_of_leniency};
pub(in crate::config) use self::warnings::{warn_of_hosts, warn_of_providers};

const DAY: u64 = 24 * 60 * 60;

section! {
    /// Timeouts of one route, instead of its upstream's.
    RouteTimes {
        /// From the last byte of the request to the head of the response.
        response: Option<Span<1, DAY>>, r#""5m""#;
        /// A body or tunnel on which nothing moves ends after this. `0s`: never.
        idle: Option<Span<0, {30 * DAY}>>, r#""1h""#;
    }
}

section! {
    /// A host and path prefix, its upstream, and who may do what there.
    Route {
        /// Unique name, for logs. By default host and path.
        name: Option<ReferenceName>, r#""app""#;
        /// Hosts the route is for, without port. By default every host.
        host or hosts: Vec<HostName> = "[]", r#"["app.example.com", "app.example.org"]"#;
        /// Path prefix, by segment: `/app` takes `/app` and `/app/x`, not `/apple`.
        path: Prefix = r#""/""#, r#""/app""#;
        /// Name of the upstream. May be left out where another proxy has the application behind it and only
        /// asks.
        upstream: Option<ReferenceName>, r#""app""#;
        /// Cut off the front of the path on the way to the upstream: the route's `path`, or its first segments.
        /// The upstream is told by `X-Forwarded-Prefix`; addresses and cookies in its answers get the prefix
        /// back. Rules see the path as the client sent it.
        strip_prefix: Option<Prefix>, r#""/app""#;
        /// Timeouts, where they are others than the upstream's.
        timeouts: RouteTimes = "{}", r#"{ response = "10m" }"#;
        /// Put before the path on the way to the upstream, after `strip_prefix` was cut off.
        add_prefix: Option<Prefix>, r#""/base""#;
        /// Whether a key may come as the password of HTTP Basic, with any username. Programs that are refused are asked
        /// for that then; pages in a browser are not. By default as the `preset` says, and without one not.
        basic: Option<bool>, "true";
        /// The headers that may carry a key here, beside `Authorization`, instead of those in `keys.headers`: some
        /// senders know one of their own and no other.
        key_headers: Option<Vec<HeaderName>>, r#"["X-Amz-Firehose-Access-Key"]"#;
        /// Whether `Authorization` values that are not the gateway's own are left to the application here, instead of
        /// what the upstream, or `forward_auth` where there is none, says.
        pass_authorization: Option<bool>, "true";
        /// The same for the headers that may carry keys here.
        pass_api_key: Option<bool>, "true";
        /// What becomes of credentials of other systems, such as a webhook's, where a rule lets anyone in: the request
        /// is refused (`refuse`), or passes as anonymous without (`drop`) or with them (`pass`).
        foreign_credentials: ForeignCredentials = r#""refuse""#, r#""pass""#;
        /// Identity headers of answers to other proxies, instead of those in `forward_auth.headers`.
        headers: Option<HeaderPreset>, r#""grafana""#;
        /// `on`, `log` or `off` for this route, instead of the general `enforce`.
        enforce: Option<Enforce>, r#""log""#;
        /// Rules shipped for a known application: `phoenix`, `pyroscope`, `pyroscope-0.37`, `micromegas`, `grafana`,
        /// `jupyter`, `streamlit`, `mlflow`, `prometheus`, `gradio`, `registry`. The route's own `rules` stand before all of
        /// them, also one that replaces a shipped rule by having its name: a `reads` there opens what the preset keeps
        /// for admins, unless it has a `path`. The files are in the folder `presets`, their tables in `docs/presets`;
        /// `doorward check` shows what is in effect, and what never decides.
        preset: Option<Preset>, r#""phoenix""#;
        /// Where the application begins that the `preset` is for, as clients see it: the preset's paths are below that.
        /// By default the route's `path`; `/` where parts of the application have routes of their own, as
        /// Micromegas has with `/gateway`.
        preset_root: Option<Prefix>, r#""/""#;
        /// Settings of the application that have been made there, by the names that its `preset` has for them: rules
        /// that rely on them are in effect then. `doorward doctor applications` tries them.
        relies_on: Vec<ReferenceName> = "[]", r#""gateway-headers""#;
        /// Where GraphQL is spoken, for a route without `rules` and `preset`: path prefixes or patterns, from the root.
        /// There a query or subscription needs `viewer`, and whatever else comes `member`: a mutation, by `GET` as well,
        /// what cannot be read, and every WebSocket. Elsewhere a `POST` needs `member`, whatever it asks for.
        graphql: Vec<PathPattern> = "[]", r#"["/graphql"]"#;
        /// Tried in order; the first that fits the request decides, and where none fits the request is
        /// refused. Without rules, reading needs `viewer` and everything else, every WebSocket included, `member`.
        rules: Vec<WrittenRule> = "[]", r#"[{ methods = "read", allow = "viewer" }]"#;
    }
}

/// One route: a host and path prefix, its upstream and its rules.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// Unique; what logs say. Host and path if none is given.
    pub name: String,
    /// Hosts it is for, lower-case, without port; empty: every host.
    pub hosts: Vec<String>,
    /// Path prefix, by segment; begins with `/`.
    pub path: String,
    /// Index into [`Config::upstreams`]; `None`: another proxy has the application behind it, and only asks.
    pub upstream: Option<usize>,
    /// How its paths are renamed on the way to the upstream, if they are.
    pub prefixes: Option<Prefixes>,
    /// How long its upstream may take.
    pub timeouts: RouteTimeouts,
    /// Which credentials it takes, and which it leaves to its application.
    pub credentials: CredentialConfig,
    /// Spellings of paths that its application needs.
    pub paths: PathOptIns,
    /// Where another proxy has its application: the cookies by which that remembers who signed in to it.
    pub session_cookies: Vec<SessionCookie>,
    /// Identity headers of answers to other proxies, instead of the general ones.
    pub headers: Option<HeaderPreset>,
    /// Settings of its application that it relies on.
    pub reliances: Vec<Reliance>,
    /// How its preset takes its application to be set.
    pub assumptions: Vec<Assumption>,
    /// Who may do what there.
    pub policy: Policy,
}

/// Timeouts on one route. None of them cuts a stream on which bytes move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteTimeouts {
    /// As [`Timeouts::response`].
    pub response: Duration,
    /// As [`Timeouts::idle`].
    pub idle: Duration,
}

/// What becomes of a credential of another system where anyone may pass; the strictest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ForeignCredentials {
    /// The request is refused.
    #[default]
    Refuse,
    /// The request goes on without it.
    Drop,
    /// It goes on as it came.
    Pass,
}

/// Which credentials a route takes, and which it leaves to its application.
#[derive(Clone, Debug)]
pub struct CredentialConfig {
    /// The headers that may carry a key beside `Authorization`.
    pub key_headers: Vec<HeaderName>,
    /// Whether a key may come as the password of HTTP Basic.
    pub basic: bool,
    /// Whether `Authorization` values that are not ours are left to the application.
    pub pass_authorization: bool,
    /// The same for the headers that bring keys.
    pub pass_api_key: bool,
    /// What becomes of credentials of other systems where anyone may pass.
    pub foreign: ForeignCredentials,
}

/// Every header that may carry a key somewhere, beside `Authorization`.
pub(in crate::config) fn key_headers(keys: &KeyConfig, routes: &[RouteConfig]) -> Vec<HeaderName> {
    let mut all = keys.headers.clone();
    for name in routes.iter().flat_map(|route| &route.credentials.key_headers) {
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
    all
}

/// What holds for routes that say nothing else.
#[derive(Clone, Copy)]
pub(in crate::config) struct Defaults<'c> {
    pub(in crate::config) forward_auth: &'c ForwardAuthConfig,
    pub(in crate::config) keys: &'c KeyConfig,
    pub(in crate::config) enforce: Enforce,
}

/// The routes as written, checked against each other and their upstreams.
pub(in crate::config) fn routes(
    written: Vec<Route>,
    upstreams: &mut [NamedUpstream],
    general: Defaults<'_>,
    reader: &mut SettingsReader,
) -> Vec<RouteConfig> {
    let forward_auth = general.forward_auth.is_on();
    if upstreams.is_empty() && written.is_empty() && forward_auth && !reader.is_broken("routes") {
        reader.problem(
            "routes",
            "there is none, so every question is answered with no",
            "add [[routes]] with `hosts = [\"app.example.com\"]` and, if the standard ones do not fit, `rules`",
        );
    }
    if let Some(first) = upstreams.first()
        && written.is_empty()
        && !reader.is_broken("routes")
    {
        reader.problem(
            "routes",
            format!("there is none, so nothing leads to upstream `{}`", first.name),
            format!("add [[routes]] with `upstream = \"{}\"`", first.name),
        );
    }
    let mut routes: Vec<RouteConfig> = Vec::new();
    let mut used = vec![false; upstreams.len()];
    let some_route = !written.is_empty();
    for route in written {
        let upstream = find_upstream(&route, upstreams, forward_auth, reader);
        if let Some(used) = upstream.and_then(|index| used.get_mut(index)) {
            *used = true;
        }
        let preset = route.preset.map(|preset| preset.file(&mut presets::reader()));
        if let (Some(file), Some(named)) = (&preset, upstream.and_then(|index| upstreams.get_mut(index))) {
            preset::complete(named, file, reader);
        }
        preset::check_root(&route, reader);
        let prefixes = prefixes(&route, reader);
        let behind = upstream.and_then(|index| upstreams.get(index)?.config.as_ref());
        let config = RouteConfig {
            name: route.name.as_ref().map_or_else(|| default_name(&route), |name| name.0.clone()),
            hosts: route.host.iter().map(|host| host.0.clone()).collect(),
            path: route.path.0.clone(),
            upstream,
            reliances: preset::reliances(&route, preset.as_ref(), prefixes.as_ref(), reader),
            assumptions: preset::assumptions(&route, preset.as_ref(), prefixes.as_ref(), reader),
            prefixes,
            timeouts: timeouts(&route, behind),
            credentials: credentials(&route, preset.as_ref(), behind, general, reader),
            paths: behind
                .map_or(general.forward_auth.paths, |behind| behind.paths)
                .or(preset.as_ref().map(PresetFile::path_opt_ins).unwrap_or_default()),
            session_cookies: session_cookies(preset.as_ref(), upstream, general.forward_auth),
            headers: route.headers.or(preset.as_ref().and_then(|file| file.headers)),
            policy: policy(&route, preset.as_ref(), route.enforce.unwrap_or(general.enforce), reader),
        };
        let sent = behind.map_or(config.headers, |upstream| Some(upstream.headers));
        if let (Some(file), Some(sent)) = (&preset, sent) {
            preset::check_headers(&route, file, sent, reader);
        }
        check_foreign(&config, &route, reader);
        warn_of_graphql(&config, route.location(), reader);
        let told = sent.or(behind.is_none().then_some(general.forward_auth.headers));
        warn_of_leniency(&config, told, route.location(), reader);
        compare(&config, &routes, route.location(), reader);
        routes.push(config);
    }
    for (upstream, _) in upstreams.iter().zip(used).filter(|(_, used)| some_route && !used) {
        reader.warn(&upstream.path, format!("no route leads to upstream `{}`", upstream.name));
    }
    routes
}

/// The route's own where it has some, otherwise its upstream's.
fn timeouts(route: &Route, behind: Option<&UpstreamConfig>) -> RouteTimeouts {
    let general = behind.map(|config| config.timeouts);
    RouteTimeouts {
        response: route
            .timeouts
            .response
            .as_ref()
            .map_or(general.map_or(Duration::ZERO, |all| all.response), |span| span.0),
        idle: route
            .timeouts
            .idle
            .as_ref()
            .map_or(general.map_or(Duration::ZERO, |all| all.idle), |span| span.0),
    }
}

/// The route's own where it says something, otherwise what its preset, its upstream or the settings for all say.
fn credentials(
    route: &Route,
    preset: Option<&PresetFile>,
    behind: Option<&UpstreamConfig>,
    general: Defaults<'_>,
    reader: &mut SettingsReader,
) -> CredentialConfig {
    let answers = general.forward_auth;
    let replaced = behind.map_or(&answers.identity, |upstream| &upstream.identity).fills_authorization();
    if route.pass_authorization == Some(true) && replaced {
        reader.problem(
            &route.at("pass_authorization"),
            "has no effect, as the gateway fills Authorization with what is its own",
            format!(
                "leave it out, or {}",
                match behind {
                    Some(upstream) =>
                        format!("`basic`, `token` and `bearer` of upstream `{}`", upstream.name),
                    None => "`forward_auth.bearer`".to_owned(),
                }
            ),
        );
    }
    CredentialConfig {
        key_headers: route.key_headers.clone().unwrap_or_else(|| general.keys.headers.clone()),
        basic: route.basic.unwrap_or(preset.is_some_and(|file| file.basic)),
        pass_authorization: route
            .pass_authorization
            .unwrap_or_else(|| behind.map_or(answers.pass_authorization, |it| it.pass_authorization)),
        pass_api_key: route
            .pass_api_key
            .unwrap_or_else(|| behind.map_or(answers.pass_api_key, |it| it.pass_api_key)),
        foreign: route.foreign_credentials,
    }
}

/// Where another proxy has the application: what its preset and the settings for all say.
fn session_cookies(
    preset: Option<&PresetFile>,
    upstream: Option<usize>,
    answers: &ForwardAuthConfig,
) -> Vec<SessionCookie> {
    if upstream.is_some() {
        return Vec::new();
    }
    let named = preset.map(|file| file.session_cookies.as_slice()).unwrap_or_default();
    answers.session_cookies.iter().chain(named).cloned().collect()
}

fn default_name(route: &Route) -> String {
    format!("{}{}", route.host.first().map_or("", |host| host.0.as_str()), route.path.0)
}

fn find_upstream(
    route: &Route,
    upstreams: &[NamedUpstream],
    forward_auth: bool,
    reader: &mut SettingsReader,
) -> Option<usize> {
    let Some(ReferenceName(wanted)) = &route.upstream else {
        if !forward_auth && !reader.is_broken(&route.at("upstream")) {
            let remedy = match upstreams.first() {
                Some(upstream) => format!("add `upstream = \"{}\"`", upstream.name),
                None => "add `upstream = \"app\"`".to_owned(),
            };
            reader.problem(&route.at("upstream"), "is missing", remedy);
        }
        return None;
    };
    let found = upstreams.iter().position(|upstream| upstream.name == *wanted);
    if found.is_none() {
        let names: Vec<&str> = upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        let remedy = match nearest(wanted, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => format!("add [[upstreams]] with `name = \"{wanted}\"`"),
            None => format!("write one of {}", names.join(", ")),
        };
        reader.problem(&route.at("upstream"), format!("there is no upstream `{wanted}`"), remedy);
    }
    found
}

/// How the route's paths are renamed for its upstream.
fn prefixes(route: &Route, reader: &mut SettingsReader) -> Option<Prefixes> {
    let mut plain = |name: &str, prefix: &Option<Prefix>| -> String {
        let Some(Prefix(prefix)) = prefix else { return String::new() };
        if prefix == "/" {
            reader.problem(&route.at(name), "is not a prefix: `/` changes nothing", "leave it out");
        } else if prefix.contains(';') || prefix.contains("%2F") {
            let remedy = format!("write plain segments, such as {name} = \"/app\"");
            reader.problem(
                &route.at(name),
                "has `;` or an encoded slash, which servers read differently",
                remedy,
            );
        } else if route.upstream.is_none() {
            let remedy = "add `upstream`, or leave it out";
            reader.problem(&route.at(name), "has no effect where no upstream is behind the route", remedy);
        }
        prefix.clone()
    };
    let strip = plain("strip_prefix", &route.strip_prefix);
    let add = plain("add_prefix", &route.add_prefix);
    let path = route.path.0.as_str();
    let begins =
        path.strip_prefix(strip.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !begins && strip != "/" && !reader.is_broken(&route.at("path")) {
        let what =
            format!("the route's path `{path}` does not begin with it, so there is nothing to cut off");
        let remedy = format!("write `path = \"{strip}\"`, or cut off what `{path}` begins with");
        reader.problem(&route.at("strip_prefix"), what, remedy);
    }
    for rule in route.rules.iter().filter(|rule| !strip.is_empty() && !rule.grpc.is_empty()) {
        let what = "never fits below strip_prefix: the path of a gRPC method has no prefix";
        reader.problem(&rule.at("grpc"), what, format!("write `path = \"{path}/package.Service\"`"));
    }
    Prefixes::new(&strip, &add)
}

/// Notes where a route takes what an earlier one has.
fn compare(route: &RouteConfig, earlier: &[RouteConfig], location: &str, reader: &mut SettingsReader) {
    for other in earlier {
        let share_a_host = (route.hosts.is_empty() && other.hosts.is_empty())
            || route.hosts.iter().any(|host| other.hosts.contains(host));
        if route.path == other.path && share_a_host {
            reader.problem(
                &join(location, "path"),
                format!("`{}` is taken by route `{}`", route.path, other.name),
                "give it another path or host, or put the rules of both into one route",
            );
        } else if route.name == other.name {
            reader.problem(
                &join(location, "name"),
                format!("`{}` is the name of an earlier route", route.name),
                "give each route a name of its own",
            );
        }
    }
}

/// Notes where it says what becomes of foreign credentials although every rule wants somebody.
fn check_foreign(config: &RouteConfig, route: &Route, reader: &mut SettingsReader) {
    let lets_anyone = config.policy.rules.iter().any(|rule| rule.allow.contains(&Who::Anyone));
    if config.credentials.foreign != ForeignCredentials::Refuse && !lets_anyone {
        reader.problem(
            &route.at("foreign_credentials"),
            "has no effect: no rule of the route lets anyone in",
            "add a rule with `allow = \"anyone\"`, or leave it out; `pass_authorization` and `pass_api_key` leave \
             credentials to the application wherever it is",
        );
    }
}

choice! {
    ForeignCredentials { "refuse" => Self::Refuse, "drop" => Self::Drop, "pass" => Self::Pass }
}
