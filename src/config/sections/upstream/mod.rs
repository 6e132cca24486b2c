//! Upstreams, checked against each other and against our own addresses.

mod own_credentials;
mod servers;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;

use crate::config::reading::choice;
use crate::config::reading::{
    CertificateFile, HostName, KeyFile, ReferenceName, Required, Section, SettingsReader, Span, join, section,
};
use crate::config::sections::header_preset::{HeaderEncoding, HeaderPreset};
use crate::config::sections::identity;
use crate::config::sections::identity::{Assertion, Attribution, Bearer, IdentityConfig, OddName};
use crate::config::sections::paths::Paths;
use crate::config::sections::server::{ListenAddress, ListenerConfig, TlsFiles};
use crate::config::sections::set_headers::HeaderTemplates;
use crate::model::secret::Secret;
use crate::model::session_cookie::SessionCookie;
use crate::model::target::PathOptIns;

use self::own_credentials::UpstreamBasic;
pub use self::servers::{Balance, HealthCheck, HealthConfig, UpstreamAddress};
use self::servers::{Health, UpstreamUrl};

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

section! {
    /// A server behind the gateway.
    Upstream {
        /// Unique name, for routes and logs.
        name: Required<ReferenceName>, r#""app""#;
        /// Where it is: `http://HOST:PORT`, `https://HOST:PORT`, `h2c://HOST:PORT` for HTTP/2 without TLS,
        /// `unix:/PATH` or `h2c+unix:/PATH` for a Unix socket, or `builtin:sample` for the sample dashboard
        /// inside the gateway. Several servers that are alike share the requests.
        url or servers: Required<Vec<UpstreamUrl>>, r#"["http://127.0.0.1:6006"]"#;
        /// Which of several servers a request goes to: the next (`round-robin`), or the one with the fewest
        /// requests at the moment (`least-connections`). Another one gets it only where the connection failed.
        balance: Balance = r#""round-robin""#, r#""least-connections""#;
        /// When a server is left out.
        health: Health = "{}", r#"{ path = "/healthz" }"#;
        /// Which HTTP an `https://` server speaks. gRPC needs `http2`.
        protocol: Option<UpstreamProtocol>, r#""http2""#;
        /// Trust and client certificate, for `https://`.
        tls: WrittenTls = "{}", r#"{ ca = "ca.crt" }"#;
        /// Timeouts. None of them cuts a stream on which bytes move.
        timeouts: WrittenTimeouts = "{}", r#"{ response = "5m" }"#;
        /// Names of the headers that tell the server who is calling: `X-Auth-*` (`standard`),
        /// `X-Forwarded-User` and its family (`oauth2-proxy`), `Remote-*` (`authelia`), `X-WEBAUTH-*`
        /// (`grafana`), `X-authentik-*` (`authentik`), `X-Vouch-User` (`vouch`), `X-Forwarded-User` alone
        /// (`traefik-forward-auth`), `X-Auth-Subject` and what else Micromegas takes for checked
        /// (`micromegas`), or none at all.
        headers: HeaderPreset = r#""standard""#, r#""grafana""#;
        /// How values are written that are not plain ASCII: `percent` (`Zo%C3%AB`), `utf-8` (`Zoë` as bytes),
        /// `quoted-printable` (`Zo=C3=AB`) or `rfc2047` (`=?UTF-8?B?Wm/Dqw==?=`). By default as the product does
        /// that `headers` is named after: `utf-8`, for `grafana` what its `headers_encoded = true` reads
        /// (`quoted-printable`), for `standard`, `micromegas` and `none` `percent`.
        encoding: Option<HeaderEncoding>, r#""utf-8""#;
        /// Further headers, each with a template of its value: text with `{subject}`, `{user}`, `{name}`,
        /// `{email}`, `{groups}` (with commas; `{groups:|}` with another mark), `{group:0}` (the first by name),
        /// `{group:tenant-*}` (what follows `tenant-` in the first group that begins so), `{role}`,
        /// `{role:admin=ADMIN,member=OP}` (the application's word for it), `{key}`,
        /// `{kind}` or `{provider}`; `{{` and `}}` are braces. Where one has no value, as where no one is
        /// signed in, the header is not sent; text without any always is. No client can send such a header anywhere.
        /// `NAME_file` names a file with the value instead, which is sent with every request that the rules allow, and
        /// with no other.
        set_headers: HeaderTemplates = "{}", r#"{ X-Scope-OrgID = "{group:0}" }"#;
        /// A signed statement of who is calling.
        assertion: Option<Assertion>, r#"{ audience = "app" }"#;
        /// A token of the gateway's own in `Authorization`.
        bearer: Option<Bearer>, r#"{ algorithm = "hs256", key_file = "app-key" }"#;
        /// Headers by which services say on whose behalf they ask; removed where this is not set.
        attribution: Option<Attribution>, "{}";
        /// A credential of the gateway's own, for a server that admits only the gateway.
        basic: Option<UpstreamBasic>, r#"{ username = "doorward", password_file = "app-password" }"#;
        /// The same as a token, which is sent as `Authorization: Bearer`. In any other header: `set_headers`, by a file.
        token: Option<Secret>, r#""<what the server expects>""#;
        /// Whether `Authorization` values that are not the gateway's own are left to the server, also where another proxy
        /// asks about its routes. A route may say otherwise for itself.
        pass_authorization: bool = "false", "true";
        /// The same for the headers that may carry keys (`keys.headers`).
        pass_api_key: bool = "false", "true";
        /// Names of request headers that reach it although they hold other characters than letters, digits and `-`.
        /// All others of that kind are removed, since many servers read `X_Auth_User` as `X-Auth-User`.
        odd_header_names: Vec<OddName> = "[]", r#"["X_Tenant"]"#;
        /// Whether the server sees the `Host` the client sent, or its own.
        preserve_host: bool = "true", "false";
        /// Whose addresses `Destination` and `If` of a request hold when it is sent (WebDAV): `upstream`, its own, as
        /// servers need them that know of nothing in front; `client`, as those need them that go by `X-Forwarded-*`.
        addresses: Addresses = r#""upstream""#, r#""client""#;
        /// Spellings of paths it needs that are refused otherwise.
        paths: Paths = "{}", r#"{ allow = ["encoded-slash"] }"#;
        /// Names of cookies by which it remembers who signed in to it. One goes back to it for the person or key alone
        /// that it was set for, and signing in or out ends it. A `*` at the end stands for any ending, as of
        /// `app_session.0`. Not for cookies that scripts of its pages read: their values get longer. By default as the
        /// `preset` of its routes says.
        session_cookies: Vec<SessionCookie> = "[]", r#"["pga4_session"]"#;
    }
}

