//! Passwords: slow hashing in a bounded blocking pool, and the same cost for users who do not exist.

use std::fmt;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use argon2::Algorithm;
use argon2::Argon2;
use argon2::Params;
use argon2::Version;
use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::ServiceError;
pub use super::password_rules::check_new_password;
use crate::model::secret::Secret;

/// KiB of one computation, as OWASP's password storage advice has it.
const MEMORY: u32 = 19_456;
/// Passes over that memory.
const PASSES: u32 = 2;
/// Lanes.
const LANES: u32 = 1;
/// The version that `v=19` in a stored hash stands for (RFC 9106).
const VERSION: u32 = 0x13;

/// More than these and a stored hash is refused: it would be a lever on our memory and time.
const MOST_MEMORY: u32 = 1024 * 1024;
const MOST_PASSES: u32 = 20;
const MOST_LANES: u32 = 16;

/// Computations that may wait for a free core.
const QUEUE: usize = 64;
/// How long one waits at most.
const QUEUE_WAIT: Duration = Duration::from_secs(2);
/// Longer input is never a password: it is not hashed, only answered in the usual time.
const LONGEST: usize = 1024;

/// Hashes and verifies passwords with argon2id, one core less than there are at a time.
///
/// Clones share the bound. What does not fit into the queue is answered [`ServiceError::Busy`].
#[derive(Clone)]
pub struct Passwords {
    cores: Arc<Semaphore>,
    seats: Arc<Semaphore>,
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
            seats: Arc::new(Semaphore::new(cores + queue)),
            #[cfg(test)]
            computed: Arc::default(),
        }
    }

    /// The hash of a password in PHC form, with a fresh salt.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] if the queue is full.
    pub async fn hash(&self, password: Secret) -> Result<String, ServiceError> {
        self.run(move || hasher().hash_password(password.expose().as_bytes()).map(|hash| hash.to_string()))
            .await?
            .map_err(|error| ServiceError::Unavailable(Box::new(error)))
    }

    /// Whether `password` is the one behind `stored`.
    ///
    /// Takes argon2id, argon2i and argon2d in PHC form with any sane parameters. A hash that cannot be read or
    /// exceeds the bounds never verifies, and costs what an unknown user costs.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] if the queue is full.
    pub async fn verify(&self, password: Secret, stored: &str) -> Result<bool, ServiceError> {
        match readable(stored) {
            Some(hash) if password.expose().len() <= LONGEST => {
                self.run(move || hasher().verify_password(password.expose().as_bytes(), &hash).is_ok()).await
            }
            _ => self.verify_nobody(password).await,
        }
    }

    /// Always false, after the work of a real verification.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] if the queue is full.
    pub async fn verify_nobody(&self, password: Secret) -> Result<bool, ServiceError> {
        self.run(move || {
            let password = password.expose().as_bytes();
            let some = password.get(..LONGEST).unwrap_or(password);
            let _same_cost = hasher().hash_password_with_salt(some, b"nobody's own salt");
            false
        })
        .await
    }

    /// Whether a hash that just verified should be replaced by one with today's parameters.
    pub fn needs_rehash(stored: &str) -> bool {
        PasswordHash::new(stored).is_ok_and(|hash| {
            let parameter = |name: &str| hash.params.get_decimal(name);
            hash.algorithm.as_str() != Algorithm::Argon2id.as_str()
                || hash.version != Some(VERSION)
                || [("m", MEMORY), ("t", PASSES), ("p", LANES)]
                    .iter()
                    .any(|(name, wanted)| parameter(name) != Some(*wanted))
        })
    }

    /// Runs one computation off the async threads. The permits travel with it, so a caller who hangs up
    /// does not make room before the work is really over.
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let busy = || ServiceError::Busy { retry_after: QUEUE_WAIT };
        let seat = Arc::clone(&self.seats).try_acquire_owned().map_err(|_| busy())?;
        let core = timeout(QUEUE_WAIT, Arc::clone(&self.cores).acquire_owned())
            .await
            .map_err(|_| busy())?
            .map_err(|_| busy())?;
        #[cfg(test)]
        self.computed.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
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
        self.computed.load(std::sync::atomic::Ordering::SeqCst)
    }
}

fn hasher() -> Argon2<'static> {
    let params = Params::new(MEMORY, PASSES, LANES, None).unwrap_or(Params::DEFAULT);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// A stored hash within bounds. One without a version is from before there were versions.
