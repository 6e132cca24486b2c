//! Passwords that were tried in vain. They are noted in memory and written down together soon after, so that an answer does
//! not wait for its row, and no time tells whether there was an account to name in it.
//!
//! Whatever decides how many rows are written, and when, is what everybody can see: the name that was typed, the network
//! and the answer. A name that is nobody's leaves as many rows as a user's.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::lock;
use crate::model::audit::{Actor, Note, Reason};
use crate::model::time::Timestamp;
use crate::store::{Store, StoreError};

/// Within this after its first row a place is only counted.
const WINDOW: Duration = Duration::from_mins(1);
/// Names of one network that are told apart in that time.
const MOST_OF_NETWORK: usize = 20;
/// Names at networks that are told apart in that time, and then names.
const MOST: usize = 300;
/// Networks with more names that are told apart.
const MOST_NETWORKS: usize = 100;
/// Accounts that are named in one count.
const MOST_ACCOUNTS: usize = 300;
/// Places that are written in one transaction, a row or two of each: others wait for the trail's end meanwhile.
const AT_ONCE: usize = 50;
/// So often in a row, a second apart, writing may fail before no further failures are taken.
const MOST_FAILED_FLUSHES: u32 = 3;

/// What has not been written down yet, in bounded space.
#[derive(Debug, Default)]
pub(super) struct FailedAttempts {
    places: HashMap<Place, Counted>,
    /// How many places there were.
    opened: u64,
    failed_flushes: u32,
}

/// What is counted together: a name at a network, all names of a network, a name at all networks, or the rest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    event: &'static str,
    answer: Answer,
    name: Option<String>,
    network: Option<String>,
}

/// What the client was told, which is all that it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    Refused,
    Throttled,
    Busy,
}

/// Attempts in one place within its minute.
#[derive(Clone, Debug)]
struct Counted {
    /// The first, until it is written.
    first: Option<FailedAttempt>,
    /// What the row of all others says, but for their number.
    others: Note,
    /// How often each account was meant beyond the first time, where many names are counted together.
    accounts: BTreeMap<String, u64>,
    /// Which place this is in the order in which they were opened.
    number: u64,
    since: Timestamp,
    last: Timestamp,
    /// Beyond the first.
    more: u64,
}

/// One attempt.
#[derive(Clone, Debug)]
struct FailedAttempt {
    by: Actor,
    note: Note,
}

impl From<Option<Reason>> for Answer {
    fn from(reason: Option<Reason>) -> Self {
        match reason {
            Some(Reason::Throttled) => Self::Throttled,
            Some(Reason::Busy) => Self::Busy,
            _ => Self::Refused,
        }
    }
}

impl Place {
    fn is_of_network(&self, network: &str) -> bool {
        self.name.is_some() && self.network.as_deref() == Some(network)
    }
}

impl Counted {
    fn new(place: &Place, number: u64, attempt: FailedAttempt, now: Timestamp) -> Self {
        let mut first = attempt;
        first.note.at = Some(now);
        if place.network.is_none() {
            first.note.client = Some("many".to_owned());
        }
        let mut others = first.note.clone();
        others.at = None;
        if place.name.is_none() {
            if let Answer::Refused = place.answer {
                others.failure = Some(Reason::Refused);
                others = others.with("reason", Reason::Refused.as_str());
            }
            others.target = None;
        }
        let accounts = BTreeMap::new();
        Self { first: Some(first), others, accounts, number, since: now, last: now, more: 0 }
    }

    /// Counts one more.
    fn add(&mut self, place: &Place, note: &Note, now: Timestamp) {
        self.more += 1;
        self.last = now;
        if place.name.is_none() {
            add_account(&mut self.accounts, account_in(note), 1);
        }
    }

    fn is_over(&self, now: Timestamp) -> bool {
        !now.is_within(WINDOW, self.since)
    }

    /// What is to be written: the first, and if `over` what came after it.
    fn rows(&self) -> impl Iterator<Item = FailedAttempt> {
        let first = self.first.clone();
        let others = (self.more > 0).then(|| {
            let accounts: serde_json::Map<String, serde_json::Value> =
                self.accounts.iter().map(|(name, times)| (name.clone(), (*times).into())).collect();
            let others = self.others.clone();
            let others = if accounts.is_empty() { others } else { others.with("accounts", accounts) };
            let others = others.with("repeats", self.more);
            let others = others.with("since", self.since.rfc3339()).with("until", self.last.rfc3339());
            FailedAttempt { by: Actor::gateway(), note: others }
        });
        first.into_iter().chain(others)
    }

    /// Takes in what was to be written before this and could not be.
    fn take_in(&mut self, place: &Place, earlier: Self) {
        self.more += earlier.more;
        for (account, times) in earlier.accounts {
            add_account(&mut self.accounts, account, times);
        }
        if let Some(first) = earlier.first
            && let Some(second) = self.first.replace(first)
        {
            let last = self.last;
            self.add(place, &second.note, last);
        }
        self.since = earlier.since;
    }
}

impl FailedAttempts {
    /// Notes one attempt; whether it can still be expected that it will be written down. Otherwise it is only counted with all
    /// others that got the same answer, so that what waits stays bounded.
    fn note(&mut self, attempt: FailedAttempt, name: &str, network: &str, now: Timestamp) -> bool {
        let is_behind = self.failed_flushes >= MOST_FAILED_FLUSHES;
        let mut place = self.place_of(&attempt.note, name, network);
        if is_behind && !self.places.contains_key(&place) {
            place = Place { name: None, network: None, ..place };
        }
        if let Some(counted) = self.places.get_mut(&place) {
            counted.add(&place, &attempt.note, now);
        } else {
            self.opened += 1;
            let counted = Counted::new(&place, self.opened, attempt, now);
            self.places.insert(place, counted);
        }
        !is_behind
    }

