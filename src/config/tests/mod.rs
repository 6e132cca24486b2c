//! What settings result in, and what is wrong with them.

mod acme;
mod client_certificates;
mod example;
mod identity;
mod layers;
mod mistakes;
mod pages;
mod presets;
mod provider_groups;
mod provider_pages;
mod providers;
mod routes;
mod schema;
mod tokens;

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use tempfile::TempDir;

use super::*;
use crate::model::role::Role;
use crate::model::target::PathOptIns;
use crate::policy::{Enforce, Policy, Selects};

/// The least that starts.
const LEAST: &str = "\
[[upstreams]]
name = \"app\"
url = \"http://127.0.0.1:6006\"
[[routes]]
upstream = \"app\"
";

/// A directory with a configuration file and what it names.
struct ConfigDir(TempDir);

impl ConfigDir {
    fn new(text: &str) -> Self {
        let config_dir = Self(tempfile::tempdir().unwrap());
        config_dir.write("doorward.toml", text, 0o600);
        config_dir
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(mode)).unwrap();
    }

    /// A certificate and its key.
    fn write_pem(&self, certificate: &str, key: &str) {
        let made = rcgen::generate_simple_self_signed(["app.example.com".to_owned()]).unwrap();
        self.write(certificate, &made.cert.pem(), 0o644);
        self.write(key, &made.signing_key.serialize_pem(), 0o600);
    }

    fn load(&self) -> Result<Config, ConfigError> {
        self.load_with(&[], &Flags::default())
    }

    fn load_with(&self, environment: &[(&str, &str)], flags: &Flags) -> Result<Config, ConfigError> {
        load(&ConfigSource { file: Some(self.path("doorward.toml")), environment: owned(environment) }, flags)
    }
}

