//! Passwords: slow hashing in a bounded blocking pool, and the same cost for users who do not exist.

mod lanes;

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread::available_parallelism;
use std::time::Duration;
use std::time::Instant;

use argon2::password_hash::PasswordHasher as _;

use self::lanes::HashingLanes;
use self::lanes::QUEUE_WAIT;
use self::lanes::Slowest;
use self::lanes::Work;
use super::concurrency_limiter::ConcurrencyLimiter;
use super::concurrency_limiter::ConcurrencyLimits;
use super::concurrency_limiter::LimiterGuard;
use super::concurrency_limiter::wait_without_work;
use super::stored_hash::StoredHash;
use super::stored_hash::hasher;
use super::{Field, ServiceError};
use crate::config::BreachList;
use crate::model::opaque_string;
use crate::model::secret::Secret;

/// What unknown clients can use for one name, one after the other: a rush at it holds little of the store and the cores, and its
/// answers do not tell whether each takes work or only waits. Strangers at different names wait for no other's wait.
const OF_NAMES: ConcurrencyLimits = ConcurrencyLimits {
    running_per_key: 1,
    admitted_per_key: 16,
    work: 1024,
    inside: 1024,
    wait: QUEUE_WAIT,
};
/// Computations that may wait for a free core, of unknown clients and of known users.
const QUEUE: usize = 64;
/// Longer input is never a password: it is not hashed, only answered in the usual time.
const LONGEST: usize = 1024;

/// The result of verifying a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// It does not match.
    Wrong,
    /// It matches.
    Right,
    /// It matches, and the stored hash should be replaced by one of ours.
    Outdated,
}

/// The priority of a password check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordPriority {
    /// A known device or session of the user: goes ahead of unknown clients.
    Known,
    /// Any other client.
    Unknown,
}

