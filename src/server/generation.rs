//! One configuration in effect, and how a data-plane thread goes over from one to the next.
//!
//! The control plane builds a [`Generation`] and sends it to every thread; each makes of it what it serves with.
//! A request takes that once, when it begins, and keeps it to its end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;

use super::access_log::AccessLog;
use super::connection_limits::ConnectionLimits;
use super::dispatch::{Dispatch, IntakeSettings};
use super::refused_log::RefusedLog;
use super::request_record::RecordSinks;
use crate::config::Config;
use crate::edge::forward_auth::ForwardAuth;
use crate::edge::proxy::Proxy;
use crate::edge::proxy::health::Checks;
use crate::edge::proxy::meter::Meter;
use crate::edge::proxy::open::{ExchangeLimits, SlowBounds, Streams};
use crate::edge::proxy::servers::{Upstream, UpstreamParts};
use crate::edge::read_ahead::BufferQuota;
use crate::edge::surfaces::{self, Surfaces};
use crate::federation::Federation;
use crate::gate::authenticator::{Authenticator, AuthenticatorParts, CredentialCache};
use crate::gate::{Gate, GateKeys};
use crate::model::metrics::{Registry, WorkerMetrics};

/// Everything that is made of one configuration. Never changes.
pub struct Generation {
    /// Counted from one at the start; one more with each configuration that is put into effect.
    pub number: u64,
    /// The settings.
    pub config: Config,
    /// What is ours, on each thread.
    pub surfaces: surfaces::SurfaceParts,
    /// What GraphQL and the Model Context Protocol may hold in memory before they are decided.
    pub room: BufferQuota,
    /// For each thread's authenticator.
    pub authenticator: AuthenticatorParts,
    /// For each thread's gate.
    pub keys: GateKeys,
    /// Providers that people sign in with.
    pub federation: Arc<Federation>,
    /// The ways to each upstream, in the order of the settings.
    pub upstreams: Arc<[UpstreamParts]>,
    /// What looks after their servers, as long as this generation is in effect.
    pub checks: Checks,
}

/// State of a thread that outlives its generations.
pub(super) struct ThreadState {
    /// The credential cache.
    pub(super) credential_cache: Rc<CredentialCache>,
    /// The thread's access log.
    pub(super) log: Rc<AccessLog>,
    /// Where its counters are read.
    pub(super) registry: Arc<Registry>,
    /// What it let through that would have been refused.
    pub(super) refused: Rc<RefusedLog>,
    /// True once open streams must end.
    pub(super) closing: watch::Receiver<bool>,
}

/// What a thread serves with now.
pub struct Current {
    lasting: ThreadState,
    streams: Rc<Streams>,
    dispatch: RefCell<Rc<Dispatch>>,
    limits: Cell<ConnectionLimits>,
}

impl Current {
    /// To be called on the thread itself.
    pub(super) fn new(lasting: ThreadState, generation: &Generation) -> Self {
        let metrics = metrics_of(&lasting.registry, &generation.config);
        let gate = gate(&lasting, &metrics, generation);
        let streams = Streams::new(Rc::clone(&gate), slow_bounds(generation), most_open(generation));
        tokio::task::spawn_local(Rc::clone(&streams).watch());
        let dispatch = dispatch(&lasting, metrics, Rc::clone(&streams), gate, generation);
        Self {
            lasting,
            streams,
            dispatch: RefCell::new(Rc::new(dispatch)),
            limits: Cell::new(ConnectionLimits::new(&generation.config.server)),
        }
    }

    /// Goes over to a generation. What is under way ends with what it began with; then the connections that
    /// only the old one held are closed.
    pub(super) fn adopt(&self, generation: &Generation) {
        let metrics = metrics_of(&self.lasting.registry, &generation.config);
        let gate = gate(&self.lasting, &metrics, generation);
        let streams = Rc::clone(&self.streams);
        let dispatch = dispatch(&self.lasting, metrics, streams, Rc::clone(&gate), generation);
        self.limits.set(ConnectionLimits::new(&generation.config.server));
        let old = self.dispatch.replace(Rc::new(dispatch));
        self.streams.succeed(gate, slow_bounds(generation), most_open(generation));
        drop(old);
    }

    /// What the next request is answered by.
    pub(super) fn dispatch(&self) -> Rc<Dispatch> {
        Rc::clone(&self.dispatch.borrow())
    }

    /// The limits of the next connection.
    pub(super) fn limits(&self) -> ConnectionLimits {
        self.limits.get()
    }
}

fn slow_bounds(generation: &Generation) -> SlowBounds {
    let server = &generation.config.server;
    SlowBounds { body: server.body_pace, write: server.write_timeout }
}

fn most_open(generation: &Generation) -> ExchangeLimits {
    ExchangeLimits::of_thread(&generation.config.server)
}

fn gate(lasting: &ThreadState, metrics: &Rc<WorkerMetrics>, generation: &Generation) -> Rc<Gate> {
    let Generation { number, config, authenticator, keys, .. } = generation;
    let authenticator = Authenticator::new(
        authenticator.clone(),
        *number,
        Rc::clone(&lasting.credential_cache),
        Rc::clone(metrics),
    );
    Rc::new(Gate::new(config, authenticator, keys.clone()))
}

fn dispatch(
    lasting: &ThreadState,
    metrics: Rc<WorkerMetrics>,
    streams: Rc<Streams>,
    gate: Rc<Gate>,
    generation: &Generation,
) -> Dispatch {
    let Generation { config, surfaces, room, upstreams, .. } = generation;
    let upstreams = config
        .upstreams
        .iter()
        .zip(&**upstreams)
        .enumerate()
        .map(|(number, (upstream, parts))| {
            Rc::new(Upstream::new(upstream, parts, &Meter::new(Rc::clone(&metrics), number)))
        })
        .collect();
    let forward_auth =
        ForwardAuth::new(Rc::clone(&gate), Arc::clone(&surfaces.site), surfaces.asking.clone(), config);
    let proxy = Proxy::new(gate, streams, upstreams, config, room.clone(), lasting.closing.clone());
    let books = RecordSinks {
        log: config.log.access.then(|| Rc::clone(&lasting.log)),
        refused: Rc::clone(&lasting.refused),
        metrics,
        clock: Arc::clone(&surfaces.clock),
    };
    let surfaces = Surfaces::new(surfaces.clone(), proxy, forward_auth);
    Dispatch::new(surfaces, IntakeSettings::new(&config.server), books)
}

/// Counters by the names of this configuration; those of former ones are kept in the sums.
fn metrics_of(registry: &Registry, config: &Config) -> Rc<WorkerMetrics> {
    let routes: Vec<String> = config.routes.iter().map(|route| route.name.clone()).collect();
    let upstreams: Vec<String> = config.upstreams.iter().map(|upstream| upstream.name.clone()).collect();
    registry.worker(&routes, &upstreams)
}
