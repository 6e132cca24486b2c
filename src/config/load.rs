//! [`load`]: from what was said to a checked [`Config`].

use std::io::IsTerminal;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::thread;

use super::origin::SourceFile;
use super::reading::layers;
use super::reading::problem::{ConfigError, Place};
use super::reading::reader::{LOOSE, Reader, Table, set_as};
use super::reading::section::{Section, brief};
use super::reading::values::Number;
use super::reading::weakness::{distinct, is_guessable, repeats};
use super::sections::acme;
use super::sections::identity;
use super::sections::listen;
use super::sections::pages;
use super::sections::public_url::PublicUrl;
use super::sections::settings::{self, Root};
use super::sections::{policy_tests, routes, tokens, upstream};
use super::{
    AuditConfig, BodyPace, Config, ForwardAuthConfig, KeyConfig, LimitConfig, ListenAddress, ListenerConfig,
    LogConfig, LogFormat, LoginConfig, MetricsConfig, ServerConfig, SessionConfig, StoreConfig, TlsFiles,
};
use crate::model::role::Role;
use crate::model::secret::Secret;

/// Asked once: a machine that gets another core does not change what a running gateway was told.
static CORES: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from));

/// Where settings come from, beside flags.
#[derive(Clone, Default)]
pub struct Source {
    /// The TOML file, if there is one.
    pub file: Option<PathBuf>,
    /// Variables as (name, value); those not beginning with `DOORWARD_` are ignored. May hold secrets.
    pub environment: Vec<(String, String)>,
}

impl Source {
    /// `file` and this process's environment.
    pub fn from_process(file: Option<PathBuf>) -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let environment = std::env::vars_os()
            .map(|(name, value)| (text(name), value))
            .filter(|(name, _)| name.starts_with("DOORWARD_"))
            .map(|(name, value)| (name, text(value)))
            .collect();
        Self { file, environment }
    }
}

/// Settings from the command line. Secrets have no flag: other users of a machine can read command lines.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--upstream`: url of the only upstream.
    pub upstream: Option<String>,
    /// `--listen`, any number of times: replaces `server.listen`.
    pub listen: Vec<String>,
    /// `--public-url`: replaces `public_url`.
    pub public_url: Option<String>,
    /// `--insecure`: sets `insecure`.
    pub insecure: bool,
}

/// Reads defaults, file, environment and flags, each over the one before.
///
/// # Errors
///
/// [`ConfigError`] with *every* problem, in the order of the file. A file that cannot be read or is not TOML
/// is the only problem then.
pub fn load(source: &Source, flags: &Flags) -> Result<Config, ConfigError> {
    read(source, flags, &mut Vec::new())
}

/// [`load`], which also tells how every file was that it read, the configuration file first.
pub(super) fn read(
    source: &Source,
    flags: &Flags,
    files: &mut Vec<SourceFile>,
) -> Result<Config, ConfigError> {
    let merged = layers::merge(source, flags, files).map_err(ConfigError::new)?;
    let directory = source.file.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
    let home = source.file.clone().map_or(Place::Nowhere, Place::File);
    let mut reader = Reader::new(merged.places, home, directory);
    reader.problems = merged.problems;
    let root = Root::of(Table { path: "", values: &merged.values }, &mut reader);
    guard_file(&root, source.file.as_deref(), &mut reader);
    let config = assemble(root, &mut reader);
    files.append(&mut reader.files);
    if reader.problems.is_empty() { Ok(config) } else { Err(ConfigError::new(reader.problems)) }
}

fn assemble(root: Root, reader: &mut Reader) -> Config {
    let listeners = listen::listeners(&root.server, reader);
    let public_url = public_url(&root, &listeners, reader);
    let secret = secret(root.secret, reader);
    let store = store(root.store, secret.is_some(), reader);
    let server = server(root.server, listeners, &public_url, reader);
    let session = session(root.session, &public_url, reader);
    let forward_auth = forward_auth(root.forward_auth, &server, reader);
    let mut upstreams = upstream::upstreams(root.upstreams, &server.listeners, forward_auth.is_on(), reader);
    let tokens = tokens::tokens(root.break_glass, root.keys.imported, reader);
    let keys = KeyConfig { headers: root.keys.header };
    let general = routes::General { forward_auth: &forward_auth, keys: &keys, enforce: root.enforce };
    let routes = routes::routes(root.routes, &mut upstreams, general, reader);
    let key_headers = routes::key_headers(&keys, &routes);
    identity::check_names(&forward_auth.identity, &key_headers, "forward_auth", reader);
    for upstream in &upstreams {
        if let Some(config) = &upstream.config {
            identity::check_names(&config.identity, &key_headers, &upstream.path, reader);
        }
    }
    routes::warn_of_hosts(&routes, &public_url, reader);
    let tests = policy_tests::policy_tests(root.tests, reader);
    Config {
        secret,
        store,
        login: login(root.login, reader),
        pages: pages::pages(root.pages, reader),
        keys,
        tokens,
        log: log(root.log),
        audit: AuditConfig { keep: root.audit.keep.0 },
        metrics: metrics(&root.metrics, reader),
        forward_auth,
        upstreams: upstreams.into_iter().filter_map(|upstream| upstream.config).collect(),
        warnings: std::mem::take(&mut reader.warnings),
        public_url,
        server,
        session,
        routes,
        tests,
    }
}

