//! Floor 2, settings: read once, typed, complete. Nothing above this floor sees TOML.
//!
//! [`load`] reads defaults, file, environment and flags, in that order, and returns a [`Config`] or
//! *every* problem found, each with its TOML path, line, cause and remedy.

mod documents;
mod fixed;
mod load;
mod origin;
mod reading;

/// One file for each section: its description, its check and its typed form.
mod sections {
    pub(super) mod acme;
    pub(super) mod breach_list;
    pub(super) mod flavour;
    pub(super) mod header_name;
    pub(super) mod identity;
    pub(super) mod listen;
    pub(super) mod own_credentials;
    pub(super) mod pages;
    pub(super) mod policy_tests;
    pub(super) mod presets;
    pub(super) mod public_url;
    pub(super) mod routes;
    pub(super) mod rules;
    pub(super) mod servers;
    pub(super) mod set_headers;
    pub(super) mod settings;
    pub(super) mod tokens;
    pub(super) mod upstream;
    pub(super) mod warnings;
}

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;

pub use self::documents::reference::markdown as reference;
pub use self::documents::schema::schema;
pub use self::load::{Flags, Source, load};
pub use self::origin::Origin;
pub use self::reading::problem::{ConfigError, Place, Problem};
pub use self::sections::acme::{AcmeChallenge, AcmeConfig};
pub use self::sections::breach_list::BreachList;
pub use self::sections::flavour::{Compat, Flavour};
pub use self::sections::identity::{
    AssertionConfig, AttributionConfig, BearerConfig, ClaimValue, IdentityConfig,
};
pub use self::sections::listen::{ListenAddress, ListenerConfig};
pub use self::sections::pages::{DARK_PAGE, LIGHT_PAGE, Logo, LogoFormat, PagesConfig};
pub use self::sections::policy_tests::{Expect, PolicyTest};
pub use self::sections::presets::{Assumption, Preset, Reliance};
pub use self::sections::public_url::PublicUrl;
pub use self::sections::routes::CredentialConfig;
pub use self::sections::servers::{Balance, HealthCheck, HealthConfig, UpstreamAddress};
pub use self::sections::tokens::{SHORTEST_KEY, TokenConfig};
pub use self::sections::upstream::{
    Addresses, ForeignCredentials, HeaderEncoding, HeaderPreset, RouteTimeouts, Timeouts, UpstreamConfig,
    UpstreamProtocol, UpstreamTls,
};
pub use self::sections::warnings::body_rules;
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::model::session_cookie::SessionCookie;
use crate::model::target::PathOptIns;
use crate::model::target::Prefixes;
use crate::policy::Policy;

/// Everything the gateway was told, already checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// How browsers reach us.
    pub public_url: PublicUrl,
    /// Key material of at least 32 bytes; `None`: generated beside the `SQLite` database.
    pub secret: Option<Secret>,
    /// Listeners and limits.
    pub server: ServerConfig,
    /// The database.
    pub store: StoreConfig,
    /// Local sign-in.
    pub login: LoginConfig,
    /// Browser sessions.
    pub session: SessionConfig,
    /// How our own pages look.
    pub pages: PagesConfig,
    /// API keys.
    pub keys: KeyConfig,
    /// Bearer values that the settings name. No two have the same value.
    pub tokens: Vec<TokenConfig>,
    /// Logs.
    pub log: LogConfig,
    /// The audit trail.
    pub audit: AuditConfig,
    /// Metrics.
    pub metrics: MetricsConfig,
    /// Answers to other proxies' questions.
    pub forward_auth: ForwardAuthConfig,
    /// Servers behind us, by name.
    pub upstreams: Vec<UpstreamConfig>,
    /// What goes where, and who may.
    pub routes: Vec<RouteConfig>,
    /// Claims about the rules.
    pub tests: Vec<PolicyTest>,
    /// What is allowed but unwise; logged at every start.
    pub warnings: Vec<String>,
}

