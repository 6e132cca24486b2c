//! What all threads share: it asks the store, once for each credential and epoch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Digest, Kind};
use crate::model::principal::{Principal, Proof};
use crate::model::token::KeyText;
use crate::service::ServiceError;
use crate::service::api_keys::ApiKeys;
use crate::service::sessions::Sessions;

/// Credentials all threads together remember, of each kind.
pub(super) const REMEMBERED: u64 = 100_000;
/// What all threads remember is short-lived: it knows nothing of idle time, and the shortest idle time is longer.
const SHARED_FOR: Duration = Duration::from_mins(1);

type Found = moka::future::Cache<(Digest, u64), Arc<Principal>>;

/// Asks the store, on the control plane's runtime.
pub struct Resolver {
    sessions: Sessions,
    keys: ApiKeys,
    /// By digest and epoch, so that what was looked up before a revocation is never found after it.
    pub(super) found_sessions: Found,
    pub(super) found_keys: Found,
    lookups: Arc<AtomicU64>,
}

/// Why a lookup gave nobody; never remembered.
#[derive(Debug)]
pub(super) enum Miss {
    Nobody,
    Failed(ServiceError),
}

impl Resolver {
    /// Wires the services that know sessions and keys.
    pub fn new(sessions: &Sessions, keys: &ApiKeys) -> Self {
        Self::bounded(sessions, keys, REMEMBERED)
    }

    /// One that remembers at most `most` of each kind.
    pub(super) fn bounded(sessions: &Sessions, keys: &ApiKeys, most: u64) -> Self {
        let cache = || moka::future::Cache::builder().max_capacity(most).time_to_live(SHARED_FOR).build();
        Self {
            sessions: sessions.for_requests(),
            keys: keys.for_requests(),
            found_sessions: cache(),
            found_keys: cache(),
            lookups: Arc::default(),
        }
    }

    /// The same, asking other services; what was found stays found.
    #[must_use]
    pub fn asking(&self, sessions: &Sessions, keys: &ApiKeys) -> Self {
        Self {
            sessions: sessions.for_requests(),
            keys: keys.for_requests(),
            found_sessions: self.found_sessions.clone(),
            found_keys: self.found_keys.clone(),
            lookups: Arc::clone(&self.lookups),
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

    pub(super) async fn session(
        &self,
        digest: Digest,
        cookie: String,
        epoch: Option<u64>,
    ) -> Result<Arc<Principal>, Arc<Miss>> {
        let look = async {
            let token = self.sessions.digest_of_cookie(&cookie).ok_or(Miss::Nobody)?;
            self.lookups.fetch_add(1, Ordering::Relaxed);
            found(self.sessions.resolve(token).await)
        };
        match epoch {
            Some(epoch) => self.found_sessions.try_get_with((digest, epoch), look).await,
            None => look.await.map_err(Arc::new),
        }
    }

    pub(super) async fn key(
        &self,
        digest: Digest,
        text: String,
        epoch: Option<u64>,
    ) -> Result<Arc<Principal>, Arc<Miss>> {
        let look = async {
            self.lookups.fetch_add(1, Ordering::Relaxed);
            found(self.keys.resolve(&text).await)
        };
        match epoch {
            Some(epoch) => self.found_keys.try_get_with((digest, epoch), look).await,
            None => look.await.map_err(Arc::new),
        }
    }
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

fn found(answer: Result<Option<Principal>, ServiceError>) -> Result<Arc<Principal>, Miss> {
    answer.map_err(Miss::Failed)?.map(Arc::new).ok_or(Miss::Nobody)
}
