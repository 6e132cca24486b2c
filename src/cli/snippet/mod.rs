//! `doorward snippet`: a configuration for the proxy in front, made from this gateway's own settings.
//!
//! The texts are in `snippets/`, to be read as they are: `{{name}}` is replaced, a line with a list's name is
//! repeated for each of its items, and `{{when NAME}}` begins a line that is there only in that case.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use http::header::{AUTHORIZATION, COOKIE};
use serde_json::json;
use url::Url;

use super::Common;
use super::failure::Failure;
use super::load_beside;
use super::output::Output;
use crate::config::Config;
use crate::config::Flavour;
use crate::config::HeaderPreset;
use crate::config::ListenAddress;
use crate::config::body_rules;
use crate::gate::effects;
use crate::gate::identity_headers;
use crate::model::header_names::{FAMILIES, NAMES};

/// Known members of the families, for proxies that remove whole names only.
#[rustfmt::skip]
const MEMBERS: &[&str] = &[
    "cf-access-authenticated-user-email", "cf-access-jwt-assertion", "client-cert", "client-cert-chain",
    "impersonate-group", "impersonate-uid", "impersonate-user", "iv-creds", "iv-groups", "iv-user", "mellon-name-id",
    "ms-aspnetcore-clientcert", "ms-aspnetcore-token", "ms-aspnetcore-winauthtoken", "ngrok-auth-user-email",
    "ngrok-auth-user-id", "ngrok-auth-user-name", "oam-remote-user", "oidc-access-token", "oidc-claim-email",
    "oidc-claim-groups", "oidc-claim-name", "oidc-claim-preferred-username", "oidc-claim-sub", "redirect-status",
    "redirect-url", "remote-addr", "remote-host", "remote-ident", "remote-role", "remote-roles",
    "shib-identity-provider", "shib-session-id", "sm-universalid", "sm-user", "ssl-client-cert", "ssl-client-dn",
    "ssl-client-s-dn", "ssl-client-verify", "tailscale-user-login", "tailscale-user-name", "tls-client-cert",
    "wl-proxy-client-cert", "wl-proxy-client-ip", "wl-proxy-ssl", "x-accel-mapping", "x-accel-redirect",
    "x-amzn-mtls-clientcert", "x-amzn-oidc-accesstoken", "x-amzn-oidc-data", "x-amzn-oidc-identity",
    "x-appengine-user-email", "x-appengine-user-id", "x-astro-locals", "x-astro-path", "x-auth-request-access-token",
    "x-authentik-jwt", "x-client-cert", "x-consumer-custom-id", "x-consumer-groups", "x-consumer-id",
    "x-consumer-username", "x-credential-identifier", "x-doorward-assertion", "x-envoy-original-path",
    "x-forwarded-access-token", "x-forwarded-client-cert", "x-forwarded-method", "x-forwarded-path",
    "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-scheme", "x-forwarded-ssl", "x-forwarded-tls-client-cert",
    "x-forwarded-uri", "x-goog-authenticated-user-email", "x-goog-authenticated-user-id", "x-goog-iap-jwt-assertion",
    "x-hass-user-id", "x-invoke-path", "x-ms-client-principal", "x-ms-client-principal-id",
    "x-ms-client-principal-name", "x-ms-token-aad-access-token", "x-ms-token-aad-id-token", "x-pomerium-claim-email",
    "x-pomerium-claim-groups", "x-pomerium-jwt-assertion", "x-remote-extra-scopes", "x-replit-user-id",
    "x-replit-user-name", "x-sandstorm-user-id", "x-sendfile-type", "x-ssl-cert", "x-ssl-client-cert",
    "x-ssl-client-cn", "x-ssl-client-dn", "x-ssl-client-s-dn", "x-ssl-client-verify", "x-tls-client-cert",
    "x-vercel-forwarded-for", "x-webobjects-remote-user",
];

/// The family that a proxy writes some of itself, so that no pattern may remove it.
const WRITTEN: &str = "x-forwarded-";

