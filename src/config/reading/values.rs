//! The types settings are read as: each parses its text and says what it wants instead.

use std::net::SocketAddr;
use std::time::Duration;

use figment::value::Value;
use http::uri::PathAndQuery;
use http::{HeaderName, Method};
use ipnet::IpNet;
use tracing_subscriber::EnvFilter;
use url::Host;

use crate::config::reading::layers;
use crate::config::reading::reader::{Fault, Read, Reader};
use crate::config::reading::section::{Kind, brief};
use crate::config::sections::header_name;
use crate::config::sections::listen::{self, ListenAddress};
use crate::config::sections::public_url::PublicUrl;
use crate::config::{
    Addresses, Balance, Compat, Expect, Flavour, ForeignCredentials, HeaderEncoding, HeaderPreset, LogFormat,
    SameSite, UpstreamProtocol,
};
use crate::model::graphql::OperationType;
use crate::model::jwt::JwtAlgorithm;
use crate::model::network;
use crate::model::principal::ClientAddress;
use crate::model::query::QueryParameter;
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::model::session_cookie::SessionCookie;
use crate::model::target;
use crate::model::target::RequestKind;
use crate::model::user;
use crate::policy::{Enforce, GrpcPattern, McpMethod, MethodMatch, PathPattern, Who};

impl Read for bool {
    const KIND: &'static Kind = &Kind::Flag;

    fn read(value: &Value, path: &str, reader: &mut Reader) -> Option<Self> {
        if let Value::Bool(_, flag) = value {
            return Some(*flag);
        }
        reader.mismatch(value, path, Self::KIND);
        None
    }
}

/// A whole number within bounds.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Number<const LEAST: u64, const MOST: u64>(pub(in crate::config) u64);

