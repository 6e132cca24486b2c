//! Probes of `doorward doctor`.

use super::*;

on_each_database![
    a_probe_takes_the_first_report_in_time,
    probes_are_few,
    probes_of_a_clock_that_was_set_back_take_no_room,
];

async fn a_probe_takes_the_first_report_in_time(store: &Store) {
    let (ours, other) = (TokenDigest::of("ours"), TokenDigest::of("other"));
    assert!(!store.fill_probe(ours, NOW, "early").await.unwrap(), "nobody asked");
    assert!(store.put_probe(ours, NOW, later(60)).await.unwrap());
    assert_eq!(store.probe_report(ours).await.unwrap(), None);
    assert!(!store.fill_probe(other, NOW, "wrong").await.unwrap());
    assert!(!store.fill_probe(ours, later(60), "late").await.unwrap());
    assert!(store.fill_probe(ours, NOW, "first").await.unwrap());
    assert!(!store.fill_probe(ours, NOW, "second").await.unwrap());
    assert_eq!(store.probe_report(ours).await.unwrap().as_deref(), Some("first"));
    store.drop_probe(ours).await.unwrap();
    assert_eq!(store.probe_report(ours).await.unwrap(), None);
}

async fn probes_are_few(store: &Store) {
    let mut added = 0;
    while added < 1000 && store.put_probe(TokenDigest::of(&format!("{added}")), NOW, later(60)).await.unwrap()
    {
        added += 1;
    }
    assert!((2..1000).contains(&added), "{added}");
    assert!(store.put_probe(TokenDigest::of("new"), later(60), later(120)).await.unwrap(), "ended ones go");
}

async fn probes_of_a_clock_that_was_set_back_take_no_room(store: &Store) {
    let put = async |name: String, at: i64| {
        store.put_probe(TokenDigest::of(&name), later(at), later(at + 60)).await.unwrap()
    };
    let mut added = 0;
    while added < 1000 && put(format!("{added}"), 7200).await {
        added += 1;
    }
    assert!(added < 1000 && put("new".to_owned(), 0).await);
    assert!(put("beside".to_owned(), -60).await, "clocks may differ by a minute");
    assert!(store.fill_probe(TokenDigest::of("new"), NOW, "seen").await.unwrap(), "which takes nothing");
}
