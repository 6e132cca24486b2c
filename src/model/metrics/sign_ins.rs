//! Counts of what comes of sign-ins through providers and of the sessions after them, which the control plane makes.

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

    /// What came of refreshing a session.
    ProviderRefresh {
        /// The session goes on, with the rights that the provider tells now.
        Done = "success",
        /// The provider has ended it.
        Ended = "ended",
        /// The claims or the account do not let them be here any more.
        Refused = "refused",
        /// What came back is not believed.
        Unverified = "unverified",
        /// The provider is down; the session goes on for now.
        Unavailable = "unavailable",
        /// The provider was down for too long, and the session has ended.
        GivenUp = "given-up",
        /// The session has ended otherwise meanwhile.
        Superseded = "superseded",
        /// The store does not answer.
        Failed = "failed",
    }

    /// What came of a logout token.
    ProviderLogout {
        /// The sessions that it names have ended, if there were any.
        Done = "success",
        /// It is none, or none for us.
        Refused = "refused",
        /// It came before.
        Replayed = "replayed",
        /// It cannot be verified, as the provider is down.
        Unavailable = "unavailable",
        /// The gateway could not: too much at once, or its store does not answer.
        Failed = "failed",
    }
}

/// All that is counted of providers. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct ProviderCounts {
    /// Sign-ins.
    pub sign_ins: OutcomeCounts<ProviderSignIn>,
    /// Refreshes.
    pub refreshes: OutcomeCounts<ProviderRefresh>,
    /// Logout tokens.
    pub logouts: OutcomeCounts<ProviderLogout>,
}

impl ProviderCounts {
    /// Shows a provider before anybody has signed in with it.
    pub fn know(&self, provider: &str) {
        self.sign_ins.know(provider, ProviderSignIn::ALL);
        self.refreshes.know(provider, ProviderRefresh::ALL);
        self.logouts.know(provider, ProviderLogout::ALL);
    }
}

/// What came of something, by the provider's name in the settings.
#[derive(Debug)]
pub struct OutcomeCounts<O>(Arc<Mutex<BTreeMap<(String, O), u64>>>);

impl<O> Clone for OutcomeCounts<O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<O> Default for OutcomeCounts<O> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<O: Copy + Ord> OutcomeCounts<O> {
    fn know(&self, provider: &str, all: &[O]) {
        let mut counts = self.lock();
        for outcome in all {
            counts.entry((provider.to_owned(), *outcome)).or_default();
        }
    }

    /// Counts one more of a provider that is known.
    pub fn count(&self, provider: &str, outcome: O) {
        if let Some(count) = self.lock().get_mut(&(provider.to_owned(), outcome)) {
            *count += 1;
        }
    }

    /// All of them, by provider and outcome.
    pub fn all(&self) -> BTreeMap<(String, O), u64> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, O), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