/// Refuses secrets in a configuration file that others may read.
fn guard_file(root: &Root, file: Option<&Path>, reader: &mut Reader) {
    let mode =
        file.and_then(|file| std::fs::metadata(file).ok()).map_or(0, |found| found.permissions().mode());
    if mode & LOOSE == 0 {
        return;
    }
    let url = root.store.url.expose();
    let holds_password = url.contains('@') || url.contains("password=");
    let mut secrets = vec!["secret".to_owned(), "login.admin_password".to_owned()];
    secrets.extend(holds_password.then(|| "store.url".to_owned()));
    secrets.extend(root.break_glass.iter().map(|token| token.at("token")));
    let upstreams = root.upstreams.iter().filter_map(|upstream| upstream.bearer.as_ref());
    secrets.extend(upstreams.chain(&root.forward_auth.bearer).map(|bearer| bearer.at("key")));
    let logins = root.upstreams.iter().filter_map(|upstream| upstream.basic.as_ref());
    secrets.extend(logins.map(|basic| basic.at("password")));
    secrets.extend(root.upstreams.iter().map(|upstream| upstream.at("token")));
    secrets.extend(root.keys.imported.iter().map(|keys| keys.at("ring")));
    for path in &secrets {
        if reader.is_set(path) && reader.place(path).line().is_some() {
            let what = format!("is a secret in a file whose mode {:04o} lets others in", mode & 0o7777);
            let remedy =
                format!("chmod 0640 the file, or put the secret into a file of its own with `{path}_file`");
            reader.problem(path, what, remedy);
        }
    }
}

fn public_url(root: &Root, listeners: &[ListenerConfig], reader: &mut Reader) -> PublicUrl {
    if let Some(url) = &root.public_url {
        let exposed = !url.is_secure() && !url.is_loopback();
        if exposed && root.insecure {
            reader.warn("public_url", "is plain http: passwords and cookies can be read on the way");
        } else if exposed {
            reader.problem(
                "public_url",
                "is plain http on a host other than this machine: passwords and cookies could be read on the way",
                "write https://, or set `insecure = true` if nothing but trusted wire lies between",
            );
        }
        return url.clone();
    }
    let first = listeners.first();
    let (open, open_plain) = listen::open(listeners);
    let local = match (open.or(open_plain), first.map(|listener| &listener.address)) {
        (None, Some(ListenAddress::Tcp(address))) => Some(*address),
        _ => None,
    };
    let what = match (open.or(open_plain), first) {
        (Some(open), _) => Some(format!("is missing, but {open} can be reached from other machines")),
        (None, Some(first)) if local.is_none() && !reader.is_broken("server.listen") => {
            Some(format!("is missing, and cannot be made from {}", first.address))
        }
        _ => None,
    };
    if let Some(what) = what
        && !reader.is_broken("public_url")
    {
        let remedy =
            "add `public_url = \"https://app.example.com\"`, the address people type into their browsers";
        reader.problem("public_url", what, remedy);
    }
    let scheme = if first.is_some_and(|listener| listener.tls) { "https" } else { "http" };
    let address = local.unwrap_or(([127, 0, 0, 1], 8080).into());
    PublicUrl::parse(&format!("{scheme}://{address}")).expect("scheme, address and port make a URL")
}

fn secret(secret: Option<Secret>, reader: &mut Reader) -> Option<Secret> {
    const REMEDY: &str = "write the output of: openssl rand -base64 32";
    let text = secret.as_ref()?.expose();
    let path = set_as("secret", reader);
    let example = Root::INFO.settings.iter().any(|setting| setting.example.trim_matches('"') == text);
    if text.len() < 32 {
        reader.problem(&path, "is shorter than 32 bytes", REMEDY);
    } else if example || is_guessable(text) {
        reader.problem(&path, "can be guessed", REMEDY);
    }
    secret
}

