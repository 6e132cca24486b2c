//! A negative cache of unknown credentials, and a throttle for clients that try many keys.
//!
//! An unknown credential is not looked up again for a while, so a program that goes on with a revoked
//! key costs the store nothing, and a client that tries many different keys does not reach the store at all.

use std::cell::RefCell;
use std::net::IpAddr;
use std::time::Duration;

use hashlink::LruCache;

use crate::model::network::throttle_bucket;
use crate::model::time::Timestamp;
use crate::service::epoch::{Epoch, EpochSlot};

/// Entries of either kind that one thread keeps.
const REMEMBERED: usize = 10_000;
/// How long an entry is valid, unless its owner's rights change before.
const KEPT_FOR: Duration = Duration::from_mins(1);
/// Unknown keys from one client (IPv6: one /64), on one thread, in [`WINDOW`].
const MOST: u32 = 60;
const WINDOW: Duration = Duration::from_mins(1);

type Digest = [u8; 32];

/// The failed lookups of one thread.
pub(super) struct NegativeCache {
    entries: RefCell<LruCache<Digest, NegativeEntry>>,
    clients: RefCell<LruCache<IpAddr, FailureCount>>,
}

/// A credential for which the lookup found no principal.
///
/// A loss of rights never makes it valid, and a new credential is drawn at random, so it was never presented before. Only where
/// it has an owner who may not use it now, a change to that owner may make it valid.
#[derive(Clone, Copy)]
struct NegativeEntry {
    since: Timestamp,
    /// The slot of its owner, and the epoch of the lookup.
    owner: Option<(EpochSlot, u64)>,
}

#[derive(Clone, Copy)]
struct FailureCount {
    since: Timestamp,
    count: u32,
}

impl Default for NegativeCache {
    fn default() -> Self {
        let (entries, clients) = (LruCache::new(REMEMBERED), LruCache::new(REMEMBERED));
        Self { entries: RefCell::new(entries), clients: RefCell::new(clients) }
    }
}

impl NegativeCache {
    /// Whether a credential was unknown a moment ago, and nothing has happened since that may have made it valid.
    pub(super) fn contains(&self, digest: &Digest, epoch: &Epoch, now: Timestamp) -> bool {
        let found = self.entries.borrow_mut().get(digest).copied();
        found.is_some_and(|NegativeEntry { since, owner }| {
            now.is_within(KEPT_FOR, since) && owner.is_none_or(|(slot, then)| epoch.holds(slot, then))
        })
    }

    /// Whether one more key of this client may be looked up.
    ///
    /// # Errors
    ///
    /// The time until the next one may be.
    pub(super) fn admit(&self, client: IpAddr, now: Timestamp) -> Result<(), Duration> {
        let tries = self.clients.borrow_mut().get(&throttle_bucket(client)).copied();
        match tries {
            Some(tries) if tries.count >= MOST && now.is_within(WINDOW, tries.since) => {
                Err(WINDOW.saturating_sub(now.since(tries.since)).max(Duration::from_secs(1)))
            }
            _ => Ok(()),
        }
    }

    /// Adds an unknown credential; with its owner's slot and the epoch of the lookup, if it has one.
    pub(super) fn note(&self, digest: Digest, owner: Option<(EpochSlot, u64)>, now: Timestamp) {
        self.entries.borrow_mut().insert(digest, NegativeEntry { since: now, owner });
    }

    /// Counts an unknown credential for this client.
    pub(super) fn count(&self, client: IpAddr, now: Timestamp) {
        let mut clients = self.clients.borrow_mut();
        let client = throttle_bucket(client);
        let tries = match clients.get(&client) {
            Some(tries) if now.is_within(WINDOW, tries.since) => {
                FailureCount { count: tries.count.saturating_add(1), ..*tries }
            }
            _ => FailureCount { since: now, count: 1 },
        };
        clients.insert(client, tries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: usize) -> Digest {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&n.to_be_bytes());
        digest
    }

    const START: Timestamp = Timestamp(1_000_000);

