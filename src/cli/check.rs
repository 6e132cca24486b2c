//! `doorward check`: shows the resulting settings, and every problem that would stop a start.

use serde_json::Value;
use serde_json::json;

use super::Common;
use super::Overrides;
use super::failure::Failure;
use super::on_runtime;
use super::output::Output;
use super::sources;
use crate::app;
use crate::config;
use crate::config::Config;
use crate::config::ConfigOrigin;
use crate::config::RouteConfig;
use crate::federation::{BACKCHANNEL_LOGOUT, SIGNED_OUT, redirect_uri};
use crate::model::target::Prefixes;
use crate::policy::Conditions;
use crate::policy::Enforce;
use crate::policy::Rule;
use crate::policy::Selects;

/// What `check` takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    overrides: Overrides,
    /// Print the reference of every setting, as Markdown, and check nothing
    #[arg(long)]
    reference: bool,
    /// Print the JSON Schema of the configuration file, for editors, and check nothing
    #[arg(long, conflicts_with = "reference")]
    schema: bool,
}

pub(super) fn run(arguments: &Arguments, common: &Common, output: Output) -> Result<(), Failure> {
    if arguments.reference {
        let text = config::reference();
        return output.show(&json!({ "reference": text }), text.trim_end());
    }
    if arguments.schema {
        let schema = config::schema();
        return output.show(&schema, &format!("{schema:#}"));
    }
    let (source, flags) = sources(common, &arguments.overrides);
    let mut config = app::load(&mut ConfigOrigin::new(source, flags))?;
    let found = on_runtime(async { Ok(app::preflight(&config).await) })?;
    if !found.problems.is_empty() {
        return Err(Failure::Start(found.problems));
    }
    config.warnings.extend(found.warnings);
    show(&config, output)
}

fn show(config: &Config, output: Output) -> Result<(), Failure> {
    let routes: Vec<Value> = config.routes.iter().map(|route| route_value(route, config)).collect();
    let value = json!({
        "ok": true,
        "public_url": config.public_url.to_string(),
        "listen": config.server.listeners.iter().map(|listener| listener.address.to_string()).collect::<Vec<_>>(),
        "routes": routes,
        "providers": config.providers.iter().map(|provider| json!({
            "name": provider.name,
            "display_name": provider.display_name,
            "redirect_uri": redirect_uri(provider, &config.public_url),
            "post_logout_redirect_uri": config.public_url.url(SIGNED_OUT),
            "backchannel_logout_uri": config.public_url.url(&format!("{BACKCHANNEL_LOGOUT}{}", provider.name)),
        })).collect::<Vec<_>>(),
        "tests": config.tests.len(),
        "warnings": config.warnings,
    });
    let mut lines = vec![format!("The settings are fine. Browsers come to {}", config.public_url)];
    for route in &config.routes {
        lines.push(String::new());
        lines.extend(route_lines(route, config));
    }
    if !config.providers.is_empty() {
        lines.push(String::new());
    }
    lines.extend(config.providers.iter().map(|provider| {
        let (name, public_url) = (provider.name.as_str(), &config.public_url);
        let uri = redirect_uri(provider, public_url);
        let (signed_out, logout) =
            (public_url.url(SIGNED_OUT), public_url.url(&format!("{BACKCHANNEL_LOGOUT}{name}")));
        format!(
            "provider {name} ({}): register the redirect URI {uri} there; where signing out comes back to (post-logout \
             redirect URI) {signed_out}; where it sends logout tokens (back-channel logout) {logout}",
            provider.display_name
        )
    }));
    if !config.warnings.is_empty() {
        lines.push(String::new());
    }
    lines.extend(config.warnings.iter().map(|warning| format!("warning: {warning}")));
    output.show(&value, &lines.join("\n"))
}

fn route_lines(route: &RouteConfig, config: &Config) -> Vec<String> {
    let known = config.known_hosts();
    let hosts = match (route.hosts.as_slice(), known.as_slice()) {
        ([], []) => "any host".to_owned(),
        ([], _) if route.upstream.is_none() => "any host".to_owned(),
        ([], known) => format!("any of {}", known.join(", ")),
        (own, _) => own.join(", "),
    };
    let (name, address) = upstream(route, config);
    let path = &route.path;
    let renamed = route.prefixes.as_ref().map_or_else(String::new, renamed);
    let mut lines = vec![format!("route {}: {hosts}, {path} -> {name} ({address}){renamed}", route.name)];
    for (index, rule) in route.policy.rules.iter().enumerate() {
        lines.push(format!("  {}. {}: {}", index + 1, rule.name, sentence(rule)));
    }
    lines.push(format!("  otherwise: refused{}", kept(route.policy.enforce)));
    lines
}