/// What a question repeats of the request, where the proxy does not repeat everything.
const PASSED: &[&str] = &[
    "accept",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "content-type",
    "cookie",
    "origin",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-websocket-key",
    "user-agent",
    "x-requested-with",
];

/// What an answer has beside what the client sent.
const ANSWER_BYTES: usize = 8192;

/// What `snippet` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// nginx, traefik, caddy, haproxy or envoy
    #[arg(value_name = "PROXY", value_parser = flavour)]
    proxy: Flavour,
    /// The application behind the proxy
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000", value_parser = plain_url)]
    app: Url,
    /// Where the proxy listens
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// How the proxy reaches this gateway [default: the first listener in the settings]
    #[arg(long, value_name = "URL", value_parser = plain_url)]
    gateway: Option<Url>,
    /// Envoy: ask over gRPC instead of HTTP
    #[arg(long)]
    grpc: bool,
    /// Another file, where the proxy needs several: static or dynamic (traefik), lua (haproxy)
    #[arg(long, value_enum)]
    part: Option<SnippetFile>,
}

/// A file of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum SnippetFile {
    Static,
    Dynamic,
    Lua,
}

pub(super) fn run(arguments: &Arguments, common: &Common, output: Output) -> Result<(), Failure> {
    let text = print(arguments, &load_beside(common)?)?;
    output.show(&json!({ "proxy": arguments.proxy.as_str(), "file": text }), &text)
}

/// Reads a proxy's name.
pub(super) fn flavour(text: &str) -> Result<Flavour, String> {
    let names = Flavour::ALL.map(Flavour::as_str).join(", ");
    Flavour::ALL.into_iter().find(|known| known.as_str() == text).ok_or(format!("one of {names}"))
}

fn print(arguments: &Arguments, config: &Config) -> Result<String, Failure> {
    let template = template(arguments)?;
    let gateway = match &arguments.gateway {
        Some(url) => url.clone(),
        None => own_address(config)?,
    };
    Ok(SnippetValues::of(arguments, config, &gateway).fill(template))
}

fn template(arguments: &Arguments) -> Result<&'static str, Failure> {
    if arguments.grpc && arguments.proxy != Flavour::Envoy {
        return Err(Failure::Usage("only Envoy asks over gRPC".to_owned()));
    }
    Ok(match (arguments.proxy, arguments.part) {
        (Flavour::Nginx, None) => include_str!("../snippets/nginx.txt"),
        (Flavour::Traefik, None | Some(SnippetFile::Dynamic)) => {
            include_str!("../snippets/traefik-dynamic.txt")
        }
        (Flavour::Traefik, Some(SnippetFile::Static)) => include_str!("../snippets/traefik-static.txt"),
        (Flavour::Caddy, None) => include_str!("../snippets/caddy.txt"),
        (Flavour::Haproxy, None) => include_str!("../snippets/haproxy.txt"),
        (Flavour::Haproxy, Some(SnippetFile::Lua)) => include_str!("../snippets/haproxy-lua.txt"),
        (Flavour::Envoy, None) => include_str!("../snippets/envoy.txt"),
        (proxy, Some(_)) => {
            return Err(Failure::Usage(format!("{} has no such part", proxy.as_str())));
        }
    })
}

/// How a proxy on this machine reaches the first listener that it can ask.
fn own_address(config: &Config) -> Result<Url, Failure> {
    let mut plain = config.server.listeners.iter().filter(|it| !it.tls && !it.proxy_protocol);
    let Some(mut address) = plain.find_map(|listener| match listener.address {
        ListenAddress::Tcp(address) => Some(address),
        _ => None,
    }) else {
        return Err(Failure::Usage(
            "the printed configuration asks in plain HTTP on an address, and no listener in the settings is so: \
             give --gateway http://ADDR:PORT of one without TLS and PROXY protocol"
                .to_owned(),
        ));
    };
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    plain_url(&format!("http://{address}")).map_err(Failure::Usage)
}

