//! The streaming proxy: a permit in, the upstream's answer out.
//!
//! Never reads a body before the decision, but for GraphQL and the Model Context Protocol, where the decision is in
//! the body; never holds one in memory otherwise.

pub mod connect;
mod failure;
pub mod handshake;
pub mod health;
pub mod connection_guard;
pub mod hop_by_hop;
mod idle_timer;
pub mod interim;
mod early_response;
pub mod meter;
pub mod open;
pub mod client_progress;
pub mod pool;
mod reach;
pub mod request_body;
mod response_rewriter;
mod sending;
pub mod servers;
mod slash;
pub mod state;
pub mod tls;
pub mod upgrade;
mod upstream_body;
mod request_rewriter;

use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST, TE, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use ipnet::IpNet;
use tokio::sync::watch;

use self::connection_guard::ConnectionGuard;
pub use self::failure::{ForwardError, ProxyFailure};
use self::handshake::Handshake;
use self::open::{Exchange, ExchangeStart, ResponseSource, Streams};
use self::pool::UpstreamLease;
use self::request_body::{RequestBody, Unsent};
use self::request_rewriter::RequestRewriter;
use self::response_rewriter::ResponseRewriter;
use self::sending::{Wait, expects_stream};
use self::servers::Upstream;
use self::upstream_body::UpstreamBody;
use super::arrival::Arrival;
use super::body::ResponseBody;
use super::client_body::ClientBody;
use super::forwarded::{self, Peer};
use super::pages::site::RESERVED;
use super::read_ahead;
use crate::config::{BodyPace, Config, RouteTimeouts, UpstreamProtocol};
use crate::gate::authenticator::Identity;
use crate::gate::body_facts::BodyFacts;
use crate::gate::cookies::strip_set_cookies;
use crate::gate::credential;
use crate::gate::graphql;
use crate::gate::ongoing_decision::OngoingDecision;
use crate::gate::refusal::Refusal;
use crate::gate::{DecisionRequest, DecisionTrace, Gate, GateRequest, Permit};
use crate::model::principal::Client;
use crate::model::request_id::RequestId;
use crate::model::target::{RequestKind, RequestTarget};
use crate::policy::WantedFacts;

const ALT_SVC: HeaderName = HeaderName::from_static("alt-svc");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// Asks for an explanation, and answers with one. Neither passes in either direction.
pub const EXPLAIN: HeaderName = HeaderName::from_static("x-doorward-explain");
/// What logs know a request by. Ours, whatever the client sent under that name.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A permitted request on its way out.
struct Outgoing {
    exchange: Rc<Exchange>,
    parts: Parts,
    body: RequestBody,
    /// What the upstream is asked for.
    sent: PathAndQuery,
    /// Host and port as the client wrote them.
    authority: HeaderValue,
    peer: Peer,
    request_id: RequestId,
}

/// The proxy of one data-plane thread.
pub struct Proxy {
    gate: Rc<Gate>,
    streams: Rc<Streams>,
    upstreams: Vec<Rc<Upstream>>,
    room: read_ahead::BufferQuota,
    ahead: read_ahead::BufferLimits,
    body_pace: BodyPace,
    trusted_proxies: Arc<[IpNet]>,
    /// The path below which our own pages are.
    reserved: String,
    closing: watch::Receiver<bool>,
}

impl Proxy {
    /// A proxy over one thread's upstreams, in the order of the configuration. Bodies that are read ahead
    /// count in `room`; tunnels end when `closing` turns true.
    pub fn new(
        gate: Rc<Gate>,
        streams: Rc<Streams>,
        upstreams: Vec<Rc<Upstream>>,
        config: &Config,
        room: read_ahead::BufferQuota,
        closing: watch::Receiver<bool>,
    ) -> Self {
        let server = &config.server;
        let (ahead, body_pace) = (read_ahead::BufferLimits::new(server), server.body_pace);
        let reserved = format!("{}{RESERVED}", config.public_url.base_path());
        let trusted_proxies = server.trusted_proxies.clone().into();
        Self { gate, streams, upstreams, room, ahead, body_pace, trusted_proxies, reserved, closing }
    }

