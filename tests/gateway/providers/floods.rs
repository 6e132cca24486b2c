//! Sign-ins that come back and lead to nothing, in any number.

use super::World;
use crate::support::browser::Browser;
use crate::support::provider::person;

#[tokio::test(flavor = "multi_thread")]
async fn who_brings_back_what_leads_to_nothing_all_the_time_waits_and_who_is_known_does_not() {
    let world = World::with("").await;
    let mut known = world.signed_in(&person("ann")).await;
    let mut stranger = Browser::default();
    let mut told = Vec::new();
    while told.last() != Some(&429) {
        let location = stranger.begin(&world.gateway, "sso", "/").await;
        let answer = stranger.get(&world.gateway, &world.provider.deny(&location, "access_denied")).await;
        assert_eq!(answer.status == 429, answer.header("retry-after").is_some(), "{}", answer.head);
        told.push(answer.status);
        assert!(told.len() < 200, "{told:?}");
    }
    let before = &told[..told.len() - 1];
    assert!(before.len() >= 30 && before.iter().all(|status| *status == 403), "{told:?}");

    let location = known.begin(&world.gateway, "sso", "/").await;
    let answer = known.get(&world.gateway, &world.provider.deny(&location, "access_denied")).await;
    assert_eq!(answer.status, 403, "another device at the same address: {}", answer.text());
    let again = known.sign_in(&world.gateway, (&world.provider, "sso"), &person("ann"), "/").await;
    assert_eq!(again.status, 303, "{}", again.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_ins_that_succeed_are_never_too_many_of_an_office() {
    let world = World::with("").await;
    for number in 0..40 {
        let mut browser = Browser::default();
        let who = person(&format!("user{number}"));
        let answer = browser.sign_in(&world.gateway, (&world.provider, "sso"), &who, "/").await;
        assert_eq!(answer.status, 303, "{number}: {}", answer.text());
    }
}
