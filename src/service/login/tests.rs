//! Signing in: who gets in, who is slowed down, and who notices nothing of it.

use std::time::Duration;

use super::*;
use crate::model::role::Role;
use crate::service::accounts::NewUser;
use crate::service::attempts::line_of;
use crate::service::testing::PASSWORD;
use crate::service::testing::ServiceFixture;
use crate::service::testing::new_user;

const HERE: &str = "192.0.2.1";

fn is_refused<T>(outcome: &Result<T, ServiceError>) -> bool {
    matches!(outcome, Err(ServiceError::Refused))
}

fn is_throttled<T>(outcome: &Result<T, ServiceError>) -> bool {
    matches!(outcome, Err(ServiceError::Throttled { .. }))
}

#[tokio::test]
async fn the_right_password_opens_a_session_by_name_and_by_address() {
    let world = ServiceFixture::new().await;
    let user = world.user_with_password("alice").await;
    for name in ["alice", "ALICE", "alice@example.org"] {
        let signed_in = world.sign_in(name, PASSWORD, HERE, None).await.unwrap();
        assert_eq!(signed_in.user, user);
        let digest = world.sessions.digest_of_cookie(signed_in.cookie.expose()).unwrap();
        assert_eq!(world.sessions.resolve(digest).await.unwrap().unwrap().name, "alice");
    }
}

/// L02: the time an answer takes, told by the work behind it.
#[tokio::test]
async fn unknown_wrong_disabled_and_passwordless_take_the_same_path() {
    let world = ServiceFixture::new().await;
    world.user_with_password("alice").await;
    world.user("passwordless").await;
    let disabled = world.user_with_password("disabled").await;
    world.accounts.disable(&world.by, &disabled.id).await.unwrap();
    let endless = "x".repeat(100_000);
    for (at, (name, password)) in [
        ("alice", "wrong"),
        ("alice", ""),
        ("alice", endless.as_str()),
        ("nobody", PASSWORD),
        ("", PASSWORD),
        (endless.as_str(), PASSWORD),
        ("a\0b", PASSWORD),
        ("passwordless", ""),
        ("passwordless", PASSWORD),
        ("disabled", PASSWORD),
    ]
    .into_iter()
    .enumerate()
    {
        let before = world.passwords.computed();
        let client = format!("192.0.2.{at}");
        assert!(is_refused(&world.sign_in(name, password, &client, None).await), "{name:.20}");
        assert_eq!(world.passwords.computed(), before + 1, "{name:.20}");
    }
    assert_eq!(world.sessions.list(&world.by, None).await.unwrap(), []);
}

#[tokio::test]
async fn guesses_from_one_network_are_slowed_down_and_nothing_is_computed_then() {
    let world = ServiceFixture::new().await;
    world.user_with_password("alice").await;
    for at in 0..6 {
        let client = format!("2001:db8::{at:x}");
        let name = ["alice", "alice@example.org", "nobody"][at % 3];
        assert!(is_refused(&world.sign_in(name, "wrong", &client, None).await), "{at}");
    }
    let before = world.passwords.computed();
    for name in ["alice", "ALICE", "alice@example.org", "nobody", "nobody@example.org", "never seen"] {
        let answer = world.sign_in(name, PASSWORD, "2001:db8::ffff", None).await;
        assert!(is_throttled(&answer), "{name}: one answer for whoever it is");
    }
    assert_eq!(world.passwords.computed(), before);
    assert!(world.sign_in("alice", PASSWORD, "2001:db8:0:1::1", None).await.is_ok(), "another /64");
    world.clock.advance(Duration::from_secs(1));
    assert!(world.sign_in("alice", PASSWORD, "2001:db8::ffff", None).await.is_ok());
    world.clock.advance(Duration::from_secs(1));
    let after_success = world.sign_in("alice", "wrong", "2001:db8::ffff", None).await;
    assert!(is_refused(&after_success), "a success takes back its own attempt");
    assert!(is_throttled(&world.sign_in("bob", "wrong", "2001:db8::ffff", None).await), "but no other");
}

