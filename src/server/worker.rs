//! A data-plane thread: one runtime, its own gate, its own upstream connections; nothing of a request leaves it.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

use super::access_log::AccessLog;
use super::admission::Slot;
use super::connection::{self, ConnectionLimits, Setting};
use super::dispatch::{Dispatch, Shared};
use super::proxy_protocol::Refused;
use super::refused_log::RefusedLog;
use super::stream::{Accepted, Stream};
use super::{Phase, Surface, proxy_protocol};
use crate::config::Config;
use crate::edge::forward_auth::ForwardAuth;
use crate::edge::forwarded::Peer;
use crate::edge::proxy::Proxy;
use crate::edge::proxy::open::{SlowBounds, Streams};
use crate::edge::proxy::pool::Upstream;
use crate::edge::proxy::tls;
use crate::edge::proxy::upgrade::Hold;
use crate::gate::Gate;
use crate::gate::authenticator::{Authenticator, AuthenticatorParts};
use crate::service::refused::Refusals;

/// Connections handed over and not yet taken.
const HANDED_OVER: usize = 1024;
/// Also keeps a timer standing, so that no request's own timer is the earliest and wakes the driver.
const TICK: Duration = Duration::from_secs(1);

/// A connection on its way to a worker.
pub struct HandOver {
    /// The socket, not yet bound to a runtime.
    pub stream: Accepted,
    /// Its other end; [`crate::model::network::UNIX_PEER`] on a socket file.
    pub peer: IpAddr,
    /// How TLS is answered, if it is spoken.
    pub tls: Option<TlsAcceptor>,
    /// What is served on it.
    pub surface: Surface,
    /// Whether it begins with a PROXY protocol header.
    pub proxied: bool,
    /// Its place among the connections.
    pub slot: Slot,
}

/// What a worker is made of.
#[derive(Clone)]
pub struct Parts {
    /// The settings.
    pub config: Arc<Config>,
    /// For its dispatch.
    pub shared: Shared,
    /// For its authenticator.
    pub authenticator: AuthenticatorParts,
    /// Where its access events go, if they are wanted.
    pub log: Option<SyncSender<String>>,
    /// Where it tells what would have been refused.
    pub refusals: Refusals,
    /// What the gateway is doing.
    pub phase: watch::Receiver<Phase>,
    /// True once open streams must end.
    pub closing: watch::Receiver<bool>,
}

/// A running worker, as the acceptor sees it.
#[derive(Clone)]
pub struct Worker {
    connections: mpsc::Sender<HandOver>,
    load: Arc<AtomicUsize>,
}

impl Worker {
    /// Starts a thread. It ends once the phase says so and its connections have ended.
    ///
    /// # Errors
    ///
    /// If the thread or its runtime cannot be made.
    pub fn start(number: usize, parts: Parts) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        let (connections, arrivals) = mpsc::channel(HANDED_OVER);
        let load = Arc::new(AtomicUsize::new(0));
        let worker = Self { connections, load: Arc::clone(&load) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new()
            .name(format!("doorward-{number}"))
            .spawn(move || LocalSet::new().block_on(&runtime, run(parts, arrivals, load)))?;
        Ok((worker, thread))
    }

    /// Open connections.
    pub fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// Hands a connection over; drops it where the worker is too far behind to take it.
    pub fn take(&self, connection: HandOver) {
        self.load.fetch_add(1, Ordering::Relaxed);
        if self.connections.try_send(connection).is_err() {
            self.load.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!("a connection was dropped: its worker is overloaded");
        }
    }
}

