//! Every check of a password: counted before it is made, slower after failures, alike for whoever is meant.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ServiceError;
use super::password::Passwords;
use super::password::Verdict;
use crate::model::audit::Actor;
use crate::model::audit::Event;
use crate::model::audit::Note;
use crate::model::audit::Party;
use crate::model::network::throttle_bucket;
use crate::model::secret::Secret;
use crate::model::time::Clock;
use crate::model::token::TokenDigest;
use crate::model::user::User;
use crate::model::user::name_key;
use crate::store::Bucket;
use crate::store::Store;

/// The longest window of all buckets; failures older than this count nowhere.
pub(super) const LONGEST_WINDOW: Duration = Duration::from_hours(1);

/// Whose password is tried, from where.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    /// What was typed.
    pub(super) name: &'a str,
    /// Who that is, with the stored hash, if anybody.
    pub(super) found: Option<&'a (User, Option<String>)>,
    /// The client's address.
    pub(super) client: IpAddr,
    /// The id of a device on which this user has signed in before.
    pub(super) device: Option<&'a str>,
    /// What it is tried for, as the trail says it.
    pub(super) event: Event,
}

impl Attempt<'_> {
    /// Why a password that was looked at was not accepted.
    fn reason(&self) -> &'static str {
        match self.found {
            None => "unknown",
            Some((user, _)) if user.disabled => "disabled",
            Some((_, None)) => "no-password",
            Some((_, Some(_))) => "wrong-password",
        }
    }
}

/// Checks passwords under the throttle that all gateways share.
#[derive(Clone, Debug)]
pub(super) struct Attempts {
    store: Store,
    passwords: Passwords,
    clock: Arc<dyn Clock>,
}

impl Attempts {
    pub(super) fn new(store: Store, passwords: Passwords, clock: Arc<dyn Clock>) -> Self {
        Self { store, passwords, clock }
    }

    pub(super) fn by(&self, actor: &Actor) -> Self {
        Self { store: self.store.by(actor), ..self.clone() }
    }

    /// Whether the password is that of an enabled user; the hash that is stored for it from now on.
    ///
    /// Whoever is meant, known or not, the path and its cost are the same: one count, one computation, one
    /// row of the trail if it is refused. A refusal of which none can be written is no answer at all.
    pub(super) async fn check(
        &self,
        attempt: &Attempt<'_>,
        password: Secret,
    ) -> Result<String, ServiceError> {
        let outcome = self.try_one(attempt, password).await;
        let reason = match &outcome {
            Ok(_) | Err(ServiceError::Unavailable(_)) => return outcome,
            Err(ServiceError::Throttled { .. }) => "throttled",
            Err(ServiceError::Busy { .. }) => "busy",
            Err(_) => attempt.reason(),
        };
        self.note_failure(attempt, reason).await?;
        outcome
    }

    async fn note_failure(&self, attempt: &Attempt<'_>, reason: &str) -> Result<(), ServiceError> {
        let mut note = Note::failed(attempt.event, reason);
        note.target = attempt.found.map(|(user, _)| Party::from(user));
        note.client = Some(attempt.client.to_canonical().to_string());
        // A name that is nobody's may be a password in the wrong field: nothing of it is kept.
        let account = attempt.found.map_or("nobody", |(user, _)| user.id.0.as_str());
        let source = format!("{account}@{} {reason}", throttle_bucket(attempt.client));
        Ok(self.store.record_repeatable(note, &source).await?)
    }

    async fn try_one(&self, attempt: &Attempt<'_>, password: Secret) -> Result<String, ServiceError> {
        let buckets = Buckets::of(attempt);
        if let Some(retry_after) = self.store.reserve_attempt(&buckets.all(), self.clock.now()).await? {
            return Err(ServiceError::Throttled { retry_after });
        }
        let usable = match attempt.found {
            Some((user, Some(hash))) if !user.disabled => Some((user, hash)),
            _ => None,
        };
        let verified = match usable {
            Some((_, hash)) => self.passwords.verify(password.clone(), hash).await,
            None => self.passwords.verify_nobody(password.clone()).await,
        };
        let verdict = match verified {
            Ok(verdict) => verdict,
            Err(error) => {
                // Nothing was checked, so nothing was guessed.
                self.store.refund_attempts(&buckets.names()).await?;
                return Err(error);
            }
        };
        let Some((user, hash)) = usable.filter(|_| verdict != Verdict::Wrong) else {
            return Err(ServiceError::Refused);
        };
        self.store.clear_attempts(&[buckets.own.name]).await?;
        let shared: Vec<String> = buckets.shared.into_iter().map(|bucket| bucket.name).collect();
        self.store.refund_attempts(&shared).await?;
        if verdict == Verdict::Outdated {
            return self.renew(user, hash, password).await;
        }
        Ok(hash.clone())
    }

    /// Replaces a hash that is not as ours are, now that the password is known. Failing that, the old one stays.
    async fn renew(&self, user: &User, hash: &str, password: Secret) -> Result<String, ServiceError> {
        if let Ok(renewed) = self.passwords.hash(password).await
            && self.store.replace_hash(&user.id, hash, &renewed).await?
        {
            return Ok(renewed);
        }
        Ok(hash.to_owned())
    }
}

/// Where an attempt counts.
struct Buckets {
    /// Forgotten after a success: this account from this place.
    own: Bucket,
    /// Also used by others: a success takes back only what it added.
    shared: Vec<Bucket>,
}

impl Buckets {
    fn of(attempt: &Attempt<'_>) -> Self {
        let network = throttle_bucket(attempt.client);
        // Username and address of one user count together. What matches nobody may be a password typed
        // into the wrong field, so only its digest is kept.
        let account = match attempt.found {
            Some((user, _)) => user.id.0.clone(),
            None => half_of(&TokenDigest::of(&name_key(attempt.name))),
        };
        let minute = Duration::from_mins(1);
        let guesses = |name: String| bucket(name, 5, 15 * minute, LONGEST_WINDOW);
        let mut shared = vec![bucket(format!("ip:{network}"), 20, minute, 10 * minute)];
        let own = if let Some(device) = attempt.device {
            // Whatever others do to this account, its owner can still try from a known device.
            guesses(format!("dev:{device}"))
        } else {
            shared.push(bucket(format!("acct:{account}"), 50, minute, LONGEST_WINDOW));
            guesses(format!("acct:{account}@{network}"))
        };
        Self { own, shared }
    }

    fn all(&self) -> Vec<Bucket> {
        self.shared.iter().chain([&self.own]).cloned().collect()
    }

    fn names(&self) -> Vec<String> {
        self.all().into_iter().map(|bucket| bucket.name).collect()
    }
}

fn bucket(name: String, free: u32, max_delay: Duration, window: Duration) -> Bucket {
    Bucket { name, free, first_delay: Duration::from_secs(1), max_delay, window }
}

/// The first half of a digest, as text: enough to tell names apart.
fn half_of(digest: &TokenDigest) -> String {
    let half = digest.0.first_chunk().copied().unwrap_or_default();
    format!("{:032x}", u128::from_be_bytes(half))
}
