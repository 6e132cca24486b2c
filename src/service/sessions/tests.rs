//! Sessions: how they begin, are used, listed and end.

use std::time::Duration;

use super::*;
use crate::model::role::Role;
use crate::service::testing::ServiceFixture;

const CLIENT: &str = "192.0.2.1";

async fn open(world: &ServiceFixture, user: &User) -> (TokenDigest, Session) {
    let (cookie, session) =
        world.sessions.open(world.by.actor(), user, CLIENT.parse().unwrap(), "browser").await.unwrap();
    (world.sessions.digest_of_cookie(cookie.expose()).unwrap(), session)
}

#[tokio::test]
async fn a_cookie_resolves_to_its_user_and_no_other_does() {
    let world = ServiceFixture::new().await;
    let user = world.user("alice").await;
    let (digest, session) = open(&world, &user).await;
    let principal = world.sessions.resolve(digest).await.unwrap().unwrap();
    assert_eq!(principal.kind, PrincipalKind::User(user.id));
    assert_eq!((principal.name.as_str(), principal.role), ("alice", Role::Member));
    assert!(matches!(principal.proof, Proof::Session { id, .. } if id == session.id));
    assert_eq!(world.sessions.resolve(TokenDigest::of("other")).await.unwrap(), None);
}

#[tokio::test]
async fn a_cookie_we_did_not_sign_is_not_even_looked_up() {
    let world = ServiceFixture::new().await;
    let user = world.user("alice").await;
    let (cookie, _) =
        world.sessions.open(world.by.actor(), &user, CLIENT.parse().unwrap(), "browser").await.unwrap();
    let cookie = cookie.expose();
    assert!(cookie.len() < LONGEST_COOKIE);
    let forged = [
        String::new(),
        ".".to_owned(),
        cookie[1..].to_owned(),
        cookie[..cookie.len() - 1].to_owned(),
        format!("{cookie}x"),
        format!("{}{cookie}", "x".repeat(LONGEST_COOKIE)),
        "é.é".to_owned(),
    ];
    for forged in forged {
        assert!(world.sessions.digest_of_cookie(&forged).is_none(), "{forged:?}");
    }
}

#[tokio::test]
async fn idle_and_expired_sessions_do_not_resolve() {
    let world = ServiceFixture::new().await;
    let user = world.user("alice").await;
    let (digest, session) = open(&world, &user).await;
    world.clock.advance(ServiceFixture::IDLE.saturating_sub(Duration::from_secs(1)));
    assert!(world.sessions.resolve(digest).await.unwrap().is_some());
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.sessions.resolve(digest).await.unwrap(), None, "idle");

    let (digest, session) = (open(&world, &user).await.0, session);
    assert_eq!(world.sessions.list(&world.by, Some(&user.id)).await.unwrap().len(), 1, "{}", session.id);
    let id = world.sessions.list(&world.by, None).await.unwrap()[0].0.id.clone();
    for _ in 0..ServiceFixture::ABSOLUTE.as_secs() / 60 {
        assert!(world.sessions.resolve(digest).await.unwrap().is_some());
        world.clock.advance(Duration::from_mins(1));
        world.sessions.touch(vec![(id.clone(), world.clock.now())]).await.unwrap();
    }
    assert_eq!(world.sessions.resolve(digest).await.unwrap(), None, "past its end, though in use");
}

#[tokio::test]
async fn an_ended_session_and_those_of_a_disabled_user_do_not_resolve() {
    let world = ServiceFixture::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let (ended, session) = open(&world, &alice).await;
    let (kept, _) = open(&world, &alice).await;
    let (of_bob, _) = open(&world, &bob).await;
    let epoch = world.revocations.epoch().current();
    assert!(world.sessions.end(&world.by, &session.id).await.unwrap());
    assert!(world.revocations.epoch().current() > epoch);
    assert!(!world.sessions.end(&world.by, &session.id).await.unwrap());
    assert_eq!(world.sessions.resolve(ended).await.unwrap(), None);
    assert!(world.sessions.resolve(kept).await.unwrap().is_some());

    world.accounts.disable(&world.by, &alice.id).await.unwrap();
    assert_eq!(world.sessions.resolve(kept).await.unwrap(), None);
    assert!(world.sessions.resolve(of_bob).await.unwrap().is_some());
    assert_eq!(world.sessions.end_all(&world.by, &bob.id).await.unwrap(), 1);
    assert_eq!(world.sessions.resolve(of_bob).await.unwrap(), None);
}

