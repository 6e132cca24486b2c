//! Sessions of a provider while they go on: refreshed, refused, ended.

use super::*;
use crate::model::audit::Actor;
use crate::model::identity::{AssertedEmail, RoleDecision};
use crate::model::role::Role;
use crate::model::token::{KeyPurpose, MasterKey};
use crate::service::epoch::EpochSlot;
use crate::service::identities::SignUp;
use crate::service::login::{Browser, SignedIn};
use crate::service::testing::ServiceFixture;

const LIFETIME: Duration = Duration::from_mins(5);

fn asserted(subject: &str) -> ProviderAssertion {
    ProviderAssertion {
        provider: "sso".to_owned(),
        key: IdentityKey::new("https://idp.example", subject).unwrap(),
        subject_claim: "sub".to_owned(),
        email: AssertedEmail::None,
        username: Some(subject.to_owned()),
        display_name: None,
        groups: Some(vec!["ops".to_owned(), "data".to_owned()]),
        role: RoleDecision::Keep { new: Role::Viewer },
    }
}

fn given(refresh_token: Option<&str>) -> ProviderTokens {
    let names = LogoutNames { subject: Some("ann".to_owned()), session: Some("sid-1".to_owned()) };
    let (id_token, refresh_token) = (Some(Secret::new("id 1")), refresh_token.map(Secret::new));
    ProviderTokens { names, id_token, refresh_token, lifetime: LIFETIME }
}

fn new_tokens(text: &str) -> RefreshedTokens {
    let id_token = Some(Secret::new(format!("id {text}")));
    RefreshedTokens { refresh_token: Secret::new(text), id_token, lifetime: LIFETIME }
}

async fn signed_in(world: &ServiceFixture, subject: &str, refresh_token: Option<&str>) -> SignedIn {
    let by = Actor::stranger("192.0.2.1".parse().unwrap(), "r1");
    let browser = Browser { client: "192.0.2.1".parse().unwrap(), user_agent: "browser", device: None };
    let tokens = given(refresh_token);
    let identities = &world.identities;
    identities.sign_in(&by, asserted(subject), Some(&tokens), SignUp::Allowed, browser).await.unwrap()
}

/// The session, once it is due.
async fn due(world: &ServiceFixture) -> DueRefresh {
    world.clock.advance(LIFETIME);
    world.provider_sessions.claim("sso").await.unwrap().unwrap()
}

async fn is_live(world: &ServiceFixture, session: &SignedIn) -> bool {
    world.sessions.find_live(&session.session.id).await.unwrap().is_some()
}

async fn use_again(world: &ServiceFixture, session: &SignedIn) {
    world.sessions.touch(vec![(session.session.id.clone(), world.clock.now())]).await.unwrap();
}

#[tokio::test]
async fn a_session_is_refreshed_before_what_was_said_expires_and_then_after_its_next_use() {
    let world = ServiceFixture::new().await;
    let session = signed_in(&world, "ann", Some("r-1")).await;
    assert!(world.provider_sessions.claim("sso").await.unwrap().is_none(), "it is new");
    world.clock.advance(Duration::from_secs(225));
    assert!(world.provider_sessions.claim("other").await.unwrap().is_none());
    let due = world.provider_sessions.claim("sso").await.unwrap().unwrap();
    assert_eq!((due.refresh_token.expose(), due.id_token.as_ref().unwrap().expose()), ("r-1", "id 1"));
    assert_eq!((&due.session, &due.key), (&session.session.id, &asserted("ann").key));
    assert!(world.provider_sessions.claim("sso").await.unwrap().is_none(), "it is claimed");
    let done = world.provider_sessions.complete("sso", &due, &new_tokens("r-2"), None).await.unwrap();
    assert_eq!(done, CompletedRefresh::Done);
    world.clock.advance(LIFETIME);
    assert!(world.provider_sessions.claim("sso").await.unwrap().is_none(), "nobody has used it since");
    use_again(&world, &session).await;
    let again = world.provider_sessions.claim("sso").await.unwrap().unwrap();
    assert_eq!((again.refresh_token.expose(), again.id_token.unwrap().expose()), ("r-2", "id r-2"));
}

