//! What the credential cache holds, how much of it, and what it never holds.

use super::resolver::REMEMBERED;
use super::*;
use crate::gate::testing::GateFixture;
use crate::model::role::Role;
use crate::service::epoch::EpochSlot;

mod losses;

#[tokio::test]
async fn a_panic_and_a_late_answer_are_refusals() {
    let control = Handle::current();
    let second = Duration::from_secs(1);
    assert_eq!(within(second, &control, async { 7 }).await.unwrap(), 7);
    let panics = within(second, &control, async { panic!("as a bug would") });
    assert!(matches!(panics.await, Err::<(), _>(Refusal::Unavailable(_))));
    let late = within(Duration::from_millis(1), &control, std::future::pending::<()>());
    assert!(matches!(late.await, Err(Refusal::Unavailable(_))));
}

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// K13: one key in every request there is.
#[tokio::test]
async fn however_often_a_key_is_used_that_is_noted_once_a_minute() {
    let world = GateFixture::new().await;
    let key = world.key("k", Role::Viewer, None).await;
    let authenticator = Authenticator::new(world.parts(), 1, Rc::default(), GateFixture::metrics());
    for (pause, noted) in [(0, 1), (59, 1), (1, 2), (59, 2), (60, 3)] {
        world.clock.advance(Duration::from_secs(pause));
        for _ in 0..1000 {
            assert!(authenticator.identify(LookedUp::ApiKey, &key, CLIENT).await.unwrap().is_some());
        }
        assert_eq!(world.touches.waiting(), noted, "after {pause} more seconds");
    }
}

/// How many of a kind a thread and the shared cache hold.
async fn held(
    credential_cache: &CredentialCache,
    resolver: &CredentialResolver,
    kind: LookedUp,
) -> (usize, u64) {
    let (own, shared) = (credential_cache.caches.of(kind), resolver.found.of(kind));
    shared.run_pending_tasks().await;
    (own.borrow().len(), shared.entry_count())
}

#[tokio::test]
async fn what_is_remembered_is_bounded_for_each_kind() {
    const MOST: usize = 8;
    let world = GateFixture::new().await;
    let mut credentials = [Vec::new(), Vec::new()];
    for n in 0..4 * MOST {
        let user = world.user(&format!("u{n}"), Role::Viewer, &[]).await;
        credentials[0].push(world.session(&user).await);
        credentials[1].push(world.key(&format!("k{n}"), Role::Viewer, None).await);
    }
    let [sessions, keys] = &credentials;
    for (filled, many, other, few) in [
        (LookedUp::ApiKey, keys, LookedUp::Session, sessions),
        (LookedUp::Session, sessions, LookedUp::ApiKey, keys),
    ] {
        let resolver = Arc::new(CredentialResolver::bounded(
            world.look_ups(),
            world.revocations.epoch().clone(),
            u64::try_from(MOST).unwrap(),
        ));
        let credential_cache = Rc::new(CredentialCache::bounded(MOST));
        let parts = AuthenticatorParts { resolver: Arc::clone(&resolver), ..world.parts() };
        let authenticator =
            Authenticator::new(parts, 1, Rc::clone(&credential_cache), GateFixture::metrics());
        let known = async |kind, credential: &str| {
            authenticator.identify(kind, credential, CLIENT).await.unwrap().is_some()
        };

        let few = &few[..MOST / 2];
        for credential in few {
            assert!(known(other, credential).await);
        }
        for credential in many {
            assert!(known(filled, credential).await);
            assert!(held(&credential_cache, &resolver, filled).await.0 <= MOST);
        }
        let (own, shared) = held(&credential_cache, &resolver, filled).await;
        assert_eq!(own, MOST, "of {} that were shown", many.len());
        assert!(shared <= 8, "{shared}");
        assert_eq!(
            held(&credential_cache, &resolver, other).await,
            (few.len(), 4),
            "the other kind keeps its own"
        );

        let looks = resolver.lookups();
        for credential in few {
            assert!(known(other, credential).await);
        }
        for credential in &many[many.len() - MOST..] {
            assert!(known(filled, credential).await);
        }
        assert_eq!(resolver.lookups(), looks, "the latest of both kinds are remembered");
        assert!(known(filled, &many[0]).await, "what is forgotten is looked up, and no less good");
    }
}

