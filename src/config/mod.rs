//! Floor 2, settings: read once, typed, complete. Nothing above this floor sees TOML.
//!
//! [`load`] reads defaults, file, environment and flags, in that order, and returns a [`Config`] or
//! *every* problem found, each with its TOML path, line, cause and remedy.

mod assembly;
mod documents;
mod fixed;
mod flags;
mod list;
mod load;
mod origin;
mod reading;

/// One file for each section, or a folder: its description, its check and its typed form.
mod sections {
    pub(super) mod audit;
    pub(super) mod breach_list;
    pub(super) mod claims;
    pub(super) mod client_certificates;
    pub(super) mod forward_auth;
    pub(super) mod general;
    pub(super) mod header_name;
    pub(super) mod header_preset;
    pub(super) mod identity;
    pub(super) mod keys;
    pub(super) mod log;
    pub(super) mod login;
    pub(super) mod metrics;
    pub(super) mod pages;
    pub(super) mod paths;
    pub(super) mod policy_tests;
    pub(super) mod presets;
    pub(super) mod providers;
    pub(super) mod public_url;
    pub(super) mod routes;
    pub(super) mod rules;
    pub(super) mod server;
    pub(super) mod session;
    pub(super) mod set_headers;
    pub(super) mod store;
    pub(super) mod tokens;
    pub(super) mod upstream;
}

use http::HeaderName;

pub use self::documents::reference::markdown as reference;
pub use self::documents::schema::schema;
pub use self::flags::Flags;
use self::list::settings;
pub use self::load::load;
pub use self::origin::ConfigOrigin;
pub use self::reading::{
    ConfigError, ConfigProblem, ConfigSource, SecretFileError, SettingLocation, check_key_material,
    read_secret_file,
};
use self::sections::audit::Audit;
pub use self::sections::audit::AuditConfig;
pub use self::sections::breach_list::BreachList;
use self::sections::client_certificates::ClientCertificates;
pub use self::sections::client_certificates::{CertificateConfig, ClientCertificatesConfig};
use self::sections::forward_auth::ForwardAuth;
pub use self::sections::forward_auth::{Compat, Flavour, ForwardAuthConfig};
pub use self::sections::header_preset::{HeaderEncoding, HeaderPreset};
pub use self::sections::identity::{
    AssertionConfig, AttributionConfig, BearerConfig, ClaimValue, IdentityConfig,
};
pub use self::sections::keys::KeyConfig;
use self::sections::keys::Keys;
use self::sections::log::Log;
pub use self::sections::log::{LogConfig, LogFormat};
use self::sections::login::Login;
pub use self::sections::login::{AdminPassword, LoginConfig};
use self::sections::metrics::Metrics;
pub use self::sections::metrics::MetricsConfig;
use self::sections::pages::Pages;
pub use self::sections::pages::{DARK_PAGE, LIGHT_PAGE, Logo, LogoFormat, PagesConfig};
use self::sections::policy_tests::Test;
pub use self::sections::policy_tests::{Expect, PolicyTest};
pub use self::sections::presets::{Assumption, Preset, Reliance};
use self::sections::providers::Provider;
pub use self::sections::providers::{
    ClientCredentials, DirectoryConfig, GoogleDirectoryConfig, GraphConfig, GraphGroups, IssuerConfig,
    LogoutScope, Prompt, ProviderConfig, ProviderKind, RefreshConfig, SigningAlgorithm,
};
pub use self::sections::public_url::PublicUrl;
pub use self::sections::routes::{
    CredentialConfig, ForeignCredentials, RouteConfig, RouteTimeouts, body_rules,
};
use self::sections::routes::{Route, key_headers};
use self::sections::server::Server;
pub use self::sections::server::{
    AcmeChallenge, AcmeConfig, BodyPace, LimitConfig, ListenAddress, ListenerConfig, ServerConfig, TlsFiles,
};
use self::sections::session::Session;
pub use self::sections::session::{SameSite, SessionConfig};
use self::sections::store::Store;
pub use self::sections::store::StoreConfig;
use self::sections::tokens::BreakGlass;
pub use self::sections::tokens::{SHORTEST_KEY, TokenConfig};
use self::sections::upstream::Upstream;
pub use self::sections::upstream::{
    Addresses, Balance, HealthCheck, HealthConfig, Timeouts, UpstreamAddress, UpstreamConfig,
    UpstreamProtocol, UpstreamTls,
};
use crate::model::secret::Secret;
use crate::model::session_cookie::SessionCookie;
use crate::policy::Enforce;