fn owned(environment: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    environment.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// `text` before the least that starts, unless it has upstreams of its own.
fn with_least(text: &str) -> String {
    if text.contains("[upstreams]") { text.to_owned() } else { format!("{text}\n{LEAST}") }
}

#[track_caller]
fn good(text: &str) -> Config {
    let loaded = ConfigDir::new(&with_least(text)).load();
    loaded.unwrap_or_else(|error| panic!("{text}\nshould be good:\n{error}"))
}

#[track_caller]
fn bad(text: &str) -> Vec<ConfigProblem> {
    match ConfigDir::new(&with_least(text)).load() {
        Ok(_) => panic!("should be refused:\n{text}"),
        Err(error) => error.0,
    }
}

/// The only problem there is.
#[track_caller]
fn only_problem(text: &str) -> ConfigProblem {
    let [problem] = <[ConfigProblem; 1]>::try_from(bad(text))
        .unwrap_or_else(|problems| panic!("one problem expected for\n{text}\n{problems:#?}"));
    problem
}

/// One problem, at this setting, which says this; and all that is told of it.
#[track_caller]
fn assert_refused(text: &str, path: &str, said: &str) -> String {
    let problem = only_problem(text);
    assert_eq!(problem.path, path, "{problem}");
    let told = problem.to_string();
    assert!(told.contains(said), "{told}");
    told
}

/// Where the gateway listens, as text.
fn locations(config: &Config) -> Vec<String> {
    config.server.listeners.iter().map(|listener| listener.address.to_string()).collect()
}

#[test]
fn the_least_file_gets_every_default() {
    let config = good("");
    assert_eq!(config.public_url.to_string(), "http://127.0.0.1:8080");
    assert!(config.secret.is_none() && config.warnings.is_empty());
    let server = &config.server;
    assert_eq!(locations(&config), ["127.0.0.1:8080"]);
    assert!(server.proxy_protocol_from.is_empty() && !server.listeners[0].proxy_protocol);
    assert!(server.ops_listen.is_none() && server.tls.is_none() && server.workers >= 1);
    assert!(server.trusted_proxies.is_empty() && server.trusted_origins.is_empty());
    let times = [server.header_timeout, server.keep_alive, server.write_timeout, server.drain];
    assert_eq!(times, [10, 60, 60, 30].map(Duration::from_secs));
    assert_eq!(server.body_pace, BodyPace { rate: 256, over: Duration::from_secs(30) });
    let limits = server.limits;
    let sizes = [limits.header_bytes, limits.header_count, limits.uri_bytes, limits.graphql_body_bytes];
    assert_eq!(sizes, [32_768, 100, 8192, 1_048_576]);
    assert_eq!((limits.connections, limits.connections_per_client, limits.http2_streams), (10_000, 256, 100));
    assert_eq!((limits.open_requests, limits.open_requests_per_client), (20_000, 2000));
    assert!(
        config.store.file().unwrap().is_absolute() && config.store.file().unwrap().ends_with("doorward.db")
    );
    assert_eq!((config.store.connections, config.store.outage_grace), (10, Duration::ZERO));
    assert!(config.login.password && config.login.admins.is_empty() && config.login.admin_password.is_none());
    assert_eq!(config.login.default_role, Role::Viewer);
    let session = &config.session;
    assert_eq!((session.idle, session.absolute), (Duration::from_hours(8), Duration::from_hours(168)));
    assert_eq!((session.cookie_same_site, &session.cookie_domain), (SameSite::Lax, &None));
    assert_eq!(config.keys.headers, ["x-api-key"]);
    assert_eq!((config.log.level.as_str(), config.log.access), ("info", true));
    let [upstream] = config.upstreams.as_slice() else { panic!("one upstream") };
    assert_eq!(
        upstream.servers[0],
        UpstreamAddress::Tcp { host: "127.0.0.1".into(), port: 6006, tls: false }
    );
    assert_eq!((upstream.protocol, upstream.headers), (UpstreamProtocol::Http1, HeaderPreset::Standard));
    assert!(upstream.preserve_host && !upstream.pass_authorization);
    assert_eq!(upstream.paths, PathOptIns::default());
    let times = [upstream.timeouts.connect, upstream.timeouts.response, upstream.timeouts.idle];
    assert_eq!(times, [3, 60, 300].map(Duration::from_secs));
    let [route] = config.routes.as_slice() else { panic!("one route") };
    assert_eq!((route.name.as_str(), route.path.as_str(), route.upstream), ("/", "/", Some(0)));
    assert!(route.hosts.is_empty());
    assert_eq!(route.policy, Policy::standard(Enforce::On));
    let enforced =
        [route.policy.enforce].into_iter().chain(route.policy.rules.iter().map(|rule| rule.enforce));
    assert!(enforced.eq([Enforce::On; 3]), "what is refused is refused");
}

#[test]
fn rules_are_read_in_order_with_every_condition() {
    let config = good(
        r#"
[[upstreams]]
name = "app"
url = "h2c://[::1]:4317"
[[routes]]
host = "App.Example.com"
path = "/app/"
upstream = "app"
rules = [
  { name = "health", path = "/app/healthz", allow = "anyone" },
  { methods = "POST", graphql = ["query"], fields = "projects", allow = ["viewer", "group:data"] },
  { hosts = ["a.example", "::1"], paths = ["/app/x", "/app/**/y"], grpc = "a.B/*", networks = "10.0.0.0/8", deny = "user:Bob" },
]
"#,
    );
    let address = UpstreamAddress::Tcp { host: "::1".into(), port: 4317, tls: false };
    assert_eq!(config.upstreams[0].servers[0], address);
    assert_eq!(config.upstreams[0].protocol, UpstreamProtocol::Http2);
    let route = &config.routes[0];
    assert_eq!((route.name.as_str(), route.path.as_str()), ("app.example.com/app", "/app"));
    assert_eq!(route.hosts, ["app.example.com"]);
    let shown: Vec<String> = route
        .policy
        .rules
        .iter()
        .map(|rule| format!("{} allow {:?} deny {:?}", rule.name, rule.allow, rule.deny))
        .collect();
    assert_eq!(
        shown,
        [
            "health allow [Anyone] deny []",
            "rule-2 allow [Role(Viewer), Group(\"data\")] deny []",
            "rule-3 allow [] deny [User(\"bob\")]",
        ]
    );
    let third = &route.policy.rules[2].when;
    assert_eq!(third.hosts, ["a.example", "::1"]);
    assert_eq!((third.paths.len(), third.grpc.len(), third.networks.len()), (2, 1, 1));
    let graphql = route.policy.rules[1].when.graphql.as_ref().unwrap();
    assert_eq!(graphql.selects, Selects::Every(vec!["projects".to_owned()]));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn enforce_log_and_off_are_warned_of_at_every_start() {
    let settings = |general: &str, route: &str, rule: &str| {
        format!(
            "{general}\n[[upstreams]]\nname = \"a\"\nurl = \"builtin:sample\"\n\
             [[routes]]\nname = \"main\"\nupstream = \"a\"\n{route}\n\
             rules = [{{ name = \"docs\", path = \"/docs\", allow = \"viewer\" {rule} }}, {{ allow = \"admin\" }}]\n\
             [[routes]]\nname = \"other\"\nupstream = \"a\"\npath = \"/other\"\nenforce = \"on\""
        )
    };
    let word = |level: &str| format!("enforce = \"{level}\"");
    for (level, told) in [("log", "writes down what would be refused"), ("off", "nothing is protected")] {
        for (general, route) in
            [(word(level), String::new()), (String::new(), word(level)), (word("on"), word(level))]
        {
            let warnings = good(&settings(&general, &route, "")).warnings;
            let [warning] = warnings.as_slice() else { panic!("one warning: {warnings:?}") };
            assert!(
                warning.starts_with("routes[0].enforce: route `main`") && warning.contains(told),
                "{warning}"
            );
        }
        let warnings = good(&settings("", "", &format!(", {}", word(level)))).warnings;
        let [warning] = warnings.as_slice() else { panic!("one warning: {warnings:?}") };
        assert!(warning.starts_with("routes[0]: rule `docs` of route `main`"), "{warning}");
        assert!(warning.contains(&word(level)), "{warning}");
        let warnings = good(&settings(&word(level), &word("on"), "")).warnings;
        assert!(warnings.is_empty(), "the narrowest word counts: {warnings:?}");
        let warnings = good(&settings("", &word(level), &format!(", {}", word("on")))).warnings;
        assert_eq!(warnings.len(), 1, "a rule that is enforced does not make the others so: {warnings:?}");
    }
    let warnings = good(&settings("", &word("log"), &format!(", {}", word("off")))).warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[test]
fn rules_of_a_preset_that_never_decide_behind_own_ones_are_named() {
    let warnings = |rules: &str| {
        let text = "[[upstreams]]\nname = \"a\"\nurl = \"builtin:sample\"\n[[routes]]\nupstream = \"a\"\npreset = \"phoenix\"\n";
        good(&format!("{text}rules = [{rules}]")).warnings
    };
    let reads = r#"{ name = "reads", methods = "read", allow = "viewer" }"#;
    let writes = r#"{ name = "writes", methods = ["write", "websocket"], allow = "member" }"#;
    let only = |rules: &str| match warnings(rules).as_slice() {
        [warning] if warning.starts_with("routes[0].preset: ") => warning.clone(),
        warnings => panic!("{rules}: {warnings:?}"),
    };
    let told = only(reads);
    assert!(
        told.contains("`reads` of the route decides before") && told.contains("reads of `users`"),
        "{told}"
    );
    assert!(told.contains("Narrow `reads`") && !told.contains("writes of"), "{told}");
    let whole = only(r#"{ name = "mine", allow = "viewer" }"#);
    assert!(["`ingest`", "`users`", "`secrets`"].iter().all(|name| whole.contains(name)), "{whole}");
    // By both together `users` never decides; `ingest` and such do not because of `writes` alone.
    let told = warnings(&format!("{writes}, {reads}"));
    assert!(told.iter().all(|told| told.starts_with("routes[0].preset: ")), "{told:?}");
    let both = told.iter().find(|told| told.contains("`writes` and `reads` of the route decide")).unwrap();
    assert!(both.contains(" `users`") && both.contains(" `secrets`"), "{both}");
    assert!(
        told.iter().any(|told| told.contains("`writes` of the route decides") && told.contains(" `ingest`"))
    );

    for fine in [
        "",
        r#"{ name = "mine", path = "/v1/mine", allow = "viewer" }"#,
        r#"{ name = "reads", path = "/reports", methods = "read", allow = "viewer" }"#,
        r#"{ name = "guests", deny = "group:guests" }"#,
        r#"{ name = "guests", path = "/v1/traces", deny = "agent" }"#,
        r#"{ name = "users", path = "/v1/users", allow = "group:hr" }"#,
        r#"{ path = "/v1/users/me", allow = "viewer" }"#,
    ] {
        assert_eq!(warnings(fine), Vec::<String>::new(), "{fine}");
    }
}

#[test]
fn what_is_unwise_is_a_warning() {
    for (text, part) in [
        ("public_url = \"https://a.example\"\n[server]\nlisten = [\"0.0.0.0:8080\"]", "without TLS"),
        ("[login]\ndefault_role = \"admin\"", "makes everyone an admin"),
        ("public_url = \"http://a.example\"\ninsecure = true", "is plain http"),
        (
            "[session]\ncookie_same_site = \"strict\"\n[[providers]]\nname = \"sso\"\nissuer = \"https://sso.example\"\n\
             client_id = \"d\"\ntoken_auth = \"none\"",
            "session.cookie_same_site: keeps browsers that come back from a provider",
        ),
        (
            "[[upstreams]]\nname = \"a\"\nurl = \"builtin:sample\"\n[[routes]]\nupstream = \"a\"\n\
             rules = [{ allow = \"viewer\" }, { methods = \"write\", allow = \"member\" }]",
            "never reached, because `rule-1` decides",
        ),
        (
            "[[upstreams]]\nname = \"a\"\nurl = \"builtin:sample\"\n[[routes]]\nupstream = \"a\"\nrules = [\n\
             { name = \"reads\", methods = \"read\", allow = \"viewer\" },\n\
             { methods = [\"GET\", \"POST\"], allow = \"member\" }]",
            "routes[0].rules[1]: `GET` in `methods` of rule `rule-2` never decides, because `reads` decides before it",
        ),
        (
            "[[upstreams]]\nname = \"a\"\nurl = \"builtin:sample\"\n[[routes]]\nupstream = \"a\"\nrules = [\n\
             { methods = \"read\", allow = \"viewer\" }, { methods = \"write\", allow = \"member\" },\n\
             { path = \"/x\", allow = \"admin\" }]",
            "never reached, because `rule-1` and `rule-2` decide before it: move it up",
        ),
        (
            "public_url = \"https://a.example\"\n[[upstreams]]\nname = \"a\"\nurl = \"builtin:sample\"\n\
             [[routes]]\nupstream = \"a\"",
            "takes requests for any host and hands the name on: write `hosts = [\"a.example\"]`",
        ),
        (
            "[[upstreams]]\nname = \"a\"\nurl = \"builtin:sample\"\n[[routes]]\nupstream = \"a\"\n\
             host = \"a.example\"\n[[routes]]\nupstream = \"a\"\npath = \"/open\"",
            "at a.example requests below `/open` go to route `a.example/`",
        ),
        (
            "[[upstreams]]\nname = \"a\"\nurl = \"builtin:sample\"\n[[routes]]\nupstream = \"a\"\npath = \"/app\"\n\
             rules = [{ path = \"/v1\", allow = \"viewer\" }]",
            "paths lie outside",
        ),
        (
            "[[upstreams]]\nname = \"a\"\nurl = \"builtin:sample\"\n[[routes]]\nupstream = \"a\"\n\
             rules = [{ deny = \"group:guests\" }, { path = \"/docs\", allow = \"anyone\" }]",
            "get in by signing out",
        ),
        (
            "[[upstreams]]\nname = \"a\"\nurl = \"builtin:sample\"\n[[upstreams]]\nname = \"b\"\n\
             url = \"http://10.0.0.1\"\n[[routes]]\nupstream = \"a\"",
            "no route leads to upstream `b`",
        ),
    ] {
        let warnings = good(text).warnings;
        assert!(warnings.iter().any(|warning| warning.contains(part)), "{text}\n{warnings:?}");
    }
    let behind_proxy = "public_url = \"https://a.example\"\n[server]\nlisten = [\"0.0.0.0:8080\"]\n\
                        trusted_proxies = [\"10.0.0.0/8\"]";
    let named = LEAST.replace("[[routes]]", "[[routes]]\nhosts = [\"a.example\"]");
    let warnings = good(&format!("{behind_proxy}\n{named}")).warnings;
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn tls_files_are_read_from_beside_the_file() {
    let config_dir =
        ConfigDir::new(&with_least("[server]\ntls = { certificate = \"tls.crt\", key = \"tls.key\" }"));
    config_dir.write_pem("tls.crt", "tls.key");
    let config = config_dir.load().unwrap();
    assert_eq!(config.server.tls.unwrap().certificate, config_dir.path("tls.crt"));
    assert_eq!(config.public_url.to_string(), "https://127.0.0.1:8080");
    config_dir.write("tls.key", "no key", 0o600);
    let [problem] = config_dir.load().unwrap_err().0.try_into().unwrap();
    assert_eq!((problem.path.as_str(), problem.location.line()), ("server.tls.key", Some(2)));
}

#[test]
fn listeners_come_from_the_list_and_the_tables_and_the_built_in_one_gives_way() {
    let public = "public_url = \"https://a.example\"\n[server]\n";
    let tables = "proxy_protocol_from = \"unix\"\n[[server.listeners]]\naddress = \"unix:a.sock\"\n\
                  proxy_protocol = \"required\"\nmode = \"0666\"\n[[server.listeners]]\naddress = \"systemd:web\"";
    let config = good(&format!("{public}{tables}"));
    let [file, handed] = config.server.listeners.as_slice() else { panic!("two listeners") };
    let ListenAddress::Unix(path) = &file.address else { panic!("a socket file") };
    assert!(path.is_absolute() && path.ends_with("a.sock"), "beside the configuration file");
    assert_eq!((file.mode, file.proxy_protocol, file.tls), (0o666, true, false));
    assert_eq!(handed.address, ListenAddress::Inherited(Some("web".into())));
    assert!(!handed.proxy_protocol);
    assert_eq!(config.server.proxy_protocol_from, [IpNet::from(crate::model::network::UNIX_PEER)]);
    let config = good(&format!(
        "{public}listen = [\"127.0.0.1:1\", \"systemd\"]\nproxy_protocol = \"required\"\n{tables}"
    ));
    assert_eq!(config.server.listeners.len(), 4);
    assert!(config.server.listeners.iter().all(|listener| listener.proxy_protocol));
    assert_eq!(config.server.listeners[0].mode, 0o660);
}

#[test]
fn listeners_speak_tls_where_there_is_a_certificate_but_not_on_socket_files() {
    let tables = "[[server.listeners]]\naddress = \"127.0.0.1:2\"\ntls = false\n\
                  [[server.listeners]]\naddress = \"unix:b.sock\"\ntls = true";
    let config_dir = ConfigDir::new(&with_least(&format!(
        "[server]\nlisten = [\"127.0.0.1:1\", \"unix:a.sock\"]\n\
         tls = {{ certificate = \"tls.crt\", key = \"tls.key\" }}\n{tables}"
    )));
    config_dir.write_pem("tls.crt", "tls.key");
    let config = config_dir.load().unwrap();
    let tls: Vec<bool> = config.server.listeners.iter().map(|listener| listener.tls).collect();
    assert_eq!(tls, [true, false, false, true]);
    assert_eq!(config.public_url.to_string(), "https://127.0.0.1:1");
}

#[test]
fn a_database_file_counts_from_the_configuration_file_and_other_addresses_stay_as_they_are() {
    for written in ["sqlite:a/b.db", "sqlite://a/b.db"] {
        let config_dir = ConfigDir::new(&with_least(&format!("store.url = \"{written}\"")));
        assert_eq!(config_dir.load().unwrap().store.file().unwrap(), config_dir.path("a/b.db"), "{written}");
    }
    let absolute = good("store.url = \"sqlite:///var/lib/a.db\"");
    assert_eq!(absolute.store.file().unwrap(), std::path::Path::new("/var/lib/a.db"));
    let memory = good("store.url = \"sqlite::memory:\"");
    assert_eq!((memory.store.file(), memory.store.url.expose()), (None, "sqlite::memory:"));
    for socket in [
        "postgres:///doorward?host=/run/postgresql&user=doorward",
        "postgres://doorward@%2Frun%2Fpostgresql/doorward",
        "postgresql://doorward@localhost/doorward?host=/run/postgresql",
    ] {
        let secret = "q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+";
        let config = good(&format!("secret = \"{secret}\"\nstore.url = \"{socket}\""));
        assert_eq!((config.store.file(), config.store.url.expose()), (None, socket));
    }
}
