//! What the access event and the response need to know about a request, kept beside it.

use std::rc::Rc;

use http::header::USER_AGENT;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Version};

use super::audience::Audience;
use super::cors;
use super::pages::problem::SchemeHint;
use crate::gate::origins::Origins;
use crate::model::principal::Client;
use crate::model::request_id::RequestId;
use crate::model::target::RequestTarget;

/// What a request asks for, as far as it is known.
enum RequestedTarget {
    /// It cannot be served, and of its target only this path can be read; empty if not even that.
    Broken(String),
    /// As it came; `None` where that is no path.
    Received(Option<PathAndQuery>),
    /// As it is understood, or what a question is about.
    Target(Rc<RequestTarget>),
}

/// What the access event and the answer need to know of a request, kept beside it.
pub struct RequestContext {
    /// Its method.
    pub method: Method,
    /// By which HTTP it came.
    pub version: Version,
    asked: RequestedTarget,
    /// Who reads an answer.
    pub audience: Audience,
    /// What the sender shows of the schemes it speaks.
    pub speaks: SchemeHint,
    /// The page that may read a refusal.
    pub reader: Option<HeaderValue>,
    /// Whether it has come so far that it is an application's, not ours or a question about one.
    pub proxied: bool,
    /// The far end.
    pub client: Client,
    /// What logs know it by.
    pub request_id: RequestId,
    /// What the client calls itself.
    pub agent: Option<HeaderValue>,
}

impl RequestContext {
    /// Of a request as it comes. Pages of `trusted` origins may read its refusal.
    pub fn of<B>(request: &Request<B>, client: Client, request_id: RequestId, trusted: &Origins) -> Self {
        let headers = request.headers();
        let audience = Audience::of(request.method(), headers);
        Self {
            method: request.method().clone(),
            version: request.version(),
            asked: RequestedTarget::Received(request.uri().path_and_query().cloned()),
            audience,
            speaks: SchemeHint::of(audience, headers),
            reader: cors::reader(headers, trusted),
            proxied: false,
            client,
            request_id,
            agent: headers.get(USER_AGENT).cloned(),
        }
    }

    /// Of one whose head cannot be served: only its path is told, as far as it can be read.
    pub fn of_broken(
        method: Method,
        path: String,
        headers: &HeaderMap,
        client: Client,
        request_id: RequestId,
    ) -> Self {
        Self {
            audience: Audience::of(&method, headers),
            method,
            version: Version::HTTP_11,
            asked: RequestedTarget::Broken(path),
            speaks: SchemeHint::default(),
            reader: None,
            proxied: false,
            client,
            request_id,
            agent: headers.get(USER_AGENT).cloned(),
        }
    }

    /// From now on it is this target that the request is about.
    pub fn about(&mut self, target: &Rc<RequestTarget>) {
        self.method = target.method().clone();
        self.asked = RequestedTarget::Target(Rc::clone(target));
    }

    /// Host without port; empty if the target was refused.
    pub fn host(&self) -> &str {
        match &self.asked {
            RequestedTarget::Target(target) => target.host(),
            RequestedTarget::Broken(_) | RequestedTarget::Received(_) => "",
        }
    }

    /// Path without query.
    pub fn path(&self) -> &str {
        match &self.asked {
            RequestedTarget::Broken(path) => path,
            RequestedTarget::Received(received) => received.as_ref().map_or("", PathAndQuery::path),
            RequestedTarget::Target(target) => target.path(),
        }
    }

    /// Path and query, as the browser has them in its address bar.
    pub fn path_and_query(&self) -> Option<&PathAndQuery> {
        match &self.asked {
            RequestedTarget::Broken(_) => None,
            RequestedTarget::Received(received) => received.as_ref(),
            RequestedTarget::Target(target) => Some(target.path_and_query()),
        }
    }

    /// Who reads a refusal. By gRPC it would be an HTTP 200, which a proxy that asks takes for an allow, whatever
    /// media type the client of that proxy has named: only an application's own client is told so.
    pub fn refused_audience(&self) -> Audience {
        match self.audience {
            Audience::Grpc if !self.proxied => Audience::Api,
            audience => audience,
        }
    }
}
