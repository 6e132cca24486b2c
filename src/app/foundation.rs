//! Builds what outlives every configuration (store, keys, limiters), and a generation from each configuration.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::sample::Sample;
use super::{StartError, open_or_make_store};
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
use crate::edge::web::{AppLogout, PageGuard, RedirectLoopGuard, Web, WebParts};
use crate::federation::Federation;
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
use crate::service::composition::Services;
use crate::service::doctor;
use crate::service::doctor::Reports;
use crate::service::sessions::Sessions;
use crate::service::touches;
use crate::service::touches::Touches;

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
    /// Under the configuration of the start.
    pub(super) services: Services,
    key: MasterKey,
    keys: GateKeys,
    /// For what tidies up, which wants to know when a session counts as idle.
    sessions: watch::Sender<Sessions>,
    resolver: CredentialResolver,
    touches: Touches,
    reports: Reports,
    pub(super) draining: Arc<AtomicBool>,
    sample: Sample,
    pub(super) buffer_quotas: BufferQuotas,
    pub(super) page_limiter: PageLimiter,
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
        let services = Services::new(store, &key, clock, config.into());
        services.audit.configuration(Load::Start, config).await?;
        let resolver = CredentialResolver::new(for_requests(&services), services.revocations.epoch().clone());
        let (sessions, known_sessions) = watch::channel(services.sessions.clone());
        let (touches, keeper) = touches::channel(
            known_sessions,
            services.api_keys.clone(),
            (services.audit.clone(), config.audit.keep),
            services.store.clone(),
            Arc::clone(&services.clock),
        );
        let (reports, report_writer) = doctor::channel(services.store.clone(), Arc::clone(&services.clock));
        tokio::spawn(report_writer.run()); // ends with the last that reports
        let (stop_upkeep, upkeep_stopped) = oneshot::channel();
        let upkeep = tokio::spawn(keeper.run(async {
            let _ = upkeep_stopped.await;
        }));
        let keys = GateKeys::of(&key);
        let foundation = Self {
            services,
            keys,
            key,
            sessions,
            resolver,
            touches,
            reports,
            draining: Arc::default(),
            sample: Sample::default(),
            buffer_quotas: BufferQuotas::default(),
            page_limiter: PageLimiter::default(),
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

    /// Makes everything of a configuration that depends on it; what is known of providers is taken from the `former` one.
    /// Nothing of it is in effect yet.
    pub(super) async fn generation(
        &self,
        number: u64,
        mut config: Config,
        certificates: TlsMaterial,
        former: Option<&Federation>,
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
        let services = self.services.under((&config).into());
        let resolver = Arc::new(self.resolver.asking(for_requests(&services)));
        let look_ups = LookUps::new(services.sessions.clone(), services.api_keys.clone());
        let by_pages = self.resolver.asking(look_ups);
        let visitors = Visitors::new(
            Arc::new(by_pages),
            config.session.cookie_name(&config.public_url),
            self.touches.clone(),
            Arc::clone(&services.clock),
        );
        let site = Site::new(config.public_url.clone(), &config.session, &config.pages);
        let hosts = config.routes.iter().flat_map(|route| route.hosts.iter().cloned());
        let loop_guard =
            RedirectLoopGuard::new(self.key.derive(KeyPurpose::LoopGuard), Arc::clone(&services.clock));
        let guard = PageGuard { visitors, origins: Origins::new(&config) };
        let federation = Arc::new(Federation::new(&config, &services, former)?);
        let parts = WebParts {
            site: site.clone(),
            federation: Arc::clone(&federation),
            guard,
            loop_guard,
            app_sessions: AppLogout::new(&config),
        };
        let web = Web::new(parts, &config.login, &services, hosts);
        let generation = Generation {
            number,
            surfaces: self.surfaces(&services, site, web, &config),
            room: self.buffer_quotas.graphql.clone(),
            authenticator: AuthenticatorParts {
                resolver,
                control: self.control.clone(),
                revocations: services.revocations.clone(),
                touches: self.touches.clone(),
                audit: services.audit.clone(),
                clock: Arc::clone(&services.clock),
                idle: config.session.idle,
                outage_grace: config.store.outage_grace,
            },
            keys: self.keys.clone(),
            federation,
            upstreams,
            checks,
            config,
        };
        Ok((generation, services.sessions))
    }

    /// What is ours in a configuration.
    fn surfaces(&self, services: &Services, site: Site, web: Web, config: &Config) -> surfaces::SurfaceParts {
        let server = &config.server;
        surfaces::SurfaceParts {
            site: Arc::new(site),
            health: Health {
                draining: Arc::clone(&self.draining),
                revocations: services.revocations.clone(),
            },
            page_handler: PageHandler {
                web: Arc::new(web),
                control: self.control.clone(),
                pace: server.body_pace,
                limiter: self.page_limiter.clone(),
            },
            public_keys: Arc::new(PublicKeys::new(config, self.keys.assertion.clone())),
            explain: Explain {
                subjects: services.subjects(),
                control: self.control.clone(),
                own_authority: config.public_url.authority(),
            },
            asking: SubrequestContext {
                trusted_proxies: server.trusted_proxies.clone().into(),
                uri_bytes: server.limits.uri_bytes,
                room: self.buffer_quotas.questions.clone(),
                pace: server.body_pace,
                reports: self.reports.clone(),
            },
            clock: Arc::clone(&services.clock),
        }
    }
}

/// What credentials of requests are looked up in.
fn for_requests(services: &Services) -> LookUps {
    LookUps::new(services.sessions.for_requests(), services.api_keys.for_requests())
}
