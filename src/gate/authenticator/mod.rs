//! Authenticates credentials: cached per thread, looked up once per credential and epoch.

mod resolver;

use std::cell::RefCell;
use std::error::Error;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hashlink::LruCache;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::time::Instant;

pub use self::resolver::CredentialResolver;
use self::resolver::{KnownPrincipal, LookupRequest, LookupResult};
use super::credential::{LookedUp, PerKind};
pub use super::identity::Identity;
use super::negative_cache::NegativeCache;
use super::refusal::Refusal;
use crate::model::metrics::WorkerMetrics;
use crate::model::principal::Proof;
use crate::model::time::{Clock, Timestamp};
use crate::service::audit::Audit;
use crate::service::epoch::Epoch;
use crate::service::revocation::Revocations;
use crate::service::touches::Touches;

/// Credentials cached by one thread, of each kind.
const REMEMBERED_PER_THREAD: usize = 20_000;
/// Entries of a thread expire after this, whatever happens.
const REMEMBERED_FOR: Duration = Duration::from_mins(10);
/// The cache may be used while revocations were read at most this long ago.
const LEASE: Duration = Duration::from_millis(900);
/// An answer that takes longer than this is no answer.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for an open stream, which goes on meanwhile.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(1);
/// How often one request looks again because a right was taken away while it looked.
const MOST_LOOKS: usize = 5;
/// How often one credential's use is written down.
/// A use of one credential is noted at most so often.
pub(super) const TOUCH_EVERY: Duration = Duration::from_mins(1);

type CredentialDigest = [u8; 32];

/// The moment of a lookup: later losses are not known to it.
#[derive(Clone, Copy, Debug)]
pub struct LookupVersion {
    generation: u64,
    epoch: u64,
    /// `None` where it may have been looked up in memory.
    asked_store: Option<Instant>,
}

/// Runs a lookup on the control plane. A panic there and a late answer are no answers.
async fn within<T: Send + 'static>(
    limit: Duration,
    control: &Handle,
    lookup: impl Future<Output = T> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::time::timeout(limit, control.spawn(lookup)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(panicked)) => Err(Refusal::Unavailable(panicked.into())),
        Err(late) => Err(Refusal::Unavailable(late.into())),
    }
}

/// An entry of the credential cache.
struct CachedIdentity {
    identity: Rc<Identity>,
    /// The settings that the identity was made under.
    generation: u64,
    epoch: u64,
    since: Timestamp,
}

type ThreadCache = RefCell<LruCache<CredentialDigest, CachedIdentity>>;

/// The credential cache of one thread. Callers do not depend on the settings, so they outlive them; what is
/// made of it does not.
pub struct CredentialCache {
    caches: PerKind<ThreadCache>,
    negative_cache: NegativeCache,
}

impl Default for CredentialCache {
    fn default() -> Self {
        Self::bounded(REMEMBERED_PER_THREAD)
    }
}

impl CredentialCache {
    /// At most `most` of each kind.
    fn bounded(most: usize) -> Self {
        Self {
            caches: PerKind::new(|| RefCell::new(LruCache::new(most))),
            negative_cache: NegativeCache::default(),
        }
    }
}

/// Identifies callers on one thread, under one generation of the settings.
pub struct Authenticator {
    shared: AuthenticatorParts,
    generation: u64,
    credential_cache: Rc<CredentialCache>,
    metrics: Rc<WorkerMetrics>,
}

/// What every thread's authenticator is made of.
#[derive(Clone)]
pub struct AuthenticatorParts {
    /// Asks the store.
    pub resolver: Arc<CredentialResolver>,
    /// Where asking happens.
    pub control: Handle,
    /// Tells whether the cache may be used.
    pub revocations: Revocations,
    /// Takes note of uses.
    pub touches: Touches,
    /// Where uses of break-glass tokens are told.
    pub audit: Audit,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// A session ends this long after its last use.
    pub idle: Duration,
    /// How long the cache stays valid while the store cannot be reached.
    pub outage_grace: Duration,
}