    /// The thread's gate.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Asks the gate, and forwards if it permits.
    ///
    /// # Errors
    ///
    /// [`ProxyFailure`]: the gate's refusal, or what went wrong with the upstream.
    async fn forward(
        &self,
        arrival: Arrival,
        client: Client,
        request_id: RequestId,
        trail: &mut DecisionTrace,
    ) -> Result<Response<ResponseBody>, ProxyFailure> {
        let look = self.gate.look();
        let Arrival { mut request, target, authority, peer } = arrival;
        let with_slash = self.gate.rulebook().with_slash(&target);
        let lacks_slash = with_slash.is_some();
        let target = with_slash.map_or(target, Rc::new);
        let client_upgrade = matches!(target.kind(), RequestKind::WebSocket | RequestKind::Upgrade)
            .then(|| hyper::upgrade::on(&mut request));
        let hold = request.extensions_mut().remove::<ConnectionGuard>();
        let (parts, incoming) = request.into_parts();
        let asking = GateRequest {
            target: &target,
            headers: &parts.headers,
            authority: authority.to_str().unwrap_or_default(),
            route: None,
            client,
            request_id: request_id.as_str(),
        };
        let mut asked = self.gate.identify(&asking, trail).await?;
        if asked.route().upstream.is_none() {
            return Err(Refusal::NoRoute.into());
        }
        let wants = asked.wants(&asking);
        let (told, body) = if wants.any() {
            self.told(wants, &mut asked, &parts, (&target, client), incoming).await?
        } else {
            (BodyFacts::default(), Unsent::all(incoming))
        };
        let permit = asked.decide(&asking, &told, trail)?;
        if lacks_slash {
            return Ok(slash::lead_to(target.path_and_query()));
        }
        trail.permitted = true;
        let seldom = matches!(parts.method, Method::GET | Method::HEAD);
        let body = if seldom && !parts.headers.contains_key(CONTENT_LENGTH) {
            Box::pin(body.ascertained(self.body_pace.over)).await?
        } else {
            body
        };
        let sent = match &permit.route().prefixes {
            None => target.path_and_query().clone(),
            Some(prefixes) => prefixes.sent(&target).ok_or(Refusal::NoRoute)?,
        };
        let detection = permit.route().detection(&target, &parts.headers);
        let exchange = self.streams.begin(ExchangeStart {
            gate: Rc::clone(&self.gate),
            ongoing: permit.ongoing(target, client, told),
            look,
            http2: parts.version == Version::HTTP_2,
            hold,
            sent: body.is_empty(),
            announced: parts.headers.contains_key(CONTENT_LENGTH),
            detection,
        })?;
        let body = RequestBody::new(body, Rc::<Exchange>::clone(&exchange));
        let outgoing =
            Outgoing { exchange: Rc::clone(&exchange), parts, body, sent, authority, peer, request_id };
        let answer = tokio::select! {
            biased;
            end = exchange.ended() => Err(end.failure()),
            answer = self.send(permit, outgoing, client_upgrade, trail) => answer,
        };
        trail.note_detection(exchange.detection(), exchange.ongoing().target().path());
        answer
    }

    /// What its body tells, and the body that may have been read to find it.
    async fn told(
        &self,
        wants: WantedFacts,
        asked: &mut DecisionRequest,
        parts: &Parts,
        (target, client): (&RequestTarget, Client),
        body: ClientBody,
    ) -> Result<(BodyFacts, Unsent), Refusal> {
        let envelope = graphql::Envelope {
            kind: target.kind(),
            method: &parts.method,
            query: target.query(),
            headers: &parts.headers,
            body: body.is_end_stream().then_some(&[]),
        };
        if body.is_end_stream() || !BodyFacts::is_in_body(wants, &envelope) {
            return Ok((BodyFacts::of(wants, &envelope), Unsent::all(body)));
        }
        let account = asked.subject().map(|subject| read_ahead::QuotaKey::Account(subject.into()));
        let shares =
            [read_ahead::QuotaKey::of_client(client.address.nearest())].into_iter().chain(account).collect();
        match Box::pin(read_ahead::read(body, shares, &self.room, self.ahead, self.body_pace)).await {
            Ok(read) => {
                let told = BodyFacts::of(wants, &graphql::Envelope { body: Some(&read), ..envelope });
                Ok((told, Unsent::read(read)))
            }
            // What breaks off must not look complete to the upstream, so it never passes.
            Err(unread) if matches!(unread.refusal, Refusal::BodyLost) => Err(unread.refusal),
            Err(unread) => {
                asked.refuse(unread.refusal)?;
                Ok((BodyFacts::unknown(wants), Unsent::partly_read(unread.read, unread.rest)))
            }
        }
    }

