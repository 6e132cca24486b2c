//! Buffers a body that is needed for a decision, within limits for one body, one client and all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use crate::config::{BodyPace, ServerConfig};
use crate::edge::client_body::ClientBody;
use crate::gate::refusal::Refusal;
use crate::model::network::throttle_bucket;

/// The least that is asked for at once (bytes).
const FIRST: usize = 4096;

/// Limits on buffered bodies.
#[derive(Clone, Copy, Debug)]
pub struct BufferLimits {
    /// Bytes of one body.
    pub body: usize,
    /// Bytes of all bodies of one client (IPv6: one /64), and of one account, that are not sent on yet.
    pub client: usize,
    /// Bytes of all bodies that are not sent on yet.
    pub total: usize,
}

impl BufferLimits {
    /// As configured; one body always fits.
    pub fn new(server: &ServerConfig) -> Self {
        let limits = &server.limits;
        let body = limits.graphql_body_bytes;
        let client = limits.read_ahead_bytes_per_client.max(body);
        Self { body, client, total: limits.read_ahead_bytes.max(client) }
    }
}

/// Buffer quotas by purpose: one purpose cannot use up another's.
#[derive(Clone, Debug, Default)]
pub struct BufferQuotas {
    /// GraphQL and the Model Context Protocol, to decide by the operation or the message.
    pub graphql: BufferQuota,
    /// Questions of other proxies over gRPC.
    pub questions: BufferQuota,
}

/// Counts the memory of buffered bodies that are not sent on yet, for all threads. Locked only where one is
/// read ahead, and never while it is waited for.
#[derive(Clone, Debug, Default)]
pub struct BufferQuota(Arc<Mutex<QuotaUsage>>);

#[derive(Debug, Default)]
struct QuotaUsage {
    total: usize,
    /// At most two entries for each body.
    shares: HashMap<QuotaKey, usize>,
}

/// Whose quota a body uses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum QuotaKey {
    /// A client's, by the bucket of its address.
    Client(IpAddr),
    /// An account's, by its subject.
    Account(Box<str>),
}

impl QuotaKey {
    /// Of a request from this address.
    pub fn of_client(address: IpAddr) -> Self {
        Self::Client(throttle_bucket(address))
    }
}

/// The memory reserved for one body; dropping it releases it.
#[derive(Debug)]
struct Reservation {
    room: BufferQuota,
    shares: Vec<QuotaKey>,
    bytes: usize,
}

impl BufferQuota {
    fn taken(&self) -> MutexGuard<'_, QuotaUsage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that all bodies hold.
    pub fn held(&self) -> usize {
        self.taken().total
    }

    fn reservation(&self, shares: Vec<QuotaKey>) -> Reservation {
        Reservation { room: self.clone(), shares, bytes: 0 }
    }
}

impl Reservation {
    /// Takes so many bytes in all.
    fn widen(&mut self, bytes: usize, bounds: BufferLimits) -> Result<(), Refusal> {
        let more = bytes.saturating_sub(self.bytes);
        let mut taken = self.room.taken();
        let held = |share: &QuotaKey| taken.shares.get(share).copied().unwrap_or_default();
        if self.shares.iter().any(|share| held(share) + more > bounds.client) {
            return Err(Refusal::TooManyBodies);
        }
        if taken.total + more > bounds.total {
            return Err(Refusal::NoRoom);
        }
        taken.total += more;
        for share in &self.shares {
            *taken.shares.entry(share.clone()).or_default() += more;
        }
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        taken.total = taken.total.saturating_sub(self.bytes);
        for share in &self.shares {
            if let Some(held) = taken.shares.get_mut(share) {
                *held = held.saturating_sub(self.bytes);
                if *held == 0 {
                    taken.shares.remove(share);
                }
            }
        }
    }
}

/// A buffered body and its reservation: both are released with the last reference.
struct BufferedBody {
    bytes: Vec<u8>,
    reservation: Reservation,
}

