//! What outlives every configuration, and what is made of one.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::sample::Sample;
use super::{StartError, audit_key, open_or_make_store};
use crate::config::Config;
use crate::edge::explain::Explain;
use crate::edge::forward_auth::subrequests::SubrequestContext;
use crate::edge::health::Health;
use crate::edge::page_handler::PageHandler;
use crate::edge::page_limiter::PageLimiter;
use crate::edge::pages::site::Site;
use crate::edge::proxy::health;
use crate::edge::proxy::servers::UpstreamParts;
use crate::edge::proxy::tls as upstream_tls;
use crate::edge::read_ahead::BufferQuotas;
use crate::edge::surfaces;
use crate::edge::web::{AppLogout, PageGuard, PageServices, RedirectLoopGuard, Web};
use crate::gate::GateKeys;
use crate::gate::authenticator::{AuthenticatorParts, CredentialResolver};
use crate::gate::caller::Visitors;
use crate::gate::credential::LookUps;
use crate::gate::origins::Origins;
use crate::gate::public_keys::PublicKeys;
use crate::model::audit::Load;
use crate::model::time::Clock;
use crate::model::token::{KeyPurpose, MasterKey};
use crate::server;
use crate::server::certificates::AcmeState;
use crate::server::generation::Generation;
use crate::service::accounts::Accounts;
use crate::service::api_keys::ApiKeys;
use crate::service::audit::Audit;
use crate::service::doctor;
use crate::service::doctor::Reports;
use crate::service::handovers::Handovers;
use crate::service::login::{Login, LoginKeys};
use crate::service::own_keys::OwnKeys;
use crate::service::password::Passwords;
use crate::service::rate_limiter::RateLimiter;
use crate::service::revocation::Revocations;
use crate::service::sessions::Sessions;
use crate::service::subjects::Subjects;
use crate::service::touches;
use crate::service::touches::Touches;
use crate::store::Store;

/// What TLS needs, read and checked.
pub(super) struct TlsMaterial {
    /// For the listeners, if they speak TLS.
    pub(super) acceptor: Option<TlsAcceptor>,
    connectors: Vec<Option<TlsConnector>>,
}

impl TlsMaterial {
    /// Reads everything that a configuration names; `held` is what comes by ACME, if anything does.
    pub(super) fn read(config: &Config, held: Option<&Arc<AcmeState>>) -> Result<Self, StartError> {
        let files = config.server.tls.as_ref();
        let listener = match held {
            Some(held) => Some(server::tls::acceptor_by_acme(Arc::clone(held), files)),
            None => files.map(server::tls::acceptor),
        };
        let acceptor = listener.transpose().map_err(|cause| StartError::tls("server.tls", cause))?;
        let connector = |upstream| upstream_tls::connector(upstream);
        let connectors = config
            .upstreams
            .iter()
            .map(|upstream| {
                connector(upstream)
                    .map_err(|cause| StartError::tls(&format!("upstreams.{}.tls", upstream.name), cause))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { acceptor, connectors })
    }
}

/// What outlives every configuration.
pub(super) struct Foundation {
    pub(super) store: Store,
    pub(super) audit: Audit,
    pub(super) revocations: Revocations,
    pub(super) accounts: Accounts,
    key: MasterKey,
    keys: GateKeys,
    clock: Arc<dyn Clock>,
    passwords: Passwords,
    api_keys: ApiKeys,
    /// For what tidies up, which wants to know when a session counts as idle.
    sessions: watch::Sender<Sessions>,
    resolver: CredentialResolver,
    touches: Touches,
    reports: Reports,
    self_service: RateLimiter,
    pub(super) draining: Arc<AtomicBool>,
    sample: Sample,
    pub(super) rooms: BufferQuotas,
    pub(super) page_turns: PageLimiter,
    control: Handle,
}

/// The task that writes uses down, and what ends it.
pub(super) type MaintenanceTask = (oneshot::Sender<()>, JoinHandle<()>);

impl Foundation {
    /// Opens the store and starts what works on it. Must be called on the control plane's runtime.
    pub(super) async fn lay(
        config: &Config,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, MaintenanceTask), StartError> {
        let (store, key) = open_or_make_store(config, config.store.connections, Arc::clone(&clock)).await?;
        let audit = Audit::new(store.clone(), audit_key(&key));
        audit.configuration(Load::Start, config).await?;
        let revocations = Revocations::new(store.clone(), Arc::clone(&clock));
        let passwords = Passwords::new();
        let api_keys = ApiKeys::new(store.clone(), revocations.clone(), Arc::clone(&clock));
        let accounts =
            Accounts::new(store.clone(), passwords.clone(), revocations.clone(), Arc::clone(&clock))
                .refusing(config.login.breach_list.as_ref());
        let first = Sessions::new(
            config.session.clone(),
            store.clone(),
            key.derive(KeyPurpose::Session),
            revocations.clone(),
            Arc::clone(&clock),
        );
        let look_ups = LookUps::new(first.for_requests(), api_keys.for_requests());
        let resolver = CredentialResolver::new(look_ups, revocations.epoch().clone());
        let (sessions, known_sessions) = watch::channel(first);
        let (touches, keeper) = touches::channel(
            known_sessions,
            api_keys.clone(),
            (audit.clone(), config.audit.keep),
            store.clone(),
            Arc::clone(&clock),
        );
        let (reports, scribe) = doctor::channel(store.clone(), Arc::clone(&clock));
        tokio::spawn(scribe.run()); // ends with the last that reports
        let (stop_upkeep, upkeep_stopped) = oneshot::channel();
        let upkeep = tokio::spawn(keeper.run(async {
            let _ = upkeep_stopped.await;
        }));
        let keys = GateKeys::of(&key);
        let foundation = Self {
            keys,
            store,
            audit,
            revocations,
            accounts,
            key,
            clock,
            passwords,
            api_keys,
            sessions,
            resolver,
            touches,
            reports,
            self_service: RateLimiter::of_changes(),
            draining: Arc::default(),
            sample: Sample::default(),
            rooms: BufferQuotas::default(),
            page_turns: PageLimiter::default(),
            control: Handle::current(),
        };
        Ok((foundation, (stop_upkeep, upkeep)))
    }

