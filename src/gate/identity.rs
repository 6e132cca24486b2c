//! An authenticated caller on one thread, with the values that its requests need ready.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::identity_headers::{HeaderPlan, PreparedHeaders};
use super::scope_patterns;
use crate::model::jwt::RotatingKeys;
use crate::model::principal::{Principal, Proof};
use crate::model::target::RequestTarget;
use crate::model::time::Timestamp;
use crate::model::token::TokenDigest;
use crate::policy::PathPattern;
use crate::service::epoch::EpochSlot;

/// Applications whose headers are cached with one identity.
const MOST_PLANS: usize = 16;

/// An accepted caller with what a request needs of it, made once per credential and thread.
#[derive(Debug)]
pub struct Identity {
    /// Who it is.
    pub principal: Arc<Principal>,
    /// The principal's subject, as logs say it.
    pub subject: String,
    scope: Vec<PathPattern>,
    /// Where what it loses is noted.
    pub(super) slot: EpochSlot,
    /// By which value the settings name it, if they do.
    pub(super) named_by: Option<TokenDigest>,
    /// When it was last used, here.
    pub(super) seen: Cell<Timestamp>,
    /// Up to when its use is written down.
    pub(super) written: Cell<Timestamp>,
    /// The same as all threads know it.
    used: Arc<AtomicI64>,
    /// Header values by the plan they were made for; few, and the oldest goes.
    prepared: RefCell<Vec<(Rc<HeaderPlan>, Rc<PreparedHeaders>)>>,
}

impl Identity {
    pub(super) fn new(principal: Arc<Principal>, seen: Timestamp) -> Self {
        let (scope, written) = match &principal.proof {
            Proof::Key { scope, last_used_at, .. } => {
                (scope_patterns(&scope.paths), last_used_at.unwrap_or_default())
            }
            Proof::Session { last_seen_at, .. } => (Vec::new(), *last_seen_at),
        };
        Self {
            subject: principal.subject(),
            scope,
            slot: EpochSlot::of(principal.holder()),
            named_by: None,
            seen: Cell::new(seen),
            written: Cell::new(written),
            used: Arc::default(),
            prepared: RefCell::default(),
            principal,
        }
    }

    /// The same, whose uses all threads note here.
    pub(super) fn used_by_all(self, used: Arc<AtomicI64>) -> Self {
        Self { used, ..self }
    }

    /// A use was written down.
    pub(super) fn note_use(&self, now: Timestamp) {
        self.written.set(now);
        self.used.fetch_max(now.0, Ordering::Relaxed);
    }

    /// The holder of a token that the settings name.
    pub(super) fn named(principal: Principal, by: TokenDigest) -> Self {
        Self { named_by: Some(by), ..Self::of(principal) }
    }

    /// Whether it was recognised by the settings, not by the store.
    pub fn is_named(&self) -> bool {
        self.named_by.is_some()
    }

    /// A caller without cached headers.
    pub(super) fn of(principal: Principal) -> Self {
        Self::new(Arc::new(principal), Timestamp::default())
    }

    /// The same caller and uses, with everything else made anew.
    pub(super) fn made_again(&self) -> Self {
        let used = Arc::clone(&self.used);
        let again = Self::new(Arc::clone(&self.principal), self.seen.get()).used_by_all(used);
        again.written.set(self.written.get());
        again
    }

    /// Whether its use is to be written down now; once in `every`, by whatever clock.
    pub(super) fn is_to_be_written(&self, now: Timestamp, every: Duration) -> bool {
        !now.is_within(every, self.written.get())
    }

    /// The headers that tell an application of this caller: made once for each plan, then cached
    /// while its tokens are good.
    pub fn told(&self, plan: &Rc<HeaderPlan>, now: Timestamp, keys: &RotatingKeys) -> Rc<PreparedHeaders> {
        let mut prepared = self.prepared.borrow_mut();
        let known = prepared.iter().position(|(known, _)| Rc::ptr_eq(known, plan));
        if let Some((_, ready)) = known.and_then(|at| prepared.get(at))
            && ready.holds(now)
        {
            return Rc::clone(ready);
        }
        let ready = Rc::new(plan.prepare(&self.principal, now, keys));
        if let Some(at) = known {
            prepared.remove(at);
        } else if prepared.len() >= MOST_PLANS {
            prepared.remove(0);
        }
        prepared.push((Rc::clone(plan), Rc::clone(&ready)));
        ready
    }

    /// Whether a key may be used for this path; both readings of it must lie within.
    pub fn scope_fits(&self, target: &RequestTarget) -> bool {
        let Proof::Key { scope, .. } = &self.principal.proof else { return true };
        if scope.paths.is_empty() {
            return true;
        }
        self.scope.iter().any(|pattern| pattern.matches(target.path()))
            && target.loose_path().is_none_or(|path| self.scope.iter().any(|p| p.matches_loose(path)))
    }

    /// Whether the proof still holds, without another look at the store.
    pub(super) fn holds(&self, now: Timestamp, idle: Duration) -> bool {
        // No caller was seen later than now: the clock was set back, and who is idle stays no longer for it.
        self.seen.set(self.seen.get().min(now));
        match &self.principal.proof {
            Proof::Session { expires_at, .. } => now < *expires_at && now < self.seen.get().after(idle),
            Proof::Key { expires_at, .. } => expires_at.is_none_or(|end| now < end),
        }
    }
}