#[tokio::test]
async fn what_the_provider_says_now_is_applied_and_looked_up_again() {
    let world = ServiceFixture::new().await;
    let session = signed_in(&world, "ann", Some("r-1")).await;
    let epoch = world.revocations.epoch().clone();
    let (then, slot) = (epoch.current(), EpochSlot::of(&session.user.id.0));
    let first = due(&world).await;
    let same = asserted("ann");
    world.provider_sessions.complete("sso", &first, &new_tokens("r-2"), Some(same)).await.unwrap();
    assert!(epoch.holds(slot, then), "nothing changed");
    use_again(&world, &session).await;
    let second = due(&world).await;
    let fewer = ProviderAssertion { groups: Some(vec!["data".to_owned()]), ..asserted("ann") };
    world.provider_sessions.complete("sso", &second, &new_tokens("r-3"), Some(fewer)).await.unwrap();
    assert!(!epoch.holds(slot, then));
    assert_eq!(world.store.find_user(&session.user.id).await.unwrap().unwrap().groups, ["data"]);
    assert!(is_live(&world, &session).await);
}

#[tokio::test]
async fn what_no_account_can_have_ends_every_session_of_the_identity() {
    let world = ServiceFixture::new().await;
    let sessions = [signed_in(&world, "ann", Some("r-1")).await, signed_in(&world, "ann", Some("r-2")).await];
    let bob = signed_in(&world, "bob", None).await;
    let due = due(&world).await;
    let groups = (0..300).map(|number| format!("g{number}")).collect();
    let many = ProviderAssertion { groups: Some(groups), ..asserted("ann") };
    let refused =
        world.provider_sessions.complete("sso", &due, &new_tokens("r-3"), Some(many)).await.unwrap();
    assert_eq!(refused, CompletedRefresh::Refused);
    for session in &sessions {
        assert!(!is_live(&world, session).await);
    }
    assert!(is_live(&world, &bob).await);
}

#[tokio::test]
async fn a_session_outlives_an_outage_of_minutes_and_ends_after_the_grace() {
    let world = ServiceFixture::new().await;
    let session = signed_in(&world, "ann", Some("r-1")).await;
    let grace = Duration::from_mins(10);
    let mut began = None;
    for failures in 1..20 {
        let due = loop {
            if let Some(due) = world.provider_sessions.claim("sso").await.unwrap() {
                break due;
            }
            world.clock.advance(Duration::from_secs(5));
        };
        let now = world.clock.now();
        let began = *began.get_or_insert(now);
        let failed = world.provider_sessions.fail("sso", &due, None, failures, grace, None).await.unwrap();
        if now.since(began) < grace {
            assert_eq!(failed, FailedRefresh::Retry, "{failures}");
            assert!(is_live(&world, &session).await);
        } else {
            assert!(matches!(failed, FailedRefresh::Ended(_)), "{failures}: {failed:?}");
            assert!(!is_live(&world, &session).await);
            assert!(failures > 4, "it was tried {failures} times");
            return;
        }
    }
    panic!("it never ends");
}

/// A session that was put off in one outage is not ended by the beginning of the next.
#[tokio::test]
async fn a_session_that_was_not_tried_outlives_an_outage_that_is_younger_than_the_grace() {
    let world = ServiceFixture::new().await;
    let session = signed_in(&world, "ann", Some("r-1")).await;
    let (grace, sessions) = (Duration::from_mins(10), &world.provider_sessions);
    let first = due(&world).await;
    let began = world.clock.now();
    let failed = sessions.fail("sso", &first, None, 1, grace, Some(began)).await.unwrap();
    assert_eq!(failed, FailedRefresh::Retry);
    world.clock.advance(grace);
    let second = sessions.claim("sso").await.unwrap().unwrap();
    let young = Some(began.after(Duration::from_secs(1)));
    let failed = sessions.fail("sso", &second, None, 1, grace, young).await.unwrap();
    assert_eq!(failed, FailedRefresh::Retry, "the provider has answered others in between");
    assert!(is_live(&world, &session).await);
    world.clock.advance(Duration::from_mins(1));
    let third = sessions.claim("sso").await.unwrap().unwrap();
    let failed = sessions.fail("sso", &third, None, 1, grace, young).await.unwrap();
    assert!(matches!(failed, FailedRefresh::Ended(_)), "{failed:?}");
    assert!(!is_live(&world, &session).await);
}

