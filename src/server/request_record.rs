//! Records each request once, however it ends: access event, counters, and shadowed refusals.

use std::rc::Rc;
use std::sync::Arc;

use http::Response;
use tokio::time::Instant;

use super::access_log::{AccessEvent, AccessLog};
use super::refused_log::{RefusedLog, RequestDetails};
use crate::edge::answer::Answer;
use crate::edge::request_context::RequestContext;
use crate::gate::refusal::PassSetting;
use crate::gate::{DecisionTrace, Gate};
use crate::model::metrics::{CountedRequest, WorkerMetrics};
use crate::model::time::Clock;
use crate::model::token::KeyText;
use crate::model::verdict::{Code, DecidedWithoutRule, Verdict};

/// Stands in the log where an answer would: the client went away before there was one. No client is sent it.
const NOBODY_WAITS: u16 = 499;

/// What requests of a thread are told to, each once.
pub(super) struct RecordSinks {
    /// Set if access events are wanted.
    pub(super) log: Option<Rc<AccessLog>>,
    /// Shadowed refusals.
    pub(super) refused: Rc<RefusedLog>,
    /// The thread's counters.
    pub(super) metrics: Rc<WorkerMetrics>,
    /// The time of day.
    pub(super) clock: Arc<dyn Clock>,
}

/// The account of one request, from its head on. Dropped before it is closed, it tells that its client left:
/// a client that hangs up leaves a record, because what was permitted may have been done.
pub(super) struct RequestRecord<'d> {
    books: &'d RecordSinks,
    gate: &'d Gate,
    started: Instant,
    pub(super) seen: RequestContext,
    pub(super) trail: DecisionTrace,
    closed: bool,
}

impl<'d> RequestRecord<'d> {
    pub(super) fn open(
        books: &'d RecordSinks,
        gate: &'d Gate,
        seen: RequestContext,
        trail: DecisionTrace,
    ) -> Self {
        Self { books, gate, started: Instant::now(), seen, trail, closed: false }
    }

    /// Tells how it was answered, and gives what is sent.
    pub(super) fn close<B>(mut self, answer: Answer<Response<B>>) -> Response<B> {
        let Answer { response, verdict, code } = answer;
        self.closed = true;
        self.tell(response.status().as_u16(), verdict, code);
        response
    }

    fn tell(&self, status: u16, verdict: Verdict, code: Option<Code>) {
        let Self { books, gate, seen, trail, .. } = self;
        let time = books.clock.now();
        let path = KeyText::masked(seen.path());
        books.refused.record(
            trail,
            &RequestDetails {
                at: time,
                client: seen.client.address,
                agent: seen.agent.as_ref(),
                method: &seen.method,
                path: &path,
            },
            gate.credential_names(),
        );
        let duration = self.started.elapsed();
        books.metrics.served(&CountedRequest {
            route: trail.route.as_ref().map(|route| route.number),
            verdict,
            status,
            credential: trail.identity.as_ref().map(|identity| identity.principal.kind.credential()),
            code,
            duration,
        });
        if let Some(log) = &books.log {
            log.record(&AccessEvent {
                time,
                request_id: seen.request_id.as_str(),
                client: seen.client.address,
                method: seen.method.as_str(),
                host: seen.host(),
                path: &path,
                route: trail.route.as_ref().map(|route| route.name.as_str()),
                upstream: trail.route.as_ref().and_then(|route| route.upstream_name.as_deref()),
                verdict,
                rule: trail
                    .waived
                    .as_ref()
                    .map(|_| DecidedWithoutRule::EnforceOff.as_str())
                    .or(trail.rule())
                    .or(code.map(Code::as_str)),
                subject: trail.identity.as_ref().map(|identity| identity.subject.as_str()),
                key: trail.identity.as_ref().and_then(|identity| identity.principal.key_id()),
                shadowed: trail.shadowed.as_ref().map(|refusal| refusal.code().as_str()),
                setting: trail
                    .foreign_refused(code)
                    .and_then(|foreign| foreign.setting)
                    .map(PassSetting::as_str),
                status,
                duration,
            });
        }
    }
}

impl Drop for RequestRecord<'_> {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        let verdict = if self.trail.permitted { self.trail.passed() } else { Verdict::None };
        self.tell(NOBODY_WAITS, verdict, None);
    }
}
