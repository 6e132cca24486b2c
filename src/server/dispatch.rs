//! What becomes of one request: our own surface, or the proxy; and one access event either way.

use std::cell::Cell;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{CONNECTION, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use ipnet::IpNet;
use tokio::runtime::Handle;

use super::access_log::AccessLog;
use super::account::Account;
use super::denied::{Denied, refused};
use super::message::{check_bounds, check_framing, host_of, kind_of, put_host};
use super::page_turns::PageTurns;
use super::public_keys;
use super::refused_log::RefusedLog;
use super::seen::Seen;
use super::serving::Broken;
use super::wire::head::{Bounds, Sketch};
use crate::config::BodyPace;
use crate::edge::audience::Audience;
use crate::edge::body::ResponseBody;
use crate::edge::client_body::ClientBody;
use crate::edge::cors;
use crate::edge::forward_auth::Answer;
use crate::edge::forward_auth::ForwardAuth;
use crate::edge::forward_auth::ext_authz;
use crate::edge::forwarded::{self, Peer};
use crate::edge::pages::problem::{Look, Problem, Speaks};
use crate::edge::pages::site::{RESERVED, Site};
use crate::edge::proxy::hop_by_hop;
use crate::edge::proxy::read_ahead::{self, Rooms};
use crate::edge::proxy::{Arrival, EXPLAIN, Failure, ForwardError, Proxy, X_REQUEST_ID};
use crate::edge::web::{Web, WebRequest};
use crate::gate::Trail;
use crate::gate::explain::Explanation;
use crate::gate::public_keys::PublicKeys;
use crate::gate::refusal::Refusal;
use crate::model::metrics::{Open, WorkerMetrics};
use crate::model::principal::Client;
use crate::model::role::Role;
use crate::model::target::{RequestTarget, TargetError};
use crate::model::time::Clock;
use crate::model::verdict::{Code, Verdict};
use crate::service::doctor;
use crate::service::revocation::Revocations;
use crate::service::subjects::Subjects;

/// Our own forms are far smaller.
const OWN_BODIES: read_ahead::Bounds = read_ahead::Bounds { body: 8 << 10, client: 1 << 20, total: 16 << 20 };
/// What a target of ours has beside the address that it leads back to.
const OWN_TARGET_BYTES: usize = 1024;
/// The store counts as ready while it was read at most this long ago.
const READY_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

/// What every thread's dispatch is made of.
#[derive(Clone)]
pub struct Shared {
    /// The gateway as a browser meets it.
    pub site: Arc<Site>,
    /// Our pages.
    pub web: Arc<Web>,
    /// What upstreams check our word with.
    pub public_keys: Arc<PublicKeys>,
    /// Where pages run: they ask the store and hash passwords.
    pub control: Handle,
    /// Whether the store answers.
    pub revocations: Revocations,
    /// Set once the gateway stops.
    pub draining: Arc<AtomicBool>,
    /// Peers whose forwarding headers are believed.
    pub trusted_proxies: Arc<[IpNet]>,
    /// Longest request target, in bytes.
    pub uri_bytes: usize,
    /// Most bytes of a head.
    pub header_bytes: usize,
    /// Most header fields of a request.
    pub header_count: usize,
    /// How slowly a body we read may come.
    pub body_pace: BodyPace,
    /// What was read ahead, by all threads.
    pub rooms: Rooms,
    /// Who may be served a page of ours now.
    pub page_turns: PageTurns,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// What was seen of `doorward doctor`'s probes.
    pub reports: doctor::Reports,
    /// Looks up those of whom an explanation is wanted.
    pub subjects: Subjects,
}

/// Answers requests on one thread.
pub struct Dispatch {
    pub(super) shared: Shared,
    pub(super) proxy: Proxy,
    pub(super) forward_auth: ForwardAuth,
    pub(super) log: Option<Rc<AccessLog>>,
    pub(super) refused: Rc<RefusedLog>,
    pub(super) metrics: Rc<WorkerMetrics>,
    request_prefix: String,
    request_number: Cell<u64>,
}

impl Dispatch {
    /// A dispatch for one thread. `log` is there if access events are wanted.
    pub fn new(
        shared: Shared,
        proxy: Proxy,
        forward_auth: ForwardAuth,
        log: Option<Rc<AccessLog>>,
        refused: Rc<RefusedLog>,
        metrics: Rc<WorkerMetrics>,
    ) -> Self {
        let mut request_prefix = String::new();
        for byte in crate::model::token::random_bytes().into_iter().take(6) {
            _ = write!(request_prefix, "{byte:02x}");
        }
        Self {
            shared,
            proxy,
            forward_auth,
            log,
            refused,
            metrics,
            request_prefix,
            request_number: Cell::new(0),
        }
    }

    /// Answers one request. Every failure becomes an answer here, and none of them is an allow.
    pub async fn answer(&self, request: Request<ClientBody>, peer: Peer) -> Response<ResponseBody> {
        let client = forwarded::client_of(peer, request.headers(), &self.shared.trusted_proxies);
        let audience = Audience::of(request.method(), request.headers());
        let seen = Seen {
            method: request.method().clone(),
            version: request.version(),
            host: String::new(),
            path: request.uri().path().to_owned(),
            target: request.uri().path_and_query().map(|target| target.as_str().to_owned()),
            audience,
            speaks: Speaks::of(audience, request.headers()),
            reader: cors::reader(request.headers(), self.proxy.gate().origins()),
            proxied: false,
            client,
            request_id: self.next_request_id(),
            agent: request.headers().get(USER_AGENT).cloned(),
        };
        let trail =
            Trail { notes: request.headers().contains_key(EXPLAIN).then(Box::default), ..Trail::default() };
        let by_grpc = seen.audience == Audience::Grpc && self.is_ext_authz(&seen.path);
        let mut account = Account::open(self, seen, trail);
        let Account { seen, trail, .. } = &mut account;
        let (mut response, verdict, code) = match self.route(request, peer, seen, trail).await {
            Ok(Answer { response, verdict, code }) => (response, verdict, code),
            // Envoy may be told to make an allow of an error of gRPC.
            Err(Denied { problem, verdict, .. }) if by_grpc => {
                (self.refused_by_grpc(&problem, seen), verdict, Some(problem.code))
            }
            Err(mut denied) => {
                denied.problem.beside_session(trail.foreign);
                denied.problem.basic = trail.route.as_ref().is_some_and(|route| route.accepts.basic);
                denied.problem.speaks = seen.speaks;
                (self.deny(&denied, seen, trail), denied.verdict, Some(denied.problem.code))
            }
        };
        if let Some(explanation) = explained(trail, verdict, code) {
            response.headers_mut().insert(EXPLAIN, explanation);
        }
        account.close(response.status(), verdict, code);
        response
    }

    /// Answers a request whose head cannot be served. Its connection ends.
    pub fn refuse(&self, broken: Broken, peer: Peer) -> Response<ResponseBody> {
        let Sketch { method, path, headers } = broken.sketch;
        let seen = Seen {
            audience: Audience::of(&method, &headers),
            client: forwarded::client_of(peer, &headers, &self.shared.trusted_proxies),
            method,
            version: Version::HTTP_11,
            host: String::new(),
            path,
            target: None,
            speaks: Speaks::default(),
            reader: None,
            proxied: false,
            request_id: self.next_request_id(),
            agent: headers.get(USER_AGENT).cloned(),
        };
        let account = Account::open(self, seen, Trail::default());
        let denied = Denied::closing(broken.fault.into());
        let response = self.deny(&denied, &account.seen, &account.trail);
        account.close(response.status(), denied.verdict, Some(denied.problem.code));
        response
    }

    fn deny(&self, denied: &Denied, seen: &Seen, trail: &Trail) -> Response<ResponseBody> {
        let account = trail.identity.as_ref().map(|identity| identity.principal.name.as_str());
        let look = Look {
            site: &self.shared.site,
            method: &seen.method,
            target: seen.target.as_deref(),
            account,
            request_id: &seen.request_id,
        };
        let mut response = denied.problem.respond(seen.refused_audience(), &look).map(ResponseBody::of);
        if seen.proxied {
            cors::let_read(response.headers_mut(), seen.reader.as_ref());
        }
        if denied.close && seen.version < Version::HTTP_2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Notes that a request is open until the guard is dropped.
    pub fn open_request(&self) -> Open {
        self.metrics.open_request()
    }

    async fn route(
        &self,
        mut request: Request<ClientBody>,
        peer: Peer,
        seen: &mut Seen,
        trail: &mut Trail,
    ) -> Result<Answer<Response<ResponseBody>>, Denied> {
        check_framing(&request).map_err(|fault| Denied::closing(fault.into()))?;
        let raw = request.uri().path_and_query().ok_or(TargetError::NotAbsolute).map_err(refused)?.clone();
        if raw.as_str().len() > self.longest_target(raw.path()) {
            return Err(Denied::closing(Problem::uri_too_long()));
        }
        // By HTTP/1.1 that was seen to before. By HTTP/2 the library would answer with less than we do.
        let bounds = Bounds { bytes: self.shared.header_bytes, fields: self.shared.header_count };
        if request.version() == Version::HTTP_2 {
            check_bounds(&request, bounds).map_err(|fault| Denied::closing(fault.into()))?;
        }
        let authority = match host_of(&request) {
            Ok(authority) => authority.to_owned(),
            Err(cause) => {
                // Load balancers probe without a host, as HTTP/1.0 permits.
                let bare = cause == TargetError::NoHost && request.version() == Version::HTTP_10;
                let probe = bare.then(|| self.own_path(raw.path())).flatten();
                let answer = probe.and_then(|page| self.health(page)).ok_or_else(|| refused(cause))?;
                return Ok(Answer::own(answer));
            }
        };
        put_host(&mut request, &authority);
        let kind = kind_of(&request).map_err(Denied::closing)?;
        let target =
            RequestTarget::parse(request.method(), &authority, &raw, kind).map_err(|error| match error {
                TargetError::BadMethod => Denied::closing(Problem::method_not_proxied()),
                error => refused(error),
            })?;
        seen.about(&target);

        if let Some(page) = self.own_path(target.path()) {
            let page = page.to_owned();
            if let Some(endpoint) = self.forward_auth.endpoint(&page) {
                return self.check(&request, &target, endpoint, peer, seen, trail).await;
            }
            self.expect_no_question(&page, peer)?;
            if page == super::explain::PATH {
                return Box::pin(self.explain(&request, &target, &authority, seen)).await.map(Answer::own);
            }
            let page = Box::pin(self.own(request, &target, page, seen.client, seen.request_id.clone()));
            return page.await.map(Answer::own);
        }
        if self.is_ext_authz(target.path()) {
            return self.check_by_grpc(request, peer, seen, trail).await;
        }
        if let Some(place) = self.compat_place(&request, &target, peer) {
            return Box::pin(self.compat(&place, &request, &target, peer, seen, trail)).await;
        }
        seen.proxied = true;
        // What `Connection` names is not sent on, so nothing may be decided on it either. In a question it counts: there
        // it is the asking proxy that sends the request on, and it may think otherwise.
        hop_by_hop::drop_named(request.headers_mut(), self.proxy.gate().managed());
        let chain = forwarded::chain(peer, request.headers(), &self.shared.trusted_proxies);
        let arrival = Arrival { target, authority, client: seen.client, chain };
        if let Ok(id) = HeaderValue::from_str(&seen.request_id) {
            request.headers_mut().insert(X_REQUEST_ID, id);
        }
        match self.proxy.forward(request, arrival, trail).await {
            Ok(response) => Ok(Answer { response, verdict: trail.passed(), code: None }),
            Err(failure) => {
                let upstream = trail.route.as_ref().and_then(|route| route.upstream_name.as_deref());
                Err(Self::denied(&failure, trail.passed(), upstream, &seen.request_id))
            }
        }
    }

    /// The longest target at a path, in bytes. What is ours may hold a whole target of an application, and escaped.
    fn longest_target(&self, path: &str) -> usize {
        let uri_bytes = self.shared.uri_bytes;
        let ours = self.own_path(path).is_some() || self.forward_auth.place(path).is_some();
        if ours { 3 * uri_bytes + OWN_TARGET_BYTES } else { uri_bytes }
    }

    /// Whether a path is where Envoy asks over gRPC.
    fn is_ext_authz(&self, path: &str) -> bool {
        path == ext_authz::PATH && self.forward_auth.speaks_ext_authz()
    }

    /// What lies below our reserved prefix: `""`, or a path that begins with `/`.
    fn own_path<'p>(&self, path: &'p str) -> Option<&'p str> {
        let below = path.strip_prefix(self.shared.site.public_url().base_path())?;
        let own = below.strip_prefix(RESERVED)?;
        (own.is_empty() || own.starts_with('/')).then_some(own)
    }

    async fn own(
        &self,
        request: Request<ClientBody>,
        target: &RequestTarget,
        page: String,
        client: Client,
        request_id: String,
    ) -> Result<Response<ResponseBody>, Denied> {
        if let Some(response) = self.health(&page) {
            return Ok(response);
        }
        if page == public_keys::PAGE {
            return self.public_keys(request.method());
        }
        let (Parts { method, headers, .. }, incoming) = request.into_parts();
        let Shared { page_turns, body_pace, .. } = &self.shared;
        let web = Arc::clone(&self.shared.web);
        let place = page_turns.place(&web.acquaintance(&headers), client);
        let (room, share) = place.forms();
        let read = read_ahead::read(incoming, vec![share], room, OWN_BODIES, *body_pace).await;
        let body = read.map_err(|unread| match unread.refusal {
            Refusal::TooLarge => Denied::closing(Problem::body_too_large()),
            refusal => Denied::closing(Problem::from(&refusal)),
        })?;
        let turn = place.turn().await.map_err(|busy| Denied::open(Problem::from(&busy), Verdict::Own))?;
        let query = target.query().map(str::to_owned);
        let host = target.host().to_owned();
        let request = WebRequest { method, host, path: page, query, headers, body, client, request_id };
        // A panic there ends its own task only, and is an error here.
        let answered = self.shared.control.spawn(async move {
            let response = web.respond(request).await;
            drop(turn);
            response
        });
        let answered = answered.await;
        match answered {
            Ok(response) => Ok(response.map(ResponseBody::of)),
            Err(error) => {
                tracing::error!(%error, "a page failed");
                Err(Denied { problem: Box::new(Problem::internal()), verdict: Verdict::Error, close: false })
            }
        }
    }

    /// Answers `/healthz` and `/readyz`; asks nobody.
    pub fn health(&self, path: &str) -> Option<Response<ResponseBody>> {
        let ready = || {
            !self.shared.draining.load(Ordering::Relaxed) && self.shared.revocations.is_fresh(READY_WITHIN)
        };
        let (status, text) = match path {
            "/healthz" => (StatusCode::OK, "ok\n"),
            "/readyz" if ready() => (StatusCode::OK, "ready\n"),
            "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            _ => return None,
        };
        let mut response = Response::new(ResponseBody::of(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        Some(response)
    }

    /// Logs what an operator must know, and words the rest for the caller.
    fn denied(failure: &Failure, passed: Verdict, upstream: Option<&str>, request_id: &str) -> Denied {
        match failure {
            Failure::Refused(refusal) | Failure::Ended(refusal) | Failure::Withheld(refusal) => {
                if matches!(failure, Failure::Withheld(_)) {
                    tracing::debug!(request.id = request_id, "a page was withheld that answers a handshake");
                }
                if let Refusal::Unavailable(cause) = refusal {
                    tracing::error!(request.id = request_id, error = %cause, "a request could not be decided");
                }
                let close = matches!(failure, Failure::Ended(_))
                    || matches!(
                        refusal,
                        Refusal::TooLarge | Refusal::BodyLost | Refusal::BodyLate | Refusal::BadTarget(_)
                    );
                Denied { problem: Box::new(Problem::from(refusal)), verdict: refusal.verdict(), close }
            }
            Failure::Forward(error) => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                let remedy = match error {
                    ForwardError::Connect(_) => "an upstream failed: start it, or correct its url",
                    ForwardError::Timeout => {
                        "an upstream failed: it is slow, or its timeouts.response, or timeouts.idle for streams, is short"
                    }
                    ForwardError::Protocol(_) => "an upstream failed: does it speak what its url says?",
                    ForwardError::ClientStalled => "a client stopped sending",
                    ForwardError::ClientBroke => "a client sent half a body, or one that cannot be read",
                };
                tracing::warn!(request.id = request_id, upstream, %error, cause, "{remedy}");
                let (problem, close) = match error {
                    ForwardError::Connect(_) => (Problem::upstream_connect(), false),
                    ForwardError::Timeout => (Problem::upstream_timeout(), false),
                    ForwardError::Protocol(_) => (Problem::upstream_protocol(), false),
                    ForwardError::ClientStalled => (Problem::request_timeout(), true),
                    ForwardError::ClientBroke => (Problem::body_broken(), true),
                };
                Denied { problem: Box::new(problem), verdict: passed, close }
            }
        }
    }

    fn next_request_id(&self) -> String {
        let number = self.request_number.get().wrapping_add(1);
        self.request_number.set(number);
        format!("{}-{number:x}", self.request_prefix)
    }
}

/// Why it was decided so, for an admin who asked.
fn explained(trail: &Trail, verdict: Verdict, code: Option<Code>) -> Option<HeaderValue> {
    let wanted = trail.notes.is_some() && trail.route.is_some();
    let admin = trail.identity.as_ref().is_some_and(|identity| identity.principal.role == Role::Admin);
    (wanted && admin).then(|| match code {
        Some(code) if !verdict.passes() => Explanation::of(trail, Err((verdict, code))).header(),
        _ => Explanation::of(trail, Ok(())).header(),
    })?
}
