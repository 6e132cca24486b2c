//! Looks credentials up in the store, once for each credential and epoch, for all threads.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use super::super::credential::{LookUps, LookedUp, PerKind};
use super::super::refusal::Refusal;
use super::CredentialDigest;
use crate::model::network::throttle_bucket;
use crate::model::principal::{Holder, Principal, Proof};
use crate::model::time::Timestamp;
use crate::service::ServiceError;
use crate::service::concurrency_limiter::{ConcurrencyLimiter, ConcurrencyLimits};
use crate::service::epoch::{Epoch, EpochSlot};

/// Credentials in the shared cache, of each kind.
pub(super) const REMEMBERED: u64 = 100_000;
/// Entries of the shared cache are short-lived.
const SHARED_FOR: Duration = Duration::from_mins(1);
/// A client that presents many credentials waits for its own look-ups; others do not wait for them. As many as all connections may
/// present at once by default find room to wait.
const LOOKS: ConcurrencyLimits = ConcurrencyLimits {
    running_per_key: 2,
    admitted_per_key: 500,
    work: 64,
    inside: 1_000_000,
    wait: Duration::from_secs(4),
};

type SharedCache = moka::future::Cache<CredentialDigest, KnownPrincipal>;
/// The principal, or none, with the owner of a key that cannot be used now.
pub(super) type LookupResult = Result<KnownPrincipal, Option<EpochSlot>>;

/// Somebody as the store knew them at an epoch.
#[derive(Clone, Debug)]
pub(in crate::gate) struct KnownPrincipal {
    pub(in crate::gate) principal: Arc<Principal>,
    /// Read before the store was asked.
    pub(super) epoch: u64,
    slot: EpochSlot,
    /// When it was last used, as all threads noted it: the machine may have been suspended since, or its clock set forward.
    pub(super) used: Arc<AtomicI64>,
}

impl KnownPrincipal {
    /// Whether that is still so.
    pub(super) fn holds(&self, epoch: &Epoch) -> bool {
        epoch.holds(self.slot, self.epoch)
    }

    /// Whether it is a session that was not used for so long.
    fn is_idle(&self, now: Timestamp, idle: Duration) -> bool {
        let used = Timestamp(self.used.load(Ordering::Relaxed)).min(now);
        matches!(self.principal.proof, Proof::Session { .. }) && now >= used.after(idle)
    }
}

/// Asks the store, on the control plane's runtime.
pub struct CredentialResolver {
    look_ups: LookUps,
    epoch: Epoch,
    pub(super) found: PerKind<SharedCache>,
    asked: Arc<AtomicU64>,
    limiter: ConcurrencyLimiter<IpAddr>,
}

/// A credential that is looked up, and at which client.
pub(super) struct LookupRequest {
    pub(super) digest: CredentialDigest,
    pub(super) text: String,
    pub(super) client: IpAddr,
    pub(super) now: Timestamp,
    /// After so long without a use a session is over.
    pub(super) idle: Duration,
}

/// Why a lookup found no principal; never cached.
enum LookupFailure {
    /// With the owner of a key that cannot be used now.
    NotFound(Option<EpochSlot>),
    Failed(ServiceError),
}

impl CredentialResolver {
    /// `look_ups` use the store connections of requests; `epoch` tells what was lost.
    pub fn new(look_ups: LookUps, epoch: Epoch) -> Self {
        Self::bounded(look_ups, epoch, REMEMBERED)
    }

    /// One that caches at most `most` of each kind.
    pub(super) fn bounded(look_ups: LookUps, epoch: Epoch, most: u64) -> Self {
        let cache = || moka::future::Cache::builder().max_capacity(most).time_to_live(SHARED_FOR).build();
        Self {
            look_ups,
            epoch,
            found: PerKind::new(cache),
            asked: Arc::default(),
            limiter: ConcurrencyLimiter::new(LOOKS),
        }
    }

