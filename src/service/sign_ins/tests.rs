//! Sign-ins under way: what comes back, and what does not.

use std::net::Ipv4Addr;

use super::*;
use crate::model::token::{KeyPurpose, MasterKey};
use crate::service::testing::ServiceFixture;

const SSO: ProviderClient<'_> =
    ProviderClient { name: "sso", issuer: "https://sso.example", client_id: "doorward" };
const SOURCE: SignInSource = SignInSource::Client(IpAddr::V4(Ipv4Addr::LOCALHOST));

fn returned<'a>(state: &'a str, cookie: Option<&'a str>) -> ReturnedSignIn<'a> {
    ReturnedSignIn { provider: SSO, state, cookie, has_code: true, source: &SOURCE }
}

async fn finish(
    world: &ServiceFixture,
    provider: &str,
    state: &str,
    cookie: &str,
) -> Result<PendingSignIn, InvalidState> {
    let provider = ProviderClient { name: provider, ..SSO };
    let outcome = world.sign_ins.finish(ReturnedSignIn { provider, ..returned(state, Some(cookie)) }).await;
    match outcome {
        Ok(returned) => Ok(returned),
        Err(SignInStateError::Invalid { why, .. }) => Err(why),
        Err(SignInStateError::Failed(error)) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_sign_in_comes_back_once_as_it_was_begun() {
    let world = ServiceFixture::new().await;
    let begun = world.sign_ins.start(SSO, Purpose::SignIn, Some("/deep?x=1"));
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
    let begun = world.sign_ins.start(SSO, Purpose::SignIn, None);
    let all = (0..8).map(|_| finish(&world, "sso", &begun.state, begun.cookie.expose()));
    let outcomes = futures_util::future::join_all(all).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
}

#[tokio::test]
async fn only_the_browser_that_began_it_brings_it_back_and_unchanged() {
    let world = ServiceFixture::new().await;
    let begun = world.sign_ins.start(SSO, Purpose::SignIn, None);
    let other = world.sign_ins.start(SSO, Purpose::SignIn, None);
    let (state, cookie) = (begun.state.as_str(), begun.cookie.expose());
    assert!(
        world.sign_ins.finish(returned(state, None)).await.is_err(),
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
    assert!(of_another_secret.finish(returned(state, Some(cookie))).await.is_err());
    assert_eq!(finish(&world, "other", state, cookie).await.unwrap_err(), InvalidState::OtherProvider);
    assert!(finish(&world, "sso", state, cookie).await.is_ok(), "nothing of that has used it up");
}

#[tokio::test]
async fn it_comes_back_from_the_issuer_and_for_the_client_with_which_it_began() {
    let world = ServiceFixture::new().await;
    let begun = world.sign_ins.start(SSO, Purpose::SignIn, Some("/deep"));
    let back = returned(&begun.state, Some(begun.cookie.expose()));
    for provider in [
        ProviderClient { issuer: "https://evil.example", ..SSO },
        ProviderClient { client_id: "other", ..SSO },
        ProviderClient { name: "two", ..SSO },
    ] {
        let error = world.sign_ins.finish(ReturnedSignIn { provider, ..back }).await.unwrap_err();
        let SignInStateError::Invalid { why, target } = error else { panic!("{provider:?}: {error}") };
        assert_eq!((why, target.as_deref()), (InvalidState::OtherProvider, Some("/deep")), "{provider:?}");
    }
    assert!(world.sign_ins.finish(back).await.is_ok());
}

#[tokio::test]
async fn without_a_code_nothing_is_used_up() {
    let world = ServiceFixture::new().await;
    let begun = world.sign_ins.start(SSO, Purpose::SignIn, None);
    let back = returned(&begun.state, Some(begun.cookie.expose()));
    for _ in 0..2 {
        assert!(world.sign_ins.finish(ReturnedSignIn { has_code: false, ..back }).await.is_ok());
    }
    let end_of_all = world.clock.now().after(Duration::from_hours(1));
    assert_eq!(world.store.purge_used_sign_ins(end_of_all).await.unwrap(), 0, "nothing is marked");
    assert!(world.sign_ins.finish(back).await.is_ok());
    assert_eq!(world.store.purge_used_sign_ins(end_of_all).await.unwrap(), 1);
}

#[tokio::test]
async fn who_brings_back_too_much_that_leads_to_nothing_waits_and_nobody_else_does() {
    let world = ServiceFixture::new().await;
    let from = async |source: &SignInSource, has_code: bool| {
        let begun = world.sign_ins.start(SSO, Purpose::SignIn, None);
        let back = returned(&begun.state, Some(begun.cookie.expose()));
        world.sign_ins.finish(ReturnedSignIn { has_code, source, ..back }).await
    };
    let stranger = SignInSource::Client("192.0.2.66".parse().unwrap());
    let others = [SOURCE, SignInSource::Person(UserId::fresh())];
    for number in 0..30 {
        from(&stranger, number % 2 == 0).await.unwrap();
        world.sign_ins.failed(&stranger);
    }
    let marks = async || world.store.purge_used_sign_ins(Timestamp(i64::MAX / 4)).await.unwrap();
    assert_eq!(marks().await, 15);
    for has_code in [true, false] {
        let error = from(&stranger, has_code).await.unwrap_err();
        assert!(matches!(error, SignInStateError::Failed(ServiceError::Throttled { .. })), "{error}");
    }
    assert_eq!(marks().await, 0, "what is throttled is not marked");
    for source in &others {
        for _ in 0..100 {
            from(source, true).await.unwrap();
        }
    }
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
        let begun = world.sign_ins.start(SSO, Purpose::SignIn, None);
        world.clock.advance(advance);
        world.clock.set_back(back);
        let outcome = finish(&world, "sso", &begun.state, begun.cookie.expose()).await;
        assert_eq!(outcome.err(), expected, "{advance:?} on, {back:?} back");
    }
}

#[tokio::test]
async fn what_was_used_stays_used_as_long_as_any_gateway_would_take_it() {
    let world = ServiceFixture::new().await;
    let begun = world.sign_ins.start(SSO, Purpose::SignIn, None);
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
        serde_json::from_value::<ReauthenticationProof>(serde_json::json!({ "session": session })).unwrap()
    };
    let long = format!("/{}", "x".repeat(700));
    for (target, kept) in [
        (long.as_str(), true),
        (&"\\".repeat(1000), false),
        (&"x".repeat(1200), false),
        (&"x".repeat(70_000), false),
    ] {
        let begun = world.sign_ins.start(SSO, Purpose::Link(proof()), Some(target));
        assert!(begun.cookie.expose().len() <= LONGEST_COOKIE, "{}", begun.cookie.expose().len());
        let returned = finish(&world, "sso", &begun.state, begun.cookie.expose()).await.unwrap();
        assert_eq!(returned.target.as_deref(), kept.then_some(target));
        assert_eq!(returned.purpose, Purpose::Link(proof()));
    }
}

#[tokio::test]
async fn nothing_of_a_sign_in_can_be_read_in_its_cookie_or_guessed_from_another() {
    let world = ServiceFixture::new().await;
    let begun = world.sign_ins.start(SSO, Purpose::SignIn, Some("/deep"));
    let plain = URL_SAFE_NO_PAD.decode(begun.cookie.expose()).unwrap();
    for part in [b"sso".as_slice(), begun.nonce.as_bytes(), b"/deep", begun.state.as_bytes()] {
        assert!(!plain.windows(part.len()).any(|window| window == part));
    }
    let other = world.sign_ins.start(SSO, Purpose::SignIn, Some("/deep"));
    assert!(begun.state != other.state && begun.nonce != other.nonce && begun.challenge != other.challenge);
    assert_eq!(begun.state.len(), 43, "256 random bits");
}