    /// How often a credential had to be looked up in the store so far.
    pub(super) fn lookups(&self) -> u64 {
        self.resolver.lookups()
    }

    /// From now on, what has ended is tidied up as these sessions say.
    pub(super) fn tidy_by(&self, sessions: Sessions) {
        self.sessions.send_replace(sessions);
    }

    /// Makes everything of a configuration that depends on it. Nothing of it is in effect yet.
    pub(super) async fn generation(
        &self,
        number: u64,
        mut config: Config,
        certificates: TlsMaterial,
    ) -> Result<(Generation, Sessions), StartError> {
        self.sample.serve(&mut config).await?;
        // It was of use at the first start only.
        config.login.admin_password = None;
        let parts = config.upstreams.iter().zip(&certificates.connectors).map(|(upstream, connector)| {
            UpstreamParts::new(upstream, connector.as_ref())
                .map_err(|cause| StartError::tls(&format!("upstreams.{}.tls", upstream.name), cause))
        });
        let upstreams: Arc<[UpstreamParts]> = parts.collect::<Result<_, _>>()?;
        let checks = health::start(&config.upstreams, &upstreams);
        let (store, clock) = (&self.store, &self.clock);
        let sessions = self.sessions.borrow().under(config.session.clone());
        let login = Login::new(
            store.clone(),
            self.passwords.clone(),
            sessions.clone(),
            LoginKeys::of(&self.key),
            Arc::clone(clock),
        );
        let handovers = Handovers::new(store.clone(), sessions.clone(), Arc::clone(clock));
        let look_ups = LookUps::new(sessions.for_requests(), self.api_keys.for_requests());
        let resolver = Arc::new(self.resolver.asking(look_ups));
        let by_pages = self.resolver.asking(LookUps::new(sessions.clone(), self.api_keys.clone()));
        let visitors = Visitors::new(
            Arc::new(by_pages),
            config.session.cookie_name(&config.public_url),
            self.touches.clone(),
            Arc::clone(clock),
        );
        let own_keys = OwnKeys::new(login.clone(), self.api_keys.clone(), Arc::clone(clock));
        let accounts = self.accounts.refusing(config.login.breach_list.as_ref());
        let services = PageServices {
            login,
            sessions: sessions.clone(),
            handovers,
            accounts,
            own_keys,
            self_service: self.self_service.clone(),
        };
        let site = Site::new(config.public_url.clone(), &config.session, &config.pages);
        let hosts = config.routes.iter().flat_map(|route| route.hosts.iter().cloned());
        let bounces = RedirectLoopGuard::new(self.key.derive(KeyPurpose::Bounce), Arc::clone(clock));
        let guard = PageGuard { visitors, origins: Origins::new(&config) };
        let web =
            Web::new(site.clone(), &config.login, services, guard, hosts, bounces, AppLogout::new(&config));
        let generation = Generation {
            number,
            surfaces: self.surfaces(site, web, &config),
            room: self.rooms.graphql.clone(),
            authenticator: AuthenticatorParts {
                resolver,
                control: self.control.clone(),
                revocations: self.revocations.clone(),
                touches: self.touches.clone(),
                audit: self.audit.clone(),
                clock: Arc::clone(clock),
                idle: config.session.idle,
                outage_grace: config.store.outage_grace,
            },
            keys: self.keys.clone(),
            upstreams,
            checks,
            config,
        };
        Ok((generation, sessions))
    }

    /// What is ours in a configuration.
    fn surfaces(&self, site: Site, web: Web, config: &Config) -> surfaces::SurfaceParts {
        let server = &config.server;
        surfaces::SurfaceParts {
            site: Arc::new(site),
            health: Health { draining: Arc::clone(&self.draining), revocations: self.revocations.clone() },
            visits: PageHandler {
                web: Arc::new(web),
                control: self.control.clone(),
                pace: server.body_pace,
                turns: self.page_turns.clone(),
            },
            public_keys: Arc::new(PublicKeys::new(config, self.keys.assertion.clone())),
            explain: Explain {
                subjects: Subjects::new(self.accounts.clone(), self.api_keys.clone()),
                control: self.control.clone(),
                own_authority: config.public_url.authority(),
            },
            asking: SubrequestContext {
                trusted_proxies: server.trusted_proxies.clone().into(),
                uri_bytes: server.limits.uri_bytes,
                room: self.rooms.questions.clone(),
                pace: server.body_pace,
                reports: self.reports.clone(),
            },
            clock: Arc::clone(&self.clock),
        }
    }
}