async fn run(parts: Parts, mut arrivals: mpsc::Receiver<HandOver>, load: Arc<AtomicUsize>) {
    let limits = ConnectionLimits::new(&parts.config.server);
    let log = parts.log.map(|queue| Rc::new(AccessLog::new(parts.config.log.format, queue)));
    let refused = Rc::new(RefusedLog::new(parts.refusals));
    let gate = Rc::new(Gate::new(&parts.config, Authenticator::new(parts.authenticator)));
    let upstreams = parts
        .config
        .upstreams
        .iter()
        // The composition root has built every connector once; one that fails now refuses its connections.
        .map(|upstream| Rc::new(Upstream::new(upstream, tls::connector(upstream).ok().flatten())))
        .collect();
    let server = &parts.config.server;
    let bounds = SlowBounds { body: server.body_pace, write: server.write_timeout };
    let streams = Streams::new(Rc::clone(&gate), bounds);
    tokio::task::spawn_local(Rc::clone(&streams).watch());
    let forward_auth = ForwardAuth::new(Rc::clone(&gate), Arc::clone(&parts.shared.site), &parts.config);
    let proxy = Proxy::new(gate, streams, upstreams, server, parts.closing.clone());
    let dispatch =
        Rc::new(Dispatch::new(parts.shared, proxy, forward_auth, log.clone(), Rc::clone(&refused)));
    let phase = parts.phase;
    let mut closing = parts.closing;
    let mut tick = tokio::time::interval(TICK);
    // Every connection and tunnel holds a sender; once they are gone, nothing is open.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    let serve = |arrival: HandOver| {
        let HandOver { stream, peer, tls, surface, proxied, slot } = arrival;
        let mut held = Held { slot, load: Arc::clone(&load), open: open.clone() };
        let (dispatch, phase) = (Rc::clone(&dispatch), phase.clone());
        tokio::task::spawn_local(async move {
            let Ok(mut stream) = Stream::new(stream) else { return };
            let mut address = peer;
            if proxied {
                match Box::pin(name_client(&mut stream, peer, &mut held.slot, limits)).await {
                    Some(client) => address = client,
                    None => return,
                }
            }
            let peer = Peer { address, secure: tls.is_some() };
            let setting = Setting { peer, surface, hold: Hold::of(held), dispatch, limits, phase };
            connection::serve(stream, tls, setting).await;
        });
    };
    let mut stopping = phase.clone();
    loop {
        tokio::select! {
            arrival = arrivals.recv() => match arrival {
                Some(arrival) => serve(arrival),
                None => break,
            },
            _ = tick.tick() => {
                if let Some(log) = &log {
                    log.flush();
                }
                refused.flush();
            }
            _ = stopping.wait_for(|phase| *phase != Phase::Running) => break,
        }
    }
    arrivals.close();
    // What was handed over before the stop is still served.
    while let Some(arrival) = arrivals.recv().await {
        serve(arrival);
    }
    drop(open);
    tokio::select! {
        _ = all_closed.recv() => {}
        _ = closing.wait_for(|closing| *closing) => {}
    }
    if let Some(log) = &log {
        log.flush();
    }
    refused.flush();
}

/// The client that a proxy names at the beginning of a connection; `None`: the connection must be closed.
async fn name_client(
    stream: &mut Stream,
    peer: IpAddr,
    slot: &mut Slot,
    limits: ConnectionLimits,
) -> Option<IpAddr> {
    let received = proxy_protocol::receive(stream);
    let client = match tokio::time::timeout(limits.header_timeout(), received).await {
        Ok(Ok(client)) => client.unwrap_or(peer),
        Ok(Err(error @ Refused::Ended(_))) => {
            tracing::debug!(proxy.ip = %peer, %error, "a connection was not set up");
            return None;
        }
        Ok(Err(error)) => {
            tracing::warn!(proxy.ip = %peer, %error, "a connection is refused");
            return None;
        }
        Err(_) => {
            tracing::warn!(proxy.ip = %peer, "a connection is refused: no PROXY protocol header in time");
            return None;
        }
    };
    if let Err(full) = slot.name(client) {
        tracing::debug!(client.ip = %client, by = full.setting(), "a connection is refused");
        return None;
    }
    Some(client)
}

/// What an open connection holds, tunnels included.
#[derive(Debug)]
struct Held {
    slot: Slot,
    load: Arc<AtomicUsize>,
    #[expect(dead_code, reason = "held for its drop")]
    open: mpsc::Sender<()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }
}