    /// The same, asking otherwise; what was found stays found.
    #[must_use]
    pub fn asking(&self, look_ups: LookUps) -> Self {
        Self {
            look_ups,
            epoch: self.epoch.clone(),
            found: self.found.clone(),
            asked: Arc::clone(&self.asked),
            limiter: self.limiter.clone(),
        }
    }

    /// How often the store was asked so far.
    pub fn lookups(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Whether a credential could be one of ours; makes no store call. A forged cookie or a mistyped key is not.
    pub(in crate::gate) fn is_plausible(&self, kind: LookedUp, credential: &str) -> bool {
        self.look_ups.is_plausible(kind, credential)
    }

    /// Whether a thread found somebody by this credential within the last minute. That may not be so any more.
    pub(super) fn has_found(&self, kind: LookedUp, digest: &CredentialDigest) -> bool {
        self.found.of(kind).contains_key(digest)
    }

    /// Whose it is, from the shared cache if still valid, or else from the store; of several at once one
    /// asks it.
    pub(super) async fn find(
        &self,
        kind: LookedUp,
        presented: &LookupRequest,
    ) -> Result<LookupResult, Refusal> {
        let (remembered, digest) = (self.found.of(kind), presented.digest);
        if let Some(known) = remembered.get(&digest).await
            && (!known.holds(&self.epoch) || known.is_idle(presented.now, presented.idle))
        {
            remembered.invalidate(&digest).await;
        }
        let found = remembered.try_get_with(digest, self.ask_when_admitted(kind, presented)).await;
        found.map_or_else(|miss| miss.found(), |known| Ok(Ok(known)))
    }

    /// Looks it up in the store, once the client's share permits.
    pub(super) async fn ask_in_turn(
        &self,
        kind: LookedUp,
        presented: &LookupRequest,
    ) -> Result<LookupResult, Refusal> {
        let found = self.ask_when_admitted(kind, presented).await;
        found.map_or_else(|miss| miss.found(), |known| Ok(Ok(known)))
    }

    async fn ask_when_admitted(
        &self,
        kind: LookedUp,
        presented: &LookupRequest,
    ) -> Result<KnownPrincipal, LookupFailure> {
        let _turn =
            self.limiter.take(throttle_bucket(presented.client)).await.map_err(LookupFailure::Failed)?;
        // Before it is asked, so that a loss that overtakes the answer is noticed.
        let epoch = self.epoch.current();
        match self.ask(kind, &presented.text).await.map_err(LookupFailure::Failed)? {
            Holder::Caller(principal) => {
                let slot = EpochSlot::of(principal.holder());
                let used = Arc::new(AtomicI64::new(presented.now.0));
                Ok(KnownPrincipal { principal: Arc::from(principal), epoch, slot, used })
            }
            Holder::Barred(owner) => Err(LookupFailure::NotFound(Some(EpochSlot::of(&owner.0)))),
            Holder::NotFound => Err(LookupFailure::NotFound(None)),
        }
    }

    /// Whose it is, as the store says now. The limiter has a share for each client.
    pub(in crate::gate) async fn ask(
        &self,
        kind: LookedUp,
        credential: &str,
    ) -> Result<Holder, ServiceError> {
        if !self.is_plausible(kind, credential) {
            return Ok(Holder::NotFound);
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.look_ups.whose(kind, credential).await
    }

    /// Whom a proof that was accepted before stands for now.
    pub(super) async fn again(&self, principal: &Principal) -> Result<Option<Principal>, ServiceError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.look_ups.whose_still(principal).await
    }
}

impl LookupFailure {
    /// What the waiting requests get.
    fn found(&self) -> Result<LookupResult, Refusal> {
        match self {
            Self::NotFound(owner) => Ok(Err(*owner)),
            Self::Failed(ServiceError::Busy { retry_after }) => {
                Err(Refusal::TooManyAttempts { retry_after: *retry_after })
            }
            Self::Failed(error) => Err(Refusal::Unavailable(error.to_string().into())),
        }
    }
}
