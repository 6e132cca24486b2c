//! Limits on open connections, in total and for each client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

use crate::config::ServerConfig;
use crate::model::network;
use crate::model::network::throttle_bucket;

/// Counts open connections. Locked once when a connection opens and once when it closes, never per request.
#[derive(Clone, Debug)]
pub struct Admission {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug)]
struct Counts {
    bounds: AdmissionLimits,
    total: usize,
    /// At most one entry for each open connection.
    clients: HashMap<IpAddr, usize>,
    /// Refused at the total, and at one client's share.
    refused: [u64; 2],
}

/// How many may be open.
#[derive(Debug)]
pub struct AdmissionLimits {
    /// In total.
    pub total: usize,
    /// Of one client (IPv6: one /64).
    pub per_client: usize,
    /// Proxies carry the connections of many clients, so only the total bounds them.
    pub proxies: Vec<IpNet>,
}

impl AdmissionLimits {
    /// As configured.
    pub fn new(config: &ServerConfig) -> Self {
        Self {
            total: config.limits.connections,
            per_client: config.limits.connections_per_client,
            proxies: config.trusted_proxies.clone(),
        }
    }
}

/// An admitted connection; dropping it makes room for another.
#[derive(Debug)]
pub struct ConnectionSlot {
    admission: Admission,
    /// `None` until the client is known.
    bucket: Option<IpAddr>,
}

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Too many in total.
    Total,
    /// Too many from this client.
    Client,
}

impl Full {
    /// The setting that says how many.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Total => "server.limits.connections",
            Self::Client => "server.limits.connections_per_client",
        }
    }
}

impl Admission {
    /// Admits connections within `bounds`.
    pub fn new(bounds: AdmissionLimits) -> Self {
        Self {
            counts: Arc::new(Mutex::new(Counts {
                bounds,
                total: 0,
                clients: HashMap::new(),
                refused: [0; 2],
            })),
        }
    }

    /// Admits within other bounds from now on. Open connections stay open.
    pub fn set_bounds(&self, bounds: AdmissionLimits) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).bounds = bounds;
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).total
    }

    /// How many were refused at the total, and at one client's share.
    pub fn refused(&self) -> [u64; 2] {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).refused
    }

    /// Admits a connection from `address`.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room.
    pub fn admit(&self, address: IpAddr) -> Result<ConnectionSlot, Full> {
        let mut slot = self.admit_nameless()?;
        slot.name(address)?;
        Ok(slot)
    }

    /// Admits a connection whose client a proxy has yet to name.
    ///
    /// # Errors
    ///
    /// [`Full::Total`].
    pub fn admit_nameless(&self) -> Result<ConnectionSlot, Full> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total >= counts.bounds.total {
            counts.refused[0] += 1;
            return Err(Full::Total);
        }
        counts.total += 1;
        Ok(ConnectionSlot { admission: self.clone(), bucket: None })
    }
}

impl ConnectionSlot {
    /// Says whose connection it is, once.
    ///
    /// # Errors
    ///
    /// [`Full::Client`] if this client has too many.
    pub fn name(&mut self, address: IpAddr) -> Result<(), Full> {
        let bucket = throttle_bucket(address);
        let mut counts = self.admission.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_proxy = network::contains(&counts.bounds.proxies, address);
        let most = counts.bounds.per_client;
        let client = counts.clients.entry(bucket).or_default();
        if *client >= most && !is_proxy {
            counts.refused[1] += 1;
            return Err(Full::Client);
        }
        *client += 1;
        self.bucket = Some(bucket);
        Ok(())
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut counts = self.admission.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total = counts.total.saturating_sub(1);
        let Some(bucket) = self.bucket else { return };
        if let Some(client) = counts.clients.get_mut(&bucket) {
            *client = client.saturating_sub(1);
            if *client == 0 {
                counts.clients.remove(&bucket);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(total: usize, per_client: usize, proxies: &[&str]) -> AdmissionLimits {
        let proxies = proxies.iter().map(|network| network.parse().unwrap()).collect();
        AdmissionLimits { total, per_client, proxies }
    }

    #[test]
    fn connections_are_bounded_in_total_and_by_client_and_room_comes_back() {
        let admission = Admission::new(bounds(3, 2, &[]));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = admission.admit(address("2001:db8::1")).unwrap();
        let _second = admission.admit(address("2001:db8::2")).unwrap();
        assert_eq!(admission.admit(address("2001:db8::3")).unwrap_err(), Full::Client);
        let _third = admission.admit(address("192.0.2.1")).unwrap();
        assert_eq!(admission.admit(address("192.0.2.2")).unwrap_err(), Full::Total);
        drop(first);
        assert!(admission.admit(address("2001:db8::3")).is_ok());
        assert_eq!(admission.counts.lock().unwrap().clients.len(), 2, "who has no connection has no entry");
    }

    #[test]
    fn a_trusted_proxy_is_bounded_by_the_total_alone() {
        let admission = Admission::new(bounds(3, 1, &["192.0.2.1/32"]));
        let proxy = "192.0.2.1".parse().unwrap();
        let held: Vec<_> = (0..3).map(|_| admission.admit(proxy).unwrap()).collect();
        assert_eq!(admission.admit(proxy).unwrap_err(), Full::Total);
        drop(held);
        let _other = admission.admit("192.0.2.2".parse().unwrap()).unwrap();
        assert_eq!(admission.admit("192.0.2.2".parse().unwrap()).unwrap_err(), Full::Client);
    }

    #[test]
    fn a_connection_that_a_proxy_names_counts_for_its_client_from_then_on() {
        let admission = Admission::new(bounds(4, 1, &[]));
        let client = "198.51.100.1".parse().unwrap();
        let (mut first, mut second) =
            (admission.admit_nameless().unwrap(), admission.admit_nameless().unwrap());
        first.name(client).unwrap();
        assert_eq!(second.name(client), Err(Full::Client));
        assert_eq!(admission.admit(client).unwrap_err(), Full::Client);
        drop(first);
        second.name(client).unwrap();
        drop(second);
        assert!(admission.counts.lock().unwrap().clients.is_empty());
        assert_eq!(admission.counts.lock().unwrap().total, 0);
    }

    #[test]
    fn other_bounds_hold_for_who_comes_next_and_throw_nobody_out() {
        let admission = Admission::new(bounds(2, 2, &[]));
        let client = "192.0.2.1".parse().unwrap();
        let held = [admission.admit(client).unwrap(), admission.admit(client).unwrap()];
        admission.set_bounds(bounds(3, 3, &[]));
        let third = admission.admit(client).unwrap();
        admission.set_bounds(bounds(9, 1, &[]));
        drop(third);
        assert_eq!(admission.admit(client).unwrap_err(), Full::Client);
        drop(held);
        assert!(admission.admit(client).is_ok());
    }
}