#[tokio::test]
async fn strangers_take_no_place_among_those_who_are_remembered() {
    let world = GateFixture::new().await;
    let resolver = Arc::new(world.resolver());
    let credential_cache = Rc::new(CredentialCache::default());
    let parts = AuthenticatorParts { resolver: Arc::clone(&resolver), ..world.parts() };
    let authenticator = Authenticator::new(parts, 1, Rc::clone(&credential_cache), GateFixture::metrics());
    for n in 0..20 {
        let key = world.key(&format!("k{n}"), Role::Viewer, None).await;
        let stranger = crate::model::token::KeyText::draw(crate::model::token::KeyKind::System).text;
        for wrong in [stranger.expose(), &key[1..], &key.to_lowercase(), ""] {
            assert!(authenticator.identify(LookedUp::ApiKey, wrong, CLIENT).await.unwrap().is_none());
            assert!(authenticator.identify(LookedUp::Session, wrong, CLIENT).await.unwrap().is_none());
        }
    }
    assert_eq!(resolver.lookups(), 20, "only what is a key by its looks is looked up");
    for kind in [LookedUp::Session, LookedUp::ApiKey] {
        assert_eq!(held(&credential_cache, &resolver, kind).await, (0, 0));
    }
}

#[tokio::test]
async fn memory_is_bounded_as_documented() {
    let world = GateFixture::new().await;
    let resolver = world.resolver();
    let credential_cache = CredentialCache::default();
    for kind in [LookedUp::Session, LookedUp::ApiKey] {
        let (own, shared) = (credential_cache.caches.of(kind), resolver.found.of(kind));
        assert_eq!(own.borrow().capacity(), REMEMBERED_PER_THREAD);
        assert_eq!(shared.policy().max_capacity(), Some(REMEMBERED));
    }
}

/// The lookup is on its way when the right goes; what it answers may be older than that.
#[tokio::test]
async fn an_answer_that_a_revocation_overtakes_is_asked_for_again() {
    let world = GateFixture::new().await;
    let key = world.key("k", Role::Viewer, None).await;
    let resolver = Arc::new(world.resolver());
    let parts = AuthenticatorParts { resolver: Arc::clone(&resolver), ..world.parts() };
    let authenticator = Authenticator::new(parts, 1, Rc::default(), GateFixture::metrics());
    // On one thread the lookup, which is a task of its own, waits for its answer when this sees that it has begun.
    let (found, ()) = tokio::join!(authenticator.identify(LookedUp::ApiKey, &key, CLIENT), async {
        while resolver.lookups() == 0 {
            tokio::task::yield_now().await;
        }
        authenticator.shared.revocations.look_again_at(crate::model::token::KeyText::id_of(&key).unwrap());
    });
    assert!(found.unwrap().is_some());
    assert_eq!(resolver.lookups(), 2);
    assert!(authenticator.identify(LookedUp::ApiKey, &key, CLIENT).await.unwrap().is_some());
    assert_eq!(resolver.lookups(), 2, "the second answer is remembered");
}