    /// The first place that is there or has room; there always is one.
    fn place_of(&self, note: &Note, name: &str, network: &str) -> Place {
        let place = |name: Option<&str>, network: Option<&str>| Place {
            event: note.event.as_str(),
            answer: note.failure.into(),
            name: name.map(str::to_owned),
            network: network.map(str::to_owned),
        };
        let exact = place(Some(name), Some(network));
        if self.places.contains_key(&exact) {
            return exact;
        }
        let many =
            |fits: &dyn Fn(&Place) -> bool, most| self.places.keys().filter(|at| fits(at)).count() >= most;
        let is_busy_network = many(&|at| at.is_of_network(network), MOST_OF_NETWORK);
        if !is_busy_network && !many(&|at| at.name.is_some() && at.network.is_some(), MOST) {
            return exact;
        }
        let of_network = place(None, Some(network));
        if self.places.contains_key(&of_network)
            || (is_busy_network && !many(&|at| at.name.is_none() && at.network.is_some(), MOST_NETWORKS))
        {
            return of_network;
        }
        let of_name = place(Some(name), None);
        if self.places.contains_key(&of_name) || !many(&|at| at.name.is_some() && at.network.is_none(), MOST)
        {
            return of_name;
        }
        place(None, None)
    }

    /// Takes out what is to be written, in the order in which it began: what was not yet, and what was counted in minutes
    /// that are over, or in all of them.
    fn take_due(&mut self, now: Timestamp, all: bool) -> Vec<(Place, Counted)> {
        let mut due = Vec::new();
        self.places.retain(|place, counted| {
            let over = all || counted.is_over(now);
            let first = counted.first.take();
            if over || first.is_some() {
                let (accounts, more) = if over {
                    (std::mem::take(&mut counted.accounts), counted.more)
                } else {
                    Default::default()
                };
                due.push((place.clone(), Counted { first, accounts, more, ..counted.clone() }));
            }
            !over
        });
        due.retain(|(_, counted)| counted.first.is_some() || counted.more > 0);
        due.sort_by_key(|(_, counted)| counted.number);
        due
    }

    /// Takes back what could not be written.
    fn put_back(&mut self, due: impl IntoIterator<Item = (Place, Counted)>) {
        for (place, earlier) in due {
            match self.places.get_mut(&place) {
                Some(counted) => counted.take_in(&place, earlier),
                None => {
                    self.places.insert(place, earlier);
                }
            }
        }
    }
}

/// The account that an attempt meant, with the reason where that is not a wrong password.
fn account_in(note: &Note) -> String {
    let name = note.target.as_ref().map(|party| party.name.as_ref().unwrap_or(&party.id).as_str());
    match (name, note.failure) {
        (None, _) => "(unknown)".to_owned(),
        (Some(name), Some(reason @ (Reason::Disabled | Reason::NoPassword))) => format!("{name} ({reason})"),
        (Some(name), _) => name.to_owned(),
    }
}

fn add_account(accounts: &mut BTreeMap<String, u64>, account: String, times: u64) {
    const FURTHER: &str = "(others)";
    let known = accounts.len() < MOST_ACCOUNTS || accounts.contains_key(&account);
    *accounts.entry(if known { account } else { FURTHER.to_owned() }).or_default() += times;
}

impl Store {
    /// Notes a password that was tried in vain; [`Store::flush_failed_attempts`] writes it down. `name` stands for what was
    /// typed, `network` for where. At most one row each minute for a name at a network, and a count of the others; where
    /// they are too many they are counted together.
    ///
    /// # Errors
    ///
    /// [`StoreError::TrailBehind`] if what was noted before could not be written for seconds; this one is noted all the same.
    pub fn note_failed_attempt(&self, note: Note, name: &str, network: &str) -> Result<(), StoreError> {
        let ledger = self.ledger()?;
        ledger.count(&note);
        let by = self.actor.clone();
        let actor = note.actor.or_else(|| Some(by.who().clone()));
        let client = note.client.or_else(|| Some(by.client()?.to_canonical().to_string()));
        let attempt = FailedAttempt { note: Note { actor, client, ..note }, by };
        let mut failed = lock(&ledger.failed);
        if failed.note(attempt, name, network, ledger.clock.now()) {
            Ok(())
        } else {
            Err(StoreError::TrailBehind)
        }
    }

    /// Writes down what was noted of failed attempts since the last time, and what was counted in minutes that are over, or
    /// in `all` of them. To be called each second.
    pub async fn flush_failed_attempts(&self, all: bool) -> Result<(), StoreError> {
        let ledger = self.ledger()?;
        let mut due = lock(&ledger.failed).take_due(ledger.clock.now(), all).into_iter();
        loop {
            let batch: Vec<_> = due.by_ref().take(AT_ONCE).collect();
            if batch.is_empty() {
                return Ok(());
            }
            let rows = batch.iter().flat_map(|(_, counted)| counted.rows());
            let outcome = self.record_all(rows.map(|row| (row.by, row.note)).collect()).await;
            let mut failed = lock(&ledger.failed);
            if let Err(error) = outcome {
                failed.failed_flushes = failed.failed_flushes.saturating_add(1);
                failed.put_back(batch.into_iter().chain(due));
                return Err(error);
            }
            failed.failed_flushes = 0;
        }
    }
}

#[cfg(test)]
mod tests;
