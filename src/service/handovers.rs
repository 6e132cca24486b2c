//! Handing a session over to another host, where the browser holds no cookie of ours yet.
//!
//! The browser begins it at that host, where it is given something to hold; the host of the sign-in grants a
//! token for the holder of that; and the first browser to present both there gets a session of its own.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ServiceError;
use super::sessions::Sessions;
use crate::model::audit::Actor;
use crate::model::secret::Secret;
use crate::model::time::Clock;
use crate::model::token::TokenDigest;
use crate::model::token::random_text;
use crate::store::Handover;
use crate::store::Store;

/// How long a token can be redeemed: a redirect takes no longer.
pub(super) const LIFETIME: Duration = Duration::from_mins(1);
/// Open hand-overs of one session, as many tabs that are restored at once may begin.
const MOST_PER_SESSION: usize = 20;
/// Tokens and what browsers hold have 43 characters.
const LONGEST: usize = 64;

/// Grants and redeems hand-overs.
#[derive(Clone, Debug)]
pub struct Handovers {
    store: Store,
    sessions: Sessions,
    clock: Arc<dyn Clock>,
}

/// A session at another host, and where to go with it.
#[derive(Debug)]
pub struct Redeemed {
    /// Value of the session cookie.
    pub cookie: Secret,
    /// Path and query at that host.
    pub path: String,
}

impl Handovers {
    /// Over the store that holds the sessions.
    pub(super) fn new(store: Store, sessions: Sessions, clock: Arc<dyn Clock>) -> Self {
        Self { store, sessions, clock }
    }