impl<const LEAST: u64, const MOST: u64> Number<LEAST, MOST> {
    pub(in crate::config) fn size(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    pub(in crate::config) fn count(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl<const LEAST: u64, const MOST: u64> Read for Number<LEAST, MOST> {
    const KIND: &'static Kind = &Kind::Number { least: LEAST, most: MOST };

    fn read(value: &Value, path: &str, reader: &mut Reader) -> Option<Self> {
        match layers::number(value) {
            Some(number) if (LEAST..=MOST).contains(&number) => return Some(Self(number)),
            None if !matches!(value, Value::Num(..)) => reader.mismatch(value, path, Self::KIND),
            _ => {
                let remedy = format!("write {}", Self::KIND.describe());
                reader.problem(path, "is out of range", remedy);
            }
        }
        None
    }
}

/// A duration within bounds, in seconds.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Span<const LEAST: u64, const MOST: u64>(pub(in crate::config) Duration);

impl<const LEAST: u64, const MOST: u64> Read for Span<LEAST, MOST> {
    const KIND: &'static Kind = &Kind::Duration { least: LEAST, most: MOST };

    fn read(value: &Value, path: &str, reader: &mut Reader) -> Option<Self> {
        reader.parse(value, path, Self::KIND, |text| {
            let seconds =
                seconds(text).ok_or("is no duration: write a number and s, m, h or d, such as \"30s\"")?;
            if seconds < LEAST {
                return Err(Fault::new("is too short", format!("write at least \"{}\"", brief(LEAST))));
            }
            if seconds > MOST {
                return Err(Fault::new("is too long", format!("write at most \"{}\"", brief(MOST))));
            }
            Ok(Self(Duration::from_secs(seconds)))
        })
    }
}

fn seconds(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let size = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let digits = text.strip_suffix(unit)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(size)
}

impl Read for Secret {
    const KIND: &'static Kind = &Kind::Secret;

    fn read(value: &Value, path: &str, reader: &mut Reader) -> Option<Self> {
        reader.parse(value, path, Self::KIND, |text| Ok(Self::new(text)))
    }
}

/// A type that is text in the file.
pub(in crate::config) trait FromText: Sized {
    /// What it is, in words that fit after "should be".
    const WHAT: &'static Kind;

    fn from_text(text: &str) -> Result<Self, Fault>;
}

impl<T: FromText> Read for T {
    const KIND: &'static Kind = T::WHAT;

    fn read(value: &Value, path: &str, reader: &mut Reader) -> Option<Self> {
        reader.parse(value, path, Self::KIND, T::from_text)
    }
}

/// Types whose text is parsed by a closure.
macro_rules! text {
    ($($type:ty, $what:literal, $parse:expr;)*) => {$(
        impl FromText for $type {
            const WHAT: &'static Kind = &Kind::Text($what);

            fn from_text(text: &str) -> Result<Self, Fault> {
                let parse: fn(&str) -> Result<Self, Fault> = $parse;
                parse(text)
            }
        }
    )*};
}

/// Types that are one of a few words.
macro_rules! choice {
    ($($type:ty { $($word:literal => $value:expr),* $(,)? })*) => {$(
        impl FromText for $type {
            const WHAT: &'static Kind = &Kind::Choice(&[$($word),*]);

            fn from_text(text: &str) -> Result<Self, Fault> {
                match text {
                    $($word => Ok($value),)*
                    _ => Err(Fault::new("is none of the words allowed here", format!("write {}", Self::WHAT.describe()))),
                }
            }
        }
    )*};
}

/// How logs look, or that the terminal decides.
#[derive(Debug)]
pub(in crate::config) struct LogStyle(pub(in crate::config) Option<LogFormat>);

/// A path spelling an application needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum PathOptIn {
    EncodedSlash,
    Semicolon,
    EmptySegment,
    DisguisedSeparator,
}

/// How assertions are signed: so that whoever checks them cannot make them.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct AssertionAlgorithm(pub(in crate::config) JwtAlgorithm);

/// Any role.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct AnyRole(pub(in crate::config) Role);

/// The role of people who are added without one; machines' `agent` is none.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct PersonRole(pub(in crate::config) Role);

choice! {
    Enforce { "on" => Self::On, "log" => Self::Log, "off" => Self::Off }
    SameSite { "lax" => Self::Lax, "strict" => Self::Strict }
    LogStyle {
        "auto" => Self(None),
        "text" => Self(Some(LogFormat::Text)),
        "json" => Self(Some(LogFormat::Json)),
    }
    PersonRole {
        "viewer" => Self(Role::Viewer),
        "member" => Self(Role::Member),
        "admin" => Self(Role::Admin),
    }
    AssertionAlgorithm { "es256" => Self(JwtAlgorithm::Es256), "eddsa" => Self(JwtAlgorithm::EdDsa) }
    JwtAlgorithm {
        "hs256" => Self::Hs256,
        "rs256" => Self::Rs256,
        "es256" => Self::Es256,
        "eddsa" => Self::EdDsa,
    }
    AnyRole {
        "viewer" => Self(Role::Viewer),
        "member" => Self(Role::Member),
        "admin" => Self(Role::Admin),
        "agent" => Self(Role::Agent),
    }
    Balance { "round-robin" => Self::RoundRobin, "least-connections" => Self::LeastConnections }
    Addresses { "upstream" => Self::Upstream, "client" => Self::Client }
    UpstreamProtocol { "http1" => Self::Http1, "http2" => Self::Http2 }
    HeaderPreset {
        "standard" => Self::Standard,
        "oauth2-proxy" => Self::Oauth2Proxy,
        "authelia" => Self::Authelia,
        "authentik" => Self::Authentik,
        "vouch" => Self::Vouch,
        "traefik-forward-auth" => Self::TraefikForwardAuth,
        "grafana" => Self::Grafana,
        "micromegas" => Self::Micromegas,
        "none" => Self::None,
    }
    HeaderEncoding {
        "percent" => Self::Percent,
        "utf-8" => Self::Utf8,
        "quoted-printable" => Self::QuotedPrintable,
        "rfc2047" => Self::Rfc2047,
    }
    Role {
        "admin" => Self::Admin,
        "member" => Self::Member,
        "viewer" => Self::Viewer,
        "agent" => Self::Agent,
    }
    ForeignCredentials { "refuse" => Self::Refuse, "drop" => Self::Drop, "pass" => Self::Pass }
    RequestKind { "plain" => Self::Plain, "websocket" => Self::WebSocket, "grpc" => Self::Grpc }
    Expect { "allow" => Self::Allow, "deny" => Self::Deny, "sign-in" => Self::SignIn }
    Flavour {
        "nginx" => Self::Nginx,
        "traefik" => Self::Traefik,
        "caddy" => Self::Caddy,
        "haproxy" => Self::Haproxy,
        "envoy" => Self::Envoy,
    }
    Compat {
        "oauth2-proxy" => Self::Oauth2Proxy,
        "authelia" => Self::Authelia,
        "authentik" => Self::Authentik,
        "vouch" => Self::Vouch,
        "traefik-forward-auth" => Self::TraefikForwardAuth,
    }
    PathOptIn {
        "encoded-slash" => Self::EncodedSlash,
        "disguised-separator" => Self::DisguisedSeparator,
        "semicolon" => Self::Semicolon,
        "empty-segment" => Self::EmptySegment,
    }
    OperationType { "query" => Self::Query, "mutation" => Self::Mutation, "subscription" => Self::Subscription }
}

/// A method and a path.
#[derive(Clone, Debug)]
pub(in crate::config) struct RequestLine(pub(in crate::config) Method, pub(in crate::config) PathAndQuery);

/// A GraphQL document; what cannot be parsed counts as a mutation, as it would in a request.
#[derive(Clone, Debug)]
pub(in crate::config) struct Document(pub(in crate::config) String);

/// What stands in `Destination`; one that cannot be read is refused, as it would be in a request.
#[derive(Clone, Debug)]
pub(in crate::config) struct SecondPlace(pub(in crate::config) String);

/// A group, as users are in one.
#[derive(Clone, Debug)]
pub(in crate::config) struct GroupName(pub(in crate::config) String);

/// A name for logs and references.
#[derive(Clone, Debug)]
pub(in crate::config) struct Name(pub(in crate::config) String);

/// Host name, lower-case, without port.
#[derive(Clone, Debug)]
pub(in crate::config) struct HostName(pub(in crate::config) String);

/// A path prefix in canonical form.
#[derive(Clone, Debug)]
pub(in crate::config) struct Prefix(pub(in crate::config) String);

/// A network whose peers are believed.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct TrustedNetwork(pub(in crate::config) IpNet);

/// `https://host[:port]` as browsers send it.
#[derive(Clone, Debug)]
pub(in crate::config) struct Origin(pub(in crate::config) String);

/// `name=email`.
#[derive(Clone, Debug)]
pub(in crate::config) struct Admin(pub(in crate::config) String, pub(in crate::config) String);

/// A filter for logs.
#[derive(Clone, Debug)]
pub(in crate::config) struct Level(pub(in crate::config) String);

/// A root field of GraphQL.
#[derive(Clone, Debug)]
pub(in crate::config) struct FieldName(pub(in crate::config) String);

/// The name of a tool of the Model Context Protocol.
#[derive(Clone, Debug)]
pub(in crate::config) struct ToolName(pub(in crate::config) String);

/// A message of the Model Context Protocol: a method, and after a blank the tool that it calls.
#[derive(Clone, Debug)]
pub(in crate::config) struct McpMessage(pub(in crate::config) String);

text! {
    ListenAddress, "an address and port such as \"127.0.0.1:8080\", unix:FILE or systemd", |text| Self::parse(text).map_err(Fault::from);
    SocketAddr, "an address and port such as \"127.0.0.1:9464\"", |text| {
        text.parse().map_err(|_| "is no address and port: write an IP address, not a name, and a port, such as \"127.0.0.1:9464\"".into())
    };
    PublicUrl, "a URL such as \"https://app.example.com\"", |text| {
        Self::parse(text).map_err(|what| {
            Fault::new(what, "write scheme, host and perhaps a port and path, such as \"https://app.example.com\"")
        })
    };
    IpNet, "a network such as \"10.0.0.0/8\"", |text| network::parse(text).map_err(|_| {
        Fault::new("is neither an address nor a network", "write one such as \"10.0.0.0/8\" or \"192.0.2.7\"")
    });
    TrustedNetwork, "a network such as \"10.0.0.0/8\"", listen::trusted_network;
    Origin, "an origin such as \"https://app.example.com\"", |text| match PublicUrl::parse(text) {
        Ok(url) if url.base_path().is_empty() && (url.is_secure() || url.is_loopback()) => Ok(Self(url.origin())),
        Ok(url) if url.base_path().is_empty() => Err("is plain http: write https://".into()),
        _ => Err("is no origin: write scheme, host and perhaps a port, such as \"https://app.example.com\"".into()),
    };
    HeaderName, "the name of a header", header_name::any;
    Name, "a name", |text| match user::check_name(&text.replace('/', "-")) {
        Ok(()) => Ok(Self(text.to_owned())),
        Err(_) => Err("is no name: write 1 to 128 visible characters without spaces and , ; : \" ' < > \\ %".into()),
    };
    GroupName, "a group", |text| match user::check_group(text) {
        Ok(()) => Ok(Self(text.to_owned())),
        Err(bad) => Err(bad.to_string().into()),
    };
    HostName, "a host name without port", host_name;
    Prefix, "a path such as \"/app\"", prefix;
    PathPattern, "a path such as \"/api\" or \"/api/**\"", |text| Self::parse(text).map_err(Fault::from);
    MethodMatch, "\"read\", \"write\", \"websocket\" or a method such as \"POST\"", |text| {
        Self::parse(text).map_err(Fault::from)
    };
    McpMethod, "a method such as \"tools/call\", read, write or response", |text| Self::parse(text).map_err(Fault::from);
    QueryParameter, "a parameter such as \"service=git-receive-pack\"", |text| Self::parse(text).map_err(Fault::from);
    ToolName, "the name of a tool", |text| {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if plain { Ok(Self(text.to_owned())) } else { Err("is no name of a tool: write visible characters without blanks".into()) }
    };
    McpMessage, "a method and perhaps a tool, such as \"tools/call search\"", |text| {
        let mut words = text.split(' ');
        if words.clone().count() <= 2 && words.all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Ok(Self(text.to_owned()));
        }
        Err("is no message: write a method, and after a blank the tool that it calls, such as \"tools/call search\"".into())
    };
    SessionCookie, "the name of a cookie", |text| Self::parse(text).map_err(|bad| bad.to_string().into());
    GrpcPattern, "a gRPC method such as \"package.Service/Method\"", |text| Self::parse(text).map_err(Fault::from);
    Who, "a role, \"anyone\", \"signed-in\", \"group:NAME\", \"user:NAME\", \"key:NAME\" or \"provider:ID\"", |text| {
        Self::parse(text).map_err(Fault::from)
    };
    Admin, "a name and an address such as \"alice=alice@example.com\"", |text| match text.split_once('=') {
        Some((name, email)) if user::check_name(name).is_ok() && user::check_email(email).is_ok() => {
            Ok(Self(name.to_owned(), email.to_owned()))
        }
        _ => Err("is not name=email: write one such as \"alice=alice@example.com\"".into()),
    };
    Level, "a log filter such as \"info\"", level;
    RequestLine, "a method and a path such as \"GET /v1/projects\"", |text| {
        target::request_line(text).map(|(method, path)| Self(method, path)).map_err(Fault::from)
    };
    Document, "a GraphQL document", |text| Ok(Self(text.to_owned()));
    ClientAddress, "an address such as \"10.1.2.3\", or unknown",
        |text| text.parse().map_err(|_| "is no address: write one such as \"10.1.2.3\", or unknown".into());
    SecondPlace, "an absolute path, or an address of this gateway", |text| Ok(Self(text.to_owned()));
    FieldName, "the name of a GraphQL field", |text| {
        let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if begins && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Ok(Self(text.to_owned()));
        }
        Err("is no GraphQL name: write letters, digits and _ only".into())
    };
}

