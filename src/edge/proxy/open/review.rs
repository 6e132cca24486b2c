//! Reviews open exchanges: ends those that lost their authorization, have expired, or are too slow.

use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::{Exchange, ExchangeEnd, Streams};
use crate::gate::Gate;
use crate::gate::authenticator::{Identity, LookupVersion};
use crate::gate::refusal::Refusal;
use crate::model::principal::Proof;

/// How often exchanges are looked through for what ends by itself.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Callers looked up at the same time by one thread.
const LOOKUPS_AT_ONCE: usize = 32;
/// A caller that was not looked up by then counts as unknown, even if the store answers.
const REVIEW_LIMIT: Duration = Duration::from_secs(5);

impl Streams {
    /// Watches over the exchanges for ever. To be spawned once on their thread.
    pub async fn watch(self: Rc<Self>) {
        // None of them waits for what another asks of the store.
        tokio::join!(self.watch_rights(), self.watch_ends(), self.watch_pace());
    }

    /// Reviews the exchanges of those who lost a right somewhere, or may have.
    async fn watch_rights(&self) {
        let mut reviewed = self.newest().epoch().current();
        loop {
            let gate = self.newest();
            let suspicious = tokio::select! {
                () = gate.epoch().moved_from(reviewed) => true,
                () = tokio::time::sleep(next_doubt(&gate)) => {
                    if gate.trusted_for().is_some() {
                        continue;
                    }
                    true
                }
                () = self.succession.notified() => false,
            };
            let (gate, mut suspects) = (self.newest(), self.all());
            if suspicious {
                // Read before any lookup: what is lost meanwhile is seen in the next round.
                reviewed = gate.epoch().current();
                suspects.retain(|exchange| !exchange.is_certain());
            } else {
                // The settings may not name the tokens any more that they named before.
                let by_token = |identity: Rc<Identity>| identity.is_named();
                suspects.retain(|exchange| exchange.ongoing.identity().is_some_and(by_token));
            }
            review(&gate, suspects).await;
        }
    }

    async fn watch_ends(&self) {
        let mut sweeps = sweeps();
        loop {
            sweeps.tick().await;
            let gate = self.newest();
            review(&gate, expired(&gate, self.all())).await;
        }
    }

    async fn watch_pace(&self) {
        let mut sweeps = sweeps();
        loop {
            sweeps.tick().await;
            self.cut_stalled();
        }
    }

    fn cut_stalled(&self) {
        let bounds = self.bounds.get();
        for exchange in self.all() {
            let pace = &exchange.pace;
            // How a client of HTTP/1.1 takes its answer, the kernel knows best: `TCP_USER_TIMEOUT`.
            if (exchange.announced && pace.sends_too_slowly(bounds.body))
                || (exchange.http2 && pace.takes_nothing(bounds.write))
            {
                tracing::debug!(client.ip = %exchange.ongoing.client().address, "a client is too slow");
                exchange.cut(ExchangeEnd::Stalled);
            }
        }
    }
}

fn sweeps() -> Interval {
    let mut sweeps = tokio::time::interval(SWEEP_EVERY);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sweeps
}

/// When cached callers will no longer be trusted, if the store is not read meanwhile; where it is not
/// trusted already, when to look again.
fn next_doubt(gate: &Gate) -> Duration {
    gate.trusted_for().map_or(SWEEP_EVERY, |left| left + Duration::from_millis(1))
}

/// Those whose session or key is past its end or idle, as far as this thread knows. An exchange on which bytes
/// moved is a use of its session.
fn expired(gate: &Gate, open: Vec<Rc<Exchange>>) -> Vec<Rc<Exchange>> {
    let holds = |exchange: &Rc<Exchange>| {
        let active = exchange.active.take();
        exchange.ongoing.identity().is_none_or(|identity| gate.still_holds(&identity, active))
    };
    open.into_iter().filter(|exchange| !holds(exchange)).collect()
}

/// Open exchanges of one caller.
struct Group {
    identity: Rc<Identity>,
    exchanges: Vec<Weak<Exchange>>,
}

impl Group {
    /// Decides each again; how many were ended.
    fn settle(self, renewed: Result<Rc<Identity>, Refusal>, look: LookupVersion) -> usize {
        let renewed = renewed.map_err(|refusal| ExchangeEnd::of(&refusal));
        let mut cut = 0;
        for exchange in self.exchanges.iter().filter_map(Weak::upgrade) {
            let caller = renewed.as_ref().map(Rc::clone).map_err(|end| end.refusal());
            match exchange.gate.decide_again(&exchange.ongoing, caller) {
                Ok(()) => exchange.look.set(look),
                Err(refusal) => {
                    exchange.cut(ExchangeEnd::of(&refusal));
                    cut += 1;
                }
            }
        }
        cut
    }
}

fn grouped(suspects: Vec<Rc<Exchange>>) -> Vec<Group> {
    let mut groups: HashMap<String, Group> = HashMap::new();
    for exchange in suspects {
        let Some(identity) = exchange.ongoing.identity() else { continue };
        let proof = match &identity.principal.proof {
            Proof::Session { id, .. } => id.clone(),
            Proof::Key { .. } => identity.principal.key_id().unwrap_or(&identity.subject).to_owned(),
        };
        let group = groups.entry(proof).or_insert_with(|| Group { identity, exchanges: Vec::new() });
        group.exchanges.push(Rc::downgrade(&exchange));
    }
    groups.into_values().collect()
}

/// Looks each caller up once and decides each of its exchanges again.
///
/// Once the cache is not trusted, one failed lookup counts for all: the others would only
/// wait for the same.
async fn review(gate: &Gate, suspects: Vec<Rc<Exchange>>) {
    let deadline = Instant::now() + REVIEW_LIMIT;
    let look = gate.look();
    let (tokens, others): (Vec<_>, Vec<_>) =
        grouped(suspects).into_iter().partition(|group| group.identity.is_named());
    let mut cut = 0;
    // They are looked up in the settings, so they need no store.
    for group in tokens {
        let renewed = gate.renew(&group.identity).await;
        cut += group.settle(renewed, look);
    }
    let callers: Vec<_> = others.iter().map(|group| Rc::clone(&group.identity)).enumerate().collect();
    let mut left: Vec<Option<Group>> = others.into_iter().map(Some).collect();
    let lookups = callers.into_iter().map(async |(at, caller)| (at, gate.renew(&caller).await));
    let mut lookups = std::pin::pin!(futures_util::stream::iter(lookups).buffer_unordered(LOOKUPS_AT_ONCE));
    while let Ok(Some((at, renewed))) = tokio::time::timeout_at(deadline, lookups.next()).await {
        let failed = matches!(renewed, Err(Refusal::Unavailable(_)));
        cut += left.get_mut(at).and_then(Option::take).map_or(0, |group| group.settle(renewed, look));
        if failed && gate.trusted_for().is_none() {
            break;
        }
    }
    for group in left.into_iter().flatten() {
        cut += group.settle(Err(ExchangeEnd::Unavailable.refusal()), look);
    }
    if cut > 0 {
        tracing::info!(
            count = cut,
            "open exchanges were ended: their callers are no longer allowed, or could not be checked"
        );
    }
}