    #[test]
    fn what_is_nobodys_stays_so_for_a_minute_whatever_others_lose() {
        let (negative_cache, epoch) = (NegativeCache::default(), Epoch::default());
        assert!(!negative_cache.contains(&digest(1), &epoch, START));
        negative_cache.note(digest(1), None, START);
        epoch.raise_for(["vera"]);
        epoch.raise_for_all();
        assert!(negative_cache.contains(&digest(1), &epoch, START.after(Duration::from_secs(59))));
        assert!(!negative_cache.contains(&digest(1), &epoch, START.after(KEPT_FOR)));
        assert!(!negative_cache.contains(&digest(2), &epoch, START));
    }

    #[test]
    fn what_changes_for_its_owner_has_a_key_looked_up_again() {
        let (negative_cache, epoch) = (NegativeCache::default(), Epoch::default());
        negative_cache.note(digest(1), Some((EpochSlot::of("alice"), epoch.current())), START);
        epoch.raise_for(
            (0..100)
                .map(|n| format!("u{n}"))
                .filter(|u| EpochSlot::of(u) != EpochSlot::of("alice"))
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str),
        );
        assert!(negative_cache.contains(&digest(1), &epoch, START));
        epoch.raise_for(["alice"]);
        assert!(!negative_cache.contains(&digest(1), &epoch, START));
    }

    #[test]
    fn who_tries_too_many_waits_and_nobody_else_does() {
        let negative_cache = NegativeCache::default();
        let (guesser, neighbour) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let other = "2001:db8:0:1::1".parse().unwrap();
        for n in 0..MOST as usize {
            assert_eq!(negative_cache.admit(guesser, START), Ok(()), "{n}");
            negative_cache.count(guesser, START);
        }
        assert_eq!(
            negative_cache.admit(guesser, START.after(Duration::from_secs(20))),
            Err(Duration::from_secs(40))
        );
        assert!(negative_cache.admit(neighbour, START).is_err(), "one /64 is one client");
        assert_eq!(negative_cache.admit(other, START), Ok(()));
        assert_eq!(negative_cache.admit(guesser, START.after(WINDOW)), Ok(()));
        negative_cache.count(guesser, START.after(WINDOW));
        assert_eq!(negative_cache.admit(guesser, START.after(WINDOW)), Ok(()), "counted anew");
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_nobody_waiting() {
        let negative_cache = NegativeCache::default();
        let (client, ahead) = ("192.0.2.1".parse().unwrap(), START.after(Duration::from_hours(2)));
        for _ in 0..MOST {
            negative_cache.count(client, ahead);
        }
        let epoch = Epoch::default();
        negative_cache.note(digest(1), None, ahead);
        assert!(
            negative_cache.admit(client, ahead).is_err()
                && negative_cache.contains(&digest(1), &epoch, ahead)
        );
        assert_eq!(negative_cache.admit(client, START), Ok(()));
        assert!(!negative_cache.contains(&digest(1), &epoch, START));
    }

    #[test]
    fn a_clock_that_was_set_back_frees_no_guesser() {
        let negative_cache = NegativeCache::default();
        let client = "192.0.2.1".parse().unwrap();
        negative_cache.count(client, START.after(Duration::from_hours(2)));
        for _ in 0..MOST {
            assert_eq!(negative_cache.admit(client, START), Ok(()));
            negative_cache.count(client, START);
        }
        assert_eq!(negative_cache.admit(client, START), Err(WINDOW));
    }

    #[test]
    fn what_is_remembered_of_failures_is_bounded() {
        let negative_cache = NegativeCache::default();
        for n in 0..3 * REMEMBERED {
            let [.., a, b, c] = n.to_be_bytes();
            negative_cache.note(digest(n), None, START);
            negative_cache.count(IpAddr::from([10, a, b, c]), START);
        }
        assert_eq!(negative_cache.entries.borrow().len(), REMEMBERED);
        assert_eq!(negative_cache.clients.borrow().len(), REMEMBERED);
    }
}
