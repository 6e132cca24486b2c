//! Concurrency limits for our own pages, which query the store and hash passwords: each client has a fair share, and a user
//! of a known device does not wait because of unknown ones.

use std::time::Duration;

use http::Method;

use super::read_ahead::{BufferQuota, QuotaKey};
use super::web::{DeviceRecognition, Page};
use crate::model::principal::Client;
use crate::service::ServiceError;
use crate::service::concurrency_limiter::{ConcurrencyLimiter, ConcurrencyLimits, LimiterGuard};

/// A sign-in from an unknown device costs a computation of many milliseconds and some writes; a crowd of them must not take all
/// connections to the store.
const UNKNOWN: ConcurrencyLimits = ConcurrencyLimits {
    running_per_key: 2,
    admitted_per_key: 24,
    work: 12,
    inside: 128,
    wait: Duration::from_secs(3),
};
/// What unknown devices and people who come to another of our hosts need alike, and what is only shown: it is cheap.
const LIGHT: ConcurrencyLimits = ConcurrencyLimits {
    running_per_key: 4,
    admitted_per_key: 96,
    work: 12,
    inside: 4096,
    wait: Duration::from_secs(3),
};
/// Cookies of sessions, which may have ended: one person can gather many. An office may be behind one address.
const SESSIONS: ConcurrencyLimits = ConcurrencyLimits {
    running_per_key: 8,
    admitted_per_key: 96,
    work: 24,
    inside: 512,
    wait: Duration::from_secs(3),
};
/// Each person, from however many addresses.
const PEOPLE: ConcurrencyLimits = ConcurrencyLimits {
    running_per_key: 4,
    admitted_per_key: 64,
    work: 24,
    inside: 4096,
    wait: Duration::from_secs(3),
};
/// Sign-ins at providers, which mostly wait: for the provider's answer, for some seconds if it is slow. They hold memory and no
/// place of any other page; how many wait for one provider is bounded where it is called.
const AT_PROVIDERS: ConcurrencyLimits = ConcurrencyLimits {
    running_per_key: 16,
    admitted_per_key: 96,
    work: 1024,
    inside: 4096,
    wait: Duration::from_secs(3),
};

/// Admits page requests. Clones share the limits.
#[derive(Clone, Debug)]
pub struct PageLimiter {
    unknown: PageQueue,
    light: PageQueue,
    sessions: PageQueue,
    people: PageQueue,
    /// Of unknown devices, and of known ones.
    at_providers: [PageQueue; 2],
}

/// One of the queues, which share nothing.
#[derive(Clone, Debug)]
struct PageQueue {
    limiter: ConcurrencyLimiter<PageShare>,
    forms: BufferQuota,
}

impl PageQueue {
    fn new(bounds: ConcurrencyLimits) -> Self {
        Self { limiter: ConcurrencyLimiter::new(bounds), forms: BufferQuota::default() }
    }
}

/// Whose share of a queue: a client's or person's, and of those who wait for a provider one for each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PageShare {
    whose: QuotaKey,
    provider: Option<Box<str>>,
}

/// The queue and share of one page request.
#[derive(Debug)]
pub struct PageQueueEntry<'t> {
    queue: &'t PageQueue,
    share: PageShare,
}

impl Default for PageLimiter {
    fn default() -> Self {
        let [unknown, light, sessions, people] = [UNKNOWN, LIGHT, SESSIONS, PEOPLE].map(PageQueue::new);
        Self { unknown, light, sessions, people, at_providers: [AT_PROVIDERS; 2].map(PageQueue::new) }
    }
}

impl PageLimiter {
    /// The queue for a device, at this client (IPv6: one /64), and a page by a method; `provider` is the one that the page is of,
    /// by the name in the settings.
    pub fn entry(
        &self,
        recognition: &DeviceRecognition,
        client: Client,
        page: Option<Page>,
        method: &Method,
        provider: Option<&str>,
    ) -> PageQueueEntry<'_> {
        let by_client = || QuotaKey::of_client(client.address.nearest());
        // Without a session there is hardly anything to show but the form to sign in, and only forms have anything hashed.
        let is_light = page.is_none_or(Page::is_light) || method != Method::POST;
        let (queue, known, whose) = match recognition {
            DeviceRecognition::Unknown if is_light => (&self.light, false, by_client()),
            DeviceRecognition::Unknown => (&self.unknown, false, by_client()),
            DeviceRecognition::Session => (&self.sessions, true, by_client()),
            DeviceRecognition::Person(id) => (&self.people, true, QuotaKey::Account(id.0.as_str().into())),
        };
        if page.is_some_and(Page::waits_for_provider) {
            let [unknown_at_providers, known_at_providers] = &self.at_providers;
            let queue = if known { known_at_providers } else { unknown_at_providers };
            return PageQueueEntry { queue, share: PageShare { whose, provider: provider.map(Into::into) } };
        }
        PageQueueEntry { queue, share: PageShare { whose, provider: None } }
    }

    /// Bytes of the forms that are being read.
    pub fn held(&self) -> usize {
        let others = [&self.unknown, &self.light, &self.sessions, &self.people];
        others.into_iter().chain(&self.at_providers).map(|queue| queue.forms.held()).sum()
    }
}