fn readable(stored: &str) -> Option<PasswordHash> {
    let mut hash = PasswordHash::new(stored).ok()?;
    let within = |name: &str, most: u32| hash.params.get_decimal(name).is_some_and(|value| value <= most);
    let sane = within("m", MOST_MEMORY) && within("t", MOST_PASSES) && within("p", MOST_LANES);
    Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    Params::try_from(&hash).ok()?;
    hash.version = hash.version.or(Some(0x10));
    (sane && hash.salt.is_some() && hash.hash.is_some()).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    /// T09: a stored hash that costs too little.
    #[tokio::test]
    async fn only_the_same_password_verifies() {
        let passwords = Passwords::new();
        let stored = passwords.hash(secret("correct horse battery")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(passwords.verify(secret("correct horse battery"), &stored).await.unwrap());
        for wrong in ["", "correct horse batterz", "correct horse battery ", "Correct horse battery"] {
            assert!(!passwords.verify(secret(wrong), &stored).await.unwrap(), "{wrong:?}");
        }
        assert!(!Passwords::needs_rehash(&stored));
    }

    #[tokio::test]
    async fn two_hashes_of_one_password_differ() {
        let passwords = Passwords::new();
        let one = passwords.hash(secret("correct horse battery")).await.unwrap();
        assert_ne!(one, passwords.hash(secret("correct horse battery")).await.unwrap());
    }

    #[tokio::test]
    async fn older_argon2_hashes_verify_and_ask_to_be_replaced() {
        let passwords = Passwords::new();
        for (algorithm, version) in [
            (Algorithm::Argon2id, Version::V0x13),
            (Algorithm::Argon2i, Version::V0x13),
            (Algorithm::Argon2i, Version::V0x10),
        ] {
            let params = Params::new(1024, 3, 4, None).unwrap();
            let hash = Argon2::new(algorithm, version, params).hash_password(b"a password of old").unwrap();
            let stored = hash.to_string();
            let unversioned = stored.replace("$v=16", "");
            for stored in [stored, unversioned] {
                assert!(passwords.verify(secret("a password of old"), &stored).await.unwrap(), "{stored}");
                assert!(!passwords.verify(secret("another password"), &stored).await.unwrap(), "{stored}");
                assert!(Passwords::needs_rehash(&stored), "{stored}");
            }
        }
    }

    /// L18: a stored hash that would take all memory.
    #[tokio::test]
    async fn monstrous_or_foreign_hashes_are_refused_at_the_usual_cost() {
        let passwords = Passwords::new();
        let tail = "$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";
        for stored in [
            format!("$argon2id$v=19$m=4194304,t=1,p=1{tail}"),
            format!("$argon2id$v=19$m=1024,t=21,p=1{tail}"),
            format!("$argon2id$v=19$m=1024,t=1,p=1000{tail}"),
            format!("$argon2id$v=19$t=1,p=1{tail}"),
            format!("$scrypt$ln=17,r=8,p=1{tail}"),
            "$argon2id$v=19$m=1024,t=1,p=1".to_owned(),
            String::new(),
            "plain text".to_owned(),
        ] {
            assert!(readable(&stored).is_none(), "{stored}");
            let before = passwords.computed();
            assert!(!passwords.verify(secret("whatever"), &stored).await.unwrap(), "{stored}");
            assert_eq!(passwords.computed(), before + 1);
        }
    }

    #[tokio::test]
    async fn nobody_never_verifies() {
        let passwords = Passwords::new();
        assert!(!passwords.verify_nobody(secret("")).await.unwrap());
        assert!(!passwords.verify_nobody(secret(&"x".repeat(100_000))).await.unwrap());
        assert_eq!(passwords.computed(), 2);
    }

    #[tokio::test]
    async fn what_does_not_fit_into_the_queue_is_told_to_come_back() {
        let passwords = Passwords::with_limits(1, 1);
        let attempts = (0..6).map(|_| passwords.verify_nobody(secret("x")));
        let answers = futures_util::future::join_all(attempts).await;
        let busy = answers.iter().filter(|answer| matches!(answer, Err(ServiceError::Busy { .. }))).count();
        assert_eq!((busy, passwords.computed()), (4, 2));
        assert!(passwords.verify_nobody(secret("x")).await.is_ok(), "room again afterwards");
    }
}