/// What becomes of paths on the way to the upstream.
fn renamed(prefixes: &Prefixes) -> String {
    let said = |word: &str, prefix: &str| {
        if prefix.is_empty() { String::new() } else { format!(", {word} {prefix}") }
    };
    said("without", prefixes.stripped()) + &said("below", prefixes.added())
}

fn sentence(rule: &Rule) -> String {
    let conditions = conditions(&rule.when);
    let when = if conditions.is_empty() {
        "every request".to_owned()
    } else {
        conditions
            .iter()
            .map(|(what, values)| format!("{what} {}", values.join(" ")))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let named = |verb: &str, who: Vec<String>| (!who.is_empty()).then(|| format!("{verb} {}", who.join(" ")));
    let outcome = [named("deny", texts(&rule.deny)), named("allow", texts(&rule.allow))];
    let outcome = outcome.into_iter().flatten().collect::<Vec<_>>().join(", ");
    format!("{when} -> {outcome}{}", kept(rule.enforce))
}

/// The note about refusals that are not enforced.
fn kept(enforce: Enforce) -> &'static str {
    match enforce {
        Enforce::On => "",
        Enforce::Log => " (refusals pass and are written down)",
        Enforce::Off => " (refusals pass)",
    }
}

fn route_value(route: &RouteConfig, config: &Config) -> Value {
    let (upstream, address) = upstream(route, config);
    let rules = route.policy.rules.iter().map(|rule| {
        let when: serde_json::Map<String, Value> = conditions(&rule.when)
            .into_iter()
            .map(|(what, values)| (what.to_owned(), json!(values)))
            .collect();
        json!({ "name": rule.name, "when": when, "deny": texts(&rule.deny), "allow": texts(&rule.allow),
                "enforce": rule.enforce.as_str() })
    });
    json!({
        "name": route.name,
        "hosts": route.hosts,
        "path": route.path,
        "upstream": upstream,
        "upstream_address": address,
        "strip_prefix": route.prefixes.as_ref().map(Prefixes::stripped),
        "add_prefix": route.prefixes.as_ref().map(Prefixes::added),
        "rules": rules.collect::<Vec<_>>(),
        "enforce": route.policy.enforce.as_str(),
    })
}

/// The conditions that are there, by the names they have in the settings.
fn conditions(when: &Conditions) -> Vec<(&'static str, Vec<String>)> {
    let graphql = when.graphql.as_ref();
    let all = [
        ("hosts", when.hosts.clone()),
        ("methods", texts(&when.methods)),
        ("paths", texts(&when.paths)),
        ("query", texts(&when.query)),
        ("graphql", graphql.map(|wanted| texts(&wanted.kinds)).unwrap_or_default()),
        selects(graphql.map_or(&Selects::Anything, |wanted| &wanted.selects)),
        ("mcp", when.mcp.as_ref().map(|wanted| texts(&wanted.methods)).unwrap_or_default()),
        ("mcp_tools", when.mcp.as_ref().map(|wanted| wanted.tools.clone()).unwrap_or_default()),
        ("grpc", texts(&when.grpc)),
        ("networks", texts(&when.networks)),
    ];
    all.into_iter().filter(|(_, values)| !values.is_empty()).collect()
}

fn selects(selects: &Selects) -> (&'static str, Vec<String>) {
    match selects {
        Selects::Anything => ("graphql_fields", Vec::new()),
        Selects::Every(fields) => ("graphql_fields", fields.clone()),
        Selects::Any(fields) => ("graphql_any_field", fields.clone()),
        Selects::Mentions(names) => ("graphql_mentions", names.clone()),
    }
}

fn upstream(route: &RouteConfig, config: &Config) -> (String, String) {
    let Some(upstream) = route.upstream.and_then(|index| config.upstreams.get(index)) else {
        return ("-".to_owned(), "-".to_owned());
    };
    (upstream.name.clone(), upstream.address())
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}
