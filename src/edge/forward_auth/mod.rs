//! The other edge: answers "may this request pass?" for a proxy that forwards it itself.
//!
//! Takes the same line as the proxy, up to the permit; only how the target is read and how the answer is
//! written differ. An allow is exactly 200 with every identity header and what the application may have of the
//! client's credentials; nothing else is ever a 2xx, and a check sets no cookie.

mod answer;
pub mod compat;
pub mod ext_authz;
mod left;
pub mod observed;
pub mod original;
pub mod subrequests;

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

pub use self::answer::Style;
use self::answer::{LARGEST_ANSWER, size_of};
use self::compat::Terms;
use self::ext_authz::CheckResponse;
use self::original::{BadSubrequest, Original, Subrequest};
use self::subrequests::SubrequestContext;
use super::answer::Answer;
use super::audience::Audience;
use super::cors;
use super::pages::problem::{Problem, ProblemContext, Remedy, SchemeHint};
use super::pages::site::Site;
use crate::config::{Compat, Config, Flavour, HeaderPreset};
use crate::gate::DecisionTrace;
use crate::gate::Gate;
use crate::gate::GateRequest;
use crate::gate::Permit;
use crate::gate::body_facts::BodyFacts;
use crate::gate::credential;
use crate::gate::graphql;
use crate::gate::identity_headers::PreparedHeaders;
use crate::gate::refusal::BadCredential;
use crate::gate::refusal::Refusal;
use crate::model::origin::Origin;
use crate::model::principal::Client;
use crate::model::verdict::Verdict;
use crate::policy::Enforce;

/// Below the reserved prefix: `/auth/<flavour>`, and `/auth-route/<route>/<flavour>`.
const ENDPOINT: &str = "/auth/";
const ENDPOINT_OF_ROUTE: &str = "/auth-route/";

/// A question on its way to an answer.
#[derive(Debug)]
pub struct AuthCheck {
    /// How the answer is worded.
    pub style: Style,
    /// Identity headers to answer with, where they are not the route's.
    pub headers: Option<HeaderPreset>,
    /// The route the proxy chose, instead of host and path.
    pub route: Option<String>,
    /// The request in question.
    pub original: Original,
    /// Who sent it.
    pub client: Client,
    /// What another product's question says beside it.
    pub terms: Terms,
    /// How many bytes of an answer's head the proxy holds, where it says so.
    pub answer_bytes: Option<usize>,
}

/// An endpoint, as a path names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Who asks there.
    pub flavour: Flavour,
    /// The route chosen by the path.
    pub route: Option<String>,
    /// What follows: the original path, where the flavour puts it there.
    pub rest: String,
}

impl Endpoint {
    /// The endpoint that a path below the reserved one names.
    pub fn named(path: &str) -> Option<Self> {
        let (route, rest) = if let Some(rest) = path.strip_prefix(ENDPOINT) {
            (None, rest)
        } else {
            let (route, rest) = path.strip_prefix(ENDPOINT_OF_ROUTE)?.split_once('/')?;
            (Some(route.to_owned()), rest)
        };
        let (name, rest) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
        let flavour = Flavour::ALL.into_iter().find(|flavour| flavour.as_str() == name)?;
        // Only Envoy says anything after the name.
        (flavour == Flavour::Envoy || rest.is_empty()).then(|| Self { flavour, route, rest: rest.to_owned() })
    }
}

/// The forward-auth edge of one data-plane thread.
pub struct ForwardAuth {
    gate: Rc<Gate>,
    site: Arc<Site>,
    asking: SubrequestContext,
    flavours: Vec<Flavour>,
    products: Vec<Compat>,
    /// Whether a path can change any decision.
    path_matters: bool,
    hosts: Vec<String>,
}

impl ForwardAuth {
    /// The edge over a thread's gate.
    pub fn new(gate: Rc<Gate>, site: Arc<Site>, asking: SubrequestContext, config: &Config) -> Self {
        let hosts = config.routes.iter().flat_map(|route| route.hosts.iter().cloned()).collect();
        Self {
            gate,
            site,
            asking,
            flavours: config.forward_auth.flavours.clone(),
            products: config.forward_auth.compat.clone(),
            path_matters: config
                .routes
                .iter()
                .any(|route| route.path != "/" || route.policy.looks_at_paths()),
            hosts,
        }
    }

    /// Whether questions of a flavour are answered.
    pub fn answers(&self, flavour: Flavour) -> bool {
        self.flavours.contains(&flavour)
    }

    /// Answers Envoy's question over gRPC, as one frame.
    async fn answer_ext_authz(
        &self,
        check: &AuthCheck,
        headers: &HeaderMap,
        request_id: &str,
        trail: &mut DecisionTrace,
    ) -> Answer<Bytes> {
        let answer = self.answer_in_place(check, headers, None, request_id, trail).await;
        let (names, managed) = (self.gate.credential_names(), self.gate.managed());
        let passes = answer.verdict.passes();
        answer.map(|response| {
            ext_authz::encode(&if passes {
                CheckResponse::allow(&response, headers, names, managed)
            } else {
                CheckResponse::deny(&response)
            })
        })
    }

