//! Counts of sign-ins through providers, which the control plane makes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::words::words;

words! {
    /// What came of a sign-in through a provider.
    ProviderSignIn {
        /// The browser was sent to the provider.
        Begun = "begun",
        /// Somebody has a session.
        SignedIn = "success",
        /// The identity was linked to a user.
        Linked = "linked",
        /// What came back belongs to no sign-in that the browser had under way.
        Stale = "stale",
        /// The provider, or the person there, said no.
        Denied = "denied",
        /// The claims or the account here do not let them in.
        Refused = "refused",
        /// What came back is not what was asked for.
        Unverified = "unverified",
        /// The settings here and those at the provider do not agree.
        Misconfigured = "misconfigured",
        /// The provider cannot be reached, or does not answer properly.
        Unavailable = "unavailable",
        /// The gateway could not: too much at once, or its store does not answer.
        Failed = "failed",
    }
}

type Counts = BTreeMap<(String, ProviderSignIn), u64>;

/// What came of sign-ins, by the provider's name in the settings. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct SignInCounts(Arc<Mutex<Counts>>);

impl SignInCounts {
    /// Shows a provider before anybody has signed in with it.
    pub fn know(&self, provider: &str) {
        let mut counts = self.lock();
        for outcome in ProviderSignIn::ALL.iter().copied() {
            counts.entry((provider.to_owned(), outcome)).or_default();
        }
    }

    /// Counts one more of a provider that is known.
    pub fn count(&self, provider: &str, outcome: ProviderSignIn) {
        if let Some(count) = self.lock().get_mut(&(provider.to_owned(), outcome)) {
            *count += 1;
        }
    }

    /// All of them, by provider and outcome.
    pub fn all(&self) -> BTreeMap<(String, ProviderSignIn), u64> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