impl<'t> PageQueueEntry<'t> {
    /// Where a form counts while it is read, and for whom.
    pub fn forms(&self) -> (&'t BufferQuota, QuotaKey) {
        (&self.queue.forms, self.share.whose.clone())
    }

    /// Waits until the page may run.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] if it would take too long.
    pub async fn turn(self) -> Result<LimiterGuard<PageShare>, ServiceError> {
        self.queue.limiter.take(self.share).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::principal::ClientAddress;
    use crate::model::user::UserId;

    fn at(number: u8) -> Client {
        Client { address: ClientAddress::at([198, 51, 100, number].into()), secure: false, by_proxy: false }
    }

    fn person(name: &str) -> DeviceRecognition {
        DeviceRecognition::Person(UserId(name.to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn cookies_at_however_many_addresses_take_no_turn_of_other_people() {
        let limiter = PageLimiter::default();
        for crowd in [DeviceRecognition::Unknown, DeviceRecognition::Session, person("vera")] {
            let places = (0..200).flat_map(|number| [number; 30]).map(|number| {
                limiter.entry(&crowd, at(number), Some(Page::Login), &Method::POST, None).turn()
            });
            let held = futures_util::future::join_all(places).await;
            assert!(held.iter().any(Result::is_ok) && held.iter().any(Result::is_err), "{crowd:?}");
            let began = tokio::time::Instant::now();
            assert!(
                limiter
                    .entry(&person("root"), at(1), Some(Page::Login), &Method::POST, None)
                    .turn()
                    .await
                    .is_ok(),
                "{crowd:?}"
            );
            assert_eq!(began.elapsed(), Duration::ZERO, "{crowd:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_who_sign_in_keep_nobody_from_the_form_and_from_going_on_to_another_host() {
        let limiter = PageLimiter::default();
        let stranger = DeviceRecognition::Unknown;
        let crowd = (0..200).map(|number| {
            limiter.entry(&stranger, at(number), Some(Page::Login), &Method::POST, None).turn()
        });
        let held = futures_util::future::join_all(crowd).await;
        assert!(held.iter().any(Result::is_err), "their places are taken");
        let began = tokio::time::Instant::now();
        let get = [Page::Login, Page::Password, Page::Setup].map(|page| (page, Method::GET));
        let post = [Page::Begin, Page::Redeem, Page::Style].map(|page| (page, Method::POST));
        for (page, method) in get.into_iter().chain(post) {
            let entry = limiter.entry(&stranger, at(201), Some(page), &method, None);
            assert!(entry.turn().await.is_ok(), "{method} {page:?}");
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        let login = limiter.entry(&stranger, at(201), Some(Page::Login), &Method::POST, None).turn().await;
        assert!(login.is_err(), "as everybody else's sign-in");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_slow_provider_takes_no_place_of_any_other_page() {
        let limiter = PageLimiter::default();
        for crowd in [DeviceRecognition::Unknown, DeviceRecognition::Session, person("vera")] {
            let waiting = (0..200).flat_map(|number| [number; 8]).map(|number| {
                limiter.entry(&crowd, at(number), Some(Page::CompleteSignIn), &Method::GET, None).turn()
            });
            let held = futures_util::future::join_all(waiting).await;
            assert!(held.iter().any(Result::is_err), "{crowd:?}: they are bounded");
            let began = tokio::time::Instant::now();
            for page in [Page::Login, Page::Account, Page::Redeem, Page::Style] {
                assert!(
                    limiter.entry(&crowd, at(1), Some(page), &Method::POST, None).turn().await.is_ok(),
                    "{crowd:?} {page:?}"
                );
            }
            assert_eq!(began.elapsed(), Duration::ZERO, "{crowd:?}");
        }
        let held: Vec<_> = (0..16)
            .map(|_| {
                limiter.entry(
                    &DeviceRecognition::Unknown,
                    at(1),
                    Some(Page::BeginSignIn),
                    &Method::GET,
                    Some("slow"),
                )
            })
            .map(PageQueueEntry::turn)
            .collect();
        let held = futures_util::future::join_all(held).await;
        assert!(held.iter().all(Result::is_ok));
        for (provider, expected) in [("slow", false), ("quick", true)] {
            let entry = limiter.entry(
                &DeviceRecognition::Unknown,
                at(1),
                Some(Page::BeginSignIn),
                &Method::GET,
                Some(provider),
            );
            assert_eq!(entry.turn().await.is_ok(), expected, "{provider}: each has a share of its own");
        }
    }

    #[test]
    fn forms_of_others_take_no_room_of_those_who_are_known() {
        let limiter = PageLimiter::default();
        let kinds = [DeviceRecognition::Unknown, DeviceRecognition::Session, person("vera")];
        let rooms = kinds
            .each_ref()
            .map(|kind| limiter.entry(kind, at(1), Some(Page::Login), &Method::POST, None).forms());
        assert_eq!(rooms[0].1, rooms[1].1);
        assert_eq!(rooms[2].1, QuotaKey::Account("vera".into()), "wherever she is");
        for (number, (room, _)) in rooms.iter().enumerate() {
            assert!(!rooms[..number].iter().any(|(other, _)| std::ptr::eq(*other, *room)));
        }
    }
}
