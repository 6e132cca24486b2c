//! Requests at the paths of other products: questions of our proxies, and pages for browsers.

use http::header::HOST;
use http::{HeaderMap, Request, Response};

use super::denied::Denied;
use super::dispatch::Dispatch;
use super::seen::Seen;
use crate::edge::audience::Audience;
use crate::edge::body::ResponseBody;
use crate::edge::client_body::ClientBody;
use crate::edge::forward_auth::Answer;
use crate::edge::forward_auth::compat::{Action, Place};
use crate::edge::forward_auth::original::Question;
use crate::edge::forwarded;
use crate::edge::forwarded::Peer;
use crate::edge::pages::problem::Problem;
use crate::gate::GateRequest;
use crate::gate::Trail;
use crate::model::target::RequestTarget;
use crate::model::verdict::Verdict;

impl Dispatch {
    /// What a request is for, where a product is switched on whose paths we answer.
    pub(super) fn compat_place(
        &self,
        request: &Request<ClientBody>,
        target: &RequestTarget,
        peer: Peer,
    ) -> Option<Place> {
        let trusted = || peer.is_trusted(&self.shared.trusted_proxies);
        self.forward_auth.place(target.path()).or_else(|| {
            self.forward_auth
                .place_anywhere(request.headers(), target.host(), target.path())
                .filter(|_| trusted())
        })
    }

    /// Answers such a request. Never awaits anything but the gate.
    pub(super) async fn compat(
        &self,
        place: &Place,
        request: &Request<ClientBody>,
        target: &RequestTarget,
        peer: Peer,
        seen: &mut Seen,
        trail: &mut Trail,
    ) -> Result<Answer<Response<ResponseBody>>, Denied> {
        let headers = request.headers();
        let answered = match place.action {
            Action::Check(..) => {
                self.expect_proxy(peer)?;
                let rest = target
                    .query()
                    .map_or_else(|| place.rest.clone(), |query| format!("{}?{query}", place.rest));
                let question = Question {
                    headers,
                    method: request.method(),
                    rest: &rest,
                    uri_bytes: self.shared.uri_bytes,
                };
                seen.client = forwarded::client_in_question(peer, headers, &self.shared.trusted_proxies);
                if !self.forward_auth.says_client(place) {
                    seen.client.address = peer.beyond();
                }
                let check = self
                    .forward_auth
                    .read_compat(place, &question, target.query(), seen.client)
                    .map_err(|unclear| Self::unclear(&unclear, Problem::from(&unclear), peer))?;
                seen.about(&check.original.target);
                let answer = self.forward_auth.answer(&check, headers, &seen.request_id, trail).await;
                return Ok(answer.map(|response| response.map(ResponseBody::of)));
            }
            Action::Ready => self.health("/readyz").ok_or_else(Problem::not_found),
            _ => self.page(place, target, headers, seen).await,
        };
        match answered {
            Ok(response) => Ok(Answer::own(response)),
            Err(problem) => Err(Denied { problem: Box::new(problem), verdict: Verdict::Own, close: false }),
        }
    }

    async fn page(
        &self,
        place: &Place,
        target: &RequestTarget,
        headers: &HeaderMap,
        seen: &mut Seen,
    ) -> Result<Response<ResponseBody>, Problem> {
        if matches!(place.action, Action::UserInfo(_)) {
            // It is scripts that ask, whatever they accept.
            seen.audience = Audience::Api;
        }
        let authority = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let asking = GateRequest {
            target,
            headers,
            authority,
            route: None,
            client: seen.client,
            request_id: &seen.request_id,
        };
        Ok(self.forward_auth.page(place, &asking).await?.map(ResponseBody::of))
    }
}
