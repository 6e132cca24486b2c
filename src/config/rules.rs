//! Routes and their rules, checked for what cannot be meant.

use std::time::Duration;

use ipnet::IpNet;

use super::presets;
use super::presets::PresetFile;
use super::reader::{Reader, join, nearest};
use super::section::{Section, section};
use super::settings::Route;
use super::upstream::Named;
use super::values::{FieldName, HostName, Name, Prefix};
use super::{ForeignCredentials, PublicUrl, RouteConfig, RouteTimeouts};
use crate::model::graphql::OperationType;
use crate::model::target::Prefixes;
use crate::policy::Enforce;
use crate::policy::GraphqlMatch;
use crate::policy::GrpcPattern;
use crate::policy::MethodMatch;
use crate::policy::PathPattern;
use crate::policy::Policy;
use crate::policy::Rule;
use crate::policy::Shadowed;
use crate::policy::When;
use crate::policy::Who;
use crate::policy::shadowed;

section! {
    /// One rule. Every condition it has must fit; a rule without conditions fits every request.
    WrittenRule {
        /// Unique within the route, for logs and explanations. By default `rule-1`, `rule-2` and so on.
        name: Option<Name>, r#""reads""#;
        /// Hosts, without port.
        host or hosts: Vec<HostName> = "[]", r#"["app.example.com"]"#;
        /// Path prefixes by segment (`/api`), or patterns: `*` within a segment, `**` across segments. They
        /// begin at the root, not at the route's path.
        path or paths: Vec<PathPattern> = "[]", r#"["/v1/users", "/api/**/edit"]"#;
        /// `read` (GET, HEAD, OPTIONS), `write` (all others), `websocket`, or names such as `POST`. HEAD is
        /// decided as GET. `websocket` is every switch of protocol (`Upgrade`). A switch is a `write` too, and never
        /// a `read` or a method by name; and where the rule that allows it does not say `websocket`, it is allowed
        /// only to those who may read there as well.
        methods: Vec<MethodMatch> = "[]", r#"["POST", "PUT"]"#;
        /// GraphQL operations. What cannot be understood counts as a mutation.
        graphql: Vec<OperationType> = "[]", r#""query""#;
        /// GraphQL root fields: every field asked for must be one of these. Needs `graphql`.
        fields: Vec<FieldName> = "[]", r#"["projects", "viewer"]"#;
        /// gRPC methods, `package.Service/Method` or `package.Service/*`. They are told by the path alone, whatever
        /// the method and the media type.
        grpc: Vec<GrpcPattern> = "[]", r#"["grpc.health.v1.Health/*"]"#;
        /// Addresses or networks of clients. A client whose address cannot be read is in none of them; where the rule
        /// refuses, it is refused as well.
        networks: Vec<IpNet> = "[]", r#"["10.0.0.0/8"]"#;
        /// Who is let through: `anyone`, `signed-in`, a role (`admin`, `member` and `viewer` include the ones
        /// below, `agent` stands alone), `group:NAME`, `user:NAME`, `key:NAME`, `provider:ID`.
        allow: Vec<Who> = "[]", r#"["member", "group:data"]"#;
        /// Who is refused, whatever `allow` says; the same words. A rule with `deny` alone leaves everyone
        /// else to the rules after it.
        deny: Vec<Who> = "[]", r#""group:guests""#;
        /// `on`, `log` or `off` for requests on which this rule decides, instead of the route's `enforce`.
        enforce: Option<Enforce>, r#""on""#;
    }
}

pub(super) fn routes(
    written: Vec<Route>,
    upstreams: &mut [Named],
    forward_auth: bool,
    enforce: Enforce,
    reader: &mut Reader,
) -> Vec<RouteConfig> {
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
            presets::complete(named, file, reader);
        }
        let config = RouteConfig {
            name: route.name.as_ref().map_or_else(|| default_name(&route), |name| name.0.clone()),
            hosts: route.host.iter().map(|host| host.0.clone()).collect(),
            path: route.path.0.clone(),
            upstream,
            prefixes: prefixes(&route, reader),
            timeouts: timeouts(&route, upstream.and_then(|index| upstreams.get(index))),
            basic: route.basic,
            foreign_credentials: route.foreign_credentials,
            headers: route.headers.or(preset.as_ref().and_then(|file| file.headers)),
            policy: policy(&route, preset.as_ref(), route.enforce.unwrap_or(enforce), reader),
        };
        check_foreign(&config, &route, reader);
        warn_of_leniency(&config, route.place(), reader);
        compare(&config, &routes, route.place(), reader);
        routes.push(config);
    }
    for (upstream, _) in upstreams.iter().zip(used).filter(|(_, used)| some_route && !used) {
        reader.warn(&upstream.path, format!("no route leads to upstream `{}`", upstream.name));
    }
    routes
}

