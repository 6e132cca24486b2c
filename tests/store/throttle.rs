//! The login throttle that all gateways share.

use super::*;

on_each_database![
    attempts_are_free_then_delayed_then_forgotten,
    one_closed_bucket_closes_the_attempt_and_counts_nothing,
    success_clears_own_buckets_and_refunds_shared_ones,
    a_success_keeps_nobody_waiting_longer,
    parallel_attempts_are_counted_one_by_one,
    a_clock_that_was_set_back_keeps_nobody_out,
    gateways_whose_clocks_differ_keep_nobody_out,
];

async fn attempts_are_free_then_delayed_then_forgotten(store: &Store) {
    let account = [bucket("account")];
    let wait = |seconds| Some(Duration::from_secs(seconds));
    let steps = [
        (0, None),
        (0, None),
        (0, None), // the third failure is the first beyond the free ones
        (0, wait(10)),
        (9, wait(1)),
        (10, None),
        (10, wait(20)),
        (30, None),
        (30, wait(30)),
        (60, None),
        (60, wait(30)), // the longest delay
        (90, None),
        (689, None), // a second short of the window
        (690, wait(29)),
        (1289, None), // forgotten
        (1289, None),
        (1289, None),
        (1289, wait(10)),
    ];
    for (n, (at, expected)) in steps.into_iter().enumerate() {
        let answer = reserve(store, &account, later(at)).await;
        assert_eq!(answer, expected, "step {n} at {at}");
    }
    assert_eq!(reserve(store, &[bucket("other")], later(1289)).await, None);
    assert_eq!(store.purge_attempts(later(1290)).await.unwrap(), 2);
    assert_eq!(reserve(store, &account, later(1290)).await, None);
    assert_eq!(store.purge_attempts(later(1290)).await.unwrap(), 0);
}

async fn one_closed_bucket_closes_the_attempt_and_counts_nothing(store: &Store) {
    for _ in 0..3 {
        assert_eq!(reserve(store, &[bucket("network")], NOW).await, None);
    }
    for _ in 0..5 {
        let both = [bucket("account"), bucket("network")];
        let answer = reserve(store, &both, NOW).await;
        assert_eq!(answer, Some(Duration::from_secs(10)), "a refused attempt does not prolong the wait");
    }
    for _ in 0..3 {
        assert_eq!(reserve(store, &[bucket("account")], NOW).await, None, "was not counted");
    }
}

async fn a_clock_that_was_set_back_keeps_nobody_out(store: &Store) {
    let hours = 2 * 3600;
    let good = counted(store, &[bucket("good")], later(hours)).await;
    store.refund_attempts(&good).await.unwrap();
    assert_eq!(reserve(store, &[bucket("good")], NOW).await, None, "without a failure");
    for _ in 0..3 {
        assert_eq!(reserve(store, &[bucket("bad")], later(hours)).await, None);
    }
    let both = [bucket("bad"), bucket("good")];
    let wait = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(reserve(store, &both, NOW).await, wait(10), "as if it had failed just now");
    assert_eq!(reserve(store, &both, later(9)).await, wait(1), "the wait goes on from there");
    assert_eq!(reserve(store, &both, later(10)).await, None);
    assert_eq!(reserve(store, &both, later(10)).await, wait(20), "and its failures still count");
}

async fn gateways_whose_clocks_differ_keep_nobody_out(store: &Store) {
    for at in [5, 0, 5, 0, 5, 0] {
        let own = [bucket("network"), bucket("account")];
        assert_eq!(reserve(store, &own, later(at)).await, None, "a sign-in by the clock {at}");
        let more = counted(store, &own, later(at)).await;
        store.clear_attempts(&more[..1]).await.unwrap();
        store.refund_attempts(&more[1..]).await.unwrap();
        store.refund_attempts(&more[1..]).await.unwrap();
    }
    for at in [5, 0, 5] {
        assert_eq!(reserve(store, &[bucket("account")], later(at)).await, None);
    }
    let behind = reserve(store, &[bucket("account")], NOW).await;
    assert_eq!(behind, Some(Duration::from_secs(10)), "no longer than the delay, by either clock");
}

/// What comes of an attempt: how long to wait.
async fn reserve(store: &Store, buckets: &[Bucket], now: Timestamp) -> Option<Duration> {
    match store.reserve_attempt(buckets, now).await.unwrap() {
        Attempted::Counted(_) => None,
        Attempted::Closed(wait) => Some(wait),
    }
}

/// The counts of an attempt that is not kept waiting, in the order of their names.
async fn counted(store: &Store, buckets: &[Bucket], now: Timestamp) -> Vec<CountedAttempt> {
    match store.reserve_attempt(buckets, now).await.unwrap() {
        Attempted::Counted(counted) => counted,
        Attempted::Closed(wait) => panic!("closed for {wait:?}"),
    }
}

/// L12: a success that clears what others have counted.
async fn success_clears_own_buckets_and_refunds_shared_ones(store: &Store) {
    let (own, shared) = (bucket("own"), bucket("shared"));
    let mut last = Vec::new();
    for _ in 0..3 {
        last = counted(store, &[shared.clone(), own.clone()], NOW).await;
    }
    store.clear_attempts(&last[..1]).await.unwrap();
    store.refund_attempts(&last[1..]).await.unwrap();
    for (bucket, expected) in [(own, 3), (shared, 1)] {
        let mut passed = 0;
        while reserve(store, std::slice::from_ref(&bucket), NOW).await.is_none() {
            passed += 1;
        }
        assert_eq!(passed, expected, "{}", bucket.name);
    }
}

async fn a_success_keeps_nobody_waiting_longer(store: &Store) {
    for _ in 0..3 {
        assert_eq!(reserve(store, &[bucket("network")], NOW).await, None);
    }
    let right = counted(store, &[bucket("network")], later(10)).await;
    let beside = reserve(store, &[bucket("network")], later(10)).await;
    assert_eq!(beside, Some(Duration::from_secs(20)), "until it is known to be one");
    store.refund_attempts(&right).await.unwrap();
    assert_eq!(reserve(store, &[bucket("network")], later(10)).await, None, "then as if it had not been");
    assert_eq!(reserve(store, &[bucket("network")], later(11)).await, Some(Duration::from_secs(19)));
}

async fn parallel_attempts_are_counted_one_by_one(store: &Store) {
    let passed = count((0..20).map(|n| {
        let store = store.clone();
        let mut both = [bucket("account"), bucket("network")];
        if n % 2 == 0 {
            both.reverse();
        }
        async move { reserve(&store, &both, NOW).await.is_none() }
    }));
    assert_eq!(passed.await, 3);
}
