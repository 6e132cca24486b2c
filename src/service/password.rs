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
pub use super::password_rules::check_new_password;
use super::stored_hash::StoredHash;
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

/// Computations that may wait for a free core.
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

/// Hashes and verifies passwords with argon2id, one core less than there are at a time.
///
/// Clones share the bound. What does not fit into the queue is answered [`ServiceError::Busy`].
#[derive(Clone)]
pub struct Passwords {
    cores: Arc<Semaphore>,
    seats: Arc<Semaphore>,
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
            seats: Arc::new(Semaphore::new(cores + queue)),
            foreign: Arc::default(),
            #[cfg(test)]
            computed: Arc::default(),
        }
    }

    /// The hash of a password in PHC form, with a fresh salt. Unicode forms of one password have one hash.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] if the queue is full.
    pub async fn hash(&self, password: Secret) -> Result<String, ServiceError> {
        let password = unified(&password);
        self.run(move || hasher().hash_password(password.expose().as_bytes()).map(|hash| hash.to_string()))
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
    pub async fn verify(&self, password: Secret, stored: &str) -> Result<Verdict, ServiceError> {
        let length = password.expose().len();
        match StoredHash::read(stored) {
            Ok(stored) if (1..=LONGEST).contains(&length) => self.verify_against(password, stored).await,
            _ => self.verify_nobody(password).await,
        }
    }

    async fn verify_against(&self, password: Secret, stored: StoredHash) -> Result<Verdict, ServiceError> {
        let forms = forms(&password);
        let (count, foreign) = (forms.len(), stored.is_foreign());
        let (verdict, took) = self
            .run(move || {
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
    pub async fn verify_nobody(&self, password: Secret) -> Result<Verdict, ServiceError> {
        let forms = if password.expose().len() > LONGEST { vec![Secret::new("")] } else { forms(&password) };
        let count = forms.len();
        self.run(move || forms.iter().for_each(hash_for_nobody)).await?;
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
        let leaked = self.run(move || list.contains(password.expose())).await?;
        if leaked.map_err(|error| ServiceError::Unavailable(Box::new(error)))? {
            return Err(ServiceError::invalid("password", "stands in a list of leaked ones: choose another"));
        }
        Ok(())
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
        assert_eq!(passwords.verify(secret("correct horse battery"), &stored).await.unwrap(), Verdict::Right);
        for wrong in ["", "correct horse batterz", "correct horse battery ", "Correct horse battery"] {
            assert_eq!(passwords.verify(secret(wrong), &stored).await.unwrap(), Verdict::Wrong, "{wrong:?}");
        }
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
                let right = passwords.verify(secret("a password of old"), &stored).await.unwrap();
                assert_eq!(right, Verdict::Outdated, "{stored}");
                let wrong = passwords.verify(secret("another password"), &stored).await.unwrap();
                assert_eq!(wrong, Verdict::Wrong, "{stored}");
            }
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_and_the_empty_password_are_refused_at_the_usual_cost() {
        let passwords = Passwords::new();
        let empty = "$2y$04$70jlLwa1cRDGLUVyMqeiWOgmQivgZA7z.pFKrw60gtTSOD2VMS8qa";
        let tail = "$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";
        for (stored, password) in [
            (format!("$argon2id$v=19$m=4194304,t=1,p=1{tail}").as_str(), "whatever"),
            ("", "whatever"),
            ("plain text", "plain text"),
            (empty, ""),
        ] {
            let before = passwords.computed();
            let verdict = passwords.verify(secret(password), stored).await.unwrap();
            assert_eq!(verdict, Verdict::Wrong, "{stored}");
            assert_eq!(passwords.computed(), before + 1);
        }
        let read = StoredHash::read(empty).ok().unwrap();
        assert!(read.verifies(b""), "or else it shows nothing");
    }

    #[tokio::test]
    async fn nobody_never_verifies() {
        let passwords = Passwords::new();
        for nothing in [String::new(), "x".repeat(100_000)] {
            let verdict = passwords.verify_nobody(secret(&nothing)).await.unwrap();
            assert_eq!(verdict, Verdict::Wrong);
        }
        assert_eq!(passwords.computed(), 2);
    }

    #[tokio::test]
    async fn forms_of_one_password_agree_and_hashes_made_before_still_verify() {
        let passwords = Passwords::new();
        let (composed, decomposed) = ("Zo\u{eb} kept a s\u{e9}cret", "Zoe\u{308} kept\u{a0}a se\u{301}cret");
        let stored = passwords.hash(secret(decomposed)).await.unwrap();
        for form in [composed, decomposed] {
            assert_eq!(passwords.verify(secret(form), &stored).await.unwrap(), Verdict::Right, "{form}");
        }
        for wrong in ["Zoe kept a secret", "ZO\u{cb} KEPT A S\u{c9}CRET", "Zo\u{eb}kept a s\u{e9}cret"] {
            assert_eq!(passwords.verify(secret(wrong), &stored).await.unwrap(), Verdict::Wrong, "{wrong}");
        }
        // As it was hashed before there was one form.
        let before = hasher().hash_password(decomposed.as_bytes()).unwrap().to_string();
        assert_eq!(passwords.verify(secret(decomposed), &before).await.unwrap(), Verdict::Outdated);
        assert_eq!(passwords.verify(secret(composed), &before).await.unwrap(), Verdict::Wrong);
        // Werkzeug 3, of the decomposed form with plain spaces.
        let theirs = "scrypt:16384:8:1$Nzu2lDHEzWZ78UjF$16476f7b628c695086591af93fa5981d85f22a06ff5f1dd233224ff529491c96d85ec55b61c47041d11f26a61f97aee6bb1cd743032aac83c438a157fdd027ab";
        let typed = "Zoe\u{308} kept a se\u{301}cret";
        assert_eq!(passwords.verify(secret(typed), theirs).await.unwrap(), Verdict::Outdated);
    }

    #[tokio::test]
    async fn the_time_of_an_answer_does_not_tell_whose_hash_another_system_made() {
        let passwords = Passwords::new();
        let ours = passwords.hash(secret("correct horse battery")).await.unwrap();
        let theirs = "$2y$10$jPnWU1yFaYZJ134suIKZguIWniaU5ej89nrkJe4AwIwGj3aUvCiSG";
        assert_eq!(
            passwords.verify(secret("correct horse battery"), theirs).await.unwrap(),
            Verdict::Outdated
        );
        // The quickest of several: other work on the machine only ever makes one slower.
        let quickest = async |stored: Option<&str>| {
            let mut best = Duration::MAX;
            for _ in 0..7 {
                let begun = Instant::now();
                let verdict = match stored {
                    Some(stored) => passwords.verify(secret("wrong"), stored).await,
                    None => passwords.verify_nobody(secret("wrong")).await,
                };
                assert_eq!(verdict.unwrap(), Verdict::Wrong);
                best = best.min(begun.elapsed());
            }
            best
        };
        let foreign = quickest(Some(theirs)).await;
        for (whose, quick) in [("ours", quickest(Some(&ours)).await), ("nobody", quickest(None).await)] {
            assert!(quick > foreign * 3 / 4, "{whose}: {quick:?} against {foreign:?}");
        }
    }

    #[tokio::test]
    async fn a_password_that_bcrypt_has_cut_is_not_pinned_to_what_was_typed() {
        let passwords = Passwords::new();
        let stored = "$2y$04$1xZUWZ5j0wkzIDJmoA96zuIsgpgsoQHaI4qgY.E3Z7Y/sRd433Bde";
        let long = "0123456789".repeat(8);
        for (typed, verdict) in
            [(long.as_str(), Verdict::Right), (&long[..72], Verdict::Outdated), (&long[..71], Verdict::Wrong)]
        {
            assert_eq!(passwords.verify(secret(typed), stored).await.unwrap(), verdict, "{typed}");
        }
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
