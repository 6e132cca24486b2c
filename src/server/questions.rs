//! Questions of other proxies: may this request pass?

use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::Incoming;

use super::denied::Denied;
use super::dispatch::{Dispatch, Seen};
use crate::config::Flavour;
use crate::edge::body::ResponseBody;
use crate::edge::forward_auth::original::{Question, Unclear};
use crate::edge::forward_auth::{Endpoint, ext_authz, told_of};
use crate::edge::forwarded;
use crate::edge::forwarded::Peer;
use crate::edge::problem::Problem;
use crate::edge::proxy::read_ahead;
use crate::gate::Trail;
use crate::model::target::RequestTarget;

impl Dispatch {
    /// Answers another proxy's question. Never awaits anything but the gate.
    pub(super) async fn check(
        &self,
        request: &Request<Incoming>,
        target: &RequestTarget,
        mut endpoint: Endpoint,
        peer: Peer,
        seen: &mut Seen,
        trail: &mut Trail,
    ) -> Result<(Response<ResponseBody>, &'static str), Denied> {
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
        let check = read.map_err(|unclear| Self::unclear(&unclear, told_of(&unclear, flavour), peer))?;
        seen.about(&check.original.target);
        let (response, decision) = self.forward_auth.answer(&check, headers, &seen.request_id, trail).await;
        Ok((response.map(ResponseBody::of), decision))
    }

    /// Answers Envoy's question over gRPC.
    pub(super) async fn check_by_grpc(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        seen: &mut Seen,
        trail: &mut Trail,
    ) -> Result<(Response<ResponseBody>, &'static str), Denied> {
        self.expect_proxy(peer)?;
        let body =
            read_ahead::read(request.into_body(), ext_authz::LARGEST_REQUEST, self.shared.body_pace).await;
        let body = body.map_err(|unread| Denied::closing(Problem::from(&unread.refusal)))?;
        let read = ext_authz::decode(&body).and_then(|message| message.read(peer, self.shared.uri_bytes));
        let (check, headers) =
            read.map_err(|unclear| Self::unclear(&unclear, told_of(&unclear, Flavour::Envoy), peer))?;
        self.observe_by_grpc(&check, &headers, peer);
        seen.about(&check.original.target);
        seen.client = check.client;
        let (frame, decision) =
            self.forward_auth.answer_ext_authz(&check, &headers, &seen.request_id, trail).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let mut response = Response::new(ResponseBody::Grpc(Some(frame), Some(Box::new(trailers))));
        let grpc = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
        Ok((response, decision))
    }

    /// Questions are for our proxies only: whoever else may ask could pretend to be one.
    pub(super) fn expect_proxy(&self, peer: Peer) -> Result<(), Denied> {
        if peer.is_trusted(&self.shared.trusted_proxies) {
            return Ok(());
        }
        tracing::warn!(client.ip = %peer.address, "a peer outside server.trusted_proxies asked a proxy's question");
        Err(Denied::closing(Problem::untrusted_proxy()))
    }

    pub(super) fn unclear(unclear: &Unclear, problem: Problem, peer: Peer) -> Denied {
        tracing::warn!(client.ip = %peer.address, error = %unclear, "a proxy's question is not clear");
        Denied { problem: Box::new(problem), decision: "deny", close: false }
    }
}
