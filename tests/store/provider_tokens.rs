//! What providers gave along with sign-ins: whose turn it is to be refreshed, what a refresh changes, and how such sessions end.

use doorward::model::identity::{AssertedEmail, ProviderAssertion, RoleDecision};
use doorward::model::session::{LogoutNames, ProviderSession, ProviderSessionEnd};
use doorward::store::{
    AuditFilter, ClaimedRefresh, EndedSessions, FailedRefresh, LongestLifetimes, NewProviderTokens,
    RefreshOutcome, SealedTokens, SyncOutcome,
};

use super::identities::{asserted, enter, key};
use super::*;

on_each_database![
    a_session_keeps_what_its_provider_gave_and_takes_it_along,
    the_session_that_is_due_for_longest_is_claimed_first_and_one_not_in_use_is_not,
    of_many_who_claim_a_session_at_once_one_does,
    a_claim_that_is_over_is_anybodys_and_its_holder_changes_nothing_any_more,
    a_refresh_keeps_the_new_tokens_and_waits_for_the_next_use,
    a_refresh_changes_rights_as_a_sign_in_does,
    a_refresh_that_failed_is_tried_again_until_it_has_failed_for_too_long,
    new_tokens_of_a_refresh_that_failed_are_kept,
    a_refused_refresh_ends_one_session_or_all_of_the_identity,
    a_logout_token_ends_the_sessions_that_it_names_once,
    a_logout_token_of_another_provider_or_issuer_ends_nothing,
    marks_of_logout_tokens_go_when_they_are_of_no_use,
    a_refresh_that_a_clock_which_was_ahead_put_off_is_due_now,
];

const ISSUER: &str = "https://idp.example";
const LATER: i64 = 100;

fn sealed(text: &str) -> SealedTokens {
    SealedTokens {
        id_token: format!("id {text}").into_bytes(),
        refresh_token: format!("refresh {text}").into_bytes(),
    }
}

fn names(subject: Option<&str>, session: Option<&str>) -> LogoutNames {
    LogoutNames { subject: subject.map(str::to_owned), session: session.map(str::to_owned) }
}

/// Somebody who signs in at the provider `sso` with the subject `id`, and has a session `id` that is due after `due` seconds.
async fn refreshed_at(store: &Store, of: &User, id: &str, subject: &str, due: Option<i64>) {
    opened(store, of, id, ("sso", subject), names(Some(subject), None), due).await;
}

async fn opened(
    store: &Store,
    of: &User,
    id: &str,
    (provider, subject): (&str, &str),
    names: LogoutNames,
    due: Option<i64>,
) {
    let by = ProviderSession { provider: provider.to_owned(), key: key(subject) };
    let session = Session { provider: Some(by), ..session(of, id, NOW) };
    let tokens = NewProviderTokens { names, sealed: sealed(id), due_at: due.map(later) };
    let added = store.add_provider_session(&session, TokenDigest::of(id), 10, &tokens).await;
    assert_eq!(added.unwrap(), Some(0), "{id}");
}

async fn known(store: &Store, subject: &str) -> User {
    enter(store, &asserted(subject), &[subject]).await.user
}

async fn claim(store: &Store, claim: &str, at: i64) -> Option<String> {
    let claimed = store.claim_refresh("sso", claim, later(at), later(at + 60)).await.unwrap();
    claimed.map(|claimed| claimed.session_id)
}

async fn has_tokens(store: &Store, id: &str) -> bool {
    store.provider_tokens(id).await.unwrap().is_some()
}

/// The rows of sessions that were ended for a cause, newest first: cause and number.
async fn causes(store: &Store) -> Vec<(String, u64)> {
    let filter = AuditFilter { event: Some("session.revoke"), ..AuditFilter::default() };
    let rows = store.audit_recent(&filter, 100).await.unwrap();
    let of = |detail: &str| {
        let detail: serde_json::Value = serde_json::from_str(detail).unwrap();
        let cause = detail["cause"].as_str()?.to_owned();
        assert!(detail["provider"].is_string(), "{detail}");
        Some((cause, detail["sessions"].as_u64().unwrap()))
    };
    rows.iter().filter_map(|row| of(&row.detail)).collect()
}

