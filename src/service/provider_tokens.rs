//! What a provider gave along with a sign-in, sealed for the store: the tokens by which the session is refreshed and signed out
//! there. Nothing of them is stored or logged plain.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::seal::SealingKey;
use crate::model::secret::Secret;
use crate::model::session::LogoutNames;
use crate::model::time::Timestamp;
use crate::model::token::random_bytes;
use crate::store::{NewProviderTokens, SealedTokens};

/// A session is refreshed no sooner than this after the last time, however short the provider says.
const SHORTEST_PAUSE: Duration = Duration::from_secs(30);
/// A session in use is refreshed no later than this, however long the provider says.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// What a provider gave along with a sign-in. It has no `Debug`, since it holds tokens.
#[derive(Clone)]
pub struct ProviderTokens {
    /// By which names the provider will say that the sign-in is over.
    pub names: LogoutNames,
    /// The ID token as it came.
    pub id_token: Option<Secret>,
    /// What the session is refreshed by; `None`: it is not.
    pub refresh_token: Option<Secret>,
    /// For how long what was said holds.
    pub lifetime: Duration,
}

/// Seals tokens, each for one session and one purpose.
#[derive(Clone, Debug)]
pub(super) struct TokenVault(SealingKey);

/// Tokens of one session, opened.
pub(super) struct OpenedTokens {
    pub(super) id_token: Option<Secret>,
    pub(super) refresh_token: Option<Secret>,
}

impl TokenVault {
    /// Over the key for provider tokens, which seals nothing else.
    pub(super) fn new(key: SealingKey) -> Self {
        Self(key)
    }

    /// What the store keeps of a sign-in at `now`.
    pub(super) fn new_tokens(
        &self,
        session: &str,
        tokens: &ProviderTokens,
        now: Timestamp,
    ) -> NewProviderTokens {
        let sealed = self.seal(session, tokens.id_token.as_ref(), tokens.refresh_token.as_ref());
        let due_at = (!sealed.refresh_token.is_empty()).then(|| now.after(pause(tokens.lifetime)));
        NewProviderTokens { names: tokens.names.clone(), sealed, due_at }
    }

    /// Tokens that are too long to be kept are left out.
    pub(super) fn seal(
        &self,
        session: &str,
        id_token: Option<&Secret>,
        refresh_token: Option<&Secret>,
    ) -> SealedTokens {
        let seal = |token: Option<&Secret>, context: String| {
            let Some(token) = token else { return Vec::new() };
            self.0.seal(token.expose().as_bytes(), &context).unwrap_or_else(|| {
                tracing::warn!("a provider's token is longer than 256 KiB and is not kept");
                Vec::new()
            })
        };
        SealedTokens {
            id_token: seal(id_token, id_context(session)),
            refresh_token: seal(refresh_token, refresh_context(session)),
        }
    }

    /// A text for one purpose, as base64url.
    pub(super) fn seal_text(&self, text: &str, purpose: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.0.seal(text.as_bytes(), purpose).unwrap_or_default())
    }

    /// The text, if it was sealed for this purpose.
    pub(super) fn open_text(&self, sealed: &str, purpose: &str) -> Option<String> {
        let plain = self.0.open(&URL_SAFE_NO_PAD.decode(sealed).ok()?, purpose)?;
        std::str::from_utf8(&plain).ok().map(str::to_owned)
    }

    /// `None` if they were sealed under another secret, or changed.
    pub(super) fn open(&self, session: &str, sealed: &SealedTokens) -> Option<OpenedTokens> {
        let open = |sealed: &[u8], context: String| {
            if sealed.is_empty() {
                return Some(None);
            }
            let plain = self.0.open(sealed, &context)?;
            Some(Some(Secret::new(std::str::from_utf8(&plain).ok()?)))
        };
        Some(OpenedTokens {
            id_token: open(&sealed.id_token, id_context(session))?,
            refresh_token: open(&sealed.refresh_token, refresh_context(session))?,
        })
    }
}

fn id_context(session: &str) -> String {
    format!("ID token {session}")
}

fn refresh_context(session: &str) -> String {
    format!("refresh token {session}")
}

/// How long after a refresh the next is due: three quarters of what the provider says, up to an hour, and up to a fifth less by
/// chance, so that not all who signed in together are refreshed together.
pub(super) fn pause(lifetime: Duration) -> Duration {
    let most = (lifetime * 3 / 4).min(LONGEST_PAUSE);
    most.mul_f64(1.0 - chance() / 5.0).max(SHORTEST_PAUSE)
}

/// From 0 to 1.
pub(super) fn chance() -> f64 {
    f64::from(random_bytes()[0]) / f64::from(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::token::{KeyPurpose, MasterKey};

    fn vault(secret: &str) -> TokenVault {
        TokenVault::new(MasterKey::new(Secret::new(secret.repeat(32))).sealing(KeyPurpose::ProviderTokens))
    }

    #[test]
    fn a_session_is_refreshed_before_what_was_said_expires_and_not_all_at_once() {
        for (lifetime, least, most) in
            [(300, 180, 225), (3600, 2160, 2700), (86_400, 2880, 3600), (1, 30, 30)]
        {
            let pauses: Vec<u64> = (0..200).map(|_| pause(Duration::from_secs(lifetime)).as_secs()).collect();
            assert!(pauses.iter().all(|pause| (least..=most).contains(pause)), "{lifetime}: {pauses:?}");
            assert!(least == most || pauses.iter().any(|pause| *pause != pauses[0]), "{lifetime}");
        }
    }

    #[test]
    fn tokens_open_under_the_same_secret_for_the_same_session_and_purpose_only() {
        let (id, refresh) = (Secret::new("the id token"), Secret::new("the refresh token"));
        let sealed = vault("k").seal("s1", Some(&id), Some(&refresh));
        let opened = vault("k").open("s1", &sealed).unwrap();
        assert_eq!(opened.id_token.unwrap().expose(), "the id token");
        assert_eq!(opened.refresh_token.unwrap().expose(), "the refresh token");
        for plain in [&sealed.id_token, &sealed.refresh_token] {
            assert!(!plain.windows(5).any(|window| window == b"token"));
        }
        assert!(vault("k").open("s2", &sealed).is_none(), "of another session");
        assert!(vault("j").open("s1", &sealed).is_none(), "after the secret was replaced");
        let swapped =
            SealedTokens { id_token: sealed.refresh_token.clone(), refresh_token: sealed.id_token.clone() };
        assert!(vault("k").open("s1", &swapped).is_none(), "in the place of the other");
        let none = vault("k").seal("s1", None, None);
        assert_eq!(none, SealedTokens::default());
        assert!(vault("k").open("s1", &none).is_some_and(|opened| opened.refresh_token.is_none()));
        let long = Secret::new("x".repeat(300_000));
        assert_eq!(vault("k").seal("s1", Some(&long), None), SealedTokens::default());
    }
}
