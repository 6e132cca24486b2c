//! An hour in which everybody who can do anything does it as fast as possible, while the store fails and the clock jumps:
//! whoever is honest is served, and what was confirmed is kept. Some seconds of it by default, an hour in long runs.

#![expect(clippy::print_stdout, reason = "the figures are for whoever looks at them")]

mod crowd;
mod honest;
mod line;
mod storms;

use std::sync::Arc;
use std::time::{Duration, Instant};

use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;

use self::crowd::Crowd;
use self::honest::Honest;
use self::storms::{STORMS, turn_the_clock};
use crate::credentials::ROUTES;
use crate::hanging_store::{SECRET, database};
use crate::support::relay::Relay;
use crate::support::{Gateway, Upstream};

/// Answers that are waited for before anything happens, and while there is nothing but the crowd.
const SOME: usize = 300;
/// What each of the crowd does at most between two visits of all storms.
const MOST: usize = 400;

const SECOND: Duration = Duration::from_secs(1);

/// For how long it goes on.
fn span() -> Duration {
    let long = std::env::var_os("DOORWARD_TEST_LONG").is_some();
    if long { Duration::from_mins(30) } else { Duration::ZERO }
}

/// The gateway's clock goes as time does: a session counts as used when it was used later than it was opened.
async fn passes(gateway: Arc<Gateway>) {
    let mut second = tokio::time::interval(SECOND);
    loop {
        second.tick().await;
        gateway.clock.advance(SECOND);
    }
}

async fn a_hostile_hour(store: &str, relay: Option<&Relay>) {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "secret = \"{SECRET}\"\n{store}[server]\nworkers = 2\n\
         trusted_proxies = [\"127.0.0.1\"]\n[forward_auth]\nflavours = [\"nginx\"]\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n\
         [[routes]]\nupstream = \"app\"\nhosts = [\"app.example\"]\nrules = [{{ allow = \"viewer\" }}]\n{ROUTES}",
        upstream.url()
    ))
    .await;
    for (name, role) in [("root", Role::Admin), ("mel", Role::Viewer), ("vera", Role::Viewer)] {
        gateway.user(name, role).await;
    }
    let vera = gateway.accounts.find(&gateway.by, "vera").await.unwrap().unwrap().id;
    let (key, _) = gateway.key_with("veras", Role::Viewer, Some(vera), KeyScope::default()).await;
    let gateway = Arc::new(gateway);
    let time = tokio::spawn(passes(Arc::clone(&gateway)));
    let honest = Honest::begin(&gateway).await;
    let quiet = Instant::now();
    honest.record.sees(SOME).await;
    honest.record.tell("quiet", quiet);

    let began = Instant::now();
    let mut answers = 0;
    loop {
        let crowd = Crowd::begin(&gateway, &key, MOST);
        for _ in 0..3 {
            honest.record.sees(SOME).await;
        }
        turn_the_clock(&gateway, &honest.record).await;
        for storm in STORMS {
            if let Some(relay) = relay {
                storm.rage(&gateway, relay, &honest.record).await;
            }
        }
        answers += crowd.end().await;
        if began.elapsed() >= span() {
            break;
        }
    }
    let record = honest.end().await;
    time.abort();
    record.tell("under attack", began);
    println!("the crowd had {answers} answers in {:.1?}", began.elapsed());
    record.judge();
    record.is_kept(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_hour_on_sqlite_takes_nothing_from_the_honest() {
    Box::pin(a_hostile_hour("", None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_hour_on_a_postgresql_that_fails_takes_nothing_but_the_outages() {
    let (relay, url) = database().await;
    let store = format!("[store]\nurl = \"{url}\"\n");
    Box::pin(a_hostile_hour(&store, Some(&relay))).await;
}