section! {
    /// Trust and client certificate towards an `https://` upstream.
    WrittenTls {
        /// PEM file of the authorities to trust, instead of the system's.
        ca: Option<CertificateFile>, r#""ca.crt""#;
        /// PEM file of the client certificate; needs `key`.
        certificate: Option<CertificateFile>, r#""client.crt""#;
        /// PEM file of the client certificate's private key; needs `certificate`.
        key: Option<KeyFile>, r#""client.key""#;
        /// Name to look for in the server's certificate, where it differs from the URL's host.
        server_name: Option<HostName>, r#""app.internal""#;
    }
}

section! {
    /// Timeouts towards an upstream.
    WrittenTimeouts {
        /// Until connected, TLS included.
        connect: Span<1, {5 * MINUTE}> = r#""3s""#, r#""10s""#;
        /// From the last byte of the request to the head of the response. For gRPC and event streams
        /// `idle` counts instead: they may be silent before their first byte.
        response: Span<1, DAY> = r#""60s""#, r#""5m""#;
        /// A body, stream or tunnel on which nothing moves ends after this. `0s`: never.
        idle: Span<0, {30 * DAY}> = r#""5m""#, r#""1h""#;
    }
}

/// A server behind us.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// Unique; what routes and logs say.
    pub name: String,
    /// Where it is: at one server or at several that are alike.
    pub servers: Vec<UpstreamAddress>,
    /// Which of them a request goes to.
    pub balance: Balance,
    /// When one of them is left out.
    pub health: HealthConfig,
    /// Which HTTP it speaks.
    pub protocol: UpstreamProtocol,
    /// Trust and client certificate, for `https`.
    pub tls: UpstreamTls,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Which identity headers it gets.
    pub headers: HeaderPreset,
    /// What else it is told of its callers.
    pub identity: IdentityConfig,
    /// Whether `Authorization` values that are not ours are left to it.
    pub pass_authorization: bool,
    /// Names of headers with odd characters that reach it all the same.
    pub odd_header_names: Vec<HeaderName>,
    /// Whether values of the header that brings keys are left to it, too.
    pub pass_api_key: bool,
    /// Whether it sees the `Host` the client sent (the default) or its own.
    pub preserve_host: bool,
    /// Whose addresses it reads in request headers.
    pub addresses: Addresses,
    /// Spellings of paths it needs that are refused otherwise.
    pub paths: PathOptIns,
    /// Cookies by which it remembers who signed in to it.
    pub session_cookies: Vec<SessionCookie>,
}