impl Authenticator {
    /// An authenticator for one thread. `generation` numbers the settings that `shared` was made of.
    pub fn new(
        shared: AuthenticatorParts,
        generation: u64,
        credential_cache: Rc<CredentialCache>,
        metrics: Rc<WorkerMetrics>,
    ) -> Self {
        Self { shared, generation, credential_cache, metrics }
    }

    /// Has the use of a break-glass token put into the audit trail, and whether it may be used so. It is for the day when the store is down,
    /// so it does not wait for that.
    pub fn audit_break_glass(&self, name: &str, client: IpAddr, request_id: &str, allowed: bool) {
        let (audit, name, request_id) = (self.shared.audit.clone(), name.to_owned(), request_id.to_owned());
        self.shared.control.spawn(async move {
            if let Err(error) = audit.break_glass(&name, client, &request_id, allowed).await {
                tracing::error!(
                    error = &error as &dyn Error,
                    "the use of a break-glass token is not in the audit trail"
                );
            }
        });
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Whose credential this is; `None` where it is mistyped, forged, unknown, expired, ended or revoked.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`] if that cannot be told now, [`Refusal::TooManyAttempts`] if it is not looked at.
    pub(super) async fn identify(
        &self,
        kind: LookedUp,
        credential: &str,
        client: IpAddr,
    ) -> Result<Option<Rc<Identity>>, Refusal> {
        let now = self.shared.clock.now();
        let digest: CredentialDigest = Sha256::digest(credential.as_bytes()).into();
        let fresh = self.trusted_for().is_some();
        let cache = self.credential_cache.caches.of(kind);
        let (hit, miss) = kind.counted();
        if fresh && let Some(identity) = self.remembered(cache, &digest, now) {
            self.metrics.remembered(hit);
            self.touch(&identity, now);
            return Ok(Some(identity));
        }
        if !self.shared.resolver.is_plausible(kind, credential) {
            return Ok(None);
        }
        let negative_cache = &self.credential_cache.negative_cache;
        let epoch = self.epoch().current();
        if fresh && negative_cache.contains(&digest, self.epoch(), now) {
            return Ok(None);
        }
        if kind.is_throttled()
            && let Err(retry_after) = negative_cache.admit(client, now)
            // What another thread has found is no guess, whoever else comes from that address.
            && !(fresh && self.shared.resolver.has_found(kind, &digest))
        {
            return Err(Refusal::TooManyAttempts { retry_after });
        }
        self.metrics.remembered(miss);
        let mut looks = 0;
        let found = loop {
            let found = Box::pin(self.look_up(
                kind,
                LookupRequest { digest, text: credential.to_owned(), client, now, idle: self.shared.idle },
                fresh,
            ))
            .await?;
            // What its holder lost meanwhile may not be in the answer.
            if found.as_ref().ok().is_none_or(|known| known.holds(self.epoch())) {
                break found;
            }
            looks += 1;
            if looks == MOST_LOOKS {
                return Err(Refusal::Unavailable("its rights change faster than they are looked up".into()));
            }
        };
        let KnownPrincipal { principal, epoch, used, .. } = match found {
            Ok(known) => known,
            Err(owner) => {
                negative_cache.note(digest, owner.map(|slot| (slot, epoch)), now);
                if kind.is_throttled() {
                    negative_cache.count(client, now);
                }
                return Ok(None);
            }
        };
        let identity = Rc::new(Identity::new(principal, now).used_by_all(used));
        if !identity.holds(now, self.shared.idle) {
            return Ok(None);
        }
        if fresh {
            let generation = self.generation;
            let remembered = CachedIdentity { identity: Rc::clone(&identity), generation, epoch, since: now };
            cache.borrow_mut().insert(digest, remembered);
        }
        self.touch(&identity, now);
        Ok(Some(identity))
    }

    /// The caller of an open stream, as the store knows it now; `None` where its session or key has ended.
    ///
    /// No use of it: who is idle stays idle.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`] if that cannot be told now.
    pub async fn renew(&self, identity: &Identity) -> Result<Option<Rc<Identity>>, Refusal> {
        let resolver = Arc::clone(&self.shared.resolver);
        let principal = Arc::clone(&identity.principal);
        let lookup = async move { resolver.again(&principal).await };
        let found = within(RENEWAL_TIMEOUT, &self.shared.control, lookup).await?;
        let found = found.map_err(|error| Refusal::Unavailable(error.into()))?;
        Ok(found.map(|principal| {
            let written = match &principal.proof {
                Proof::Session { last_seen_at, .. } => *last_seen_at,
                Proof::Key { .. } => Timestamp::default(),
            };
            Rc::new(Identity::new(Arc::new(principal), identity.seen.get().max(written)))
        }))
    }