    /// A token by which the browser that holds the text behind `browser` can take this session, by its id,
    /// on to `path` at `host`. `None` if the session has ended.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn grant(
        &self,
        session_id: &str,
        browser: TokenDigest,
        host: &str,
        path: &str,
    ) -> Result<Option<Secret>, ServiceError> {
        let now = self.clock.now();
        let token = random_text();
        let handover = Handover {
            session_id: session_id.to_owned(),
            browser,
            host: host.to_owned(),
            path: path.to_owned(),
            expires_at: now.after(LIFETIME),
        };
        let digest = TokenDigest::of(token.expose());
        let put = self.store.put_handover(&handover, digest, now, MOST_PER_SESSION).await?;
        Ok(put.then_some(token))
    }

    /// Opens a session for a token. Whatever comes of it, the token is used up: where it was shown to the
    /// wrong host or by the wrong browser, it has leaked.
    ///
    /// `None` if it is unknown, used up or expired, meant for another host or browser, or its session ended.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn redeem(
        &self,
        by: &Actor,
        token: &str,
        held: &str,
        host: &str,
        client: IpAddr,
        user_agent: &str,
    ) -> Result<Option<Redeemed>, ServiceError> {
        if token.len() > LONGEST || held.len() > LONGEST {
            return Ok(None);
        }
        let Some(handover) = self.store.take_handover(TokenDigest::of(token)).await? else {
            return Ok(None);
        };
        // One that could be redeemed for longer than it was given was made under a clock that was set back since.
        let granted_at = handover.expires_at.before(LIFETIME);
        let in_time = self.clock.now().is_within(LIFETIME, granted_at);
        if !in_time || handover.host != host || handover.browser != TokenDigest::of(held) {
            return Ok(None);
        }
        let Some((parent, user)) = self.sessions.find_live(&handover.session_id).await? else {
            return Ok(None);
        };
        match self.sessions.open_from(by, &parent, host, &user, client, user_agent).await {
            Ok(cookie) => Ok(Some(Redeemed { cookie, path: handover.path })),
            Err(ServiceError::Refused) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::principal::Proof;
    use crate::model::session::Session;
    use crate::model::user::User;
    use crate::service::testing::ServiceFixture;

    const HOST: &str = "app.example";
    const HELD: &str = "what the browser holds";

    async fn signed_in(world: &ServiceFixture) -> (User, Session) {
        let user = world.user("alice").await;
        let opened =
            world.sessions.open(world.by.actor(), &user, "192.0.2.1".parse().unwrap(), "browser").await;
        (user, opened.unwrap().1)
    }

    async fn granted(world: &ServiceFixture, session: &Session) -> Secret {
        let granted = world.handovers.grant(&session.id, TokenDigest::of(HELD), HOST, "/deep?x=1").await;
        granted.unwrap().unwrap()
    }

    async fn redeem(world: &ServiceFixture, token: &str, held: &str, host: &str) -> Option<Redeemed> {
        world
            .handovers
            .redeem(world.by.actor(), token, held, host, "192.0.2.1".parse().unwrap(), "browser")
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn whoever_goes_round_and_round_is_slowed_down() {
        let world = ServiceFixture::new().await;
        let (_, session) = signed_in(&world).await;
        let (began, here) = (std::time::Instant::now(), "192.0.2.1".parse().unwrap());
        let mut opened = 0;
        let refused = loop {
            let token = granted(&world, &session).await;
            match world.handovers.redeem(world.by.actor(), token.expose(), HELD, HOST, here, "browser").await
            {
                Ok(redeemed) => assert!(redeemed.is_some()),
                Err(error) => break error,
            }
            opened += 1;
            assert!(opened <= 61 + began.elapsed().as_secs() / 5, "{opened} in {:?}", began.elapsed());
        };
        assert!(matches!(refused, ServiceError::Throttled { .. }), "{refused:?}");
        assert!(opened >= 60, "{opened}");
    }

    #[tokio::test]
    async fn a_token_opens_one_session_that_ends_with_its_parent() {
        let world = ServiceFixture::new().await;
        let (user, parent) = signed_in(&world).await;
        world.clock.advance(Duration::from_secs(100));
        let token = granted(&world, &parent).await;
        let redeemed = redeem(&world, token.expose(), HELD, HOST).await.unwrap();
        assert_eq!(redeemed.path, "/deep?x=1");
        let digest = world.sessions.digest_of_cookie(redeemed.cookie.expose()).unwrap();
        let principal = world.sessions.resolve(digest).await.unwrap().unwrap();
        assert_eq!(principal.name, user.username);
        let Proof::Session { id, expires_at, .. } = principal.proof else { unreachable!() };
        assert!(id != parent.id && expires_at == parent.expires_at, "it does not outlast the sign-in");
        assert!(redeem(&world, token.expose(), HELD, HOST).await.is_none(), "a second time");
        world.sessions.end(&world.by, &parent.id).await.unwrap();
        assert_eq!(world.sessions.resolve(digest).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_token_shown_elsewhere_or_by_another_browser_is_used_up() {
        let world = ServiceFixture::new().await;
        let (_, parent) = signed_in(&world).await;
        for (held, host) in [("", HOST), ("other", HOST), (HELD, "evil.example"), (HELD, "x.app.example")] {
            let token = granted(&world, &parent).await;
            assert!(redeem(&world, token.expose(), held, host).await.is_none(), "{held} at {host}");
            assert!(redeem(&world, token.expose(), HELD, HOST).await.is_none(), "after {held} at {host}");
        }
        let token = granted(&world, &parent).await;
        for wrong in ["", "x", &token.expose()[1..], &"x".repeat(5000)] {
            assert!(redeem(&world, wrong, HELD, HOST).await.is_none());
        }
        assert!(redeem(&world, token.expose(), HELD, HOST).await.is_some());
    }

    #[tokio::test]
    async fn a_token_is_worthless_after_a_minute_and_without_its_session() {
        let world = ServiceFixture::new().await;
        let (user, parent) = signed_in(&world).await;
        let token = granted(&world, &parent).await;
        world.clock.advance(LIFETIME);
        assert!(redeem(&world, token.expose(), HELD, HOST).await.is_none(), "too late");
        let token = granted(&world, &parent).await;
        world.clock.set_back(Duration::from_mins(20));
        assert!(
            redeem(&world, token.expose(), HELD, HOST).await.is_none(),
            "of a time that is still to come"
        );
        world.clock.advance(Duration::from_mins(20));
        let token = granted(&world, &parent).await;
        world.accounts.disable(&world.by, &user.id).await.unwrap();
        assert!(redeem(&world, token.expose(), HELD, HOST).await.is_none(), "disabled");
        let none = world.handovers.grant(&parent.id, TokenDigest::of(HELD), HOST, "/").await.unwrap();
        assert!(none.is_none(), "the session has ended");
    }

    #[tokio::test]
    async fn a_token_of_an_idle_session_is_worthless() {
        let world = ServiceFixture::new().await;
        let (_, parent) = signed_in(&world).await;
        world.clock.advance(ServiceFixture::IDLE.saturating_sub(Duration::from_secs(30)));
        let token = granted(&world, &parent).await;
        world.clock.advance(Duration::from_secs(30));
        assert!(redeem(&world, token.expose(), HELD, HOST).await.is_none());
    }
}
