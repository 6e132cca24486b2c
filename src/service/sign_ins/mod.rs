//! Sign-ins that are under way at an identity provider: the state between authorization request and response.
//!
//! It is sealed into a cookie of the browser, so that a sign-in that begins costs the store nothing and comes back to the same
//! browser only. The parameter `state` is part of what the seal covers. Each comes back once.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::ServiceError;
use super::identities::ReauthenticationProof;
use super::login::{Browser, Login};
use super::rate_limiter::RateLimiter;
use crate::model::network::throttle_bucket;
use crate::model::seal::SealingKey;
use crate::model::secret::Secret;
use crate::model::time::{Clock, SKEW, Timestamp};
use crate::model::token::{TokenDigest, random_text};
use crate::model::user::UserId;
use crate::model::words::words;
use crate::store::Store;

/// How long a user may take at the provider.
pub const LIFETIME: Duration = Duration::from_mins(10);
/// Characters of a cookie's value; browsers keep 4096 bytes of each (RFC 6265, 6.1), and there may be several.
const LONGEST_COOKIE: usize = 1536;
/// Our states have 43 characters.
const LONGEST_STATE: usize = 64;

/// Makes the parameters of authorization requests, and checks those that come back.
#[derive(Clone, Debug)]
pub struct SignIns {
    store: Store,
    key: SealingKey,
    failures: RateLimiter<SignInSource>,
    clock: Arc<dyn Clock>,
}

/// A provider as the settings have it now.
#[derive(Clone, Copy, Debug)]
pub struct ProviderClient<'a> {
    /// Its name.
    pub name: &'a str,
    /// Who signs its tokens.
    pub issuer: &'a str,
    /// What it calls the gateway.
    pub client_id: &'a str,
}

impl ProviderClient<'_> {
    /// 12 characters that tell one issuer and client from another.
    fn tag(&self) -> String {
        let mut text = TokenDigest::of(&format!("{}\n{}", self.issuer, self.client_id)).to_text();
        text.truncate(12);
        text
    }
}

/// Whose sign-ins that lead to nothing are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SignInSource {
    /// Browsers without a known device, by [`throttle_bucket`].
    Client(IpAddr),
    /// Somebody's known devices.
    Person(UserId),
}

impl SignInSource {
    /// That of a browser. `login` knows devices.
    pub fn of(browser: Browser<'_>, login: &Login) -> Self {
        let owner = browser.device.and_then(|cookie| login.owner_of_device(cookie));
        owner.map_or_else(|| Self::Client(throttle_bucket(browser.client)), Self::Person)
    }
}

/// What a browser brings back.
#[derive(Clone, Copy, Debug)]
pub struct ReturnedSignIn<'a> {
    /// From where.
    pub provider: ProviderClient<'a>,
    /// The parameter `state`.
    pub state: &'a str,
    /// The browser's cookie for it.
    pub cookie: Option<&'a str>,
    /// Whether there is a code that would be spent next. Without one, nothing is used up.
    pub has_code: bool,
    /// Whose it is.
    pub source: &'a SignInSource,
}

/// What a user goes to the provider for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// To sign in.
    #[serde(rename = "s")]
    SignIn,
    /// To link the identity there to the user who is signed in here.
    #[serde(rename = "l")]
    Link(ReauthenticationProof),
}

/// A sign-in that begins: the cookie for the browser, and the parameters for the provider.
#[derive(Debug)]
pub struct AuthorizationRequest {
    /// Value of the cookie, at most 1536 characters of base64url; its name is made of `state`.
    pub cookie: Secret,
    /// The parameter `state` (RFC 6749, 4.1.1).
    pub state: String,
    /// The parameter `nonce` (OpenID Connect Core, 3.1.2.1).
    pub nonce: String,
    /// The parameter `code_challenge`, of the method `S256` (RFC 7636, 4.2).
    pub challenge: String,
}

/// A sign-in that came back to the browser in which it began, for the first time.
#[derive(Debug)]
pub struct PendingSignIn {
    /// The `nonce` that the ID token must have.
    pub nonce: String,
    /// The parameter `code_verifier` of the token request (RFC 7636, 4.5).
    pub verifier: Secret,
    /// What the user wanted.
    pub purpose: Purpose,
    /// The return target as it was given, to be checked again; `None` is the home page.
    pub target: Option<String>,
}

words! {
    /// Why a `state` that comes back is refused.
    InvalidState {
        /// The browser has no cookie for it, or one that was changed: it began in another browser, or not at all.
        NoMatchingCookie = "no-matching-cookie",
        /// It began at another provider, or at another issuer or for another client that had the name.
        OtherProvider = "other-provider",
        /// It is older than ten minutes, or the clock was set back.
        Expired = "expired",
        /// It came back before.
        Replayed = "replayed",
    }
}

