//! The request target: method, host and path, parsed once.
//!
//! Nothing after this parses a URL again: the path that is decided is byte for byte the path that is sent.

mod disguise;
mod path;
mod prefix;

use std::borrow::Cow;

use bytes::Bytes;
use http::Method;
use http::uri::PathAndQuery;

use self::path::{begins_with_nothing, read_carelessly, read_segments};
pub use self::path::{canonical_path, loosen};
pub use self::prefix::Prefixes;
use super::query;

/// The method, host and path of a request in the one form that is decided and forwarded.
///
/// Needless escapes of unreserved characters are decoded and hex digits are upper case (RFC 3986, 6.2.2).
/// A path that two parties could read differently is refused, not repaired.
///
/// Where a careless server could still read the path as another one (another letter case, a trailing dot,
/// a doubly escaped byte, letters in compatibility forms, an opted-in `;` or `%2F`), [`RequestTarget::loose_path`] holds that reading too,
/// and the policy takes the stricter of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTarget {
    method: Method,
    host: Box<str>,
    sent: PathAndQuery,
    loose: Option<Box<str>>,
    needs: PathOptIns,
    kind: RequestKind,
    may_change_by_query: bool,
}

/// Stands for a method that was not said: a write, and whatever else the rules tell apart.
pub const UNSAID: &str = "UNSAID";

/// What a request asks the connection to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// An ordinary exchange.
    Plain,
    /// A WebSocket handshake (RFC 6455, 4.1).
    WebSocket,
    /// Any other `Upgrade` (RFC 9110, 7.8).
    Upgrade,
    /// A gRPC call (`content-type: application/grpc…`). It shapes answers; to rules it is an ordinary exchange.
    Grpc,
    /// Another proxy's question with signs of a switch of protocol, which its client may have invented.
    PerhapsSwitch,
}

impl RequestKind {
    /// Whether it makes, or could make, another protocol of the connection.
    pub fn may_switch(self) -> bool {
        matches!(self, Self::WebSocket | Self::Upgrade | Self::PerhapsSwitch)
    }
}

/// Spellings of a path that only some applications need and that are refused unless opted in to.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathOptIns {
    /// `%2F` inside a segment.
    pub encoded_slash: bool,
    /// `;` parameters.
    pub semicolon: bool,
    /// `//`.
    pub empty_segment: bool,
    /// Characters that become a separator, an escape or dots once a program folds them (U+FF0F, U+2025).
    pub disguised_separator: bool,
}

impl PathOptIns {
    /// What either allows.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            encoded_slash: self.encoded_slash || other.encoded_slash,
            semicolon: self.semicolon || other.semicolon,
            empty_segment: self.empty_segment || other.empty_segment,
            disguised_separator: self.disguised_separator || other.disguised_separator,
        }
    }

    /// The first spelling that `self` uses and `allowed` lacks, by its name in the configuration.
    pub fn first_missing(self, allowed: Self) -> Option<&'static str> {
        [
            (self.encoded_slash && !allowed.encoded_slash, "encoded-slash"),
            (self.semicolon && !allowed.semicolon, "semicolon"),
            (self.empty_segment && !allowed.empty_segment, "empty-segment"),
            (self.disguised_separator && !allowed.disguised_separator, "disguised-separator"),
        ]
        .into_iter()
        .find_map(|(missing, name)| missing.then_some(name))
    }
}

/// Why a target was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// `*`, a bare authority or nothing.
    #[error("the request target is not an absolute path")]
    NotAbsolute,
    /// `//…`, in which some servers read an authority.
    #[error("the path begins with two slashes, after which some servers look for the name of a host")]
    TwoSlashes,
    /// A first segment of which nothing is left once it is read as careless servers do: they may see `//…`.
    #[error(
        "once its escapes, parameters and lookalikes of slashes are read, the path begins with two slashes, after which \
         some servers look for the name of a host"
    )]
    HiddenSlashes,
    /// `.` or `..`, in any spelling.
    #[error("the path has a dot segment")]
    DotSegment,
    /// `\`, plain or encoded.
    #[error("the path has a backslash")]
    Backslash,
    /// A control or non-ASCII byte, plain or encoded.
    #[error("the path has a control byte or one that must be escaped")]
    BadByte,
    /// `%` without two hexadecimal digits.
    #[error("the path has a broken escape")]
    BrokenEscape,
    /// Escaped bytes that are not UTF-8.
    #[error("the path is not UTF-8")]
    NotUtf8,
    /// Escapes of escapes of escapes.
    #[error("the path is escaped too many times")]
    TooDeep,
    /// None is named, as HTTP/1.0 permits.
    #[error("it names no host: send a `Host` header")]
    NoHost,
    /// Several hosts, or one that is no host.
    #[error("the host is malformed or named twice")]
    BadHost,
    /// TRACE, CONNECT, or a name that is not upper-case letters, digits and dashes.
    #[error("the method is not proxied")]
    BadMethod,
}