    /// Sends what was permitted. Consumes the permit: one permit, one request.
    async fn send(
        &self,
        permit: Permit,
        outgoing: Outgoing,
        client_upgrade: Option<OnUpgrade>,
        trail: &mut DecisionTrace,
    ) -> Result<Response<ResponseBody>, ProxyFailure> {
        let Outgoing { exchange, mut parts, body, sent, authority, peer, request_id } = outgoing;
        let ongoing = exchange.ongoing();
        let upstream = permit.route().upstream.and_then(|index| self.upstreams.get(index));
        let Some(upstream) = upstream else {
            return Err(ForwardError::Connect("the route has no upstream".into()).into());
        };
        let handshake = client_upgrade.as_ref().and_then(|_| Handshake::of(&parts.headers));
        if handshake.is_some() && upstream.protocol == UpstreamProtocol::Http2 {
            return Err(ForwardError::Protocol("an HTTP/2 upstream cannot take an upgrade".into()).into());
        }
        // Whatever was waited for, the request goes out as what its caller is now, or not at all.
        exchange.confirm(trail).await?;
        let lease = upstream.lease().await?;
        exchange.confirm(trail).await?;
        let caller = ongoing.identity();
        let caller = caller.as_deref();
        self.prepare_headers(&permit, caller, &mut parts, ongoing, peer, handshake.as_ref());
        parts.headers.insert(X_REQUEST_ID, request_id.to_header());
        let host = parts.headers.get(HOST).filter(|_| upstream.preserve_host).cloned();
        let way_back = ResponseRewriter {
            upstream,
            route: permit.route(),
            caller,
            ongoing,
            authority: authority.to_str().unwrap_or_default(),
            public_origin: self.gate.public_origin(),
            sent: sent.clone(),
            host,
        };
        let there = RequestRewriter::of(&way_back, permit.destination(), &parts.headers)?;
        let RouteTimeouts { response, idle } = permit.route().timeouts;
        let streams = expects_stream(&parts.headers, ongoing.target().kind());
        let wait = Wait { exchange: &exchange, response: if streams { idle } else { response }, idle };
        let last = sending::is_last(&parts.method, &body);
        // What a handshake is answered before the switch belongs to a page, which is decided then.
        let by_http1 = parts.version == Version::HTTP_11 && handshake.is_none();
        let mut request = sending::outgoing(parts, body, upstream, sent)?;
        // Waits for nothing: it takes this task's waker.
        let interim_guard = match exchange.interim().filter(|_| by_http1) {
            Some(interim) => Some(interim.of(&mut request).await),
            None => None,
        };
        let (response, lease) = sending::send(upstream, lease, request, there.as_ref(), &wait).await?;
        if let Some(interim_guard) = interim_guard {
            interim_guard.written().await;
        }
        let lease = if last || sending::may_run_on(&response) { lease.spoilt() } else { lease };
        let switch = client_upgrade.zip(handshake);
        if switch.is_some() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            // A page: the permission to switch protocols does not cover pages.
            self.gate.decide_unswitched(ongoing, trail).map_err(ProxyFailure::Withheld)?;
        }
        let mut passed = self.pass_on(response, lease, &way_back, &wait, switch)?;
        if caller.is_some() {
            reach::keep_private(passed.headers_mut());
        }
        Ok(passed)
    }

    /// What the upstream sees: first everything that ends here or is only ours to say goes, then ours is set.
    fn prepare_headers(
        &self,
        permit: &Permit,
        caller: Option<&Identity>,
        parts: &mut Parts,
        ongoing: &OngoingDecision,
        peer: Peer,
        handshake: Option<&Handshake>,
    ) {
        let trailers_wanted =
            single(&parts.headers, &TE).is_some_and(|te| te.to_ascii_lowercase().contains("trailers"));
        let headers = &mut parts.headers;
        let chain = forwarded::chain(peer, headers, &self.trusted_proxies);
        let route = permit.route();
        let plan = &route.headers;
        let attributed = plan.attributed(headers, caller.map(|caller| &*caller.principal));
        let grounds = ongoing.grounds();
        hop_by_hop::drop_standing(headers);
        credential::strip(headers, self.gate.credential_names(), permit.accepts(), grounds);
        self.gate.open_app_sessions(route, headers, caller);
        self.gate.managed().strip(headers, &route.odd_header_names);
        // Polling the body makes the library answer `100 Continue`.
        headers.remove(EXPECT);
        headers.remove(EXPLAIN);
        self.gate.told(plan, caller).set(headers, grounds.enforce);
        if grounds.allowed {
            plan.get_in(headers, grounds.enforce);
        }
        for (name, value) in attributed {
            headers.insert(name, value);
        }
        forwarded::write(headers, ongoing.client(), chain);
        if let Some(prefix) = &route.stripped_prefix {
            headers.insert(X_FORWARDED_PREFIX, prefix.clone());
        }
        if let Some(handshake) = handshake {
            handshake.put(headers);
        }
        if trailers_wanted && ongoing.target().kind() == RequestKind::Grpc {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        join_cookies(headers);
    }

    fn pass_on(
        &self,
        mut response: Response<Incoming>,
        lease: UpstreamLease,
        way_back: &ResponseRewriter<'_>,
        wait: &Wait<'_>,
        switch: Option<(OnUpgrade, Handshake)>,
    ) -> Result<Response<ResponseBody>, ForwardError> {
        let (exchange, idle) = (wait.exchange, wait.idle);
        *response.version_mut() = Version::HTTP_11;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let Some((client, handshake)) = switch else {
                return Err(ForwardError::Protocol("the upstream switched protocols unasked".into()));
            };
            if !handshake.is_agreed_to(response.headers()) {
                return Err(ForwardError::Protocol(
                    "the upstream switched to something else than asked".into(),
                ));
            }
            let upstream = hyper::upgrade::on(&mut response);
            let tunnel = upgrade::tunnel(client, upstream, idle, self.closing.clone(), Rc::clone(exchange));
            let counted = lease.server().meter.open_tunnel();
            tokio::task::spawn_local(async move {
                let _open = (lease, counted);
                if let Err(error) = tunnel.await {
                    tracing::debug!(%error, "a tunnel ended");
                }
            });
            self.clean_response(response.headers_mut(), way_back);
            handshake.put(response.headers_mut());
            return Ok(response.map(|_| ResponseBody::of(bytes::Bytes::new())));
        }
        if !hop_by_hop::is_plainly_coded(response.headers()) {
            return Err(ForwardError::Protocol("the answer has a transfer coding other than chunked".into()));
        }
        if !hop_by_hop::has_one_length(response.headers()) {
            return Err(ForwardError::Protocol("the answer says its length twice".into()));
        }
        // A length beside chunks is a lie one of two parsers believes: drop it, and the connection too.
        let two_framings = response.headers().contains_key(TRANSFER_ENCODING)
            && response.headers_mut().remove(CONTENT_LENGTH).is_some();
        self.clean_response(response.headers_mut(), way_back);
        let lease = Some(if two_framings { lease.spoilt() } else { lease });
        Ok(response.map(|body| {
            let body = UpstreamBody::new(Rc::clone(exchange), ResponseSource { body, lease }, idle);
            ResponseBody::Passed(Box::new(body))
        }))
    }

    /// Removes what ends here or is only ours to say, and what would lead browsers around us; what leads to
    /// the upstream leads to us.
    fn clean_response(&self, headers: &mut HeaderMap, way_back: &ResponseRewriter<'_>) {
        hop_by_hop::strip(headers, self.gate.managed());
        self.gate.managed().strip_answer(headers);
        strip_set_cookies(headers, &self.gate.credential_names().cookie);
        self.gate.seal_app_sessions(way_back.route, headers, way_back.caller);
        headers.remove(ALT_SVC);
        reach::stay_off_our_pages(headers, &self.reserved);
        way_back.rename(headers);
        headers.remove(EXPLAIN);
    }
}

/// HTTP/2 may split cookies into crumbs; HTTP/1.1 has one header (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let joined =
        headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b"; "[..]);
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, joined);
    }
}

/// A header that stands exactly once, as text.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