impl Config {
    /// The hosts of which requests are passed on where a route names none itself: the public one and those that
    /// other routes name. Empty, which is every host, where none does, or where the gateway is on this machine only.
    pub fn known_hosts(&self) -> Vec<String> {
        let mut named: Vec<String> =
            self.routes.iter().flat_map(|route| route.hosts.iter().cloned()).collect();
        if named.is_empty() || self.public_url.is_loopback() {
            return Vec::new();
        }
        named.push(self.public_url.host().to_owned());
        named.sort();
        named.dedup();
        named
    }

    /// The session cookies of the application that a route leads to, or that another proxy has behind it.
    pub fn session_cookies<'c>(&'c self, route: &'c RouteConfig) -> &'c [SessionCookie] {
        match route.upstream.and_then(|index| self.upstreams.get(index)) {
            Some(upstream) => &upstream.session_cookies,
            None => &route.session_cookies,
        }
    }

    /// Whether anything is refused in earnest on a route, or on any other to the same upstream.
    pub fn is_kept(&self, route: &RouteConfig) -> bool {
        let beside = |other: &&RouteConfig| route.upstream.is_some() && other.upstream == route.upstream;
        route.policy.is_kept() || self.routes.iter().filter(beside).any(|other| other.policy.is_kept())
    }

    /// Every header that may carry a key somewhere, beside `Authorization`.
    pub fn key_headers(&self) -> Vec<HeaderName> {
        sections::routes::key_headers(&self.keys, &self.routes)
    }
}

/// Listeners and limits.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where clients connect; at least one.
    pub listeners: Vec<ListenerConfig>,
    /// Where `/healthz` and `/readyz` answer without the reserved prefix, if anywhere.
    pub ops_listen: Option<ListenAddress>,
    /// Data-plane threads; at least one.
    pub workers: usize,
    /// Certificate and key for the listeners that speak TLS; with `acme`, until there is another.
    pub tls: Option<TlsFiles>,
    /// Certificates that the gateway orders by itself.
    pub acme: Option<AcmeConfig>,
    /// Peers whose `X-Forwarded-*` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Peers that may begin a connection with a PROXY protocol header.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Further origins (`https://host[:port]`) whose pages may send cookie-borne writes or open a WebSocket.
    pub trusted_origins: Vec<String>,
    /// Bounds on what a client may send or hold.
    pub limits: LimitConfig,
    /// A request head must be complete within this.
    pub header_timeout: Duration,
    /// An idle keep-alive connection is closed after this.
    pub keep_alive: Duration,
    /// A client that takes nothing for this long is cut off.
    pub write_timeout: Duration,
    /// How slowly a client may send a body.
    pub body_pace: BodyPace,
    /// After a stop signal, open requests get this long.
    pub drain: Duration,
}

impl ServerConfig {
    /// The listener for operators: plain, whatever the others are.
    pub fn ops_listener(&self) -> Option<ListenerConfig> {
        self.ops_listen.clone().map(ListenerConfig::plain)
    }
}

/// The slowest a body may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyPace {
    /// Bytes a second; zero is no least.
    pub rate: u64,
    /// Over this much time.
    pub over: Duration,
}

impl BodyPace {
    /// What must have come in a span.
    pub fn bytes_in(self, span: Duration) -> u64 {
        self.rate.saturating_mul(span.as_secs())
    }
}

/// Bounds on what a client may send or hold.
#[derive(Clone, Copy, Debug)]
pub struct LimitConfig {
    /// Bytes of a request head.
    pub header_bytes: usize,
    /// Fields of a request head.
    pub header_count: usize,
    /// Bytes of a request target.
    pub uri_bytes: usize,
    /// Open connections in total.
    pub connections: usize,
    /// Open connections of one client (IPv6: one /64).
    pub connections_per_client: usize,
    /// Concurrent HTTP/2 streams of one connection.
    pub http2_streams: u32,
    /// Bytes of a GraphQL body that is read to decide.
    pub graphql_body_bytes: usize,
    /// Bytes of all such bodies that are not sent on yet.
    pub read_ahead_bytes: usize,
    /// Bytes of those of one client (IPv6: one /64).
    pub read_ahead_bytes_per_client: usize,
}

/// PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Chain, leaf first.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// The database.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// `sqlite:PATH` or `postgres://…`; secret because it may hold a password.
    pub url: Secret,
    /// Most connections held open to `PostgreSQL`, by all who use it here.
    pub connections: u32,
    /// How long remembered credentials stay good while the store cannot be asked; zero: not at all.
    pub outage_grace: Duration,
}

/// Local sign-in.
#[derive(Clone, Debug)]
pub struct LoginConfig {
    /// Whether local users may sign in by password.
    pub password: bool,
    /// Role of people who are added without one.
    pub default_role: Role,
    /// Admins made at start where neither name nor address exists: (name, e-mail).
    pub admins: Vec<(String, String)>,
    /// Password of the first admin, used only while there is no user at all.
    pub admin_password: Option<Secret>,
    /// Passwords that nobody may choose.
    pub breach_list: Option<BreachList>,
}

/// Browser sessions.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Ends this long after the last request.
    pub idle: Duration,
    /// Ends this long after sign-in, whatever happens. Never shorter than `idle`.
    pub absolute: Duration,
    /// `SameSite` of the cookie.
    pub cookie_same_site: SameSite,
    /// `Domain` of the cookie, to share a sign-in among hosts; gives up the `__Host-` prefix.
    pub cookie_domain: Option<String>,
}

impl SessionConfig {
    /// The session cookie's name. Its prefix makes browsers insist on `Secure`, and on this very host where
    /// no domain is shared (RFC 6265bis, 4.1.3).
    pub fn cookie_name(&self, public_url: &PublicUrl) -> String {
        let prefix = match (public_url.is_secure(), &self.cookie_domain) {
            (true, None) => "__Host-",
            (true, Some(_)) => "__Secure-",
            (false, _) => "",
        };
        format!("{prefix}doorward")
    }
}

/// When browsers send the session cookie with requests from other sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// On top-level navigation only.
    Lax,
    /// Never.
    Strict,
}

/// API keys.
#[derive(Clone, Debug)]
pub struct KeyConfig {
    /// The headers that may carry a key beside `Authorization`, where a route names no others.
    pub headers: Vec<HeaderName>,
}

/// Logs.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
    /// A `tracing` filter, such as `info` or `doorward=debug`.
    pub level: String,
    /// Whether each request leaves an access event.
    pub access: bool,
}

/// The audit trail.
#[derive(Clone, Copy, Debug)]
pub struct AuditConfig {
    /// Rows older than this are deleted; zero: none.
    pub keep: Duration,
}

/// Metrics.
#[derive(Clone, Copy, Debug)]
pub struct MetricsConfig {
    /// Where `/metrics` answers, if anywhere.
    pub listen: Option<SocketAddr>,
}

/// Answers to other proxies' questions: may this request pass?
#[derive(Clone, Debug)]
pub struct ForwardAuthConfig {
    /// Proxies whose questions are answered; empty: none.
    pub flavours: Vec<Flavour>,
    /// Products whose paths and names are answered as well.
    pub compat: Vec<Compat>,
    /// Identity headers of an answer, where the route names no others.
    pub headers: HeaderPreset,
    /// What else an answer tells.
    pub identity: IdentityConfig,
    /// Whether `Authorization` values that are not ours are left to applications without an upstream here.
    pub pass_authorization: bool,
    /// The same for the header that brings keys.
    pub pass_api_key: bool,
    /// Spellings of paths that applications without an upstream here need.
    pub paths: PathOptIns,
    /// Cookies by which applications without an upstream here remember who signed in to them.
    pub session_cookies: Vec<SessionCookie>,
}

impl ForwardAuthConfig {
    /// Whether any question is answered at all.
    pub fn is_on(&self) -> bool {
        !self.flavours.is_empty() || !self.compat.is_empty()
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
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

#[cfg(test)]
mod tests;
