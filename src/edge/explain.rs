//! `GET /_doorward/api/explain`: shows admins the decision for a request.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use tokio::runtime::Handle;

use super::answer::Denied;
use super::arrival::Arrival;
use super::body::ResponseBody;
use super::methods::Methods;
use super::on_control::on_control;
use super::pages::problem::Problem;
use super::request_context::RequestContext;
use crate::gate::explain::ExplainQuery;
use crate::gate::refusal::Refusal;
use crate::gate::{Gate, GateRequest};
use crate::model::principal::CredentialKind;
use crate::model::verdict::Verdict;
use crate::service::subjects::Subjects;
use crate::service::{Field, ServiceError};

/// Explains decisions.
#[derive(Clone, Debug)]
pub struct Explain {
    /// Looks up those of whom an explanation is wanted.
    pub subjects: Subjects,
    /// Where that is done.
    pub control: Handle,
    /// Host, and port if there is one, of a request of which none is said.
    pub own_authority: String,
}

impl Explain {
    /// Answers with what `gate` would decide.
    ///
    /// # Errors
    ///
    /// [`Denied`] if the caller is not an admin, or the query is not valid.
    pub async fn answer(
        &self,
        gate: &Gate,
        arrival: &Arrival,
        methods: Methods,
        seen: &RequestContext,
    ) -> Result<Response<ResponseBody>, Denied> {
        let target = &*arrival.target;
        let asking = GateRequest {
            target,
            headers: arrival.request.headers(),
            authority: arrival.authority(),
            route: None,
            client: seen.client,
            request_id: seen.request_id.as_str(),
        };
        let refused = |refusal: Refusal| Denied::open(Problem::from(&refusal), refusal.verdict());
        let admin = gate.admin(&asking).await.map_err(refused)?;
        // Scripts of every application on this host send their users' cookies along.
        if admin.credential() == Some(CredentialKind::Session) {
            return Err(Denied::open(Problem::key_required(), Verdict::Deny));
        }
        if !methods.have(target.method()) {
            return Err(Denied::open(Problem::method_not_allowed(methods), Verdict::Deny));
        }
        let (question, who) = read(target.query().unwrap_or_default()).map_err(|error| failed(&error))?;
        let found = if let Some(holder) = gate.credential_names().certificate_holder(&who) {
            holder.map(Some)
        } else {
            let subjects = self.subjects.clone();
            let looking = async move { subjects.caller(&admin, &who).await };
            on_control(&self.control, "an explanation", looking).await?
        };
        let caller = found.map_err(|error| failed(&error))?;
        let hypothetical = question
            .asked(&self.own_authority, caller)
            .map_err(|error| failed(&wrong(Field::Request, &error.to_string())))?;
        let explanation = gate.rulebook().explain(&hypothetical);
        let text = serde_json::to_vec(&explanation).unwrap_or_default();
        let mut response = Response::new(ResponseBody::of(Bytes::from(text)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

fn failed(error: &ServiceError) -> Denied {
    Denied::open(Problem::from(error), Verdict::Own)
}

/// The question in a query, and of whom it is asked.
fn read(query: &str) -> Result<(ExplainQuery, String), ServiceError> {
    let mut question = ExplainQuery::default();
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
                let address = value.parse().map_err(|_| wrong(Field::Client, "is not an address"))?;
                question.client = Some(address);
            }
            _ => {
                return Err(wrong(
                    Field::Query,
                    "has a parameter other than request, as, host, client, kind, origin, graphql, mcp and destination",
                ));
            }
        }
    }
    Ok((question, who))
}

fn wrong(field: Field, reason: &str) -> ServiceError {
    ServiceError::Invalid { field, reason: reason.to_owned() }
}