async fn a_session_keeps_what_its_provider_gave_and_takes_it_along(store: &Store) {
    let ann = known(store, "ann").await;
    for end in ["sign-out", "all", "purge", "user"] {
        refreshed_at(store, &ann, "s", "ann", Some(LATER)).await;
        let child = Session {
            parent_id: Some("s".to_owned()),
            host: Some("b.example".to_owned()),
            ..session(&ann, "child", NOW)
        };
        store.add_session(&child, TokenDigest::of("child"), 10, Event::SessionOpen).await.unwrap();
        for id in ["s", "child"] {
            let kept = store.provider_tokens(id).await.unwrap().unwrap();
            assert_eq!((kept.session_id.as_str(), kept.provider.as_str()), ("s", "sso"), "{id}");
            assert_eq!(kept.sealed, sealed("s"), "{id}");
            assert_eq!(kept.issuer, asserted("ann").key.issuer(), "{id}");
        }
        assert!(!has_tokens(store, "unknown").await);
        match end {
            "sign-out" => assert!(store.end_session("child", Event::Logout).await.unwrap().is_some()),
            "all" => assert_eq!(store.end_sessions_of(&ann.id).await.unwrap(), 2),
            "purge" => assert_eq!(store.purge_sessions(later(1000), 500).await.unwrap(), 2),
            _ => assert_eq!(store.delete_user(&ann.id).await.unwrap(), Changed::Done),
        }
        assert!(!has_tokens(store, "s").await, "{end}");
        assert_eq!(claim(store, "c", LATER).await, None, "{end}");
    }
}

async fn the_session_that_is_due_for_longest_is_claimed_first_and_one_not_in_use_is_not(store: &Store) {
    let ann = known(store, "ann").await;
    for (id, due) in [("third", Some(30)), ("first", Some(10)), ("never", None), ("second", Some(20))] {
        refreshed_at(store, &ann, id, "ann", due).await;
    }
    opened(store, &ann, "elsewhere", ("other", "ann"), names(None, None), Some(0)).await;
    assert!(!store.is_refresh_due("sso", later(9)).await.unwrap());
    assert_eq!(claim(store, "c", 9).await, None);
    assert!(store.is_refresh_due("sso", later(10)).await.unwrap());
    let first = store.claim_refresh("sso", "c", later(20), later(80)).await.unwrap().unwrap();
    assert_eq!(
        first,
        ClaimedRefresh { session_id: "first".to_owned(), key: key("ann"), sealed: sealed("first") }
    );
    assert_eq!(claim(store, "c2", 20).await.as_deref(), Some("second"));
    assert_eq!(claim(store, "c3", 29).await, None);
    // One that cannot be used is left alone until it is used.
    store.release_refresh("second", "c2").await.unwrap();
    assert_eq!(claim(store, "c4", 1000).await.as_deref(), Some("third"));
    assert_eq!(claim(store, "c5", 1000).await.as_deref(), Some("first"), "its claim is over");
    assert_eq!(claim(store, "c6", 1000).await, None);
    store.touch_sessions(&[("second".to_owned(), later(1)), ("never".to_owned(), later(1))]).await.unwrap();
    assert_eq!(claim(store, "c7", 1000).await.as_deref(), Some("second"));
    assert_eq!(claim(store, "c8", 1000).await, None, "what has no refresh token is never refreshed");
}

async fn of_many_who_claim_a_session_at_once_one_does(store: &Store) {
    let ann = known(store, "ann").await;
    refreshed_at(store, &ann, "s", "ann", Some(0)).await;
    let claims = (0..8).map(|number| {
        let store = store.clone();
        async move { claim(&store, &format!("c{number}"), 0).await.is_some() }
    });
    assert_eq!(count(claims).await, 1);
}

async fn a_claim_that_is_over_is_anybodys_and_its_holder_changes_nothing_any_more(store: &Store) {
    let ann = known(store, "ann").await;
    refreshed_at(store, &ann, "s", "ann", Some(0)).await;
    assert!(claim(store, "slow", 0).await.is_some());
    assert_eq!(claim(store, "next", 59).await, None);
    assert!(claim(store, "next", 60).await.is_some());
    let before = store.revision().await.unwrap();
    let new = sealed("slow");
    let late = store.complete_refresh("s", "slow", &new, later(500), Some(&asserted("ann"))).await.unwrap();
    assert_eq!(late, RefreshOutcome::Superseded);
    let times = (later(60), later(70), later(60));
    let failed = store.fail_refresh("sso", ("s", "slow"), Some(&new), times).await.unwrap();
    assert_eq!(failed, FailedRefresh::Superseded);
    let nothing = EndedSessions::default();
    let over = ProviderSessionEnd::Over;
    assert_eq!(store.end_claimed_session("sso", "s", "slow", over).await.unwrap(), nothing);
    let of_identity = store.end_sessions_of_claimed_identity("sso", &key("ann"), ("s", "slow"), over).await;
    assert_eq!(of_identity.unwrap(), nothing);
    store.release_refresh("s", "slow").await.unwrap();
    assert_eq!(store.provider_tokens("s").await.unwrap().unwrap().sealed, sealed("s"));
    assert_eq!(store.revision().await.unwrap(), before);
    let done = store.complete_refresh("s", "next", &sealed("next"), later(500), None).await.unwrap();
    assert_eq!(done, RefreshOutcome::Kept);
}

