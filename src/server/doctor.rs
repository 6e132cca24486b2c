//! What `doorward doctor` is told of the questions that it had a proxy ask. Waits for nothing.

use http::{HeaderMap, Request};
use hyper::body::Incoming;

use super::dispatch::Dispatch;
use super::message::fill_in_host;
use crate::config::Flavour;
use crate::edge::forward_auth::observed::Observed;
use crate::edge::forward_auth::original::Question;
use crate::edge::forward_auth::{Check, Endpoint};
use crate::edge::forwarded::Peer;
use crate::model::network;
use crate::model::principal::Client;
use crate::model::target::RequestTarget;

impl Dispatch {
    /// Tells of a question over HTTP, whether it will be answered or not.
    pub(super) fn observe(
        &self,
        request: &Request<Incoming>,
        target: &RequestTarget,
        endpoint: &Endpoint,
        peer: Peer,
        client: Client,
    ) {
        let observed = Observed {
            flavour: endpoint.flavour,
            peer: peer.address,
            trusted: network::contains(&self.shared.trusted_proxies, peer.address),
            method: request.method(),
            target: target.path_and_query().as_str(),
            headers: request.headers(),
        };
        let Some(nonce) = observed.nonce() else { return };
        let mut endpoint = endpoint.clone();
        if let Some(query) = target.query() {
            endpoint.rest = format!("{}?{query}", endpoint.rest);
        }
        let mut headers = request.headers().clone();
        fill_in_host(request, &mut headers);
        let question = Question {
            headers: &headers,
            method: request.method(),
            rest: &endpoint.rest.clone(),
            uri_bytes: self.shared.uri_bytes,
        };
        let read = self.forward_auth.read(endpoint, &question, client);
        self.shared.reports.hand_over(nonce, observed.report(read.as_ref()));
    }

    /// Tells of a question that Envoy asked over gRPC.
    pub(super) fn observe_by_grpc(&self, check: &Check, headers: &HeaderMap, peer: Peer) {
        let observed = Observed {
            flavour: Flavour::Envoy,
            peer: peer.address,
            trusted: true,
            method: check.original.target.method(),
            target: check.original.target.path_and_query().as_str(),
            headers,
        };
        if let Some(nonce) = observed.nonce() {
            self.shared.reports.hand_over(nonce, observed.report(Ok(check)));
        }
    }
}
