//! Passwords: slow hashing in a bounded blocking pool, and the same cost for users who do not exist.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread::available_parallelism;
use std::time::Duration;
use std::time::Instant;

use argon2::Algorithm;
use argon2::Argon2;
use argon2::Params;
use argon2::Version;
use argon2::password_hash::PasswordHasher as _;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use unicode_normalization::UnicodeNormalization as _;

use super::ServiceError;
use super::stored_hash::StoredHash;
use super::turns::Bounds;
use super::turns::Turn;
use super::turns::Turns;
use crate::config::BreachList;
use crate::model::secret::Secret;

/// KiB of one computation, as OWASP's password storage advice has it.
const MEMORY: u32 = 19_456;
/// Passes over that memory.
const PASSES: u32 = 2;
/// Lanes.
const LANES: u32 = 1;
/// The version that `v=19` in a stored hash stands for (RFC 9106).
const VERSION: u32 = 0x13;

/// What strangers have of one account: two at a time bound what a rush at it can hold of the store and the cores.
const OF_ACCOUNTS: Bounds = Bounds { own_work: 2, own_inside: 16, work: 64, inside: 512, wait: QUEUE_WAIT };
/// Computations that may wait for a free core, of strangers and of all others.
const QUEUE: usize = 64;
/// How long one waits at most.
const QUEUE_WAIT: Duration = Duration::from_secs(2);
/// Longer input is never a password: it is not hashed, only answered in the usual time.
const LONGEST: usize = 1024;
/// How much later an answer may come for the sake of those whose hashes take longer.
const MOST_WAIT: Duration = Duration::from_secs(2);

/// What verifying a password came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not the one.
    Wrong,
    /// It is the one.
    Right,
    /// It is, and the stored hash should be replaced by one of ours.
    Outdated,
}

/// For whom a password is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// Somebody whom we have let in before, on this device or in this session: goes ahead of all strangers.
    Known,
    /// Whoever can reach us.
    Stranger,
}

