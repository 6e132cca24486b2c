//! How many exchanges are open on one thread, in all and of each client: a client that opens as many as HTTP/2 permits must
//! not take every descriptor from others.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;

use hashlink::DefaultHashBuilder;

use crate::config::ServerConfig;
use crate::gate::refusal::Refusal;
use crate::model::network::throttle_bucket;
use crate::model::principal::ClientAddress;

/// The limits on open exchanges of one thread.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeLimits {
    /// Of all clients; at most half of them of callers who are nobody.
    pub all: usize,
    /// Of one client (IPv6: one /64), and as many more of callers there who are somebody.
    pub client: usize,
}

impl ExchangeLimits {
    /// The part that each thread has of what is configured. One connection can always open all its streams.
    pub fn of_thread(config: &ServerConfig) -> Self {
        let limits = &config.limits;
        let least = usize::try_from(limits.http2_streams).unwrap_or(usize::MAX);
        let part = |of_all: usize| of_all.div_ceil(config.workers.max(1)).max(least);
        Self { all: part(limits.open_requests), client: part(limits.open_requests_per_client) }
    }
}

/// Whose an exchange is. What nobody's hold is no key's or session's, not even at the same address.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExchangeHolder {
    pub(super) address: ClientAddress,
    /// Whether a credential says who it is.
    pub(super) is_known: bool,
}

impl ExchangeHolder {
    /// What is counted as one, if the address is known.
    fn share(self) -> Option<(IpAddr, bool)> {
        self.address.known().map(|address| (throttle_bucket(address), self.is_known))
    }
}

/// Counts the open exchanges of one thread.
#[derive(Debug)]
pub(super) struct ExchangeShares {
    most: Cell<ExchangeLimits>,
    all: Cell<usize>,
    nobodys: Cell<usize>,
    /// At most one entry for each open exchange.
    clients: RefCell<HashMap<(IpAddr, bool), usize, DefaultHashBuilder>>,
}

impl ExchangeShares {
    pub(super) fn new(most: ExchangeLimits) -> Self {
        Self { most: Cell::new(most), all: Cell::new(0), nobodys: Cell::new(0), clients: RefCell::default() }
    }

    /// Holds for those that come from now on.
    pub(super) fn set_most(&self, most: ExchangeLimits) {
        self.most.set(most);
    }

    /// Counts one more. Of whoever stands behind a proxy that names nobody, only all together are bounded.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyRequests`] or [`Refusal::Full`] if that is too many; then it is not counted.
    pub(super) fn take(&self, holder: ExchangeHolder) -> Result<(), Refusal> {
        let (most, open, nobodys) = (self.most.get(), self.all.get(), self.nobodys.get());
        if open >= most.all || (!holder.is_known && nobodys >= most.all.div_ceil(2)) {
            return Err(Refusal::Full);
        }
        if let Some(share) = holder.share() {
            let mut clients = self.clients.borrow_mut();
            let own = clients.entry(share).or_default();
            if *own >= most.client {
                return Err(Refusal::TooManyRequests);
            }
            *own += 1;
        }
        self.all.set(open + 1);
        self.nobodys.set(nobodys + usize::from(!holder.is_known));
        Ok(())
    }

    /// One that was counted has ended.
    pub(super) fn give_back(&self, holder: ExchangeHolder) {
        self.all.set(self.all.get().saturating_sub(1));
        self.nobodys.set(self.nobodys.get().saturating_sub(usize::from(!holder.is_known)));
        let Some(share) = holder.share() else { return };
        let mut clients = self.clients.borrow_mut();
        if let Some(count) = clients.get_mut(&share) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                clients.remove(&share);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str, is_known: bool) -> ExchangeHolder {
        ExchangeHolder { address: ClientAddress::at(address.parse().unwrap()), is_known }
    }

    fn code(outcome: Result<(), Refusal>) -> Option<&'static str> {
        outcome.err().map(|refusal| refusal.code().as_str())
    }

    #[test]
    fn a_client_has_its_share_and_all_have_theirs() {
        let shares = ExchangeShares::new(ExchangeLimits { all: 6, client: 2 });
        for (client, refused) in [
            ("10.0.0.1", None),
            ("10.0.0.1", None),
            ("::ffff:10.0.0.1", Some("too-many-requests")),
            ("2001:db8::1", None),
            ("2001:db8::2", None),
            ("2001:db8::3", Some("too-many-requests")),
            ("2001:db8:0:1::1", None),
            ("10.0.0.2", None),
            ("10.0.0.3", Some("no-room")),
        ] {
            assert_eq!(code(shares.take(at(client, true))), refused, "{client}");
        }
        shares.give_back(at("10.0.0.1", true));
        assert_eq!(code(shares.take(at("10.0.0.3", true))), None, "there is room again");
        for client in ["10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1", "2001:db8::1", "2001:db8:0:1::1"] {
            shares.give_back(at(client, true));
        }
        assert_eq!(shares.all.get(), 0);
        assert!(shares.clients.borrow().is_empty(), "nobody is remembered who has nothing open");
    }

    #[test]
    fn what_nobodys_hold_leaves_half_to_others_and_takes_none_of_their_shares() {
        let shares = ExchangeShares::new(ExchangeLimits { all: 6, client: 2 });
        for (client, refused) in [
            ("10.0.0.1", None),
            ("10.0.0.1", None),
            ("10.0.0.1", Some("too-many-requests")),
            ("10.0.0.2", None),
            ("10.0.0.2", Some("no-room")),
            ("10.0.0.3", Some("no-room")),
        ] {
            assert_eq!(code(shares.take(at(client, false))), refused, "{client}");
        }
        for (client, refused) in [
            ("10.0.0.1", None),
            ("10.0.0.1", None),
            ("10.0.0.1", Some("too-many-requests")),
            ("10.0.0.3", None),
            ("10.0.0.4", Some("no-room")),
        ] {
            assert_eq!(code(shares.take(at(client, true))), refused, "{client}");
        }
        shares.give_back(at("10.0.0.1", true));
        assert_eq!(code(shares.take(at("10.0.0.3", false))), Some("no-room"), "that was not nobody's");
        shares.give_back(at("10.0.0.1", false));
        assert_eq!(code(shares.take(at("10.0.0.3", false))), None);
        for holder in [at("10.0.0.1", false), at("10.0.0.2", false), at("10.0.0.3", false)] {
            shares.give_back(holder);
        }
        shares.give_back(at("10.0.0.1", true));
        shares.give_back(at("10.0.0.3", true));
        assert_eq!((shares.all.get(), shares.nobodys.get()), (0, 0));
        assert!(shares.clients.borrow().is_empty());
    }

    #[test]
    fn those_behind_a_proxy_that_names_nobody_are_not_taken_for_one() {
        let shares = ExchangeShares::new(ExchangeLimits { all: 4, client: 1 });
        let address = ClientAddress::behind("10.0.0.1".parse().unwrap());
        let (known, nobody) =
            (ExchangeHolder { address, is_known: true }, ExchangeHolder { address, is_known: false });
        for _ in 0..2 {
            assert_eq!(code(shares.take(nobody)), None);
        }
        assert_eq!(code(shares.take(nobody)), Some("no-room"));
        for _ in 0..2 {
            assert_eq!(code(shares.take(known)), None);
        }
        assert_eq!(code(shares.take(known)), Some("no-room"));
        assert!(shares.clients.borrow().is_empty());
        shares.set_most(ExchangeLimits { all: 5, client: 1 });
        assert_eq!(code(shares.take(nobody)), None);
    }
}
