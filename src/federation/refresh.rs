//! Refreshes sessions in the background: each that is in use learns from its provider, before what was said expires, whether it
//! may go on and with which rights.
//!
//! One task on the control plane looks for sessions that are due, provider by provider, so that a slow one holds up no other. Of
//! each a few are refreshed at a time. While a provider is down it is asked now and then, and the sessions that are due only
//! note that it failed; how long they go on so is a setting.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::{MissedTickBehavior, timeout};

use super::Federation;
use super::assertion::asserted;
use super::provider::Provider;
use super::refusal::SignInRefusal;
use crate::config::RefreshConfig;
use crate::model::metrics::ProviderRefresh;
use crate::model::session::ProviderSessionEnd;
use crate::model::time::Timestamp;
use crate::oidc::{OidcError, Refreshed, RefreshedClaims};
use crate::service::ServiceError;
use crate::service::provider_sessions::{
    CompletedRefresh, DueRefresh, FailedRefresh, REFRESH_LIMIT, RefreshedTokens,
};

/// How often it is looked for sessions that are due.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Sessions of one provider that are refreshed at the same time.
const AT_ONCE: usize = 8;
/// A session that alone fails is tried again as after so many failures of a provider.
const OF_ONE: u32 = 4;
/// How often the store is asked to keep what came of a refresh, before it is given up.
const MOST_TRIES: u32 = 6;
/// How long a stop waits for refreshes under way: who leaves one alone loses its new token.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Refreshes sessions until `stop` is done, by the newest of `federations`. To be spawned on the control plane, once.
pub async fn refresh_sessions(federations: watch::Receiver<Arc<Federation>>, stop: impl Future<Output = ()>) {
    let stopping = Arc::new(AtomicBool::new(false));
    let mut rounds = JoinSet::new();
    let mut busy: HashMap<Id, String> = HashMap::new();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(ended) = rounds.join_next_with_id() => {
                let id = ended.map_or_else(|failed| failed.id(), |(id, ())| id);
                busy.remove(&id);
            }
            _ = looks.tick() => {
                let federation = Arc::clone(&federations.borrow());
                for provider in &federation.providers {
                    let name = &provider.config.name;
                    let Some(config) = provider.config.refresh else { continue };
                    if busy.values().any(|other| other == name) {
                        continue;
                    }
                    let round = round(Arc::clone(&federation), Arc::clone(provider), config, Arc::clone(&stopping));
                    busy.insert(rounds.spawn(round).id(), name.clone());
                }
            }
        }
    }
    stopping.store(true, Ordering::Relaxed);
    if timeout(STOP_LIMIT, async { while rounds.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!("refreshes of sessions did not end in time; their sessions may have to sign in again");
    }
}

/// Refreshes the sessions of one provider that are due, until none is.
async fn round(
    federation: Arc<Federation>,
    provider: Arc<Provider>,
    config: RefreshConfig,
    stopping: Arc<AtomicBool>,
) {
    let due = futures_util::stream::unfold((), |()| async {
        if stopping.load(Ordering::Relaxed) {
            return None;
        }
        match federation.provider_sessions.claim(&provider.config.name).await {
            Ok(due) => due.map(|due| (due, ())),
            Err(error) => {
                tracing::warn!(
                    provider = provider.config.name,
                    error = &error as &dyn Error,
                    "sessions that are due to be refreshed cannot be looked for"
                );
                None
            }
        }
    });
    due.for_each_concurrent(AT_ONCE, |due| federation.refresh(&provider, config, due)).await;
}

impl Federation {
    /// Refreshes one session, and writes down what came of it.
    async fn refresh(&self, provider: &Provider, config: RefreshConfig, due: DueRefresh) {
        let name = provider.config.name.as_str();
        let outcome = self.ask_and_settle(provider, config, &due).await;
        if let Err(error) = &outcome {
            tracing::error!(
                provider = name,
                session = due.session,
                error = error as &dyn Error,
                "what came of refreshing a session cannot be written down"
            );
        }
        self.counts.refreshes.count(name, outcome.unwrap_or(ProviderRefresh::Failed));
    }

    async fn ask_and_settle(
        &self,
        provider: &Provider,
        config: RefreshConfig,
        due: &DueRefresh,
    ) -> Result<ProviderRefresh, ServiceError> {
        if !provider.has_issuer(due.key.issuer()) {
            tracing::warn!(
                provider = provider.config.name,
                session = due.session,
                issuer = due.key.issuer(),
                "a session ends: by the settings the provider has another issuer than the one that opened it"
            );
            return self.end(provider, due, ProviderSessionEnd::OtherIssuer).await;
        }
        if let Some(down) = provider.outage.is_waited_for() {
            return self.put_off(provider, config, due, None, down.failures, Some(down.since)).await;
        }
        let asked = provider.protocol.refresh(&due.refresh_token, due.id_token.as_ref(), due.key.subject());
        match timeout(REFRESH_LIMIT, asked).await {
            Ok(Ok(refreshed)) => {
                if !matches!(&refreshed.claims, Err(error) if error.is_of_provider()) {
                    provider.outage.answered();
                }
                self.settle_refresh(provider, config, due, refreshed).await
            }
            Ok(Err(error)) if error.is_over() => {
                provider.outage.answered();
                tracing::info!(provider = provider.config.name, session = due.session, %error, "a provider has ended a session");
                self.end(provider, due, ProviderSessionEnd::Over).await
            }
            Ok(Err(error)) => self.put_off_for(provider, config, due, &error).await,
            // Each call to the provider itself ends sooner.
            Err(_) => self.put_off(provider, config, due, None, OF_ONE, None).await,
        }
    }

