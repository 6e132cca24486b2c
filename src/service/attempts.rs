//! Password attempts: counted before the check and throttled after failures, the same for every name.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ServiceError;
use super::password::PasswordPriority;
use super::password::Passwords;
use super::password::Verification;
use crate::model::audit::Actor;
use crate::model::audit::Note;
use crate::model::audit::Party;
use crate::model::audit::{Event, Reason};
use crate::model::network::throttle_bucket;
use crate::model::secret::Secret;
use crate::model::time::Clock;
use crate::model::token::TokenDigest;
use crate::model::user::User;
use crate::model::user::name_key;
use crate::store::Attempted;
use crate::store::Bucket;
use crate::store::Store;

/// The longest window of all buckets; failures older than this count nowhere.
pub(super) const LONGEST_WINDOW: Duration = Duration::from_hours(1);

/// What is known of the client that tries a password.
#[derive(Clone, Copy, Debug)]
pub(super) enum AttemptOrigin<'a> {
    /// Nothing but the address.
    Unknown,
    /// A device on which this user has signed in before, by its id.
    Device(&'a str),
    /// A session of this user, by its id.
    Session(&'a str),
}

/// Whose password is tried, from where.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    /// What was typed.
    pub(super) name: &'a str,
    /// Who that is, with the stored hash, if anybody.
    pub(super) found: Option<&'a (User, Option<String>)>,
    /// A hash that what is tried costs as much as, where there is none to try it against.
    pub(super) decoy: Option<&'a str>,
    /// The client's address.
    pub(super) client: IpAddr,
    /// What is known of the client.
    pub(super) origin: AttemptOrigin<'a>,
    /// What it is tried for, as the trail says it.
    pub(super) event: Event,
}