settings! {
    /// What concerns everything. These settings stand above the first `[section]`.
    Root {
        /// How browsers reach the gateway: scheme, host, perhaps a port and a path. Needed as soon as it can
        /// be reached from other machines; until then it is made from the first address in `server.listen`.
        public_url: Option<PublicUrl>, r#""https://app.example.com""#;
        /// Allows a plain `http://` public URL on a host that is not loopback. Passwords and session cookies
        /// then cross the network readable by everyone on the way.
        insecure: bool = "false", "true";
        /// Key material that signs cookies and links: at least 32 random bytes, the same on every replica.
        /// Needed with PostgreSQL; beside an SQLite database one is generated. `openssl rand -base64 32`
        /// makes one.
        secret: Option<Secret>, r#""<the output of: openssl rand -base64 32>""#;
        /// Whether what the rules refuse is refused (`on`), only written down while everything passes (`log`, read
        /// it with `doorward refused`), or nothing is decided at all (`off`). Routes and rules may differ.
        enforce: Enforce = r#""on""#, r#""log""#;
        /// Listeners and limits.
        server: Server = "{}", r#"{ listen = ["127.0.0.1:8080"] }"#;
        /// The database.
        store: Store = "{}", r#"{ url = "sqlite:doorward.db" }"# => StoreConfig;
        /// Local sign-in.
        login: Login = "{}", "{ password = true }" => LoginConfig;
        /// Providers that people sign in with.
        providers: Vec<Provider> = "[]", r#"[{ name = "sso", issuer = "https://sso.example.com", client_id = "doorward" }]"# => Vec<ProviderConfig>;
        /// Browser sessions.
        session: Session = "{}", r#"{ idle = "8h" }"# => SessionConfig;
        /// How the gateway's own pages look.
        pages: Pages = "{}", r#"{ name = "Example Dashboards" }"# => PagesConfig;
        /// API keys.
        keys: Keys = "{}", r#"{ header = "X-Api-Key" }"#;
        /// Tokens for emergencies: off unless one is named.
        break_glass: Vec<BreakGlass> = "[]", r#"[{ name = "on-call", token_file = "break-glass" }]"#;
        /// Client certificates that a proxy in front of the gateway verifies: off unless this table is there.
        client_certificates: Option<ClientCertificates>, r#"{ header = "X-SSL-Client-Fingerprint" }"# => Option<ClientCertificatesConfig>;
        /// Logs.
        log: Log = "{}", r#"{ level = "info" }"# => LogConfig;
        /// The trail of who did what.
        audit: Audit = "{}", r#"{ keep = "400d" }"# => AuditConfig;
        /// Metrics for Prometheus.
        metrics: Metrics = "{}", r#"{ listen = "127.0.0.1:9464" }"# => MetricsConfig;
        /// Answers to other proxies' questions.
        forward_auth: ForwardAuth = "{}", r#"{ flavours = ["nginx"] }"#;
        /// The servers behind the gateway.
        upstreams: Vec<Upstream> = "[]", r#"[{ name = "app", url = "http://127.0.0.1:6006" }]"#;
        /// What goes where, and who may. Among the routes that name the host, or else those for any, the longest
        /// matching path wins; what no route takes is refused.
        routes: Vec<Route> = "[]", r#"[{ upstream = "app" }]"#;
        /// What the rules must come to. Settings whose tests fail are refused, at start and at a reload.
        tests: Vec<Test> = "[]", r#"[{ as = { role = "viewer" }, request = "POST /", expect = "deny" }]"#;
    }

    /// Everything the gateway was told, already checked.
    Config {
        /// How browsers reach us.
        pub public_url: PublicUrl,
        /// Key material of at least 32 bytes; `None`: generated beside the `SQLite` database.
        pub secret: Option<Secret>,
        /// Listeners and limits.
        pub server: ServerConfig,
        /// API keys.
        pub keys: KeyConfig,
        /// Bearer values that the settings name. No two have the same value.
        pub tokens: Vec<TokenConfig>,
        /// Answers to other proxies' questions.
        pub forward_auth: ForwardAuthConfig,
        /// Servers behind us, by name.
        pub upstreams: Vec<UpstreamConfig>,
        /// What goes where, and who may.
        pub routes: Vec<RouteConfig>,
        /// Claims about the rules.
        pub tests: Vec<PolicyTest>,
    }
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
        key_headers(&self.keys, &self.routes)
    }

    /// Every header that brings credentials, beside `Authorization` and `Cookie`.
    pub fn credential_headers(&self) -> Vec<HeaderName> {
        let certificates = self.client_certificates.iter().map(|certificates| certificates.header.clone());
        self.key_headers().into_iter().chain(certificates).collect()
    }

    /// What the application of a route is told of its callers.
    pub fn identity_on(&self, route: &RouteConfig) -> &IdentityConfig {
        let upstream = route.upstream.and_then(|at| self.upstreams.get(at));
        upstream.map_or(&self.forward_auth.identity, |upstream| &upstream.identity)
    }
}

#[cfg(test)]
mod tests;