/// What guesses at these names, in this order, are answered, each from another network.
async fn guessed(world: &ServiceFixture, names: &[&str]) -> Vec<String> {
    let mut answers = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let client = format!("198.51.{}.{}", at / 250, at % 250);
        answers.push(match world.sign_in(name, "wrong", &client, None).await {
            Err(ServiceError::Refused) => "refused".to_owned(),
            Err(ServiceError::Throttled { retry_after }) => format!("after {retry_after:?}"),
            other => panic!("{other:?}"),
        });
    }
    answers
}

/// An account's name and address, which have nothing in common, other spellings of both, and what is its address's part
/// before the `@`, which may be anybody's. Then what is alike and no account's.
const ALICES: [&str; 7] = [
    "alice",
    "ALICE",
    "\u{ff41}lice",
    "Zo\u{eb}.smith@example.org",
    "zoe\u{308}.smith@EXAMPLE.org",
    "zo\u{eb}.smith",
    "alice@example.org",
];
const NOBODYS: [&str; 7] = [
    "bobby",
    "BOBBY",
    "\u{ff42}obby",
    "Zo\u{eb}.jones@example.org",
    "zoe\u{308}.jones@EXAMPLE.org",
    "zo\u{eb}.jones",
    "bobby@example.org",
];

#[tokio::test]
async fn the_throttle_tells_neither_who_exists_nor_which_names_are_one_accounts() {
    // By name: which of them is tried how often, in turn and one after the other.
    let orders: [&[(usize, usize)]; 6] = [
        &[(0, 30), (3, 4), (5, 4), (6, 4)],
        &[(3, 30), (0, 4), (5, 4), (6, 4)],
        &[(5, 30), (3, 4), (0, 4)],
        &[(6, 30), (0, 4), (3, 4)],
        &[(0, 9), (1, 9), (2, 9), (3, 9), (4, 9), (5, 9), (0, 2), (3, 2), (5, 2)],
        &[(4, 20), (0, 20), (3, 20), (1, 20), (2, 2), (6, 2)],
    ];
    for order in orders {
        let told = [ALICES, NOBODYS].map(|names| async move {
            let world = ServiceFixture::new().await;
            let new = NewUser {
                email: Some("zo\u{eb}.smith@example.org".to_owned()),
                password: Some((Secret::new(PASSWORD), false)),
                ..new_user("alice", Role::Member)
            };
            world.accounts.create(&world.by, new).await.unwrap();
            let tries: Vec<&str> =
                order.iter().flat_map(|(name, times)| vec![names[*name]; *times]).collect();
            guessed(&world, &tries).await
        });
        let [alices, nobodys] = told;
        let (alices, nobodys) = (alices.await, nobodys.await);
        assert_eq!(alices, nobodys, "{order:?}");
        assert!(alices.iter().any(|answer| answer != "refused"), "or else it shows nothing: {order:?}");
    }
}

#[tokio::test]
async fn spellings_of_a_name_count_together_and_other_names_apart() {
    let world = ServiceFixture::new().await;
    world.user_with_password("sam").await;
    let spellings = ["sam@one.example", "SAM@one.example", "\u{ff53}am@ONE.example"];
    let tries: Vec<&str> = (0..30).map(|at| spellings[at % 3]).collect();
    let answers = guessed(&world, &tries).await;
    assert_eq!(answers.iter().filter(|answer| *answer == "refused").count(), 26);
    for spelling in spellings {
        assert!(is_throttled(&world.sign_in(spelling, "wrong", "203.0.113.1", None).await), "{spelling}");
    }
    for (at, other) in ["sam@two.example", "sam", "sam@example.org"].into_iter().enumerate() {
        let client = format!("203.0.113.{at}");
        assert!(is_refused(&world.sign_in(other, "wrong", &client, None).await), "{other}");
    }
    assert!(world.sign_in("sam", PASSWORD, "203.0.113.9", None).await.is_ok());
}

#[tokio::test]
async fn guesses_at_an_account_by_both_its_names_are_few() {
    let world = ServiceFixture::new().await;
    world.user_with_password("alice").await;
    let mut looked_at = 0;
    for minute in 0..20 {
        for (at, name) in ["alice", "alice@example.org"].into_iter().enumerate() {
            for burst in 0..if minute == 0 { 60 } else { 1 } {
                let client = format!("2001:db8:{minute:x}:{:x}::1", at * 100 + burst);
                looked_at += usize::from(is_refused(&world.sign_in(name, "wrong", &client, None).await));
            }
        }
        world.clock.advance(Duration::from_mins(1));
    }
    // A wait grows from a second to two minutes by seven more.
    assert!(looked_at <= 2 * (26 + 7) + 20, "{looked_at} in twenty minutes");
}

