//! Everything built over a database in memory and a clock that stands still, for the tests of this floor and those above.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::accounts::Accounts;
use super::accounts::NewUser;
use super::admin::AdminProof;
use super::api_keys::ApiKeys;
use super::audit::Audit;
use super::composition::{ServiceConfig, Services};
use super::handovers::Handovers;
use super::identities::{Identities, ReservedNames};
use super::login::Login;
use super::login::SignIn;
use super::login::SignedIn;
use super::password::Passwords;
use super::provider_sessions::ProviderSessions;
use super::revocation::Revocations;
use super::sessions::Sessions;
use super::sign_ins::SignIns;
use crate::config::SameSite;
use crate::config::SessionConfig;
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::model::time::Clock;
use crate::model::time::ManualClock;
use crate::model::time::Timestamp;
use crate::model::token::{KeyPurpose, MasterKey};
use crate::model::user::User;
use crate::service::ServiceError;
use crate::store::Store;

/// The password of every user that [`ServiceFixture::user_with_password`] makes.
pub(super) const PASSWORD: &str = "nine bees in a bonnet";

pub(crate) struct ServiceFixture {
    /// The admin who manages the others.
    pub(super) by: AdminProof,
    pub(super) store: Store,
    pub(super) clock: Arc<ManualClock>,
    pub(super) passwords: Passwords,
    pub(super) revocations: Revocations,
    pub(super) sessions: Sessions,
    pub(super) handovers: Handovers,
    pub(super) login: Login,
    pub(super) identities: Identities,
    pub(super) sign_ins: SignIns,
    pub(super) provider_sessions: ProviderSessions,
    pub(super) accounts: Accounts,
    pub(super) api_keys: ApiKeys,
    pub(super) audit: Audit,
}

/// All services over a database in memory, with the clock that they go by and the key that theirs are derived from.
pub(crate) async fn in_memory(
    session: SessionConfig,
    providers: Vec<String>,
) -> (Services, Arc<ManualClock>, MasterKey) {
    let manual = Arc::new(ManualClock::at(Timestamp(1_900_000_000)));
    let clock: Arc<dyn Clock> = manual.clone();
    let master = MasterKey::new(Secret::new("m".repeat(32)));
    let store = Store::open("sqlite::memory:", 1).await.unwrap();
    let store = store.audited(master.derive(KeyPurpose::Audit), clock.clone()).await.unwrap();
    let config =
        ServiceConfig { session, providers, reserved_names: ReservedNames::default(), breach_list: None };
    (Services::new(store, &master, clock, config), manual, master)
}

impl ServiceFixture {
    pub(super) const IDLE: Duration = Duration::from_hours(1);
    pub(super) const ABSOLUTE: Duration = Duration::from_hours(12);

    pub(crate) fn session_config() -> SessionConfig {
        SessionConfig {
            idle: Self::IDLE,
            absolute: Self::ABSOLUTE,
            cookie_same_site: SameSite::Lax,
            cookie_domain: None,
        }
    }

    pub(super) async fn new() -> Self {
        let (services, clock, _) = in_memory(Self::session_config(), vec!["sso".to_owned()]).await;
        Self {
            by: AdminProof::of_command_line(0),
            handovers: services.handovers(),
            store: services.store,
            clock,
            passwords: services.passwords,
            revocations: services.revocations,
            sessions: services.sessions,
            login: services.login,
            identities: services.identities,
            sign_ins: services.sign_ins,
            provider_sessions: services.provider_sessions,
            accounts: services.accounts,
            api_keys: services.api_keys,
            audit: services.audit,
        }
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// A member without a password. An admin is made first, so that it may be changed at will.
    pub(super) async fn user(&self, name: &str) -> User {
        self.make(name, None).await
    }

    /// A member with [`PASSWORD`] and the address `<name>@example.org`.
    pub(super) async fn user_with_password(&self, name: &str) -> User {
        self.make(name, Some((Secret::new(PASSWORD), false))).await
    }

    async fn make(&self, name: &str, password: Option<(Secret, bool)>) -> User {
        if !self.store.is_anybody().await.unwrap() {
            self.accounts.create(&self.by, new_user("root", Role::Admin)).await.unwrap();
        }
        let user =
            NewUser { email: Some(format!("{name}@example.org")), password, ..new_user(name, Role::Member) };
        self.accounts.create(&self.by, user).await.unwrap()
    }

    pub(super) async fn sign_in(
        &self,
        name: &str,
        password: &str,
        client: &str,
        device: Option<&str>,
    ) -> Result<SignedIn, ServiceError> {
        let client: IpAddr = client.parse().unwrap();
        let password = Secret::new(password);
        self.login
            .sign_in(self.by.actor(), SignIn { name, password, client, user_agent: "browser", device })
            .await
    }
}

/// Someone with a name and a role and nothing else.
pub(super) fn new_user(name: &str, role: Role) -> NewUser {
    NewUser {
        username: name.to_owned(),
        email: None,
        display_name: None,
        role,
        groups: Vec::new(),
        password: None,
    }
}
