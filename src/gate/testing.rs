//! A gate over a database in memory and a clock that stands still, for the tests of this floor.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::authenticator::{AuthenticatorParts, Resolver};
use crate::config::{SameSite, SessionConfig};
use crate::model::api_key::KeyScope;
use crate::model::metrics::{Registry, WorkerMetrics};
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::model::time::{Clock, ManualClock, Timestamp};
use crate::model::token::MasterKey;
use crate::model::user::User;
use crate::service::accounts::{Accounts, NewUser};
use crate::service::api_keys::{ApiKeys, NewKey};
use crate::service::audit::Audit;
use crate::service::password::Passwords;
use crate::service::revocation::Revocations;
use crate::service::sessions::Sessions;
use crate::service::touches::{self, Touches};
use crate::store::Store;

pub(in crate::gate) struct World {
    pub(in crate::gate) sessions: Sessions,
    pub(in crate::gate) keys: ApiKeys,
    accounts: Accounts,
    revocations: Revocations,
    touches: Touches,
    audit: Audit,
    clock: Arc<dyn Clock>,
}

impl World {
    /// To be called where a runtime runs; it watches its store there.
    pub(in crate::gate) async fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp(1_900_000_000)));
        let master = MasterKey::new(Secret::new("m".repeat(32)));
        let store = Store::open("sqlite::memory:", 1).await.unwrap();
        let store = store.audited(master.derive("audit"), clock.clone());
        let revocations = Revocations::new(store.clone(), clock.clone());
        let config = SessionConfig {
            idle: Duration::from_hours(1),
            absolute: Duration::from_hours(12),
            cookie_same_site: SameSite::Lax,
            cookie_domain: None,
        };
        let sessions = Sessions::new(
            config,
            store.clone(),
            master.derive("session"),
            revocations.clone(),
            clock.clone(),
        );
        let keys = ApiKeys::new(store.clone(), revocations.clone(), clock.clone());
        let accounts = Accounts::new(store.clone(), Passwords::new(), revocations.clone(), clock.clone());
        let audit = Audit::new(store.clone(), master.derive("audit"));
        let (touches, _) = touches::channel(
            watch::channel(sessions.clone()).1,
            keys.clone(),
            (audit.clone(), Duration::MAX),
            store,
            clock.clone(),
        );
        tokio::spawn(revocations.clone().watch());
        while revocations.age().is_none() {
            tokio::task::yield_now().await;
        }
        Self { sessions, keys, accounts, revocations, touches, audit, clock }
    }

    pub(in crate::gate) fn parts(&self) -> AuthenticatorParts {
        AuthenticatorParts {
            resolver: Arc::new(Resolver::new(self.sessions.clone(), self.keys.clone())),
            control: Handle::current(),
            revocations: self.revocations.clone(),
            touches: self.touches.clone(),
            audit: self.audit.clone(),
            clock: self.clock.clone(),
            idle: Duration::from_hours(1),
            // However busy the test keeps its thread.
            outage_grace: Duration::from_hours(1),
        }
    }

    pub(in crate::gate) fn metrics() -> Rc<WorkerMetrics> {
        Registry::default().worker(&[], &[])
    }

    pub(in crate::gate) async fn user(&self, name: &str, role: Role, groups: &[&str]) -> User {
        let new = NewUser {
            username: name.to_owned(),
            email: None,
            display_name: None,
            role,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            password: None,
        };
        self.accounts.create(new).await.unwrap()
    }

    /// The value of the cookie of a new session.
    pub(in crate::gate) async fn session(&self, user: &User) -> String {
        let client = "192.0.2.1".parse().unwrap();
        self.sessions.open(user, client, "browser").await.unwrap().0.expose().to_owned()
    }

    /// The text of a new key; a system key where it has no owner.
    pub(in crate::gate) async fn key(&self, name: &str, role: Role, owner: Option<&User>) -> String {
        self.scoped_key(name, role, owner, KeyScope::default()).await
    }

    pub(in crate::gate) async fn scoped_key(
        &self,
        name: &str,
        role: Role,
        owner: Option<&User>,
        scope: KeyScope,
    ) -> String {
        let new = NewKey {
            name: name.to_owned(),
            owner: owner.map(|user| user.id.clone()),
            role,
            scope,
            expires_at: None,
            created_by: "test".to_owned(),
        };
        self.keys.issue(new).await.unwrap().0.expose().to_owned()
    }
}