impl RequestTarget {
    /// Parses a target.
    ///
    /// `host` is the authority as received, with or without a port; `raw` the path and query as received.
    ///
    /// # Errors
    ///
    /// [`TargetError`] if any part can be read in two ways.
    pub fn parse(
        method: &Method,
        host: &str,
        raw: &PathAndQuery,
        kind: RequestKind,
    ) -> Result<Self, TargetError> {
        if !is_proxied(method) {
            return Err(TargetError::BadMethod);
        }
        let host = parse_host(host)?;
        let path = raw.path();
        let canonical = canonical_path(path)?;
        let reading = read_segments(&canonical)?;
        let sent = match canonical {
            Cow::Borrowed(_) => raw.clone(),
            Cow::Owned(path) => {
                let whole = raw.query().map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
                PathAndQuery::from_maybe_shared(Bytes::from(whole)).map_err(|_| TargetError::BadByte)?
            }
        };
        Ok(Self {
            method: method.clone(),
            host,
            sent,
            loose: reading.loose.map(String::into_boxed_str),
            needs: reading.needs,
            kind,
            may_change_by_query: query::may_change(raw.query()),
        })
    }

    /// The method as sent.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Host in lower case, without port and trailing dot.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The canonical path.
    pub fn path(&self) -> &str {
        self.sent.path()
    }

    /// The query, never looked at to match a path.
    pub fn query(&self) -> Option<&str> {
        self.sent.query()
    }

    /// Exactly what is sent.
    pub fn path_and_query(&self) -> &PathAndQuery {
        &self.sent
    }

    /// What a careless server could read the path as, where that differs; decoded and case-folded.
    pub fn loose_path(&self) -> Option<&str> {
        self.loose.as_deref()
    }

    /// The opt-ins without which this target must be refused.
    pub fn needs(&self) -> PathOptIns {
        self.needs
    }

    /// What the request asks for.
    pub fn kind(&self) -> RequestKind {
        self.kind
    }

    /// Whether the method is known; it is not where another proxy asks without saying it.
    pub fn says_method(&self) -> bool {
        self.method.as_str() != UNSAID
    }

    /// The same with another method and kind.
    #[must_use]
    pub fn as_method(&self, method: &Method, kind: RequestKind) -> Self {
        Self { method: method.clone(), kind, ..self.clone() }
    }

    /// Whether its query could make a server of GraphQL change something, whatever the method says.
    pub fn may_change_by_query(&self) -> bool {
        self.may_change_by_query
    }

    /// GET, HEAD and OPTIONS, but where the query may change something; everything else, known or not, writes.
    pub fn is_read(&self) -> bool {
        !self.may_change_by_query && matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }
}

/// Reads `METHOD /path?query`, as people write a request down.
///
/// # Errors
///
/// A phrase that says what is wrong.
pub fn request_line(text: &str) -> Result<(Method, PathAndQuery), &'static str> {
    const FORM: &str = "is not a request: write a method and a path, such as \"GET /v1/projects\"";
    let (method, path) = text.trim().split_once(' ').ok_or(FORM)?;
    let path = path.trim();
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| FORM)?;
    if !path.starts_with('/') {
        return Err(FORM);
    }
    Ok((method, path.parse().map_err(|_| FORM)?))
}

fn is_proxied(method: &Method) -> bool {
    let plain = method.as_str().bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-');
    plain && !matches!(*method, Method::TRACE | Method::CONNECT) && method.as_str() != "TRACK"
}

/// Reads `name`, `name:port`, `[v6]` or `[v6]:port` (RFC 3986, 3.2.2) and gives the name in lower case.
fn parse_host(text: &str) -> Result<Box<str>, TargetError> {
    let (name, port) = if let Some(rest) = text.strip_prefix('[') {
        let (name, rest) = rest.split_once(']').ok_or(TargetError::BadHost)?;
        name.parse::<std::net::Ipv6Addr>().map_err(|_| TargetError::BadHost)?;
        (name, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some("0")))
    } else {
        match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, Some("0")),
        }
    };
    let port = port.ok_or(TargetError::BadHost)?;
    let port_fits =
        !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let name = name.strip_suffix('.').unwrap_or(name);
    // A name that still ends with one would be another name for everybody who cuts as we do.
    let clean = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b));
    let fits = (1..=253).contains(&name.len())
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..");
    (port_fits && clean && fits).then(|| name.to_ascii_lowercase().into()).ok_or(TargetError::BadHost)
}

#[cfg(test)]
mod tests;
