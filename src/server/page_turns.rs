//! Turns at our own pages, which ask the store and hash passwords: each address has its share, and whoever has signed in
//! here before waits for no stranger.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::network::throttle_bucket;
use crate::service::ServiceError;
use crate::service::turns::{Bounds, Turn, Turns};

/// A sign-in of a stranger costs a computation of many milliseconds and some writes; a crowd of them must not take all
/// connections to the store.
const STRANGERS: Bounds =
    Bounds { own_work: 2, own_inside: 24, work: 12, inside: 128, wait: Duration::from_secs(3) };
/// An office may be behind one address.
const KNOWN: Bounds =
    Bounds { own_work: 8, own_inside: 96, work: 24, inside: 512, wait: Duration::from_secs(3) };

/// Who may be served a page now. Clones share the turns.
#[derive(Clone, Debug)]
pub struct PageTurns {
    strangers: Turns<IpAddr>,
    known: Turns<IpAddr>,
}

impl Default for PageTurns {
    fn default() -> Self {
        Self { strangers: Turns::new(STRANGERS), known: Turns::new(KNOWN) }
    }
}

impl PageTurns {
    /// Waits for a turn of a client (IPv6: one /64), of which is `known` that it has signed in here before.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] if it would take too long.
    pub async fn take(&self, client: IpAddr, known: bool) -> Result<Turn<IpAddr>, ServiceError> {
        let turns = if known { &self.known } else { &self.strangers };
        turns.take(throttle_bucket(client)).await
    }
}