/// `http://HOST[:PORT]` and nothing that could end up elsewhere in a configuration.
fn plain_url(text: &str) -> Result<Url, String> {
    let wrong = || "write http://HOST:PORT, without a path".to_owned();
    let url = Url::parse(text).map_err(|_| wrong())?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let unnamed = url.username().is_empty() && url.password().is_none();
    let harmless = url
        .host_str()
        .is_some_and(|host| host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b)));
    if url.scheme() == "http" && bare && unnamed && harmless { Ok(url) } else { Err(wrong()) }
}

/// What stands in place of the names.
struct SnippetValues {
    values: BTreeMap<&'static str, String>,
    lists: [(&'static str, Vec<String>); 7],
    cases: Vec<&'static str>,
}

impl SnippetValues {
    fn of(arguments: &Arguments, config: &Config, gateway: &Url) -> Self {
        let identity = identity(config);
        let keys: Vec<String> = config.key_headers().iter().map(|name| name.as_str().to_owned()).collect();
        let families = families(arguments.proxy, &keys);
        let mut forged = forged(&identity, &families);
        forged.retain(|name| !keys.contains(name));
        // Whatever heads we take, and as much again as an answer of ours has by itself; rounded up to pages.
        let answer_bytes = (config.server.limits.header_bytes + ANSWER_BYTES).next_multiple_of(4096);
        let passed = PASSED.iter().chain(effects::NAMES).map(|name| (*name).to_owned());
        let passed: Vec<String> = passed.chain(keys.iter().cloned()).collect();
        let mut values = BTreeMap::from([
            ("answer_bytes", answer_bytes.to_string()),
            ("listen", arguments.listen.to_string()),
            ("listen_host", arguments.listen.ip().to_string()),
            ("listen_port", arguments.listen.port().to_string()),
            ("own", format!("{}/_doorward", config.public_url.base_path())),
        ]);
        for (whole, address, host, port, url) in [
            ("app", "app_address", "app_host", "app_port", &arguments.app),
            ("gateway", "gateway_address", "gateway_host", "gateway_port", gateway),
        ] {
            let name = url.host_str().unwrap_or_default().to_owned();
            let number = url.port_or_known_default().unwrap_or(80);
            values.insert(whole, format!("http://{name}:{number}"));
            values.insert(address, format!("{name}:{number}"));
            values.insert(host, name.trim_matches(['[', ']']).to_owned());
            values.insert(port, number.to_string());
        }
        let cases = vec![if arguments.grpc { "grpc" } else { "http" }];
        let mut claimed = identity.clone();
        claimed.retain(|name| name != AUTHORIZATION.as_str());
        // A token of our own takes the place of whatever the client sent.
        let mut left = vec![COOKIE.as_str().to_owned(), AUTHORIZATION.as_str().to_owned()];
        left.extend(keys);
        left.retain(|name| !identity.contains(name));
        let notes = notes(arguments.proxy, config);
        let lists = [
            ("note", notes),
            ("identity", identity),
            ("claimed", claimed),
            ("left", left),
            ("forged", forged),
            ("family", families),
            ("passed", passed),
        ];
        Self { values, lists, cases }
    }

    fn fill(&self, template: &str) -> String {
        let mut text = String::new();
        for line in template.lines() {
            let Some(line) = self.wanted(line) else { continue };
            match self.lists.iter().find(|(name, _)| mentions(line, name)) {
                Some((name, items)) => {
                    for item in items {
                        self.push(&mut text, &each(line, name, item));
                    }
                }
                None => self.push(&mut text, line),
            }
        }
        text
    }

    /// The line without its condition, if that holds.
    fn wanted<'l>(&self, line: &'l str) -> Option<&'l str> {
        match line.strip_prefix("{{when ").and_then(|rest| rest.split_once("}}")) {
            Some((case, line)) => self.cases.contains(&case).then_some(line),
            None => Some(line),
        }
    }

    fn push(&self, text: &mut String, line: &str) {
        let mut line = line.to_owned();
        for (name, value) in &self.values {
            line = line.replace(&format!("{{{{{name}}}}}"), value);
        }
        text.push_str(&line);
        text.push('\n');
    }
}

