//! Binds every listener, and takes over the sockets that a service manager listens on (`sd_listen_fds(3)`).

use std::sync::Arc;

use listenfd::ListenFd;
use socket2::Socket;

use super::StartError;
use crate::config::{ListenAddress, ServerConfig};
use crate::server::Surface;
use crate::server::listener;
use crate::server::listener::{Listener, Listening};
use crate::server::tls::Tls;

/// Sockets that were handed over, each with its `FileDescriptorName`.
#[derive(Default)]
pub struct Inherited(Vec<(String, Socket)>);

impl Inherited {
    /// Takes what this process was started with. Changes the environment: to be called once, before there are threads.
    #[expect(clippy::disallowed_methods, reason = "these variables are the service manager's, not settings")]
    pub fn take() -> Self {
        let variable = |name| std::env::var(name).unwrap_or_default();
        // Without it, nothing says that the descriptors are meant for this process and not for its parent.
        if variable("LISTEN_PID").is_empty() {
            return Self::default();
        }
        let names = variable("LISTEN_FDNAMES");
        let mut names = names.split(':').map(str::to_owned);
        let mut descriptors = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..descriptors.len() {
            let name = names.next().unwrap_or_default();
            let socket = match descriptors.take_tcp_listener(index) {
                Ok(socket) => socket.map(Socket::from),
                Err(_) => descriptors.take_unix_listener(index).ok().flatten().map(Socket::from),
            };
            if let Some(socket) = socket {
                sockets.push((name, socket));
            } else {
                tracing::warn!(name, "a descriptor that was handed over is not a stream socket");
            }
        }
        Self(sockets)
    }

    /// Sockets that nothing listens on are most likely a mistake.
    pub(super) fn warn_of_rest(&self) {
        if !self.0.is_empty() {
            let sockets: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
            tracing::warn!(?sockets, "sockets were handed over that no listener names: set server.listen");
        }
    }

    /// Those of a name, or all that are left.
    fn named(&mut self, wanted: Option<&str>) -> Vec<Socket> {
        let (taken, rest) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(name, _)| wanted.is_none_or(|wanted| wanted == name));
        self.0 = rest;
        let taken: Vec<(String, Socket)> = taken;
        taken.into_iter().map(|(_, socket)| socket).collect()
    }
}

/// Every listener of the configuration, in its order; the one for operators is the last.
pub(super) fn listeners(
    server: &ServerConfig,
    tls: Option<&Tls>,
    inherited: &mut Inherited,
) -> Result<Vec<Listener>, StartError> {
    let proxies: Arc<_> = server.proxy_protocol_from.clone().into();
    let public = server.listeners.iter().map(|listener| (listener, Surface::Public));
    let ops = server.ops_listener();
    let wanted: Vec<_> = public.chain(ops.iter().map(|listener| (listener, Surface::Operations))).collect();
    // What has a name of its own is not for those that take what is left.
    let mut sockets: Vec<Vec<Listening>> = Vec::new();
    sockets.resize_with(wanted.len(), Vec::new);
    let named = |address: &ListenAddress| matches!(address, ListenAddress::Inherited(Some(_)));
    for by_name in [true, false] {
        for ((listener, _), place) in wanted.iter().zip(&mut sockets) {
            if named(&listener.address) == by_name {
                *place = bind(&listener.address, listener.mode, inherited)?;
            }
        }
    }
    let mut listeners = Vec::new();
    for ((listener, surface), sockets) in wanted.into_iter().zip(sockets) {
        listeners.extend(sockets.into_iter().map(|socket| Listener {
            socket,
            tls: tls.filter(|_| listener.tls).cloned(),
            surface,
            proxies: listener.proxy_protocol.then(|| Arc::clone(&proxies)),
        }));
    }
    Ok(listeners)
}

/// Binds one place; several sockets may have been handed over for it.
pub(super) fn bind(
    address: &ListenAddress,
    mode: u32,
    inherited: &mut Inherited,
) -> Result<Vec<Listening>, StartError> {
    let bound = match address {
        ListenAddress::Tcp(address) => listener::bind(*address).map(|socket| vec![socket]),
        ListenAddress::Unix(path) => listener::bind_file(path, mode).map(|socket| vec![socket]),
        ListenAddress::Inherited(name) => {
            let sockets = inherited.named(name.as_deref());
            if sockets.is_empty() {
                return Err(StartError::NothingInherited { address: address.to_string() });
            }
            sockets.into_iter().map(listener::inherit).collect()
        }
    };
    bound.map_err(|cause| StartError::Bind { address: address.to_string(), cause })
}
