//! Floor 7, the composition root: everything is built once, in floor order, and stopped in reverse.

mod acme;
mod listen;
mod master_key;
mod sample;
mod settings;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

pub use self::listen::Inherited;
pub use self::settings::load;
use crate::config::{Config, LogFormat, UpstreamAddress, UpstreamConfig};
use crate::edge::page::Site;
use crate::edge::proxy::tls as upstream_tls;
use crate::edge::proxy::tls::TlsError;
use crate::edge::web::{Bounces, Services, Web};
use crate::gate::authenticator::{AuthenticatorParts, Resolver};
use crate::model::time::{Clock, SystemClock};
use crate::server;
use crate::server::access_log;
use crate::server::acme::SetupError;
use crate::server::admission::Admission;
use crate::server::dispatch::Shared;
use crate::server::worker::{Parts, Worker};
use crate::server::{Phase, listener};
use crate::service::ServiceError;
use crate::service::accounts::Accounts;
use crate::service::api_keys::ApiKeys;
use crate::service::bootstrap::Bootstrap;
use crate::service::doctor;
use crate::service::handovers::Handovers;
use crate::service::login::Login;
use crate::service::own_keys::OwnKeys;
use crate::service::password::Passwords;
use crate::service::refused;
use crate::service::revocation::Revocations;
use crate::service::sessions::Sessions;
use crate::service::subjects::Subjects;
use crate::service::touches;
use crate::store::{Store, StoreError};

/// Threads of the control plane: store, passwords, pages.
const CONTROL_THREADS: usize = 2;
/// At a stop, what was counted is written within this.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// The first look at the store must be over before anything is served.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database.
    #[error("the store cannot be opened")]
    Store(#[from] StoreError),
    /// A use case at start, such as making the first admin.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The key that signs cookies.
    #[error("the secret cannot be read or made: {path}")]
    MasterKey {
        /// The file.
        path: String,
        /// What went wrong.
        #[source]
        cause: std::io::Error,
    },
    /// Certificates or keys.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address.
    #[error("cannot listen on {address}: choose another with server.listen or --listen")]
    Bind {
        /// Which.
        address: String,
        /// What went wrong.
        #[source]
        cause: std::io::Error,
    },
    /// Certificates by ACME.
    #[error(transparent)]
    Acme(#[from] SetupError),
    /// A listener without a socket.
    #[error(
        "no socket was handed over for {address}: start the socket unit, and look at its FileDescriptorName"
    )]
    NothingInherited {
        /// As in the settings.
        address: String,
    },
    /// Threads, runtimes, signals.
    #[error("the process cannot be set up")]
    Process(#[from] std::io::Error),
    /// The store was opened and then did not answer.
    #[error("the store does not answer")]
    Unready,
}

