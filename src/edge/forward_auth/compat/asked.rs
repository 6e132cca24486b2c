//! Requests at the paths of other products: questions of our proxies, and pages for browsers.

use http::Response;

use super::{Action, CompatEndpoint};
use crate::edge::answer::{Answer, Denied};
use crate::edge::arrival::Arrival;
use crate::edge::audience::Audience;
use crate::edge::body::ResponseBody;
use crate::edge::forward_auth::ForwardAuth;
use crate::edge::forward_auth::answer::unclear;
use crate::edge::forward_auth::original::Subrequest;
use crate::edge::forwarded;
use crate::edge::pages::problem::Problem;
use crate::edge::request_context::RequestContext;
use crate::gate::{DecisionTrace, GateRequest};
use crate::model::verdict::Verdict;

impl ForwardAuth {
    /// Answers a request at a product's path. Never awaits anything but the gate.
    ///
    /// # Errors
    ///
    /// [`Denied`] if a peer may not ask, a question is not clear, or a page is refused.
    pub async fn at_product(
        &self,
        endpoint: &CompatEndpoint,
        arrival: &Arrival,
        seen: &mut RequestContext,
        trail: &mut DecisionTrace,
    ) -> Result<Answer<Response<ResponseBody>>, Denied> {
        if matches!(endpoint.action, Action::Check(..)) {
            return self.ask_at_product(endpoint, arrival, seen, trail).await;
        }
        if matches!(endpoint.action, Action::UserInfo(_)) {
            // It is scripts that ask, whatever they accept.
            seen.audience = Audience::Api;
        }
        let asking = GateRequest {
            target: &arrival.target,
            headers: arrival.request.headers(),
            authority: arrival.authority(),
            route: None,
            client: seen.client,
            request_id: seen.request_id.as_str(),
        };
        let page =
            self.page(endpoint, &asking).await.map_err(|problem| Denied::open(problem, Verdict::Own))?;
        Ok(Answer::own(page.map(ResponseBody::of)))
    }

    async fn ask_at_product(
        &self,
        endpoint: &CompatEndpoint,
        arrival: &Arrival,
        seen: &mut RequestContext,
        trail: &mut DecisionTrace,
    ) -> Result<Answer<Response<ResponseBody>>, Denied> {
        let Arrival { request, target, peer, .. } = arrival;
        self.expect_proxy(*peer)?;
        let rest = target
            .query()
            .map_or_else(|| endpoint.rest.clone(), |query| format!("{}?{query}", endpoint.rest));
        let headers = request.headers();
        let question =
            Subrequest { headers, method: request.method(), rest: &rest, uri_bytes: self.asking.uri_bytes };
        seen.client = forwarded::client_in_question(*peer, headers, &self.asking.trusted_proxies);
        if !self.says_client(endpoint) {
            seen.client.address = peer.beyond();
        }
        let check = self
            .read_compat(endpoint, &question, target.query(), seen.client)
            .map_err(|error| unclear(&error, Problem::from(&error), *peer))?;
        seen.about(&check.original.target);
        let answer = self.answer(&check, headers, seen.request_id.as_str(), trail).await;
        Ok(answer.map(|response| response.map(ResponseBody::of)))
    }
}
