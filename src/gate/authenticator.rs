//! From a credential to a caller: remembered per thread, checked once per credential and epoch.

use std::cell::RefCell;
use std::error::Error;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hashlink::LruCache;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;

use super::guessing::Guessing;
pub use super::identity::Identity;
use super::refusal::Refusal;
use crate::model::metrics::{Memory, WorkerMetrics};
use crate::model::principal::{Principal, Proof};
use crate::model::time::{Clock, Timestamp};
use crate::model::token::KeyText;
use crate::service::ServiceError;
use crate::service::api_keys::ApiKeys;
use crate::service::audit::Audit;
use crate::service::revocation::{Epoch, Revocations};
use crate::service::sessions::Sessions;
use crate::service::touches::Touches;

/// Credentials one thread remembers, of each kind.
const REMEMBERED_PER_THREAD: usize = 20_000;
/// Credentials all threads together remember, of each kind.
const REMEMBERED: u64 = 100_000;
/// What one thread remembers is looked up again after this, whatever happens.
const REMEMBERED_FOR: Duration = Duration::from_mins(10);
/// What all threads remember is short-lived: it knows nothing of idle time, and the shortest idle time is longer.
const SHARED_FOR: Duration = Duration::from_mins(1);
/// What is remembered may be used while revocations were read at most this long ago.
const LEASE: Duration = Duration::from_millis(900);
/// An answer that takes longer than this is no answer.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for whoever has a stream open: it flows on meanwhile.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(1);
/// How often one credential's use is written down.
const TOUCH_EVERY: Duration = Duration::from_mins(1);

type Digest = [u8; 32];

/// The part that all threads share: it asks the store, on the control plane's runtime.
pub struct Resolver {
    sessions: Sessions,
    keys: ApiKeys,
    /// By digest and epoch, so that what was looked up before a revocation is never found after it.
    found_sessions: moka::future::Cache<(Digest, u64), Arc<Principal>>,
    found_keys: moka::future::Cache<(Digest, u64), Arc<Principal>>,
    lookups: Arc<AtomicU64>,
}

/// Why a lookup gave nobody; never remembered.
#[derive(Debug)]
enum Miss {
    Nobody,
    Failed(ServiceError),
}

impl Resolver {
    /// Wires the services that know sessions and keys.
    pub fn new(sessions: Sessions, keys: ApiKeys) -> Self {
        let cache =
            || moka::future::Cache::builder().max_capacity(REMEMBERED).time_to_live(SHARED_FOR).build();
        Self { sessions, keys, found_sessions: cache(), found_keys: cache(), lookups: Arc::default() }
    }

