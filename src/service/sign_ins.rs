//! Sign-ins that are under way at an identity provider: the state between authorization request and response.
//!
//! It is sealed into a cookie of the browser, so that a sign-in that begins costs the store nothing and comes back to the same
//! browser only. The parameter `state` is part of what the seal covers. Each comes back once.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::ServiceError;
use super::identities::ReauthenticationProof;
use crate::model::seal::SealingKey;
use crate::model::secret::Secret;
use crate::model::time::{Clock, SKEW, Timestamp};
use crate::model::token::{TokenDigest, random_text};
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
    clock: Arc<dyn Clock>,
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
        /// It began at another provider.
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
    /// [`ServiceError::Busy`] or [`ServiceError::Unavailable`].
    #[error(transparent)]
    Failed(#[from] ServiceError),
}

/// What is sealed. The names are short to keep the cookie short.
#[derive(Serialize, Deserialize)]
struct SignInState {
    #[serde(rename = "p")]
    provider: String,
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
        Self { store, key, clock }
    }

    /// Begins a sign-in at the provider with this name; does not use the store. `target` is where the browser goes afterwards;
    /// it is left out if it does not fit into the cookie (about 700 characters).
    pub fn start(&self, provider: &str, purpose: Purpose, target: Option<&str>) -> AuthorizationRequest {
        let [state, nonce, verifier] = [random_text(), random_text(), random_text()];
        let mut sealed = SignInState {
            provider: provider.to_owned(),
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

    /// Checks the `state` that comes back from the provider with this name, with the browser's cookie for it, and marks it as
    /// used. To be called before anything else is done with the response, such as exchanging the code.
    ///
    /// # Errors
    ///
    /// [`SignInStateError::Invalid`] unless it began in this browser, at this provider, within the last ten minutes, and comes
    /// back for the first time.
    pub async fn finish(
        &self,
        provider: &str,
        state: &str,
        cookie: Option<&str>,
    ) -> Result<PendingSignIn, SignInStateError> {
        let begun = cookie.and_then(|cookie| self.open(cookie, state));
        let Some(begun) = begun else {
            return Err(SignInStateError::Invalid { why: InvalidState::NoMatchingCookie, target: None });
        };
        let refused = |why| SignInStateError::Invalid { why, target: begun.target.clone() };
        if begun.provider != provider {
            return Err(refused(InvalidState::OtherProvider));
        }
        let (now, issued) = (self.clock.now(), Timestamp(begun.issued));
        if !now.is_within(LIFETIME, issued) {
            return Err(refused(InvalidState::Expired));
        }
        // The clock of another gateway may be behind.
        let expires = issued.after(LIFETIME + SKEW);
        let first = self.store.use_sign_in(TokenDigest::of(state), now, expires).await;
        if !first.map_err(ServiceError::from)? {
            return Err(refused(InvalidState::Replayed));
        }
        let SignInState { nonce, verifier, purpose, target, .. } = begun;
        Ok(PendingSignIn { nonce, verifier: Secret::new(verifier), purpose, target })
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
mod tests {
    use super::*;
    use crate::model::token::{KeyPurpose, MasterKey};
    use crate::service::testing::ServiceFixture;

    async fn finish(
        world: &ServiceFixture,
        provider: &str,
        state: &str,
        cookie: &str,
    ) -> Result<PendingSignIn, InvalidState> {
        match world.sign_ins.finish(provider, state, Some(cookie)).await {
            Ok(returned) => Ok(returned),
            Err(SignInStateError::Invalid { why, .. }) => Err(why),
            Err(SignInStateError::Failed(error)) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn a_sign_in_comes_back_once_as_it_was_begun() {
        let world = ServiceFixture::new().await;
        let begun = world.sign_ins.start("sso", Purpose::SignIn, Some("/deep?x=1"));
        let returned = finish(&world, "sso", &begun.state, begun.cookie.expose()).await.unwrap();
        assert_eq!((returned.nonce, returned.purpose), (begun.nonce, Purpose::SignIn));
        assert_eq!(returned.target.as_deref(), Some("/deep?x=1"));
        assert_eq!(TokenDigest::of(returned.verifier.expose()).to_text(), begun.challenge);
        let again = finish(&world, "sso", &begun.state, begun.cookie.expose()).await;
        assert_eq!(again.unwrap_err(), InvalidState::Replayed);
    }

    #[tokio::test]
    async fn of_many_who_bring_it_back_at_once_one_may_go_on() {
        let world = ServiceFixture::new().await;
        let begun = world.sign_ins.start("sso", Purpose::SignIn, None);
        let all = (0..8).map(|_| finish(&world, "sso", &begun.state, begun.cookie.expose()));
        let outcomes = futures_util::future::join_all(all).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    }

    #[tokio::test]
    async fn only_the_browser_that_began_it_brings_it_back_and_unchanged() {
        let world = ServiceFixture::new().await;
        let begun = world.sign_ins.start("sso", Purpose::SignIn, None);
        let other = world.sign_ins.start("sso", Purpose::SignIn, None);
        let (state, cookie) = (begun.state.as_str(), begun.cookie.expose());
        assert!(
            world.sign_ins.finish("sso", state, None).await.is_err(),
            "another browser holds nothing of it"
        );
        let mut changed = cookie.to_owned();
        changed.replace_range(20..21, if cookie[20..].starts_with('A') { "B" } else { "A" });
        for (state, cookie) in [
            (state, other.cookie.expose()),
            (&other.state, cookie),
            ("", cookie),
            (state, ""),
            (state, &changed),
            (state, &cookie[..cookie.len() - 4]),
            (state, "not base64!"),
            (state, &"A".repeat(100_000)),
            (&"s".repeat(100_000), cookie),
        ] {
            let stray = finish(&world, "sso", state, cookie).await.unwrap_err();
            assert_eq!(stray, InvalidState::NoMatchingCookie, "{state:.9} {cookie:.9}");
        }
        let of_another_secret = SignIns {
            key: MasterKey::new(Secret::new("x".repeat(32))).sealing(KeyPurpose::SignIn),
            ..world.sign_ins.clone()
        };
        assert!(of_another_secret.finish("sso", state, Some(cookie)).await.is_err());
        assert_eq!(finish(&world, "other", state, cookie).await.unwrap_err(), InvalidState::OtherProvider);
        assert!(finish(&world, "sso", state, cookie).await.is_ok(), "nothing of that has used it up");
    }

    #[tokio::test]
    async fn it_is_too_late_after_ten_minutes_and_for_what_is_still_to_come() {
        let world = ServiceFixture::new().await;
        for (advance, back, expected) in [
            (LIFETIME.saturating_sub(Duration::from_secs(1)), Duration::ZERO, None),
            (LIFETIME, Duration::ZERO, Some(InvalidState::Expired)),
            (Duration::ZERO, SKEW, None),
            (Duration::ZERO, SKEW + Duration::from_secs(1), Some(InvalidState::Expired)),
            (Duration::from_hours(1), Duration::ZERO, Some(InvalidState::Expired)),
        ] {
            let begun = world.sign_ins.start("sso", Purpose::SignIn, None);
            world.clock.advance(advance);
            world.clock.set_back(back);
            let outcome = finish(&world, "sso", &begun.state, begun.cookie.expose()).await;
            assert_eq!(outcome.err(), expected, "{advance:?} on, {back:?} back");
        }
    }

    #[tokio::test]
    async fn what_was_used_stays_used_as_long_as_any_gateway_would_take_it() {
        let world = ServiceFixture::new().await;
        let begun = world.sign_ins.start("sso", Purpose::SignIn, None);
        let cookie = begun.cookie.expose();
        assert!(finish(&world, "sso", &begun.state, cookie).await.is_ok());
        // A gateway whose clock is a minute ahead tidies up, one whose clock is right is asked.
        let last = world.clock.now().after(LIFETIME).before(Duration::from_secs(1));
        world.store.purge_used_sign_ins(last.after(SKEW)).await.unwrap();
        world.clock.advance(LIFETIME.saturating_sub(Duration::from_secs(1)));
        assert_eq!(finish(&world, "sso", &begun.state, cookie).await.unwrap_err(), InvalidState::Replayed);
    }

    #[tokio::test]
    async fn a_cookie_is_bounded_and_a_target_that_does_not_fit_is_left_out() {
        let world = ServiceFixture::new().await;
        let proof = || {
            let session = "0195f0a0-7c1e-7aaa-8000-000000000000".to_owned();
            serde_json::from_value::<ReauthenticationProof>(serde_json::json!({ "session": session }))
                .unwrap()
        };
        let long = format!("/{}", "x".repeat(700));
        for (target, kept) in [
            (long.as_str(), true),
            (&"\\".repeat(1000), false),
            (&"x".repeat(1200), false),
            (&"x".repeat(70_000), false),
        ] {
            let begun = world.sign_ins.start("sso", Purpose::Link(proof()), Some(target));
            assert!(begun.cookie.expose().len() <= LONGEST_COOKIE, "{}", begun.cookie.expose().len());
            let returned = finish(&world, "sso", &begun.state, begun.cookie.expose()).await.unwrap();
            assert_eq!(returned.target.as_deref(), kept.then_some(target));
            assert_eq!(returned.purpose, Purpose::Link(proof()));
        }
    }

    #[tokio::test]
    async fn nothing_of_a_sign_in_can_be_read_in_its_cookie_or_guessed_from_another() {
        let world = ServiceFixture::new().await;
        let begun = world.sign_ins.start("sso", Purpose::SignIn, Some("/deep"));
        let plain = URL_SAFE_NO_PAD.decode(begun.cookie.expose()).unwrap();
        for part in [b"sso".as_slice(), begun.nonce.as_bytes(), b"/deep", begun.state.as_bytes()] {
            assert!(!plain.windows(part.len()).any(|window| window == part));
        }
        let other = world.sign_ins.start("sso", Purpose::SignIn, Some("/deep"));
        assert!(
            begun.state != other.state && begun.nonce != other.nonce && begun.challenge != other.challenge
        );
        assert_eq!(begun.state.len(), 43, "256 random bits");
    }
}