impl AsRef<[u8]> for BufferedBody {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl BufferedBody {
    /// Makes room for `more` bytes; `announced` are still to come with them.
    fn reserve(&mut self, more: usize, announced: Option<u64>, bounds: BufferLimits) -> Result<(), Refusal> {
        let length = self.bytes.len() + more;
        if length > bounds.body {
            return Err(Refusal::TooLarge);
        }
        if length > self.bytes.capacity() {
            let all = announced
                .and_then(|rest| usize::try_from(rest).ok())
                .map_or(bounds.body, |rest| length + rest);
            let capacity = (2 * length).max(FIRST).min(all).min(bounds.body).max(length);
            self.reservation.widen(capacity, bounds)?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        Ok(())
    }

    fn freeze(self) -> Bytes {
        if self.bytes.is_empty() { Bytes::new() } else { Bytes::from_owner(self) }
    }
}

/// A body that was not read to its end.
pub struct ReadAheadError {
    /// Why.
    pub refusal: Refusal,
    /// What was read of it.
    pub read: Bytes,
    /// What was not.
    pub rest: ClientBody,
}

/// All of a body. Its memory counts for each of `shares` until the last clone of it is dropped.
///
/// # Errors
///
/// [`ReadAheadError`]: [`Refusal::TooLarge`] past the bound of one body, at once where the length is announced;
/// [`Refusal::TooManyBodies`] and [`Refusal::NoRoom`] past those of a client and of all;
/// [`Refusal::BodyLate`] if it comes slower than the pace; [`Refusal::BodyLost`] if it breaks off.
pub async fn read(
    mut body: ClientBody,
    shares: Vec<QuotaKey>,
    room: &BufferQuota,
    bounds: BufferLimits,
    pace: BodyPace,
) -> Result<Bytes, Box<ReadAheadError>> {
    let began = Instant::now();
    let mut held = BufferedBody { bytes: Vec::new(), reservation: room.reservation(shares) };
    let refusal = loop {
        let read = held.bytes.len();
        if usize::try_from(body.size_hint().lower()).is_ok_and(|left| left > bounds.body - read) {
            break Refusal::TooLarge;
        }
        // What has come so far has paid for some time; nothing at all for a whole window is too late.
        let paid = (read as u64).checked_div(pace.rate).map_or(Duration::MAX, Duration::from_secs);
        let left = pace.over.saturating_add(paid).saturating_sub(began.elapsed()).min(pace.over);
        let Ok(frame) = tokio::time::timeout(left, body.frame()).await else {
            break Refusal::BodyLate;
        };
        let Some(frame) = frame else { return Ok(held.freeze()) };
        let Ok(frame) = frame else { break Refusal::BodyLost };
        if let Ok(data) = frame.into_data() {
            let announced = body.size_hint().exact();
            if let Err(refusal) = held.reserve(data.len(), announced, bounds) {
                // What came last is kept all the same: where refusals pass, it has to be sent on.
                held.bytes.extend_from_slice(&data);
                break refusal;
            }
            held.bytes.extend_from_slice(&data);
        }
    };
    Err(Box::new(ReadAheadError { refusal, read: held.freeze(), rest: body }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::verdict::Code;

    const BOUNDS: BufferLimits = BufferLimits { body: 1000, client: 2000, total: 3000 };

    fn held(room: &BufferQuota, client: &str) -> BufferedBody {
        BufferedBody {
            bytes: Vec::new(),
            reservation: room.reservation(vec![QuotaKey::of_client(client.parse().unwrap())]),
        }
    }

    #[test]
    fn a_client_has_its_share_and_all_have_theirs() {
        let room = BufferQuota::default();
        let mut bodies = Vec::new();
        for (client, outcome) in [
            ("10.0.0.1", None),
            ("10.0.0.1", None),
            ("10.0.0.1", Some("too-many-bodies")),
            ("::ffff:10.0.0.1", Some("too-many-bodies")),
            ("2001:db8::1", None),
            ("2001:db8::2", Some("no-room")),
            ("10.0.0.2", Some("no-room")),
        ] {
            let mut body = held(&room, client);
            let refused = body.reserve(1000, None, BOUNDS).err();
            assert_eq!(refused.map(|refusal| refusal.code().as_str()), outcome, "{client}");
            bodies.push(body);
        }
        assert_eq!(room.held(), 3000);
        drop(bodies.remove(0));
        assert_eq!(room.held(), 2000);
        assert!(held(&room, "2001:db8::2").reserve(1000, None, BOUNDS).is_ok(), "their /64 has one more");
        assert!(held(&room, "10.0.0.2").reserve(1000, None, BOUNDS).is_ok());
        drop(bodies);
        assert_eq!(room.held(), 0);
        assert!(room.taken().shares.is_empty(), "nobody is remembered who holds nothing");
    }

    #[test]
    fn what_counts_is_what_is_allocated_until_the_last_clone_is_gone() {
        let room = BufferQuota::default();
        let bounds = BufferLimits { body: 1 << 20, client: 1 << 20, total: 1 << 20 };
        let mut body = held(&room, "10.0.0.1");
        for _ in 0..100 {
            body.reserve(1000, None, bounds).unwrap();
            body.bytes.extend_from_slice(&[b'x'; 1000]);
            assert_eq!(room.held(), body.bytes.capacity());
        }
        let whole = body.freeze();
        let tail = whole.slice(99_000..);
        drop(whole);
        assert!(room.held() >= 100_000);
        drop(tail);
        assert_eq!(room.held(), 0);
        // What announces its length takes no more than that.
        let mut body = held(&room, "10.0.0.1");
        body.reserve(1000, Some(5000), bounds).unwrap();
        assert_eq!(room.held(), 4096);
        body.bytes.extend_from_slice(&[b'x'; 1000]);
        body.reserve(5000, Some(0), bounds).unwrap();
        assert_eq!(room.held(), 6000);
        assert_eq!(body.reserve(1 << 20, None, bounds).unwrap_err().code(), Code::BodyTooLarge);
    }
}