async fn a_refresh_keeps_the_new_tokens_and_waits_for_the_next_use(store: &Store) {
    let ann = known(store, "ann").await;
    refreshed_at(store, &ann, "s", "ann", Some(0)).await;
    let child = Session {
        parent_id: Some("s".to_owned()),
        host: Some("b.example".to_owned()),
        ..session(&ann, "child", NOW)
    };
    store.add_session(&child, TokenDigest::of("child"), 10, Event::SessionOpen).await.unwrap();
    assert!(claim(store, "c", 0).await.is_some());
    let done = store.complete_refresh("s", "c", &sealed("new"), later(200), None).await.unwrap();
    assert_eq!(done, RefreshOutcome::Kept);
    assert_eq!(store.provider_tokens("s").await.unwrap().unwrap().sealed, sealed("new"));
    assert_eq!(claim(store, "c2", 900).await, None, "nobody has used it since");
    // A use of what was handed over from it is one of it.
    store.touch_sessions(&[("child".to_owned(), later(5))]).await.unwrap();
    assert_eq!(claim(store, "c2", 199).await, None, "in use, and not due");
    assert!(claim(store, "c2", 200).await.is_some());
}

async fn a_refresh_changes_rights_as_a_sign_in_does(store: &Store) {
    added(store, "root", Role::Admin).await;
    let groups = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
    let first = ProviderAssertion {
        groups: groups(&["data", "ops"]),
        email: AssertedEmail::Verified("ann@example.org".to_owned()),
        ..asserted("ann")
    };
    let ann = enter(store, &first, &["ann"]).await.user;
    let refreshed = async |claim_id: &str, assertion: &ProviderAssertion| {
        store.touch_sessions(&[("s".to_owned(), later(1))]).await.unwrap();
        assert!(claim(store, claim_id, 900).await.is_some());
        store.complete_refresh("s", claim_id, &sealed("new"), later(0), Some(assertion)).await.unwrap()
    };
    refreshed_at(store, &ann, "s", "ann", Some(0)).await;
    let outcome = |changed| RefreshOutcome::Done(ann.id.clone(), SyncOutcome { unapplied: vec![], changed });
    let before = store.revision().await.unwrap();
    assert_eq!(refreshed("c1", &first).await, outcome(false));
    assert_eq!(store.revision().await.unwrap(), before, "nothing changed");
    let fewer = ProviderAssertion { groups: groups(&["data"]), ..first.clone() };
    assert_eq!(refreshed("c2", &fewer).await, outcome(true));
    assert_eq!(store.lost_rights(before, before + 1).await.unwrap(), Some(vec![ann.id.0.clone()]));
    assert_eq!(store.find_user(&ann.id).await.unwrap().unwrap().groups, ["data"]);
    assert!(is_signed_in(store, "s").await);
    let moved =
        ProviderAssertion { email: AssertedEmail::Verified("ann@new.example".to_owned()), ..fewer.clone() };
    assert_eq!(refreshed("c3", &moved).await, outcome(true));
    assert_eq!(store.find_user(&ann.id).await.unwrap().unwrap().email.as_deref(), Some("ann@new.example"));
    let identity = &store.identities_of(&ann.id).await.unwrap()[0];
    assert_eq!(identity.last_login_at, NOW, "a refresh is no sign-in");
    let promoted = ProviderAssertion { role: RoleDecision::Set(Role::Admin), ..moved };
    assert_eq!(refreshed("c4", &promoted).await, outcome(true));
    assert!(!is_signed_in(store, "s").await, "another role ends sessions, as everywhere");
    assert!(!has_tokens(store, "s").await);
}

