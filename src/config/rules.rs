//! The rules of a route, checked for what cannot be meant.

use ipnet::IpNet;

use super::RouteConfig;
use super::presets;
use super::presets::PresetFile;
use super::reader::{Reader, join};
use super::routes::Route;
use super::section::{Section, section};
use super::values::{FieldName, HostName, Name};
use crate::model::graphql::OperationType;
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

/// Who may do what on a route: its own rules, then those of its preset.
pub(super) fn policy(
    route: &Route,
    preset: Option<&PresetFile>,
    enforce: Enforce,
    reader: &mut Reader,
) -> Policy {
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

/// Warns, at every start, of what lets requests through that are refused.
pub(super) fn warn_of_leniency(route: &RouteConfig, place: &str, reader: &mut Reader) {
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