    /// The same where there is no question that could be answered: a refusal all the same, for of an error of gRPC
    /// Envoy may be told to make an allow.
    fn refuse_ext_authz(&self, problem: &Problem, method: &Method, request_id: &str) -> Bytes {
        let look = ProblemContext { site: &self.site, method, target: None, account: None, request_id };
        let mut response = problem.respond(Audience::Api, &look);
        response.headers_mut().remove(SET_COOKIE);
        ext_authz::encode(&CheckResponse::deny(&response))
    }

    /// Reads a question.
    ///
    /// # Errors
    ///
    /// [`BadSubrequest`] if any part of the original request is missing, doubled or malformed.
    fn read(
        endpoint: Endpoint,
        question: &Subrequest<'_>,
        client: Client,
    ) -> Result<AuthCheck, BadSubrequest> {
        let original = question.original(endpoint.flavour)?;
        let style = Style::of(endpoint.flavour);
        let client = Client { secure: original.secure, ..client };
        Ok(AuthCheck {
            style,
            headers: None,
            route: endpoint.route,
            original,
            client,
            terms: Terms::default(),
            answer_bytes: style.answer_bytes(question.headers),
        })
    }

    /// Answers a question of a proxy that hands on what the client sent, but for what its configuration takes off.
    async fn answer(
        &self,
        check: &AuthCheck,
        headers: &HeaderMap,
        request_id: &str,
        trail: &mut DecisionTrace,
    ) -> Answer<Response<Bytes>> {
        let (names, managed) = (self.gate.credential_names(), self.gate.managed());
        let unsendable = if managed.disguised(headers).is_some() {
            Some(Refusal::Disguised)
        } else {
            let misplaced = credential::is_misplaced(headers, names, managed);
            misplaced.then_some(Refusal::BadCredential(BadCredential::Misplaced))
        };
        self.answer_in_place(check, headers, unsendable, request_id, trail).await
    }

    /// Answers a subrequest; `unsendable` is why the request may not be sent as it is, for any caller.
    async fn answer_in_place(
        &self,
        check: &AuthCheck,
        headers: &HeaderMap,
        unsendable: Option<Refusal>,
        request_id: &str,
        trail: &mut DecisionTrace,
    ) -> Answer<Response<Bytes>> {
        let (problem, verdict) = match self.own_page_in_question(check) {
            Some(Ok(response)) => return Answer::own(response),
            Some(Err(problem)) => (problem, Verdict::Deny),
            None => match self.ask(check, headers, unsendable, request_id, trail).await {
                Ok(permit) => match self.allow(check, headers, permit) {
                    Ok(response) => return Answer { response, verdict: trail.passed(), code: None },
                    Err(problem) => (problem, Verdict::Deny),
                },
                Err(refusal) => {
                    if let Refusal::Unavailable(cause) = &refusal {
                        tracing::error!(request.id = request_id, error = %cause, "a request could not be decided");
                    }
                    (Problem::from(&refusal), refusal.verdict())
                }
            },
        };
        let response = self.deny(check, headers, &problem, request_id, trail);
        Answer { response, verdict, code: Some(problem.code) }
    }

    /// The one line, as the proxy takes it.
    async fn ask(
        &self,
        check: &AuthCheck,
        headers: &HeaderMap,
        unsendable: Option<Refusal>,
        request_id: &str,
        trail: &mut DecisionTrace,
    ) -> Result<Permit, Refusal> {
        let target = &check.original.target;
        let asking = GateRequest {
            target,
            headers,
            authority: &check.original.authority,
            route: check.route.as_deref(),
            client: check.client,
            request_id,
        };
        let asked = self.gate.identify(&asking, trail).await?;
        // Rules do not speak of what must never be sent, so none of them lets it pass.
        if let Some(refusal) = unsendable {
            return Err(refusal);
        }
        // The body stays with the other proxy.
        let envelope = graphql::Envelope {
            kind: target.kind(),
            method: target.method(),
            query: target.query(),
            headers,
            body: None,
        };
        let told = BodyFacts::without_body(asked.wants(&asking), &envelope);
        let permit = asked.decide(&asking, &told, trail)?;
        trail.note_detection(permit.route().detection(target, headers), target.path());
        let admitted = check.terms.admit(permit.identity());
        permit.given(admitted, trail)
    }

