//! Questions of other proxies: may this request pass?

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};

use super::denied::Denied;
use super::dispatch::{Dispatch, Shared};
use super::seen::Seen;
use crate::edge::body::ResponseBody;
use crate::edge::client_body::ClientBody;
use crate::edge::forward_auth::original::{Question, Unclear};
use crate::edge::forward_auth::{Answer, Endpoint, Style, ext_authz, told_of};
use crate::edge::forwarded;
use crate::edge::forwarded::Peer;
use crate::edge::pages::problem::Problem;
use crate::edge::proxy::read_ahead;
use crate::edge::proxy::read_ahead::{Bounds, Share};
use crate::gate::Trail;
use crate::gate::refusal::Refusal;
use crate::model::target::RequestTarget;
use crate::model::verdict::Verdict;

/// Proxies ask for all of their clients, and are few.
const QUESTIONS: Bounds = Bounds { body: ext_authz::LARGEST_REQUEST, client: 64 << 20, total: 64 << 20 };

impl Dispatch {
    /// Answers another proxy's question. Never awaits anything but the gate.
    pub(super) async fn check(
        &self,
        request: &Request<ClientBody>,
        target: &RequestTarget,
        mut endpoint: Endpoint,
        peer: Peer,
        seen: &mut Seen,
        trail: &mut Trail,
    ) -> Result<Answer<Response<ResponseBody>>, Denied> {
        let flavour = endpoint.flavour;
        let mut rest = std::mem::take(&mut endpoint.rest);
        if let Some(query) = target.query() {
            rest.push('?');
            rest.push_str(query);
        }
        let headers = request.headers();
        let question =
            Question { headers, method: request.method(), rest: &rest, uri_bytes: self.shared.uri_bytes };
        seen.client = forwarded::client_in_question(peer, headers, &self.shared.trusted_proxies);
        let read = self.forward_auth.read(endpoint, &question, seen.client);
        self.observe(flavour, request, target, peer, read.as_ref());
        self.expect_proxy(peer)?;
        let check =
            read.map_err(|unclear| Self::unclear(&unclear, told_of(&unclear, Style::of(flavour)), peer))?;
        seen.about(&check.original.target);
        let answer = self.forward_auth.answer(&check, headers, &seen.request_id, trail).await;
        Ok(answer.map(|response| response.map(ResponseBody::of)))
    }

    /// Answers Envoy's question over gRPC.
    pub(super) async fn check_by_grpc(
        &self,
        request: Request<ClientBody>,
        peer: Peer,
        seen: &mut Seen,
        trail: &mut Trail,
    ) -> Result<Answer<Response<ResponseBody>>, Denied> {
        self.expect_proxy(peer)?;
        let Shared { rooms, body_pace, .. } = &self.shared;
        let (asked, room) = (request.into_body(), &rooms.questions);
        let body =
            read_ahead::read(asked, vec![Share::of_client(peer.address)], room, QUESTIONS, *body_pace).await;
        let body = body.map_err(|unread| match unread.refusal {
            Refusal::TooLarge => Denied::closing(Problem::body_too_large()),
            refusal => Denied::closing(Problem::from(&refusal)),
        })?;
        let read = ext_authz::decode(&body).and_then(|message| message.read(peer, self.shared.uri_bytes));
        let (check, headers) =
            read.map_err(|unclear| Self::unclear(&unclear, Problem::from(&unclear), peer))?;
        self.observe_by_grpc(&check, &headers, peer);
        seen.about(&check.original.target);
        seen.client = check.client;
        let answer = self.forward_auth.answer_ext_authz(&check, &headers, &seen.request_id, trail).await;
        Ok(answer.map(framed))
    }

    /// What Envoy is told over gRPC where its question could not even be read: a refusal, not an error.
    pub(super) fn refused_by_grpc(&self, problem: &Problem, seen: &Seen) -> Response<ResponseBody> {
        framed(self.forward_auth.refuse_ext_authz(problem, &seen.method, &seen.request_id))
    }

    /// Questions are for our proxies only: whoever else may ask could pretend to be one.
    pub(super) fn expect_proxy(&self, peer: Peer) -> Result<(), Denied> {
        if peer.is_trusted(&self.shared.trusted_proxies) {
            return Ok(());
        }
        tracing::warn!(client.ip = %peer.address, "a peer outside server.trusted_proxies asked a proxy's question");
        Err(Denied::closing(Problem::untrusted_proxy()))
    }

    /// Tells a proxy of ours that asks as it may not which setting lets it; to anybody else there is nothing here.
    pub(super) fn expect_no_question(&self, page: &str, peer: Peer) -> Result<(), Denied> {
        let asked = self.forward_auth.switched_off(page);
        let Some(flavour) = asked.filter(|_| peer.is_trusted(&self.shared.trusted_proxies)) else {
            return Ok(());
        };
        tracing::warn!(
            client.ip = %peer.address,
            flavour = flavour.as_str(),
            "a proxy's question is not answered: add its flavour to forward_auth.flavours"
        );
        Err(Denied::open(Problem::flavour_off(flavour), Verdict::Own))
    }

    pub(super) fn unclear(unclear: &Unclear, problem: Problem, peer: Peer) -> Denied {
        tracing::warn!(client.ip = %peer.address, error = %unclear, "a proxy's question is not clear");
        Denied { problem: Box::new(problem), verdict: Verdict::Deny, close: false }
    }
}

/// A message of gRPC's that is the whole answer.
fn framed(frame: Bytes) -> Response<ResponseBody> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let mut response = Response::new(ResponseBody::Grpc(Some(frame), Some(Box::new(trailers))));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
    response
}
