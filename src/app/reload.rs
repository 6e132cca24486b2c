//! Going over to another configuration while requests are served: read, checked and built in full first, then
//! in effect for every request that begins from then on. What is refused changes nothing.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::signal::unix::Signal;
use tokio::sync::{Mutex, watch};
use tokio::task::block_in_place;
use tokio::time::{Instant, MissedTickBehavior};

use super::foundation::{Foundation, TlsMaterial};
use super::{StartError, settings};
use crate::config::{Config, ConfigError, ConfigOrigin, SettingLocation};
use crate::federation::Federation;
use crate::model::audit::Load;
use crate::server::admission::{Admission, AdmissionLimits};
use crate::server::certificates::AcmeState;
use crate::server::generation::Generation;
use crate::server::tls::Tls;
use crate::server::worker::Worker;

/// How often the files are looked at. A change counts once two looks in a row saw the same: a file that is
/// being written is left alone, since half of it may well be a configuration.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// One that was refused only because the store did not answer is tried again after this.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Why a configuration is not put into effect.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It has problems, its own policy tests fail, or it changes what only a restart can change.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What it names cannot be set up.
    #[error(transparent)]
    Setup(#[from] StartError),
}

/// Why a configuration is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The process starts.
    Start,
    /// SIGHUP.
    Signal,
    /// A file changed.
    Change,
}

impl Trigger {
    /// The word in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Signal => "SIGHUP",
            Self::Change => "file",
        }
    }
}

/// Changes the log's level, by a filter that was checked.
pub(super) type SetLevel = Box<dyn Fn(&str) + Send + Sync>;

/// Holds the configuration in effect and everything that must change with it.
pub(super) struct Reloader {
    pub(super) foundation: Foundation,
    pub(super) workers: Vec<Worker>,
    pub(super) admission: Admission,
    pub(super) tls: Option<Tls>,
    /// Certificates that come by ACME, if they do.
    pub(super) held: Option<Arc<AcmeState>>,
    /// Tells the task that refreshes sessions of another configuration.
    pub(super) federations: watch::Sender<Arc<Federation>>,
    /// Held while it is replaced: one at a time.
    pub(super) current: Mutex<Arc<Generation>>,
}

impl Reloader {
    /// Reads the configuration again and puts it into effect; gives its number. Then every request that begins
    /// is served by it.
    pub(super) async fn reload(
        &self,
        origin: &mut ConfigOrigin,
        trigger: Trigger,
    ) -> Result<u64, ReloadError> {
        let outcome = match block_in_place(|| settings::load(origin)) {
            Ok(config) => {
                let location = origin
                    .file()
                    .map_or(SettingLocation::Nowhere, |file| SettingLocation::File(file.to_owned()));
                Box::pin(self.replace(config, &location)).await
            }
            Err(problems) => Err(problems.into()),
        };
        if let Err(refused) = &outcome {
            let problems = if let ReloadError::Config(error) = refused { error.0.len() } else { 1 };
            if let Err(error) =
                self.foundation.services.audit.configuration_refused(Load::Reload, problems).await
            {
                tracing::error!(
                    error = &error as &dyn Error,
                    "a refused configuration is not in the audit trail"
                );
            }
        }
        self.tell(trigger, origin, outcome.as_ref().err()).await;
        outcome
    }

    async fn replace(&self, config: Config, location: &SettingLocation) -> Result<u64, ReloadError> {
        let mut current = self.current.lock().await;
        current.config.can_become(&config, location)?;
        let certificates = block_in_place(|| TlsMaterial::read(&config, self.held.as_ref()))?;
        let acceptor = certificates.acceptor.clone();
        let number = current.number + 1;
        let written = Box::new(config.clone());
        let (generation, sessions) =
            self.foundation.generation(number, config, certificates, Some(&current.federation)).await?;
        self.foundation
            .services
            .audit
            .configuration(Load::Reload, &written)
            .await
            .map_err(StartError::from)?;
        // From here on nothing fails.
        let generation = Arc::new(generation);
        self.foundation.tidy_by(sessions.clone());
        self.federations.send_replace(Arc::clone(&generation.federation));
        for warning in &generation.config.warnings {
            tracing::warn!("{warning}");
        }
        if let (Some(tls), Some(acceptor)) = (&self.tls, acceptor) {
            tls.replace(acceptor);
        }
        self.admission.set_bounds(AdmissionLimits::new(&generation.config.server));
        join_all(self.workers.iter().map(|worker| worker.adopt(Arc::clone(&generation)))).await;
        *current = generation;
        if let Err(error) = sessions.end_sessions_of_removed_providers().await {
            tracing::error!(
                error = &error as &dyn Error,
                "sessions of providers that were removed from the settings are not ended yet: it is tried again within minutes"
            );
        }
        Ok(number)
    }

    /// The one place where it is told that a configuration was taken or refused, at the start and after.
    pub(super) async fn tell(&self, trigger: Trigger, origin: &ConfigOrigin, refused: Option<&ReloadError>) {
        let generation = self.current.lock().await.number;
        let trigger = trigger.as_str();
        let sha256 = origin.sha256();
        match refused {
            None => tracing::info!(
                config.generation = generation,
                config.sha256 = sha256,
                trigger,
                "the configuration is in effect"
            ),
            Some(error) => tracing::error!(
                config.generation = generation,
                config.sha256 = sha256,
                trigger,
                "the configuration was refused, and the one before stays in effect:\n{}",
                with_causes(error)
            ),
        }
    }

    /// Reloads whenever it is told to or a file changes. Never ends.
    pub(super) async fn follow(
        self: Arc<Self>,
        mut origin: ConfigOrigin,
        mut hangup: Signal,
        set_level: Option<SetLevel>,
    ) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = origin.read_from();
        let mut again: Option<Instant> = None;
        loop {
            let trigger = tokio::select! {
                _ = hangup.recv() => Trigger::Signal,
                _ = looks.tick() => {
                    let look = block_in_place(|| origin.look());
                    let stands_still = look == std::mem::replace(&mut last, look.clone());
                    let due = again.is_some_and(|due| due <= Instant::now());
                    if !due && (!stands_still || look == origin.read_from()) {
                        continue;
                    }
                    Trigger::Change
                }
            };
            if !origin.has_files() {
                tracing::info!("there is nothing to reload: the gateway was started without a file");
                continue;
            }
            let outcome = Box::pin(self.reload(&mut origin, trigger)).await;
            let waits = matches!(outcome, Err(ReloadError::Setup(StartError::Service(_))));
            again = waits.then(|| Instant::now() + TRY_AGAIN);
            if outcome.is_ok()
                && let Some(set_level) = &set_level
            {
                set_level(&self.current.lock().await.config.log.level);
            }
        }
    }
}

/// An error and what it was caused by, in one line.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