#[tokio::test]
async fn the_device_of_somebody_who_may_not_sign_in_counts_as_none() {
    let world = ServiceFixture::new().await;
    let (alice, bob) = (world.user_with_password("alice").await, world.user_with_password("bob").await);
    let device = world.sign_in("alice", PASSWORD, HERE, None).await.unwrap().device;
    assert_eq!(world.login.owner_of_device(device.expose()), Some(alice.id.clone()));
    world.accounts.disable(&world.by, &alice.id).await.unwrap();
    assert!(!world.login.may_come_back(&alice.id).await);
    assert!(world.login.may_come_back(&bob.id).await);
    assert!(!world.login.may_come_back(&UserId("gone".to_owned())).await);
    let there = |at| format!("198.51.100.{at}");
    for at in 0..26 {
        assert!(is_refused(&world.sign_in("alice", "wrong", &there(at), None).await), "{at}");
    }
    let shown = Some(device.expose());
    assert!(is_throttled(&world.sign_in("alice", "wrong", &there(99), shown).await), "as a stranger is");
    world.accounts.enable(&world.by, &alice.id).await.unwrap();
    assert!(world.sign_in("alice", PASSWORD, &there(99), shown).await.is_ok());
}

#[tokio::test]
async fn nobody_can_lock_the_owner_out_of_a_known_device() {
    let world = ServiceFixture::new().await;
    world.user_with_password("alice").await;
    world.user_with_password("mallory").await;
    let device = world.sign_in("alice", PASSWORD, HERE, None).await.unwrap().device;
    let mallorys = world.sign_in("mallory", PASSWORD, HERE, None).await.unwrap().device;
    for at in 0..26 {
        let client = format!("198.51.100.{at}");
        assert!(is_refused(&world.sign_in("alice", "wrong", &client, None).await), "{at}");
    }
    for device in [None, Some("forged~id.tag"), Some(mallorys.expose())] {
        assert!(is_throttled(&world.sign_in("alice", PASSWORD, HERE, device).await), "{device:?}");
    }
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        drop(world.sign_in(name, "wrong", HERE, None).await);
    }
    let again = world.sign_in("alice", PASSWORD, HERE, Some(device.expose())).await.unwrap();
    assert_eq!(again.device.expose(), device.expose(), "a valid device cookie is kept");
}

#[tokio::test]
async fn a_clock_that_was_set_back_keeps_no_right_password_out() {
    let world = ServiceFixture::new().await;
    world.user_with_password("alice").await;
    let hours = Duration::from_hours(2);
    world.clock.advance(hours);
    let device = world.sign_in("alice", PASSWORD, HERE, None).await.unwrap().device;
    assert!(is_refused(&world.sign_in("alice", "wrong", HERE, None).await));
    assert!(is_refused(&world.sign_in("alice", "wrong", HERE, Some(device.expose())).await));
    world.clock.set_back(hours);
    for device in [None, Some(device.expose()), None] {
        assert!(world.sign_in("alice", PASSWORD, HERE, device).await.is_ok(), "{device:?}");
    }
    world.clock.advance(hours);
    for _ in 0..8 {
        drop(world.sign_in("alice", "wrong", HERE, None).await);
    }
    world.clock.set_back(hours);
    let wait = match world.sign_in("alice", PASSWORD, HERE, None).await {
        Err(ServiceError::Throttled { retry_after }) => retry_after,
        other => panic!("{other:?}"),
    };
    assert!(wait <= Duration::from_secs(4), "no longer than failures just now would cost: {wait:?}");
    world.clock.advance(wait);
    assert!(world.sign_in("alice", PASSWORD, HERE, None).await.is_ok());
}

#[tokio::test]
async fn a_known_device_has_only_so_many_guesses_too() {
    let world = ServiceFixture::new().await;
    world.user_with_password("alice").await;
    let device = world.sign_in("alice", PASSWORD, HERE, None).await.unwrap().device;
    let device = Some(device.expose());
    for _ in 0..5 {
        assert!(is_refused(&world.sign_in("alice", "wrong", HERE, device).await));
    }
    assert!(world.sign_in("alice", PASSWORD, HERE, device).await.is_ok(), "which forgets those before it");
    for at in 0..6 {
        let client = format!("198.51.100.{at}");
        assert!(is_refused(&world.sign_in("alice", "wrong", &client, device).await), "{at}");
    }
    assert!(is_throttled(&world.sign_in("alice", PASSWORD, "198.51.100.9", device).await));
}