fn store(store: settings::Store, has_secret: bool, reader: &mut Reader) -> StoreConfig {
    let url = store.url.expose();
    let path = set_as("store.url", reader);
    let postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let complete = if postgres {
        url::Url::parse(url).is_ok_and(|url| url.has_host() && url.path().len() > 1)
    } else {
        url.strip_prefix("sqlite:").is_some_and(|file| !file.trim_start_matches('/').is_empty())
    };
    if !complete {
        reader.problem(
            &path,
            "is no database",
            "write \"sqlite:FILE\" or \"postgres://USER:PASSWORD@HOST/DATABASE\"",
        );
    }
    if postgres && !has_secret && !reader.is_broken("secret") {
        reader.problem(
            "secret",
            "is missing, but replicas on one PostgreSQL must share it",
            "add `secret_file` with the output of: openssl rand -base64 32",
        );
    }
    StoreConfig { connections: store.connections.count(), outage_grace: store.outage_grace.0, url: store.url }
}

fn server(
    mut server: settings::Server,
    listeners: Vec<ListenerConfig>,
    public_url: &PublicUrl,
    reader: &mut Reader,
) -> ServerConfig {
    let (_, open) = listen::open(&listeners);
    let plain = listeners.iter().any(|listener| !listener.tls && !listener.proxy_protocol);
    let no_tls = !listeners.iter().any(|listener| listener.tls);
    if plain && (no_tls || open.is_some()) && public_url.is_secure() && server.trusted_proxies.is_empty() {
        let what = if open.is_some() {
            "is reachable from other machines without TLS although the public URL is https: \
             set server.tls, or name the proxy that ends TLS in server.trusted_proxies"
        } else {
            "speaks plain HTTP although the public URL is https: name the proxy that ends TLS in \
             server.trusted_proxies, or all clients look like that one, or set server.tls"
        };
        reader.warn(&server.at("listen"), what);
    }
    if listeners.iter().any(|listener| listener.tls) && !public_url.is_secure() {
        reader.warn("public_url", "is plain http although the listeners speak TLS: write https://");
    }
    let limits = &server.limits;
    if limits.uri_bytes.0 > limits.header_bytes.0 {
        let remedy = format!("write at most {}", limits.header_bytes.0);
        reader.problem(&limits.at("uri_bytes"), "is more than header_bytes, of which it is a part", remedy);
    }
    if limits.connections_per_client.0 > limits.connections.0 {
        let remedy = format!("write at most {}", limits.connections.0);
        reader.problem(
            &limits.at("connections_per_client"),
            "is more than connections, of all clients",
            remedy,
        );
    }
    let acme = server.acme.take().map(|acme| acme::acme(acme, &listeners, public_url, reader));
    let ops_listen = listen::ops(&server, reader);
    ServerConfig {
        workers: server.workers.map_or_else(|| *CORES, Number::size),
        tls: server
            .tls
            .and_then(|tls| Some(TlsFiles { certificate: tls.certificate.0?.0, key: tls.key.0?.0 })),
        trusted_proxies: server.trusted_proxies.iter().map(|network| network.0).collect(),
        trusted_origins: server.trusted_origins.into_iter().map(|origin| origin.0).collect(),
        limits: LimitConfig {
            header_bytes: limits.header_bytes.size(),
            header_count: limits.header_count.size(),
            uri_bytes: limits.uri_bytes.size(),
            connections: limits.connections.size(),
            connections_per_client: limits.connections_per_client.size(),
            http2_streams: limits.http2_streams.count(),
            graphql_body_bytes: limits.graphql_body_bytes.size(),
            read_ahead_bytes: limits.read_ahead_bytes.size(),
            read_ahead_bytes_per_client: limits.read_ahead_bytes_per_client.size(),
        },
        header_timeout: server.header_timeout.0,
        keep_alive: server.keep_alive.0,
        write_timeout: server.write_timeout.0,
        body_pace: BodyPace { rate: limits.body_rate.count().into(), over: server.body_timeout.0 },
        drain: server.drain.0,
        proxy_protocol_from: server.proxy_protocol_from.iter().map(|network| network.0).collect(),
        ops_listen,
        acme,
        listeners,
    }
}