/// Hashes and verifies passwords with argon2id, one core less than there are at a time.
///
/// Clones share the bounds. What does not fit into the queue is answered [`ServiceError::Busy`].
#[derive(Clone)]
pub struct Passwords {
    cores: Arc<Semaphore>,
    /// As many strangers as there are cores stand in the line for them; the others wait before it.
    next_strangers: Arc<Semaphore>,
    seats: Arc<Semaphore>,
    stranger_seats: Arc<Semaphore>,
    accounts: Turns<String>,
    /// Microseconds that verifying a hash of another system took lately.
    foreign: Arc<AtomicU64>,
    #[cfg(test)]
    computed: Arc<std::sync::atomic::AtomicUsize>,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("free", &self.cores.available_permits()).finish_non_exhaustive()
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

impl Passwords {
    /// As many computations at a time as there are cores but one, which is left to everything else.
    pub fn new() -> Self {
        let cores = available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1));
        Self::with_limits(cores, QUEUE)
    }

    fn with_limits(cores: usize, queue: usize) -> Self {
        Self {
            cores: Arc::new(Semaphore::new(cores)),
            next_strangers: Arc::new(Semaphore::new(cores)),
            seats: Arc::new(Semaphore::new(cores + queue)),
            stranger_seats: Arc::new(Semaphore::new(cores + queue)),
            accounts: Turns::new(OF_ACCOUNTS),
            foreign: Arc::default(),
            #[cfg(test)]
            computed: Arc::default(),
        }
    }

    /// A turn of strangers at one account, by whatever tells accounts apart: those who try all at once to get into one
    /// leave the connections to the store and the cores to others.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] if too many try already.
    pub(super) async fn turn_at(&self, account: &str) -> Result<Turn<String>, ServiceError> {
        self.accounts.take(account.to_owned()).await
    }

    /// The hash of a password in PHC form, with a fresh salt. Unicode forms of one password have one hash.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] if the queue is full.
    pub async fn hash(&self, password: Secret) -> Result<String, ServiceError> {
        let password = unified(&password);
        self.run(For::Known, move || {
            hasher().hash_password(password.expose().as_bytes()).map(|hash| hash.to_string())
        })
        .await?
        .map_err(|error| ServiceError::Unavailable(Box::new(error)))
    }

    /// Whether `password` is the one behind `stored`, which may be of any form that [`check_foreign_hash`] takes.
    ///
    /// What is wrong takes as long as an unknown user does. A hash that cannot be read never verifies; an empty password
    /// is nobody's.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] if the queue is full.
    pub async fn verify(&self, whose: For, password: Secret, stored: &str) -> Result<Verdict, ServiceError> {
        let length = password.expose().len();
        match StoredHash::read(stored) {
            Ok(stored) if (1..=LONGEST).contains(&length) => {
                self.verify_against(whose, password, stored).await
            }
            _ => self.verify_nobody(whose, password).await,
        }
    }

    async fn verify_against(
        &self,
        whose: For,
        password: Secret,
        stored: StoredHash,
    ) -> Result<Verdict, ServiceError> {
        let forms = forms(&password);
        let (count, foreign) = (forms.len(), stored.is_foreign());
        let (verdict, took) = self
            .run(whose, move || {
                let begun = Instant::now();
                let fits = forms.iter().position(|form| stored.verifies(form.expose().as_bytes()));
                let took = begun.elapsed();
                let verdict = match fits {
                    Some(form) if is_current(&stored, form) => Verdict::Right,
                    // Whoever mistyped what was cut off anyway must not be held to it from now on.
                    Some(_) if stored.cuts(password.expose().as_bytes()) => Verdict::Right,
                    Some(_) => Verdict::Outdated,
                    None => Verdict::Wrong,
                };
                if foreign && verdict == Verdict::Wrong {
                    forms.iter().for_each(hash_for_nobody);
                }
                (verdict, took)
            })
            .await?;
        let each = took / u32::try_from(count).unwrap_or(1);
        if foreign && verdict == Verdict::Wrong {
            let took = u64::try_from(each.min(MOST_WAIT).as_micros()).unwrap_or_default();
            // What took long once, on a busy machine, is forgotten by and by.
            let before = self.foreign.load(Ordering::Relaxed);
            self.foreign.store(took.max(before - before.saturating_sub(took) / 8), Ordering::Relaxed);
        }
        if verdict == Verdict::Wrong {
            self.wait_like_foreign(count, if foreign { each } else { Duration::ZERO }).await;
        }
        Ok(verdict)
    }

    /// Always wrong, after the work and the time of a real verification.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] if the queue is full.
    pub async fn verify_nobody(&self, whose: For, password: Secret) -> Result<Verdict, ServiceError> {
        let forms = if password.expose().len() > LONGEST { vec![Secret::new("")] } else { forms(&password) };
        let count = forms.len();
        self.run(whose, move || forms.iter().for_each(hash_for_nobody)).await?;
        self.wait_like_foreign(count, Duration::ZERO).await;
        Ok(Verdict::Wrong)
    }

    /// Waits, without work, for what verifying a hash of another system takes beyond ours: nobody can tell by the time
    /// whose hash is one.
    async fn wait_like_foreign(&self, times: usize, waited: Duration) {
        let usual = Duration::from_micros(self.foreign.load(Ordering::Relaxed));
        let more = usual.saturating_sub(waited) * u32::try_from(times).unwrap_or(1);
        if !more.is_zero() {
            tokio::time::sleep(more).await;
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
        let leaked = self.run(For::Known, move || list.contains(password.expose())).await?;
        if leaked.map_err(|error| ServiceError::Unavailable(Box::new(error)))? {
            return Err(ServiceError::invalid("password", "stands in a list of leaked ones: choose another"));
        }
        Ok(())
    }

    /// Runs one computation off the async threads. The permits travel with it, so a caller who hangs up
    /// does not make room before the work is really over.
    async fn run<T: Send + 'static>(
        &self,
        whose: For,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let busy = || ServiceError::Busy { retry_after: QUEUE_WAIT };
        let seats = if whose == For::Known { &self.seats } else { &self.stranger_seats };
        let seat = Arc::clone(seats).try_acquire_owned().map_err(|_| busy())?;
        let next = async {
            let _next = match whose {
                For::Known => None,
                For::Stranger => Some(self.next_strangers.acquire().await.ok()?),
            };
            Arc::clone(&self.cores).acquire_owned().await.ok()
        };
        let core = timeout(QUEUE_WAIT, next).await.ok().flatten().ok_or_else(busy)?;
        #[cfg(test)]
        self.computed.fetch_add(1, Ordering::SeqCst);
        tokio::task::spawn_blocking(move || {
            let result = job();
            drop((core, seat));
            result
        })
        .await
        .map_err(|error| ServiceError::Unavailable(Box::new(error)))
    }

    /// How many computations have run.
    #[cfg(test)]
    pub(super) fn computed(&self) -> usize {
        self.computed.load(Ordering::SeqCst)
    }
}

fn hasher() -> Argon2<'static> {
    let params = Params::new(MEMORY, PASSES, LANES, None).unwrap_or(Params::DEFAULT);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// The same work for whoever is not there.
fn hash_for_nobody(password: &Secret) {
    let _same_cost = hasher().hash_password_with_salt(password.expose().as_bytes(), b"nobody's own salt");
}

/// Whether a hash is as one would be made today, of the first of [`forms`].
fn is_current(stored: &StoredHash, form: usize) -> bool {
    form == 0 && stored.is_argon2id(VERSION, &[("m", MEMORY), ("t", PASSES), ("p", LANES)])
}

/// What a password is hashed as from now on, and as it was typed if that differs: how it was hashed before, and by others.
fn forms(password: &Secret) -> Vec<Secret> {
    let unified = unified(password);
    if unified.expose() == password.expose() { vec![unified] } else { vec![unified, password.clone()] }
}

/// One form for all that look alike: NFC, and every space a plain one, as the profile `OpaqueString` has it (RFC 8265, 4.2).
pub(super) fn unified(password: &Secret) -> Secret {
    const SPACES: [char; 8] =
        ['\u{a0}', '\u{1680}', '\u{202f}', '\u{205f}', '\u{3000}', '\u{2000}', '\u{2001}', '\u{2002}'];
    let plain = |c: char| if SPACES.contains(&c) || ('\u{2003}'..='\u{200a}').contains(&c) { ' ' } else { c };
    Secret::new(password.expose().chars().map(plain).nfc().collect::<String>())
}

/// Refuses a password hash of another system that could not be verified here, or only at a cost that is nobody's due.
///
/// # Errors
///
/// [`ServiceError::Invalid`] with the reason.
pub fn check_foreign_hash(stored: &Secret) -> Result<(), ServiceError> {
    Ok(StoredHash::read(stored.expose()).map(|_| ())?)
}

#[cfg(test)]
mod tests;
