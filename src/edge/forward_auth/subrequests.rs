//! Subrequests of other proxies as they arrive: may this request pass?

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use ipnet::IpNet;

use super::answer::{told_of, unclear};
use super::observed::Observed;
use super::original::{BadSubrequest, Subrequest};
use super::{AuthCheck, Endpoint, ForwardAuth, Style, ext_authz};
use crate::config::{BodyPace, Flavour};
use crate::edge::answer::{Answer, Denied};
use crate::edge::arrival::Arrival;
use crate::edge::body::ResponseBody;
use crate::edge::forwarded::{self, Peer};
use crate::edge::pages::problem::Problem;
use crate::edge::read_ahead::{self, BufferLimits, BufferQuota, QuotaKey};
use crate::edge::request_context::RequestContext;
use crate::gate::DecisionTrace;
use crate::gate::refusal::Refusal;
use crate::model::verdict::Verdict;
use crate::service::doctor::Reports;

/// Proxies ask for all of their clients, and are few.
const QUESTIONS: BufferLimits =
    BufferLimits { body: ext_authz::LARGEST_REQUEST, client: 64 << 20, total: 64 << 20 };

/// What it takes to be asked.
#[derive(Clone, Debug)]
pub struct SubrequestContext {
    /// Peers that may ask, and whose forwarding headers are believed.
    pub trusted_proxies: Arc<[IpNet]>,
    /// Longest request target, in bytes.
    pub uri_bytes: usize,
    /// What questions by gRPC may hold in memory.
    pub room: BufferQuota,
    /// How slowly they may come.
    pub pace: BodyPace,
    /// What was seen of `doorward doctor`'s probes.
    pub reports: Reports,
}

impl ForwardAuth {
    /// Answers another proxy's question. Never awaits anything but the gate.
    ///
    /// # Errors
    ///
    /// [`Denied`] if the peer may not ask, or the question is not clear.
    pub async fn question(
        &self,
        mut endpoint: Endpoint,
        arrival: &Arrival,
        seen: &mut RequestContext,
        trail: &mut DecisionTrace,
    ) -> Result<Answer<Response<ResponseBody>>, Denied> {
        let Arrival { request, target, peer, .. } = arrival;
        let flavour = endpoint.flavour;
        let mut rest = std::mem::take(&mut endpoint.rest);
        if let Some(query) = target.query() {
            rest.push('?');
            rest.push_str(query);
        }
        let headers = request.headers();
        let question =
            Subrequest { headers, method: request.method(), rest: &rest, uri_bytes: self.asking.uri_bytes };
        seen.client = forwarded::client_in_question(*peer, headers, &self.asking.trusted_proxies);
        let read = Self::read(endpoint, &question, seen.client);
        let observed = Observed {
            flavour,
            peer: peer.address,
            trusted: self.trusts(*peer),
            method: request.method(),
            target: target.path_and_query().as_str(),
            headers,
        };
        self.report(&observed, read.as_ref());
        self.expect_proxy(*peer)?;
        let check = read.map_err(|error| unclear(&error, told_of(&error, Style::of(flavour)), *peer))?;
        seen.about(&check.original.target);
        let answer = self.answer(&check, headers, seen.request_id.as_str(), trail).await;
        Ok(answer.map(|response| response.map(ResponseBody::of)))
    }

    /// Answers Envoy's question by gRPC.
    ///
    /// # Errors
    ///
    /// [`Denied`] if the peer may not ask, or the question is not clear.
    pub async fn question_by_grpc(
        &self,
        arrival: Arrival,
        seen: &mut RequestContext,
        trail: &mut DecisionTrace,
    ) -> Result<Answer<Response<ResponseBody>>, Denied> {
        let peer = arrival.peer;
        self.expect_proxy(peer)?;
        let (body, share) = (arrival.request.into_body(), QuotaKey::of_client(peer.address));
        let body = read_ahead::read(body, vec![share], &self.asking.room, QUESTIONS, self.asking.pace).await;
        let body = body.map_err(|unread| match unread.refusal {
            Refusal::TooLarge => Denied::closing(Problem::body_too_large()),
            refusal => Denied::closing(Problem::from(&refusal)),
        })?;
        let read = ext_authz::decode(&body).and_then(|message| message.read(peer, self.asking.uri_bytes));
        let (check, headers) = read.map_err(|error| unclear(&error, Problem::from(&error), peer))?;
        let target = Rc::clone(&check.original.target);
        let observed = Observed {
            flavour: Flavour::Envoy,
            peer: peer.address,
            trusted: true,
            method: target.method(),
            target: target.path_and_query().as_str(),
            headers: &headers,
        };
        self.report(&observed, Ok(&check));
        seen.about(&target);
        seen.client = check.client;
        let answer = self.answer_ext_authz(&check, &headers, seen.request_id.as_str(), trail).await;
        Ok(answer.map(framed))
    }

    /// What Envoy is told by gRPC where its question could not even be read: a refusal, not an error, of which Envoy may be
    /// told to make an allow.
    pub fn refused_by_grpc(&self, denied: &Denied, seen: &RequestContext) -> Answer<Response<ResponseBody>> {
        let frame = self.refuse_ext_authz(&denied.problem, &seen.method, seen.request_id.as_str());
        Answer { response: framed(frame), verdict: denied.verdict, code: Some(denied.problem.code) }
    }

    /// Tells a proxy of ours that asks as it may not which setting lets it; to anybody else there is nothing here.
    ///
    /// # Errors
    ///
    /// [`Denied`] to such a proxy.
    pub fn expect_no_question(&self, flavour: Flavour, peer: Peer) -> Result<(), Denied> {
        if !self.trusts(peer) {
            return Ok(());
        }
        tracing::warn!(
            client.ip = %peer.address,
            flavour = flavour.as_str(),
            "a proxy's question is not answered: add its flavour to forward_auth.flavours"
        );
        Err(Denied::open(Problem::flavour_off(flavour), Verdict::Own))
    }

    /// Subrequests are answered for trusted proxies only: any other peer could pose as one.
    pub(super) fn expect_proxy(&self, peer: Peer) -> Result<(), Denied> {
        if self.trusts(peer) {
            return Ok(());
        }
        tracing::warn!(client.ip = %peer.address, "a peer outside server.trusted_proxies asked a proxy's question");
        Err(Denied::closing(Problem::untrusted_proxy()))
    }

    /// Whether a peer is one of our proxies.
    pub(super) fn trusts(&self, peer: Peer) -> bool {
        peer.is_trusted(&self.asking.trusted_proxies)
    }

    /// Tells `doorward doctor` of a question that it had a proxy ask, whether it will be answered or not.
    fn report(&self, observed: &Observed<'_>, read: Result<&AuthCheck, &BadSubrequest>) {
        if let Some(nonce) = observed.nonce() {
            self.asking.reports.hand_over(nonce, observed.report(read));
        }
    }
}

/// A message of gRPC's that is the whole answer.
fn framed(frame: Bytes) -> Response<ResponseBody> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let mut response = Response::new(ResponseBody::Grpc(Some(frame), Some(Box::new(trailers))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