    /// The same, asking other services; what was found stays found.
    #[must_use]
    pub fn asking(&self, sessions: Sessions, keys: ApiKeys) -> Self {
        Self {
            sessions,
            keys,
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
    fn is_plausible(&self, kind: Kind, credential: &str) -> bool {
        match kind {
            Kind::Session => self.sessions.digest_of_cookie(credential).is_some(),
            Kind::Key => KeyText::id_of(credential).is_some(),
        }
    }

    async fn session(
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

    async fn key(
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
    async fn again(&self, principal: &Principal) -> Result<Option<Principal>, ServiceError> {
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

/// What one thread remembers of one credential.
struct Remembered {
    identity: Rc<Identity>,
    /// The settings that the identity was made under.
    generation: u64,
    epoch: u64,
    since: Timestamp,
}

type Cache = RefCell<LruCache<Digest, Remembered>>;

/// Whom one thread remembers. Who somebody is does not depend on the settings, so it outlives them; what is
/// made of it does not.
pub struct Remembering {
    sessions: Cache,
    keys: Cache,
    guessing: Guessing,
}

impl Default for Remembering {
    fn default() -> Self {
        let cache = || RefCell::new(LruCache::new(REMEMBERED_PER_THREAD));
        Self { sessions: cache(), keys: cache(), guessing: Guessing::default() }
    }
}

/// Identifies callers on one thread, under one generation of the settings.
pub struct Authenticator {
    shared: AuthenticatorParts,
    generation: u64,
    remembering: Rc<Remembering>,
    metrics: Rc<WorkerMetrics>,
}

/// What every thread's authenticator is made of.
#[derive(Clone)]
pub struct AuthenticatorParts {
    /// Asks the store.
    pub resolver: Arc<Resolver>,
    /// Where asking happens.
    pub control: Handle,
    /// Tells whether what is remembered may be used.
    pub revocations: Revocations,
    /// Takes note of uses.
    pub touches: Touches,
    /// Where uses of break-glass tokens are told.
    pub audit: Audit,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// A session ends this long after its last use.
    pub idle: Duration,
    /// How long what is remembered stays good while the store cannot be asked.
    pub outage_grace: Duration,
}

/// Which kind of credential is looked up.
#[derive(Clone, Copy)]
enum Kind {
    Session,
    Key,
}

impl Authenticator {
    /// An authenticator for one thread. `generation` numbers the settings that `shared` was made of.
    pub fn new(
        shared: AuthenticatorParts,
        generation: u64,
        remembering: Rc<Remembering>,
        metrics: Rc<WorkerMetrics>,
    ) -> Self {
        Self { shared, generation, remembering, metrics }
    }

    /// Who presents this session cookie; `None` where it is malformed, forged, expired or ended.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`] if that cannot be told now, [`Refusal::TooManyAttempts`] if it is not looked at.
    pub async fn session(&self, cookie: &str, client: IpAddr) -> Result<Option<Rc<Identity>>, Refusal> {
        self.identify(Kind::Session, cookie, client).await
    }

    /// Whose key this is; `None` where it is mistyped, unknown, expired or revoked.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`] if that cannot be told now, [`Refusal::TooManyAttempts`] if it is not looked at.
    pub async fn key(&self, text: &str, client: IpAddr) -> Result<Option<Rc<Identity>>, Refusal> {
        self.identify(Kind::Key, text, client).await
    }

    /// Has the use of a break-glass token put into the audit trail. It is for the day when the store is down,
    /// so it does not wait for that.
    pub fn audit_break_glass(&self, name: &str, client: IpAddr, request_id: &str) {
        let (audit, name, request_id) = (self.shared.audit.clone(), name.to_owned(), request_id.to_owned());
        self.shared.control.spawn(async move {
            if let Err(error) = audit.break_glass(&name, client, &request_id).await {
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

    async fn identify(
        &self,
        kind: Kind,
        credential: &str,
        client: IpAddr,
    ) -> Result<Option<Rc<Identity>>, Refusal> {
        let now = self.shared.clock.now();
        let digest: Digest = Sha256::digest(credential.as_bytes()).into();
        let fresh = self.trusted_for().is_some();
        // Read before anything is looked up: what a revocation overtakes is remembered as old.
        let epoch = self.shared.revocations.epoch().current();
        let (cache, hit, miss) = match kind {
            Kind::Session => (&self.remembering.sessions, Memory::SessionHit, Memory::SessionMiss),
            Kind::Key => (&self.remembering.keys, Memory::KeyHit, Memory::KeyMiss),
        };
        if fresh && let Some(identity) = self.remembered(cache, &digest, epoch, now) {
            self.metrics.remembered(hit);
            self.touch(&identity, now);
            return Ok(Some(identity));
        }
        if !self.shared.resolver.is_plausible(kind, credential) {
            return Ok(None);
        }
        let guessing = &self.remembering.guessing;
        if fresh && guessing.is_nobodys(&digest, epoch, now) {
            return Ok(None);
        }
        guessing.admit(client, now).map_err(|retry_after| Refusal::TooManyAttempts { retry_after })?;
        self.metrics.remembered(miss);
        let Some(principal) =
            Box::pin(self.look_up(kind, digest, credential, fresh.then_some(epoch))).await?
        else {
            guessing.failed(digest, epoch, client, now);
            return Ok(None);
        };
        let identity = Rc::new(Identity::new(principal, now));
        if !identity.holds(now, self.shared.idle) {
            return Ok(None);
        }
        if fresh {
            let generation = self.generation;
            let remembered = Remembered { identity: Rc::clone(&identity), generation, epoch, since: now };
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

    /// For how long what is remembered may be trusted without another look; `None` is not at all.
    pub fn trusted_for(&self) -> Option<Duration> {
        self.shared.revocations.fresh_for(LEASE + self.shared.outage_grace)
    }

    /// Tells of lost rights.
    pub fn epoch(&self) -> &Epoch {
        self.shared.revocations.epoch()
    }

    fn remembered(&self, cache: &Cache, digest: &Digest, epoch: u64, now: Timestamp) -> Option<Rc<Identity>> {
        let mut cache = cache.borrow_mut();
        let found = cache.get_mut(digest)?;
        let good = found.epoch == epoch
            && now < found.since.after(REMEMBERED_FOR)
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

    async fn look_up(
        &self,
        kind: Kind,
        digest: Digest,
        credential: &str,
        epoch: Option<u64>,
    ) -> Result<Option<Arc<Principal>>, Refusal> {
        let resolver = Arc::clone(&self.shared.resolver);
        let credential = credential.to_owned();
        let lookup = async move {
            match kind {
                Kind::Session => resolver.session(digest, credential, epoch).await,
                Kind::Key => resolver.key(digest, credential, epoch).await,
            }
        };
        match within(LOOKUP_TIMEOUT, &self.shared.control, lookup).await? {
            Ok(principal) => Ok(Some(principal)),
            Err(miss) => match &*miss {
                Miss::Nobody => Ok(None),
                Miss::Failed(error) => Err(Refusal::Unavailable(error.to_string().into())),
            },
        }
    }

    /// Notes a use, at most once a minute for one credential and thread; never waits.
    fn touch(&self, identity: &Identity, now: Timestamp) {
        identity.seen.set(now);
        if now.since(identity.written.get()) < TOUCH_EVERY {
            return;
        }
        identity.written.set(now);
        match &identity.principal.proof {
            Proof::Session { id, .. } => self.shared.touches.session(id, now),
            Proof::Key { .. } => {
                if let Some(id) = identity.principal.key_id() {
                    self.shared.touches.key(id, now);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_and_a_late_answer_are_refusals() {
        let control = Handle::current();
        let second = Duration::from_secs(1);
        assert_eq!(within(second, &control, async { 7 }).await.unwrap(), 7);
        let panics = within(second, &control, async { panic!("as a bug would") });
        assert!(matches!(panics.await, Err::<(), _>(Refusal::Unavailable(_))));
        let late = within(Duration::from_millis(1), &control, std::future::pending::<()>());
        assert!(matches!(late.await, Err(Refusal::Unavailable(_))));
    }
}