impl UpstreamConfig {
    /// Whether TLS is spoken to it.
    pub fn is_secure(&self) -> bool {
        self.servers.iter().any(UpstreamAddress::is_secure)
    }
}

/// Which HTTP an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1 (`http://`, `https://`).
    Http1,
    /// HTTP/2, with prior knowledge where there is no TLS (`h2c://`, or `https://` with `protocol = "http2"`).
    Http2,
}

/// Whose addresses an upstream reads in `Destination` and `If`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Its own: scheme, host and path as the gateway asks it.
    Upstream,
    /// The client's, which it knows from `X-Forwarded-*`.
    Client,
}

/// Trust and client certificate towards an upstream.
#[derive(Clone, Debug, Default)]
pub struct UpstreamTls {
    /// PEM file of authorities, instead of the system's.
    pub ca: Option<PathBuf>,
    /// Client certificate.
    pub client: Option<TlsFiles>,
    /// Name to check, where it differs from the URL's host.
    pub server_name: Option<String>,
}

/// Timeouts towards an upstream. None of them cuts a stream on which bytes move.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until connected, TLS included.
    pub connect: Duration,
    /// From the last request byte to the response head; for gRPC and event streams `idle` counts instead.
    pub response: Duration,
    /// A body, stream or tunnel on which nothing moves ends after this; zero: never.
    pub idle: Duration,
}

/// An upstream that routes may name; without `config` only if a problem was noted.
pub(in crate::config) struct NamedUpstream {
    pub(in crate::config) name: String,
    pub(in crate::config) path: String,
    pub(in crate::config) config: Option<UpstreamConfig>,
}

pub(in crate::config) fn upstreams(
    written: Vec<Upstream>,
    listeners: &[ListenerConfig],
    forward_auth: bool,
    reader: &mut SettingsReader,
) -> Vec<NamedUpstream> {
    if written.is_empty() && !forward_auth && !reader.is_broken("upstreams") {
        reader.problem(
            "upstreams",
            "there is none, so there is nothing to stand in front of",
            "add [[upstreams]] with `name = \"app\"` and `url = \"http://127.0.0.1:6006\"` and [[routes]] with \
             `upstream = \"app\"`, or start with --upstream URL",
        );
    }
    let mut named: Vec<NamedUpstream> = Vec::new();
    for upstream in written {
        let path = upstream.location().to_owned();
        let name = upstream.name.0.as_ref().map(|name| name.0.clone());
        let config = upstream_config(upstream, listeners, reader);
        let Some(name) = name else { continue };
        if named.iter().any(|other| other.name == name) {
            reader.problem(
                &join(&path, "name"),
                format!("`{name}` is the name of an earlier upstream"),
                "give each upstream a name of its own",
            );
        }
        named.push(NamedUpstream { name, path, config });
    }
    named
}