#[tokio::test]
async fn a_user_ends_only_own_sessions() {
    let world = ServiceFixture::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let (digest, session) = open(&world, &alice).await;
    assert!(!world.sessions.end_own(world.by.actor(), &bob.id, &session.id).await.unwrap());
    assert!(world.sessions.resolve(digest).await.unwrap().is_some());
    assert!(world.sessions.end_own(world.by.actor(), &alice.id, &session.id).await.unwrap());
    assert_eq!(world.sessions.resolve(digest).await.unwrap(), None);
}

/// C30: ever more sessions.
#[tokio::test]
async fn all_sessions_but_one_are_ended() {
    let world = ServiceFixture::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let (first, _) = open(&world, &alice).await;
    let (kept, session) = open(&world, &alice).await;
    let (of_bob, _) = open(&world, &bob).await;
    let epoch = world.revocations.epoch().current();
    assert_eq!(world.sessions.end_others(world.by.actor(), &alice.id, &session.id).await.unwrap(), 1);
    assert!(world.revocations.epoch().current() > epoch);
    assert_eq!(world.sessions.resolve(first).await.unwrap(), None);
    for stays in [kept, of_bob] {
        assert!(world.sessions.resolve(stays).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn what_ends_nothing_has_nobody_looked_up_again() {
    let world = ServiceFixture::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let (_, session) = open(&world, &alice).await;
    let epoch = world.revocations.epoch().current();
    open(&world, &bob).await;
    assert_eq!(world.sessions.end_others(world.by.actor(), &alice.id, &session.id).await.unwrap(), 0);
    assert!(!world.sessions.end(&world.by, "unknown").await.unwrap());
    assert_eq!(world.sessions.end_all(&world.by, &UserId("unknown".into())).await.unwrap(), 0);
    assert_eq!(world.revocations.epoch().current(), epoch);
    for _ in 0..MOST_PER_USER {
        open(&world, &alice).await;
    }
    assert!(world.revocations.epoch().current() > epoch, "the oldest has ended");
}

#[tokio::test]
async fn the_twenty_first_session_ends_the_first() {
    let world = ServiceFixture::new().await;
    let user = world.user("alice").await;
    let (first, _) = open(&world, &user).await;
    for _ in 0..MOST_PER_USER - 1 {
        world.clock.advance(Duration::from_secs(1));
        open(&world, &user).await;
    }
    assert!(world.sessions.resolve(first).await.unwrap().is_some());
    world.clock.advance(Duration::from_secs(1));
    open(&world, &user).await;
    assert_eq!(world.sessions.resolve(first).await.unwrap(), None);
}

#[tokio::test]
async fn a_disabled_user_gets_no_session_and_purging_spares_live_ones() {
    let world = ServiceFixture::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    world.accounts.disable(&world.by, &bob.id).await.unwrap();
    let refused = world.sessions.open(world.by.actor(), &bob, CLIENT.parse().unwrap(), "browser").await;
    assert!(matches!(refused, Err(ServiceError::Refused)));
    open(&world, &alice).await;
    world.clock.advance(ServiceFixture::IDLE);
    let (live, _) = open(&world, &alice).await;
    assert_eq!(world.sessions.purge().await.unwrap(), 1);
    assert!(world.sessions.resolve(live).await.unwrap().is_some());
}

#[tokio::test]
async fn what_the_browser_says_of_itself_is_cut_and_cleaned() {
    let world = ServiceFixture::new().await;
    let user = world.user("alice").await;
    let agent = format!("a\r\nb\u{1b}{}", "x".repeat(500));
    let (_, session) =
        world.sessions.open(world.by.actor(), &user, CLIENT.parse().unwrap(), &agent).await.unwrap();
    assert!(session.user_agent.starts_with("abxx"));
    assert_eq!(session.user_agent.len(), USER_AGENT_LENGTH);
}