fn forward_auth(
    written: settings::ForwardAuth,
    server: &ServerConfig,
    reader: &mut Reader,
) -> ForwardAuthConfig {
    let config = ForwardAuthConfig {
        headers: written.headers,
        identity: identity::identity(
            written.encoding,
            written.set_headers,
            written.assertion,
            written.bearer,
            None,
            written.pass_authorization,
            reader,
        ),
        pass_authorization: written.pass_authorization,
        pass_api_key: written.pass_api_key,
        paths: upstream::opt_ins(&written.paths),
        session_cookies: written.session_cookies,
        flavours: written.flavours,
        compat: written.compat,
    };
    if config.is_on() && server.trusted_proxies.is_empty() && !reader.is_broken("server.trusted_proxies") {
        reader.problem(
            "server.trusted_proxies",
            "is empty, but forward_auth is on: nobody could ask, or anybody could pretend to be a proxy",
            "name the addresses your proxy connects from, such as [\"127.0.0.1\"]",
        );
    }
    config
}

fn login(login: settings::Login, reader: &mut Reader) -> LoginConfig {
    let default_role = login.default_role.0;
    if default_role == Role::Admin {
        reader.warn(&login.at("default_role"), "makes everyone an admin who is added without a role");
    }
    if let Some(password) = &login.admin_password {
        let path = set_as("login.admin_password", reader);
        let length = password.expose().chars().count();
        if !(12..=128).contains(&length) {
            reader.problem(
                &path,
                "has not 12 to 128 characters",
                "choose a longer one, such as four random words",
            );
        } else if distinct(password.expose()) < 5 || repeats(password.expose()) {
            reader.problem(&path, "can be guessed", "choose another, such as four random words");
        }
    }
    LoginConfig {
        password: login.password,
        default_role,
        admins: login.admins.into_iter().map(|admin| (admin.0, admin.1)).collect(),
        admin_password: login.admin_password,
        breach_list: login.breach_list,
    }
}

/// Whether a domain is on the Public Suffix List, private suffixes such as `github.io` included.
fn is_public_suffix(domain: &str) -> bool {
    psl::suffix(domain.as_bytes()).is_some_and(|suffix| suffix.is_known() && suffix == domain.as_bytes())
}

fn session(session: settings::Session, public_url: &PublicUrl, reader: &mut Reader) -> SessionConfig {
    if session.absolute.0 < session.idle.0 {
        reader.problem(
            &session.at("absolute"),
            "is shorter than session.idle",
            format!("write at least \"{}\", or make session.idle shorter", brief(session.idle.0.as_secs())),
        );
    }
    if let Some(domain) = &session.cookie_domain {
        let domain = domain.0.as_str();
        let host = public_url.host();
        let covers = host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        if !covers || !domain.contains('.') || !public_url.has_name() {
            let parent = host.split_once('.').map_or(host, |(_, parent)| parent);
            let parent = if parent.contains('.') { parent } else { host };
            let remedy = if public_url.has_name() && host.contains('.') {
                format!("write \"{parent}\", or leave it out")
            } else {
                "leave it out: a cookie can be shared only below a domain name".to_owned()
            };
            let what = "is neither the public URL's host nor a domain above it";
            reader.problem(&session.at("cookie_domain"), what, remedy);
        } else if is_public_suffix(domain) {
            let what = format!(
                "`{domain}` is a public suffix, below which anybody may have a name, so browsers keep no cookie for it"
            );
            let below =
                host.strip_suffix(domain).and_then(|rest| rest.trim_end_matches('.').rsplit('.').next());
            let remedy = match below.filter(|label| !label.is_empty()) {
                Some(label) => format!("write \"{label}.{domain}\", or leave it out"),
                None => "leave it out".to_owned(),
            };
            reader.problem(&session.at("cookie_domain"), what, remedy);
        }
    }
    SessionConfig {
        idle: session.idle.0,
        absolute: session.absolute.0,
        cookie_same_site: session.cookie_same_site,
        cookie_domain: session.cookie_domain.map(|domain| domain.0),
    }
}

fn metrics(metrics: &settings::Metrics, reader: &mut Reader) -> MetricsConfig {
    if metrics.listen.is_some_and(|address| !address.ip().is_loopback()) && !metrics.allow_remote {
        reader.problem(
            &metrics.at("listen"),
            "can be reached from other machines, and whoever can connect reads the metrics",
            "write a loopback address such as \"127.0.0.1:9464\", or metrics.allow_remote = true",
        );
    }
    MetricsConfig { listen: metrics.listen }
}

fn log(log: settings::Log) -> LogConfig {
    let by_terminal = || if std::io::stdout().is_terminal() { LogFormat::Text } else { LogFormat::Json };
    LogConfig { format: log.format.0.unwrap_or_else(by_terminal), level: log.level.0, access: log.access }
}