/// As where the machine was suspended, or its clock set right: no time has passed by any other clock.
#[tokio::test]
async fn a_session_that_was_idle_by_the_time_of_day_is_over_on_every_thread() {
    let world = GateFixture::new().await;
    let user = world.user("alice", Role::Viewer, &[]).await;
    let cookie = world.session(&user).await;
    let resolver = Arc::new(world.resolver());
    let thread = || {
        let parts = AuthenticatorParts { resolver: Arc::clone(&resolver), ..world.parts() };
        Authenticator::new(parts, 1, Rc::default(), GateFixture::metrics())
    };
    let (first, other) = (thread(), thread());
    assert!(first.identify(LookedUp::Session, &cookie, CLIENT).await.unwrap().is_some());
    world.clock.advance(Duration::from_secs(30));
    assert!(thread().identify(LookedUp::Session, &cookie, CLIENT).await.unwrap().is_some(), "in use");
    assert_eq!(resolver.lookups(), 1, "known to all threads");
    world.clock.advance(world.parts().idle);
    for thread in [&first, &other] {
        assert!(thread.identify(LookedUp::Session, &cookie, CLIENT).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn what_others_lose_has_no_unknown_key_looked_up_again_and_what_its_owner_gains_has() {
    let world = GateFixture::new().await;
    let vera = world.user("vera", Role::Viewer, &[]).await;
    let key = world.key("laptop", Role::Viewer, Some(&vera)).await;
    let revoked = world.key("gone", Role::Viewer, None).await;
    let id = crate::model::token::KeyText::id_of(&revoked).unwrap().to_owned();
    assert!(world.keys.revoke(&world.by, &id).await.unwrap());
    world.accounts.disable(&world.by, &vera.id).await.unwrap();
    let resolver = Arc::new(world.resolver());
    let parts = AuthenticatorParts { resolver: Arc::clone(&resolver), ..world.parts() };
    let authenticator = Authenticator::new(parts, 1, Rc::default(), GateFixture::metrics());
    for key in [&revoked, &key] {
        assert!(authenticator.identify(LookedUp::ApiKey, key, CLIENT).await.unwrap().is_none());
    }
    assert_eq!(resolver.lookups(), 2);
    for round in 0..100 {
        // Others in the owner's slot are looked up as well.
        let other = (0..100)
            .map(|n| format!("{round}-{n}"))
            .find(|other| EpochSlot::of(other) != EpochSlot::of(&vera.id.0));
        world.revocations.look_again_at(&other.unwrap());
        for key in [&revoked, &key] {
            assert!(
                authenticator.identify(LookedUp::ApiKey, key, CLIENT).await.unwrap().is_none(),
                "{round}: no guess, and no 429"
            );
        }
    }
    assert_eq!(resolver.lookups(), 2);
    world.accounts.enable(&world.by, &vera.id).await.unwrap();
    assert!(authenticator.identify(LookedUp::ApiKey, &key, CLIENT).await.unwrap().is_some(), "at once");
}

/// All clients behind a proxy that names nobody have one address.
#[tokio::test]
async fn guesses_at_keys_keep_nobody_out_whom_another_thread_knows() {
    let world = GateFixture::new().await;
    let key = world.key("laptop", Role::Viewer, None).await;
    let unused = world.key("unused", Role::Viewer, None).await;
    let guess = world.key("gone", Role::Viewer, None).await;
    let id = crate::model::token::KeyText::id_of(&guess).unwrap().to_owned();
    assert!(world.keys.revoke(&world.by, &id).await.unwrap());
    let resolver = Arc::new(world.resolver());
    let thread = || {
        let parts = AuthenticatorParts { resolver: Arc::clone(&resolver), ..world.parts() };
        Authenticator::new(parts, 1, Rc::default(), GateFixture::metrics())
    };
    let (first, guessed) = (thread(), thread());
    assert!(first.identify(LookedUp::ApiKey, &key, CLIENT).await.unwrap().is_some());
    let now = world.clock.now();
    for _ in 0..60 {
        guessed.credential_cache.negative_cache.count(CLIENT, now);
    }
    let asked = resolver.lookups();
    assert!(guessed.identify(LookedUp::ApiKey, &key, CLIENT).await.unwrap().is_some());
    for other in [&guess, &unused] {
        let refused = guessed.identify(LookedUp::ApiKey, other, CLIENT).await;
        assert!(matches!(refused, Err(Refusal::TooManyAttempts { .. })), "{refused:?}");
    }
    assert_eq!(resolver.lookups(), asked, "and the store is not asked");
}
