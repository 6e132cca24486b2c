//! The servers of an upstream: where they are, which is next, and when one is left out.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;
use http::uri::PathAndQuery;

use super::{Upstream, UpstreamConfig};
use crate::config::reading::Section;
use crate::config::reading::SettingsReader;
use crate::config::reading::join;
use crate::config::reading::{FromText, InvalidValue, Number, SettingType, Span, choice, section};
use crate::config::sections::public_url::PublicUrl;
use crate::config::sections::upstream::UpstreamProtocol;

/// Most servers of one upstream.
const MOST: usize = 64;

section! {
    /// When one of several servers is left out: after failures of requests, for a growing time, and while a
    /// regular check fails. Where all are left out, requests go to all the same.
    Health {
        /// Path that every server is asked for regularly, with its own host. By default none is.
        path: Option<CheckPath>, r#""/healthz""#;
        /// How often.
        interval: Span<1, 3600> = r#""10s""#, r#""30s""#;
        /// How long an answer may take, the connection included.
        timeout: Span<1, 300> = r#""3s""#, r#""1s""#;
        /// Good answers: `200`, a class such as `2xx`, or a range such as `200-399`.
        status: Vec<StatusRange> = r#"["2xx"]"#, r#"["2xx", "401"]"#;
        /// After so many failures in a row a server is left out: requests that could not connect or broke off
        /// without an answer, or checks. One good check brings it back.
        failures: Number<1, 1000> = "3", "1";
        /// How old the first failure of requests may be.
        window: Span<1, 3600> = r#""30s""#, r#""1m""#;
        /// How long failed requests keep a server out at first; doubled each time, up to five minutes.
        pause: Span<1, 3600> = r#""5s""#, r#""30s""#;
    }
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamAddress {
    /// The built-in sample dashboard, served by this process.
    Sample,
    /// A TCP address.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
        /// Whether TLS is spoken.
        tls: bool,
    },
    /// A Unix socket.
    Unix {
        /// Its absolute path.
        path: PathBuf,
    },
}

impl UpstreamAddress {
    /// Whether TLS is spoken.
    pub fn is_secure(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }

    /// As it is written in settings.
    pub fn url(&self, protocol: UpstreamProtocol) -> String {
        let cleartext_http2 = protocol == UpstreamProtocol::Http2 && !self.is_secure();
        match self {
            Self::Tcp { .. } if cleartext_http2 => format!("h2c://{self}"),
            Self::Tcp { tls: true, .. } => format!("https://{self}"),
            Self::Tcp { .. } => format!("http://{self}"),
            Self::Unix { .. } if cleartext_http2 => format!("h2c+{self}"),
            Self::Unix { .. } | Self::Sample => self.to_string(),
        }
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sample => f.write_str("builtin:sample"),
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix { path } => write!(f, "unix:{}", path.display()),
        }
    }
}

impl UpstreamConfig {
    /// Where its servers are, for people.
    pub fn address(&self) -> String {
        let servers = self.servers.iter().map(|server| match server {
            UpstreamAddress::Sample => "built-in sample".to_owned(),
            server => server.url(self.protocol),
        });
        servers.collect::<Vec<_>>().join(", ")
    }
}

/// Which server of several a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// One after the other.
    RoundRobin,
    /// The one with the fewest requests at the moment.
    LeastConnections,
}

/// When a server is left out.
#[derive(Clone, Debug)]
pub struct HealthConfig {
    /// What it is asked, if it is.
    pub check: Option<HealthCheck>,
    /// After how many failures in a row.
    pub failures: u32,
    /// How old the first of them may be.
    pub window: Duration,
    /// For how long at first.
    pub pause: Duration,
}

/// What every server is asked in turn.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// Path and query.
    pub path: PathAndQuery,
    /// How often.
    pub interval: Duration,
    /// How long an answer may take, the connection included.
    pub timeout: Duration,
    /// Ranges of good answers, both ends included.
    pub status: Vec<(u16, u16)>,
}

impl HealthCheck {
    /// Whether this answer is good.
    pub fn expects(&self, status: StatusCode) -> bool {
        self.status.iter().any(|(least, most)| (*least..=*most).contains(&status.as_u16()))
    }
}

/// Path and query of a health check.
#[derive(Clone, Debug)]
pub(in crate::config) struct CheckPath(pub(in crate::config) PathAndQuery);

/// Status codes, both ends included.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct StatusRange(pub(in crate::config) u16, pub(in crate::config) u16);

/// Where an upstream is and whether it speaks HTTP/2 without TLS.
#[derive(Clone, Debug)]
pub(in crate::config) struct UpstreamUrl {
    pub(in crate::config) address: UpstreamAddress,
    pub(in crate::config) cleartext_http2: bool,
}
/// Under which of its two names the setting was written.
pub(in crate::config) fn location(upstream: &Upstream, reader: &SettingsReader) -> String {
    upstream.at(if reader.is_set(&upstream.at("servers")) { "servers" } else { "url" })
}

