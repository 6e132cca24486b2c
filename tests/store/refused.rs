//! What would have been refused.

use super::*;
use doorward::model::refused::{OTHERS, RefusedBy, Tally};

on_each_database![
    counts_of_what_is_alike_are_added,
    a_report_can_be_narrowed_and_forgotten,
    no_number_of_clients_makes_more_than_a_bounded_number_of_rows
];

fn by(rule: &str, client: &str) -> RefusedBy {
    RefusedBy {
        route: "app".into(),
        rule: rule.into(),
        code: "sign-in-required".into(),
        credential: "nobody".into(),
        client: client.into(),
        agent: "curl/8".into(),
        method: "GET".into(),
    }
}

fn tally(count: u64, from: u32, to: u32, example: &str) -> Tally {
    Tally { count, first_at: later(i64::from(from)), last_at: later(i64::from(to)), example: example.into() }
}

async fn counts_of_what_is_alike_are_added(store: &Store) {
    store
        .add_refused(&[(by("reads", "a"), tally(2, 5, 6, "/x")), (by("reads", "b"), tally(1, 5, 5, "/y"))])
        .await
        .unwrap();
    store.add_refused(&[(by("reads", "a"), tally(3, 1, 9, "/z"))]).await.unwrap();
    let all = store.list_refused(NOW).await.unwrap();
    assert_eq!(all, [(by("reads", "a"), tally(5, 1, 9, "/z")), (by("reads", "b"), tally(1, 5, 5, "/y"))]);
}

async fn a_report_can_be_narrowed_and_forgotten(store: &Store) {
    store
        .add_refused(&[(by("old", "a"), tally(9, 0, 10, "/")), (by("new", "a"), tally(1, 0, 20, "/"))])
        .await
        .unwrap();
    assert_eq!(store.list_refused(later(11)).await.unwrap().len(), 1);
    assert_eq!(store.list_refused(later(21)).await.unwrap(), []);
    assert_eq!(store.purge_refused(later(11)).await.unwrap(), 1);
    let left = store.list_refused(NOW).await.unwrap();
    assert_eq!(left.first().map(|(by, _)| by.rule.as_str()), Some("new"));
    assert_eq!(store.clear_refused().await.unwrap(), 1);
    assert_eq!(store.clear_refused().await.unwrap(), 0);
    assert_eq!(store.list_refused(NOW).await.unwrap(), []);
    let told = store.audit_page(0, None, 10).await.unwrap();
    let told: Vec<_> = told.iter().map(|row| (row.event.as_str(), row.detail.as_str())).collect();
    assert_eq!(told, [("refused.clear", r#"{"rows":1}"#)], "by whom it was told to, and only what it forgot");
}

async fn no_number_of_clients_makes_more_than_a_bounded_number_of_rows(store: &Store) {
    for thousand in 0..11 {
        let batch: Vec<_> =
            (0..1000).map(|n| (by("reads", &format!("{thousand}-{n}")), tally(1, 0, 1, "/"))).collect();
        store.add_refused(&batch).await.unwrap();
    }
    let all = store.list_refused(NOW).await.unwrap();
    assert_eq!(all.len(), 10_000, "as many as one list holds");
    let others = all.iter().find(|(by, _)| by.client == OTHERS).expect("the rest is counted together");
    assert_eq!(others.1.count, 1000);
    // What is known already is still counted by itself.
    store.add_refused(&[(by("reads", "0-1"), tally(5, 0, 2, "/"))]).await.unwrap();
    let again = store.list_refused(later(2)).await.unwrap();
    let again: Vec<_> = again.iter().map(|(by, tally)| (by.client.as_str(), tally.count)).collect();
    assert_eq!(again, [("0-1", 6)]);
}
