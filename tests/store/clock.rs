//! Times that were noted under a clock which has been set back since.

use doorward::store::LongestLifetimes;

use super::*;

on_each_database![
    what_was_noted_later_than_now_counts_as_noted_now,
    a_session_of_a_clock_that_was_ahead_lives_no_longer_than_it_was_given,
    what_clocks_may_differ_by_changes_nothing,
    a_row_of_a_time_to_come_does_not_stop_pruning,
];

const HOURS: i64 = 2 * 3600;

fn longest(now: Timestamp) -> LongestLifetimes {
    LongestLifetimes {
        setup_link: Timestamp(now.0 + 86_400),
        handover: Timestamp(now.0 + 60),
        refresh: Timestamp(now.0 + 3600),
    }
}

async fn rein_in(store: &Store) {
    store.rein_in_times(NOW, longest(NOW)).await.unwrap();
}

async fn found(store: &Store, id: &str) -> Session {
    store.session_by_id(id).await.unwrap().unwrap().0
}

async fn what_was_noted_later_than_now_counts_as_noted_now(store: &Store) {
    let link = |at| store.setup_link(TokenDigest::of("link"), at);
    store.put_setup_link(TokenDigest::of("link"), None, NOW, later(HOURS + 86_400)).await.unwrap();
    rein_in(store).await;
    assert!(link(later(86_399)).await.unwrap().is_some() && link(later(86_400)).await.unwrap().is_none());

    let user = added(store, "alice", Role::Member).await;
    let session = session(&user, "s", NOW);
    store.add_session(&session, TokenDigest::of("s"), 20, Event::Login).await.unwrap();
    store.touch_sessions(&[("s".to_owned(), later(HOURS))]).await.unwrap();
    store.add_key(&key("k", None), TokenDigest::of("k")).await.unwrap();
    store.touch_keys(&[("k".to_owned(), later(HOURS))]).await.unwrap();
    store.report_gateway("gone", 0, later(HOURS)).await.unwrap();
    let handover = Handover {
        session_id: "s".to_owned(),
        browser: TokenDigest::of("held"),
        host: "app.example".to_owned(),
        path: "/".to_owned(),
        expires_at: later(HOURS),
    };
    assert!(store.put_handover(&handover, TokenDigest::of("t"), NOW, 9).await.unwrap());
    for _ in 0..3 {
        store.reserve_attempt(&[bucket("account")], later(HOURS)).await.unwrap();
    }
    rein_in(store).await;
    assert_eq!(found(store, "s").await.last_seen_at, NOW);
    assert_eq!(store.find_key("k").await.unwrap().unwrap().0.last_used_at, Some(NOW));
    assert_eq!(store.gateways_behind(9, later(61)).await.unwrap(), Vec::<String>::new(), "gone in time");
    assert_eq!(store.gateways_behind(9, NOW).await.unwrap(), ["gone"]);
    assert_eq!(store.take_handover(TokenDigest::of("t")).await.unwrap(), None);
    assert_eq!(store.purge_attempts(later(1)).await.unwrap(), 1, "nothing is kept for hours more");
}

async fn a_session_of_a_clock_that_was_ahead_lives_no_longer_than_it_was_given(store: &Store) {
    let user = added(store, "alice", Role::Member).await;
    let early = session(&user, "early", later(HOURS));
    let given = early.expires_at.0 - early.created_at.0;
    store.add_session(&early, TokenDigest::of("early"), 20, Event::Login).await.unwrap();
    let before = store.revision().await.unwrap();
    rein_in(store).await;
    let session = found(store, "early").await;
    assert_eq!((session.created_at, session.expires_at), (NOW, later(given)));
    assert!(store.revision().await.unwrap() > before, "what is remembered is looked up again");
    let before = store.revision().await.unwrap();
    rein_in(store).await;
    assert_eq!(found(store, "early").await, session, "once");
    assert_eq!(store.revision().await.unwrap(), before);
}

async fn what_clocks_may_differ_by_changes_nothing(store: &Store) {
    let user = added(store, "alice", Role::Member).await;
    let beside = session(&user, "s", later(60));
    store.add_session(&beside, TokenDigest::of("s"), 20, Event::Login).await.unwrap();
    rein_in(store).await;
    assert_eq!(found(store, "s").await, beside);
}

async fn a_row_of_a_time_to_come_does_not_stop_pruning(store: &Store) {
    let at = async |seconds| {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(later(seconds)));
        store.audited(audit_key(), clock).await.unwrap()
    };
    for seconds in [0, HOURS, 10, 20, HOURS, 3600] {
        at(seconds).await.record(doorward::model::audit::Note::done(Event::ConfigLoad)).await.unwrap();
    }
    assert_eq!(at(3600).await.prune_audit(later(600), 100).await.unwrap(), 4);
    let left = store.audit_page(0, None, 9).await.unwrap();
    let left: Vec<i64> = left.iter().map(|row| row.seq).collect();
    assert_eq!(left, [5, 6, 7], "one just before a recent row may be recent itself");
}