/// The servers as written, checked against each other.
pub(in crate::config) fn servers(
    upstream: &Upstream,
    reader: &mut SettingsReader,
) -> Option<(Vec<UpstreamAddress>, bool)> {
    let urls = upstream.url.0.as_deref()?;
    let location = location(upstream, reader);
    let first = match urls {
        [] => {
            if !reader.is_broken(&location) {
                reader.problem(&location, "names no server", "write for example \"http://127.0.0.1:6006\"");
            }
            return None;
        }
        [first, ..] => first,
    };
    if urls.len() > MOST {
        reader.problem(
            &location,
            format!("names more than {MOST} servers"),
            "put a balancer of its own before them",
        );
    }
    let sort = |url: &UpstreamUrl| {
        (url.address.is_secure(), url.cleartext_http2, url.address == UpstreamAddress::Sample)
    };
    for (index, url) in urls.iter().enumerate().skip(1) {
        let location = format!("{location}[{index}]");
        if sort(url) != sort(first) {
            let remedy = "write the same scheme for each, or make it another upstream";
            reader.problem(&location, "is spoken to in another way than the first server", remedy);
        } else if urls.iter().take(index).any(|earlier| earlier.address == url.address) {
            reader.problem(&location, "is the address of an earlier server", "name each server once");
        }
    }
    Some((urls.iter().map(|url| url.address.clone()).collect(), first.cleartext_http2))
}

/// When servers are left out.
pub(in crate::config) fn health(written: Health, reader: &mut SettingsReader) -> HealthConfig {
    for name in ["interval", "timeout", "status"] {
        let location = join(written.location(), name);
        if written.path.is_none() && reader.is_set(&location) && !reader.is_broken(&written.at("path")) {
            let remedy = "add `path = \"/healthz\"`, or leave it out";
            reader.problem(&location, "has no effect without a path to ask for", remedy);
        }
    }
    HealthConfig {
        failures: written.failures.count(),
        window: written.window.0,
        pause: written.pause.0,
        check: written.path.map(|path| HealthCheck {
            path: path.0,
            interval: written.interval.0,
            timeout: written.timeout.0,
            status: written.status.iter().map(|StatusRange(least, most)| (*least, *most)).collect(),
        }),
    }
}

impl FromText for UpstreamUrl {
    const WHAT: &'static SettingType = &SettingType::Text("a URL such as \"http://127.0.0.1:6006\"");

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        upstream_url(text)
    }
}

impl FromText for CheckPath {
    const WHAT: &'static SettingType = &SettingType::Text("a path such as \"/healthz\"");

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        match PathAndQuery::try_from(text) {
            Ok(path) if text.starts_with('/') && !text.contains('#') => Ok(Self(path)),
            _ => Err("is not a path: write one such as \"/healthz\"".into()),
        }
    }
}

impl FromText for StatusRange {
    const WHAT: &'static SettingType = &SettingType::Text("a status such as \"200\", \"2xx\" or \"200-399\"");

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        status_range(text)
    }
}

fn upstream_url(text: &str) -> Result<UpstreamUrl, InvalidValue> {
    const FORMS: &str = "write http://HOST:PORT, https://HOST:PORT, h2c://HOST:PORT, unix:/PATH, h2c+unix:/PATH or builtin:sample";
    if text == "builtin:sample" {
        return Ok(UpstreamUrl { address: UpstreamAddress::Sample, cleartext_http2: false });
    }
    let (sort, rest) = text.split_once("unix:").unwrap_or(("-", ""));
    if let "" | "h2c+" = sort {
        return unix_socket(rest).map(|address| UpstreamUrl { address, cleartext_http2: !sort.is_empty() });
    }
    let (cleartext_http2, plain) = match text.strip_prefix("h2c://") {
        Some(rest) => (true, format!("http://{rest}")),
        None => (false, text.to_owned()),
    };
    let url = PublicUrl::parse(&plain).map_err(|what| InvalidValue::new(what, FORMS))?;
    if !url.base_path().is_empty() {
        return Err(InvalidValue::new(
            "has a path",
            "leave it out here and write it as `add_prefix` of the route",
        ));
    }
    let (host, port) = (url.host().to_owned(), url.port());
    if port == 0 {
        return Err(InvalidValue::new("has port 0", FORMS));
    }
    Ok(UpstreamUrl { address: UpstreamAddress::Tcp { host, port, tls: url.is_secure() }, cleartext_http2 })
}

fn unix_socket(path: &str) -> Result<UpstreamAddress, InvalidValue> {
    const FORM: &str = "write the socket's absolute path, such as \"unix:/run/app.sock\"";
    // What an address can hold (unix(7)), without the zero at its end.
    const LONGEST: usize = 107;
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return Err(InvalidValue::new("is not an absolute socket path", FORM));
    }
    if path.len() > LONGEST {
        return Err(InvalidValue::new(
            format!("is longer than {LONGEST} bytes, which no socket's path may be"),
            FORM,
        ));
    }
    Ok(UpstreamAddress::Unix { path: path.into() })
}

fn status_range(text: &str) -> Result<StatusRange, InvalidValue> {
    let code =
        |text: &str| text.parse::<u16>().ok().filter(|code| text.len() == 3 && (100..600).contains(code));
    let class = text.strip_suffix("xx").and_then(|class| code(&format!("{class}00")));
    let range = match (class, text.split_once('-')) {
        (Some(first), _) => Some((first, first + 99)),
        (None, Some((least, most))) => code(least).zip(code(most)).filter(|(least, most)| least <= most),
        (None, None) => code(text).map(|only| (only, only)),
    };
    range.map(|(least, most)| StatusRange(least, most)).ok_or_else(|| {
        InvalidValue::new("is not a status", "write one such as \"200\", \"2xx\" or \"200-399\"")
    })
}

choice! {
    Balance { "round-robin" => Self::RoundRobin, "least-connections" => Self::LeastConnections }
}