    /// 200 with every identity header, empty where there is nothing to say, and what is left of the credentials.
    fn allow(
        &self,
        check: &AuthCheck,
        headers: &HeaderMap,
        permit: Permit,
    ) -> Result<Response<Bytes>, Problem> {
        let (accepts, grounds) = (permit.accepts().clone(), permit.grounds());
        let (route, identity) = permit.spend();
        let mut response = Response::new(Bytes::new());
        let answer = response.headers_mut();
        let plan = route.answer_headers(check.headers);
        let tell = |answer: &mut HeaderMap, told: &PreparedHeaders| {
            plan.set_all(answer, told, grounds.enforce);
            if grounds.allowed {
                plan.get_in(answer, grounds.enforce);
            }
            size_of(answer)
        };
        let size = tell(answer, &self.gate.told(plan, identity.as_deref()));
        if size > LARGEST_ANSWER {
            let subject = identity.as_deref().map(|identity| identity.subject.as_str());
            tracing::warn!(
                subject.id = subject,
                answer_bytes = size,
                "the identity headers are larger than proxies accept: the subject has too many groups"
            );
            answer.clear();
            // Where no one is refused, it passes as anonymous.
            if grounds.enforce == Enforce::On || tell(answer, plan.nobody()) > LARGEST_ANSWER {
                return Err(Problem::identity_too_large());
            }
        }
        answer.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let (names, managed) = (self.gate.credential_names(), self.gate.managed());
        left::leave(headers, answer, check, (&accepts, grounds), names, managed)?;
        Ok(response)
    }

    /// A refusal, written for the proxy and the client behind it. Never a 2xx, and never a cookie.
    fn deny(
        &self,
        check: &AuthCheck,
        headers: &HeaderMap,
        problem: &Problem,
        request_id: &str,
        trail: &DecisionTrace,
    ) -> Response<Bytes> {
        let original = &check.original;
        let method = original.target.method();
        let audience = match Audience::of(method, headers) {
            // A gRPC refusal is an HTTP 200, which the proxy would take for an allow.
            Audience::Grpc => Audience::Api,
            audience => audience,
        };
        let url = original.url();
        let look = ProblemContext {
            site: &self.site,
            method,
            target: Some(&url),
            account: trail.identity.as_ref().map(|identity| identity.principal.name.as_str()),
            request_id,
        };
        let basic = trail.route.as_ref().is_some_and(|route| route.accepts.basic);
        let mut problem = Problem { basic, speaks: SchemeHint::of(audience, headers), ..problem.clone() };
        problem.beside_session(trail.foreign);
        let mut response = problem.respond(audience, &look);
        response.headers_mut().remove(SET_COOKIE);
        // Worded for the method in question, which need not be that of the question.
        response.headers_mut().remove(CONTENT_LENGTH);
        let always = check.terms.always_names_sign_in() && response.status() == StatusCode::UNAUTHORIZED;
        if response.status().is_redirection() || (always && check.style == Style::StatusOnly) {
            let page = if problem.remedy == Remedy::NewPassword { "/password" } else { "/login" };
            self.send_to(page, check, &mut response);
        } else {
            *response.status_mut() = check.style.refusal(response.status());
        }
        cors::let_read(response.headers_mut(), cors::reader(headers, self.gate.origins()).as_ref());
        response
    }

    /// Points a redirect at the sign-in page, absolutely: a proxy would complete a relative address with our own.
    fn send_to(&self, page: &str, check: &AuthCheck, response: &mut Response<Bytes>) {
        response.headers_mut().remove(LOCATION);
        let location = match check.style {
            Style::Bare => None,
            Style::PassedOn | Style::Envoy | Style::StatusOnly => {
                let at_portal = |address| {
                    let address = check.terms.at_portal(address, check.original.target.method());
                    HeaderValue::try_from(address).ok()
                };
                // Without the return target it is better than the bare 500 that nginx makes of a head that is too large.
                at_portal(self.sign_in_address(page, &check.original))
                    .filter(|address| size_of(response.headers()) + address.len() + 12 <= check.room())
                    .or_else(|| at_portal(self.bare_address(page)))
            }
        };
        let reads = matches!(*check.original.target.method(), Method::GET | Method::HEAD);
        *response.status_mut() = match (check.style, &location) {
            (Style::StatusOnly | Style::Bare, _) | (_, None) => StatusCode::UNAUTHORIZED,
            (Style::PassedOn | Style::Envoy, Some(_)) if reads => StatusCode::FOUND,
            (Style::PassedOn | Style::Envoy, Some(_)) => StatusCode::SEE_OTHER,
        };
        if let Some(location) = location {
            response.headers_mut().insert(LOCATION, location);
        }
    }

    /// The sign-in page's absolute address, with the return target where it is on a known host.
    pub fn sign_in_address(&self, page: &str, original: &Original) -> String {
        let public = self.site.public_url();
        let host = original.target.host();
        let known = host == public.host() || self.hosts.iter().any(|own| own == host);
        let own = Origin::at(original.secure, &original.authority);
        let back = match known {
            true if own.is_some_and(|own| own.as_str() == public.origin()) => {
                original.target.path_and_query().to_string()
            }
            true => original.url(),
            false => return self.bare_address(page),
        };
        let query: String =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("rd", &back).finish();
        public.url(&format!("{}{page}?{query}", super::pages::site::RESERVED))
    }

    /// The same without a return target.
    fn bare_address(&self, page: &str) -> String {
        self.site.public_url().url(&format!("{}{page}", super::pages::site::RESERVED))
    }
}
