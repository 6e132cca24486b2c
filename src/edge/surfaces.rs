//! Everything that answers a request, on one thread: the applications behind the gate, and what is ours. A request is handed
//! to what is mounted at its path, and what comes back is an answer in every case.

use std::sync::Arc;

use http::header::CONNECTION;
use http::{HeaderValue, Response, Version};

use super::answer::{Answer, Denied};
use super::arrival::Arrival;
use super::audience::Audience;
use super::body::ResponseBody;
use super::cors;
use super::explain::Explain;
use super::forward_auth::ForwardAuth;
use super::forward_auth::compat::{Action, CompatEndpoint};
use super::forward_auth::subrequests::SubrequestContext;
use super::health::{Health, Probe};
use super::methods::Methods;
use super::mount::{InternalEndpoint, Mount};
use super::page_handler::PageHandler;
use super::pages::problem::{Problem, ProblemContext};
use super::pages::site::Site;
use super::proxy::{EXPLAIN, Proxy};
use super::public_keys;
use super::request_context::RequestContext;
use super::web::Page;
use crate::gate::explain::Explanation;
use crate::gate::public_keys::PublicKeys;
use crate::gate::{DecisionTrace, Gate};
use crate::model::role::Role;
use crate::model::time::Clock;

/// What is ours is made of this on every thread.
#[derive(Clone)]
pub struct SurfaceParts {
    /// The gateway as a browser meets it.
    pub site: Arc<Site>,
    /// Whether we are well.
    pub health: Health,
    /// Our pages.
    pub page_handler: PageHandler,
    /// What upstreams check our word with.
    pub public_keys: Arc<PublicKeys>,
    /// Explanations for admins.
    pub explain: Explain,
    /// What other proxies' questions need.
    pub asking: SubrequestContext,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}

/// Everything that answers, on one thread.
pub struct Surfaces {
    parts: SurfaceParts,
    proxy: Proxy,
    questions: ForwardAuth,
}

impl Surfaces {
    /// Over one thread's proxy and forward-auth edge.
    pub fn new(parts: SurfaceParts, proxy: Proxy, questions: ForwardAuth) -> Self {
        Self { parts, proxy, questions }
    }

    /// The thread's gate.
    pub fn gate(&self) -> &Gate {
        self.proxy.gate()
    }

    /// What is mounted at a path.
    pub fn at(&self, path: &str) -> Mount {
        let pages = &self.parts.page_handler.web;
        Mount::at(path, &self.parts.site, pages.federation(), &self.questions)
    }

    /// Answers a probe.
    pub fn probe(&self, probe: Probe) -> Response<ResponseBody> {
        self.parts.health.answer(probe)
    }

    /// Answers a request by what is mounted at its path. Every failure becomes an answer, and none of them is an allow.
    /// Where the head could not be understood, `arrived` says why.
    pub async fn answer(
        &self,
        mount: Mount,
        arrived: Result<Arrival, Denied>,
        seen: &mut RequestContext,
        trail: &mut DecisionTrace,
    ) -> Answer<Response<ResponseBody>> {
        let by_grpc = mount == Mount::GrpcQuestion && seen.audience == Audience::Grpc;
        let answered = match arrived {
            // In another spelling it was looked up as it came; what counts is how it is understood.
            Ok(arrival) if arrival.request.uri().path() != arrival.target.path() => {
                self.hand_over(self.at(arrival.target.path()), arrival, seen, trail).await
            }
            Ok(arrival) => self.hand_over(mount, arrival, seen, trail).await,
            Err(denied) => Err(denied),
        };
        let mut answer = match answered {
            Ok(answer) => answer,
            // Envoy may be told to make an allow of an error of gRPC.
            Err(denied) if by_grpc => self.questions.refused_by_grpc(&denied, seen),
            Err(mut denied) => {
                denied.problem.beside_session(trail.foreign);
                denied.problem.basic = trail.route.as_ref().is_some_and(|route| route.accepts.basic);
                denied.problem.speaks = seen.speaks;
                self.refuse(&denied, seen, trail)
            }
        };
        if let Some(explanation) = explained(&answer, trail) {
            answer.response.headers_mut().insert(EXPLAIN, explanation);
        }
        answer
    }

