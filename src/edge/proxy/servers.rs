//! Load balancing over the servers of an upstream, with failover where one cannot be connected to.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use url::Url;

use super::ForwardError;
use super::connect::{ServerConnector, ways};
use super::meter::Meter;
use super::pool::{Server, UpstreamLease};
use super::state::{ServerState, states};
use crate::config::{Addresses, Balance, UpstreamConfig, UpstreamProtocol};
use crate::egress::tls::TlsError;
use crate::model::token::random_bytes;

/// What every thread needs of an upstream, made once: for each server how it is reached and how it stands.
pub struct UpstreamParts {
    pub(super) ways: Vec<ServerConnector>,
    pub(super) states: Vec<Arc<ServerState>>,
}

impl UpstreamParts {
    /// `connector` is what [`super::tls::connector`] gave for the upstream.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the name of a server cannot be checked.
    pub fn new(config: &UpstreamConfig, connector: Option<&TlsConnector>) -> Result<Self, TlsError> {
        Ok(Self { ways: ways(config, connector)?, states: states(config) })
    }

    /// Whether requests go to each server, in the order of the settings.
    pub fn are_in(&self) -> impl Iterator<Item = bool> {
        self.states.iter().map(|state| state.is_in())
    }
}

/// One thread's way to an upstream.
pub struct Upstream {
    /// What logs say.
    pub name: String,
    /// Which HTTP it speaks.
    pub protocol: UpstreamProtocol,
    /// Whether it sees the `Host` the client sent.
    pub preserve_host: bool,
    /// Whose addresses request headers hold.
    pub addresses: Addresses,
    /// Whether TLS is spoken to it.
    pub tls: bool,
    /// Where its servers are, as addresses.
    pub places: Vec<Url>,
    servers: Vec<Rc<Server>>,
    balance: Balance,
    /// Index of the next server (round robin).
    turn: Cell<usize>,
}

/// Which servers a request may go to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CandidateServers {
    /// Those that are not left out.
    In,
    /// Every one.
    All,
}

/// Servers that were tried for one request, as bits; there are at most 64.
#[derive(Clone, Copy, Default)]
struct TriedServers(u64);

impl TriedServers {
    fn has(self, index: usize) -> bool {
        self.0 >> index & 1 == 1
    }

    fn add(&mut self, index: usize) {
        self.0 |= 1 << index;
    }
}

impl Upstream {
    /// Prepares the way to an upstream; connects to nothing yet. Each thread begins with a random server.
    pub fn new(config: &UpstreamConfig, parts: &UpstreamParts, meter: &Meter) -> Self {
        let [start, ..] = random_bytes();
        let tls = config.is_secure();
        let scheme = if tls { "https" } else { "http" };
        let place = |way: &ServerConnector| Url::parse(&format!("{scheme}://{}", way.authority)).ok();
        Self {
            name: config.name.clone(),
            protocol: config.protocol,
            preserve_host: config.preserve_host,
            addresses: config.addresses,
            tls,
            places: parts.ways.iter().filter_map(place).collect(),
            servers: parts
                .ways
                .iter()
                .zip(&parts.states)
                .map(|(way, state)| {
                    let connect = config.timeouts.connect;
                    let (way, state) = (way.clone(), Arc::clone(state));
                    Rc::new(Server::new(way, state, config.protocol, connect, meter.clone()))
                })
                .collect(),
            balance: config.balance,
            turn: Cell::new(usize::from(start)),
        }
    }

    /// A connection to the next server. Where one cannot be connected to, nothing was sent to it, so
    /// the next one is tried.
    ///
    /// # Errors
    ///
    /// [`ForwardError::Connect`] if no server can be connected to in time.
    pub async fn lease(&self) -> Result<UpstreamLease, ForwardError> {
        let candidates = self.candidates();
        self.lease_from(self.pick(TriedServers::default(), candidates), candidates, false).await
    }

    /// A connection that served nothing before, to this server if it can be.
    ///
    /// # Errors
    ///
    /// [`ForwardError::Connect`] if no server can be connected to in time.
    pub async fn fresh_lease(&self, server: &Rc<Server>) -> Result<UpstreamLease, ForwardError> {
        let first = self.servers.iter().position(|own| Rc::ptr_eq(own, server));
        self.lease_from(first, self.candidates(), true).await
    }

    async fn lease_from(
        &self,
        first: Option<usize>,
        candidates: CandidateServers,
        fresh: bool,
    ) -> Result<UpstreamLease, ForwardError> {
        let mut tried = TriedServers::default();
        let mut next = first;
        let mut last = ForwardError::Connect("the upstream has no server".into());
        while let Some((index, server)) = next.and_then(|index| Some((index, self.servers.get(index)?))) {
            match server.lease(fresh).await {
                Ok(mut lease) => {
                    if self.balance == Balance::LeastConnections {
                        lease.count();
                    }
                    return Ok(lease);
                }
                Err(error) => {
                    server.state.failed(&cause(&error));
                    last = error;
                    tried.add(index);
                    next = self.pick(tried, candidates);
                }
            }
        }
        Err(last)
    }

    /// Whom a request may go to: better to a server that is left out than to none.
    fn candidates(&self) -> CandidateServers {
        let several = self.servers.len() > 1;
        if several && self.servers.iter().any(|server| server.state.is_in()) {
            CandidateServers::In
        } else {
            CandidateServers::All
        }
    }

    /// The next server of those that were not tried.
    fn pick(&self, tried: TriedServers, candidates: CandidateServers) -> Option<usize> {
        let count = self.servers.len();
        if count <= 1 {
            return (count == 1 && !tried.has(0)).then_some(0);
        }
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let server = |index: usize| self.servers.get(index).filter(|_| !tried.has(index));
        let mut fit = (0..count)
            .map(|step| turn.wrapping_add(step) % count)
            .filter_map(|index| Some((index, server(index)?)))
            .filter(|(_, server)| candidates == CandidateServers::All || server.state.is_in());
        let next = match self.balance {
            Balance::RoundRobin => fit.next(),
            // Of equals the first, so that they alternate.
            Balance::LeastConnections => fit.min_by_key(|(_, server)| server.state.open()),
        };
        next.map(|(index, _)| index)
    }
}

/// What lies behind an error, in words.
fn cause(error: &ForwardError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