fn host_name(text: &str) -> Result<HostName, Fault> {
    let host = text.parse().map_or_else(|_| Host::parse(text), |address| Ok(Host::Ipv6(address)));
    match host {
        Ok(Host::Ipv6(address)) => Ok(HostName(address.to_string())),
        Ok(host) if !text.contains('*') => Ok(HostName(host.to_string().trim_end_matches('.').to_owned())),
        _ => Err("is no host name: write one without scheme, port and *, such as \"app.example.com\"".into()),
    }
}

fn prefix(text: &str) -> Result<Prefix, Fault> {
    if text.contains('*') {
        let remedy = "put the pattern into a rule's `path`";
        return Err(Fault::new("is a pattern, but routes take plain prefixes", remedy));
    }
    PathPattern::parse(text).map_err(Fault::from)?;
    let canonical = target::canonical_path(text)
        .map_err(|error| Fault::new(error.to_string(), "write one such as \"/app\""))?;
    let trimmed = canonical.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(&canonical);
    Ok(Prefix(trimmed.to_owned()))
}

fn level(text: &str) -> Result<Level, Fault> {
    let word = !text.contains(['=', ',', '[']);
    let known = ["off", "error", "warn", "info", "debug", "trace"].contains(&text);
    if text.is_empty() || (word && !known) || EnvFilter::builder().parse(text).is_err() {
        return Err("is no log filter: write off, error, warn, info, debug, trace, or a list such as \"info,doorward=debug\"".into());
    }
    Ok(Level(text.to_owned()))
}
