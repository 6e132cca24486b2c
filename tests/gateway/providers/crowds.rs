//! Many at once: nobody becomes anybody else, and a provider that is slow holds up nobody but those who wait for it.

use std::sync::Arc;

use super::{World, settings};
use crate::support::browser::Browser;
use crate::support::gateway::PASSWORD;
use crate::support::provider::{Fault, Provider, person};
use crate::support::{Gateway, Upstream, until, within};

/// How many sign in at a time.
const AT_ONCE: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_sign_ins_of_pairs_none_gets_the_others_session() {
    let world = Arc::new(World::with("").await);
    let mut crowd = tokio::task::JoinSet::new();
    for lane in 0..AT_ONCE {
        let world = Arc::clone(&world);
        crowd.spawn(async move {
            // One person may have sixty sessions a minute.
            let names = [format!("ann-{lane}"), format!("bob-{lane}")];
            let people = names.each_ref().map(|name| person(name));
            for round in 0..50 {
                // Both begin before either comes back, in one browser each, and come back crosswise.
                let mut browsers = [Browser::of_a_crowd(), Browser::of_a_crowd()];
                let mut back = Vec::new();
                for (at, browser) in browsers.iter_mut().enumerate() {
                    let location =
                        browser.begin(&world.gateway, "sso", &format!("/{lane}/{round}/{at}")).await;
                    back.push(world.provider.approve(&location, &people[at]));
                }
                for at in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                    let answer = browsers[at].get(&world.gateway, &back[at]).await;
                    assert_eq!(answer.status, 303, "{}\n{}", answer.head, answer.text());
                    let target = format!("/{lane}/{round}/{at}");
                    assert_eq!(answer.header("location"), Some(target.as_str()));
                    let account = browsers[at].get(&world.gateway, "/_doorward/account").await.text();
                    let (name, other) = (&names[at], &names[1 - at]);
                    assert!(account.contains(&format!("<strong>{name}</strong>")), "{name}: {account}");
                    assert!(!account.contains(other), "{name}: {account}");
                }
            }
        });
    }
    while let Some(done) = crowd.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_hangs_holds_up_nobody_but_those_who_wait_for_it() {
    let (slow, quick, upstream) = (Provider::start().await, Provider::start().await, Upstream::spawn().await);
    let both = [slow.settings("slow", ""), quick.settings("quick", "")];
    let gateway = Arc::new(Gateway::configured(&settings(&upstream, "", &both)).await);
    gateway.user("local", doorward::model::role::Role::Viewer).await;
    let mut before = Browser::default();
    before.sign_in(&gateway, (&slow, "slow"), &person("ann"), "/").await;
    let mut waiting = tokio::task::JoinSet::new();
    let mut back = Vec::new();
    for _ in 0..40 {
        let mut browser = Browser::default();
        let location = browser.begin(&gateway, "slow", "/").await;
        back.push((browser, slow.approve(&location, &person("bob"))));
    }
    slow.set(Fault::Hangs("/token"));
    for (mut browser, back) in back {
        let gateway = Arc::clone(&gateway);
        waiting.spawn(async move { browser.get(&gateway, &back).await.status });
    }
    until("somebody who waits for the slow one", async || slow.asked("/token") >= 8).await;
    let others = async {
        let form = [("username", "local"), ("password", PASSWORD), ("rd", "/")];
        assert_eq!(Browser::default().post(&gateway, "/_doorward/login", &form).await.status, 303);
        let answer = Browser::default().sign_in(&gateway, (&quick, "quick"), &person("carl"), "/").await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        assert_eq!(before.get(&gateway, "/x").await.status, 200, "who is signed in goes on");
        assert_eq!(before.get(&gateway, "/_doorward/account").await.status, 200);
    };
    let began = std::time::Instant::now();
    within("everybody else", others).await;
    assert!(began.elapsed().as_secs() < 8, "they waited for it: {:?}", began.elapsed());
    while let Some(status) = waiting.join_next().await {
        assert_eq!(status.unwrap(), 503, "told that it does not answer, or that too many wait");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_stops_neither_start_nor_reload_nor_other_ways_in() {
    let (up, upstream) = (Provider::start().await, Upstream::spawn().await);
    let down = "[[providers]]\nname = \"down\"\nissuer = \"http://127.0.0.1:1\"\nclient_id = \"d\"\ntoken_auth = \"none\"\n";
    let of = |more: &str| settings(&upstream, "", &[up.settings("up", more), down.to_owned()]);
    let gateway = Gateway::configured(&of("")).await;
    let answer = gateway.get("/_doorward/sign-in/down", "").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    let text = answer.text();
    assert!(
        text.contains("down does not answer as it should") && text.contains("Other ways to sign in"),
        "{text}"
    );
    let mut browser = Browser::default();
    browser.sign_in(&gateway, (&up, "up"), &person("ann"), "/").await;
    assert_eq!(up.asked("/.well-known/openid-configuration"), 1);
    // What is known of a provider is kept where nothing about it changes, so that it need not be up at that moment.
    gateway
        .reload(&of("display_name = \"Up\"").replacen("display_name = \"The up\"\n", "", 1))
        .await
        .unwrap();
    up.set(Fault::Html("/.well-known/openid-configuration", 500));
    let answer = Browser::default().sign_in(&gateway, (&up, "up"), &person("ann"), "/").await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    assert_eq!(browser.get(&gateway, "/x").await.status, 200);
    // Without the provider its sessions end, and its addresses are nobody's.
    gateway.reload(&settings(&upstream, "", &[])).await.unwrap();
    gateway.settle().await;
    assert_eq!(browser.get(&gateway, "/x").await.status, 401);
    for path in ["/_doorward/callback/up?code=c&state=s", "/_doorward/sign-in/up"] {
        assert_eq!(gateway.get(path, "").await.status, 404, "{path}");
    }
}