#[tokio::test]
async fn tokens_of_another_secret_end_the_session() {
    let world = ServiceFixture::new().await;
    let session = signed_in(&world, "ann", Some("r-1")).await;
    let key = MasterKey::new(Secret::new("x".repeat(32))).sealing(KeyPurpose::ProviderTokens);
    let other = ProviderSessions { vault: TokenVault::new(key), ..world.provider_sessions.clone() };
    assert!(other.sign_out_tokens(&session.session.id).await.unwrap().is_none());
    world.clock.advance(LIFETIME);
    assert!(other.claim("sso").await.unwrap().is_none());
    assert!(!is_live(&world, &session).await);
}

#[tokio::test]
async fn who_cannot_use_the_session_any_more_is_not_refreshed() {
    let world = ServiceFixture::new().await;
    let session = signed_in(&world, "ann", Some("r-1")).await;
    world.clock.advance(ServiceFixture::IDLE);
    assert!(world.provider_sessions.claim("sso").await.unwrap().is_none());
    assert!(
        world.store.provider_tokens(&session.session.id).await.unwrap().is_some(),
        "until it is tidied away"
    );
    let disabled = signed_in(&world, "bob", Some("r-2")).await;
    world.accounts.disable(&world.by, &disabled.user.id).await.unwrap();
    world.clock.advance(LIFETIME);
    assert!(world.provider_sessions.claim("sso").await.unwrap().is_none());
    assert!(world.store.provider_tokens(&disabled.session.id).await.unwrap().is_none());
    signed_in(&world, "eve", None).await;
    world.clock.advance(LIFETIME);
    assert!(world.provider_sessions.claim("sso").await.unwrap().is_none(), "without a refresh token");
}

#[tokio::test]
async fn signing_out_there_has_the_latest_tokens_and_nothing_is_left_afterwards() {
    let world = ServiceFixture::new().await;
    let session = signed_in(&world, "ann", Some("r-1")).await;
    let id = &session.session.id;
    let tokens = world.provider_sessions.sign_out_tokens(id).await.unwrap().unwrap();
    assert_eq!((tokens.provider.as_str(), tokens.id_token.unwrap().expose()), ("sso", "id 1"));
    assert_eq!(tokens.refresh_token.unwrap().expose(), "r-1");
    let in_flight = due(&world).await;
    world.sessions.sign_out(world.by.actor(), id).await.unwrap();
    assert!(world.provider_sessions.sign_out_tokens(id).await.unwrap().is_none());
    let late =
        world.provider_sessions.complete("sso", &in_flight, &new_tokens("r-2"), Some(asserted("ann"))).await;
    assert_eq!(late.unwrap(), CompletedRefresh::Superseded, "a refresh under way brings it back to nobody");
    assert!(world.store.provider_tokens(id).await.unwrap().is_none());
    let local = world.user("local").await;
    let opened =
        world.sessions.open(world.by.actor(), &local, "192.0.2.1".parse().unwrap(), "b").await.unwrap();
    assert!(world.provider_sessions.sign_out_tokens(&opened.1.id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_logout_token_counts_once_for_its_issuer() {
    let world = ServiceFixture::new().await;
    let session = signed_in(&world, "ann", None).await;
    let names = LogoutNames { subject: None, session: Some("sid-1".to_owned()) };
    let log_out = async |issuer: &str, id: &str| {
        let forgotten_at = world.clock.now().after(Duration::from_mins(8));
        world.provider_sessions.log_out("sso", issuer, &names, id, forgotten_at).await.unwrap()
    };
    assert_eq!(log_out("https://other.example", "j1").await, Some(0));
    assert!(is_live(&world, &session).await);
    assert_eq!(log_out("https://idp.example", "j1").await, Some(1));
    assert!(!is_live(&world, &session).await);
    assert_eq!(log_out("https://idp.example", "j1").await, None, "replayed");
}
