//! A request and its response without the types of an HTTP library, for services.

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use serde::de::DeserializeOwned;

use super::error::{ContentType, EgressError, EgressFault};
use crate::model::json;
use crate::model::origin::Origin;
use crate::model::secret::Secret;

/// A request to another server. It has no `Debug`, since its URL, headers and body may hold credentials.
pub struct EgressRequest(Result<Request<Vec<u8>>, EgressFault>);

impl EgressRequest {
    /// `GET`, asking for JSON.
    pub fn get(url: &str) -> Self {
        Self::new(Request::get(url), Vec::new())
    }

    /// `POST` of a form (`application/x-www-form-urlencoded`), asking for JSON.
    pub fn form(url: &str, fields: &[(&str, &str)]) -> Self {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = Request::post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        Self::new(request, form.into_bytes())
    }

    fn new(request: http::request::Builder, body: Vec<u8>) -> Self {
        let request = request.header(ACCEPT, "application/json").body(body);
        Self(request.map_err(|_| EgressFault::Invalid))
    }

    /// Adds a bearer token (RFC 6750, 2.1).
    #[must_use]
    pub fn bearer(self, token: &Secret) -> Self {
        self.header(AUTHORIZATION.as_str(), &Secret::new(format!("Bearer {}", token.expose())))
    }

    /// Sets a header; it replaces one of the same name.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &Secret) -> Self {
        if let Ok(request) = &mut self.0 {
            let name = http::HeaderName::try_from(name);
            match (name, HeaderValue::try_from(value.expose())) {
                (Ok(name), Ok(mut value)) => {
                    value.set_sensitive(true);
                    request.headers_mut().insert(name, value);
                }
                _ => self.0 = Err(EgressFault::Invalid),
            }
        }
        self
    }

    pub(super) fn into_http(self) -> Result<Request<Vec<u8>>, EgressFault> {
        self.0
    }
}

/// A whole response of any status, except for redirects.
pub struct EgressResponse {
    server: Origin,
    response: Response<Vec<u8>>,
}

impl EgressResponse {
    pub(super) fn new(server: Origin, response: Response<Vec<u8>>) -> Self {
        Self { server, response }
    }

    /// The status code, such as 200.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The first header of a name, if it is plain ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The body, whatever the status.
    pub fn body(&self) -> &[u8] {
        self.response.body()
    }

    /// That the status is one of success.
    ///
    /// # Errors
    ///
    /// [`EgressFault::Status`] if it is not.
    pub fn check_success(&self) -> Result<(), EgressError> {
        if self.response.status().is_success() {
            return Ok(());
        }
        let content_type = ContentType::of(self.response.headers());
        let fault = EgressFault::Status { status: self.status(), content_type };
        Err(EgressError { server: Some(self.server.clone()), fault })
    }

    /// The body of a successful response, read as JSON whatever its content type says.
    ///
    /// # Errors
    ///
    /// [`EgressFault::Status`] if the status is not one of success, [`EgressFault::Unreadable`] if the body is not such JSON, or
    /// has too many values ([`json::read`]).
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, EgressError> {
        self.check_success()?;
        json::read(self.response.body()).ok_or_else(|| {
            let (status, content_type) = (self.status(), ContentType::of(self.response.headers()));
            let fault = EgressFault::Unreadable { status, content_type };
            EgressError { server: Some(self.server.clone()), fault }
        })
    }
}
