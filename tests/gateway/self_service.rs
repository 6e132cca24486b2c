//! What people may change by themselves costs nobody else anything: no look-up, no turn, no connection.

use std::time::Duration;

use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;
use doorward::model::token::KeyText;
use doorward::model::user::UserId;
use doorward::service::epoch::EpochSlot;

use crate::credentials::ROUTES;
use crate::hanging_store;
use crate::support::gateway::bearer;
use crate::support::{Gateway, Upstream, within};

const RENAME: &str = "/_doorward/account/name";
const END_OTHERS: &str = "/_doorward/account/sessions/end-others";

/// On SQLite, and on PostgreSQL with few connections.
async fn gateways() -> [(Upstream, Gateway); 2] {
    let postgres = hanging_store::database().await.1;
    let store = format!("[store]\nurl = \"{postgres}\"\nconnections = 3\n");
    let mut gateways = Vec::new();
    for store in ["", &store] {
        let upstream = Upstream::spawn().await;
        let rest = format!("[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}", upstream.url());
        let toml = match store {
            "" => rest,
            store => format!("secret = \"{}\"\n{store}{rest}", hanging_store::SECRET),
        };
        gateways.push((upstream, Gateway::configured(&toml).await));
    }
    gateways.try_into().ok().unwrap()
}

async fn cookie(gateway: &Gateway, name: &str) -> String {
    format!("cookie: {}\r\n", gateway.sign_in(name).await)
}

/// A key that is nobody's, and that does not share its place with this user.
async fn key_apart_from(gateway: &Gateway, user: &UserId, name: &str) -> String {
    loop {
        let (key, _) = gateway.key_with(name, Role::Viewer, None, KeyScope::default()).await;
        if EpochSlot::of(KeyText::id_of(&key).unwrap()) != EpochSlot::of(&user.0) {
            return key;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_who_changes_names_in_a_loop_costs_nobody_an_answer() {
    for (_upstream, gateway) in gateways().await {
        gateway.user("vera", Role::Viewer).await;
        let vera = cookie(&gateway, "vera").await;
        let known = gateway.system_key("known", Role::Viewer).await;
        assert_eq!(gateway.get("/reads", &bearer(&known)).await.status, 200);
        let mut fresh = Vec::new();
        for number in 0..20 {
            fresh.push(gateway.system_key(&format!("k{number}"), Role::Viewer).await);
        }
        let before = gateway.store.revision().await.unwrap();
        let rows = gateway.store.audit_head().await.unwrap().seq;

        let renaming = async {
            let names = (0..48).map(|n| format!("name=Vera+{}", n / 2));
            futures_util::future::join_all(names.map(|form| {
                let (gateway, vera) = (&gateway, &vera);
                async move { gateway.post_form(RENAME, &form, vera).await.status }
            }))
            .await
        };
        let others = async {
            for key in &fresh {
                let known = gateway.get("/reads", &bearer(&known)).await;
                assert_eq!(known.status, 200, "{}", known.head);
                let answer = gateway.get("/reads", &bearer(key)).await;
                assert_eq!(answer.status, 200, "a key never seen: {}", answer.head);
            }
        };
        let (statuses, ()) = within("all of it", async { tokio::join!(renaming, others) }).await;
        let count = |status: u16| statuses.iter().filter(|other| **other == status).count();
        assert!(count(303) >= 20 && count(429) >= 20, "{statuses:?}");
        assert_eq!(count(303) + count(429), statuses.len(), "{statuses:?}");
        assert_eq!(gateway.store.revision().await.unwrap(), before, "no right was taken");
        assert_eq!(gateway.store.audit_head().await.unwrap().seq, rows + 1, "one row, and a count");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_that_changes_ones_account_counts_as_a_change() {
    const KEY: &str = "name=k&role=viewer&life=never&paths=&methods=&networks=&password=";
    let [(_upstream, gateway), _] = gateways().await;
    gateway.user("vera", Role::Viewer).await;
    gateway.user("mel", Role::Viewer).await;
    let (vera, mel) = (cookie(&gateway, "vera").await, cookie(&gateway, "mel").await);
    for (form, fields) in [
        (RENAME, "name=Vera"),
        ("/_doorward/account/sessions/end", "id=none"),
        (END_OTHERS, ""),
        ("/_doorward/account/keys/new", KEY),
        ("/_doorward/account/keys/revoke", "id=none"),
        ("/_doorward/password", "current=wrong&new=weak&repeat=weak"),
    ] {
        // One more change is free every few seconds, however slow this is.
        let mut answers = Vec::new();
        while answers.last() != Some(&429) {
            assert!(answers.len() < 10, "{form}: {answers:?}");
            let mut renamed = 0;
            while gateway.post_form(RENAME, "name=Vera", &vera).await.status != 429 {
                renamed += 1;
                assert!(renamed < 200, "nothing is counted");
            }
            answers.push(gateway.post_form(form, fields, &vera).await.status);
        }
        assert_ne!(gateway.post_form(form, fields, &mel).await.status, 429, "{form}: somebody else");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_loses_has_only_oneself_looked_up_again() {
    for (_upstream, gateway) in gateways().await {
        let vera = gateway.user("vera", Role::Viewer).await;
        let key = key_apart_from(&gateway, &vera, "k").await;
        let here = cookie(&gateway, "vera").await;
        assert_eq!(gateway.get("/reads", &bearer(&key)).await.status, 200);
        for _ in 0..3 {
            let there = cookie(&gateway, "vera").await;
            for cookie in [&here, &there] {
                assert_eq!(gateway.get("/reads", cookie).await.status, 200);
            }
            let before = gateway.lookups();
            let revision = gateway.store.revision().await.unwrap();
            assert_eq!(gateway.post_form(END_OTHERS, "", &here).await.status, 303);
            assert!(gateway.store.revision().await.unwrap() > revision);
            // Until this gateway has seen it in the store, too.
            let spread = gateway.revocations.seen_everywhere(Duration::from_secs(10)).await.unwrap();
            assert_eq!(spread.behind, Vec::<String>::new());
            let own = gateway.lookups();
            for _ in 0..5 {
                assert_eq!(gateway.get("/reads", &bearer(&key)).await.status, 200);
            }
            assert_eq!(gateway.lookups(), own, "a key that lost nothing is known");
            assert_ne!(gateway.get("/reads", &there).await.status, 200, "and what has ended has");
            assert_eq!(gateway.get("/reads", &here).await.status, 200);
            assert!(gateway.lookups() > before);
        }
    }
}
