//! What the server does for one request: reads its head in the one way, tells who its client is, looks up what is mounted at
//! its path, hands it over, and tells of it once.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response, Version};
use ipnet::IpNet;

use super::connection_activity::MalformedRequest;
use super::head::{HeadLimits, HeadSummary};
use super::message::{check_bounds, check_framing, kind_of, take_host};
use super::request_record::{RecordSinks, RequestRecord};
use crate::config::ServerConfig;
use crate::edge::answer::{Answer, Denied};
use crate::edge::arrival::Arrival;
use crate::edge::body::ResponseBody;
use crate::edge::client_body::ClientBody;
use crate::edge::forwarded::{self, Peer};
use crate::edge::health::Probe;
use crate::edge::mount::{self, InternalEndpoint, Mount};
use crate::edge::pages::problem::Problem;
use crate::edge::proxy::EXPLAIN;
use crate::edge::request_context::RequestContext;
use crate::edge::surfaces::Surfaces;
use crate::gate::DecisionTrace;
use crate::model::metrics::Open;
use crate::model::request_id::RequestId;
use crate::model::target::{RequestTarget, TargetError};
use crate::model::token::random_bytes;

/// What a target has beside an address that it holds, in bytes.
const BESIDE_ADDRESS: usize = 1024;

/// How much of a head is read, and whose word about clients is believed.
pub(super) struct IntakeSettings {
    /// Peers whose forwarding headers are believed.
    trusted_proxies: Arc<[IpNet]>,
    /// Longest request target, in bytes.
    uri_bytes: usize,
    /// Bounds of a head.
    head: HeadLimits,
}

impl IntakeSettings {
    /// As configured.
    pub(super) fn new(server: &ServerConfig) -> Self {
        let limits = &server.limits;
        Self {
            trusted_proxies: server.trusted_proxies.clone().into(),
            uri_bytes: limits.uri_bytes,
            head: HeadLimits { bytes: limits.header_bytes, fields: limits.header_count },
        }
    }
}

/// Answers requests on one thread.
pub struct Dispatch {
    pub(super) surfaces: Surfaces,
    pub(super) books: RecordSinks,
    reading: IntakeSettings,
    run: [u8; 6],
    number: Cell<u64>,
}

/// Why a request is not handed over.
enum Stopped {
    /// Its head cannot be understood.
    Denied(Denied),
    /// It is a load balancer that asks how we are without naming a host, as HTTP/1.0 permits.
    Probe(Probe),
}

impl<E: Into<Denied>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Denied(error.into())
    }
}

impl Dispatch {
    /// A dispatch for one thread.
    pub(super) fn new(surfaces: Surfaces, reading: IntakeSettings, books: RecordSinks) -> Self {
        let run = random_bytes().first_chunk::<6>().copied().unwrap_or_default();
        Self { surfaces, books, reading, run, number: Cell::new(0) }
    }

    /// Answers one request. Every failure becomes an answer, and none of them is an allow.
    pub async fn answer(&self, request: Request<ClientBody>, peer: Peer) -> Response<ResponseBody> {
        let client = forwarded::client_of(peer, request.headers(), &self.reading.trusted_proxies);
        let seen =
            RequestContext::of(&request, client, self.next_request_id(), self.surfaces.gate().origins());
        let trail = DecisionTrace::new(request.headers().contains_key(EXPLAIN));
        let mount = self.surfaces.at(seen.path());
        let mut account = RequestRecord::open(&self.books, self.surfaces.gate(), seen, trail);
        let RequestRecord { seen, trail, .. } = &mut account;
        let answer = match self.read(request, peer, &mount, seen) {
            Ok(arrival) => self.surfaces.answer(mount, Ok(arrival), seen, trail).await,
            Err(Stopped::Denied(denied)) => self.surfaces.answer(mount, Err(denied), seen, trail).await,
            Err(Stopped::Probe(probe)) => Answer::own(self.surfaces.probe(probe)),
        };
        account.close(answer)
    }

    /// Answers a request whose head cannot be served. Its connection ends.
    pub fn refuse(&self, broken: MalformedRequest, peer: Peer) -> Response<ResponseBody> {
        let HeadSummary { method, path, headers } = broken.sketch;
        let client = forwarded::client_of(peer, &headers, &self.reading.trusted_proxies);
        let seen = RequestContext::of_broken(method, path, &headers, client, self.next_request_id());
        let account = RequestRecord::open(&self.books, self.surfaces.gate(), seen, DecisionTrace::default());
        let denied = Denied::closing(broken.fault.into());
        let answer = self.surfaces.refuse(&denied, &account.seen, &account.trail);
        account.close(answer)
    }

    /// What a listener for operators has at a path: health, and nothing else.
    pub fn operations(&self, path: &str) -> Option<Response<ResponseBody>> {
        match mount::own(path)?.what {
            InternalEndpoint::Health(probe) => Some(self.surfaces.probe(probe)),
            _ => None,
        }
    }

    /// Notes that a request is open until the guard is dropped.
    pub fn open_request(&self) -> Open {
        self.books.metrics.open_request()
    }

    /// Reads a head in the one way that leaves no doubt.
    fn read(
        &self,
        mut request: Request<ClientBody>,
        peer: Peer,
        mount: &Mount,
        seen: &mut RequestContext,
    ) -> Result<Arrival, Stopped> {
        check_framing(&request).map_err(|fault| Denied::closing(fault.into()))?;
        let raw = request.uri().path_and_query().ok_or(TargetError::NotAbsolute)?.clone();
        let longest = if mount.may_hold_another() {
            3 * self.reading.uri_bytes + BESIDE_ADDRESS
        } else {
            self.reading.uri_bytes
        };
        if raw.as_str().len() > longest {
            return Err(Denied::closing(Problem::uri_too_long()).into());
        }
        // By HTTP/1.1 that was seen to before. By HTTP/2 the library would answer with less than we do.
        if request.version() == Version::HTTP_2 {
            check_bounds(&request, self.reading.head).map_err(|fault| Denied::closing(fault.into()))?;
        }
        let authority = match take_host(&mut request) {
            Ok(authority) => authority,
            Err(cause) => {
                let bare = cause == TargetError::NoHost && request.version() == Version::HTTP_10;
                let probe = mount.probe().filter(|_| bare);
                return Err(probe.map_or_else(|| cause.into(), Stopped::Probe));
            }
        };
        let kind = kind_of(&request).map_err(Denied::closing)?;
        let host = authority.to_str().map_err(|_| TargetError::BadHost)?;
        let target =
            RequestTarget::parse(request.method(), host, &raw, kind).map_err(|error| match error {
                TargetError::BadMethod => Denied::closing(Problem::method_not_proxied()),
                error => error.into(),
            })?;
        let target = Rc::new(target);
        seen.about(&target);
        Ok(Arrival { request, target, authority, peer })
    }

    fn next_request_id(&self) -> RequestId {
        let number = self.number.get().wrapping_add(1);
        self.number.set(number);
        RequestId::new(self.run, number)
    }
}