/// Hashes and verifies passwords with argon2id, one core less than there are at a time, and of other systems' hashes one.
///
/// Clones share the bounds. What does not fit into the queue is answered [`ServiceError::Busy`].
#[derive(Clone)]
pub struct Passwords {
    lanes: Arc<HashingLanes>,
    names: ConcurrencyLimiter<String>,
    slowest: Arc<Mutex<Slowest>>,
    /// Of ours, and of other systems.
    #[cfg(test)]
    computed: Arc<[std::sync::atomic::AtomicUsize; 2]>,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("free", &self.lanes.free()).finish_non_exhaustive()
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

impl Passwords {
    /// As many computations at a time as there are cores but one, which is left to everything else.
    pub(super) fn new() -> Self {
        let cores = available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1));
        Self::with_limits(cores, QUEUE)
    }

    fn with_limits(cores: usize, queue: usize) -> Self {
        Self {
            lanes: Arc::new(HashingLanes::new(cores, queue)),
            names: ConcurrencyLimiter::new(OF_NAMES),
            slowest: Arc::default(),
            #[cfg(test)]
            computed: Arc::default(),
        }
    }

    /// A turn of unknown clients at one name.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] if too many try already.
    pub(super) async fn turn_at(&self, name: &str) -> Result<LimiterGuard<String>, ServiceError> {
        self.names.take(name.to_owned()).await
    }

    /// The hash of a password in PHC form, with a fresh salt. Unicode forms of one password have one hash.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] if the queue is full.
    pub async fn hash(&self, password: Secret) -> Result<String, ServiceError> {
        let password = unified(&password);
        self.run(Work::Ours, PasswordPriority::Known, move || {
            hasher().hash_password(password.expose().as_bytes()).map(|hash| hash.to_string())
        })
        .await?
        .map_err(|error| ServiceError::Unavailable(Box::new(error)))
    }

    /// Whether `password` is the one behind `stored`, which may be of any form that [`check_foreign_hash`] takes.
    ///
    /// A hash that cannot be read never verifies; an empty password never matches.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] if the queue is full.
    pub async fn verify(
        &self,
        whose: PasswordPriority,
        password: Secret,
        stored: &str,
    ) -> Result<Verification, ServiceError> {
        match StoredHash::read(stored) {
            Ok(stored) if may_be_one(&password) => self.verify_against(whose, password, stored).await,
            _ => self.verify_nobody(whose, password, None).await,
        }
    }

    async fn verify_against(
        &self,
        whose: PasswordPriority,
        password: Secret,
        stored: StoredHash,
    ) -> Result<Verification, ServiceError> {
        let forms = forms(&password);
        let (count, foreign) = (forms.len(), stored.is_foreign());
        let work = if foreign { Work::Foreign } else { Work::Ours };
        let (verdict, took) = self
            .run(work, whose, move || {
                let begun = Instant::now();
                let fits = forms.iter().position(|form| stored.verifies(form.expose().as_bytes()));
                let took = begun.elapsed();
                let verdict = match fits {
                    Some(form) if is_current(&stored, form) => Verification::Right,
                    // A user who mistyped the part that was cut off must not have to repeat the mistake.
                    Some(_) if stored.cuts(password.expose().as_bytes()) => Verification::Right,
                    Some(_) => Verification::Outdated,
                    None => Verification::Wrong,
                };
                if foreign && verdict == Verification::Wrong {
                    forms.iter().for_each(hash_for_nobody);
                }
                (verdict, took)
            })
            .await?;
        let each = took / u32::try_from(count).unwrap_or(1);
        if foreign && verdict == Verification::Wrong {
            self.slowest.lock().unwrap_or_else(PoisonError::into_inner).note(each);
        }
        if verdict == Verification::Wrong {
            self.wait_like_foreign(count, if foreign { each } else { Duration::ZERO }).await;
        }
        Ok(verdict)
    }

    /// Always wrong, after the work and the wait of verifying against a hash of the same kind and cost as `like`; as one
    /// of ours, where that is none, or none that can be read.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] if the queue is full.
    pub async fn verify_nobody(
        &self,
        whose: PasswordPriority,
        password: Secret,
        like: Option<&str>,
    ) -> Result<Verification, ServiceError> {
        let like = like.and_then(|like| StoredHash::read(like).ok()).filter(|_| may_be_one(&password));
        if let Some(like) = like {
            // Nothing fits it. If something did, it would still be wrong.
            self.verify_against(whose, password, like.unmatchable()).await?;
            return Ok(Verification::Wrong);
        }
        let forms = if password.expose().len() > LONGEST { vec![Secret::new("")] } else { forms(&password) };
        let count = forms.len();
        self.run(Work::Ours, whose, move || forms.iter().for_each(hash_for_nobody)).await?;
        self.wait_like_foreign(count, Duration::ZERO).await;
        Ok(Verification::Wrong)
    }

    /// Takes the time of verifying against a hash of another system, which nothing fits, and remembers it.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] if the queue is full.
    pub(super) async fn time(&self, stored: StoredHash) -> Result<(), ServiceError> {
        let took = self
            .run(Work::Foreign, PasswordPriority::Known, move || {
                let begun = Instant::now();
                let _nothing_fits = stored.verifies(b"nobody's own password");
                begun.elapsed()
            })
            .await?;
        self.slowest.lock().unwrap_or_else(PoisonError::into_inner).note(took);
        Ok(())
    }

    /// Waits, without work, for what verifying a hash of another system takes beyond ours: no client can tell by the time
    /// whose hash is one.
    async fn wait_like_foreign(&self, times: usize, waited: Duration) {
        let usual = self.slowest.lock().unwrap_or_else(PoisonError::into_inner).get();
        let more = usual.saturating_sub(waited) * u32::try_from(times).unwrap_or(1);
        if !more.is_zero() {
            wait_without_work(more).await;
        }
    }

    /// Refuses a password that stands in a list of leaked ones.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Invalid`] if it does; [`ServiceError::Unavailable`] if the list cannot be read;
    /// [`ServiceError::Busy`] if the queue is full.
    pub async fn check_unleaked(&self, password: &Secret, list: &BreachList) -> Result<(), ServiceError> {
        let (list, password) = (list.clone(), unified(password));
        let leaked =
            self.run(Work::Ours, PasswordPriority::Known, move || list.contains(password.expose())).await?;
        if leaked.map_err(|error| ServiceError::Unavailable(Box::new(error)))? {
            return Err(ServiceError::invalid(
                Field::Password,
                "stands in a list of leaked ones: choose another",
            ));
        }
        Ok(())
    }

    /// Runs one computation off the async threads. The places travel with it, so a caller who hangs up
    /// does not make room before the work is really over.
    async fn run<T: Send + 'static>(
        &self,
        work: Work,
        whose: PasswordPriority,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let slots = self.lanes.enter(work, whose).await?;
        #[cfg(test)]
        self.computed[usize::from(work == Work::Foreign)].fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        tokio::task::spawn_blocking(move || {
            let result = job();
            drop(slots);
            result
        })
        .await
        .map_err(|error| ServiceError::Unavailable(Box::new(error)))
    }

    /// The place at work that hashes of other systems share, as if one were computed.
    #[cfg(test)]
    pub(super) async fn foreign_place(&self) -> impl Sized + use<> {
        self.lanes.enter(Work::Foreign, PasswordPriority::Unknown).await.unwrap()
    }

    /// How many more strangers find a seat before computations of ours.
    #[cfg(test)]
    pub(super) fn seats_of_unknown(&self) -> usize {
        self.lanes.seats_of_unknown()
    }

    /// Every place at work on computations of ours.
    #[cfg(test)]
    pub(super) fn all_places_of_ours(&self) -> impl Sized + use<> {
        self.lanes.all_places_of_ours()
    }

    /// Every seat of strangers before computations of ours.
    #[cfg(test)]
    pub(super) fn all_seats_of_unknown(&self) -> impl Sized + use<> {
        self.lanes.all_seats_of_unknown()
    }

    /// How many computations have run.
    #[cfg(test)]
    pub(super) fn computed(&self) -> usize {
        self.computed.iter().map(|count| count.load(std::sync::atomic::Ordering::SeqCst)).sum()
    }

    /// How many of them for hashes of other systems.
    #[cfg(test)]
    pub(super) fn computed_foreign(&self) -> usize {
        self.computed[1].load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// Whether a text may be a password at all, which is all that is told of it before any work.
fn may_be_one(password: &Secret) -> bool {
    (1..=LONGEST).contains(&password.expose().len())
}

/// The same work for a name without a password.
fn hash_for_nobody(password: &Secret) {
    let _same_cost = hasher().hash_password_with_salt(password.expose().as_bytes(), b"nobody's own salt");
}

/// Whether a hash is as one would be made today, of the first of [`forms`].
fn is_current(stored: &StoredHash, form: usize) -> bool {
    form == 0 && stored.is_current()
}

/// What a password is hashed as from now on, and as it was typed if that differs: how it was hashed before, and by others.
fn forms(password: &Secret) -> Vec<Secret> {
    let unified = unified(password);
    if unified.expose() == password.expose() { vec![unified] } else { vec![unified, password.clone()] }
}

/// One form for all that look alike.
pub(super) fn unified(password: &Secret) -> Secret {
    Secret::new(opaque_string::unified(password.expose()))
}

/// Refuses a password hash of another system that could not be verified here, or only at an excessive cost.
///
/// # Errors
///
/// [`ServiceError::Invalid`] with the reason.
pub fn check_foreign_hash(stored: &Secret) -> Result<(), ServiceError> {
    Ok(StoredHash::read(stored.expose()).map(|_| ())?)
}

#[cfg(test)]
mod tests;