async fn a_refresh_that_failed_is_tried_again_until_it_has_failed_for_too_long(store: &Store) {
    const GRACE: i64 = 100;
    let ann = known(store, "ann").await;
    refreshed_at(store, &ann, "s", "ann", Some(0)).await;
    refreshed_at(store, &ann, "other", "ann", Some(5000)).await;
    let fail = async |claim_id: &str, at: i64| {
        assert!(claim(store, claim_id, at).await.is_some(), "{at}");
        let times = (later(at), later(at + 10), later(at - GRACE));
        store.fail_refresh("sso", ("s", claim_id), None, times).await.unwrap()
    };
    assert_eq!(fail("c1", 50).await, FailedRefresh::Retry);
    assert_eq!(claim(store, "c", 59).await, None, "not before it is due again");
    assert_eq!(fail("c2", 149).await, FailedRefresh::Retry);
    // Success in between begins anew.
    assert!(claim(store, "c3", 159).await.is_some());
    store.complete_refresh("s", "c3", &sealed("s"), later(0), None).await.unwrap();
    store.touch_sessions(&[("s".to_owned(), later(1))]).await.unwrap();
    assert_eq!(fail("c4", 160).await, FailedRefresh::Retry);
    assert_eq!(fail("c5", 170).await, FailedRefresh::Retry);
    let before = store.revision().await.unwrap();
    let ended = EndedSessions { users: vec![ann.id.clone()], sessions: 1 };
    assert_eq!(fail("c6", 160 + GRACE).await, FailedRefresh::Ended(ended));
    assert!(!is_signed_in(store, "s").await && is_signed_in(store, "other").await);
    assert!(store.revision().await.unwrap() > before);
    assert_eq!(causes(store).await, [("provider-unavailable".to_owned(), 1)]);
    refreshed_at(store, &ann, "s", "ann", Some(0)).await;
    assert!(claim(store, "c7", 300).await.is_some());
    let times = (later(300), later(310), later(300));
    let at_once = store.fail_refresh("sso", ("s", "c7"), None, times).await.unwrap();
    assert!(matches!(at_once, FailedRefresh::Ended(_)), "without any grace");
}

async fn new_tokens_of_a_refresh_that_failed_are_kept(store: &Store) {
    let ann = known(store, "ann").await;
    refreshed_at(store, &ann, "s", "ann", Some(0)).await;
    assert!(claim(store, "c", 0).await.is_some());
    let times = (NOW, later(10), later(-100));
    store.fail_refresh("sso", ("s", "c"), Some(&sealed("new")), times).await.unwrap();
    assert_eq!(store.provider_tokens("s").await.unwrap().unwrap().sealed, sealed("new"));
    let again = store.claim_refresh("sso", "c2", later(10), later(70)).await.unwrap().unwrap();
    assert_eq!(again.sealed, sealed("new"), "it is tried again without another use");
}

async fn a_refused_refresh_ends_one_session_or_all_of_the_identity(store: &Store) {
    let (ann, bob) = (known(store, "ann").await, known(store, "bob").await);
    let all = async || {
        for (of, id) in [(&ann, "one"), (&ann, "two"), (&bob, "bobs")] {
            let due = if id == "one" { 0 } else { 5000 };
            refreshed_at(store, of, id, &of.username, Some(due)).await;
        }
        signed_in(store, &ann, "by password").await;
        opened(store, &ann, "elsewhere", ("other", "ann"), names(Some("ann"), None), None).await;
        assert_eq!(claim(store, "c", 0).await.as_deref(), Some("one"));
    };
    all().await;
    let ended = store.end_claimed_session("sso", "one", "c", ProviderSessionEnd::Over).await.unwrap();
    assert_eq!(ended, EndedSessions { users: vec![ann.id.clone()], sessions: 1 });
    for (id, stays) in
        [("one", false), ("two", true), ("bobs", true), ("by password", true), ("elsewhere", true)]
    {
        assert_eq!(is_signed_in(store, id).await, stays, "{id}");
    }
    for user in [&ann, &bob] {
        store.end_sessions_of(&user.id).await.unwrap();
    }
    all().await;
    let claimed = ("one", "c");
    let refused = ProviderSessionEnd::NotAllowed;
    let ended = store.end_sessions_of_claimed_identity("sso", &key("ann"), claimed, refused).await.unwrap();
    assert_eq!(ended, EndedSessions { users: vec![ann.id.clone()], sessions: 2 });
    for (id, stays) in
        [("one", false), ("two", false), ("bobs", true), ("by password", true), ("elsewhere", true)]
    {
        assert_eq!(is_signed_in(store, id).await, stays, "{id}");
    }
    assert_eq!(causes(store).await[0], ("provider-claims".to_owned(), 2));
}

