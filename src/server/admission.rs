//! How many connections are open, in total and by client; nobody gets more than a fair share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

use crate::model::network;
use crate::model::network::throttle_bucket;

/// Counts open connections. Locked once when a connection opens and once when it closes, never per request.
#[derive(Clone, Debug)]
pub struct Admission {
    counts: Arc<Mutex<Counts>>,
    /// Proxies carry the connections of many clients, so only the total bounds them.
    proxies: Arc<[IpNet]>,
    total_max: usize,
    per_client_max: usize,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    /// At most one entry for each open connection.
    clients: HashMap<IpAddr, usize>,
}

/// An admitted connection; dropping it makes room for another.
#[derive(Debug)]
pub struct Slot {
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
    /// Admits up to `total_max` connections, and up to `per_client_max` of one client (IPv6: one /64) that is
    /// not one of our own `proxies`.
    pub fn new(total_max: usize, per_client_max: usize, proxies: &[IpNet]) -> Self {
        Self { counts: Arc::default(), proxies: proxies.into(), total_max, per_client_max }
    }

    /// Admits a connection from `address`.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room.
    pub fn admit(&self, address: IpAddr) -> Result<Slot, Full> {
        let mut slot = self.admit_nameless()?;
        slot.name(address)?;
        Ok(slot)
    }

    /// Admits a connection whose client a proxy has yet to name.
    ///
    /// # Errors
    ///
    /// [`Full::Total`].
    pub fn admit_nameless(&self) -> Result<Slot, Full> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total >= self.total_max {
            return Err(Full::Total);
        }
        counts.total += 1;
        Ok(Slot { admission: self.clone(), bucket: None })
    }
}

impl Slot {
    /// Says whose connection it is, once.
    ///
    /// # Errors
    ///
    /// [`Full::Client`] if this client has too many.
    pub fn name(&mut self, address: IpAddr) -> Result<(), Full> {
        let bucket = throttle_bucket(address);
        let is_proxy = network::contains(&self.admission.proxies, address);
        let mut counts = self.admission.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let client = counts.clients.entry(bucket).or_default();
        if *client >= self.admission.per_client_max && !is_proxy {
            return Err(Full::Client);
        }
        *client += 1;
        self.bucket = Some(bucket);
        Ok(())
    }
}

impl Drop for Slot {
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

    #[test]
    fn connections_are_bounded_in_total_and_by_client_and_room_comes_back() {
        let admission = Admission::new(3, 2, &[]);
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
        let admission = Admission::new(3, 1, &["192.0.2.1/32".parse().unwrap()]);
        let proxy = "192.0.2.1".parse().unwrap();
        let held: Vec<_> = (0..3).map(|_| admission.admit(proxy).unwrap()).collect();
        assert_eq!(admission.admit(proxy).unwrap_err(), Full::Total);
        drop(held);
        let _other = admission.admit("192.0.2.2".parse().unwrap()).unwrap();
        assert_eq!(admission.admit("192.0.2.2".parse().unwrap()).unwrap_err(), Full::Client);
    }

    #[test]
    fn a_connection_that_a_proxy_names_counts_for_its_client_from_then_on() {
        let admission = Admission::new(4, 1, &[]);
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
}