    /// Whether the proof of an open stream's caller still holds; `active` if bytes moved, which is a use of it.
    pub fn still_holds(&self, identity: &Identity, active: bool) -> bool {
        let now = self.shared.clock.now();
        let holds = identity.holds(now, self.shared.idle);
        if holds && active {
            self.touch(identity, now);
        }
        holds
    }

    /// To be taken before somebody is identified or renewed.
    pub fn look(&self) -> LookupVersion {
        let asked_store = self.trusted_for().is_none().then(Instant::now);
        LookupVersion { generation: self.generation, epoch: self.epoch().current(), asked_store }
    }

    /// Whether somebody would be found as at that look, if looked at now. Makes no store call.
    pub fn still_counts(&self, look: LookupVersion, identity: &Identity) -> bool {
        if identity.is_named() {
            return look.generation == self.generation;
        }
        let recent = || look.asked_store.is_some_and(|asked| asked.elapsed() < LEASE);
        self.epoch().holds(identity.slot, look.epoch)
            && (self.trusted_for().is_some() || recent())
            && identity.holds(self.shared.clock.now(), self.shared.idle)
    }

    /// For how long the cache may be trusted without another read of the store; `None` is not at all.
    pub fn trusted_for(&self) -> Option<Duration> {
        self.shared.revocations.fresh_for(LEASE + self.shared.outage_grace)
    }

    /// Tells of lost rights.
    pub fn epoch(&self) -> &Epoch {
        self.shared.revocations.epoch()
    }

    fn remembered(
        &self,
        cache: &ThreadCache,
        digest: &CredentialDigest,
        now: Timestamp,
    ) -> Option<Rc<Identity>> {
        let mut cache = cache.borrow_mut();
        let found = cache.get_mut(digest)?;
        let good = self.epoch().holds(found.identity.slot, found.epoch)
            && now.is_within(REMEMBERED_FOR, found.since)
            && found.identity.holds(now, self.shared.idle);
        if good && found.generation != self.generation {
            found.identity = Rc::new(found.identity.made_again());
            found.generation = self.generation;
        }
        if good {
            return Some(Rc::clone(&found.identity));
        }
        cache.remove(digest);
        None
    }

    /// The principal, or none, with the owner of a key that cannot be used now.
    async fn look_up(
        &self,
        kind: LookedUp,
        presented: LookupRequest,
        shared: bool,
    ) -> Result<LookupResult, Refusal> {
        let resolver = Arc::clone(&self.shared.resolver);
        let lookup = async move {
            if shared {
                resolver.find(kind, &presented).await
            } else {
                resolver.ask_in_turn(kind, &presented).await
            }
        };
        within(LOOKUP_TIMEOUT, &self.shared.control, lookup).await?
    }

    /// Notes a use, at most once a minute for one credential and thread; never waits.
    fn touch(&self, identity: &Identity, now: Timestamp) {
        identity.seen.set(now);
        if !identity.is_to_be_written(now, TOUCH_EVERY) {
            return;
        }
        let noted = match &identity.principal.proof {
            Proof::Session { id, .. } => self.shared.touches.session(id, now),
            Proof::Key { .. } => {
                identity.principal.key_id().is_none_or(|id| self.shared.touches.key(id, now))
            }
        };
        // Else the next request says it again.
        if noted {
            identity.note_use(now);
        }
    }
}

#[cfg(test)]
mod tests;
