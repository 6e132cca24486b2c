//! What a product's paths answer to browsers: the way to our own pages, and JSON about who is signed in.

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::super::{AuthCheck, ForwardAuth};
use super::terms::page_named;
use super::{Action, CompatEndpoint, UserInfoFormat, find};
use crate::config::Compat as Product;
use crate::edge::methods::Methods;
use crate::edge::pages::problem::Problem;
use crate::edge::pages::site::{RESERVED, fit_to_method};
use crate::gate::GateRequest;
use crate::gate::refusal::Refusal;
use crate::model::origin::Origin;
use crate::model::principal::Principal;

const X_AUTH_REQUEST_REDIRECT: HeaderName = HeaderName::from_static("x-auth-request-redirect");
/// The longest `Location`: nginx in front holds a head in 4 KiB.
const LONGEST_LOCATION: usize = 3000;

impl ForwardAuth {
    /// Answers a request at a product's path that is no question.
    ///
    /// # Errors
    ///
    /// [`Problem`] where there is nothing for this method, nothing at all, or the caller is anonymous.
    pub async fn page(
        &self,
        endpoint: &CompatEndpoint,
        request: &GateRequest<'_>,
    ) -> Result<Response<Bytes>, Problem> {
        let method = request.target.method();
        let methods = match endpoint.action {
            Action::SignIn(_) | Action::SignOut(_) => Methods::Form,
            _ => Methods::Read,
        };
        if !methods.have(method) {
            return Err(Problem::method_not_allowed(methods));
        }
        let response = match endpoint.action {
            Action::SignIn(name) => self.onward("/login", self.way_back(name, endpoint, request), method),
            Action::SignOut(name) => self.onward("/logout", self.way_back(name, endpoint, request), method),
            Action::UserInfo(shape) => self.json(&self.about(shape, request).await?),
            Action::Text(_, "") => self.site.answer(StatusCode::NO_CONTENT, "text/plain", Bytes::new()),
            Action::Text(kind, text) => {
                self.site.answer(StatusCode::OK, kind, Bytes::from_static(text.as_bytes()))
            }
            Action::Gone(why) => return Err(Problem::not_taken_over(why)),
            // Both are answered before; neither may become an allow here.
            Action::Check(..) | Action::Ready => return Err(Problem::not_found()),
        };
        Ok(fit_to_method(method, response))
    }

    /// traefik-forward-auth serves its own paths on every host it protects, so its questions may be about them.
    pub(in super::super) fn own_page_in_question(
        &self,
        check: &AuthCheck,
    ) -> Option<Result<Response<Bytes>, Problem>> {
        let product = check.terms.product.filter(|product| *product == Product::TraefikForwardAuth)?;
        match find(&[product], check.original.target.path())?.action {
            Action::SignOut(_) => Some(Ok(self.onward("/logout", None, check.original.target.method()))),
            Action::Gone(why) => Some(Err(Problem::not_taken_over(why))),
            _ => None,
        }
    }

    /// To a page of ours. The body leads there too: `error_page 401 =403 ...` of nginx keeps it and loses the
    /// status; and it alone can hold a long address.
    fn onward(&self, page: &str, back: Option<String>, method: &Method) -> Response<Bytes> {
        let mut address = self.site.public_url().url(&format!("{RESERVED}{page}"));
        if let Some(back) = back {
            let query: String =
                form_urlencoded::Serializer::new(String::new()).append_pair("rd", &back).finish();
            address = format!("{address}?{query}");
        }
        let status = if matches!(*method, Method::GET | Method::HEAD) {
            StatusCode::FOUND
        } else {
            StatusCode::SEE_OTHER
        };
        // The query is percent-encoded, so nothing but `&` could mean something in HTML.
        let link = address.replace('&', "&amp;");
        let body = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{brand}</title>\
             <meta http-equiv=\"refresh\" content=\"0; url={link}\"><a href=\"{link}\">Continue</a></html>",
            brand = self.site.brand()
        );
        let mut response = self.site.answer(status, "text/html; charset=utf-8", Bytes::from(body));
        if address.len() > LONGEST_LOCATION {
            *response.status_mut() = StatusCode::OK;
            return response;
        }
        match HeaderValue::try_from(address) {
            Ok(address) => _ = response.headers_mut().insert(LOCATION, address),
            Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
        }
        response
    }

    /// Where the person wants to be afterwards, as an absolute address where it is on another host than ours.
    /// The page it is handed to decides whether to believe it.
    fn way_back(&self, name: &str, endpoint: &CompatEndpoint, request: &GateRequest<'_>) -> Option<String> {
        let header = || match endpoint.product {
            Product::Oauth2Proxy => {
                request.headers.get(X_AUTH_REQUEST_REDIRECT)?.to_str().ok().map(str::to_owned)
            }
            _ => None,
        };
        let back = request.target.query().and_then(|query| page_named(query, name)).or_else(header)?;
        let public = self.site.public_url();
        if back.is_empty() {
            return None;
        }
        if !back.starts_with('/') || back.starts_with("//") {
            return Some(back);
        }
        let secure = request.client.secure || public.is_secure();
        let own = Origin::at(secure, request.authority)?;
        Some(if own.as_str() == public.origin() { back } else { format!("{own}{back}") })
    }

    async fn about(&self, shape: UserInfoFormat, request: &GateRequest<'_>) -> Result<Value, Problem> {
        let refused = |refusal: &Refusal| {
            if let Refusal::Unavailable(cause) = refusal {
                tracing::error!(error = %cause, "who is signed in could not be looked up");
            }
            Problem::from(refusal)
        };
        let identity = self.gate.caller(request).await.map_err(|refusal| refused(&refusal))?;
        let principal = identity.as_ref().map(|identity| &*identity.principal);
        match (shape, principal) {
            (UserInfoFormat::AutheliaState, principal) => Ok(state(principal)),
            (_, None) => Err(refused(&Refusal::Challenge)),
            (UserInfoFormat::Oauth2Proxy, Some(person)) => Ok(json!({
                "user": person.name,
                "email": person.email.as_deref().unwrap_or_default(),
                "groups": person.groups,
                "preferredUsername": person.name,
            })),
            (UserInfoFormat::AutheliaUser, Some(person)) => Ok(json!({ "status": "OK", "data": {
                "display_name": person.display_name.as_deref().unwrap_or(&person.name),
                "emails": person.email.iter().collect::<Vec<_>>(),
                "method": "",
                "has_totp": false,
                "has_webauthn": false,
                "has_duo": false,
            }})),
        }
    }

    fn json(&self, value: &Value) -> Response<Bytes> {
        self.site.answer(StatusCode::OK, "application/json", Bytes::from(value.to_string()))
    }
}

/// Anonymous is level 0; a signed-in user has shown one factor.
fn state(principal: Option<&Principal>) -> Value {
    json!({ "status": "OK", "data": {
        "username": principal.map_or("", |person| person.name.as_str()),
        "authentication_level": i32::from(principal.is_some()),
        "factor_knowledge": principal.is_some(),
    }})
}
