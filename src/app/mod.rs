//! Floor 7, the composition root: everything is built in floor order, and stopped in reverse. What depends on
//! the settings is built again for each configuration that is put into effect.

mod acme;
mod foundation;
mod listen;
mod logging;
mod master_key;
mod metrics;
mod opening;
mod preflight;
mod process;
mod refreshing;
mod reload;
mod sample;
mod settings;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::{Mutex, watch};
use tokio::task::{JoinHandle, JoinSet};

use self::foundation::{Foundation, MaintenanceTask, TlsMaterial};
pub use self::listen::Inherited;
pub use self::master_key::KeyFileError;
pub use self::opening::{audit_key, find_master_key, open_or_make_store, open_store, read_master_key};
pub use self::preflight::{Preflight, preflight};
pub use self::process::serve;
pub use self::reload::{ReloadError, Trigger};
use self::reload::{Reloader, SetLevel};
pub use self::settings::load;
use crate::config::{Config, ConfigOrigin, UpstreamConfig};
use crate::egress::tls::TlsError;
use crate::federation::ProviderError;
use crate::model::metrics::Registry;
use crate::model::secret::Secret;
use crate::model::time::Clock;
use crate::server::access_log;
use crate::server::access_log::Outlet;
use crate::server::acme::SetupError;
use crate::server::admission::{Admission, AdmissionLimits};
use crate::server::tls::Tls;
use crate::server::worker::{Worker, WorkerParts};
use crate::server::{Phase, listener};
use crate::service::ServiceError;
use crate::service::bootstrap::{Bootstrap, FirstAdmin};
use crate::service::refused;
use crate::service::revocation::Revocations;
use crate::store::StoreError;

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
    /// A command was to work on a database that is not there.
    #[error(
        "there is no database at {}, where store.url leads: `doorward serve` makes it at its start, `doorward store create` \
         without one; or name the settings of your gateway with --config",
        std::path::absolute(path).as_ref().unwrap_or(path).display()
    )]
    NoDatabase {
        /// The file.
        path: PathBuf,
    },
    /// A command was to work on a database whose secret is not there.
    #[error(
        "the gateway's secret is not {place}: restore it from a backup; or let `doorward serve` make another, after which \
         everybody signs in again and the audit trail so far cannot be verified any more"
    )]
    NoKey {
        /// Where it was looked for.
        place: String,
    },
    /// A use case at start, such as making the first admin.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The key that signs cookies.
    #[error("the gateway's secret cannot be used: {path}")]
    MasterKey {
        /// The file.
        path: String,
        /// What went wrong.
        #[source]
        cause: KeyFileError,
    },
    /// Certificates or keys.
    #[error("{setting} cannot be used")]
    Tls {
        /// The setting that names them.
        setting: String,
        /// What went wrong.
        #[source]
        cause: TlsError,
    },
    /// An address.
    #[error("cannot listen on {address}: choose another with server.listen or --listen")]
    Bind {
        /// Which.
        address: String,
        /// What went wrong.
        #[source]
        cause: std::io::Error,
    },
    /// A file that a provider's settings name.
    #[error(transparent)]
    Provider(#[from] ProviderError),
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

impl StartError {
    fn tls(setting: &str, cause: TlsError) -> Self {
        Self::Tls { setting: setting.to_owned(), cause }
    }
}

/// A running gateway.
pub struct Running {
    reloader: Arc<Reloader>,
    following: Option<JoinHandle<()>>,
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
    threads: Vec<std::thread::JoinHandle<()>>,
    log_writer: std::thread::JoinHandle<()>,
    upkeep: MaintenanceTask,
    refreshing: MaintenanceTask,
    watching: JoinHandle<()>,
    refused_keeper: JoinHandle<()>,
    metrics: Option<metrics::MetricsServer>,
    registry: Arc<Registry>,
}

impl Running {
    /// Builds everything and begins to serve, on what a service manager listens on where the settings say so.
    /// Access events go to `log`. Must be called on the control plane's runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`]; then nothing is left running.
    pub async fn start(
        config: Config,
        clock: Arc<dyn Clock>,
        mut inherited: Inherited,
        log: Outlet,
    ) -> Result<Self, StartError> {
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        // Certificates are read and addresses bound before anything else can go wrong halfway.
        let acme = acme::PreparedAcme::new(&config, &clock, &mut inherited)?;
        let held = acme.as_ref().map(acme::PreparedAcme::held);
        let certificates = TlsMaterial::read(&config, held.as_ref())?;
        let tls = certificates.acceptor.clone().map(Tls::new);
        let listeners = listen::listeners(&config.server, tls.as_ref(), &mut inherited)?;
        inherited.warn_of_rest();
        let addresses = listeners.iter().filter_map(|listener| listener.socket.address()).collect();
        let places = listeners.iter().map(|listener| listener.socket.place()).collect();

        let metrics = metrics::bind(&config).await?;
        let started = clock.now();
        let (foundation, upkeep) = Foundation::lay(&config, clock).await?;
        let bootstrap = foundation.services.accounts.bootstrap(&config.login).await?;
        let watching = tokio::spawn(foundation.services.revocations.clone().watch());
        wait_until_fresh(&foundation.services.revocations).await?;
        let upstreams = config.upstreams.iter().map(described).collect();
        let (generation, sessions) = foundation.generation(1, config, certificates, None).await?;
        sessions.end_sessions_of_removed_providers().await?;
        let generation = Arc::new(generation);

        let (phase, phases) = watch::channel(Phase::Running);
        let (closing, closings) = watch::channel(false);
        let (log, log_writer) = access_log::start_writer(log);
        let log_format = generation.config.log.format;
        let (refusals, refused_keeper) = refused::channel(foundation.services.store.clone());
        let refused_keeper = tokio::spawn(refused_keeper.run()); // ends with the last worker
        let registry = Arc::new(Registry::default());
        let parts = WorkerParts {
            log_format,
            log,
            refusals,
            registry: Arc::clone(&registry),
            phase: phases.clone(),
            closing: closings,
        };
        let (mut workers, mut threads) = (Vec::new(), Vec::new());
        for number in 0..generation.config.server.workers.max(1) {
            let (worker, thread) = Worker::start(number, parts.clone(), Arc::clone(&generation))?;
            workers.push(worker);
            threads.push(thread);
        }
        let admission = Admission::new(AdmissionLimits::new(&generation.config.server));
        let (stop_accepting, stopping) = watch::channel(false);
        let mut acceptors = JoinSet::new();
        for listener in listeners {
            let accept = listener::accept(listener, workers.clone(), admission.clone(), stopping.clone());
            acceptors.spawn(accept);
        }
        let providers = generation.federation.counts().clone();
        let (federations, refreshing) = refreshing::start(Arc::clone(&generation.federation));
        let current = Mutex::new(generation);
        let reloader = Arc::new(Reloader { foundation, workers, admission, tls, held, federations, current });
        let metrics = metrics.map(|bound| bound.serve(&reloader, Arc::clone(&registry), providers, started));
        Ok(Self {
            reloader,
            metrics,
            registry,
            following: None,
            addresses,
            places,
            upstreams,
            bootstrap,
            accepting: (stop_accepting, acceptors),
            ordering: acme.map(acme::PreparedAcme::start),
            phase,
            closing,
            threads,
            log_writer,
            upkeep,
            refreshing,
            watching,
            refused_keeper,
        })
    }

    /// Reads the configuration again and puts it into effect; gives its number, counted from 1 at the start.
    /// Then it is what every request is served by that begins.
    ///
    /// # Errors
    ///
    /// [`ReloadError`] with everything that is wrong; then nothing has changed.
    pub async fn reload(&self, origin: &mut ConfigOrigin) -> Result<u64, ReloadError> {
        Box::pin(self.reloader.reload(origin, Trigger::Signal)).await
    }

    /// Reloads from now on whenever it is told to or a file changes.
    async fn follow(&mut self, origin: ConfigOrigin, hangup: Signal, set_level: Option<SetLevel>) {
        self.reloader.tell(Trigger::Start, &origin, None).await;
        let reloader = Arc::clone(&self.reloader);
        self.following = Some(tokio::spawn(reloader.follow(origin, hangup, set_level)));
    }

    /// The IP addresses it listens on, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where metrics are read, if anywhere.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(metrics::MetricsServer::address)
    }

    /// What its threads count.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Connections of clients that are open.
    pub fn connections(&self) -> usize {
        self.reloader.admission.open()
    }

    /// How often a credential had to be looked up in the store so far.
    pub fn lookups(&self) -> u64 {
        self.reloader.foundation.lookups()
    }

    /// How somebody can get in for the first time.
    pub fn bootstrap(&self) -> &Bootstrap {
        &self.bootstrap
    }

    /// Tells the operator where the gateway is and how to sign in.
    async fn announce(&self) {
        let generation = Arc::clone(&*self.reloader.current.lock().await);
        let public = &generation.config.public_url;
        for upstream in &self.upstreams {
            tracing::info!("upstream {upstream}");
        }
        for place in &self.places {
            tracing::info!("listening on {place}");
        }
        if let Some(address) = self.metrics_address() {
            tracing::info!("metrics at http://{address}/metrics");
        }
        tracing::info!("ready: open {}/", public.url(""));
        if let Some(set_by) = &self.bootstrap.late_password {
            let file = generation.config.store.file().and_then(|file| std::path::absolute(file).ok());
            let store = file.map_or_else(|| "the database".to_owned(), |file| file.display().to_string());
            tracing::warn!(
                "{set_by} has no effect: {store} has users already, and it is for a database without any. Sign in as one of \
                 them, or give one a new password (`doorward user list`, `doorward user reset-password NAME`); and unset it"
            );
        }
        for (admin, why) in &self.bootstrap.taken {
            tracing::warn!("login.admins: {admin} is left as it is: {why}");
        }
        // The one kind of secret that is printed: each works once, within a day, and only for who has no password yet.
        let link = |token: &Secret| public.url(&format!("/_doorward/setup?token={}", token.expose()));
        let print = |text: String| {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
        };
        for (name, token) in &self.bootstrap.links {
            print(format!(
                "\n{name} is an admin without a password. Choose one here, once, within 24 hours:\n\n  {}\n\n",
                link(token)
            ));
        }
        match &self.bootstrap.first {
            FirstAdmin::Made { username } => {
                tracing::info!("sign in as `{username}` with the password you set; it must be changed first");
            }
            FirstAdmin::Link(token) => print(format!(
                "\nNobody can sign in yet. Make the first admin here, once, within 24 hours:\n\n  {}\n\n",
                link(token)
            )),
            FirstAdmin::Ready => tracing::info!("sign in at {}", public.url("/_doorward/login")),
        }
    }

    /// Stops: no new connections, open requests are finished within the configured time, what is left is cut.
    pub async fn stop(self) {
        if let Some(following) = self.following {
            following.abort();
        }
        let foundation = &self.reloader.foundation;
        foundation.draining.store(true, Ordering::Relaxed);
        drop(self.ordering);
        let (stop_refreshing, refreshing) = self.refreshing;
        let _ = stop_refreshing.send(());
        // What was accepted must reach a worker before the workers close their doors.
        let (stop_accepting, mut acceptors) = self.accepting;
        let _ = stop_accepting.send(true);
        while acceptors.join_next().await.is_some() {}
        let _ = self.phase.send(Phase::Draining);
        let threads = self.threads;
        let mut drained = tokio::task::spawn_blocking(move || threads.into_iter().for_each(join));
        let drain = self.reloader.current.lock().await.config.server.drain;
        if tokio::time::timeout(drain, &mut drained).await.is_err() {
            tracing::warn!("some requests did not end in time and are cut");
            let _ = self.closing.send(true);
            let _ = drained.await;
        }
        let _ = refreshing.await;
        let (stop_upkeep, upkeep) = self.upkeep;
        let _ = stop_upkeep.send(());
        let _ = upkeep.await;
        let _ = tokio::time::timeout(WRITE_TIMEOUT, self.refused_keeper).await;
        self.watching.abort();
        if let Err(error) = foundation.services.revocations.forget().await {
            tracing::debug!(%error, "the store was not told of the stop");
        }
        foundation.services.store.close().await;
        let writer = self.log_writer;
        let _ = tokio::task::spawn_blocking(move || join(writer)).await;
    }
}

/// An upstream in one line: its name and where it is.
fn described(upstream: &UpstreamConfig) -> String {
    format!("{}: {}", upstream.name, upstream.address())
}

fn join(thread: std::thread::JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread panicked");
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

/// Loopback, which only this machine can connect to.
const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