impl Attempt<'_> {
    /// Why a password that was looked at was not accepted.
    fn reason(&self) -> Reason {
        match self.found {
            None => Reason::Unknown,
            Some((user, _)) if user.disabled => Reason::Disabled,
            Some((_, None)) => Reason::NoPassword,
            Some((_, Some(_))) => Reason::WrongPassword,
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

    /// Whether the password is that of an enabled user; the hash that is stored for it from now on.
    ///
    /// For every name, known or not, the path and its cost are the same: one count, one computation, and if it is refused
    /// one note for the trail. While notes of before cannot be written there is no answer but that.
    pub(super) async fn check(
        &self,
        by: &Actor,
        attempt: &Attempt<'_>,
        password: Secret,
    ) -> Result<String, ServiceError> {
        let outcome = self.try_one(by, attempt, password).await;
        let reason = match &outcome {
            Ok(_) | Err(ServiceError::Unavailable(_)) => return outcome,
            Err(ServiceError::Throttled { .. }) => Reason::Throttled,
            Err(ServiceError::Busy { .. }) => Reason::Busy,
            Err(_) => attempt.reason(),
        };
        self.note_failure(by, attempt, reason)?;
        outcome
    }

    /// Notes for the trail that an attempt came to nothing. Nothing is written before the answer.
    pub(super) fn note_failure(
        &self,
        by: &Actor,
        attempt: &Attempt<'_>,
        reason: Reason,
    ) -> Result<(), ServiceError> {
        let mut note = Note::failed(attempt.event, reason);
        note.target = attempt.found.map(|(user, _)| Party::from(user));
        note.client = Some(attempt.client.to_canonical().to_string());
        let network = throttle_bucket(attempt.client).to_string();
        // An unknown name may be a password in the wrong field: nothing of it is kept but a digest, for a minute.
        Ok(self.store.by(by).note_failed_attempt(note, &typed(attempt.name), &network)?)
    }

    async fn try_one(
        &self,
        by: &Actor,
        attempt: &Attempt<'_>,
        password: Secret,
    ) -> Result<String, ServiceError> {
        let buckets = Buckets::of(attempt);
        // Held while a password is looked at.
        let _turn = match &buckets {
            Buckets::Own(_) => None,
            Buckets::Shared([_, name]) => Some(self.passwords.turn_at(&name.name).await?),
        };
        let whose = if matches!(buckets, Buckets::Own(_)) {
            PasswordPriority::Known
        } else {
            PasswordPriority::Unknown
        };
        let counted = match self.store.reserve_attempt(buckets.all(), self.clock.now()).await? {
            Attempted::Counted(counted) => counted,
            Attempted::Closed(retry_after) => return Err(ServiceError::Throttled { retry_after }),
        };
        let usable = match attempt.found {
            Some((user, Some(hash))) if !user.disabled => Some((user, hash)),
            _ => None,
        };
        let verified = match usable {
            Some((_, hash)) => self.passwords.verify(whose, password.clone(), hash).await,
            None => self.passwords.verify_nobody(whose, password.clone(), attempt.decoy).await,
        };
        let verdict = match verified {
            Ok(verdict) => verdict,
            Err(error) => {
                // Nothing was checked, so nothing was guessed.
                self.store.refund_attempts(&counted).await?;
                return Err(error);
            }
        };
        let Some((user, hash)) = usable.filter(|_| verdict != Verification::Wrong) else {
            return Err(ServiceError::Refused);
        };
        match buckets {
            Buckets::Own(_) => self.store.clear_attempts(&counted).await?,
            // Others have failed there too: a success takes back only what it added.
            Buckets::Shared(_) => self.store.refund_attempts(&counted).await?,
        }
        if verdict == Verification::Outdated {
            return self.renew(by, user, hash, password).await;
        }
        Ok(hash.clone())
    }

    /// Replaces a hash that is not as ours are, now that the password is known. Failing that, the old one stays.
    async fn renew(
        &self,
        by: &Actor,
        user: &User,
        hash: &str,
        password: Secret,
    ) -> Result<String, ServiceError> {
        if let Ok(renewed) = self.passwords.hash(password).await
            && self.store.by(by).replace_hash(&user.id, hash, &renewed).await?
        {
            return Ok(renewed);
        }
        Ok(hash.to_owned())
    }
}

/// Where an attempt counts.
enum Buckets {
    /// For this client alone: cleared after a success.
    Own(Bucket),
    /// Shared by all unknown clients.
    Shared([Bucket; 2]),
}

impl Buckets {
    fn of(attempt: &Attempt<'_>) -> Self {
        let minute = Duration::from_mins(1);
        let own = |name: String| Self::Own(bucket(name, 5, 15 * minute, LONGEST_WINDOW));
        match attempt.origin {
            // Whatever unknown clients do to an account, even from the same address, its owner can still try. And a user who has
            // stolen a session or device has its few tries only.
            AttemptOrigin::Session(id) => own(format!("ses:{id}")),
            AttemptOrigin::Device(id) => own(format!("dev:{id}")),
            AttemptOrigin::Unknown => {
                let network = format!("net:{}", throttle_bucket(attempt.client));
                let name = format!("name:{}", typed(attempt.name));
                Self::Shared([
                    // All names together, against attackers who go through many names.
                    bucket(network, 5, minute, 10 * minute),
                    // An account has two names at most: the limit for it is twice this.
                    bucket(name, 25, 2 * minute, LONGEST_WINDOW),
                ])
            }
        }
    }

    fn all(&self) -> &[Bucket] {
        match self {
            Self::Own(own) => std::slice::from_ref(own),
            Self::Shared(shared) => shared,
        }
    }
}

/// The name that was typed, in the form in which names are compared, and nothing that is known of it: what is slowed down
/// depends on what was typed before and on no account, so that it tells neither whether there is one nor which other
/// name it has. It may be a password typed into the wrong field, so only its digest is kept.
fn typed(name: &str) -> String {
    half_of(&TokenDigest::of(&name_key(name)))
}

/// In which line strangers at a name wait for each other.
#[cfg(test)]
pub(super) fn line_of(name: &str) -> String {
    format!("name:{}", typed(name))
}

fn bucket(name: String, free: u32, max_delay: Duration, window: Duration) -> Bucket {
    Bucket { name, free, first_delay: Duration::from_secs(1), max_delay, window }
}

/// The first half of a digest, as text: enough to tell names apart.
fn half_of(digest: &TokenDigest) -> String {
    let half = digest.0.first_chunk().copied().unwrap_or_default();
    format!("{:032x}", u128::from_be_bytes(half))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::testing::ServiceFixture;

    /// What is written, and when, would tell by its time who there is.
    #[tokio::test]
    async fn a_refused_sign_in_writes_no_row_before_its_answer_and_as_many_later_whoever_is_meant() {
        let world = ServiceFixture::new().await;
        world.user_with_password("alice").await;
        let off = world.user_with_password("off").await;
        world.accounts.disable(&world.by, &off.id).await.unwrap();
        world.user("passwordless").await;
        let rows = async || world.store.audit_head().await.unwrap().seq;
        for (at, name) in ["alice", "alice@example.org", "off", "passwordless", "nobody"].iter().enumerate() {
            let (before, client) = (rows().await, format!("192.0.2.{at}"));
            let mut throttled = 0;
            for _ in 0..8 {
                let refused = world.sign_in(name, "wrong", &client, None).await.unwrap_err();
                throttled += usize::from(matches!(refused, ServiceError::Throttled { .. }));
                assert_eq!(rows().await, before, "{name}: {refused}");
            }
            assert!((1..8).contains(&throttled), "{name}: {throttled}");
            world.store.flush_failed_attempts(false).await.unwrap();
            assert_eq!(rows().await, before + 2, "{name}: one for each answer");
            world.store.flush_failed_attempts(true).await.unwrap();
            assert_eq!(rows().await, before + 4, "{name}: and one for what was counted");
        }
    }
}
