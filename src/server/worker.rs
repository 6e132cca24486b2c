//! A data-plane thread: one runtime, its own gate, its own upstream connections; nothing of a request leaves it.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

use super::access_log::AccessLog;
use super::admission::ConnectionSlot;
use super::connection::{self, ConnectionContext};
use super::connection_limits::ConnectionLimits;
use super::generation::{Current, Generation, ThreadState};
use super::proxy_protocol::{ProxiedSource, Refused};
use super::refused_log::RefusedLog;
use super::stream::{Accepted, ClientStream};
use super::{Phase, Surface, proxy_protocol};
use crate::config::LogFormat;
use crate::edge::forwarded::Peer;
use crate::edge::proxy::connection_guard::ConnectionGuard;
use crate::model::metrics::Registry;
use crate::service::refused::Refusals;

/// Connections handed over and not yet taken.
const HANDED_OVER: usize = 1024;
/// Also keeps a timer standing, so that no request's own timer is the earliest and wakes the driver.
const TICK: Duration = Duration::from_secs(1);

/// A connection on its way to a worker.
pub struct AcceptedConnection {
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
    pub slot: ConnectionSlot,
}

/// What a worker is made of, beside a generation.
#[derive(Clone)]
pub struct WorkerParts {
    /// How access events look.
    pub log_format: LogFormat,
    /// Where its access events go.
    pub log: SyncSender<String>,
    /// Where it tells what would have been refused.
    pub refusals: Refusals,
    /// What the gateway is doing.
    pub phase: watch::Receiver<Phase>,
    /// Where its counters are read.
    pub registry: Arc<Registry>,
    /// True once open streams must end.
    pub closing: watch::Receiver<bool>,
}

/// A generation on its way to a worker, which says when it has gone over to it.
type GenerationChange = (Arc<Generation>, oneshot::Sender<()>);

/// A running worker, as the acceptor sees it.
#[derive(Clone)]
pub struct Worker {
    connections: mpsc::Sender<AcceptedConnection>,
    generations: mpsc::Sender<GenerationChange>,
    load: Arc<AtomicUsize>,
}

impl Worker {
    /// Starts a thread that serves with a generation. It ends once the phase says so and its connections have ended.
    ///
    /// # Errors
    ///
    /// If the thread or its runtime cannot be made.
    pub fn start(
        number: usize,
        parts: WorkerParts,
        generation: Arc<Generation>,
    ) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        let (connections, arrivals) = mpsc::channel(HANDED_OVER);
        let (generations, successions) = mpsc::channel(1);
        let load = Arc::new(AtomicUsize::new(0));
        let worker = Self { connections, generations, load: Arc::clone(&load) };
        let arriving = WorkerInbox { connections: arrivals, generations: successions };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new()
            .name(format!("doorward-{number}"))
            .spawn(move || LocalSet::new().block_on(&runtime, run(parts, generation, arriving, load)))?;
        Ok((worker, thread))
    }

    /// Has it serve every further request with a generation, and waits until it does. A worker that is
    /// stopping keeps what it has.
    pub async fn adopt(&self, generation: Arc<Generation>) {
        let (done, adopted) = oneshot::channel();
        if self.generations.send((generation, done)).await.is_ok() {
            let _ = adopted.await;
        }
    }

    /// Open connections.
    pub fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// Hands a connection over; drops it where the worker is too far behind to take it.
    pub fn take(&self, connection: AcceptedConnection) {
        self.load.fetch_add(1, Ordering::Relaxed);
        if self.connections.try_send(connection).is_err() {
            self.load.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!("a connection was dropped: its worker is overloaded");
        }
    }
}

/// The queues of a worker.
struct WorkerInbox {
    connections: mpsc::Receiver<AcceptedConnection>,
    generations: mpsc::Receiver<GenerationChange>,
}

async fn run(parts: WorkerParts, generation: Arc<Generation>, arriving: WorkerInbox, load: Arc<AtomicUsize>) {
    let WorkerInbox { connections: mut arrivals, mut generations } = arriving;
    let log = Rc::new(AccessLog::new(parts.log_format, parts.log));
    let refused = Rc::new(RefusedLog::new(parts.refusals));
    let lasting = ThreadState {
        credential_cache: Rc::default(),
        log: Rc::clone(&log),
        registry: parts.registry,
        refused: Rc::clone(&refused),
        closing: parts.closing.clone(),
    };
    let current = Rc::new(Current::new(lasting, &generation));
    // What only the first generation needs goes when the second comes.
    drop(generation);
    let phase = parts.phase;
    let mut closing = parts.closing;
    let mut tick = tokio::time::interval(TICK);
    // Every connection and tunnel holds a sender; once they are gone, nothing is open.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    let serve = |arrival: AcceptedConnection| {
        let AcceptedConnection { stream, peer, tls, surface, proxied, slot } = arrival;
        let mut held = ConnectionResources { slot, load: Arc::clone(&load), open: open.clone() };
        let (current, phase) = (Rc::clone(&current), phase.clone());
        tokio::task::spawn_local(async move {
            let Ok(mut stream) = ClientStream::new(stream) else { return };
            let limits = current.limits();
            let mut peer = Peer { address: peer, veiled: false, secure: tls.is_some() };
            if proxied {
                match Box::pin(name_client(&mut stream, peer, &mut held.slot, limits)).await {
                    Some(client) => peer = client,
                    None => return,
                }
            }
            let setting =
                ConnectionContext { peer, surface, hold: ConnectionGuard::of(held), current, limits, phase };
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
            Some((generation, done)) = generations.recv() => {
                current.adopt(&generation);
                let _ = done.send(());
            }
            _ = tick.tick() => {
                log.flush();
                refused.flush();
            }
            _ = stopping.wait_for(|phase| *phase != Phase::Running) => break,
        }
    }
    drop(generations);
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
    log.flush();
    refused.flush();
}

/// The client that a proxy names at the beginning of a connection; `None`: the connection must be closed.
async fn name_client(
    stream: &mut ClientStream,
    peer: Peer,
    slot: &mut ConnectionSlot,
    limits: ConnectionLimits,
) -> Option<Peer> {
    let received = proxy_protocol::receive(stream);
    let client = match tokio::time::timeout(limits.header_timeout(), received).await {
        Ok(Ok(ProxiedSource::Client(address))) => Peer { address, ..peer },
        Ok(Ok(ProxiedSource::Proxy)) => peer,
        Ok(Ok(ProxiedSource::Unknown)) => Peer { veiled: true, ..peer },
        Ok(Err(error @ Refused::Ended(_))) => {
            tracing::debug!(proxy.ip = %peer.address, %error, "a connection was not set up");
            return None;
        }
        Ok(Err(error)) => {
            tracing::warn!(proxy.ip = %peer.address, %error, "a connection is refused");
            return None;
        }
        Err(_) => {
            tracing::warn!(proxy.ip = %peer.address, "a connection is refused: no PROXY protocol header in time");
            return None;
        }
    };
    if let Err(full) = slot.name(client.address) {
        tracing::debug!(client.ip = %client.address, by = full.setting(), "a connection is refused");
        return None;
    }
    Some(client)
}

/// What an open connection holds, tunnels included.
#[derive(Debug)]
struct ConnectionResources {
    slot: ConnectionSlot,
    load: Arc<AtomicUsize>,
    #[expect(dead_code, reason = "held for its drop")]
    open: mpsc::Sender<()>,
}

impl Drop for ConnectionResources {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }
}
