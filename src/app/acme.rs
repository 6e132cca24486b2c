//! Certificates by ACME: the task that orders them and the plain listener beside it.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::StartError;
use super::listen::{self, Inherited};
use crate::config::{Config, ListenerConfig};
use crate::model::time::Clock;
use crate::server::acme::Acme;
use crate::server::acme::plain;
use crate::server::acme::plain::HttpsRedirect;
use crate::server::admission::{Admission, AdmissionLimits};
use crate::server::certificates::AcmeState;
use crate::server::listener::Listening;

/// Connections of the plain listener, in total and of one client. They end with one answer.
const CONNECTIONS: usize = 1024;
const CONNECTIONS_PER_CLIENT: usize = 64;

/// Everything is there, and nothing runs yet.
pub(super) struct PreparedAcme {
    acme: Acme,
    sockets: Vec<Listening>,
    elsewhere: HttpsRedirect,
}

impl PreparedAcme {
    /// Opens what a configuration wants. Binds before the listeners, whose `systemd` takes what is left.
    pub(super) fn new(
        config: &Config,
        clock: &Arc<dyn Clock>,
        inherited: &mut Inherited,
    ) -> Result<Option<Self>, StartError> {
        let Some(settings) = config.server.acme.clone() else { return Ok(None) };
        let sockets = match settings.http_listen.clone().map(ListenerConfig::plain) {
            Some(listener) => listen::bind(&listener.address, listener.mode, inherited)?,
            None => Vec::new(),
        };
        let elsewhere =
            HttpsRedirect { origin: config.public_url.origin(), domains: settings.domains.clone() };
        let acme = Acme::open(settings, Arc::clone(clock))?;
        Ok(Some(Self { acme, sockets, elsewhere }))
    }

    /// What handshakes are answered with.
    pub(super) fn held(&self) -> Arc<AcmeState> {
        self.acme.held()
    }

    /// Starts everything; it ends when the set is dropped.
    pub(super) fn start(self) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let admission = Admission::new(AdmissionLimits {
            total: CONNECTIONS,
            per_client: CONNECTIONS_PER_CLIENT,
            proxies: Vec::new(),
        });
        let elsewhere = Arc::new(self.elsewhere);
        for socket in self.sockets {
            tracing::info!("answering challenges on {}", socket.place());
            let elsewhere = Arc::clone(&elsewhere);
            tasks.spawn(plain::serve(socket, self.acme.held(), elsewhere, admission.clone()));
        }
        tasks.spawn(self.acme.run());
        tasks
    }
}