    async fn put_off_for(
        &self,
        provider: &Provider,
        config: RefreshConfig,
        due: &DueRefresh,
        error: &OidcError,
    ) -> Result<ProviderRefresh, ServiceError> {
        let failures = failures(provider, error);
        tracing::warn!(
            provider = provider.config.name,
            session = due.session,
            failures,
            %error,
            "a session cannot be refreshed and goes on for now"
        );
        self.put_off(provider, config, due, None, failures, None).await
    }

    async fn settle_refresh(
        &self,
        provider: &Provider,
        config: RefreshConfig,
        due: &DueRefresh,
        refreshed: Refreshed,
    ) -> Result<ProviderRefresh, ServiceError> {
        let name = provider.config.name.as_str();
        let Refreshed { claims, id_token, refresh_token, lifetime } = refreshed;
        let tokens = RefreshedTokens { refresh_token, id_token, lifetime };
        let assertion = match claims {
            Ok(RefreshedClaims::Told(claims)) => match asserted(&provider.config, due.key.clone(), &claims) {
                Ok(assertion) => Some(assertion),
                Err(why) => {
                    log_refusal(name, due, &why);
                    let cause = ProviderSessionEnd::NotAllowed;
                    patiently(|| self.provider_sessions.end_identity(name, due, cause)).await?;
                    return Ok(ProviderRefresh::Refused);
                }
            },
            Ok(RefreshedClaims::NotTold) => None,
            // The provider has just given tokens, so that this is of one session.
            Ok(RefreshedClaims::Unavailable) => {
                return self.put_off(provider, config, due, Some(&tokens), OF_ONE, None).await;
            }
            Err(error) if error.may_pass() => {
                tracing::warn!(provider = name, session = due.session, %error, "what a refresh says cannot be verified now");
                let failures = failures(provider, &error);
                return self.put_off(provider, config, due, Some(&tokens), failures, None).await;
            }
            Err(error) => {
                tracing::error!(provider = name, session = due.session, %error, "what a refresh says is not believed: the session ends");
                self.end(provider, due, ProviderSessionEnd::Unbelieved).await?;
                return Ok(ProviderRefresh::Unverified);
            }
        };
        let completed =
            patiently(|| self.provider_sessions.complete(name, due, &tokens, assertion.clone())).await?;
        Ok(match completed {
            CompletedRefresh::Done => ProviderRefresh::Done,
            CompletedRefresh::Refused => ProviderRefresh::Refused,
            CompletedRefresh::Superseded => ProviderRefresh::Superseded,
        })
    }

    async fn put_off(
        &self,
        provider: &Provider,
        config: RefreshConfig,
        due: &DueRefresh,
        tokens: Option<&RefreshedTokens>,
        failures: u32,
        down_since: Option<Timestamp>,
    ) -> Result<ProviderRefresh, ServiceError> {
        let name = provider.config.name.as_str();
        let grace = config.outage_grace;
        let sessions = &self.provider_sessions;
        let failed = patiently(|| sessions.fail(name, due, tokens, failures, grace, down_since)).await?;
        Ok(match failed {
            FailedRefresh::Retry => ProviderRefresh::Unavailable,
            FailedRefresh::Superseded => ProviderRefresh::Superseded,
            FailedRefresh::Ended(_) => {
                tracing::warn!(
                    provider = name,
                    session = due.session,
                    "a session ends: refreshes of it have failed for longer than `outage_grace`"
                );
                ProviderRefresh::GivenUp
            }
        })
    }

    async fn end(
        &self,
        provider: &Provider,
        due: &DueRefresh,
        cause: ProviderSessionEnd,
    ) -> Result<ProviderRefresh, ServiceError> {
        patiently(|| self.provider_sessions.end(&provider.config.name, due, cause)).await?;
        Ok(ProviderRefresh::Ended)
    }
}

/// How many calls have failed with this one. What is wrong with one session says nothing of others, but that the provider answers.
fn failures(provider: &Provider, error: &OidcError) -> u32 {
    if error.is_of_provider() {
        return provider.outage.failed();
    }
    provider.outage.answered();
    OF_ONE
}

fn log_refusal(provider: &str, due: &DueRefresh, why: &SignInRefusal) {
    tracing::info!(
        provider,
        claim = why.claim(),
        session = due.session,
        reason = %why,
        "by what the provider says now somebody may not be here any more: their sessions end"
    );
}

/// Asks the store again and again, as long as the claim lasts: the token that it holds may be spent.
async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> Result<T, ServiceError>
where
    F: Future<Output = Result<T, ServiceError>>,
{
    let mut pause = Duration::from_secs(1);
    for _ in 1..MOST_TRIES {
        match ask().await {
            Ok(done) => return Ok(done),
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause *= 2;
    }
    ask().await
}