/// Runs the gateway until it is told to stop: the first SIGTERM or SIGINT drains, the second ends at once.
///
/// # Errors
///
/// [`StartError`] if it does not start.
pub fn serve(config: Config) -> Result<(), StartError> {
    start_logging(&config);
    let inherited = Inherited::take();
    // One provider, chosen here: two of them in one process would make rustls panic.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("doorward-control")
        .enable_all()
        .build()?;
    control.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let running = Running::start_with(config, Arc::new(SystemClock), inherited).await?;
        running.announce();
        tell_manager(&NotifyState::Ready);
        tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
        tell_manager(&NotifyState::Stopping);
        tracing::info!("stopping: open requests are finished first");
        tokio::select! {
            () = running.stop() => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

/// A running gateway.
pub struct Running {
    config: Arc<Config>,
    addresses: Vec<SocketAddr>,
    /// Every listener, for people to read.
    places: Vec<String>,
    /// As configured: the sample is given an address of its own after this is written.
    upstreams: Vec<String>,
    bootstrap: Bootstrap,
    accepting: (watch::Sender<bool>, JoinSet<()>),
    /// The tasks that order certificates, if they are ordered.
    ordering: Option<JoinSet<()>>,
    phase: watch::Sender<Phase>,
    closing: watch::Sender<bool>,
    draining: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
    log_writer: Option<std::thread::JoinHandle<()>>,
    upkeep: (oneshot::Sender<()>, JoinHandle<()>),
    watching: JoinHandle<()>,
    refused_keeper: JoinHandle<()>,
    revocations: Revocations,
    resolver: Arc<Resolver>,
    store: Store,
}

impl Running {
    /// Builds everything and begins to serve. Must be called on the control plane's runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`]; then nothing is left running.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        Self::start_with(config, clock, Inherited::default()).await
    }

    /// The same, with sockets that a service manager listens on.
    ///
    /// # Errors
    ///
    /// [`StartError`]; then nothing is left running.
    pub async fn start_with(
        mut config: Config,
        clock: Arc<dyn Clock>,
        mut inherited: Inherited,
    ) -> Result<Self, StartError> {
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        // Certificates are read and addresses bound before anything else can go wrong halfway.
        let acme = acme::Prepared::new(&config, &clock, &mut inherited)?;
        let tls = match &acme {
            Some(acme) => Some(server::tls::acceptor_by_acme(acme.held(), config.server.tls.as_ref())?),
            None => config.server.tls.as_ref().map(server::tls::acceptor).transpose()?,
        };
        for upstream in &config.upstreams {
            upstream_tls::connector(upstream)?;
        }
        let listeners = listen::listeners(&config.server, tls.as_ref(), &mut inherited)?;
        inherited.warn_of_rest();
        let addresses = listeners.iter().filter_map(|listener| listener.socket.address()).collect();
        let places = listeners.iter().map(|listener| listener.socket.place()).collect();

        let store = Store::open(config.store.url.expose(), config.store.connections).await?;
        let key = master_key::load(&config)?;
        let revocations = Revocations::new(store.clone(), Arc::clone(&clock));
        let passwords = Passwords::new();
        let sessions = Sessions::new(
            config.session.clone(),
            store.clone(),
            key.derive("session cookie"),
            revocations.clone(),
            Arc::clone(&clock),
        );
        let api_keys = ApiKeys::new(store.clone(), revocations.clone(), Arc::clone(&clock));
        let accounts =
            Accounts::new(store.clone(), passwords.clone(), revocations.clone(), Arc::clone(&clock));
        let login = Login::new(
            store.clone(),
            passwords,
            sessions.clone(),
            key.derive("device cookie"),
            Arc::clone(&clock),
        );
        let bootstrap = accounts.bootstrap(&config.login).await?;
        config.login.admin_password = None;

        let upstreams = config.upstreams.iter().map(described).collect();
        sample::start_where_wanted(&mut config).await?;
        let config = Arc::new(config);
        let watching = tokio::spawn(revocations.clone().watch());
        wait_until_fresh(&revocations).await?;
        let (touches, keeper) =
            touches::channel(sessions.clone(), api_keys.clone(), store.clone(), Arc::clone(&clock));
        let (reports, scribe) = doctor::channel(store.clone(), Arc::clone(&clock));
        tokio::spawn(scribe.run()); // ends with the last worker
        let (refusals, refused_keeper) = refused::channel(store.clone());
        let refused_keeper = tokio::spawn(refused_keeper.run()); // ends with the last worker
        let (stop_upkeep, upkeep_stopped) = oneshot::channel();
        let upkeep = tokio::spawn(keeper.run(async {
            let _ = upkeep_stopped.await;
        }));

        let (phase, phases) = watch::channel(Phase::Running);
        let (closing, closings) = watch::channel(false);
        let draining = Arc::new(AtomicBool::new(false));
        let (log, log_writer) = match config.log.access.then(access_log::start_writer) {
            Some((log, writer)) => (Some(log), Some(writer)),
            None => (None, None),
        };
        let site = Site::new(config.public_url.clone(), &config.session);
        let handovers = Handovers::new(store.clone(), sessions.clone(), Arc::clone(&clock));
        let subjects = Subjects::new(accounts.clone(), api_keys.clone());
        let own_keys = OwnKeys::new(login.clone(), api_keys.clone(), Arc::clone(&clock));
        let services = Services { login, sessions: sessions.clone(), handovers, accounts, own_keys };
        let hosts = config.routes.iter().flat_map(|route| route.hosts.iter().cloned());
        let bounces = Bounces::new(key.derive("bounce cookie"), Arc::clone(&clock));
        let web = Web::new(site.clone(), &config.login, services, hosts, bounces);
        let resolver = Arc::new(Resolver::new(sessions, api_keys));
        let parts = Parts {
            config: Arc::clone(&config),
            shared: Shared {
                site: Arc::new(site),
                web: Arc::new(web),
                control: Handle::current(),
                revocations: revocations.clone(),
                draining: Arc::clone(&draining),
                trusted_proxies: config.server.trusted_proxies.clone().into(),
                uri_bytes: config.server.limits.uri_bytes,
                body_pace: config.server.body_pace,
                clock: Arc::clone(&clock),
                reports,
                subjects,
            },
            authenticator: AuthenticatorParts {
                resolver: Arc::clone(&resolver),
                control: Handle::current(),
                revocations: revocations.clone(),
                touches,
                clock,
                idle: config.session.idle,
                outage_grace: config.store.outage_grace,
            },
            log,
            refusals,
            phase: phases.clone(),
            closing: closings,
        };
        let (mut workers, mut threads) = (Vec::new(), Vec::new());
        for number in 0..config.server.workers.max(1) {
            let (worker, thread) = Worker::start(number, parts.clone())?;
            workers.push(worker);
            threads.push(thread);
        }
        let limits = config.server.limits;
        let admission =
            Admission::new(limits.connections, limits.connections_per_client, &config.server.trusted_proxies);
        let (stop_accepting, stopping) = watch::channel(false);
        let mut acceptors = JoinSet::new();
        for listener in listeners {
            let accept = listener::accept(listener, workers.clone(), admission.clone(), stopping.clone());
            acceptors.spawn(accept);
        }
        Ok(Self {
            config,
            addresses,
            places,
            upstreams,
            bootstrap,
            accepting: (stop_accepting, acceptors),
            ordering: acme.map(acme::Prepared::start),
            phase,
            closing,
            draining,
            threads,
            log_writer,
            upkeep: (stop_upkeep, upkeep),
            watching,
            refused_keeper,
            revocations,
            resolver,
            store,
        })
    }

    /// The IP addresses it listens on, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How often a credential had to be looked up in the store so far.
    pub fn lookups(&self) -> u64 {
        self.resolver.lookups()
    }

    /// How somebody can get in for the first time.
    pub fn bootstrap(&self) -> &Bootstrap {
        &self.bootstrap
    }

    /// Tells the operator where the gateway is and how to sign in.
    fn announce(&self) {
        let public = &self.config.public_url;
        for upstream in &self.upstreams {
            tracing::info!("upstream {upstream}");
        }
        for place in &self.places {
            tracing::info!("listening on {place}");
        }
        tracing::info!("ready: open {}/", public.url(""));
        match &self.bootstrap {
            Bootstrap::FirstAdmin { username } => {
                tracing::info!("sign in as `{username}` with the password you set; it must be changed first");
            }
            Bootstrap::SetupToken(token) => {
                // The one secret that is printed: it works once, within a day, and only while there is no user.
                let link = public.url(&format!("/_doorward/setup?token={}", token.expose()));
                let notice = format!(
                    "\nNobody can sign in yet. Make the first admin here, once, within 24 hours:\n\n  {link}\n\n"
                );
                let _ = std::io::Write::write_all(&mut std::io::stderr(), notice.as_bytes());
            }
            Bootstrap::Ready => tracing::info!("sign in at {}", public.url("/_doorward/login")),
        }
    }

    /// Stops: no new connections, open requests are finished within the configured time, what is left is cut.
    pub async fn stop(self) {
        self.draining.store(true, Ordering::Relaxed);
        drop(self.ordering);
        // What was accepted must reach a worker before the workers close their doors.
        let (stop_accepting, mut acceptors) = self.accepting;
        let _ = stop_accepting.send(true);
        while acceptors.join_next().await.is_some() {}
        let _ = self.phase.send(Phase::Draining);
        let threads = self.threads;
        let mut drained = tokio::task::spawn_blocking(move || threads.into_iter().for_each(join));
        if tokio::time::timeout(self.config.server.drain, &mut drained).await.is_err() {
            tracing::warn!("some requests did not end in time and are cut");
            let _ = self.closing.send(true);
            let _ = drained.await;
        }
        let (stop_upkeep, upkeep) = self.upkeep;
        let _ = stop_upkeep.send(());
        let _ = upkeep.await;
        let _ = tokio::time::timeout(WRITE_TIMEOUT, self.refused_keeper).await;
        self.watching.abort();
        if let Err(error) = self.revocations.forget().await {
            tracing::debug!(%error, "the store was not told of the stop");
        }
        self.store.close().await;
        if let Some(writer) = self.log_writer {
            let _ = tokio::task::spawn_blocking(move || join(writer)).await;
        }
    }
}

/// An upstream in one line: its name and where it is.
fn described(upstream: &UpstreamConfig) -> String {
    match &upstream.address {
        UpstreamAddress::Sample => format!("{}: the built-in sample dashboard", upstream.name),
        UpstreamAddress::Tcp { host, port, .. } => format!("{}: {host}:{port}", upstream.name),
    }
}

fn join(thread: std::thread::JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread panicked");
    }
}

/// Tells the service manager, if it wants to know (`sd_notify(3)`).
fn tell_manager(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

async fn wait_until_fresh(revocations: &Revocations) -> Result<(), StartError> {
    let fresh = async {
        while !revocations.is_fresh(Duration::from_secs(1)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(READY_TIMEOUT, fresh).await.map_err(|_| StartError::Unready)
}

/// Events of the gateway's life go to standard error; access events have standard output to themselves.
fn start_logging(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log.level)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A subscriber that is there already, as in tests, is left alone.
    let _ = match config.log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_target(false).with_ansi(false).try_init(),
    };
}

/// Loopback, where nobody else can connect.
const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
