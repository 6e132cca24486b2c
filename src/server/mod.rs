//! Floor 6, process-level HTTP: listeners, workers, limits, drain. Decides nothing.

pub mod access_log;
pub mod admission;
mod compat;
pub mod connection;
mod denied;
pub mod dispatch;
mod doctor;
mod explain;
pub mod head_timeout;
pub mod refused_log;
pub mod tls;
pub mod worker;

mod message;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use self::admission::{Admission, Full};
use self::worker::{HandOver, Worker};

/// What the gateway is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Serving.
    Running,
    /// No new connections; open requests are finished.
    Draining,
}

/// What is served on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// Everything.
    Public,
    /// Health, for operators.
    Operations,
}

/// A bound listener.
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// How TLS is answered, if it is spoken.
    pub tls: Option<TlsAcceptor>,
    /// What is served on it.
    pub surface: Surface,
}

/// Binds an address.
///
/// # Errors
///
/// If the address cannot be bound, for instance because another process has it.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections and hands each to the worker with the fewest, until the phase changes.
///
/// One acceptor spreads long-lived connections evenly, which the kernel's own spreading does not; accepting
/// is not on the path of a request.
pub async fn accept(
    listener: Listener,
    workers: Vec<Worker>,
    admission: Admission,
    mut phase: watch::Receiver<Phase>,
) {
    let mut refusals = 0_u64;
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            _ = phase.wait_for(|phase| *phase != Phase::Running) => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: waiting is all that helps, and it must not spin.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let slot = match admission.admit(peer.ip()) {
            Ok(slot) => slot,
            Err(full) => {
                refusals += 1;
                if refusals.is_power_of_two() {
                    let limit = match full {
                        Full::Total => "server.limits.connections",
                        Full::Client => "server.limits.connections_per_client",
                    };
                    tracing::warn!(client.ip = %peer.ip(), limit, refusals, "connections are refused");
                }
                continue;
            }
        };
        let Some(worker) = workers.iter().min_by_key(|worker| worker.load()) else { return };
        if let Ok(stream) = stream.into_std() {
            worker.take(HandOver {
                stream,
                peer,
                tls: listener.tls.clone(),
                surface: listener.surface,
                slot,
            });
        }
    }
}