async fn log_out(store: &Store, provider: &str, issuer: &str, names: &LogoutNames, id: &str) -> Option<u64> {
    let times = (NOW, later(500));
    let ended = store.end_sessions_by_logout_token(provider, issuer, names, TokenDigest::of(id), times).await;
    ended.unwrap().map(|ended| ended.sessions)
}

async fn a_logout_token_ends_the_sessions_that_it_names_once(store: &Store) {
    let (ann, bob) = (known(store, "ann").await, known(store, "bob").await);
    let all = async || {
        for (of, id, sid) in [
            (&ann, "one", Some("sid-1")),
            (&ann, "two", Some("sid-2")),
            (&ann, "nameless", None),
            (&bob, "bobs", Some("sid-3")),
        ] {
            opened(store, of, id, ("sso", &of.username), names(Some(&of.username), sid), None).await;
        }
    };
    let (nobody, ann_alone) = (names(None, Some("sid-9")), names(Some("ann"), None));
    let (by_sid, by_both) = (names(None, Some("sid-1")), names(Some("ann"), Some("sid-1")));
    let live = async || {
        let mut live = Vec::new();
        for id in ["one", "two", "nameless", "bobs"] {
            if is_signed_in(store, id).await {
                live.push(id);
            }
        }
        live
    };
    for (number, (names, ended, left)) in [
        (&nobody, 0, &["one", "two", "nameless", "bobs"][..]),
        (&by_sid, 1, &["two", "nameless", "bobs"]),
        (&by_both, 2, &["two", "bobs"]),
        (&ann_alone, 3, &["bobs"]),
    ]
    .into_iter()
    .enumerate()
    {
        all().await;
        let before = store.revision().await.unwrap();
        let id = number.to_string();
        assert_eq!(log_out(store, "sso", ISSUER, names, &id).await, Some(ended), "{names:?}");
        assert_eq!(live().await, left, "{names:?}");
        assert_eq!(store.revision().await.unwrap() > before, ended > 0, "{names:?}");
        assert_eq!(log_out(store, "sso", ISSUER, &ann_alone, &id).await, None, "the same token again");
        assert_eq!(live().await, left, "{names:?}, again");
        for user in [&ann, &bob] {
            store.end_sessions_of(&user.id).await.unwrap();
        }
    }
    let marked = count((0..8).map(|_| {
        let (store, ann) = (store.clone(), names(Some("ann"), None));
        async move { log_out(&store, "sso", ISSUER, &ann, "at once").await.is_some() }
    }));
    assert_eq!(marked.await, 1);
}

async fn a_logout_token_of_another_provider_or_issuer_ends_nothing(store: &Store) {
    let ann = known(store, "ann").await;
    opened(store, &ann, "s", ("sso", "ann"), names(Some("ann"), Some("sid")), None).await;
    let names = names(Some("ann"), Some("sid"));
    for (number, (provider, issuer)) in
        [("other", ISSUER), ("sso", "https://other.example"), ("sso", "https://idp.example/")]
            .iter()
            .enumerate()
    {
        assert_eq!(log_out(store, provider, issuer, &names, &number.to_string()).await, Some(0));
    }
    assert!(is_signed_in(store, "s").await);
    assert_eq!(log_out(store, "sso", ISSUER, &names, "good").await, Some(1));
}

async fn marks_of_logout_tokens_go_when_they_are_of_no_use(store: &Store) {
    let nobody = names(Some("nobody"), None);
    for id in ["a", "b"] {
        assert_eq!(log_out(store, "sso", ISSUER, &nobody, id).await, Some(0));
    }
    assert_eq!(store.purge_used_logout_tokens(later(499)).await.unwrap(), 0);
    assert_eq!(log_out(store, "sso", ISSUER, &nobody, "a").await, None);
    assert_eq!(store.purge_used_logout_tokens(later(500)).await.unwrap(), 2);
}

async fn a_refresh_that_a_clock_which_was_ahead_put_off_is_due_now(store: &Store) {
    let ann = known(store, "ann").await;
    refreshed_at(store, &ann, "late", "ann", Some(7200)).await;
    refreshed_at(store, &ann, "usual", "ann", Some(3600)).await;
    let longest = LongestLifetimes { setup_link: later(0), handover: later(0), refresh: later(3600) };
    store.rein_in_times(NOW, longest).await.unwrap();
    assert_eq!(claim(store, "c1", 0).await.as_deref(), Some("late"));
    assert_eq!(claim(store, "c2", 0).await, None);
}
