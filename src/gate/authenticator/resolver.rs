//! What all threads share: it asks the store, once for each credential and epoch.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use super::{Digest, Kind};
use crate::model::network::throttle_bucket;
use crate::model::principal::{Holder, Principal, Proof};
use crate::model::time::Timestamp;
use crate::model::token::KeyText;
use crate::service::ServiceError;
use crate::service::api_keys::ApiKeys;
use crate::service::epoch::{Epoch, Place};
use crate::service::sessions::Sessions;
use crate::service::turns::{Bounds, Turns};

/// Credentials all threads together remember, of each kind.
pub(super) const REMEMBERED: u64 = 100_000;
/// What all threads remember is short-lived.
const SHARED_FOR: Duration = Duration::from_mins(1);
/// Whoever presents ever other credentials waits for its own look-ups, not others for them. As many as all connections may
/// present at once by default find room to wait.
const LOOKS: Bounds =
    Bounds { own_work: 2, own_inside: 500, work: 64, inside: 1_000_000, wait: Duration::from_secs(4) };

type Found = moka::future::Cache<Digest, Known>;

/// Somebody as the store knew them at an epoch.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) principal: Arc<Principal>,
    /// Read before the store was asked.
    pub(super) epoch: u64,
    place: Place,
    /// When it was last used, as all threads noted it: the machine may have been suspended since, or its clock set forward.
    pub(super) used: Arc<AtomicI64>,
}

impl Known {
    /// Whether that is still so.
    pub(super) fn holds(&self, epoch: &Epoch) -> bool {
        epoch.holds(self.place, self.epoch)
    }

    /// Whether it is a session that was not used for so long.
    fn is_idle(&self, now: Timestamp, idle: Duration) -> bool {
        let used = Timestamp(self.used.load(Ordering::Relaxed)).min(now);
        matches!(self.principal.proof, Proof::Session { .. }) && now >= used.after(idle)
    }
}

/// Asks the store, on the control plane's runtime.
pub struct Resolver {
    sessions: Sessions,
    keys: ApiKeys,
    epoch: Epoch,
    pub(super) found_sessions: Found,
    pub(super) found_keys: Found,
    lookups: Arc<AtomicU64>,
    turns: Turns<IpAddr>,
}

/// A credential that is looked up, and at which client.
pub(super) struct Presented {
    pub(super) digest: Digest,
    pub(super) text: String,
    pub(super) client: IpAddr,
    pub(super) now: Timestamp,
    /// After so long without a use a session is over.
    pub(super) idle: Duration,
}

/// Why a lookup gave nobody; never remembered.
#[derive(Debug)]
pub(super) enum Miss {
    /// With the owner of a key that cannot be used now.
    Nobody(Option<Place>),
    Failed(ServiceError),
}

impl Resolver {
    /// Wires the services that know sessions and keys; `epoch` tells what they have lost.
    pub fn new(sessions: &Sessions, keys: &ApiKeys, epoch: Epoch) -> Self {
        Self::bounded(sessions, keys, epoch, REMEMBERED)
    }

    /// One that remembers at most `most` of each kind.
    pub(super) fn bounded(sessions: &Sessions, keys: &ApiKeys, epoch: Epoch, most: u64) -> Self {
        let cache = || moka::future::Cache::builder().max_capacity(most).time_to_live(SHARED_FOR).build();
        Self {
            sessions: sessions.for_requests(),
            keys: keys.for_requests(),
            epoch,
            found_sessions: cache(),
            found_keys: cache(),
            lookups: Arc::default(),
            turns: Turns::new(LOOKS),
        }
    }

    /// The same, asking other services; what was found stays found.
    #[must_use]
    pub fn asking(&self, sessions: &Sessions, keys: &ApiKeys) -> Self {
        Self {
            sessions: sessions.for_requests(),
            keys: keys.for_requests(),
            epoch: self.epoch.clone(),
            found_sessions: self.found_sessions.clone(),
            found_keys: self.found_keys.clone(),
            lookups: Arc::clone(&self.lookups),
            turns: self.turns.clone(),
        }
    }

