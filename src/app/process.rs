//! The process of a gateway: its runtime, its signals, and what its service manager is told.

use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Inherited, Running, StartError, logging};
use crate::config::{Config, ConfigOrigin};
use crate::model::time::SystemClock;

/// Threads of the control plane: store, passwords, pages.
const CONTROL_THREADS: usize = 2;

/// Runs the gateway until it is told to stop: the first SIGTERM or SIGINT drains, or ends a start that is under way; the
/// second ends at once.
/// SIGHUP, and a change of a file that `config` was read from, has it read the configuration again from `origin`.
///
/// # Errors
///
/// [`StartError`] if it does not start.
pub fn serve(config: Config, origin: ConfigOrigin) -> Result<(), StartError> {
    let set_level = logging::start(&config);
    let inherited = Inherited::take();
    // One provider, chosen here: two of them in one process would make rustls panic.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("doorward-control")
        .enable_all()
        .build()?;
    let ended = control.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let hangup = signal(SignalKind::hangup())?;
        let log = Box::new(std::io::stdout());
        let mut running = tokio::select! {
            started = Running::start(config, Arc::new(SystemClock), inherited, log) => started?,
            () = told(&mut terminate, &mut interrupt) => {
                tracing::info!("stopping: nothing was served yet");
                return Ok(());
            }
        };
        running.announce().await;
        running.follow(origin, hangup, set_level).await;
        tell_manager(&NotifyState::Ready);
        told(&mut terminate, &mut interrupt).await;
        tell_manager(&NotifyState::Stopping);
        tracing::info!("stopping: open requests are finished first");
        tokio::select! {
            () = running.stop() => {}
            () = told(&mut terminate, &mut interrupt) => {}
        }
        Ok(())
    });
    // What may be left, such as looking up a host's name, must not keep the process.
    control.shutdown_background();
    ended
}

/// Until a signal says stop.
async fn told(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
}

/// Tells the service manager, if it wants to know (`sd_notify(3)`).
fn tell_manager(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
