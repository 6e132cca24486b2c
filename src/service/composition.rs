//! Every service over one store, put together in one place for the server, commands and tests.

use std::sync::Arc;

use super::accounts::Accounts;
use super::api_keys::ApiKeys;
use super::audit::Audit;
use super::handovers::Handovers;
use super::identities::{Identities, ReservedNames};
use super::login::{Login, LoginKeys};
use super::own_keys::OwnKeys;
use super::password::Passwords;
use super::provider_sessions::ProviderSessions;
use super::provider_tokens::TokenVault;
use super::rate_limiter::RateLimiter;
use super::refused::RefusedReport;
use super::revocation::Revocations;
use super::sessions::Sessions;
use super::sign_ins::SignIns;
use super::subjects::Subjects;
use crate::config::{BreachList, Config, SessionConfig};
use crate::model::time::Clock;
use crate::model::token::{KeyPurpose, MasterKey};
use crate::store::Store;

/// Every service over one store. Clones share memory and bounds, and so do those under another configuration.
#[derive(Clone)]
pub struct Services {
    /// The database.
    pub store: Store,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// The audit trail.
    pub audit: Audit,
    /// Rights that were taken away.
    pub revocations: Revocations,
    /// Hashing, with one bound for all who hash.
    pub passwords: Passwords,
    /// People.
    pub accounts: Accounts,
    /// API keys.
    pub api_keys: ApiKeys,
    /// Browser sessions.
    pub sessions: Sessions,
    /// Signing in.
    pub login: Login,
    /// Signing in by identities at identity providers.
    pub identities: Identities,
    /// Sign-ins that are under way at identity providers.
    pub sign_ins: SignIns,
    /// Sessions that identity providers opened, while they go on.
    pub provider_sessions: ProviderSessions,
    /// How often people change what is their own.
    pub self_service: RateLimiter,
}

/// What services need of a configuration.
pub struct ServiceConfig {
    /// Browser sessions.
    pub session: SessionConfig,
    /// Names of the identity providers: sessions that others opened end.
    pub providers: Vec<String>,
    /// Usernames that providers cannot give anybody.
    pub reserved_names: ReservedNames,
    /// Passwords that nobody may choose.
    pub breach_list: Option<BreachList>,
}

impl From<&Config> for ServiceConfig {
    fn from(config: &Config) -> Self {
        Self {
            session: config.session.clone(),
            providers: config.providers.iter().map(|provider| provider.name.clone()).collect(),
            reserved_names: ReservedNames::of(config),
            breach_list: config.login.breach_list.clone(),
        }
    }
}

impl Services {
    /// Puts them together. `key` is the gateway's own; all gateways and commands over one store have the same.
    pub fn new(store: Store, key: &MasterKey, clock: Arc<dyn Clock>, config: ServiceConfig) -> Self {
        let revocations = Revocations::new(store.clone(), Arc::clone(&clock));
        let passwords = Passwords::new();
        let vault = TokenVault::new(key.sealing(KeyPurpose::ProviderTokens));
        let sessions = Sessions::new(
            config.session,
            config.providers,
            store.clone(),
            (key.derive(KeyPurpose::Session), vault.clone()),
            revocations.clone(),
            Arc::clone(&clock),
        );
        let accounts =
            Accounts::new(store.clone(), passwords.clone(), revocations.clone(), Arc::clone(&clock));
        let login = Login::new(
            store.clone(),
            passwords.clone(),
            sessions.clone(),
            LoginKeys::of(key),
            Arc::clone(&clock),
        );
        Self {
            audit: Audit::new(store.clone(), key.derive(KeyPurpose::Audit)),
            accounts: accounts.refusing(config.breach_list.as_ref()),
            api_keys: ApiKeys::new(store.clone(), revocations.clone(), Arc::clone(&clock)),
            identities: Identities::new(
                store.clone(),
                login.clone(),
                sessions.clone(),
                revocations.clone(),
                Arc::clone(&clock),
            )
            .reserving(config.reserved_names),
            provider_sessions: ProviderSessions::new(
                store.clone(),
                sessions.clone(),
                vault,
                revocations.clone(),
                Arc::clone(&clock),
            ),
            sign_ins: SignIns::new(store.clone(), key.sealing(KeyPurpose::SignIn), Arc::clone(&clock)),
            login,
            self_service: RateLimiter::of_changes(),
            store,
            clock,
            revocations,
            passwords,
            sessions,
        }
    }

    /// The same under another configuration.
    #[must_use]
    pub fn under(&self, config: ServiceConfig) -> Self {
        let sessions = self.sessions.under(config.session, config.providers);
        let login = self.login.opening(sessions.clone());
        Self {
            accounts: self.accounts.refusing(config.breach_list.as_ref()),
            identities: self
                .identities
                .opening(login.clone(), sessions.clone())
                .reserving(config.reserved_names),
            provider_sessions: self.provider_sessions.under(sessions.clone()),
            login,
            sessions,
            ..self.clone()
        }
    }

    /// Taking sessions on to other hosts.
    pub fn handovers(&self) -> Handovers {
        Handovers::new(self.store.clone(), self.sessions.clone(), Arc::clone(&self.clock))
    }

    /// People's own keys.
    pub fn own_keys(&self) -> OwnKeys {
        OwnKeys::new(self.login.clone(), self.api_keys.clone(), Arc::clone(&self.clock))
    }

    /// Callers by name, for explanations.
    pub fn subjects(&self) -> Subjects {
        Subjects::new(self.accounts.clone(), self.api_keys.clone())
    }

    /// What was or would be refused.
    pub fn refused(&self) -> RefusedReport {
        RefusedReport::new(self.store.clone())
    }
}