    /// How often the store was asked so far.
    pub fn lookups(&self) -> u64 {
        self.lookups.load(Ordering::Relaxed)
    }

    /// Whether a credential could be one of ours; asks nobody. A forged cookie or a mistyped key is not.
    pub(super) fn is_plausible(&self, kind: Kind, credential: &str) -> bool {
        match kind {
            Kind::Session => self.sessions.digest_of_cookie(credential).is_some(),
            Kind::Key => KeyText::id_of(credential).is_some(),
        }
    }

    /// Whose session it is; from what all threads remember, if it is `shared`.
    pub(super) async fn session(&self, cookie: Presented, shared: bool) -> Result<Known, Arc<Miss>> {
        let Presented { digest, text, client, now, idle } = cookie;
        let asking = async {
            let Some(token) = self.sessions.digest_of_cookie(&text) else { return Ok(Holder::Nobody) };
            let found = self.sessions.resolve(token).await?;
            // Whoever is disabled has no sessions left: none of them comes back.
            Ok(found.map_or(Holder::Nobody, |principal| Holder::Caller(Box::new(principal))))
        };
        let look = self.known(client, now, asking);
        find(shared.then_some(&self.found_sessions), &self.epoch, digest, (now, idle), look).await
    }

    /// Whose key it is; from what all threads remember, if it is `shared`.
    pub(super) async fn key(&self, key: Presented, shared: bool) -> Result<Known, Arc<Miss>> {
        let Presented { digest, text, client, now, idle } = key;
        let look = self.known(client, now, self.keys.resolve(&text));
        find(shared.then_some(&self.found_keys), &self.epoch, digest, (now, idle), look).await
    }

    async fn known(
        &self,
        client: IpAddr,
        now: Timestamp,
        asking: impl Future<Output = Result<Holder, ServiceError>>,
    ) -> Result<Known, Miss> {
        let _turn = self.turns.take(throttle_bucket(client)).await.map_err(Miss::Failed)?;
        // Before it is asked, so that a loss that overtakes the answer is noticed.
        let epoch = self.epoch.current();
        self.lookups.fetch_add(1, Ordering::Relaxed);
        match asking.await.map_err(Miss::Failed)? {
            Holder::Caller(principal) => {
                let place = Place::of(principal.holder());
                let used = Arc::new(AtomicI64::new(now.0));
                Ok(Known { principal: Arc::from(principal), epoch, place, used })
            }
            Holder::Barred(owner) => Err(Miss::Nobody(Some(Place::of(&owner.0)))),
            Holder::Nobody => Err(Miss::Nobody(None)),
        }
    }
}

/// What is remembered and still so, or else what a look says; of several at once one looks.
async fn find(
    remembered: Option<&Found>,
    epoch: &Epoch,
    digest: Digest,
    (now, idle): (Timestamp, Duration),
    look: impl Future<Output = Result<Known, Miss>>,
) -> Result<Known, Arc<Miss>> {
    let Some(remembered) = remembered else { return look.await.map_err(Arc::new) };
    if let Some(known) = remembered.get(&digest).await
        && (!known.holds(epoch) || known.is_idle(now, idle))
    {
        remembered.invalidate(&digest).await;
    }
    remembered.try_get_with(digest, look).await
}

impl Resolver {
    /// Whom a proof that was accepted before stands for now.
    pub(super) async fn again(&self, principal: &Principal) -> Result<Option<Principal>, ServiceError> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        match &principal.proof {
            Proof::Session { id, .. } => self.sessions.resolve_again(id).await,
            Proof::Key { .. } => match principal.key_id() {
                Some(id) => self.keys.resolve_again(id).await,
                None => Ok(None),
            },
        }
    }
}
