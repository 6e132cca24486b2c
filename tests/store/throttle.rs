//! The login throttle that all gateways share.

use super::*;

on_each_database![
    attempts_are_free_then_delayed_then_forgotten,
    one_closed_bucket_closes_the_attempt_and_counts_nothing,
    success_clears_own_buckets_and_refunds_shared_ones,
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
        let answer = store.reserve_attempt(&account, later(at)).await.unwrap();
        assert_eq!(answer, expected, "step {n} at {at}");
    }
    assert_eq!(store.reserve_attempt(&[bucket("other")], later(1289)).await.unwrap(), None);
    assert_eq!(store.purge_attempts(later(1290)).await.unwrap(), 2);
    assert_eq!(store.reserve_attempt(&account, later(1290)).await.unwrap(), None);
    assert_eq!(store.purge_attempts(later(1290)).await.unwrap(), 0);
}

async fn one_closed_bucket_closes_the_attempt_and_counts_nothing(store: &Store) {
    for _ in 0..3 {
        assert_eq!(store.reserve_attempt(&[bucket("network")], NOW).await.unwrap(), None);
    }
    for _ in 0..5 {
        let both = [bucket("account"), bucket("network")];
        let answer = store.reserve_attempt(&both, NOW).await.unwrap();
        assert_eq!(answer, Some(Duration::from_secs(10)), "a refused attempt does not prolong the wait");
    }
    for _ in 0..3 {
        assert_eq!(store.reserve_attempt(&[bucket("account")], NOW).await.unwrap(), None, "was not counted");
    }
}

async fn a_clock_that_was_set_back_keeps_nobody_out(store: &Store) {
    let hours = 2 * 3600;
    assert_eq!(store.reserve_attempt(&[bucket("good")], later(hours)).await.unwrap(), None);
    store.refund_attempts(&["good".to_owned()]).await.unwrap();
    assert_eq!(store.reserve_attempt(&[bucket("good")], NOW).await.unwrap(), None, "without a failure");
    for _ in 0..3 {
        assert_eq!(store.reserve_attempt(&[bucket("bad")], later(hours)).await.unwrap(), None);
    }
    let both = [bucket("bad"), bucket("good")];
    let wait = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(store.reserve_attempt(&both, NOW).await.unwrap(), wait(10), "as if it had failed just now");
    assert_eq!(store.reserve_attempt(&both, later(9)).await.unwrap(), wait(1), "the wait goes on from there");
    assert_eq!(store.reserve_attempt(&both, later(10)).await.unwrap(), None);
    assert_eq!(
        store.reserve_attempt(&both, later(10)).await.unwrap(),
        wait(20),
        "and its failures still count"
    );
}

async fn gateways_whose_clocks_differ_keep_nobody_out(store: &Store) {
    for at in [5, 0, 5, 0, 5, 0] {
        let own = [bucket("network"), bucket("account")];
        assert_eq!(
            store.reserve_attempt(&own, later(at)).await.unwrap(),
            None,
            "a sign-in by the clock {at}"
        );
        store.clear_attempts(&["account".to_owned()]).await.unwrap();
        store.refund_attempts(&["network".to_owned()]).await.unwrap();
    }
    for at in [5, 0, 5] {
        assert_eq!(store.reserve_attempt(&[bucket("account")], later(at)).await.unwrap(), None);
    }
    let behind = store.reserve_attempt(&[bucket("account")], NOW).await.unwrap();
    assert_eq!(behind, Some(Duration::from_secs(10)), "no longer than the delay, by either clock");
}

/// L12: a success that clears what others have counted.
async fn success_clears_own_buckets_and_refunds_shared_ones(store: &Store) {
    let (own, shared) = (bucket("own"), bucket("shared"));
    for _ in 0..3 {
        assert_eq!(store.reserve_attempt(&[own.clone(), shared.clone()], NOW).await.unwrap(), None);
    }
    store.clear_attempts(&["own".to_owned(), "unknown".to_owned()]).await.unwrap();
    store.refund_attempts(&["shared".to_owned(), "unknown".to_owned()]).await.unwrap();
    for (bucket, expected) in [(own, 3), (shared, 1)] {
        let mut passed = 0;
        while store.reserve_attempt(std::slice::from_ref(&bucket), NOW).await.unwrap().is_none() {
            passed += 1;
        }
        assert_eq!(passed, expected, "{}", bucket.name);
    }
}

async fn parallel_attempts_are_counted_one_by_one(store: &Store) {
    let passed = count((0..20).map(|n| {
        let store = store.clone();
        let mut both = [bucket("account"), bucket("network")];
        if n % 2 == 0 {
            both.reverse();
        }
        async move { store.reserve_attempt(&both, NOW).await.unwrap().is_none() }
    }));
    assert_eq!(passed.await, 3);
}