/// The route's own where it has some, otherwise its upstream's.
fn timeouts(route: &Route, upstream: Option<&Named>) -> RouteTimeouts {
    let general = upstream.and_then(|named| named.config.as_ref()).map(|config| config.timeouts);
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

fn default_name(route: &Route) -> String {
    format!("{}{}", route.host.first().map_or("", |host| host.0.as_str()), route.path.0)
}

fn find_upstream(
    route: &Route,
    upstreams: &[Named],
    forward_auth: bool,
    reader: &mut Reader,
) -> Option<usize> {
    let Some(Name(wanted)) = &route.upstream else {
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
fn prefixes(route: &Route, reader: &mut Reader) -> Option<Prefixes> {
    let mut plain = |name: &str, prefix: &Option<Prefix>| -> String {
        let Some(Prefix(prefix)) = prefix else { return String::new() };
        if prefix == "/" {
            reader.problem(&route.at(name), "is no prefix: `/` changes nothing", "leave it out");
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
fn compare(route: &RouteConfig, earlier: &[RouteConfig], place: &str, reader: &mut Reader) {
    for other in earlier {
        let share_a_host = (route.hosts.is_empty() && other.hosts.is_empty())
            || route.hosts.iter().any(|host| other.hosts.contains(host));
        if route.path == other.path && share_a_host {
            reader.problem(
                &join(place, "path"),
                format!("`{}` is taken by route `{}`", route.path, other.name),
                "give it another path or host, or put the rules of both into one route",
            );
        } else if route.name == other.name {
            reader.problem(
                &join(place, "name"),
                format!("`{}` is the name of an earlier route", route.name),
                "give each route a name of its own",
            );
        }
    }
}

fn policy(route: &Route, preset: Option<&PresetFile>, enforce: Enforce, reader: &mut Reader) -> Policy {
    if route.rules.is_empty() && preset.is_none() {
        return Policy::standard(enforce);
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
        for found in shadowed(&rules, &rule) {
            warn_of_shadow(&found, &rule, written.place(), reader);
        }
        if !rule.when.paths.is_empty() && !rule.when.paths.iter().any(|path| meets(path, &route.path.0)) {
            let what =
                format!("rule `{}` is never reached, because its paths lie outside the route's", rule.name);
            reader.warn(written.place(), what);
        }
        rules.push(rule);
        warn_of_signing_out(&rules, written.place(), reader);
    }
    // A rule of the route replaces the shipped one of its name.
    for (index, written) in preset.iter().flat_map(|file| file.rules.iter().enumerate()) {
        let shipped = presets::moved(rule(written, index, enforce, reader), &route.path.0);
        if !rules.iter().any(|own| own.name == shipped.name) {
            rules.push(shipped);
        }
    }
    Policy { rules, enforce }
}

fn rule(written: &WrittenRule, index: usize, enforce: Enforce, reader: &mut Reader) -> Rule {
    let broken = reader.is_broken(&written.at("allow")) || reader.is_broken(&written.at("deny"));
    if written.allow.is_empty() && written.deny.is_empty() && !broken {
        let what = "names nobody whom it allows or denies";
        reader.problem(written.place(), what, "add for example `allow = \"viewer\"` or `deny = \"anyone\"`");
    }
    if !written.fields.is_empty() && written.graphql.is_empty() && !reader.is_broken(&written.at("graphql")) {
        reader.problem(
            &written.at("fields"),
            "are fields of GraphQL, but the rule has no `graphql`",
            "add for example `graphql = \"query\"`",
        );
    }
    let graphql = (!written.graphql.is_empty()).then(|| GraphqlMatch {
        kinds: written.graphql.clone(),
        fields: written.fields.iter().map(|field| field.0.clone()).collect(),
    });
    Rule {
        name: written.name.as_ref().map_or_else(|| format!("rule-{}", index + 1), |name| name.0.clone()),
        when: When {
            hosts: written.host.iter().map(|host| host.0.clone()).collect(),
            paths: written.path.clone(),
            methods: written.methods.clone(),
            graphql,
            grpc: written.grpc.clone(),
            networks: written.networks.clone(),
        },
        deny: written.deny.clone(),
        allow: written.allow.clone(),
        enforce: written.enforce.unwrap_or(enforce),
    }
}

/// Notes where it says what becomes of foreign credentials although every rule wants somebody.
fn check_foreign(config: &RouteConfig, route: &Route, reader: &mut Reader) {
    let lets_anyone = config.policy.rules.iter().any(|rule| rule.allow.contains(&Who::Anyone));
    if config.foreign_credentials != ForeignCredentials::Refuse && !lets_anyone {
        reader.problem(
            &route.at("foreign_credentials"),
            "has no effect: no rule of the route lets anyone in",
            "add a rule with `allow = \"anyone\"`, or leave it out; `pass_authorization` and `pass_api_key` of the \
             upstream leave credentials to the application wherever it is",
        );
    }
}

/// Warns, at every start, of what lets requests through that are refused.
fn warn_of_leniency(route: &RouteConfig, place: &str, reader: &mut Reader) {
    let name = &route.name;
    match route.policy.enforce {
        Enforce::On => {}
        Enforce::Log => reader.warn(
            &join(place, "enforce"),
            format!(
                "route `{name}` lets everything through and writes down what would be refused (`doorward refused`)"
            ),
        ),
        Enforce::Off => {
            reader.warn(&join(place, "enforce"), format!("route `{name}` lets everything through: nothing is protected"));
        }
    }
    for rule in route.policy.rules.iter().filter(|rule| rule.enforce < route.policy.enforce) {
        reader.warn(
            place,
            format!(
                "rule `{}` of route `{name}` lets through what it refuses: enforce = \"{}\"",
                rule.name,
                rule.enforce.as_str()
            ),
        );
    }
}

/// Warns of a rule or a word that never decides.
fn warn_of_shadow(found: &Shadowed, rule: &Rule, place: &str, reader: &mut Reader) {
    let names: Vec<String> = found.by.iter().map(|name| format!("`{name}`")).collect();
    let (deciding, verb) = (names.join(" and "), if names.len() == 1 { "decides" } else { "decide" });
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
    reader.warn(place, what);
}

/// Warns where a route for any host would be, or once was, taken by surprise: it hands on whatever `Host` a client
/// writes, or its path is longer than that of a route which names the host and comes first.
pub(super) fn warn_of_hosts(routes: &[RouteConfig], public_url: &PublicUrl, reader: &mut Reader) {
    let none_named = routes.iter().all(|route| route.hosts.is_empty());
    for (index, route) in routes.iter().enumerate().filter(|(_, route)| route.hosts.is_empty()) {
        let place = format!("routes[{index}]");
        if none_named && route.upstream.is_some() && !public_url.is_loopback() {
            let what = format!(
                "route `{}` takes requests for any host and hands the name on: write `hosts = [\"{}\"]`, so that \
                 others are refused",
                route.name,
                public_url.host()
            );
            reader.warn(&place, what);
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
            reader.warn(&place, what);
        }
    }
}

/// Whether a pattern can match anything below `prefix`; compared up to the pattern's first `*`.
fn meets(pattern: &PathPattern, prefix: &str) -> bool {
    let text = pattern.as_str();
    let plain = text.split('*').next().unwrap_or_default().trim_end_matches('/');
    let prefix = prefix.trim_end_matches('/');
    plain.starts_with(prefix) || prefix.starts_with(plain)
}

/// Warns where the newest rule lets everyone through whom this or an earlier rule refuses by name: the refused
/// need only sign out.
fn warn_of_signing_out(rules: &[Rule], place: &str, reader: &mut Reader) {
    let Some(newest) = rules.last().filter(|rule| rule.allow.contains(&Who::Anyone)) else { return };
    let names_people = |rule: &&Rule| {
        !rule.deny.is_empty()
            && !rule.deny.contains(&Who::Anyone)
            && (rule.when == When::default() || newest.when == When::default() || rule.when == newest.when)
    };
    if let Some(denying) = rules.iter().find(names_people) {
        reader.warn(
            place,
            format!(
                "rule `{}` allows anyone, so those whom `{}` denies get in by signing out",
                newest.name, denying.name
            ),
        );
    }
}
