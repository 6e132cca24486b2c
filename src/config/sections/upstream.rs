//! Upstreams, checked against each other and against our own addresses.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;

use crate::config::reading::reader::{Reader, join};
use crate::config::reading::section::Section;
use crate::config::reading::values::PathOptIn;
use crate::config::sections::identity;
use crate::config::sections::own_credentials;
use crate::config::sections::servers;
use crate::config::sections::settings::Paths;
use crate::config::sections::settings::Upstream;
use crate::config::{
    Balance, HealthConfig, IdentityConfig, ListenAddress, ListenerConfig, TlsFiles, UpstreamAddress,
};
use crate::model::session_cookie::SessionCookie;
use crate::model::target::PathOptIns;

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

/// Timeouts on one route. None of them cuts a stream on which bytes move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteTimeouts {
    /// As [`Timeouts::response`].
    pub response: Duration,
    /// As [`Timeouts::idle`].
    pub idle: Duration,
}

/// Names of the identity headers an upstream gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderPreset {
    /// `X-Auth-*`.
    Standard,
    /// `X-Forwarded-User` and its family, `X-Auth-Request-*`.
    Oauth2Proxy,
    /// `Remote-*`.
    Authelia,
    /// `X-authentik-*`.
    Authentik,
    /// `X-Vouch-User`.
    Vouch,
    /// `X-Forwarded-User` alone, holding the e-mail address where there is one.
    TraefikForwardAuth,
    /// `X-WEBAUTH-*`.
    Grafana,
    /// What Micromegas' servers take for checked when their own authentication is off.
    Micromegas,
    /// None at all.
    None,
}

/// How what is said of a caller is written where it is not plain ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderEncoding {
    /// `Zo%C3%AB` (RFC 3986, 2.1).
    Percent,
    /// `Zoë`, as bytes of UTF-8.
    Utf8,
    /// `Zo=C3=AB` (RFC 2045, 6.7).
    QuotedPrintable,
    /// `=?UTF-8?B?Wm/Dqw==?=` (RFC 2047).
    Rfc2047,
}

impl HeaderPreset {
    /// Every preset.
    pub const ALL: [Self; 9] = [
        Self::Standard,
        Self::Oauth2Proxy,
        Self::Authelia,
        Self::Authentik,
        Self::Vouch,
        Self::TraefikForwardAuth,
        Self::Grafana,
        Self::Micromegas,
        Self::None,
    ];

    /// The headers by which it may have an application keep something from a caller, and when: they are not sent where
    /// refusals are not kept.
    pub fn limits(self) -> Option<(&'static [&'static str], &'static str)> {
        match self {
            Self::Micromegas => Some((&["X-Allow-Delegation", "X-Auth-Is-Admin"], "as `false`")),
            Self::Grafana => Some((&["X-WEBAUTH-ROLE"], "but as `Admin`")),
            _ => None,
        }
    }
}

/// An upstream that routes may name; without `config` only if a problem was noted.
pub(in crate::config) struct Named {
    pub(in crate::config) name: String,
    pub(in crate::config) path: String,
    pub(in crate::config) config: Option<UpstreamConfig>,
}

pub(in crate::config) fn upstreams(
    written: Vec<Upstream>,
    listeners: &[ListenerConfig],
    forward_auth: bool,
    reader: &mut Reader,
) -> Vec<Named> {
    if written.is_empty() && !forward_auth && !reader.is_broken("upstreams") {
        reader.problem(
            "upstreams",
            "there is none, so there is nothing to stand in front of",
            "add [[upstreams]] with `name = \"app\"` and `url = \"http://127.0.0.1:6006\"` and [[routes]] with \
             `upstream = \"app\"`, or start with --upstream URL",
        );
    }
    let mut named: Vec<Named> = Vec::new();
    for upstream in written {
        let path = upstream.place().to_owned();
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
        named.push(Named { name, path, config });
    }
    named
}

fn upstream_config(
    mut upstream: Upstream,
    listeners: &[ListenerConfig],
    reader: &mut Reader,
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
        let place = servers::place(&upstream, reader);
        reader.problem(&place, "is the gateway itself", "write the address of the server behind it");
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
            tls.place(),
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
        paths: opt_ins(&upstream.paths),
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

/// Spellings of paths, as the rest of the code asks for them.
pub(in crate::config) fn opt_ins(paths: &Paths) -> PathOptIns {
    spellings(&paths.allow)
}

pub(in crate::config) fn spellings(allowed: &[PathOptIn]) -> PathOptIns {
    PathOptIns {
        encoded_slash: allowed.contains(&PathOptIn::EncodedSlash),
        semicolon: allowed.contains(&PathOptIn::Semicolon),
        empty_segment: allowed.contains(&PathOptIn::EmptySegment),
        disguised_separator: allowed.contains(&PathOptIn::DisguisedSeparator),
    }
}