fn upstream_config(
    mut upstream: Upstream,
    listeners: &[ListenerConfig],
    reader: &mut SettingsReader,
) -> Option<UpstreamConfig> {
    let (addresses, cleartext_http2) = servers::servers(&upstream, reader)?;
    let secure = addresses.iter().any(UpstreamAddress::is_secure);
    let leads_to = |server: &UpstreamAddress, own: &ListenAddress| match (server, own) {
        (UpstreamAddress::Tcp { host, port, .. }, ListenAddress::Tcp(own)) => {
            own.port() == *port && reaches(host, own.ip())
        }
        (UpstreamAddress::Unix { path }, ListenAddress::Unix(own)) => path == own,
        _ => false,
    };
    let is_ours = |server: &UpstreamAddress| listeners.iter().any(|own| leads_to(server, &own.address));
    if addresses.iter().any(is_ours) {
        let location = servers::location(&upstream, reader);
        reader.problem(&location, "is the gateway itself", "write the address of the server behind it");
    }
    let protocol = match upstream.protocol {
        Some(UpstreamProtocol::Http2) if !secure && !cleartext_http2 => {
            reader.problem(
                &upstream.at("protocol"),
                "http2 without TLS needs its own scheme",
                "write `url = \"h2c://HOST:PORT\"` and leave `protocol` out",
            );
            UpstreamProtocol::Http2
        }
        Some(UpstreamProtocol::Http1) if cleartext_http2 => {
            reader.problem(
                &upstream.at("protocol"),
                "contradicts h2c://, which is HTTP/2",
                "leave `protocol` out",
            );
            UpstreamProtocol::Http2
        }
        Some(protocol) => protocol,
        None if cleartext_http2 => UpstreamProtocol::Http2,
        None => UpstreamProtocol::Http1,
    };
    let authorization = own_credentials::authorization(&mut upstream, reader);
    let tls = upstream.tls;
    let has = |name: &str| reader.is_set(&tls.at(name));
    let (certificate, key) = (has("certificate"), has("key"));
    let any = certificate || key || has("ca") || has("server_name");
    if certificate != key {
        let (missing, present) = if certificate { ("key", "certificate") } else { ("certificate", "key") };
        let what = format!("is missing, but `{present}` is set");
        let remedy = format!("add `{missing} = \"FILE\"`, or leave both out");
        reader.problem(&tls.at(missing), what, remedy);
    }
    if any && !secure {
        reader.problem(
            tls.location(),
            "has no effect without TLS",
            "write `url = \"https://HOST:PORT\"`, or leave it out",
        );
    }
    let mut identity = identity::identity(
        upstream.encoding,
        upstream.set_headers,
        upstream.assertion,
        upstream.bearer,
        upstream.attribution,
        upstream.pass_authorization,
        reader,
    );
    identity.credentials.extend(authorization.map(|value| (AUTHORIZATION, value)));
    Some(UpstreamConfig {
        name: upstream.name.0?.0,
        servers: addresses,
        balance: upstream.balance,
        health: servers::health(upstream.health, reader),
        protocol,
        tls: UpstreamTls {
            ca: tls.ca.map(|file| file.0),
            client: tls
                .certificate
                .zip(tls.key)
                .map(|(certificate, key)| TlsFiles { certificate: certificate.0, key: key.0 }),
            server_name: tls.server_name.map(|name| name.0),
        },
        timeouts: Timeouts {
            connect: upstream.timeouts.connect.0,
            response: upstream.timeouts.response.0,
            idle: upstream.timeouts.idle.0,
        },
        headers: upstream.headers,
        identity,
        pass_authorization: upstream.pass_authorization,
        odd_header_names: upstream.odd_header_names.into_iter().map(|name| name.0).collect(),
        pass_api_key: upstream.pass_api_key,
        preserve_host: upstream.preserve_host,
        addresses: upstream.addresses,
        paths: super::paths::opt_ins(&upstream.paths),
        session_cookies: upstream.session_cookies,
    })
}

/// Whether a connection to `host` may arrive at a listener on `own`.
fn reaches(host: &str, own: IpAddr) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address == own || (own.is_unspecified() && address.is_loopback()),
        Err(_) => host == "localhost" && (own.is_loopback() || own.is_unspecified()),
    }
}

choice! {
    Addresses { "upstream" => Self::Upstream, "client" => Self::Client }
    UpstreamProtocol { "http1" => Self::Http1, "http2" => Self::Http2 }
}
