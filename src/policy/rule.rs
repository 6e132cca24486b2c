//! One rule: for which requests it speaks, and for whom.

use std::fmt;

use http::Method;
use ipnet::IpNet;

use super::decision::Enforce;
use super::path::PathPattern;
use super::who::Who;
use super::{Facts, Reading};
use crate::model::graphql::OperationType;
use crate::model::target::{RequestKind, RequestTarget};

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What logs and explanations say.
    pub name: String,
    /// Which requests it speaks for.
    pub when: When,
    /// Refused, whatever `allow` says.
    pub deny: Vec<Who>,
    /// Let through. If empty, those not denied go on to the next rule.
    pub allow: Vec<Who>,
    /// How strictly its refusals are kept.
    pub enforce: Enforce,
}

/// Conditions on a request; an empty list puts no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// Hosts, lower-case, without port.
    pub hosts: Vec<String>,
    /// Paths.
    pub paths: Vec<PathPattern>,
    /// Methods.
    pub methods: Vec<MethodMatch>,
    /// GraphQL operations.
    pub graphql: Option<GraphqlMatch>,
    /// gRPC methods.
    pub grpc: Vec<GrpcPattern>,
    /// Client networks.
    pub networks: Vec<IpNet>,
}

/// The first condition of a rule that a request does not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// `path`.
    Path,
    /// `methods`.
    Method,
    /// `host`.
    Host,
    /// `grpc`.
    Grpc,
    /// `networks`.
    Network,
    /// `graphql` or `fields`.
    Graphql,
}

impl Mismatch {
    /// The condition, by the name it has in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Method => "methods",
            Self::Host => "host",
            Self::Grpc => "grpc",
            Self::Network => "networks",
            Self::Graphql => "graphql",
        }
    }
}

/// Whether a rule speaks for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It does.
    Yes,
    /// It does if the client, whose address is not known, lies in the rule's networks.
    Unsure,
    /// It does not.
    No(Mismatch),
}

impl When {
    pub(super) fn fit(&self, facts: &Facts<'_>, reading: Reading) -> Fit {
        match self.fit_envelope(facts, reading) {
            Fit::Yes | Fit::Unsure if self.graphql.as_ref().is_some_and(|wanted| !wanted.fits(facts)) => {
                Fit::No(Mismatch::Graphql)
            }
            fit => fit,
        }
    }

    /// Everything but what only the body tells.
    pub(super) fn fit_envelope(&self, facts: &Facts<'_>, reading: Reading) -> Fit {
        let target = facts.target;
        let path_fits = |pattern: &PathPattern| match reading {
            Reading::Canonical => pattern.matches(target.path()),
            Reading::Loose => target.loose_path().is_some_and(|path| pattern.matches_loose(path)),
        };
        if !(self.paths.is_empty() || self.paths.iter().any(path_fits)) {
            return Fit::No(Mismatch::Path);
        }
        if !(self.methods.is_empty() || self.methods.iter().any(|method| method.fits(target))) {
            return Fit::No(Mismatch::Method);
        }
        if !(self.hosts.is_empty() || self.hosts.iter().any(|host| host == target.host())) {
            return Fit::No(Mismatch::Host);
        }
        if !(self.grpc.is_empty() || self.grpc.iter().any(|pattern| pattern.fits(target))) {
            return Fit::No(Mismatch::Grpc);
        }
        if self.networks.is_empty() {
            return Fit::Yes;
        }
        match facts.client.is_within(&self.networks) {
            Some(true) => Fit::Yes,
            Some(false) => Fit::No(Mismatch::Network),
            None => Fit::Unsure,
        }
    }
}

/// A method, or a class of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MethodMatch {
    /// GET, HEAD, OPTIONS; a WebSocket handshake is a GET.
    Read,
    /// Everything else, known or not.
    Write,
    /// A WebSocket handshake.
    WebSocket,
    /// One method. GET includes HEAD, which is decided as GET.
    Named(Method),
}

impl MethodMatch {
    /// Reads `read`, `write`, `websocket` or a method in upper case.
    ///
    /// # Errors
    ///
    /// A sentence that lists the forms.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            "websocket" => Ok(Self::WebSocket),
            "TRACE" | "CONNECT" => Err(format!("`{text}` is never proxied")),
            "HEAD" => Err(String::from("`HEAD` is decided as GET: write GET")),
            _ if !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') => {
                Method::from_bytes(text.as_bytes())
                    .map(Self::Named)
                    .map_err(|_| format!("`{text}` is no method"))
            }
            _ => Err(format!(
                "`{text}` is no method: write read, write, websocket, or a name in upper case such as POST"
            )),
        }
    }

    /// The one method it stands for, where it names one.
    pub(super) fn method(&self) -> Option<&Method> {
        match self {
            Self::Named(method) => Some(method),
            Self::Read | Self::Write | Self::WebSocket => None,
        }
    }

    pub(super) fn fits(&self, target: &RequestTarget) -> bool {
        match self {
            Self::Read => target.is_read(),
            Self::Write => !target.is_read(),
            Self::WebSocket => target.kind() == RequestKind::WebSocket,
            Self::Named(Method::GET) => matches!(*target.method(), Method::GET | Method::HEAD),
            Self::Named(method) => target.method() == method,
        }
    }
}

impl fmt::Display for MethodMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => f.write_str("read"),
            Self::Write => f.write_str("write"),
            Self::WebSocket => f.write_str("websocket"),
            Self::Named(method) => f.write_str(method.as_str()),
        }
    }
}

/// A condition on the GraphQL operation that would run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphqlMatch {
    /// Its type is one of these.
    pub kinds: Vec<OperationType>,
    /// Every root field is one of these; empty: any field.
    pub fields: Vec<String>,
}

impl GraphqlMatch {
    fn fits(&self, facts: &Facts<'_>) -> bool {
        let Some(operation) = facts.graphql else { return false };
        let fields_fit = self.fields.is_empty()
            || operation.fields.as_ref().is_some_and(|fields| fields.iter().all(|f| self.fields.contains(f)));
        self.kinds.contains(&operation.kind) && fields_fit
    }
}

/// A gRPC method, `package.Service/Method`, or `package.Service/*` for all of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcPattern {
    service: String,
    method: Option<String>,
}

impl GrpcPattern {
    /// Reads a pattern, with or without a leading slash.
    ///
    /// # Errors
    ///
    /// A sentence that says what one looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let word = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'_')
        };
        match text.strip_prefix('/').unwrap_or(text).split_once('/') {
            Some((service, "*")) if word(service) => Ok(Self { service: service.to_owned(), method: None }),
            Some((service, method)) if word(service) && word(method) => {
                Ok(Self { service: service.to_owned(), method: Some(method.to_owned()) })
            }
            _ => {
                Err(format!("`{text}` is no gRPC method such as package.Service/Method or package.Service/*"))
            }
        }
    }

    /// Whether every method that `other` stands for is meant too.
    pub(super) fn includes(&self, other: &Self) -> bool {
        self.service == other.service && (self.method.is_none() || self.method == other.method)
    }

    fn fits(&self, target: &RequestTarget) -> bool {
        let parts = target.path().strip_prefix('/').and_then(|path| path.split_once('/'));
        target.kind() == RequestKind::Grpc
            && parts.is_some_and(|(service, method)| {
                service == self.service
                    && self.method.as_ref().map_or(!method.contains('/'), |wanted| wanted == method)
            })
    }
}

impl fmt::Display for GrpcPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.method.as_deref().unwrap_or("*"))
    }
}
