//! A gate over a database in memory and a clock that stands still, for the tests of this floor.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::authenticator::{Authenticator, AuthenticatorParts, CredentialResolver};
use super::caller::Visitors;
use super::credential::LookUps;
use super::{Gate, GateKeys};
use crate::config::Config;
use crate::model::api_key::KeyScope;
use crate::model::metrics::{Registry, WorkerMetrics};
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::model::time::ManualClock;
use crate::model::token::{KeyText, MasterKey};
use crate::model::user::User;
use crate::service::accounts::{Accounts, NewUser};
use crate::service::admin::AdminProof;
use crate::service::api_keys::{ApiKeys, NewKey};
use crate::service::audit::Audit;
use crate::service::composition::Services;
use crate::service::revocation::Revocations;
use crate::service::sessions::Sessions;
use crate::service::subjects::Subjects;
use crate::service::testing::{ServiceFixture, in_memory};
use crate::service::touches::{self, Maintenance, Touches};

pub(in crate::gate) struct GateFixture {
    pub(in crate::gate) by: AdminProof,
    pub(in crate::gate) sessions: Sessions,
    pub(in crate::gate) keys: ApiKeys,
    /// Names of people, each with a session's cookie.
    pub(in crate::gate) sessions_of: Vec<(&'static str, String)>,
    /// Names of keys, each with a key's text.
    pub(in crate::gate) keys_of: Vec<(&'static str, String)>,
    pub(in crate::gate) ended_session: String,
    pub(in crate::gate) revoked_key: String,
    pub(in crate::gate) accounts: Accounts,
    subjects: Subjects,
    pub(in crate::gate) revocations: Revocations,
    pub(in crate::gate) touches: Touches,
    /// Writes uses down, if it is run.
    pub(in crate::gate) maintenance: Option<Maintenance>,
    audit: Audit,
    pub(in crate::gate) clock: Arc<ManualClock>,
    master: MasterKey,
}

impl GateFixture {
    /// To be called where a runtime runs; it watches its store there.
    pub(in crate::gate) async fn new() -> Self {
        let (services, manual, master) = in_memory(ServiceFixture::session_config(), Vec::new()).await;
        let subjects = services.subjects();
        let Services { store, clock, audit, revocations, accounts, api_keys: keys, sessions, .. } = services;
        let (touches, maintenance) = touches::channel(
            watch::channel(sessions.clone()).1,
            keys.clone(),
            (audit.clone(), Duration::MAX),
            store,
            clock,
        );
        tokio::spawn(revocations.clone().watch());
        while revocations.age().is_none() {
            tokio::task::yield_now().await;
        }
        Self {
            by: AdminProof::of_command_line(0),
            sessions,
            keys,
            sessions_of: Vec::new(),
            keys_of: Vec::new(),
            ended_session: String::new(),
            revoked_key: String::new(),
            accounts,
            subjects,
            revocations,
            touches,
            maintenance: Some(maintenance),
            audit,
            clock: manual,
            master,
        }
    }

    /// With people, and keys of every kind and scope.
    pub(in crate::gate) async fn peopled() -> Self {
        let mut world = Self::new().await;
        let root = world.user("root", Role::Admin, &[]).await;
        let vera = world.user("vera", Role::Viewer, &["guests"]).await;
        let mel = world.user("mel", Role::Member, &["data"]).await;
        let tom = world.user_with("tom", Role::Admin, &["data"], true).await;
        for (name, user) in [("root", &root), ("vera", &vera), ("mel", &mel), ("tom", &tom)] {
            let session = world.session(user).await;
            world.sessions_of.push((name, session));
        }
        let free = KeyScope::default;
        for (name, role, owner, scope) in [
            ("ci", Role::Member, None, free()),
            ("agent", Role::Agent, None, free()),
            ("laptop", Role::Viewer, Some(&vera), free()),
            ("below-a", Role::Admin, None, KeyScope { paths: vec!["/a".into()], ..free() }),
            ("gets", Role::Admin, None, KeyScope { methods: vec![Method::GET], ..free() }),
            ("lan", Role::Admin, None, KeyScope { networks: vec!["10.0.0.0/8".parse().unwrap()], ..free() }),
        ] {
            let key = world.scoped_key(name, role, owner, scope).await;
            world.keys_of.push((name, key));
        }
        let gone = world.user("gone", Role::Admin, &[]).await;
        world.ended_session = world.session(&gone).await;
        world.sessions.end_all(&world.by, &gone.id).await.unwrap();
        world.revoked_key = world.key("gone", Role::Admin, None).await;
        let id = KeyText::id_of(&world.revoked_key).unwrap().to_owned();
        assert!(world.keys.revoke(&world.by, &id).await.unwrap());
        world
    }

    pub(in crate::gate) fn subjects(&self) -> Subjects {
        self.subjects.clone()
    }

    pub(in crate::gate) fn look_ups(&self) -> LookUps {
        LookUps::new(self.sessions.clone(), self.keys.clone())
    }

    pub(in crate::gate) fn resolver(&self) -> CredentialResolver {
        CredentialResolver::new(self.look_ups(), self.revocations.epoch().clone())
    }

    /// Who asks for a page, by a session cookie of this name.
    pub(in crate::gate) fn visitors(&self, cookie: &str) -> Visitors {
        Visitors::new(Arc::new(self.resolver()), cookie.to_owned(), self.touches.clone(), self.clock.clone())
    }

    pub(in crate::gate) fn parts(&self) -> AuthenticatorParts {
        AuthenticatorParts {
            resolver: Arc::new(self.resolver()),
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

    /// A gate with these settings.
    pub(in crate::gate) fn gate(&self, config: &Config) -> Gate {
        let authenticator = Authenticator::new(self.parts(), 1, Rc::default(), Self::metrics());
        Gate::new(config, authenticator, GateKeys::of(&self.master))
    }

    pub(in crate::gate) async fn user(&self, name: &str, role: Role, groups: &[&str]) -> User {
        self.user_with(name, role, groups, false).await
    }

    /// `temporary` is whether the password must be changed before anything else.
    async fn user_with(&self, name: &str, role: Role, groups: &[&str], temporary: bool) -> User {
        let new = NewUser {
            username: name.to_owned(),
            email: None,
            display_name: None,
            role,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            password: temporary.then(|| (Secret::new("nine bees in a bonnet"), true)),
        };
        self.accounts.create(&self.by, new).await.unwrap()
    }

    /// The value of the cookie of a new session.
    pub(in crate::gate) async fn session(&self, user: &User) -> String {
        let client = "192.0.2.1".parse().unwrap();
        self.sessions.open(self.by.actor(), user, client, "browser").await.unwrap().0.expose().to_owned()
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
        };
        self.keys.issue(&self.by, new).await.unwrap().0.expose().to_owned()
    }
}