/// Why a sign-in cannot be completed.
#[derive(Debug, thiserror::Error)]
pub enum SignInStateError {
    /// The state is refused.
    #[error("the state of the sign-in is refused: {why}")]
    Invalid {
        /// Why.
        why: InvalidState,
        /// The return target as it was given, where the cookie is one of ours.
        target: Option<String>,
    },
    /// [`ServiceError::Throttled`], [`ServiceError::Busy`] or [`ServiceError::Unavailable`].
    #[error(transparent)]
    Failed(#[from] ServiceError),
}

/// What is sealed. The names are short to keep the cookie short.
#[derive(Serialize, Deserialize)]
struct SignInState {
    #[serde(rename = "p")]
    provider: String,
    #[serde(rename = "c")]
    client: String,
    #[serde(rename = "n")]
    nonce: String,
    #[serde(rename = "v")]
    verifier: String,
    #[serde(rename = "f")]
    purpose: Purpose,
    #[serde(rename = "t")]
    target: Option<String>,
    #[serde(rename = "i")]
    issued: i64,
}

impl SignIns {
    /// `key` seals sign-ins and nothing else; every gateway that shares the store needs the same one.
    pub(super) fn new(store: Store, key: SealingKey, clock: Arc<dyn Clock>) -> Self {
        Self { store, key, failures: RateLimiter::of_failed_sign_ins(), clock }
    }

    /// Begins a sign-in at a provider; does not use the store. `target` is where the browser goes afterwards;
    /// it is left out if it does not fit into the cookie (about 700 characters).
    pub fn start(
        &self,
        provider: ProviderClient<'_>,
        purpose: Purpose,
        target: Option<&str>,
    ) -> AuthorizationRequest {
        let [state, nonce, verifier] = [random_text(), random_text(), random_text()];
        let mut sealed = SignInState {
            provider: provider.name.to_owned(),
            client: provider.tag(),
            nonce: nonce.expose().to_owned(),
            verifier: verifier.expose().to_owned(),
            purpose,
            target: target.filter(|target| target.len() < LONGEST_COOKIE).map(str::to_owned),
            issued: self.clock.now().0,
        };
        let mut cookie = self.seal(&sealed, state.expose());
        if cookie.len() > LONGEST_COOKIE {
            sealed.target = None;
            cookie = self.seal(&sealed, state.expose());
        }
        AuthorizationRequest {
            cookie: Secret::new(cookie),
            state: state.expose().to_owned(),
            nonce: sealed.nonce,
            challenge: TokenDigest::of(verifier.expose()).to_text(),
        }
    }

    fn seal(&self, what: &SignInState, state: &str) -> String {
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(what).unwrap_or_default());
        // An empty cookie is refused when it comes back.
        URL_SAFE_NO_PAD.encode(self.key.seal(&plain, &context(state)).unwrap_or_default())
    }

    /// Checks the `state` that comes back from a provider, with the browser's cookie for it, and marks it as used if there is a
    /// code. To be called before anything else is done with the response, such as exchanging the code; if that leads to
    /// nothing, so is [`SignIns::failed`].
    ///
    /// # Errors
    ///
    /// [`SignInStateError::Invalid`] unless it began in this browser, at this provider, within the last ten minutes, and comes
    /// back for the first time; [`SignInStateError::Failed`] with [`ServiceError::Throttled`] if too many of this source led to
    /// nothing.
    pub async fn finish(&self, returned: ReturnedSignIn<'_>) -> Result<PendingSignIn, SignInStateError> {
        let ReturnedSignIn { provider, state, cookie, has_code, source } = returned;
        let begun = cookie.and_then(|cookie| self.open(cookie, state));
        let Some(begun) = begun else {
            return Err(SignInStateError::Invalid { why: InvalidState::NoMatchingCookie, target: None });
        };
        let refused = |why| SignInStateError::Invalid { why, target: begun.target.clone() };
        if begun.provider != provider.name || begun.client != provider.tag() {
            return Err(refused(InvalidState::OtherProvider));
        }
        let (now, issued) = (self.clock.now(), Timestamp(begun.issued));
        if !now.is_within(LIFETIME, issued) {
            return Err(refused(InvalidState::Expired));
        }
        self.failures.check(source)?;
        if has_code {
            // The clock of another gateway may be behind.
            let expires = issued.after(LIFETIME + SKEW);
            let first = self.store.use_sign_in(TokenDigest::of(state), now, expires).await;
            if !first.map_err(ServiceError::from)? {
                self.failed(source);
                return Err(refused(InvalidState::Replayed));
            }
        }
        let SignInState { nonce, verifier, purpose, target, .. } = begun;
        Ok(PendingSignIn { nonce, verifier: Secret::new(verifier), purpose, target })
    }

    /// Counts a sign-in of this source that came back and led to nothing.
    pub fn failed(&self, source: &SignInSource) {
        // One that is too many makes no difference: those after it wait already.
        drop(self.failures.admit(source));
    }

    /// The name of the provider at which the sign-in with this `state` was begun, if the cookie is one of ours. Uses nothing up.
    pub fn provider_of(&self, state: &str, cookie: &str) -> Option<String> {
        self.open(cookie, state).map(|begun| begun.provider)
    }

    fn open(&self, cookie: &str, state: &str) -> Option<SignInState> {
        if cookie.len() > LONGEST_COOKIE || state.len() > LONGEST_STATE {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(cookie).ok()?;
        serde_json::from_slice(&self.key.open(&sealed, &context(state))?).ok()
    }
}

fn context(state: &str) -> String {
    format!("sign-in {state}")
}

#[cfg(test)]
mod tests;
