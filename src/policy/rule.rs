//! One rule: its conditions, and whom it allows or denies.

use std::fmt;

use http::Method;
use ipnet::IpNet;

use super::Facts;
use super::enforce::Enforce;
use super::fit::{Doubt, Fit, Mismatch};
use super::graphql::GraphqlMatch;
use super::mcp::McpMatch;
use super::path::PathPattern;
use super::reading::RequestReading;
use super::who::Who;
use crate::model::graphql::Operation;
use crate::model::mcp::Message;
use crate::model::query::{Presence, QueryParameter};

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What logs and explanations say.
    pub name: String,
    /// Which requests it speaks for.
    pub when: Conditions,
    /// Refused, whatever `allow` says.
    pub deny: Vec<Who>,
    /// Let through. If empty, those not denied go on to the next rule.
    pub allow: Vec<Who>,
    /// How strictly its refusals are kept.
    pub enforce: Enforce,
}

/// Conditions on a request; an empty list puts no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Hosts, lower-case, without port.
    pub hosts: Vec<String>,
    /// Paths.
    pub paths: Vec<PathPattern>,
    /// Methods.
    pub methods: Vec<MethodMatch>,
    /// Parameters of the URL, of which one stands there.
    pub query: Vec<QueryParameter>,
    /// GraphQL operations.
    pub graphql: Option<GraphqlMatch>,
    /// Messages of the Model Context Protocol.
    pub mcp: Option<McpMatch>,
    /// gRPC methods.
    pub grpc: Vec<GrpcPattern>,
    /// Client networks.
    pub networks: Vec<IpNet>,
}

impl Conditions {
    pub(super) fn fit(&self, facts: &Facts<'_>, reading: RequestReading<'_>) -> Fit {
        let graphql = || match self.graphql.as_ref().map_or(Fit::Yes, |wanted| wanted.fit(facts.graphql)) {
            Fit::No(_) if reading.switches => Fit::No(Mismatch::SwitchedGraphql),
            Fit::No(_) if facts.graphql == Some(&Operation::UNKNOWN) => Fit::No(Mismatch::UnreadGraphql),
            fit => fit,
        };
        let mcp = || self.mcp.as_ref().map_or(Fit::Yes, |wanted| wanted.fit(reading.message));
        self.fit_envelope(facts, reading).and(graphql).and(mcp)
    }

    /// The condition by which it fits no switch of protocol, whose messages are not read.
    pub fn misses_switches(&self) -> Option<&'static str> {
        let graphql = self.graphql.as_ref().map(|wanted| wanted.fit(Some(&Operation::UNKNOWN)));
        let mcp = self.mcp.as_ref().map(|wanted| wanted.fit(Some(&Message::Unknown)));
        [("graphql", graphql), ("mcp", mcp)]
            .into_iter()
            .find_map(|(name, fit)| matches!(fit, Some(Fit::No(_))).then_some(name))
    }

    /// Whether it asks for what only a body tells.
    pub fn looks_at_bodies(&self) -> bool {
        self.graphql.is_some() || self.mcp.is_some()
    }

    /// Whether it names a path that a careless server reads in another way.
    pub(super) fn names_loosely(&self) -> bool {
        let mut all = self.paths.iter().chain(self.grpc.iter().map(|GrpcPattern(path)| path));
        all.any(PathPattern::is_loose_itself)
    }

    /// Whether it speaks for switches of protocol by name.
    pub(super) fn names_switches(&self) -> bool {
        self.methods.contains(&MethodMatch::WebSocket)
    }

    /// Everything but what only the body tells.
    pub(super) fn fit_envelope(&self, facts: &Facts<'_>, reading: RequestReading<'_>) -> Fit {
        let target = facts.target;
        let path_fits = |pattern: &PathPattern| {
            if reading.loose {
                pattern.matches_loose(target.loose_path().unwrap_or(target.path()))
            } else {
                pattern.matches(target.path())
            }
        };
        if !(self.paths.is_empty() || self.paths.iter().any(path_fits)) {
            return Fit::No(Mismatch::Path);
        }
        if !(self.methods.is_empty() || self.methods.iter().any(|method| method.fits(reading))) {
            return Fit::No(Mismatch::Method);
        }
        if !(self.hosts.is_empty() || self.hosts.iter().any(|host| host == target.host())) {
            return Fit::No(Mismatch::Host);
        }
        if !(self.grpc.is_empty() || self.grpc.iter().any(|GrpcPattern(path)| path_fits(path))) {
            return Fit::No(Mismatch::Grpc);
        }
        let networks = match facts.client.is_within(&self.networks) {
            _ if self.networks.is_empty() => Fit::Yes,
            Some(true) => Fit::Yes,
            Some(false) => Fit::No(Mismatch::Network),
            None => Fit::Unsure(Doubt::Network),
        };
        networks.and(|| self.fit_query(target.query()))
    }

    fn fit_query(&self, query: Option<&str>) -> Fit {
        let mut fit = if self.query.is_empty() { Fit::Yes } else { Fit::No(Mismatch::Query) };
        for parameter in &self.query {
            match parameter.likeness(query) {
                Presence::Plain => return Fit::Yes,
                Presence::Perhaps => fit = Fit::Unsure(Doubt::Query),
                Presence::No => {}
            }
        }
        fit
    }
}

/// A method, or a class of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MethodMatch {
    /// GET, HEAD, OPTIONS. Never a switch of protocol.
    Read,
    /// Everything else, known or not; switches of protocol too.
    Write,
    /// A switch of protocol: a WebSocket or any other.
    WebSocket,
    /// One method. GET includes HEAD, which is decided as GET. Never a switch of protocol.
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
                    .map_err(|_| format!("`{text}` is not a method"))
            }
            _ => Err(format!(
                "`{text}` is not a method: write read, write, websocket, or a name in upper case such as POST"
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

    pub(super) fn fits(&self, reading: RequestReading<'_>) -> bool {
        match self {
            Self::Read => reading.reads(),
            Self::Write => !reading.reads(),
            Self::WebSocket => reading.switches,
            Self::Named(_) if reading.switches => false,
            Self::Named(Method::GET) => matches!(*reading.method, Method::GET | Method::HEAD),
            Self::Named(method) => reading.method == method,
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

/// A gRPC method, `package.Service/Method`, or `package.Service/*` for all of a service.
///
/// It is the path that names the method, so nothing else is looked at: a server may take a call by any media type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcPattern(PathPattern);

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
        let name = text.strip_prefix('/').unwrap_or(text);
        match name.split_once('/') {
            Some((service, method)) if word(service) && (method == "*" || word(method)) => {
                PathPattern::whole(&format!("/{name}")).map(Self)
            }
            _ => Err(format!(
                "`{text}` is not a gRPC method such as package.Service/Method or package.Service/*"
            )),
        }
    }
}

impl GrpcPattern {
    /// Whether every method that `other` stands for is meant too.
    pub(super) fn includes(&self, other: &Self) -> bool {
        self.0.includes(&other.0)
    }

    /// The same where the service stands below a path.
    pub fn below(&self, path: &str) -> Option<Self> {
        PathPattern::whole(&format!("{path}{}", self.0.as_str())).ok().map(Self)
    }

    /// Whether its calls are below a path as they are.
    pub fn is_below(&self, path: &str) -> bool {
        self.0.as_str().strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl fmt::Display for GrpcPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_start_matches('/'))
    }
}
