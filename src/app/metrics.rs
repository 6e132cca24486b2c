//! The metrics listener: bound before anything is served, and answering once everything it reports on exists.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::StartError;
use super::reload::Reloader;
use crate::config::Config;
use crate::model::metrics::{ProviderCounts, Registry};
use crate::model::time::Timestamp;
use crate::server;
use crate::server::metrics::{ServerStanding, Sources};

/// A socket that waits to be served.
pub(super) struct MetricsSocket {
    socket: TcpListener,
    address: SocketAddr,
}

/// Binds the address, if one is set.
pub(super) async fn bind(config: &Config) -> Result<Option<MetricsSocket>, StartError> {
    let Some(address) = config.metrics.listen else { return Ok(None) };
    let failed = |cause| StartError::Bind { address: address.to_string(), cause };
    let socket = TcpListener::bind(address).await.map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    Ok(Some(MetricsSocket { socket, address }))
}

/// Served until it is dropped.
pub(super) struct MetricsServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl MetricsServer {
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl MetricsSocket {
    pub(super) fn serve(
        self,
        reloader: &Arc<Reloader>,
        registry: Arc<Registry>,
        providers: ProviderCounts,
        started: Timestamp,
    ) -> MetricsServer {
        let (lookups, certificate, servers) =
            (Arc::clone(reloader), Arc::clone(reloader), Arc::clone(reloader));
        let sources = Sources {
            registry,
            admission: reloader.admission.clone(),
            buffer_quotas: reloader.foundation.buffer_quotas.clone(),
            page_limiter: reloader.foundation.page_limiter.clone(),
            revocations: reloader.foundation.services.revocations.clone(),
            lookups: Box::new(move || lookups.foundation.lookups()),
            providers,
            store: reloader.foundation.services.store.clone(),
            certificate_end: Box::new(move || certificate_end(&certificate)),
            servers: Box::new(move || server_states(&servers)),
            started,
        };
        let task = tokio::spawn(server::metrics::serve(self.socket, Arc::new(sources)));
        MetricsServer { address: self.address, task }
    }
}

/// When the certificate ends that clients are shown.
fn certificate_end(reloader: &Reloader) -> Option<Timestamp> {
    let of_file = || {
        let current = reloader.current.try_lock().ok()?;
        server::tls::end_of(&current.config.server.tls.as_ref()?.certificate)
    };
    reloader.held.as_ref().and_then(|held| held.end()).or_else(of_file)
}

/// Every server of every upstream. None while another configuration is about to take effect.
fn server_states(reloader: &Reloader) -> Vec<ServerStanding> {
    let Ok(current) = reloader.current.try_lock() else { return Vec::new() };
    let upstreams = current.config.upstreams.iter().zip(&*current.upstreams);
    let of_one = upstreams.flat_map(|(upstream, parts)| {
        upstream.servers.iter().zip(parts.are_in()).map(|(server, is_in)| ServerStanding {
            upstream: upstream.name.clone(),
            server: server.to_string(),
            is_in,
        })
    });
    of_one.collect()
}