#[tokio::test]
async fn strangers_who_fill_every_seat_or_hold_the_turn_at_a_name_keep_no_known_browser_waiting() {
    let world = ServiceFixture::new().await;
    let alice = world.user_with_password("alice").await;
    let device = world.sign_in("alice", PASSWORD, HERE, None).await.unwrap().device;
    let asked = Reauthentication { user: &alice.id, session: "own", client: HERE.parse().unwrap() };
    let [seats, turn] = [true, false];
    for held in [seats, turn] {
        let _seats = held.then(|| world.passwords.all_seats_of_unknown());
        let _turn = if held { None } else { Some(world.passwords.turn_at(&line_of("alice")).await.unwrap()) };
        let before = world.passwords.computed();
        // More than may fail: what was not looked at counts as no failure.
        for _ in 0..if held { 8 } else { 1 } {
            let stranger = world.sign_in("alice", PASSWORD, HERE, None).await;
            assert!(matches!(stranger, Err(ServiceError::Busy { .. })), "{held}: {stranger:?}");
        }
        assert_eq!(world.passwords.computed(), before);
        assert!(world.sign_in("alice", PASSWORD, HERE, Some(device.expose())).await.is_ok(), "{held}");
        let again = world.login.check_password(world.by.actor(), asked, Secret::new(PASSWORD)).await;
        assert!(again.is_ok(), "{held}: {again:?}");
    }
    assert!(world.sign_in("alice", PASSWORD, HERE, None).await.is_ok(), "or else it shows nothing");
}

#[tokio::test]
async fn a_password_that_is_changed_while_it_is_looked_at_opens_nothing() {
    let world = ServiceFixture::new().await;
    let alice = world.user_with_password("alice").await;
    let changed = world.passwords.hash(Secret::new("a password for later")).await.unwrap();
    let working = world.passwords.all_places_of_ours();
    let waiting = world.passwords.seats_of_unknown();
    let sign_in = world.sign_in("alice", PASSWORD, HERE, None);
    let change = async {
        while world.passwords.seats_of_unknown() == waiting {
            tokio::task::yield_now().await;
        }
        let now = world.clock.now();
        assert!(world.store.set_password(&alice.id, &changed, false, now).await.unwrap());
        drop(working);
    };
    let (outcome, ()) = tokio::join!(sign_in, change);
    assert!(is_refused(&outcome));
    assert_eq!(world.sessions.list(&world.by, Some(&alice.id)).await.unwrap().len(), 0);
}

