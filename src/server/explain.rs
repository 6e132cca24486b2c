//! `GET /_doorward/api/explain`: what would be decided for a request, told to admins.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response};

use super::denied::Denied;
use super::dispatch::Dispatch;
use super::seen::Seen;
use crate::edge::body::ResponseBody;
use crate::edge::client_body::ClientBody;
use crate::edge::pages::problem::Problem;
use crate::gate::GateRequest;
use crate::gate::explain::Question;
use crate::gate::refusal::Refusal;
use crate::model::principal::PrincipalKind;
use crate::model::role::Role;
use crate::model::target::RequestTarget;
use crate::model::verdict::Verdict;
use crate::service::ServiceError;

/// Below the reserved prefix.
pub(super) const PATH: &str = "/api/explain";

impl Dispatch {
    pub(super) async fn explain(
        &self,
        request: &Request<ClientBody>,
        target: &RequestTarget,
        authority: &str,
        seen: &Seen,
    ) -> Result<Response<ResponseBody>, Denied> {
        let gate = self.proxy.gate();
        let asking = GateRequest {
            target,
            headers: request.headers(),
            authority,
            route: None,
            client: seen.client,
            request_id: &seen.request_id,
        };
        let refused = |refusal: Refusal| Denied::open(Problem::from(&refusal), refusal.verdict());
        let caller = gate.caller(&asking).await.map_err(refused)?;
        match caller.as_ref().map(|identity| &identity.principal) {
            None => return Err(refused(Refusal::Challenge)),
            Some(caller) if caller.role != Role::Admin => {
                return Err(refused(Refusal::Forbidden));
            }
            // Scripts of every application on this host send their users' cookies along.
            Some(caller) if matches!(caller.kind, PrincipalKind::User(_)) => {
                return Err(Denied::open(Problem::key_required(), Verdict::Deny));
            }
            Some(_) => {}
        }
        if !matches!(*target.method(), Method::GET | Method::HEAD) {
            return Err(Denied::open(Problem::method_not_allowed("GET, HEAD"), Verdict::Deny));
        }
        let failed = |error: ServiceError| Denied::open(Problem::from(&error), Verdict::Own);
        let (question, who) = read(target.query().unwrap_or_default()).map_err(failed)?;
        let subjects = self.shared.subjects.clone();
        // A panic there ends its own task only, and is an error here.
        let looked_up = self.shared.control.spawn(async move { subjects.caller(&who).await }).await;
        let caller = match looked_up {
            Ok(found) => found.map_err(failed)?,
            Err(error) => {
                tracing::error!(%error, "an explanation failed");
                return Err(Denied::open(Problem::internal(), Verdict::Error));
            }
        };
        let own = self.shared.site.public_url().authority();
        let hypothetical =
            question.asked(&own, caller).map_err(|error| failed(wrong("request", &error.to_string())))?;
        let explanation = gate.rulebook().explain(&hypothetical);
        let text = serde_json::to_vec(&explanation).unwrap_or_default();
        let mut response = Response::new(ResponseBody::of(Bytes::from(text)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

/// The question in a query, and of whom it is asked.
fn read(query: &str) -> Result<(Question, String), ServiceError> {
    let mut question = Question::default();
    let mut who = String::from("nobody");
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let value = value.into_owned();
        match &*name {
            "request" => question.request = value,
            "as" => who = value,
            "host" => question.host = Some(value),
            "kind" => question.kind = Some(value),
            "origin" => question.origin = Some(value),
            "graphql" => question.graphql = Some(value),
            "mcp" => question.mcp = Some(value),
            "destination" => question.destination = Some(value),
            "client" => {
                let address = value.parse().map_err(|_| wrong("client", "is no address"))?;
                question.client = Some(address);
            }
            _ => {
                return Err(wrong(
                    "query",
                    "has a parameter other than request, as, host, client, kind, origin, graphql, mcp and destination",
                ));
            }
        }
    }
    Ok((question, who))
}

fn wrong(field: &'static str, reason: &str) -> ServiceError {
    ServiceError::Invalid { field, reason: reason.to_owned() }
}
