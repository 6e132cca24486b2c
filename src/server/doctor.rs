//! What `doorward doctor` is told of the questions that it had a proxy ask. Waits for nothing.

use http::{HeaderMap, Request};

use super::dispatch::Dispatch;
use crate::config::Flavour;
use crate::edge::client_body::ClientBody;
use crate::edge::forward_auth::Check;
use crate::edge::forward_auth::observed::Observed;
use crate::edge::forward_auth::original::Unclear;
use crate::edge::forwarded::Peer;
use crate::model::target::RequestTarget;

impl Dispatch {
    /// Tells of a question over HTTP, whether it will be answered or not.
    pub(super) fn observe(
        &self,
        flavour: Flavour,
        request: &Request<ClientBody>,
        target: &RequestTarget,
        peer: Peer,
        read: Result<&Check, &Unclear>,
    ) {
        let observed = Observed {
            flavour,
            peer: peer.address,
            trusted: peer.is_trusted(&self.shared.trusted_proxies),
            method: request.method(),
            target: target.path_and_query().as_str(),
            headers: request.headers(),
        };
        if let Some(nonce) = observed.nonce() {
            self.shared.reports.hand_over(nonce, observed.report(read));
        }
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
