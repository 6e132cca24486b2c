//! What a running gateway does on the side: it looks whether rows of the audit trail are gone.

use doorward::config::{SameSite, SessionConfig};
use doorward::service::composition::{ServiceConfig, Services};
use doorward::service::identities::ReservedNames;
use doorward::service::touches;
use tokio::sync::watch;

use super::audit::Tampered;
use super::*;

/// Works until the trail ends with this event, as another gateway sees it.
async fn work_until(store: &Store, other: &Store, event: &str) {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
    let day = Duration::from_hours(24);
    let session =
        SessionConfig { idle: day, absolute: day, cookie_same_site: SameSite::Lax, cookie_domain: None };
    let config = ServiceConfig {
        session,
        providers: Vec::new(),
        reserved_names: ReservedNames::default(),
        breach_list: None,
    };
    let services = Services::new(store.clone(), &master_key(), Arc::clone(&clock), config);
    let Services { sessions, api_keys: keys, audit, .. } = services;
    let audit = (audit, Duration::ZERO);
    let (_touches, upkeep) = touches::channel(watch::channel(sessions).1, keys, audit, store.clone(), clock);
    let seen = async {
        while other.audit_page(0, None, 100).await.unwrap().last().is_none_or(|row| row.event != event) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), upkeep.run(seen)).await.unwrap();
}

/// Although nobody changes anything, which would find it.
async fn a_trail_that_was_cut_is_told_by_whoever_runs(tampered: Tampered) {
    let store = &tampered.database.store;
    assert!(store.watch_audit().await.unwrap());
    let cut = "DELETE FROM audit WHERE seq > 8;
         UPDATE audit_head SET seq = 8, link = (SELECT link FROM audit WHERE seq = 8)";
    tampered.both(cut).await;
    work_until(store, &opened(&tampered.database.url).await, "audit.cut").await;
}

#[tokio::test]
async fn a_trail_that_was_cut_is_told_on_sqlite() {
    let tampered = Tampered::on(Database::in_file().await).await.without_triggers().await;
    a_trail_that_was_cut_is_told_by_whoever_runs(tampered).await;
}

#[tokio::test]
async fn a_trail_that_was_cut_is_told_on_postgres() {
    let tampered = Tampered::on(Database::on_postgres().await).await.without_triggers().await;
    a_trail_that_was_cut_is_told_by_whoever_runs(tampered).await;
}
