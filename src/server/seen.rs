//! What is kept of a request beside it, for its access event and its answer.

use http::{HeaderValue, Method, Version};

use crate::edge::audience::Audience;
use crate::edge::pages::problem::Speaks;
use crate::model::principal::Client;
use crate::model::target::RequestTarget;

/// What the access event and the answer need to know of a request, kept beside it.
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) target: Option<String>,
    pub(super) audience: Audience,
    pub(super) speaks: Speaks,
    /// The page that may read a refusal.
    pub(super) reader: Option<HeaderValue>,
    /// Whether it has come so far that it is an application's, not ours or a question about one.
    pub(super) proxied: bool,
    pub(super) client: Client,
    pub(super) request_id: String,
    pub(super) agent: Option<HeaderValue>,
}

impl Seen {
    /// From now on it is this target that the request is about.
    pub(super) fn about(&mut self, target: &RequestTarget) {
        self.method = target.method().clone();
        target.host().clone_into(&mut self.host);
        target.path().clone_into(&mut self.path);
        self.target = Some(target.path_and_query().as_str().to_owned());
    }

    /// Who reads a refusal. By gRPC it would be an HTTP 200, which a proxy that asks takes for an allow, whatever
    /// media type the client of that proxy has named: only an application's own client is told so.
    pub(super) fn refused_audience(&self) -> Audience {
        match self.audience {
            Audience::Grpc if !self.proxied => Audience::Api,
            audience => audience,
        }
    }
}
