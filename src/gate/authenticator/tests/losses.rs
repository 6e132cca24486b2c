//! Which cached callers are looked up again after others lost rights, or after the clock was set back.

use super::*;
use crate::model::time::ManualClock;
use crate::model::token::KeyText;

/// Two threads with one shared cache, and a clock of their own.
struct Threads {
    resolver: Arc<CredentialResolver>,
    clock: Arc<ManualClock>,
    one: Authenticator,
    other: Authenticator,
}

impl Threads {
    fn of(world: &GateFixture) -> Self {
        let resolver = Arc::new(world.resolver());
        let clock = Arc::new(ManualClock::at(world.parts().clock.now()));
        let thread = || {
            let (resolver, clock) = (Arc::clone(&resolver), clock.clone());
            let parts = AuthenticatorParts { resolver, clock, ..world.parts() };
            Authenticator::new(parts, 1, Rc::default(), GateFixture::metrics())
        };
        let (one, other) = (thread(), thread());
        Self { resolver, clock, one, other }
    }
}

/// Somebody whose losses are noted elsewhere than those of this key.
fn apart_from(key: &str) -> String {
    let slot = EpochSlot::of(KeyText::id_of(key).unwrap());
    (0..100_u32).map(|n| format!("other{n}")).find(|other| EpochSlot::of(other) != slot).unwrap()
}

fn is_remembered(thread: &Authenticator, key: &str) -> bool {
    let digest: CredentialDigest = Sha256::digest(key.as_bytes()).into();
    thread.remembered(thread.credential_cache.caches.of(LookedUp::ApiKey), &digest, thread.now()).is_some()
}

#[tokio::test]
async fn what_others_lose_has_nobody_looked_up_again() {
    let world = GateFixture::new().await;
    let key = world.key("k", Role::Viewer, None).await;
    let threads = Threads::of(&world);
    let look = threads.one.look();
    let identity = threads.one.identify(LookedUp::ApiKey, &key, CLIENT).await.unwrap().unwrap();
    world.revocations.look_again_at(&apart_from(&key));
    assert!(is_remembered(&threads.one, &key));
    assert!(threads.one.still_counts(look, &identity), "what is open goes on");
    assert!(threads.other.identify(LookedUp::ApiKey, &key, CLIENT).await.unwrap().is_some());
    assert_eq!(threads.resolver.lookups(), 1, "another thread knows it from the first");

    world.revocations.look_again_at(KeyText::id_of(&key).unwrap());
    assert!(!threads.one.still_counts(look, &identity));
    assert!(!is_remembered(&threads.one, &key) && !is_remembered(&threads.other, &key));
    assert!(threads.other.identify(LookedUp::ApiKey, &key, CLIENT).await.unwrap().is_some());
    assert_eq!(threads.resolver.lookups(), 2);
}

/// However fast rights of others change.
#[tokio::test]
async fn an_answer_that_a_loss_of_others_overtakes_counts() {
    let world = GateFixture::new().await;
    let key = world.key("k", Role::Viewer, None).await;
    let threads = Threads::of(&world);
    let (found, ()) = tokio::join!(threads.one.identify(LookedUp::ApiKey, &key, CLIENT), async {
        while threads.resolver.lookups() == 0 {
            tokio::task::yield_now().await;
        }
        world.revocations.look_again_at(&apart_from(&key));
    });
    assert!(found.unwrap().is_some());
    assert_eq!(threads.resolver.lookups(), 1);
}

/// D23: a clock that goes back; `tests/store/clock.rs` has the store's side of it.
#[tokio::test]
async fn what_was_remembered_under_a_clock_that_was_set_back_is_looked_up_again() {
    let world = GateFixture::new().await;
    let key = world.key("k", Role::Viewer, None).await;
    let threads = Threads::of(&world);
    let ahead = Duration::from_hours(2);
    threads.clock.advance(ahead);
    assert!(threads.one.identify(LookedUp::ApiKey, &key, CLIENT).await.unwrap().is_some());
    assert!(is_remembered(&threads.one, &key));
    threads.clock.set_back(ahead);
    assert!(!is_remembered(&threads.one, &key), "or it would be for hours");
}

#[tokio::test]
async fn a_clock_that_was_set_back_keeps_no_use_from_being_noted_and_nobody_who_is_idle() {
    let world = GateFixture::new().await;
    let user = world.user("alice", Role::Viewer, &[]).await;
    let cookie = world.session(&user).await;
    let threads = Threads::of(&world);
    let (ahead, idle) = (Duration::from_hours(2), world.parts().idle);
    threads.clock.advance(ahead);
    let identity = threads.one.identify(LookedUp::Session, &cookie, CLIENT).await.unwrap().unwrap();
    identity.seen.set(threads.one.now());
    identity.written.set(threads.one.now());
    assert!(!identity.is_to_be_written(threads.one.now(), TOUCH_EVERY));
    threads.clock.set_back(ahead);
    assert!(identity.is_to_be_written(threads.one.now(), TOUCH_EVERY));
    assert!(threads.one.still_holds(&identity, false));
    threads.clock.advance(idle);
    assert!(!threads.one.still_holds(&identity, false), "idle for as long as anybody may be");
}