    /// Writes a refusal for its caller.
    pub fn refuse(
        &self,
        denied: &Denied,
        seen: &RequestContext,
        trail: &DecisionTrace,
    ) -> Answer<Response<ResponseBody>> {
        let look = ProblemContext {
            site: &self.parts.site,
            method: &seen.method,
            target: seen.path_and_query().map(http::uri::PathAndQuery::as_str),
            account: trail.identity.as_ref().map(|identity| identity.principal.name.as_str()),
            request_id: seen.request_id.as_str(),
        };
        let mut response = denied.problem.respond(seen.refused_audience(), &look).map(ResponseBody::of);
        if seen.proxied {
            cors::let_read(response.headers_mut(), seen.reader.as_ref());
        }
        if denied.close && seen.version < Version::HTTP_2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Answer { response, verdict: denied.verdict, code: Some(denied.problem.code) }
    }

    async fn hand_over(
        &self,
        mount: Mount,
        arrival: Arrival,
        seen: &mut RequestContext,
        trail: &mut DecisionTrace,
    ) -> Result<Answer<Response<ResponseBody>>, Denied> {
        match mount {
            Mount::Application => match self.questions.place_anywhere(&arrival) {
                Some(endpoint) => Box::pin(self.questions.at_product(&endpoint, &arrival, seen, trail)).await,
                None => self.proxy.answer(arrival, seen, trail).await,
            },
            Mount::Question(endpoint) => self.questions.question(endpoint, &arrival, seen, trail).await,
            Mount::GrpcQuestion => self.questions.question_by_grpc(arrival, seen, trail).await,
            Mount::Callback(other) if !self.parts.page_handler.web.is_at(arrival.target.host()) => {
                Box::pin(self.hand_over(*other, arrival, seen, trail)).await
            }
            Mount::Callback(_) => {
                let path = self.parts.site.below_public(arrival.target.path()).unwrap_or_default().to_owned();
                let page = Some((Page::CompleteAtPath, Methods::Fetch));
                Box::pin(self.parts.page_handler.answer(arrival, path, page, seen)).await.map(Answer::own)
            }
            Mount::Product(CompatEndpoint { action: Action::Ready, .. }) => {
                Ok(Answer::own(self.probe(Probe::Ready)))
            }
            Mount::Product(endpoint) => {
                Box::pin(self.questions.at_product(&endpoint, &arrival, seen, trail)).await
            }
            Mount::SwitchedOff(flavour) => {
                self.questions.expect_no_question(flavour, arrival.peer)?;
                Box::pin(self.visit(arrival, None, seen)).await
            }
            Mount::Nothing => Box::pin(self.visit(arrival, None, seen)).await,
            Mount::Own(row) => match row.what {
                InternalEndpoint::Health(probe) => Ok(Answer::own(self.probe(probe))),
                InternalEndpoint::PublicKeys if row.methods.have(&seen.method) => {
                    Ok(Answer::own(public_keys::answer(&self.parts.public_keys, &self.parts.clock)))
                }
                InternalEndpoint::PublicKeys => {
                    Err(Denied::closing(Problem::method_not_allowed(row.methods)))
                }
                InternalEndpoint::Explain => {
                    let explain = self.parts.explain.answer(self.gate(), &arrival, row.methods, seen);
                    Box::pin(explain).await.map(Answer::own)
                }
                InternalEndpoint::Page(_) => Box::pin(self.visit(arrival, row.page(), seen)).await,
            },
        }
    }

    async fn visit(
        &self,
        arrival: Arrival,
        page: Option<(Page, Methods)>,
        seen: &RequestContext,
    ) -> Result<Answer<Response<ResponseBody>>, Denied> {
        let path = self.parts.site.below_reserved(arrival.target.path()).unwrap_or_default().to_owned();
        self.parts.page_handler.answer(arrival, path, page, seen).await.map(Answer::own)
    }
}

/// Why it was decided so, for an admin who asked.
fn explained<R>(answer: &Answer<R>, trail: &DecisionTrace) -> Option<HeaderValue> {
    let wanted = trail.notes.is_some() && trail.route.is_some();
    let admin = trail.identity.as_ref().is_some_and(|identity| identity.principal.role == Role::Admin);
    (wanted && admin).then(|| match answer.code {
        Some(code) if !answer.verdict.passes() => {
            Explanation::of(trail, Err((answer.verdict, code))).header()
        }
        _ => Explanation::of(trail, Ok(())).header(),
    })?
}