/// Whether a line is repeated for each item of a list.
fn mentions(line: &str, list: &str) -> bool {
    [format!("{{{{{list}}}}}"), format!("{{{{{}}}}}", capitalized(list)), format!("{{{{{list}_variable}}}}")]
        .iter()
        .any(|name| line.contains(name))
}

fn each(line: &str, list: &str, item: &str) -> String {
    line.replace(&format!("{{{{{list}}}}}"), item)
        .replace(&format!("{{{{{}}}}}", capitalized(list)), &capitalized(item))
        .replace(&format!("{{{{{list}_variable}}}}"), &item.replace('-', "_"))
}

/// `X-Auth-User`, as people write it.
fn capitalized(name: &str) -> String {
    let mut start = true;
    name.chars()
        .map(|c| {
            let this = if start { c.to_ascii_uppercase() } else { c };
            start = c == '-';
            this
        })
        .collect()
}

/// Every identity header that an answer of this gateway may carry.
pub(super) fn identity(config: &Config) -> Vec<String> {
    let presets = config.routes.iter().filter_map(|route| route.headers);
    let mut all = names(std::iter::once(config.forward_auth.headers).chain(presets));
    for name in config.forward_auth.identity.names() {
        if !all.iter().any(|known| known == name.as_str()) {
            all.push(name.as_str().to_owned());
        }
    }
    all
}

/// Whether a proxy can be told to remove every name that begins with something.
fn knows_patterns(proxy: Flavour) -> bool {
    match proxy {
        Flavour::Caddy | Flavour::Haproxy | Flavour::Envoy => true,
        Flavour::Nginx | Flavour::Traefik => false,
    }
}

/// What the names begin with that a proxy removes by pattern: none of which a key may come by.
fn families(proxy: Flavour, keys: &[String]) -> Vec<String> {
    let mut families: Vec<String> = FAMILIES.iter().map(|(family, _)| (*family).to_owned()).collect();
    families.retain(|family| {
        let taken = family == WRITTEN || keys.iter().any(|key| key.starts_with(family));
        knows_patterns(proxy) && !taken
    });
    families
}

/// Every other name that no client may send, but for those of the families.
fn forged(identity: &[String], families: &[String]) -> Vec<String> {
    let mut all = names(HeaderPreset::ALL.into_iter());
    for name in NAMES.iter().map(|(name, _)| *name).chain(MEMBERS.iter().copied()) {
        if !all.iter().any(|known| known == name) {
            all.push(name.to_owned());
        }
    }
    all.retain(|name| !identity.contains(name) && !families.iter().any(|family| name.starts_with(family)));
    all
}

fn names(presets: impl Iterator<Item = HeaderPreset>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in presets.flat_map(identity_headers::names) {
        if !names.iter().any(|known| known == name) {
            names.push((*name).to_owned());
        }
    }
    names
}

/// What the operator must know or do besides.
fn notes(proxy: Flavour, config: &Config) -> Vec<String> {
    let name = proxy.as_str();
    let mut notes = vec![
        format!("Browsers must reach it at {}", config.public_url),
        "Nobody but this proxy may reach the application: let it listen on loopback or a private network."
            .to_owned(),
    ];
    if !config.forward_auth.flavours.contains(&proxy) {
        notes.push(format!("MISSING in Doorward's settings: [forward_auth] flavours = [\"{name}\"]"));
    }
    if config.server.trusted_proxies.is_empty() {
        notes.push(
            "MISSING in Doorward's settings: [server] trusted_proxies = [\"<address this proxy connects from>\"]"
                .to_owned(),
        );
    }
    for route in &config.routes {
        let rules = body_rules(&route.policy.rules);
        if !rules.is_empty() {
            notes.push(format!(
                "No body is part of a question. So to {rules} of route {} every request of GraphQL is a mutation of unknown \
                 fields, and every message of MCP a call of an unknown tool, and those who may only read are refused. Let \
                 Doorward be the proxy for them.",
                route.name
            ));
        }
    }
    notes.push(format!("See what it really sends: doorward doctor {name} --through URL"));
    notes
}

#[cfg(test)]
mod tests;