#[tokio::test]
async fn whoever_signs_in_all_the_time_is_slowed_down_and_leaves_so_many_rows() {
    let world = ServiceFixture::new().await;
    let alice = world.user_with_password("alice").await;
    world.user_with_password("bob").await;
    let (began, rows) = (std::time::Instant::now(), world.store.audit_head().await.unwrap().seq);
    let device = world.sign_in("alice", PASSWORD, HERE, None).await.unwrap().device;
    let (mut opened, mut slowed) = (1, [0, 0]);
    while opened < 60 || slowed.contains(&0) {
        for (at, device) in [Some(device.expose()), None].into_iter().enumerate() {
            let before = world.passwords.computed();
            match world.sign_in("alice", PASSWORD, HERE, device).await {
                Ok(_) => opened += 1,
                Err(ServiceError::Throttled { .. }) => {
                    slowed[at] += 1;
                    assert_eq!(world.passwords.computed(), before + at, "a stranger is told after the work");
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(
            opened <= 61 + began.elapsed().as_secs() / 5,
            "{opened} were opened in {:?}",
            began.elapsed()
        );
    }
    world.store.flush_failed_attempts(false).await.unwrap();
    let written = world.store.audit_head().await.unwrap().seq - rows;
    assert_eq!(
        u64::try_from(written).unwrap(),
        opened + 1,
        "one row, and a count, for all that were too many"
    );
    assert_eq!(world.sessions.list(&world.by, Some(&alice.id)).await.unwrap().len(), 20);
    assert!(is_refused(&world.sign_in("alice", "wrong", HERE, None).await), "strangers learn nothing");
    assert!(world.sign_in("bob", PASSWORD, HERE, None).await.is_ok(), "somebody else");
}

#[tokio::test]
async fn a_device_cookie_of_another_user_is_replaced() {
    let world = ServiceFixture::new().await;
    world.user_with_password("alice").await;
    world.user_with_password("bob").await;
    let alices = world.sign_in("alice", PASSWORD, HERE, None).await.unwrap().device;
    let bobs = world.sign_in("bob", PASSWORD, HERE, Some(alices.expose())).await.unwrap().device;
    assert_ne!(alices.expose(), bobs.expose());
    assert!(alices.expose().len() < LONGEST_DEVICE);
}

#[tokio::test]
async fn who_is_asked_again_inside_a_session_waits_for_no_stranger() {
    let world = ServiceFixture::new().await;
    let user = world.user_with_password("alice").await;
    let asked = |session| Reauthentication { user: &user.id, session, client: HERE.parse().unwrap() };
    for at in 0..60 {
        let client = format!("198.51.100.{at}");
        drop(world.sign_in("alice", "wrong", &client, None).await);
        drop(world.sign_in("alice", "wrong", HERE, None).await);
    }
    assert!(is_throttled(&world.sign_in("alice", PASSWORD, HERE, None).await));
    for _ in 0..5 {
        assert!(
            world.login.check_password(world.by.actor(), asked("own"), Secret::new(PASSWORD)).await.is_ok()
        );
    }
    let new = Secret::new("a password for later");
    assert!(
        world
            .accounts
            .change_password(world.by.actor(), asked("own"), Secret::new(PASSWORD), new)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_stolen_session_has_only_so_many_guesses() {
    let world = ServiceFixture::new().await;
    let user = world.user_with_password("alice").await;
    let check = async |session: &str, password: &str| {
        let asked = Reauthentication { user: &user.id, session, client: HERE.parse().unwrap() };
        world.login.check_password(world.by.actor(), asked, Secret::new(password)).await
    };
    let mut computed = world.passwords.computed();
    for _ in 0..6 {
        assert!(is_refused(&check("stolen", "wrong").await));
        computed += 1;
    }
    assert!(is_throttled(&check("stolen", PASSWORD).await));
    assert_eq!(world.passwords.computed(), computed);
    assert!(check("own", PASSWORD).await.is_ok(), "the owner's own session");
    assert!(is_throttled(&check("stolen", PASSWORD).await), "which takes nothing back");
    assert!(world.sign_in("alice", PASSWORD, HERE, None).await.is_ok());
    let mut tried = 0;
    for _ in 0..24 * 60 {
        world.clock.advance(Duration::from_mins(1));
        tried += usize::from(is_refused(&check("stolen", "wrong").await));
    }
    assert!(tried <= 110, "{tried} in a day");
    let nobody = UserId("nobody".to_owned());
    let asked = Reauthentication { user: &nobody, session: "another", client: HERE.parse().unwrap() };
    assert!(is_refused(&world.login.check_password(world.by.actor(), asked, Secret::new(PASSWORD)).await));
}

/// L20: a hash of old parameters.
#[tokio::test]
async fn an_old_hash_is_replaced_at_sign_in() {
    let world = ServiceFixture::new().await;
    let user = world.user("alice").await;
    let params = argon2::Params::new(1024, 1, 1, None).unwrap();
    let old = argon2::PasswordHasher::hash_password(&argon2::Argon2::from(params), PASSWORD.as_bytes());
    let old = old.unwrap().to_string();
    world.store.set_password(&user.id, &old, false, world.clock.now()).await.unwrap();
    assert!(is_refused(&world.sign_in("alice", "wrong", HERE, None).await));
    assert_eq!(world.store.password_of(&user.id).await.unwrap().as_deref(), Some(old.as_str()));
    assert!(world.sign_in("alice", PASSWORD, HERE, None).await.is_ok());
    let renewed = world.store.password_of(&user.id).await.unwrap().unwrap();
    assert!(renewed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{renewed}");
    assert!(world.sign_in("alice", PASSWORD, HERE, None).await.is_ok());
}
